package mirror

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"zcache/internal/listing"
)

const (
	// mostRows bounds the rows of listings that a walk has before it, about 130 bytes each, unless a single directory has more.
	mostRows = 150_000
)

// A job is one walk to be done, or one more slice of it.
type job struct {
	sub     Subtree
	began   time.Time // of the walk, not of the slice: what was noted since is done
	dry     bool      // only look
	confirm bool      // remove whatever is gone, however much that is
	limit   int64     // bytes that the listings may promise; 0 = any number
	rules   uint64    // stands for those of sub, and for the credentials of its hub
	*progress
}

// A result is what a walk that came to its end found.
type result struct {
	files, dirs, bytes int64
	heldBack           int64 // orphans that are too many to be removed without being confirmed
}

// errPartial says that a walk came to its end, but not everywhere.
var errPartial = errors.New("not all could be had")

// A walk is one job under way. Its workers take what is to be done from the directory that was entered last, so that what waits is bounded by the depth and the
// largest directory rather than by the tree.
type walk struct {
	*Scheduler
	*job
	ctx     context.Context
	cancel  context.CancelCauseFunc
	orphans *orphans
	temper  temper

	mu    sync.Mutex
	moved *sync.Cond // there may be something to take, or nothing any more
	stack []*node    // directories that are not done, the one entered last at the end
	busy  int        // workers that have something in hand
	rows  int        // of the listings in memory
	root  result
}

// walk lists the subtree and makes what is held of it what the upstream has. When ctx ends, what is done is noted, and the same job goes on there.
func (s *Scheduler) walk(ctx context.Context, j *job) (result, error) {
	w := &walk{Scheduler: s, job: j}
	w.moved = sync.NewCond(&w.mu)
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	defer context.AfterFunc(w.ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moved.Broadcast()
	})()
	var err error
	if w.orphans, err = openOrphans(w); err != nil {
		return result{}, fmt.Errorf("walk %s: %w", j.sub.Name, err)
	}
	defer w.orphans.close()
	w.stack = []*node{{dirs: []task{{}}, trail: listing.TrailFrom(j.sub.place())}} // above the root
	var workers errgroup.Group
	for range s.cfg.Parallel {
		workers.Go(w.work)
	}
	if err := workers.Wait(); err != nil {
		return w.root, err
	}
	if cause := context.Cause(w.ctx); cause != nil {
		return w.root, cause
	}
	if err := w.purge(); err != nil {
		return w.root, err
	}
	w.root.heldBack = w.heldBack.Load()
	if n := w.failed.Load(); n > 0 {
		return w.root, fmt.Errorf("walk %s: %w: %d failed, the last one: %s", j.sub.Name, errPartial, n, *w.lastError.Load())
	}
	return w.root, nil
}

// work does what is to be done until nothing is left, or the walk is given up.
func (w *walk) work() error {
	for {
		n, t, ok := w.next()
		if !ok {
			return nil
		}
		if err := w.do(n, t); err != nil && w.ctx.Err() == nil {
			w.cancel(err)
		}
		w.done(n)
	}
}

// next takes something to be done; false when there is nothing, and nothing is to come.
func (w *walk) next() (*node, task, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		if w.ctx.Err() != nil {
			return nil, task{}, false
		}
		for i := len(w.stack) - 1; i >= 0; i-- {
			n := w.stack[i]
			if t, ok := n.take(w.rows < mostRows || w.busy == 0); ok {
				w.busy++
				n.open++
				return n, t, true
			}
		}
		if w.busy == 0 {
			w.moved.Broadcast()
			return nil, task{}, false
		}
		w.moved.Wait()
	}
}

// done puts back what a worker had in hand.
func (w *walk) done(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !n.key.IsZero() {
		w.queue.Add(-1)
	}
	w.settle(n)
	w.busy--
	w.moved.Broadcast()
}

// settle takes one from what is open in a directory. The last one finishes it, and then perhaps the one above. The lock is held; it is let go of
// while a directory is finished.
func (w *walk) settle(n *node) {
	for !n.key.IsZero() {
		if n.open--; n.open > 0 || w.ctx.Err() != nil || n.more() {
			return
		}
		n.open++ // so that nobody else finishes it
		w.mu.Unlock()
		w.finish(n)
		w.mu.Lock()
		w.leave(n)
		n = n.parent
	}
}

// leave takes a finished directory off the stack. The lock is held.
func (w *walk) leave(n *node) {
	for i := len(w.stack) - 1; i >= 0; i-- {
		if w.stack[i] == n {
			w.stack = append(w.stack[:i], w.stack[i+1:]...)
			break
		}
	}
	w.rows -= len(n.list.Entries)
	n.list, n.sights = nil, nil
	n.parent.add(n)
	if n.parent.key.IsZero() {
		w.root = result{files: n.files, dirs: n.subdirs + 1, bytes: n.bytes}
	}
}

// push makes a directory that was entered the one that is worked in. It counts as open in the one above until it is finished.
func (w *walk) push(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.parent.open++
	n.open++ // for this call, so that one without anything to do is finished too
	w.stack = append(w.stack, n)
	w.rows += len(n.list.Entries)
	w.queue.Add(int64(n.waiting()))
	w.settle(n)
	w.moved.Broadcast()
}

func (w *walk) do(n *node, t task) error {
	if n.key.IsZero() {
		return w.enter(&node{parent: n, key: w.sub.Dir, trail: n.trail})
	}
	if t.dir && !t.doubt {
		key, err := n.key.Child(t.name, true)
		if err != nil {
			w.unkept.Add(1)
			w.lacks(n)
			return nil
		}
		return w.enter(&node{parent: n, key: key, rel: n.rel + t.name + "/", depth: n.depth + 1, trail: t.trail})
	}
	return w.ask(n, t)
}

// over says whether the walk has used up what it may.
func (w *walk) over() error {
	if w.limit > 0 && w.promised.Load() > w.limit {
		return fmt.Errorf("walk %s: %w: its listings promise more than %d bytes; see --mirror-max-bytes", w.sub.Name, ErrBudget, w.limit)
	}
	if most := w.sub.MaxRequests; most > 0 && w.requests.Load() >= most {
		return fmt.Errorf("walk %s: %w: %d requests", w.sub.Name, ErrBudget, most)
	}
	return nil
}

// refresh puts a question to the upstream, waiting as it was told to wait. Once the walk is given up, by this answer or otherwise, the context tells.
func (w *walk) refresh(a Ask, held bool) (Answer, error) {
	for {
		err := w.over()
		if err == nil {
			err = w.temper.wait(w.ctx)
		}
		if err != nil {
			w.cancel(err)
			return Answer{}, err
		}
		w.requests.Add(1)
		ans, err := w.cfg.Refresher.Refresh(w.ctx, a)
		if w.ctx.Err() != nil {
			return ans, context.Cause(w.ctx)
		}
		w.bytes.Add(ans.Bytes)
		if why := w.temper.note(ans, err, held, w.requests.Load()); why != nil {
			w.cancel(fmt.Errorf("walk %s: %w", w.sub.Name, why))
			return ans, why
		}
		if err == nil && ans.Outcome == Limited {
			continue
		}
		return ans, err
	}
}

// place is the path of the subtree's root at its upstream, without escapes.
func (s *Subtree) place() string {
	path, err := url.PathUnescape(s.Dir.Path())
	if err != nil {
		return s.Dir.Path()
	}
	return path
}
