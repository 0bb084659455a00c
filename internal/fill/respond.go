package fill

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// A Reply is how a stored response answers one request: its status and fields, and which bytes of the body follow.
type Reply struct {
	Status int
	Header http.Header // complete but for what the face adds
	Ranges []Range     // 206: the parts asked for; one, or several for multipart/byteranges
	Size   int64       // of the whole representation; -1 while unknown
	Body   bool        // a body follows
}

// A Range is a stretch of a representation: n bytes from offset off.
type Range struct{ Off, N int64 }

// Respond applies the request's conditions and ranges to a stored response, in the order of RFC 9110 section 13.2.2. age goes into the Age
// field; omit are fields to leave out.
func Respond(m *cache.Meta, method string, request http.Header, v freshness.Verdict) Reply {
	r := Reply{Status: m.Status, Size: m.Size, Body: method != http.MethodHead && bodyAllowed(m.Status)}
	r.Header = make(http.Header, len(m.Header)+4)
	for name, values := range m.Header {
		r.Header[name] = values
	}
	for _, name := range v.Omit { // none right after the origin's word
		delete(r.Header, name)
	}
	delete(r.Header, "Content-Length")
	if m.Original {
		// Its owner may put another at any moment, so who keeps a copy asks each time it can; one that cannot may go on with what it has.
		r.Header["Cache-Control"] = []string{"max-age=0"}
	}
	r.Header["Age"] = []string{strconv.FormatInt(int64(v.Age/time.Second), 10)}
	if m.Status == http.StatusOK {
		if status := precondition(m, method, request); status != 0 {
			return r.without(status)
		}
		if method == http.MethodGet && m.Size >= 0 {
			if _, has := r.Header["Accept-Ranges"]; !has {
				r.Header["Accept-Ranges"] = []string{"bytes"}
			}
			if done := r.applyRange(m, request); done {
				return r
			}
		}
	}
	if m.Size >= 0 && bodyAllowed(m.Status) {
		r.Header["Content-Length"] = []string{strconv.FormatInt(m.Size, 10)}
	}
	return r
}

// without turns the reply into one with no body.
func (r Reply) without(status int) Reply {
	r.Status, r.Body = status, false
	if status == http.StatusNotModified {
		return r
	}
	delete(r.Header, "Content-Type")
	r.Header["Content-Length"] = []string{"0"}
	return r
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// precondition returns 412 or 304 where the request's conditions ask for it, else 0.
func precondition(m *cache.Meta, method string, h http.Header) int {
	etag := m.Header.Get("Etag")
	if lines := h["If-Match"]; len(lines) > 0 {
		if !matches(lines, etag, true) {
			return http.StatusPreconditionFailed
		}
	} else if t, ok := freshness.ParseDate(h.Get("If-Unmodified-Since")); ok {
		// Without a modification date the condition is ignored (RFC 9110 section 13.1.4); the Date would stand in for If-Modified-Since alone.
		if modified, has := freshness.ParseDate(m.Header.Get("Last-Modified")); has && modified.After(t) {
			return http.StatusPreconditionFailed
		}
	}
	if lines := h["If-None-Match"]; len(lines) > 0 {
		if matches(lines, etag, false) {
			return http.StatusNotModified
		}
		return 0
	}
	if t, ok := freshness.ParseDate(h.Get("If-Modified-Since")); ok && (method == http.MethodGet || method == http.MethodHead) && !lastModified(m).After(t) {
		return http.StatusNotModified
	}
	return 0
}

// lastModified is the time that If-Modified-Since is held against: Last-Modified, else the Date of the response, else when it came
// (RFC 9111 section 4.3.2).
func lastModified(m *cache.Meta) time.Time {
	for _, name := range []string{"Last-Modified", "Date"} {
		if t, ok := freshness.ParseDate(m.Header.Get(name)); ok {
			return t
		}
	}
	return m.Received.Truncate(time.Second)
}

// matches holds an entity tag against the members of If-Match (strong) or If-None-Match (weak comparison, RFC 9110 section
// 8.8.3.2).
func matches(lines []string, etag string, strong bool) bool {
	for _, line := range lines {
		if strings.TrimSpace(line) == "*" {
			return true
		}
		for line = strings.TrimLeft(line, " \t,"); line != ""; line = strings.TrimLeft(line, " \t,") {
			n := tagLen(line)
			if n == 0 {
				break
			}
			tag := line[:n]
			line = line[n:]
			if etag == "" {
				continue
			}
			if strong {
				if tag == etag && tag[0] == '"' {
					return true
				}
			} else if strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/") {
				return true
			}
		}
	}
	return false
}

// tagLen is the length of the entity tag that s begins with, 0 when it begins with none.
func tagLen(s string) int {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) <= start || s[start] != '"' {
		return 0
	}
	end := strings.IndexByte(s[start+1:], '"')
	if end < 0 {
		return 0
	}
	return start + 1 + end + 1
}

// applyRange turns the reply into 206 or 416 where the request has a range that counts, and says so.
func (r *Reply) applyRange(m *cache.Meta, h http.Header) bool {
	lines := h["Range"]
	if len(lines) != 1 || !ifRange(m, h) {
		return false
	}
	ranges, ok := ParseRange(lines[0], m.Size)
	switch {
	case !ok:
		return false
	case len(ranges) == 0:
		*r = r.without(http.StatusRequestedRangeNotSatisfiable)
		r.Header["Content-Range"] = []string{"bytes */" + strconv.FormatInt(m.Size, 10)}
		return true
	}
	r.Status, r.Ranges = http.StatusPartialContent, ranges
	if len(ranges) == 1 {
		r.Header["Content-Range"] = []string{contentRange(ranges[0], m.Size)}
		r.Header["Content-Length"] = []string{strconv.FormatInt(ranges[0].N, 10)}
	}
	return true
}

func contentRange(r Range, size int64) string {
	b := strconv.AppendInt([]byte("bytes "), r.Off, 10)
	b = strconv.AppendInt(append(b, '-'), r.Off+r.N-1, 10)
	return string(strconv.AppendInt(append(b, '/'), size, 10))
}

// ifRange says whether the request's Range counts: there is no If-Range, or it names this representation by a strong validator
// (RFC 9110 section 13.1.5).
func ifRange(m *cache.Meta, h http.Header) bool {
	v := strings.TrimSpace(h.Get("If-Range"))
	if len(h["If-Range"]) == 0 {
		return true
	}
	if strings.HasPrefix(v, `"`) {
		return v == m.Header.Get("Etag")
	}
	t, ok := freshness.ParseDate(v)
	modified, has := freshness.ParseDate(m.Header.Get("Last-Modified"))
	date, dated := freshness.ParseDate(m.Header.Get("Date"))
	// A file that was changed in the very second it was sent may have been changed again within it.
	return ok && has && t.Equal(modified) && (!dated || date.Sub(modified) >= time.Second)
}

// maxRanges bounds what one request may ask for in parts; beyond it the whole representation is sent.
const maxRanges = 64

// ParseRange reads a Range field for a representation of size bytes (RFC 9110 section 14.1.2). ok is false when the field is to be
// ignored: another unit, not well-formed, or parts that together exceed the whole. No ranges and ok: none can be satisfied.
func ParseRange(s string, size int64) (ranges []Range, ok bool) {
	unit, set, found := strings.Cut(s, "=")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return nil, false
	}
	var total int64
	parts := 0
	for spec := range strings.SplitSeq(set, ",") {
		spec = strings.TrimSpace(spec)
		if spec == "" {
			continue
		}
		parts++
		first, last, dash := strings.Cut(spec, "-")
		if !dash {
			return nil, false
		}
		r, fits, valid := oneRange(first, last, size)
		if !valid {
			return nil, false
		}
		if fits {
			ranges = append(ranges, r)
			total += r.N
		}
		if parts > maxRanges {
			return nil, false
		}
	}
	if parts == 0 || (len(ranges) > 1 && total > size) {
		return nil, false
	}
	return ranges, true
}

// oneRange reads first-last, first- or -suffix. fits says that some byte of it exists.
func oneRange(first, last string, size int64) (r Range, fits, valid bool) {
	if first == "" {
		n, ok := position(last)
		if !ok {
			return r, false, false
		}
		if size == 0 && n > 0 {
			return r, false, false // satisfiable by definition, but no Content-Range can say so: the empty whole does
		}
		n = min(n, size)
		return Range{size - n, n}, n > 0, true
	}
	from, ok := position(first)
	if !ok {
		return r, false, false
	}
	to := size - 1
	if last != "" {
		l, ok := position(last)
		if !ok || l < from {
			return r, false, false
		}
		to = min(to, l)
	}
	return Range{from, to - from + 1}, from < size, true
}

// position reads 1*DIGIT; what exceeds an int64 is as good as the largest one.
func position(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 2, true
	}
	return n, true
}
