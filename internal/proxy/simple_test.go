package proxy

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

// newSimpleRig is a rig with an index of Python packages, whose files lie at the other origin. The forward proxy is off.
func newSimpleRig(t *testing.T) *rig {
	g := newRig(t, Hub{Name: "pypi", Mount: "/pypi/"}, Hub{Name: "host", Hosts: []string{"pypi.lab"}})
	g.g.cfg.Listings = g.tree
	return g
}

// project is the page of a project with one file at out, and the page that clients of the hub get.
func (g *rig) project(hub string) (page, want string) {
	page = "<!DOCTYPE html><html><head><meta name=\"pypi:repository-version\" content=\"1.1\"></head><body>\n" +
		`<a href="http://OUT/p/foo-1.0.whl#sha256=00" data-requires-python="&gt;=3">foo-1.0.whl</a> <a href="/HUB/simple/bar/">bar</a>` + "\n</body></html>\n"
	mount := "/" + hub
	if hub == "host" {
		mount = ""
	}
	page = strings.ReplaceAll(page, "/HUB/", "/"+hub+"/")
	want = strings.ReplaceAll(strings.ReplaceAll(page, "http://OUT/", "/files/http/"+g.out.Addr+"/"), `"/`+hub+"/", `"`+mount+"/")
	return strings.ReplaceAll(page, "OUT", g.out.Addr), want
}

func TestASimpleIndexLeadsThroughThisInstance(t *testing.T) {
	g := newSimpleRig(t)
	for _, tt := range []struct{ hub, path, host string }{{"pypi", "/pypi/simple/foo/", ""}, {"host", "/simple/foo/", "pypi.lab"}} {
		page, want := g.project(tt.hub)
		g.o.File("/"+tt.hub+"/simple/foo/", origintest.Text(page), kind(asHTML), cc(fresh), origintest.Header("Repr-Digest", "sha-256=:x:"), origintest.ETag(`"v1"`))
		host := "Host: " + g.addr
		if tt.host != "" {
			host = "Host: " + tt.host
		}
		first := g.get(tt.path, host)
		first.want(t, tt.hub, 200, want, "MISS")
		g.idle()
		again := g.get(tt.path, host)
		again.want(t, tt.hub+" again", 200, want, "HIT")
		if v := again.Header.Get("Repr-Digest") + first.Header.Get("Repr-Digest"); v != "" {
			t.Errorf("%s: the origin's digest is left: %s", tt.hub, v)
		}
		if tag := again.Header.Get("Etag"); tag != first.Header.Get("Etag") || !strings.HasPrefix(tag, `W/"`) || strings.Contains(tag, "v1") {
			t.Errorf("%s: tag %q, then %q, want one weak one of our own", tt.hub, first.Header.Get("Etag"), tag)
		}
		if b, err := os.ReadFile(filepath.Join(g.tree.Dir, tt.hub, "simple", "foo", ".zcache-index")); err != nil || string(b) != page {
			t.Errorf("%s: stored is %q, %v, want the origin's page", tt.hub, b, err)
		}
	}
	g.out.File("/p/foo-1.0.whl", origintest.Text("PK wheel"), cc(fresh))
	wheel := "/files/http/" + g.out.Addr + "/p/foo-1.0.whl"
	g.get(wheel).want(t, "the file, with the forward proxy off", 200, "PK wheel", "MISS")
	g.idle()
	g.get(wheel, "Host: pypi.lab").want(t, "the file at the other hub's host", 200, "PK wheel", "HIT")
}

func TestConditionsAndRangesOfASimpleIndex(t *testing.T) {
	const path = "/pypi/simple/foo/"
	for claim, held := range map[string]bool{"held": true, "not held": false} {
		g := newSimpleRig(t)
		page, want := g.project("pypi")
		g.o.File(path, origintest.Text(page), kind(asHTML), cc(fresh), origintest.ETag(`"v1"`), origintest.Header("Last-Modified", "Sun, 02 Nov 2025 10:00:00 GMT"))
		tag := newTag(t, g, path)
		for _, tt := range []struct {
			claim, method string
			fields        []string
			status        int
			body          string
		}{
			{"our tag", "GET", []string{"If-None-Match: " + tag}, 304, ""},
			{"our tag among others", "GET", []string{`If-None-Match: "x", ` + tag}, 304, ""},
			{"the origin's tag is of another page", "GET", []string{`If-None-Match: "v1"`}, 200, want},
			{"any tag", "GET", []string{"If-None-Match: *"}, 304, ""},
			{"a tag counts before a date", "GET", []string{`If-None-Match: "x"`, "If-Modified-Since: Sun, 02 Nov 2025 10:00:00 GMT"}, 200, want},
			{"a range is of another page", "GET", []string{"Range: bytes=0-9"}, 200, want},
			{"several ranges likewise", "GET", []string{"Range: bytes=0-9,20-29"}, 200, want},
			{"a range beyond the end likewise", "GET", []string{"Range: bytes=100000-"}, 200, want},
			{"HEAD", "HEAD", nil, 200, ""},
			{"HEAD with our tag", "HEAD", []string{"If-None-Match: " + tag}, 304, ""},
			{"HEAD with the origin's tag", "HEAD", []string{`If-None-Match: "v1"`}, 200, ""},
		} {
			if !held {
				key, err := cache.ParseKey("pypi", "/simple/foo/", "", false)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := g.f.Purge(key, false); err != nil {
					t.Fatal(err)
				}
			}
			r := g.send(tt.method+" "+path+" HTTP/1.1", tt.fields...)
			r.want(t, claim+": "+tt.claim, tt.status, tt.body, "")
			if got := r.Header.Get("Etag"); got != tag {
				t.Errorf("%s: %s: tag %q, want %q", claim, tt.claim, got, tag)
			}
			if length := r.Header.Get("Content-Length"); length != "" && length != strconv.Itoa(len(want)) || tt.method == "HEAD" && length != "" || r.Header.Get("Content-Range") != "" || r.StatusCode == 200 && r.Header.Get("Content-Type") != asHTML {
				t.Errorf("%s: %s: fields %v", claim, tt.claim, r.Header)
			}
			g.idle()
		}
	}
}

// newTag fetches a page and gives its tag.
func newTag(t *testing.T, g *rig, path string) string {
	t.Helper()
	r := g.get(path)
	g.idle()
	if r.Header.Get("Etag") == "" {
		t.Fatalf("%s has no tag: %v", path, r.Header)
	}
	return r.Header.Get("Etag")
}

func TestFormsOfSimpleIndexes(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprint(w, `<a href="http://f.example/foo-1.whl">`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	link, made := `<a href="http://f.example/foo-1.whl">`, `<a href="/files/http/f.example/foo-1.whl">`
	coded := origintest.Header("Content-Encoding", "gzip")
	for _, tt := range []struct {
		claim, path, kind, page, want string
		more                          []origintest.Option
	}{
		{"JSON", "/i/foo/", "application/vnd.pypi.simple.v1+json", `{"files":[{"url":"http://f.example/foo-1.whl"}]}`, `{"files":[{"url":"/files/http/f.example/foo-1.whl"}]}`, nil},
		{"HTML by its type", "/i/foo/", "application/vnd.pypi.simple.v1+html", link, made, nil},
		{"HTML by its place", "/simple/foo/", asHTML, link, made, nil},
		{"HTML by its place, coded", "/simple/foo/", asHTML, z.String(), made, []origintest.Option{coded}},
		{"HTML by its place, said to be coded", "/simple/foo/", asHTML, link, made, []origintest.Option{coded}},
		{"HTML by its head", "/x", asHTML, `<meta name="pypi:repository-version" content="1.0">` + link, `<meta name="pypi:repository-version" content="1.0">` + made, nil},
		{"a page elsewhere that links to files", "/x/foo/", asHTML, link, link, nil},
		{"a page in a project's place without files", "/simple/foo/", asHTML, `<a href="http://f.example/">`, `<a href="http://f.example/">`, nil},
		{"no page", "/simple/foo/", "application/octet-stream", link, link, nil},
		{"a coding that is not read", "/simple/foo/", asHTML, link, link, []origintest.Option{origintest.Header("Content-Encoding", "br")}},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			g := newSimpleRig(t)
			g.o.File("/pypi"+tt.path, origintest.Text(tt.page), append([]origintest.Option{kind(tt.kind), cc(fresh)}, tt.more...)...)
			g.get("/pypi"+tt.path).want(t, "miss", 200, tt.want, "MISS")
			g.idle()
			again := g.get("/pypi" + tt.path)
			again.want(t, "again", 200, tt.want, "")
			if same, fields := tt.page == tt.want, again.Header; same != (fields.Get("Accept-Ranges") != "none") || !same && fields.Get("Content-Encoding") != "" {
				t.Errorf("fields of it again: %v", fields)
			}
			g.forward()
			g.send("GET http://"+g.o.Addr+"/pypi"+tt.path+" HTTP/1.1").want(t, "proxy form", 200, tt.page, "")
		})
	}
}

func TestAnIndexThatBreaksOffDoesNotLookWhole(t *testing.T) {
	g := newSimpleRig(t)
	page, _ := g.project("pypi")
	g.o.File("/pypi/simple/foo/", origintest.Text(page), kind(asHTML), cc(fresh), origintest.CutAfter(int64(len(page)-20)), origintest.NoRange())
	if r := g.get("/pypi/simple/foo/"); r.StatusCode == 200 && r.broken == nil {
		t.Errorf("= %d with a whole body of %d bytes", r.StatusCode, len(r.body))
	}
}

func TestWhoMayHaveTheFilesOfAnIndex(t *testing.T) {
	g := newSimpleRig(t)
	page, _ := g.project("pypi")
	g.o.File("/pypi/simple/foo/", origintest.Text(page), kind(asHTML), cc(fresh))
	g.out.File("/p/foo-1.0.whl", origintest.Text("PK wheel"), cc(fresh))
	path := "/files/http/" + g.out.Addr + "/p/foo-1.0.whl"
	refused := func(what, line string, header ...string) {
		t.Helper()
		if r := g.send(line, header...); r.StatusCode != 403 || r.word() != "proxy_refused" {
			t.Errorf("%s: %d %.80q, want 403 proxy_refused", what, r.StatusCode, r.body)
		}
	}
	refused("before an index named the host", "GET "+path+" HTTP/1.1")
	g.get("/pypi/simple/foo/")
	g.idle()
	g.get(path).want(t, "named", 200, "PK wheel", "")
	refused("another method", "DELETE "+path+" HTTP/1.1")
	refused("another host", "GET /files/http/f.example/p/foo-1.0.whl HTTP/1.1")
	refused("another scheme", "GET /files/ftp/"+g.out.Addr+"/p/foo-1.0.whl HTTP/1.1")
	refused("another port", "GET /files/http/127.0.0.1:9/p/foo-1.0.whl HTTP/1.1")
	refused("with credentials in the URL", "GET /files/http/u:p@"+g.out.Addr+"/p/foo-1.0.whl HTTP/1.1")
	refused("the other URL form", "GET /download/http://"+g.out.Addr+"/p/foo-1.0.whl HTTP/1.1")
	refused("proxy form", "GET http://"+g.out.Addr+"/p/foo-1.0.whl HTTP/1.1")
	g.o.File("/pypi/simple/in/", origintest.Text(`<a href="http://127.0.0.2:9/in-1.whl">`), kind(asHTML), cc(fresh))
	g.get("/pypi/simple/in/")
	if r := g.get("/files/http/127.0.0.2:9/in-1.whl"); r.StatusCode != 403 || r.word() != "destination_refused" {
		t.Errorf("an address inside that an index named: %d %s, want 403 destination_refused", r.StatusCode, r.body)
	}
	g.forward()
	client := func(path string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI, r.RemoteAddr = path, "203.0.113.7:99"
		w := &recorder{header: http.Header{}}
		g.g.ServeHTTP(w, r)
		return w.status
	}
	if got := client(path); got != 200 {
		t.Errorf("a client from elsewhere, a host that an index named = %d, want 200", got)
	}
	if got := client("/files/http/f.example/p/foo-1.0.whl"); got != 403 {
		t.Errorf("a client from elsewhere, another host = %d, want 403", got)
	}
	g.g.SetHubs([]Hub{{Name: "host", Hosts: []string{"pypi.lab"}}})
	if got := client(path); got != 403 {
		t.Errorf("a client from elsewhere, when the hub is gone = %d, want 403", got)
	}
}

// recorder takes an answer without a connection.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }

func TestHostsAreLearnedAgainFromStoredPages(t *testing.T) {
	g := newSimpleRig(t)
	html, _ := g.project("pypi")
	g.o.File("/pypi/simple/foo/", origintest.Text(html), kind(asHTML), cc(fresh), origintest.Header("Vary", "Accept"))
	g.out.File("/p/foo-1.0.whl", origintest.Text("PK wheel"), cc(fresh))
	g.get("/pypi/simple/foo/", "Accept: text/html;q=0.1")
	g.idle()
	g.g.learned.byHub, g.g.learned.dirs = nil, nil // as after a restart
	g.get("/files/http/"+g.out.Addr+"/p/foo-1.0.whl").want(t, "after a restart", 200, "PK wheel", "MISS")
	if r := g.get("/files/http/f.example/p/foo-1.0.whl"); r.StatusCode != 403 {
		t.Errorf("a host that the page does not name: %d, want 403", r.StatusCode)
	}
	reads := len(g.g.learned.read)
	g.get("/files/http/g.example/p/foo-1.0.whl")
	if reads != 1 || len(g.g.learned.read) != reads {
		t.Errorf("pages read: %d, then %d, want the one", reads, len(g.g.learned.read))
	}
}

func TestWhatIsLearnedIsBounded(t *testing.T) {
	var l learned
	for i := range 3 * mostSites {
		l.note("a", fmt.Sprintf("/http/h%d.example", i), "/simple/")
		l.note("b", "/http/own.example", fmt.Sprintf("/simple%d/", i))
	}
	for i := range 2 * mostRead {
		key, err := cache.ParseKey("a", fmt.Sprintf("/simple/p%d/", i), "", false)
		if err != nil {
			t.Fatal(err)
		}
		l.due(key, [32]byte{})
	}
	if len(l.byHub["a"]) != mostSites || len(l.dirs) != mostSites+1 || len(l.read) > mostRead {
		t.Errorf("%d sites, %d with directories, and %d pages, want at most %d, one more, and %d", len(l.byHub["a"]), len(l.dirs), len(l.read), mostSites, mostRead)
	}
	if len(l.from("b", "/http/own.example")) != mostDirs || l.from("a", "/http/h0.example") != nil || l.from("a", fmt.Sprintf("/http/h%d.example", 3*mostSites-1)) == nil {
		t.Error("want the newest of each hub, and none of the oldest")
	}
}
