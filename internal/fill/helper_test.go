package fill

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"zcache/internal/cache"
	"zcache/internal/freshness"
	"zcache/internal/origin"
	"zcache/internal/origin/origintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// dated makes responses of the time that the clock shows.
type dated struct {
	http.RoundTripper
	clock *clock
}

func (d dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.RoundTripper.RoundTrip(r)
	if err == nil && resp.Header.Get("Date") != "" {
		resp.Header.Set("Date", d.clock.Now().UTC().Format(http.TimeFormat))
	}
	return resp, err
}

// A rig is a Filler over a real tree and a real transport, whose hub h has one origin.
type rig struct {
	t      *testing.T
	o      *origintest.Origin
	second *origintest.Origin // the hub's next upstream; nil without one
	tree   *cache.Tree
	store  cache.Store // what the Filler works with
	f      *Filler
	tr     *origin.Transport
	clock  *clock
	dir    string
	mu     sync.Mutex
	policy Policy
	first  time.Duration
}

func newRig(t *testing.T) *rig {
	t.Helper()
	g := &rig{t: t, o: origintest.New(t), clock: &clock{now: time.Now()}, dir: t.TempDir(), first: time.Minute}
	g.policy = Policy{
		Rule:   freshness.Rule{NegativeTTL: 15 * time.Second, HeuristicMax: 24 * time.Hour},
		Follow: true, Tries: 3, Backoff: time.Microsecond,
	}
	tree, err := cache.OpenTree(cache.Config{Dir: g.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	g.tree, g.store = tree, tree
	g.start()
	return g
}

// start makes the Filler, anew after an end.
func (g *rig) start() {
	g.t.Helper()
	u, err := url.Parse(g.o.URL)
	if err != nil {
		g.t.Fatal(err)
	}
	upstreams := []*url.URL{u}
	if g.second != nil {
		next, err := url.Parse(g.second.URL)
		if err != nil {
			g.t.Fatal(err)
		}
		upstreams = append(upstreams, next)
	}
	g.tr, err = origin.New(origin.Config{Hubs: []origin.Hub{{Name: "h", Upstreams: upstreams}}, AllowHosts: []string{"127.0.0.1/32"}})
	if err != nil {
		g.t.Fatal(err)
	}
	tr := g.tr
	f := New(Config{
		Store: g.store, Origin: dated{tr, g.clock}, Now: g.clock.Now, FirstByte: g.first, Skip: origin.WithSkipOpen, Avoid: origin.WithAvoid,
		Background: origin.WithBackground,
		Policy:     func(cache.Key) Policy { g.mu.Lock(); defer g.mu.Unlock(); return g.policy },
		KeyOf: func(hub string, u *url.URL) (cache.Key, bool) {
			path, ok := tr.UnderHub(hub, u)
			if !ok {
				return cache.Key{}, false
			}
			k, err := cache.ParseKey(hub, path, u.RawQuery, u.ForceQuery)
			return k, err == nil
		},
		Upstream: func(k cache.Key) string { to, _ := tr.Resolve(k.Hub(), k.Path()); return to },
	})
	g.f = f
	g.t.Cleanup(func() { f.Close(); tr.Close() })
}

// restart replaces the Filler by one with the settings as they are now.
func (g *rig) restart() {
	g.t.Helper()
	g.f.Close()
	g.tr.Close()
	g.start()
}

func (g *rig) set(change func(*Policy)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.policy)
}

func (g *rig) key(path string) cache.Key {
	g.t.Helper()
	path, query, has := strings.Cut(path, "?")
	k, err := cache.ParseKey("h", path, query, has)
	if err != nil {
		g.t.Fatal(err)
	}
	return k
}

// A received is an Answer that was read to its end.
type received struct {
	status  int
	header  http.Header
	body    string
	length  int64
	outcome Outcome
	err     error // of Get
	broken  error // of the body
}

// fields makes a Header of "Name: value" lines.
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// ask sends a request with these fields and reads the whole answer.
func (g *rig) ask(ctx context.Context, method, path string, lines ...string) received {
	return read(g.f.Get(ctx, &Request{Key: g.key(path), Method: method, Header: fields(lines...)}))
}

func (g *rig) get(path string, lines ...string) received {
	return g.ask(g.t.Context(), http.MethodGet, path, lines...)
}

func read(a *Answer, err error) received {
	if err != nil {
		return received{err: err}
	}
	defer a.Close()
	r := received{status: a.Status, header: a.Header, length: a.Length, outcome: a.Outcome}
	if a.Body != nil {
		b, err := io.ReadAll(a.Body)
		r.body, r.broken = string(b), err
	}
	return r
}

// open sends a request and leaves the body unread.
func (g *rig) open(path string, lines ...string) *Answer {
	g.t.Helper()
	a, err := g.f.Get(g.t.Context(), &Request{Key: g.key(path), Method: http.MethodGet, Header: fields(lines...)})
	if err != nil {
		g.t.Fatalf("get %s: %v", path, err)
	}
	return a
}

// idle returns when no flight is under way.
func (g *rig) idle() {
	g.t.Helper()
	for _, fl := range g.under() {
		<-fl.end
	}
}

func (g *rig) under() (all []*flight) {
	g.f.mu.Lock()
	defer g.f.mu.Unlock()
	for _, fl := range g.f.flights {
		all = append(all, fl)
	}
	for fl := range g.f.solo {
		all = append(all, fl)
	}
	return all
}

// waiting returns when n clients wait for the flight of path to make its outcome known.
func (g *rig) waiting(path string, n int64) {
	g.t.Helper()
	key := g.key(path)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, i := range g.f.Flights() {
			if i.Key == key && i.Waiting >= n {
				return
			}
		}
	}
	g.t.Fatalf("fewer than %d clients wait for %s", n, path)
}

// held returns what is stored for path, or "".
func (g *rig) held(path string) string {
	g.t.Helper()
	e, err := g.tree.Open(g.key(path), http.Header{})
	if err != nil {
		return ""
	}
	defer e.Close()
	b := make([]byte, e.Size())
	if n, err := e.ReadAt(b, 0); n != len(b) {
		g.t.Fatalf("read what is held of %s: %v", path, err)
	}
	return string(b)
}

// adopt puts a file where the body of path lies.
func (g *rig) adopt(path, body string, when time.Time) {
	g.t.Helper()
	name := filepath.Join(g.dir, "h", filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Chtimes(name, when, when); err != nil {
		g.t.Fatal(err)
	}
}

// want checks the parts of a result that are given.
func (r received) want(t *testing.T, what string, status int, body, cacheWord string) {
	t.Helper()
	switch {
	case r.err != nil || r.broken != nil:
		t.Fatalf("%s: %v, body: %v", what, r.err, r.broken)
	case r.status != status:
		t.Fatalf("%s: status %d, want %d", what, r.status, status)
	case r.body != body:
		t.Fatalf("%s: body of %d bytes %.60q, want %d bytes %.60q", what, len(r.body), r.body, len(body), body)
	case r.outcome.Cache != cacheWord:
		t.Fatalf("%s: %s (%s), want %s", what, r.outcome.Cache, r.outcome.CacheStatus(), cacheWord)
	}
}

// parseNothing is what a request without directives asks.
var parseNothing = freshness.ParseRequest(http.Header{})
