package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
)

// Names of ours in a tree of other people's. A URL that would collide with one is stored aside, as an odd one.
const (
	ownPrefix   = ".zcache"              // of every name of ours but contentName
	ownDir      = ".zcache"              // at the root
	contentName = "__content"            // the document /a, when a is a directory
	indexName   = ".zcache-index"        // the document /a/
	listingName = ".zcache-listing.html" // the listing /a/ as the upstream sent it
	sidecarName = ".zcache-listing.json" // the same in our own form

	oddDir      = ownDir + "/odd"
	otherDir    = ownDir + "/other"
	variantsDir = ownDir + "/variants"
	draftsDir   = ownDir + "/drafts"
	overflowDir = ownDir + "/overflow"
	trashDir    = ownDir + "/trash"   // what is being removed
	orphansDir  = ownDir + "/orphans" // what may be restored
	tempDir     = ownDir + "/tmp"
)

const (
	longestName  = 255  // what file systems take
	longestPlace = 3500 // of a whole disk path, well below PATH_MAX with our own additions
	longestOdd   = 200  // of the escaped form of an odd key; a longer one is named by its digest
)

// A place is a path on disk, below the root. It is no URL path: escaping is undone and done here and nowhere else.
type place string

// dir is the place that p lies in.
func (p place) dir() place {
	i := strings.LastIndexByte(string(p), '/')
	if i < 0 {
		return "."
	}
	return p[:i]
}

// base is the last component of p.
func (p place) base() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// content is where the document of p lies when p is a directory.
func (p place) content() place { return p + "/" + contentName }

// index is where the document of the directory p lies, when that is no listing.
func (p place) index() place { return p + "/" + indexName }

// listed is where the listing lies that may be stored in place of the directory's document at p.
func (p place) listed() (place, bool) {
	if p[0] == '.' || p.base() != indexName {
		return "", false
	}
	return p.dir() + "/" + listingName, true
}

// mainPlace is where the body of k lies, in a 200 response: at its own path where that can be, else aside.
func mainPlace(k Key) place {
	if p, ok := plainPlace(k); ok {
		return p
	}
	return asidePlace(oddDir, k)
}

// plainPlace is the path that mirrors the URL. It exists for keys whose every segment is a file name that leads back to just that
// segment.
func plainPlace(k Key) (place, bool) {
	if k.hasQuery {
		return "", false
	}
	var b strings.Builder
	b.Grow(len(k.hub) + len(k.path) + len(indexName))
	b.WriteString(k.hub)
	rest := k.path[1:]
	for more := true; more; {
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if segment == "" && !more {
			segment = indexName // "/a/": the directory's own document
		} else {
			name := decode(segment)
			if !plainName(name) || encodeSegment(name) != segment {
				return "", false
			}
			segment = name
		}
		b.WriteByte('/')
		b.WriteString(segment)
	}
	if b.Len() >= longestPlace {
		return "", false
	}
	return place(b.String()), true
}

// plainName says whether name can stand as a file name in the mirrored tree.
func plainName(name string) bool {
	return name != "" && len(name) <= longestName && strings.IndexByte(name, '/') < 0 && strings.IndexByte(name, 0) < 0 &&
		!strings.HasPrefix(name, ownPrefix) && name != contentName
}

// keyed is the part of k that its hub knows it by. The first question mark in it is where the query begins, for a path has none.
func keyed(k Key) string {
	if k.hasQuery {
		return k.path + "?" + k.query
	}
	return k.path
}

func unkeyed(hub, s string) (Key, error) {
	path, query, has := strings.Cut(s, "?")
	return ParseKey(hub, path, query, has)
}

// asidePlace is where something of k lies below one of our own directories.
func asidePlace(under string, k Key) place {
	s := keyed(k)
	sum := sha256.Sum256([]byte(s))
	digest := hex.EncodeToString(sum[:])
	name := oddName(s)
	if len(name) > longestOdd {
		name = "~" + digest
	}
	return place(under + "/" + k.hub + "/" + digest[:2] + "/" + name)
}

// oddName escapes s to one file name, reversibly.
func oddName(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; unreserved(c) && c != '~' {
			b.WriteByte(c)
		} else {
			escape(&b, c)
		}
	}
	return b.String()
}

// variantDir is where the responses to k lie that other requests select than the one at k's main place.
func variantDir(k Key) place {
	sum := sha256.Sum256([]byte(keyed(k)))
	digest := hex.EncodeToString(sum[:])
	return place(variantsDir + "/" + k.hub + "/" + digest[:2] + "/" + digest)
}

// variantPlace is where the response lies that m's selecting fields select.
func variantPlace(k Key, m *Meta) place {
	sum := selection(m)
	return variantDir(k) + place("/"+hex.EncodeToString(sum[:]))
}

// selection is a digest of the fields that selected m.
func selection(m *Meta) [sha256.Size]byte {
	names := make([]string, 0, len(m.Vary))
	for name := range m.Vary {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	for _, name := range names {
		h.Write([]byte(name))
		for _, v := range m.Vary[name] {
			h.Write([]byte{0, 1})
			h.Write([]byte(v))
		}
		h.Write([]byte{0, 0})
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// keyAt is the inverse of mainPlace and of the aside places: the key of what lies at p, if p itself tells.
func keyAt(p place) (Key, bool) {
	parts := strings.Split(string(p), "/")
	if parts[0] == ownDir {
		if len(parts) != 5 || parts[1] != "odd" && parts[1] != "other" {
			return Key{}, false
		}
		return asideKey(p, parts[2], parts[4])
	}
	if len(parts) < 2 {
		return Key{}, false
	}
	hub, parts := parts[0], parts[1:]
	last := len(parts) - 1
	want := p
	switch parts[last] {
	case contentName:
		if parts, want = parts[:last], p.dir(); last == 0 {
			return Key{}, false
		}
	case indexName:
		parts[last] = ""
	case listingName:
		parts[last], want = "", want.dir().index()
	}
	var b strings.Builder
	for _, name := range parts {
		b.WriteByte('/')
		b.WriteString(encodeSegment(name))
	}
	k, err := ParseKey(hub, b.String(), "", false)
	if err != nil {
		return Key{}, false
	}
	// A name that is no plain one, put there by hand, would be looked for elsewhere.
	back, ok := plainPlace(k)
	return k, ok && back == want
}

func asideKey(p place, hub, name string) (Key, bool) {
	for i := range len(name) {
		if c := name[i]; c == '~' || c == '%' && !escapeAt(name, i) {
			return Key{}, false
		}
	}
	k, err := unkeyed(hub, decode(name))
	if err != nil {
		return Key{}, false
	}
	under := oddDir
	if strings.HasPrefix(string(p), otherDir+"/") {
		under = otherDir
	}
	return k, asidePlace(under, k) == p
}

// telling says whether p alone tells the key of what lies there.
func (p place) telling() bool {
	return !strings.HasPrefix(string(p), variantsDir+"/") && (p[0] != '.' || p.base()[0] != '~')
}
