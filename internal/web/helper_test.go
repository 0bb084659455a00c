package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/freshness"
	"zcache/internal/origin"
	"zcache/internal/origin/origintest"
	"zcache/internal/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a Server over a real filler, tree, transport and gateway. Hub "up" is mounted at /up/ over the origin's /pub, hub "deb" answers
// to deb.lab over its /debian; both have credentials there.
type rig struct {
	t        *testing.T
	o        *origintest.Origin
	cfg      Config
	s        *Server
	tree     *cache.Tree
	registry *prometheus.Registry
	gateway  *proxy.Gateway
	log      *bytes.Buffer
	reload   error
	policy   fill.Policy
}

const (
	user     = "mirror"
	password = "s3cr3t-w0rd"
)

// changing is what a test makes different about its rig.
type changing func(*Config, *fill.Config)

func newRig(t *testing.T, changes ...changing) *rig {
	t.Helper()
	g := &rig{t: t, o: origintest.New(t), registry: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	g.policy = fill.Policy{Rule: freshness.Rule{NegativeTTL: 15 * time.Second}, Tries: 1}
	hub := func(name, path string) origin.Hub {
		u := &url.URL{Scheme: "http", Host: g.o.Addr, Path: path, User: url.UserPassword(user, password)}
		return origin.Hub{Name: name, Upstreams: []*url.URL{u}}
	}
	tr, err := origin.New(origin.Config{Hubs: []origin.Hub{hub("up", "/pub"), hub("deb", "/debian")}, Registerer: g.registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	if g.tree, err = cache.OpenTree(cache.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.tree.Close() })
	keyOf := func(hub string, u *url.URL) (cache.Key, bool) {
		path, ok := tr.UnderHub(hub, u)
		if !ok {
			return cache.Key{}, false
		}
		key, err := cache.ParseKey(hub, path, u.RawQuery, u.RawQuery != "")
		return key, err == nil
	}
	address := func(key cache.Key) string {
		to, _ := tr.Resolve(key.Hub(), key.Path())
		return to
	}
	log := slog.New(slog.NewTextHandler(&lockedWriter{w: g.log}, nil))
	fc := fill.Config{
		Store: g.tree, Origin: tr, Policy: func(cache.Key) fill.Policy { return g.policy },
		KeyOf: keyOf, Upstream: address, Skip: origin.WithSkipOpen,
	}
	guard := auth.NewGuard([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	g.cfg = Config{
		Store: g.tree, Guard: guard, Resolve: func(raw, host string) (cache.Key, error) { return g.gateway.Resolve(raw, host) }, KeyOf: keyOf,
		Hubs: func() []HubInfo {
			return []HubInfo{
				{Name: "up", Path: "/up/", Module: "legacy", Rollout: "legacy-only", Policy: map[string]any{"upstream": g.o.URL}},
				{Name: "deb", Hosts: []string{"deb.lab"}, Module: "legacy", Rollout: "legacy-only"},
			}
		},
		Upstreams: func() any { return tr.Status() }, UpstreamURL: address, Reload: func() error { return g.reload },
		Version: map[string]string{"version": "v1.2.3"}, Mode: "cache", Gatherer: g.registry, Logger: log,
	}
	for _, change := range changes {
		change(&g.cfg, &fc)
	}
	g.cfg.Filler = fill.New(fc)
	t.Cleanup(g.cfg.Filler.Close)
	g.s = NewServer(g.cfg)
	t.Cleanup(g.s.Close)
	g.gateway = proxy.NewGateway(proxy.Config{
		Hubs:   []proxy.Hub{{Name: "up", Mount: "/up/"}, {Name: "deb", Hosts: []string{"deb.lab"}}},
		Filler: g.cfg.Filler, Guard: guard, Operations: g.s, Front: g.s.Front(), KeyOf: keyOf, ID: "test", Registerer: g.registry,
	})
	return g
}

type lockedWriter struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// file makes the origin have a file that stays fresh for an hour, at the path that clients of hub up ask for.
func (g *rig) file(path string, opts ...origintest.Option) {
	g.o.File("/pub"+path, origintest.Text("body of "+path), append([]origintest.Option{origintest.Header("Cache-Control", "max-age=3600")}, opts...)...)
}

// asked is how often the origin was asked.
func (g *rig) asked() int { return g.o.Total() }

// A change makes a request another one than the local client's.
type change func(*http.Request)

func field(name, value string) change { return func(r *http.Request) { r.Header.Add(name, value) } }
func peer(addr string) change         { return func(r *http.Request) { r.RemoteAddr = addr } }
func host(name string) change         { return func(r *http.Request) { r.Host = name } }

const remotePeer = "192.0.2.7:4711"

var remote = peer(remotePeer)

// do sends a request as a client on the machine itself does, but for the changes.
func (g *rig) do(method, target, body string, changes ...change) *httptest.ResponseRecorder {
	g.t.Helper()
	return do(g.t, g.s, method, target, body, changes...)
}

func do(t *testing.T, h http.Handler, method, target, body string, changes ...change) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:4711", "localhost:3142"
	for _, c := range changes {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// object reads a JSON answer.
func object(t *testing.T, w *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("answer %d is no JSON object: %v\n%s", w.Code, err, w.Body)
	}
	return v
}

// isProblem holds an answer against RFC 9457 and the member that programs look at.
func isProblem(t *testing.T, claim string, w *httptest.ResponseRecorder, status int, word string) {
	t.Helper()
	if w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: answer = %d %s, want %d as problem JSON\n%s", claim, w.Code, w.Header().Get("Content-Type"), status, w.Body)
		return
	}
	p := object(t, w)
	if p["status"] != float64(status) || p["error"] != word || p["type"] != "about:blank" || p["title"] == "" || p["detail"] == "" {
		t.Errorf("%s: problem = %s, want status %d, error %q, a title and a detail", claim, w.Body, status, word)
	}
}

// sick is a store whose disk is gone.
type sick struct{ *cache.Tree }

var errDisk = errors.New("open /srv/zcache/secret-path: input/output error")

func (sick) Health() error                                     { return errDisk }
func (sick) Open(cache.Key, http.Header) (*cache.Entry, error) { return nil, errDisk }

func withSickStore(c *Config, f *fill.Config) {
	s := sick{c.Store.(*cache.Tree)}
	c.Store, f.Store = s, s
}

func withoutStore(c *Config, f *fill.Config) { c.Store, f.Store, c.Mode = nil, nil, "proxy" }
