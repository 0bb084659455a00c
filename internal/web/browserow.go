package web

import (
	"strconv"
	"time"

	"zcache/internal/listing"
)

// states are the words for what is held of a file.
var states = [...]string{listing.Absent: "not held", listing.Stale: "stale", listing.Fresh: "held"}

// appendRow appends one row of the table, on a line of its own: line-bound readers of listings find one entry in each.
func (o *sheet) appendRow(b []byte, row *listing.Row) []byte {
	dir := row.Kind == listing.Dir
	var belongs bond
	if !dir && o.byName {
		belongs = o.kin.see(row.Name)
	}
	b = append(b, `<tr class="`...)
	b = append(b, classOf(row)...)
	b = append(b, ' ')
	b = append(b, row.Cached.String()...)
	if row.Link {
		b = append(b, " link"...)
	}
	if belongs.follows {
		b = append(b, " of"...)
	}
	b = append(b, `"><td><a href="./`...)
	b = appendHref(b, row.Name)
	if dir {
		b = append(b, '/')
	}
	b = append(b, `">`...)
	b = appendName(b, row.Name)
	if dir {
		b = append(b, '/')
	}
	b = append(b, "</a>"...)
	b = appendAside(b, row, belongs)
	b = append(b, "</td><td>"...)
	b = appendSizeCell(b, row)
	b = append(b, "</td><td>"...)
	b = appendTime(b, row.ModTime, row.Step, row.ZoneKnown)
	b = append(b, "</td><td>"...)
	b = o.appendState(b, row, dir)
	return append(b, "</td></tr>\n"...)
}

func classOf(row *listing.Row) string {
	switch row.Kind {
	case listing.Dir:
		return "dir"
	case listing.Other:
		return "odd"
	}
	return iconOf(row.Name)
}

// appendAside appends what stands beside a name: where a link leads, and what the file belongs to.
func appendAside(b []byte, row *listing.Row, belongs bond) []byte {
	if row.Target != "" {
		b = append(b, " <span>→ "...)
		b = appendName(b, row.Target)
		b = append(b, "</span>"...)
	}
	if belongs.label == "" {
		return b
	}
	b = append(b, " <small>"...)
	b = append(b, belongs.label...)
	if belongs.of != "" { // the eye sees it by the place of the row
		b = append(b, `<span class="v"> of `...)
		b = appendName(b, belongs.of)
		b = append(b, "</span>"...)
	}
	return append(b, "</small>"...)
}

func appendSizeCell(b []byte, row *listing.Row) []byte {
	switch {
	case row.Kind == listing.Dir || row.Size < 0:
		return b
	case !row.SizeExact:
		return appendSize(append(b, "≈ "...), row.Size)
	}
	b = append(b, `<data value="`...)
	b = strconv.AppendInt(b, row.Size, 10)
	b = append(b, `">`...)
	b = appendSize(b, row.Size)
	return append(b, "</data>"...)
}

// appendSize appends a size for people, with two digits at least where there are so many: 9.8 KiB, 98 KiB, 980 KiB.
func appendSize(b []byte, n int64) []byte {
	if n < 1024 {
		b = strconv.AppendInt(b, n, 10)
		return append(b, " B"...)
	}
	v, unit := float64(n)/1024, 0
	for v >= 1023.5 && unit < 5 {
		v, unit = v/1024, unit+1
	}
	digits := 0
	if v < 9.95 {
		digits = 1
	}
	b = strconv.AppendFloat(b, v, 'f', digits, 64)
	return append(append(b, ' ', "KMGTPE"[unit]), "iB"...)
}

// appendTime appends a time as exact as it is known, in datetime, and to the minute at most, as text. Where the zone is not certain,
// datetime has none, which is how HTML says so.
func appendTime(b []byte, t time.Time, step time.Duration, zoned bool) []byte {
	if t.IsZero() {
		return b
	}
	t = t.UTC()
	b = append(b, `<time datetime="`...)
	text := "2006-01-02 15:04"
	switch {
	case step > time.Minute:
		b = t.AppendFormat(b, time.DateOnly)
		text, zoned = time.DateOnly, false
	case step > time.Second:
		b = t.AppendFormat(b, "2006-01-02T15:04")
	default:
		b = t.AppendFormat(b, "2006-01-02T15:04:05")
	}
	if zoned {
		b = append(b, 'Z')
	}
	b = append(b, `">`...)
	b = t.AppendFormat(b, text)
	return append(b, "</time>"...)
}

const detailForm = `<form action="/-/entry">`

// appendState appends what is held of a file as a button that leads to its details: a button is no link that a crawler would follow. Each has
// a form of its own: with one around them all, Chromium looks for its first button anew for each row that is put elsewhere, and took 7 s to
// sort 5,000 rows. A long table is not sorted in place and has the one form, because 100,000 more elements took 4 s to load.
func (o *sheet) appendState(b []byte, row *listing.Row, dir bool) []byte {
	word := states[row.Cached]
	if dir {
		if row.Cached == listing.Absent {
			return b // of what lies below it, its own listing tells
		}
		word = "listed"
	}
	if o.page.Foreign {
		b = append(b, "<span>"...)
		b = append(b, word...)
		return append(b, "</span>"...)
	}
	if !o.long {
		b = append(b, detailForm...)
	}
	b = append(b, `<button name="url" value="`...)
	b = append(b, o.base...)
	b = appendHref(b, row.Name)
	if dir {
		b = append(b, '/')
	}
	b = append(b, `">`...)
	b = append(b, word...)
	b = append(b, "</button>"...)
	if o.long {
		return b
	}
	return append(b, "</form>"...)
}
