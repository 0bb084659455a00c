package listing

import "strconv"

// Row is what a listing says of a file, as text that is the same whenever it says the same: "f 1024 1714557600/60" has an exact size and a time in an unknown
// zone that is exact to a minute. A rounded size begins with "~", a time in a known zone ends in "z".
func (e *Entry) Row() string {
	b := make([]byte, 0, 48)
	b = append(b, "ufdo"[e.Kind], ' ')
	switch {
	case e.Size < 0:
		b = append(b, '-')
	case !e.SizeExact:
		b = append(b, '~')
		fallthrough
	default:
		b = strconv.AppendInt(b, e.Size, 10)
	}
	b = append(b, ' ')
	if e.ModTime.IsZero() {
		return string(append(b, '-'))
	}
	b = strconv.AppendInt(b, e.ModTime.Unix(), 10)
	if ns := e.ModTime.Nanosecond(); ns != 0 {
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(ns), 10)
	}
	b = append(b, '/')
	b = strconv.AppendFloat(b, e.Step.Seconds(), 'f', -1, 64)
	if e.ZoneKnown {
		b = append(b, 'z')
	}
	return string(b)
}
