package cache

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// freshen confirms what is held of path with a Meta that change made.
func freshen(t testing.TB, tree *Tree, path string, change func(*Meta)) {
	t.Helper()
	e, err := tree.Open(key(t, path), nil)
	must(t, err)
	defer e.Close()
	m := *e.Meta
	m.Header = m.Header.Clone()
	change(&m)
	must(t, tree.Freshen(e, &m))
}

// note keeps s with dir.
func note(t testing.TB, tree *Tree, dir, s string) {
	t.Helper()
	if ok, err := tree.Note(key(t, dir), []byte(s), tree.Changes(key(t, dir))); !ok || err != nil {
		t.Fatalf("Note %s = %v, %v", dir, ok, err)
	}
}

// noted tells which of the directories /, /d/, /d/e/ and /f/ have a note.
func noted(t testing.TB, tree *Tree) string {
	t.Helper()
	var have []string
	for _, dir := range []string{"/", "/d/", "/d/e/", "/f/"} {
		data, err := tree.Noted(key(t, dir))
		must(t, err)
		if data != nil {
			have = append(have, dir)
		}
	}
	return strings.Join(have, " ")
}

func indexPage(path string, names ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<html><head><title>Index of %s</title></head><body><h1>Index of %[1]s</h1><pre><a href=\"../\">../</a>\n", path)
	for _, name := range names {
		fmt.Fprintf(&b, "<a href=\"%s\">%[1]s</a>  08-Nov-2025 10:00  12\n", name)
	}
	return b.String() + "</pre></body></html>\n"
}

func indexMeta(path string) *Meta {
	m := meta()
	m.Listing, m.URL = true, "http://origin.example"+path
	m.Header.Set("Content-Type", "text/html")
	return m
}

const allNoted = "/ /d/ /d/e/ /f/"

// noteAll fills a tree and notes all its directories.
func noteAll(t testing.TB) *Tree {
	tree := open(t, Config{})
	for _, path := range []string{"/d/a", "/d/e/b", "/f/c", "/f/doc/x"} {
		put(t, tree, path, path)
	}
	putMeta(t, tree, "/d/e/", indexPage("/d/e/", "b"), indexMeta("/d/e/"))
	varying := meta()
	varying.Vary = map[string][]string{"Accept": {"x"}}
	putMeta(t, tree, "/f/v", "x", varying)
	put(t, tree, long, "odd")
	for _, dir := range []string{"/", "/d/", "/d/e/", "/f/"} {
		note(t, tree, dir, "note of "+dir)
	}
	return tree
}

// long is a key that lies aside.
var long = "/d/e/" + strings.Repeat("n", 300)

// doings are changes, and the directories that are still noted after them.
var doings = []struct {
	claim string
	do    func(t *testing.T, tree *Tree)
	want  string // still noted
	kept  string // the directories whose Changes is the same; "" where that are those still noted
}{
	{"nothing does nothing", func(t *testing.T, tree *Tree) {}, allNoted, ""},
	{"a new entry drops those above it", func(t *testing.T, tree *Tree) { put(t, tree, "/d/e/new", "x") }, "/f/", ""},
	{"a replaced entry does", func(t *testing.T, tree *Tree) { put(t, tree, "/d/a", "y") }, "/d/e/ /f/", ""},
	{"an entry in a new directory does", func(t *testing.T, tree *Tree) { put(t, tree, "/d/new/deep/x", "y") }, "/d/e/ /f/", ""},
	{"an entry aside does", func(t *testing.T, tree *Tree) { put(t, tree, "/d/e/a%2Fb", "y") }, "/f/", ""},
	{"an entry below a directory aside does", func(t *testing.T, tree *Tree) { put(t, tree, "/d/a%2Fb/c", "y") }, "/d/e/ /f/", ""},
	{"a variant does", func(t *testing.T, tree *Tree) {
		m := meta()
		m.Vary = map[string][]string{"Accept": {"y"}}
		putMeta(t, tree, "/f/v", "y", m)
	}, "/d/ /d/e/", ""},
	{"a document that is a directory's namesake does", func(t *testing.T, tree *Tree) { put(t, tree, "/f/doc", "y") }, "/d/ /d/e/", ""},
	{"a removed entry does", func(t *testing.T, tree *Tree) { remove(t, tree, "/d/e/b", false) }, "/f/", ""},
	{"a removed entry aside does", func(t *testing.T, tree *Tree) { remove(t, tree, long, false) }, "/f/", ""},
	{"a removed subtree does", func(t *testing.T, tree *Tree) { remove(t, tree, "/d/e/", true) }, "/f/", ""},
	{"a retired entry does not: no listing names it", func(t *testing.T, tree *Tree) { retire(t, tree, "/d/e/b", false, 1) }, allNoted, "/f/"},
	{"a retired entry aside does not", func(t *testing.T, tree *Tree) { retire(t, tree, long, false, 1) }, allNoted, "/f/"},
	{"a trimmed entry aside does", func(t *testing.T, tree *Tree) { trimmed(t, tree, mainPlace(key(t, long))) }, "/f/", ""},
	{"a trimmed entry does", func(t *testing.T, tree *Tree) { trimmed(t, tree, "hub/d/a") }, "/d/e/ /f/", ""},
	{"a listing that says something else does", func(t *testing.T, tree *Tree) {
		putMeta(t, tree, "/d/e/", indexPage("/d/e/", "b", "c"), indexMeta("/d/e/"))
	}, "/f/", ""},
	{"a document in place of a listing does", func(t *testing.T, tree *Tree) { put(t, tree, "/d/e/", "a page") }, "/f/", ""},
	{"a new validator does", func(t *testing.T, tree *Tree) {
		freshen(t, tree, "/d/a", func(m *Meta) { m.Header.Set("Etag", `"1"`) })
	}, "/d/e/ /f/", ""},
	{"another Last-Modified does", func(t *testing.T, tree *Tree) {
		freshen(t, tree, "/d/a", func(m *Meta) { m.Header.Set("Last-Modified", "Thu, 02 Jan 2025 00:00:00 GMT") })
	}, "/d/e/ /f/", ""},
	{"a 304 with the same validators and a row does not", func(t *testing.T, tree *Tree) {
		freshen(t, tree, "/d/a", func(m *Meta) { m.Row, m.Asked = "row", time.Now() })
	}, allNoted, ""},
	{"a 404 does not", func(t *testing.T, tree *Tree) {
		m := meta()
		m.Status = 404
		putMeta(t, tree, "/d/e/gone", "no", m)
		remove(t, tree, "/d/e/x?no", false)
	}, allNoted, ""},
	{"a key with a query does not", func(t *testing.T, tree *Tree) {
		put(t, tree, "/d/e/?C=N;O=D", "y")
		remove(t, tree, "/d/e/?C=N;O=D", false)
	}, allNoted, ""},
	{"the same listing once more does not", func(t *testing.T, tree *Tree) {
		putMeta(t, tree, "/d/e/", indexPage("/d/e/", "b"), indexMeta("/d/e/"))
	}, allNoted, ""},
	{"a listing that says the same in other words does not", func(t *testing.T, tree *Tree) {
		page := strings.Replace(indexPage("/d/e/", "b"), "</body>", "<hr></body>", 1)
		putMeta(t, tree, "/d/e/", page, indexMeta("/d/e/"))
	}, allNoted, ""},
}

func TestWhatDropsANote(t *testing.T) {
	for _, c := range doings {
		t.Run(c.claim, func(t *testing.T) {
			tree := noteAll(t)
			dirs := []string{"/", "/d/", "/d/e/", "/f/"}
			var before []uint64
			for _, dir := range dirs {
				before = append(before, tree.Changes(key(t, dir)))
			}
			c.do(t, tree)
			if got := noted(t, tree); got != c.want {
				t.Errorf("noted = %q, want %q", got, c.want)
			}
			same := cmp.Or(c.kept, c.want)
			for i, dir := range dirs {
				kept := " "+same+" " != strings.ReplaceAll(" "+same+" ", " "+dir+" ", "")
				if same := tree.Changes(key(t, dir)) == before[i]; same != kept {
					t.Errorf("Changes of %s is the same: %v, want %v", dir, same, kept)
				}
			}
		})
	}
}

func TestANoteDoesNotComeBackFromTheTrash(t *testing.T) {
	tree := noteAll(t)
	retire(t, tree, "/d/e/", true, 3)
	for _, dir := range []string{"/", "/d/"} {
		note(t, tree, dir, "without e")
	}
	before := tree.Changes(key(t, "/d/e/"))
	if n, err := tree.Restore(key(t, "/d/e/"), true); n != 3 || err != nil {
		t.Fatalf("Restore = %d, %v, want 3", n, err)
	}
	if got := noted(t, tree); got != "/f/" {
		t.Errorf("noted after Restore = %q, want /f/", got)
	}
	if tree.Changes(key(t, "/d/e/")) == before {
		t.Error("Changes does not tell of Restore")
	}
}

func TestRecogniseDropsNotes(t *testing.T) {
	tree := open(t, Config{})
	m := indexMeta("/d/")
	m.Listing = false
	putMeta(t, tree, "/d/", indexPage("/d/", "a"), m)
	note(t, tree, "/", "no listing")
	e, err := tree.Open(key(t, "/d/"), nil)
	must(t, err)
	defer e.Close()
	if ok, err := tree.Recognise(e); !ok || err != nil {
		t.Fatalf("Recognise = %v, %v", ok, err)
	}
	if got := noted(t, tree); got != "" {
		t.Errorf("noted after Recognise = %q, want none", got)
	}
}

func remove(t testing.TB, tree *Tree, path string, recursive bool) {
	t.Helper()
	_, err := tree.Remove(key(t, path), recursive)
	must(t, err)
}

func retire(t testing.TB, tree *Tree, path string, recursive bool, want int) {
	t.Helper()
	if n, _, err := tree.Retire(key(t, path), recursive); n != want || err != nil {
		t.Fatalf("Retire %s = %d, %v, want %d", path, n, err, want)
	}
}

func trimmed(t testing.TB, tree *Tree, p place) {
	t.Helper()
	if !tree.removeIf(p, func(identity) bool { return true }) {
		t.Fatalf("nothing was removed at %s", p)
	}
}

func TestANoteIsKept(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/d/a", "x")
	before := tree.Changes(key(t, "/d/"))
	put(t, tree, "/d/b", "x")
	if ok, err := tree.Note(key(t, "/d/"), []byte("x"), before); ok || err != nil {
		t.Errorf("Note after a change = %v, %v, want it refused", ok, err)
	}
	if ok, err := tree.Note(key(t, "/none/"), nil, tree.Changes(key(t, "/none/"))); ok || err != nil {
		t.Errorf("Note of what is not held = %v, %v, want it refused", ok, err)
	}
	if ok, err := tree.Note(key(t, "/d/"), make([]byte, longestNote+1), tree.Changes(key(t, "/d/"))); ok || err == nil {
		t.Errorf("Note of too much = %v, %v, want an error", ok, err)
	}
	want := strings.Repeat("n", longestNote)
	note(t, tree, "/d", want)
	must(t, tree.Close())
	tree = open(t, Config{Dir: dir})
	if got, err := tree.Noted(key(t, "/d/")); err != nil || string(got) != want {
		t.Errorf("Noted after a restart = %q, %v", got, err)
	}
	put(t, tree, "/d/c", "x") // this process has not seen the note
	if got, err := tree.Noted(key(t, "/d/")); err != nil || got != nil {
		t.Errorf("Noted after a restart and a change = %q, %v, want none", got, err)
	}
	note(t, tree, "/d", "")
	if got, err := tree.Noted(key(t, "/d/")); err != nil || got == nil || len(got) > 0 {
		t.Errorf("Noted of an empty note = %q, %v, want it empty and not nil", got, err)
	}
}

func TestANoteIsOfOneDirectory(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/d/a", "x")
	put(t, tree, "/e/a", "x")
	note(t, tree, "/d/", "x")
	must(t, os.Rename(filepath.Join(tree.Dir, "hub/d"), filepath.Join(tree.Dir, "hub/moved")))
	if got, err := tree.Noted(key(t, "/moved/")); got != nil || err != nil {
		t.Errorf("Noted of a directory that was renamed by hand = %q, %v, want none", got, err)
	}
	note(t, tree, "/e/", "x")
	if out, err := exec.Command("cp", "-a", filepath.Join(tree.Dir, "hub/e"), filepath.Join(tree.Dir, "hub/copy")).CombinedOutput(); err != nil {
		t.Fatalf("cp: %s: %v", out, err)
	}
	must(t, os.Rename(filepath.Join(tree.Dir, "hub/e"), filepath.Join(tree.Dir, "hub/old")))
	must(t, os.Rename(filepath.Join(tree.Dir, "hub/copy"), filepath.Join(tree.Dir, "hub/e")))
	var buf [100]byte
	if _, err := unix.Getxattr(filepath.Join(tree.Dir, "hub/e"), noteAttribute, buf[:]); err != nil {
		t.Fatalf("cp -a left the attribute out: %v", err)
	}
	if got, err := tree.Noted(key(t, "/e/")); got != nil || err != nil {
		t.Errorf("Noted of a copy = %q, %v, want none", got, err)
	}
}

// TestNotesAndChangesRace lets a walker note what it saw while others publish: a note that stands must be of what is held.
func TestNotesAndChangesRace(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/d/a", "0")
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				since := tree.Changes(key(t, "/d/"))
				saw := disk(tree, "hub/d/a")
				if _, err := tree.Note(key(t, "/d/"), []byte(saw), since); err != nil {
					t.Error(err)
				}
				tree.names.Lock() // nothing changes between the two looks
				got, err := tree.Noted(key(t, "/d/"))
				if held := disk(tree, "hub/d/a"); err != nil || got != nil && string(got) != held {
					t.Errorf("noted %q, %v, held %q", got, err, held)
				}
				tree.names.Unlock()
			}
		})
	}
	for i := range 300 {
		if i%7 == 0 {
			retire(t, tree, "/d/", true, 1)
		}
		put(t, tree, "/d/a", fmt.Sprint(i))
	}
	close(stop)
	wg.Wait()
}

func disk(tree *Tree, name string) string {
	b, err := os.ReadFile(filepath.Join(tree.Dir, name))
	if err != nil {
		return "-"
	}
	return string(b)
}

func TestNotelessDirectoriesAreBounded(t *testing.T) {
	tree := open(t, Config{})
	tree.names.Lock()
	defer tree.names.Unlock()
	for i := range mostNoteless + 10 {
		must(t, tree.unnote(place(fmt.Sprintf("hub/%d", i))))
	}
	if n := len(tree.notes.none); n > mostNoteless {
		t.Errorf("%d directories are remembered, want at most %d", n, mostNoteless)
	}
}

func BenchmarkPublish(b *testing.B) {
	tree := open(b, Config{})
	m := meta()
	i := 0
	for b.Loop() {
		putMeta(b, tree, fmt.Sprintf("/pub/linux/kernel/v%d.x/file%d", i%100, i), "body", m)
		i++
	}
}
