package listing

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ParseTree reads the output of ls -lR (an ls-lR file as mirrors keep them, or LIST -R), and calls dir for each directory when it was
// read to its end, in the order in which they come. path is relative to the tree's root, with slashes, not escaped; the root's own is
// "". Nothing but one directory is held at a time, and only a directory, not the tree, is bounded by MaxSize. An error of dir ends
// the walk and is returned.
//
// A directory that is announced by a row must have its own part. ls leaves out those that it could not read, which are passed over
// where a later one follows or their mode closes them to others; the first of the rest that is missing at the end means that the
// tree was cut: ErrCut, like a last line without an end. A cut between two rows of the very last directory does not show; in a
// compressed file the decompressor sees it.
//
// A line that is no row goes on with the name of the row before it, for ls writes a newline in a name as it is. Names are else as
// ParseFTP takes them.
func ParseTree(src Source, r io.Reader, dir func(path string, l *Listing) error) error {
	t := treeReader{frame: frameOf(src), lines: newLines(bufio.NewReaderSize(r, 64<<10)), dir: dir, begun: true}
	for {
		line, err := t.lines.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = t.line(line)
		}
		if err != nil {
			return err
		}
	}
	if !t.any {
		return fmt.Errorf("%w: no directory", ErrNotListing)
	}
	if err := t.shut(); err != nil {
		return err
	}
	return t.missing()
}

// A treeReader reads the lines of ls -lR.
type treeReader struct {
	frame   frame
	lines   *lineReader
	dir     func(path string, l *Listing) error
	any     bool
	begun   bool   // at the start of a part: nothing but blanks and a total since its header
	blank   bool   // the line before was blank
	root    string // what the first header called the tree's root, with a slash at the end; "" when it named none
	headed  bool   // a header was met
	path    string // of the part that is being read
	start   int64  // where it began
	entries []Entry
	more    []byte      // lines that go on with the name of the last of entries
	below   []treeChild // the directories among entries
	subdirs bool        // the part's directory was announced with more links than an empty one has
	total   bool        // the part has a line of its total
	totals  bool        // the first part had one
	open    []treeDir   // the path's directories whose children may still come, outermost first
}

// A treeDir is a directory whose part was read, and those of its children whose parts have not come.
type treeDir struct {
	path     string
	children []treeChild
}

type treeChild struct {
	name    string
	closed  bool // its mode lets others not read it
	subdirs bool // it has links from directories below it
}

// line takes the next line.
func (t *treeReader) line(line string) error {
	if strings.TrimSpace(line) == "" {
		t.blank = true
		return nil
	}
	if t.lines.size-t.start > MaxSize {
		return fmt.Errorf("%w: directory %.200q", ErrTooLarge, t.path)
	}
	blank := t.blank
	t.blank = false
	if e, ok := unixRow(t.frame, line); ok {
		t.settle()
		t.entries = append(t.entries, e)
		t.begun, t.any = false, true
		if e.Kind == Dir && possible(e.Name) {
			links, _ := token(line[11:])
			n, _ := number(links, 9)
			t.below = append(t.below, treeChild{e.Name, e.Mode&0o004 == 0, n > 2})
		}
		return nil
	}
	if header, ok := strings.CutSuffix(line, ":"); ok && (blank || !t.any) && complaint(line) == nil {
		return t.header(header)
	}
	if t.begun && isTotal(line) {
		t.total = true
		return nil
	}
	if !blank && !t.begun && !looksLikeRow(line) && complaint(line) == nil {
		return t.goOn(line)
	}
	if err := complaint(line); err != nil && t.any {
		return err
	}
	return fmt.Errorf("%w: row %.200q", ErrNotListing, line)
}

// looksLikeRow says whether a line that is no row was meant as one.
func looksLikeRow(line string) bool {
	if len(line) < 10 {
		return false
	}
	_, ok := permissions(line[1:10])
	return ok
}

// goOn takes a line for the next part of the last row's name.
func (t *treeReader) goOn(line string) error {
	t.more = append(append(t.more, '\n'), line...)
	if len(t.more) > longestLine {
		return fmt.Errorf("%w: a name of over %d bytes", ErrNotListing, longestLine)
	}
	return nil
}

// settle puts what went on with the last row's name behind it.
func (t *treeReader) settle() {
	if len(t.more) == 0 {
		return
	}
	last := &t.entries[len(t.entries)-1]
	if last.Link && last.Target != "" {
		last.Target += string(t.more)
	} else {
		last.Name += string(t.more)
	}
	t.more = t.more[:0]
}

// header begins the part of a directory.
func (t *treeReader) header(name string) error {
	if t.any {
		if err := t.shut(); err != nil {
			return err
		}
	}
	if !t.headed && !t.any && (name == "." || strings.HasPrefix(name, "/")) {
		t.root = strings.TrimSuffix(name, "/") + "/"
		name = t.root
	}
	t.headed, t.any, t.begun, t.start = true, true, true, t.lines.size
	path, ok := strings.CutPrefix(name, t.root)
	if !ok && strings.HasPrefix(name, "/") {
		return fmt.Errorf("%w: directory %.200q is not below %.200q", ErrNotListing, name, t.root)
	}
	path = strings.TrimPrefix(path, "./")
	for part := range strings.SplitSeq(path, "/") {
		if path != "" && !possible(part) {
			return fmt.Errorf("%w: directory %.200q", ErrNotListing, name)
		}
	}
	t.path, t.total, t.subdirs = strings.Clone(path), false, false
	t.come()
	return nil
}

// come notes that the part of t.path has come: its elder siblings, and what was open below them, could not be read. A part that no
// row announced changes nothing.
func (t *treeReader) come() {
	parent, base := "", t.path
	if at := strings.LastIndexByte(t.path, '/'); at >= 0 {
		parent, base = t.path[:at], t.path[at+1:]
	}
	for i := len(t.open) - 1; i >= 0; i-- {
		if t.open[i].path != parent {
			continue
		}
		for k, c := range t.open[i].children {
			if c.name == base {
				t.subdirs = c.subdirs
				t.open[i].children = t.open[i].children[k+1:]
				t.open = t.open[:i+1]
				return
			}
		}
	}
}

// shut ends the part that is being read, and hands it over. Of a part that was cut behind its header nothing is left but that:
// neither the total that other parts have, nor the rows that its links promise. pure-ftpd so ends a tree at its limit of depth.
func (t *treeReader) shut() error {
	t.settle()
	if len(t.open) == 0 {
		t.totals = t.total
	}
	if len(t.entries) == 0 && !t.total && (t.totals || t.subdirs) {
		return fmt.Errorf("%w: directory %.200q has a header and nothing else", ErrCut, t.path)
	}
	t.open = append(t.open, treeDir{t.path, t.below})
	l := &Listing{Entries: tidied(followLinks(t.entries))}
	t.entries, t.below = nil, nil
	return t.dir(t.path, l)
}

// missing says which directory the tree should have had yet.
func (t *treeReader) missing() error {
	for i := len(t.open) - 1; i >= 0; i-- {
		for _, c := range t.open[i].children {
			if !c.closed {
				return fmt.Errorf("%w: directory %.200q below %.200q is announced and does not come", ErrCut, c.name, t.open[i].path)
			}
		}
	}
	return nil
}
