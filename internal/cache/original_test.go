package cache

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/listing"
)

// putOriginal stores an original.
func putOriginal(t *testing.T, tree *Tree, path, body string) {
	t.Helper()
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	store(t, tree, path, body, &Meta{
		Status: http.StatusOK, Size: int64(len(body)), Received: time.Now(), Limit: -1, Original: true,
		Header: http.Header{"Last-Modified": {when.Format(http.TimeFormat)}, "Content-Type": {"text/plain"}},
	})
}

// fetched stores what came from upstream.
func fetched(t *testing.T, tree *Tree, path, body string) {
	t.Helper()
	store(t, tree, path, body, &Meta{Status: http.StatusOK, Size: int64(len(body)), Received: time.Now(), Limit: -1, Header: http.Header{"Etag": {`"up"`}}})
}

func store(t *testing.T, tree *Tree, path, body string, m *Meta) {
	t.Helper()
	if err := tryStore(tree, hubKey(t, path), body, m); err != nil {
		t.Fatalf("store %s: %v", path, err)
	}
}

func tryStore(tree *Tree, key Key, body string, m *Meta) error {
	d, err := tree.Create(key, m)
	if err != nil {
		return err
	}
	if _, err := d.Write([]byte(body)); err != nil {
		d.Discard(err)
		return err
	}
	e, err := d.Commit(m)
	if err != nil {
		return err
	}
	return e.Close()
}

func hubKey(t *testing.T, path string) Key {
	t.Helper()
	k, err := ParseKey("hub", path, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// heldBody is what Open gives: "-" when nothing is stored, and an asterisk behind the body of an original.
func heldBody(t *testing.T, tree *Tree, path string) string {
	t.Helper()
	e, err := tree.Open(hubKey(t, path), nil)
	if errors.Is(err, ErrNotStored) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	b := make([]byte, e.Size())
	if n, _ := e.ReadAt(b, 0); n != len(b) {
		t.Fatalf("read %s: %d of %d bytes", path, n, len(b))
	}
	if e.Meta.Original {
		return string(b) + "*"
	}
	return string(b)
}

func openAt(t *testing.T, dir string, c Config) *Tree {
	t.Helper()
	c.Dir = dir
	tree, err := OpenTree(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func TestOriginalsStayWhateverIsRemoved(t *testing.T) {
	all := []string{"/a", "/a/b", "/d/one", "/d/sub/deep", "/d/.zcache-odd"}
	others := []string{"/d/two", "/d/sub/other", "/e"}
	for _, row := range []struct {
		claim string
		do    func(tree *Tree) error
		gone  []string
	}{
		{"a purge of all", func(tree *Tree) error { _, err := tree.Remove(hubKey(t, "/"), true); return err }, others},
		{"a purge of a directory", func(tree *Tree) error { _, err := tree.Remove(hubKey(t, "/d/"), true); return err }, others[:2]},
		{"a purge of one path", func(tree *Tree) error { _, err := tree.Remove(hubKey(t, "/d/one"), false); return err }, nil},
		{"a walk that retires all", func(tree *Tree) error { _, _, err := tree.Retire(hubKey(t, "/"), true); return err }, others},
		{"a walk that retires a directory", func(tree *Tree) error { _, _, err := tree.Retire(hubKey(t, "/d/"), true); return err }, others[:2]},
		{"a walk that retires one path", func(tree *Tree) error { _, _, err := tree.Retire(hubKey(t, "/a"), false); return err }, nil},
		{"a document of its directory's name that is retired", func(tree *Tree) error { _, _, err := tree.Retire(hubKey(t, "/a"), true); return err }, nil},
	} {
		t.Run(row.claim, func(t *testing.T) {
			tree := openAt(t, t.TempDir(), Config{})
			for _, path := range all {
				putOriginal(t, tree, path, "original "+path)
			}
			for _, path := range others {
				fetched(t, tree, path, "fetched "+path)
			}
			if err := row.do(tree); err != nil {
				t.Fatal(err)
			}
			for _, path := range all {
				if got, want := heldBody(t, tree, path), "original "+path+"*"; got != want {
					t.Errorf("Open %s = %q, want %q", path, got, want)
				}
			}
			for _, path := range others {
				want := "fetched " + path
				if slices.Contains(row.gone, path) {
					want = "-"
				}
				if got := heldBody(t, tree, path); got != want {
					t.Errorf("Open %s = %q, want %q", path, got, want)
				}
			}
		})
	}
}

func TestNothingFromUpstreamTakesAnOriginalsPlace(t *testing.T) {
	tree := openAt(t, t.TempDir(), Config{})
	key := hubKey(t, "/d/a")
	m := &Meta{Status: http.StatusOK, Size: -1, Received: time.Now(), Limit: -1, Header: http.Header{}}
	early, err := tree.Create(key, m)
	if err != nil {
		t.Fatal(err)
	}
	early.Write([]byte("fetched"))
	putOriginal(t, tree, "/d/a", "mine")
	if _, err := early.Commit(m); !errors.Is(err, ErrOriginal) {
		t.Errorf("Commit of a fill that was under way = %v, want ErrOriginal", err)
	}
	for _, status := range []int{200, 404, 301} {
		if _, err := tree.Create(key, &Meta{Status: status, Size: -1, Limit: -1}); !errors.Is(err, ErrOriginal) {
			t.Errorf("Create of status %d = %v, want ErrOriginal", status, err)
		}
	}
	e, err := tree.Open(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := tree.Freshen(e, m); err != nil {
		t.Fatal(err)
	}
	if got := heldBody(t, tree, "/d/a"); got != "mine*" {
		t.Errorf("Open = %q, want the original", got)
	}
	putOriginal(t, tree, "/d/a", "mine, again")
	if got := heldBody(t, tree, "/d/a"); got != "mine, again*" {
		t.Errorf("Open after a second put = %q, want that", got)
	}
	putOriginal(t, tree, "/d/b", "mine")
	fetched(t, tree, "/d/c", "fetched")
	putOriginal(t, tree, "/d/c", "in its place")
	if got := heldBody(t, tree, "/d/c"); got != "in its place*" {
		t.Errorf("Open of what was fetched before = %q, want the original", got)
	}
}

func TestOriginalsAreKnownAfterARestart(t *testing.T) {
	dir := t.TempDir()
	long := "/x/" + strings.Repeat("n", 240)
	tree := openAt(t, dir, Config{})
	for _, path := range []string{"/d/a%20b", long, "/__content/a"} {
		putOriginal(t, tree, path, path)
	}
	tree.Close()
	tree = openAt(t, dir, Config{})
	for _, path := range []string{"/d/a%20b", long, "/__content/a"} {
		if !tree.IsOriginal(hubKey(t, path)) || heldBody(t, tree, path) != path+"*" {
			t.Errorf("%s: IsOriginal %v, Open %q, want the original", path, tree.IsOriginal(hubKey(t, path)), heldBody(t, tree, path))
		}
	}
	tree.Close()

	t.Run("a copied folder tells of its own when it is opened", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(dir, originalsDir)); err != nil {
			t.Fatal(err)
		}
		tree := openAt(t, dir, Config{})
		key := hubKey(t, long)
		if tree.IsOriginal(key) {
			t.Fatal("known before it was opened: the mark is there still")
		}
		if got := heldBody(t, tree, long); got != long+"*" || !tree.IsOriginal(key) {
			t.Errorf("Open = %q, IsOriginal %v, want the original, known", got, tree.IsOriginal(key))
		}
		if l, _ := tree.WithOriginals(hubKey(t, "/x/"), nil); l == nil || len(l.Entries) != 1 {
			t.Errorf("WithOriginals = %+v, want one entry", l)
		}
	})
	t.Run("a mark without a body is forgotten", func(t *testing.T) {
		if err := os.Remove(filepath.Join(dir, "hub", "x", strings.TrimPrefix(long, "/x/"))); err != nil {
			t.Fatal(err)
		}
		tree := openAt(t, dir, Config{})
		fetched(t, tree, long, "fetched")
		if got := heldBody(t, tree, long); got != "fetched" || tree.IsOriginal(hubKey(t, long)) {
			t.Errorf("Open = %q, IsOriginal %v, want what was fetched", got, tree.IsOriginal(hubKey(t, long)))
		}
	})
}

func TestAnOriginalEditedByHandStaysOne(t *testing.T) {
	dir := t.TempDir()
	tree := openAt(t, dir, Config{})
	putOriginal(t, tree, "/d/a", "mine")
	putOriginal(t, tree, "/d/b", "mine")
	name := filepath.Join(dir, "hub/d/a")
	if err := os.WriteFile(name, []byte("edited in place"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".new", []byte("replaced"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", filepath.Join(dir, "hub/d/b")); err != nil {
		t.Fatal(err)
	}
	tree.table.dropIf(func(Key) bool { return true })
	for path, want := range map[string]string{"/d/a": "edited in place*", "/d/b": "replaced*"} {
		if got := heldBody(t, tree, path); got != want {
			t.Errorf("Open %s = %q, want %q", path, got, want)
		}
		if err := tryStore(tree, hubKey(t, path), "up", &Meta{Status: 200, Size: 2, Limit: -1}); !errors.Is(err, ErrOriginal) {
			t.Errorf("store over %s = %v, want ErrOriginal", path, err)
		}
	}
}

func TestRetiredOriginalComesBack(t *testing.T) {
	tree := openAt(t, t.TempDir(), Config{})
	putOriginal(t, tree, "/d/a", "mine")
	key := hubKey(t, "/d/a")
	if err := tree.RetireOriginal(key); err != nil {
		t.Fatal(err)
	}
	if got := heldBody(t, tree, "/d/a"); got != "-" || tree.IsOriginal(key) {
		t.Fatalf("after RetireOriginal: Open %q, IsOriginal %v, want neither", got, tree.IsOriginal(key))
	}
	if err := tree.RetireOriginal(key); !errors.Is(err, ErrNotStored) {
		t.Errorf("RetireOriginal again = %v, want ErrNotStored", err)
	}
	fetched(t, tree, "/d/b", "up")
	if err := tree.RetireOriginal(hubKey(t, "/d/b")); !errors.Is(err, ErrNotStored) || heldBody(t, tree, "/d/b") != "up" {
		t.Errorf("RetireOriginal of what was fetched = %v, want ErrNotStored, and it stays", err)
	}
	if n, err := tree.Restore(key, false); n != 1 || err != nil {
		t.Fatalf("Restore = %d, %v, want 1", n, err)
	}
	if got := heldBody(t, tree, "/d/a"); got != "mine*" || !tree.IsOriginal(key) {
		t.Errorf("after Restore: Open %q, IsOriginal %v, want the original", got, tree.IsOriginal(key))
	}
	t.Run("without a trash it is gone", func(t *testing.T) {
		tree := openAt(t, t.TempDir(), Config{TrashTTL: -1})
		putOriginal(t, tree, "/a", "mine")
		if err := tree.RetireOriginal(hubKey(t, "/a")); err != nil {
			t.Fatal(err)
		}
		if n, err := tree.Restore(hubKey(t, "/a"), false); n != 0 || err != nil {
			t.Errorf("Restore = %d, %v, want 0", n, err)
		}
	})
}

func TestTrimSparesOriginals(t *testing.T) {
	dir := t.TempDir()
	body := strings.Repeat("x", 64<<10)
	tree := openAt(t, dir, Config{MaxSize: 160 << 10})
	putOriginal(t, tree, "/d/mine", body)
	putOriginal(t, tree, "/d/unmarked", body)
	fetched(t, tree, "/d/theirs", body)
	tree.originals.drop(hubKey(t, "/d/unmarked")) // as if its mark were lost
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"mine", "unmarked", "theirs"} {
		st, err := os.Stat(filepath.Join(dir, "hub/d", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "hub/d", name), old, st.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	tree.table.dropIf(func(Key) bool { return true })
	if _, err := tree.Trim(context.Background()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/d/mine": body + "*", "/d/unmarked": body + "*", "/d/theirs": "-"} {
		if got := heldBody(t, tree, path); got != want {
			t.Errorf("Open %s has %d bytes, want %d", path, len(got), len(want))
		}
	}
	if err := tree.scan(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := tree.originals.bytes.Load(); got < 128<<10 {
		t.Errorf("a scan finds %d bytes of originals, want at least 128 KiB", got)
	}
	if err := tryStore(tree, hubKey(t, "/d/more"), body, &Meta{Status: 200, Size: int64(len(body)), Limit: -1, Original: true}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("an original too many = %v, want ErrNoSpace", err)
	}
	if err := tryStore(tree, hubKey(t, "/d/more"), body, &Meta{Status: 200, Size: -1, Limit: -1, Original: true}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("one of unknown length = %v, want ErrNoSpace", err)
	}
	putOriginal(t, tree, "/d/small", strings.Repeat("x", 24<<10))
	if err := tree.Health(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Health with originals in nearly all there may be = %v, want ErrNoSpace", err)
	}
}

func TestWithOriginals(t *testing.T) {
	tree := openAt(t, t.TempDir(), Config{})
	for path, body := range map[string]string{"/d/a": "1", "/d/new": "22", "/d/sub/x": "333", "/d/listed/y": "4", "/d/both": "5", "/d/both/z": "6", "/d/filed/w": "7"} {
		putOriginal(t, tree, path, body)
	}
	up := &listing.Listing{Entries: []listing.Entry{
		{Name: "a", Kind: listing.File, Size: 99}, {Name: "filed", Kind: listing.File, Size: 1}, {Name: "listed", Kind: listing.Dir, Size: -1, Target: "kept"},
		{Name: "z", Kind: listing.File, Size: 5},
	}}
	l, sum := tree.WithOriginals(hubKey(t, "/d/"), up)
	var got []string
	for _, e := range l.Entries {
		s := e.Name
		if e.Kind == listing.Dir {
			s += "/" + e.Target
		}
		if e.SizeExact {
			s += "=" + string(rune('0'+e.Size)) + e.ModTime.Format("@15:04:05")
		}
		got = append(got, s)
	}
	if want := []string{"a=1@05:06:07", "both/", "filed/", "listed/kept", "new=2@05:06:07", "sub/", "z"}; !slices.Equal(got, want) || sum == nil {
		t.Errorf("WithOriginals = %q, digest %x, want %q", got, sum, want)
	}
	if len(up.Entries) != 4 || up.Entries[0].Size != 99 {
		t.Error("WithOriginals changed the listing that it was given, which others read")
	}
	if l, sum := tree.WithOriginals(hubKey(t, "/elsewhere/"), up); l != up || sum != nil {
		t.Errorf("WithOriginals where there are none = %v, %x, want the same listing", l, sum)
	}
	if l, sum := tree.WithOriginals(hubKey(t, "/elsewhere/"), nil); l != nil || sum != nil {
		t.Errorf("WithOriginals of nothing = %v, want nil", l)
	}
	putOriginal(t, tree, "/d/a", "2")
	if _, other := tree.WithOriginals(hubKey(t, "/d/"), up); string(other) == string(sum) {
		t.Error("another body leaves the digest, want another")
	}
	digest, ok := tree.OriginalsDigest(hubKey(t, "/d/sub/"))
	var h listing.SubtreeHash
	m, _, err := tree.Peek(hubKey(t, "/d/sub/x"))
	if err != nil {
		t.Fatal(err)
	}
	h.File("x", 3, modified(m), m.ETag(), m.SHA256)
	if !ok || digest != h.Sum() {
		t.Errorf("OriginalsDigest = %x, %v, want %x", digest, ok, h.Sum())
	}
	fetched(t, tree, "/d/listed/other", "up")
	ctx := context.Background()
	for dir, want := range map[string]bool{"/d/sub/": true, "/d/listed/": false, "/d/": false, "/none/": false, "/d/filed/": true} {
		if got := tree.OnlyOriginals(ctx, hubKey(t, dir)); got != want {
			t.Errorf("OnlyOriginals(%s) = %v, want %v", dir, got, want)
		}
	}
}

func TestHalfAnOriginalIsNoDraftToResume(t *testing.T) {
	dir := t.TempDir()
	tree := openAt(t, dir, Config{})
	d, err := tree.Create(hubKey(t, "/a"), &Meta{Status: 200, Size: 10, Limit: -1, Original: true, Header: http.Header{"Etag": {`"x"`}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	tree.Close() // as if the process had ended there
	tree = openAt(t, dir, Config{})
	if d := tree.Resume(hubKey(t, "/a")); d != nil {
		d.Discard(nil)
		t.Error("Resume gives the half of an original to whoever fetches that path")
	}
	left, err := os.ReadDir(filepath.Join(dir, draftsDir))
	if err != nil || len(left) > 0 {
		t.Errorf("%d drafts are left, %v, want none", len(left), err)
	}
}

func TestListable(t *testing.T) {
	for path, want := range map[string]bool{
		"/a": true, "/a/b+c": true, "/a%20b": true, "/%C3%BC": true, "/": false, "/a/": false, "/a//b": false, "/a%2Fb": false, "/a%2bb": false, "/a%2Bb": false,
		"/%c3%bc": false, "/a b": false,
	} {
		if got := hubKey(t, path).Listable(); got != want {
			t.Errorf("Listable of %s = %v, want %v", path, got, want)
		}
	}
	if k, err := ParseKey("hub", "/a", "", true); err != nil || k.Listable() {
		t.Errorf("Listable of a Key with a query = true, want false (%v)", err)
	}
}

func TestPutsAndDeletesOfOnePath(t *testing.T) {
	tree := openAt(t, t.TempDir(), Config{})
	key := hubKey(t, "/d/a")
	done := make(chan error)
	for i := range 4 {
		go func() {
			var err error
			for range 25 {
				body := strings.Repeat(string(rune('a'+i)), 1000)
				err = errors.Join(err, tryStore(tree, key, body, &Meta{Status: 200, Size: 1000, Limit: -1, Original: true}))
				if rerr := tree.RetireOriginal(key); i == 0 && !errors.Is(rerr, ErrNotStored) {
					err = errors.Join(err, rerr)
				}
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	got := heldBody(t, tree, "/d/a")
	if is := got != "-"; is != tree.IsOriginal(key) {
		t.Errorf("Open = %.10q, IsOriginal %v: they disagree", got, tree.IsOriginal(key))
	}
	if got != "-" && got != strings.Repeat(got[:1], 1000)+"*" {
		t.Errorf("Open = %.20q…, want one body, whole", got)
	}
	if _, err := os.Stat(filepath.Join(tree.Dir, originalsDir)); err != nil {
		t.Error(err)
	}
}
