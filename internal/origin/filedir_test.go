package origin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"zcache/internal/listing"
)

// listed is the listing of a directory, with all that is known of its entries.
func listed(t *testing.T, tr *Transport, path string) []listing.Entry {
	t.Helper()
	l := opened(t, tr, path).Body.(*LocalDir).Listing()
	entries := slices.Clone(l.Entries)
	for i := range entries {
		if l.Complete != nil {
			l.Complete(&entries[i])
		}
	}
	return entries
}

func TestDirectoryIsListedAsItLies(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{
		"d/file": "12345", "d/sub/x": "", "d/Z": "", "d/.hidden": "", "d/index.html": "", "d/in": "-> file", "d/indir": "-> ../other",
		"d/broken": "-> none", "d/out": "-> ../../secret", "d/absolute": "-> /etc/hostname", "other/y": "",
		"d/.zcache-listing.json": "", "d/.zcache-index": "", "d/__content": "", "d/sub/__content": "",
	})
	plant(t, filepath.Dir(dir), map[string]string{"secret": "secret"})
	when := time.Date(2020, 2, 3, 4, 5, 6, 123456789, time.UTC)
	err := errors.Join(unix.Mkfifo(dir+"/d/pipe", 0o644), os.Chmod(dir+"/d/file", 0o640), os.Chmod(dir+"/d/sub", 0o750),
		os.Chmod(dir+"/other", 0o755), os.Chtimes(dir+"/d/file", time.Time{}, when))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Name, Target string
		Kind         listing.Kind
		Size         int64
		Link         bool
		Mode         fs.FileMode
	}
	link := fs.ModeSymlink | 0o777
	want := []row{
		{".hidden", "", listing.File, 0, false, 0o644},
		{"Z", "", listing.File, 0, false, 0o644},
		{"absolute", "", listing.Other, -1, true, link},
		{"broken", "", listing.Other, -1, true, link},
		{"file", "", listing.File, 5, false, 0o640},
		{"in", "file", listing.File, 5, true, link},
		{"index.html", "", listing.File, 0, false, 0o644},
		{"indir", "../other", listing.Dir, -1, true, link},
		{"out", "", listing.Other, -1, true, link},
		{"pipe", "", listing.Other, -1, false, 0o644},
		{"sub", "", listing.Dir, -1, false, fs.ModeDir | 0o750},
	}
	var got []row
	for _, e := range listed(t, tr, "/d/") {
		got = append(got, row{e.Name, e.Target, e.Kind, e.Size, e.Link, e.Mode})
		if e.SizeExact != (e.Kind == listing.File) || e.Step != time.Nanosecond || !e.ZoneKnown || e.ModTime.IsZero() {
			t.Errorf("%s: exact %v, step %v, zone %v, time %v, want all of them known", e.Name, e.SizeExact, e.Step, e.ZoneKnown, e.ModTime)
		}
		if (e.Name == "file" || e.Name == "in") && !e.ModTime.Equal(when) {
			t.Errorf("%s: ModTime = %v, want %v", e.Name, e.ModTime, when)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("GET /d/ (-want +got):\n%s", diff)
	}
}

func TestDirectoryIsReadAsJSON(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"d/b": "12345", "d/a:c/": "", "page/index.html": "x"})
	resp := opened(t, tr, "/d/")
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Name, URL, Cached string
		Size              *int64
		IsDir             bool `json:"is_dir"`
	}
	if err := json.Unmarshal(body, &rows); err != nil {
		t.Fatalf("GET /d/ = %s, %v, want JSON", body, err)
	}
	if len(rows) != 2 || rows[0].URL != "./a:c/" || !rows[0].IsDir || rows[1].Name != "b" || rows[1].Size == nil || *rows[1].Size != 5 || rows[1].Cached != "fresh" {
		t.Errorf("GET /d/ = %s, want a:c/ and b of 5 bytes", body)
	}
	info, err := os.Stat(dir + "/d")
	if err != nil {
		t.Fatal(err)
	}
	// The directory was made now, which is far in the future of the test's clock.
	if got := resp.Header.Get("Content-Type"); got != "application/json" || resp.ContentLength != -1 || resp.Header.Get("Last-Modified") != "" {
		t.Errorf("GET /d/ is %s of %d bytes from %s (%v), want application/json of unknown length", got, resp.ContentLength, resp.Header.Get("Last-Modified"), info.ModTime())
	}
	if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read after the end = %v, want EOF", err)
	}
	resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close = %v, want %v", err, os.ErrClosed)
	}
	if status, body, err := ask(t, tr, "/page/"); status != 200 || !strings.HasPrefix(body, "[") || err != nil {
		t.Errorf("GET of a directory with index.html = %d %q, %v, want its listing", status, body, err)
	}
	if status, body, err := ask(t, tr, "/"); status != 200 || !strings.Contains(body, `"./page/"`) || err != nil {
		t.Errorf("GET / = %d %q, %v, want the tree's own listing", status, body, err)
	}
}

func TestNamesOfAnyBytesAreReached(t *testing.T) {
	files := map[string]string{"d/ñ": "latin", "d/日本": "wide", "d/e\u0301": "composed", "d/é": "whole", "d/" + strings.Repeat("n", 255): "long", "d/%41": "escape"}
	for c := 1; c < 256; c++ {
		if c != '/' && c != '.' {
			files["d/"+string([]byte{byte(c)})] = fmt.Sprint("byte ", c)
		}
		if c != '/' && c != '\\' {
			files["d/."+string([]byte{byte(c)})+"x"] = fmt.Sprint("dot and byte ", c)
		}
	}
	tr, _ := treeOf(t, files)
	seen := 0
	for _, e := range listed(t, tr, "/d/") {
		seen++
		want := files["d/"+e.Name]
		if status, body, err := ask(t, tr, "/d/"+url.PathEscape(e.Name)); status != 200 || body != want || err != nil {
			t.Errorf("GET of %q = %d %q, %v, want 200 %q", e.Name, status, body, err, want)
		}
		if e.Size != int64(len(want)) {
			t.Errorf("%q is listed with %d bytes, want %d", e.Name, e.Size, len(want))
		}
	}
	if seen != len(files) {
		t.Errorf("%d names are listed, want %d", seen, len(files))
	}
}

func TestDirectoryTagShowsWhatIsInIt(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"d/a": "one", "d/b": "two", "d/sub/x": "", "d/.zcache-index": "x"})
	info, err := os.Stat(dir + "/d")
	if err != nil {
		t.Fatal(err)
	}
	tag := func() string { return opened(t, tr, "/d/").Header.Get("Etag") }
	last := tag()
	req := hubRequest(t.Context(), "GET", "/d/")
	req.Header.Set("If-None-Match", last)
	if status, body, err := do(tr, req); status != 304 || body != "" || err != nil || last == "" {
		t.Errorf("GET /d/ unless it is %s = %d %q, %v, want 304", last, status, body, err)
	}
	old := newClock().Now().Add(-time.Hour)
	for _, row := range []struct {
		claim  string
		change func() error
		same   bool
	}{
		{"nothing", func() error { return nil }, true},
		{"what is hidden", func() error { return os.WriteFile(dir+"/d/.zcache-index", []byte("other"), 0o644) }, true},
		{"a file written in place", func() error { return os.WriteFile(dir+"/d/a", []byte("other"), 0o644) }, false},
		{"a file's time", func() error { return os.Chtimes(dir+"/d/b", time.Time{}, old.Add(time.Nanosecond)) }, false},
		{"a new name", func() error { return os.WriteFile(dir+"/d/c", nil, 0o644) }, false},
		{"a name gone", func() error { return os.Remove(dir + "/d/c") }, false},
		{"a mode", func() error { return os.Chmod(dir+"/d/b", 0o600) }, false},
	} {
		if err := errors.Join(row.change(), os.Chtimes(dir+"/d", time.Time{}, info.ModTime())); err != nil {
			t.Fatal(err)
		}
		if now := tag(); (now == last) != row.same || !strings.HasPrefix(now, `W/"`) {
			t.Errorf("ETag after %s changed = %s, was %s, want the same: %v", row.claim, now, last, row.same)
		} else {
			last = now
		}
	}
}

// manyFiles makes a directory of n files called f000000 and so on, every hundredth a link.
func manyFiles(tb testing.TB, n int) string {
	dir := tb.TempDir()
	for i := range n {
		name := fmt.Sprintf("%s/f%06d", dir, i)
		err := error(nil)
		if i%100 == 1 {
			err = os.Symlink("f000000", name)
		} else {
			err = os.WriteFile(name, []byte("x"), 0o644)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func TestLargeDirectoryIsLookedUpWhenAsked(t *testing.T) {
	const n = completeAtOnce + 1
	dir := manyFiles(t, n)
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, "file://"+dir)}})
	resp := opened(t, tr, "/")
	l := resp.Body.(*LocalDir).Listing()
	if len(l.Entries) != n || l.Complete == nil || resp.Header.Get("Etag") != "" {
		t.Fatalf("listing of %d entries, Complete %v, ETag %q, want %d to be completed and no tag", len(l.Entries), l.Complete != nil, resp.Header.Get("Etag"), n)
	}
	if !slices.IsSortedFunc(l.Entries, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the entries are not sorted by name")
	}
	for _, e := range l.Entries {
		if e.Kind != listing.File {
			t.Fatalf("%s is listed as %v before Complete, want a file", e.Name, e.Kind)
		}
	}
	var rows []json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&rows); len(rows) != n || err != nil {
		t.Errorf("reading it = %d rows, %v, want %d", len(rows), err, n)
	}
	for name, when := range map[string]string{"before": "before Close", "after": "after Close"} {
		e := l.Entries[7]
		if l.Complete(&e); e.Size != 1 || !e.SizeExact || e.ModTime.IsZero() {
			t.Errorf("Complete %s = %d bytes at %v, want 1", when, e.Size, e.ModTime)
		}
		if name == "before" {
			resp.Body.Close()
		}
	}
	if err := os.Remove(dir + "/" + l.Entries[7].Name); err != nil {
		t.Fatal(err)
	}
	e := l.Entries[7]
	if l.Complete(&e); e.Size != -1 || e.SizeExact || !e.ModTime.IsZero() || e.Step != 0 {
		t.Errorf("Complete of what is gone = %d bytes at %v, want neither", e.Size, e.ModTime)
	}
}

func TestHalfReadListingEnds(t *testing.T) {
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, "file://"+manyFiles(t, 2000))}})
	resp := opened(t, tr, "/")
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil { // and the check for goroutines at the end finds none
		t.Errorf("Close = %v, want nil", err)
	}
}

func TestUnknownKindsAreLookedAt(t *testing.T) {
	_, dir := treeOf(t, map[string]string{"file": "x", "dir/": "", "link": "-> dir"})
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	look := &looker{tree: &fileTree{dir}, name: ".", root: root}
	defer look.close()
	if _, err := look.names(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]listing.Kind{"file": listing.File, "dir": listing.Dir, "link": listing.Dir} {
		if e, ok := look.entry(dirName{name, unix.DT_UNKNOWN}); e.Kind != want || !ok {
			t.Errorf("entry(%s, unknown) = %v, %v, want %v", name, e.Kind, ok, want)
		}
	}
	if e, ok := look.entry(dirName{"none", unix.DT_UNKNOWN}); ok {
		t.Errorf("entry of what is gone = %v, want none", e)
	}
}

func TestBrokenRecordsAreNoEndOfADirectory(t *testing.T) {
	record := func(size byte, name string) string {
		return strings.Repeat("\x00", 16) + string([]byte{size, 0, unix.DT_REG}) + name
	}
	whole := record(24, "abcd\x00")
	for _, row := range []struct {
		claim, block string
		want         []string
		fails        bool
	}{
		{"two records", whole + whole, []string{"abcd", "abcd"}, false},
		{"padding", record(24, "a\x00\x00\x00\x00"), []string{"a"}, false},
		{"nothing", "", nil, false},
		{"a record longer than what came", whole + record(200, "abcd\x00"), []string{"abcd"}, true},
		{"a record of no length", record(0, "abcd\x00"), nil, true},
		{"half a head", whole + "\x00\x00\x00", []string{"abcd"}, true},
	} {
		var got []string
		err := eachRecord(row.block, func(n dirName) { got = append(got, n.name) })
		if !slices.Equal(got, row.want) || (err != nil) != row.fails {
			t.Errorf("%s: eachRecord gives %q, %v, want %q, an error: %v", row.claim, got, err, row.want, row.fails)
		}
	}
}
