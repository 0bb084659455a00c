package fill

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

func TestNegativeEntries(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		control string
		holds   time.Duration // so long nobody asks
		ends    time.Duration // then somebody does
	}{
		{"404 holds about 15 s", 404, "", 12 * time.Second, 18 * time.Second},
		{"410 too", 410, "", 12 * time.Second, 18 * time.Second},
		{"the origin's own lifetime wins", 404, "max-age=100", 99 * time.Second, 102 * time.Second},
		{"no-store is obeyed", 404, "no-store", -1, 0},
		{"private is obeyed", 404, "private", -1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			opts := []origintest.Option{origintest.Status(tt.status)}
			if tt.control != "" {
				opts = append(opts, cc(tt.control))
			}
			g.o.File("/a", origintest.Text("gone"), opts...)
			g.get("/a").want(t, "the first", tt.status, "gone", Miss)
			g.idle()
			if tt.holds >= 0 {
				g.clock.Add(tt.holds)
				g.get("/a").want(t, "while it holds", tt.status, "gone", Hit)
			}
			g.clock.Add(tt.ends - max(0, tt.holds))
			g.get("/a")
			if n := g.o.Count("/a"); n != 2 {
				t.Errorf("%d requests to the origin, want 2", n)
			}
		})
	}
	t.Run("404 shadows a body and goes away with a 200", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("body"), cc("max-age=1"))
		g.get("/a")
		g.idle()
		g.clock.Add(time.Hour)
		g.o.File("/a", origintest.Text("none"), origintest.Status(404))
		g.get("/a").want(t, "the 404", 404, "none", Miss)
		g.idle()
		g.get("/a").want(t, "again", 404, "none", Hit)
		g.clock.Add(time.Minute)
		g.o.File("/a", origintest.Text("back"), cc(fresh))
		g.get("/a").want(t, "the 200", 200, "back", Miss)
		g.idle()
		g.get("/a").want(t, "again", 200, "back", Hit)
	})
	t.Run("410 removes the body", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("body"), cc("max-age=1"))
		g.get("/a")
		g.idle()
		g.clock.Add(time.Hour)
		g.o.File("/a", origintest.Text("gone"), origintest.Status(410), cc("no-store"))
		g.get("/a").want(t, "the 410", 410, "gone", Miss)
		g.idle()
		if got := g.held("/a"); got != "" {
			t.Errorf("held %q", got)
		}
	})
}

func TestAdoptedEntries(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) // what origintest says of a file that was given none
	tests := []struct {
		name   string
		file   string
		mtime  time.Time
		opts   []origintest.Option
		body   string
		word   string
		method string // of the one request that the origin gets
	}{
		{"the same length and time: HEAD confirms it", "right", when, nil, "right", Revalidated, "HEAD"},
		{"a fraction of a second does not count", "right", when.Add(999 * time.Millisecond), nil, "right", Revalidated, "HEAD"},
		{"wrong bytes and a newer time are never confirmed", "wrong", when.Add(time.Hour), nil, "right", Miss, ""},
		{"wrong bytes and an older time neither", "wrong", when.Add(-time.Hour), nil, "right", Miss, ""},
		{"another length", "right and more", when, nil, "right", Miss, ""},
		{"an origin without Last-Modified confirms nothing", "right", when, []origintest.Option{origintest.LastModified(time.Time{})}, "right", Miss, ""},
		{"an origin that answers 304 to all confirms nothing", "wrong", when.Add(time.Hour), []origintest.Option{origintest.Status(304)}, "wrong", Stale, ""},
		{"503: it stands in", "wrong", when, []origintest.Option{origintest.Status(503)}, "wrong", Stale, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.adopt("/a", tt.file, tt.mtime)
			g.o.File("/a", origintest.Text("right"), append([]origintest.Option{cc(fresh)}, tt.opts...)...)
			g.get("/a").want(t, "the client", 200, tt.body, tt.word)
			g.idle()
			for _, r := range g.o.Requests("/a") {
				if r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != "" {
					t.Errorf("the origin got %s with %v", r.Method, r.Header)
				}
			}
			if tt.method != "" && (g.o.Total() != 1 || g.o.CountMethod(tt.method, "/a") != 1) {
				t.Errorf("%d requests, want one %s", g.o.Total(), tt.method)
			}
			if tt.word != Stale {
				g.get("/a").want(t, "the next", 200, tt.body, Hit)
			}
		})
	}
	t.Run("off line it is served", func(t *testing.T) {
		g := newRig(t)
		g.adopt("/a", "as it is", when)
		g.set(func(p *Policy) { p.Offline = true })
		g.get("/a").want(t, "off line", 200, "as it is", Offline)
	})
}

func TestUnsafeMethodsInvalidate(t *testing.T) {
	tests := []struct {
		name   string
		answer func(g *rig) []origintest.Option
		stale  []string
		fresh  []string
	}{
		{"its own URL", func(*rig) []origintest.Option { return []origintest.Option{origintest.Status(200)} }, []string{"/a"}, []string{"/b", "/c"}},
		{"Location and Content-Location", func(g *rig) []origintest.Option {
			return []origintest.Option{origintest.Status(201), origintest.Header("Location", "/b"), origintest.Header("Content-Location", g.o.URL+"/c")}
		}, []string{"/a", "/b", "/c"}, nil},
		{"not those of another host", func(*rig) []origintest.Option {
			return []origintest.Option{origintest.Status(201), origintest.Header("Location", "http://other.example/b"), origintest.Header("Content-Location", "//other.example/c")}
		}, []string{"/a"}, []string{"/b", "/c"}},
		{"an error changes nothing", func(*rig) []origintest.Option {
			return []origintest.Option{origintest.Status(403), origintest.Header("Location", "/b")}
		}, nil, []string{"/a", "/b", "/c"}},
	}
	for _, tt := range tests {
		for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "BREW"} {
			t.Run(tt.name+" by "+method, func(t *testing.T) {
				g := newRig(t)
				paths := []string{"/a", "/b", "/c"}
				for _, p := range paths {
					g.o.File(p, origintest.Text("x"), cc("max-age=600, stale-while-revalidate=600"))
					g.get(p)
				}
				g.idle()
				g.o.File("/a", origintest.Text("done"), tt.answer(g)...)
				r := read(g.f.Get(t.Context(), &Request{Key: g.key("/a"), Method: method, Header: http.Header{}, Body: strings.NewReader("body"), Length: 4}))
				if r.err != nil || string(g.o.Last("/a").Body) != "body" || r.outcome.Cache != Bypass {
					t.Fatalf("%s = %d, %v; the origin got %q", method, r.status, r.err, g.o.Last("/a").Body)
				}
				g.o.Stop()
				for _, p := range tt.fresh {
					g.get(p).want(t, p, 200, "x", Hit)
				}
				for _, p := range tt.stale {
					if r := g.get(p); !errors.Is(r.err, ErrUnreachable) {
						t.Errorf("%s: %d %q %s: what was invalidated was served without the origin's word", p, r.status, r.body, r.outcome.Cache)
					}
				}
			})
		}
	}
	t.Run("the origin may confirm it", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("x"), cc(fresh))
		g.get("/a")
		g.idle()
		g.ask(t.Context(), "POST", "/a")
		g.get("/a").want(t, "after the POST", 200, "x", Revalidated)
		g.get("/a").want(t, "and then", 200, "x", Hit)
	})
	t.Run("a fill from before the change is not kept", func(t *testing.T) {
		g := newRig(t)
		release := make(chan struct{})
		g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "GET" {
				w.Header().Set("Cache-Control", fresh)
				w.Header().Set("Content-Length", "6")
				fmt.Fprint(w, "bef")
				w.(http.Flusher).Flush()
				<-release
				fmt.Fprint(w, "ore")
			}
		})
		a := g.open("/a")
		defer a.Close()
		g.ask(t.Context(), "PUT", "/a")
		close(release)
		if b, err := io.ReadAll(a.Body); string(b) != "before" || err != nil {
			t.Errorf("the client got %q, %v", b, err)
		}
		g.idle()
		if got := g.held("/a"); got != "" {
			t.Errorf("held %q", got)
		}
	})
}

func TestAHeldBodyThatWasCutByHandIsServedOnTheOriginsWordAlone(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("the whole body"), origintest.Header("Cache-Control", "max-age=600"))
	g.get("/a").want(t, "miss", 200, "the whole body", Miss)
	g.idle()
	if err := os.Truncate(filepath.Join(g.dir, "h", "a"), 3); err != nil {
		t.Fatal(err)
	}
	g.f.Close()
	g.tr.Close()
	g.tree.Close()
	tree, err := cache.OpenTree(cache.Config{Dir: g.dir}) // which remembers nothing of the file
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	g.tree, g.store = tree, tree
	g.start()
	x, err := g.f.Explain(&Request{Key: g.key("/a"), Method: http.MethodGet, Header: http.Header{}})
	if err != nil || !x.Held || !x.Adopted || !x.Edited {
		t.Errorf("Explain = %+v, %v, want it held, adopted and edited", x, err)
	}
	g.o.Stop()
	if r := g.get("/a"); r.err == nil {
		t.Errorf("with the origin away: %d %q, want an error", r.status, r.body)
	}
	g.set(func(p *Policy) { p.Offline = true })
	if r := g.get("/a"); !errors.Is(r.err, ErrOffline) {
		t.Errorf("off line: %d %q, %v, want ErrOffline", r.status, r.body, r.err)
	}
	g.set(func(p *Policy) { p.Offline = false })
	g.o.Start()
	g.get("/a").want(t, "with the origin back", 200, "the whole body", Miss)
}
