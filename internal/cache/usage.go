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

// Usage is what the tree takes on disk, in bytes, the trash and drafts that wait to be resumed included, and the number of stored responses. Scanned
// is false until the disk was first looked through; the numbers are then those of this process alone.
func (t *Tree) Usage() (bytes, entries int64, scanned bool) {
	return t.taken(), t.usage.entries.Load(), t.usage.scanned.Load()
}

// taken is the number of bytes that stored responses, idle drafts and the trash take.
func (t *Tree) taken() int64 { return t.usage.bytes.Load() + t.drafts.held() + t.trash.bytes.Load() }

// correct takes over what a walk has counted that began when the numbers were these. What was published or removed meanwhile may have
// been counted or not; the next walk knows.
func (u *usage) correct(n tally, bytes, entries int64) {
	u.add(n.bytes-bytes, n.entries-entries)
	if !n.oldest.IsZero() {
		u.oldest.Store(n.oldest.UnixNano())
	}
}

// checkLimit wakes Run when the tree takes more than it may.
func (t *Tree) checkLimit() {
	if t.MaxSize > 0 && t.taken() > t.MaxSize {
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
type space struct {
	total, used, free  int64 // bytes
	inodes, inodesFree int64 // 0 inodes: the file system makes them as it needs them
}

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
	s.inodes, s.inodesFree = int64(min(st.Files, math.MaxInt64)), int64(min(st.Ffree, math.MaxInt64))
	return s
}

// reserve is the space that is never used up.
func (s space) reserve() int64 { return min(s.total/20, mostReserve) }

// marks are the bytes in use above which trimming begins and down to which it goes. They leave more than the reserve free, whatever
// the percentages say: else nothing could be stored and nothing would be trimmed.
func (t *Tree) marks(s space) (high, low int64) {
	high = min(s.total/100*int64(t.High), s.total-s.reserve()-s.reserve()/4)
	low = min(s.total/100*int64(t.Low), high-s.reserve()/4)
	return high, max(0, low)
}

// inodeExcess is how many of our own entries have to go because the file system runs out of inodes, by the same marks as for bytes.
func (s space) inodeExcess(high, low int, own int64) int64 {
	used := s.inodes - s.inodesFree
	if s.inodes == 0 || used <= s.inodes/100*int64(high) {
		return 0
	}
	over := used - s.inodes/100*int64(low)
	if over > own { // most are other people's: only a reserve is kept
		over = min(own, s.inodes/20-s.inodesFree)
	}
	return max(0, over)
}

// Free is the number of bytes that may be stored before the store refuses more.
func (t *Tree) Free() (int64, error) {
	s, err := t.space()
	if err != nil {
		return 0, err
	}
	free := s.free - s.reserve() - t.usage.reserved.Load()
	if t.MaxSize > 0 {
		free = min(free, t.MaxSize-t.taken())
	}
	return max(0, free), nil
}

// fits says whether a body of n bytes can be kept at all, as things are now.
func (t *Tree) fits(n int64) error {
	if t.MaxSize > 0 && n > t.MaxSize {
		return fmt.Errorf("%w: it alone exceeds --cache-max-size", ErrNoSpace)
	}
	if n == 0 {
		return nil
	}
	return t.roomFor(n)
}

// reserve sets space for n more bytes aside, or says why they cannot be kept.
func (t *Tree) reserve(n int64) error {
	if t.MaxSize > 0 && n > t.MaxSize {
		return fmt.Errorf("%w: it alone exceeds --cache-max-size", ErrNoSpace)
	}
	if err := t.gone(); err != nil {
		return err
	}
	// Set aside before the look: two who come at once must not both find the room that there is for one.
	t.usage.reserved.Add(n)
	if err := t.roomFor(0); err != nil {
		t.usage.reserved.Add(-n)
		return fmt.Errorf("%w; %d are asked for", err, n)
	}
	return nil
}

// roomFor says whether n more bytes leave the file system its reserve.
func (t *Tree) roomFor(n int64) error {
	s, err := t.space()
	if err != nil {
		return because(err)
	}
	if high, _ := t.marks(s); s.used > high || s.inodeExcess(t.High, t.Low, t.usage.entries.Load()) > 0 {
		t.wakeRun()
	}
	if left := s.free - t.usage.reserved.Load() - n; left < s.reserve() {
		return fmt.Errorf("%w: that would leave %d bytes free, less than the reserve of %d", ErrNoSpace, max(0, left), s.reserve())
	}
	return nil
}

// idleFor is how long ago something was last used. A use in the future was noted under a wrong clock: that must not keep an entry for
// ever, so it counts as the latest that is not spared.
func idleFor(now, used time.Time) time.Duration {
	age := now.Sub(used)
	if age < -spared {
		return spared
	}
	return age
}

// lastUse is the file's atime, or what the table knows better.
func lastUse(p place, st *unix.Stat_t, uses map[place]time.Time) time.Time {
	used := useTime(st)
	if u, ok := uses[p]; ok && u.After(used) {
		return u
	}
	return used
}
