package listing

import (
	"io/fs"
	"strings"
	"time"
)

// A block is what rows of one kind stand in: a table, a list, a <pre>, an element of loose rows.
type block struct {
	kind    scopeKind
	class   string
	cells   int // of its first row
	entries []Entry
	hints   []hints // of entries
	slashed []bool  // the entry's href ends in a slash
	doubts  []doubt
	orders  [4]int // dates by what they prove of the order of day and month
	// Counts of rows that:
	named   int // show the name that their href has
	dated   int
	sized   int
	prosy   int  // say much besides
	foreign int  // lead elsewhere
	up      int  // lead to the directory above
	header  bool // one names the columns
}

// A doubt is an entry whose date can be read in two orders.
type doubt struct {
	entry    int
	dayFirst time.Time
	half     bool
}

// maxBlocks bounds the blocks of a page; what comes after is put to the last of them.
const maxBlocks = 4096

func (p *pageReader) block(s *scope, id int32) *block {
	if len(p.order) >= maxBlocks {
		id = p.last
	}
	b := p.blocks[id]
	if b == nil {
		p.last = id
		b = &block{kind: s.kind, class: s.class, cells: s.cells}
		p.blocks[id] = b
		p.order = append(p.order, b)
	}
	return b
}

// finish makes entries of a row that has ended: of fields and p.row.links.
func (p *pageReader) finish(s *scope, id int32, fields []field, marks hints) {
	r := &p.row
	if len(r.links) == 0 {
		if s.kind != loose {
			p.bareRow(s, id, fields)
		}
		return
	}
	main := -1
	foreign, up, odd := false, false, false
	for i, l := range r.links {
		switch l.kind {
		case childLink:
			if main < 0 || likelier(l, r.links[main]) {
				main = i
			}
		case parentLink:
			up = true
			p.seen.upRow(l, marks)
		case selfLink:
			up = up || isDots(l.text)
		case otherLink:
			foreign = true
		case controlLink:
			odd = true
		}
	}
	switch {
	case main >= 0 && !up:
		p.entry(s, p.block(s, id), fields, main, marks)
	case up:
		p.block(s, id).up++
	case s.kind != loose && foreign:
		p.block(s, id).foreign++
		p.seen.words += r.words
	case s.kind != loose && odd:
		if !p.header(s, id, fields) && p.showsValues(s, fields) {
			p.block(s, id).foreign++ // a name behind a query: ?dir=name
		}
	}
}

// likelier says whether a is more likely the row's own link than b: it shows its name, it has no query.
func likelier(a, b rowLink) bool {
	if (a.query == "") != (b.query == "") {
		return a.query == ""
	}
	return a.shows() && !b.shows()
}

func isDots(text string) bool {
	text = strings.Trim(text, "/[]. ")
	return text == ""
}

// bareRow takes a row without links.
func (p *pageReader) bareRow(s *scope, id int32, fields []field) {
	if !p.header(s, id, fields) {
		p.seen.words += p.row.words
	}
}

// maxTried bounds the rows of a table or <pre> in which its header is looked for. It is the first, or below a title.
const maxTried = 16

// header takes a row that names the columns.
func (p *pageReader) header(s *scope, id int32, fields []field) bool {
	if s.roles != nil || s.tried >= maxTried {
		return false
	}
	s.tried++
	var roles []role
	found := 0
	if s.kind == inLines {
		for _, w := range strings.Fields(string(p.row.buf)) {
			if r := roleOfHeader(w); r == nameRole || r == sizeRole || r == timeRole {
				found |= 1 << r
			}
		}
	}
	zoned, unit := false, 0
	for _, f := range fields {
		text := p.row.textOf(f)
		r := roleOfHeader(text)
		if r == noRole || s.kind == inLines {
			continue
		}
		for len(roles) <= f.col {
			roles = append(roles, noRole)
		}
		if roles[f.col] == noRole {
			roles[f.col] = r
			found |= 1 << r
		}
		upper := strings.ToUpper(text)
		zoned = zoned || r == timeRole && (strings.Contains(upper, "UTC") || strings.Contains(upper, "GMT"))
		if r == sizeRole {
			unit = unitOfHeader(text)
		}
	}
	rest := found &^ (1<<nameRole | 1<<idleRole)
	if rest == 0 || found&(1<<nameRole) == 0 && !p.row.headed {
		return p.row.headed && found != 0
	}
	if s.kind == inTable {
		s.roles, s.zoned, s.unit = roles, zoned, unit
	}
	p.block(s, id).header = true
	return true
}

// unitOfHeader gives the power of 1024 in "Size (KB)"; 0 when there is none.
func unitOfHeader(text string) int {
	_, in, ok := strings.Cut(strings.ToLower(strings.NewReplacer("[", "(", "]", ")").Replace(text)), "(")
	if !ok {
		return 0
	}
	return units[strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(in), ")"))]
}

// showsValues says whether a row shows a size or a time.
func (p *pageReader) showsValues(s *scope, fields []field) bool {
	var v rowValues
	p.readFields(s, fields, -1, &v)
	return v.timed || v.sized
}

// entry makes an Entry of a row by its link main, and of further names that it shows.
func (p *pageReader) entry(s *scope, b *block, fields []field, main int, marks hints) {
	r := &p.row
	l := r.links[main]
	var v rowValues
	v.hints = marks
	v.title = values{time: l.time}.besides(l.name).time
	p.readFields(s, fields, main, &v)
	p.readTitle(&v)
	shown := l.shows()
	if l.query != "" && !shown && !v.timed && !v.sized {
		return // a button, not a name
	}
	e := Entry{Name: l.name, Size: -1}
	v.fill(&e)
	mark(&e, &v, l)
	slash := l.slash
	for i, other := range r.links {
		if i == main || other.kind != childLink {
			continue
		}
		if other.name == l.name {
			slash = slash || other.slash
		} else if other.query == "" && (other.shows() || s.kind != inTable) {
			p.add(b, Entry{Name: other.name, Size: -1}, 0, other.slash)
		}
	}
	if v.timed {
		b.dated++
		b.orders[v.time.order]++
		if v.time.order == eitherOrder {
			b.doubts = append(b.doubts, doubt{len(b.entries), v.time.dayFirst, v.time.half})
		}
	}
	if v.sized {
		b.sized++
	}
	if shown {
		b.named++
	}
	if r.words > 12 && !(v.timed && v.sized) {
		b.prosy++
	}
	if len(b.entries) == 0 && s.kind == inTable {
		b.cells = s.cells
	}
	p.add(b, e, v.hints, slash)
}

func (p *pageReader) add(b *block, e Entry, h hints, slash bool) {
	b.entries = append(b.entries, e)
	b.hints = append(b.hints, h)
	b.slashed = append(b.slashed, slash)
}

// shows says whether the link's text is its name, whole or cut short, or a mark behind it.
func (l rowLink) shows() bool {
	text, name := l.text, strings.TrimSpace(l.name)
	if text == "" || name == "" {
		return text == name
	}
	if rest, ok := strings.CutPrefix(text, name); ok {
		return len(rest) <= 1 || strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "/ ")
	}
	short := strings.TrimRight(strings.TrimSuffix(text, "…"), ".&> ")
	return (len(short) >= 8 && len(short) < len(text) || len(short) >= 20) && strings.HasPrefix(name, short)
}

// mark takes what stands directly behind a name: "/" for a directory, "@" or "-> target" for a link, as ls -F and thttpd write them.
func mark(e *Entry, v *rowValues, l rowLink) {
	rest, ok := strings.CutPrefix(l.text, e.Name)
	if !ok {
		rest = ""
	}
	for _, rest := range []string{rest, v.behind} {
		trimmed := strings.TrimLeft(rest, " ")
		if strings.HasPrefix(rest, "/") && (len(rest) == 1 || rest[1] == ' ') {
			v.hints |= dirHint
			trimmed = strings.TrimLeft(rest[1:], " ")
		}
		if strings.HasPrefix(rest, "@") && (len(rest) == 1 || rest[1] == ' ') {
			v.hints |= linkHint
			trimmed = strings.TrimLeft(rest[1:], " ")
		}
		if target, ok := strings.CutPrefix(trimmed, "-> "); ok {
			v.hints |= linkHint
			e.Target = strings.TrimSpace(target)
		}
	}
	if v.mode&fs.ModeSymlink != 0 || v.hints&linkHint != 0 {
		e.Link = true
	}
}
