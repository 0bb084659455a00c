package freshness

import (
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// maxDelta is what a number of seconds beyond 2^31 is taken for (RFC 9111 section 1.2.2).
const maxDelta = time.Duration(1<<31) * time.Second

// unset marks a directive that is absent.
const unset = time.Duration(-1)

// directives are the parsed members of a Cache-Control or CDN-Cache-Control field that this cache acts on.
type directives struct {
	noStore, noCache, private, public             bool
	mustRevalidate, proxyRevalidate               bool
	mustUnderstand, onlyIfCached                  bool
	noCacheFields                                 []string // no-cache="a, b": reuse, but without these
	maxAge, sMaxAge, swr, sie, minFresh, maxStale time.Duration
}

func noDirectives() directives {
	return directives{maxAge: unset, sMaxAge: unset, swr: unset, sie: unset, minFresh: unset, maxStale: unset}
}

// parseCacheControl reads the Cache-Control lines of a message. A directive that cannot be read and bears on freshness makes the
// response stale rather than being skipped (RFC 9111 section 4.2.1); of two that disagree the stricter counts.
func parseCacheControl(lines []string) directives {
	d := noDirectives()
	for _, line := range lines {
		for member := range members(line) {
			name, value, hasValue := strings.Cut(member, "=")
			d.set(strings.ToLower(strings.TrimSpace(name)), value, hasValue)
		}
	}
	return d
}

// members yields the comma-separated members of a field line; commas inside a quoted string do not count. A quote that is never closed is
// none: taken for one, it would hide every directive after it, a private among them.
func members(line string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line != "" {
			member, rest, closed := nextMember(line)
			if !closed {
				for m := range strings.SplitSeq(line, ",") {
					if !yield(strings.TrimSpace(m)) {
						return
					}
				}
				return
			}
			if !yield(member) {
				return
			}
			line = rest
		}
	}
}

// nextMember cuts the first member off a list. closed is false when a quoted string in it has no end.
func nextMember(list string) (member, rest string, closed bool) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return strings.TrimSpace(list[:i]), list[i+1:], true
		}
	}
	return strings.TrimSpace(list), "", !quoted
}

func (d *directives) set(name, value string, hasValue bool) {
	switch name {
	case "no-store":
		d.noStore = true
	case "private":
		// private="a" would allow all but field a to be stored; keeping nothing is allowed too and cannot leak.
		d.private = true
	case "no-cache":
		fields, ok := fieldNames(value)
		if !hasValue || !ok {
			d.noCache = true
			return
		}
		d.noCacheFields = append(d.noCacheFields, fields...)
	case "public":
		d.public = true
	case "must-revalidate":
		d.mustRevalidate = true
	case "proxy-revalidate":
		d.proxyRevalidate = true
	case "immutable":
		// RFC 8246 keeps caches from revalidating what is fresh, which this one does only when a client asks for it.
	case "must-understand":
		d.mustUnderstand = true
	case "only-if-cached":
		d.onlyIfCached = true
	case "max-age":
		stricter(&d.maxAge, delta(value))
	case "s-maxage":
		stricter(&d.sMaxAge, delta(value))
	case "stale-while-revalidate":
		stricter(&d.swr, delta(value))
	case "stale-if-error":
		stricter(&d.sie, delta(value))
	case "min-fresh":
		d.minFresh = max(d.minFresh, delta(value))
	case "max-stale":
		if !hasValue {
			stricter(&d.maxStale, maxDelta)
			return
		}
		stricter(&d.maxStale, delta(value))
	}
}

// fieldNames reads the argument of no-cache="a, b". ok is false when it is not a list of field names: no-cache then means the whole
// response.
func fieldNames(value string) (names []string, ok bool) {
	for f := range strings.SplitSeq(unquote(strings.TrimSpace(value)), ",") {
		if f = strings.TrimSpace(f); f == "" {
			continue
		}
		if strings.Trim(f, tokenBytes) != "" {
			return nil, false
		}
		names = append(names, http.CanonicalHeaderKey(f))
	}
	return names, len(names) > 0
}

const tokenBytes = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func stricter(to *time.Duration, v time.Duration) {
	if *to == unset || v < *to {
		*to = v
	}
}

// delta reads delta-seconds, quoted or not; what is no such number counts as 0.
func delta(s string) time.Duration {
	v, ok := seconds(unquote(strings.TrimSpace(s)))
	if !ok {
		return 0
	}
	return v
}

// seconds reads 1*DIGIT, capped at 2^31 seconds.
func seconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > 1<<31 {
		return maxDelta, true
	}
	return time.Duration(n) * time.Second, true
}

// targeted reads CDN-Cache-Control (RFC 9213), a structured dictionary. ok is false when it is absent, empty or does not
// parse as one: Cache-Control then speaks for it.
func targeted(h http.Header) (d directives, ok bool) {
	lines := h["Cdn-Cache-Control"]
	if len(lines) == 0 {
		return d, false
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return d, false
	}
	d = noDirectives()
	for _, name := range dict.Names() {
		m, _ := dict.Get(name)
		if !d.setTyped(name, m) {
			return noDirectives(), false
		}
	}
	return d, true
}

// setTyped takes a member of a targeted field. It returns false for a lifetime of the wrong type, which spoils the field as if it did
// not parse (RFC 9213 section 2.1): no lifetime may be made up from it. A directive that forbids something needs no
// value that can be read.
func (d *directives) setTyped(name string, m httpsfv.Member) bool {
	var value any
	if item, ok := m.(httpsfv.Item); ok {
		value = item.Value
	}
	if value == false {
		return true
	}
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		switch v := value.(type) {
		case int64:
			d.set(name, strconv.FormatInt(max(v, 0), 10), true)
		case bool:
			d.set(name, "", false)
		default:
			return false
		}
	case "no-cache":
		s, ok := value.(string)
		d.set(name, s, ok)
	default:
		d.set(name, "", false)
	}
	return true
}

// ofResponse returns the directives that bind this cache: the targeted field's if there is a valid one, else Cache-Control's.
// replaced says that Expires does not count either.
func ofResponse(h http.Header) (d directives, replaced bool) {
	if d, ok := targeted(h); ok {
		return d, true
	}
	return parseCacheControl(h["Cache-Control"]), false
}

// Request is what a request's own directives ask of a cache (RFC 9111 section 5.2.1). Absent numbers are negative.
type Request struct {
	NoStore, NoCache, OnlyIfCached bool
	MaxAge, MinFresh, MaxStale     time.Duration
}

// ParseRequest reads the request's Cache-Control, and Pragma where there is none (RFC 9111 section 5.4). no-cache takes no
// argument in a request: with one it means no less.
func ParseRequest(h http.Header) Request {
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		return Request{NoCache: parseCacheControl(h["Pragma"]).noCache, MaxAge: unset, MinFresh: unset, MaxStale: unset}
	}
	d := parseCacheControl(lines)
	return Request{
		NoStore: d.noStore, NoCache: d.noCache || len(d.noCacheFields) > 0, OnlyIfCached: d.onlyIfCached,
		MaxAge: d.maxAge, MinFresh: d.minFresh, MaxStale: d.maxStale,
	}
}
