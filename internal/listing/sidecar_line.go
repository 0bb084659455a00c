package listing

import (
	"bytes"
	"io/fs"
	"math"
	"strings"
	"time"
)

// A sidecarLine is a line of a sidecar as WriteSidecar writes it, being read from left to right. It takes nothing that the general
// reader would not take in the same sense; whatever else there is, it leaves to that one.
type sidecarLine struct {
	rest  []byte
	names *strings.Builder
	last  bool // no comma followed the entry
	bad   bool // the line is not as we write it
}

// entry reads the line into e and says whether it could.
func (l *sidecarLine) entry(e *Entry) bool {
	l.want(`{"name":"`)
	shown := l.until('"')
	l.want(`,"size":`)
	e.Size = l.size()
	l.want(`,"url":"./`)
	url := l.until('"')
	l.want(`,"mod_time":`)
	e.ModTime = l.time()
	l.want(`,"mode":`)
	e.Mode = fs.FileMode(l.number(math.MaxUint32))
	l.want(`,"is_dir":`)
	isDir := l.bool()
	l.want(`,"is_symlink":`)
	e.Link = l.bool()
	l.want(`,"size_exact":`)
	e.SizeExact = l.bool()
	l.want(`,"mod_time_step":`)
	e.Step = l.step()
	l.want(`,"zone_known":`)
	e.ZoneKnown = l.bool()
	e.Kind = l.kind(isDir)
	e.Target = l.target()
	l.want("}")
	l.last = !l.has(",")
	l.want("\n")
	if l.bad || isDir && e.Size >= 0 {
		return false
	}
	return l.name(e, shown, url)
}

func (l *sidecarLine) has(s string) bool {
	if len(l.rest) < len(s) || string(l.rest[:len(s)]) != s {
		return false
	}
	l.rest = l.rest[len(s):]
	return true
}

func (l *sidecarLine) want(s string) {
	if !l.has(s) {
		l.fail()
	}
}

func (l *sidecarLine) fail() {
	l.bad = true
	l.rest = nil
}

// until reads up to the next c that no backslash precedes, and beyond it. Two backslashes before a quote are left to the general
// reader too: that name is rare.
func (l *sidecarLine) until(c byte) []byte {
	for from := 0; ; {
		n := bytes.IndexByte(l.rest[from:], c)
		if n < 0 {
			l.fail()
			return nil
		}
		if n += from; n > 0 && l.rest[n-1] == '\\' {
			from = n + 1
			continue
		}
		s := l.rest[:n]
		l.rest = l.rest[n+1:]
		return s
	}
}

func (l *sidecarLine) bool() bool {
	if l.has("true") {
		return true
	}
	l.want("false")
	return false
}

// number reads a JSON number without sign, fraction and exponent, no larger than most.
func (l *sidecarLine) number(most int64) int64 {
	n, i := int64(0), 0
	for i < len(l.rest) && isDigit(l.rest[i]) && i < 19 {
		d := int64(l.rest[i] - '0')
		if n > (math.MaxInt64-d)/10 {
			l.fail()
			return 0
		}
		n = 10*n + d
		i++
	}
	if i == 0 || i > 1 && l.rest[0] == '0' || n > most {
		l.fail()
		return 0
	}
	l.rest = l.rest[i:]
	return n
}

func (l *sidecarLine) size() int64 {
	if l.has("null") {
		return -1
	}
	return l.number(math.MaxInt64)
}

// time reads a time in UTC as time.RFC3339Nano writes it; the zero time for null.
func (l *sidecarLine) time() time.Time {
	if l.has("null") {
		return time.Time{}
	}
	l.want(`"`)
	s := l.until('"')
	t, ok := parseUTC(s)
	if !ok {
		l.fail()
	}
	return t
}

// step reads seconds, which may have a fraction.
func (l *sidecarLine) step() time.Duration {
	n := bytes.IndexByte(l.rest, ',')
	if n < 0 {
		l.fail()
		return 0
	}
	d, ok := parseSeconds(l.rest[:n])
	if !ok {
		l.fail()
		return 0
	}
	l.rest = l.rest[n:]
	return d
}

func (l *sidecarLine) kind(isDir bool) Kind {
	switch {
	case l.has(`,"kind":"unknown"`) && !isDir:
		return Unknown
	case l.has(`,"kind":"other"`) && !isDir:
		return Other
	case isDir:
		return Dir
	}
	return File
}

// target reads a link's text where it holds nothing that is escaped or not ASCII.
func (l *sidecarLine) target() string {
	if !l.has(`,"target":"`) {
		return ""
	}
	s := l.until('"')
	for _, c := range s {
		if !plainByte[c] {
			l.fail()
			return ""
		}
	}
	return keep(l.names, s)
}

// name takes the name from url, which has its bytes, and holds it against the one that is shown: where one of the two is damaged they
// differ.
func (l *sidecarLine) name(e *Entry, shown, url []byte) bool {
	if e.Kind == Dir {
		n, m := len(shown)-1, len(url)-1
		if n < 0 || m < 0 || shown[n] != '/' || url[m] != '/' {
			return false
		}
		shown, url = shown[:n], url[:m]
	}
	plain := true
	for _, c := range url {
		plain = plain && segmentByte[c]
	}
	if plain && bytes.Equal(shown, url) {
		e.Name = keep(l.names, url)
		return possible(e.Name)
	}
	var room [512]byte
	if bytes.IndexByte(url, '\\') >= 0 {
		url = bytes.ReplaceAll(url, []byte(`\u0026`), []byte("&"))
	}
	raw, ok := unescapeSegment(room[:0], url)
	if !ok {
		return false
	}
	e.Name = keep(l.names, raw)
	return possible(e.Name) && string(appendQuotable(raw[len(raw):], e.Name)) == string(shown)
}

// unescapeSegment undoes EscapeName, and fails where a byte stands for itself that may not.
func unescapeSegment(b, url []byte) ([]byte, bool) {
	for i := 0; i < len(url); i++ {
		switch c := url[i]; {
		case escapeIn(url[i:]):
			high, _ := hexDigit(url[i+1])
			low, _ := hexDigit(url[i+2])
			b = append(b, high<<4|low)
			i += 2
		case segmentByte[c]:
			b = append(b, c)
		default:
			return nil, false
		}
	}
	return b, true
}

// parseUTC reads what time.RFC3339Nano writes of a time in UTC. time.Parse does the same in three times the time.
func parseUTC(s []byte) (time.Time, bool) {
	const form = "0000-00-00T00:00:00"
	if len(s) <= len(form) || s[len(s)-1] != 'Z' {
		return time.Time{}, false
	}
	for i := range len(form) {
		if form[i] == '0' != isDigit(s[i]) || form[i] != '0' && s[i] != form[i] {
			return time.Time{}, false
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	year, month, day := two(0)*100+two(2), time.Month(two(5)), two(8)
	hour, minute, second := two(11), two(14), two(17)
	nanos, ok := parseFraction(s[len(form) : len(s)-1])
	t := time.Date(year, month, day, hour, minute, second, nanos, time.UTC)
	// A day that the month does not have comes out as one of the next month.
	if !ok || month < 1 || month > 12 || t.Day() != day || day == 0 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	return t, true
}

// parseFraction reads nothing, or a point and one to nine digits, as billionths.
func parseFraction(s []byte) (int, bool) {
	if len(s) == 0 {
		return 0, true
	}
	if s[0] != '.' || len(s) < 2 || len(s) > 10 {
		return 0, false
	}
	n, unit := 0, 100_000_000
	for _, c := range s[1:] {
		if !isDigit(c) {
			return 0, false
		}
		n += int(c-'0') * unit
		unit /= 10
	}
	return n, true
}

// parseSeconds reads a JSON number of seconds as appendSeconds writes it, exactly.
func parseSeconds(s []byte) (time.Duration, bool) {
	whole, fraction := s, []byte(nil)
	if n := bytes.IndexByte(s, '.'); n >= 0 {
		whole, fraction = s[:n], s[n:]
	}
	l := sidecarLine{rest: whole}
	seconds := l.number(math.MaxInt64 / int64(time.Second))
	nanos, ok := parseFraction(fraction)
	d := time.Duration(seconds)*time.Second + time.Duration(nanos)
	return d, ok && !l.bad && len(l.rest) == 0 && d >= 0 // below zero it has overflown
}
