package listing

import (
	"bufio"
	"bytes"
	"io"
	"regexp"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

// parseHTML reads an index page. The page is gone through once and is never held: a row becomes an Entry where it ends. What the rows
// belong to and what the page is are judged at its end (judge), from counts.
func parseHTML(src Source, body io.Reader) (*Listing, error) {
	text, err := browserText(src.ContentType, body)
	if err != nil {
		return nil, err
	}
	p := newPage(src, text)
	if err := p.read(); err != nil {
		return nil, readError(err)
	}
	return p.judge()
}

// metaCharset finds a page's own declaration. DetermineEncoding does not tell one from its guess.
var metaCharset = regexp.MustCompile(`(?i)<meta[^>]+charset\s*=`)

// browserText decodes a page that declares a charset other than UTF-8, as a browser would before it looks for links. Without a
// declaration the bytes stay: they are what the server has for names, and a guess from the first of them may be wrong.
func browserText(contentType string, body io.Reader) (io.Reader, error) {
	r := bufio.NewReaderSize(body, sniffed)
	start, err := r.Peek(1024) // where the HTML standard looks for a declaration
	if err != nil && err != io.EOF && len(start) == 0 {
		return nil, readError(err)
	}
	encoding, name, certain := charset.DetermineEncoding(start, contentType)
	if name == "utf-8" || !certain && !metaCharset.Match(start) {
		return r, nil
	}
	return encoding.NewDecoder().Reader(r), nil
}

// An element is open in the page.
type element struct {
	tag   atom.Atom
	id    int32
	role  role // what its class calls its text; inherited
	col   int  // the column of a cell; inherited
	exact values
	apart bool // a heading, navigation: no rows here
	title bool // a heading or in one
}

// values are what an element's attributes say more exactly than its text.
type values struct{ number, time string }

// besides gives the values without those that repeat a name: a file may well be called 12345, or by a date.
func (v values) besides(name string) values {
	if v.number == name {
		v.number = ""
	}
	if v.time == name {
		v.time = ""
	}
	return v
}

// scopeKind is what makes a row at some place of a page.
type scopeKind uint8

const (
	loose   scopeKind = iota // whatever repeats: div, p, or what stands between <br>
	inTable                  // <tr>
	inList                   // <li>, or <dt> and <dd>
	inLines                  // a line of <pre>
)

// A scope is an element whose rows are made in one way.
type scope struct {
	kind  scopeKind
	id    int32
	class string
	roles []role // of a table's columns, by its header row
	zoned bool   // its header says that times are UTC
	unit  int    // a power of 1024 that its header gives for bare numbers
	cells int    // of the current row
	tried int    // rows that might have named the columns
}

// A pageReader goes through a page's tokens and makes rows of them.
type pageReader struct {
	z       *html.Tokenizer
	links   *resolver
	clock   clock
	attr    attributes
	stack   []element
	scopes  []scope
	ids     int32
	raw     atom.Atom // <script>, <title>: text up to its end
	svg     int       // elements inside <svg>
	partial bool      // the page ended in the middle of something
	closed  bool      // </body> or </html> was the last to be closed

	row     htmlRow
	loose   looseRows
	link    openLink
	blocks  map[int32]*block
	order   []*block
	last    int32 // the id of the last block
	seen    evidence
	heading []byte
}

func newPage(src Source, r io.Reader) *pageReader {
	p := &pageReader{
		z: html.NewTokenizer(r), links: newResolver(src.URL), clock: clockOf(src), blocks: make(map[int32]*block),
		scopes: []scope{{kind: loose}}, seen: evidence{path: src.URL.Path, host: src.URL.Host},
	}
	p.loose.before = -1
	return p
}

func (p *pageReader) read() error {
	for {
		token := p.z.Next()
		if token != html.ErrorToken {
			p.partial = false
		}
		switch token {
		case html.ErrorToken:
			if err := p.z.Err(); err != io.EOF {
				return err
			}
			p.partial = p.partial || len(p.z.Raw()) > 0 || p.raw != 0 || p.link.open || p.unclosed()
			p.popTo(0)
			p.endLoose()
			return nil
		case html.TextToken:
			p.text(p.z.Raw())
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := p.z.TagName()
			tag := atom.Lookup(name)
			p.attr.read(p.z, more)
			p.start(tag)
		case html.EndTagToken:
			name, _ := p.z.TagName()
			p.end(atom.Lookup(name))
		case html.CommentToken, html.DoctypeToken:
			if raw := p.z.Raw(); len(raw) > 0 && raw[len(raw)-1] != '>' {
				p.partial = true
			}
		}
	}
}

// unclosed says whether the page left something open that its server would have closed. Where the end of the body is there, what is
// missing before it was forgotten, not lost.
func (p *pageReader) unclosed() bool {
	for _, e := range p.stack {
		switch e.tag {
		case atom.Html:
			if !p.closed {
				return true
			}
		case atom.Body, atom.Head, atom.Table, atom.Pre, atom.Ul, atom.Ol, atom.Dl, atom.Div, atom.Main, atom.Section, atom.Article, atom.Form:
			return true
		}
	}
	return false
}

// attributes are those of a start tag that matter.
type attributes struct {
	href, class, title, alt, src, rel, input string
	exact                                    values
	hasHref                                  bool
	span                                     int
}

func (a *attributes) read(z *html.Tokenizer, more bool) {
	*a = attributes{span: 1}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		switch string(key) {
		case "href", "xlink:href":
			a.href, a.hasHref = string(value), true
		case "class", "id":
			a.class = strings.TrimSpace(a.class + " " + string(value))
		case "title":
			a.title = string(value)
		case "alt":
			a.alt = string(value)
		case "src":
			if len(value) < 200 {
				a.src = string(value)
			}
		case "rel":
			a.rel = string(value)
		case "type":
			a.input = string(value)
		case "datetime":
			a.exact.time = string(value)
		case "data-order", "data-sort", "data-value", "data-sort-value", "data-size", "data-bytes", "data-time", "data-timestamp",
			"data-mtime", "data-date", "data-raw", "sorttable_customkey", "value", "name":
			// A <td name> with a number is how mongoose lets its own script sort.
			if v := string(value); v != "" && (isDigit(v[0]) || v[0] == '-' || v[0] == ' ') && a.exact.number == "" {
				a.exact.number = strings.TrimSpace(v)
			}
		case "colspan":
			if f, ok := readSize(string(value)); ok && f.bytes > 0 && f.bytes < 100 {
				a.span = int(f.bytes)
			}
		}
	}
}

// text takes a text token as it stands in the page.
func (p *pageReader) text(raw []byte) {
	p.partial = bytes.HasSuffix(raw, []byte("<")) || bytes.HasSuffix(raw, []byte("</")) // unless more follows
	switch p.raw {
	case 0:
	case atom.Title:
		if p.seen.title == "" {
			title := bytes.TrimSpace(p.z.Text())
			p.seen.title = string(title[:min(len(title), maxRowText)])
		}
		return
	default:
		p.seen.script += len(raw)
		return
	}
	if p.svg > 0 {
		return
	}
	t := p.z.Text()
	if p.apart() {
		if len(p.heading) < 1000 && p.top().title {
			p.heading = append(p.heading, t...)
		}
		if p.scope().kind != inTable {
			if p.link.open {
				p.link.add(t)
			}
			return
		}
	}
	if p.link.open || p.scope().kind != inLines {
		p.rowText(t)
		return
	}
	for {
		line, rest, more := bytes.Cut(t, []byte("\n"))
		p.rowText(line)
		if !more {
			return
		}
		p.endRow()
		t = rest
	}
}

// rowText adds text to the row in hand.
func (p *pageReader) rowText(t []byte) {
	if p.link.open {
		p.link.add(t)
	}
	if len(bytes.TrimSpace(t)) == 0 && !p.row.open {
		return
	}
	switch p.scope().kind {
	case inLines:
		p.beginRow()
	case loose:
		p.beginRow()
		if !p.link.open {
			p.seen.words += countWords(t)
			if len(p.row.buf) > maxRowText/2 || len(p.row.fields) > maxLoose {
				p.cutLoose()
			}
		}
	}
	if p.row.open {
		p.row.text(t, p.top(), p.link.open, len(p.stack))
	}
}

func countWords(t []byte) int {
	n, in := 0, false
	for _, c := range t {
		space := c <= ' '
		if !space && !in {
			n++
		}
		in = !space
	}
	return n
}

func (p *pageReader) scope() *scope { return &p.scopes[len(p.scopes)-1] }

func (p *pageReader) top() *element {
	if len(p.stack) == 0 {
		return &element{}
	}
	return &p.stack[len(p.stack)-1]
}

func (p *pageReader) apart() bool { return p.top().apart }

func isHeading(tag atom.Atom) bool {
	switch tag {
	case atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6:
		return true
	}
	return false
}
