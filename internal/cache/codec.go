package cache

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// version is that of the attribute's text. A reader ignores lines that it does not know; what it must not ignore needs a new one.
const version = 1

var (
	errMeta   = errors.New("malformed meta")
	errFuture = errors.New("meta of a newer version")
)

// A record is what the attribute user.zcache holds.
type record struct {
	meta     *Meta
	key      Key    // zero when the place tells it
	overflow string // the file that holds the real text, below .zcache/overflow
}

// encode writes m as text of one line a fact, which getfattr shows as it is. Field values may hold any byte but CR and LF.
func encode(m *Meta, key Key) ([]byte, error) {
	b := make([]byte, 0, 1024)
	b = fmt.Appendf(b, "zcache %d\nstatus %d\n", version, m.Status)
	b = appendTime(b, "asked", m.Asked)
	b = appendTime(b, "received", m.Received)
	b = appendTime(b, "stored", m.Stored)
	b = fmt.Appendf(b, "size %d\n", m.Size)
	if m.SHA256 != [32]byte{} {
		b = fmt.Appendf(b, "sha256 %x\n", m.SHA256)
	}
	b = appendTime(b, "mtime", m.ModTime)
	if m.URL != "" {
		b = fmt.Appendf(b, "url %s\n", oneLine(m.URL))
	}
	if m.Base != "" {
		b = fmt.Appendf(b, "base %s\n", oneLine(m.Base))
	}
	if m.Listing {
		b = append(b, "listing\n"...)
	}
	if m.Looked != 0 {
		b = fmt.Appendf(b, "looked %d\n", m.Looked)
	}
	if m.Row != "" {
		b = fmt.Appendf(b, "row %s\n", oneLine(m.Row))
	}
	if !key.IsZero() {
		b = fmt.Appendf(b, "key %s %s\n", key.hub, keyed(key))
	}
	if m.Limit != 0 {
		b = fmt.Appendf(b, "limit %s\n", m.Limit)
	}
	if m.Provisional {
		b = append(b, "provisional\n"...)
	}
	if m.Original {
		b = append(b, "original\n"...)
	}
	b, err := appendFields(b, "vary", m.Vary)
	if err != nil {
		return nil, err
	}
	return appendFields(b, "h", m.Header)
}

// oneLine keeps a URL or a row, which should have no line breaks, from writing lines of its own.
func oneLine(s string) string {
	return strings.NewReplacer("\n", "%0A", "\r", "%0D").Replace(s)
}

func appendTime(b []byte, name string, t time.Time) []byte {
	if t.IsZero() {
		return b
	}
	return fmt.Appendf(b, "%s %d.%09d\n", name, t.Unix(), t.Nanosecond())
}

func appendFields(b []byte, mark string, h http.Header) ([]byte, error) {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "" || strings.ContainsAny(name, ": \r\n") {
			return nil, fmt.Errorf("%w: field name %q", errMeta, name)
		}
		if len(h[name]) == 0 && mark == "vary" {
			b = append(b, mark+" "+name+"\n"...) // the request had no such field
		}
		for _, v := range h[name] {
			if strings.ContainsAny(v, "\r\n") {
				return nil, fmt.Errorf("%w: line break in the value of %s", errMeta, name)
			}
			b = append(b, mark+" "+name+": "+v+"\n"...)
		}
	}
	return b, nil
}

// decodeRecord reads what encode or encodeOverflow wrote.
func decodeRecord(data []byte) (record, error) {
	// One string for all: the fields are slices of it.
	head, rest, _ := strings.Cut(string(data), "\n")
	number, ok := strings.CutPrefix(head, "zcache ")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 {
		return record{}, errMeta
	}
	if n > version {
		return record{}, errFuture
	}
	r := record{meta: &Meta{Size: -1, Header: http.Header{}}}
	for rest != "" {
		var line string
		line, rest, ok = strings.Cut(rest, "\n")
		if !ok {
			return record{}, fmt.Errorf("%w: cut off", errMeta)
		}
		if err := r.line(line); err != nil {
			return record{}, err
		}
	}
	if r.overflow == "" && r.meta.Status == 0 {
		return record{}, fmt.Errorf("%w: no status", errMeta)
	}
	return r, nil
}

func (r *record) line(line string) (err error) {
	mark, value, _ := strings.Cut(line, " ")
	m := r.meta
	switch mark {
	case "status":
		m.Status, err = strconv.Atoi(value)
		if err == nil && (m.Status < 100 || m.Status > 999) {
			err = errMeta
		}
	case "asked":
		m.Asked, err = parseTime(value)
	case "received":
		m.Received, err = parseTime(value)
	case "stored":
		m.Stored, err = parseTime(value)
	case "mtime":
		m.ModTime, err = parseTime(value)
	case "size":
		m.Size, err = strconv.ParseInt(value, 10, 64)
	case "sha256":
		if len(value) != 2*len(m.SHA256) {
			return errMeta
		}
		_, err = hex.Decode(m.SHA256[:], []byte(value))
	case "url":
		m.URL = value
	case "key":
		hub, rest, _ := strings.Cut(value, " ")
		r.key, err = unkeyed(hub, rest)
	case "limit":
		m.Limit, err = time.ParseDuration(value)
	case "base":
		m.Base = value
	case "listing":
		m.Listing = true
	case "looked":
		m.Looked, err = strconv.Atoi(value)
	case "row":
		m.Row = value
	case "provisional":
		m.Provisional = true
	case "original":
		m.Original = true
	case "vary":
		if m.Vary == nil {
			m.Vary = http.Header{}
		}
		err = addField(m.Vary, value)
	case "h":
		err = addField(m.Header, value)
	case "overflow":
		if !overflowName(value) {
			return errMeta
		}
		r.overflow = value
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", errMeta, mark, err)
	}
	return nil
}

// addField takes the name as it was written, for the origin's own spelling is kept.
func addField(h http.Header, line string) error {
	name, value, ok := strings.Cut(line, ": ")
	if name == "" || strings.ContainsAny(name, ": ") {
		return errMeta
	}
	if !ok {
		h[name] = nil
		return nil
	}
	h[name] = append(h[name], value)
	return nil
}

func parseTime(s string) (time.Time, error) {
	sec, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(sec, 10, 64)
	if err != nil || len(frac) != 9 {
		return time.Time{}, errMeta
	}
	nano, err := strconv.ParseUint(frac, 10, 32)
	if err != nil {
		return time.Time{}, errMeta
	}
	return time.Unix(n, int64(nano)), nil
}

func encodeOverflow(name string) []byte {
	return fmt.Appendf(nil, "zcache %d\noverflow %s\n", version, name)
}

// overflowName says whether s is a name that we gave: two hex digits, a slash, hex digits. An attribute may have been written by
// anyone who can write to the tree.
func overflowName(s string) bool {
	if len(s) != 3+32 || s[2] != '/' {
		return false
	}
	for i := range len(s) {
		if i != 2 && !ishex(s[i]) {
			return false
		}
	}
	return true
}
