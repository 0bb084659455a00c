package cache

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// mostReserve is the free space below which nothing is stored, however large the disk.
const mostReserve = 1 << 30

// usage is what the tree takes. It is exact after a scan of the disk and kept up by what is published and removed; changes by hand
// show at the next scan.
type usage struct {
	bytes, entries atomic.Int64
	scanned        atomic.Bool
	reserved       atomic.Int64 // announced to drafts and not yet written
	evicted        atomic.Int64 // bytes trimmed since the start
	torn           atomic.Int64 // entries found torn
	oldest         atomic.Int64 // last use of the least recently used entry, Unix nanoseconds; 0 unknown
}

func (u *usage) add(bytes, entries int64) {
	u.bytes.Add(bytes)
	u.entries.Add(entries)
}

// Usage is what the tree takes on disk, in bytes, and the number of stored responses. Scanned is false until the disk was first
// looked through; the numbers are then those of this process alone.
func (t *Tree) Usage() (bytes, entries int64, scanned bool) {
	return t.usage.bytes.Load(), t.usage.entries.Load(), t.usage.scanned.Load()
}

// grown counts a published entry, and wakes Run when a limit is passed.
func (t *Tree) grown(bytes int64) {
	t.usage.add(bytes, 1)
	if t.MaxSize > 0 && t.usage.bytes.Load() > t.MaxSize {
		t.wakeRun()
	}
}

func (t *Tree) wakeRun() {
	select {
	case t.wake <- struct{}{}:
	default: // it is awake already
	}
}

// space is what the file system has.
type space struct{ total, used, free int64 }

func (t *Tree) space() (space, error) {
	st, err := t.root.Statfs()
	if err != nil {
		return space{}, err
	}
	return spaceOf(&st), nil
}

func spaceOf(st *unix.Statfs_t) space {
	size := int64(st.Bsize)
	if st.Frsize > 0 {
		size = int64(st.Frsize)
	}
	blocks := func(n uint64) int64 { return int64(min(n, math.MaxInt64/uint64(max(size, 1)))) * size }
	s := space{used: blocks(st.Blocks - st.Bfree), free: blocks(st.Bavail)}
	s.total = s.used + s.free // as df counts: what only root may use is not there
	return s
}

// reserve is the space that is never used up.
func (s space) reserve() int64 { return min(s.total/20, mostReserve) }

func (s space) above(percent int) bool { return s.used > s.total/100*int64(percent) }

// Free is the number of bytes that may be stored before the store refuses more.
func (t *Tree) Free() (int64, error) {
	s, err := t.space()
	if err != nil {
		return 0, err
	}
	free := s.free - s.reserve() - t.usage.reserved.Load()
	if t.MaxSize > 0 {
		free = min(free, t.MaxSize-t.usage.bytes.Load())
	}
	return max(0, free), nil
}

// reserve sets space for n more bytes aside, or says why they cannot be kept.
func (t *Tree) reserve(n int64) error {
	if t.MaxSize > 0 && n > t.MaxSize {
		return fmt.Errorf("%w: it alone exceeds --cache-max-size", ErrNoSpace)
	}
	if err := t.gone(); err != nil {
		return err
	}
	if err := t.roomFor(n); err != nil {
		return err
	}
	t.usage.reserved.Add(n)
	return nil
}

// roomFor says whether n more bytes leave the file system its reserve.
func (t *Tree) roomFor(n int64) error {
	s, err := t.space()
	if err != nil {
		return because(err)
	}
	if s.above(t.High) {
		t.wakeRun()
	}
	if left := s.free - t.usage.reserved.Load() - n; left < s.reserve() {
		return fmt.Errorf("%w: %d bytes would leave %d free, less than the reserve of %d", ErrNoSpace, n, max(0, left), s.reserve())
	}
	return nil
}

// lastUse is the file's atime, or what the table knows better.
func lastUse(p place, st *unix.Stat_t, uses map[place]time.Time) time.Time {
	used := useTime(st)
	if u, ok := uses[p]; ok && u.After(used) {
		return u
	}
	return used
}
