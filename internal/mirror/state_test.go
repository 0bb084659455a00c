package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
)

// kept reads the state file.
func kept(t *testing.T, root *durable.Root) stateFile {
	t.Helper()
	data, err := root.ReadFile(stateName, largestState)
	if err != nil {
		t.Fatal(err)
	}
	var file stateFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("the state file is no JSON: %v: %s", err, data)
	}
	return file
}

func TestWhatWasWalkedIsRememberedOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		first := play(t, root, Config{}, succeed, "/hub/a")
		first.touch("/hub/a/x")
		first.halt()
		before := first.status("/hub/a")
		time.Sleep(10 * time.Minute)
		second := play(t, root, Config{}, succeed, "/hub/a")
		second.keepTouching("/hub/a/x", time.Minute, 40*time.Minute)
		second.want(0, "within the interval, after a restart")
		after := second.status("/hub/a")
		if !after.Success.Equal(before.Success) || !after.Next.Equal(before.Next) || after.State != StateSuccess || after.Size != 1000 {
			t.Errorf("status after the restart = %+v, want that from before: %+v", after, before)
		}
		second.keepTouching("/hub/a/x", time.Minute, 20*time.Minute)
		second.want(1, "after the interval")
	})
}

func TestAWalkCutByTheEndOfTheProcessGoesOnAtTheFirstTouch(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		first := play(t, root, Config{}, untilEnd, "/hub/a")
		first.touch("/hub/a/x")
		began := first.all()[0].began
		time.Sleep(5 * time.Minute)
		first.halt()
		if p := kept(t, root).Subtrees["/hub/a"]; !p.Unfinished.Equal(began) || !p.Ended.IsZero() || p.Failures != 0 {
			t.Errorf("kept after an interrupted walk = %+v, want unfinished since %v, not ended and not failed", p, began)
		}
		second := play(t, root, Config{}, succeed, "/hub/a")
		if st := second.status("/hub/a"); st.State != StatePaused {
			t.Errorf("state after the restart = %s, want %s", st.State, StatePaused)
		}
		second.want(0, "after the restart, without a touch")
		second.touch("/hub/a/x")
		second.want(1, "at the first touch")
		if o := second.all()[0]; !o.began.Equal(began) {
			t.Errorf("it counts from %v, want %v", o.began, began)
		}
	})
}

func TestAProcessThatIsKilledLeavesNoMarkThatSilencesTheSubtree(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		first := play(t, root, Config{}, succeed, "/hub/a")
		first.touch("/hub/a/x")
		time.Sleep(10 * time.Minute)
		first.walker = untilEnd
		if _, err := first.Walk("/hub/a", cache.Key{}, Options{}); err != nil { // by command, for no touch is due
			t.Fatal(err)
		}
		synctest.Wait()
		left, err := root.ReadFile(stateName, largestState) // what a kill -9 would leave
		if err != nil {
			t.Fatal(err)
		}
		first.halt()
		if err := root.WriteFile(stateName, left, false); err != nil {
			t.Fatal(err)
		}
		second := play(t, root, Config{}, succeed, "/hub/a")
		second.touch("/hub/a/x")
		second.want(1, "at the first touch after a crash")
	})
}

func TestAStateThatCannotBeReadIsNoState(t *testing.T) {
	const good = `{"version":1,"subtrees":{"/hub/a":{"last_walk_at":"2000-01-01T00:00:00Z","last_success_at":"2000-01-01T00:00:00Z"}}}`
	tests := []struct {
		name  string
		text  string
		warns bool
		walks int // at the first touch
	}{
		{"a good one holds the walk back", good, false, 0},
		{"one without a version, of names and times alone", strings.Replace(good, `"version":1,`, "", 1), false, 0},
		{"a field that nobody knows", strings.Replace(good, `{"last_walk_at"`, `{"colour":"red","last_walk_at"`, 1), false, 0},
		{"a walk that ended without success holds nothing back", `{"subtrees":{"/hub/a":{"last_walk_at":"2000-01-01T00:00:00Z"}}}`, false, 1},
		{"empty", "", true, 1},
		{"cut off", good[:len(good)/2], true, 1},
		{"zeros, as after a power loss", strings.Repeat("\x00", 512), true, 1},
		{"of another type", `[1,2]`, true, 1},
		{"a time that is none", strings.Replace(good, "2000-01-01T00:00:00Z", "yesterday", 1), true, 1},
		{"null", "null", false, 1},
		{"of a newer version", strings.Replace(good, `"version":1`, `"version":2`, 1), true, 1},
		{"of a newer version in another shape", `{"version":7,"subtrees":["/hub/a"]}`, true, 1},
		{"a pause that a wrong clock wrote", strings.Replace(good, `"last_walk_at"`, `"next_at":"2031-01-01T00:00:00Z","last_walk_at"`, 1), false, 1},
		{"a success that a wrong clock wrote", strings.ReplaceAll(good, "2000-", "2031-"), false, 1},
		{"a pause that is still on", strings.Replace(good, `"last_walk_at"`, `"next_at":"2000-01-01T01:00:00Z","last_walk_at"`, 1), false, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, root *durable.Root) {
				if err := root.WriteFile(stateName, []byte(test.text), false); err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				r := play(t, root, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, succeed, "/hub/a")
				if got := strings.Contains(log.String(), "level=WARN"); got != test.warns {
					t.Errorf("warned = %v, want %v: %s", got, test.warns, &log)
				}
				r.touch("/hub/a/x")
				r.want(test.walks, "at the first touch")
				if test.walks > 0 && kept(t, root).Version != stateVersion {
					t.Error("the walk was not written down")
				}
				aside, err := root.ReadFile(newerName, largestState)
				if newer := strings.Contains(test.name, "newer"); newer && string(aside) != test.text || !newer && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("put aside: %q, %v; want only a newer version's, as it was", aside, err)
				}
			})
		})
	}
}

func TestTheStateOfASubtreeThatIsBackIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		first := play(t, root, Config{}, succeed, "/hub/a", "/hub/b")
		first.touch("/hub/a/x")
		first.touch("/hub/b/x")
		first.halt()
		second := play(t, root, Config{}, succeed, "/hub/b")
		time.Sleep(2 * time.Hour)
		second.touch("/hub/b/x")
		second.halt()
		third := play(t, root, Config{}, succeed, "/hub/a")
		if st := third.status("/hub/a"); !st.Success.Equal(first.all()[0].at) {
			t.Errorf("success of a subtree that was not configured for one run = %v, want %v", st.Success, first.all()[0].at)
		}
		third.halt()
		time.Sleep(longestRemembered)
		fourth := play(t, root, Config{}, succeed, "/hub/b")
		fourth.touch("/hub/b/x")
		if _, there := kept(t, root).Subtrees["/hub/a"]; there {
			t.Error("a subtree that is long gone is still in the state file")
		}
	})
}

func TestAReaderOfTheStateFileNeverSeesAPartOfIt(t *testing.T) {
	root := rootAt(t, t.TempDir())
	r := newRig(t, root, Config{MinInterval: time.Nanosecond}, succeed, "/hub/a", "/hub/b", "/hub/c")
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { r.Run(ctx) })
	all.Go(func() {
		defer cancel()
		for seen := 0; seen < 300; {
			data, err := root.ReadFile(stateName, largestState)
			if errors.Is(err, fs.ErrNotExist) && seen == 0 {
				continue
			}
			seen++
			if err != nil || !json.Valid(data) || !bytes.HasSuffix(data, []byte("}\n")) {
				t.Errorf("read %q, %v while walks end; want a whole file", data, err)
				return
			}
		}
	})
	all.Go(func() {
		for ctx.Err() == nil {
			for _, name := range []string{"/hub/a/x", "/hub/b/x", "/hub/c/x"} {
				r.Touch(keyOf(t, name))
			}
			if len(r.all()) > 2000 {
				<-ctx.Done()
			}
		}
	})
	all.Wait()
}

func TestAStateThatCannotBeWrittenStopsNoWalk(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		if err := root.MkdirAll(stateName + "/in/the/way"); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		r := play(t, root, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, succeed, "/hub/a")
		r.touch("/hub/a/x")
		r.want(1, "with a state file that cannot be written")
		synctest.Wait()
		if !strings.Contains(log.String(), "mirror state is not saved") {
			t.Errorf("log = %s, want it to say that the state is not saved", &log)
		}
	})
}
