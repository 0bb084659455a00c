package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func hazardDirectoryGone(t *testing.T) {
	p := startPublisher(t)
	gone := []string{"/old/f", "/old/deep/er/g", "/old/deep/er/h", "/old/ü #/i"}
	p.put(gone...)
	p.put("/new/f", "/older", "/old.tar")
	z := mirrorOver(t, p)
	z.walk("/up")
	z.holds("first walk", p, gone...)
	p.remove("/old")
	if f := z.walk("/up"); f.Removed < int64(len(gone)) {
		t.Errorf("walk after a directory is gone: %v, want its %d files removed", f, len(gone))
	}
	z.lacks("a directory gone upstream", gone...)
	z.holds("beside the directory", p, "/new/f", "/older", "/old.tar")
	if _, err := os.Stat(z.path("up", "/old")); err == nil {
		t.Error("the directory that is gone upstream is there still")
	}
	if a := get(t, z.url+"/up/old/f"); a.Status != http.StatusNotFound {
		t.Errorf("GET of what is gone: %d, want 404", a.Status)
	}
	out, errs, exit := command(t, binary, "trash", "list", "--server", z.url, "/up/old")
	for _, path := range []string{"/up/old/f", "/up/old/deep/er/g", "/up/old/deep/er/h"} {
		if !strings.Contains(out, path) || exit != 0 {
			t.Errorf("zcache trash list: exit %d %s\n%s\nwant %s there", exit, errs, out, path)
		}
	}
}

func hazardValidators(t *testing.T) {
	p := startPublisher(t)
	p.set("/same-time-and-size", release{[]byte("one"), modified, `"1"`})
	p.set("/same-time", release{[]byte("one"), modified, ""})
	p.set("/as-it-was", release{[]byte("one"), modified, `"1"`})
	z := mirrorOver(t, p, "--mirror-verify", "conditional")
	quick := mirrorOver(t, p)
	z.walk("/up")
	quick.walk("/up")
	p.set("/same-time-and-size", release{[]byte("two"), modified, `"2"`})
	p.take()
	if f := z.walk("/up"); f.Fetched != 1 || f.Same != 2 {
		t.Errorf("walk that asks about all: %v, want the file with another tag fetched, and the others the same", f)
	}
	z.holds("another tag", p, "/same-time-and-size", "/same-time", "/as-it-was")
	for _, q := range p.take() {
		if q.path == "/as-it-was" && (q.header.Get("If-None-Match") != `"1"` || q.header.Get("If-Modified-Since") == "") {
			t.Errorf("a file was asked for with %v, want both validators", q.header)
		}
	}
	p.set("/same-time", release{[]byte("longer"), modified.Add(time.Minute), ""})
	p.set("/as-it-was", release{[]byte("longer"), modified, `"2"`})
	if f := quick.walk("/up"); f.Fetched != 2 || f.Skipped != 1 {
		t.Errorf("walk that goes by listings: %v, want the two files of other sizes fetched", f)
	}
	quick.holds("another size", p, "/same-time", "/as-it-was")
}

func hazardLastModified(t *testing.T) {
	dates := map[string]string{
		"/rfc850":  "Wednesday, 05-Apr-23 06:07:08 GMT",
		"/asctime": "Wed Apr  5 06:07:08 2023",
		"/short":   "Wed, 5 Apr 2023 06:07:08 GMT",
		"/zone":    "Wed, 05 Apr 2023 08:07:08 +0200",
	}
	p := startPublisher(t)
	for path := range dates {
		p.put(path)
	}
	p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		date, ok := dates[r.URL.Path]
		switch {
		case !ok:
			return false
		case r.Header.Get("If-Modified-Since") == date:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Last-Modified", date)
			_, _ = w.Write(bytesOf(r.URL.Path, 200))
		}
		return true
	})
	z := mirrorOver(t, p, "--mirror-verify", "conditional")
	z.walk("/up")
	p.take()
	f := z.walk("/up")
	for _, q := range p.take() {
		if date := dates[q.path]; date != "" && q.header.Get("If-Modified-Since") != date {
			t.Errorf("%s was asked for with If-Modified-Since %q, want %q, as it came", q.path, q.header.Get("If-Modified-Since"), date)
		}
	}
	if f.Same != int64(len(dates)) || f.Fetched != 0 {
		t.Errorf("second walk: %v, want %d the same", f, len(dates))
	}
}

func hazardPurgeCap(t *testing.T) {
	p := startPublisher(t)
	paths := hundred(p)
	z := mirrorOver(t, p)
	z.walk("/up")
	for _, path := range paths[:20] {
		p.remove(path)
	}
	if f := z.walk("/up"); f.Removed != 20 {
		t.Errorf("walk with 20 %% gone: %v, want 20 removed", f)
	}
	restored, _, exit := command(t, binary, "trash", "restore", "--server", z.url, "-r", "/up")
	if exit != 0 || !strings.Contains(restored, "20 entries") {
		t.Errorf("zcache trash restore: exit %d %q, want 20 entries", exit, restored)
	}
	z.holds("restored", p, paths[:20]...)

	p.remove(paths[20])
	held := paths[:21]
	m, exit, errs := z.tryWalk("/up")
	if exit != 3 || m.HeldBack != 21 || m.Last.Removed != 0 {
		t.Errorf("walk with 21 %% gone: exit %d, held back %d, %v; want 3 and 21 held back\n%s", exit, m.HeldBack, m.Last, errs)
	}
	if m := z.mirrorOf("/up"); m.HeldBack != 21 {
		t.Errorf("/-/mirror says %d are held back, want 21", m.HeldBack)
	}
	z.holds("held back", p, held...)

	out, errs, exit := command(t, binary, "walk", "--server", z.url, "--dry-run", "--follow", "/up")
	for _, path := range held {
		if !strings.Contains(out, "gone   /up"+path+"\n") {
			t.Errorf("dry run does not name %s (exit %d, %s):\n%s", path, exit, errs, out)
		}
	}
	z.holds("dry run", p, held...)

	p.take()
	if f := z.walk("/up", "--confirm-purge"); f.Removed != 21 {
		t.Errorf("confirmed walk: %v, want 21 removed", f)
	}
	z.lacks("confirmed walk", held...)
	z.holds("confirmed walk", p, paths[21:]...)
	listed, _, _ := command(t, binary, "trash", "list", "--server", z.url)
	if n := strings.Count(listed, ".tar.xz"); n != 21 {
		t.Errorf("zcache trash list names %d files, want 21:\n%s", n, listed)
	}
	restored, _, exit = command(t, binary, "trash", "restore", "--server", z.url, "/up"+paths[0])
	if exit != 0 || !strings.Contains(restored, "1 entry") {
		t.Errorf("zcache trash restore %s: exit %d %q", paths[0], exit, restored)
	}
	z.holds("restored", p, paths[0])
	z.lacks("not restored", paths[1])
}

func hazardTrashTime(t *testing.T) {
	p := startPublisher(t)
	p.put("/a", "/b", "/c")
	z := mirrorOver(t, p, "--trash-ttl", "1s")
	z.walk("/up")
	p.remove("/a")
	z.walk("/up")
	if n := countFiles(t, filepath.Join(z.root, ".zcache"), string(bytesOf("/a", 200))); n != 1 {
		t.Errorf("below .zcache are %d copies of what was removed, want 1", n)
	}
	eventually(t, waitShort, "the trash is empty after a second and a start", func() (bool, string) {
		z.stop()
		z.again()
		n := countFiles(t, filepath.Join(z.root, ".zcache"), string(bytesOf("/a", 200)))
		return n == 0, fmt.Sprint(n, " there")
	})
	restored, _, _ := command(t, binary, "trash", "restore", "--server", z.url, "/up/a")
	z.lacks("after the trash is empty: "+restored, "/a")
}

// countFiles counts the files below dir with this body.
func countFiles(t testing.TB, dir, body string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if os.IsNotExist(err) {
				err = nil
			}
			return err
		}
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			err = nil
		}
		if string(b) == body {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
