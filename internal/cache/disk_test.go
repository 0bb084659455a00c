package cache

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// clock is a time that tests move. What the disk stamps is real time, so it begins there.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func open(t testing.TB, c Config) *Tree {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	tree, err := OpenTree(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func meta() *Meta {
	return &Meta{Status: 200, Received: time.Now(), Size: -1, Header: http.Header{"Last-Modified": {"Wed, 01 Jan 2025 00:00:00 GMT"}}}
}

func put(t testing.TB, tree *Tree, path, body string) {
	t.Helper()
	putMeta(t, tree, path, body, meta())
}

func putMeta(t testing.TB, tree *Tree, path, body string, m *Meta) {
	t.Helper()
	d, err := tree.Create(key(t, path), m)
	must(t, err)
	_, err = io.WriteString(d, body)
	must(t, err)
	e, err := d.Commit(m)
	must(t, err)
	e.Close()
}

// get is the body stored for path; "-" when there is none, with "adopted: " before one that is.
func get(t testing.TB, tree *Tree, path string) string {
	t.Helper()
	e, err := tree.Open(key(t, path), nil)
	if errors.Is(err, ErrNotStored) {
		return "-"
	}
	must(t, err)
	defer e.Close()
	s := e.Section(0, -1)
	defer s.Close()
	b, err := io.ReadAll(s)
	must(t, err)
	if e.Adopted {
		return "adopted: " + string(b)
	}
	return string(b)
}

func TestBodiesLieAtTheirURLs(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/pub/a.tar.xz", "body")
	put(t, tree, "/pub/", "page")
	put(t, tree, "/pub", "document")
	for name, want := range map[string]string{"hub/pub/a.tar.xz": "body", "hub/pub/.zcache-index": "page", "hub/pub/__content": "document"} {
		b, err := os.ReadFile(tree.Dir + "/" + name)
		if err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v, want %q", name, b, err, want)
		}
		st, err := os.Stat(tree.Dir + "/" + name)
		if err != nil || st.ModTime().Unix() != 1735689600 {
			t.Errorf("%s has mtime %v, want that of Last-Modified", name, st.ModTime())
		}
	}
	drafts, err := os.ReadDir(tree.Dir + "/.zcache/drafts")
	if err != nil || len(drafts) != 0 {
		t.Errorf("drafts left over: %v, %v", drafts, err)
	}
	for _, p := range []string{"/pub", "/pub/", "/pub/a.tar.xz"} {
		_, err := tree.Remove(key(t, p), false)
		must(t, err)
	}
	if left, err := os.ReadDir(tree.Dir + "/hub"); err != nil || len(left) != 0 {
		t.Errorf("after all was removed the hub holds %v, %v", left, err)
	}
}

func TestChangesByHandAreSeen(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	body := tree.Dir + "/hub/a"
	check := func(claim, want string) {
		t.Helper()
		c.advance(trustFor)
		if got := get(t, tree, "/a"); got != want {
			t.Errorf("%s: got %q, want %q", claim, got, want)
		}
	}
	put(t, tree, "/a", "one")
	check("as published", "one")
	must(t, os.Remove(body))
	check("removed", "-")
	must(t, os.WriteFile(body, []byte("copied"), 0o600))
	check("copied in", "adopted: copied")
	put(t, tree, "/a", "two")
	check("published over it", "two")
	must(t, os.WriteFile(body, []byte("TWO"), 0o600))
	check("edited in place, same size", "adopted: TWO")
	put(t, tree, "/a", "three")
	must(t, os.Chtimes(body, time.Time{}, time.Unix(1735689600, 1)))
	check("mtime off by a nanosecond", "adopted: three")
	put(t, tree, "/a", "four")
	must(t, os.Rename(body, body+"b"))
	check("moved away", "-")
	if got := get(t, tree, "/ab"); got != "four" {
		t.Errorf("moved by hand with its attribute: %q, want it served at its new name", got)
	}
	must(t, os.Mkdir(body, 0o700))
	check("an empty directory in its place", "-")
	put(t, tree, "/a", "five")
	check("published over the empty directory", "five")
}

func TestOnlyRegularFilesAreEntries(t *testing.T) {
	tree := open(t, Config{})
	secret := t.TempDir() + "/secret"
	must(t, os.WriteFile(secret, []byte("secret"), 0o600))
	put(t, tree, "/real", "real")
	must(t, os.Symlink(secret, tree.Dir+"/hub/file"))
	must(t, os.Symlink(filepath.Dir(secret), tree.Dir+"/hub/dir"))
	must(t, os.Symlink("real", tree.Dir+"/hub/inside"))
	must(t, unix.Mkfifo(tree.Dir+"/hub/fifo", 0o600))
	for _, p := range []string{"/file", "/dir/secret", "/dir", "/inside", "/fifo", "/dir/"} {
		if got := get(t, tree, p); got != "-" {
			t.Errorf("%s = %q, want nothing stored", p, got)
		}
	}
	if _, err := tree.Create(key(t, "/dir/new"), meta()); err != nil {
		t.Fatal(err)
	}
	d, err := tree.Create(key(t, "/dir/new"), meta())
	must(t, err)
	if _, err := d.Commit(meta()); err == nil {
		t.Error("a body was stored through a link")
	}
	put(t, tree, "/file", "ours") // replaces the link, not what it leads to
	if b, _ := os.ReadFile(secret); string(b) != "secret" || get(t, tree, "/file") != "ours" {
		t.Errorf("storing over a link: the file outside holds %q, the entry %q", b, get(t, tree, "/file"))
	}
	if left, _ := os.ReadDir(filepath.Dir(secret)); len(left) != 1 {
		t.Errorf("files outside the root: %v", left)
	}
	n, err := tree.Remove(key(t, "/"), true)
	if n != 2 || err != nil {
		t.Errorf("Remove = %d, %v, want 2", n, err)
	}
	if _, err := os.Stat(secret); err != nil {
		t.Errorf("removal followed a link: %v", err)
	}
}

func TestDocumentBecomesADirectoryWithoutAGap(t *testing.T) {
	tree := open(t, Config{})
	for round := range 50 {
		doc, child := fmt.Sprintf("/d%d", round), fmt.Sprintf("/d%d/c/x", round)
		put(t, tree, doc, "document")
		var stop atomic.Bool
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for !stop.Load() {
					tree.table.drop(key(t, doc)) // every look goes to the disk
					if got := get(t, tree, doc); got != "document" {
						t.Errorf("while children came, %s was %q", doc, got)
						return
					}
				}
			})
		}
		var writers sync.WaitGroup
		for i := range 2 {
			writers.Go(func() { put(t, tree, fmt.Sprintf("%s%d", child, i), "child") })
		}
		writers.Wait()
		put(t, tree, doc, "document")
		stop.Store(true)
		readers.Wait()
	}
	if left, _ := os.ReadDir(tree.Dir + "/" + tempDir); len(left) != 0 {
		t.Errorf("left aside: %v", left)
	}
}

func TestPublishersAndRemoversRace(t *testing.T) {
	tree := open(t, Config{})
	paths := []string{"/a", "/a/b", "/a/b/c", "/a/"}
	var all sync.WaitGroup
	for _, p := range paths {
		all.Go(func() {
			for i := range 100 {
				put(t, tree, p, "body of "+p)
				if got := get(t, tree, p); got != "-" && got != "body of "+p {
					t.Errorf("%s = %q", p, got)
				}
				if i%3 == 0 {
					if _, err := tree.Remove(key(t, p), i%2 == 0); err != nil {
						t.Errorf("Remove %s: %v", p, err)
					}
				}
			}
		})
	}
	all.Wait()
	for _, p := range paths {
		put(t, tree, p, "last "+p)
	}
	for _, p := range paths {
		if got := get(t, tree, p); got != "last "+p {
			t.Errorf("%s = %q", p, got)
		}
	}
}

func TestLargeMetaGoesToAnOverflowFile(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	files := func() int {
		n := 0
		filepath.WalkDir(tree.Dir+"/"+overflowDir, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				n++
			}
			return nil
		})
		return n
	}
	big := func(n int) *Meta {
		m := meta()
		m.Header.Set("X-Big", strings.Repeat("v", n))
		return m
	}
	for _, n := range []int{5000, 100000} {
		putMeta(t, tree, "/a", "body", big(n))
		c.advance(trustFor)
		e, err := tree.Open(key(t, "/a"), nil)
		must(t, err)
		if e.Adopted || len(e.Meta.Header.Get("X-Big")) != n {
			t.Errorf("a field of %d bytes: adopted %v, %d bytes came back", n, e.Adopted, len(e.Meta.Header.Get("X-Big")))
		}
		must(t, tree.Freshen(e, big(n+1)))
		e.Close()
		if got := get(t, tree, "/a"); got != "body" {
			t.Errorf("after Freshen: %q", got)
		}
		if files() > 1 {
			t.Errorf("%d overflow files for one entry", files())
		}
	}
	put(t, tree, "/a", "small")
	if files() != 0 {
		t.Errorf("%d overflow files after the entry was replaced", files())
	}
	putMeta(t, tree, "/b/c", "body", big(100000))
	if _, err := tree.Remove(key(t, "/b"), true); err != nil || files() != 0 {
		t.Errorf("%d overflow files after removal, %v", files(), err)
	}
	putMeta(t, tree, "/c", "body", big(100000))
	must(t, os.RemoveAll(tree.Dir+"/"+overflowDir))
	c.advance(trustFor)
	tree.table.drop(key(t, "/c"))
	if got := get(t, tree, "/c"); got != "adopted: body" {
		t.Errorf("without its overflow file: %q, want it adopted", got)
	}
}

func TestFreshenMakesAnAdoptedEntryOurs(t *testing.T) {
	tree := open(t, Config{})
	must(t, os.MkdirAll(tree.Dir+"/hub", 0o700))
	must(t, os.WriteFile(tree.Dir+"/hub/a", []byte("copied"), 0o600))
	e, err := tree.Open(key(t, "/a"), nil)
	must(t, err)
	if !e.Adopted || e.Meta.Size != 6 || e.Meta.Status != 200 || e.Meta.ModTime.IsZero() {
		t.Errorf("adopted %v, %+v", e.Adopted, e.Meta)
	}
	must(t, tree.Freshen(e, meta()))
	e.Close()
	if got := get(t, tree, "/a"); got != "copied" {
		t.Errorf("after Freshen: %q", got)
	}
}

func TestTheTableIsBounded(t *testing.T) {
	tree := open(t, Config{})
	for i := range tree.table.shard {
		tree.table.shard[i].most = 2
	}
	big := strings.Repeat("b", smallBody+1)
	for i := range 100 {
		put(t, tree, fmt.Sprintf("/%d", i), big)
		if get(t, tree, fmt.Sprintf("/%d", i)) != big {
			t.Fatal("wrong body")
		}
	}
	files := 0
	for i := range tree.table.shard {
		s := &tree.table.shard[i]
		files += s.files
		if s.files > s.most || s.lru.Len() != len(s.slots) {
			t.Errorf("shard %d holds %d descriptors in %d slots", i, s.files, s.lru.Len())
		}
	}
	tree.table.shrink()
	for i := range tree.table.shard {
		if s := &tree.table.shard[i]; s.files != 0 || s.ram != 0 {
			t.Errorf("after shrink shard %d holds %d descriptors, %d bytes", i, s.files, s.ram)
		}
	}
	if files == 0 {
		t.Error("the table held nothing")
	}
}

func TestHitsNeedNoDisk(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "body")
	get(t, tree, "/a")
	must(t, os.Remove(tree.Dir+"/hub/a"))
	if got := get(t, tree, "/a"); got != "body" {
		t.Errorf("within the second after a look: %q, want the entry that was there", got)
	}
	if n := testing.AllocsPerRun(100, func() {
		e, _ := tree.Open(key(t, "/a"), nil)
		e.Close()
	}); n > 2 {
		t.Errorf("a hit allocates %.0f times", n)
	}
}

func TestASlowReaderDoesNotBringBackTheOldEntry(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "old")
	k := key(t, "/a")
	turn := tree.table.look(k, nil, tree.Now()).turn
	old, err := tree.loadAll(k)
	must(t, err)
	put(t, tree, "/a", "new") // while the reader had opened the old body and not yet told the table
	tree.table.put(&slot{key: k, handles: old, checked: tree.Now(), complete: true}, turn)
	if got := get(t, tree, "/a"); got != "new" {
		t.Errorf("got %q, want the new entry", got)
	}
}

func TestNoDescriptorIsNotTheEnd(t *testing.T) {
	tree := open(t, Config{})
	big := strings.Repeat("b", smallBody+1)
	for i := range 40 {
		put(t, tree, fmt.Sprintf("/%d", i), big)
	}
	for i := range 20 {
		get(t, tree, fmt.Sprintf("/%d", i))
	}
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: old.Max}))
	var held []*os.File
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		held = append(held, f)
	}
	defer func() {
		for _, f := range held {
			f.Close()
		}
	}()
	if got := get(t, tree, "/30"); got != big {
		t.Errorf("Open without a descriptor: %d bytes", len(got))
	}
	put(t, tree, "/new/er", "body")
	if got := get(t, tree, "/new/er"); got != "body" {
		t.Errorf("stored without a descriptor: %q", got)
	}
}

func TestVariantsAreBounded(t *testing.T) {
	tree := open(t, Config{})
	at := time.Now().Add(-time.Hour)
	for i := range 40 {
		m := meta()
		m.Received, m.Vary = at.Add(time.Duration(i)*time.Second), http.Header{"X-Lang": {fmt.Sprint(i)}}
		putMeta(t, tree, "/a", fmt.Sprint(i), m)
	}
	held := 0
	for i := range 40 {
		e, err := tree.Open(key(t, "/a"), http.Header{"X-Lang": {fmt.Sprint(i)}})
		if err == nil {
			held++
			e.Close()
		} else if i > 8 {
			t.Errorf("variant %d, one of the latest, is gone", i)
		}
	}
	if held != mostVariants+1 {
		t.Errorf("%d variants held, want %d", held, mostVariants+1)
	}
	if n, err := tree.Remove(key(t, "/a"), false); n != held || err != nil {
		t.Errorf("Remove = %d, %v, want %d", n, err, held)
	}
}

func TestALeftDraftIsResumedByTheNextProcess(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	m := meta()
	m.Size = 10
	m.Header.Set("Etag", `"v"`)
	d, err := tree.Create(key(t, "/a?q"), m)
	must(t, err)
	_, err = io.WriteString(d, "01234")
	must(t, err)
	tree.lock.Close() // as the end of the process would
	next := open(t, Config{Dir: dir})
	if get(t, next, "/a?q") != "-" {
		t.Error("a draft is served")
	}
	r := next.Resume(key(t, "/a?q"))
	if r == nil {
		t.Fatal("Resume = nil")
	}
	if r.Len() != 5 || r.Meta().ETag() != `"v"` {
		t.Errorf("resumed at %d, %+v", r.Len(), r.Meta())
	}
	sum, err := r.Sum()
	if err != nil || sum != sha256.Sum256([]byte("01234")) {
		t.Errorf("Sum of what was resumed = %x, %v", sum, err)
	}
	_, err = io.WriteString(r, "56789")
	must(t, err)
	e, err := r.Commit(m)
	must(t, err)
	e.Close()
	if got := get(t, next, "/a?q"); got != "0123456789" {
		t.Errorf("got %q", got)
	}
}

func TestUselessDraftsAreReaped(t *testing.T) {
	dir := t.TempDir()
	c := &clock{}
	tree := open(t, Config{Dir: dir})
	for _, p := range []string{"/old", "/cut", "/kept"} {
		d, err := tree.Create(key(t, p), meta())
		must(t, err)
		_, err = io.WriteString(d, "x")
		must(t, err)
		d.Suspend(nil)
	}
	must(t, os.WriteFile(dir+"/"+draftsDir+"/garbage", []byte("x"), 0o600))
	must(t, os.Chtimes(dir+"/"+draftsDir+"/"+tree.drafts.idle[key(t, "/old")].name, time.Time{}, time.Now().Add(-8*24*time.Hour)))
	must(t, os.Truncate(dir+"/"+draftsDir+"/"+tree.drafts.idle[key(t, "/cut")].name, 0))
	tree.Close()
	next := open(t, Config{Dir: dir, Now: c.now})
	if left, _ := os.ReadDir(dir + "/" + draftsDir); len(left) != 1 {
		t.Errorf("%d drafts left, want 1", len(left))
	}
	active, err := next.Create(key(t, "/b"), meta())
	must(t, err)
	c.advance(8 * 24 * time.Hour)
	next.reapDrafts()
	if left, _ := os.ReadDir(dir + "/" + draftsDir); len(left) != 1 {
		t.Errorf("a week later %d drafts are left, want the one that is written", len(left))
	}
	active.Discard(nil)
	if next.Resume(key(t, "/kept")) != nil {
		t.Error("a reaped draft was resumed")
	}
}

func TestBadDraftIsNotCommitted(t *testing.T) {
	tree := open(t, Config{})
	d, err := tree.Create(key(t, "/a"), meta())
	must(t, err)
	_, err = io.WriteString(d, "0123456789")
	must(t, err)
	must(t, os.Truncate(tree.Dir+"/"+draftsDir+"/"+d.(*draft).name, 5))
	if _, err := d.Commit(meta()); !errors.Is(err, errLength) {
		t.Errorf("Commit of a file cut by hand: %v", err)
	}
	if got := get(t, tree, "/a"); got != "-" {
		t.Errorf("it is served: %q", got)
	}
	if tree.usage.reserved.Load() != 0 {
		t.Errorf("%d bytes stay reserved", tree.usage.reserved.Load())
	}
}

func TestSectionTellsABodyCutByHand(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", strings.Repeat("x", smallBody+10))
	e, err := tree.Open(key(t, "/a"), nil)
	must(t, err)
	defer e.Close()
	must(t, os.Truncate(tree.Dir+"/hub/a", 10))
	s := e.Section(0, -1)
	defer s.Close()
	if b, err := io.ReadAll(s); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes, %v, want ErrUnexpectedEOF", len(b), err)
	}
}
