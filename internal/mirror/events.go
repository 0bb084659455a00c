package mirror

import (
	"context"
	"sync"
)

// The kinds of Events.
const (
	EventQueued   = "walk-queued"
	EventStarted  = "walk-started"
	EventProgress = "walk-progress" // at most once a second for each walk
	EventEnded    = "walk-ended"
	EventPurged   = "purged"          // orphans went to the trash
	EventHeldBack = "purge-held-back" // so many orphans that a walk must be confirmed before it removes them
	EventDropped  = "subtree-dropped" // it is not configured any more
)

// An Event says that something became of a subtree.
type Event struct {
	Kind   string
	Status Status
}

// backlog is how many Events wait for a slow reader before older ones of the same subtree are left out.
const backlog = 256

// A subscription holds what a reader has not taken yet. Its length is bounded by the backlog and the number of subtrees.
type subscription struct {
	mu      sync.Mutex
	waiting []Event
	bound   int           // at this length older Events are left out
	more    chan struct{} // holds one when something was added
}

// Events tells what becomes of the subtrees from now on, until ctx or the Scheduler's Run ends; then the channel is closed. A reader that is slow misses
// Events, but never the last one of a subtree.
func (s *Scheduler) Events(ctx context.Context) <-chan Event {
	out := make(chan Event)
	sub := &subscription{bound: backlog, more: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		close(out)
		return out
	}
	s.readers[sub] = true
	s.helpers.Go(func() {
		defer close(out)
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.readers, sub)
		}()
		sub.feed(ctx, s.closing, out)
	})
	return out
}

// feed passes on what waits until ctx ends or closing is closed.
func (sub *subscription) feed(ctx context.Context, closing <-chan struct{}, out chan<- Event) {
	for {
		e, ok := sub.take()
		if !ok {
			select {
			case <-sub.more:
				continue
			case <-ctx.Done():
			case <-closing:
			}
			return
		}
		select {
		case out <- e:
		case <-ctx.Done():
			return
		case <-closing:
			return
		}
	}
}

func (sub *subscription) take() (Event, bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if len(sub.waiting) == 0 {
		return Event{}, false
	}
	e := sub.waiting[0]
	sub.waiting[0] = Event{}
	sub.waiting = sub.waiting[1:]
	return e, true
}

func (sub *subscription) add(e Event) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	sub.waiting = append(sub.waiting, e)
	if len(sub.waiting) >= sub.bound {
		sub.thin()
	}
	select {
	case sub.more <- struct{}{}:
	default:
	}
}

// thin leaves the last Event of each subtree. With many subtrees few can be left out, so that the next time comes only when as many again have been added.
func (sub *subscription) thin() {
	last := map[string]int{}
	for i, e := range sub.waiting {
		last[e.Status.Name] = i
	}
	kept := make([]Event, 0, len(last)+backlog)
	for i, e := range sub.waiting {
		if last[e.Status.Name] == i {
			kept = append(kept, e)
		}
	}
	sub.waiting, sub.bound = kept, len(kept)+backlog
}

// tell passes an Event about t to all readers. The lock is held.
func (s *Scheduler) tell(kind string, t *track) {
	if len(s.readers) == 0 {
		return
	}
	e := Event{Kind: kind, Status: s.statusOf(t)}
	for sub := range s.readers {
		sub.add(e)
	}
}
