package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fewDescriptors takes all descriptors that the process may have but so many, until the returned function is called.
func fewDescriptors(t *testing.T, spare int) (giveBack func()) {
	t.Helper()
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 100, Max: old.Max}))
	var held []*os.File
	for {
		f, err := os.Open("/dev/null")
		if err != nil {
			break
		}
		held = append(held, f)
	}
	for _, f := range held[len(held)-spare:] {
		f.Close()
	}
	return func() {
		for _, f := range held {
			f.Close()
		}
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	}
}

func TestAnEntryPutBackWhileItWasComparedIsFound(t *testing.T) {
	c := &clock{}
	calls := 100
	var tree *Tree
	tree = open(t, Config{Now: func() time.Time {
		calls++
		if calls == 2 { // between the drop of the old slot and the next look: somebody else opens the new entry
			e, err := tree.Open(key(t, "/a"), nil)
			must(t, err)
			e.Close()
			c.advance(-time.Hour) // and this caller's time was taken before
			defer c.advance(time.Hour)
		}
		return c.now()
	}})
	put(t, tree, "/a", "old")
	get(t, tree, "/a")
	must(t, os.Remove(tree.Dir+"/hub/a"))
	must(t, os.WriteFile(tree.Dir+"/hub/a", []byte("new"), 0o600))
	must(t, os.Chtimes(tree.Dir+"/hub/a", time.Time{}, time.Unix(1735689600, 0)))
	c.advance(2 * trustFor)
	calls = 0
	if got := get(t, tree, "/a"); got != "adopted: new" {
		t.Errorf("got %q, want what lies there", got)
	}
}

func TestAFileJustEditedIsReadAgain(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/b", "body")
	must(t, os.WriteFile(tree.Dir+"/hub/a", []byte("one"), 0o600))
	must(t, os.Chtimes(tree.Dir+"/hub/a", time.Time{}, time.Now()))
	get(t, tree, "/a")
	if tree.table.look(key(t, "/a"), nil, tree.Now()).known {
		t.Error("a file is trusted that may be edited again without its times telling")
	}
}

func TestOtherPeoplesDirectoriesAreNotTrimmed(t *testing.T) {
	dir := t.TempDir()
	body := strings.Repeat("x", 100<<10)
	for _, name := range []string{"www/page", "kernel/copied"} {
		must(t, os.MkdirAll(dir+"/"+name[:strings.IndexByte(name, '/')], 0o700))
		must(t, os.WriteFile(dir+"/"+name, []byte(body), 0o600))
		must(t, os.Chtimes(dir+"/"+name, time.Now().Add(-1000*time.Hour), time.Unix(1735689600, 0)))
	}
	tree := open(t, Config{Dir: dir, MaxSize: 150 << 10})
	must(t, tree.NoteUpstreams("kernel", []string{"https://a.example/"}))
	put(t, tree, "/a", body)
	age(t, tree, "/a", time.Hour)
	must(t, tree.scan(t.Context()))
	if _, entries, _ := tree.Usage(); entries != 2 {
		t.Errorf("%d entries counted, want 2: no hub ever claimed www", entries)
	}
	_, err := tree.Trim(t.Context())
	must(t, err)
	if !exists(dir+"/www/page") || exists(dir+"/kernel/copied") || !exists(dir+"/hub/a") {
		t.Errorf("after Trim: www/page %v, kernel/copied %v, hub/a %v", exists(dir+"/www/page"), exists(dir+"/kernel/copied"), exists(dir+"/hub/a"))
	}
	tree.Close()
	next := open(t, Config{Dir: dir})
	must(t, next.scan(t.Context()))
	if _, entries, _ := next.Usage(); entries != 1 {
		t.Errorf("%d entries counted by the next process, want 1", entries)
	}
}

func TestAPurgedHubIsStillOurs(t *testing.T) {
	tree := open(t, Config{})
	must(t, tree.NoteUpstreams("hub", []string{"https://a.example/"}))
	put(t, tree, "/a", "body")
	if n, err := tree.Remove(key(t, "/"), true); n != 1 || err != nil {
		t.Errorf("Remove = %d, %v", n, err)
	}
	if !exists(tree.Dir + "/hub/" + upstreamName) {
		t.Error("the note of the upstreams was purged")
	}
	put(t, tree, "/a", "body")
	must(t, tree.scan(t.Context()))
	dir := tree.Dir
	tree.Close()
	next := open(t, Config{Dir: dir})
	must(t, next.scan(t.Context()))
	if _, entries, _ := next.Usage(); entries != 1 {
		t.Errorf("%d entries counted, want 1", entries)
	}
}

func TestAUseInTheFutureDoesNotKeepAnEntryForEver(t *testing.T) {
	tree := open(t, Config{})
	for i := range 12 {
		put(t, tree, fmt.Sprintf("/%d", i), strings.Repeat("x", 4000))
		age(t, tree, fmt.Sprintf("/%d", i), -1000*time.Hour)
	}
	limit(t, tree, 12)
	_, err := tree.Trim(t.Context())
	must(t, err)
	if _, entries, _ := tree.Usage(); entries != 9 {
		t.Errorf("%d entries left, want 9", entries)
	}
}

func TestAnAnswerOfTheFutureExpires(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	m := meta()
	m.Status = 404
	m.Header.Set("Last-Modified", "Fri, 01 Jan 2100 00:00:00 GMT")
	putMeta(t, tree, "/missing", "no", m)
	c.advance(25 * time.Hour)
	must(t, tree.scan(t.Context()))
	if got := get(t, tree, "/missing"); got != "-" {
		t.Errorf("a day later: %q", got)
	}
}

func TestADirectoryThatCannotBeReadIsPassedOver(t *testing.T) {
	tree := open(t, Config{})
	for i := range 12 {
		put(t, tree, fmt.Sprintf("/%d", i), strings.Repeat("x", 4000))
		age(t, tree, fmt.Sprintf("/%d", i), time.Hour)
	}
	limit(t, tree, 12)
	const nobody = 65534
	must(t, filepath.WalkDir(tree.Dir, func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(name, nobody, nobody))
	}))
	must(t, os.Mkdir(tree.Dir+"/hub/0dir", 0o700))
	tree.usage.scanned.Store(false)
	// Root reads every directory, so this thread is somebody else to the file system for a moment.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	must(t, unix.Setfsuid(nobody))
	_, err := tree.Trim(t.Context())
	must(t, unix.Setfsuid(os.Getuid()))
	if !errors.Is(err, unix.EACCES) {
		t.Errorf("Trim: %v, want to be told of the directory", err)
	}
	if n := len(names(t, tree.Dir+"/hub")); n != 10 {
		t.Errorf("%d names left in the hub, want 9 entries and a directory", n)
	}
}

func names(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	return list
}

func TestIdleDraftsAreCountedAndTrimmed(t *testing.T) {
	dir := t.TempDir()
	c := &clock{}
	tree := open(t, Config{Dir: dir, Now: c.now})
	for i := range 4 {
		d, err := tree.Create(key(t, fmt.Sprintf("/draft%d", i)), meta())
		must(t, err)
		_, err = io.WriteString(d, strings.Repeat("x", 100<<10))
		must(t, err)
		d.Suspend(nil)
		c.advance(time.Hour)
	}
	put(t, tree, "/used", strings.Repeat("x", 100<<10))
	if bytes, entries, _ := tree.Usage(); bytes < 500<<10 || entries != 1 {
		t.Errorf("%d bytes in %d entries, want the drafts counted", bytes, entries)
	}
	active := tree.Resume(key(t, "/draft0")) // the oldest is in use again
	if bytes, _, _ := tree.Usage(); active == nil || bytes > 450<<10 {
		t.Errorf("%d bytes with one draft taken up", bytes)
	}
	tree.MaxSize = 300 << 10
	_, err := tree.Trim(t.Context())
	must(t, err)
	if bytes, entries, _ := tree.Usage(); bytes > 300<<10 || entries != 1 {
		t.Errorf("after Trim %d bytes in %d entries", bytes, entries)
	}
	if tree.Resume(key(t, "/draft1")) != nil || tree.Resume(key(t, "/draft2")) != nil || tree.Resume(key(t, "/draft3")) == nil {
		t.Error("Trim took others than the oldest drafts")
	}
	if n := len(names(t, dir+"/"+draftsDir)); n != 2 {
		t.Errorf("%d files of drafts are left, want the two in use", n)
	}
	tree.Close()
	if bytes, _, _ := open(t, Config{Dir: dir}).Usage(); bytes < 200<<10 {
		t.Errorf("the next process counts %d bytes of drafts", bytes)
	}
}

func TestADraftOutlivesAMomentWithoutRoom(t *testing.T) {
	c := &clock{}
	dir := t.TempDir() + "/root"
	tree := open(t, Config{Dir: dir, Now: c.now})
	d, err := tree.Create(key(t, "/a"), meta())
	must(t, err)
	_, err = io.WriteString(d, "half")
	must(t, err)
	d.Suspend(nil)
	must(t, os.Rename(dir, dir+"2"))
	c.advance(2 * time.Second)
	if tree.Resume(key(t, "/a")) != nil {
		t.Error("resumed in a root that is gone")
	}
	must(t, os.Rename(dir+"2", dir))
	c.advance(2 * time.Second)
	r := tree.Resume(key(t, "/a"))
	if r == nil {
		t.Fatal("the draft was thrown away")
	}
	r.Discard(nil)
}

func TestTrimCorrectsTheCount(t *testing.T) {
	tree := open(t, Config{MaxSize: 1 << 20})
	put(t, tree, "/a", "body")
	must(t, tree.scan(t.Context()))
	tree.usage.add(1<<30, 1000) // as if a thousand entries were removed by hand since
	_, err := tree.Trim(t.Context())
	must(t, err)
	if bytes, entries, _ := tree.Usage(); bytes > 1<<20 || entries != 1 {
		t.Errorf("%d bytes in %d entries: every commit would walk the disk again", bytes, entries)
	}
}

func TestMarksLeaveRoomAboveTheReserve(t *testing.T) {
	tree := &Tree{Config: Config{High: 99, Low: 98}}
	s := space{total: 10000, used: 9600, free: 400} // nothing more may be stored: the reserve is 500
	if need := tree.excess(s, 9000); need < 100+125 || need > 1000 {
		t.Errorf("excess = %d, want enough to store again", need)
	}
}

func TestAFullDiskIsNoReasonNotToStart(t *testing.T) {
	dir := mount(t, "8m")
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/a", "body")
	tree.Close()
	f, err := os.Create(dir + "/other")
	must(t, err)
	var werr error
	for werr == nil {
		_, werr = f.Write(make([]byte, 4096))
	}
	must(t, f.Close())
	next, err := OpenTree(Config{Dir: dir})
	must(t, err)
	defer next.Close()
	if got := get(t, next, "/a"); got != "body" {
		t.Errorf("it serves %q", got)
	}
	if err := next.Health(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Health: %v, want ErrNoSpace", err)
	}
	must(t, os.Remove(dir+"/other"))
	put(t, next, "/b", "room again")
}

func TestRemoveTellsWhatStays(t *testing.T) {
	dir := mount(t, "8m")
	tree := open(t, Config{Dir: dir})
	put(t, tree, "/a", "body")
	must(t, tree.lock.Close())
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if n, err := tree.Remove(key(t, "/a"), false); n != 0 || !errors.Is(err, ErrReadOnly) {
		t.Errorf("Remove on a read-only disk = %d, %v, want ErrReadOnly", n, err)
	}
}

func TestAFailedCommitLeavesNoDirectories(t *testing.T) {
	tree := open(t, Config{})
	d, err := tree.Create(key(t, "/x/y/z"), meta())
	must(t, err)
	must(t, os.Remove(tree.Dir+"/"+draftsDir+"/"+d.(*draft).name))
	if _, err := d.Commit(meta()); err == nil {
		t.Fatal("a draft was committed whose file is gone")
	}
	if exists(tree.Dir + "/hub/x") {
		t.Error("its directories stay behind")
	}
}

func TestAUseCorrectsOneOfTheFuture(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "body")
	age(t, tree, "/a", -1000*time.Hour)
	e, err := tree.Open(key(t, "/a"), nil)
	must(t, err)
	tree.Touch(e)
	e.Close()
	tree.flushTouches(t.Context())
	st, err := tree.root.Lstat("hub/a")
	must(t, err)
	if ahead := time.Until(useTime(&st)); ahead > time.Minute {
		t.Errorf("after a use the last use is still %v ahead", ahead)
	}
}

func TestATrimmedVariantIsForgotten(t *testing.T) {
	tree := open(t, Config{})
	for _, lang := range []string{"de", "en"} {
		m := meta()
		m.Vary = http.Header{"X-Lang": {lang}}
		putMeta(t, tree, "/a", lang, m)
	}
	want := http.Header{"X-Lang": {"en"}}
	e, err := tree.Open(key(t, "/a"), want)
	must(t, err)
	at := e.handle.(*handle).at
	e.Close()
	if at.telling() || !tree.removeIf(at, func(identity) bool { return true }) {
		t.Fatalf("the variant at %s was not removed", at)
	}
	if _, err := tree.Open(key(t, "/a"), want); !errors.Is(err, ErrNotStored) {
		t.Errorf("Open of a trimmed variant: %v, want ErrNotStored at once", err)
	}
}

func TestNothingIsReapedThatCouldNotBeLookedAt(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	m := meta()
	m.Header.Set("X-Big", strings.Repeat("v", 100000))
	putMeta(t, tree, "/a", "body", m)
	d, err := tree.Create(key(t, "/draft"), m)
	must(t, err)
	_, err = io.WriteString(d, "half")
	must(t, err)
	d.Suspend(nil)
	c.advance(2 * time.Hour)
	for spare := range 4 {
		giveBack := fewDescriptors(t, spare)
		tree.reapDrafts()
		_ = tree.reapOverflows(t.Context())
		giveBack()
	}
	if got := get(t, tree, "/a"); got != "body" {
		t.Errorf("after reaping without descriptors: %q", got)
	}
	if tree.Resume(key(t, "/draft")) == nil {
		t.Error("the draft was reaped")
	}
}

func TestWhatIsMountedInsideTheRootIsNotTrimmed(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", strings.Repeat("x", 4000))
	age(t, tree, "/a", time.Hour)
	must(t, os.Mkdir(tree.Dir+"/hub/mnt", 0o700))
	must(t, unix.Mount("tmpfs", tree.Dir+"/hub/mnt", "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { unix.Unmount(tree.Dir+"/hub/mnt", unix.MNT_DETACH) })
	must(t, os.WriteFile(tree.Dir+"/hub/mnt/f", []byte("theirs"), 0o600))
	age(t, tree, "/mnt/f", 1000*time.Hour)
	tree.MaxSize = 1
	_, err := tree.Trim(t.Context())
	must(t, err)
	if exists(tree.Dir+"/hub/a") || get(t, tree, "/mnt/f") != "adopted: theirs" {
		t.Errorf("entry there: %v, the mounted file: %q", exists(tree.Dir+"/hub/a"), get(t, tree, "/mnt/f"))
	}
	d, err := tree.Create(key(t, "/mnt/g"), meta())
	must(t, err)
	if _, err := d.Commit(meta()); !errors.Is(err, unix.EXDEV) {
		t.Errorf("Commit onto it: %v, want EXDEV", err)
	}
}
