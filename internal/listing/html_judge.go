package listing

import (
	"fmt"
	"strings"
	"time"
)

// evidence is what a page shows of being a listing, besides its rows.
type evidence struct {
	path, host string // of the directory
	title      string
	headings   []string
	next       string // the query of the page that follows
	based      bool
	password   bool
	script     int // bytes of scripts
	containers int // tables, lists and <pre>
	words      int // of text that is no row's
	controls   int // links to other orders of this page
	up         int // links to the directory above that say so
	upSlash    bool
	upIcon     bool
	children   int
	others     int // links elsewhere
}

func (v *evidence) addHeading(text []byte) {
	if len(v.headings) < 4 {
		v.headings = append(v.headings, strings.TrimSpace(string(text)))
	}
}

// link counts a link of the page.
func (v *evidence) link(at place, text string, apart bool) {
	switch at.kind {
	case childLink:
		v.children++
	case controlLink:
		if len(at.query) < 60 {
			v.controls++
		}
		if saysNext(text) {
			v.next = at.query
		}
	case parentLink, selfLink:
		if saysUp(text) {
			v.up++
			v.upSlash = v.upSlash || at.slash
		}
	case otherLink:
		if !apart {
			v.others++
		}
	}
}

// saysNext says whether a link shows the next page of a listing.
func saysNext(text string) bool {
	switch strings.ToLower(text) {
	case "next", "next page", "next »", "next >", "next →", "»", "more", "下一页":
		return true
	}
	return false
}

func saysUp(text string) bool {
	text = strings.ToLower(text)
	if strings.Contains(text, "..") && len(text) < 12 {
		return true
	}
	if strings.Contains(text, "parent dir") {
		return true
	}
	text = strings.Trim(text, " /\\.[]()<>^↑⬆«‹←-")
	for _, word := range [...]string{"parent", "up", "go up", "one level up", "level up", "up one level", "back", "up to "} {
		if text == word || strings.HasPrefix(text, "parent ") || strings.HasPrefix(text, "up to ") || strings.HasPrefix(text, "go up") {
			return true
		}
	}
	return false
}

// upRow takes the row that leads to the directory above: how it is marked, directories are.
func (v *evidence) upRow(l rowLink, marks hints) {
	v.upIcon = v.upIcon || marks&(upHint|dirHint|softDir) != 0
	v.upSlash = v.upSlash || l.slash
}

// headed says whether a title or heading calls the page a listing.
func (v *evidence) headed() bool {
	for _, t := range append([]string{v.title}, v.headings...) {
		t = strings.ToLower(strings.Join(strings.Fields(t), " "))
		for _, w := range [...]string{"index of", "directory listing", "listing of", "listing for", "directory:", "directory of", "listing directory",
			"contents of", "listing:", "folder listing", "directory index", "file listing", "directory contents", "files in", "file list", "files of",
			"browsing", "index for /", "directory /", "folder:", "content of"} {
			if strings.HasPrefix(t, w) || strings.Contains(t, " "+w+" /") || strings.HasSuffix(t, w) {
				return true
			}
		}
	}
	return false
}

// misnamed says whether the page calls itself the index of something that this directory is not: a file that is served as the
// directory's index may well look like one. A path may be the server's own, seen through a proxy, so only a bare name can tell.
func (v *evidence) misnamed() bool {
	path := strings.Trim(v.path, "/")
	last := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	if last == "" {
		return false
	}
	for _, t := range append([]string{v.title}, v.headings...) {
		name, ok := strings.CutPrefix(strings.ToLower(strings.Join(strings.Fields(t), " ")), "index of ")
		if ok && name != "" && !strings.ContainsAny(name, "/\\.") && !strings.Contains(name, strings.Join(strings.Fields(last), " ")) &&
			!strings.Contains(last, name) {
			return true
		}
	}
	return false
}

// pathTitled says whether a title or heading is the directory's own path.
func (v *evidence) pathTitled() bool {
	path := strings.Trim(v.path, "/")
	last := path[strings.LastIndexByte(path, '/')+1:]
	for _, t := range append([]string{v.title}, v.headings...) {
		flat := strings.ReplaceAll(t, " ", "")
		plain := strings.ReplaceAll(path, " ", "")
		switch {
		case t == "":
		case path == "" && (flat == "/" || strings.HasSuffix(flat, v.host+"/") || strings.HasSuffix(flat, "-/")):
			return true
		case path != "" && (strings.Trim(flat, "/~") == plain || strings.HasSuffix(strings.TrimSuffix(flat, "/"), "/"+plain)):
			return true
		case path != "" && strings.TrimSpace(t) == last && v.words < 60:
			return true
		}
	}
	return false
}

// refused gives the words by which a page says that it may not be read, or "".
func (v *evidence) refused() string {
	for _, t := range append([]string{v.title}, v.headings...) {
		lower := strings.ToLower(t)
		for _, w := range [...]string{"forbidden", "access denied", "permission denied", "unauthorized", "not authorized", "authorization required"} {
			if strings.Contains(lower, w) || strings.HasPrefix(lower, "403") || strings.HasPrefix(lower, "401") {
				return t
			}
		}
	}
	return ""
}

// failed says whether the page is about an error.
func (v *evidence) failed() bool {
	for _, t := range append([]string{v.title}, v.headings...) {
		lower := strings.ToLower(t)
		for _, w := range [...]string{"not found", "error", "404", "500", "502", "503", "bad gateway", "unavailable"} {
			if strings.HasPrefix(lower, w) || strings.HasSuffix(lower, w) {
				return true
			}
		}
	}
	return false
}

// judge decides what the page is, and which of its rows are the listing.
func (p *pageReader) judge() (*Listing, error) {
	main := p.main()
	structure := p.seen.headed() || p.seen.up > 0 || p.seen.controls > 1 || p.seen.pathTitled() || main != nil && main.header
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
