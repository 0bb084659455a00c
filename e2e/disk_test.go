package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAnEntryIsAPlainFileAtItsUpstreamPath(t *testing.T) {
	want := bytesOf("a", 70_000)
	n := startNginx(t, "")
	n.put("pub/linux/a b.tar", want)
	n.put("pub/other.bin", want)
	z := start(t, "--upstream", "up="+n.url+"/pub", "--upstream", n.url)
	get(t, z.url+"/up/linux/a%20b.tar").whole(t, "named hub", want)
	get(t, z.url+"/pub/other.bin").whole(t, "hub at the root", want)
	for _, place := range []string{"up/linux/a b.tar", "127.0.0.1/pub/other.bin"} {
		hub, path, _ := strings.Cut(place, "/")
		z.published(hub, path, int64(len(want)))
		got, _ := z.held(hub, path)
		if !bytes.Equal(got, want) {
			t.Errorf("%s on disk differs from what the origin sent", place)
		}
		info, err := os.Stat(z.path(hub, path))
		if err != nil || !info.ModTime().Equal(modified) {
			t.Errorf("mtime of %s = %v, %v; want Last-Modified %v", place, info.ModTime(), err, modified)
		}
		meta := make([]byte, 8192)
		if size, err := syscall.Getxattr(z.path(hub, path), "user.zcache", meta); err != nil || size == 0 {
			t.Errorf("attribute user.zcache of %s: %d bytes, %v", place, size, err)
		}
	}
	if format, err := os.ReadFile(filepath.Join(z.root, ".zcache/format")); err != nil || len(format) == 0 {
		t.Errorf(".zcache/format = %q, %v", format, err)
	}
}

func TestEntriesAndValidatorsOutliveARestart(t *testing.T) {
	n := startNginx(t, "expires 1h;")
	n.put("a.bin", bytesOf("a", 1000))
	z := start(t, "--upstream", "up="+n.url)
	first := get(t, z.url+"/up/a.bin").is(t, "cold", 200, "MISS")
	z.stop()
	z.again()
	a := get(t, z.url+"/up/a.bin").whole(t, "after a restart", bytesOf("a", 1000)).is(t, "after a restart", 200, "HIT")
	for _, name := range []string{"ETag", "Last-Modified", "Cache-Control", "Content-Type"} {
		if a.Header.Get(name) != first.Header.Get(name) {
			t.Errorf("%s after a restart %q, want %q", name, a.Header.Get(name), first.Header.Get(name))
		}
	}
	if log := n.log("/a.bin"); len(log) != 1 {
		t.Errorf("nginx served %+v, want one request", log)
	}
}

func TestADocumentThatHasChildrenKeepsBoth(t *testing.T) {
	doc, child, page := []byte(`{"name":"pkg"}`), bytesOf("x", 4000), []byte("<p>a page that is no listing")
	o := startOrigin(t, func(w *wire, r *request) {
		switch {
		case strings.HasSuffix(r.Target, "x.tgz"):
			w.reply(r, 200, string(child), "Cache-Control: max-age=600", "Content-Type: application/octet-stream")
		case strings.HasSuffix(r.Target, "/"):
			w.reply(r, 200, string(page), "Cache-Control: max-age=600", "Content-Type: text/html")
		default:
			w.reply(r, 200, string(doc), "Cache-Control: max-age=600", "Content-Type: application/json")
		}
	})
	want := map[string][]byte{"": doc, "/-/x.tgz": child, "/": page}
	for i, order := range [][]string{{"", "/-/x.tgz", "/"}, {"/-/x.tgz", "", "/"}, {"/", "", "/-/x.tgz"}, {"", "/", "/-/x.tgz"}} {
		z := start(t, "--upstream", "up="+o.url)
		pkg := fmt.Sprintf("/up/pkg%d", i)
		for _, verdict := range []string{"MISS", "HIT"} {
			for _, suffix := range order {
				what := fmt.Sprintf("order %q: %s of %q", order, verdict, suffix)
				get(t, z.url+pkg+suffix).whole(t, what, want[suffix]).is(t, what, 200, verdict)
			}
		}
		z.published("up", fmt.Sprintf("pkg%d/__content", i), int64(len(doc)))
		if got, ok := z.held("up", fmt.Sprintf("pkg%d/__content", i)); !ok || !bytes.Equal(got, doc) {
			t.Errorf("order %q: __content = %q, %v; want the document", order, got, ok)
		}
		if got, ok := z.held("up", fmt.Sprintf("pkg%d/-/x.tgz", i)); !ok || !bytes.Equal(got, child) {
			t.Errorf("order %q: the child on disk has %d bytes, %v", order, len(got), ok)
		}
		z.stop()
	}
}

// A file that somebody copied in counts only when the origin vouches for its size and date; what a 304 would say of it is
// worth nothing, since the origin compares the date alone.
func TestAFileCopiedInIsConfirmedByTheOriginOrReplaced(t *testing.T) {
	good := bytesOf("good", midSize/4)
	bad := bytesOf("bad", midSize/4)
	n := startNginx(t, "if_modified_since before;")
	rl := startRelay(t, n.url)
	z := start(t, "--upstream", "up="+rl.url)
	rows := []struct {
		name     string
		body     []byte
		mtime    time.Time
		replaced bool
	}{
		{"size and date agree", good, modified, false},
		{"newer and wrong", bad, modified.Add(48 * time.Hour), true},
		{"right bytes, newer date", good, modified.Add(48 * time.Hour), true},
		{"same date, short", bad[:1000], modified, true},
		{"same date, longer", append(bytes.Clone(bad), 'x'), modified, true},
	}
	for i, row := range rows {
		path := fmt.Sprintf("in/%d.bin", i)
		n.put(path, good)
		plant(t, z.path("up", path), row.body, row.mtime)
		for _, again := range []string{"first request", "second request"} {
			get(t, z.url+"/up/"+path).whole(t, row.name+", "+again, good)
		}
		sent := int64(0)
		for _, s := range n.log("/" + path) {
			sent += s.Sent
		}
		if row.replaced != (sent >= int64(len(good))) {
			t.Errorf("%s: nginx sent %d bytes of %d, want the whole body: %v", row.name, sent, len(good), row.replaced)
		}
		first := rl.asked("/" + path)
		if v := first.Header.Get("If-None-Match"); v != "" {
			t.Errorf("%s: the origin was asked with If-None-Match %q, which nobody ever gave", row.name, v)
		}
		if n, err := syscall.Getxattr(z.path("up", path), "user.zcache", make([]byte, 8192)); err != nil || n == 0 {
			t.Errorf("%s: no Meta on the entry after its confirmation: %v", row.name, err)
		}
	}
}

func plant(t testing.TB, path string, body []byte, mtime time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, mtime, mtime); err != nil {
		t.Fatal(err)
	}
}

func TestChangesByHandAreSeenWithinTwoSeconds(t *testing.T) {
	good := bytesOf("good", 50_000)
	n := startNginx(t, "expires 1h;")
	z := start(t, "--upstream", "up="+n.url)
	rows := []struct {
		name   string
		change func(path string) error
	}{
		{"removed", os.Remove},
		{"overwritten", func(p string) error { return os.WriteFile(p, bytesOf("bad", 50_000), 0o644) }},
		{"cut short", func(p string) error { return os.Truncate(p, 10) }},
		{"another file moved over it", func(p string) error {
			if err := os.WriteFile(p+".new", []byte("bad"), 0o644); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}},
	}
	for i, row := range rows {
		path := fmt.Sprintf("h/%d.bin", i)
		n.put(path, good)
		get(t, z.url+"/up/"+path).is(t, row.name, 200, "MISS")
		get(t, z.url+"/up/"+path).whole(t, row.name, good).is(t, row.name, 200, "HIT")
		if err := row.change(z.path("up", path)); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Second, row.name+": the change is seen", func() (bool, string) {
			a, err := tryAsk(http.MethodGet, z.url+"/up/"+path)
			return err == nil && a.Err == nil && bytes.Equal(a.Body, good) && a.cache() != "HIT", fmt.Sprint(a.cache(), err, a.Err)
		})
	}
}

func TestARootThatIsNoRootIsRefused(t *testing.T) {
	empty := t.TempDir()
	_, errs, code := command(t, binary, "serve", "--listen", freeAddr(t), "--root", empty, "--no-init", "--upstream", "http://127.0.0.1:9")
	if code != 1 || !strings.Contains(errs, "no-init") && !strings.Contains(errs, "format") {
		t.Errorf("serve --no-init over an empty root: exit %d, %q; want 1 and the reason", code, errs)
	}
	future := t.TempDir()
	plant(t, filepath.Join(future, ".zcache/format"), []byte("999\n"), modified)
	_, errs, code = command(t, binary, "serve", "--listen", freeAddr(t), "--root", future, "--upstream", "http://127.0.0.1:9")
	if code != 1 || !strings.Contains(errs, "newer") {
		t.Errorf("serve over a root of version 999: exit %d, %q; want 1 and the reason", code, errs)
	}
}
