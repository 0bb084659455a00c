package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
)

// tree gives the upstream some files in some directories.
func (w *world) tree3(t *testing.T) {
	t.Helper()
	for d := range 3 {
		for f := range 4 {
			w.put(fmt.Sprintf("d%d/f%d", d, f), fmt.Sprintf("body %d.%d", d, f))
		}
		w.put(fmt.Sprintf("d%d/deep/er/x", d), "x")
	}
	w.put("with space & plus+ %41 ü/über #1?.txt", "odd")
	w.put("README", "read me")
	w.empty["nothing/"] = true
}

func TestWalkBringsAllAndThenAsksForDirectoriesAlone(t *testing.T) {
	for name, dialect := range map[string]func(*world, string, []string) (string, string){"minutes in an unknown zone": minutes, "another zcache's listing": exact} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dialect = dialect
			w.tree3(t)
			s := w.scheduler(nil)
			f, err := w.walk(s, nil)
			if err != nil || f.Fetched != 17 || f.Dirs != 12 || f.Removed != 0 {
				t.Fatalf("first walk = %+v, %v; want 17 files of 12 directories", f, err)
			}
			w.same()
			w.pass(time.Hour)
			f, err = w.walk(s, nil)
			if err != nil || f.Skipped != 17 || f.Requests != 12 || f.Fetched+f.Same != 0 {
				t.Errorf("second walk = %+v, %v; want 17 skipped by 12 requests; asked %q", f, err, w.questions())
			}
		})
	}
}

func TestWalkAsksWhatTheListingLeavesOpen(t *testing.T) {
	cases := []struct {
		name    string
		dialect func(*world, string, []string) (string, string)
		change  func(w *world, s *Scheduler)
		same    int64
		fetched int64
	}{
		{"names alone say nothing", bare, func(w *world, _ *Scheduler) { w.pass(time.Hour) }, 2, 0},
		{"a file changed within its minute is found", minutes, func(w *world, _ *Scheduler) {
			w.put("a", "AAAA", w.now().Add(10*time.Second)) // as long as before, within the minute in which it was fetched
			w.pass(time.Hour)
		}, 0, 1},
		{"a file confirmed within two steps of its change is asked for", minutes, func(w *world, s *Scheduler) {
			w.put("b", "new", w.now())
			w.pass(30 * time.Second)
			if _, err := w.walk(s, nil); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Hour)
		}, 1, 0},
		{"another size is asked for", minutes, func(w *world, _ *Scheduler) { w.put("a", "longer", w.files["a"].modified); w.pass(time.Hour) }, 0, 1},
		{"every file, when told so", minutes, func(w *world, s *Scheduler) { s.cfg.AskAll = true; w.pass(time.Hour) }, 2, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.dialect = c.dialect
			at := w.now()
			w.put("a", "aaaa", at)
			w.put("b", "bbb")
			s := w.scheduler(nil)
			if c.name != "a file changed within its minute is found" {
				w.put("a", "aaaa", at.Add(-time.Hour))
			}
			if _, err := w.walk(s, nil); err != nil {
				t.Fatal(err)
			}
			c.change(w, s)
			f, err := w.walk(s, nil)
			if err != nil || f.Same != c.same || f.Fetched != c.fetched {
				t.Errorf("walk = %+v, %v; want %d unchanged, %d fetched", f, err, c.same, c.fetched)
			}
			w.same()
		})
	}
}

func TestWalkAsksAgainWhereACacheStoodByAnOldState(t *testing.T) {
	for name, dialect := range map[string]func(*world, string, []string) (string, string){"minutes": minutes, "seconds": exact} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dialect = dialect
			w.put("a", "aaaa")
			s := w.scheduler(nil)
			if _, err := w.walk(s, nil); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Hour)
			w.late = map[string]file{"a": w.files["a"]}
			w.put("a", "AAAA", w.now().Add(-time.Minute))
			for range 2 {
				if f, err := w.walk(s, nil); err != nil || f.Same != 1 {
					t.Fatalf("walk through the cache = %+v, %v; want the file asked for and called the same", f, err)
				}
				w.pass(time.Hour)
			}
			w.late = nil
			if f, err := w.walk(s, nil); err != nil || f.Fetched != 1 {
				t.Errorf("walk once the cache is over = %+v, %v; want the file fetched", f, err)
			}
			w.same()
		})
	}
}

func TestWalkTellsAFileFromADirectoryOfItsName(t *testing.T) {
	w := newWorld(t)
	w.put("a", "a file")
	w.put("b/x", "in a directory")
	w.put("b/deep/y", "deeper")
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	for _, name := range []string{"a", "b/x", "b/deep/y"} {
		w.drop(name)
	}
	w.put("a/x", "in a directory now")
	w.put("b", "a file now")
	if f, err := w.walk(s, nil); err != nil || f.Fetched != 2 || f.Removed != 3 {
		t.Errorf("walk = %+v, %v; want 2 fetched and 3 removed", f, err)
	}
	w.same()
}

func TestWalkFetchesAndRemovesExactlyWhatChanged(t *testing.T) {
	w := newWorld(t)
	w.tree3(t)
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	w.put("d1/f1", "changed", w.now())
	w.put("d1/new", "new", w.now())
	w.drop("d0/f0")
	w.drop("d2/deep/er/x") // the last one in two directories
	w.pass(time.Hour)
	f, err := w.walk(s, nil)
	if err != nil || f.Fetched != 2 || f.Removed < 2 || f.Same != 0 {
		t.Errorf("walk = %+v, %v; want 2 fetched, 2 removed and nothing asked in vain; asked %q", f, err, w.questions())
	}
	w.same()
	if _, _, err := w.tree.Peek(w.key("/d2/deep/")); !errors.Is(err, cache.ErrNotStored) {
		t.Errorf("Peek of a directory that is gone upstream = %v, want not stored", err)
	}
	if _, _, ok := s.Digest(w.key("/")); !ok {
		t.Error("there is no digest of the tree once its orphans are gone")
	}
	if n, err := w.tree.Restore(w.key("/d2/deep/"), true); err != nil || n == 0 {
		t.Errorf("Restore = %d, %v; want what was removed", n, err)
	}
	if _, _, err := w.tree.Peek(w.key("/d2/deep/er/x")); err != nil {
		t.Errorf("Peek of what was restored = %v", err)
	}
}

// What a walk may not remove, each the ruin of a naive one.
func TestWalkRemovesNothingOnBadWord(t *testing.T) {
	cases := map[string]struct {
		path string // that answers otherwise
		ans  Answer
		err  error
		fail bool // the walk
	}{
		"a directory that is refused":           {"/d1/", Answer{Outcome: Denied, Status: 403}, nil, false},
		"a directory whose listing is cut off":  {"/d1/", Answer{}, cache.ErrCutListing, true},
		"a page in place of a listing":          {"/d1/", Answer{}, cache.ErrNoListing, true},
		"a directory that cannot be asked for":  {"/d1/", Answer{}, errAway, true},
		"the root is refused":                   {"/", Answer{Outcome: Denied, Status: 403}, nil, true},
		"the root is not found":                 {"/", Answer{Outcome: Gone, Status: 404}, nil, true},
		"the root is a page":                    {"/", Answer{}, cache.ErrNoListing, true},
		"the root cannot be asked for":          {"/", Answer{}, errAway, true},
		"the root may not be kept":              {"/", Answer{Outcome: Unkept, Status: 200}, nil, true},
		"a directory is answered by a redirect": {"/d1/", Answer{Outcome: Elsewhere, Status: 302, Location: "/login"}, nil, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tree3(t)
			s := w.scheduler(nil)
			if _, err := w.walk(s, nil); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Hour)
			w.answer[c.path] = func() (Answer, error) { return c.ans, c.err }
			f, err := w.walk(s, nil)
			if (err != nil) != c.fail || f.Removed != 0 {
				t.Errorf("walk = %+v, %v; want nothing removed, failed %v", f, err, c.fail)
			}
			w.same()
		})
	}
}

func TestOneRefusedFileStays(t *testing.T) {
	w := newWorld(t)
	w.tree3(t)
	s := w.scheduler(func(c *Config) { c.AskAll = true })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.answer["/d1/f1"] = func() (Answer, error) { return Answer{Outcome: Denied, Status: 403}, nil }
	w.answer["/d1/f2"] = func() (Answer, error) { return Answer{}, errAway }
	f, err := w.walk(s, nil)
	if !errors.Is(err, errPartial) || f.Denied != 1 || f.Failed != 1 || f.Removed != 0 || f.Same != 15 {
		t.Errorf("walk = %+v, %v; want a partial one with the 15 others unchanged", f, err)
	}
	w.same()
}

func TestAStormOfRefusalsEndsTheWalk(t *testing.T) {
	for name, ans := range map[string]Answer{"403": {Outcome: Denied, Status: 403}, "429": {Outcome: Limited, Status: 429, After: time.Hour}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := range 300 {
				w.put(fmt.Sprintf("d/f%03d", i), "x")
			}
			s := w.scheduler(func(c *Config) { c.AskAll = true })
			if _, err := w.walk(s, nil); err != nil {
				t.Fatal(err)
			}
			w.every = func(p string) (Answer, error, bool) { return ans, nil, !strings.HasSuffix(p, "/") }
			f, err := w.walk(s, nil)
			if !errors.Is(err, ErrTurnedAway) || f.Removed != 0 || f.Requests > 40 {
				t.Errorf("walk = %+v, %v; want it given up soon, with nothing removed", f, err)
			}
			w.same()
		})
	}
}

func TestAnUpstreamThatIsDownEndsTheWalk(t *testing.T) {
	w := newWorld(t)
	for i := range 300 {
		w.put(fmt.Sprintf("d/f%03d", i), "x")
	}
	s := w.scheduler(nil)
	w.every = func(p string) (Answer, error, bool) { return Answer{}, errAway, !strings.HasSuffix(p, "/") }
	if f, err := w.walk(s, nil); !errors.Is(err, errAway) || f.Requests > 40 {
		t.Errorf("walk = %+v, %v; want it given up soon", f, err)
	}
}

func TestManyOrphansWaitForAPerson(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.put(fmt.Sprintf("d/f%02d", i), "x")
	}
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		w.drop(fmt.Sprintf("d/f%02d", i))
	}
	w.pass(time.Hour)
	f, err := w.walk(s, func(j *job) { j.dry = true })
	if err != nil || f.Removed != 0 || f.HeldBack != 30 || len(f.Orphans) != 30 {
		t.Errorf("dry run = %+v, %v; want 30 that would be held back", f, err)
	}
	f, err = w.walk(s, nil)
	if err != nil || f.Removed != 0 || f.HeldBack != 30 || len(f.Orphans) != 30 || f.Orphans[0] != "/hub/d/f00" {
		t.Errorf("walk = %+v, %v; want 30 held back", f, err)
	}
	if _, _, err := w.tree.Peek(w.key("/d/f00")); err != nil {
		t.Errorf("Peek of an orphan that was held back = %v", err)
	}
	f, err = w.walk(s, func(j *job) { j.confirm = true })
	if err != nil || f.Removed != 30 {
		t.Errorf("confirmed walk = %+v, %v; want 30 removed", f, err)
	}
	w.same()
}

func TestADirectoryThatIsGoneCountsWithAllItsFiles(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.put(fmt.Sprintf("a/b/f%02d", i), "x")
		w.put(fmt.Sprintf("c/f%02d", i), "x")
	}
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		w.drop(fmt.Sprintf("a/b/f%02d", i))
	}
	w.pass(time.Hour)
	if f, err := w.walk(s, nil); err != nil || f.Removed != 0 || f.HeldBack < 60 {
		t.Errorf("walk = %+v, %v; want the 60 files of one directory held back", f, err)
	}
}

func TestWhatNoListingEverNamedIsAskedForBeforeItGoes(t *testing.T) {
	w := newWorld(t)
	w.put("d/f", "x")
	w.put("d/.hidden", "hidden")
	w.put("d/.gone", "gone")
	w.dialect = func(w *world, dir string, names []string) (string, string) {
		shown := names[:0:0]
		for _, n := range names {
			if n[0] != '.' {
				shown = append(shown, n)
			}
		}
		return minutes(w, dir, shown)
	}
	s := w.scheduler(nil)
	for _, p := range []string{"/d/.hidden", "/d/.gone"} { // as clients do
		if _, err := w.Refresh(context.Background(), Ask{Key: w.key(p)}); err != nil {
			t.Fatal(err)
		}
	}
	w.drop("d/.gone")
	w.pass(time.Hour)
	f, err := w.walk(s, nil)
	if err != nil || f.Removed != 1 {
		t.Errorf("walk = %+v, %v; want one removed", f, err)
	}
	w.same()
}

func TestAWalkThatIsCutShortGoesOn(t *testing.T) {
	w := newWorld(t)
	for d := range 20 {
		for f := range 5 {
			w.put(fmt.Sprintf("d%02d/f%d", d, f), "x")
		}
	}
	s := w.scheduler(func(c *Config) { c.Parallel = 2 })
	began := w.now()
	w.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	p := &progress{}
	go func() {
		_, err := s.walk(ctx, &job{sub: Subtree{Name: "/hub", Dir: w.key("/")}, began: began, progress: p})
		done <- err
	}()
	for range 61 { // the root and ten directories with their files
		w.hold <- struct{}{}
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("walk = %v, want %v", err, context.Canceled)
	}
	w.hold = nil
	w.pass(time.Minute)
	f, err := w.walk(w.scheduler(nil), func(j *job) { j.began = began })
	if err != nil || f.Fetched > 53 || f.Requests > 66 || f.Files != 100 {
		t.Errorf("the walk goes on with %+v, %v; want the half that was missing, and what was in hand; asked %q", f, err, w.questions())
	}
	w.same()
	w.pass(time.Hour)
	if f, err := w.walk(s, nil); err != nil || f.Dirs != 21 || f.Requests != 21 {
		t.Errorf("the next walk = %+v, %v; want all 21 directories listed", f, err)
	}
}

func TestOrphansOfAnEarlierSliceAreNotForgotten(t *testing.T) {
	w := newWorld(t)
	for d := range 10 {
		w.put(fmt.Sprintf("d%02d/keep", d), "x")
		w.put(fmt.Sprintf("d%02d/drop", d), "x")
	}
	s := w.scheduler(func(c *Config) { c.Parallel = 1 })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.drop("d00/drop")
	w.pass(time.Hour)
	began := w.now()
	w.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		_, err := s.walk(ctx, &job{sub: Subtree{Name: "/hub", Dir: w.key("/")}, began: began, progress: &progress{}})
		done <- err
	}()
	for range 5 {
		w.hold <- struct{}{}
	}
	cancel()
	<-done
	w.hold = nil
	f, err := w.walk(w.scheduler(nil), func(j *job) { j.began = began })
	if err != nil || f.Removed != 1 {
		t.Errorf("the walk goes on with %+v, %v; want the orphan of its first slice removed", f, err)
	}
	w.same()
}

func TestDigestsSpareAWalk(t *testing.T) {
	w := newWorld(t)
	w.dialect = exact
	w.tree3(t)
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	digest, _, ok := s.Digest(w.key("/"))
	if !ok {
		t.Fatal("Digest of a walked tree: none")
	}
	d1, _, _ := s.Digest(w.key("/d1/"))
	w.digest["/"], w.digest["/d1/"] = digest, d1
	w.pass(time.Hour)
	f, err := w.walk(s, nil)
	if err != nil || f.Requests != 1 || f.Files != 17 || f.Skipped != 17 || f.Dirs != 12 {
		t.Errorf("walk = %+v, %v; want one request for 17 files", f, err)
	}
	if asOf, ok := s.AsOf(w.key("/")); !ok || !asOf.Equal(w.now()) {
		t.Errorf("AsOf = %v, %v; want now", asOf, ok)
	}
	w.put("d0/f0", "changed", w.now())
	delete(w.digest, "/")
	w.pass(time.Hour)
	f, err = w.walk(s, nil)
	if err != nil || f.Fetched != 1 || strings.Contains(strings.Join(w.questions(), " "), "/d1/f") || f.Requests != 11 {
		t.Errorf("walk = %+v, %v; want one fetched and d1 passed over; asked %q", f, err, w.questions())
	}
	w.same()
	if after, _, ok := s.Digest(w.key("/")); !ok || after == digest {
		t.Errorf("Digest after a change = %q, %v; want another than %q", after, ok, digest)
	}
	if after, _, _ := s.Digest(w.key("/d1/")); after != d1 {
		t.Errorf("Digest of what did not change = %q, want %q", after, d1)
	}
}

func TestWhatWasRemovedByHandComesBack(t *testing.T) {
	w := newWorld(t)
	w.dialect = exact
	w.tree3(t)
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/d0/", "/d1/", "/d2/", "/d0/deep/", "/d0/deep/er/"} {
		w.digest[dir], _, _ = s.Digest(w.key(dir))
	}
	for _, p := range []string{"/hub/d1/f1", "/hub/d0/deep/er/x", "/hub/d0/deep/er", "/hub/d2/f0"} {
		if err := os.RemoveAll(w.root.Dir() + p); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(time.Hour)
	f, err := w.walk(s, nil)
	if err != nil || f.Fetched != 3 || f.Files != 17 {
		t.Errorf("walk = %+v, %v; want the three files back; asked %q", f, err, w.questions())
	}
	w.same()
}

func TestWhatIsListedAndNotThereIsAskedForTwice(t *testing.T) {
	w := newWorld(t)
	w.put("d/a", "aaaa")
	w.put("d/b", "bbbb")
	s := w.scheduler(func(c *Config) { c.AskAll = true })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	asked := map[string]int{}
	missing := func(p string, times int) {
		w.answer[p] = func() (Answer, error) {
			if asked[p]++; asked[p] <= times {
				return Answer{Outcome: Gone, Status: 404}, nil
			}
			return Answer{Outcome: Same, Status: 304}, nil
		}
	}
	missing("/d/a", 1) // in the middle of a change
	missing("/d/b", 2)
	f, err := w.walk(s, nil)
	if err != nil || f.Removed != 1 {
		t.Errorf("walk = %+v, %v; want the one removed that was missing twice", f, err)
	}
	for p, want := range map[string]error{"/d/a": nil, "/d/b": cache.ErrNotStored} {
		if _, _, err := w.tree.Peek(w.key(p)); !errors.Is(err, want) {
			t.Errorf("Peek(%s) = %v, want %v", p, err, want)
		}
	}
}

func TestAsOfIsTheUpstreamsWord(t *testing.T) {
	w := newWorld(t)
	w.dialect = exact
	w.tree3(t)
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	first := w.now()
	w.digest["/"], _, _ = s.Digest(w.key("/"))
	w.asOf = first.Add(time.Minute)
	w.pass(time.Hour)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	if _, asOf, ok := s.Digest(w.key("/")); !ok || !asOf.Equal(w.asOf) {
		t.Errorf("Digest is as of %v, %v; want %v, of which the upstream's word is", asOf, ok, w.asOf)
	}
}

func TestAChangeTakesTheDigestAway(t *testing.T) {
	w := newWorld(t)
	w.tree3(t)
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.put("d0/f0", "changed", w.now())
	if _, err := w.Refresh(context.Background(), Ask{Key: w.key("/d0/f0")}); err != nil { // as a client does
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/d0/"} {
		if d, _, ok := s.Digest(w.key(dir)); ok {
			t.Errorf("Digest(%s) = %q although something below it has changed", dir, d)
		}
	}
	if _, _, ok := s.Digest(w.key("/d1/")); !ok {
		t.Error("Digest(/d1/) is gone although nothing there has changed")
	}
}

func TestIndexesComeLast(t *testing.T) {
	w := newWorld(t)
	w.put("debian/dists/stable/Release", "r")
	w.put("debian/dists/stable/main/Packages.gz", "p")
	w.put("debian/pool/z/zz.deb", "z")
	w.put("debian/pool/a/aa.deb", "a")
	w.put("iso/SHA256SUMS", "sums")
	w.put("iso/zz.iso", "iso")
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	at := func(p string) int {
		for i, q := range w.asked {
			if q == p {
				return i
			}
		}
		t.Fatalf("%s was not asked for: %q", p, w.asked)
		return 0
	}
	for _, pair := range [][2]string{
		{"/debian/pool/z/zz.deb", "/debian/dists/stable/Release"}, {"/debian/pool/a/aa.deb", "/debian/dists/stable/main/Packages.gz"}, {"/iso/zz.iso", "/iso/SHA256SUMS"},
	} {
		if at(pair[0]) > at(pair[1]) {
			t.Errorf("%s was asked for before %s: %q", pair[1], pair[0], w.asked)
		}
	}
}

func TestBudgets(t *testing.T) {
	w := newWorld(t)
	for d := range 10 {
		w.put(fmt.Sprintf("d%d/f", d), strings.Repeat("x", 1000))
	}
	s := w.scheduler(nil)
	f, err := w.walk(s, func(j *job) { j.limit = 5000 })
	if !errors.Is(err, ErrBudget) || f.Bytes > 12000 || f.Fetched > 6 {
		t.Errorf("walk of 10,000 bytes with 5,000 = %+v, %v; want %v", f, err, ErrBudget)
	}
	if f, err := w.walk(s, func(j *job) { j.sub.MaxRequests = 7 }); !errors.Is(err, ErrBudget) || f.Requests > 10 {
		t.Errorf("walk with seven requests = %+v, %v; want %v", f, err, ErrBudget)
	}
	w.put("d0/large", strings.Repeat("x", 3000))
	f, err = w.walk(s, func(j *job) { j.sub.MaxFile = 2000 })
	if err != nil || f.Unkept != 1 {
		t.Errorf("walk of files up to 2,000 bytes = %+v, %v; want one left out", f, err)
	}
	if _, _, err := w.tree.Peek(w.key("/d0/large")); !errors.Is(err, cache.ErrNotStored) {
		t.Errorf("Peek of a file that is too large = %v, want %v", err, cache.ErrNotStored)
	}
}

func TestSkippedPathsAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.tree3(t)
	s := w.scheduler(nil)
	skip := func(j *job) {
		j.sub.Skip = func(p string) bool { return strings.HasPrefix(p, "d1/") || p == "README" }
	}
	for _, p := range []string{"/d1/f1", "/d1/gone"} {
		w.put("d1/gone", "x")
		if _, err := w.Refresh(context.Background(), Ask{Key: w.key(p), Row: "was listed"}); err != nil {
			t.Fatal(err)
		}
	}
	w.drop("d1/gone")
	f, err := w.walk(s, skip)
	if err != nil || f.Removed != 0 {
		t.Fatalf("walk = %+v, %v", f, err)
	}
	for p, want := range map[string]error{"/d1/f1": nil, "/d1/gone": nil, "/d1/f2": cache.ErrNotStored, "/README": cache.ErrNotStored, "/d0/f1": nil} {
		if _, _, err := w.tree.Peek(w.key(p)); !errors.Is(err, want) {
			t.Errorf("Peek(%s) = %v, want %v", p, err, want)
		}
	}
	if _, _, ok := s.Digest(w.key("/")); ok {
		t.Error("there is a digest of a tree that is not held whole")
	}
}

func TestTreesWithoutEndHaveOne(t *testing.T) {
	w := newWorld(t)
	w.put("a/f", "x")
	w.put("a/g", "y")
	inner := w.dialect
	w.dialect = func(w *world, dir string, names []string) (string, string) {
		return inner(w, dir, append(names, "loop/"))
	}
	w.every = func(p string) (Answer, error, bool) {
		if !strings.Contains(p, "loop/") {
			return Answer{}, nil, false
		}
		if !strings.HasSuffix(p, "/") {
			w.files[strings.TrimPrefix(p, "/")] = file{"x", w.now().Add(-time.Hour)}
			return Answer{}, nil, false
		}
		ans, err := w.store(Ask{Key: w.key(p)}, listingMeta(w), page(w, inner))
		return ans, err, true
	}
	f, err := w.walk(w.scheduler(nil), nil)
	if err != nil || f.Requests > 100 {
		t.Errorf("walk of a tree that holds itself = %+v, %v; want an end", f, err)
	}
}

func listingMeta(w *world) *cache.Meta {
	return &cache.Meta{Status: 200, Header: map[string][]string{"Content-Type": {"text/html"}}, Listing: true, ModTime: w.now()}
}

// page is the listing of a/, wherever it is asked for.
func page(w *world, dialect func(*world, string, []string) (string, string)) string {
	_, body := dialect(w, "a/", []string{"f", "g", "loop/"})
	return body
}

func TestATreeThatLooksLikeItsParentsIsHeldWhole(t *testing.T) {
	w := newWorld(t)
	at := w.now().Add(-time.Hour)
	dir := ""
	for range 5 {
		w.put(dir+"pkg", "same", at)
		dir += "a/"
	}
	w.put(dir+"pkg", "same", at)
	f, err := w.walk(w.scheduler(nil), nil)
	if err != nil || f.Fetched != 6 || f.Unkept != 0 {
		t.Errorf("walk of alike directories in one another = %+v, %v; want all six files", f, err)
	}
	w.same()
}

func TestAnAnswerThatLeavesSomethingOpenIsAskedForAgain(t *testing.T) {
	for name, ans := range map[string]Answer{"403": {Outcome: Denied, Status: 403}, "404": {Outcome: Gone, Status: 404}, "no-store": {Outcome: Unkept, Status: 200}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dialect = exact
			w.tree3(t)
			w.digest["/"], w.digest["/d1/"] = "whole", "part"
			w.answer["/d1/f1"] = func() (Answer, error) { return ans, nil }
			s := w.scheduler(nil)
			if _, err := w.walk(s, nil); err != nil {
				t.Fatal(err)
			}
			delete(w.answer, "/d1/f1")
			w.pass(time.Hour)
			if f, err := w.walk(s, nil); err != nil || f.Fetched != 1 {
				t.Errorf("walk once the upstream is well, and says that nothing has changed = %+v, %v; want the one that was missing; asked %q", f, err, w.questions())
			}
			w.same()
		})
	}
}

func TestADirectoryThatNoListingCallsOneIsFound(t *testing.T) {
	w := newWorld(t)
	w.put("d/f", "x")
	w.answer["/d"] = func() (Answer, error) {
		return Answer{Outcome: Elsewhere, Status: 301, Location: "http://upstream.example/d/"}, nil
	}
	w.dialect = bareWithoutSlashes
	f, err := w.walk(w.scheduler(nil), nil)
	if err != nil || f.Fetched != 1 {
		t.Errorf("walk = %+v, %v; want the file in d", f, err)
	}
}

func bareWithoutSlashes(w *world, dir string, names []string) (string, string) {
	cut := make([]string, len(names))
	for i, n := range names {
		cut[i] = strings.TrimSuffix(n, "/")
	}
	return bare(w, dir, cut)
}
