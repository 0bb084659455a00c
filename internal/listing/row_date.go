package listing

import (
	"strings"
	"time"
)

var (
	monthNames = [...]string{"january", "february", "march", "april", "may", "june",
		"july", "august", "september", "october", "november", "december"}
	dayNames = [...]string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

	// zones are the abbreviations that mean one thing everywhere, in hours east of UTC. CST, IST and BST do not.
	zones = map[string]int{"Z": 0, "UTC": 0, "GMT": 0, "UT": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
		"MSK": 3, "HKT": 8, "SGT": 8, "JST": 9, "KST": 9, "EST": -5, "EDT": -4, "PST": -8, "PDT": -7}
	vagueZones = map[string]bool{"CST": true, "CDT": true, "IST": true, "BST": true, "MST": true, "MDT": true}
)

// named gives the place of word, three letters of it or more, in names; 0 is none.
func named(names []string, word string) int {
	word = strings.ToLower(word)
	if word == "sept" {
		word = "sep"
	}
	for i, name := range names {
		if len(word) >= 3 && strings.HasPrefix(name, word) && (len(word) == 3 || word == name) {
			return i + 1
		}
	}
	return 0
}

// number takes digits off r, most to least of them, not followed by another.
func (r *reading) number(least, most int) (int, bool) {
	n, v := 0, 0
	for n < len(r.s) && isDigit(r.s[n]) && n < most+1 {
		v = v*10 + int(r.s[n]-'0')
		n++
	}
	if n < least || n > most {
		return 0, false
	}
	r.s = r.s[n:]
	return v, true
}

// word takes letters off r.
func (r *reading) word() string {
	n := 0
	for n < len(r.s) && isLetter(r.s[n]) {
		n++
	}
	w := r.s[:n]
	r.s = r.s[n:]
	return w
}

// skip takes up to three bytes of set off r.
func (r *reading) skip(set string) {
	for n := 0; n < 3 && r.s != "" && strings.IndexByte(set, r.s[0]) >= 0; n++ {
		r.s = r.s[1:]
	}
}

func (r *reading) digits() int {
	n := 0
	for n < len(r.s) && isDigit(r.s[n]) {
		n++
	}
	return n
}

// date reads a date in any order, and leaves year at -1 where a time of day stands in its place.
func (r *reading) date() bool {
	if r.s == "" {
		return false
	}
	if isLetter(r.s[0]) {
		w := r.word()
		if named(dayNames[:], w) > 0 {
			r.skip(".,")
			r.skip(" ")
			if r.s != "" && isDigit(r.s[0]) {
				return r.dayDate()
			}
			w = r.word()
		}
		r.month = named(monthNames[:], w)
		return r.month > 0 && r.monthDate()
	}
	switch r.digits() {
	case 4:
		return r.yearDate()
	case 8:
		return r.basicDate()
	case 1, 2:
		return r.dayDate()
	}
	return false
}

// monthDate goes on after a month's name: "Nov 21 2026", "November 21st, 2026", "Nov 21 19:26".
func (r *reading) monthDate() bool {
	r.skip(".")
	r.skip(" -")
	var ok bool
	if r.day, ok = r.number(1, 2); !ok {
		return false
	}
	if len(r.s) > 2 && strings.Contains("st nd rd th", strings.ToLower(r.s[:2])) {
		r.s = r.s[2:]
	}
	return r.yearOrClock(" ,-")
}

// yearOrClock takes a year of four digits, or leaves a time of day where it is.
func (r *reading) yearOrClock(marks string) bool {
	before := r.s
	r.skip(marks)
	if n := r.digits(); n == 4 {
		r.year, _ = r.number(4, 4)
		return true
	} else if n > 2 || n == 0 || len(r.s) <= n || r.s[n] != ':' {
		return false
	}
	r.s = before
	return true
}

// yearDate reads "2026-11-21", "2026/11/21", "2026.11.21", "2026-Nov-21".
func (r *reading) yearDate() bool {
	var ok bool
	if r.year, ok = r.number(4, 4); !ok || r.s == "" {
		return false
	}
	mark := r.s[:1]
	if !strings.Contains("-/. ", mark) {
		return false
	}
	r.s = r.s[1:]
	if r.s != "" && isLetter(r.s[0]) {
		r.month, ok = named(monthNames[:], r.word()), true
	} else if r.month, ok = r.number(1, 2); !ok || mark == " " {
		return false
	}
	if !strings.HasPrefix(r.s, mark) {
		return false
	}
	r.s = r.s[1:]
	r.day, ok = r.number(1, 2)
	return ok && r.month > 0
}

// basicDate reads "20261121T192633Z", which is a date only for the T.
func (r *reading) basicDate() bool {
	v, _ := r.number(8, 8)
	if len(r.s) < 7 || r.s[0] != 'T' || !isDigits(r.s[1:7]) {
		return false
	}
	r.year, r.month, r.day = v/10000, v/100%100, v%100
	r.s = r.s[:3] + ":" + r.s[3:5] + ":" + r.s[5:]
	return true
}

// dayDate reads "21-Nov-2026", "21Nov2026", "21 Nov 19:26", "21.11.2026", "11/21/2026".
func (r *reading) dayDate() bool {
	var ok bool
	if r.day, ok = r.number(1, 2); !ok || r.s == "" {
		return false
	}
	mark := r.s[:1]
	if strings.Contains("-/. ", mark) {
		r.s = r.s[1:]
	}
	r.skip(" ")
	if r.s == "" {
		return false
	}
	if isLetter(r.s[0]) {
		if r.month = named(monthNames[:], r.word()); r.month == 0 {
			return false
		}
		if mark != " " && len(r.s) > 2 && r.s[:1] == mark && isDigit(r.s[1]) && isDigit(r.s[2]) && (len(r.s) == 3 || !isDigit(r.s[3])) {
			r.s = r.s[1:]
			r.year, _ = r.number(2, 2)
			r.year = century(r.year)
			return true
		}
		return r.yearOrClock("-/., ")
	}
	if mark == " " {
		return false
	}
	second, ok := r.number(1, 2)
	if !ok || !strings.HasPrefix(r.s, mark) {
		return false
	}
	r.s = r.s[1:]
	if r.year, ok = r.number(4, 4); !ok {
		if r.year, ok = r.number(2, 2); !ok {
			return false
		}
		r.year = century(r.year)
	}
	return r.arrange(r.day, second, mark)
}

// arrange says which of two figures is the month. Between points the day comes first everywhere.
func (r *reading) arrange(first, second int, mark string) bool {
	r.month, r.day = first, second
	switch {
	case mark == "." || first > 12:
		r.month, r.day, r.order = second, first, dayFirst
	case second > 12:
		r.order = monthFirst
	case first != second:
		r.order = eitherOrder
	}
	if mark == "." {
		r.order = anyOrder
	}
	return true
}

// century follows RFC 6265, section 5.1.1, for years of two digits.
func century(y int) int {
	if y < 70 {
		return 2000 + y
	}
	return 1900 + y
}

// timeOfDay reads "19:26", "19:26:33.5", "7:26 PM" behind a date.
func (r *reading) timeOfDay() bool {
	t := *r
	t.skip(",:T@-")
	t.skip(" ")
	t.s = strings.TrimPrefix(t.s, "at ")
	t.skip("@- ")
	t.skip(" ")
	t.s = strings.TrimLeft(t.s, " ")
	var ok bool
	if t.hour, ok = t.number(1, 2); !ok || !strings.HasPrefix(t.s, ":") {
		return false
	}
	t.s = t.s[1:]
	if t.minute, ok = t.number(2, 2); !ok || t.hour > 23 || t.minute > 59 {
		return false
	}
	t.step = time.Minute
	if len(t.s) > 2 && t.s[0] == ':' && isDigit(t.s[1]) {
		t.s = t.s[1:]
		if t.second, ok = t.number(2, 2); !ok || t.second > 60 {
			return false
		}
		t.step = time.Second
		t.fraction()
	}
	t.halves()
	*r = t
	return t.hour < 24
}

// fraction reads ".5" behind seconds. The step is the last digit's.
func (r *reading) fraction() {
	if len(r.s) < 2 || r.s[0] != '.' && r.s[0] != ',' || !isDigit(r.s[1]) {
		return
	}
	r.s = r.s[1:]
	n := r.digits()
	unit := int(time.Second)
	for i := range n {
		if unit /= 10; unit == 0 {
			unit = 1
			break
		}
		r.nanosecond += int(r.s[i]-'0') * unit
	}
	r.step = time.Duration(unit)
	r.s = r.s[n:]
}

// halves reads AM or PM.
func (r *reading) halves() {
	rest := strings.TrimLeft(r.s, " ")
	flat := strings.ToLower(strings.ReplaceAll(rest[:min(4, len(rest))], ".", ""))
	if len(flat) < 2 || flat[1] != 'm' || flat[0] != 'a' && flat[0] != 'p' || len(flat) > 2 && isLetter(flat[2]) {
		return
	}
	length := 2
	if rest[1] == '.' {
		length = min(4, len(rest))
	}
	r.s, r.half = rest[length:], true
	switch {
	case r.hour == 12 && flat[0] == 'a':
		r.hour = 0
	case r.hour < 12 && flat[0] == 'p':
		r.hour += 12
	}
}

// zone reads "Z", "GMT", "+08:00", "UTC+8", "+0000 UTC" behind a time of day.
func (r *reading) zone() {
	t := *r
	t.skip(" ")
	if t.s != "" && isLetter(t.s[0]) {
		w := t.word()
		hours, ok := zones[w]
		if !ok && !vagueZones[w] {
			return
		}
		r.s = t.s
		if r.offset, r.zoned = hours*3600, ok; hours == 0 && ok {
			r.shift(true)
		}
		return
	}
	if t.shift(len(t.s) == len(r.s)) {
		*r = t
		t.skip(" ")
		if w := t.word(); w != "" && (zones[w] != 0 || w == "UTC" || w == "GMT" || vagueZones[w]) {
			r.s = t.s
		}
	}
}

// shift reads "+08:00", "+0800", and "+8" where it is attached to what is before it: a "-1" apart is a size that is not known.
func (r *reading) shift(attached bool) bool {
	if len(r.s) < 2 || r.s[0] != '+' && r.s[0] != '-' || !isDigit(r.s[1]) {
		return false
	}
	t := reading{s: r.s[1:]}
	hours, minutes := 0, 0
	ok := true
	switch t.digits() {
	case 4:
		hours, _ = t.number(4, 4)
		hours, minutes = hours/100, hours%100
	case 1, 2:
		hours, _ = t.number(1, 2)
		if strings.HasPrefix(t.s, ":") {
			t.s = t.s[1:]
			minutes, ok = t.number(2, 2)
		} else {
			ok = attached
		}
	default:
		ok = false
	}
	if !ok || hours > 15 || minutes > 59 {
		return false
	}
	offset := hours*3600 + minutes*60
	if r.s[0] == '-' {
		offset = -offset
	}
	r.s, r.offset, r.zoned = t.s, offset, true
	return true
}

// lateYear reads the year where ctime puts it: "Sat Nov 21 19:26:33 UTC 2026".
func (r *reading) lateYear() {
	rest := strings.TrimLeft(r.s, " ")
	t := reading{s: rest}
	if year, ok := t.number(4, 4); ok && len(rest) < len(r.s) && (t.s == "" || t.s[0] != ':' && !isLetter(t.s[0])) && year >= 1900 && year < 2200 {
		r.year, r.s = year, t.s
	}
}
