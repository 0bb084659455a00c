package listing

import (
	"cmp"
	"slices"
	"strings"
)

// Arrange returns which of entries q asks for and in what order, as indexes into entries, which are sorted by Name and stay as they
// are. q.Format is the form that will be written, "" being JSON's order.
//
// Without a Sort, directories come first and then the rest, each by name, which is what Caddy and nginx do in JSON and in HTML alike.
// SortName mixes them, as it does in Caddy. Names are compared byte by byte; in the HTML form, which is for people, by Natural, and
// there SortName keeps directories first in either order. By size or time the smallest or oldest comes first, equal ones by
// name; what is unknown, the size of a directory among it, comes last in either order. Entries must have been completed for that.
func Arrange(entries []Entry, q Query) []int32 {
	a := arrangement{entries: entries, rows: make([]int32, 0, len(entries)), down: q.Order == OrderDown, natural: q.Format == FormHTML}
	switch {
	case q.Sort == SortSize:
		a.addBy(func(e *Entry) (int64, int, bool) { return e.Size, 0, e.Size >= 0 })
	case q.Sort == SortTime:
		a.addBy(func(e *Entry) (int64, int, bool) {
			return e.ModTime.Unix(), e.ModTime.Nanosecond(), !e.ModTime.IsZero()
		})
	case q.Sort == SortName && !a.natural:
		a.addNamed(func(*Entry) bool { return true })
	default:
		a.addNamed(func(e *Entry) bool { return e.Kind == Dir })
		a.addNamed(func(e *Entry) bool { return e.Kind != Dir })
	}
	from := min(max(q.Offset, 0), len(a.rows))
	to := len(a.rows)
	if q.Limit > 0 && q.Limit < to-from {
		to = from + q.Limit
	}
	return a.rows[from:to]
}

type arrangement struct {
	entries []Entry
	rows    []int32
	down    bool
	natural bool
}

// addNamed appends the entries that are wanted, by name in the order asked for.
func (a *arrangement) addNamed(want func(*Entry) bool) {
	n := len(a.rows)
	for i := range a.entries {
		if want(&a.entries[i]) {
			a.rows = append(a.rows, int32(i))
		}
	}
	added := a.rows[n:]
	if a.natural {
		slices.SortFunc(added, a.byName)
	}
	if a.down {
		slices.Reverse(added)
	}
}

// A figured row carries what it is sorted by, so that comparing two does not wait for the memory of their entries.
type figured struct {
	figure   int64
	fraction int32
	row      int32
}

// addBy appends all entries by a figure and its fraction, those that have none last.
func (a *arrangement) addBy(figureOf func(*Entry) (figure int64, fraction int, known bool)) {
	known := make([]figured, 0, len(a.entries))
	var unknown []int32
	for i := range a.entries {
		if figure, fraction, ok := figureOf(&a.entries[i]); ok {
			known = append(known, figured{figure, int32(fraction), int32(i)})
		} else {
			unknown = append(unknown, int32(i))
		}
	}
	slices.SortFunc(known, func(x, y figured) int {
		c := cmp.Compare(x.figure, y.figure)
		if c == 0 {
			c = cmp.Compare(x.fraction, y.fraction)
		}
		switch {
		case c == 0:
			return a.byName(x.row, y.row)
		case a.down:
			return -c
		}
		return c
	})
	for i := range known {
		a.rows = append(a.rows, known[i].row)
	}
	if a.natural {
		slices.SortFunc(unknown, a.byName)
	}
	a.rows = append(a.rows, unknown...)
}

func (a *arrangement) byName(i, j int32) int {
	if a.natural {
		return Natural(a.entries[i].Name, a.entries[j].Name)
	}
	return cmp.Compare(i, j)
}

// Natural compares names as people count: digits that stand together are one number, so that 1.9 comes before 1.10, and all else is
// compared byte by byte. Names that differ in leading zeros alone are compared as bytes, so only equal names compare as 0.
func Natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		if !isDigit(x[0]) || !isDigit(y[0]) {
			if x[0] != y[0] {
				return cmp.Compare(x[0], y[0])
			}
			x, y = x[1:], y[1:]
			continue
		}
		var m, n string
		m, x = leadingNumber(x)
		n, y = leadingNumber(y)
		if c := cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n)); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(a, b))
}

// leadingNumber cuts the digits off the front of s and drops their leading zeros.
func leadingNumber(s string) (digits, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), s[n:]
}
