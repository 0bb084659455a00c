package freshness

import (
	"net/http"
	"strings"
	"time"
)

// ParseDate reads an HTTP-date (RFC 9110 section 5.6.7) in its three forms, names in any case, and nothing else: a
// lenient reading of Expires would keep fresh what its origin never meant to be.
func ParseDate(s string) (time.Time, bool) {
	s = strings.TrimSpace(s)
	switch {
	case len(s) == len("Sun, 06 Nov 1994 08:49:37 GMT") && s[3] == ',':
		if !strings.EqualFold(s[26:], "GMT") {
			return time.Time{}, false
		}
		t, err := time.Parse("Mon, 02 Jan 2006 15:04:05", s[:25])
		return t.UTC(), err == nil
	case len(s) == len("Sun Nov  6 08:49:37 1994") && s[3] == ' ':
		t, err := time.Parse(time.ANSIC, s)
		return t.UTC(), err == nil
	}
	day, rest, ok := strings.Cut(s, ", ")
	if !ok || len(day) < len("Sunday") || len(rest) != len("06-Nov-94 08:49:37 GMT") || !strings.EqualFold(rest[19:], "GMT") {
		return time.Time{}, false
	}
	t, err := time.Parse("Monday, 02-Jan-06 15:04:05", day+", "+rest[:18])
	if err != nil {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// dateOf returns the Date of a response, or received where it has none that can be read.
func dateOf(h http.Header, received time.Time) time.Time {
	if t, ok := ParseDate(h.Get("Date")); ok {
		return t
	}
	return received
}
