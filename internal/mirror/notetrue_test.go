package mirror

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"zcache/internal/cache"
)

// A meddled store has something happen right after a note was read.
type meddled struct {
	*cache.Tree
	then atomic.Pointer[func()]
}

func (m *meddled) Noted(dir cache.Key) ([]byte, error) {
	data, err := m.Tree.Noted(dir)
	if f := m.then.Swap(nil); f != nil {
		(*f)()
	}
	return data, err
}

func TestANoteIsNotRenewedOverAChange(t *testing.T) {
	w := newWorld(t)
	w.dialect = exact
	w.tree3(t)
	store := &meddled{Tree: w.tree}
	s := w.scheduler(func(c *Config) { c.Store = store })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	digest, _, _ := s.Digest(w.key("/"))
	w.digest["/"] = digest
	w.pass(time.Hour)
	w.put("README", "changed", w.now())
	fetch := func() { // as a client does
		if _, err := w.Refresh(context.Background(), Ask{Key: w.key("/README")}); err != nil {
			t.Error(err)
		}
	}
	store.then.Store(&fetch)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	if d, _, ok := s.Digest(w.key("/")); ok && d == digest {
		t.Errorf("Digest = %q, that of a file which a client replaced while the upstream was asked", d)
	}
}

func TestNotesOfAClockThatWasAheadSpareNothing(t *testing.T) {
	w := newWorld(t)
	w.tree3(t)
	w.pass(365 * 24 * time.Hour)
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.pass(-365*24*time.Hour + time.Hour)
	w.put("d0/f0", "changed", w.now())
	if f, err := w.walk(s, nil); err != nil || f.Fetched != 1 {
		t.Errorf("walk after the clock was set right = %+v, %v; want the changed file fetched", f, err)
	}
	w.same()
}

func TestAFileThatIsLostDuringAWalkIsFetchedByTheNext(t *testing.T) {
	w := newWorld(t)
	w.dialect = exact
	w.tree3(t)
	w.digest["/"] = "upstream"
	lost := false
	w.every = func(p string) (Answer, error, bool) {
		if p == "/d2/" && !lost { // d0 and d1 are noted already
			lost = true
			if _, err := w.tree.Remove(w.key("/d0/f0"), false); err != nil {
				t.Error(err)
			}
		}
		return Answer{}, nil, false
	}
	s := w.scheduler(func(c *Config) { c.Parallel = 1 })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	if f, err := w.walk(s, nil); err != nil || f.Fetched != 1 {
		t.Errorf("next walk = %+v, %v; want the lost file fetched", f, err)
	}
	w.same()
}

func TestOtherRulesAreNotMetByAnOldDigest(t *testing.T) {
	for name, renew := range map[string]func(w *world, s *Scheduler) *Scheduler{
		"after a restart": func(w *world, _ *Scheduler) *Scheduler { return w.scheduler(nil) },
		"after a reload": func(_ *world, s *Scheduler) *Scheduler {
			s.SetSubtrees(nil)
			return s
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dialect = exact
			w.tree3(t)
			w.digest["/"] = "upstream"
			s := w.scheduler(nil)
			skip := func(j *job) { j.sub.Skip = func(p string) bool { return p == "d1/" } }
			if _, err := w.walk(s, skip); err != nil {
				t.Fatal(err)
			}
			w.pass(time.Hour)
			if f, err := w.walk(s, skip); err != nil || f.Requests != 1 {
				t.Errorf("second walk by the same rules = %+v, %v; want one request", f, err)
			}
			if f, err := w.walk(renew(w, s), nil); err != nil || f.Fetched != 5 {
				t.Errorf("walk by new rules = %+v, %v; want the five files of d1 fetched", f, err)
			}
			w.same()
		})
	}
}

func TestOrphansThatStayAreFoundAgainBehindAnUnchangedUpstream(t *testing.T) {
	// vouch has the upstream send the digests that it would have with what it holds now.
	vouch := func(w *world, s *Scheduler, dirs ...string) {
		for _, dir := range dirs {
			if d, _, ok := s.Digest(w.key(dir)); ok {
				w.digest[dir] = d
			}
		}
	}
	t.Run("held back", func(t *testing.T) {
		w := newWorld(t)
		w.dialect = exact
		for i := range 50 {
			w.put("d/keep"+string(rune('a'+i)), "x")
			w.put("d/drop"+string(rune('a'+i)), "x")
		}
		s := w.scheduler(nil)
		if _, err := w.walk(s, nil); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			w.drop("d/drop" + string(rune('a'+i)))
		}
		w.pass(time.Hour)
		for range 2 {
			if f, err := w.walk(s, nil); err != nil || f.HeldBack != 50 {
				t.Fatalf("walk = %+v, %v; want 50 held back", f, err)
			}
			vouch(w, s, "/", "/d/")
			w.pass(time.Hour)
		}
		if f, err := w.walk(s, func(j *job) { j.confirm = true }); err != nil || f.Removed != 50 {
			t.Errorf("confirmed walk = %+v, %v; want 50 removed", f, err)
		}
		w.same()
		w.pass(time.Hour)
		vouch(w, s, "/", "/d/")
		if f, err := w.walk(s, nil); err != nil || f.Requests > 2 {
			t.Errorf("walk after that = %+v, %v", f, err)
		}
		if f, err := w.walk(s, nil); err != nil || f.Requests != 1 {
			t.Errorf("and the next = %+v, %v; want one request", f, err)
		}
	})
	t.Run("found by a walk that was given up", func(t *testing.T) {
		w := newWorld(t)
		w.dialect = exact
		for _, name := range []string{"a/b/keep", "a/b/drop", "z/keep"} {
			w.put(name, "x")
		}
		s := w.scheduler(func(c *Config) { c.Parallel = 1 })
		if _, err := w.walk(s, nil); err != nil {
			t.Fatal(err)
		}
		w.drop("a/b/drop")
		w.pass(time.Hour)
		w.answer["/z/"] = func() (Answer, error) { return Answer{}, cache.ErrNoSpace }
		if _, err := w.walk(s, nil); !errors.Is(err, cache.ErrNoSpace) {
			t.Fatalf("walk = %v, want it given up in z", err)
		}
		delete(w.answer, "/z/")
		vouch(w, s, "/a/", "/a/b/")
		if w.digest["/a/"] == "" {
			t.Fatal("a is not noted")
		}
		w.pass(time.Hour)
		if f, err := w.walk(s, nil); err != nil || f.Removed != 1 {
			t.Errorf("next walk = %+v, %v; want the orphan removed", f, err)
		}
		w.same()
	})
}

func TestWhatCameBackIsNoOrphan(t *testing.T) {
	w := newWorld(t)
	w.put("d/x", "old")
	w.put("d/deep/y", "old")
	w.put("e/y", "y")
	s := w.scheduler(func(c *Config) { c.Parallel = 1 })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Hour)
	w.answer["/d/"] = func() (Answer, error) { return Answer{Outcome: Gone, Status: 404}, nil }
	w.answer["/e/"] = func() (Answer, error) {
		delete(w.answer, "/e/")
		w.pass(time.Minute)
		f := file{"new", w.now()}
		w.files["d/deep/y"] = f
		if _, err := w.store(Ask{Key: w.key("/d/deep/y")}, &cache.Meta{Status: 200, ModTime: f.modified}, f.body); err != nil { // a client's
			t.Error(err)
		}
		return w.list(Ask{Key: w.key("/e/")}, "e/")
	}
	if f, err := w.walk(s, nil); err != nil || f.Removed != 0 {
		t.Errorf("walk = %+v, %v; want nothing removed of a directory that has come back", f, err)
	}
	if _, _, err := w.tree.Peek(w.key("/d/deep/y")); err != nil {
		t.Errorf("Peek of what a client has just fetched = %v", err)
	}
}

func TestAnOrphanThatIsFoundTwiceCountsOnce(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		w.put("d/"+name, "x")
	}
	s := w.scheduler(func(c *Config) { c.Parallel = 1 })
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		w.drop("d/" + name)
	}
	w.put("d/new", "x")
	w.pass(time.Hour)
	began := w.now()
	ctx, cancel := context.WithCancel(context.Background())
	w.answer["/d/new"] = func() (Answer, error) {
		cancel()
		return Answer{}, ctx.Err()
	}
	if _, err := s.walk(ctx, &job{sub: Subtree{Name: "/hub", Dir: w.key("/")}, began: began, progress: &progress{}}); err == nil {
		t.Fatal("the first slice came to an end")
	}
	delete(w.answer, "/d/new")
	if f, err := w.walk(s, func(j *job) { j.began = began }); err != nil || f.Removed != 6 || f.HeldBack != 0 {
		t.Errorf("second slice = %+v, %v; want the six removed", f, err)
	}
	w.same()
}

func TestDirectoriesThatHoldNothingButLoopsHaveAnEnd(t *testing.T) {
	w := newWorld(t)
	w.every = func(p string) (Answer, error, bool) {
		_, body := w.dialect(w, "", []string{"x/", "y/"})
		ans, err := w.store(Ask{Key: w.key(p)}, listingMeta(w), body)
		return ans, err, true
	}
	f, err := w.walk(w.scheduler(nil), func(j *job) { j.sub.MaxRequests = 3000 })
	if err != nil {
		t.Errorf("walk = %+v, %v; want an end", f, err)
	}
}

func TestAListingOfARoundNumberIsNoProofThatSomethingIsGone(t *testing.T) {
	w := newWorld(t)
	w.dialect = func(w *world, dir string, names []string) (string, string) {
		return exact(w, dir, names[:min(len(names), 1000)])
	}
	for i := range 1000 {
		w.put("f"+string([]byte{byte('0' + i/100), byte('0' + i/10%10), byte('0' + i%10)}), "x")
	}
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	w.put("a", "new") // which pushes f999 off the end
	w.pass(time.Hour)
	f, err := w.walk(s, nil)
	if err != nil || f.Removed != 0 {
		t.Errorf("walk = %+v, %v; want nothing removed that was never asked for", f, err)
	}
	w.same()
}
