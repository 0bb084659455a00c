package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNobodyGetsWhatIsNotHis lets all that changes the tree run at once, on keys that stand in each other's way. Every body names its key.
func TestNobodyGetsWhatIsNotHis(t *testing.T) {
	tree := open(t, Config{MaxSize: 1 << 20})
	before := descriptors(t)
	paths := []string{"/a", "/a/", "/a/b", "/a/b/c", "/a?q", "/a/b?q", "/big", "/big/x", "/" + strings.Repeat("n", 300)}
	ctx := t.Context()
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 60 {
				p := paths[(i*7+w)%len(paths)]
				storm(t, tree, p, i*4+w)
			}
		})
	}
	all.Go(func() {
		for i := range 20 {
			_, err := tree.Trim(ctx)
			must(t, errors.Join(err, tree.scan(ctx), tree.reapOverflows(ctx), tree.sync()))
			tree.flushTouches(ctx)
			tree.reapDrafts()
			if i%5 == 0 {
				must(t, tree.List(ctx, key(t, "/"), func(Key, Info) bool { return true }))
			}
		}
	})
	all.Wait()
	if _, err := tree.Remove(key(t, "/"), true); err != nil {
		t.Error(err)
	}
	must(t, tree.scan(ctx))
	if bytes, entries, _ := tree.Usage(); bytes != 0 || entries != 0 {
		t.Errorf("after all was purged %d bytes in %d entries are counted", bytes, entries)
	}
	for _, dir := range []string{draftsDir, tempDir, trashDir} {
		if left := names(t, tree.Dir+"/"+dir); len(left) != 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
	if n := overflowFiles(tree); n != 0 {
		t.Errorf("%d overflow files are left", n)
	}
	if tree.usage.reserved.Load() != 0 || tree.drafts.held() != 0 {
		t.Errorf("reserved %d, held by drafts %d", tree.usage.reserved.Load(), tree.drafts.held())
	}
	tree.table.dropIf(func(Key) bool { return true })
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// storm does one thing to p; i says which.
func storm(t *testing.T, tree *Tree, p string, i int) {
	k := key(t, p)
	size := 100
	if strings.HasPrefix(p, "/big") {
		size = smallBody + 100
	}
	m := meta()
	m.Header.Set("X-For", p)
	if i%3 == 0 {
		m.Header.Set("X-Big", strings.Repeat("v", 20000))
	}
	if i%4 == 0 {
		m.Vary = http.Header{"X-Lang": {fmt.Sprint(i % 3)}}
	}
	body := p + strings.Repeat("x", size)
	d, err := tree.Create(k, m)
	if err != nil {
		t.Errorf("Create %s: %v", p, err)
		return
	}
	_, err = io.WriteString(d, body)
	must(t, err)
	switch i % 5 {
	case 0:
		d.Suspend(nil)
		if r := tree.Resume(k); r != nil {
			r.Discard(nil)
		}
	case 1:
		d.Discard(nil)
	default:
		e, err := d.Commit(m)
		if err != nil {
			t.Errorf("Commit %s: %v", p, err)
			return
		}
		must(t, e.Close())
	}
	for lang := range 3 {
		e, err := tree.Open(k, http.Header{"X-Lang": {fmt.Sprint(lang)}})
		if errors.Is(err, ErrNotStored) {
			continue
		}
		if err != nil {
			t.Errorf("Open %s: %v", p, err)
			continue
		}
		s := e.Section(0, -1)
		got, err := io.ReadAll(s)
		if string(got) != body || err != nil || e.Adopted || e.Meta.Header.Get("X-For") != p {
			t.Errorf("%s holds %.40q, adopted %v, %v", p, got, e.Adopted, err)
		}
		tree.Touch(e)
		if i%2 == 0 {
			must(t, tree.Freshen(e, m))
		}
		s.Close()
		e.Close()
	}
	if i%9 == 0 {
		if _, err := tree.Remove(k, i%2 == 0); err != nil {
			t.Errorf("Remove %s: %v", p, err)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	return len(names(t, "/proc/self/fd"))
}

func TestNoLinkIsFollowedInOurOwnDirectories(t *testing.T) {
	for _, name := range []string{"drafts", "tmp", "trash", "odd", "other", "variants", "overflow", "boot", "format", "lock", ""} {
		outside := t.TempDir()
		must(t, os.WriteFile(outside+"/precious", []byte("1\n"), 0o600))
		dir := t.TempDir()
		tree := open(t, Config{Dir: dir})
		put(t, tree, "/a", "body")
		at, to := strings.TrimSuffix(dir+"/.zcache/"+name, "/"), outside
		if name == "boot" || name == "format" || name == "lock" {
			to += "/precious"
		}
		must(t, os.RemoveAll(at))
		must(t, os.Symlink(to, at))
		try := func(tree *Tree) {
			m := meta()
			m.Header.Set("X-Big", strings.Repeat("v", 100000))
			for _, p := range []string{"/b?q", "/a/c", "/d"} {
				for _, m.Status = range []int{200, 404} {
					d, err := tree.Create(key(t, p), m)
					if err != nil {
						continue
					}
					d.Write([]byte("body"))
					if e, err := d.Commit(m); err == nil {
						e.Close()
					}
				}
			}
			tree.Health()
			tree.scan(t.Context())
			tree.reapOverflows(t.Context())
			tree.reapDrafts()
			tree.sync()
			tree.Remove(key(t, "/d"), true)
			tree.Remove(key(t, "/"), true)
		}
		try(tree)
		tree.Close()
		if next, err := OpenTree(Config{Dir: dir}); err == nil {
			next.tidyAtStart(t.Context())
			try(next)
			next.Close()
		}
		b, err := os.ReadFile(outside + "/precious")
		if left := names(t, outside); string(b) != "1\n" || err != nil || len(left) != 1 {
			t.Errorf("a link at .zcache/%s was followed: %q, %v, %v", name, b, err, left)
		}
	}
}

func TestPurgeOfADocumentWithChildren(t *testing.T) {
	tree := open(t, Config{})
	all := []string{"/d", "/d/", "/d/e", "/d/e/f", "/d/e?q", "/d?q", "/d/.zcache", "/dd", "/d%2Fe"}
	fill := func() {
		for _, p := range all {
			put(t, tree, p, "body of "+p)
		}
	}
	for _, c := range []struct {
		path      string
		recursive bool
		gone      string
	}{
		{"/d", false, "/d"}, {"/d/", false, "/d/"}, {"/d/e", false, "/d/e"}, {"/d/e", true, "/d/e /d/e/f /d/e?q"},
		{"/d", true, "/d /d/ /d/e /d/e/f /d/e?q /d?q /d/.zcache"}, {"/d/", true, "/d /d/ /d/e /d/e/f /d/e?q /d?q /d/.zcache"}, {"/d?q", true, "/d?q"},
	} {
		fill()
		gone := strings.Fields(c.gone)
		n, err := tree.Remove(key(t, c.path), c.recursive)
		if n != len(gone) || err != nil {
			t.Errorf("Remove %s recursive %v = %d, %v, want %d", c.path, c.recursive, n, err, len(gone))
		}
		for _, p := range all {
			want := "body of " + p
			for _, g := range gone {
				if g == p {
					want = "-"
				}
			}
			if got := get(t, tree, p); got != want {
				t.Errorf("after Remove %s recursive %v: %s = %q, want %q", c.path, c.recursive, p, got, want)
			}
		}
	}
}

func TestADeviceOrAFifoIsNeitherServedNorTrimmed(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "body")
	tree.MaxSize = 1
	age(t, tree, "/a", time.Hour)
	must(t, unix.Mkfifo(tree.Dir+"/hub/fifo", 0o600))
	must(t, os.Symlink("a", tree.Dir+"/hub/link"))
	must(t, unix.Mknod(tree.Dir+"/hub/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	_, err := tree.Trim(t.Context())
	must(t, err)
	if exists(tree.Dir + "/hub/a") {
		t.Error("the entry was not trimmed")
	}
	for _, name := range []string{"fifo", "link", "null"} {
		if !exists(tree.Dir+"/hub/"+name) || get(t, tree, "/"+name) != "-" {
			t.Errorf("%s: on disk %v, served %q", name, exists(tree.Dir+"/hub/"+name), get(t, tree, "/"+name))
		}
	}
}

func TestADiskWithoutInodesLosesNothing(t *testing.T) {
	for inodes := 20; inodes < 40; inodes++ {
		dir := mount(t, fmt.Sprintf("8m,nr_inodes=%d", inodes))
		tree := open(t, Config{Dir: dir})
		before := descriptors(t)
		stored := map[string]string{}
		full := 0
		for i := 0; full < 6; i++ {
			p := fmt.Sprintf("/%d", i/5) + []string{"", "/x", "/x/y/z", "?q", "n/e/w/er"}[i%5]
			m := meta()
			if i%3 == 0 {
				m.Header.Set("X-Big", strings.Repeat("v", 100000))
			}
			d, err := tree.Create(key(t, p), m)
			var e *Entry
			if err == nil {
				_, err = io.WriteString(d, "body of "+p)
				must(t, err)
				e, err = d.Commit(m)
			}
			switch {
			case err == nil:
				stored[p] = "body of " + p
				e.Close()
			case errors.Is(err, ErrNoSpace):
				full++
			default:
				t.Fatalf("%d inodes: store %s: %v, want ErrNoSpace", inodes, p, err)
			}
		}
		tree.table.dropIf(func(Key) bool { return true })
		for p, want := range stored {
			if got := get(t, tree, p); got != want {
				t.Errorf("%d inodes: %s = %q, want %q", inodes, p, got, want)
			}
		}
		tree.table.dropIf(func(Key) bool { return true })
		if after := descriptors(t); after > before || tree.usage.reserved.Load() != 0 {
			t.Errorf("%d descriptors, %d before, %d bytes reserved", after, before, tree.usage.reserved.Load())
		}
		for _, of := range []string{draftsDir, tempDir, trashDir} {
			if left := names(t, dir+"/"+of); len(left) != 0 {
				t.Errorf("%d inodes: left in %s: %v", inodes, of, left)
			}
		}
		must(t, filepath.WalkDir(dir+"/hub", func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() && name != dir+"/hub" && len(names(t, name)) == 0 {
				t.Errorf("%d inodes: the empty directory %s is left", inodes, name)
			}
			return err
		}))
		tree.Close()
	}
}
