package mirror

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
)

func TestACommandWalksAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		fails := true
		r := play(t, root, Config{}, func(ctx context.Context, j *job) (result, error) {
			if fails {
				return result{}, errors.New("down")
			}
			return succeed(ctx, j)
		}, "/hub/a")
		walk := func(when string, n int) {
			t.Helper()
			if _, err := r.Walk("/hub/a", cache.Key{}, Options{}); err != nil {
				t.Fatalf("Walk %s = %v", when, err)
			}
			synctest.Wait()
			r.want(n, when)
		}
		walk("that was never walked", 1)
		walk("in the pause after a failure", 2)
		fails = false
		walk("after another", 3)
		walk("within the interval", 4)
		time.Sleep(10 * time.Minute)
		r.touch("/hub/a/x")
		r.want(4, "after a touch within the interval that the command began")
	})
}

func TestACommandJoinsAWalkOfItsKindAndIsToldOfAnother(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, untilEnd, "/hub/a")
		r.touch("/hub/a/x")
		if st, err := r.Walk("/hub/a", cache.Key{}, Options{}); err != nil || st.State != StateWalking {
			t.Errorf("Walk of what is being walked = %s, %v; want it joined", st.State, err)
		}
		for _, o := range []Options{{DryRun: true}, {ConfirmPurge: true}} {
			if _, err := r.Walk("/hub/a", cache.Key{}, o); !errors.Is(err, ErrBusy) {
				t.Errorf("Walk with %+v meanwhile = %v, want %v", o, err, ErrBusy)
			}
		}
		synctest.Wait()
		r.want(1, "after all that")
	})
}

func TestACommandGoesOnOverAllSlices(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		n := 0
		r := play(t, root, Config{Slice: 30 * time.Minute, MinInterval: time.Minute}, func(ctx context.Context, j *job) (result, error) {
			if n++; n == 4 {
				return succeed(ctx, j)
			}
			return untilEnd(ctx, j)
		}, "/hub/a")
		if _, err := r.Walk("/hub/a", cache.Key{}, Options{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		r.want(4, "in three hours without any touch")
		for i, o := range r.all() {
			if !o.began.Equal(r.all()[0].at) {
				t.Errorf("slice %d counts from %v, want %v", i+1, o.began, r.all()[0].at)
			}
		}
		if st := r.status("/hub/a"); st.State != StateSuccess {
			t.Errorf("state = %s, want %s", st.State, StateSuccess)
		}
	})
}

func TestASliceMakesRoomForThoseThatWait(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{Walks: 1, Slice: 30 * time.Minute}, func(ctx context.Context, j *job) (result, error) {
			if j.sub.Name == "/hub/a" {
				return untilEnd(ctx, j)
			}
			return succeed(ctx, j)
		}, "/hub/a", "/hub/b")
		if _, err := r.Walk("/hub/a", cache.Key{}, Options{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.touch("/hub/b/x")
		r.want(1, "with one slot")
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		if got := r.all(); len(got) != 3 || got[1].name != "/hub/b" {
			t.Errorf("walks after a slice = %v, want the one that waited before the next slice", got)
		}
	})
}

func TestADryRunChangesNothingThatIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, func(ctx context.Context, j *job) (result, error) {
			if j.dry {
				j.would.Add(7)
				return result{files: 99}, errors.New("listing is cut off")
			}
			return succeed(ctx, j)
		}, "/hub/a")
		r.touch("/hub/a/x")
		before := kept(t, root).Subtrees["/hub/a"]
		time.Sleep(time.Minute)
		if _, err := r.Walk("/hub/a", cache.Key{}, Options{DryRun: true}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if after := kept(t, root).Subtrees["/hub/a"]; after != before {
			t.Errorf("kept after a dry run = %+v, want %+v", after, before)
		}
		if st := r.status("/hub/a"); !st.DryRun || st.Err != "listing is cut off" || st.Last == nil || st.Last.Would != 7 || st.State != StateSuccess {
			t.Errorf("status after a dry run = %+v, want its figures and error, and the state of before", st)
		}
	})
}

func TestAnyDirectoryCanBeWalkedByTheRulesOfTheSubtreeAroundIt(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		sub := subtree(t, "/hub/a")
		sub.MaxFile, sub.MaxRequests = 1000, 50
		sub.Skip = func(path string) bool { return path == "b c/old/" }
		var got Subtree
		r := play(t, root, Config{Subtrees: []Subtree{sub}}, func(ctx context.Context, j *job) (result, error) {
			got = j.sub
			return succeed(ctx, j)
		})
		if _, err := r.Walk("/hub/a/b c", keyOf(t, "/hub/a/b%20c/"), Options{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got.MaxFile != 1000 || got.MaxRequests != 50 || !got.Skip("old/") || got.Skip("new/") || got.Upstream != sub.Upstream {
			t.Errorf("walked %+v, want the rules of the subtree around it, and b c/old/ alone skipped", got)
		}
		if st := r.status("/hub/a/b c"); st.State != StateSuccess {
			t.Errorf("its state = %s, want it shown as %s", st.State, StateSuccess)
		}
		if n := len(kept(t, root).Subtrees); n != 0 {
			t.Errorf("%d subtrees are kept, want none: it is not configured", n)
		}
		r.touch("/hub/a/b%20c/x")
		r.want(2, "after a touch there")
		if o := r.all()[1]; o.name != "/hub/a" {
			t.Errorf("the touch walked %s, want the configured subtree", o.name)
		}
		for _, key := range []cache.Key{{}, keyOf(t, "/hub/a/file")} {
			if _, err := r.Walk("/nowhere", key, Options{}); !errors.Is(err, ErrNoSubtree) {
				t.Errorf("Walk of %q = %v, want %v", key, err, ErrNoSubtree)
			}
		}
	})
}

func TestAdHocWalksAreRememberedUpToABound(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, succeed, "/hub/a")
		for i := range 2 * mostKept {
			dir := "/hub/d" + strings.Repeat("x", i) + "/"
			if _, err := r.Walk(dir, keyOf(t, dir), Options{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(time.Second)
		}
		if n := len(r.Status()); n != mostKept+1 {
			t.Errorf("%d subtrees are shown, want the configured one and %d others", n, mostKept)
		}
	})
}

func TestAPurgeEndsTheWalksAroundItAndWaitsForThem(t *testing.T) {
	tests := []struct {
		name  string
		purge string
		ended string
	}{
		{"a file in one", "/hub/a/b/x", "/hub/a"},
		{"what is above one", "/hub/", "/hub/a /hub/ab"},
		{"one itself", "/hub/ab/", "/hub/ab"},
		{"another hub", "/other/a/", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, root *durable.Root) {
				r := play(t, root, Config{}, func(ctx context.Context, _ *job) (result, error) {
					<-ctx.Done()
					time.Sleep(2 * time.Second) // what is in flight takes a while to end
					return result{}, ctx.Err()
				}, "/hub/a", "/hub/ab")
				r.touch("/hub/a/x")
				r.touch("/hub/ab/x")
				time.Sleep(time.Minute)
				r.Forget(keyOf(t, test.purge))
				var ended []string
				for _, st := range r.Status() {
					if st.State != StateWalking {
						ended = append(ended, st.Name)
						if st.Err != ErrForgotten.Error() || st.Failed != 0 {
							t.Errorf("status of %s = %+v, want it forgotten and not failed", st.Name, st)
						}
					}
				}
				if got := strings.Join(ended, " "); got != test.ended {
					t.Errorf("Forget(%s) returned with %q ended, want %q", test.purge, got, test.ended)
				}
			})
		})
	}
}

func TestAForgottenWalkBeginsAnewAfterAWhile(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{Walks: 1}, untilEnd, "/hub/a", "/hub/b")
		r.touch("/hub/a/x")
		r.touch("/hub/b/x") // waits
		r.Forget(keyOf(t, "/hub/"))
		for _, st := range r.Status() {
			if st.Live != nil || st.State == StateQueued {
				t.Errorf("%s is %s after Forget, want neither walking nor queued", st.Name, st.State)
			}
		}
		r.touch("/hub/a/x")
		r.want(1, "right after the purge began")
		time.Sleep(70 * time.Second)
		r.touch("/hub/a/x")
		r.want(2, "a minute later")
		if o := r.all()[1]; !o.began.Equal(o.at) {
			t.Errorf("it counts from %v, want %v: what was noted is purged", o.began, o.at)
		}
	})
}

func TestForgetBeforeRunEndsWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := newRig(t, root, Config{}, succeed, "/hub/a")
		if _, err := r.Walk("/hub/a", cache.Key{}, Options{}); err != nil {
			t.Fatal(err)
		}
		r.Forget(keyOf(t, "/hub/"))
		r.run()
		synctest.Wait()
		r.want(0, "that a purge had ended before Run")
	})
}

func TestAReloadEndsWalksOfSubtreesThatAreGoneAndNoOthers(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, untilEnd, "/hub/a", "/hub/b", "/hub/c")
		for _, name := range []string{"/hub/a/x", "/hub/b/x", "/hub/c/x"} {
			r.touch(name)
		}
		moved := subtree(t, "/hub/c")
		moved.Dir = keyOf(t, "/other/c/")
		r.SetSubtrees([]Subtree{subtree(t, "/hub/a"), moved, subtree(t, "/hub/d")})
		synctest.Wait()
		var states []string
		for _, st := range r.Status() {
			states = append(states, st.Name+" "+st.State)
		}
		if got, want := strings.Join(states, ", "), "/hub/a syncing, /hub/c none, /hub/d none"; got != want {
			t.Errorf("after the reload: %s; want %s", got, want)
		}
		r.touch("/hub/a/x")
		r.touch("/hub/b/x")
		r.want(3, "after touches of one that goes on and one that is gone")
		r.touch("/other/c/x")
		r.touch("/hub/d/x")
		r.want(5, "after touches of one that moved and one that is new")
	})
}

func TestTheBudgetIsWhatIsHeldAndATenthOfTheFreeSpace(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		free, unread := int64(5000), error(nil)
		fails := false
		r := play(t, root, Config{MinInterval: time.Minute, Free: func() (int64, error) { return free, unread }},
			func(ctx context.Context, j *job) (result, error) {
				if fails {
					return result{}, errors.New("down")
				}
				return succeed(ctx, j)
			}, "/hub/a")
		next := func() int64 {
			time.Sleep(time.Hour)
			r.touch("/hub/a/x")
			walks := r.all()
			return walks[len(walks)-1].limit
		}
		if got := next(); got != 500 {
			t.Errorf("budget of the first walk = %d, want a tenth of 5000", got)
		}
		fails = true
		if got := next(); got != 1500 {
			t.Errorf("budget with 1000 bytes held = %d, want 1500", got)
		}
		free = 1000 // the failed walk has brought something
		if got := next(); got != 1500 {
			t.Errorf("budget of the walk that goes on = %d, want what it was: 1500", got)
		}
		fails = false
		next()
		if got := next(); got != 1100 {
			t.Errorf("budget after a success = %d, want 1100", got)
		}
		free = 0
		if got := next(); got < 1 {
			t.Errorf("budget on a full disk = %d, want some, for 0 is none at all", got)
		}
		unread = errors.New("input/output error")
		before := len(r.all())
		next()
		if st := r.status("/hub/a"); len(r.all()) != before || st.State != StateFailed || !strings.Contains(st.Err, unread.Error()) {
			t.Errorf("with an unreadable disk: %d walks, %+v; want none, and a failure that tells why", len(r.all())-before, st)
		}
	})
}

func TestWhatIsAskedOfAStoppedMirrorFails(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, untilEnd, "/hub/a")
		r.touch("/hub/a/x")
		r.halt()
		if _, err := r.Walk("/hub/a", cache.Key{}, Options{}); !errors.Is(err, ErrStopped) {
			t.Errorf("Walk after Run = %v, want %v", err, ErrStopped)
		}
		r.touch("/hub/a/x")
		if _, open := <-r.Events(t.Context()); open {
			t.Error("Events after Run tell something, want a closed channel")
		}
	})
}

func TestNewRefusesAConfigWithoutItsParts(t *testing.T) {
	root := rootAt(t, t.TempDir())
	for name, cfg := range map[string]Config{
		"no store":     {Refresher: &asker{}, Root: root},
		"no refresher": {Store: &shelfStore{}, Root: root},
		"no root":      {Store: &shelfStore{}, Refresher: &asker{}},
	} {
		if s, err := New(cfg); err == nil {
			t.Errorf("New with %s = %v, want an error", name, s)
		}
	}
	s, err := New(Config{Store: &shelfStore{}, Refresher: &asker{}, Root: root, MinInterval: -1, Parallel: -1, Walks: -1, Slice: -1})
	if err != nil {
		t.Fatal(err)
	}
	if c := s.cfg; c.MinInterval != time.Hour || c.Parallel != 4 || c.Walks != 4 || c.Slice != 30*time.Minute {
		t.Errorf("defaults for negative settings = %v, %d, %d, %v; want 1h, 4, 4, 30m", c.MinInterval, c.Parallel, c.Walks, c.Slice)
	}
}
