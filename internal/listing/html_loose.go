package listing

// looseRows finds the rows of a page that has neither table nor list nor lines: whatever repeats around its links. Of two links that
// follow each other, the deepest element that holds both is where rows stand side by side; the row of the first ends where the page
// came back to that element's depth.
//
// Depths are twice the number of open elements, less one for <br>, which parts what stands in one element.
type looseRows struct {
	drops   []drop // since the row in hand began
	before  int    // how deep the page came back between the last link and the one in hand; -1 at the first
	depth   int    // of the link in hand
	ids     []int32
	pending bool
	after   int // the first drop behind the link
}

// A drop is a point between fields where the page came back to a depth.
type drop struct{ depth, at int }

// maxLoose bounds the events that are kept between two links.
const maxLoose = maxFields / 2

func (l *looseRows) drop(depth, at int) {
	if n := len(l.drops); n > 0 && l.drops[n-1].at == at && l.drops[n-1].depth <= depth && n > l.after {
		return // it says nothing new
	}
	l.drops = append(l.drops, drop{depth, at})
}

// linked notes that the row in hand has its link.
func (l *looseRows) linked(p *pageReader, stack int) {
	if l.pending || !ownsRow(p.link.place) {
		return
	}
	l.pending = true
	l.depth = 2 * stack
	l.ids = l.ids[:0]
	for _, e := range p.stack {
		l.ids = append(l.ids, e.id)
	}
	l.after = len(l.drops)
}

// ownsRow says whether a link makes a row, as against one that may stand in another's.
func ownsRow(at place) bool {
	return at.kind == childLink || at.kind == parentLink || at.kind == selfLink
}

// nextLoose is called before a link: it ends the row of the one before unless both lead to one name.
func (p *pageReader) nextLoose(at place) {
	if !p.row.open || p.row.kind != loose {
		return
	}
	l := &p.loose
	if len(l.drops)+len(p.row.fields) > maxLoose {
		p.cutLoose()
	}
	if !l.pending || !ownsRow(at) {
		return
	}
	if at.kind == childLink && p.row.links[0].kind == childLink && at.name == p.row.links[0].name {
		return
	}
	low := min(l.depth, 2*len(p.stack))
	for _, d := range l.drops[l.after:] {
		low = min(low, d.depth)
	}
	p.finishLoose(max(l.before, low))
	l.before = low
	p.carry(low)
}

// cutLoose gives up on what is too far from the link in hand to belong to it.
func (p *pageReader) cutLoose() {
	l := &p.loose
	if l.pending {
		p.finishLoose(max(l.before, p.alone()))
	}
	l.before = -1
	p.row.reset(loose)
	l.drops = l.drops[:0]
}

// endLoose ends the last loose row before something else begins.
func (p *pageReader) endLoose() {
	if !p.row.open || p.row.kind != loose {
		return
	}
	p.cutLoose()
	p.row.open = false
}

// alone is the depth around the row of a link without a neighbour: its own element's.
func (p *pageReader) alone() int {
	if p.loose.before >= 0 {
		return p.loose.before
	}
	return p.loose.depth - 1
}

// finishLoose makes an Entry of the link in hand. Around is the depth of the element in which the rows stand.
func (p *pageReader) finishLoose(around int) {
	l, r := &p.loose, &p.row
	first := r.links[0]
	low, high := 0, len(r.fields)
	for i := range first.from {
		if r.fields[i].depth <= around {
			low = i + 1
		}
	}
	for _, d := range l.drops[:l.after] {
		if d.depth <= around && d.at <= first.from {
			low = max(low, d.at)
		}
	}
	for _, d := range l.drops[l.after:] {
		if d.depth <= around && (l.depth > around || d.depth < l.depth) {
			high = min(high, max(d.at, first.to))
			break
		}
	}
	var id int32
	if at := (around+1)/2 - 1; at >= 0 && at < len(l.ids) {
		id = l.ids[at]
	}
	var marks hints
	for _, f := range r.fields[low:high] {
		marks |= f.hints
	}
	p.finishPart(id, low, high, marks)
	l.pending = false
}

// finishPart makes an Entry of a part of the row in hand.
func (p *pageReader) finishPart(id int32, low, high int, marks hints) {
	links := p.row.links
	for i := range links {
		links[i].from -= low
		links[i].to -= low
	}
	p.finish(&p.scopes[0], id, p.row.fields[low:high], marks)
	p.row.links = links[:0]
}

// carry keeps what stands before the next link since the page came back to depth low.
func (p *pageReader) carry(low int) {
	l, r := &p.loose, &p.row
	from := 0
	for i, f := range r.fields {
		if f.depth <= low {
			from = i + 1
		}
	}
	rest := l.drops[:0]
	for _, d := range l.drops {
		if d.depth <= low {
			from = max(from, d.at)
		}
	}
	for _, d := range l.drops {
		if d.at > from {
			rest = append(rest, drop{d.depth, d.at - from})
		}
	}
	l.drops = rest
	r.fields = append(r.fields[:0], r.fields[from:]...)
	r.dropText()
	r.links, r.hints = r.links[:0], 0
	r.broken = true
}

// dropText forgets the text that no field holds any more.
func (r *htmlRow) dropText() {
	if len(r.fields) == 0 {
		r.buf = r.buf[:0]
		return
	}
	gone := r.fields[0].from
	r.buf = append(r.buf[:0], r.buf[gone:]...)
	for i := range r.fields {
		r.fields[i].from -= gone
		r.fields[i].to -= gone
	}
}
