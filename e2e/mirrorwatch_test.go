package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// An occurrence is one server-sent event about a subtree.
type occurrence struct {
	kind string
	mirrorState
}

// occurrences streams /-/events until the test ends. The channel is closed at the end of the stream.
func occurrences(t testing.TB, z *zcache) <-chan occurrence {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, z.url+"/-/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("GET /-/events: %d %s", resp.StatusCode, kind)
	}
	out := make(chan occurrence, 1000)
	go func() {
		defer resp.Body.Close()
		defer close(out)
		var o occurrence
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				o.kind = value
			case "data":
				_ = json.Unmarshal([]byte(value), &o.mirrorState)
			case "":
				if o.kind != "" {
					out <- o
				}
				o = occurrence{}
			}
		}
	}()
	return out
}

// next waits for an event of a kind, and gives the kinds that came before it.
func next(t testing.TB, events <-chan occurrence, kind string) (o occurrence, before []string) {
	t.Helper()
	late := time.After(waitShort)
	for {
		select {
		case o, ok := <-events:
			if !ok {
				t.Fatalf("the stream ended before %s, after %q", kind, before)
			}
			if o.kind == kind {
				return o, before
			}
			before = append(before, o.kind)
		case <-late:
			t.Fatalf("no event %s, only %q", kind, before)
		}
	}
}

func TestMirrorWatch(t *testing.T) {
	p := startPublisher(t)
	p.put("/a", "/d/b", "/d/c")
	hold := make(chan struct{})
	p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/d/b" {
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
		return false
	})
	z := mirrorOver(t, p)
	events := occurrences(t, z)
	if o, before := next(t, events, "mirror"); o.Name != "/up" || o.Status != "none" || len(before) != 0 {
		t.Errorf("the stream begins with %q and %+v, want what is now: /up was never walked", before, o)
	}
	get(t, z.url+"/up/a")
	for _, kind := range []string{"walk-queued", "walk-started"} {
		if o, before := next(t, events, kind); o.Name != "/up" || len(before) != 0 {
			t.Errorf("%s of %s after %q, want it to come next", kind, o.Name, before)
		}
	}
	o, _ := next(t, events, "walk-progress")
	if o.Status != "syncing" || o.Progress == nil || o.Progress.Dirs != 2 || o.Progress.Files != 3 {
		t.Errorf("progress: %s %v, want two directories and three files known", o.Status, o.Progress)
	}
	live := get(t, z.url+"/-/mirror", "Accept: text/html")
	for _, want := range []string{"/up", "<progress", "1 under way", "http-equiv=\"refresh\""} {
		if !bytes.Contains(live.Body, []byte(want)) {
			t.Errorf("the page during the walk lacks %q: %s", want, live.Body)
		}
	}
	wantMetrics(t, z, "zcache_walks_in_flight 1")
	close(hold)
	o, before := next(t, events, "walk-ended")
	if o.Status != "success" || o.Last == nil || o.Last.Files != 3 || slices.ContainsFunc(before, func(k string) bool { return k != "walk-progress" }) {
		t.Errorf("after %q the end: %+v, want success with three files", before, o)
	}
	wantMetrics(t, z, "zcache_walks_in_flight 0", "zcache_walk_files_total 3", "zcache_walk_fetched_total", "zcache_walk_requests_total 5",
		"zcache_walk_failures_total 0", "zcache_walk_purged_total 0", "zcache_walk_bytes_total", `zcache_walk_last_success_timestamp_seconds{subtree="/up"}`)
	watchShape(t, z, p)
	watchRestart(t, z, p)
}

func wantMetrics(t testing.TB, z *zcache, lines ...string) {
	t.Helper()
	all := string(get(t, z.url+"/-/metrics").Body)
	for _, line := range lines {
		if !strings.Contains(all, "\n"+line) {
			t.Errorf("metrics lack %q", line)
		}
	}
}

// watchShape looks at what is told of a subtree that was walked.
func watchShape(t *testing.T, z *zcache, p *publisher) {
	var all []map[string]any
	a := get(t, z.url+"/-/mirror", "Accept: application/json")
	if err := json.Unmarshal(a.Body, &all); err != nil || len(all) != 1 {
		t.Fatalf("/-/mirror: %v: %s, want one subtree", err, a.Body)
	}
	m := all[0]
	for key, want := range map[string]any{"name": "/up", "is_master": true, "status": "success", "upstream": p.URL + "/", "size": "600", "files": 3.0, "dirs": 2.0, "bytes": 600.0, "error": ""} {
		if m[key] != want && (key != "upstream" || m[key] != p.URL) {
			t.Errorf("/-/mirror: %s is %v, want %v", key, m[key], want)
		}
	}
	for _, key := range []string{"last_update", "last_started", "last_ended", "next_schedule"} {
		text, _ := m[key].(string)
		at, err := time.Parse("2006-01-02 15:04:05 -0700", text)
		stamp, _ := m[key+"_ts"].(float64)
		if err != nil || at.Unix() != int64(stamp) || time.Since(at) > 2*time.Hour || time.Until(at) > 2*time.Hour {
			t.Errorf("/-/mirror: %s is %q and %v seconds, want one time, of now or soon", key, text, m[key+"_ts"])
		}
	}
	page := get(t, z.url+"/-/mirror", "Accept: text/html")
	if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || !bytes.Contains(page.Body, []byte("/up")) || bytes.Contains(page.Body, []byte("http-equiv=\"refresh\"")) {
		t.Errorf("the page after the walk: %s %s", page.Header.Get("Content-Type"), page.Body)
	}
	for _, dir := range []string{"/up/", "/up/d/"} {
		if a := get(t, z.url+dir, "Accept: text/html"); !bytes.Contains(a.Body, []byte("mirrored, as of ")) {
			t.Errorf("the browse page of %s does not say as of when it is mirrored: %s", dir, a.Body)
		}
	}
}

// watchRestart looks at the state file, at what a restart makes of it, and at what becomes of one that is torn.
func watchRestart(t *testing.T, z *zcache, p *publisher) {
	name := filepath.Join(z.root, ".zcache-mirror-state.json")
	var file struct {
		Version  int
		Subtrees map[string]map[string]any
	}
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, &file)
	}
	up := file.Subtrees["/up"]
	if err != nil || file.Version != 1 || len(file.Subtrees) != 1 || !bytes.Contains(b, []byte("\n  \"subtrees\"")) {
		t.Fatalf("the state file: %v: %s", err, b)
	}
	for _, key := range []string{"last_walk_at", "last_success_at", "last_started_at", "next_at"} {
		text, _ := up[key].(string)
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			t.Errorf("the state file: %s is %v, want a time", key, up[key])
		}
	}
	was := z.mirrorOf("/up")
	z.stop()
	p.take()
	z.again()
	get(t, z.url+"/up/a").is(t, "a touch after a restart", http.StatusOK, "HIT")
	get(t, z.url+"/up/d/b").is(t, "another", http.StatusOK, "HIT")
	if is := z.mirrorOf("/up"); is.LastUpdateTS != was.LastUpdateTS || is.Status != "success" || is.Files != 3 {
		t.Errorf("after a restart: %+v, want what was before: %+v", is, was)
	}
	z.stop()
	if got := p.take(); len(got) != 0 {
		t.Errorf("after a restart %d requests were made, want none before the interval is over", len(got))
	}
	if err := os.WriteFile(name, b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	z.again()
	if !strings.Contains(z.log(), "mirror state is unreadable") {
		t.Error("nothing was said of a torn state file")
	}
	get(t, z.url+"/up/a").is(t, "a touch over a torn state", http.StatusOK, "HIT")
	if f := z.mirrored("/up", waitShort); f.Fetched != 0 || f.Skipped != 3 {
		t.Errorf("walk over a torn state: %v, want all three files known to be unchanged", f)
	}
}

func TestMirrorCompanions(t *testing.T) {
	p := startPublisher(t)
	p.put("/d/README")
	z := mirrorOver(t, p)
	z.walk("/up") // so that no touch starts another
	p.take()

	const archive = "/d/big-1.0.tar.xz"
	body := append([]byte("\xfd7zXZ\x00"), bytesOf("big", mib)...)
	p.set(archive, release{body: body, at: modified})
	companions := []string{archive + ".sig", archive + ".asc", "/d/big-1.0.tar.sign", "/d/SHA256SUMS"}
	p.put(companions...)
	p.put("/d/other-1.0.tar.xz", "/d/other-1.0.tar.xz.sig", "/d/big-1.0.txt", "/d/deep/SHA256SUMS")
	rest := make(chan struct{})
	p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != archive {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		_, _ = w.Write(body[:mib/2])
		_ = http.NewResponseController(w).Flush()
		select {
		case <-rest:
			_, _ = w.Write(body[mib/2:])
		case <-r.Context().Done():
		}
		return true
	})
	got := make(chan error, 1)
	go func() {
		a, err := tryAsk(http.MethodGet, z.url+"/up"+archive)
		if err == nil && (a.Err != nil || !bytes.Equal(a.Body, body)) {
			err = fmt.Errorf("status %d, %d bytes, %w", a.Status, len(a.Body), a.Err)
		}
		got <- err
	}()
	for _, path := range companions {
		z.published("up", path, 200)
	}
	select {
	case err := <-got:
		t.Errorf("the archive ended before half of it was sent: %v", err)
	default:
	}
	close(rest)
	if err := <-got; err != nil {
		t.Errorf("GET of the archive: %v", err)
	}
	asked := p.take()
	want := append([]string{archive}, companions...)
	files := filesAsked(asked)
	slices.Sort(want)
	slices.Sort(files)
	if !slices.Equal(files, want) || len(dirsAsked(asked)) > 1 {
		t.Errorf("for one archive were asked %q and %q, want %q and one listing", files, dirsAsked(asked), want)
	}
}
