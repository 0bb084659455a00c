package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/freshness"
	"zcache/internal/limit"
)

// A sink is a client that takes what comes at once.
type sink struct {
	header http.Header
	status int
	took   *atomic.Int64
}

func (s *sink) Header() http.Header  { return s.header }
func (s *sink) WriteHeader(code int) { s.status = code }

func (s *sink) Write(p []byte) (int, error) {
	s.took.Add(int64(len(p)))
	return len(p), nil
}

// still is a Gateway that holds /f, of this many bytes, and has no origin; for bubbles, where time is a test's own.
func still(t *testing.T, size int64, limits limit.Config) *Gateway {
	t.Helper()
	tree, err := cache.OpenTree(cache.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	key, err := cache.ParseKey("top", "/f", "", false)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	meta := &cache.Meta{
		Status: 200, Header: http.Header{"Cache-Control": {"max-age=86400"}, "Date": {now.UTC().Format(http.TimeFormat)}},
		Asked: now, Received: now, Stored: now, Size: size, Limit: -1, URL: "http://origin.example/f",
	}
	draft, err := tree.Create(key, meta)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := draft.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	entry, err := draft.Commit(meta)
	if err != nil {
		t.Fatal(err)
	}
	entry.Close()
	filler := fill.New(fill.Config{
		Store: tree, Policy: func(cache.Key) fill.Policy { return fill.Policy{Rule: freshness.Rule{Offline: true}} },
		KeyOf: func(string, *url.URL) (cache.Key, bool) { return cache.Key{}, false },
	})
	g := NewGateway(Config{
		Hubs: []Hub{{Name: "top", Mount: "/"}}, Filler: filler, Guard: auth.NewGuard(nil), KeyOf: func(string, *url.URL) (cache.Key, bool) { return cache.Key{}, false },
		Limiter: limit.New(limits),
	})
	t.Cleanup(func() { g.Close(); filler.Close(); tree.Close() })
	return g
}

// download asks for /f again and again until ctx ends.
func download(ctx context.Context, t *testing.T, g *Gateway, addr string, took *atomic.Int64) {
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, "GET", "/f", nil)
		if err != nil {
			t.Error(err)
			return
		}
		r.RequestURI, r.RemoteAddr, r.Host = "/f", addr+":4711", "x"
		w := &sink{header: http.Header{}, took: took}
		func() {
			defer func() {
				if p := recover(); p != nil && p != http.ErrAbortHandler {
					panic(p)
				}
			}()
			g.ServeHTTP(w, r)
		}()
		if w.status != 200 && ctx.Err() == nil {
			t.Errorf("%s got %d, want 200", addr, w.status)
			return
		}
	}
}

func TestOneClientThatTakesEverythingLeavesTheOthersTheirShare(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int64
	}{
		{"large files", 8 << 20},
		{"small ones", 20 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const clients, rate, seconds = 200, 40 << 20, 10
				g := still(t, tt.size, limit.Config{Egress: rate})
				ctx, stop := context.WithTimeout(t.Context(), seconds*time.Second)
				defer stop()
				var took [clients]atomic.Int64
				var all sync.WaitGroup
				for i := range clients {
					connections := 1
					if i == 0 {
						connections = 150
					}
					for range connections {
						all.Go(func() { download(ctx, t, g, fmt.Sprintf("192.0.2.%d", i), &took[i]) })
					}
				}
				all.Wait()
				const fair = rate * seconds / clients
				for i := range took {
					if n := took[i].Load(); n < fair*8/10 || n > fair*12/10 {
						t.Errorf("client %d took %d bytes, want its share of %d within a fifth", i, n, fair)
					}
				}
			})
		})
	}
}

func TestABandwidthIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bandwidth, seconds = 1 << 20, 10
		g := still(t, 64<<20, limit.Config{Client: limit.Limits{Bandwidth: bandwidth}})
		ctx, stop := context.WithTimeout(t.Context(), seconds*time.Second)
		defer stop()
		var one, other atomic.Int64
		var all sync.WaitGroup
		for range 5 {
			all.Go(func() { download(ctx, t, g, "192.0.2.1", &one) })
		}
		all.Go(func() { download(ctx, t, g, "192.0.2.2", &other) })
		all.Wait()
		for who, n := range map[string]int64{"five connections of one client": one.Load(), "one connection of another": other.Load()} {
			if n < bandwidth*seconds*9/10 || n > bandwidth*seconds*12/10 {
				t.Errorf("%s took %d bytes in %d s, want %d a second", who, n, seconds, bandwidth)
			}
		}
	})
}
