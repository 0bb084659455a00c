package origin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"syscall"
)

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func (c *Config) dialer() net.Dialer { return net.Dialer{Timeout: c.Connect} }

// A prohibitedError is a destination that policy forbids.
type prohibitedError struct{ dest, reason string }

func (e *prohibitedError) Error() string { return e.dest + " " + e.reason }

// dialOnly connects to these host:port pairs, at whatever address they have.
func dialOnly(reach map[string]bool, dialer net.Dialer) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !reach[addr] {
			return nil, &prohibitedError{addr, "is no upstream of this hub"}
		}
		return dialer.DialContext(ctx, network, addr)
	}
}

// A policy says which addresses may be connected to for URLs that no hub vouches for.
type policy struct {
	rules []rule
	own   func(netip.AddrPort) bool // nil: nothing is
}

// A rule opens what is not public, for a name pattern or for a range of addresses.
type rule struct {
	name   string // pattern, lower case; "" in a rule of addresses
	prefix netip.Prefix
	port   string // "" = every port
}

func newPolicy(allowed []string) (*policy, error) {
	p := &policy{}
	for _, s := range allowed {
		r, err := parseRule(s)
		if err != nil {
			return nil, fmt.Errorf("proxy-allow-host: %q: %w", s, err)
		}
		p.rules = append(p.rules, r)
	}
	return p, nil
}

func parseRule(s string) (rule, error) {
	host, port := splitRule(strings.ToLower(strings.TrimSpace(s)))
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return rule{}, fmt.Errorf("%s is no port", port)
		}
	}
	if prefix, err := netip.ParsePrefix(host); err == nil {
		if prefix.Addr().Is4In6() {
			return rule{}, fmt.Errorf("write the IPv4 range itself")
		}
		return rule{prefix: prefix.Masked(), port: port}, nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return rule{}, fmt.Errorf("a zone cannot be opened")
		}
		a = a.Unmap()
		return rule{prefix: netip.PrefixFrom(a, a.BitLen()), port: port}, nil
	}
	name := strings.TrimSuffix(host, ".")
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_*?") != "" {
		return rule{}, fmt.Errorf("is no host, pattern or address range")
	}
	if name != "*" && strings.Trim(name, "0123456789.*?") == "" {
		return rule{}, fmt.Errorf("write a range of addresses as 10.0.0.0/8")
	}
	return rule{name: name, port: port}, nil
}

// splitRule cuts the port off host:port, [v6]:port and prefix/bits:port.
func splitRule(s string) (host, port string) {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, rest, closed := strings.Cut(rest, "]")
		if !closed || !strings.Contains(host, ":") || rest != "" && !strings.HasPrefix(rest, ":") {
			return s, ""
		}
		return host, strings.TrimPrefix(rest, ":")
	}
	last := strings.LastIndexByte(s, ':')
	if strings.Count(s, ":") > 1 && last < strings.IndexByte(s+"/", '/') { // the last colon is the IPv6 address's own
		return s, ""
	}
	if last < 0 {
		return s, ""
	}
	return s[:last], s[last+1:]
}

// dial connects when the address that the name resolved to is one that may be reached. The check is made at the moment of the connect call:
// a name that resolves to something else by then gains nothing.
func (p *policy) dial(dialer net.Dialer) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if _, err := netip.ParseAddr(host); err != nil && endsInNumber(host) {
			return nil, &prohibitedError{host, "is no usual spelling of an address"}
		}
		d := dialer
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return &prohibitedError{address, "is no address"}
			}
			return p.judge(host, to)
		}
		return d.DialContext(ctx, network, addr)
	}
}

// judge says whether the address may be connected to for the sake of host, which is a name or the address itself.
func (p *policy) judge(host string, to netip.AddrPort) error {
	a := to.Addr().Unmap()
	if a.Zone() != "" {
		return &prohibitedError{a.String(), "has a zone"}
	}
	if p.own != nil && p.own(netip.AddrPortFrom(a, to.Port())) {
		return &prohibitedError{to.String(), "is an address that this instance listens on"}
	}
	class := classify(a)
	if class == public {
		return nil
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	_, err := netip.ParseAddr(host)
	named := err != nil
	for _, r := range p.rules {
		if r.port != "" && r.port != strconv.Itoa(int(to.Port())) {
			continue
		}
		if r.name == "" {
			if r.prefix.Contains(a) {
				return nil
			}
			continue
		}
		if match, _ := path.Match(r.name, host); match && named && class == private {
			return nil
		}
	}
	if class == private {
		return &prohibitedError{a.String(), "is not a public address (--proxy-allow-host opens it)"}
	}
	return &prohibitedError{a.String(), "is a loopback, link-local, metadata or multicast address"}
}

// endsInNumber says whether the last label is a number, decimal or hexadecimal: 2130706433, 127.1, 0x7f.1, 127.0.0.1. (with a dot). Resolvers
// disagree about these.
func endsInNumber(host string) bool {
	host = strings.TrimRight(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(last, "0123456789") == ""
}
