package listing

import (
	"fmt"
	"io"
	"slices"
)

// parseJSON reads the listings that servers and stores give as JSON: an array of names, or of objects, or an object with such arrays
// in it. An object counts as an entry when it has a name and tells files from directories, or has both a size and a time; whatever
// else has a name may be a user or a release. One element that is no entry makes the document no listing.
//
// An empty array is an empty directory, as of nginx and Caddy, and so is a lone null, which is how Go writes a slice that was never
// appended to. An object with nothing but empty arrays is one only if it names its path beside its children, as Artifactory does, or
// if directories and files have an array each. Bare names in an object count in the latter case alone: a package.json has its files
// too, and is no directory.
func parseJSON(src Source, r io.Reader) (*Listing, error) {
	p := &jsonListing{jsonReader: jsonReader{window: newWindow(r)}, frame: frameOf(src)}
	first, err := p.nextSolid()
	if err != nil {
		return nil, err
	}
	switch first {
	case '[':
		err = p.array(Unknown, true)
	case '{':
		err = p.document()
	case 'n':
		if err = p.word(first); err == nil && string(p.text) != "null" {
			err = badJSON(first)
		}
	default:
		err = badJSON(first)
	}
	if err != nil {
		return nil, err
	}
	if err := p.onlyBlanks(); err != nil {
		return nil, err
	}
	if p.more {
		return nil, fmt.Errorf("%w: the JSON says that there is more", ErrCut)
	}
	return &Listing{Entries: tidied(p.entries)}, nil
}

// A jsonListing is a listing as it grows.
type jsonListing struct {
	jsonReader
	frame   frame
	entries []Entry
	row     jsonRow
	more    bool // a member says that this is not all
	bare    bool // there were names without objects
	parent  bool // an entry was "..", which only a directory has
}

// arrays are the members of a document that hold entries, by their folded names, with what their entries are unless they say.
var arrays = map[string]Kind{
	"children": Unknown, "entries": Unknown, "contents": Unknown, "items": Unknown, "data": Unknown, "paths": Unknown, "tree": Unknown,
	"files": File, "dirs": Dir, "directories": Dir, "folders": Dir, "subdirs": Dir, "subdirectories": Dir,
}

// jsonParts are what a document was found to have besides entries.
type jsonParts struct {
	path, children, dirs, files bool
	crumbs                      [2]int // the entries that came from paths
}

// document reads an object with arrays of entries in it.
func (p *jsonListing) document() error {
	var has jsonParts
	if err := p.object(func(first byte) error { return p.part(&has, first) }); err != nil {
		return err
	}
	if has.files { // then paths was the way to this directory, not what it holds
		p.entries = slices.Delete(p.entries, has.crumbs[0], has.crumbs[1])
	}
	apart := has.dirs && has.files
	switch {
	case p.bare && !apart:
		return fmt.Errorf("%w: names in a JSON object may be anything's", ErrNotListing)
	case len(p.entries) == 0 && !p.parent && !apart && !(has.children && has.path):
		return fmt.Errorf("%w: a JSON object without entries", ErrNotListing)
	}
	return nil
}

// part reads one member of a document.
func (p *jsonListing) part(has *jsonParts, first byte) error {
	key := string(folded(p.text))
	if kind, ok := arrays[key]; ok && first == '[' {
		has.children = has.children || key == "children"
		has.dirs, has.files = has.dirs || kind == Dir, has.files || kind == File
		before := len(p.entries)
		err := p.array(kind, kind != Unknown)
		if key == "paths" {
			has.crumbs = [2]int{before, len(p.entries)}
		}
		return err
	}
	if err := p.skip(first); err != nil {
		return err
	}
	switch key {
	case "path":
		has.path = true
	case "truncated", "istruncated", "hasmore", "next", "nextpage", "nextpagetoken", "nextmarker", "continuationtoken", "nextlink":
		word := string(p.text)
		p.more = p.more || first == '"' && word != "" || first != '"' && word != "null" && word != "false" && word != "0"
	}
	return nil
}

// array reads an array of entries whose bracket was consumed. kind is what an entry is that does not say; names says whether bare
// strings are entries.
func (p *jsonListing) array(kind Kind, names bool) error {
	objects := true
	return p.list(']', func(first byte) error {
		switch {
		case first == '{' && objects:
			names = false
			if err := p.object(p.member); err != nil {
				return err
			}
			e, err := p.row.entry(p.frame, kind)
			if err != nil {
				return err
			}
			p.parent = p.parent || e.Name == ".."
			p.entries = append(p.entries, e)
			p.row.reset()
		case first == '"' && names:
			objects, p.bare = false, true
			if err := p.str(); err != nil {
				return err
			}
			e := Entry{Size: -1, Kind: kind}
			if err := e.named(string(p.text)); err != nil {
				return err
			}
			p.entries = append(p.entries, e)
		default:
			return badJSON(first)
		}
		return nil
	})
}

// member reads one member of an entry's object.
func (p *jsonListing) member(first byte) error {
	field := jsonFields[string(folded(p.text))]
	if field == jsonStat && first == '{' {
		return p.object(p.stat)
	}
	if field == 0 || field == jsonStat || first == '{' || first == '[' {
		return p.skip(first)
	}
	if first == '"' {
		if err := p.str(); err != nil {
			return err
		}
		p.row.string(field, p.text)
		return nil
	}
	if err := p.word(first); err != nil {
		return err
	}
	p.row.word(field, p.text)
	return nil
}

// stat reads one member of an object within an entry's that has its size and time: what Node's fs.Stats become.
func (p *jsonListing) stat(first byte) error {
	switch jsonFields[string(folded(p.text))] {
	case jsonSize, jsonTime, jsonMode:
		return p.member(first)
	}
	return p.skip(first)
}

// folded brings a member's name into one form, in place: last_modified, Last-Modified and lastModified are one.
func folded(key []byte) []byte {
	out := key[:0]
	for _, c := range key {
		switch {
		case c == '_', c == '-', c == ' ':
		case 'A' <= c && c <= 'Z':
			out = append(out, c+'a'-'A')
		default:
			out = append(out, c)
		}
	}
	return out
}
