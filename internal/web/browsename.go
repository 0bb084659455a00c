package web

import (
	"strconv"
	"unicode/utf8"
)

// appendHref appends name as one segment of a URL's path, in the one way that package cache calls canonical, fit for an attribute in
// double quotes.
func appendHref(b []byte, name string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
			b = append(b, c)
		case c == '&':
			b = append(b, "&amp;"...)
		case c == '-' || c == '.' || c == '_' || c == '~' || c == '!' || c == '$' || '\'' <= c && c <= ',' || c == ';' || c == '=' || c == ':' || c == '@':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// appendEscaped appends s as text or as the value of a quoted attribute. NUL, which HTML cannot say, becomes U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '"':
			b = append(b, "&#34;"...)
		case '\'':
			b = append(b, "&#39;"...)
		case '\r':
			b = append(b, "&#13;"...) // a raw one would arrive as a newline
		case 0:
			b = append(b, "\uFFFD"...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendName appends a file's name as text that shows every byte of it: what has no shape of its own, or would turn the text around it (the
// controls of bidirectional text in "exe.<U+202E>fdp"), is spelled as Go spells it, and a space at either end likewise. A name beyond ASCII is
// isolated, so that right-to-left letters reorder nothing but themselves.
func appendName(b []byte, name string) []byte {
	plain := true
	for i := range len(name) {
		plain = plain && ' ' < name[i] && name[i] < 0x7f
	}
	if plain {
		return appendEscaped(b, name)
	}
	b = append(b, "<bdi>"...)
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		switch end := i == 0 || i+n == len(name); {
		case r == utf8.RuneError && n == 1:
			b = appendSpelled(b, `\x`, uint64(name[i]), 2)
		case r == ' ' && end:
			b = appendSpelled(b, `\x`, ' ', 2)
		case r == ' ' || strconv.IsPrint(r) || r == '\u200c' || r == '\u200d': // joiners shape letters and do no harm
			b = appendEscaped(b, name[i:i+n])
		case r < 0x80:
			b = appendSpelled(b, `\x`, uint64(r), 2)
		case r < 0x10000:
			b = appendSpelled(b, `\u`, uint64(r), 4)
		default:
			b = appendSpelled(b, `\U`, uint64(r), 8)
		}
		i += n
	}
	return append(b, "</bdi>"...)
}

func appendSpelled(b []byte, prefix string, v uint64, digits int) []byte {
	b = append(b, `<span class="x">`...)
	b = append(b, prefix...)
	for i := digits - 1; i >= 0; i-- {
		b = append(b, "0123456789abcdef"[v>>(4*i)&15])
	}
	return append(b, "</span>"...)
}
