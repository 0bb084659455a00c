package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"zcache/internal/auth"
)

// A Forward is what the forward proxy and the URL forms need. It is immutable.
type Forward struct {
	Clients []netip.Prefix // who may use them beyond loopback and private networks
	// Connect opens a connection for a tunnel, if policy allows the destination.
	Connect func(ctx context.Context, host, port string) (net.Conn, error)
	Idle    time.Duration // a tunnel without a byte for this long ends; 0 = 5 min
}

var errNotProxy = errors.New("this instance does not forward for you")

// SetForward replaces the forward proxy; nil switches it off, the URL forms with it. Requests and tunnels under way go on.
func (g *Gateway) SetForward(f *Forward) { g.forward.Store(f) }

// mayForward returns the forward proxy if the client may use it.
func (g *Gateway) mayForward(r *http.Request, x *exchange) (*Forward, error) {
	f := g.forward.Load()
	if f == nil {
		return nil, fmt.Errorf("%w: --proxy is off", errNotProxy)
	}
	if err := g.cfg.Guard.Allow(x.client, auth.Read); err != nil {
		return nil, err
	}
	a := x.client.Addr.Unmap()
	for _, p := range f.Clients {
		if p.Contains(a) {
			return f, nil
		}
	}
	switch {
	case !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast():
		return nil, fmt.Errorf("%w: it is for clients on private networks (--proxy-allow-client adds others)", errNotProxy)
	case unsure(r, a):
		return nil, fmt.Errorf("%w: the request was relayed by a peer that is not in --trusted-proxy", errNotProxy)
	}
	return f, nil
}

// unsure says that a peer, whose address a is, tells that it speaks for another client, and is not one to be believed: a reverse proxy on this
// machine would otherwise make a loopback client of everybody.
func unsure(r *http.Request, a netip.Addr) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || peer.Addr().Unmap().WithZone("") != a {
		return false // the guard believed the peer, and a is whom it named
	}
	for name := range r.Header {
		if name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// relay answers a request for an absolute URL.
func (g *Gateway) relay(w http.ResponseWriter, r *http.Request, x *exchange, table *table, l locator) error {
	x.named = named(l.authority)
	_, refusal := g.mayForward(r, x)
	to, err := g.placeOf(table, l, x.form)
	if err == nil && safe(r.Method) && to.hub == g.files && !to.bare {
		closed := g.cfg.Guard.AllowAt(x.client, auth.Read, to.at())
		if x.learned = (refusal != nil || closed != nil) && g.isLearned(r, x, table, l); errors.Is(closed, auth.ErrUnauthenticated) {
			refusal = closed // who it is may open more than where it comes from
		}
	}
	switch {
	case refusal != nil && !x.learned:
		return refusal
	case err != nil:
		return err
	}
	return g.answer(w, l.withUser(x.client.Consume(r)), x, to, l.target)
}

// hops counts Max-Forwards down (RFC 9110 section 7.6.2), which only OPTIONS has a use for here. It returns the request to go on with, or nil when
// this is where it ends.
func hops(r *http.Request) *http.Request {
	line := r.Header.Get("Max-Forwards")
	n, err := strconv.ParseUint(line, 10, 31)
	if r.Method != http.MethodOptions || line == "" || err != nil {
		return r
	}
	if n == 0 {
		return nil
	}
	out := *r
	out.Header = r.Header.Clone()
	out.Header.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
	return &out
}

// options answers an OPTIONS that may go no further.
func (g *Gateway) options(w http.ResponseWriter, x *exchange) error {
	x.status = http.StatusNoContent
	w.Header()["Allow"] = []string{allowed}
	g.stamp(w.Header(), x)
	w.WriteHeader(x.status)
	return nil
}

// ourselves says that an absolute-form target names this instance.
func (t *table) ourselves(host string, r *http.Request) bool {
	if host == t.public && t.public != "" {
		return true
	}
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(interface{ String() string })
	if !ok {
		return false
	}
	local := addr.String()
	if r.Host == local || r.Host+":80" == local || r.Host+":443" == local {
		return true
	}
	_, port, _ := strings.Cut(local[strings.LastIndexByte(local, ']')+1:], ":")
	return host == "localhost" && strings.HasSuffix(r.Host, ":"+port)
}
