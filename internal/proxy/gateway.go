package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/limit"
	"zcache/internal/listing"
)

// What a request can fail by here.
var (
	errUnmapped    = errors.New("no hub is bound to this host")
	errNoHub       = errors.New("no hub serves this path")
	errLoop        = errors.New("request loop")
	errBadTarget   = errors.New("request target is not a path")
	errMethod      = errors.New("method is not supported")
	errCrossOrigin = errors.New("the request comes from another site's page")
	errShortWrite  = errors.New("body ended early")
)

// Config is what a Gateway works with.
type Config struct {
	Hubs       []Hub
	Public     *url.URL // --public-url; nil when not given
	Filler     *fill.Filler
	Guard      *auth.Guard
	Audit      *auth.Audit    // of what was refused, and of writes; nil keeps none
	Limiter    *limit.Limiter // nil admits everything
	Filter     *limit.Filter  // of what may be fetched; nil lets everything through
	Forward    *Forward       // the forward proxy and the URL forms; nil switches them off
	Intercept  *Interceptor   // of tunnels; nil leaves them all alone
	Operations http.Handler   // everything under /-/
	Front      http.Handler   // "/" when no hub is mounted there
	Listings   Listings       // nil when nothing is stored
	// Touch is called with the Key of what a GET or HEAD gets an answer to that is no error, as soon as that is known and before any body; nil = nobody
	// wants to know. It must not wait.
	Touch func(cache.Key)
	// Subtree returns the digest of all that is held at and below a directory, and as of when that is all that its upstream has; nil = never known.
	Subtree func(dir cache.Key) (digest string, asOf time.Time, ok bool)
	// AsOf returns as of when all that is held at and below a directory is known to be what its upstream has; nil = never known.
	AsOf func(dir cache.Key) (time.Time, bool)
	// Browse writes the page of a directory, for which BrowsePolicy is the Content-Security-Policy.
	Browse       func(w io.Writer, p *listing.Page) error
	BrowsePolicy string
	// KeyOf returns the Key of a URL that lies under one of the hub's upstreams.
	KeyOf      func(hub string, u *url.URL) (cache.Key, bool)
	ID         string // of this process, for CDN-Loop
	Logger     *slog.Logger
	Registerer Registerer
	Now        func() time.Time
}

// A Gateway is the face to clients, reverse proxy and forward proxy. It is an http.Handler. Close ends its tunnels.
type Gateway struct {
	cfg      Config
	table    atomic.Pointer[table]
	forward  atomic.Pointer[Forward]
	filter   atomic.Pointer[limit.Filter]
	files    *Hub // the built-in hub, of URLs that are under no hub's upstream
	tunnels  tunnels
	looked   looked
	learned  learned
	renewal  time.Duration // between looks at whether those who have tunnels may still have them
	owned    owned
	sweeping sync.Mutex // held by who lets go of a large listing
	log      *slog.Logger
	metrics  *metrics
}

// NewGateway returns a Gateway for the hubs of cfg.
func NewGateway(cfg Config) *Gateway {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), renewal: 30 * time.Second}
	g.withoutMirror()
	g.owned.open()
	g.files = &Hub{Name: cache.FilesHub, Module: "legacy", Rollout: "legacy-only", Auth: "anonymous", Listings: true}
	g.SetHubs(cfg.Hubs)
	g.SetForward(cfg.Forward)
	g.SetFilter(cfg.Filter)
	return g
}

// Close ends all tunnels, which a server that shuts down does not wait for, and what is computed behind, and returns when they have ended.
func (g *Gateway) Close() {
	g.owned.close()
	g.tunnels.close()
}

// SetHubs replaces the hubs. Requests under way keep theirs.
func (g *Gateway) SetHubs(hubs []Hub) {
	g.table.Store(newTable(append([]Hub(nil), hubs...), g.cfg.Public))
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{id: newID(), start: g.cfg.Now(), asked: r.URL.Path, connect: r.Method == http.MethodConnect}
	table := g.table.Load()
	g.identify(r, x, table)
	x.takeSubtree(r)
	w.Header()["X-Request-Id"] = []string{x.id}
	defer g.release(x)
	err := g.serve(w, r, x, table)
	g.sifted(x)
	g.noteAccess(r, x, err)
	if err != nil {
		x.err = err
		if x.status == 0 && r.Context().Err() != nil && errors.Is(err, context.Canceled) {
			x.status = 499 // the client has left, or shut its side: then it would take an empty 200 from net/http for the answer
		}
		if x.status != 0 {
			// The head is out, or must not go out: only the end of the connection can tell the client that there is no more.
			g.done(r, x)
			if x.open && reset(w) {
				return
			}
			panic(http.ErrAbortHandler)
		}
		g.fail(w, x, err)
	}
	g.done(r, x)
}

// reset ends the connection of an HTTP/1.0 client by RST: an orderly end would be the end of the body.
func reset(w http.ResponseWriter) bool {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn() // TLS would say goodbye in order
	}
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	c.Close()
	return true
}

// serve is the story of one request.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, x *exchange, table *table) error {
	if r.Method == http.MethodTrace {
		return errMethod
	}
	if err := g.loops(r); err != nil {
		return err
	}
	if r.Method == http.MethodConnect {
		return g.tunnel(w, r, x, table)
	}
	if r = hops(r); r == nil {
		return g.options(w, x)
	}
	if r.URL.IsAbs() && r.URL.Host == "" {
		return errBadTarget // net/http makes up for it with the Host field
	}
	if x.form == proxyForm {
		l, err := absolute(r.RequestURI)
		if err != nil {
			return err
		}
		return g.relay(w, r, x, table, l)
	}
	return g.atPath(w, r, x, table)
}

// atPath answers a request for a path of ours.
func (g *Gateway) atPath(w http.ResponseWriter, r *http.Request, x *exchange, table *table) error {
	t, ok := split(r.RequestURI)
	if !ok {
		return errBadTarget
	}
	path, err := normal(t.path)
	if err != nil {
		return err
	}
	if strings.HasPrefix(path, "/-/") || path == "/-" {
		x.outcome.Detail = "operations"
		if !alwaysAnswered[path] {
			if err := g.admit(r, x, ""); err != nil {
				return err
			}
		}
		g.cfg.Operations.ServeHTTP(&counting{ResponseWriter: w, x: x}, r)
		return nil
	}
	if isHelp(path) {
		if err := g.cfg.Guard.Allow(x.client, auth.Read); err != nil {
			return err
		}
		return g.help(w, r, x)
	}
	if l, is, err := inPath(path, t); is {
		if x.form = urlForm; l.user != nil {
			x.path = l.base + l.path
		}
		if err != nil {
			return err
		}
		return g.relay(w, r, x, table, l)
	}
	to, err := route(table, x.host, path, t)
	if errors.Is(err, errNoHub) || errors.Is(err, errUnmapped) {
		p := auth.Place{Path: path}
		if errors.Is(err, errUnmapped) {
			p.Host = x.host
		}
		return cmp.Or(g.mayAt(x, p), err)
	}
	if err != nil {
		return err
	}
	if to.hub == nil {
		if err := g.admit(r, x, ""); err != nil {
			return err
		}
		g.cfg.Front.ServeHTTP(&counting{ResponseWriter: w, x: x}, r)
		return nil
	}
	return g.answer(w, x.client.Consume(r), x, to, t)
}

// crossOrigin tells the unsafe requests that another site's page had a browser send.
var crossOrigin = http.NewCrossOriginProtection()

// answer gives a client what lies at a place. The request is without what was meant for this instance: that is nobody else's business, and keeps
// nothing from being shared.
func (g *Gateway) answer(w http.ResponseWriter, r *http.Request, x *exchange, to place, t target) error {
	x.hub = to.hub
	if err := g.may(r, x, to); err != nil {
		if x.way && r.Method != http.MethodOptions {
			return g.slash(w, x, to.shown(to.key)+"/", t)
		}
		return err
	}
	to.narrow = g.narrow(x, to)
	if err := g.admit(r, x, to.hub.Name); err != nil {
		return err
	}
	if to.asked != proxyForm && crossOrigin.Check(r) != nil {
		return errCrossOrigin // another site's page would write with what a hub knows, or from within this network
	}
	if to.key == (cache.Key{}) || to.bare {
		return g.slash(w, x, to.base+"/", t)
	}
	if err := g.sift(r, x, to); err != nil {
		return err
	}
	if to.hub.Writable && to.asked != gatewayForm && !safe(r.Method) {
		// The upstream would be written to with what the hub knows, by who may keep originals here.
		return fmt.Errorf("%w: originals are put at the hub's own path", errMethod)
	}
	if to.hub.Writable && to.asked == gatewayForm && !safe(r.Method) {
		return g.change(w, r, x, to)
	}
	r = g.passCredentials(r, x, &to)
	if done, err := g.directory(w, r, x, to); done {
		return err
	}
	if x.unseen != nil {
		return x.unseen
	}
	a, err := g.cfg.Filler.Get(r.Context(), g.equip(x, g.request(w, r, to)))
	if err != nil {
		return err
	}
	defer a.Close()
	g.sifted(x) // an override is on record before the body leaves, which may take hours
	if a.Status == http.StatusNotFound && g.leadsToOriginals(r, to) {
		return g.slash(w, x, to.shown(to.key)+"/", t)
	}
	g.ascend(to.hub, to.key)
	return g.reply(w, r, x, to, a)
}

// normal is a path as Keys have it, so that no other spelling of one is routed elsewhere.
func normal(path string) (string, error) {
	if strings.IndexByte(path, '%') < 0 {
		return path, nil
	}
	k, err := cache.ParseKey("x", path, "", false)
	return k.Path(), err
}

// route finds the hub and Key that a target means, whose normal path is given. No hub and no error is the list of hubs; the zero Key asks for the
// mount's slash.
func route(table *table, host, path string, t target) (place, error) {
	hub, base, rest := table.find(host, path)
	switch {
	case hub == nil && !table.open(host):
		return place{}, fmt.Errorf("%w: %s", errUnmapped, host)
	case hub == nil && path == "/":
		return place{}, nil
	case hub == nil:
		if _, err := cache.ParseKey("x", path, "", false); err != nil {
			return place{}, err // what names nothing anywhere is the client's mistake, not a hub's absence
		}
		return place{}, errNoHub
	case rest == "":
		return place{hub: hub, base: base}, nil
	}
	key, err := cache.ParseKey(hub.Name, rest, t.query, t.hasQuery)
	return place{hub: hub, key: key, base: base}, err
}

// slash sends a client from "/kernel" to "/kernel/".
func (g *Gateway) slash(w http.ResponseWriter, x *exchange, to string, t target) error {
	if t.hasQuery {
		to += "?" + t.query
	}
	w.Header()["Location"] = []string{to}
	x.status = http.StatusMovedPermanently
	x.outcome = fill.Outcome{Detail: "slash"}
	g.stamp(w.Header(), x)
	w.WriteHeader(x.status)
	return nil
}

// request is what the filler is asked for a client.
func (g *Gateway) request(w http.ResponseWriter, r *http.Request, to place) *fill.Request {
	out := &fill.Request{Key: to.key, Method: r.Method, Header: r.Header, Length: r.ContentLength, PassRedirects: to.asked == proxyForm || to.narrow, Credential: to.credential}
	if to.asked == urlForm && (len(r.Header["Cookie"]) > 0 || len(r.Header["Referer"]) > 0) {
		// To a browser all hosts are one here: a cookie is of some other's, and the path that led here is nobody's business.
		out.Header = r.Header.Clone()
		delete(out.Header, "Cookie")
		delete(out.Header, "Referer")
	}
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		out.Body = r.Body
	}
	out.Interim = func(status int, header http.Header) {
		if status < 100 || status > 199 || status == http.StatusSwitchingProtocols || !r.ProtoAtLeast(1, 1) {
			return // HTTP/1.0 knows no interim responses: it would take one for the answer
		}
		h := w.Header()
		kept := h.Clone()
		clear(h)
		for name, values := range header {
			h[name] = values
		}
		w.WriteHeader(status)
		clear(h)
		for name, values := range kept {
			h[name] = values
		}
	}
	return out
}

// maxMembers is how many zcaches a request may have passed: a longer chain is a loop that changes its ids.
const maxMembers = 16

// loops refuses a request that has been here before (RFC 8586).
func (g *Gateway) loops(r *http.Request) error {
	members := 0
	for _, line := range r.Header["Cdn-Loop"] {
		for m := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(strings.TrimSpace(m), ";")
			if !strings.EqualFold(strings.TrimSpace(name), "zcache") {
				continue
			}
			members++
			for p := range strings.SplitSeq(params, ";") {
				name, id, _ := strings.Cut(strings.TrimSpace(p), "=")
				if strings.EqualFold(name, "id") && strings.Trim(id, `"`) == g.cfg.ID && g.cfg.ID != "" {
					return fmt.Errorf("%w: it has passed this instance", errLoop)
				}
			}
		}
	}
	if members > maxMembers {
		return fmt.Errorf("%w: it has passed %d instances", errLoop, members)
	}
	return nil
}
