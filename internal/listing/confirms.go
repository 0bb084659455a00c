package listing

import "time"

// A Copy is what is known of a file that is held.
type Copy struct {
	Size    int64
	ModTime time.Time // its Last-Modified; zero when it came with none
	// Asked is when its origin was last asked for it, on the clock that tells the times of listings' arrivals too.
	Asked time.Time
	// Vouched is when its origin last stood by it, as far as can be told on the origin's own clock.
	Vouched time.Time
	// Row is what a listing said of it when its origin last stood by it, as Row makes it; "" when nobody looked.
	Row string
}

// Confirms says that a copy is, without a doubt, the file that e tells of, so that the copy's own figures may stand in its place: its origin was asked for it
// after it had given the listing, or the two agree and nothing can have happened to the file that would not show. A change can be told from none only once
// two steps of the listed time are over, of which a step is at least a second.
//
// Where the listing's zone is not known, the times agree when they are whole quarter hours apart, as zones are, and no more than a zone can be. A later
// change may then look like the same file in another zone, unless it came more than the whole width of all zones after the first: the copy must have been vouched
// for as late as that.
func (e *Entry) Confirms(c Copy, listed time.Time) bool {
	if e.Kind == Dir || e.Kind == Other {
		return false
	}
	if !c.Asked.IsZero() && !listed.IsZero() && !c.Asked.Before(listed) {
		return true
	}
	if e.Step <= 0 || c.ModTime.IsZero() {
		return false
	}
	step := max(e.Step, time.Second)
	if c.Row != "" && c.Row == e.Row() && e.Timely(c.ModTime) && c.Vouched.Sub(c.ModTime) >= 2*step {
		return true
	}
	late, ahead := 2*step, time.Duration(0)
	if !e.ZoneKnown {
		late += 2 * widestZone
		if ahead = e.ModTime.Sub(c.ModTime); ahead.Abs() >= widestZone+step {
			return false
		}
		if step < zoneStep { // a day is the same one in half of all zones
			ahead = ahead.Round(zoneStep)
		}
	}
	return c.Vouched.Sub(c.ModTime) >= late && e.Agrees(c.Size, c.ModTime, ahead)
}

// Timely says that a listed time may be that of a Last-Modified, in some zone where the listing's is not known. Where it is not, a cache before the origin
// may have stood by an old state while the listing was of the new one already.
func (e *Entry) Timely(modified time.Time) bool {
	step, apart := max(e.Step, time.Second), e.ModTime.Sub(modified).Abs()
	if e.ZoneKnown || step >= zoneStep {
		return apart < step || !e.ZoneKnown && apart < widestZone+step
	}
	over := apart % zoneStep
	return apart < widestZone+step && min(over, zoneStep-over) < step
}
