package fill

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

// cutByHand leaves the first three bytes of what is held of /a, in a tree that remembers nothing of it.
func (g *rig) cutByHand() {
	g.t.Helper()
	if err := os.Truncate(filepath.Join(g.dir, "h", "a"), 3); err != nil {
		g.t.Fatal(err)
	}
	g.f.Close()
	g.tr.Close()
	g.tree.Close()
	tree, err := cache.OpenTree(cache.Config{Dir: g.dir})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { tree.Close() })
	g.tree, g.store = tree, tree
	g.start()
}

func TestABodyThatWasCutByHandStandsInForNoError(t *testing.T) {
	for _, method := range []string{"GET", "HEAD"} {
		g := newRig(t)
		g.o.File("/a", origintest.Text("the whole body"), cc(fresh))
		g.get("/a")
		g.idle()
		g.cutByHand()
		g.o.File("/a", origintest.Text("trouble"), origintest.Status(503))
		if r := g.ask(t.Context(), method, "/a"); r.err != nil || r.status != 503 {
			t.Errorf("%s, the origin answers 503: %d, %v, want its answer", method, r.status, r.err)
		}
		g.idle()
		g.o.Stop()
		if r := g.ask(t.Context(), method, "/a"); !errors.Is(r.err, ErrNotConfirmed) {
			t.Errorf("%s, the origin is away: %d, %v, want ErrNotConfirmed", method, r.status, r.err)
		}
	}
}

func TestA304ThatMayNotBeSharedIsForTheLeaderAlone(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("same"), cc("max-age=1"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Hour)
	release := make(chan struct{})
	var mu sync.Mutex
	n := 0
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		<-release
		mu.Lock()
		n++
		who := string(rune('0' + n))
		mu.Unlock()
		w.Header().Set("Cache-Control", "private")
		w.Header().Set("Set-Cookie", "session="+who)
		w.WriteHeader(http.StatusNotModified)
	})
	cookies := map[string]int{}
	var clients sync.WaitGroup
	for range 3 {
		clients.Go(func() {
			r := g.get("/a")
			mu.Lock()
			defer mu.Unlock()
			cookies[r.header.Get("Set-Cookie")]++
		})
	}
	g.waiting("/a", 3)
	close(release)
	clients.Wait()
	for cookie, got := range cookies {
		if got > 1 {
			t.Errorf("%d clients got %q", got, cookie)
		}
	}
}

func TestADigestThatAClientWantsIsCheckedOfWhatWasPutHereToo(t *testing.T) {
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sum := "X-Checksum-Sha256: " + origintest.Text("right").SHA256()
	for _, known := range []bool{false, true} {
		g := newRig(t)
		g.adopt("/a", "wrong", when)
		g.o.File("/a", origintest.Text("right"), cc("max-age=1"))
		if known {
			g.get("/a").want(t, "the length and time agree", 200, "wrong", Revalidated)
			g.idle()
			g.clock.Add(time.Hour)
		}
		r := g.get("/a", sum)
		if r.err != nil || r.body != "right" {
			t.Errorf("confirmed before: %v: the client that pins the digest got %q, %v", known, r.body, r.err)
		}
		g.idle()
	}
	g := newRig(t)
	g.adopt("/a", "wrong", when)
	g.o.Stop()
	if r := g.get("/a", sum); !errors.Is(r.err, ErrUnreachable) {
		t.Errorf("with the origin away: %q, %v, want ErrUnreachable", r.body, r.err)
	}
}

func TestARefreshBehindIsNotBoundToTheDigestOfWhatIsHeld(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("old"), cc("max-age=10, stale-while-revalidate=1000"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Minute)
	g.o.File("/a", origintest.Text("new"), cc(fresh))
	g.get("/a", "X-Checksum-Sha256: "+origintest.Text("old").SHA256()).want(t, "who wants the old one", 200, "old", Updating)
	g.idle()
	if held := g.held("/a"); held != "new" {
		t.Errorf("held %q after the refresh, want the new one", held)
	}
}

func TestAPageFromOneUpstreamHasTheNextOneAsked(t *testing.T) {
	good, page := origintest.Text("\x1f\x8b good"), origintest.Text("<html>portal")
	for _, path := range []string{"/a.tar.gz", "/it's%20%22a%22.tar.gz", "//a.tar.gz", "/a%2Fb.tar.gz"} {
		g := newRig(t)
		g.second = origintest.New(t)
		g.restart()
		g.o.File(path, page)
		g.second.File(path, good)
		if r := g.get(path); r.err != nil || r.body != good.String() {
			t.Errorf("%s: %q, %v, want what the second upstream has", path, r.body, r.err)
		}
		g.idle()
	}
}

func TestACopyStaysWhenOneUpstreamGivesAPageAndTheNextLacksTheFile(t *testing.T) {
	g := newRig(t)
	g.second = origintest.New(t)
	g.restart()
	g.o.File("/a.tar.gz", origintest.Text("\x1f\x8b good"), cc("max-age=1"))
	g.get("/a.tar.gz")
	g.idle()
	g.clock.Add(time.Hour)
	g.o.File("/a.tar.gz", origintest.Text("<html>portal"))
	g.get("/a.tar.gz").want(t, "it", 200, "\x1f\x8b good", Stale)
	g.idle()
	if g.second.Count("/a.tar.gz") != 1 {
		t.Errorf("the second upstream was asked %d times, want once", g.second.Count("/a.tar.gz"))
	}
	if held := g.held("/a.tar.gz"); held != "\x1f\x8b good" {
		t.Errorf("held %q", held)
	}
}
