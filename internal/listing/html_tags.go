package listing

import (
	"strconv"
	"strings"

	"golang.org/x/net/html/atom"
)

// start takes a start tag whose attributes were read.
func (p *pageReader) start(tag atom.Atom) {
	if p.svg > 0 {
		if tag == atom.Svg {
			p.svg++
		} else if p.row.open {
			p.row.hint(hintOfIcon(p.attr.href)) // <use href="#folder">
		}
		return
	}
	switch tag {
	case 0:
		p.attr.hasHref = false
		p.unknownTag()
		return
	case atom.Script, atom.Style, atom.Title, atom.Textarea, atom.Iframe, atom.Noembed, atom.Noframes, atom.Xmp, atom.Plaintext:
		p.raw = tag
		if tag == atom.Script {
			p.seen.script += len(p.attr.src)
		}
		return
	case atom.Noscript:
		p.z.NextIsNotRawText() // a list for those without the script is as good as any
		return
	case atom.Base:
		if p.attr.hasHref && !p.seen.based {
			p.links.setBase(p.attr.href)
			p.seen.based = true
		}
		return
	case atom.Meta, atom.Link:
		p.nextPage()
		return
	case atom.Input:
		p.seen.password = p.seen.password || strings.EqualFold(p.attr.input, "password")
		return
	case atom.Br, atom.Hr:
		p.breakLine(tag)
		return
	case atom.Svg:
		p.svg = 1
		return
	case atom.Img:
		p.icon()
		return
	}
	p.closeImplied(tag)
	if tag == atom.A {
		p.startLink()
		return
	}
	if inline(tag) {
		p.mark()
		return
	}
	p.open(tag)
}

// end takes an end tag.
func (p *pageReader) end(tag atom.Atom) {
	if p.raw != 0 {
		if tag == p.raw {
			p.raw = 0
		}
		return
	}
	switch {
	case p.svg > 0:
		if tag == atom.Svg {
			p.svg--
		}
		return
	case tag == atom.Br:
		p.breakLine(tag)
		return
	case tag == atom.A:
		p.endLink()
		return
	case tag == 0, inline(tag):
		return
	}
	if at := p.find(tag); at >= 0 {
		p.popTo(at)
		p.closed = tag == atom.Body || tag == atom.Html || p.closed
	}
}

// unknownTag lets an element that HTML does not know pass, with what its attributes say.
func (p *pageReader) unknownTag() {
	if p.row.open {
		p.row.hint(hintOfClass(p.attr.class, true))
	}
}

// inline says of a tag that it changes only how its text looks: it neither ends a field nor holds rows.
func inline(tag atom.Atom) bool {
	switch tag {
	case atom.B, atom.I, atom.Em, atom.Strong, atom.Small, atom.Big, atom.Code, atom.Tt, atom.Font, atom.U, atom.S, atom.Wbr, atom.Nobr,
		atom.Center, atom.Sup, atom.Sub, atom.Kbd, atom.Samp, atom.Var, atom.Noscript, atom.Col, atom.Embed, atom.Source, atom.Track,
		atom.Area, atom.Param, atom.Option:
		return true
	}
	return false
}

// mark takes what an inline element's attributes say.
func (p *pageReader) mark() {
	if !p.row.open {
		return
	}
	p.row.hint(hintOfClass(p.attr.class, true))
	if v := p.values(); v != (values{}) {
		top := *p.top()
		top.exact = v
		p.row.breakField()
		p.row.field(&top, p.link.open, len(p.stack))
	}
}

// values are the exact values in the attributes at hand. A title may be either.
func (p *pageReader) values() values {
	v := p.attr.exact
	if v.time == "" && p.attr.title != "" && len(p.attr.title) < 60 {
		if _, ok := p.clock.readTime(p.attr.title); ok {
			v.time = p.attr.title
		} else if f, ok := readSize(p.attr.title); ok && f.exact && v.number == "" {
			v.number = strconv.FormatInt(f.bytes, 10)
		}
	}
	return v
}

func (p *pageReader) icon() {
	if s := p.scope(); s.kind == inLines || s.kind == loose && !p.apart() {
		p.beginRow()
	}
	if p.row.open {
		p.row.hint(hintOfAlt(p.attr.alt) | hintOfIcon(p.attr.src) | hintOfClass(p.attr.class, true))
	}
}

// breakLine takes <br> and <hr>.
func (p *pageReader) breakLine(tag atom.Atom) {
	if p.link.open && tag == atom.Br {
		return
	}
	switch p.scope().kind {
	case inLines:
		p.endRow()
	case loose:
		p.loose.drop(2*len(p.stack)-1, len(p.row.fields))
		p.row.breakField()
	default:
		p.row.breakField()
	}
}

// closeImplied closes what a start tag ends without an end tag.
func (p *pageReader) closeImplied(tag atom.Atom) {
	if len(p.stack) == 0 {
		return
	}
	if p.top().tag == atom.Head {
		p.popTo(len(p.stack) - 1)
	}
	var ended []atom.Atom
	switch tag {
	case atom.A:
		p.endLink()
		return
	case atom.Li:
		ended = []atom.Atom{atom.Li}
	case atom.Dt:
		ended = []atom.Atom{atom.Dt, atom.Dd}
	case atom.Dd:
		ended = []atom.Atom{atom.Dd}
	case atom.Td, atom.Th:
		ended = []atom.Atom{atom.Td, atom.Th}
	case atom.Tr:
		ended = []atom.Atom{atom.Td, atom.Th, atom.Tr}
	case atom.Tbody, atom.Thead, atom.Tfoot:
		ended = []atom.Atom{atom.Td, atom.Th, atom.Tr, atom.Tbody, atom.Thead, atom.Tfoot}
	case atom.P, atom.Div, atom.Ul, atom.Ol, atom.Dl, atom.Table, atom.Pre, atom.Section, atom.Article, atom.Main,
		atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		ended = []atom.Atom{atom.P}
	}
	for _, t := range ended {
		if at := p.find(t); at >= 0 {
			p.popTo(at)
		}
	}
}

// find gives the place of the open element that tag's end would close, or -1. An end tag does not reach out of a cell or a list item's
// list, as in the HTML standard, so that one too many does no harm.
func (p *pageReader) find(tag atom.Atom) int {
	part := false
	switch tag {
	case atom.Tr, atom.Td, atom.Th, atom.Tbody, atom.Thead, atom.Tfoot, atom.Table:
		part = true
	}
	for i := len(p.stack) - 1; i >= 0; i-- {
		t := p.stack[i].tag
		if t == tag || isHeading(t) && isHeading(tag) {
			return i
		}
		switch t {
		case atom.Table:
			if tag != atom.Body && tag != atom.Html {
				return -1
			}
		case atom.Td, atom.Th:
			if !part && tag != atom.Body && tag != atom.Html {
				return -1
			}
		case atom.Ul, atom.Ol, atom.Dl:
			if tag == atom.Li || tag == atom.Dt || tag == atom.Dd || tag == atom.P {
				return -1
			}
		}
	}
	return -1
}

// maxDepth bounds the elements that are open at once, as browsers do; what is deeper is read as its parent's.
const maxDepth = 512

// open puts an element on the stack and begins its row or scope.
func (p *pageReader) open(tag atom.Atom) {
	if len(p.stack) >= maxDepth {
		return
	}
	parent := p.top()
	p.ids++
	e := element{tag: tag, id: p.ids, role: parent.role, col: parent.col, exact: p.values(), apart: parent.apart, title: parent.title || isHeading(tag)}
	if r := roleOfClass(p.attr.class); r != noRole {
		e.role = r
	}
	if e.exact == (values{}) && parent.tag != atom.Tr {
		e.exact = parent.exact
	}
	switch tag {
	case atom.Html, atom.Body, atom.Head:
		if p.find(tag) >= 0 {
			return // of a document pasted into this one
		}
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Nav, atom.Footer, atom.Address, atom.Header, atom.Thead, atom.Button,
		atom.Select:
		e.apart = true
	case atom.Table, atom.Ul, atom.Ol, atom.Dl, atom.Pre:
		e.role, e.col, e.exact = noRole, 0, values{}
		p.stack = append(p.stack, e)
		p.openScope(tag, e.id)
		return
	case atom.Tr, atom.Li, atom.Dt:
		e.role, e.exact = noRole, values{}
		p.stack = append(p.stack, e)
		p.endRow()
		if s := p.scope(); s.kind == inTable && tag == atom.Tr || s.kind == inList && tag != atom.Tr {
			p.beginRow()
			s.cells = 0
			p.row.hint(hintOfClass(p.attr.class, false))
		}
		return
	case atom.Td, atom.Th:
		s := p.scope()
		e.col = s.cells
		s.cells += p.attr.span
		p.row.headed = p.row.headed || tag == atom.Th
	}
	p.stack = append(p.stack, e)
	if p.row.open {
		p.row.breakField()
		p.row.hint(hintOfClass(p.attr.class, tag == atom.Span || p.link.open))
		if e.exact != (values{}) {
			p.row.field(&e, p.link.open, len(p.stack))
		}
	}
}

func (p *pageReader) openScope(tag atom.Atom, id int32) {
	p.seen.containers++
	if p.scope().kind == loose {
		p.endLoose()
	}
	p.endRow()
	kind := inList
	switch tag {
	case atom.Table:
		kind = inTable
	case atom.Pre:
		kind = inLines
	}
	p.scopes = append(p.scopes, scope{kind: kind, id: id, class: p.attr.class})
}

// popTo closes the element at place at and all that are open in it.
func (p *pageReader) popTo(at int) {
	for len(p.stack) > at {
		e := p.stack[len(p.stack)-1]
		if e.tag == atom.A {
			p.endLink()
			continue
		}
		s := p.scope()
		if s.kind != loose && s.id == e.id {
			p.endRow()
			p.scopes = p.scopes[:len(p.scopes)-1]
		}
		p.stack = p.stack[:len(p.stack)-1]
		switch {
		case isHeading(e.tag):
			p.seen.addHeading(p.heading)
			p.heading = p.heading[:0]
		case e.tag == atom.Tr, e.tag == atom.Li:
			p.endRow()
		}
		if p.row.open {
			p.row.breakField()
			if p.row.kind == loose {
				p.loose.drop(2*len(p.stack), len(p.row.fields))
			}
		}
	}
}

// nextPage takes rel="next", by which a server that lists in pages names the one that follows.
func (p *pageReader) nextPage() {
	if !strings.EqualFold(p.attr.rel, "next") || !p.attr.hasHref {
		return
	}
	if at := p.links.resolve(p.attr.href); at.kind == controlLink {
		p.seen.next = at.query
	}
}
