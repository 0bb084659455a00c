package fill

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

// A sick store takes no more of a body after so many bytes, or no body at all, or does not publish.
type sick struct {
	cache.Store
	takes  int64 // per body; -1: all
	create error
	commit error
	// Commit tells publishing and waits for publish, where they are given.
	publishing, publish chan struct{}
}

func (s *sick) Create(key cache.Key, m *cache.Meta) (cache.Draft, error) {
	if s.create != nil {
		return nil, s.create
	}
	d, err := s.Store.Create(key, m)
	if err != nil {
		return nil, err
	}
	return &sickDraft{Draft: d, s: s}, nil
}

type sickDraft struct {
	cache.Draft
	s *sick
}

func (d *sickDraft) Write(p []byte) (int, error) {
	if d.s.takes < 0 {
		return d.Draft.Write(p)
	}
	room := max(0, d.s.takes-d.Len())
	if int64(len(p)) <= room {
		return d.Draft.Write(p)
	}
	n, err := d.Draft.Write(p[:room])
	return n, errors.Join(err, cache.ErrNoSpace)
}

func (d *sickDraft) Commit(m *cache.Meta) (*cache.Entry, error) {
	if d.s.publish != nil {
		close(d.s.publishing)
		<-d.s.publish
	}
	if d.s.commit != nil {
		d.Discard(d.s.commit)
		return nil, d.s.commit
	}
	return d.Draft.Commit(m)
}

func mustMeta(g *rig, path string) *cache.Meta {
	g.t.Helper()
	e, err := g.tree.Open(g.key(path), http.Header{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer e.Close()
	return e.Meta
}

func TestSickStoreCostsNoClientItsBody(t *testing.T) {
	body := origintest.Body(40, 2<<20)
	tests := []struct {
		name string
		sick sick
		opts []origintest.Option
	}{
		{"it takes no draft", sick{takes: -1, create: cache.ErrNoSpace}, nil},
		{"it is read-only", sick{takes: -1, create: cache.ErrReadOnly}, nil},
		{"it takes no byte", sick{takes: 0}, nil},
		{"it is full in the middle", sick{takes: 700_001}, nil},
		{"it is full at the last byte", sick{takes: 2<<20 - 1}, nil},
		{"it is full in the middle, and the origin has no ranges", sick{takes: 700_001}, []origintest.Option{origintest.NoRange()}},
		{"it is full in the middle of a chunked body", sick{takes: 700_001}, []origintest.Option{origintest.Chunked()}},
		{"it does not publish", sick{takes: -1, commit: cache.ErrNoSpace}, nil},
		{"it does not publish a chunked body", sick{takes: -1, commit: cache.ErrNoSpace}, []origintest.Option{origintest.Chunked()}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			tt.sick.Store = g.tree
			g.store = &tt.sick
			g.restart()
			release := make(chan struct{})
			g.o.File("/a", body, append([]origintest.Option{cc(fresh), origintest.First(1, origintest.Hold(release))}, tt.opts...)...)
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					if r := g.get("/a"); r.err != nil || r.broken != nil || r.body != body.String() {
						t.Errorf("a client got %d of %d bytes, %v, %v", len(r.body), body.Size(), r.err, r.broken)
					}
				})
			}
			g.waiting("/a", 8)
			close(release)
			clients.Wait()
			g.idle()
			if got := g.held("/a"); got != "" {
				t.Errorf("%d bytes were kept", len(got))
			}
			g.set(func(p *Policy) { p.OnMiss = WaitMiss })
			if r := g.get("/a"); r.body != body.String() || r.err != nil || r.broken != nil {
				t.Errorf("a client that waits for the whole got %d bytes, %v, %v", len(r.body), r.err, r.broken)
			}
		})
	}
}

func TestEnsureTellsThatNothingWasKept(t *testing.T) {
	for _, s := range []sick{{takes: 100}, {takes: -1, commit: cache.ErrNoSpace}} {
		g := newRig(t)
		s.Store = g.tree
		g.store = &s
		g.restart()
		g.o.File("/a", origintest.Body(41, 1<<20), cc(fresh))
		if _, err := g.f.Ensure(t.Context(), g.key("/a")); !errors.Is(err, cache.ErrNoSpace) {
			t.Errorf("Ensure with %+v = %v, want ErrNoSpace", s, err)
		}
	}
}

func TestWithoutAStoreEverythingPasses(t *testing.T) {
	g := newRig(t)
	g.store = nil
	g.restart()
	g.o.File("/a", origintest.Text("x"), cc(fresh))
	for range 2 {
		g.get("/a").want(t, "it", 200, "x", Bypass)
	}
	g.get("/a", "Range: bytes=0-0").want(t, "a range of it", 206, "x", Bypass)
	g.ask(t.Context(), "POST", "/a").want(t, "POST", 200, "x", Bypass)
	if n, err := g.f.Purge(g.key("/a"), true); n != 0 || err != nil {
		t.Errorf("Purge = %d, %v", n, err)
	}
}

func TestRangeAcrossThePlaceWhereTheStoreGotFull(t *testing.T) {
	body := origintest.Body(42, 1<<20)
	for _, spec := range []string{"bytes=0-1000", "bytes=1000-2000", "bytes=0-9,100-1000", "bytes=400-"} {
		g := newRig(t)
		g.store = &sick{Store: g.tree, takes: 500}
		g.restart()
		release := make(chan struct{})
		g.o.File("/a", body, cc(fresh), origintest.First(1, origintest.Stall(400, release)))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // never reached by a test that passes
		a, err := g.f.Get(ctx, &Request{Key: g.key("/a"), Method: "GET", Header: fields("Range: " + spec)})
		close(release)
		r := read(a, err)
		cancel()
		if r.err != nil || r.broken != nil || r.status != 206 || int64(len(r.body)) != r.length {
			t.Errorf("%s: %d with %d of %d bytes, %v, %v", spec, r.status, len(r.body), r.length, r.err, r.broken)
		}
	}
}

func TestStoreThatIsFullAtOnceStillGivesTheBodyToWhoCannotAskAgain(t *testing.T) {
	body := origintest.Body(43, 1<<20)
	for range 20 {
		g := newRig(t)
		g.store = &sick{Store: g.tree}
		g.restart()
		g.o.File("/a", body, cc(fresh), origintest.NoValidators(), origintest.NoRange())
		if r := g.get("/a"); r.body != body.String() || r.broken != nil {
			t.Fatalf("%d of %d bytes, %v, %v", len(r.body), body.Size(), r.err, r.broken)
		}
		if n := g.o.Count("/a"); n != 1 {
			t.Fatalf("%d requests to the origin, want 1", n)
		}
	}
}

func TestPurgeWaitsForAPublicationUnderWay(t *testing.T) {
	g := newRig(t)
	s := &sick{Store: g.tree, takes: -1, publishing: make(chan struct{}), publish: make(chan struct{})}
	g.store = s
	g.restart()
	g.o.File("/a", origintest.Text("purged"), cc(fresh))
	client := make(chan received)
	go func() { client <- g.get("/a") }()
	<-s.publishing
	purged := make(chan error)
	go func() { _, err := g.f.Purge(g.key("/a"), false); purged <- err }()
	for len(g.under()) > 0 { // until the purge has taken the flight off the map
		runtime.Gosched()
	}
	close(s.publish)
	if err := <-purged; err != nil {
		t.Fatal(err)
	}
	r := <-client
	r.want(t, "the client", 200, "purged", Miss)
	if got := g.held("/a"); got != "" {
		t.Errorf("%q has outlived its purge", got)
	}
}
