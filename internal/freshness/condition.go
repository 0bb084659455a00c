package freshness

import (
	"net/http"
	"strconv"
	"time"

	"zcache/internal/cache"
)

// Condition returns the fields that ask the origin whether m still stands (RFC 9111 section 4.3.1), or nil when m has no validator
// that the rule lets it use. The stored validators are sent back byte for byte: origins compare them as strings. A body
// whose length nothing vouches for has no condition: a 304 would not tell that its end is missing.
func Condition(m *cache.Meta, rule Rule) http.Header {
	if m.Provisional {
		return nil
	}
	h := http.Header{}
	if etag := m.Header.Get("Etag"); etag != "" && (rule.Validation == ValidateBoth || rule.Validation == ValidateETag) {
		h.Set("If-None-Match", etag)
	}
	if lm := m.Header.Get("Last-Modified"); lm != "" && (rule.Validation == ValidateBoth || rule.Validation == ValidateLastModified) {
		h.Set("If-Modified-Since", lm)
	}
	if len(h) == 0 {
		return nil
	}
	return h
}

// keep are the fields of a stored response that a 304 does not update: they describe the body that is kept, not the message
// that confirmed it (RFC 9111 section 3.2). The entity tag is among them: where it differs from the stored one and still means the same
// representation, one of the two is weak, and a strong tag must not come to name a body that it was not given for.
var keep = map[string]bool{
	"Content-Length": true, "Content-Encoding": true, "Content-Range": true, "Transfer-Encoding": true, "Etag": true,
}

// Freshen returns m as the 304 with these fields makes it (RFC 9111 section 4.3.4), or false when the 304 speaks of another
// representation than the stored one, or leaves open whether the stored one is whole. response holds end-to-end fields only.
func Freshen(m *cache.Meta, response http.Header, asked, received time.Time) (*cache.Meta, bool) {
	if !sameRepresentation(m.Header, response) {
		return nil, false
	}
	if m.Provisional && response.Get("Content-Length") != strconv.FormatInt(m.Size, 10) {
		return nil, false
	}
	n := *m
	n.Asked, n.Received = asked, received
	n.Provisional = false
	n.Header = m.Header.Clone()
	// What was said of the age when the body came is no longer true.
	n.Header.Del("Age")
	// A 304 to the listing of a directory says nothing of the tree below it, unless it says so itself.
	n.Header.Del("Zcache-Subtree")
	for name, values := range response {
		if !keep[name] {
			n.Header[name] = values
		}
	}
	if response.Get("Date") == "" {
		n.Header.Set("Date", received.UTC().Format(http.TimeFormat))
	}
	return &n, true
}

// sameRepresentation says that the validators of a 304 do not contradict the stored ones. Where there are no two entity tags to compare, the
// times of modification have to agree: an origin whose file was replaced by an older one answers If-Modified-Since with 304,
// and tells the older time.
func sameRepresentation(stored, confirmed http.Header) bool {
	if a, b := stored.Get("Etag"), confirmed.Get("Etag"); a != "" && b != "" {
		return weak(a) == weak(b)
	}
	a, b := stored.Get("Last-Modified"), confirmed.Get("Last-Modified")
	if a == "" || b == "" || a == b {
		return true
	}
	at, aok := ParseDate(a)
	bt, bok := ParseDate(b)
	return aok && bok && at.Equal(bt)
}

// weak strips the mark of a weak entity tag.
func weak(etag string) string {
	if len(etag) > 2 && etag[:2] == "W/" {
		return etag[2:]
	}
	return etag
}
