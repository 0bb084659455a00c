package web

import (
	"fmt"
	"io"

	"zcache/internal/listing"
)

const (
	// flushEvery is how many bytes of a page are held before they are sent on. A shorter page goes out as one, with its length.
	flushEvery = 32 << 10
	// group is how many rows a tbody has. The browser leaves out the groups that are out of sight, and only then are 100,000 rows quick.
	group = 100
	// long is from how many rows on the server sorts instead of the script: see appendState.
	long = 5000
)

// A sheet is a page that is being written.
type sheet struct {
	page   *listing.Page
	base   string // page.Path, escaped for an attribute
	byName bool   // rows come in order of name
	kin    kin
	long   bool

	rows, files, held int
	bytes             int64 // of what is held
}

// Browse writes the page of a directory, row by row as they come. Nothing of the answer's head is touched: its Content-Type must be
// text/html; charset=utf-8, its policy BrowsePolicy. If w has a Flush, rows are sent before the last has come. The error is w's.
func Browse(w io.Writer, p *listing.Page) error {
	o := &sheet{page: p, base: string(appendEscaped(nil, p.Path))}
	o.byName = (p.Query.Sort == "" || p.Query.Sort == listing.SortName) && p.Query.Order != listing.OrderDown
	o.long = o.expected() >= long
	b := make([]byte, 0, flushEvery+8<<10)
	b = o.appendTop(b)
	rows := p.Rows
	if o.byName {
		rows = behindTheirs(rows)
	}
	for row := range rows {
		b = o.appendGroup(b)
		b = o.appendRow(b, &row)
		o.count(&row)
		if len(b) < flushEvery {
			continue
		}
		if err := send(w, b); err != nil {
			return err
		}
		b = b[:0]
	}
	b = o.appendBottom(b)
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

// Browse is the function of the same name.
func (s *Server) Browse(w io.Writer, p *listing.Page) error { return Browse(w, p) }

func send(w io.Writer, b []byte) error {
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	switch f := w.(type) {
	case interface{ FlushError() error }:
		if err := f.FlushError(); err != nil {
			return fmt.Errorf("write page: %w", err)
		}
	case interface{ Flush() }:
		f.Flush()
	}
	return nil
}

func (o *sheet) appendGroup(b []byte) []byte {
	switch {
	case o.rows == 0:
		return append(b, "<tbody>\n"...)
	case o.rows%group == 0:
		return append(b, "</tbody>\n<tbody>\n"...)
	}
	return b
}

func (o *sheet) count(row *listing.Row) {
	o.rows++
	if row.Kind == listing.Dir {
		return
	}
	o.files++
	if row.Cached != listing.Absent {
		o.held++
		o.bytes += max(0, row.Size)
	}
}

// expected is how many rows the page is going to have.
func (o *sheet) expected() int {
	n := max(0, o.page.Total-o.page.Query.Offset)
	if o.page.Query.Limit > 0 {
		n = min(n, o.page.Query.Limit)
	}
	return n
}
