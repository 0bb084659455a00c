package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reboot makes the root at dir one that another boot of the machine wrote to last, which synced at that time.
func reboot(t *testing.T, dir string, synced time.Time) {
	t.Helper()
	must(t, os.WriteFile(dir+"/"+bootFile, fmt.Appendf(nil, "another-boot %d\n", synced.UnixNano()), 0o600))
}

// cut makes the entry at path too short, as a file system leaves it that writes lengths later than names.
func cut(t *testing.T, dir, path string, size int64) {
	t.Helper()
	must(t, os.Truncate(dir+"/hub"+path, size))
	must(t, os.Chtimes(dir+"/hub"+path, time.Time{}, time.Unix(1735689600, 0)))
}

func TestABodyThatLostItsEndIsTorn(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	for _, p := range []string{"/short", "/empty", "/edited", "/unasked", "/whole"} {
		put(t, tree, p, "0123456789")
	}
	tree.Close()
	cut(t, dir, "/short", 5)
	cut(t, dir, "/empty", 0)
	cut(t, dir, "/unasked", 0)
	must(t, os.WriteFile(dir+"/hub/edited", []byte("by hand"), 0o600))
	reboot(t, dir, time.Now().Add(-time.Minute))
	next := open(t, Config{Dir: dir})
	for p, want := range map[string]string{"/short": "-", "/empty": "-", "/edited": "adopted: by hand", "/whole": "0123456789"} {
		if got := get(t, next, p); got != want {
			t.Errorf("%s = %q, want %q", p, got, want)
		}
	}
	must(t, next.scan(t.Context()))
	if exists(dir+"/hub/short") || exists(dir+"/hub/unasked") || !exists(dir+"/hub/edited") {
		t.Errorf("on disk: short %v, unasked %v, edited %v", exists(dir+"/hub/short"), exists(dir+"/hub/unasked"), exists(dir+"/hub/edited"))
	}
}

func TestAMarkOfTheFutureVouchesForNothing(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/torn", "0123456789")
	tree.Close()
	cut(t, dir, "/torn", 0)
	reboot(t, dir, time.Now().Add(24*time.Hour)) // or the clock of this boot is behind
	next := open(t, Config{Dir: dir})
	if got := get(t, next, "/torn"); got != "-" {
		t.Errorf("got %q of a torn body", got)
	}
}

func TestDoubtStaysWhileSomethingCannotBeChecked(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/torn", strings.Repeat("x", smallBody+1))
	tree.Close()
	reboot(t, dir, time.Now().Add(-time.Minute))
	next := open(t, Config{Dir: dir})
	unlimit := fewDescriptors(t, 1)
	err := next.scan(t.Context())
	unlimit()
	if !errors.Is(err, unix.EMFILE) || !next.inDoubt() {
		t.Errorf("a scan that could open no body: %v, in doubt %v", err, next.inDoubt())
	}
	must(t, next.scan(t.Context()))
	if next.inDoubt() {
		t.Error("the doubt outlived the check")
	}
}

func TestUsesAndConfirmationsMoveTheMark(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	put(t, tree, "/a", "body")
	mark := func() time.Time {
		t.Helper()
		must(t, tree.sync())
		data, err := tree.root.ReadFile(bootFile, 1<<10)
		must(t, err)
		_, synced, _ := parseBoot(string(data))
		return synced
	}
	last := mark()
	for claim, change := range map[string]func(e *Entry) error{
		"Freshen": func(e *Entry) error { return tree.Freshen(e, e.Meta) },
		"Touch": func(e *Entry) error {
			tree.Touch(e)
			tree.flushTouches(t.Context())
			return nil
		},
	} {
		c.advance(2 * time.Hour)
		e, err := tree.Open(key(t, "/a"), nil)
		must(t, err)
		must(t, change(e))
		e.Close()
		now := mark()
		if !now.After(last) {
			t.Errorf("after %s the mark stays at %v: after a loss of power all that was used since would have to be read", claim, now)
		}
		last = now
	}
}

func TestABodyThatLostItsMetaToALossOfPowerIsTorn(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	m := meta()
	m.Header.Set("X-Big", strings.Repeat("v", 100000))
	putMeta(t, tree, "/a", "0123456789", m)
	tree.Close()
	cut(t, dir, "/a", 0)
	must(t, filepath.WalkDir(dir+"/"+overflowDir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		return os.Truncate(name, 0)
	}))
	reboot(t, dir, time.Now().Add(-time.Minute))
	if got := get(t, open(t, Config{Dir: dir}), "/a"); got != "-" {
		t.Errorf("got %q of a body that is torn as its overflow file is", got)
	}
}

func TestManyWhoWantABodyInDoubtAllGetIt(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("x", 4<<20)
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/a", big)
	tree.Close()
	reboot(t, dir, time.Now().Add(-time.Minute))
	next := open(t, Config{Dir: dir})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got := get(t, next, "/a"); got != big {
				t.Errorf("got %d bytes, want all %d", len(got), len(big))
			}
		})
	}
	all.Wait()
}
