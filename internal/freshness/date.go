package freshness

import (
	"net/http"
	"strings"
	"time"
)

// ParseDate reads an HTTP-date (RFC 9110 section 5.6.7) in its three forms, names in any case, and nothing else: a
// lenient reading of Expires would keep fresh what its origin never meant to be. The day of the week is not held against the date.
//
// The two digits of a year in the RFC 850 form are read as 1969 to 2068. The RFC's own rule, at most 50 years ahead, would soon make a
// date far ahead of "01-Jan-70", by which origins mean: already stale.
func ParseDate(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	switch {
	case shaped(s, "aaa, dd aaa dddd dd:dd:dd GMT"):
		return parsed("Mon, 02 Jan 2006 15:04:05", s[:len(s)-len(" GMT")])
	case shaped(s, "aaa aaa dd dd:dd:dd dddd"), shaped(s, "aaa aaa  d dd:dd:dd dddd"):
		return parsed(time.ANSIC, s)
	}
	if _, rest, ok := strings.Cut(s, ","); ok && shaped(rest, " dd-aaa-dd dd:dd:dd GMT") {
		return parsed("Monday, 02-Jan-06 15:04:05", s[:len(s)-len(" GMT")])
	}
	return time.Time{}, false
}

func parsed(layout, s string) (time.Time, bool) {
	t, err := time.Parse(layout, s)
	if err != nil {
		return time.Time{}, false
	}
	return t, true
}

// shaped says that s looks like shape, in which d stands for a digit, a for a letter, and all else for itself in either case.
// time.Parse alone takes an hour of one digit and any number of spaces for one.
func shaped(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		c, want := s[i], shape[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		switch want {
		case 'd':
			if c < '0' || c > '9' {
				return false
			}
		case 'a':
			if !letter {
				return false
			}
		default:
			if c != want && !(letter && c|0x20 == want|0x20) {
				return false
			}
		}
	}
	return true
}

// dateOf returns the Date of a response, or received where it has none that can be read.
func dateOf(h http.Header, received time.Time) time.Time {
	if t, ok := ParseDate(h.Get("Date")); ok {
		return t
	}
	return received
}
