package cache

import (
	"fmt"
	"net/url"
	"strings"
)

// longestPath bounds the escaped path of a Key.
const longestPath = 8 << 10

// longestHub bounds a hub's name, which is a file name on disk.
const longestHub = 200

// A Key names what a client asked a hub for: the hub, the escaped path as it came on the wire and the query. Escapes of unreserved
// characters are undone (%7E is ~), which RFC 3986 section 6.2.2.2 calls the same URL; all else is kept as it came, so that any
// other two distinct URLs have distinct keys. It is a value: comparable, immutable, fit for a map.
type Key struct {
	hub      string
	path     string // escaped, begins with a slash
	query    string
	hasQuery bool // "/a?" is not "/a"
}

// ParseKey makes the Key of a path and a query as they came on the wire; rawPath begins with "/" and is relative to the hub. What
// is refused fails with ErrBadKey.
func ParseKey(hub, rawPath, rawQuery string, hasQuery bool) (Key, error) {
	if !validHub(hub) {
		return Key{}, fmt.Errorf("%w: %.80q is no hub name", ErrBadKey, hub)
	}
	if len(rawPath) > longestPath {
		return Key{}, fmt.Errorf("%w: longer than %d bytes", ErrBadKey, longestPath)
	}
	if rawPath == "" || rawPath[0] != '/' {
		return Key{}, fmt.Errorf("%w: does not begin with a slash", ErrBadKey)
	}
	path, err := normalisePath(rawPath)
	if err != nil {
		return Key{}, err
	}
	if dotted(path) {
		return Key{}, fmt.Errorf("%w: dot segment in the path", ErrBadKey)
	}
	query, err := normaliseQuery(rawQuery)
	if err != nil {
		return Key{}, err
	}
	return Key{hub: hub, path: path, query: query, hasQuery: hasQuery || query != ""}, nil
}

// validHub says whether name matches [a-z0-9][a-z0-9._-]*.
func validHub(name string) bool {
	if name == "" || len(name) > longestHub {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case i > 0 && (c == '.' || c == '_' || c == '-'):
		default:
			return false
		}
	}
	return true
}

func normalisePath(raw string) (string, error) {
	for i := range len(raw) {
		switch c := raw[i]; {
		case c < ' ' || c == 0x7f:
			return "", fmt.Errorf("%w: control byte in the path", ErrBadKey)
		case c == '?' || c == '#':
			return "", fmt.Errorf("%w: raw %q in the path", ErrBadKey, c)
		case c == '%' && !escapeAt(raw, i):
			return "", fmt.Errorf("%w: malformed escape", ErrBadKey)
		}
	}
	return undoUnreserved(raw), nil
}

// normaliseQuery is lenient with escapes, for a lone % is common in real queries and goes upstream as it came.
func normaliseQuery(raw string) (string, error) {
	for i := range len(raw) {
		if c := raw[i]; c < ' ' || c == 0x7f || c == '#' {
			return "", fmt.Errorf("%w: %q in the query", ErrBadKey, c)
		}
	}
	return undoUnreserved(raw), nil
}

func escapeAt(s string, i int) bool {
	return i+2 < len(s) && s[i] == '%' && ishex(s[i+1]) && ishex(s[i+2])
}

func undoUnreserved(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); i++ {
		if escapeAt(s, i) {
			c := unhex(s[i+1])<<4 | unhex(s[i+2])
			if unreserved(c) {
				// The byte that came out is no %, so nothing is ever decoded twice. But it may be a hex digit behind a lone %
				// of a query ("%%341" would become "%41", which is another URL): then the escape stays.
				if out := b.String(); !ishex(c) || !endsInLonePercent(out) {
					b.WriteByte(c)
					i += 2
					continue
				}
			}
			b.WriteString(s[i : i+3])
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// endsInLonePercent says whether one or two more hex digits would complete an escape at the end of out.
func endsInLonePercent(out string) bool {
	n := len(out)
	return n > 0 && out[n-1] == '%' || n > 1 && out[n-2] == '%' && ishex(out[n-1])
}

// dotted says whether a segment of path is "." or ".." in any coding, also to a server that takes an escaped slash or a backslash
// for a separator. Path has valid escapes only.
func dotted(path string) bool {
	dots, only := 0, true // of the segment so far: how many dots, and whether there was nothing else
	for i := 0; i <= len(path); i++ {
		c := byte('/')
		if i < len(path) {
			if c = path[i]; c == '%' {
				c = unhex(path[i+1])<<4 | unhex(path[i+2])
				i += 2
			}
		}
		switch c {
		case '/', '\\':
			if only && (dots == 1 || dots == 2) {
				return true
			}
			dots, only = 0, true
		case '.':
			dots++
		default:
			only = false
		}
	}
	return false
}

// Hub is the name of the hub.
func (k Key) Hub() string { return k.hub }

// Path is the escaped, normalised path, relative to the hub; it begins with "/".
func (k Key) Path() string { return k.path }

// Query is the query as it goes upstream, and whether there was one at all: "/a?" has an empty one.
func (k Key) Query() (string, bool) { return k.query, k.hasQuery }

// IsZero says whether k is no key at all.
func (k Key) IsZero() bool { return k.hub == "" }

// String is the key for people: /hub/path?query, with bytes that do not print as escapes.
func (k Key) String() string {
	var b strings.Builder
	b.WriteByte('/')
	b.WriteString(k.hub)
	printable(&b, k.path)
	if k.hasQuery {
		b.WriteByte('?')
		printable(&b, k.query)
	}
	return b.String()
}

func printable(b *strings.Builder, s string) {
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f {
			b.WriteByte(c)
		} else {
			escape(b, c)
		}
	}
}

// URL is the key as a URL of the scheme "hub", opaque so that the escaped bytes survive exactly. Of a partition it is the hub's, whose upstreams are asked.
func (k Key) URL() *url.URL {
	return &url.URL{Scheme: "hub", Host: BaseHub(k.hub), Opaque: k.path, RawQuery: k.query, ForceQuery: k.hasQuery && k.query == ""}
}

// IsDir says whether the path ends in a slash.
func (k Key) IsDir() bool { return strings.HasSuffix(k.path, "/") }

// WithoutQuery is k with no query at all.
func (k Key) WithoutQuery() Key { return Key{hub: k.hub, path: k.path} }

// Parent is the directory that k lies in, without a query; the hub's root is its own parent.
func (k Key) Parent() Key {
	path := strings.TrimSuffix(k.path, "/")
	return Key{hub: k.hub, path: path[:strings.LastIndexByte(path, '/')+1] + rootSlash(path)}
}

func rootSlash(path string) string {
	if path == "" {
		return "/"
	}
	return ""
}

// Under says whether k is dir or lies below it, by whole segments; a slash at the end of dir changes nothing, its query does not
// count.
func (k Key) Under(dir Key) bool {
	if k.hub != dir.hub {
		return false
	}
	rest, ok := strings.CutPrefix(k.path, strings.TrimSuffix(dir.path, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

// Name is the last segment, decoded; it may hold any byte. A slash at the end does not count, and the hub's root has none.
func (k Key) Name() string {
	path := strings.TrimSuffix(k.path, "/")
	return decode(path[strings.LastIndexByte(path, '/')+1:])
}

// Child is the key of name, which may hold any byte, in the directory k: with a slash at the end if it is a directory.
func (k Key) Child(name string, isDir bool) (Key, error) {
	path := strings.TrimSuffix(k.path, "/") + "/" + encodeSegment(name)
	if isDir {
		path += "/"
	}
	if name == "" {
		return Key{}, fmt.Errorf("%w: empty name", ErrBadKey)
	}
	return ParseKey(k.hub, path, "", false)
}

// decode undoes the escapes of s, all of which are valid.
func decode(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// encodeSegment writes a name in the one way that we call canonical: unreserved characters, sub-delims, ":" and "@" raw, all else
// escaped in upper case.
func encodeSegment(name string) string {
	plain := true
	for i := range len(name) {
		plain = plain && segmentChar(name[i])
	}
	if plain {
		return name
	}
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; segmentChar(c) {
			b.WriteByte(c)
		} else {
			escape(&b, c)
		}
	}
	return b.String()
}

func escape(b *strings.Builder, c byte) {
	const digits = "0123456789ABCDEF"
	b.WriteByte('%')
	b.WriteByte(digits[c>>4])
	b.WriteByte(digits[c&15])
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func segmentChar(c byte) bool { return unreserved(c) || strings.IndexByte("!$&'()*+,;=:@", c) >= 0 }

func ishex(c byte) bool {
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
