package listing

import (
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// unixRow reads a row of ls -l: type and permissions, perhaps a count of links, an owner and a group, whose names may have blanks,
// a size, a date, a name. The size is the number in front of the first date, so that the columns before it may be what they like.
func unixRow(f frame, line string) (Entry, bool) {
	if len(line) < 12 || !strings.ContainsRune("-dlbcpsDnPMCw?", rune(line[0])) {
		return Entry{}, false
	}
	mode, ok := permissions(line[1:10])
	if !ok {
		return unreadRow(line)
	}
	columns := line[10:]
	if strings.IndexByte("+.@", columns[0]) >= 0 {
		columns = columns[1:]
	}
	if columns == "" || columns[0] != ' ' && columns[0] != '\t' && !isDigit(columns[0]) {
		return Entry{}, false
	}
	e := Entry{Mode: mode, Size: -1}
	shown, rest, ok := e.columns(f, columns)
	if !ok {
		return Entry{}, false
	}
	switch line[0] {
	case '-':
		e.Kind = File
	case 'd':
		e.Kind, e.Mode = Dir, e.Mode|fs.ModeDir
	case 'l':
		e.Link, e.Mode = true, e.Mode|fs.ModeSymlink
		rest, e.Target = splitLink(rest, e.Size)
		instant{}.on(&e)
	case '?':
		e.Kind = Unknown
	default:
		e.Kind = Other
	}
	if e.Kind != File {
		e.Size, e.SizeExact = -1, false
	} else if !shown {
		return Entry{}, false // a device's numbers on a file
	}
	e.Name = strings.Clone(rest) // the rest of the line need not live as long
	return e, rest != ""
}

// columns finds the size and the date, and the name behind them. sized is false where the size's place holds a device's two numbers.
func (e *Entry) columns(f frame, s string) (sized bool, rest string, ok bool) {
	before := ""
	for range 12 { // an owner or a group with many blanks; beyond that it is no row
		var word string
		word, s = token(s)
		if word == "" {
			return false, "", false
		}
		last := word
		if comma := strings.LastIndexByte(word, ','); comma >= 0 {
			last = word[comma+1:] // "1,3"
		}
		if size, exact, found := shownSize(last); found {
			if st, rest, ok := f.lsDate(s); ok {
				st.on(e)
				if last != word || strings.HasSuffix(before, ",") {
					return false, rest, true
				}
				e.Size, e.SizeExact = size, exact
				return true, rest, true
			}
		}
		before = word
	}
	return false, "", false
}

// shownSize reads "1234", and "1.2M" of ls -h, which rounds up to a tenth of the unit or to a whole one.
func shownSize(s string) (size int64, exact, ok bool) {
	if isDigits(s) {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, true, err == nil
	}
	if len(s) < 2 || !isDigit(s[0]) {
		return 0, false, false
	}
	unit := strings.IndexByte("KMGTPE", s[len(s)-1])
	if unit < 0 {
		return 0, false, false
	}
	n, err := strconv.ParseFloat(s[:len(s)-1], 64)
	if n = n * math.Pow(1024, float64(unit+1)); err != nil || n < 0 || n > math.MaxInt64/2 {
		return 0, false, false
	}
	return int64(n), false, true
}

// permissions reads the nine letters behind a row's type.
func permissions(s string) (fs.FileMode, bool) {
	var mode fs.FileMode
	for i := range 9 {
		bit := fs.FileMode(1) << (8 - i)
		switch c := s[i]; {
		case c == '-':
		case c == "rwx"[i%3]:
			mode |= bit
		case i%3 < 2:
			return 0, false
		case c == 's' || c == 't':
			mode |= bit | special[i/3]
		case c == 'S' || c == 'T' || c == 'l' || c == 'L':
			mode |= special[i/3]
		default:
			return 0, false
		}
	}
	return mode, true
}

// special are the bits that the x of user, group and others can turn into.
var special = [3]fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}

// unreadRow reads "-????????? ? ? ? ? ? name", which ls shows of a name that it could not look at.
func unreadRow(line string) (Entry, bool) {
	if line[1:10] != "?????????" {
		return Entry{}, false
	}
	rest := line[10:]
	for range 5 { // links, owner, group, size, date
		var word string
		if word, rest = token(rest); word != "?" {
			return Entry{}, false
		}
	}
	n := name(rest)
	return Entry{Name: strings.Clone(n), Size: -1}, n != ""
}

// splitLink parts "name -> target". Either may hold an arrow itself; the size of a link is the length of its target.
func splitLink(s string, size int64) (link, target string) {
	if at := len(s) - int(min(size, int64(len(s)))); size > 0 && at > 4 && s[at-4:at] == " -> " {
		return s[:at-4], strings.Clone(s[at:])
	}
	link, target, _ = strings.Cut(s, " -> ")
	return link, strings.Clone(target)
}
