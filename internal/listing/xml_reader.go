package listing

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An xmlReader reads a document element by element. Prefixes are dropped, as every server has its own for the same names; bytes stay
// as they are; of entities only the five of XML are known, so that none can grow.
type xmlReader struct {
	window
	path []string // local names of the open elements, the root first
	text []byte   // what was read since the last start or end of an element
	attr []byte   // the last tag, raw
	shut bool     // the last start tag was an empty element's: its end is next
	seen map[string]string
}

// An xmlEvent is what xmlReader.step came to.
type xmlEvent uint8

const (
	xmlStart xmlEvent = iota // the last of path was opened
	xmlEnd                   // it ends: text is its content if it has no children
	xmlDone                  // the root was closed
)

// openXML gives a reader at the start of r.
func openXML(w window) *xmlReader {
	return &xmlReader{window: w, seen: make(map[string]string)}
}

// elements calls visit for the start and the end of every element, the root's end excepted, while path still has the element.
func (x *xmlReader) elements(visit func(xmlEvent) error) error {
	for {
		ev, err := x.step()
		if err != nil {
			return err
		}
		if ev != xmlDone {
			if err := visit(ev); err != nil {
				return err
			}
		}
		if ev != xmlStart {
			x.path, x.text = x.path[:len(x.path)-1], x.text[:0]
		}
		if ev == xmlDone {
			return x.onlyMisc()
		}
	}
}

// is says whether the innermost elements have these names, the innermost last.
func (x *xmlReader) is(names ...string) bool {
	at := len(x.path) - len(names)
	if at < 0 {
		return false
	}
	for i, n := range names {
		if x.path[at+i] != n {
			return false
		}
	}
	return true
}

// step reads to the next start or end of an element.
func (x *xmlReader) step() (xmlEvent, error) {
	if x.shut {
		x.shut = false
		return x.ended(), nil
	}
	for {
		c, err := x.next()
		if err != nil {
			return 0, err
		}
		if c == '&' {
			if err := x.reference(); err != nil {
				return 0, err
			}
			continue
		}
		if c != '<' {
			x.text = append(x.text, c)
			continue
		}
		if c, err = x.next(); err != nil {
			return 0, err
		}
		switch {
		case c == '!':
			err = x.declaration()
		case c == '?':
			err = x.until("?>", nil)
		case c == '/':
			return x.endTag()
		default:
			x.text = x.text[:0]
			return xmlStart, x.startTag(c)
		}
		if err != nil {
			return 0, err
		}
	}
}

func (x *xmlReader) ended() xmlEvent {
	if len(x.path) == 1 {
		return xmlDone
	}
	return xmlEnd
}

// startTag reads a tag whose name begins with c.
func (x *xmlReader) startTag(c byte) error {
	if c == '>' || c == ' ' || c == '<' {
		return fmt.Errorf("%w: an XML tag without a name", ErrNotListing)
	}
	x.attr = append(x.attr[:0], c)
	for quote := byte(0); ; {
		c, err := x.next()
		if err != nil {
			return err
		}
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '<':
			return fmt.Errorf("%w: < within an XML tag", ErrNotListing)
		case quote == 0 && c == '>':
			tag, shut := bytes.CutSuffix(x.attr, []byte("/"))
			name := tag
			if end := bytes.IndexAny(tag, " \t\r\n"); end >= 0 {
				name = tag[:end]
			}
			x.shut = shut
			return x.push(name)
		}
		if x.attr = append(x.attr, c); len(x.attr) > longestLine {
			return fmt.Errorf("%w: an XML tag of over %d bytes", ErrNotListing, longestLine)
		}
	}
}

func (x *xmlReader) push(name []byte) error {
	name = localName(name)
	if len(name) == 0 || len(x.path) == deepest {
		return fmt.Errorf("%w: XML element %.40q at depth %d", ErrNotListing, name, len(x.path))
	}
	known, ok := x.seen[string(name)]
	if !ok {
		known = string(name)
		if len(x.seen) < 1000 {
			x.seen[known] = known
		}
	}
	x.path = append(x.path, known)
	return nil
}

func localName(name []byte) []byte {
	return name[bytes.LastIndexByte(name, ':')+1:]
}

func (x *xmlReader) endTag() (xmlEvent, error) {
	x.attr = x.attr[:0]
	if err := x.until(">", &x.attr); err != nil {
		return 0, err
	}
	name := localName(bytes.TrimRight(x.attr, " \t\r\n"))
	if len(x.path) == 0 || x.path[len(x.path)-1] != string(name) {
		return 0, fmt.Errorf("%w: XML element %.40q ends out of turn", ErrNotListing, name)
	}
	return x.ended(), nil
}

// declaration reads what begins with "<!": a comment, a CDATA section, or a document type, which may define nothing.
func (x *xmlReader) declaration() error {
	var open []byte
	for {
		c, err := x.next()
		if err != nil {
			return err
		}
		switch open = append(open, c); {
		case string(open) == "--":
			return x.until("-->", nil)
		case string(open) == "[CDATA[":
			return x.until("]]>", &x.text)
		case c == '>' && strings.HasPrefix(strings.ToUpper(string(open)), "DOCTYPE"):
			return nil
		case c == '>', c == '[' && len(open) > 1, len(open) > 1000:
			return fmt.Errorf("%w: XML declaration %.40q", ErrNotListing, open)
		}
	}
}

// until consumes to behind mark. What comes before it is appended to into, where that is not nil.
func (x *xmlReader) until(mark string, into *[]byte) error {
	var last [3]byte // as much of the end as mark is long
	tail := last[:0]
	for {
		c, err := x.next()
		if err != nil {
			return err
		}
		if into != nil {
			*into = append(*into, c)
		}
		if len(tail) == len(mark) {
			copy(tail, tail[1:])
			tail = tail[:len(tail)-1]
		}
		if tail = append(tail, c); string(tail) == mark {
			if into != nil {
				*into = (*into)[:len(*into)-len(mark)]
			}
			return nil
		}
	}
}

// reference reads what follows an ampersand. One that is no reference known here stays as it is written.
func (x *xmlReader) reference() error {
	start := len(x.text)
	x.text = append(x.text, '&')
	for len(x.text)-start < 12 {
		c, err := x.next()
		if err != nil {
			return err
		}
		if c == '<' || c == '&' {
			x.pos-- // next has left at least this byte in the window
			return nil
		}
		x.text = append(x.text, c)
		if c != ';' {
			continue
		}
		if r, ok := referent(string(x.text[start+1 : len(x.text)-1])); ok {
			x.text = utf8.AppendRune(x.text[:start], r)
		}
		return nil
	}
	return nil
}

// referent gives the character of a reference's name: "amp", "#13", "#x0D".
func referent(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	number, base := strings.TrimPrefix(name, "#"), 10
	if number == name {
		return 0, false
	}
	if hex := strings.TrimPrefix(strings.TrimPrefix(number, "x"), "X"); hex != number {
		number, base = hex, 16
	}
	n, err := strconv.ParseUint(number, base, 31)
	return rune(n), err == nil
}

// onlyMisc says whether nothing but blanks, comments and instructions follows the root.
func (x *xmlReader) onlyMisc() error {
	for {
		c, err := x.nextSolid()
		if err == ErrCut { // the end, where it may be
			return nil
		}
		if err != nil {
			return err
		}
		if c != '<' {
			return fmt.Errorf("%w: %q behind the XML root", ErrNotListing, c)
		}
		if c, err = x.next(); err != nil {
			return err
		}
		switch c {
		case '!':
			err = x.declaration()
		case '?':
			err = x.until("?>", nil)
		default:
			err = fmt.Errorf("%w: an XML element behind the root", ErrNotListing)
		}
		if err != nil {
			return err
		}
	}
}

// xmlRoot gives the local name of the root element of a document that begins with start; "" when start is too short to tell.
func xmlRoot(start []byte) string {
	x := openXML(window{r: bytes.NewReader(nil), buf: start, end: len(start)})
	if ev, err := x.step(); err != nil || ev != xmlStart {
		return ""
	}
	return x.path[0]
}
