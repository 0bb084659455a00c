package mirror

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/durable"
)

func TestEventsTellOfAWalkFromTheQueueToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, func(ctx context.Context, j *job) (result, error) {
			time.Sleep(3500 * time.Millisecond)
			j.removed.Add(2)
			return result{heldBack: 40}, nil
		}, "/hub/a")
		events := r.Events(t.Context())
		r.touch("/hub/a/x")
		var got []string
		for e := range events {
			got = append(got, e.Kind+" "+e.Status.State)
			if e.Kind == EventEnded {
				if e.Status.Held != 40 || e.Status.Last == nil || e.Status.Last.Removed != 2 {
					t.Errorf("status at the end = %+v, want 40 held back and 2 removed", e.Status)
				}
				break
			}
		}
		want := "walk-queued pre-syncing, walk-started syncing, walk-progress syncing, walk-progress syncing, walk-progress syncing, " +
			"purge-held-back pre-syncing, purged pre-syncing, walk-ended success"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("events = %s; want %s", s, want)
		}
	})
}

func TestASlowReaderGetsTheLastEventOfEverySubtree(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		var paths []string
		for i := range backlog + 20 {
			paths = append(paths, fmt.Sprintf("/hub/d%d", i))
		}
		r := play(t, root, Config{Walks: 600, MinInterval: 2 * time.Minute}, func(ctx context.Context, j *job) (result, error) {
			time.Sleep(10 * time.Second)
			return succeed(ctx, j)
		}, paths...)
		ctx, cancel := context.WithCancel(t.Context())
		events := r.Events(ctx)
		for range 3 {
			for _, path := range paths {
				r.Touch(keyOf(t, path+"/x"))
			}
			time.Sleep(5 * time.Minute)
		}
		r.Scheduler.mu.Lock()
		for sub := range r.readers {
			sub.mu.Lock()
			n := len(sub.waiting)
			sub.mu.Unlock()
			if n > 2*len(paths)+2*backlog {
				t.Errorf("%d events wait for a reader that takes none, want a bound", n)
			}
		}
		r.Scheduler.mu.Unlock()
		last := map[string]Event{}
		go func() {
			synctest.Wait()
			cancel()
		}()
		for e := range events {
			last[e.Status.Name] = e
		}
		for _, path := range paths {
			if e := last[path]; e.Kind != EventEnded || e.Status.State != StateSuccess {
				t.Fatalf("last event of %s = %s %s, want its end", path, e.Kind, e.Status.State)
			}
		}
	})
}

func TestEventsEndWithTheirReaderAndWithRun(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		r := play(t, root, Config{}, untilEnd, "/hub/a")
		ctx, cancel := context.WithCancel(t.Context())
		leaving, staying := r.Events(ctx), r.Events(t.Context())
		cancel()
		for range leaving {
			t.Error("an event came where none happened")
		}
		synctest.Wait()
		r.Scheduler.mu.Lock()
		n := len(r.readers)
		r.Scheduler.mu.Unlock()
		if n != 1 {
			t.Errorf("%d readers after one of two left, want 1", n)
		}
		r.halt()
		for range staying {
			t.Error("an event came where none happened")
		}
	})
}
