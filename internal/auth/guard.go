package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ErrDenied says that the client may not do what it asked for.
var ErrDenied = errors.New("denied")

// A Scope is something that a client may do.
type Scope int

const (
	Read    Scope = iota // fetch entries, and ask about one of them
	Observe              // see how the instance is doing
	Operate              // change what it holds and does
)

func (s Scope) String() string { return [...]string{"read", "observe", "operate"}[s] }

// A Client is who asks.
type Client struct {
	Addr netip.Addr // the client's address as far as it is known
	// Local says that the request comes from this machine itself, by no proxy, and names it by a loopback name.
	Local bool
}

// A Guard is immutable; its methods may be called concurrently.
type Guard struct {
	trusted []netip.Prefix
}

// NewGuard returns a Guard that believes the forwarding fields of peers in trusted.
func NewGuard(trusted []netip.Prefix) *Guard { return &Guard{trusted: trusted} }

// Identify says who asks. Forwarding fields count only when the peer is trusted; from any other peer they make the request one that was
// relayed by nobody knows whom, so that it is never taken for local.
func (g *Guard) Identify(r *http.Request) Client {
	peer := address(r.RemoteAddr)
	relayed := len(r.Header["X-Forwarded-For"]) > 0 || len(r.Header["Forwarded"]) > 0 ||
		len(r.Header["X-Real-Ip"]) > 0 || len(r.Header["Via"]) > 0 ||
		len(r.Header["X-Forwarded-Host"]) > 0 || len(r.Header["X-Forwarded-Proto"]) > 0
	c := Client{Addr: peer, Local: peer.IsLoopback() && !relayed && loopbackHost(r.Host)}
	if relayed && g.trusts(peer) {
		c.Addr = g.reported(r, peer)
	}
	return c
}

// Allow returns ErrDenied with the reason when the client may not.
func (g *Guard) Allow(c Client, s Scope) error {
	if s == Read || c.Local {
		return nil
	}
	return fmt.Errorf("%w: %s is for clients on this machine that ask for localhost", ErrDenied, s)
}

func (g *Guard) trusts(a netip.Addr) bool {
	for _, p := range g.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// reported is the rightmost address in the forwarding fields that no trusted proxy owns: each proxy appends whom it heard, and only what
// trusted ones appended can be believed. Forwarded (RFC 7239) is preferred.
func (g *Guard) reported(r *http.Request, peer netip.Addr) netip.Addr {
	hops := forwardedFor(r.Header["Forwarded"])
	if len(hops) == 0 {
		for _, line := range r.Header["X-Forwarded-For"] {
			hops = append(hops, strings.Split(line, ",")...)
		}
	}
	last := peer
	for i := len(hops) - 1; i >= 0; i-- {
		a := address(strings.Trim(strings.TrimSpace(hops[i]), `"`))
		if !a.IsValid() {
			return last // obscured or garbled: nothing left of it can be believed
		}
		last = a
		if !g.trusts(a) {
			return a
		}
	}
	return last
}

func forwardedFor(lines []string) (hops []string) {
	for _, line := range lines {
		for element := range strings.SplitSeq(line, ",") {
			node := "unknown"
			for pair := range strings.SplitSeq(element, ";") {
				if name, v, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "for") {
					node = v
				}
			}
			hops = append(hops, node)
		}
	}
	return hops
}

// address reads an IP address with or without port and brackets; the invalid address when it is none.
func address(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// loopbackHost says that a Host field names the client's own machine. A page of another site whose name was made to resolve to 127.0.0.1 has
// its own name there.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	switch strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), ".")) {
	case "localhost", "127.0.0.1", "::1":
		return true
	}
	return false
}
