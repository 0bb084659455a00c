package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

const (
	spared   = time.Minute          // an entry used more recently than this is not trimmed because the disk is filling up
	held     = time.Second          // and than this not because of --cache-max-size, which a burst must not break for long
	otherAge = 24 * time.Hour       // how long a redirect or the like is kept on disk
	noneAge  = 10 * time.Minute     // and a 404 or 410: a flood of questions for what is not there must not use the inodes up
	tempAge  = time.Hour            // after which a leftover of WriteFile is one
	lookFor  = 30 * time.Second     // between looks at the free space
	barren   = 2 * time.Second      // after a trim that could not free enough, before a commit may ask for the next
	sweep    = time.Hour            // between scans of the whole tree
	brackets = 7200 + 14400 + 1<<18 // of a histogram: seconds, minutes, hours
)

// Run looks through the disk once and then keeps the tree: notes last uses, syncs, trims, expires, reaps, until ctx ends.
func (t *Tree) Run(ctx context.Context) error {
	t.tidyAtStart(ctx)
	t.keep(ctx, "trash", t.sweepTrash(ctx))
	t.keep(ctx, "scan", t.scan(ctx))
	t.keep(ctx, "reap", t.reapOverflows(ctx))
	tick := time.NewTicker(lookFor)
	defer tick.Stop()
	last := t.Now()
	var vain time.Time         // when a trim freed too little
	var again <-chan time.Time // to try once more then, though nobody asks
	for {
		select {
		case <-ctx.Done():
			t.flushTouches(context.WithoutCancel(ctx))
			t.keep(context.WithoutCancel(ctx), "sync", t.sync())
			return ctx.Err()
		case <-t.wake:
			if t.Now().Sub(vain) < barren {
				continue // or every commit would walk the disk for nothing
			}
		case <-again:
		case <-tick.C:
			t.flushTouches(ctx)
			t.keep(ctx, "sync", t.sync())
			t.keep(ctx, "trash", t.sweepTrash(ctx))
		}
		if now := t.Now(); now.Sub(last) >= sweep {
			last = now
			t.reapDrafts()
			t.keep(ctx, "scan", t.scan(ctx))
			t.keep(ctx, "reap", t.reapOverflows(ctx))
		}
		_, short, err := t.trim(ctx)
		again = nil
		if short {
			vain = t.Now()
			if t.MaxSize > 0 && t.taken() > t.MaxSize {
				again = time.After(barren) // what is held now may go then
			}
		}
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
	originals      int64   // bytes that they take
	byUse          []int64 // bytes by time since last use, see bracket
	oldest         time.Time
}

// scan counts what is stored, drops what has expired, and checks what a loss of power put in doubt.
func (t *Tree) scan(ctx context.Context) error {
	var n tally
	var unchecked error
	doubt := t.inDoubt()
	if doubt {
		unchecked = t.checkTrash(ctx)
	}
	t.keep(ctx, "count the trash", t.countTrash(ctx))
	bytes, entries := t.usage.bytes.Load(), t.usage.entries.Load()
	now := t.Now()
	err := t.walkAll(ctx, func(p place, st *unix.Stat_t) bool {
		n.count(p, st, lastUse(p, st, nil))
		if t.isOriginalAt(p) {
			n.originals += onDisk(st)
		}
		if t.expired(p, st, now) {
			t.removeIf(p, func(id identity) bool { return id == identityOf(st) })
			return true
		}
		if doubt && t.boot.suspects(time.Unix(st.Ctim.Sec, st.Ctim.Nsec)) {
			if h, err := t.load(p); err == nil { // which checks it
				h.unref()
			} else if !absent(err) {
				unchecked = err
			}
		}
		return true
	})
	t.removeTorn()
	if ctx.Err() != nil || err != nil && n.entries == 0 {
		return err
	}
	if doubt && err == nil && unchecked == nil {
		t.trustAll()
	}
	// A directory that cannot be read is not counted, and is no reason to let the others grow without a limit.
	t.usage.correct(n, bytes, entries)
	t.originals.bytes.Store(n.originals)
	t.usage.scanned.Store(true)
	return errors.Join(err, unchecked)
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

// walkAll visits every file that takes our space: stored responses, sidecars and leftovers. Directories of the root that no hub ever
// claimed belong to somebody else, who is not asked to make room, and what is mounted inside the root makes none.
func (t *Tree) walkAll(ctx context.Context, visit visit) error {
	f := func(p place, st *unix.Stat_t) bool { return st.Dev != t.dev || visit(p, st) }
	var roots []place
	err := t.root.ReadDir(".", func(name string, kind byte) bool {
		if kind == durable.Folder && validHub(name) {
			roots = append(roots, place(name))
		}
		return true
	})
	for _, p := range roots {
		if t.claimed(string(p)) {
			err = errors.Join(err, t.walk(ctx, p, f))
		}
	}
	for _, p := range []place{oddDir, otherDir, variantsDir} {
		err = errors.Join(err, t.walk(ctx, p, f))
	}
	return err
}

// expired says whether a file has outlived its use: old answers that are no bodies, and what a crash left of WriteFile.
func (t *Tree) expired(p place, st *unix.Stat_t, now time.Time) bool {
	age := now.Sub(time.Unix(st.Ctim.Sec, st.Ctim.Nsec))
	if strings.HasPrefix(string(p), otherDir+"/") {
		return age > otherAge || age > noneAge && t.negative(p) // its mtime is the origin's word, and may lie in the future
	}
	return strings.HasPrefix(p.base(), durable.TempPrefix) && age > tempAge || age > time.Minute && t.lonely(p)
}

// negative says whether what lies at p tells that there is nothing. Forgetting it early costs a question to the origin, no more.
func (t *Tree) negative(p place) bool {
	h, err := t.peek(p)
	if err != nil || h.meta == nil {
		return false
	}
	return nothing(h.meta.Status)
}

// Trim removes what lies in the trash and then the entries that were used least recently, until the limits are kept, and returns the number of bytes
// freed. It goes over the disk twice, counting and then removing, so that its memory does not grow with the tree, and holds nobody up.
func (t *Tree) Trim(ctx context.Context) (int64, error) {
	freed, _, err := t.trim(ctx)
	return freed, err
}

// trim is Trim that also says whether it fell short.
func (t *Tree) trim(ctx context.Context) (freed int64, short bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("trim: %w", err)
		}
	}()
	if !t.usage.scanned.Load() {
		if err := t.scan(ctx); err != nil && !t.usage.scanned.Load() {
			return 0, true, err
		}
	}
	s, err := t.space()
	if err != nil || t.excess(s, t.taken()) <= 0 {
		return 0, false, err
	}
	freed, terr := t.emptyTrash(ctx, t.excess(s, t.taken()))
	if freed > 0 {
		t.usage.evicted.Add(freed)
		t.Logger.Info("trimmed the trash", "action", "trim", "bytes", freed)
	}
	n, short, err := t.trimEntries(ctx)
	return freed + n, short, errors.Join(terr, err)
}

// trimEntries is trim once nothing is left in the trash that could go instead.
func (t *Tree) trimEntries(ctx context.Context) (freed int64, short bool, err error) {
	s, err := t.space()
	if err != nil || t.excess(s, t.taken()) <= 0 {
		return 0, false, err
	}
	t.flushTouches(ctx)
	e := eviction{now: t.Now(), uses: t.table.uses(), spare: spared}
	if t.MaxSize > 0 && t.taken() > t.MaxSize {
		e.spare = held
	}
	bytes, entries := t.usage.bytes.Load(), t.usage.entries.Load()
	n, err := t.tally(ctx, &e)
	if ctx.Err() != nil || err != nil && n.entries == 0 {
		return 0, true, err
	}
	t.usage.correct(n, bytes, entries)
	if e.need = t.excess(s, t.taken()); e.need <= 0 {
		return 0, false, err
	}
	err = errors.Join(err, t.evict(ctx, &e, n.cut(e.need)))
	t.usage.evicted.Add(e.freed)
	level := slog.LevelInfo
	if e.freed == 0 {
		level = slog.LevelDebug
	}
	t.Logger.Log(ctx, level, "trimmed", "action", "trim", "bytes", e.freed, "wanted", e.need)
	return e.freed, e.freed < e.need, err
}

// An eviction is one trim under way.
type eviction struct {
	now         time.Time
	uses        map[place]time.Time // what the table knows of last uses
	spare       time.Duration       // what was used less long ago stays
	need, freed int64
}

// tally sorts all that may be trimmed by its last use.
func (t *Tree) tally(ctx context.Context, e *eviction) (tally, error) {
	n := tally{byUse: make([]int64, brackets)}
	err := t.walkAll(ctx, func(p place, st *unix.Stat_t) bool {
		used := lastUse(p, st, e.uses)
		n.count(p, st, used)
		if t.isOriginalAt(p) {
			n.originals += onDisk(st)
			return true
		}
		if age := idleFor(e.now, used); p.stored() && age >= e.spare {
			n.byUse[bracket(age)] += onDisk(st)
		}
		return true
	})
	t.drafts.each(func(d idleDraft) {
		if age := idleFor(e.now, d.written); age >= e.spare {
			n.byUse[bracket(age)] += d.bytes
		}
	})
	return n, err
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
	if entries := t.usage.entries.Load(); entries > 0 { // in bytes of entries of middling size
		need = max(need, s.inodeExcess(t.High, t.Low, entries)*(own/entries))
	}
	high, low := t.marks(s)
	if s.used <= high {
		return need
	}
	over := s.used - low
	if over > own-t.originals.bytes.Load() { // those stay
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

// evict removes what was last used in the bracket cut or before it: of what is equally old the drafts first, for they are of use to
// nobody yet. Within cut itself it stops as soon as enough is freed.
func (t *Tree) evict(ctx context.Context, e *eviction, cut int) error {
	pass := func(in func(int) bool) error {
		old := func(used time.Time) bool {
			age := idleFor(e.now, used)
			return age >= e.spare && in(bracket(age))
		}
		for _, d := range t.drafts.takeOld(e.need-e.freed, func(d idleDraft) bool { return old(d.written) }) {
			t.removeDraft(d.name)
			e.freed += d.bytes
		}
		return t.walkAll(ctx, func(p place, st *unix.Stat_t) bool {
			if e.freed < e.need && p.stored() && old(lastUse(p, st, e.uses)) && t.evictable(p) &&
				t.removeIf(p, func(id identity) bool { return id == identityOf(st) }) {
				e.freed += onDisk(st)
			}
			return e.freed < e.need
		})
	}
	err := pass(func(b int) bool { return b > cut })
	if e.freed < e.need {
		err = errors.Join(err, pass(func(b int) bool { return b == cut }))
	}
	return err
}
