package auth

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrDenied says that the client may not do what it asked for.
	ErrDenied = errors.New("denied")
	// ErrUnauthenticated is the ErrDenied of a client that credentials could help: it has none, or they are wrong. It is answered with 401, or 407 in
	// proxy form, and Guard.Challenge.
	ErrUnauthenticated = fmt.Errorf("%w, for it is not known who asks", ErrDenied)
	// ErrBusy is the ErrDenied of a client whose password could not be checked, for too many are being checked. It may try again in a second (503).
	ErrBusy = fmt.Errorf("%w for now: too many passwords are being checked", ErrDenied)
)

// A Client is who asks. It is a value; the zero Client is anonymous, from nowhere.
type Client struct {
	Addr netip.Addr // the client's address; not valid when a trusted proxy leaves it unclear
	// Local says that the request comes from this machine itself, by no proxy, and names it by a loopback name.
	Local bool

	rules    *Rules    // that it was identified by
	who      *identity // nil without good credentials
	bearer   bool      // who came as Bearer
	wrong    error     // why the credentials are not good
	consumed int       // the fields that were ours
}

// Known says whether the client has proved who it is.
func (c Client) Known() bool { return c.who != nil && c.wrong == nil }

// Subject names a known client, as token:<id>, user:<name> or jwt:<subject>; "" for an anonymous one.
func (c Client) Subject() string {
	if !c.Known() {
		return ""
	}
	return c.who.kind + ":" + c.who.id
}

// Name is what people call a known client; "" for an anonymous one. Tokens of one name are different clients.
func (c Client) Name() string {
	if !c.Known() {
		return ""
	}
	return c.who.name
}

// A Guard identifies clients and judges what they may do. Its methods may be called concurrently.
type Guard struct {
	trusted []netip.Prefix
	rules   atomic.Pointer[Rules]
	setting sync.Mutex // held by SetRules
	checker *checker
	now     func() time.Time // replaced in tests
}

// NewGuard returns a Guard that believes the forwarding fields of peers in trusted. It knows nobody and lets everybody read until SetRules.
func NewGuard(trusted []netip.Prefix) *Guard {
	g := &Guard{trusted: trusted, checker: newChecker(), now: time.Now}
	g.rules.Store(openRules)
	return g
}

// SetRules replaces the rules. Requests under way keep theirs.
func (g *Guard) SetRules(r *Rules) {
	g.setting.Lock()
	defer g.setting.Unlock()
	if old := g.rules.Load(); r.jwt != nil && old.jwt != nil && r.jwt != old.jwt {
		r.jwt.adopt(old.jwt)
	}
	g.rules.Store(r)
}

// Identify says who asks, taking a request with an absolute-form target, or CONNECT, for one to a forward proxy.
//
// Forwarding fields count only when the peer is trusted; from any other peer they make the request one that was relayed by nobody knows whom, so
// that it is never taken for local.
func (g *Guard) Identify(r *http.Request) Client {
	return g.IdentifyIn(r, r.Method == http.MethodConnect || r.URL.IsAbs())
}

// IdentifyIn is Identify for who knows whether r is a request to a forward proxy: an absolute-form target that names this instance makes none.
// Checking a password takes time; it is given up with ErrBusy when r's context ends.
func (g *Guard) IdentifyIn(r *http.Request, proxy bool) Client {
	peer := address(r.RemoteAddr)
	c := Client{Addr: peer, Local: peer.IsLoopback() && loopbackHost(r.Host) && !relayed(r.Header), rules: g.rules.Load()}
	if g.trusts(peer) {
		c.Addr = g.reported(r.Header, peer)
	}
	if c.rules.configured {
		c = g.authenticate(r.Context(), r.Header, proxy, c)
	}
	return c
}

// Inside is who asks in a request that came through a tunnel which outer opened: outer itself, as the rules in force now know it. Authorization
// is the origin's there, but a token of ours in it is to be consumed.
func (g *Guard) Inside(r *http.Request, outer Client) Client {
	c := g.Renew(outer)
	c.Local, c.consumed = false, 0
	for _, line := range r.Header["Authorization"] {
		if HasToken(line) && c.rules.configured {
			c.consumed |= inAuthorization
		}
	}
	return c
}

// Renew is c under the rules in force now, for what goes on for long: a token may have been revoked or have expired since.
func (g *Guard) Renew(c Client) Client {
	rules := g.rules.Load()
	if c.wrong == nil && c.who != nil {
		if c.rules == rules {
			c.wrong = c.who.current(g.now())
		} else {
			c.who, c.wrong = rules.renew(c.who, g.now())
		}
	}
	c.rules = rules
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
