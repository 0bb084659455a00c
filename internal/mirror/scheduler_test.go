package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/durable"
)

func TestATouchStartsAWalkOfTheInnermostSubtreeAndOfNoOther(t *testing.T) {
	tests := []struct {
		name     string
		subtrees []string
		touch    string
		want     string
	}{
		{"a file below", []string{"/hub/a"}, "/hub/a/b/c.txt", "/hub/a"},
		{"the directory itself", []string{"/hub/a"}, "/hub/a/", "/hub/a"},
		{"the directory's name without its slash", []string{"/hub/a"}, "/hub/a", "/hub/a"},
		{"a name that only begins the same", []string{"/hub/a"}, "/hub/ab", ""},
		{"a directory above", []string{"/hub/a/b"}, "/hub/a/", ""},
		{"another hub", []string{"/hub/a"}, "/other/a/x", ""},
		{"the longest of two", []string{"/hub/a", "/hub/a/b"}, "/hub/a/b/x", "/hub/a/b"},
		{"beside the longer one", []string{"/hub/a", "/hub/a/b"}, "/hub/a/bc", "/hub/a"},
		{"the root catches all", []string{"/hub/", "/hub/a"}, "/hub/z/y", "/hub/"},
		{"the root's own page", []string{"/hub/"}, "/hub/", "/hub/"},
		{"an escaped slash is no separator", []string{"/hub/a"}, "/hub/a%2Fb", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, root *durable.Root) {
				r := play(t, root, Config{}, succeed, test.subtrees...)
				r.touch(test.touch)
				got := ""
				for _, o := range r.all() {
					got += o.name
				}
				if got != test.want {
					t.Errorf("Touch(%s) walks %q, want %q", test.touch, got, test.want)
				}
			})
		})
	}
}

func TestFindAgreesWithKeyUnder(t *testing.T) {
	paths := []string{"/h/", "/h/a/", "/h/a//", "/h/a/b/", "/h/ab/", "/h/a%20b/", "/h//"}
	keys := append([]string{"/h/a", "/h/a//x", "/h//x", "/h/a/b/c/d/e", "/h/a%20b/c", "/h/abc", "/h/x"}, paths...)
	for most := range len(paths) + 1 {
		tab := &table{hubs: map[string]*shelf{}}
		for _, p := range paths[:most] {
			tab.add(&seat{sub: Subtree{Name: p, Dir: keyOf(t, p)}})
		}
		for _, k := range keys {
			key, want := keyOf(t, k), ""
			for _, p := range paths[:most] {
				if key.Under(keyOf(t, p)) && len(p) > len(want) {
					want = p
				}
			}
			got := ""
			if s := tab.find(key); s != nil {
				got = s.sub.Name
			}
			if got != want {
				t.Errorf("find(%s) among %q = %q, want %q", k, paths[:most], got, want)
			}
		}
	}
}

func TestTouchesAtTheSameTimeStartOneWalk(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, untilEnd, "/hub/a")
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() { r.Touch(keyOf(t, fmt.Sprintf("/hub/a/%d", i))) })
		}
		all.Wait()
		synctest.Wait()
		r.want(1, "after a thousand touches at the same time")
		r.touch("/hub/a/x")
		r.want(1, "while it is under way")
	})
}

func TestATouchBeforeRunIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := newRig(t, root, Config{}, succeed, "/hub/a")
		for range 1000 {
			r.Touch(keyOf(t, "/hub/a/x"))
		}
		if n := len(r.touched.tracks); n != 1 {
			t.Errorf("%d touches wait for Run, want one for the subtree", n)
		}
		r.want(0, "before Run")
		r.run()
		synctest.Wait()
		r.want(1, "once it runs")
	})
}

func TestASubtreeInConstantUseIsWalkedOncePerJitteredInterval(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{MinInterval: time.Hour}, succeed, "/hub/a")
		r.keepTouching("/hub/a/x", 10*time.Second, 20*time.Hour)
		walks := r.all()
		gaps := map[time.Duration]bool{}
		for i := 1; i < len(walks); i++ {
			gap := walks[i].at.Sub(walks[i-1].at)
			if gap < 51*time.Minute || gap > 69*time.Minute+10*time.Second {
				t.Errorf("%v between two walks, want 1 h ± 15 %%", gap)
			}
			gaps[gap] = true
		}
		if len(walks) < 17 || len(gaps) < 8 {
			t.Errorf("%d walks in 20 h with %d different pauses, want about 20 walks and a pause drawn anew each time", len(walks), len(gaps))
		}
	})
}

func TestInstancesThatStartTogetherDoNotWalkTogether(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		perMinute := map[int64]int{}
		for i := range 100 {
			name := fmt.Sprintf("i%d", i)
			if err := root.MkdirAll(name); err != nil {
				t.Fatal(err)
			}
			sub, err := root.Sub(name)
			if err != nil {
				t.Fatal(err)
			}
			r := play(t, sub, Config{}, succeed, "/hub/a")
			r.touch("/hub/a/x")
			perMinute[int64(time.Until(r.status("/hub/a").Next)/time.Minute)]++
			r.halt()
			sub.Close()
		}
		if len(perMinute) < 12 {
			t.Errorf("100 instances that walked at the same moment are due in %d different minutes, want them spread over 18", len(perMinute))
		}
	})
}

func TestAFailedWalkIsTriedAgainSoonerAndDoesNotCountAsDone(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		down := errors.New("no route to host")
		r := play(t, root, Config{MinInterval: time.Hour}, func(context.Context, *job) (result, error) { return result{}, down }, "/hub/a")
		r.keepTouching("/hub/a/x", time.Second, 5*time.Hour)
		walks := r.all()
		want := []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour}
		if len(walks) <= len(want) {
			t.Fatalf("%d walks in 5 h, want more than %d", len(walks), len(want))
		}
		for i, pause := range want {
			gap := walks[i+1].at.Sub(walks[i].at)
			if low, high := pause*85/100, pause*115/100+time.Second; gap < low || gap > high {
				t.Errorf("pause after failure %d = %v, want %v ± 15 %%", i+1, gap, pause)
			}
		}
		st := r.status("/hub/a")
		if st.State != StateFailed || !st.Success.IsZero() || st.Err != down.Error() || st.Failed != len(walks) || st.Size != -1 || st.Ended.IsZero() {
			t.Errorf("status after failures = %+v, want failed, no success, the error and a count of %d", st, len(walks))
		}
	})
}

func TestSuccessEndsTheBackoff(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		n := 0
		r := play(t, root, Config{}, func(ctx context.Context, j *job) (result, error) {
			if n++; n == 4 {
				return succeed(ctx, j)
			}
			return result{}, errors.New("down")
		}, "/hub/a")
		r.keepTouching("/hub/a/x", time.Second, 10*time.Minute)
		r.want(4, "in ten minutes with three failures")
		if st := r.status("/hub/a"); st.State != StateSuccess || st.Failed != 0 || st.Err != "" || st.Size != 1000 || st.Files != 3 || st.Dirs != 2 {
			t.Errorf("status after a success = %+v, want success with its figures and no error", st)
		}
		r.keepTouching("/hub/a/x", time.Second, 40*time.Minute)
		r.want(4, "within the interval after the success")
	})
}

func TestASliceThatIsOverIsTakenUpByTheNextTouch(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		n := 0
		r := play(t, root, Config{Slice: 30 * time.Minute}, func(ctx context.Context, j *job) (result, error) {
			if n++; n == 3 {
				return succeed(ctx, j)
			}
			return untilEnd(ctx, j)
		}, "/hub/a")
		r.touch("/hub/a/x")
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		r.want(1, "before the next touch")
		if st := r.status("/hub/a"); st.State != StatePaused || st.Failed != 0 || !st.Ended.IsZero() {
			t.Errorf("status after a slice = %+v, want paused, not failed and not ended", st)
		}
		r.touch("/hub/a/x")
		r.want(2, "after it, however short ago the slice ended")
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		r.touch("/hub/a/x")
		r.want(3, "after the third touch")
		for i, o := range r.all() {
			if began := r.all()[0].at; !o.began.Equal(began) {
				t.Errorf("slice %d counts from %v, want %v: what was noted since is done", i+1, o.began, began)
			}
		}
		time.Sleep(2 * time.Hour)
		r.touch("/hub/a/x")
		if last := r.all()[3]; !last.began.Equal(last.at) {
			t.Errorf("the walk after a complete one counts from %v, want %v", last.began, last.at)
		}
	})
}

func TestAWalkThatWasBegunLongAgoBeginsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, untilEnd, "/hub/a")
		r.touch("/hub/a/x")
		time.Sleep(longestUnfinished + time.Hour)
		r.touch("/hub/a/x")
		r.want(2, "after two touches")
		if o := r.all()[1]; !o.began.Equal(o.at) {
			t.Errorf("a slice more than a week later counts from %v, want %v", o.began, o.at)
		}
	})
}

func TestAtMostWalksAreUnderWayAndTheOthersWaitTheirTurn(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		let := make(chan struct{})
		r := play(t, root, Config{Walks: 2}, func(ctx context.Context, j *job) (result, error) {
			<-let
			return succeed(ctx, j)
		}, "/hub/a", "/hub/b", "/hub/c", "/hub/d")
		for _, name := range []string{"/hub/a/x", "/hub/b/x", "/hub/c/x", "/hub/d/x"} {
			r.touch(name)
		}
		r.want(2, "with two at a time")
		states := map[string]int{}
		for _, st := range r.Status() {
			states[st.State]++
			if (st.State == StateWalking) != (st.Live != nil) {
				t.Errorf("%s is %s with figures %v, want them of a walk under way alone", st.Name, st.State, st.Live)
			}
		}
		if states[StateWalking] != 2 || states[StateQueued] != 2 {
			t.Errorf("states = %v, want two walking and two queued", states)
		}
		let <- struct{}{}
		synctest.Wait()
		r.want(3, "after one ended")
		close(let)
		synctest.Wait()
		r.want(4, "in the end")
		if got := r.all()[2].name + r.all()[3].name; got != "/hub/c/hub/d" {
			t.Errorf("those that waited came as %s, want the order of their touches", got)
		}
	})
}

func TestTouchAllocatesNothing(t *testing.T) {
	r := newRig(t, rootAt(t, t.TempDir()), Config{}, succeed, "/hub/", "/hub/linux/kernel/v6.x")
	for _, path := range []string{"/hub/linux/kernel/v6.x/linux-6.1.tar.xz", "/hub/x", "/other/y"} {
		key := keyOf(t, path)
		r.Touch(key)
		if n := testing.AllocsPerRun(100, func() { r.Touch(key) }); n != 0 {
			t.Errorf("Touch(%s) allocates %v times, want 0", path, n)
		}
	}
}

func BenchmarkTouch(b *testing.B) {
	for name, pending := range map[string]bool{"NotDue": false, "Walking": true} {
		b.Run(name, func(b *testing.B) {
			s, err := New(Config{
				Store: &shelfStore{}, Refresher: &asker{}, Root: rootAt(b, b.TempDir()),
				Subtrees: []Subtree{subtree(b, "/hub/linux/kernel/v6.x"), subtree(b, "/hub/linux")},
			})
			if err != nil {
				b.Fatal(err)
			}
			s.tracks["/hub/linux/kernel/v6.x"].setNext(time.Now().Add(time.Hour))
			s.tracks["/hub/linux/kernel/v6.x"].pending.Store(pending)
			key := keyOf(b, "/hub/linux/kernel/v6.x/linux-6.1.1.tar.xz")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s.Touch(key)
				}
			})
		})
	}
}
