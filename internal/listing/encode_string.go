package listing

import "unicode/utf8"

const upperHex = "0123456789ABCDEF"

// segmentByte has the bytes that stand for themselves in a path segment (RFC 3986 section 3.3): unreserved, sub-delims, ":" and "@". It
// is the set of cache.Key, whose Child makes the key that a listing's url leads to.
var segmentByte = byteSet("!$&'()*+,;=:@-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

// plainByte has the bytes that stand for themselves in our JSON strings. Beyond what RFC 8259 asks for, <, > and & are escaped, so
// that a listing may stand inside a page.
var plainByte = func() (set [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		set[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return set
}()

func byteSet(s string) (set [256]bool) {
	for i := range len(s) {
		set[s[i]] = true
	}
	return set
}

// EscapeName writes name, which may hold any byte, as one segment of a URL's path: bytes that may not stand for themselves as escapes
// in upper case. It is what cache.Key takes for canonical.
func EscapeName(name string) string {
	for i := range len(name) {
		if !segmentByte[name[i]] {
			return string(appendEscaped(make([]byte, 0, len(name)+16), name))
		}
	}
	return name
}

func appendEscaped(b []byte, name string) []byte {
	for i := range len(name) {
		if c := name[i]; segmentByte[c] {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// appendURLName writes name escaped, for the inside of a JSON string.
func appendURLName(b []byte, name string) []byte {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '&':
			b = append(b, `\u0026`...)
		case segmentByte[c]:
			b = append(b, c)
		default:
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// appendQuotable writes s for the inside of a JSON string, as encoding/json would: bytes that are not UTF-8 become U+FFFD.
func appendQuotable(b []byte, s string) []byte {
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plainByte[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = appendControl(append(b, s[done:i]...), c)
			i++
			done = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[done:i]...), `\ufffd`...)
			done = i + n
		case r == '\u2028', r == '\u2029': // line ends to JavaScript
			b = append(append(b, s[done:i]...), `\u202`...)
			b = append(b, upperHex[r&15])
			done = i + n
		}
		i += n
	}
	return append(b, s[done:]...)
}

// appendControl writes an ASCII byte that must not stand for itself.
func appendControl(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	const lowerHex = "0123456789abcdef"
	return append(b, '\\', 'u', '0', '0', lowerHex[c>>4], lowerHex[c&15])
}

// escapeIn says whether s begins with an escape: a percent sign and two hex digits.
func escapeIn[T string | []byte](s T) bool {
	if len(s) < 3 || s[0] != '%' {
		return false
	}
	_, high := hexDigit(s[1])
	_, low := hexDigit(s[2])
	return high && low
}
