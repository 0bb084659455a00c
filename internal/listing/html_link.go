package listing

import (
	"net/url"
	"strings"
)

// linkKind is what a link of a page leads to, seen from the page's own directory.
type linkKind uint8

const (
	noLink      linkKind = iota // mailto:, javascript:, a fragment of this page
	childLink                   // a name in the directory
	parentLink                  // the directory above
	selfLink                    // the directory itself
	controlLink                 // the directory itself with a query: another order of the same
	otherLink                   // elsewhere on this host, or on another
)

// A place is a link resolved.
type place struct {
	kind  linkKind
	name  string // of a child, decoded
	slash bool   // a child's or the parent's URL ends in a slash
	query string // with its "?"
}

// A resolver resolves hrefs as a browser does, by the WHATWG URL standard, against a page's URL and its <base>.
type resolver struct {
	scheme, host string   // of the directory; host in lower case, without a default port
	dir          []string // segments of the directory's path, decoded by plainSegment
	base         string   // the path that relative hrefs are joined to, up to its last slash, escaped
	baseHost     string
	baseDir      bool // base is the directory itself
}

func newResolver(u *url.URL) *resolver {
	r := &resolver{scheme: strings.ToLower(u.Scheme), host: plainHost(u.Scheme, u.Host)}
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	path = path[:strings.LastIndexByte(path, '/')+1]
	for _, s := range strings.Split(path[1:], "/") {
		r.dir = append(r.dir, plainSegment(s))
	}
	r.dir = r.dir[:len(r.dir)-1]
	r.base, r.baseHost, r.baseDir = path, r.host, true
	return r
}

// setBase takes the href of the page's first <base>.
func (r *resolver) setBase(href string) {
	host, path, _, ok := r.parse(href)
	if !ok {
		return
	}
	r.baseHost, r.base = host, path[:strings.LastIndexByte(path, '/')+1]
	at := r.place(r.baseHost, r.base, "")
	r.baseDir = at.kind == selfLink
}

// resolve says where href leads.
func (r *resolver) resolve(href string) place {
	if name, slash, ok := plainChild(href); ok && r.baseDir {
		return place{kind: childLink, name: name, slash: slash}
	}
	if strings.HasPrefix(strings.TrimSpace(href), "#") {
		return place{}
	}
	host, path, query, ok := r.parse(href)
	if !ok {
		return place{}
	}
	at := r.place(host, path, query)
	if at.kind == parentLink { // ".." has no slash until it is resolved, and the root always has one
		href = strings.TrimSpace(href)
		at.slash = strings.HasSuffix(href, "../") || path != "/" && strings.HasSuffix(href, "/")
	}
	return at
}

// resolveShown says where href leads, knowing the text that it is shown with. A backslash is a slash to a browser; some servers forget
// to escape it, and where the text has it at the same place it is the name's.
func (r *resolver) resolveShown(href, text string) (place, bool) {
	at := strings.LastIndexByte(href, '/') + 1
	if text == "" || strings.Trim(href[at:], " ") != text || strings.IndexByte(text, '\\') < 0 {
		return place{}, false
	}
	p := r.resolve(href[:at] + strings.ReplaceAll(href[at:], `\`, "%5C"))
	return p, p.kind == childLink
}

// plainChild decides the commonest hrefs without parsing them: one segment of harmless characters and escapes.
func plainChild(href string) (name string, slash, ok bool) {
	escaped := false
	for i := range len(href) {
		c := href[i]
		switch {
		case isLetter(c), isDigit(c), c == '-', c == '_', c == '+', c == '~', c == '.' && i > 0:
		case c == '%':
			escaped = true
		case c == '/' && i == len(href)-1 && i > 0:
			slash = true
		default:
			return "", false, false
		}
	}
	name = strings.TrimSuffix(href, "/")
	if escaped {
		name = decoded(name)
	}
	return name, slash, possible(name)
}

// parse gives the host, the absolute path without dot segments, and the query of href. It is false for what is no web address.
func (r *resolver) parse(href string) (host, path, query string, ok bool) {
	href = strings.Trim(href, controlsAndSpace)
	href = strings.Map(func(c rune) rune {
		if c == '\t' || c == '\n' || c == '\r' {
			return -1
		}
		return c
	}, validBytes(href))
	host = r.baseHost
	rest := href
	if scheme, after := cutScheme(href); scheme != "" {
		if scheme != "http" && scheme != "https" && scheme != r.scheme {
			return "", "", "", false
		}
		rest = after
		if len(after) < 2 || !isSlash(after[0]) || !isSlash(after[1]) {
			if scheme != r.scheme { // "https:x" on an http page
				rest = "//" + after
			}
		}
	}
	rest, _, _ = strings.Cut(rest, "#")
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, query = rest[:i], rest[i:]
	}
	rest = strings.ReplaceAll(rest, `\`, "/")
	base := r.base
	if strings.HasPrefix(rest, "//") {
		rest = strings.TrimLeft(rest, "/")
		host, rest = rest, "/"
		if i := strings.IndexByte(host, '/'); i >= 0 {
			host, rest = host[:i], host[i:]
		}
		host = plainHost(r.scheme, host)
	}
	if !strings.HasPrefix(rest, "/") {
		rest = base + rest
	}
	return host, withoutDots(rest), query, true
}

const controlsAndSpace = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f "

// validBytes keeps strings.Map from replacing bytes that are not UTF-8: it escapes them.
func validBytes(s string) string {
	clean := true
	for i := range len(s) {
		if s[i] >= 0x80 {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < 0x80 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// cutScheme takes a URL's scheme off, in lower case.
func cutScheme(s string) (scheme, rest string) {
	for i := range len(s) {
		switch c := s[i]; {
		case isLetter(c):
		case i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':':
			return strings.ToLower(s[:i]), s[i+1:]
		default:
			return "", s
		}
	}
	return "", s
}

// plainHost puts host into one form: lower case, without user and default port.
func plainHost(scheme, host string) string {
	host = strings.ToLower(host[strings.LastIndexByte(host, '@')+1:])
	if scheme == "http" || scheme == "https" {
		host = strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
	}
	return host
}

// withoutDots removes "." and ".." segments from an absolute path, also where they are escaped.
func withoutDots(path string) string {
	if !strings.Contains(path, "/.") && !strings.Contains(path, "/%2") {
		return path
	}
	parts := strings.Split(path[1:], "/")
	kept := parts[:0]
	for i, p := range parts {
		last := i == len(parts)-1
		switch strings.ToLower(p) {
		case ".", "%2e":
			if last {
				kept = append(kept, "")
			}
		case "..", ".%2e", "%2e.", "%2e%2e":
			kept = kept[:max(0, len(kept)-1)]
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, p)
		}
	}
	return "/" + strings.Join(kept, "/")
}

// place says what an absolute path is to the directory.
func (r *resolver) place(host, path, query string) place {
	if host != r.host {
		return place{kind: otherLink}
	}
	slash := strings.HasSuffix(path, "/")
	parts := strings.Split(strings.TrimSuffix(path[1:], "/"), "/")
	if path == "/" {
		parts = nil
	}
	same := len(parts) <= len(r.dir)+1
	for i := 0; same && i < min(len(parts), len(r.dir)); i++ {
		same = plainSegment(parts[i]) == r.dir[i]
	}
	switch {
	case !same || len(parts) < len(r.dir)-1:
		return place{kind: otherLink, slash: slash}
	case len(parts) == len(r.dir)-1:
		return place{kind: parentLink, query: query}
	case len(parts) == len(r.dir) && query != "":
		return place{kind: controlLink, query: query}
	case len(parts) == len(r.dir):
		return place{kind: selfLink}
	}
	name := strings.Clone(decoded(parts[len(r.dir)])) // not to keep the whole path for it
	if !possible(name) {
		return place{kind: otherLink}
	}
	return place{kind: childLink, name: name, slash: slash, query: query}
}

// decoded undoes the percent signs of a segment. Those that are no escapes stand for themselves, as in a browser.
func decoded(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if c, ok := escape(s[i:]); ok {
			b = append(b, c)
			i += 2
		} else {
			b = append(b, s[i])
		}
	}
	return string(b)
}

func escape(s string) (byte, bool) {
	if len(s) < 3 || s[0] != '%' {
		return 0, false
	}
	hi, lo := nibble(s[1]), nibble(s[2])
	return hi<<4 | lo, hi < 16 && lo < 16
}

func nibble(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}

// plainSegment puts a segment into one form for comparing: decoded, but for slashes and percent signs, so that "%2F" and "%252F"
// stay two.
func plainSegment(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c, ok := escape(s[i:])
		if !ok {
			c = s[i]
		} else {
			i += 2
		}
		switch c {
		case '/':
			b.WriteString("%2F")
		case '%':
			b.WriteString("%25")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
