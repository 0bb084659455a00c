package origin

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/origin/origintest"
)

// plant makes files below dir: "a/b" holds its text, "a/" is a directory, and a text that begins with "-> " makes a link.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := dir + "/" + name
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(at, 0o755)
		case link:
			err = os.Symlink(target, at)
		default:
			if err = os.WriteFile(at, []byte(text), 0o644); err == nil {
				err = os.Chtimes(at, time.Time{}, newClock().Now().Add(-time.Hour))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// treeOf is a Transport whose hub h is a directory with these files, and the directory.
func treeOf(t *testing.T, files map[string]string) (*Transport, string) {
	t.Helper()
	dir := t.TempDir() + "/tree"
	plant(t, dir, map[string]string{"./": ""})
	plant(t, dir, files)
	return newTransport(t, Config{Hubs: []Hub{hubOf(t, "file://"+dir)}, Now: newClock().Now}), dir
}

// opened sends a GET through hub h and leaves its body to the caller.
func opened(t *testing.T, tr *Transport, path string) *http.Response {
	t.Helper()
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestFileIsWhatItsPathSays(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{
		"plain": "plain", "a/b/deep": "deep", "a b%2Fc": "odd", "100%": "percent", "a:b/x": "colon", "\xff\xfe": "bytes", "q?x": "question",
		"page/index.html": "index", "in": "-> a/b/deep", "up/in": "-> ../plain", "dirlink": "-> a/b", "broken": "-> none", "loop": "-> loop",
		"out": "-> ../secret", "absolute": "-> /etc/hostname", "outdir": "-> ..", "inabsolute": "-> ABS",
		"doc/__content": "the document", "doc/child": "child", ".zcache-index": "ours", ".zcache/odd/k/00/x": "ours", "d/.zcache-listing.json": "ours",
		"linked/__content": "-> ../plain", "empty/": "",
	})
	plant(t, filepath.Dir(dir), map[string]string{"secret": "secret"})
	if err := errors.Join(unix.Mkfifo(dir+"/pipe", 0o644), os.Remove(dir+"/inabsolute"), os.Symlink(dir+"/plain", dir+"/inabsolute")); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	const none = "Not Found\n"
	for _, row := range []struct {
		claim, path string
		status      int
		want        string
	}{
		{"a file", "/plain", 200, "plain"},
		{"a file further down", "/a/b/deep", 200, "deep"},
		{"with a query, which is nothing to a file", "/plain?x=1", 200, "plain"},
		{"escapes are undone once", "/a%20b%252Fc", 200, "odd"},
		{"and not twice", "/a%20b%25252Fc", 404, none},
		{"a percent sign", "/100%25", 200, "percent"},
		{"an escape that is none", "/100%", 400, "Bad Request\n"},
		{"bytes that are no UTF-8", "/%FF%fe", 200, "bytes"},
		{"an escaped question mark is the name's", "/q%3Fx", 200, "question"},
		{"an escaped slash is no slash", "/a%2Fb%2Fdeep", 404, none},
		{"a NUL", "/plain%00", 404, none},
		{"an empty segment", "/a//b/deep", 404, none},
		{"an empty segment first", "//plain", 404, none},
		{"a name too long for any file", "/" + strings.Repeat("n", 300), 404, none},
		{"nothing there", "/none", 404, none},
		{"nothing below a file", "/plain/x", 404, none},
		{"a file with a slash", "/plain/", 404, none},
		{"a directory's page is not the directory", "/page/index.html", 200, "index"},
		{"a link in the tree", "/in", 200, "deep"},
		{"a link that climbs in the tree", "/up/in", 200, "plain"},
		{"a linked directory", "/dirlink/deep", 200, "deep"},
		{"a broken link", "/broken", 404, none},
		{"a link to itself", "/loop", 404, none},
		{"a link out of the tree", "/out", 404, none},
		{"a link to an absolute path", "/absolute", 404, none},
		{"a link to an absolute path, though it is in the tree", "/inabsolute", 404, none},
		{"through a directory link out of the tree", "/outdir/secret", 404, none},
		{"a pipe", "/pipe", 404, none},
		{"a socket", "/socket", 404, none},
		{"the document of a directory", "/doc", 200, "the document"},
		{"what lies in a directory with a document", "/doc/child", 200, "child"},
		{"a document by its name on disk", "/doc/__content", 404, none},
		{"a document by a link is none", "/linked", 301, "Moved Permanently\n"},
		{"what a zcache keeps for itself", "/.zcache/odd/k/00/x", 404, none},
		{"a document of a listing", "/.zcache-index", 404, none},
		{"a sidecar", "/d/.zcache-listing.json", 404, none},
	} {
		t.Run(row.claim, func(t *testing.T) {
			status, body, err := ask(t, tr, row.path)
			if status != row.status || body != row.want || err != nil {
				t.Errorf("GET %s = %d %q, %v, want %d %q", row.path, status, body, err, row.status, row.want)
			}
		})
	}
	for _, path := range []string{"/a/../../secret", "/%2e%2e/secret", "/a/..%2F..%2Fsecret", "/."} {
		if resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", path)); err == nil {
			t.Errorf("GET %s = %d, want an error", path, resp.StatusCode)
		}
	}
}

func TestDirectoryWithoutSlashLeadsToItself(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"a/b:c/": "", "a/d%/": "", "link": "-> a"})
	for path, want := range map[string]string{
		"/a": "./a/", "/a/b:c": "./b:c/", "/a/d%25": "./d%25/", "/link": "./link/", "/a?x=1": "./a/?x=1",
	} {
		resp := opened(t, tr, path)
		if got := resp.Header.Get("Location"); resp.StatusCode != 301 || got != want {
			t.Errorf("GET %s = %d to %q, want 301 to %q", path, resp.StatusCode, got, want)
		}
		there, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		plain, _, _ := strings.Cut(path, "?")
		if got, ok := tr.UnderHub("h", there); got != plain+"/" || !ok {
			t.Errorf("UnderHub(%s) = %q, %v, want %s/", there, got, ok, plain)
		}
	}
	if got, ok := tr.UnderHub("h", &url.URL{Scheme: "file", Path: dir + "x/a"}); ok {
		t.Errorf("UnderHub of a path beside the tree = %q, want none", got)
	}
}

// asNobody runs f with the rights of a user who owns nothing. Root may read every file, so the thread that f runs on lends itself to another.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Getuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if _, err := unix.SetfsuidRetUid(65534); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestUnreadableIsForbidden(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"file": "x", "dir/in": "x", "open/locked": "x"})
	for up := dir; len(up) > len(os.TempDir()); up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file", "dir", "open/locked"} {
		if err := os.Chmod(dir+"/"+name, 0); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(dir+"/dir", 0o755) }) // for the removal
	asNobody(t, func() {
		for path, want := range map[string]int{"/file": 403, "/dir/": 403, "/dir/in": 403, "/open/locked": 403, "/open/": 200, "/none": 404} {
			resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", path))
			if err != nil {
				t.Error(err)
				continue
			}
			if resp.Body.Close(); resp.StatusCode != want {
				t.Errorf("GET %s = %d, want %d", path, resp.StatusCode, want)
			}
		}
	})
}

func TestOtherMethodsThanReadingAreRefused(t *testing.T) {
	tr, _ := treeOf(t, map[string]string{"a": "x"})
	for method, want := range map[string]int{"POST": 405, "PUT": 405, "DELETE": 405, "OPTIONS": 204} {
		req := hubRequest(t.Context(), method, "/a")
		req.Body = io.NopCloser(strings.NewReader("body"))
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode != want || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s = %d, Allow %q, want %d, GET, HEAD", method, resp.StatusCode, resp.Header.Get("Allow"), want)
		}
	}
}

func TestDirectoryStandsInAGroup(t *testing.T) {
	far := origintest.New(t)
	far.File("/both", origintest.Text("far"))
	far.File("/far", origintest.Text("far"))
	dir := t.TempDir()
	plant(t, dir, map[string]string{"both": "near", "near": "near"})
	for _, row := range []struct {
		claim, path string
		urls        []string
		want        string
	}{
		{"the directory first", "/both", []string{"file://" + dir, far.URL}, "200 near"},
		{"what it lacks comes from the other", "/far", []string{"file://" + dir, far.URL}, "200 far"},
		{"what both lack is missing", "/none", []string{"file://" + dir, far.URL}, "404 Not Found\n"},
		{"the server first", "/both", []string{far.URL, "file://" + dir}, "200 far"},
		{"the directory helps out", "/near", []string{far.URL, "file://" + dir}, "200 near"},
		{"the directory helps out when the server is down", "/near", []string{deadURL(t), "file://" + dir}, "200 near"},
		{"the directory is gone", "/far", []string{"file://" + dir + "/gone", far.URL}, "200 far"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, row.urls...)}})
			status, body, err := ask(t, tr, row.path)
			if got := fmt.Sprint(status, " ", body); got != row.want || err != nil {
				t.Errorf("GET %s of %v = %s, %v, want %s", row.path, row.urls, got, err, row.want)
			}
		})
	}
}

func TestGoneDirectoryIsNoWordAboutItsFiles(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"a": "x"})
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	for range 20 { // more than a breaker would stand
		_, _, err := ask(t, tr, "/a")
		if want := "get file://" + dir + "/a: no such file or directory"; err == nil || err.Error() != want {
			t.Fatalf("GET without the tree = %v, want %s", err, want)
		}
	}
	s := tr.Status()[0]
	if got := fmt.Sprint(s.URL, " ", s.State, " ", s.Failures); got != "file://"+dir+" closed 20" || s.LastError == "" || s.FailedAt.IsZero() {
		t.Errorf("Status = %s, %q at %v, want file://%s closed 20 and why", got, s.LastError, s.FailedAt, dir)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if status, body, err := ask(t, tr, "/a"); status != 200 || body != "x" || err != nil {
		t.Errorf("GET with the tree in its place again = %d %q, %v, want 200 x", status, body, err)
	}
	if s := tr.Status()[0]; s.Failures != 0 || s.UsedAt.IsZero() {
		t.Errorf("Status after it = %d failures, used at %v, want none and now", s.Failures, s.UsedAt)
	}
}

func TestResolveNamesNoDirectory(t *testing.T) {
	dir := t.TempDir()
	both, local := hubOf(t, "file://"+dir, "http://a.example/pub"), hubOf(t, "file://"+dir)
	local.Name = "local"
	tr := newTransport(t, Config{Hubs: []Hub{both, local}})
	if got, ok := tr.Resolve("h", "/x"); got != "http://a.example/pub/x" || !ok {
		t.Errorf("Resolve of a mixed hub = %q, %v, want its server's", got, ok)
	}
	if got, ok := tr.Resolve("local", "/x"); ok {
		t.Errorf("Resolve of a local hub = %q, want none", got)
	}
}

func TestDirectoryUpstreamsMustBeWhole(t *testing.T) {
	for _, s := range []string{"file://host/srv", "file:///", "file:srv", "file:///a/../b", "file:///a?x", "file:///a%00", "file://me@/a", "file:///a#x"} {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		if tr, err := New(Config{Hubs: []Hub{{Name: "h", Upstreams: []*url.URL{u}}}}); err == nil {
			tr.Close()
			t.Errorf("New with upstream %s gives no error", s)
		}
	}
	if resp, err := newTransport(t, Config{}).RoundTrip(&http.Request{Method: "GET", URL: &url.URL{Scheme: "file", Path: "/etc/hostname"}}); err == nil {
		t.Errorf("GET of an absolute file URL = %d, want an error", resp.StatusCode)
	}
}
