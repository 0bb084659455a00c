package listing

import (
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strconv"
	"time"
	"unicode/utf8"
)

// flushAt is how much is gathered before it is written, in bytes. A row or two may come on top.
const flushAt = 32 << 10

// WriteJSON writes rows as a JSON array in the shape of Caddy's, one object a line, each with what we know beyond it:
//
//	{"name":"pub/","size":null,"url":"./pub/","mod_time":"2026-01-02T03:04:05Z","mode":2147484141,"is_dir":true,
//	 "is_symlink":false,"cached":"absent","size_exact":false,"mod_time_step":1,"zone_known":true}
//
// The name is for people: bytes that are not UTF-8 show as U+FFFD in it, and url has the exact ones. Unknown sizes and times are null.
// mod_time_step is in whole seconds, rounded up. A link has its "target" where it is known. An entry that may be no file is given as one
// to those who only look at is_dir; "kind" says "unknown" or "other" then, and is left out otherwise.
func WriteJSON(w io.Writer, rows iter.Seq[Row]) error {
	return writeRows(w, rows, form{open: "[\n", between: ",\n", shut: "\n]\n", none: "[]\n", row: appendRow})
}

// A form is how rows become a document.
type form struct {
	open, between, shut string
	none                string // the document without rows
	row                 func([]byte, *Row) []byte
}

// writeRows streams rows to w. It holds no more than one buffer of them.
func writeRows(w io.Writer, rows iter.Seq[Row], f form) error {
	buf := make([]byte, 0, flushAt+4<<10)
	var (
		row  Row // one for all rows: a pointer to it leaves through f.row, and a new one for each row would be an allocation each
		some bool
		err  error
	)
	for row = range rows {
		if some {
			buf = append(buf, f.between...)
		} else {
			buf = append(buf, f.open...)
		}
		some = true
		if buf = f.row(buf, &row); len(buf) < flushAt {
			continue
		}
		if _, err = w.Write(buf); err != nil {
			return fmt.Errorf("write listing: %w", err)
		}
		buf = buf[:0]
	}
	if some {
		buf = append(buf, f.shut...)
	} else {
		buf = append(buf, f.none...)
	}
	if _, err = w.Write(buf); err != nil {
		return fmt.Errorf("write listing: %w", err)
	}
	return nil
}

func appendRow(b []byte, r *Row) []byte {
	mode := r.Mode
	switch {
	case r.Link: // its mode is the link's own, as in Caddy
		mode |= fs.ModeSymlink
	case r.Kind == Dir:
		mode |= fs.ModeDir
	}
	b = appendEntry(b, &r.Entry, mode)
	b = append(b, `,"cached":"`...)
	b = append(b, r.Cached.String()...)
	b = append(b, '"')
	step := (r.Step + time.Second - 1).Truncate(time.Second)
	return appendExtras(b, &r.Entry, step)
}

// appendEntry writes the members that Caddy has, without the brace that ends the object.
func appendEntry(b []byte, e *Entry, mode fs.FileMode) []byte {
	b = append(b, `{"name":"`...)
	b = appendQuotable(b, e.Name)
	b = appendSlash(b, e)
	b = append(b, `","size":`...)
	b = appendSize(b, e)
	b = append(b, `,"url":"./`...)
	b = appendURLName(b, e.Name)
	b = appendSlash(b, e)
	b = append(b, `","mod_time":`...)
	b = appendTime(b, e.ModTime)
	b = append(b, `,"mode":`...)
	b = strconv.AppendUint(b, uint64(mode), 10)
	b = append(b, `,"is_dir":`...)
	b = strconv.AppendBool(b, e.Kind == Dir)
	b = append(b, `,"is_symlink":`...)
	return strconv.AppendBool(b, e.Link)
}

// appendExtras writes the members that are ours, and the brace.
func appendExtras(b []byte, e *Entry, step time.Duration) []byte {
	b = append(b, `,"size_exact":`...)
	b = strconv.AppendBool(b, e.SizeExact)
	b = append(b, `,"mod_time_step":`...)
	b = appendSeconds(b, step)
	b = append(b, `,"zone_known":`...)
	b = strconv.AppendBool(b, e.ZoneKnown)
	if e.Kind != File && e.Kind != Dir {
		b = append(b, `,"kind":"`...)
		b = append(b, kindNames[e.Kind]...)
		b = append(b, '"')
	}
	if e.Target != "" {
		b = append(b, `,"target":"`...)
		b = appendQuotable(b, e.Target)
		b = append(b, '"')
		if !utf8.ValidString(e.Target) {
			b = append(b, `,"target_escaped":"`...)
			b = appendURLName(b, e.Target)
			b = append(b, '"')
		}
	}
	return append(b, '}')
}

var kindNames = [...]string{Unknown: "unknown", File: "file", Dir: "dir", Other: "other"}

func appendSlash(b []byte, e *Entry) []byte {
	if e.Kind == Dir {
		b = append(b, '/')
	}
	return b
}

func appendSize(b []byte, e *Entry) []byte {
	if e.Kind == Dir || e.Size < 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, e.Size, 10)
}

// appendTime writes t as RFC 3339 has it, with its fraction, or null.
func appendTime(b []byte, t time.Time) []byte {
	if !hasTime(t) {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// hasTime says whether t is known and can be written: RFC 3339 and HTTP have years of four digits.
func hasTime(t time.Time) bool {
	year := t.UTC().Year()
	return !t.IsZero() && year >= 0 && year <= 9999
}

// appendSeconds writes d as a decimal number of seconds, exactly.
func appendSeconds(b []byte, d time.Duration) []byte {
	d = max(d, 0)
	b = strconv.AppendInt(b, int64(d/time.Second), 10)
	if d %= time.Second; d == 0 {
		return b
	}
	b = append(b, '.')
	for unit := time.Second / 10; d > 0; unit /= 10 {
		b = append(b, '0'+byte(d/unit))
		d %= unit
	}
	return b
}
