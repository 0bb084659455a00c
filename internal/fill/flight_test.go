package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

const fresh = "max-age=600"

func cc(s string) origintest.Option { return origintest.Header("Cache-Control", s) }

func TestManyClientsMakeOneFlight(t *testing.T) {
	g := newRig(t)
	body, release := origintest.Body(1, 3<<20), make(chan struct{})
	g.o.File("/a", body, cc(fresh), origintest.Hold(release))
	var clients sync.WaitGroup
	got := make([]received, 100)
	for i := range got {
		clients.Go(func() { got[i] = g.get("/a") })
	}
	g.waiting("/a", 100)
	close(release)
	clients.Wait()
	words := map[string]int{}
	for _, r := range got {
		r.want(t, "one of a hundred", 200, body.String(), r.outcome.Cache)
		words[r.outcome.Cache]++
	}
	if words[Miss] != 1 || words[Coalesced] != 99 || g.o.Count("/a") != 1 {
		t.Errorf("%v with %d requests to the origin, want 1 MISS, 99 HIT-COALESCED and one request", words, g.o.Count("/a"))
	}
	g.idle()
	g.get("/a").want(t, "the next", 200, body.String(), Hit)
}

func TestOneRequestForAMissingThing(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.o.File("/none", origintest.Text("not here"), origintest.Status(404), origintest.Hold(release))
	var clients sync.WaitGroup
	for range 1000 {
		clients.Go(func() {
			if r := g.get("/none"); r.status != 404 || r.body != "not here" {
				t.Errorf("%d %q %v, want the 404", r.status, r.body, r.err)
			}
		})
	}
	g.waiting("/none", 1000)
	close(release)
	clients.Wait()
	if n := g.o.Count("/none"); n != 1 {
		t.Errorf("%d requests to the origin, want 1", n)
	}
}

func TestFillGoesOnWithoutTheClientThatStartedIt(t *testing.T) {
	body := origintest.Body(2, 1<<20)
	tests := []struct {
		name  string
		after int64 // what the origin sends before the client leaves; -1: not even the head
	}{
		{"before the head", -1}, {"after the head", 0}, {"after some bytes", 100_000}, {"before the last byte", 1<<20 - 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			release := make(chan struct{})
			fault := origintest.Hold(release)
			if tt.after >= 0 {
				fault = origintest.Stall(tt.after, release)
			}
			g.o.File("/a", body, cc(fresh), fault)
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error)
			go func() {
				a, err := g.f.Get(ctx, &Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}})
				if err == nil {
					_, err = io.Copy(io.Discard, a.Body)
					a.Close()
				}
				left <- err
			}()
			g.waiting("/a", min(1, -tt.after))
			g.o.Wait("/a", 1)
			if tt.after > 0 {
				g.o.WaitSent("/a", tt.after)
			}
			leave()
			if err := <-left; !errors.Is(err, context.Canceled) {
				t.Errorf("the client that left got %v", err)
			}
			close(release)
			g.idle()
			g.get("/a").want(t, "the next client", 200, body.String(), Hit)
			if n := g.o.Count("/a"); n != 1 {
				t.Errorf("%d requests to the origin, want 1", n)
			}
		})
	}
}

func TestWaitersOfAnAnswerThatCannotBeKeptFetchForThemselves(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	var mu sync.Mutex
	n := 0
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		me := n
		mu.Unlock()
		if me == 1 {
			<-release
		}
		w.Header().Set("Cache-Control", "no-store")
		fmt.Fprintf(w, "answer %d", me)
	})
	var clients sync.WaitGroup
	got := make([]received, 20)
	for i := range got {
		clients.Go(func() { got[i] = g.get("/a") })
	}
	g.waiting("/a", 20)
	close(release)
	clients.Wait()
	seen := map[string]bool{}
	for _, r := range got {
		if r.err != nil || seen[r.body] {
			t.Errorf("%q (%v) was given twice or not at all", r.body, r.err)
		}
		seen[r.body] = true
	}
	if g.o.Count("/a") != 20 {
		t.Errorf("%d requests to the origin, want 20", g.o.Count("/a"))
	}

	// Who comes now does not stand in a line behind another: each is at the origin at once.
	hold := make(chan struct{})
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		<-hold
		w.Header().Set("Cache-Control", "no-store")
	})
	g.o.Forget()
	for range 3 {
		clients.Go(func() { g.get("/a") })
	}
	g.o.Wait("/a", 3)
	close(hold)
	clients.Wait()
}

func TestWaiterWithOtherSelectingFieldsFetchesForItself(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Kind") == "one" {
			<-release
		}
		w.Header().Set("Vary", "X-Kind")
		w.Header().Set("Cache-Control", fresh)
		io.WriteString(w, "for "+r.Header.Get("X-Kind"))
	})
	var clients sync.WaitGroup
	clients.Go(func() { g.get("/a", "X-Kind: one").want(t, "the leader", 200, "for one", Miss) })
	g.waiting("/a", 1)
	clients.Go(func() { g.get("/a", "X-Kind: two").want(t, "the other kind", 200, "for two", Miss) })
	clients.Go(func() { g.get("/a", "X-Kind: one").want(t, "the same kind", 200, "for one", Coalesced) })
	g.waiting("/a", 3)
	close(release)
	clients.Wait()
	g.idle()
	g.get("/a", "X-Kind: one").want(t, "afterwards", 200, "for one", Hit)
	g.get("/a", "X-Kind: two").want(t, "afterwards", 200, "for two", Hit)
}

func TestPurgeDuringAFill(t *testing.T) {
	g := newRig(t)
	old, now := origintest.Body(3, 1<<20), origintest.Body(4, 1<<20)
	release := make(chan struct{})
	g.o.File("/a", old, cc(fresh), origintest.Stall(1000, release))
	client := make(chan received)
	go func() { client <- g.get("/a") }()
	g.o.WaitSent("/a", 1000)
	g.waitOutcome("/a")
	if _, err := g.f.Purge(g.key("/"), true); err != nil {
		t.Fatal(err)
	}
	g.o.File("/a", now, cc(fresh))
	g.get("/a").want(t, "a request after the purge", 200, now.String(), Miss)
	close(release)
	r := <-client
	r.want(t, "the client that the purge met", 200, old.String(), Miss)
	g.idle()
	g.get("/a").want(t, "afterwards", 200, now.String(), Hit)
}

// waitOutcome returns when the head of a flight of path is known.
func (g *rig) waitOutcome(path string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, fl := range g.under() {
			if fl.key == g.key(path) {
				<-fl.head
				return
			}
		}
	}
	g.t.Fatalf("no flight of %s", path)
}

func TestPurgedFillIsNotLeftForAnother(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	defer close(release)
	g.o.File("/a", origintest.Body(3, 1<<20), cc(fresh), origintest.Stall(1000, release))
	a := g.open("/a")
	defer a.Close()
	if n, err := io.ReadFull(a.Body, make([]byte, 1000)); err != nil {
		t.Fatal(n, err)
	}
	if _, err := g.f.Purge(g.key("/a"), false); err != nil {
		t.Fatal(err)
	}
	g.f.Close()
	if d := g.tree.Resume(g.key("/a")); d != nil {
		d.Discard(nil)
		t.Errorf("a draft of %d bytes was left behind", d.Len())
	}
}

func TestFillIsCarriedOnByTheNextFiller(t *testing.T) {
	old := origintest.Body(5, 1<<20)
	tests := []struct {
		name  string
		file  []origintest.Option // the second time
		body  *origintest.Content
		plain bool // the resume did not do, so that the whole is asked for
		rng   bool
	}{
		{"the rest is asked for", nil, old, false, true},
		{"an origin without ranges gives the whole", []origintest.Option{origintest.NoRange()}, old, false, true},
		{"another representation now", nil, origintest.Body(6, 1<<20), false, true},
		{"a 206 of something else is asked again plainly", []origintest.Option{origintest.First(1, origintest.Raw("HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 1-3/9\r\nConnection: close\r\n\r\nxyz"))}, old, true, true},
		{"416 is asked again plainly", []origintest.Option{origintest.First(1, origintest.Status(416))}, old, true, true},
		{"304 out of the blue is asked again plainly", []origintest.Option{origintest.First(1, origintest.Status(304))}, old, true, true},
		{"a 206 that may not be kept is asked again plainly", []origintest.Option{origintest.First(1, cc("no-store"))}, old, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			release := make(chan struct{})
			g.o.File("/a", old, cc(fresh), origintest.Stall(500_000, release))
			a := g.open("/a")
			if _, err := io.ReadFull(a.Body, make([]byte, 500_000)); err != nil {
				t.Fatal(err)
			}
			g.restart()
			if _, err := io.ReadAll(a.Body); !errors.Is(err, ErrStopping) {
				t.Errorf("the client that was cut off got %v", err)
			}
			a.Close()
			close(release)
			g.o.File("/a", tt.body, append([]origintest.Option{cc(fresh)}, tt.file...)...)
			g.o.Forget()
			g.get("/a").want(t, "after the restart", 200, tt.body.String(), Miss)
			asked := g.o.Requests("/a")
			if got := asked[0].Header.Get("Range"); got != "bytes=500000-" || asked[0].Header.Get("If-Range") == "" {
				t.Errorf("asked with Range %q, If-Range %q, want bytes=500000- and the ETag", got, asked[0].Header.Get("If-Range"))
			}
			if want := map[bool]int{false: 1, true: 2}[tt.plain]; len(asked) != want || tt.plain && asked[1].Header.Get("Range") != "" {
				t.Errorf("asked %d times, want %d, the second time without a Range", len(asked), want)
			}
			g.idle()
			g.get("/a").want(t, "afterwards", 200, tt.body.String(), Hit)
		})
	}
}

func TestAnErrorOnTheWayDoesNotCostTheDraft(t *testing.T) {
	g := newRig(t)
	body, release := origintest.Body(5, 1<<20), make(chan struct{})
	g.o.File("/a", body, cc(fresh), origintest.Stall(500_000, release))
	a := g.open("/a")
	if _, err := io.ReadFull(a.Body, make([]byte, 500_000)); err != nil {
		t.Fatal(err)
	}
	g.restart()
	a.Close()
	close(release)
	for _, status := range []int{503, 429, 403} {
		g.o.File("/a", origintest.Text("later"), origintest.Status(status))
		g.get("/a").want(t, "during the trouble", status, "later", Miss)
		g.clock.Add(passFor)
	}
	// Nor does a client with credentials, whose answer nobody else may have, take it up.
	g.o.File("/a", body, cc(fresh))
	g.get("/a", "Authorization: Basic eDp5").want(t, "with credentials", 200, body.String(), Miss)
	if g.o.Last("/a").Header.Get("Range") != "" || g.held("/a") != "" {
		t.Errorf("a request with credentials took up the draft; held: %d bytes", len(g.held("/a")))
	}
	g.get("/a").want(t, "after it", 200, body.String(), Miss)
	if got := g.o.Last("/a").Header.Get("Range"); got != "bytes=500000-" {
		t.Errorf("asked with Range %q: the draft was lost", got)
	}
}

func TestDraftStaysReadableForALateReader(t *testing.T) {
	g := newRig(t)
	body, release := origintest.Body(7, 1<<20), make(chan struct{})
	g.o.File("/a", body, cc(fresh), origintest.Hold(release))
	// A waiter that joined before the head, and looks for its section when all is over.
	fl, leads := g.f.join(&Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}}, parseNothing, g.policy, time.Time{})
	if !leads {
		t.Fatal("it does not lead")
	}
	close(release)
	<-fl.end
	g.o.Remove("/a")
	if _, err := g.f.Purge(g.key("/a"), false); err != nil {
		t.Fatal(err)
	}
	r := read(g.f.settle(t.Context(), &Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}}, fl, true, g.policy, "uri-miss"))
	fl.release()
	r.want(t, "late", 200, body.String(), Miss)
}

func TestRequestThatLookedTooEarlyFindsWhatCameMeanwhile(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("once"), cc(fresh))
	g.get("/a")
	g.idle()
	// The store was empty when this one looked; the flight has landed since.
	r := read(g.f.miss(t.Context(), &Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}}, parseNothing, g.policy))
	r.want(t, "too early", 200, "once", Hit)
	if g.o.Count("/a") != 1 {
		t.Errorf("%d requests to the origin, want 1", g.o.Count("/a"))
	}
}

func TestAfterCloseNothingStarts(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("x"))
	g.f.Close()
	for _, method := range []string{"GET", "HEAD", "POST"} {
		if r := g.ask(t.Context(), method, "/a"); !errors.Is(r.err, ErrStopping) {
			t.Errorf("%s after Close: %d, %v, want ErrStopping", method, r.status, r.err)
		}
	}
	g.f.Refresh(&Request{Key: g.key("/a"), Header: http.Header{}})
	if g.o.Total() != 0 {
		t.Errorf("%d requests went out", g.o.Total())
	}
}
