package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/mirror"
	"zcache/internal/origin/origintest"
)

// fakeMirror is a Mirror that does what it is told and remembers what it was asked.
type fakeMirror struct {
	mu     sync.Mutex
	all    []mirror.Status
	err    error // of Walk
	walks  []string
	forgot []string
	onGone func() // called by Forget

	subscribed chan chan mirror.Event // gets each channel that Events returns
}

func (f *fakeMirror) Status() []mirror.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

func (f *fakeMirror) Lookup(name string) (mirror.Status, bool) {
	all := f.Status()
	if i := slices.IndexFunc(all, func(st mirror.Status) bool { return st.Name == name }); i >= 0 {
		return all[i], true
	}
	return mirror.Status{}, false
}

func (f *fakeMirror) Walk(name string, dir cache.Key, o mirror.Options) (mirror.Status, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walks = append(f.walks, fmt.Sprintf("%s %s dry=%v confirm=%v", name, dir, o.DryRun, o.ConfirmPurge))
	if f.err != nil {
		return mirror.Status{}, f.err
	}
	return mirror.Status{Name: name, State: mirror.StateQueued, Size: -1, DryRun: o.DryRun}, nil
}

func (f *fakeMirror) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.walks)
}

func (f *fakeMirror) Forget(key cache.Key) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgot = append(f.forgot, key.String())
	if f.onGone != nil {
		f.onGone()
	}
}

// Events are what a test puts into the channel that subscribed got; the end of ctx closes it only where there is none to put something in.
func (f *fakeMirror) Events(context.Context) <-chan mirror.Event {
	events := make(chan mirror.Event, 16)
	if f.subscribed != nil {
		f.subscribed <- events
	}
	return events
}

var walkEnded = time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)

// twoSubtrees are one that is mirrored and being walked, and one whose walks fail.
func twoSubtrees() *fakeMirror {
	return &fakeMirror{all: []mirror.Status{
		{Name: "//deb.lab/pool", State: mirror.StateFailed, Size: -1, Failed: 3, Err: "upstream turns the walk away", Ended: walkEnded},
		{
			Name: "/up/d", State: mirror.StateWalking, Upstream: "http://upstream.example/pub", Success: walkEnded, Started: walkEnded.Add(30 * time.Minute),
			Ended: walkEnded, Next: walkEnded.Add(time.Hour), Size: 5_500_000_000_000, Files: 200, Dirs: 7, Held: 12,
			Live: &mirror.Figures{
				Started: walkEnded.Add(30 * time.Minute), Elapsed: 90 * time.Second, ETA: 30 * time.Second, Dirs: 3, Files: 100, Skipped: 40, Fetched: 10,
				Bytes: 1 << 20, Requests: 14, Rate: 2048, At: "a/b/", LastError: "c: no route",
			},
			Last: &mirror.Figures{Elapsed: time.Minute, Files: 200, Dirs: 7, Skipped: 199, Same: 1, Requests: 8},
		},
	}}
}

func withMirror(f *fakeMirror) changing {
	return func(c *Config, _ *fill.Config) {
		c.Mirror, c.Now = f, func() time.Time { return walkEnded.Add(35 * time.Minute) }
	}
}

func TestMirrorReadsAsTunasyncs(t *testing.T) {
	g := newRig(t, withMirror(twoSubtrees()))
	var all []map[string]any
	w := g.do("GET", "/-/mirror", "")
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || len(all) != 2 {
		t.Fatalf("mirror = %v, want two subtrees\n%s", err, w.Body)
	}
	for i, want := range []map[string]any{
		{
			"name": "//deb.lab/pool", "status": "failed", "is_master": true, "last_update": "0001-01-01 00:00:00 +0000", "last_update_ts": -62135596800.0,
			"next_schedule": "0001-01-01 00:00:00 +0000", "next_schedule_ts": -62135596800.0, "last_ended": "2026-11-21 11:00:00 +0000", "size": "unknown", "bytes": nil,
			"error": "upstream turns the walk away", "failed_walks": 3.0, "progress": nil, "last": nil, "upstream": "",
		},
		{
			"name": "/up/d", "status": "syncing", "last_update": "2026-11-21 11:00:00 +0000", "last_update_ts": float64(walkEnded.Unix()),
			"last_started": "2026-11-21 11:30:00 +0000", "last_started_ts": float64(walkEnded.Unix() + 1800), "last_ended_ts": float64(walkEnded.Unix()),
			"next_schedule": "2026-11-21 12:00:00 +0000", "next_schedule_ts": float64(walkEnded.Unix() + 3600), "upstream": "http://upstream.example/pub", "size": "5.50T",
			"files": 200.0, "dirs": 7.0, "bytes": 5.5e12, "held_back": 12.0, "dry_run": false, "error": "", "failed_walks": 0.0,
			"progress.started": "2026-11-21T11:30:00Z", "progress.elapsed_seconds": 90.0, "progress.eta_seconds": 30.0, "progress.dirs": 3.0, "progress.files": 100.0,
			"progress.skipped": 40.0, "progress.fetched": 10.0, "progress.bytes": float64(1 << 20), "progress.requests": 14.0, "progress.rate": 2048.0, "progress.at": "a/b/",
			"progress.last_error": "c: no route", "last.same": 1.0, "last.elapsed_seconds": 60.0, "last.eta_seconds": nil,
		},
	} {
		for name, v := range want {
			if got := member(t, all[i], name); got != v {
				t.Errorf("mirror: %s of %v = %v, want %v", name, want["name"], got, v)
			}
		}
	}
	for _, name := range []string{
		"dirs", "files", "skipped", "same", "fetched", "removed", "denied", "unkept", "failed", "would_ask", "held_back", "bytes", "promised", "requests", "queue", "rate",
		"eta_seconds", "elapsed_seconds", "last_error", "at", "started",
	} {
		if _, ok := all[1]["progress"].(map[string]any)[name]; !ok {
			t.Errorf("mirror: progress has no member %q", name)
		}
	}
}

func TestOneSubtreeByAnyOfItsNames(t *testing.T) {
	g := newRig(t, withMirror(twoSubtrees()))
	for _, row := range []struct{ claim, asked, want string }{
		{"by its name", "/up/d", "/up/d"},
		{"with a slash behind", "/up/d/", "/up/d"},
		{"without one in front", "up/d", "/up/d"},
		{"with an escape that is none", "/up/%64", "/up/d"},
		{"by the URL of its upstream", g.o.URL + "/pub/d/", "/up/d"},
		{"by this instance's own URL", "http://localhost:3142/up/d/", "/up/d"},
		{"at a hub's host", "//deb.lab/pool", "//deb.lab/pool"},
	} {
		w := g.do("GET", "/-/mirror?subtree="+row.asked, "")
		if w.Code != http.StatusOK || object(t, w)["name"] != row.want {
			t.Errorf("%s: mirror?subtree=%s = %d, want %s\n%s", row.claim, row.asked, w.Code, row.want, w.Body)
		}
	}
	for _, row := range []struct{ claim, asked string }{
		{"another", "/up/e"}, {"a part of its name", "/up"}, {"what lies in it", "/up/d/e"}, {"no hub", "/other/d"}, {"none", ""}, {"no path at all", "%25zz"},
	} {
		isProblem(t, row.claim, g.do("GET", "/-/mirror?subtree="+row.asked, ""), http.StatusNotFound, "no_subtree")
	}
}

func TestSizesReadAsRsyncs(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "unknown", 0: "0", 999: "999", 1000: "1.00K", 999_994: "999.99K", 999_995: "1.00M", 1_330_000_000_000: "1.33T", 1<<63 - 1: "9.22E",
	} {
		if got := roughSize(n); got != want {
			t.Errorf("roughSize(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestMirrorPage(t *testing.T) {
	live := twoSubtrees()
	idle := twoSubtrees()
	idle.all[1].State, idle.all[1].Live = mirror.StateSuccess, nil
	first := twoSubtrees()
	first.all[1].Files, first.all[1].Success = 0, time.Time{}
	queued := &fakeMirror{all: []mirror.Status{{Name: "/up", State: mirror.StateQueued, Size: -1}}}
	hostile := twoSubtrees()
	hostile.all[1].Name, hostile.all[1].Live.At, hostile.all[0].Err = `/"><script>x</script>`, "<script>x</script>", "<script>x</script>"
	hostile.all[0].Name = "javascript:alert(1)"
	const anew, bar = `<meta http-equiv="refresh" content="5">`, `<progress aria-label="of /up/d" max="100"`
	for _, row := range []struct {
		claim string
		m     *fakeMirror
		want  []string
		not   []string
	}{
		{"a walk under way", live, []string{
			anew, bar + ` value="25">`, "2 subtrees · 1 under way · 1 failed", `<a href="/up/d/">/up/d</a>`, `<a href="//deb.lab:3142/pool/">//deb.lab/pool</a>`, "being walked",
			"50 of about 200 files, 2.0 KiB/s, about 30 s left", "40 unchanged by the listing, 10 fetched; 1.0 MiB fetched; 14 requests", "at a/b/", "not had: c: no route",
			"200 files", "5.0 TiB in 7 directories", "2026-11-21 11:00:00 UTC, 35 min ago", "12 entries that are gone upstream stayed",
			"failed 3 times", "upstream turns the walk away", "from http://upstream.example/pub",
		}, nil},
		{"the first walk knows no end", first, []string{anew, bar + ">", "50 of the 100 files listed so far"}, []string{"value="}},
		{"one that waits", queued, []string{anew, "waits for its turn"}, nil},
		{"nothing under way", idle, []string{"when touched, in 25 min at the earliest", "the last walk took 60 s: 7 directories and 200 files, 199 unchanged by the listing, 1 asked for and unchanged; 8 requests"}, []string{"refresh", "<progress"}},
		{"nothing at all", &fakeMirror{}, []string{"No subtree is mirrored here.", "0 subtrees"}, []string{"refresh"}},
		{"hostile words", hostile, []string{"&lt;script&gt;", ">javascript:alert(1)<"}, []string{"<script>x", `href="javascript`}},
	} {
		g := newRig(t, withMirror(row.m))
		w := g.do("GET", "/-/mirror", "", field("Accept", "text/html"))
		page := w.Body.String()
		page = strings.NewReplacer(mirrorStyle, "", script, "").Replace(page)
		for _, want := range row.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: page has no %s\n%s", row.claim, want, page)
			}
		}
		for _, not := range row.not {
			if strings.Contains(page, not) {
				t.Errorf("%s: page has %s\n%s", row.claim, not, page)
			}
		}
		if row.m != hostile {
			harmless(t, w.Body.String())
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, hashSource(mirrorStyle)) || !strings.Contains(w.Body.String(), "<style>"+mirrorStyle+"</style>") {
			t.Errorf("%s: the policy %q does not let the page's style in", row.claim, csp)
		}
	}
	g := newRig(t, withMirror(live))
	if page := g.do("GET", "/-/mirror?subtree=/up/d", "", field("Accept", "text/html")).Body.String(); !strings.Contains(page, bar) || strings.Contains(page, "deb.lab/pool") {
		t.Errorf("the page of one subtree = %s", page)
	}
	if front := do(t, g.s.Front(), "GET", "/", "", field("Accept", "text/html")).Body.String(); !strings.Contains(front, `action="/-/mirror"`) {
		t.Errorf("the front page does not lead to the mirror:\n%s", front)
	}
}

func TestWalkIsOfTheDirectoryThatIsMeant(t *testing.T) {
	for _, row := range []struct{ claim, body, want string }{
		{"a path", `{"subtree":"/up/d"}`, "/up/d /up/d/ dry=false confirm=false"},
		{"one with a slash behind", `{"subtree":"/up/e/"}`, "/up/e /up/e/ dry=false confirm=false"},
		{"a mount without its slash", `{"subtree":"/up"}`, "/up /up/ dry=false confirm=false"},
		{"only to look", `{"subtree":"/up/d","dry_run":true}`, "/up/d /up/d/ dry=true confirm=false"},
		{"confirmed", `{"subtree":"/up/d","confirm_purge":true}`, "/up/d /up/d/ dry=false confirm=true"},
		{"an escape that is none", `{"subtree":"/up/%64"}`, "/up/d /up/d/ dry=false confirm=false"},
		{"an escape that is one", `{"subtree":"/up/a%20b"}`, "/up/a%20b /up/a%20b/ dry=false confirm=false"},
		{"at a hub's host", `{"subtree":"//deb.lab/pool/"}`, "//deb.lab/pool /deb/pool/ dry=false confirm=false"},
		{"all of a hub with a host", `{"subtree":"//deb.lab"}`, "//deb.lab /deb/ dry=false confirm=false"},
		{"its upstream's URL", `{"subtree":"{origin}/pub/d"}`, "/up/d /up/d/ dry=false confirm=false"},
	} {
		f := twoSubtrees()
		g := newRig(t, withMirror(f))
		w := g.do("POST", "/-/walk", strings.ReplaceAll(row.body, "{origin}", g.o.URL))
		if w.Code != http.StatusAccepted || !slices.Equal(f.asked(), []string{row.want}) {
			t.Errorf("%s: walk %s = %d, asked for %q, want %q\n%s", row.claim, row.body, w.Code, f.asked(), row.want, w.Body)
			continue
		}
		v := object(t, w)
		name, _, _ := strings.Cut(row.want, " ")
		if v["name"] != name || v["status"] != "pre-syncing" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: walk %s = %s", row.claim, row.body, w.Body)
		}
		if !strings.Contains(g.log.String(), "action=ask") {
			t.Errorf("%s: who asked for a walk is not in the log", row.claim)
		}
	}
}

func TestWalksThatAreRefused(t *testing.T) {
	offline := func(c *Config, _ *fill.Config) { c.Offline = true }
	local := func(_ *Config, f *fill.Config) {
		f.Policy = func(cache.Key) fill.Policy { return fill.Policy{Local: true} }
	}
	none := func(c *Config, _ *fill.Config) { c.Mirror = nil }
	for _, row := range []struct {
		claim, body string
		change      changing
		status      int
		word        string
	}{
		{"no body", "", nil, 400, "bad_json"},
		{"no JSON", "subtree=/up/d", nil, 400, "bad_json"},
		{"another type", `{"subtree":["/up/d"]}`, nil, 400, "bad_json"},
		{"a member that is mistyped", `{"subtree":"/up/d","dryrun":true}`, nil, 400, "bad_json"},
		{"more behind it", `{"subtree":"/up/d"} {}`, nil, 400, "bad_json"},
		{"no subtree", `{"dry_run":true}`, nil, 400, "no_path"},
		{"a dot segment", `{"subtree":"/up/../x"}`, nil, 400, "bad_path"},
		{"a query", `{"subtree":"/up/d?a=b"}`, nil, 400, "bad_path"},
		{"neither path nor URL", `{"subtree":"up"}`, nil, 400, "bad_path"},
		{"no hub", `{"subtree":"/other/d"}`, nil, 404, "no_subtree"},
		{"a tree of this machine", `{"subtree":"/up/d"}`, local, 404, "no_subtree"},
		{"nothing is stored", `{"subtree":"/up/d"}`, none, 404, "no_subtree"},
		{"off line", `{"subtree":"/up/d"}`, offline, 409, "offline"},
	} {
		f := twoSubtrees()
		changes := []changing{withMirror(f)}
		if row.change != nil {
			changes = append(changes, row.change)
		}
		g := newRig(t, changes...)
		isProblem(t, row.claim, g.do("POST", "/-/walk", row.body), row.status, row.word)
		if asked := f.asked(); len(asked) > 0 {
			t.Errorf("%s: the walk was refused, and started: %q", row.claim, asked)
		}
	}
	for _, row := range []struct {
		claim  string
		err    error
		status int
		word   string
	}{
		{"another kind of walk is under way", fmt.Errorf("walk /up/d: %w", mirror.ErrBusy), 409, "walk_under_way"},
		{"nothing to walk", fmt.Errorf("walk /up/d: %w", mirror.ErrNoSubtree), 404, "no_subtree"},
		{"this instance stops", mirror.ErrStopped, 503, "stopping"},
		{"the disk does not answer", errors.New("statfs: input/output error"), 500, "internal"},
	} {
		f := twoSubtrees()
		f.err = row.err
		isProblem(t, row.claim, newRig(t, withMirror(f)).do("POST", "/-/walk", `{"subtree":"/up/d"}`), row.status, row.word)
	}
}

func TestPurgeForgetsBeforeItRemoves(t *testing.T) {
	f := twoSubtrees()
	g := newRig(t, withMirror(f))
	g.file("/d/a", origintest.Header("X-Any", "1"))
	g.ensure("/up/d/a")
	held := false
	f.onGone = func() { held = g.held("/up/d/a") }
	if v := object(t, g.do("POST", "/-/purge", `{"path":"/up/d/","recursive":true}`)); v["removed"] != 1.0 {
		t.Errorf("purge = %v, want one entry removed", v)
	}
	if !slices.Equal(f.forgot, []string{"/up/d/"}) || !held {
		t.Errorf("purge had %q forgotten while the entry was held: %v; want /up/d/ before anything is removed", f.forgot, held)
	}
}

func TestEntriesTellTheWalkThatSawThem(t *testing.T) {
	f := twoSubtrees()
	f.all = append(f.all,
		mirror.Status{Name: "/", Success: walkEnded.Add(-time.Hour)}, // of a root hub, which this rig has not
		mirror.Status{Name: "/up", Success: walkEnded.Add(-time.Minute)}, mirror.Status{Name: "/up/d/never"})
	g := newRig(t, withMirror(f))
	for _, row := range []struct {
		claim, url string
		subtree    any
		asOf       any
	}{
		{"the innermost subtree counts", "/up/d/x/y", "/up/d", "2026-11-21T11:00:00Z"},
		{"a directory lies in its own", "/up/d/", "/up/d", "2026-11-21T11:00:00Z"},
		{"whole segments", "/up/dd", "/up", "2026-11-21T10:59:00Z"},
		{"a walk that never succeeded says nothing", "/up/d/never/x", "/up/d", "2026-11-21T11:00:00Z"},
		{"none around it", "//deb.lab/x", nil, nil},
		{"one whose walks fail", "//deb.lab/pool/x", nil, nil},
	} {
		for _, endpoint := range []string{"/-/entry?url=", "/-/explain?url="} {
			v := object(t, g.do("GET", endpoint+row.url, "", remote))
			if s, at := member(t, v, "mirrored.subtree"), member(t, v, "mirrored.as_of"); s != row.subtree || at != row.asOf {
				t.Errorf("%s: %s%s is mirrored with %v as of %v, want %v as of %v", row.claim, endpoint, row.url, s, at, row.subtree, row.asOf)
			}
		}
	}
	if page := g.do("GET", "/-/entry?url=/up/d/x", "", field("Accept", "text/html")).Body.String(); !strings.Contains(page, "with /up/d, as of 2026-11-21 11:00:00 UTC, 35 min ago") {
		t.Errorf("the page of an entry does not say as of when it is mirrored:\n%s", page)
	}
}

func TestStatusCountsTheSubtrees(t *testing.T) {
	s := object(t, newRig(t, withMirror(twoSubtrees())).do("GET", "/-/status", ""))
	if m := s["mirror"]; fmt.Sprint(m) != "map[failed:1 subtrees:2 walking:1]" {
		t.Errorf("status: mirror = %v, want 2 subtrees, 1 walking, 1 failed", m)
	}
	g := newRig(t, withoutStore)
	if m, ok := object(t, g.do("GET", "/-/status", ""))["mirror"]; ok {
		t.Errorf("status of an instance that stores nothing: mirror = %v", m)
	}
	if w := g.do("GET", "/-/mirror", ""); w.Code != http.StatusOK || w.Body.String() != "[]\n" {
		t.Errorf("mirror where nothing is stored = %d %s, want an empty array", w.Code, w.Body)
	}
}
