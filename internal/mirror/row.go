package mirror

import (
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// current says that a held entry is, without any doubt, the file that a row tells of, so that nobody need ask. A row can tell nothing of a change that
// came within the step of its time after the entry was last confirmed: an entry counts only when it was confirmed two steps after its Last-Modified.
//
// A row with an exact size and an exact time in a known zone is held against the entry itself. One that is rounded, or in local time, says only that
// nothing has changed since an earlier walk saw the same row and asked. One without time says nothing. An exact size that is not the entry's is never
// overlooked: a page of an error may have come with status 200 when an earlier walk asked.
//
// Nor is a time that cannot be its Last-Modified in any zone: a cache before the upstream, or in it as lighttpd has one, may have stood by an old state
// while the listing was of the new one already.
func current(e *listing.Entry, m *cache.Meta, adopted bool) bool {
	if adopted || m.Status != http.StatusOK || m.Provisional || e.ModTime.IsZero() || e.Step <= 0 {
		return false
	}
	if e.SizeExact && !e.Link && e.Size >= 0 && e.Size != m.Size {
		return false
	}
	step := max(e.Step, time.Second)
	modified, known := m.ModTime, m.LastModified() != ""
	if !known {
		if modified = e.ModTime; !e.ZoneKnown {
			modified = modified.Add(14 * time.Hour) // no zone is farther behind UTC
		}
	}
	if confirmed(m).Sub(modified) < 2*step {
		return false
	}
	exact := known && e.SizeExact && e.ZoneKnown && step <= time.Minute
	// Times that are cut to minutes and times that are rounded agree with a Last-Modified in two of them; which it was, the last row tells.
	if exact && (step == time.Second || m.Row == "" || m.Row == e.Row()) && e.Agrees(m.Size, m.ModTime, 0) {
		return true
	}
	return m.Row != "" && m.Row == e.Row() && (!known || e.Timely(m.ModTime))
}

// confirmed is when the origin last stood by an entry, on the origin's own clock where it tells: ours may be ahead of the one that Last-Modified is by.
func confirmed(m *cache.Meta) time.Time {
	if date, err := http.ParseTime(m.Header.Get("Date")); err == nil && date.Before(m.Received) {
		return date
	}
	return m.Received
}
