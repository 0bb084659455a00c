package fill

import (
	"errors"
	"io"
	"net/http"
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

func TestWaiterWithACopyIsNotKeptByAnswersThatAreNotForIt(t *testing.T) {
	g := newRig(t)
	g.first = 50 * time.Millisecond
	g.restart()
	g.o.File("/a", origintest.Text("copy"), cc("max-age=1"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Hour)
	first, rest := make(chan struct{}), make(chan struct{})
	var once sync.Once
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		release := rest
		once.Do(func() { release = first })
		<-release
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "yours alone")
	})
	defer close(rest)
	g.set(func(p *Policy) { p.StaleAlways = true })
	// The flight belongs to nobody here; the client only waits at it, and is not the one to whom the answer goes.
	fl, _ := g.f.join(&Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}}, parseNothing, g.policy, time.Time{})
	done := make(chan received)
	go func() { done <- g.get("/a") }()
	g.waiting("/a", 1)
	close(first)
	r := <-done
	r.want(t, "the waiter, whose own request hangs", 200, "copy", Stale)
	fl.leave(true)
	fl.release()
}

func TestErrorThatAnotherCopyStoodInForIsPassedToWhoHasNone(t *testing.T) {
	g := newRig(t)
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "X-Kind")
		w.Header().Set("Cache-Control", "max-age=1")
		io.WriteString(w, "for "+r.Header.Get("X-Kind"))
	})
	g.get("/a", "X-Kind: one")
	g.idle()
	g.clock.Add(time.Hour)
	release := make(chan struct{})
	g.o.File("/a", origintest.Text("trouble"), origintest.Status(503), origintest.Hold(release))
	var clients sync.WaitGroup
	clients.Go(func() { g.get("/a", "X-Kind: one").want(t, "who has a copy", 200, "for one", Stale) })
	g.waiting("/a", 1)
	clients.Go(func() { g.get("/a", "X-Kind: two").want(t, "who has none", 503, "trouble", Miss) })
	g.waiting("/a", 2)
	close(release)
	clients.Wait()
}
