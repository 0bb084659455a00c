package auth

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Place is a path as clients see it. It may be compared and serve as a key.
type Place struct {
	Host string // of a host-bound hub, by the name that rules have for it; empty for what lies below a mount path
	Path string // with the mount path, escaped as it came on the wire; begins with a slash
}

// String is the place as rules write it.
func (p Place) String() string {
	if p.Host == "" {
		return p.Path
	}
	return "//" + p.Host + p.Path
}

var (
	errEscape  = errors.New("a malformed escape")
	errNUL     = errors.New("a NUL")
	errDots    = errors.New("a dot segment")
	errNoSlash = errors.New("no slash at its beginning")
	errHost    = errors.New("a host that is none")
)

// hostMark stands before a host in a reading. No path has a NUL, so that /host-like paths of a root hub are never taken for a host's.
const hostMark = "\x00"

// A reading is a path as rules are kept: decoded but for %2F and %25, without a slash at its end, so that the root is "". A host stands before it
// behind a hostMark, as a first segment.
type reading struct {
	exact  string
	folded string // in the one case that stands for all
}

func newReading(exact string) reading { return reading{exact, fold(exact)} }

// readings are the ways in which a server may read p: as it stands, and as one that takes an escaped slash or a backslash for a separator, takes what
// follows a semicolon in a segment for parameters (RFC 3986 section 3.3; servlets do), and drops empty segments. They are the same for all but odd paths.
func readings(p Place) (plain, loose reading, err error) {
	if !strings.HasPrefix(p.Path, "/") {
		return plain, loose, errNoSlash
	}
	path, err := decoded(p.Path)
	if err != nil {
		return plain, loose, err
	}
	host := ""
	if p.Host != "" {
		name := strings.ToLower(strings.TrimSuffix(p.Host, "."))
		if name == "" || strings.ContainsAny(name, "/\\%\x00") {
			return plain, loose, errHost
		}
		host = hostMark + name
	}
	apart := separated(path)
	if dotted(apart) {
		return plain, loose, errDots
	}
	path = strings.TrimSuffix(path, "/")
	plain = newReading(host + path)
	if apart == path {
		return plain, plain, nil
	}
	return plain, newReading(host + apart), nil
}

// decoded undoes all escapes but those of the slash and the percent sign, which would change how the path is read.
func decoded(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		if strings.IndexByte(s, 0) >= 0 {
			return "", errNUL
		}
		return s, nil
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", errEscape
			}
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
			switch c {
			case '/':
				b.WriteString("%2F")
				continue
			case '%':
				b.WriteString("%25")
				continue
			}
		}
		if c == 0 {
			return "", errNUL
		}
		b.WriteByte(c)
	}
	return b.String(), nil
}

// separated is a decoded path as the laxest server reads it.
func separated(path string) string {
	if !strings.ContainsAny(path, "%\\;") && !strings.Contains(path, "//") {
		return strings.TrimSuffix(path, "/")
	}
	path = strings.NewReplacer("%2F", "/", "\\", "/").Replace(path)
	var b strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		if segment, _, _ = strings.Cut(segment, ";"); segment != "" {
			b.WriteByte('/')
			b.WriteString(segment)
		}
	}
	return b.String()
}

// dotted says that a segment is "." or "..".
func dotted(path string) bool {
	return strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/..") || strings.Contains(path, "/./") || strings.Contains(path, "/../")
}

// up is the path of the directory that p lies in; the root's is the root.
func up(p string) string {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return ""
	}
	return p[:i]
}

// top is p cut to its first n segments, of which a host is one. A path of thousands of segments would else be hashed thousands of times.
func top(p string, n int) string {
	i := 0
	for ; n > 0 && i < len(p); n-- {
		j := strings.IndexByte(p[i+1:], '/')
		if j < 0 {
			return p
		}
		i += 1 + j
	}
	return p[:i]
}

// fold is s in the one case that stands for all of them. Bytes that are no UTF-8 become alike, which is safe where folding only serves to deny.
func fold(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' || c >= utf8.RuneSelf {
			return strings.Map(foldRune, s)
		}
	}
	return s
}

// foldRune is the ASCII letter among the runes that differ from r in case only (the Kelvin sign is a k), else the least of them.
func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		return unicode.ToLower(r)
	}
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	if least < utf8.RuneSelf {
		return unicode.ToLower(least)
	}
	return least
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
