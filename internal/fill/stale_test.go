package fill

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestStaleInPlaceOfAnError(t *testing.T) {
	down := func(g *rig) { g.o.Stop() }
	answers := func(opts ...origintest.Option) func(*rig) {
		return func(g *rig) { g.o.File("/a", origintest.Text("trouble"), opts...) }
	}
	always := func(g *rig) { g.set(func(p *Policy) { p.StaleAlways = true }); g.o.Stop() }
	tests := []struct {
		name    string
		control string
		trouble func(*rig)
		status  int
		body    string
		word    string
	}{
		{"the origin is down", "max-age=1", down, 200, "copy", Stale},
		{"it aborts", "max-age=1", answers(origintest.Abort()), 200, "copy", Stale},
		{"it answers 500", "max-age=1", answers(origintest.Status(500)), 200, "copy", Stale},
		{"it answers 503", "max-age=1", answers(origintest.Status(503)), 200, "copy", Stale},
		{"it answers 429", "max-age=1", answers(origintest.Status(429)), 200, "copy", Stale},
		{"it answers 403, which is an answer", "max-age=1", answers(origintest.Status(403)), 403, "trouble", Miss},
		{"within stale-if-error", "max-age=1, stale-if-error=7200", answers(origintest.Status(503)), 200, "copy", Stale},
		{"beyond stale-if-error", "max-age=1, stale-if-error=60", answers(origintest.Status(503)), 503, "trouble", Miss},
		{"beyond stale-if-error, but it is down", "max-age=1, stale-if-error=60", down, 200, "copy", Stale},
		{"must-revalidate and 503", "max-age=1, must-revalidate", answers(origintest.Status(503)), 503, "trouble", Miss},
		{"must-revalidate and down", "max-age=1, must-revalidate", down, 0, "", ""},
		{"proxy-revalidate and down", "max-age=1, proxy-revalidate", down, 0, "", ""},
		{"s-maxage and down", "s-maxage=1", down, 0, "", ""},
		{"no-cache and down", "no-cache", down, 0, "", ""},
		{"no-cache and down, but the hub says always", "no-cache", always, 200, "copy", Stale},
		{"a web page in place of it is refused", "max-age=1", answers(origintest.Header("Content-Type", "text/html")), 200, "trouble", Miss},
	}
	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				g := newRig(t)
				g.o.File("/a", origintest.Text("copy"), cc(tt.control))
				g.get("/a")
				g.idle()
				g.clock.Add(time.Hour)
				tt.trouble(g)
				r := g.ask(t.Context(), method, "/a")
				if tt.status == 0 {
					if !errors.Is(r.err, ErrUnreachable) {
						t.Fatalf("%d, %v, want ErrUnreachable", r.status, r.err)
					}
					return
				}
				if method == "HEAD" {
					tt.body = ""
				}
				r.want(t, "the answer", tt.status, tt.body, tt.word)
				g.idle()
				if held := g.held("/a"); held != "copy" && tt.status != 200 {
					t.Errorf("held %q: the error took the copy's place", held)
				}
			})
		}
	}
}

func TestSlowOriginIsRevalidatedBehind(t *testing.T) {
	g := newRig(t)
	g.first = time.Millisecond
	g.restart()
	g.o.File("/a", origintest.Text("old"), cc("max-age=1"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Hour)
	release := make(chan struct{})
	g.o.File("/a", origintest.Text("new"), cc(fresh), origintest.Hold(release))
	r := g.get("/a")
	r.want(t, "while the origin is slow", 200, "old", Stale)
	if r.outcome.Detail != "slow" {
		t.Errorf("%s, want detail=slow", r.outcome.CacheStatus())
	}
	g.o.Wait("/a", 2)
	g.get("/a").want(t, "again", 200, "old", Stale)
	close(release)
	g.idle()
	g.get("/a").want(t, "behind it came", 200, "new", Hit)
	if n := g.o.Count("/a"); n != 2 {
		t.Errorf("%d requests to the origin, want 2", n)
	}
}

func TestWhoComesLateToASlowOriginDoesNotWaitAgain(t *testing.T) {
	g := newRig(t) // FirstByte is a minute: who waits for it, waits for the whole test
	g.o.File("/a", origintest.Text("old"), cc("max-age=1"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Hour)
	release := make(chan struct{})
	defer close(release)
	g.o.File("/a", origintest.Text("new"), origintest.Hold(release))
	g.f.Refresh(&Request{Key: g.key("/a"), Header: http.Header{}})
	g.o.Wait("/a", 2)
	g.clock.Add(2 * time.Minute)
	g.get("/a").want(t, "two minutes later", 200, "old", Stale)
}

func TestRefreshWhileStaleIsServed(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("old"), cc("max-age=10, stale-while-revalidate=1000"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Minute)
	release := make(chan struct{})
	g.o.File("/a", origintest.Text("new"), cc(fresh), origintest.Hold(release))
	for range 20 {
		g.get("/a").want(t, "meanwhile", 200, "old", Updating)
	}
	close(release)
	g.idle()
	g.get("/a").want(t, "afterwards", 200, "new", Hit)
	if n := g.o.Count("/a"); n != 2 {
		t.Errorf("%d requests to the origin, want 2", n)
	}
}

func TestRefreshThatBringsNothingToKeepIsNoFlood(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("old"), cc("max-age=10, stale-while-revalidate=1000"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Minute)
	g.o.File("/a", origintest.Text("no"), origintest.Status(403))
	for range 20 {
		g.get("/a").want(t, "meanwhile", 200, "old", Updating)
		g.idle()
	}
	if n := g.o.Count("/a"); n != 2 {
		t.Errorf("%d requests to the origin, want 2", n)
	}
}

func TestRevalidation(t *testing.T) {
	t.Run("304 freshens for all who wait", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("same"), cc("max-age=60"))
		g.get("/a")
		g.idle()
		g.clock.Add(time.Hour)
		release := make(chan struct{})
		g.o.File("/a", origintest.Text("same"), cc("max-age=60"), origintest.Header("X-New", "1"), origintest.Hold(release))
		var clients sync.WaitGroup
		for range 20 {
			clients.Go(func() {
				r := g.get("/a")
				r.want(t, "one of twenty", 200, "same", Revalidated)
				if r.header.Get("X-New") != "1" {
					t.Error("it has not the 304's fields")
				}
			})
		}
		g.waiting("/a", 20)
		close(release)
		clients.Wait()
		last := g.o.Last("/a").Header
		if g.o.Count("/a") != 2 || last.Get("If-None-Match") == "" || last.Get("If-Modified-Since") == "" {
			t.Errorf("%d requests, the last with %v, want 2 with both validators", g.o.Count("/a"), last)
		}
		g.get("/a").want(t, "afterwards", 200, "same", Hit)
	})
	t.Run("HEAD freshens too", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("same"), cc("max-age=60"))
		g.get("/a")
		g.idle()
		g.clock.Add(time.Hour)
		g.ask(t.Context(), "HEAD", "/a").want(t, "HEAD", 200, "", Revalidated)
		g.get("/a").want(t, "afterwards", 200, "same", Hit)
	})
	t.Run("304 with another ETag is asked again plainly", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("old"), cc("max-age=1"))
		g.get("/a")
		g.idle()
		g.clock.Add(time.Hour)
		g.o.File("/a", origintest.Text("new"), cc(fresh), origintest.First(1, origintest.Status(304), origintest.ETag(`"other"`)))
		g.get("/a").want(t, "it", 200, "new", Miss)
		if last := g.o.Last("/a").Header; last.Get("If-None-Match") != "" || g.o.Count("/a") != 3 {
			t.Errorf("the last of %d requests had %v", g.o.Count("/a"), last)
		}
	})
	t.Run("an origin that says 304 with another ETag to everything is not asked for ever", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("old"), cc("max-age=1"))
		g.get("/a")
		g.idle()
		g.clock.Add(time.Hour)
		g.o.File("/a", origintest.Text("new"), origintest.Status(304), origintest.ETag(`"other"`))
		g.get("/a").want(t, "it", 200, "old", Stale)
		if n := g.o.Count("/a"); n != 3 {
			t.Errorf("%d requests to the origin, want 3", n)
		}
	})
	for _, tt := range []struct{ name, request, field string }{
		{"a 304 that is private", "", "private"},
		{"a 304 for a client with credentials", "Authorization: Basic eDp5", "max-age=60"},
		{"a 304 for a client with cookies", "Cookie: a=b", "max-age=60"},
	} {
		t.Run(tt.name+" tells others nothing", func(t *testing.T) {
			g := newRig(t)
			g.o.File("/a", origintest.Text("same"), cc("max-age=60"))
			g.get("/a")
			g.idle()
			g.clock.Add(time.Hour)
			g.o.File("/a", origintest.Text("same"), cc(tt.field), origintest.Header("Set-Cookie", "yours=1"))
			var lines []string
			if tt.request != "" {
				lines = append(lines, tt.request)
			}
			g.get("/a", lines...).want(t, "the one who asked", 200, "same", Revalidated)
			g.o.Stop()
			r := g.get("/a")
			r.want(t, "another", 200, "same", Stale)
			if r.header.Get("Set-Cookie") != "" {
				t.Errorf("another got %v", r.header)
			}
		})
	}
}

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

func TestOffline(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("held"), cc("no-cache"))
	g.get("/a")
	g.idle()
	g.set(func(p *Policy) { p.Offline = true })
	g.get("/a").want(t, "held", 200, "held", Offline)
	for _, method := range []string{"GET", "HEAD", "PUT"} {
		if r := g.ask(t.Context(), method, "/b"); !errors.Is(r.err, ErrOffline) {
			t.Errorf("%s of what is not held = %d, %v, want ErrOffline", method, r.status, r.err)
		}
	}
	if g.o.Total() != 1 {
		t.Errorf("%d requests went out", g.o.Total())
	}
}

func TestOnlyIfCached(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("held"), cc("max-age=10"))
	g.get("/a")
	g.idle()
	g.get("/a", "Cache-Control: only-if-cached").want(t, "fresh", 200, "held", Hit)
	ask := func(what, path string, lines ...string) {
		t.Helper()
		if r := g.get(path, append(lines, "Cache-Control: only-if-cached")...); !errors.Is(r.err, ErrOnlyIfCached) {
			t.Errorf("%s = %d, %v, want ErrOnlyIfCached", what, r.status, r.err)
		}
	}
	ask("what is not held", "/b")
	g.clock.Add(time.Hour)
	ask("what is stale", "/a")
	g.set(func(p *Policy) { p.Class = 3 }) // bypass
	ask("what is never stored", "/a")
	if g.o.Total() != 1 {
		t.Errorf("%d requests went out", g.o.Total())
	}
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
