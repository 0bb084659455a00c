package listing

import (
	"io"
	"iter"
	"net/http"
	"strconv"
	"unicode/utf8"
)

// WriteNginx writes rows as nginx's autoindex does with autoindex_format json. What is unknown is left out, and so is a rounded size:
// this form cannot say that it is, and whoever fetched the file would find another length. A time that is exact to the minute
// stands. Where nginx puts the bytes of names as they are, ours are UTF-8 with U+FFFD for what is not, so that all JSON readers take it.
func WriteNginx(w io.Writer, rows iter.Seq[Row]) error {
	return writeRows(w, rows, form{open: "[\n", between: ",\n", shut: "\n]\n", none: "[\n]\n", row: appendNginx})
}

func appendNginx(b []byte, r *Row) []byte {
	b = append(b, `{ "name":"`...)
	b = appendQuotable(b, r.Name)
	b = append(b, `", "type":"`...)
	switch r.Kind {
	case Dir:
		b = append(b, "directory"...)
	case Other:
		b = append(b, "other"...)
	default:
		b = append(b, "file"...)
	}
	b = append(b, '"')
	if hasTime(r.ModTime) {
		b = append(b, `, "mtime":"`...)
		b = r.ModTime.UTC().AppendFormat(b, http.TimeFormat)
		b = append(b, '"')
	}
	if r.Kind != Dir && r.Kind != Other && r.Size >= 0 && r.SizeExact {
		b = append(b, `, "size":`...)
		b = strconv.AppendInt(b, r.Size, 10)
	}
	return append(b, " }"...)
}

// WriteText writes the names of rows, one a line, directories with a slash at the end. A name that would not survive that is
// written as EscapeName has it: one with a control character or with bytes that are not UTF-8, and one that holds an escape already. So a
// line that holds an escape stands for a name to be unescaped, and any other line is the name.
func WriteText(w io.Writer, rows iter.Seq[Row]) error {
	return writeRows(w, rows, form{between: "\n", shut: "\n", row: appendText})
}

func appendText(b []byte, r *Row) []byte {
	if printsAsIs(r.Name) {
		b = append(b, r.Name...)
	} else {
		b = appendEscaped(b, r.Name)
	}
	return appendSlash(b, &r.Entry)
}

func printsAsIs(name string) bool {
	for i, r := range name {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0: // a terminal obeys the C1 controls too
			return false
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(name[i:]); n == 1 {
				return false
			}
		case r == '%' && escapeIn(name[i:]):
			return false
		}
	}
	return true
}
