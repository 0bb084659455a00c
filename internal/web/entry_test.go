package web

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
	"zcache/internal/origin/origintest"
)

// fetched makes the rig hold the entry that clients ask for at path.
func (g *rig) fetched(path string) {
	g.t.Helper()
	if w := do(g.t, g.gateway, "GET", path, ""); w.Code >= 500 {
		g.t.Fatalf("GET %s = %d %s", path, w.Code, w.Body)
	}
}

func member(t *testing.T, v map[string]any, path string) any {
	t.Helper()
	var now any = v
	for part := range strings.SplitSeq(path, ".") {
		m, ok := now.(map[string]any)
		if !ok {
			return nil
		}
		now = m[part]
	}
	return now
}

func TestEntryTellsWhatIsHeldAndAsksNobody(t *testing.T) {
	g := newRig(t)
	g.file("/a.tar.gz", origintest.ETag(`"v1"`), origintest.LastModified(pageNow))
	g.fetched("/up/a.tar.gz")
	g.fetched("/up/none")
	sum := sha256.Sum256([]byte("body of /a.tar.gz"))
	asked := g.asked()
	for _, row := range []struct {
		claim, url string
		want       map[string]any
	}{
		{"a fresh file", "/up/a.tar.gz", map[string]any{
			"url": "/up/a.tar.gz", "hub": "up", "kind": "file", "held": "fresh", "size": 17.0, "sha256": hex.EncodeToString(sum[:]), "mod_time": "2026-11-21T12:00:00Z",
			"validators.etag": `"v1"`, "validators.last_modified": pageNow.Format(http.TimeFormat), "freshness.fresh": true, "freshness.lifetime": 3600.0,
			"fetch.url": "http://localhost:3142/up/a.tar.gz", "fetch.curl": "curl -fL -O 'http://localhost:3142/up/a.tar.gz'", "from": g.o.URL + "/pub/a.tar.gz",
		}},
		{"the upstream's URL means it too", g.o.URL + "/pub/a.tar.gz", map[string]any{"url": "/up/a.tar.gz", "held": "fresh"}},
		{"a stored 404", "/up/none", map[string]any{"held": "negative", "status": 404.0}},
		{"what is not held", "/up/b%20c", map[string]any{"held": "absent", "size": nil, "key": "/up/b%20c", "fetch.check": nil}},
		{"a directory", "/up/dir/", map[string]any{"kind": "directory", "held": "absent", "listing": nil}},
		{"a hub by its host", "http://deb.lab/x", map[string]any{"url": "http://deb.lab:3142/x", "fetch.url": "http://deb.lab:3142/x"}},
	} {
		w := g.do("GET", "/-/entry?url="+url.QueryEscape(row.url), "")
		if w.Code != http.StatusOK {
			t.Errorf("%s: answer = %d %s", row.claim, w.Code, w.Body)
			continue
		}
		v := object(t, w)
		for path, want := range row.want {
			if got := member(t, v, path); got != want {
				t.Errorf("%s: %s = %v, want %v", row.claim, path, got, want)
			}
		}
		page := g.do("GET", "/-/entry?url="+url.QueryEscape(row.url), "", field("Accept", "text/html"))
		if page.Code != http.StatusOK || page.Header().Get("Content-Security-Policy") != BrowsePolicy() || !strings.HasSuffix(page.Body.String(), pageEnd) {
			t.Errorf("%s: page = %d with policy %q", row.claim, page.Code, page.Header().Get("Content-Security-Policy"))
		}
	}
	if got := g.asked(); got != asked {
		t.Errorf("the origin was asked %d times for what is told of entries", got-asked)
	}
}

func TestEntryOfAnAdoptedFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "up"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := cache.OpenTree(cache.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	if err := os.WriteFile(filepath.Join(dir, "up", "laid.bin"), []byte("12345"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := newRig(t, func(c *Config, f *fill.Config) { c.Store, f.Store = tree, tree })
	v := object(t, g.do("GET", "/-/entry?url=/up/laid.bin", ""))
	if v["held"] != "adopted" || v["size"] != 5.0 || v["since"] != nil || v["freshness"] != nil {
		t.Errorf("entry of an adopted file = %v, want its size and nothing that only a fetch could tell", v)
	}
}

func TestEntryHidesWhereItCameFrom(t *testing.T) {
	g := newRig(t)
	g.file("/a")
	g.fetched("/up/a")
	for _, accept := range []string{"application/json", "text/html"} {
		for _, at := range []string{"/up/a", "/up/b"} {
			w := g.do("GET", "/-/entry?url="+at, "", remote, field("Accept", accept))
			if w.Code != http.StatusOK || strings.Contains(w.Body.String(), g.o.Addr) {
				t.Errorf("entry of %s as %s for a remote client = %d, want it without the upstream\n%s", at, accept, w.Code, w.Body)
			}
		}
	}
}

func TestEntryRefuses(t *testing.T) {
	g := newRig(t)
	for _, row := range []struct {
		claim, query string
		status       int
		word, page   string
	}{
		{"nothing named", "", 400, "no_url", "Bad Request"},
		{"no such hub", "?url=/other/<script>", 404, "no_hub", "Not Found"},
		{"no URL", "?url=nonsense", 400, "bad_path", "Bad Request"},
		{"a path that leads out", "?url=/up/../../etc/passwd", 400, "bad_path", "Bad Request"},
	} {
		isProblem(t, row.claim, g.do("GET", "/-/entry"+row.query, ""), row.status, row.word)
		w := g.do("GET", "/-/entry"+row.query, "", field("Accept", "text/html"))
		if page := body(w.Body.String()); w.Code != row.status || !strings.Contains(page, row.page) || strings.Contains(page, "<script") {
			t.Errorf("%s as a page = %d, want %d and %s\n%s", row.claim, w.Code, row.status, row.page, page)
		}
	}
}

func TestEntryTellsWhatTheListingSays(t *testing.T) {
	kept := &listing.Listing{Entries: []listing.Entry{
		{Name: "a b", Size: 4096, SizeExact: false, ModTime: pageNow, Kind: listing.File}, {Name: "c", Size: -1, Kind: listing.File}, {Name: "d", Size: -1, Kind: listing.Dir},
	}}
	g := newRig(t, func(c *Config, _ *fill.Config) {
		c.Listing = func(key cache.Key) (*listing.Listing, time.Time, bool) { return kept, pageNow, key.Path() == "/dir/" }
	})
	for _, row := range []struct {
		claim, url string
		want       map[string]any
	}{
		{"a directory", "/up/dir/", map[string]any{"listing.entries": 3.0, "listing.as_of": "2026-11-21T12:00:00Z", "listed": nil}},
		{"an absent file", "/up/dir/a%20b", map[string]any{"held": "absent", "listed.size": 4096.0, "listed.size_exact": false, "listed.mod_time": "2026-11-21T12:00:00Z"}},
		{"one of unknown size", "/up/dir/c", map[string]any{"listed.size": nil, "listed.mod_time": nil, "listed.as_of": "2026-11-21T12:00:00Z"}},
		{"one that is not listed", "/up/dir/x", map[string]any{"listed": nil}},
		{"one whose directory is not listed", "/up/x", map[string]any{"listed": nil}},
	} {
		v := object(t, g.do("GET", "/-/entry?url="+row.url, ""))
		for path, want := range row.want {
			if got := member(t, v, path); got != want {
				t.Errorf("%s: %s = %v, want %v", row.claim, path, got, want)
			}
		}
	}
	w := g.do("GET", "/-/entry?url=/up/dir/a%20b", "", field("Accept", "text/html"))
	if page := w.Body.String(); !strings.Contains(page, "about 4.0 KiB") {
		t.Errorf("page of a listed file does not tell its size\n%s", body(page))
	}
}

func TestFetchLinesUseTheAddressThatClientsUse(t *testing.T) {
	secure := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	for _, row := range []struct {
		claim   string
		public  string
		changes []change
		raw     string
		want    string
	}{
		{"as the client came", "", []change{host("z.lab")}, "/up/a", "http://z.lab/up/a"},
		{"by TLS", "", []change{host("z.lab"), secure}, "/up/a", "https://z.lab/up/a"},
		{"by the name for all", "https://cache.lab/", []change{host("10.0.0.1:3142")}, "/up/a", "https://cache.lab/up/a"},
		{"at a hub's own host", "https://cache.lab/", []change{host("DEB.lab:3142")}, "/a", "http://DEB.lab:3142/a"},
		{"with its query", "", nil, "/up/a?x=1&y", "http://localhost:3142/up/a?x=1&y"},
	} {
		g := newRig(t, func(c *Config, _ *fill.Config) {
			if row.public != "" {
				c.Public, _ = url.Parse(row.public)
			}
		})
		v := object(t, g.do("GET", "/-/entry?url="+url.QueryEscape(row.raw), "", row.changes...))
		if got := member(t, v, "fetch.url"); got != row.want {
			t.Errorf("%s: fetch.url = %v, want %s", row.claim, got, row.want)
		}
	}
}

// The lines are for a shell, so a shell reads them here: what curl would get must be the words that were meant.
func TestFetchLinesAreOneCommandEach(t *testing.T) {
	const sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, row := range []struct {
		path string
		want []string
	}{
		{"/a.iso", []string{"curl", "-fL", "-O", "http://z/a.iso"}},
		{"/it's", []string{"curl", "-fL", "-O", "http://z/it's"}},
		{"/a%20b", []string{"curl", "-fL", "-o", "./a b", "http://z/a%20b"}},
		{"/$(id)`id`\"", []string{"curl", "-fL", "-O", "http://z/$(id)`id`\""}},
		{"/a[1]{2}", []string{"curl", "-fL", "-g", "-O", "http://z/a[1]{2}"}},
		{"/-rf%0A", []string{"curl", "-fL", "-o", "./-rf\n", "http://z/-rf%0A"}},
		{"/d/", []string{"curl", "-fsS", "-H", "Accept: application/json", "http://z/d/"}},
	} {
		key, err := cache.ParseKey("h", row.path, "", false)
		if err != nil {
			t.Fatal(err)
		}
		v := fetchLines("http://z"+row.path, key, sum)
		if got := words(t, v.Curl); !slices.Equal(got, row.want) {
			t.Errorf("a shell reads %s as %q, want %q", v.Curl, got, row.want)
		}
		if got := words(t, v.Wget); got[0] != "wget" || got[len(got)-1] != "http://z"+row.path {
			t.Errorf("a shell reads %s as %q", v.Wget, got)
		}
		if key.IsDir() {
			continue
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, key.Name()), nil, 0o600); err != nil { // sum is of nothing
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-c", v.Check)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("sh -c %s = %v\n%s", v.Check, err, out)
		}
		if got := words(t, v.Pinned); !slices.Contains(got, "Repr-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:") {
			t.Errorf("a shell reads %s as %q, want the digest pinned", v.Pinned, got)
		}
	}
}

// words are the words that a shell makes of a line.
func words(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `set -- `+line+`; for w in "$@"; do printf '%s\0' "$w"; done`).CombinedOutput()
	if err != nil {
		t.Fatalf("sh cannot read %s: %v\n%s", line, err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}
