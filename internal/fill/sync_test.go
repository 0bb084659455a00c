package fill

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

// sync asks for path with a row of its own.
func (g *rig) sync(path, row string) (SyncResult, error) {
	return g.f.Sync(g.t.Context(), SyncRequest{Key: g.key(path), Row: row})
}

// synced is sync for a want that is no error.
func (g *rig) synced(path, row string, want SyncResult) {
	g.t.Helper()
	if got, err := g.sync(path, row); err != nil || got != want {
		g.t.Fatalf("Sync(%s, row %q) = %+v, %v, want %+v", path, row, got, err, want)
	}
}

func (g *rig) row(path string) string {
	g.t.Helper()
	m, _, err := g.tree.Peek(g.key(path))
	if err != nil {
		g.t.Fatalf("peek at %s: %v", path, err)
	}
	return m.Row
}

func TestSyncTellsWhatBecameOfAFile(t *testing.T) {
	text := origintest.Text("new body")
	long := origintest.Body(9, 1<<20)
	tests := []struct {
		name    string
		content *origintest.Content
		opts    []origintest.Option
		want    SyncResult
	}{
		{"a body is stored", text, []origintest.Option{cc(fresh)}, SyncResult{Outcome: SyncStored, Status: 200, Bytes: 8}},
		{"404 is gone", text, []origintest.Option{origintest.Status(404)}, SyncResult{Outcome: SyncGone, Status: 404}},
		{"410 is gone", text, []origintest.Option{origintest.Status(410)}, SyncResult{Outcome: SyncGone, Status: 410}},
		{"401 is denied", text, []origintest.Option{origintest.Status(401)}, SyncResult{Outcome: SyncDenied, Status: 401}},
		{"403 is denied", text, []origintest.Option{origintest.Status(403)}, SyncResult{Outcome: SyncDenied, Status: 403}},
		{"451 is denied", text, []origintest.Option{origintest.Status(451)}, SyncResult{Outcome: SyncDenied, Status: 451}},
		{"400 is denied", text, []origintest.Option{origintest.Status(400)}, SyncResult{Outcome: SyncDenied, Status: 400}},
		{"429 is a limit", text, []origintest.Option{origintest.Status(429)}, SyncResult{Outcome: SyncLimited, Status: 429}},
		{"503 with Retry-After is a limit", text, []origintest.Option{origintest.Status(503), origintest.Header("Retry-After", "7")},
			SyncResult{Outcome: SyncLimited, Status: 503, After: 7 * time.Second}},
		{"a slash that is missing is elsewhere", text, []origintest.Option{origintest.Redirect(301, "/a/")}, SyncResult{Outcome: SyncElsewhere, Status: 301, Location: "/a/"}},
		{"no-store is not kept", long, []origintest.Option{cc("no-store")}, SyncResult{Outcome: SyncUnkept, Status: 200}},
		{"a body that was coded on the way is not kept", long, []origintest.Option{origintest.Gzip()}, SyncResult{Outcome: SyncUnkept, Status: 200}},
	}
	for _, tt := range tests {
		for _, held := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				g := newRig(t)
				if held {
					g.o.File("/a", origintest.Text("old body"), cc(fresh))
					g.get("/a").want(t, "before", 200, "old body", Miss)
					g.idle()
				}
				g.o.File("/a", tt.content, tt.opts...)
				g.synced("/a", "r", tt.want)
				g.idle()
				body := ""
				if m, _, err := g.tree.Peek(g.key("/a")); err == nil {
					body = m.URL
				}
				if stored := tt.want.Outcome == SyncStored; (body != "") != (stored || held) {
					t.Errorf("a body with status 200 is held: %v, want %v", body != "", stored || held)
				}
			})
		}
	}
}

func TestSyncFailsWhereTheOriginGivesNoAnswerThatCounts(t *testing.T) {
	page := origintest.Text("<html>sorry</html>")
	tests := []struct {
		name string
		path string
		opts []origintest.Option
		want func(error) bool
	}{
		{"a server error", "/a", []origintest.Option{origintest.Status(500)}, func(err error) bool {
			var s *StatusError
			return errors.As(err, &s) && s.Status == 500
		}},
		{"408 says nothing of the name", "/a", []origintest.Option{origintest.Status(408)}, func(err error) bool {
			var s *StatusError
			return errors.As(err, &s) && s.Status == 408
		}},
		{"503 without Retry-After", "/a", []origintest.Option{origintest.Status(503)}, func(err error) bool {
			var s *StatusError
			return errors.As(err, &s) && s.Status == 503
		}},
		{"a connection that ends", "/a", []origintest.Option{origintest.Abort()}, func(err error) bool { return errors.Is(err, ErrUnreachable) }},
		{"a body that ends early", "/a", []origintest.Option{origintest.CutAfter(3)}, func(err error) bool { return errors.Is(err, ErrUnreachable) }},
		{"a page in place of an archive", "/a.gz", nil, func(err error) bool { return errors.Is(err, ErrWrongContent) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File(tt.path, page, tt.opts...)
			if got, err := g.sync(tt.path, "r"); !tt.want(err) {
				t.Errorf("Sync = %+v, %v", got, err)
			}
			if n := g.o.Count(tt.path); n > 4 {
				t.Errorf("%d requests, want no more than two tries make", n)
			}
			if held := g.held(tt.path); held != "" {
				t.Errorf("held: %q, want nothing", held)
			}
		})
	}
}

func TestSyncOfAFreshFileAsksWithItsValidatorsAndNotesTheRow(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("body"), cc(fresh))
	g.get("/a").want(t, "the client", 200, "body", Miss)
	g.idle()
	if row := g.row("/a"); row != "" {
		t.Fatalf("row %q before any walk", row)
	}
	tag, modified := mustMeta(g, "/a").Header.Get("Etag"), mustMeta(g, "/a").Header.Get("Last-Modified")
	g.synced("/a", "row 1", SyncResult{Outcome: SyncSame, Status: 304})
	asked := g.o.Last("/a").Header
	if asked.Get("If-None-Match") != tag || asked.Get("If-Modified-Since") != modified || g.o.Count("/a") != 2 {
		t.Errorf("%d requests, the last one with %v, want two and both validators", g.o.Count("/a"), asked)
	}
	if row := g.row("/a"); row != "row 1" {
		t.Errorf("row %q, want row 1", row)
	}
	g.synced("/a", "", SyncResult{Outcome: SyncSame, Status: 304})
	if row := g.row("/a"); row != "row 1" {
		t.Errorf("row %q after a Sync without one, want the one that was there", row)
	}
	g.o.File("/a", origintest.Text("other"), cc(fresh))
	g.synced("/a", "row 2", SyncResult{Outcome: SyncStored, Status: 200, Bytes: 5})
	if row, body := g.row("/a"), g.held("/a"); row != "row 2" || body != "other" || g.o.Count("/a") != 4 {
		t.Errorf("row %q and body %q after %d requests, want row 2 and the new body after 4", row, body, g.o.Count("/a"))
	}
}

func TestSyncConfirmsAnAdoptedFileWithoutFetchingIt(t *testing.T) {
	g := newRig(t)
	when := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	g.o.File("/a", origintest.Text("body"), origintest.LastModified(when), cc(fresh))
	g.adopt("/a", "body", when)
	g.synced("/a", "r", SyncResult{Outcome: SyncSame, Status: 200})
	if g.o.CountMethod("GET", "/a") != 0 || g.row("/a") != "r" {
		t.Errorf("%d bodies fetched, row %q; want none, and the row", g.o.CountMethod("GET", "/a"), g.row("/a"))
	}
}

func TestAPageOfAnErrorIsNotTakenForTheFile(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("not here"), origintest.Status(404), origintest.Header("ETag", `"e"`))
	g.get("/a").want(t, "the client", 404, "not here", Miss)
	g.idle()
	g.o.File("/a", origintest.Text("body"), origintest.Header("ETag", `"e"`), cc(fresh))
	g.synced("/a", "r", SyncResult{Outcome: SyncStored, Status: 200, Bytes: 4})
}

func TestSyncWaitsForAClientsFlightAndThenTakesTheOriginsWord(t *testing.T) {
	body := origintest.Body(3, 1<<20)
	for _, tt := range []struct {
		name     string
		opts     []origintest.Option
		requests int
		row      string
	}{
		{"with validators the row is confirmed", nil, 2, "r"},
		{"without any it is taken as it is, and the row left open", []origintest.Option{origintest.NoValidators()}, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			release := make(chan struct{})
			g.o.File("/a", body, append(tt.opts, cc(fresh), origintest.First(1, append(tt.opts, cc(fresh), origintest.Stall(1000, release))...))...)
			a := g.open("/a")
			g.o.WaitSent("/a", 1000)
			type result struct {
				got SyncResult
				err error
			}
			done := make(chan result)
			go func() {
				got, err := g.sync("/a", "r")
				done <- result{got, err}
			}()
			g.behind("/a", 1)
			close(release)
			r := <-done
			if want := (SyncResult{Outcome: SyncStored, Status: 200, Bytes: body.Size()}); r.err != nil || r.got != want {
				t.Errorf("Sync = %+v, %v, want %+v", r.got, r.err, want)
			}
			read(a, nil).want(t, "the client", 200, body.String(), Miss)
			if n, row := g.o.Count("/a"), g.row("/a"); n != tt.requests || row != tt.row {
				t.Errorf("%d requests and row %q, want %d and %q", n, row, tt.requests, tt.row)
			}
		})
	}
}

// behind returns when n wait behind the flight of path.
func (g *rig) behind(path string, n int) {
	g.t.Helper()
	key := g.key(path)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		g.f.mu.Lock()
		fl := g.f.flights[key]
		met := fl != nil && fl.behind == n
		g.f.mu.Unlock()
		if met {
			return
		}
	}
	g.t.Fatalf("fewer than %d wait behind the flight of %s", n, path)
}

// begun starts a Sync and returns when the origin has sent n bytes of its answer.
func (g *rig) begun(ctx context.Context, path string, n int64) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := g.f.Sync(ctx, SyncRequest{Key: g.key(path), Row: "r"})
		done <- err
	}()
	g.o.WaitSent(path, n)
	return done
}

func TestAClientOfASyncsFlightGetsTheStream(t *testing.T) {
	g := newRig(t)
	body, release := origintest.Body(4, 1<<20), make(chan struct{})
	g.o.File("/a", body, cc(fresh), origintest.Stall(1000, release))
	ctx, leave := context.WithCancel(t.Context())
	done := g.begun(ctx, "/a", 1000)
	a := g.open("/a")
	first := make([]byte, 1000)
	if n, err := a.Body.Read(first); n == 0 || err != nil {
		t.Fatalf("read of what is there = %d, %v, want bytes while the rest is on its way", n, err)
	}
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Sync whose context ended = %v", err)
	}
	close(release)
	r := read(a, nil)
	if r.broken != nil || !strings.HasSuffix(body.String(), r.body) {
		t.Fatalf("the client got %d bytes more and %v after the walk left, want the rest of the body", len(r.body), r.broken)
	}
	g.idle()
	if g.held("/a") != body.String() || g.o.Count("/a") != 1 {
		t.Errorf("%d bytes held after %d requests, want the body after one", len(g.held("/a")), g.o.Count("/a"))
	}
}

func TestASyncThatIsGivenUpKeepsWhatCame(t *testing.T) {
	g := newRig(t)
	body, release := origintest.Body(5, 1<<20), make(chan struct{})
	defer close(release)
	g.o.File("/a", body, cc(fresh), origintest.First(1, cc(fresh), origintest.Stall(1000, release)))
	ctx, leave := context.WithCancel(t.Context())
	done := g.begun(ctx, "/a", 1000)
	for deadline := time.Now().Add(20 * time.Second); g.under()[0].draftLen() < 1000; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the draft does not get what the origin has sent")
		}
	}
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Sync whose context ended = %v", err)
	}
	if left := g.under(); len(left) != 0 {
		t.Fatalf("%d flights go on that nobody wants", len(left))
	}
	g.synced("/a", "r", SyncResult{Outcome: SyncStored, Status: 200, Bytes: body.Size()})
	if g.o.Last("/a").Header.Get("Range") != "bytes=1000-" || g.held("/a") != body.String() {
		t.Errorf("the second Sync asked with %v, want the rest alone, and the body held", g.o.Last("/a").Header)
	}
}

// draftLen is how much of the body came, once its head did.
func (fl *flight) draftLen() int64 {
	select {
	case <-fl.head:
		return fl.draft.Len()
	default:
		return 0
	}
}

func TestSyncGoesNowhereOffLineOrWhereNothingIsKept(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("x"))
	g.set(func(p *Policy) { p.Offline = true })
	if got, err := g.sync("/a", "r"); !errors.Is(err, ErrOffline) {
		t.Errorf("Sync off line = %+v, %v, want ErrOffline", got, err)
	}
	g.set(func(p *Policy) { p.Offline, p.Local = false, true })
	g.synced("/a", "r", SyncResult{Outcome: SyncUnkept})
	if n := g.o.Total(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func TestAStoreThatIsFullIsTold(t *testing.T) {
	for _, s := range []sick{{takes: -1, create: cache.ErrNoSpace}, {takes: 100}, {takes: -1, commit: cache.ErrNoSpace}} {
		g := newRig(t)
		g.o.File("/a", origintest.Body(1, 1<<20), cc(fresh))
		s.Store = g.tree
		g.store = &s
		g.restart()
		if got, err := g.sync("/a", "r"); !errors.Is(err, cache.ErrNoSpace) {
			t.Errorf("Sync with %+v = %+v, %v, want ErrNoSpace", s, got, err)
		}
	}
}

const page = `<html><head><title>Index of /d/</title></head><body><h1>Index of /d/</h1><hr><pre><a href="../">../</a>
<a href="one">one</a>     02-Jan-2024 03:04       4
</pre><hr></body></html>`

// listings makes a rig whose directories are listed, with one at /d/.
func listings(t *testing.T) *rig {
	g := newRig(t)
	g.set(func(p *Policy) { p.Listings = true })
	g.o.File("/d/", origintest.Text(page), origintest.Header("Content-Type", "text/html"), cc(fresh), origintest.Header(subtree, `"old"; as-of=1; complete=?1`))
	g.synced("/d/", "", SyncResult{Outcome: SyncStored, Status: 200, Bytes: int64(len(page))})
	return g
}

func (g *rig) listing() *cache.Meta {
	g.t.Helper()
	e, err := g.tree.Open(g.key("/d/"), ForListing(nil))
	if err != nil {
		g.t.Fatalf("open the listing: %v", err)
	}
	defer e.Close()
	return e.Meta
}

func TestAListingIsAskedForWhole(t *testing.T) {
	g := listings(t)
	g.synced("/d/", "", SyncResult{Outcome: SyncStored, Status: 200, Bytes: int64(len(page))})
	asked := g.o.Last("/d/").Header
	for _, name := range append(conditionals, ifSubtree) {
		if asked.Get(name) != "" {
			t.Errorf("the listing was asked for with %s: %s", name, asked.Get(name))
		}
	}
	if asked.Get("Accept") != askListing || !g.listing().Listing || g.o.Count("/d/") != 2 {
		t.Errorf("%d requests, the last with %v; want two for listings", g.o.Count("/d/"), asked)
	}
}

func TestADirectorysSyncTellsWhatCame(t *testing.T) {
	html := origintest.Header("Content-Type", "text/html")
	tests := []struct {
		name string
		body string
		opts []origintest.Option
		want SyncResult
		err  error
	}{
		{"gone", "no", []origintest.Option{origintest.Status(404)}, SyncResult{Outcome: SyncGone, Status: 404}, nil},
		{"denied", "no", []origintest.Option{origintest.Status(403)}, SyncResult{Outcome: SyncDenied, Status: 403}, nil},
		{"moved", "", []origintest.Option{origintest.Redirect(302, "/e/")}, SyncResult{Outcome: SyncElsewhere, Status: 302, Location: "/e/"}, nil},
		{"a page that is none", "<html><body>we will be back</body></html>", []origintest.Option{html}, SyncResult{}, cache.ErrNoListing},
		{"what cannot be one", "\x00\x01", []origintest.Option{origintest.Header("Content-Type", "image/png")}, SyncResult{}, cache.ErrNoListing},
		{"one that is cut off", page[:len(page)-40], []origintest.Option{html}, SyncResult{}, cache.ErrCutListing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := listings(t)
			g.o.File("/d/", origintest.Text(tt.body), tt.opts...)
			got, err := g.sync("/d/", "")
			if tt.err != nil && !errors.Is(err, tt.err) || tt.err == nil && (err != nil || got != tt.want) {
				t.Errorf("Sync = %+v, %v, want %+v, %v", got, err, tt.want, tt.err)
			}
		})
	}
	g := newRig(t)
	g.set(func(p *Policy) { p.Listings = true })
	g.o.File("/d/", origintest.Text("<html><body>we will be back</body></html>"), html)
	if got, err := g.sync("/d/", ""); !errors.Is(err, cache.ErrNoListing) {
		t.Errorf("Sync of a page where nothing is held = %+v, %v, want ErrNoListing", got, err)
	}
}

func TestADigestThatStillHoldsIsTheWordOnAllBelow(t *testing.T) {
	tests := []struct {
		name  string
		field string
		same  bool
	}{
		{"the same digest of all", `"d1"; as-of=7; complete=?1`, true},
		{"another digest", `"d2"; as-of=7; complete=?1`, false},
		{"the digest of a part", `"d1"; as-of=7; complete=?0`, false},
		{"no word of how much", `"d1"; as-of=7`, false},
		{"no digest", "", false},
		{"no string", "d1; complete=?1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := listings(t)
			before := g.listing()
			g.clock.Add(time.Minute)
			g.o.Handle("/d/", func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get(ifSubtree) != `"d1"` {
					t.Errorf("asked with %v", r.Header)
				}
				if tt.field != "" {
					w.Header().Set(subtree, tt.field)
				}
				w.WriteHeader(http.StatusNotModified)
			})
			got, err := g.f.Sync(t.Context(), SyncRequest{Key: g.key("/d/"), Subtree: "d1"})
			now := g.listing()
			if !tt.same {
				if err == nil || !now.Received.Equal(before.Received) {
					t.Errorf("Sync = %+v, %v, and the listing was freshened: %v; want an error and nothing changed", got, err, !now.Received.Equal(before.Received))
				}
				return
			}
			if want := (SyncResult{Outcome: SyncSame, Status: 304}); err != nil || got != want {
				t.Errorf("Sync = %+v, %v, want %+v", got, err, want)
			}
			if now.Header.Get(subtree) != tt.field || !now.Received.Equal(g.clock.Now()) || !now.Listing {
				t.Errorf("the listing says %q as of %v, want what the 304 said now", now.Header.Get(subtree), now.Received)
			}
		})
	}
}

func TestAClientsRevalidationDropsADigestThatIsNotRepeated(t *testing.T) {
	g := listings(t)
	if got := g.listing().Header.Get(subtree); got != `"old"; as-of=1; complete=?1` {
		t.Fatalf("the listing says %q, want it as it came", got)
	}
	g.o.File("/d/", origintest.Text(page), origintest.Header("Content-Type", "text/html"), cc(fresh))
	r := g.get("/d/", "Accept: "+askListing, "Cache-Control: no-cache")
	if r.outcome.Cache != Revalidated || g.listing().Header.Get(subtree) != "" {
		t.Errorf("after %s the listing says %q, want nothing", r.outcome.Cache, g.listing().Header.Get(subtree))
	}
}

func TestAClientTakesAFlightOutOfTheQueue(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.o.File("/busy", origintest.Body(6, 1<<20), cc(fresh), origintest.Stall(1000, release))
	g.o.File("/walked", origintest.Body(7, 1<<20), cc(fresh), origintest.Stall(1000, release))
	g.o.File("/a", origintest.Text("body"), cc(fresh))
	busy := g.open("/busy")
	walked := g.begun(t.Context(), "/walked", 1000) // the one that there is room for beside a client
	done := make(chan error, 1)
	go func() {
		_, err := g.sync("/a", "r")
		done <- err
	}()
	g.behind("/a", 1)
	if n := g.o.Count("/a"); n != 0 {
		t.Errorf("%d requests for /a while the origin is busy, want none", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	g.ask(ctx, "GET", "/a").want(t, "a client of what waits", 200, "body", Coalesced)
	if err := <-done; err != nil || g.o.Count("/a") != 1 {
		t.Errorf("Sync = %v after %d requests, want the client's answer for both", err, g.o.Count("/a"))
	}
	close(release)
	read(busy, nil).want(t, "the other client", 200, origintest.Body(6, 1<<20).String(), Miss)
	if err := <-walked; err != nil {
		t.Errorf("the other Sync = %v", err)
	}
}

func TestAPurgeEndsWhatASyncBrings(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.o.File("/a", origintest.Body(8, 1<<20), cc(fresh), origintest.Stall(1000, release))
	done := g.begun(t.Context(), "/a", 1000)
	if _, err := g.f.Purge(g.key("/a"), false); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err := <-done; !errors.Is(err, ErrPurged) || g.held("/a") != "" {
		t.Errorf("Sync of what was purged meanwhile = %v with %d bytes held, want ErrPurged and none", err, len(g.held("/a")))
	}
}

func TestTwoSyncsOfAFileFetchItOnce(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	body := origintest.Body(8, 1<<20)
	g.o.File("/a", body, cc(fresh), origintest.First(1, cc(fresh), origintest.Stall(1000, release)))
	ctx, leave := context.WithCancel(t.Context())
	first := g.begun(ctx, "/a", 1000)
	second := make(chan error, 1)
	go func() {
		_, err := g.sync("/a", "second")
		second <- err
	}()
	g.behind("/a", 2)
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the Sync whose context ended = %v", err)
	}
	close(release)
	if err := <-second; err != nil || g.held("/a") != body.String() || g.row("/a") != "second" {
		t.Errorf("the other = %v with %d bytes and row %q, want the body and its own row", err, len(g.held("/a")), g.row("/a"))
	}
	if asked := g.o.Last("/a").Header; g.o.Count("/a") != 2 || asked.Get("If-None-Match") == "" {
		t.Errorf("%d requests, the last with %v, want one for the body and one whether it stands", g.o.Count("/a"), asked)
	}
}

func TestSyncTakesNoWebPageForAFileOfAnotherSize(t *testing.T) {
	page := "<html>who are you?</html>"
	tests := []struct {
		name string
		path string
		size int64
		want error
	}{
		{"a page of another size than is listed is refused", "/README", 4, ErrWrongContent},
		{"a page of the listed size is the file", "/README", int64(len(page)), nil},
		{"a page whose size nobody told is stored", "/README", 0, nil},
		{"a page in place of one that has changed since it was listed is stored", "/index.html", 4, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File(tt.path, origintest.Text("text"), cc(fresh))
			g.get(tt.path).want(t, "before", 200, "text", Miss)
			g.idle()
			g.o.File(tt.path, origintest.Text(page), cc(fresh))
			_, err := g.f.Sync(t.Context(), SyncRequest{Key: g.key(tt.path), Size: tt.size, Row: "r"})
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Sync of a file of %d bytes = %v, want %v", tt.size, err, tt.want)
			}
			want := page
			if tt.want != nil {
				want = "text"
			}
			if held := g.held(tt.path); held != want {
				t.Errorf("held: %q, want %q", held, want)
			}
		})
	}
	g := newRig(t)
	g.o.File("/README", origintest.Text("other text"))
	if got, err := g.f.Sync(t.Context(), SyncRequest{Key: g.key("/README"), Size: 4}); err != nil || got.Outcome != SyncStored {
		t.Errorf("Sync of a text that has grown since it was listed = %+v, %v, want it stored", got, err)
	}
}
