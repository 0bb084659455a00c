package listing

import (
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// A vmsReader reads the lists of VMS, which stand between "Directory DISK:[PATH]" and "Total of 3 files, 21 blocks". A name too wide
// for its column has the others on a line of their own. Of a file's versions the first one counts, which is the newest.
type vmsReader struct {
	met  bool   // the first line was seen
	name string // with version, waiting for its columns
}

// open says whether a name still waits for its columns.
func (v *vmsReader) open() bool { return v.name != "" }

// line takes a line; false when it is none of a VMS list. The Entry has no name where the line made none.
func (v *vmsReader) line(f frame, line string) (Entry, bool) {
	if !v.met {
		v.met = strings.HasPrefix(line, "Directory ") && strings.HasSuffix(strings.TrimRight(line, " "), "]")
		return Entry{}, v.met
	}
	word, columns := token(line)
	switch {
	case v.name != "" && line[0] == ' ':
		columns = line
	case v.name == "" && strings.HasPrefix(line, "Total of "):
		return Entry{}, true
	case v.name == "" && line[0] != ' ' && isVersioned(word):
		v.name = word
		if strings.TrimSpace(columns) == "" {
			return Entry{}, true
		}
	default:
		return Entry{}, false
	}
	e, ok := vmsEntry(f, v.name, columns)
	v.name = ""
	return e, ok
}

func isVersioned(s string) bool {
	at := strings.LastIndexByte(s, ';')
	return at > 0 && isDigits(s[at+1:])
}

// vmsEntry reads "12/15  21-NOV-2023 19:19:00  [OWNER]  (RWED,RWED,RE,)": blocks of 512 bytes used and allotted, and the time.
func vmsEntry(f frame, versioned, columns string) (Entry, bool) {
	n, _, _ := strings.Cut(versioned, ";")
	e := Entry{Name: strings.Clone(n), Size: -1, Kind: File}
	if bare, ok := strings.CutSuffix(n, ".DIR"); ok {
		e.Name, e.Kind, e.Mode = strings.Clone(bare), Dir, fs.ModeDir
	}
	word, rest := token(columns)
	if strings.HasPrefix(word, "%") { // "%RMS-E-PRV, insufficient privilege"
		return e, true
	}
	used, _, _ := strings.Cut(word, "/")
	blocks, err := strconv.ParseInt(used, 10, 50)
	if err != nil || blocks < 0 {
		return Entry{}, false
	}
	if e.Kind == File {
		e.Size = blocks * 512
	}
	date, rest := token(rest)
	word, _ = token(rest)
	t, ok := dayTimeOf(word)
	part := strings.Split(date, "-")
	if !ok || len(part) != 3 {
		return Entry{}, false
	}
	day, dayOK := number(part[0], 2)
	month, monthOK := monthOf(part[1])
	year, yearOK := number(part[2], 4)
	st, ok := f.at(year, time.Month(month), day, t)
	st.on(&e)
	return e, ok && dayOK && monthOK && yearOK
}
