package cache

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

func TestStartSaysWhatItFinds(t *testing.T) {
	for _, c := range []struct {
		claim   string
		prepare func(dir string) error
		noInit  bool
		log     string // said, when it opens
		err     string // else
	}{
		{"a missing root is made", os.Remove, false, "making a new root", ""},
		{"an empty root is initialised", func(string) error { return nil }, false, "initialising an empty root", ""},
		{"files that were there are adopted", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/hub", 0o700), os.WriteFile(dir+"/hub/a", []byte("there"), 0o600))
		}, false, "adopting", ""},
		{"an unmounted disk is no empty cache", func(string) error { return nil }, true, "", "--no-init"},
		{"a missing root is no empty cache", os.Remove, true, "", "--no-init"},
		{"a root from the future is refused", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/.zcache", 0o700), os.WriteFile(dir+"/.zcache/format", []byte("2\n"), 0o600))
		}, false, "", "newer version"},
		{"a format that is none is refused", func(dir string) error {
			return errors.Join(os.Mkdir(dir+"/.zcache", 0o700), os.WriteFile(dir+"/.zcache/format", []byte("x"), 0o600))
		}, false, "", "no format version"},
		{"a root that is a file is refused", func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}, false, "", "not a directory"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			dir := t.TempDir() + "/root"
			must(t, os.Mkdir(dir, 0o700))
			must(t, c.prepare(dir))
			var log bytes.Buffer
			tree, err := OpenTree(Config{Dir: dir, NoInit: c.noInit, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
					t.Errorf("OpenTree: %v, want one line with the root and %q", err, c.err)
				}
				return
			}
			must(t, err)
			if !strings.Contains(log.String(), c.log) {
				t.Errorf("log %q, want %q", log.String(), c.log)
			}
			tree.Close()
			again, err := OpenTree(Config{Dir: dir, NoInit: true})
			must(t, err)
			again.Close()
		})
	}
}

func TestRootIsHeldByOne(t *testing.T) {
	tree := open(t, Config{})
	if _, err := OpenTree(Config{Dir: tree.Dir}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("a second OpenTree: %v, want ErrLocked", err)
	}
	if _, err := OpenTree(Config{Dir: tree.Dir + "x", NoInit: true}); err == nil {
		t.Error("OpenTree of nothing: no error")
	}
}

// mount puts a small file system at a new directory until the test ends.
func mount(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getuid() == 0 {
			t.Logf("cannot mount a tmpfs even as root: %v", err)
		}
		t.Fatalf("this test mounts a tmpfs: run it as root (%v)", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestAFullDiskTakesNoMoreAndServesOn(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Dir: mount(t, "8m"), Now: c.now, High: 99, Low: 90})
	put(t, tree, "/a", "body")
	big := meta()
	big.Size = 7900 << 10
	if _, err := tree.Create(key(t, "/big"), big); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Create of what would take the reserve: %v, want ErrNoSpace", err)
	}
	half := meta()
	half.Size = 4 << 20
	first, err := tree.Create(key(t, "/1"), half)
	must(t, err)
	if _, err := tree.Create(key(t, "/2"), half); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Create of what is promised to another: %v, want ErrNoSpace", err)
	}
	first.Discard(nil)
	d, err := tree.Create(key(t, "/2"), meta())
	must(t, err)
	section := d.Section(t.Context(), 0, -1)
	var werr error
	written := 0
	for werr == nil {
		var n int
		n, werr = d.Write(make([]byte, 64<<10))
		written += n
	}
	if !errors.Is(werr, ErrNoSpace) {
		t.Errorf("Write on a full disk: %v, want ErrNoSpace", werr)
	}
	if err := tree.Health(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Health on a full disk: %v, want ErrNoSpace", err)
	}
	if got := get(t, tree, "/a"); got != "body" {
		t.Errorf("a full disk serves %q", got)
	}
	d.Discard(werr)
	if b, err := io.ReadAll(section); len(b) != written || !errors.Is(err, ErrNoSpace) {
		t.Errorf("a reader got %d of %d bytes, %v", len(b), written, err)
	}
	section.Close() // the last that held the space
	c.advance(time.Second)
	if err := tree.Health(); err != nil {
		t.Errorf("Health after the draft is gone: %v", err)
	}
	put(t, tree, "/2", "fits")
}

func TestAReadOnlyDiskServesOn(t *testing.T) {
	c := &clock{}
	dir := mount(t, "8m")
	tree := open(t, Config{Dir: dir, Now: c.now})
	put(t, tree, "/a", "body")
	// The lock is open for writing, as it would be on a disk that the kernel made read-only after an error; a remount by hand
	// wants it closed.
	must(t, tree.lock.Close())
	remount := func(flags uintptr) {
		t.Helper()
		must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|flags, ""))
		c.advance(time.Second)
	}
	must(t, tree.Health())
	remount(unix.MS_RDONLY)
	if _, err := tree.Create(key(t, "/b"), meta()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Create: %v, want ErrReadOnly", err)
	}
	if err := tree.Health(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Health: %v, want ErrReadOnly", err)
	}
	if got := get(t, tree, "/a"); got != "body" {
		t.Errorf("it serves %q", got)
	}
	if e, err := tree.Open(key(t, "/a"), nil); err == nil {
		if err := tree.Freshen(e, meta()); !errors.Is(err, ErrReadOnly) {
			t.Errorf("Freshen: %v, want ErrReadOnly", err)
		}
		e.Close()
	}
	if _, err := OpenTree(Config{Dir: dir}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("OpenTree: %v, want ErrReadOnly", err)
	}
	remount(0)
	must(t, tree.Health())
	put(t, tree, "/b", "again")
}

func TestARootThatWentAwayTakesNothing(t *testing.T) {
	c := &clock{}
	dir := t.TempDir() + "/root"
	tree := open(t, Config{Dir: dir, Now: c.now})
	put(t, tree, "/a", "body")
	refuses := func(claim string) {
		t.Helper()
		c.advance(time.Second)
		if _, err := tree.Create(key(t, "/b"), meta()); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: Create: %v, want ErrReadOnly", claim, err)
		}
		if err := tree.Health(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: Health: %v, want ErrReadOnly", claim, err)
		}
		if got := get(t, tree, "/a"); got != "body" {
			t.Errorf("%s: it serves %q", claim, got)
		}
	}
	must(t, os.Rename(dir, dir+"2"))
	refuses("moved away")
	must(t, os.Mkdir(dir, 0o700))
	refuses("another directory in its place")
	must(t, os.Remove(dir))
	must(t, os.Rename(dir+"2", dir))
	c.advance(time.Second)
	must(t, tree.Health())
	put(t, tree, "/b", "again")
}

func TestUpstreamsAreNotedBesideTheFiles(t *testing.T) {
	dir := t.TempDir()
	tree, err := OpenTree(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, lines := range [][]string{{"https://a.example/pub"}, {"https://a.example/pub", "https://b.example/pub"}} {
		if err := tree.NoteUpstreams("kernel", lines); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "kernel", upstreamName))
		if want := strings.Join(lines, "\n") + "\n"; err != nil || string(got) != want {
			t.Errorf("after NoteUpstreams(%q): %q, %v", lines, got, err)
		}
	}
	n := 0
	key, err := ParseKey("kernel", "/", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.List(t.Context(), key, func(k Key, _ Info) bool { n++; return true }); err != nil || n != 0 {
		t.Errorf("List finds %d entries, %v; the note is none", n, err)
	}
}
