package listing

import (
	"strconv"
	"strings"
	"time"
)

// sixMonths is how far back a row without a year may lie, with room for clocks and for what servers take for half a year.
const sixMonths = 200 * 24 * time.Hour

// A frame is what times without a year or a zone are relative to.
type frame struct {
	now   time.Time
	zone  *time.Location
	known bool // zone is the server's
	// outside counts the dates without a year that no day of the last six months has; nil where nobody asks.
	outside *int
}

func frameOf(src Source) frame {
	if src.Zone == nil {
		return frame{now: src.Now, zone: time.UTC}
	}
	return frame{now: src.Now, zone: src.Zone, known: true}
}

// An instant is a row's time as far as the row shows it. Its zero value is an unknown time.
type instant struct {
	time  time.Time
	step  time.Duration
	known bool // the zone
}

func (s instant) on(e *Entry) { e.ModTime, e.Step, e.ZoneKnown = s.time, s.step, s.known }

// A dayTime is a time of day; its step is what it was shown to.
type dayTime struct {
	hour, minute, second, nano int
	step                       time.Duration
}

// at is a date's instant; false when there is no such day.
func (f frame) at(year int, month time.Month, day int, c dayTime) (instant, bool) {
	t := time.Date(year, month, day, c.hour, c.minute, c.second, c.nano, f.zone)
	if first := time.Date(year, month, day, 0, 0, 0, 0, time.UTC); first.Month() != month || first.Day() != day {
		return instant{}, false
	}
	return instant{time: t.UTC(), step: c.step, known: f.known}, true
}

// recent is the instant of a date without a year: the last such day, at most a day ahead. Further back than half a year the row cannot
// mean what it seems to, for servers then show the year: it is a future time of a server that shows none for those.
func (f frame) recent(month time.Month, day int, c dayTime) (instant, bool) {
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return instant{}, false
	}
	if f.now.IsZero() {
		return instant{}, true
	}
	year := f.now.In(f.zone).Year()
	for y := year + 1; y >= year-1; y-- {
		s, ok := f.at(y, month, day, c)
		if !ok || s.time.After(f.now.Add(24*time.Hour)) {
			continue
		}
		if f.now.Sub(s.time) > sixMonths {
			break
		}
		return s, true
	}
	if f.outside != nil {
		*f.outside++
	}
	return instant{}, true
}

// lsDate reads the date at the start of s, in any of the forms that ls and its imitators give it, and what follows the one space
// behind it: the name.
func (f frame) lsDate(s string) (st instant, rest string, ok bool) {
	a, after := token(s)
	if len(a) >= 5 && (a[len(a)-3] == '-') && isDigit(a[0]) {
		return f.isoDate(a, after)
	}
	b, after := token(after)
	c, after := token(after)
	month, found := monthOf(a)
	dayText := b
	if !found {
		if month, found = monthOf(b); !found {
			return instant{}, "", false
		}
		dayText = a
	}
	day, found := number(strings.TrimRight(dayText, ".,日"), 2)
	if !found {
		return instant{}, "", false
	}
	if year, found := number(strings.TrimSuffix(c, "年"), 4); found && year > 999 {
		st, ok = f.at(year, month, day, dayTime{step: 24 * time.Hour})
		return st, name(after), ok
	}
	t, found := dayTimeOf(c)
	if !found {
		return instant{}, "", false
	}
	if t.step < time.Minute { // ls -T of the BSDs: the year comes behind the seconds
		d, behind := token(after)
		if year, found := number(d, 4); found && year > 999 {
			st, ok = f.at(year, month, day, t)
			return st, name(behind), ok
		}
	}
	st, ok = f.recent(month, day, t)
	return st, name(after), ok
}

// isoDate reads what --time-style=full-iso, long-iso and iso show: "2023-02-12 20:55:01.000000000 +0000", "2023-02-12 20:55",
// "02-12 20:55", and "2023-02-12 " of an old file, whose column is padded by a space.
func (f frame) isoDate(date, after string) (st instant, rest string, ok bool) {
	year, found := 0, false
	if len(date) == 10 && date[4] == '-' {
		if year, found = number(date[:4], 4); !found {
			return instant{}, "", false
		}
		date = date[5:]
	}
	if len(date) != 5 || date[2] != '-' {
		return instant{}, "", false
	}
	month, monthFound := number(date[:2], 2)
	day, dayFound := number(date[3:], 2)
	if !monthFound || !dayFound {
		return instant{}, "", false
	}
	padded := strings.HasPrefix(after, "  ")
	b, behind := token(after)
	t, timed := dayTimeOf(b)
	switch {
	case found && (padded || !timed):
		if padded {
			after = after[1:]
		}
		st, ok = f.at(year, time.Month(month), day, dayTime{step: 24 * time.Hour})
		return st, name(after), ok
	case !timed:
		return instant{}, "", false
	case !found:
		st, ok = f.recent(time.Month(month), day, t)
		return st, name(behind), ok
	}
	if zone, past := token(behind); t.step < time.Minute && isOffset(zone) {
		f = frame{zone: time.FixedZone("", offset(zone)), known: true}
		behind = past
	}
	st, ok = f.at(year, time.Month(month), day, t)
	return st, name(behind), ok
}

// name takes the one space off that parts a name from the column before it; "" where there is none.
func name(s string) string {
	if s == "" || s[0] != ' ' {
		return ""
	}
	return s[1:]
}

// token gives the first word of s and all behind it.
func token(s string) (word, after string) {
	s = strings.TrimLeft(s, " \t")
	if end := strings.IndexAny(s, " \t"); end >= 0 {
		return s[:end], s[end:]
	}
	return s, ""
}

// dayTimeOf reads 9:05, 09:05, 09:05:59 and 09:05:59.123456789.
func dayTimeOf(s string) (dayTime, bool) {
	at := strings.IndexByte(s, ':')
	if at < 1 || len(s) < at+3 {
		return dayTime{}, false
	}
	var c dayTime
	var ok [3]bool
	c.hour, ok[0] = number(s[:at], 2)
	c.minute, ok[1] = number(s[at+1:at+3], 2)
	c.step, ok[2] = time.Minute, true
	if s = s[at+3:]; s != "" {
		if len(s) < 3 || s[0] != ':' {
			return dayTime{}, false
		}
		c.second, ok[2] = number(s[1:3], 2)
		c.step = time.Second
		if s = s[3:]; s != "" {
			var frac bool
			if c.nano, c.step, frac = fraction(s); !frac {
				return dayTime{}, false
			}
		}
	}
	return c, ok[0] && ok[1] && ok[2] && c.hour < 24 && c.minute < 60 && c.second < 61
}

// fraction reads ".5" or ",123456789": nanoseconds, and what they are exact to.
func fraction(s string) (nano int, step time.Duration, ok bool) {
	if len(s) < 2 || len(s) > 10 || s[0] != '.' && s[0] != ',' || !isDigits(s[1:]) {
		return 0, 0, false
	}
	step = time.Second
	for i := 1; i < len(s); i++ {
		step /= 10
		nano += int(s[i]-'0') * int(step)
	}
	return nano, step, true
}

func isOffset(s string) bool {
	return len(s) == 5 && (s[0] == '+' || s[0] == '-') && isDigits(s[1:])
}

// offset gives the seconds east of Greenwich of "+0530".
func offset(s string) int {
	hours, _ := number(s[1:3], 2)
	minutes, _ := number(s[3:], 2)
	if s[0] == '-' {
		return -(hours*60 + minutes) * 60
	}
	return (hours*60 + minutes) * 60
}

// number reads a decimal of at most most digits.
func number(s string, most int) (int, bool) {
	if len(s) > most || !isDigits(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}
