package listing

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// A jsonField is what a member of an entry's object means.
type jsonField uint8

const (
	jsonName jsonField = iota + 1
	jsonBase
	jsonURL
	jsonURI
	jsonType
	jsonIsDir
	jsonIsFile
	jsonSize
	jsonTime
	jsonMode
	jsonIsLink
	jsonTarget
	jsonTargetEscaped
	jsonSizeExact
	jsonStep
	jsonZoneKnown
	jsonStat
)

// jsonFields are the members that servers use, by folded name.
var jsonFields = map[string]jsonField{
	"name": jsonName, "filename": jsonName, "basename": jsonName, "text": jsonName, "base": jsonBase,
	"url": jsonURL, "href": jsonURL, "uri": jsonURI,
	"type": jsonType, "kind": jsonType, "filetype": jsonType, "pathtype": jsonType, "entrytype": jsonType,
	"isdir": jsonIsDir, "isdirectory": jsonIsDir, "isfolder": jsonIsDir, "directory": jsonIsDir, "dir": jsonIsDir, "folder": jsonIsDir,
	"leaf": jsonIsFile, "isfile": jsonIsFile,
	"size": jsonSize, "filesize": jsonSize, "sizeondisk": jsonSize, "length": jsonSize, "contentlength": jsonSize, "bytes": jsonSize,
	"mtime": jsonTime, "modtime": jsonTime, "lastmodified": jsonTime, "modified": jsonTime, "date": jsonTime, "lastupdated": jsonTime,
	"mode": jsonMode, "issymlink": jsonIsLink, "islink": jsonIsLink,
	"target": jsonTarget, "symlinkpath": jsonTarget, "targetescaped": jsonTargetEscaped,
	"sizeexact": jsonSizeExact, "modtimestep": jsonStep, "zoneknown": jsonZoneKnown,
	"stat": jsonStat, "stats": jsonStat,
}

// A jsonRow is what an entry's object said. Its buffers are used again for the next.
type jsonRow struct {
	name, url, uri []byte
	base           []byte
	target         string
	kind           Kind
	told           bool // kind was told
	strange        bool // a type was given that is none of a file system's
	link           bool
	linkType       bool // the type itself says that it is a link: size and time are its own
	dir, dirTold   bool
	size           int64
	sized          bool
	rawTime        []byte
	epoch          bool // rawTime is a number
	mode           fs.FileMode
	inexact        bool
	ours           bool // a step was given: the row is in our own shape
	step           time.Duration
	zone, zoneTold bool
}

func (r *jsonRow) reset() {
	*r = jsonRow{name: r.name[:0], url: r.url[:0], uri: r.uri[:0], base: r.base[:0], rawTime: r.rawTime[:0]}
}

// kinds are the words for what an entry is, in lower case.
var kinds = map[string]Kind{
	"directory": Dir, "dir": Dir, "folder": Dir, "d": Dir, "tree": Dir, "collection": Dir, "symlinkdir": Dir,
	"file": File, "f": File, "blob": File, "regular": File, "symlinkfile": File,
	"other": Other, "fifo": Other, "socket": Other, "device": Other, "submodule": Other, "commit": Other,
	"unknown": Unknown, "symlink": Unknown, "link": Unknown,
}

// string takes a member whose value is a string.
func (r *jsonRow) string(f jsonField, s []byte) {
	switch f {
	case jsonName:
		if len(r.name) == 0 {
			r.name = append(r.name[:0], s...)
		}
	case jsonBase:
		r.base = append(r.base[:0], s...)
	case jsonURL:
		r.url = append(r.url[:0], s...)
	case jsonURI:
		r.uri = append(r.uri[:0], s...)
	case jsonType:
		word := strings.ToLower(string(s))
		kind, ok := kinds[word]
		r.strange = !ok
		r.kind, r.told = kind, ok
		if ok && strings.HasPrefix(word, "symlink") || word == "link" {
			r.link, r.linkType = true, kind == Unknown
		}
	case jsonSize:
		if f, ok := readSize(string(s)); ok {
			r.size, r.sized, r.inexact = f.bytes, true, r.inexact || !f.exact
		}
	case jsonTime:
		r.rawTime, r.epoch = append(r.rawTime[:0], s...), isDigits(string(s))
	case jsonTarget:
		if r.target == "" {
			r.target = string(s)
		}
	case jsonTargetEscaped:
		r.target = decoded(string(s))
	}
}

// word takes a member whose value is a number, true, false or null.
func (r *jsonRow) word(f jsonField, s []byte) {
	yes, no := string(s) == "true", string(s) == "false"
	switch f {
	case jsonIsDir:
		if yes || no {
			r.dir, r.dirTold = yes, true
		}
	case jsonIsFile:
		if yes || no {
			r.dir, r.dirTold = no, true
		}
	case jsonIsLink:
		r.link = yes
	case jsonSize:
		if n, err := strconv.ParseInt(string(s), 10, 64); err == nil && n >= 0 {
			r.size, r.sized = n, true
		}
	case jsonTime:
		if !yes && !no && string(s) != "null" {
			r.rawTime, r.epoch = append(r.rawTime[:0], s...), true
		}
	case jsonMode:
		if n, err := strconv.ParseUint(string(s), 10, 32); err == nil {
			r.mode = fs.FileMode(n) & (fs.ModePerm | fs.ModeDir | fs.ModeSymlink | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
		}
	case jsonSizeExact:
		r.inexact = no
	case jsonStep:
		if n, err := strconv.ParseFloat(string(s), 64); err == nil && 0 <= n && n < 1e6 {
			r.ours, r.step = true, time.Duration(n*float64(time.Second))
		}
	case jsonZoneKnown:
		r.zone, r.zoneTold = yes, yes || no
	}
}

// entry judges what was said. fallback is what an entry is that does not say.
func (r *jsonRow) entry(f frame, fallback Kind) (Entry, error) {
	e := Entry{Size: -1, Kind: fallback, Link: r.link, Target: r.target, Mode: r.mode}
	switch {
	case r.told && !(r.linkType && r.dirTold):
		e.Kind = r.kind
	case r.dirTold && r.dir:
		e.Kind = Dir
	case r.dirTold:
		e.Kind = File
	}
	if err := e.named(r.bestName()); err != nil {
		return Entry{}, err
	}
	timed := r.setTime(f, &e)
	if !r.told && !r.dirTold && e.Kind == Unknown && (r.strange || !r.sized || !timed) {
		return Entry{}, fmt.Errorf("%w: %.80q in JSON may be anything", ErrNotListing, e.Name)
	}
	if r.sized && e.Kind != Dir && !r.linkType {
		e.Size, e.SizeExact = r.size, !r.inexact
	}
	if e.Kind == Dir && !e.Link {
		e.Mode |= fs.ModeDir
	}
	if e.Link && !r.ours { // Caddy follows links for the size, and not for the time
		instant{}.on(&e)
	}
	return e, nil
}

// bestName is the exact name: a url of the form ./name, whose escapes keep the bytes that a JSON writer had to replace in the name,
// else the name as it stands. Where there is a base that begins with the name, Node has taken a path apart, and the name lacks its
// extension.
func (r *jsonRow) bestName() string {
	if len(r.base) > 0 && bytes.HasPrefix(r.base, r.name) {
		return string(r.base)
	}
	if seg, ok := strings.CutPrefix(string(r.url), "./"); ok && !strings.ContainsAny(seg, "?#") {
		bare := strings.TrimSuffix(seg, "/")
		if n := decoded(bare); possible(n) {
			return n + seg[len(bare):]
		}
	}
	if len(r.name) == 0 {
		return strings.TrimPrefix(string(r.uri), "/")
	}
	return string(r.name)
}

// named gives e its name, whose slash at the end marks a directory. A name that leads below another one is no entry of a directory.
func (e *Entry) named(n string) error {
	bare := strings.TrimSuffix(n, "/")
	if bare != n {
		e.Kind = Dir
	}
	if bare == "" || strings.IndexByte(bare, '/') >= 0 {
		return fmt.Errorf("%w: %.80q in JSON is no name", ErrNotListing, n)
	}
	e.Name = bare
	return nil
}

// setTime puts the row's time on e; false when it has none.
func (r *jsonRow) setTime(f frame, e *Entry) bool {
	if len(r.rawTime) == 0 {
		return false
	}
	st, ok := shownTime(f, string(r.rawTime), r.epoch)
	if !ok {
		return false
	}
	if r.ours {
		if st.step = r.step; st.step == 0 {
			st = instant{}
		}
	} else {
		// Such a listing is compared with Last-Modified, which has whole seconds.
		st.time = st.time.Truncate(time.Second)
	}
	if r.zoneTold {
		st.known = r.zone
	}
	st.on(e)
	return true
}

// The layouts of times, by how they begin and whether they have a zone.
var (
	httpLayouts  = []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC1123, time.RFC850, time.ANSIC, time.RFC1123Z}
	zonedLayouts = []string{time.RFC3339, "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700"}
	bareLayouts  = []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04"}
)

// shownTime reads the times of JSON and XML: RFC 3339, HTTP's, a date and a clock without a zone, and the epoch's seconds or
// milliseconds. Its step is a second, or a minute where no seconds are shown.
func shownTime(f frame, s string, epoch bool) (instant, bool) {
	st := instant{step: time.Second, known: true}
	if epoch {
		n, err := strconv.ParseFloat(s, 64)
		switch {
		case err != nil || n < -1e14 || n > 1e14:
			return instant{}, false
		case n > 1e11 || n < -1e11: // the year 5138, were they seconds
			st.time = time.UnixMilli(int64(n)).UTC()
		default:
			st.time = time.Unix(int64(n), 0).UTC()
		}
		return st, true
	}
	layouts := httpLayouts
	if s != "" && isDigit(s[0]) {
		layouts = zonedLayouts
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			st.time = t.UTC()
			return st, true
		}
	}
	for _, layout := range bareLayouts {
		if t, err := time.ParseInLocation(layout, s, f.zone); err == nil {
			st.time, st.known = t.UTC(), f.known
			if len(layout) == len("2006-01-02 15:04") {
				st.step = time.Minute
			}
			return st, true
		}
	}
	return instant{}, false
}
