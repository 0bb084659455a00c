package listing

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// A plainListing reads a list whose elements are named for what they list, as nginx writes one: the text of a file or a directory is
// its name, its attributes are size and mtime. Names have no escapes but XML's, and are the file system's bytes, line ends included.
type plainListing struct {
	*xmlReader
	src     Source
	entries []Entry
	one     Entry
}

func (l *plainListing) read() (*Listing, error) {
	if err := l.elements(l.visit); err != nil {
		return nil, err
	}
	return &Listing{Entries: tidied(l.entries)}, nil
}

// visit takes nothing but entries: a list of anything else is no listing, and <list> is a word that many use.
func (l *plainListing) visit(ev xmlEvent) error {
	if ev == xmlEnd {
		l.one.Name = string(l.text)
		if !possible(l.one.Name) {
			return fmt.Errorf("%w: %.80q in XML is no name", ErrNotListing, l.text)
		}
		l.entries = append(l.entries, l.one)
		return nil
	}
	e := Entry{Size: -1}
	switch tag := l.path[len(l.path)-1]; {
	case len(l.path) != 2:
		return fmt.Errorf("%w: <%.40s> within an entry", ErrNotListing, tag)
	case tag == "file":
		e.Kind = File
	case tag == "directory":
		e.Kind, e.Mode = Dir, fs.ModeDir
	case tag == "other":
		e.Kind = Other
	default:
		return fmt.Errorf("%w: a list of <%.40s>", ErrNotListing, tag)
	}
	st, ok := shownTime(frameOf(l.src), l.attribute("mtime"), false)
	if !ok {
		return fmt.Errorf("%w: <%.40s> without its mtime", ErrNotListing, l.path[1])
	}
	st.on(&e)
	if n, err := strconv.ParseInt(l.attribute("size"), 10, 64); err == nil && n >= 0 && e.Kind == File {
		e.Size, e.SizeExact = n, true
	}
	l.one = e
	return nil
}

// attribute gives the value of an attribute of the tag that was opened last; "" when it has none. Only values without references are
// asked for here.
func (x *xmlReader) attribute(name string) string {
	rest := x.attr
	for {
		at := bytes.IndexByte(rest, '=')
		if at < 0 || at+1 == len(rest) {
			return ""
		}
		key := strings.TrimSpace(string(rest[:at]))
		key = key[strings.LastIndexAny(key, " \t\r\n")+1:]
		value := bytes.TrimLeft(rest[at+1:], " \t\r\n")
		if len(value) == 0 || value[0] != '"' && value[0] != '\'' {
			return ""
		}
		end := bytes.IndexByte(value[1:], value[0])
		if end < 0 {
			return ""
		}
		if key == name {
			return string(value[1 : 1+end])
		}
		rest = value[end+2:]
	}
}
