package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// An errand is a walk that was asked for, from the queue to its end. Its fields but the context's are guarded by the scheduler's lock.
type errand struct {
	track   *track
	o       Options
	command bool // by command: it goes on until it is done, slice after slice
	ctx     context.Context
	cancel  context.CancelCauseFunc
	done    chan struct{} // closed at its end
	job     *job          // of the slice at hand or the last one; nil before the first
	slices  int           // that are over
}

// carry brings an errand to its end. Those that wait for a slot get it in the order in which they came, and a walk that goes on after its slice comes last.
func (s *Scheduler) carry(ctx context.Context, e *errand) {
	stop := context.AfterFunc(ctx, func() { e.cancel(errStopping) })
	defer stop()
	defer func() {
		s.mu.Lock()
		s.release(e)
		s.mu.Unlock()
		s.save()
	}()
	for more := true; more; {
		select {
		case s.slots <- struct{}{}:
		case <-e.ctx.Done():
			return
		}
		if e.ctx.Err() == nil {
			more = s.slice(e)
		} else {
			more = false
		}
		<-s.slots
	}
}

// release ends an errand. The lock is held.
func (s *Scheduler) release(e *errand) {
	t := e.track
	t.now = nil
	if context.Cause(e.ctx) == ErrForgotten {
		// What is about to be purged is not walked before that is done.
		t.past.Unfinished = time.Time{}
		if next := s.cfg.Now().Add(jitter(s.backoff(1))); next.After(t.past.Next) {
			t.setNext(next)
		}
	}
	t.pending.Store(false)
	s.tell(EventEnded, t)
	close(e.done)
}

// slice walks until the walk is done or its time is over. It says whether the errand goes on.
func (s *Scheduler) slice(e *errand) (more bool) {
	j, err := s.begin(e)
	s.save()
	s.log.Info("walk", "action", "start", "subtree", j.sub.Name, "dry_run", e.o.DryRun, "began", j.began)
	ctx, cancel := e.ctx, func() {}
	if !e.o.DryRun { // a dry run leaves no notes that it could go on from
		ctx, cancel = context.WithTimeoutCause(e.ctx, s.cfg.Slice, errSlice)
	}
	defer cancel()
	var res result
	if err == nil {
		stop := s.report(e)
		res, err = s.walker(ctx, j)
		stop()
	}
	var cause error
	if err != nil {
		cause = context.Cause(ctx)
	}
	f, more := s.conclude(e, res, err, cause)
	s.save()
	s.chronicle(e, f, err, cause)
	return more
}

// longestUnfinished is how long a walk may be spread over slices: what it noted at its begin would be called current at its end.
const longestUnfinished = 7 * 24 * time.Hour

// begin makes the job of an errand's next slice. With an error the job is not to be done.
func (s *Scheduler) begin(e *errand) (*job, error) {
	s.mu.Lock()
	t := e.track
	sub, rules := t.sub, s.inForce
	s.mu.Unlock()
	free, err := s.free()

	s.mu.Lock()
	defer s.mu.Unlock()
	now, p := s.cfg.Now(), &t.past
	j := &job{sub: sub, began: now, dry: e.o.DryRun, confirm: e.o.ConfirmPurge, limit: s.cfg.MaxBytes, rules: rules}
	j.progress = &progress{started: now, expect: p.Files, dry: e.o.DryRun}
	if j.limit == 0 && s.cfg.Free != nil {
		j.limit = max(p.Budget, max(p.Size, t.size)+free/10, 1)
	}
	e.job = j
	s.live[e] = true
	if !e.o.DryRun {
		longest := longestUnfinished
		if e.command && e.slices == 0 {
			longest = s.cfg.MinInterval // whoever asks for a walk does not mean last week's
		}
		if age := now.Sub(p.Unfinished); !p.Unfinished.IsZero() && age >= 0 && age < longest {
			j.began = p.Unfinished
		}
		p.Started, p.Unfinished = now, j.began
		if err == nil {
			p.Budget = j.limit
		}
		t.setNext(time.Time{}) // should the process die, the next touch goes on
	}
	s.tell(EventStarted, t)
	return j, err
}

// free asks how much may be stored, when the budget depends on it.
func (s *Scheduler) free() (int64, error) {
	if s.cfg.MaxBytes > 0 || s.cfg.Free == nil {
		return 0, nil
	}
	free, err := s.cfg.Free()
	if err != nil {
		return 0, fmt.Errorf("reckon the budget of a walk: %w", err)
	}
	return max(free, 0), nil
}

// report tells of an errand's progress once a second until stop is called.
func (s *Scheduler) report(e *errand) (stop func()) {
	over := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				s.mu.Lock()
				s.tell(EventProgress, e.track)
				s.mu.Unlock()
			}
		}
	})
	return func() {
		close(over)
		done.Wait()
	}
}

// conclude takes in what a slice came to. cause is why its context ended, if that is why it failed. It says whether the errand goes on.
func (s *Scheduler) conclude(e *errand, res result, err, cause error) (f *Figures, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, sum := e.track, e.job.figures(s.cfg.Now())
	f = &sum
	f.HeldBack = max(f.HeldBack, res.heldBack)
	delete(s.live, e)
	s.sums.add(f, e.o.DryRun)
	if err != nil && cause == nil {
		s.sums.failures++
	}
	e.slices++
	t.last, t.dry, t.why = f, e.o.DryRun, ""
	if e.o.DryRun {
		if err != nil {
			t.why = err.Error()
		}
		return f, false
	}
	s.settle(t, f, res, err, cause)
	if f.HeldBack > 0 {
		s.tell(EventHeldBack, t)
	}
	if f.Removed > 0 {
		s.tell(EventPurged, t)
	}
	if more = cause == errSlice && e.command && e.ctx.Err() == nil; more {
		s.tell(EventQueued, t)
	}
	return f, more
}

// settle changes the standing of a subtree by what a slice came to. The lock is held.
func (s *Scheduler) settle(t *track, f *Figures, res result, err, cause error) {
	p, now := &t.past, s.cfg.Now()
	switch cause {
	case nil:
	case errSlice: // as far as it came, the upstream was well
		p.Failures, p.Err = 0, ""
		return
	case ErrForgotten:
		p.Ended, p.Err = now, ErrForgotten.Error()
		return
	default: // unfinished, and the next touch goes on
		return
	}
	p.Ended, p.Held = now, f.HeldBack
	if err != nil {
		p.Failures++
		p.Err = err.Error()
		if now.Sub(p.Unfinished) >= s.cfg.MinInterval {
			// What was found when it began is as old as what a walk that succeeded then would leave: it is looked at again.
			p.Unfinished = time.Time{}
		}
		t.setNext(now.Add(jitter(s.backoff(p.Failures))))
		return
	}
	p.Success, p.Unfinished, p.Failures, p.Err, p.Budget = now, time.Time{}, 0, "", 0
	p.Size, p.Files, p.Dirs = res.bytes, res.files, res.dirs
	t.setNext(now.Add(jitter(s.cfg.MinInterval)))
}

// backoff is how long a subtree rests after that many failures in a row.
func (s *Scheduler) backoff(failures int) time.Duration {
	d := firstBackoff
	for ; failures > 1 && d < s.cfg.MinInterval; failures-- {
		d *= 2
	}
	return min(d, s.cfg.MinInterval)
}

// chronicle logs the end of a slice.
func (s *Scheduler) chronicle(e *errand, f *Figures, err, cause error) {
	action, level := "done", slog.LevelInfo
	switch {
	case cause == errSlice:
		action = "paused"
	case cause != nil:
		action = "interrupted"
	case err != nil:
		action, level = "failed", slog.LevelWarn
	}
	fields := []any{
		"action", action, "subtree", e.job.sub.Name, "dry_run", e.o.DryRun, "duration", f.Elapsed.Round(time.Millisecond).String(),
		"dirs", f.Dirs, "files", f.Files, "fetched", f.Fetched, "skipped", f.Skipped, "same", f.Same, "removed", f.Removed, "failed", f.Failed,
		"bytes", f.Bytes,
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	s.log.Log(context.Background(), level, "walk", fields...)
	if f.HeldBack > 0 && !e.o.DryRun {
		s.log.Warn("so many files are gone upstream that they are kept here until a walk is confirmed", "subtree", e.job.sub.Name, "held_back", f.HeldBack)
	}
}
