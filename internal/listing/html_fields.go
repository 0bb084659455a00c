package listing

import (
	"io/fs"
	"strings"
	"time"
)

// rowValues are what a row shows of its name.
type rowValues struct {
	time   stamp
	size   figure
	mode   fs.FileMode
	timed  bool
	sized  bool
	hints  hints
	behind string // text directly behind the link
	title  string // a time in the title of the name's link or cell
}

func (v *rowValues) fill(e *Entry) {
	if v.timed {
		e.ModTime, e.Step, e.ZoneKnown = v.time.time, v.time.step, v.time.zoned
	}
	if v.sized {
		e.Size, e.SizeExact = v.size.bytes, v.size.exact
	}
	e.Mode = v.mode
}

// setTime takes a time that is finer than the one in hand.
func (v *rowValues) setTime(t stamp) {
	if !v.timed || t.step < v.time.step {
		v.time, v.timed = t, true
	}
}

// readFields reads a row's values. Main is the place of its link among p.row.links; -1 is none.
func (p *pageReader) readFields(s *scope, fields []field, main int, v *rowValues) {
	for i := 0; i < len(fields); {
		f := fields[i]
		text := p.row.textOf(f)
		next := i + 1
		if s.kind == inTable { // a cell is one field, whatever is drawn in it
			for next < len(fields) && fields[next].col == f.col && fields[next].linked == f.linked {
				text = strings.TrimSpace(text + " " + p.row.textOf(fields[next]))
				if f.exact == (values{}) {
					f.exact = fields[next].exact
				}
				if f.role == noRole {
					f.role = fields[next].role
				}
				next++
			}
		}
		if main >= 0 && (s.kind != inTable || f.col == p.row.links[main].col) {
			f.exact = f.exact.besides(p.row.links[main].name)
		}
		if main >= 0 && p.isName(fields, i, main) {
			i = next
			continue
		}
		if main >= 0 && i == p.row.links[main].to && (s.kind != inTable || f.col == p.row.links[main].col) {
			v.behind = string(p.row.buf[f.from:f.to])
		}
		what := f.role
		if s.roles != nil && f.col < len(s.roles) && s.roles[f.col] != noRole {
			what = s.roles[f.col]
		}
		p.readField(s, f, text, what, v)
		i = next
	}
	if s.zoned && v.timed && !v.time.zoned && !p.clock.known {
		v.time.zoned = true // in UTC, for which it was taken
	}
}

// readTitle reads the title of a name's link or cell, unless it contradicts the time shown.
func (p *pageReader) readTitle(v *rowValues) {
	t, ok := p.clock.readTime(v.title)
	if !ok || t.step >= 24*time.Hour {
		return
	}
	if v.timed && (t.step >= v.time.step || t.time.Sub(v.time.time).Abs() > 26*time.Hour) {
		return
	}
	v.time, v.timed = t, true
}

// isName says whether a field of a row's link is the name itself and no value that the link encloses.
func (p *pageReader) isName(fields []field, i, main int) bool {
	l := p.row.links[main]
	if !fields[i].linked {
		return false
	}
	if i < l.from || i >= l.to {
		return true // of another link
	}
	if fields[i].role == nameRole {
		return true
	}
	if strings.TrimSpace(l.name) == "" {
		return false // it shows nothing
	}
	named := -1
	for k := l.from; k < l.to; k++ {
		text := p.row.textOf(fields[k])
		if text == "" {
			continue
		}
		if named < 0 || fields[k].role == nameRole || text == l.name {
			named = k
			if fields[k].role == nameRole || text == l.name {
				break
			}
		}
	}
	return i == named
}

// readField reads one field in the role that its header or class gives it.
func (p *pageReader) readField(s *scope, f field, text string, what role, v *rowValues) {
	switch what {
	case nameRole:
		if f.exact.time != "" {
			v.title = f.exact.time
		}
	case idleRole:
	case sizeRole:
		p.readSizeField(s, f, text, v)
	case timeRole:
		p.readTimeField(f, text, v)
	case typeRole:
		v.hints |= hintOfWord(text)
	case modeRole:
		p.readModeField(text, v)
	default:
		p.readFree(s, f, text, v)
	}
}

func (p *pageReader) readSizeField(s *scope, f field, text string, v *rowValues) {
	shown, ok := readSize(text)
	if !ok {
		v.hints |= hintOfWord(text)
	}
	if ok && s.unit > 0 && !shown.unit {
		shown.bytes, ok = scale(strings.TrimSpace(text), "", s.unit)
		shown.exact = false
	}
	if exact, given := readSize(f.exact.number); given && exact.exact && !exact.unit && (!ok || agrees(exact, shown)) && isDigits(f.exact.number) {
		shown, ok = exact, text != "-" && text != "—"
	}
	if ok {
		v.setSize(shown)
	}
}

// setSize takes a size, but a rounded one only where there is none yet.
func (v *rowValues) setSize(f figure) {
	if !v.sized || f.exact && !v.size.exact {
		v.size, v.sized = f, true
	}
}

// agrees says whether an attribute can be the exact figure of what is shown, and no rank or other number to sort by. Units of 1000
// are allowed for.
func agrees(exact, shown figure) bool {
	if shown.exact {
		return exact.bytes == shown.bytes
	}
	low, high := float64(shown.bytes)*0.45, float64(shown.bytes)*2.1
	return float64(exact.bytes) >= low-1100 && float64(exact.bytes) <= high+1100
}

func (p *pageReader) readTimeField(f field, text string, v *rowValues) {
	if t, ok := p.clock.readTime(text); ok {
		v.setTime(t)
	} else if t, _, ok := p.clock.scanTime(text); ok {
		v.setTime(t)
	}
	p.readExactTime(f, v)
}

// readExactTime takes the time in a field's attributes over the one it shows.
func (p *pageReader) readExactTime(f field, v *rowValues) {
	for _, s := range [...]string{f.exact.time, f.exact.number} {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		t, ok := p.clock.readTime(s)
		if !ok {
			t, ok = readEpoch(s)
		}
		if ok && (!v.timed || t.zoned && !v.time.zoned || t.step <= v.time.step) {
			v.time, v.timed = t, true
		}
	}
}

func (p *pageReader) readModeField(text string, v *rowValues) {
	if mode, ok := readMode(text); ok {
		v.setMode(mode)
	}
}

func (v *rowValues) setMode(mode fs.FileMode) {
	v.mode = mode
	switch mode.Type() {
	case fs.ModeDir:
		v.hints |= dirHint
	case 0:
		v.hints |= fileHint
	case fs.ModeSymlink:
		v.hints |= linkHint
	}
}

// readFree reads a field of which nothing says what it is: a mode, a time and a size beside it, in any order.
func (p *pageReader) readFree(s *scope, f field, text string, v *rowValues) {
	if len(text) > 400 {
		text = text[:400]
	}
	if f.exact.time != "" {
		p.readExactTime(f, v)
	}
	rest := text
	before := ""
	timed := false
	for start := 0; start < len(text); start++ {
		if start > 0 && text[start-1] != ' ' && text[start-1] != '(' && text[start-1] != '[' {
			continue
		}
		word, _, _ := strings.Cut(text[start:], " ")
		if mode, ok := readMode(word); ok {
			v.setMode(mode)
			continue
		}
		if t, tail, ok := p.clock.scanTime(text[start:]); ok {
			v.setTime(t)
			before, rest, timed = text[:start], tail, true
			break
		}
	}
	if timed {
		p.readExactTime(field{exact: values{number: f.exact.number}}, v)
		v.readBeside(before, rest)
		return
	}
	p.readLone(s, f, text, v)
}

// readBeside reads the size behind a time, else before it.
func (v *rowValues) readBeside(before, behind string) {
	behind = strings.TrimLeft(behind, " \t)],-|")
	word, _, _ := strings.Cut(behind, " ")
	if strings.HasPrefix(word, "<") || strings.HasPrefix(word, "[") {
		v.hints |= hintOfWord(word)
	}
	if v.sized {
		return
	}
	if size, rest, ok := scanSize(behind); ok && (rest == "" || rest[0] == ' ' || rest[0] == ')' || rest[0] == ']' || rest[0] == ',') {
		v.size, v.sized = size, true
		return
	}
	words := strings.Fields(before)
	for n := min(2, len(words)); n > 0; n-- {
		if size, ok := readSize(strings.Join(words[len(words)-n:], " ")); ok {
			v.size, v.sized = size, true
			return
		}
	}
	v.readClauses(before)
}

// readClauses reads a sentence's clauses before a time: ", file, 1572864 bytes, last modified ".
func (v *rowValues) readClauses(text string) {
	clauses := strings.Split(text, ", ")
	if len(clauses) < 2 {
		return
	}
	for _, c := range clauses {
		if size, ok := readSize(c); ok && size.unit && !v.sized {
			v.size, v.sized = size, true
		} else if c = strings.TrimSpace(c); len(c) > 1 {
			v.hints |= hintOfWord(c)
		}
	}
}

// readLone takes a field that holds no time: it is a size, a word for the kind, or nothing.
func (p *pageReader) readLone(s *scope, f field, text string, v *rowValues) {
	if kind, size, ok := strings.Cut(text, " - "); ok { // uhttpd: "directory - 0.00 kbyte"
		if h := hintOfWord(kind); h != 0 {
			v.hints |= h
			text = size
		}
	}
	bare := strings.Trim(text, "()[] ")
	if h := hintOfWord(text); h != 0 && (s.kind == inTable || text != bare || h&fileHint == 0) && text != "d" && text != "-" {
		v.hints |= h
		return
	}
	size, ok := readSize(bare)
	switch {
	case !ok && f.exact.number == "":
		return
	case ok && !size.unit && s.roles != nil, ok && !size.unit && s.kind == inList, ok && !size.unit && s.kind == loose && f.exact.number == "":
		return // a count of something
	case !ok && bare != "":
		return
	}
	p.readSizeField(s, f, bare, v)
}
