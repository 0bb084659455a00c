package listing

import (
	"fmt"
	"time"
)

// judge decides what the page is, and which of its rows are the listing.
func (p *pageReader) judge() (*Listing, error) {
	main := p.main()
	structure := p.seen.headed() || p.seen.up > 0 || p.seen.controls > 1 || p.seen.pathTitled() ||
		main != nil && (main.header || p.onlyRows(main))
	if main == nil || main.kind == loose && main.dated*2 < len(main.entries) && p.emptyFrame() {
		return p.judgeEmpty(structure)
	}
	bare := !structure && (p.seen.words > 40 || p.seen.others > 3 || main.kind != inLines && main.dated*2 < len(main.entries))
	if p.points(main) < 4 || bare {
		if refused := p.seen.refused(); refused != "" {
			return nil, fmt.Errorf("%w: %w: %.80q", ErrNotListing, ErrForbidden, refused)
		}
		return nil, fmt.Errorf("%w: the page links to %d of its children among other things", ErrNotListing, len(main.entries))
	}
	if p.partial {
		return nil, fmt.Errorf("%w: the page is not closed", ErrCut)
	}
	all := p.siblings(main)
	marksDirs := p.seen.upSlash || p.seen.upIcon
	for _, b := range all {
		marksDirs = marksDirs || b.marksDirs()
	}
	for _, b := range all {
		b.settleOrder()
		b.settleKinds(marksDirs)
	}
	entries := main.entries
	for _, b := range all {
		if b != main {
			entries = append(entries, b.entries...)
		}
	}
	return &Listing{Entries: tidied(entries), Next: p.seen.next}, nil
}

// onlyRows says whether a page holds nothing but main's rows, each with its own name as text and either a slash or a size. By hand
// nobody writes such a page, whatever its title is. The end of the body must be there: nothing else would tell that rows were cut off.
func (p *pageReader) onlyRows(main *block) bool {
	v, rows := &p.seen, len(main.entries)
	if !p.closed || v.words > 0 || v.others > 0 || v.script > 0 || v.children != rows || main.named != rows || main.sized == 0 {
		return false
	}
	for i, e := range main.entries {
		if e.Size < 0 && !main.slashed[i] {
			return false
		}
	}
	return true
}

// emptyFrame says whether the page has a table, list or <pre> that names its columns, leads up, and holds nothing else: what links
// there are besides were pasted in from a README.
func (p *pageReader) emptyFrame() bool {
	for _, b := range p.order {
		if b.kind != loose && b.header && b.up > 0 && len(b.entries) == 0 && b.foreign == 0 {
			return true
		}
	}
	return false
}

// judgeEmpty decides whether a page without entries is an empty directory. Rows that lead elsewhere may be names that were not
// understood, and a page that a script fills shows nothing of what it holds.
func (p *pageReader) judgeEmpty(structure bool) (*Listing, error) {
	v := &p.seen
	if refused := v.refused(); refused != "" && !v.headed() {
		return nil, fmt.Errorf("%w: %w: %.80q", ErrNotListing, ErrForbidden, refused)
	}
	foreign, header := 0, false
	for _, b := range p.order {
		foreign += b.foreign
		header = header || b.header
	}
	furnished := v.up > 0 || v.controls > 1 || header || v.containers > 0 && v.script == 0
	empty := structure && furnished && (v.headed() || v.controls > 1 || header || v.up > 0 && v.pathTitled())
	bare := v.title == "" && len(v.headings) == 0 && v.words == 0 && v.others == 0 && v.containers == 1 && v.script == 0 // Go's
	switch {
	case !empty && !bare, v.password, v.failed(), v.misnamed():
		return nil, fmt.Errorf("%w: the page has no rows of files", ErrNotListing)
	case foreign > 0:
		return nil, fmt.Errorf("%w: %d rows lead elsewhere", ErrNotListing, foreign)
	case p.partial:
		return nil, fmt.Errorf("%w: the page is not closed", ErrCut)
	}
	return &Listing{Next: v.next}, nil
}

// points weighs a page whose rows are main's.
func (p *pageReader) points(main *block) int {
	v := &p.seen
	rows := len(main.entries)
	n := 0
	add := func(points int, ok bool) {
		if ok {
			n += points
		}
	}
	headed := v.headed()
	add(4, headed)
	add(2, v.pathTitled())
	add(2, v.up > 0)
	add(2, v.controls > 1)
	add(3, main.header)
	add(2, main.dated*2 >= rows)
	add(1, main.sized*2 >= rows)
	add(2, main.named*5 >= rows*4)
	add(-2, main.named*10 < rows*3 && !headed)
	add(1, v.children*10 >= (v.children+v.others)*9)
	add(1, v.words <= 25)
	add(-2, v.words > 150+3*rows)
	add(-2, main.prosy*2 > rows)
	add(-20, v.password || v.failed())
	add(-8, main.foreign >= rows)
	add(-20, v.misnamed())
	return n
}

// main is the block whose rows are most like a listing's.
func (p *pageReader) main() *block {
	var best *block
	most := 0
	for _, b := range p.order {
		rows := len(b.entries)
		if rows == 0 {
			continue
		}
		n := 0
		if b.header {
			n += 4
		}
		if b.up > 0 {
			n += 4
		}
		if b.dated*2 >= rows {
			n += 3
		}
		if b.sized*2 >= rows {
			n++
		}
		if b.named*5 >= rows*4 {
			n++
		}
		if b.prosy*2 > rows || b.foreign >= rows {
			n -= 4
		}
		if best == nil || n > most || n == most && rows > len(best.entries) {
			best, most = b, n
		}
	}
	return best
}

// siblings are the blocks that go on where main ends, as servers do that list directories and files apart. A table pasted in from a
// README has not its shape.
func (p *pageReader) siblings(main *block) []*block {
	all := []*block{main}
	for _, b := range p.order {
		rows := len(b.entries)
		if b == main || rows == 0 || b.kind != main.kind || b.foreign >= rows {
			continue
		}
		dated := b.dated*2 >= rows
		alike := b.cells == main.cells && b.class == main.class && dated == (main.dated*2 >= len(main.entries)) && b.prosy*2 <= rows
		if alike || b.header || dated && rows >= 3 && b.named*5 >= rows*4 {
			all = append(all, b)
		}
	}
	return all
}

// marksDirs says whether the page tells directories from files: one of its rows is marked as a directory.
func (b *block) marksDirs() bool {
	for i, h := range b.hints {
		if b.slashed[i] || h&(dirHint|softDir) != 0 {
			return true
		}
	}
	return false
}

// settleKinds gives each entry its kind. Where directories are marked, what is not is a file.
func (b *block) settleKinds(marksDirs bool) {
	slashes := false
	for _, s := range b.slashed {
		slashes = slashes || s
	}
	for i := range b.entries {
		e, h := &b.entries[i], b.hints[i]
		soft := h&softDir != 0 && (!slashes || e.Size < 0)
		switch {
		case b.slashed[i], h&dirHint != 0, soft && h&fileHint == 0:
			e.Kind, e.Size, e.SizeExact = Dir, -1, false
		case e.Mode.Type() != 0 && !e.Link:
			e.Kind = Other
		case h&fileHint != 0, marksDirs:
			e.Kind = File
		}
		if e.Link && e.Mode.Type() != 0 && e.Kind == File {
			e.Kind = Unknown // of a link that is shown itself, the page does not say what it leads to
		}
	}
}

// settleOrder decides dates of figures by those that can be read one way only. AM and PM go with the month first. A page that proves
// nothing leaves the time unknown.
func (b *block) settleOrder() {
	days, months := b.orders[dayFirst], b.orders[monthFirst]
	for _, d := range b.doubts {
		e := &b.entries[d.entry]
		switch {
		case days > 0 && months == 0:
			e.ModTime = d.dayFirst
		case months > 0 && days == 0:
		case days == 0 && months == 0 && d.half:
		default:
			e.ModTime, e.Step, e.ZoneKnown = time.Time{}, 0, false
		}
	}
}
