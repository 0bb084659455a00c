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
	Addr netip.Addr // the client's address; not valid when a trusted proxy leaves it unclear
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
	c := Client{Addr: peer, Local: peer.IsLoopback() && loopbackHost(r.Host) && !relayed(r.Header)}
	if g.trusts(peer) {
		c.Addr = g.reported(r.Header, peer)
	}
	return c
}

// relayed says that a proxy has had its hands on the request, by what it says of itself.
func relayed(h http.Header) bool {
	for name := range h {
		if name == "Via" || name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded") {
			return true
		}
	}
	return false
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
