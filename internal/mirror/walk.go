package mirror

import (
	"context"
	"time"
)

// A job is one walk to be done, or one more slice of it.
type job struct {
	sub     Subtree
	began   time.Time // of the walk, not of the slice: what was noted since is done
	dry     bool      // only look
	confirm bool      // remove whatever is gone, however much that is
	limit   int64     // bytes that the listings may promise
	*progress
}

// A result is what a walk that came to its end found.
type result struct {
	files, dirs, bytes int64
	heldBack           int64 // orphans that are too many to be removed without being confirmed
}

// walk lists the subtree and makes what is held of it what the upstream has. When ctx ends, what is done is noted, and the same job goes on there.
func (s *Scheduler) walk(ctx context.Context, j *job) (result, error) {
	panic("in hand")
}
