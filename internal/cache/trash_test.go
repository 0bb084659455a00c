package cache

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/durable"
)

// variant is a Meta of a response that a request for that form selects.
func variant(form string) *Meta {
	m := meta()
	m.Vary = http.Header{"Accept": {form}}
	return m
}

// inTrash lists what lies in the trash below path, the latest first.
func inTrash(t testing.TB, tree *Tree, path string) []string {
	t.Helper()
	var got []string
	must(t, tree.Trash(t.Context(), key(t, path), func(r Retired) bool {
		got = append(got, fmt.Sprintf("%s %d", r.Key.Path(), r.Size))
		return true
	}))
	return got
}

// various fills a tree with entries of every kind at and below /d/, and some beside it. It returns the keys of those below.
func various(t testing.TB, tree *Tree) []string {
	below := []string{"/d/a", "/d/doc", "/d/doc/child", "/d/a%2Fb", "/d/.zcache", "/d/" + strings.Repeat("n", 300), "/d/a?query"}
	for _, path := range append([]string{"/d", "/dd", "/e/x"}, below...) {
		put(t, tree, path, "body of "+path)
	}
	putMeta(t, tree, "/d/", indexPage("/d/", "a", "doc/"), indexMeta("/d/"))
	return below
}

// manifold is various with what has more than one file: variants, a Meta that overflows, and a negative entry, which is none of those returned.
func manifold(t testing.TB, tree *Tree) []string {
	below := various(t, tree)
	putMeta(t, tree, "/d/v", "one", variant("x"))
	putMeta(t, tree, "/d/v", "two", variant("y"))
	big := meta()
	big.Header.Set("Link", strings.Repeat("l", 6000))
	putMeta(t, tree, "/d/big", "body of /d/big", big)
	gone := meta()
	gone.Status = 404
	putMeta(t, tree, "/d/gone", "no", gone)
	must(t, tree.scan(t.Context()))
	return append(below, "/d/big")
}

// wantUsage compares what the tree counts with bytes, but for one negative entry, and entries.
func wantUsage(t testing.TB, tree *Tree, when string, bytes, entries int64) {
	t.Helper()
	if b, e, _ := tree.Usage(); e != entries || b > bytes || b < bytes-64<<10 {
		t.Errorf("Usage %s = %d bytes, %d entries, want %d and %d", when, b, e, bytes, entries)
	}
}

func TestWhatIsRetiredIsInTheTrash(t *testing.T) {
	tree := open(t, Config{})
	below := manifold(t, tree)
	bytes, entries, _ := tree.Usage()
	n, size, err := tree.Retire(key(t, "/d/"), true)
	if want := len(below) + 3; n != want || size < int64(10*n) || err != nil { // two variants and a listing
		t.Errorf("Retire = %d, %d bytes, %v, want %d", n, size, err, want)
	}
	for _, path := range append([]string{"/d/", "/d/v", "/d/gone"}, below...) {
		if got := get(t, tree, path); got != "-" {
			t.Errorf("Open %s after it was retired = %q", path, got)
		}
	}
	for _, path := range []string{"/d", "/dd", "/e/x"} {
		if got := get(t, tree, path); got != "body of "+path {
			t.Errorf("Open %s, which was not retired = %q", path, got)
		}
	}
	if got := inTrash(t, tree, "/d/"); len(got) != n {
		t.Errorf("Trash = %q, want %d", got, n)
	}
	if got := inTrash(t, tree, "/e/"); len(got) != 0 {
		t.Errorf("Trash of another directory = %q", got)
	}
	wantUsage(t, tree, "after Retire", bytes, entries-int64(n)-1)
	must(t, tree.scan(t.Context()))
	wantUsage(t, tree, "after a scan", bytes, entries-int64(n)-1)
}

func TestWhatIsRestoredIsAsItWas(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	below := manifold(t, tree)
	bytes, entries, _ := tree.Usage()
	n, _, err := tree.Retire(key(t, "/d/"), true)
	must(t, err)
	tree.Now = func() time.Time { return time.Now().Add(2 * tempAge) }
	must(t, tree.reapOverflows(t.Context()))
	must(t, tree.Close())
	tree = open(t, Config{Dir: dir})
	must(t, tree.scan(t.Context()))

	if back, err := tree.Restore(key(t, "/d/"), true); back != n || err != nil {
		t.Errorf("Restore = %d, %v, want %d", back, err, n)
	}
	for _, path := range below {
		if got := get(t, tree, path); got != "body of "+path {
			t.Errorf("Open %s after Restore = %q", path, got)
		}
	}
	for form, want := range map[string]string{"x": "one", "y": "two"} {
		e, err := tree.Open(key(t, "/d/v"), http.Header{"Accept": {form}})
		must(t, err)
		if e.Size() != int64(len(want)) || e.Meta.Vary.Get("Accept") != form {
			t.Errorf("Open of the variant %s after Restore = %d bytes, %v", form, e.Size(), e.Meta.Vary)
		}
		must(t, e.Close())
	}
	e, err := tree.Open(key(t, "/d/"), nil)
	must(t, err)
	defer e.Close()
	side := exists(dir + "/hub/d/" + sidecarName)
	if l, err := tree.Listing(e); err != nil || len(l.Entries) != 2 || !side {
		t.Errorf("Listing after Restore = %+v, %v, with a sidecar: %v", l, err, side)
	}
	wantUsage(t, tree, "after Restore", bytes, entries-1)
	if got, batches := inTrash(t, tree, "/"), names(t, dir+"/"+orphansDir); len(got)+len(batches) != 0 {
		t.Errorf("Trash after Restore = %q in %d batches", got, len(batches))
	}
}

func TestADocumentStaysWhenItsDirectoryIsRetired(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "document")
	retire(t, tree, "/a/", true, 0) // there is no directory
	if got := get(t, tree, "/a"); got != "document" {
		t.Errorf("Open = %q", got)
	}
	put(t, tree, "/a/b", "child")
	retire(t, tree, "/a/", true, 1)
	if got, child := get(t, tree, "/a"), get(t, tree, "/a/b"); got != "document" || child != "-" {
		t.Errorf("Open of the document = %q, of the child %q", got, child)
	}
	if got := disk(tree, "hub/a"); got != "document" {
		t.Errorf("the file hub/a holds %q", got)
	}
	retire(t, tree, "/a", false, 1)
	if n, err := tree.Restore(key(t, "/"), true); n != 2 || err != nil {
		t.Errorf("Restore = %d, %v, want both", n, err)
	}
	if got, child := get(t, tree, "/a"), get(t, tree, "/a/b"); got != "document" || child != "child" {
		t.Errorf("after Restore Open of the document = %q, of the child %q", got, child)
	}
	retire(t, tree, "/a", false, 1)
	if got, child := get(t, tree, "/a"), get(t, tree, "/a/b"); got != "-" || child != "child" {
		t.Errorf("after a Retire of it alone Open of the document = %q, of the child %q", got, child)
	}
}

func TestRestoreBringsBackTheLatest(t *testing.T) {
	for _, c := range []struct {
		claim string
		step  time.Duration
	}{{"in one second", 0}, {"a minute apart", time.Minute}, {"when the clock goes back", -time.Millisecond}} {
		t.Run(c.claim, func(t *testing.T) {
			now := time.Now()
			tree := open(t, Config{Now: func() time.Time { return now }})
			for _, body := range []string{"oldest", "old", "latest"} {
				put(t, tree, "/d/a", body)
				put(t, tree, "/d/"+body, body)
				retire(t, tree, "/d/a", false, 1)
				now = now.Add(c.step)
			}
			retire(t, tree, "/d/", true, 3)
			put(t, tree, "/d/old", "held")
			if n, err := tree.Restore(key(t, "/d/"), true); n != 3 || err != nil {
				t.Errorf("Restore = %d, %v, want 3", n, err)
			}
			for path, want := range map[string]string{"/d/a": "latest", "/d/oldest": "oldest", "/d/old": "held", "/d/latest": "latest"} {
				if got := get(t, tree, path); got != want {
					t.Errorf("Open %s = %q, want %q", path, got, want)
				}
			}
			if got := inTrash(t, tree, "/d/"); !slices.Equal(got, []string{"/d/old 3", "/d/a 3", "/d/a 6"}) {
				t.Errorf("Trash = %q, want the older versions", got)
			}
		})
	}
}

func TestRestoreOfOneKey(t *testing.T) {
	tree := open(t, Config{})
	below := various(t, tree)
	retire(t, tree, "/", true, len(below)+4)
	for _, path := range []string{"/d/a%2Fb", "/d/doc", "/d/doc/child", "/d/", "/d"} {
		if n, err := tree.Restore(key(t, path), false); n != 1 || err != nil {
			t.Errorf("Restore %s = %d, %v, want 1", path, n, err)
		}
		if got := get(t, tree, path); got == "-" {
			t.Errorf("%s is not held after Restore", path)
		}
	}
	if got := get(t, tree, "/d/a"); got != "-" {
		t.Errorf("Open of what was not restored = %q", got)
	}
}

func TestRestoreEndsANegativeEntry(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "x")
	retire(t, tree, "/a", false, 1)
	m := meta()
	m.Status, m.Received = 404, time.Now().Add(time.Second)
	putMeta(t, tree, "/a", "no", m)
	if n, err := tree.Restore(key(t, "/a"), false); n != 1 || err != nil {
		t.Errorf("Restore = %d, %v, want 1", n, err)
	}
	if got := get(t, tree, "/a"); got != "x" {
		t.Errorf("Open = %q, want the body", got)
	}
}

func TestTrashHasItsTime(t *testing.T) {
	var c clock
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir, Now: c.now, TrashTTL: time.Hour})
	big := meta()
	big.Header.Set("Link", strings.Repeat("l", 6000))
	putMeta(t, tree, "/a", "x", big)
	put(t, tree, "/b", "x")
	must(t, tree.scan(t.Context()))
	retire(t, tree, "/a", false, 1)
	c.advance(40 * time.Minute)
	retire(t, tree, "/b", false, 1)
	for _, want := range [][]string{{"/b 1", "/a 1"}, {"/b 1"}, nil} {
		must(t, tree.sweepTrash(t.Context()))
		if got := inTrash(t, tree, "/"); !slices.Equal(got, want) {
			t.Errorf("Trash %v later = %q, want %q", time.Duration(c.ahead.Load()), got, want)
		}
		c.advance(30 * time.Minute)
	}
	if bytes, entries, _ := tree.Usage(); bytes != 0 || entries != 0 {
		t.Errorf("Usage = %d bytes, %d entries, want none", bytes, entries)
	}
	if n := overflowFiles(tree); n != 0 {
		t.Errorf("%d overflow files are left", n)
	}
}

func TestTrashOfTheFutureHasItsTimeToo(t *testing.T) {
	var c clock
	tree := open(t, Config{Now: c.now})
	put(t, tree, "/a", "x")
	c.advance(1000 * time.Hour)
	retire(t, tree, "/a", false, 1)
	c.advance(-1000 * time.Hour)
	must(t, tree.sweepTrash(t.Context()))
	if got := inTrash(t, tree, "/"); len(got) != 1 {
		t.Errorf("Trash = %q, want it kept", got)
	}
	c.advance(25 * time.Hour)
	must(t, tree.sweepTrash(t.Context()))
	if got := inTrash(t, tree, "/"); len(got) != 0 {
		t.Errorf("Trash a day later = %q, want none", got)
	}
}

func TestNoTrashIsKeptWithoutTime(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir, TrashTTL: -1})
	for range 2 { // the second is within the same second
		various(t, tree)
		retire(t, tree, "/d/a", false, 1)
		retire(t, tree, "/", true, 10)
	}
	if bytes, entries, _ := tree.Usage(); bytes != 0 || entries != 0 {
		t.Errorf("Usage = %d bytes, %d entries, want none", bytes, entries)
	}
	if n := len(names(t, dir+"/"+orphansDir)) + len(names(t, dir+"/"+trashDir)); n != 0 {
		t.Errorf("%d batches are left, want none", n)
	}
}

func TestTrimTakesTheTrashFirst(t *testing.T) {
	var c clock
	tree := open(t, Config{Now: c.now, MaxSize: 1 << 20})
	body := string(bytes.Repeat([]byte("x"), 300<<10))
	for _, path := range []string{"/old", "/new", "/kept", "/held"} {
		if path == "/held" { // now there is too much
			c.advance(time.Minute)
		}
		put(t, tree, path, body)
		if path == "/old" || path == "/new" {
			retire(t, tree, path, false, 1)
			c.advance(time.Minute)
		}
	}
	age(t, tree, "/kept", time.Hour)
	if n, err := tree.Trim(t.Context()); n < 200<<10 || err != nil {
		t.Errorf("Trim = %d, %v", n, err)
	}
	if got := inTrash(t, tree, "/"); !slices.Equal(got, []string{fmt.Sprintf("/new %d", len(body))}) {
		t.Errorf("Trash after Trim = %.100q, want /new alone", got)
	}
	if get(t, tree, "/kept") == "-" || get(t, tree, "/held") == "-" {
		t.Error("an entry was trimmed while something lay in the trash")
	}
}

// TestAKilledRetireLosesNothing does by hand what a Retire does first, and goes on with a new process.
func TestAKilledRetireLosesNothing(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	below := various(t, tree)
	tree.trash.mu.Lock()
	r := retirement{tree: tree, key: key(t, "/d/"), recursive: true}
	tree.names.Lock()
	odd := key(t, "/d/a%2Fb")
	must(t, r.file(aside{odd, mainPlace(odd)}))
	at, err := r.room("hub/d")
	must(t, err)
	must(t, tree.root.Link("hub/d/"+contentName, string(at)))
	must(t, tree.root.Exchange(string(at), "hub/d")) // moveAround, as far as that
	tree.names.Unlock()
	tree.trash.mu.Unlock()
	must(t, tree.Close())

	tree = open(t, Config{Dir: dir})
	tree.tidyAtStart(t.Context())
	must(t, tree.scan(t.Context()))
	if got := get(t, tree, "/d"); got != "body of /d" {
		t.Errorf("Open of the document = %q", got)
	}
	retire(t, tree, "/d/", true, 3) // what lies aside and was not moved yet
	if _, err := tree.Restore(key(t, "/d/"), true); err != nil {
		t.Errorf("Restore: %v", err)
	}
	for _, path := range append(below, "/d") {
		if got := get(t, tree, path); got != "body of "+path {
			t.Errorf("Open %s = %q", path, got)
		}
	}
}

func TestAKilledRemovalOfABatchIsFinished(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/a", "x")
	retire(t, tree, "/a", false, 1)
	must(t, tree.root.Rename(string(tree.trash.last.at()), trashDir+"/"+durable.Random()))
	must(t, tree.Close())
	tree = open(t, Config{Dir: dir})
	tree.tidyAtStart(t.Context())
	must(t, tree.scan(t.Context()))
	if n := len(names(t, dir+"/"+trashDir)); n != 0 || tree.trash.bytes.Load() != 0 {
		t.Errorf("%d leftovers, %d bytes in the trash, want none", n, tree.trash.bytes.Load())
	}
}

func TestTornTrashIsNotRestored(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/torn", "body")
	put(t, tree, "/whole", "body")
	retire(t, tree, "/", true, 2)
	must(t, os.Truncate(filepath.Join(dir, string(tree.trash.last.at()), "hub/torn"), 2))
	must(t, os.Chtimes(filepath.Join(dir, string(tree.trash.last.at()), "hub/torn"), time.Time{}, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)))
	must(t, tree.Close())
	reboot(t, dir, time.Now().Add(-time.Hour))
	tree = open(t, Config{Dir: dir})
	must(t, tree.scan(t.Context()))
	if n, err := tree.Restore(key(t, "/"), true); n != 1 || err != nil {
		t.Errorf("Restore = %d, %v, want 1", n, err)
	}
	if torn, whole := get(t, tree, "/torn"), get(t, tree, "/whole"); torn != "-" || whole != "body" {
		t.Errorf("Open of the torn entry = %q, of the whole one %q", torn, whole)
	}
}

func TestDraftsOfWhatIsRetiredGo(t *testing.T) {
	tree := open(t, Config{})
	for _, path := range []string{"/d/a", "/d/b", "/e"} {
		d, err := tree.Create(key(t, path), meta())
		must(t, err)
		_, err = d.Write([]byte("half"))
		must(t, err)
		d.Suspend(nil)
	}
	retire(t, tree, "/d/a", false, 0)
	if tree.Resume(key(t, "/d/a")) != nil {
		t.Error("the draft of a retired key was resumed")
	}
	retire(t, tree, "/d/", true, 0)
	if tree.Resume(key(t, "/d/b")) != nil {
		t.Error("the draft of a key below a retired directory was resumed")
	}
	if d := tree.Resume(key(t, "/e")); d == nil {
		t.Error("another draft is gone")
	} else {
		d.Discard(nil)
	}
}

func TestAsideTellsWhatNamesDoesNot(t *testing.T) {
	tree := open(t, Config{})
	below := various(t, tree)
	put(t, tree, "/e/.zcache-x", "x")
	var got []string
	must(t, tree.Aside(t.Context(), key(t, "/d/"), func(k Key) bool {
		got = append(got, k.Path())
		return true
	}))
	slices.Sort(got)
	want := slices.Clone(below[3:6])
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("Aside = %.60q, want %.60q", got, want)
	}
	n := 0
	must(t, tree.Aside(t.Context(), key(t, "/"), func(Key) bool { n++; return false }))
	if n != 1 {
		t.Errorf("yield was called %d times after it returned false", n-1)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Aside(ctx, key(t, "/"), func(Key) bool { return true }); err == nil {
		t.Error("Aside ignores the end of its context")
	}
}

func TestNamesLeadBack(t *testing.T) {
	tree := open(t, Config{})
	want := map[string]Key{}
	for c := 1; c < 256; c++ {
		for _, name := range []string{"a" + string([]byte{byte(c)}) + "b", string([]byte{byte(c)}), ".." + string([]byte{byte(c)})} {
			k, err := key(t, "/d/").Child(name, false)
			if err != nil {
				continue // a dot segment
			}
			put(t, tree, k.Path(), "x")
			if _, plain := plainPlace(k); plain {
				want[name] = k
			}
		}
	}
	must(t, os.WriteFile(filepath.Join(tree.Dir, `hub/d/..\by hand`), nil, 0o600))
	must(t, tree.Names(key(t, "/d/"), func(name string, dir bool) bool {
		k, err := key(t, "/d/").Child(name, dir)
		if err != nil || k != want[name] {
			t.Errorf("Names gives %q, whose Child is %v, %v, want %v", name, k, err, want[name])
		}
		if got := get(t, tree, k.Path()); got != "x" {
			t.Errorf("Open %v = %q", k, got)
		}
		delete(want, name)
		return true
	}))
	if len(want) > 0 {
		t.Errorf("Names does not give %v", want)
	}
}
