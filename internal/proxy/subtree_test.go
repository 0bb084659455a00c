package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
	"zcache/internal/origin/origintest"
)

// touches are the Keys that were touched.
type touches struct {
	mu   sync.Mutex
	keys []string
}

func (s *touches) add(k cache.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, k.Path())
}

// take returns what was touched since it was last asked.
func (s *touches) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.keys
	s.keys = nil
	return out
}

func TestWhatIsUsedIsTouched(t *testing.T) {
	g := newListingRig(t)
	var seen touches
	g.g.cfg.Touch = seen.add
	g.o.File("/d/", index("a", "b/"), kind(asHTML), cc("max-age=0"))
	g.o.File("/d/a", origintest.Text("aa"), cc(fresh))
	g.o.File("/gone", origintest.Text("no"), origintest.Status(404))
	g.o.File("/moved", origintest.Text(""), origintest.Redirect(302, "/d/a"))
	for _, c := range []struct {
		claim, line string
		header      []string
		want        string // "" = nothing
	}{
		{"a miss", "GET /d/a", nil, "/d/a"},
		{"a hit", "GET /d/a", nil, "/d/a"},
		{"a HEAD", "HEAD /d/a", nil, "/d/a"},
		{"a part", "GET /d/a", []string{"Range: bytes=0-0"}, "/d/a"},
		{"one that the client has", "GET /d/a", []string{"If-None-Match: *"}, "/d/a"},
		{"a redirect", "GET /moved", nil, "/moved"},
		{"a page of ours", "GET /d/", nil, "/d/"},
		{"JSON of ours, by query", "GET /d/?format=json&limit=1", nil, "/d/"},
		{"a HEAD of a directory", "HEAD /d/", nil, "/d/"},
		{"the upstream's own page", "GET /d/?raw=1", nil, "/d/"},
		{"a file that is not there", "GET /gone", nil, ""},
		{"a range that is not there", "GET /d/a", []string{"Range: bytes=9-"}, ""},
		{"a write", "DELETE /d/a", nil, ""},
		{"operations", "GET /-/status", nil, ""},
		{"a path that names nothing", "GET /a/%00/../b", nil, ""},
		{"a loop", "GET /d/a", []string{`CDN-Loop: zcache; id="self"`}, ""},
	} {
		got := g.send(c.line+" HTTP/1.1", c.header...)
		var want []string
		if c.want != "" {
			want = []string{c.want}
		}
		if keys := seen.take(); !slices.Equal(keys, want) {
			t.Errorf("%s: %s = %d, touched %q, want %q", c.claim, c.line, got.StatusCode, keys, want)
		}
	}
	g.get("/d/a")
	g.idle()
	seen.take()
	g.o.Stop()
	g.get("/d/")
	g.get("/none")
	if keys := seen.take(); !slices.Equal(keys, []string{"/d/"}) {
		t.Errorf("without the upstream, touched %q, want the directory alone", keys)
	}
}

func TestTouchComesBeforeTheBody(t *testing.T) {
	g := newListingRig(t)
	release := make(chan struct{})
	g.g.cfg.Touch = func(cache.Key) { close(release) }
	g.o.File("/big", origintest.Body(1, 1<<20), cc(fresh), origintest.Stall(1000, release))
	if got := g.get("/big"); len(got.body) != 1<<20 || got.broken != nil {
		t.Errorf("GET of a body that waits for the touch = %d bytes, %v, want all of it", len(got.body), got.broken)
	}
}

func TestTouchOfAHitMakesNoGarbage(t *testing.T) {
	g := newListingRig(t)
	n := 0
	g.g.cfg.Touch = func(k cache.Key) { n += len(k.Hub()) }
	key, err := cache.ParseKey("top", "/d/a", "", false)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: http.MethodGet, Header: http.Header{"Accept": {"*/*"}}}
	var x exchange
	if got := testing.AllocsPerRun(100, func() { x.takeSubtree(r); g.g.touch(r.Method, 200, key) }); got != 0 || n == 0 {
		t.Errorf("touch allocates %v times, want 0", got)
	}
}

// vouched is a rig whose mirror vouches for /d/ and all below.
func vouched(t *testing.T) (*rig, time.Time) {
	g := newListingRig(t)
	asOf := time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC)
	g.g.cfg.Subtree = func(dir cache.Key) (string, time.Time, bool) { return "0a1b", asOf, dir.Path() == "/d/" }
	g.g.cfg.AsOf = func(dir cache.Key) (time.Time, bool) { return asOf, dir.Path() == "/d/" }
	old := g.g.cfg.Browse
	g.g.cfg.Browse = func(w io.Writer, p *listing.Page) error {
		fmt.Fprintf(w, "mirrored %v, ", !p.Mirrored.IsZero())
		return old(w, p)
	}
	g.o.File("/d/", index("a", "b/"), kind(asHTML), cc("max-age=0"), origintest.Header(subtreeField, `"upstream"; complete=?1`))
	g.o.File("/e/", index("a"), kind(asHTML), origintest.Header(subtreeField, `"upstream"; complete=?1`))
	g.o.File("/f", origintest.Text("f"), cc(fresh), origintest.Header(subtreeField, `"upstream"; complete=?1`))
	return g, asOf
}

func TestMirrorVouchesForItsSubtrees(t *testing.T) {
	g, asOf := vouched(t)
	want := fmt.Sprintf(`"0a1b"; as-of=@%d; complete=?1`, asOf.Unix())
	for _, c := range []struct {
		claim, path, accept, want string
	}{
		{"JSON", "/d/", "application/json", want},
		{"a page", "/d/", "text/html", want},
		{"a part of it", "/d/?limit=1&format=text", "", want},
		{"to another zcache", "/d/", fill.ListingType, want},
		{"what no walk found current", "/e/", "application/json", ""},
		{"the upstream's own page", "/d/?raw=1", "", ""},
		{"a file", "/f", "", ""},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			got := g.send(method+" "+c.path+" HTTP/1.1", "Accept: "+c.accept)
			if field := got.Header.Get(subtreeField); field != c.want || got.StatusCode != 200 || strings.Contains(got.Header.Get("Vary"), "Subtree") {
				t.Errorf("%s: %s %s = %d, Zcache-Subtree %q, Vary %q, want %q", c.claim, method, c.path, got.StatusCode, field, got.Header.Get("Vary"), c.want)
			}
		}
	}
	first := g.get("/d/", "Accept: text/plain")
	again := g.get("/d/", "Accept: text/plain", "If-None-Match: "+first.Header.Get("Etag"))
	if again.StatusCode != 304 || again.Header.Get(subtreeField) != want {
		t.Errorf("the same again = %d, %v, want 304 with the digest", again.StatusCode, again.Header)
	}
	if page := g.get("/d/").body; !strings.HasPrefix(page, "mirrored true") {
		t.Errorf("page of what is mirrored: %s", page)
	}
	if page := g.get("/e/").body; !strings.HasPrefix(page, "mirrored false") {
		t.Errorf("page of what is not: %s", page)
	}
}

func TestNothingChangedBelow(t *testing.T) {
	g, _ := vouched(t)
	for _, c := range []struct {
		claim, path, known string
		status             int
	}{
		{"the same digest", "/d/", `"0a1b"`, 304},
		{"one of several", "/d/", `"ffff", "0a1b";x=1`, 304},
		{"another digest", "/d/", `"ffff"`, 200},
		{"no string", "/d/", `0a1b`, 200},
		{"a part of it", "/d/", `"0a1"`, 200},
		{"nothing", "/d/", ``, 200},
		{"where nothing is vouched for", "/e/", `"0a1b"`, 200},
		{"what is vouched for upstream", "/e/", `"upstream"`, 200},
		{"a file", "/f", `"0a1b"`, 200},
	} {
		for _, accept := range []string{fill.ListingType, "text/html", "application/x-other"} {
			got := g.get(c.path, "Accept: "+accept, ifSubtreeField+": "+c.known)
			if got.StatusCode != c.status || c.status == 304 && (got.body != "" || got.Header.Get(subtreeField) == "" || got.Header.Get("Etag") != "") {
				t.Errorf("%s, Accept %s: %d %v %q, want %d", c.claim, accept, got.StatusCode, got.Header, got.body, c.status)
			}
		}
		if last := g.o.Last(c.path); last.Header.Get(ifSubtreeField) != "" {
			t.Errorf("%s: the upstream was asked %q, want no digest of the client's", c.claim, last.Header.Get(ifSubtreeField))
		}
	}
	n := g.o.Count("/d/")
	g.get("/d/", ifSubtreeField+`: "0a1b"`)
	if g.o.Count("/d/") != n+1 {
		t.Errorf("a listing that is due was asked for %d times, want once", g.o.Count("/d/")-n)
	}
	g.idle()
	g.o.Stop()
	if got := g.get("/d/", ifSubtreeField+`: "0a1b"`); got.StatusCode != 304 || got.Header.Get("X-Cache") == "" {
		t.Errorf("without the upstream: %d %v, want 304", got.StatusCode, got.Header)
	}
	if got := g.get("/d/", ifSubtreeField+`: "ffff"`, "Accept: text/plain"); got.StatusCode != 200 || got.body != "b/\na\n" {
		t.Errorf("without the upstream, another digest: %d %q, want the listing", got.StatusCode, got.body)
	}
}

func TestAChangedListingIsVouchedForByNobody(t *testing.T) {
	g, _ := vouched(t)
	g.get("/d/")
	changed := false
	g.g.cfg.Subtree = func(dir cache.Key) (string, time.Time, bool) {
		names := 0 // as a note does, it goes with what the listing was when it was made
		if e, err := g.tree.Open(dir, fill.ForListing(nil)); err == nil {
			if l, err := g.tree.Listing(e); err == nil {
				names = len(l.Entries)
			}
			e.Close()
		}
		return "0a1b", time.Now(), names == 2
	}
	for range 2 {
		want := 304
		if changed {
			want = 200
		}
		if got := g.get("/d/", ifSubtreeField+`: "0a1b"`); got.StatusCode != want {
			t.Errorf("listing changed %v: %d, want %d", changed, got.StatusCode, want)
		}
		g.o.File("/d/", index("a", "b/", "c"), kind(asHTML), cc("max-age=0"))
		changed = true
	}
}

func TestOnesOwnListingIsVouchedForByNobody(t *testing.T) {
	g, _ := vouched(t)
	for _, opt := range []origintest.Option{cc("no-store"), origintest.Header("Vary", "Cookie")} {
		g.o.File("/d/", index("a", "b/"), kind(asHTML), opt)
		if got := g.get("/d/", ifSubtreeField+`: "0a1b"`); got.StatusCode != 200 || got.Header.Get(subtreeField) != "" {
			t.Errorf("a listing for its asker: %d, Zcache-Subtree %q, want 200 without", got.StatusCode, got.Header.Get(subtreeField))
		}
	}
}
