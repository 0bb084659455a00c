package cache

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"zcache/internal/durable"
)

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// age makes the entry at path one that was last used so long ago.
func age(t *testing.T, tree *Tree, path string, d time.Duration) {
	t.Helper()
	must(t, os.Chtimes(tree.Dir+"/hub"+path, time.Now().Add(-d), time.Unix(1735689600, 0)))
	tree.table.drop(key(t, path))
}

func TestTrimTakesTheLeastRecentlyUsed(t *testing.T) {
	tree := open(t, Config{})
	body := strings.Repeat("x", 100<<10)
	for i := range 12 {
		put(t, tree, fmt.Sprintf("/d/%d", i), body)
		age(t, tree, fmt.Sprintf("/d/%d", i), time.Duration(20-i)*time.Hour)
	}
	must(t, os.WriteFile(tree.Dir+"/hub/d/.zcache-listing.json", make([]byte, 50<<10), 0o600))
	limit(t, tree, 12)
	e, err := tree.Open(key(t, "/d/1"), nil)
	must(t, err)
	tree.Touch(e)
	e.Close()
	freed, err := tree.Trim(t.Context())
	must(t, err)
	bytes, entries, scanned := tree.Usage()
	if bytes > tree.MaxSize || entries != 9 || !scanned || freed < 300<<10 {
		t.Errorf("after Trim %d bytes in %d entries, scanned %v, freed %d", bytes, entries, scanned, freed)
	}
	for i := range 12 {
		gone := i == 0 || i == 2 || i == 3
		if exists(fmt.Sprintf("%s/hub/d/%d", tree.Dir, i)) == gone {
			t.Errorf("entry %d, used %d hours ago: gone is %v", i, 20-i, !gone)
		}
	}
	if !exists(tree.Dir + "/hub/d/.zcache-listing.json") {
		t.Error("the sidecar was trimmed")
	}
	if freed, err := tree.Trim(t.Context()); freed != 0 || err != nil {
		t.Errorf("a second Trim freed %d, %v", freed, err)
	}
}

// limit sets MaxSize so that of so many entries of one size three are too many.
func limit(t *testing.T, tree *Tree, entries int64) {
	t.Helper()
	one, _, _ := tree.Usage()
	one /= entries
	must(t, tree.scan(t.Context()))
	all, _, _ := tree.Usage()
	tree.MaxSize = all - 2*one // Trim leaves a twentieth free
}

func TestTrimSparesWhatIsInUse(t *testing.T) {
	tree := open(t, Config{MaxSize: 4096})
	for i := range 5 {
		put(t, tree, fmt.Sprintf("/%d", i), strings.Repeat("x", 4000))
	}
	if freed, err := tree.Trim(t.Context()); freed != 0 || err != nil {
		t.Errorf("Trim of what was just stored freed %d, %v", freed, err)
	}
}

func TestTrimOfOneSecondStopsInTime(t *testing.T) {
	tree := open(t, Config{})
	for i := range 12 {
		put(t, tree, fmt.Sprintf("/%d", i), strings.Repeat("x", 4000))
		age(t, tree, fmt.Sprintf("/%d", i), time.Hour)
	}
	limit(t, tree, 12)
	_, err := tree.Trim(t.Context())
	must(t, err)
	if _, entries, _ := tree.Usage(); entries != 9 {
		t.Errorf("%d entries left, want 9", entries)
	}
}

func TestLimitsOfTheDisk(t *testing.T) {
	const gib = 1 << 30
	disk := func(used, free int64) space { return space{total: used + free, used: used, free: free} }
	for _, c := range []struct {
		claim string
		max   int64
		s     space
		own   int64
		want  int64
	}{
		{"below all limits", 0, disk(50*gib, 50*gib), 50 * gib, 0},
		{"above the high mark down to the low one", 0, disk(85*gib, 15*gib), 80 * gib, 10 * gib},
		{"other people's data cannot be trimmed away", 0, disk(85*gib, 15*gib), 5 * gib, 0},
		{"but the reserve is kept", 0, disk(99*gib+gib/2, gib/2), 5 * gib, gib / 2},
		{"above its own limit", 10 * gib, disk(50*gib, 50*gib), 11 * gib, gib + gib/2},
	} {
		tree := &Tree{Config: Config{MaxSize: c.max, High: 80, Low: 75}}
		if got := max(0, tree.excess(c.s, c.own)); got != c.want {
			t.Errorf("%s: excess = %d, want %d", c.claim, got, c.want)
		}
	}
}

func TestLastUseIsKept(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	put(t, tree, "/a", "body")
	use := func() time.Time {
		t.Helper()
		e, err := tree.Open(key(t, "/a"), nil)
		must(t, err)
		tree.Touch(e)
		e.Close()
		tree.flushTouches(t.Context())
		st, err := tree.root.Lstat("hub/a")
		must(t, err)
		if got := get(t, tree, "/a"); got != "body" || modTime(&st).Unix() != 1735689600 {
			t.Errorf("after Touch the entry is %q of %v", got, modTime(&st))
		}
		return useTime(&st)
	}
	first := use()
	c.advance(30 * time.Minute)
	if got := use(); !got.Equal(first) {
		t.Errorf("half an hour later the use is noted again: %v, then %v", first, got)
	}
	c.advance(40 * time.Minute)
	if got := use(); got.Sub(first) < time.Hour {
		t.Errorf("an hour later the use is not noted: %v, then %v", first, got)
	}
}

func TestScanDropsWhatExpired(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	m := meta()
	m.Status = 404
	putMeta(t, tree, "/missing", "no", m)
	put(t, tree, "/a", "body")
	left := tree.Dir + "/hub/" + durable.TempPrefix + "x"
	must(t, os.WriteFile(left, nil, 0o600))
	must(t, tree.scan(t.Context()))
	if get(t, tree, "/missing") != "no" || !exists(left) {
		t.Error("the scan dropped what is new")
	}
	c.advance(25 * time.Hour)
	must(t, tree.scan(t.Context()))
	if get(t, tree, "/missing") != "-" || exists(left) || get(t, tree, "/a") != "body" {
		t.Errorf("a day later: %q, leftover %v, %q", get(t, tree, "/missing"), exists(left), get(t, tree, "/a"))
	}
	if _, entries, scanned := tree.Usage(); entries != 1 || !scanned {
		t.Errorf("%d entries counted", entries)
	}
}

func TestNegativeEntriesGoSoonerThanRedirects(t *testing.T) {
	c := &clock{}
	tree := open(t, Config{Now: c.now})
	for path, status := range map[string]int{"/missing": 404, "/gone": 410, "/moved": 301} {
		m := meta()
		m.Status = status
		putMeta(t, tree, path, "no", m)
	}
	c.advance(time.Hour)
	must(t, tree.scan(t.Context()))
	if get(t, tree, "/missing") != "-" || get(t, tree, "/gone") != "-" || get(t, tree, "/moved") != "no" {
		t.Errorf("an hour later: 404 %q, 410 %q, 301 %q", get(t, tree, "/missing"), get(t, tree, "/gone"), get(t, tree, "/moved"))
	}
}

func TestLimitsOfInodes(t *testing.T) {
	for _, c := range []struct {
		claim string
		s     space
		own   int64
		want  int64
	}{
		{"plenty of inodes", space{inodes: 1000, inodesFree: 500}, 400, 0},
		{"above the high mark down to the low one", space{inodes: 1000, inodesFree: 150}, 800, 100},
		{"other people's files cannot be trimmed away", space{inodes: 1000, inodesFree: 150}, 50, 0},
		{"but a reserve is kept", space{inodes: 1000, inodesFree: 10}, 30, 30},
		{"a file system without a number of inodes", space{}, 1000, 0},
	} {
		if got := c.s.inodeExcess(80, 75, c.own); got != c.want {
			t.Errorf("%s: %d entries have to go, want %d", c.claim, got, c.want)
		}
	}
}

func TestAfterALossOfPowerNothingTornIsServed(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	big := strings.Repeat("x", smallBody+1)
	for _, p := range []string{"/whole", "/torn", "/torn/child", "/dir/torn"} {
		put(t, tree, p, big)
	}
	d, err := tree.Create(key(t, "/draft"), meta())
	must(t, err)
	_, err = d.Write([]byte("x"))
	must(t, err)
	d.Suspend(nil)
	for _, name := range []string{"/hub/torn/__content", "/hub/dir/torn"} {
		// The size and the times reached the disk, the blocks did not.
		f, err := os.OpenFile(dir+name, os.O_WRONLY, 0)
		must(t, err)
		_, err = f.WriteAt(make([]byte, 4096), 0)
		must(t, err)
		must(t, f.Close())
		must(t, os.Chtimes(dir+name, time.Time{}, time.Unix(1735689600, 0)))
	}
	tree.Close()
	must(t, os.WriteFile(dir+"/"+bootFile, fmt.Appendf(nil, "another-boot %d\n", time.Now().Add(-time.Minute).UnixNano()), 0o600))
	next := open(t, Config{Dir: dir})
	if next.Resume(key(t, "/draft")) != nil {
		t.Error("a draft in doubt was resumed")
	}
	for p, want := range map[string]string{"/whole": big, "/torn": "-", "/torn/child": big} {
		if got := get(t, next, p); got != want {
			t.Errorf("%s = %.20q, want %.20q", p, got, want)
		}
	}
	if exists(dir + "/hub/torn/__content") {
		t.Error("the torn body was left on disk")
	}
	must(t, next.scan(t.Context()))
	if exists(dir + "/hub/dir/torn") {
		t.Error("the scan left a torn body that nobody asked for")
	}
	if next.inDoubt() || next.usage.torn.Load() != 2 {
		t.Errorf("after the scan: in doubt %v, %d found torn", next.inDoubt(), next.usage.torn.Load())
	}
	must(t, next.sync())
	next.Close()
	third := open(t, Config{Dir: dir})
	if third.inDoubt() || get(t, third, "/whole") != big {
		t.Error("the doubt outlived the check")
	}
}

func TestRunEndsWithItsContextAndTidies(t *testing.T) {
	dir := t.TempDir()
	tree := open(t, Config{Dir: dir})
	tree.Close()
	must(t, os.MkdirAll(dir+"/"+trashDir+"/old/sub", 0o700))
	must(t, os.WriteFile(dir+"/"+trashDir+"/old/sub/f", nil, 0o600))
	reg := prometheus.NewRegistry()
	next := open(t, Config{Dir: dir, MaxSize: 1 << 20, Registerer: reg})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- next.Run(ctx) }()
	// Run takes the wake-up only after its first scan.
	next.wake <- struct{}{}
	next.wake <- struct{}{}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Errorf("Run = %v", err)
	}
	if _, _, scanned := next.Usage(); !scanned || exists(dir+"/"+trashDir+"/old") {
		t.Errorf("scanned %v, old trash there %v", scanned, exists(dir+"/"+trashDir+"/old"))
	}
	families, err := reg.Gather()
	must(t, err)
	if len(families) != 7 {
		t.Errorf("%d metrics, want 7", len(families))
	}
}

func TestATrimInVainIsNotRepeatedForEveryCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		tree := open(t, Config{MaxSize: 4096, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- tree.Run(ctx) }()
		synctest.Wait()
		for i := range 50 {
			put(t, tree, fmt.Sprintf("/%d", i), strings.Repeat("x", 4000))
			synctest.Wait()
		}
		cancel()
		<-done
		if n := strings.Count(log.String(), "msg=trimmed"); n != 1 {
			t.Errorf("50 commits of what is spared walked the disk %d times, want once", n)
		}
	})
}
