package listing

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Changes are what differs between two listings of one directory, by name. They point into the listings.
type Changes struct {
	Added   []*Entry // of the new one
	Changed []*Entry // of the new one
	Gone    []*Entry // of the old one
}

// None says that nothing differs.
func (c Changes) None() bool { return len(c.Added)+len(c.Changed)+len(c.Gone) == 0 }

// Diff compares two listings of one directory. An entry has changed when what both know of it differs beyond what both are exact to: kinds
// where both tell, sizes to the byte where both are exact, times by the larger of both Steps, the targets of links where both show
// them. What one of them does not know is no difference, nor are modes. Where one time zone is certain and the other is not, times may be
// apart by a whole number of quarter hours, as time zones are. Neither listing is altered.
func Diff(old, new *Listing) Changes {
	var c Changes
	i, j := 0, 0
	for i < len(old.Entries) && j < len(new.Entries) {
		a, b := &old.Entries[i], &new.Entries[j]
		switch strings.Compare(a.Name, b.Name) {
		case -1:
			c.Gone = append(c.Gone, a)
			i++
		case 1:
			c.Added = append(c.Added, b)
			j++
		default:
			if differ(old.completed(a), new.completed(b)) {
				c.Changed = append(c.Changed, b)
			}
			i++
			j++
		}
	}
	for ; i < len(old.Entries); i++ {
		c.Gone = append(c.Gone, &old.Entries[i])
	}
	for ; j < len(new.Entries); j++ {
		c.Added = append(c.Added, &new.Entries[j])
	}
	return c
}

// completed is e with all that l can tell of it. It leaves l's own alone, which others may be reading.
func (l *Listing) completed(e *Entry) *Entry {
	if l.Complete == nil {
		return e
	}
	whole := *e
	l.Complete(&whole)
	return &whole
}

func differ(a, b *Entry) bool {
	return a.Kind != Unknown && b.Kind != Unknown && a.Kind != b.Kind ||
		a.Target != "" && b.Target != "" && a.Target != b.Target ||
		sizesDiffer(a, b) || timesDiffer(a, b)
}

func sizesDiffer(a, b *Entry) bool {
	if a.Size < 0 || b.Size < 0 {
		return false
	}
	apart := max(a.Size-b.Size, b.Size-a.Size)
	switch {
	case a.SizeExact && b.SizeExact:
		return apart != 0
	case a.SizeExact:
		return apart > slack(b.Size)
	case b.SizeExact:
		return apart > slack(a.Size)
	}
	// Two rounded figures are most likely of one server, which has rounded both alike: half of what each may be off by is
	// less than the smallest step between two figures it shows.
	return apart > min(slack(a.Size), slack(b.Size))/2
}

// slack is how far, in bytes, the true size may be from one that was shown rounded. Some servers round down, some to the nearest and some
// up, so it is one of the last digit; of which only the size is left to tell. A whole number of a unit was shown in whole ones (15M), or
// might have been; any other was shown in tenths of the largest unit it holds (1.2M), or of the next (0.9M). Units are powers of
// 1024 or of 1000; the least is K, for bytes are not rounded.
func slack(size int64) int64 {
	unit, thousands := int64(1<<10), int64(1000)
	for size>>10 >= unit {
		unit <<= 10
		thousands *= 1000
	}
	if size%unit == 0 || size%thousands == 0 {
		return unit
	}
	if next := unit << 10; next > 0 {
		tenth := float64(next) / 10
		if n := math.Round(float64(size) / tenth); n > 0 && math.Abs(n*tenth-float64(size)) < 1 {
			return next/10 + 1
		}
	}
	return unit/10 + 1 // the figure itself was cut to a whole byte
}

func timesDiffer(a, b *Entry) bool {
	if a.ModTime.IsZero() || b.ModTime.IsZero() {
		return false
	}
	step := max(a.Step, b.Step)
	if step <= 0 {
		step = time.Second
	}
	apart := a.ModTime.Sub(b.ModTime).Abs()
	if a.ZoneKnown != b.ZoneKnown && apart < widestZone+step {
		apart %= zoneStep
		apart = min(apart, zoneStep-apart)
	}
	return apart >= step
}

// Time zones are whole numbers of quarter hours, and none is farther from UTC than 14 hours.
const (
	zoneStep   = 15 * time.Minute
	widestZone = 14 * time.Hour
)

// Agrees says whether a file that is held, of size bytes and last changed at modTime, may be the one that e lists: both figures are listed,
// and neither contradicts it to the listing's own exactness. A time that came with HTTP has whole seconds, so a second is the least that
// times may be apart. Ahead is how far the server's clock on the wall is ahead of UTC, where the caller knows; it counts only where e
// does not know its zone.
//
// A rounded size and a time to the minute agree with many files; no time at all would agree with any of that size, and so does not.
func (e *Entry) Agrees(size int64, modTime time.Time, ahead time.Duration) bool {
	if e.Size < 0 || e.ModTime.IsZero() || modTime.IsZero() || e.Kind == Dir || e.Kind == Other {
		return false
	}
	off := int64(0)
	if !e.SizeExact {
		off = slack(e.Size)
	}
	if max(e.Size-size, size-e.Size) > off {
		return false
	}
	listed := e.ModTime
	if !e.ZoneKnown {
		listed = listed.Add(-ahead)
	}
	return listed.Sub(modTime).Abs() < max(e.Step, time.Second)
}

// Digest is the SHA-256 of all that l says of its directory: two listings have the same one if, and only if, their sidecars would be
// the same. It depends on no order that servers choose and on no number that this package might give out anew.
func Digest(l *Listing) [sha256.Size]byte {
	h := sha256.New()
	buf := make([]byte, 0, flushAt+4<<10)
	for i := range l.Entries {
		if buf = appendDigest(buf, l.completed(&l.Entries[i])); len(buf) >= flushAt {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	// No entry begins with an empty name, so what follows one cannot be mistaken for an entry.
	buf = append(append(buf, 0), l.Next...)
	h.Write(buf)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// appendDigest writes e so that no two entries are written alike.
func appendDigest(b []byte, e *Entry) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.Name)))
	b = append(b, e.Name...)
	b = binary.AppendUvarint(b, uint64(len(e.Target)))
	b = append(b, e.Target...)
	b = append(b, kindNames[e.Kind][0], truth(e.Link)|truth(e.SizeExact)<<1|truth(e.ZoneKnown)<<2|truth(hasTime(e.ModTime))<<3)
	size := e.Size
	if size < 0 || e.Kind == Dir {
		size = -1
	}
	b = binary.AppendVarint(b, size)
	if hasTime(e.ModTime) {
		b = binary.AppendVarint(b, e.ModTime.Unix())
		b = binary.AppendUvarint(b, uint64(e.ModTime.Nanosecond()))
	}
	b = binary.AppendVarint(b, int64(max(e.Step, 0)))
	return binary.AppendUvarint(b, uint64(e.Mode))
}

func truth(b bool) byte {
	if b {
		return 1
	}
	return 0
}
