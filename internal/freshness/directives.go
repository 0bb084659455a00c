package freshness

import (
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
	immutable, mustUnderstand, onlyIfCached       bool
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
		for line != "" {
			var member string
			member, line = nextMember(line)
			name, value, hasValue := strings.Cut(member, "=")
			d.set(strings.ToLower(strings.TrimSpace(name)), value, hasValue)
		}
	}
	return d
}

// nextMember cuts the first comma-separated member off a list; commas inside a quoted string do not count.
func nextMember(list string) (member, rest string) {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return strings.TrimSpace(list[:i]), list[i+1:]
		}
	}
	return strings.TrimSpace(list), ""
}

func (d *directives) set(name, value string, hasValue bool) {
	switch name {
	case "no-store":
		d.noStore = true
	case "private":
		// private="a" would allow all but field a to be stored; keeping nothing is allowed too and cannot leak.
		d.private = true
	case "no-cache":
		if fields := strings.Trim(value, `"`); hasValue && fields != "" {
			for _, f := range strings.Split(fields, ",") {
				d.noCacheFields = append(d.noCacheFields, http.CanonicalHeaderKey(strings.TrimSpace(f)))
			}
			return
		}
		d.noCache = true
	case "public":
		d.public = true
	case "must-revalidate":
		d.mustRevalidate = true
	case "proxy-revalidate":
		d.proxyRevalidate = true
	case "immutable":
		d.immutable = true
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
			d.maxStale = maxDelta
			return
		}
		stricter(&d.maxStale, delta(value))
	}
}

func stricter(to *time.Duration, v time.Duration) {
	if *to == unset || v < *to {
		*to = v
	}
}

// delta reads delta-seconds, quoted or not; what is no such number counts as 0.
func delta(s string) time.Duration {
	s = strings.TrimSpace(s)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	v, ok := seconds(s)
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
		item, isItem := m.(httpsfv.Item)
		if !isItem {
			continue
		}
		switch v := item.Value.(type) {
		case bool:
			if v {
				d.set(name, "", false)
			}
		case int64:
			if v < 0 {
				v = 0
			}
			d.set(name, strconv.FormatInt(v, 10), true)
		default:
			switch name {
			case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
				return noDirectives(), false // a value of the wrong type spoils the field (RFC 9213 section 2.1)
			}
		}
	}
	return d, true
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

// ParseRequest reads the request's Cache-Control, and Pragma where there is none (RFC 9111 section 5.4).
func ParseRequest(h http.Header) Request {
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		r := Request{MaxAge: unset, MinFresh: unset, MaxStale: unset}
		for _, p := range h["Pragma"] {
			r.NoCache = r.NoCache || strings.EqualFold(strings.TrimSpace(p), "no-cache")
		}
		return r
	}
	d := parseCacheControl(lines)
	return Request{
		NoStore: d.noStore, NoCache: d.noCache, OnlyIfCached: d.onlyIfCached,
		MaxAge: d.maxAge, MinFresh: d.minFresh, MaxStale: d.maxStale,
	}
}
