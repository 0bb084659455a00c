package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

const (
	spared   = time.Minute          // an entry used more recently than this is not trimmed
	otherAge = 24 * time.Hour       // how long a negative entry or the like is kept on disk
	tempAge  = time.Hour            // after which a leftover of WriteFile is one
	lookFor  = 30 * time.Second     // between looks at the free space
	sweep    = time.Hour            // between scans of the whole tree
	brackets = 7200 + 14400 + 1<<18 // of a histogram: seconds, minutes, hours
)

// Run looks through the disk once and then keeps the tree: notes last uses, syncs, trims, expires, reaps, until ctx ends.
func (t *Tree) Run(ctx context.Context) error {
	t.tidyAtStart(ctx)
	t.keep(ctx, "scan", t.scan(ctx))
	tick := time.NewTicker(lookFor)
	defer tick.Stop()
	last := t.Now()
	for {
		select {
		case <-ctx.Done():
			t.flushTouches(context.WithoutCancel(ctx))
			t.keep(context.WithoutCancel(ctx), "sync", t.sync())
			return ctx.Err()
		case <-t.wake:
		case <-tick.C:
			t.flushTouches(ctx)
			t.keep(ctx, "sync", t.sync())
		}
		if now := t.Now(); now.Sub(last) >= sweep {
			last = now
			t.reapDrafts()
			t.keep(ctx, "scan", t.scan(ctx))
		}
		_, err := t.Trim(ctx)
		t.keep(ctx, "trim", err)
	}
}

// keep logs what went wrong behind. Nobody waits for it, and the next round tries again.
func (t *Tree) keep(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		t.Logger.Warn("keeping the store", "step", what, "err", err)
	}
}

// tidyAtStart removes what lay aside when this process began. What has come since is in use.
func (t *Tree) tidyAtStart(ctx context.Context) {
	for _, name := range t.leftovers {
		t.keep(ctx, "tidy", t.root.RemoveAll(ctx, name, nil))
	}
	t.leftovers = nil
}

// A tally is what one pass over the disk counts.
type tally struct {
	bytes, entries int64
	byUse          []int64 // bytes by time since last use, see bracket
	oldest         time.Time
}

// scan counts what is stored, drops what has expired, and checks what a loss of power put in doubt.
func (t *Tree) scan(ctx context.Context) error {
	before, beforeN := t.usage.bytes.Load(), t.usage.entries.Load()
	doubt := t.inDoubt()
	now := t.Now()
	var n tally
	err := t.walkAll(ctx, func(p place, st *unix.Stat_t) bool {
		n.count(p, st, lastUse(p, st, nil))
		if t.expired(p, st, now) {
			t.removeIf(p, func(id identity) bool { return id == identityOf(st) })
			return true
		}
		if doubt && t.boot.suspects(time.Unix(st.Ctim.Sec, st.Ctim.Nsec)) {
			if h, err := t.load(p); err == nil { // which checks it
				h.unref()
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	t.removeTorn()
	if doubt {
		t.trustAll()
	}
	// What was published or removed during the scan may have been counted or not; the next one knows.
	t.usage.bytes.Add(n.bytes - before)
	t.usage.entries.Add(n.entries - beforeN)
	t.usage.scanned.Store(true)
	if !n.oldest.IsZero() {
		t.usage.oldest.Store(n.oldest.UnixNano())
	}
	return nil
}

func (n *tally) count(p place, st *unix.Stat_t, used time.Time) {
	n.bytes += onDisk(st)
	if !p.stored() {
		return
	}
	n.entries++
	if n.oldest.IsZero() || used.Before(n.oldest) {
		n.oldest = used
	}
}

// walkAll visits every file that takes our space: stored responses, sidecars and leftovers.
func (t *Tree) walkAll(ctx context.Context, f visit) error {
	var roots []place
	err := t.root.ReadDir(".", func(name string, kind byte) bool {
		if kind == durable.Folder && validHub(name) {
			roots = append(roots, place(name))
		}
		return true
	})
	for _, p := range append(roots, oddDir, otherDir, variantsDir) {
		err = errors.Join(err, t.walk(ctx, p, f))
	}
	return err
}

// expired says whether a file has outlived its use: old answers that are no bodies, and what a crash left of WriteFile.
func (t *Tree) expired(p place, st *unix.Stat_t, now time.Time) bool {
	age := now.Sub(time.Unix(st.Ctim.Sec, st.Ctim.Nsec))
	if strings.HasPrefix(string(p), otherDir+"/") {
		return now.Sub(modTime(st)) > otherAge && age > otherAge
	}
	return strings.HasPrefix(p.base(), durable.TempPrefix) && age > tempAge
}

// Trim removes the entries that were used least recently until the limits are kept, and returns the number of bytes freed. It goes
// over the disk twice, counting and then removing, so that its memory does not grow with the tree, and holds nobody up.
func (t *Tree) Trim(ctx context.Context) (int64, error) {
	if !t.usage.scanned.Load() {
		if err := t.scan(ctx); err != nil {
			return 0, fmt.Errorf("trim: %w", err)
		}
	}
	s, err := t.space()
	if err != nil {
		return 0, fmt.Errorf("trim: %w", err)
	}
	if t.excess(s, t.usage.bytes.Load()) <= 0 {
		return 0, nil
	}
	t.flushTouches(ctx)
	now := t.Now()
	uses := t.table.uses()
	n := tally{byUse: make([]int64, brackets)}
	err = t.walkAll(ctx, func(p place, st *unix.Stat_t) bool {
		used := lastUse(p, st, uses)
		n.count(p, st, used)
		if p.stored() && now.Sub(used) >= spared {
			n.byUse[bracket(now.Sub(used))] += onDisk(st)
		}
		return true
	})
	if err != nil {
		return 0, fmt.Errorf("trim: %w", err)
	}
	need := t.excess(s, n.bytes)
	if need <= 0 {
		return 0, nil
	}
	freed, err := t.evict(ctx, need, n.cut(need), now, uses)
	t.usage.evicted.Add(freed)
	if err != nil {
		return freed, fmt.Errorf("trim: %w", err)
	}
	t.Logger.Info("trimmed", "bytes", freed, "wanted", need)
	return freed, nil
}

// cut is the bracket of last use from which on all has to go to free need bytes.
func (n *tally) cut(need int64) int {
	for i := len(n.byUse) - 1; i > 0; i-- {
		if need -= n.byUse[i]; need <= 0 {
			return i
		}
	}
	return 0
}

// excess is how many of our own bytes have to go.
func (t *Tree) excess(s space, own int64) int64 {
	var need int64
	if t.MaxSize > 0 && own > t.MaxSize {
		need = own - t.MaxSize + t.MaxSize/20 // some slack, or every commit would trim
	}
	if !s.above(t.High) {
		return need
	}
	over := s.used - s.total/100*int64(t.Low)
	if over > own {
		// The disk is full of other people's data. All that we have would not bring it below the mark, so we only keep the reserve
		// free that lets us write at all.
		over = s.reserve() - s.free
	}
	return max(need, over)
}

// bracket sorts ages: by the second for two hours, by the minute for ten days, then by the hour.
func bracket(age time.Duration) int {
	switch {
	case age < 0:
		return 0
	case age < 2*time.Hour:
		return int(age / time.Second)
	case age < 10*24*time.Hour:
		return 7200 + int(age/time.Minute)
	}
	return min(7200+14400+int(age/time.Hour), brackets-1)
}

// evict removes what was last used in the bracket cut or before it. Within cut itself it stops as soon as enough is freed.
func (t *Tree) evict(ctx context.Context, need int64, cut int, now time.Time, uses map[place]time.Time) (int64, error) {
	var freed int64
	pass := func(in func(int) bool) error {
		return t.walkAll(ctx, func(p place, st *unix.Stat_t) bool {
			age := now.Sub(lastUse(p, st, uses))
			if freed >= need || !p.stored() || age < spared || !in(bracket(age)) {
				return freed < need
			}
			if t.removeIf(p, func(id identity) bool { return id == identityOf(st) }) {
				freed += onDisk(st)
			}
			return true
		})
	}
	err := pass(func(b int) bool { return b > cut })
	if err == nil && freed < need {
		err = pass(func(b int) bool { return b == cut })
	}
	return freed, err
}
