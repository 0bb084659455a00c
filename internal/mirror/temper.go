package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zcache/internal/cache"
)

const (
	longestWait   = time.Minute // that an upstream may ask for before the walk is given up
	shortestWait  = 5 * time.Second
	mostLimited   = 10  // answers in a row that ask to wait
	mostTrouble   = 8   // questions in a row without an answer
	mostRefusals  = 10  // of what was held, in a row or as a quarter of all questions
	mostStrangers = 100 // refusals in a row of anything
)

// temper judges by an upstream's answers whether the walk had better be given up: single files may be refused or fail, but when everything does, a firewall
// or a broken server answers, and no walk is of use.
type temper struct {
	mu       sync.Mutex
	until    time.Time // nothing is asked before
	limited  int
	trouble  int
	refused  int // of what was held
	inRow    int // of those, in a row
	denials  int // in a row
	nextWait time.Duration
}

// wait lasts until the upstream may be asked again.
func (t *temper) wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		left := time.Until(t.until)
		t.mu.Unlock()
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// note takes in an answer and returns why the walk is to be given up, if it is. held says that something was held of what was asked for.
func (t *temper) note(a Answer, err error, held bool, requests int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		switch {
		case errors.Is(err, cache.ErrNoSpace) || errors.Is(err, cache.ErrReadOnly):
			return err
		case errors.Is(err, cache.ErrNoListing):
			t.trouble = 0 // it answered, if with a page
			return nil
		}
		if t.trouble++; t.trouble >= mostTrouble {
			return fmt.Errorf("%d questions in a row failed, the last one: %w", t.trouble, err)
		}
		return nil
	}
	t.trouble = 0
	if a.Outcome == Limited {
		return t.slow(a)
	}
	t.limited = 0
	if a.Outcome != Denied {
		t.inRow, t.denials = 0, 0
		return nil
	}
	t.denials++
	if held {
		t.refused++
		t.inRow++
	}
	if t.denials >= mostStrangers || t.inRow >= mostRefusals || t.refused >= mostRefusals && int64(t.refused)*4 > requests {
		return fmt.Errorf("%w: status %d again and again", ErrTurnedAway, a.Status)
	}
	return nil
}

// slow waits as long as the upstream asks for, or longer each time.
func (t *temper) slow(a Answer) error {
	wait := a.After
	if wait <= 0 {
		t.nextWait = max(shortestWait, 2*t.nextWait)
		wait = t.nextWait
	}
	if t.limited++; t.limited >= mostLimited || wait > longestWait {
		return fmt.Errorf("%w: status %d, to be asked again in %v", ErrTurnedAway, a.Status, wait)
	}
	if until := time.Now().Add(wait); until.After(t.until) {
		t.until = until
	}
	return nil
}
