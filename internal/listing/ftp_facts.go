package listing

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// A factRow is a row of MLSD, with what names its file across rows.
type factRow struct {
	entry  Entry
	unique string
	self   bool // a type of cdir or pdir
}

// parseFacts reads the rows of MLSD (RFC 3659, section 7). A link whose unique fact is another row's is that file: proftpd shows links
// so. The directory itself and its parent are dropped.
func parseFacts(src Source, r *bufio.Reader) (*Listing, error) {
	lines := newLines(r)
	var rows []factRow
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if line == "" {
			continue
		}
		row, ok := factsOf(line)
		if !ok {
			if err := complaint(line); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: row %.200q", ErrNotListing, line)
		}
		rows = append(rows, row)
	}
	targets := make(map[string]*Entry)
	for i := range rows {
		if row := &rows[i]; row.unique != "" && !row.entry.Link {
			targets[row.unique] = &row.entry
		}
	}
	entries := make([]Entry, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		if row.self {
			continue
		}
		if to := targets[row.unique]; row.entry.Link && to != nil {
			row.entry.lead(to)
		}
		entries = append(entries, row.entry)
	}
	return &Listing{Entries: tidied(followLinks(entries))}, nil
}

// factsOf reads one row: facts, each ended by a semicolon, a blank, the name.
func factsOf(line string) (factRow, bool) {
	facts, n, ok := strings.Cut(line, " ")
	if ok && facts != "" && facts[len(facts)-1] != ';' { // a value with a blank in it, against the RFC
		if facts, n, ok = strings.Cut(line, "; "); ok {
			facts += ";"
		}
	}
	if !ok || n == "" || facts != "" && strings.IndexByte(facts, '=') < 0 {
		return factRow{}, false
	}
	row := factRow{entry: Entry{Name: strings.Clone(n), Size: -1}}
	for fact := range strings.SplitSeq(facts, ";") {
		key, value, found := strings.Cut(fact, "=")
		if !found {
			if fact != "" {
				return factRow{}, false
			}
			continue
		}
		if !row.take(strings.ToLower(key), value) {
			return factRow{}, false
		}
	}
	e := &row.entry
	if strings.IndexByte(n, '/') >= 0 && !row.self { // some name the directory itself by its path
		return factRow{}, false
	}
	if e.Kind == Dir {
		e.Mode |= fs.ModeDir
	}
	if e.Kind == Dir || e.Link { // a link's size and time are its own
		e.Size, e.SizeExact = -1, false
	}
	if e.Link {
		e.Mode |= fs.ModeSymlink
		instant{}.on(e)
	}
	return row, true
}

// take puts one fact into the row.
func (row *factRow) take(key, value string) bool {
	e := &row.entry
	switch key {
	case "type":
		row.kind(value)
	case "size":
		size, err := strconv.ParseInt(value, 10, 64)
		if err != nil || size < 0 {
			return false
		}
		e.Size, e.SizeExact = size, true
	case "modify":
		if st, ok := factTime(value); ok {
			st.on(e)
		}
	case "unix.mode":
		if mode, err := strconv.ParseUint(value, 8, 32); err == nil {
			e.Mode |= fs.FileMode(mode) & fs.ModePerm
		}
	case "unique":
		row.unique = strings.Clone(value)
	}
	return true
}

// kind reads the type fact. The RFC's own types are four; systems add theirs as OS.<system>=<type>.
func (row *factRow) kind(value string) {
	e := &row.entry
	low := strings.ToLower(value)
	switch low {
	case "file":
		e.Kind = File
	case "dir":
		e.Kind = Dir
	case "cdir", "pdir":
		e.Kind, row.self = Dir, true
	case "os.unix=symlink":
		e.Link = true
	default:
		if strings.HasPrefix(low, "os.unix=slink") {
			e.Link = true
			_, target, _ := strings.Cut(value, ":")
			e.Target = strings.Clone(target)
			return
		}
		if strings.HasPrefix(low, "os.") {
			e.Kind = Other
		}
	}
}

// factTime reads "20230909090909" and "20230909090909.123" (RFC 3659, section 2.3), which are UTC.
func factTime(s string) (instant, bool) {
	if len(s) < 14 {
		return instant{}, false
	}
	t, err := time.ParseInLocation("20060102150405", s[:14], time.UTC)
	if err != nil {
		return instant{}, false
	}
	st := instant{time: t, step: time.Second, known: true}
	if len(s) > 14 {
		nano, step, ok := fraction(s[14:])
		if !ok {
			return instant{}, false
		}
		st.time, st.step = t.Add(time.Duration(nano)), step
	}
	return st, true
}
