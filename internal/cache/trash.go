package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// trash knows what was retired. Below .zcache/orphans lie batches, named by when they were made; in a batch all lies at the place that it had below the
// root, so that what is to be restored is told by where it lies.
type trash struct {
	mu    sync.Mutex   // held while something moves in or out; taken before Tree.names
	last  batch        // the one that was made last by this process
	bytes atomic.Int64 // that the trash takes on disk
}

// A batch is what was retired within one second.
type batch struct {
	name string // <Unix seconds>-<nanoseconds><random>
	when time.Time
}

func (b batch) at() place { return place(orphansDir + "/" + b.name) }

// parseBatch reads the name of a batch. What has another name is nothing of ours.
func parseBatch(name string) (batch, bool) {
	seconds, rest, _ := strings.Cut(name, "-")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || len(rest) != 9+32 {
		return batch{}, false
	}
	nano, err := strconv.ParseUint(rest[:9], 10, 32)
	return batch{name, time.Unix(sec, int64(nano))}, err == nil
}

func nameBatch(when time.Time) batch {
	return batch{fmt.Sprintf("%d-%09d%s", when.Unix(), when.Nanosecond(), durable.Random()), when}
}

// newBatch begins a batch that is younger than the last one, whatever the clock says.
func (tr *trash) newBatch(now time.Time) batch {
	if !now.After(tr.last.when) && tr.last.when.Sub(now) < time.Second {
		now = tr.last.when.Add(1)
	}
	tr.last = nameBatch(now)
	return tr.last
}

// batches are those on disk, the youngest first.
func (t *Tree) batches() ([]batch, error) {
	var all []batch
	err := t.root.ReadDir(orphansDir, func(name string, kind byte) bool {
		if b, ok := parseBatch(name); ok && kind == durable.Folder {
			all = append(all, b)
		}
		return true
	})
	if absent(err) {
		return nil, nil
	}
	slices.SortFunc(all, func(a, b batch) int { return cmp.Or(b.when.Compare(a.when), strings.Compare(a.name, b.name)) })
	return all, err
}

// sweepTrash removes the batches that have had their time.
func (t *Tree) sweepTrash(ctx context.Context) error {
	all, err := t.batches()
	now := t.Now()
	for _, b := range all {
		switch age := now.Sub(b.when); {
		case age < -time.Minute:
			err = errors.Join(err, t.redate(b, now)) // named under a wrong clock: its time begins now
		case age >= t.TrashTTL:
			freed, rerr := t.dropBatch(ctx, b)
			err = errors.Join(err, rerr)
			t.Logger.Info("removed what was put aside", "action", "trash", "bytes", freed, "since", b.when)
		}
	}
	return err
}

func (t *Tree) redate(b batch, now time.Time) error {
	t.trash.mu.Lock()
	defer t.trash.mu.Unlock()
	if b == t.trash.last {
		t.trash.last = batch{}
	}
	return t.root.Rename(string(b.at()), string(nameBatch(now).at()))
}

// emptyTrash removes batches, the oldest first, until need bytes are freed or nothing is left.
func (t *Tree) emptyTrash(ctx context.Context, need int64) (freed int64, err error) {
	all, err := t.batches()
	for _, b := range slices.Backward(all) {
		if freed >= need || ctx.Err() != nil {
			break
		}
		n, rerr := t.dropBatch(ctx, b)
		freed += n
		err = errors.Join(err, rerr)
	}
	return freed, err
}

func (t *Tree) dropBatch(ctx context.Context, b batch) (freed int64, err error) {
	t.trash.mu.Lock()
	defer t.trash.mu.Unlock()
	return t.removeBatch(ctx, b)
}

// removeBatch removes a batch for good, by way of where leftovers are removed at the next start, and returns the bytes that it took. The trash is locked.
func (t *Tree) removeBatch(ctx context.Context, b batch) (freed int64, err error) {
	at := place(trashDir + "/" + durable.Random())
	if err := t.root.MkdirAll(trashDir); err != nil {
		return 0, err
	}
	if err := t.root.Rename(string(b.at()), string(at)); err != nil {
		if durable.IsGone(err) {
			err = nil
		}
		return 0, err
	}
	if b == t.trash.last {
		t.trash.last.name = "" // its time still counts for the order
	}
	err = t.walk(ctx, at, func(p place, st *unix.Stat_t) bool {
		freed += onDisk(st)
		t.removeOverflow(t.remainsOf(p, st).overflow)
		return true
	})
	t.trash.bytes.Add(-freed)
	return freed, errors.Join(err, t.root.RemoveAll(ctx, string(at), nil))
}

// countTrash finds out anew what the trash takes.
func (t *Tree) countTrash(ctx context.Context) error {
	t.trash.mu.Lock()
	defer t.trash.mu.Unlock()
	n := int64(0)
	err := t.walk(ctx, orphansDir, func(_ place, st *unix.Stat_t) bool {
		n += onDisk(st)
		return true
	})
	if err == nil {
		t.trash.bytes.Store(n)
	}
	return err
}

// checkTrash checks what a loss of power put in doubt, before it may be restored as if it were whole.
func (t *Tree) checkTrash(ctx context.Context) error {
	var unchecked error
	err := t.walk(ctx, orphansDir, func(p place, st *unix.Stat_t) bool {
		if p.stored() && t.boot.suspects(time.Unix(st.Ctim.Sec, st.Ctim.Nsec)) {
			if h, err := t.load(p); err == nil { // which checks it
				h.unref()
			} else if !absent(err) {
				unchecked = err
			}
		}
		return true
	})
	t.removeTorn()
	return errors.Join(err, unchecked)
}
