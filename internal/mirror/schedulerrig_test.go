package mirror

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
	"zcache/internal/listing"
)

// A shelfStore holds the listings and files that the tests of companions put there, and nothing for those of the scheduler.
type shelfStore struct {
	Store
	mu    sync.Mutex
	lists map[cache.Key]*listing.Listing
	files map[cache.Key]bool
}

func (s *shelfStore) Open(key cache.Key, _ http.Header) (*cache.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lists[key] == nil {
		return nil, cache.ErrNotStored
	}
	return cache.NewEntry(key, &cache.Meta{Status: http.StatusOK, Listing: true}, cache.BytesBody(nil)), nil
}

func (s *shelfStore) Listing(e *cache.Entry) (*listing.Listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lists[e.Key], nil
}

func (s *shelfStore) Peek(key cache.Key) (*cache.Meta, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.files[key] {
		return nil, false, cache.ErrNotStored
	}
	return &cache.Meta{Status: http.StatusOK}, false, nil
}

// asker is a Refresher that notes what it is asked.
type asker struct {
	refresh func(ctx context.Context, a Ask) (Answer, error)
	mu      sync.Mutex
	asked   []string
	busy    int
	most    int // at a time
}

func (a *asker) Listing() http.Header { return nil }

func (a *asker) Refresh(ctx context.Context, ask Ask) (Answer, error) {
	a.mu.Lock()
	a.asked = append(a.asked, ask.Key.String())
	a.busy++
	a.most = max(a.most, a.busy)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.busy--
	}()
	if a.refresh == nil {
		return Answer{Outcome: Stored}, nil
	}
	return a.refresh(ctx, ask)
}

// An outing is one walk that a rig's walker was sent on.
type outing struct {
	name  string
	at    time.Time
	began time.Time
	limit int64
	dry   bool
}

// A rig is a Scheduler whose walks are played.
type rig struct {
	*Scheduler
	t    *testing.T
	root *durable.Root
	end  context.CancelFunc
	done chan error

	mu      sync.Mutex
	outings []outing
}

func (r *rig) all() []outing {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]outing(nil), r.outings...)
}

func keyOf(t testing.TB, path string) cache.Key {
	t.Helper()
	hub, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	k, err := cache.ParseKey(hub, "/"+rest, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func subtree(t testing.TB, path string) Subtree {
	t.Helper()
	return Subtree{Name: path, Dir: keyOf(t, strings.TrimSuffix(path, "/")+"/"), Upstream: "http://upstream.example" + path}
}

func rootAt(t testing.TB, dir string) *durable.Root {
	t.Helper()
	root, err := durable.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

// play makes a Scheduler over root whose walks do what act says, and lets it run until the test ends.
func play(t *testing.T, root *durable.Root, cfg Config, act func(context.Context, *job) (result, error), paths ...string) *rig {
	t.Helper()
	r := newRig(t, root, cfg, act, paths...)
	r.run()
	return r
}

func newRig(t *testing.T, root *durable.Root, cfg Config, act func(context.Context, *job) (result, error), paths ...string) *rig {
	t.Helper()
	cfg.Root = root
	if cfg.Store == nil {
		cfg.Store = &shelfStore{}
	}
	if cfg.Refresher == nil {
		cfg.Refresher = &asker{}
	}
	for _, path := range paths {
		cfg.Subtrees = append(cfg.Subtrees, subtree(t, path))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Scheduler: s, t: t, root: root, done: make(chan error, 1)}
	s.walker = func(ctx context.Context, j *job) (result, error) {
		r.mu.Lock()
		r.outings = append(r.outings, outing{j.sub.Name, time.Now(), j.began, j.limit, j.dry})
		r.mu.Unlock()
		return act(ctx, j)
	}
	return r
}

func (r *rig) run() {
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.done <- r.Run(ctx) }()
	r.t.Cleanup(r.halt)
}

// halt ends Run and waits for it.
func (r *rig) halt() {
	if r.end == nil {
		return
	}
	r.end()
	r.end = nil
	if err := <-r.done; !errors.Is(err, context.Canceled) {
		r.t.Errorf("Run = %v, want %v", err, context.Canceled)
	}
}

// keepTouching touches path every step for a while, as clients do.
func (r *rig) keepTouching(path string, step, span time.Duration) {
	key := keyOf(r.t, path)
	for until := time.Now().Add(span); time.Now().Before(until); {
		r.Touch(key)
		synctest.Wait()
		time.Sleep(step)
	}
	synctest.Wait()
}

func (r *rig) touch(path string) {
	r.Touch(keyOf(r.t, path))
	synctest.Wait()
}

func (r *rig) want(n int, when string) {
	r.t.Helper()
	if got := len(r.all()); got != n {
		r.t.Fatalf("walks %s = %d, want %d: %v", when, got, n, r.all())
	}
}

func (r *rig) status(name string) Status {
	r.t.Helper()
	st, ok := r.Lookup(name)
	if !ok {
		r.t.Fatalf("Lookup(%q) finds nothing", name)
	}
	return st
}

func succeed(context.Context, *job) (result, error) {
	return result{files: 3, dirs: 2, bytes: 1000}, nil
}

// untilEnd walks until its context ends.
func untilEnd(ctx context.Context, _ *job) (result, error) {
	<-ctx.Done()
	return result{}, ctx.Err()
}

// bubble runs f in a synctest bubble, with a root that was opened outside.
func bubble(t *testing.T, f func(t *testing.T, root *durable.Root)) {
	t.Helper()
	root := rootAt(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) { f(t, root) })
}
