package e2e

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// grow makes a tree of files for a master.
func grow(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAMasterServesATreeOfThisMachine(t *testing.T) {
	dir := grow(t, map[string]string{"a.tar.gz": "\x1f\x8bbody", "sub/b": "bb", "e mpty": ""})
	if err := os.Symlink("a.tar.gz", filepath.Join(dir, "latest")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	z := start(t, "--upstream", "m=file://"+dir)

	a := get(t, z.url+"/m/a.tar.gz").whole(t, "a file", []byte("\x1f\x8bbody"))
	etag := a.Header.Get("Etag")
	if a.cache() != "HIT" || !strings.HasPrefix(etag, `"`) || a.Header.Get("Last-Modified") != modified.Format(http.TimeFormat) || a.Header.Get("Content-Encoding") != "" {
		t.Errorf("a file: X-Cache %s, %v; want a HIT with a strong ETag and its time", a.cache(), a.Header)
	}
	get(t, z.url+"/m/a.tar.gz", "If-None-Match: "+etag).is(t, "a condition", http.StatusNotModified, "")
	if a := get(t, z.url+"/m/a.tar.gz", "Range: bytes=2-3"); a.Status != http.StatusPartialContent || string(a.Body) != "bo" {
		t.Errorf("a range: %d %q", a.Status, a.Body)
	}
	wantRows(t, "the tree", rows(t, z.url+"/m/"), "sub/ - fresh", "a.tar.gz 6 fresh", "e mpty 0 fresh", "latest 6 fresh", "out - absent", "pipe - absent")
	for _, r := range rows(t, z.url+"/m/") {
		if r.Name == "latest" && (!r.IsSymlink || r.Step != 1 || !r.ZoneKnown) {
			t.Errorf("a link: %+v, want a link with an exact time", r)
		}
	}
	for _, path := range []string{"/m/out", "/m/pipe", "/m/none", "/m/..%2f..%2fetc/passwd"} {
		if a := get(t, z.url+path); a.Status < 400 || bytes.Contains(a.Body, []byte("root:")) {
			t.Errorf("GET %s: %d %.80q, want an error", path, a.Status, a.Body)
		}
	}
	if a := get(t, z.url+"/m/sub"); a.Status != http.StatusMovedPermanently || a.Header.Get("Location") != "./sub/" { // relative, for it holds wherever the hub is mounted
		t.Errorf("a directory without its slash: %d to %q", a.Status, a.Header.Get("Location"))
	}
	if _, err := os.Stat(filepath.Join(z.root, "m", "a.tar.gz")); err == nil {
		t.Error("what lies on this machine was stored a second time")
	}
	later := modified.Add(time.Hour)
	if err := os.WriteFile(filepath.Join(dir, "sub/c"), []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "sub/c"), later, later); err != nil {
		t.Fatal(err)
	}
	wantRows(t, "a change is seen at once", rows(t, z.url+"/m/sub/"), "b 2 fresh", "c 3 fresh")
}

func TestAZcacheReadsAnothersListingsExactly(t *testing.T) {
	dir := grow(t, map[string]string{"d/a": "aaa", "d/ü & <b>.txt": "u", "d/e/f": "f"})
	master := start(t, "--upstream", "file://"+dir)
	child := start(t, "--upstream", master.url)
	want := rows(t, master.url+"/d/")
	got := rows(t, child.url+"/d/")
	if len(got) != len(want) {
		t.Fatalf("the child lists %q, want %q", brief(got), brief(want))
	}
	for i, r := range got {
		w := want[i]
		sameSize := (r.Size == nil) == (w.Size == nil) && (r.Size == nil || *r.Size == *w.Size)
		if r.Name != w.Name || r.URL != w.URL || !sameSize || r.ModTime == nil || !r.ModTime.Equal(*w.ModTime) || r.SizeExact != w.SizeExact || !r.ZoneKnown || r.Cached != "absent" {
			t.Errorf("the child's row %+v (%v), want the master's %+v (%v), absent", r, r.ModTime, w, w.ModTime)
		}
	}
	master.stop()
	if off := rows(t, child.url+"/d/"); len(off) != len(want) {
		t.Errorf("without the master the child lists %q", brief(off))
	}
}
