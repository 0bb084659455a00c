package listing

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// errName says that an entry has a name which no directory can hold, or one out of its order.
var errName = errors.New("bad name in a listing")

// WriteSidecar writes l so that ReadSidecar gives it back as it is: what WriteJSON writes without "cached", which changes with the
// store and not with the listing; with mode as it is known, and with mod_time_step to the nanosecond. A listing in parts must have been
// put together first: one with Next set fails with ErrCut. Years of more than four digits become unknown times.
func WriteSidecar(w io.Writer, l *Listing) error {
	if l.Next != "" {
		return fmt.Errorf("write sidecar: %w", ErrCut)
	}
	if err := inOrder(l.Entries); err != nil {
		return fmt.Errorf("write sidecar: %w", err)
	}
	rows := func(yield func(Row) bool) {
		var row Row // one for all rows, for a pointer to it leaves through Complete
		for i := range l.Entries {
			row.Entry = l.Entries[i]
			if l.Complete != nil {
				l.Complete(&row.Entry)
			}
			if !yield(row) {
				return
			}
		}
	}
	return writeRows(w, rows, form{open: "[\n", between: ",\n", shut: "\n]\n", none: "[]\n", row: appendSidecar})
}

func appendSidecar(b []byte, r *Row) []byte {
	return appendExtras(appendEntry(b, &r.Entry, r.Mode), &r.Entry, r.Step)
}

// inOrder says what is wrong with the names of entries, which must be sorted, each there once.
func inOrder(entries []Entry) error {
	for i := range entries {
		name := entries[i].Name
		if !possible(name) {
			return fmt.Errorf("%w: %.80q", errName, name)
		}
		if i > 0 && entries[i-1].Name >= name {
			return fmt.Errorf("%w: %.80q does not come after %.80q", errName, name, entries[i-1].Name)
		}
	}
	return nil
}

// sidecarBuffer is what a sidecar is read through, in bytes. A longer line is left to the general reader.
const sidecarBuffer = 32 << 10

// ReadSidecar reads what WriteSidecar has written, and any other JSON array of such objects, however it is laid out: one edited by hand, or
// a listing of Caddy's, which is exact to the byte and to the second. A member that is missing is taken as Caddy would mean it.
//
// A sidecar that ends too soon fails with ErrCut, one that is damaged with ErrNotListing, so that no name is ever missing from what
// is returned. One that is not of WriteSidecar's making fails with ErrTooLarge beyond MaxSize.
func ReadSidecar(r io.Reader) (*Listing, error) { return readSidecar(r, MaxSize) }

func readSidecar(r io.Reader, most int64) (*Listing, error) {
	s := sidecar{r: bufio.NewReaderSize(r, sidecarBuffer), most: most}
	if err := s.read(); err != nil {
		return nil, fmt.Errorf("read sidecar: %w", err)
	}
	l := &Listing{Entries: s.all()}
	if inOrder(l.Entries) == nil {
		return l, nil
	}
	slices.SortFunc(l.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	if err := inOrder(l.Entries); err != nil {
		return nil, fmt.Errorf("read sidecar: %w: %w", ErrNotListing, err)
	}
	return l, nil
}

// A sidecar is being read: line by line as long as the lines are as we write them, and from the first one that is not by the
// general reader, which continues in the midst of the array.
type sidecar struct {
	r     *bufio.Reader
	most  int64           // bytes that the general reader takes
	names strings.Builder // names are slices of it: one allocation for hundreds of them
	full  [][]Entry
	last  []Entry
	n     int
}

// read reads the array.
func (s *sidecar) read() error {
	line, err := s.r.ReadSlice('\n')
	if string(line) != "[\n" {
		return s.general("", line, err)
	}
	before := "["
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return s.general(before, line, err)
		}
		if string(line) == "]\n" && before == "[0" {
			return s.end()
		}
		var e Entry
		l := sidecarLine{rest: line, names: &s.names}
		if before == "[0" || !l.entry(&e) {
			return s.general(before, line, nil)
		}
		s.add(&e)
		before = "[0,"
		if l.last {
			before = "[0"
		}
	}
}

// end makes sure that nothing follows the array.
func (s *sidecar) end() error {
	for {
		c, err := s.r.ReadByte()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			return fmt.Errorf("%w: something follows its end", ErrNotListing)
		}
	}
}

// add appends an entry. They are kept in chunks: growing one slice to 100,000 entries would allocate five times their size.
func (s *sidecar) add(e *Entry) {
	if len(s.last) == cap(s.last) {
		if s.last != nil {
			s.full = append(s.full, s.last)
		}
		s.last = make([]Entry, 0, min(max(32, 2*cap(s.last)), 8192))
	}
	s.last = append(s.last, *e)
	s.n++
}

func (s *sidecar) all() []Entry {
	if s.full == nil {
		return s.last
	}
	all := make([]Entry, 0, s.n)
	for _, chunk := range s.full {
		all = append(all, chunk...)
	}
	return append(all, s.last...)
}

// namesChunk is how many bytes of names share an allocation.
const namesChunk = 16 << 10

// keep returns b as a string, which shares its memory with others. A Builder never changes what it has handed out.
func keep(names *strings.Builder, b []byte) string {
	if names.Cap()-names.Len() < len(b) {
		names.Reset()
		names.Grow(max(namesChunk, len(b)))
	}
	at := names.Len()
	names.Write(b)
	return names.String()[at:]
}
