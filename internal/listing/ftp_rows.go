package listing

import (
	"fmt"
	"strings"
	"time"
)

// A rowForm reads one line of a LIST in one server's way; false when the line is not of that form.
type rowForm func(f frame, line string) (Entry, bool)

// forms are tried in this order until one has read a row; then that one alone, so that a name cannot be taken for a row of another.
var forms = []rowForm{unixRow, eplfRow, dosRow, netwareRow}

// A rowReader reads the lines of one LIST.
type rowReader struct {
	frame   frame
	wary    bool // the body was not said to be a list
	any     bool // a row was met
	form    rowForm
	vms     vmsReader
	entries []Entry
	outside int  // rows whose date has no year, and is of none that it could be
	dated   bool // a row shows its year
}

// line takes the next line.
func (r *rowReader) line(line string) error {
	// A lone LF is part of a name where lines end in CR LF, unless a row comes behind it: then the server mixes its line ends.
	if at := strings.IndexByte(line, '\n'); at >= 0 {
		if _, ok := r.row(line[at+1:]); ok {
			if err := r.line(line[:at]); err != nil {
				return err
			}
			return r.line(line[at+1:])
		}
	}
	if strings.TrimSpace(line) == "" {
		return nil
	}
	if e, ok := r.row(line); ok {
		r.any = true
		r.dated = r.dated || e.Step > 0 && e.Step != time.Minute
		r.entries = append(r.entries, e)
		return nil
	}
	if !r.any && isTotal(line) {
		return nil
	}
	if r.wary && !r.any {
		return fmt.Errorf("%w: line %.80q is no row", ErrNotListing, line)
	}
	if r.form == nil && !r.wary {
		if e, took := r.vms.line(r.frame, line); took {
			if e.Name != "" {
				r.any = true
				r.entries = append(r.entries, e)
			}
			return nil
		}
	}
	if err := complaint(line); err != nil {
		return err
	}
	return fmt.Errorf("%w: row %.200q", ErrNotListing, line)
}

// end says whether the last row was whole. Some servers never show a year: then a row that cannot be recent gives away the others,
// whose times would each be taken for one of the last months.
func (r *rowReader) end() error {
	if r.vms.open() {
		return fmt.Errorf("%w: %.80q has no columns", ErrCut, r.vms.name)
	}
	if r.outside > 0 && !r.dated {
		for i := range r.entries {
			instant{}.on(&r.entries[i])
		}
	}
	return nil
}

func (r *rowReader) row(line string) (Entry, bool) {
	if r.form != nil {
		return r.form(r.frame, line)
	}
	if r.vms.met {
		return Entry{}, false
	}
	for _, form := range forms {
		if e, ok := form(r.frame, line); ok {
			r.form = form
			return e, true
		}
	}
	return Entry{}, false
}

// isTotal recognises the line of blocks in front of a directory, in whatever language: "total 2196", "insgesamt 12K", "总计 4".
func isTotal(line string) bool {
	word, after := token(line)
	count, after := token(after)
	if count == "" || !isDigit(count[0]) || strings.TrimSpace(after) != "" {
		return false
	}
	for _, c := range []byte(word) {
		if isDigit(c) || c == '/' {
			return false
		}
	}
	return strings.Trim(count, "0123456789.,KMGTPEkB") == ""
}
