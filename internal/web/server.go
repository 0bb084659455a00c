package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// A Store is what is asked of the store here.
type Store interface {
	Health() error
	Usage() (bytes, entries int64, scanned bool)
	Free() (int64, error)
}

// HubInfo tells of a hub as it is configured now.
type HubInfo struct {
	Name    string   `json:"name"`
	Path    string   `json:"path,omitempty"`
	Hosts   []string `json:"hosts,omitempty"`
	Module  string   `json:"module_key"`
	Rollout string   `json:"rollout_flag"`
	Policy  any      `json:"policy,omitempty"`
}

// Config is what a Server works with.
type Config struct {
	Filler *fill.Filler
	Store  Store  // nil when nothing is stored
	Mirror Mirror // likewise
	Trash  Trash  // likewise
	Guard  *auth.Guard
	Audit  *auth.Audit // of what was refused, and of what changed something; nil keeps none
	// Resolve returns the Key that a URL or path means, as a client of host would ask for it or as its upstream has it.
	Resolve func(raw, host string) (cache.Key, error)
	// MayAsk says whether a client may be told of a Key beyond what its place allows; nil lets everybody.
	MayAsk func(r *http.Request, key cache.Key) error
	// KeyFor returns the Key under which a client finds what is held; nil where all find the same.
	KeyFor func(c auth.Client, key cache.Key) cache.Key
	// Partitions returns the hubs that hold what was fetched for single clients of a hub; nil where there are none.
	Partitions func(hub string) []string
	// KeyOf returns the Key of a URL that lies under one of the hub's upstreams.
	KeyOf     func(hub string, u *url.URL) (cache.Key, bool)
	Hubs      func() []HubInfo
	Upstreams func() any // state of the upstreams, for status
	// UpstreamURL is where a Key would be fetched from.
	UpstreamURL func(cache.Key) string
	// Listing returns the listing of a directory that is kept, and as of when it is, without asking anybody; nil when none ever is.
	Listing func(cache.Key) (l *listing.Listing, asOf time.Time, ok bool)
	// Public is where clients reach this instance; nil leaves it to what they ask for.
	Public *url.URL
	// Forwarding tells how this instance serves as a forward proxy; nil when it does not.
	Forwarding func() Forwarding
	Reload     func() error
	Version    any // for /-/version
	Mode       string
	Offline    bool
	Gatherer   Gatherer
	Logger     *slog.Logger
	Now        func() time.Time
}

// A Server is the http.Handler of /-/. Close ends the tasks that it runs and the streams of events; EndStreams the latter alone, when a drain begins.
type Server struct {
	cfg     Config
	log     *slog.Logger
	mux     http.Handler
	admin   http.Handler
	started time.Time

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	tasks  tasks

	streaming  context.Context // ends with EndStreams, and with ctx
	endStreams context.CancelFunc
	streams    chan struct{} // holds a token for each that is open
	eventID    atomic.Uint64
}

// NewServer returns a Server.
func NewServer(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg, log: cfg.Logger, started: cfg.Now(), streams: make(chan struct{}, maxStreams)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.streaming, s.endStreams = context.WithCancel(s.ctx)
	r := s.routes()
	s.mux = r
	a := s.routes()
	profiles(a, "/-/pprof/", s)
	profiles(a, "/debug/pprof/", s) // where Go's tools and collectors look
	s.admin = a
	return s
}

// profiles adds the profiles of this process below prefix.
func profiles(r *mux.Router, prefix string, s *Server) {
	get := func(name string, h http.HandlerFunc) {
		r.HandleFunc(prefix+name, s.guarded(auth.Operate, plainHandler(h))).Methods(http.MethodGet)
	}
	get("", pprof.Index)
	get("profile", pprof.Profile)
	get("trace", pprof.Trace)
	get("{name}", func(w http.ResponseWriter, r *http.Request) {
		pprof.Handler(mux.Vars(r)["name"]).ServeHTTP(w, r)
	})
}

// Close ends the tasks under way and waits for them.
func (s *Server) Close() {
	s.cancel()
	s.wg.Wait()
}

// Admin is the handler for a listener of its own: /-/ and profiles, nothing else.
func (s *Server) Admin() http.Handler { return s.admin }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) routes() *mux.Router {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	allowed := map[string]string{}
	get := func(path string, scope auth.Scope, h handler) {
		allowed[path] = "GET, HEAD"
		r.HandleFunc(path, s.guarded(scope, h)).Methods(http.MethodGet, http.MethodHead)
	}
	post := func(path string, h handler) {
		if allowed[path] != "" {
			allowed[path] += ", "
		}
		allowed[path] += "POST"
		r.HandleFunc(path, s.guarded(auth.Operate, s.sameSite(h))).Methods(http.MethodPost)
	}
	get("/-/healthz", auth.Anyone, s.healthz)
	get("/-/readyz", auth.Anyone, s.readyz)
	get("/-/version", auth.Anyone, s.version)
	get("/-/clients", auth.Anyone, s.clients)
	get("/-/proxy.pac", auth.Anyone, s.proxyPAC)
	get("/-/ca.pem", auth.Anyone, s.caPEM)
	get("/-/explain", auth.Read, s.explain)
	get("/-/entry", auth.Read, s.entry)
	get("/-/metrics", auth.Observe, s.metrics)
	get("/-/status", auth.Observe, s.status)
	get("/-/modules", auth.Observe, s.listModules)
	get("/-/modules/{key}", auth.Observe, s.oneModule)
	get("/-/mirror", auth.Observe, s.mirrored)
	get("/-/events", auth.Observe, s.events)
	get("/-/trash", auth.Observe, s.listTrash)
	get("/-/ensure/{id}", auth.Operate, s.task)
	post("/-/ensure", s.ensure)
	post("/-/purge", s.purge)
	post("/-/walk", s.walk)
	post("/-/trash", s.restore)
	post("/-/reload", s.reload)
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		s.fail(w, r, &failure{http.StatusNotFound, "no_endpoint", "no such endpoint under /-/"})
	})
	r.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		w.Header().Set("Allow", cmp.Or(allowed[r.URL.EscapedPath()], "GET, HEAD")) // the paths that are not in it have a variable
		s.fail(w, r, &failure{http.StatusMethodNotAllowed, "method", r.Method + " is not for this endpoint"})
	})
	return r
}

// A handler answers one request or returns why not.
type handler func(http.ResponseWriter, *http.Request) error

func plainHandler(h http.HandlerFunc) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		h(w, r)
		return nil
	}
}

// harden keeps an answer from being stored, guessed at, framed, or from running anything, and says that no cache was asked for it.
func harden(h http.Header) {
	h.Set("Cache-Status", "zcache; detail=operations")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
}

// sameSite refuses what another site's page had a browser send. A page without an origin of its own (sandboxed content of an upstream,
// say) is another site.
func (s *Server) sameSite(h handler) handler {
	protection := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Origin") == "null" {
			return &failure{http.StatusForbidden, "cross_origin", "the request comes from a page of no origin"}
		}
		if err := protection.Check(r); err != nil {
			return &failure{http.StatusForbidden, "cross_origin", "the request comes from another site's page"}
		}
		return h(w, r)
	}
}

// A failure is an error that knows its status.
type failure struct {
	status int
	word   string
	detail string
}

func (f *failure) Error() string { return f.detail }

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		w.WriteHeader(499) // the client has left, or shut its side: then it would take an empty 200 from net/http for the answer
		return
	}
	f := &failure{http.StatusInternalServerError, "internal", err.Error()}
	if !s.observes(r) {
		f.detail = "something went wrong here; the log tells what" // the error may name files and upstreams
	}
	switch {
	case errors.As(err, &f):
	case errors.Is(err, auth.ErrDenied):
		f = &failure{s.asker(r).Challenge(w.Header(), err, false), "denied", err.Error()}
		switch f.status {
		case http.StatusUnauthorized:
			f.word = "unauthenticated"
		case http.StatusServiceUnavailable:
			f.word = "busy"
		}
	case errors.Is(err, cache.ErrBadKey):
		f = &failure{http.StatusBadRequest, "bad_path", err.Error()}
	}
	if f.status >= 500 && !errors.Is(err, auth.ErrDenied) {
		s.log.Error("operation", "path", r.URL.Path, "error", err)
	}
	body, _ := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(f.status), "status": f.status, "detail": f.detail, "error": f.word,
	})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(f.status)
	w.Write(append(body, '\n'))
}
