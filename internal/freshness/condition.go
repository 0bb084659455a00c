package freshness

import (
	"net/http"
	"time"

	"zcache/internal/cache"
)

// Condition returns the fields that ask the origin whether m still stands (RFC 9111 section 4.3.1), or nil when m has no validator
// that the rule lets it use. The stored validators are sent back byte for byte: origins compare them as strings.
func Condition(m *cache.Meta, rule Rule) http.Header {
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
// that confirmed it (RFC 9111 section 3.2).
var keep = map[string]bool{
	"Content-Length": true, "Content-Encoding": true, "Content-Range": true, "Transfer-Encoding": true,
}

// Freshen returns m as the 304 with these fields makes it (RFC 9111 section 4.3.4), or false when the 304 speaks of another
// representation than the stored one. response holds end-to-end fields only.
func Freshen(m *cache.Meta, response http.Header, asked, received time.Time) (*cache.Meta, bool) {
	if etag := response.Get("Etag"); etag != "" && m.Header.Get("Etag") != "" && weak(etag) != weak(m.Header.Get("Etag")) {
		return nil, false
	}
	n := *m
	n.Asked, n.Received = asked, received
	n.Provisional = false
	n.Header = m.Header.Clone()
	// What was said of the age when the body came is no longer true.
	n.Header.Del("Age")
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

// weak strips the mark of a weak entity tag.
func weak(etag string) string {
	if len(etag) > 2 && etag[:2] == "W/" {
		return etag[2:]
	}
	return etag
}
