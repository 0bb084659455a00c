package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zcache/internal/auth"
	"zcache/internal/fill"
)

var errMisdirected = errors.New("the request is for another host than its tunnel leads to")

// An Interceptor ends the TLS of tunnels to the hosts that its Authority permits, and has the requests inside answered as those of any client of the
// forward proxy. A nil Interceptor, or one without an Authority, leaves all tunnels alone. It starts nothing: Serve answers.
type Interceptor struct {
	authority atomic.Pointer[Authority]
	reaches   func(host, port string) bool
	conns     chan net.Conn // to Accept
	once      sync.Once
	closed    chan struct{}
}

// NewInterceptor returns an Interceptor. reaches says which host and port a tunnel may be asked for; to others none is, intercepted or not. Nil is port 443
// alone.
func NewInterceptor(a *Authority, reaches func(host, port string) bool) *Interceptor {
	i := &Interceptor{conns: make(chan net.Conn), closed: make(chan struct{}), reaches: reaches}
	if reaches == nil {
		i.reaches = func(_, port string) bool { return port == "443" }
	}
	i.SetAuthority(a)
	return i
}

// SetAuthority replaces the authority. Tunnels under way keep theirs.
func (i *Interceptor) SetAuthority(a *Authority) { i.authority.Store(a) }

// Authority is the one in force; nil when none is.
func (i *Interceptor) Authority() *Authority {
	if i == nil {
		return nil
	}
	return i.authority.Load()
}

// Serve answers the requests inside the tunnels of g, with the limits of server, until that is shut down.
func (i *Interceptor) Serve(server *http.Server, g *Gateway) error {
	server.Handler = http.HandlerFunc(g.serveInside)
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if t, ok := c.(*tls.Conn); ok {
			if inner, ok := t.NetConn().(*tunnelled); ok {
				return context.WithValue(ctx, tunnelKey{}, inner)
			}
		}
		return ctx
	}
	return server.Serve((*inside)(i))
}

// inside is the listener of an Interceptor.
type inside Interceptor

func (l *inside) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *inside) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *inside) Addr() net.Addr { return &net.UnixAddr{Name: "interception", Net: "pipe"} }

// hand gives a connection to Serve; false when that has ended, or the client has left before its turn came.
func (i *Interceptor) hand(ctx context.Context, c net.Conn) bool {
	select {
	case i.conns <- c:
		return true
	case <-i.closed:
	case <-ctx.Done():
	}
	return false
}

// A tunnelled is the connection of a client that takes it for one to its origin.
type tunnelled struct {
	net.Conn
	early      []byte // what the client sent before it was told to, until that is read
	host, port string // as in the CONNECT request, the host in lower case and without brackets
	asked      http.Header
	client     auth.Client // who asked for the tunnel, and asks for all in it
	credential string      // by which that is known
}

func (t *tunnelled) Read(p []byte) (int, error) {
	if len(t.early) == 0 {
		return t.Conn.Read(p)
	}
	n := copy(p, t.early)
	t.early = t.early[n:]
	return n, nil
}

// authority is the one of the URLs that are asked inside.
func (t *tunnelled) authority() string {
	switch {
	case t.port != "443":
		return net.JoinHostPort(t.host, t.port)
	case strings.Contains(t.host, ":"):
		return "[" + t.host + "]"
	}
	return t.host
}

// SetLinger lets a body that broke off end otherwise than one that is whole.
func (t *tunnelled) SetLinger(sec int) error {
	if l, ok := t.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(sec)
	}
	return nil
}

// intercept answers a CONNECT request of a client that may use the forward proxy. It is false, with nothing done, for a host that is to be tunnelled, or
// refused.
func (g *Gateway) intercept(w http.ResponseWriter, r *http.Request, x *exchange) (handled bool) {
	host, port, err := destination(r.RequestURI)
	a := g.cfg.Intercept.Authority()
	if err != nil || !a.Permits(host) || !g.cfg.Intercept.reaches(host, port) {
		return false
	}
	config, err := a.config(host)
	if err != nil {
		g.log.Warn("interception", "host", host, "error", err)
		return false
	}
	t := &tunnelled{host: host, port: port, asked: r.Header, client: x.client, credential: x.credential}
	if t.Conn, t.early, err = g.takeOver(w, x); err != nil {
		x.err = err
		return x.status != 0
	}
	x.outcome = fill.Outcome{Cache: fill.Bypass, Detail: "intercepted"}
	t.SetDeadline(time.Time{}) // the server inside has limits of its own
	if !g.cfg.Intercept.hand(r.Context(), tls.Server(t, config)) {
		t.Close()
	}
	return true
}

// tunnelKey finds the tunnel of a request in its context.
type tunnelKey struct{}

// tellsWho says that a field is one by which a proxy tells for whom it asks.
func tellsWho(name string) bool {
	return name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-")
}

// serveInside answers a request from inside a tunnel as if it had been asked of the forward proxy by its whole URL.
func (g *Gateway) serveInside(w http.ResponseWriter, r *http.Request) {
	t, ok := r.Context().Value(tunnelKey{}).(*tunnelled)
	if !ok {
		panic(http.ErrAbortHandler) // nothing but tunnels comes here
	}
	t.identify(r)
	if !t.leadsTo(r) {
		x := &exchange{id: newID(), start: g.cfg.Now(), client: g.cfg.Guard.Inside(r, t.client), host: bareHost(r.Host), form: proxyForm}
		w.Header()["X-Request-Id"] = []string{x.id}
		g.fail(w, x, errMisdirected)
		g.done(r, x)
		return
	}
	u := *r.URL
	u.Scheme, u.Host = "https", t.authority()
	r.URL, r.Host = &u, u.Host
	if to, ok := split(r.RequestURI); ok { // what is no path is refused as anywhere
		r.RequestURI = "https://" + u.Host + to.path
		if to.hasQuery {
			r.RequestURI += "?" + to.query
		}
	}
	g.ServeHTTP(w, r)
}

// identify has a request come from whom its tunnel comes. A trusted proxy tells who asks in the CONNECT request; inside the tunnel it can write nothing, so
// what stands there is the client's own word.
func (t *tunnelled) identify(r *http.Request) {
	r.Header = r.Header.Clone()
	maps.DeleteFunc(r.Header, func(name string, _ []string) bool { return tellsWho(name) })
	for name, values := range t.asked {
		if tellsWho(name) {
			r.Header[name] = values
		}
	}
	if via := t.asked["Via"]; via != nil {
		r.Header["Via"] = slices.Concat(via, r.Header["Via"])
	}
}

// leadsTo says that a request is for the host and port of its tunnel. A client may use one connection for all hosts that its certificate is for
// (RFC 9113 section 9.1.1); ours are for one.
func (t *tunnelled) leadsTo(r *http.Request) bool {
	if r.Method == http.MethodConnect || r.URL.IsAbs() && r.URL.Scheme != "https" {
		return false
	}
	port := "443"
	if _, p, err := net.SplitHostPort(r.Host); err == nil {
		port = p
	}
	return bareHost(r.Host) == t.host && port == t.port
}
