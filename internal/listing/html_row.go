package listing

import (
	"bytes"
	"strings"

	"golang.org/x/net/html/atom"
)

// An htmlRow is the row in hand: its text in fields, and its links.
type htmlRow struct {
	open   bool
	kind   scopeKind
	buf    []byte // the text of all fields
	fields []field
	links  []rowLink
	hints  hints
	headed bool // has <th>
	broken bool // the next text begins a field
	words  int
}

// A field is text between the borders that the page's elements draw.
type field struct {
	from, to int // in the row's buf
	role     role
	col      int
	exact    values
	linked   bool // within the row's link
	hints    hints
	depth    int // of loose rows; see looseRows
}

// A rowLink is a link of a row.
type rowLink struct {
	place
	text     string // shown, without space around
	time     string // in its title
	from, to int    // its fields
	col      int
}

// maxRowText bounds what is kept of a row's text, in bytes: more than the longest name escaped threefold, and a date.
const maxRowText = 8 << 10

// maxFields bounds a row's fields.
const maxFields = 256

func (r *htmlRow) reset(kind scopeKind) {
	*r = htmlRow{open: true, kind: kind, buf: r.buf[:0], fields: r.fields[:0], links: r.links[:0], broken: true}
}

func (r *htmlRow) breakField() { r.broken = true }

// hint notes what marks the row, or in loose rows the place of the page.
func (r *htmlRow) hint(h hints) {
	if h == 0 {
		return
	}
	r.hints |= h
	if r.kind == loose && len(r.fields) < maxFields {
		r.broken = true
		r.fields = append(r.fields, field{from: len(r.buf), to: len(r.buf), hints: h, depth: 1 << 20})
	}
}

// field begins a field in the element e. Stack is the number of elements open.
func (r *htmlRow) field(e *element, linked bool, stack int) {
	if len(r.fields) >= maxFields {
		return
	}
	r.fields = append(r.fields, field{
		from: len(r.buf), to: len(r.buf), role: e.role, col: e.col, exact: e.exact, linked: linked, depth: 2 * stack,
	})
	r.broken = false
}

// text adds text of the element e.
func (r *htmlRow) text(t []byte, e *element, linked bool, stack int) {
	if len(r.buf) > maxRowText || len(r.fields) >= maxFields {
		return
	}
	if !linked {
		r.words += countWords(t)
	}
	t = t[:min(len(t), maxRowText)]
	if len(bytes.TrimSpace(t)) == 0 {
		if !r.broken && len(r.fields) > 0 {
			r.buf = append(r.buf, ' ')
			r.fields[len(r.fields)-1].to = len(r.buf)
		}
		return
	}
	if r.broken || len(r.fields) == 0 || r.fields[len(r.fields)-1].linked != linked {
		r.field(e, linked, stack)
	}
	for i := 0; i < len(t); i++ {
		switch {
		case t[i] == 0xc2 && i+1 < len(t) && t[i+1] == 0xa0: // no-break space
			i++
			r.buf = append(r.buf, ' ')
		case t[i] == 0xe2 && i+2 < len(t) && t[i+1] == 0x80 && t[i+2] == 0xaf: // the narrow one, before PM
			i += 2
			r.buf = append(r.buf, ' ')
		case t[i] < ' ':
			r.buf = append(r.buf, ' ')
		default:
			r.buf = append(r.buf, t[i])
		}
	}
	r.fields[len(r.fields)-1].to = len(r.buf)
}

func (r *htmlRow) textOf(f field) string { return string(bytes.TrimSpace(r.buf[f.from:f.to])) }

// An openLink is an <a> that was not closed yet.
type openLink struct {
	open  bool
	place place
	href  string // where it holds a backslash
	time  string // in its title
	text  []byte
	from  int
	col   int
}

func (l *openLink) add(t []byte) {
	if len(l.text) < maxRowText {
		l.text = append(l.text, t...)
	}
}

// startLink takes <a>. Without href it is only a mark.
func (p *pageReader) startLink() {
	if !p.attr.hasHref {
		p.mark()
		return
	}
	at := p.links.resolve(p.attr.href)
	if strings.EqualFold(p.attr.rel, "next") && at.kind == controlLink {
		p.seen.next = at.query
	}
	if !p.apart() {
		switch p.scope().kind {
		case loose:
			p.nextLoose(at)
			p.beginRow()
		case inLines:
			p.beginRow()
		}
	}
	if p.row.open {
		p.row.breakField()
		p.row.hint(hintOfClass(p.attr.class, true))
	}
	top := p.top()
	p.link = openLink{open: true, place: at, time: p.values().time, text: p.link.text[:0], from: len(p.row.fields), col: top.col}
	if strings.IndexByte(p.attr.href, '\\') >= 0 {
		p.link.href = p.attr.href
	}
	p.ids++
	p.stack = append(p.stack, element{tag: atom.A, id: p.ids, role: top.role, col: top.col, exact: top.exact, apart: top.apart, title: top.title})
}

// endLink takes </a>, or what implies it.
func (p *pageReader) endLink() {
	if !p.link.open {
		return
	}
	p.link.open = false
	for i := len(p.stack) - 1; i >= 0; i-- {
		if p.stack[i].tag == atom.A {
			p.popTo(i + 1)
			p.stack = p.stack[:i]
			break
		}
	}
	text := string(bytes.TrimSpace(p.link.text))
	if at, ok := p.links.resolveShown(p.link.href, text); ok {
		p.link.place = at
	}
	p.seen.link(p.link.place, text, p.apart())
	if !p.row.open || p.apart() && p.row.kind != inTable {
		return
	}
	p.row.breakField()
	if p.link.place.kind == noLink {
		return
	}
	if len(p.row.links) < 64 {
		p.row.links = append(p.row.links, rowLink{
			place: p.link.place, text: text, time: p.link.time, from: p.link.from, to: len(p.row.fields), col: p.link.col,
		})
	}
	if p.row.kind == loose {
		p.loose.linked(p, len(p.stack))
	}
}

// beginRow begins a row at this place of the page, unless there is one.
func (p *pageReader) beginRow() {
	if p.row.open || p.apart() && p.scope().kind != inTable {
		return
	}
	p.row.reset(p.scope().kind)
	if p.row.kind == loose {
		p.loose.drops = p.loose.drops[:0]
	}
}

// endRow ends the row in hand and makes an Entry of it. Loose rows end by what follows them (nextLoose).
func (p *pageReader) endRow() {
	if !p.row.open || p.row.kind == loose {
		return
	}
	s := p.scope()
	p.finish(s, s.id, p.row.fields, p.row.hints)
	p.row.open = false
}
