package fill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

var errJudged = errors.New("denied")

// noVideo denies by type, noScript by the first bytes.
func noVideo(h Head) error {
	if strings.HasPrefix(h.Header.Get("Content-Type"), "video/") {
		return errJudged
	}
	return nil
}

func noScript(h Head) error {
	if strings.HasPrefix(string(h.Magic), "#!") {
		return errJudged
	}
	return nil
}

// judged asks with a Judge.
func (g *rig) judged(judge Judge, magic bool, method, path string, lines ...string) received {
	return read(g.f.Get(g.t.Context(), &Request{Key: g.key(path), Method: method, Header: fields(lines...), Judge: judge, Magic: magic}))
}

func TestAJudgeSeesWhatWouldAnswer(t *testing.T) {
	const size = 20 << 20
	big := origintest.Body(1, size)
	script := origintest.Text("#!/bin/sh\n" + strings.Repeat("echo hello\n", 100))
	tests := []struct {
		name   string
		method string
		opts   []origintest.Option
		lines  []string
		body   *origintest.Content
		want   Head // Header is not compared
	}{
		{"a file as it comes", "GET", []origintest.Option{cc(fresh)}, nil, big, Head{Status: 200, Size: size}},
		{"of unknown length", "GET", []origintest.Option{cc(fresh), origintest.Chunked()}, nil, script, Head{Status: 200, Size: -1}},
		{"a range", "GET", []origintest.Option{cc(fresh)}, []string{"Range: bytes=5-9"}, big, Head{Status: 200, Size: size}},
		{"a range far ahead", "GET", []origintest.Option{cc(fresh)}, []string{"Range: bytes=20000000-20000009"}, big, Head{Status: 200, Size: size}},
		{"HEAD", "HEAD", []origintest.Option{cc(fresh)}, nil, big, Head{Status: 200, Size: size}},
		{"passed on", "GET", []origintest.Option{cc("no-store")}, nil, big, Head{Status: 200, Size: size}},
		{"passed on, of unknown length", "GET", []origintest.Option{cc("no-store"), origintest.Chunked()}, nil, script, Head{Status: 200, Size: -1}},
		{"an answer to POST", "POST", []origintest.Option{cc(fresh)}, nil, script, Head{Status: 200, Size: script.Size()}},
		{"a 404", "GET", []origintest.Option{cc(fresh), origintest.Status(404)}, nil, script, Head{Status: 404, Size: script.Size()}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File("/a", tt.body, tt.opts...)
			var mu sync.Mutex
			var seen []Head
			judge := func(h Head) error { mu.Lock(); defer mu.Unlock(); seen = append(seen, h); return nil }
			got := g.judged(judge, true, tt.method, "/a", tt.lines...)
			if got.err != nil || got.broken != nil {
				t.Fatalf("%v, %v", got.err, got.broken)
			}
			if tt.lines == nil && tt.method != "HEAD" && got.body != tt.body.String() {
				t.Errorf("%d bytes came, want the %d of the origin", len(got.body), tt.body.Size())
			}
			g.idle()
			if tt.want.Status == 200 && strings.HasPrefix(tt.name, "a ") || tt.name == "of unknown length" {
				g.judged(judge, true, tt.method, "/a", tt.lines...) // held
			}
			first := tt.body.String()[:min(512, tt.body.Size())]
			late := 0
			for _, h := range seen {
				if h.Status != tt.want.Status || h.Size != tt.want.Size && h.Size != tt.body.Size() || h.Header.Get("Content-Type") == "" && h.Header.Get("Date") == "" || !strings.HasSuffix(h.URL, "/a") {
					t.Errorf("the Judge saw %d with %d bytes of %s, want %d with %d", h.Status, h.Size, h.URL, tt.want.Status, tt.want.Size)
				}
				if want := first; tt.method != "HEAD" && string(h.Magic) != want || tt.method == "HEAD" && h.Magic != nil {
					t.Errorf("the Judge saw the first bytes %.20q, want %.20q", h.Magic, want)
				}
				if !h.Early {
					late++
				}
			}
			if late == 0 {
				t.Error("the Judge was not asked about the answer")
			}
		})
	}
}

func TestWhatAJudgeDenies(t *testing.T) {
	video := origintest.Header("Content-Type", "video/mp4")
	tests := []struct {
		name  string
		opts  []origintest.Option
		lines []string
		setup func(g *rig)
	}{
		{"what would be stored", []origintest.Option{cc(fresh)}, nil, nil},
		{"what would pass", []origintest.Option{cc("no-store")}, nil, nil},
		{"for one client alone", []origintest.Option{cc(fresh)}, []string{"Authorization: Basic eDp5"}, nil},
		{"what is held", []origintest.Option{cc(fresh)}, nil, func(g *rig) { g.get("/a"); g.idle() }},
		{"what is held, nothing new", []origintest.Option{cc(fresh)}, []string{"If-None-Match: *"}, func(g *rig) { g.get("/a"); g.idle() }},
		{"what is held, a part", []origintest.Option{cc(fresh)}, []string{"Range: bytes=1-2"}, func(g *rig) { g.get("/a"); g.idle() }},
		{"what is confirmed", []origintest.Option{cc("max-age=1")}, nil, func(g *rig) { g.get("/a"); g.idle(); g.clock.Add(time.Hour) }},
		{"what is stale, off line", []origintest.Option{cc("max-age=1")}, nil, func(g *rig) {
			g.get("/a")
			g.idle()
			g.clock.Add(time.Hour)
			g.set(func(p *Policy) { p.Offline = true })
		}},
		{"what was put there by hand", []origintest.Option{cc(fresh), origintest.LastModified(time.Unix(1e9, 0))}, nil, func(g *rig) {
			g.adopt("/a", "film", time.Unix(1e9, 0))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File("/a", origintest.Text("film"), append(tt.opts, video)...)
			if tt.setup != nil {
				tt.setup(g)
			}
			before := g.held("/a")
			for _, method := range []string{"GET", "HEAD"} {
				if got := g.judged(noVideo, false, method, "/a", tt.lines...); !errors.Is(got.err, errJudged) {
					t.Errorf("%s: %d %q, %v; want the Judge's error", method, got.status, got.body, got.err)
				}
				g.idle()
			}
			if now := g.held("/a"); now != before {
				t.Errorf("held: %q, want %q as before", now, before)
			}
		})
	}
}

func TestADeniedUpdateIsNotReplacedByTheOldCopy(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("text"), cc("max-age=1, stale-if-error=9999"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Hour)
	g.o.File("/a", origintest.Text("film"), cc(fresh), origintest.Header("Content-Type", "video/mp4"))
	if got := g.judged(noVideo, false, "GET", "/a"); !errors.Is(got.err, errJudged) {
		t.Errorf("%d %q, %v; want the Judge's error", got.status, got.body, got.err)
	}
	g.idle()
	if held := g.held("/a"); held != "text" {
		t.Errorf("held: %q, want what was", held)
	}
}

func TestADeniedUpdateBehindIsNotStored(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("text"), cc("max-age=1, stale-while-revalidate=9999"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Minute)
	g.o.File("/a", origintest.Text("film"), cc(fresh), origintest.Header("Content-Type", "video/mp4"))
	g.judged(noVideo, false, "GET", "/a").want(t, "the stale copy", 200, "text", Updating)
	g.idle()
	if held := g.held("/a"); held != "text" {
		t.Errorf("held: %q, want what was", held)
	}
	g.get("/a").want(t, "without a Judge", 200, "text", Updating)
	g.idle()
	if held := g.held("/a"); held != "film" {
		t.Errorf("held: %q, want what a client without a Judge had fetched behind", held)
	}
}

func TestADeniedRestIsDropped(t *testing.T) {
	g := newRig(t)
	body := origintest.Bytes([]byte("#!/bin/sh\n" + strings.Repeat("x", 1<<20)))
	release := make(chan struct{})
	g.o.File("/a", body, cc(fresh), origintest.Stall(400_000, release))
	a := g.open("/a")
	g.o.WaitSent("/a", 400_000)
	a.Close()
	g.restart()
	close(release)
	g.o.File("/a", body, cc(fresh))
	if got := g.judged(noScript, true, "GET", "/a"); !errors.Is(got.err, errJudged) {
		t.Errorf("%d, %v; want the Judge's error", got.status, got.err)
	}
	g.idle()
	if g.held("/a") != "" {
		t.Error("what nobody may have is held")
	}
	if left := g.store.Resume(g.key("/a")); left != nil {
		t.Error("what nobody may have is left to be carried on")
		left.Discard(nil)
	}
}

func TestWhoComesWhileAllAreDeniedIsHeard(t *testing.T) {
	for _, tt := range []struct {
		name  string
		judge Judge
		ok    bool
	}{
		{"without a Judge", nil, true},
		{"with another", func(Head) error { return nil }, true},
		{"with the same", noVideo, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File("/a", origintest.Text("film"), cc(fresh), origintest.Header("Content-Type", "video/mp4"))
			asked, decide := make(chan struct{}), make(chan struct{})
			var once sync.Once
			slow := func(h Head) error {
				once.Do(func() { close(asked); <-decide })
				return noVideo(h)
			}
			first := make(chan received)
			go func() { first <- g.judged(slow, false, "GET", "/a") }()
			<-asked // the jury is out: who joins now is not on it
			late := make(chan received)
			go func() { late <- g.judged(tt.judge, false, "GET", "/a") }()
			g.waiting("/a", 2)
			close(decide)
			if got := <-first; !errors.Is(got.err, errJudged) {
				t.Errorf("the first: %d, %v; want the Judge's error", got.status, got.err)
			}
			got := <-late
			g.idle()
			if tt.ok && (got.err != nil || got.body != "film" || g.held("/a") != "film") {
				t.Errorf("the late one: %q, %v, held %q; want the file, stored", got.body, got.err, g.held("/a"))
			}
			if n := g.o.Count("/a"); !tt.ok && (!errors.Is(got.err, errJudged) || n != 1) {
				t.Errorf("the late one: %v after %d trips, want the Judge's error after one", got.err, n)
			}
		})
	}
}

func TestAWalkTakesWhatAClientMayNotHave(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.o.File("/a", origintest.Text("film"), cc(fresh), origintest.Header("Content-Type", "video/mp4"), origintest.Hold(release))
	client := make(chan received)
	go func() { client <- g.judged(noVideo, false, "GET", "/a") }()
	g.waiting("/a", 1)
	walk := make(chan error)
	go func() { _, err := g.f.Sync(g.t.Context(), SyncRequest{Key: g.key("/a")}); walk <- err }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		fl := g.under()[0]
		g.f.mu.Lock()
		joined := fl.behind > 0
		g.f.mu.Unlock()
		if joined {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the walk does not join the flight")
		}
	}
	close(release)
	if got := <-client; !errors.Is(got.err, errJudged) {
		t.Errorf("the client: %d, %v; want the Judge's error", got.status, got.err)
	}
	if err := <-walk; err != nil || g.held("/a") != "film" {
		t.Errorf("the walk: %v, held %q; want the file", err, g.held("/a"))
	}
}

type mark string

func (m mark) Mark(ctx context.Context) context.Context {
	return context.WithValue(ctx, mark(""), string(m))
}

// A marking notes on whose behalf trips are made.
type marking struct {
	http.RoundTripper
	mu   sync.Mutex
	seen []string
}

func (m *marking) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	m.seen = append(m.seen, r.Method+" "+fmt.Sprint(r.Context().Value(mark(""))))
	m.mu.Unlock()
	return m.RoundTripper.RoundTrip(r)
}

func TestTripsAreMadeInSomebodysName(t *testing.T) {
	g := newRig(t)
	m := &marking{RoundTripper: g.f.cfg.Origin}
	g.f.cfg.Origin = m
	g.o.File("/a", origintest.Text("a"), cc("max-age=1"))
	ask := func(who, method string, lines ...string) {
		t.Helper()
		if got := read(g.f.Get(t.Context(), &Request{Key: g.key("/a"), Method: method, Header: fields(lines...), Mark: mark(who)})); got.err != nil {
			t.Fatal(got.err)
		}
		g.idle()
	}
	ask("miss", "GET")
	ask("hit", "GET")
	g.clock.Add(time.Hour)
	ask("revalidation", "GET")
	g.clock.Add(time.Hour)
	ask("check", "HEAD")
	g.clock.Add(time.Hour)
	ask("alone", "GET", "Authorization: Basic eDp5")
	ask("write", "POST")
	if got, want := strings.Join(m.seen, ", "), "GET miss, GET revalidation, HEAD check, GET alone, POST write"; got != want {
		t.Errorf("trips: %s; want %s", got, want)
	}
}

type crowd struct{ trips int }

type crowdedError struct{ error }

func (crowdedError) Crowded() bool { return true }

func (c *crowd) RoundTrip(*http.Request) (*http.Response, error) {
	c.trips++
	return nil, crowdedError{errors.New("too many")}
}

func TestWhereTooManyAreNobodyTriesAgain(t *testing.T) {
	g := newRig(t)
	c := &crowd{}
	g.f.cfg.Origin = c
	var e crowdedError
	if got := g.get("/a"); !errors.Is(got.err, ErrUnreachable) || !errors.As(got.err, &e) || c.trips != 1 {
		t.Errorf("%v after %d trips, want the refusal after one", got.err, c.trips)
	}
}
