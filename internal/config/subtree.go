package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// A Mirror is how subtrees are kept current. Without ModeMirror there are no Subtrees; the rest holds for walks by command all the same.
type Mirror struct {
	Subtrees    []Subtree     // each directory once, in the order in which they were named
	MinInterval time.Duration // after a walk that succeeded, until a touch starts another
	Parallel    int           // requests of one walk at a time
	Walks       int           // at a time
	MaxPurge    float64       // share, 0 to 1, of the held files that a walk may remove without being confirmed
	MaxBytes    int64         // that the listings of one walk may promise; 0 = judged by the free space
	Verify      string        // MirrorListing or MirrorConditional
	Idle        []string      // settings of the mirror that were given and do nothing in this mode
}

// A Subtree is a directory of a hub that is kept current with all below it.
type Subtree struct {
	Name string // its path as clients see it, without a slash at its end: "/kernel/linux", "//host/path" of a hub without a mount, "/" of the root hub
	Hub  string
	Path string // relative to the hub, escaped; begins and ends in a slash
}

// A place is a path that somebody wrote, in the one spelling that is compared.
type place struct {
	host string // of "//host/path", lower case; empty = any
	path string // escaped; begins with a slash and does not end in one, but for "/"
}

func (p place) String() string {
	host := p.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	switch {
	case host == "":
		return p.path
	case p.path == "/":
		return "//" + host
	}
	return "//" + host + p.path
}

// dir is the path with a slash at its end.
func (p place) dir() string { return strings.TrimSuffix(p.path, "/") + "/" }

// parseSubtree accepts /path as clients see it and //host/path at a hub's host. Slashes around it do not count, and nothing at all is "/".
func parseSubtree(s string) (place, error) {
	s = strings.TrimSpace(s)
	var p place
	if rest, ok := strings.CutPrefix(s, "//"); ok && strings.Trim(rest, "/") != "" {
		authority, path, _ := strings.Cut(rest, "/")
		if host, _, err := net.SplitHostPort(authority); err == nil {
			authority = host
		}
		host, err := parseHost(authority)
		if err != nil {
			return p, err
		}
		p.host, s = host, path
	}
	var err error
	if p.path, err = parseDirPath(s); err != nil {
		return p, err
	}
	first, _, _ := strings.Cut(p.path[1:], "/")
	if p.host == "" && (first == "-" || first == "files" || first == "download" || strings.HasPrefix(first, "@")) {
		return p, fmt.Errorf("/%s belongs to zcache itself and is never walked; name a directory of a hub", first)
	}
	return p, nil
}

// parseHubDir accepts a directory relative to its hub.
func parseHubDir(s string) (string, error) { return parseDirPath(strings.TrimSpace(s)) }

// parseDirPath brings a directory's path into the form that Keys have: what no client sends unescaped is escaped, escapes of unreserved characters
// are undone, all other escapes stay as they were written.
func parseDirPath(s string) (string, error) {
	s = "/" + strings.Trim(s, "/")
	if s == "/" {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '?' || c == '#':
			return "", fmt.Errorf("%q has a query or fragment; name a directory, and write ? as %%3F and # as %%23 in its name", s)
		case c < ' ' || c == 0x7f:
			return "", fmt.Errorf("%q holds a control character; write it as an escape such as %%09", s)
		case c != '%':
			writeByte(&b, c)
		case i+2 >= len(s) || unhex(s[i+1]) < 0 || unhex(s[i+2]) < 0:
			return "", fmt.Errorf("%q has a %% that begins no escape; write it as %%25", s)
		default:
			if c := byte(unhex(s[i+1])<<4 | unhex(s[i+2])); strings.IndexByte(letters+"-._~", c) >= 0 {
				b.WriteByte(c)
			} else {
				b.WriteString(s[i : i+3])
			}
			i += 2
		}
	}
	for seg := range strings.SplitSeq(b.String()[1:], "/") {
		if seg == "" || seg == "." || seg == ".." {
			return "", fmt.Errorf("%q has %q between two slashes; write the path plainly", s, seg)
		}
	}
	return b.String(), nil
}

// writeByte writes a byte of a path as clients send it.
func writeByte(b *strings.Builder, c byte) {
	if strings.IndexByte(letters+"/-._~!$&'()*+,;=:@", c) >= 0 {
		b.WriteByte(c)
		return
	}
	fmt.Fprintf(b, "%%%02X", c)
}

// unhex is the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	if 'A' <= c && c <= 'F' {
		c += 'a' - 'A'
	}
	return strings.IndexByte("0123456789abcdef", c)
}

var (
	errNoHub = errors.New("lies under no hub; name a directory of one (zcache check-config lists them)")
	errLocal = errors.New("cannot be mirrored: its tree lies on this machine, and is served from there")
)

// subtrees finds the hub of every directory that is to be kept current. None named means "/".
func (l *loader) subtrees(c *Config) {
	if c.Mode != ModeMirror {
		c.Mirror.Idle = l.idle(c)
		return
	}
	named := len(c.mirror) > 0
	for _, p := range c.mirror {
		subtrees, err := resolveSubtree(c.Hubs, p)
		if err != nil {
			l.problems.add("mirror-subtree", l.placeOf("mirror-subtree"), "%s %v", p, err)
		}
		c.Mirror.Subtrees = append(c.Mirror.Subtrees, subtrees...)
	}
	for i := range c.Hubs {
		h := &c.Hubs[i]
		named = named || len(h.Mirror) > 0
		for _, path := range h.Mirror {
			if h.Local() {
				l.problems.add("hub["+h.Name+"].mirror", l.places[i], "%s %v", path, errLocal)
				break
			}
			c.Mirror.Subtrees = append(c.Mirror.Subtrees, h.subtree(path))
		}
	}
	if !named {
		c.Mirror.Subtrees, _ = resolveSubtree(c.Hubs, place{path: "/"}) // it may be that there is nothing to mirror
	}
	c.Mirror.Subtrees = distinct(c.Mirror.Subtrees)
}

// idle are the settings of the mirror that were given, in a mode in which no touch starts a walk: the others hold for walks by command, unless nothing
// is stored.
func (l *loader) idle(c *Config) (names []string) {
	for _, o := range options {
		if strings.HasPrefix(o.name, "mirror-") && len(l.inputs[o.name].value.texts) > 0 &&
			(c.Mode == ModeProxy || o.name == "mirror-subtree" || o.name == "mirror-min-interval") {
			names = append(names, o.name)
		}
	}
	for i := range c.Hubs {
		if len(c.Hubs[i].Mirror) > 0 {
			names = append(names, "hub["+c.Hubs[i].Name+"].mirror")
		}
	}
	return names
}

// distinct keeps the first of those that name the same directory.
func distinct(subtrees []Subtree) []Subtree {
	var out []Subtree
	for _, s := range subtrees {
		if !slices.ContainsFunc(out, func(o Subtree) bool { return o.Hub == s.Hub && o.Path == s.Path }) {
			out = append(out, s)
		}
	}
	return out
}

// resolveSubtree finds what a path means: the directory of the hub that serves it, or else every hub that is mounted below it. "/" of no root hub
// means all hubs that somebody configured, those at hosts of their own too.
func resolveSubtree(hubs []Hub, p place) ([]Subtree, error) {
	if h, path := hubOfPlace(hubs, p); h != nil {
		switch {
		case h.Local() && p.host == "" && p.path == "/":
			return nil, nil
		case h.Local():
			return nil, errLocal
		}
		return []Subtree{h.subtree(path)}, nil
	}
	if p.host != "" {
		return nil, errNoHub
	}
	var out []Subtree
	for i := range hubs {
		h := &hubs[i]
		below := p.path == "/" || strings.HasPrefix(h.Mount, p.dir())
		if below && !h.Local() && !(p.path == "/" && h.Builtin) {
			out = append(out, h.subtree("/"))
		}
	}
	if len(out) == 0 && p.path != "/" {
		return nil, errNoHub
	}
	return out, nil
}

// hubOfPlace is the hub that serves a place, the one with the longest mount, and the path under it; nil when none does.
func hubOfPlace(hubs []Hub, p place) (*Hub, string) {
	if p.host != "" {
		i := slices.IndexFunc(hubs, func(h Hub) bool { return slices.Contains(h.Hosts, p.host) })
		if i < 0 {
			return nil, ""
		}
		return &hubs[i], p.path
	}
	var found *Hub
	for i := range hubs {
		h := &hubs[i]
		if h.Mount != "" && strings.HasPrefix(p.dir(), strings.TrimSuffix(h.Mount, "/")+"/") && (found == nil || len(h.Mount) > len(found.Mount)) {
			found = h
		}
	}
	if found == nil {
		return nil, ""
	}
	return found, cmp.Or(strings.TrimPrefix(p.path, strings.TrimSuffix(found.Mount, "/")), "/")
}

// subtree is a directory of the hub, named as clients see it.
func (h *Hub) subtree(path string) Subtree {
	p := place{path: path}
	switch {
	case h.Mount == "" && len(h.Hosts) > 0:
		p.host = h.Hosts[0]
	case path == "/":
		p.path = h.Mount
	case h.Mount != "/":
		p.path = h.Mount + path
	}
	return Subtree{Name: p.String(), Hub: h.Name, Path: place{path: path}.dir()}
}
