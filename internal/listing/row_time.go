package listing

import (
	"strconv"
	"strings"
	"time"
)

// A stamp is a time as a row shows it.
type stamp struct {
	time  time.Time // UTC
	step  time.Duration
	zoned bool // the zone is certain
	// Of a date in figures alone that could be read either way, dayFirst is the reading as day, month, and time the one as month, day.
	dayFirst time.Time
	order    dateOrder // what this date proves of the page's order
	half     bool      // AM or PM was shown
}

// dateOrder is the order of day and month in dates of figures alone.
type dateOrder uint8

const (
	anyOrder dateOrder = iota
	monthFirst
	dayFirst
	eitherOrder // this date does not tell
)

// A clock is what times of a page are read against.
type clock struct {
	now   time.Time // rows without a year are near to it; zero leaves them unknown
	zone  *time.Location
	known bool // zone is the server's; otherwise it is taken for want of a better
}

func clockOf(src Source) clock {
	if src.Zone == nil {
		return clock{now: src.Now, zone: time.UTC}
	}
	return clock{now: src.Now, zone: src.Zone, known: true}
}

// readTime takes the whole of s for a time.
func (c clock) readTime(s string) (stamp, bool) {
	t, rest, ok := c.scanTime(strings.TrimSpace(s))
	return t, ok && strings.Trim(rest, " \t\r\n)]") == ""
}

// readEpoch takes s for seconds or milliseconds since 1970. Figures below 1973 are not taken: they are more likely a rank.
func readEpoch(s string) (stamp, bool) {
	if whole, fraction, ok := strings.Cut(s, "."); ok && isDigits(fraction) {
		s = whole
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil || n < 100_000_000:
		return stamp{}, false
	case n >= 100_000_000_000_000:
		return stamp{}, false
	case n >= 100_000_000_000:
		t := stamp{time: time.UnixMilli(n).UTC(), step: time.Millisecond, zoned: true}
		if n%1000 == 0 {
			t.step = time.Second // most file systems of servers that give milliseconds so keep none
		}
		return t, true
	}
	return stamp{time: time.Unix(n, 0).UTC(), step: time.Second, zoned: true}, true
}

// A reading is a date on its way to a stamp. Fields are as shown; year is -1 while none was.
type reading struct {
	s           string // what is left
	year        int
	month, day  int
	hour        int
	minute      int
	second      int
	nanosecond  int
	step        time.Duration
	offset      int // seconds east of UTC
	zoned, half bool
	order       dateOrder
}

// scanTime reads a date, with the time of day and zone behind it, at the start of s and gives what follows. It knows RFC 3339 and
// its looser kin, RFC 1123 and 850, ctime, ls, the common log, Go's and Java's print forms and dates in figures.
func (c clock) scanTime(s string) (stamp, string, bool) {
	r := reading{s: s, year: -1, step: 24 * time.Hour}
	if !r.date() {
		return stamp{}, s, false
	}
	timed := r.timeOfDay()
	if timed {
		r.zone()
		if r.year < 0 {
			r.lateYear()
		}
	}
	if r.year < 0 && !timed {
		return stamp{}, s, false // "May 12" of some sentence
	}
	t, ok := c.stamp(&r)
	if !ok {
		return stamp{}, s, false
	}
	return t, r.s, true
}

// stamp puts a reading into time.
func (c clock) stamp(r *reading) (stamp, bool) {
	zone, known := c.zone, c.known
	if r.zoned {
		zone, known = time.FixedZone("", r.offset), true
	}
	at := func(year, month, day int) (time.Time, bool) {
		t := time.Date(year, time.Month(month), day, r.hour, r.minute, r.second, r.nanosecond, zone)
		return t.UTC(), 1 <= month && month <= 12 && 1 <= day && day <= 31 && daysIn(year, month) >= day
	}
	out := stamp{step: r.step, zoned: known, order: r.order, half: r.half}
	if r.year < 0 {
		var ok bool
		out.time, ok = c.near(func(year int) (time.Time, bool) { return at(year, r.month, r.day) })
		return out, ok
	}
	var first, second bool
	out.time, first = at(r.year, r.month, r.day)
	if r.order != eitherOrder {
		return out, first
	}
	out.dayFirst, second = at(r.year, r.day, r.month)
	return out, first && second
}

// near chooses the year of a date that has none. Servers leave it out for about six months back; one that leaves it out for longer ago
// does so for the future as well (webfs), so the date is then the next to come.
func (c clock) near(at func(year int) (time.Time, bool)) (time.Time, bool) {
	if c.now.IsZero() {
		return time.Time{}, false
	}
	const day = 24 * time.Hour
	year := c.now.Year()
	var next time.Time
	for y := year + 1; y >= year-1; y-- {
		t, ok := at(y)
		if !ok {
			continue // the 29th of February
		}
		if age := c.now.Sub(t); age > -day {
			if age > 190*day && !next.IsZero() {
				return next, true
			}
			return t, true
		}
		next = t
	}
	return next, !next.IsZero()
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
