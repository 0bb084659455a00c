package freshness

import (
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	"zcache/internal/cache"
)

// A Verdict is what Judge finds of a stored response at a moment.
type Verdict struct {
	Fresh    bool
	Age      time.Duration // RFC 9111 section 4.2.3
	Lifetime time.Duration // RFC 9111 section 4.2.1, or a Rule's
	By       string        // what gave the lifetime: max-age, s-maxage, cdn-cache-control, expires, heuristic, ttl, negative, class, none …
	// MustRevalidate says that it is not served stale: its origin forbids it (must-revalidate, proxy-revalidate, s-maxage, no-cache), or
	// nothing vouches for its being whole.
	MustRevalidate bool
	// NoCache says that every use needs the origin's word.
	NoCache bool
	// Omit are the fields that must not be replayed without the origin's word (no-cache="…").
	Omit []string

	negative bool // it says that there is nothing
	spare    bool // only a rule of ours calls it stale, its origin would not
	swr, sie time.Duration
	over     time.Duration // how long it has been stale by the lifetime that its origin gave it
}

// Until is when the response goes stale, or went.
func (v Verdict) Until(now time.Time) time.Time { return now.Add(v.Lifetime - v.Age) }

// WhileRevalidating says that the stale response may be served while it is revalidated behind (RFC 5861 section 3).
func (v Verdict) WhileRevalidating() bool {
	return !v.Fresh && !v.MustRevalidate && v.swr > 0 && v.over < v.swr
}

// OnError says that the stale response may be served in place of an error: of an answer 5xx or 429 (reached), within the
// window that the origin sets if it sets one (RFC 5861 section 4), or of no answer at all (RFC 9111 section 4.2.4).
// A stale 404 or 410 never may: nothing is held, and that there was nothing some time ago is no answer to whoever asks now.
func (v Verdict) OnError(rule Rule, reached bool) bool {
	if v.negative {
		return false
	}
	if rule.StaleAlways || rule.Offline {
		return true
	}
	if v.spare {
		return true
	}
	if v.MustRevalidate {
		return false
	}
	return !reached || v.sie == unset || v.over < v.sie
}

// immutableLifetime is what class immutable stands for.
const immutableLifetime = 365 * 24 * time.Hour

// Judge says how fresh a stored response is at now.
func Judge(m *cache.Meta, rule Rule, now time.Time) Verdict {
	if m.Original {
		return Verdict{Fresh: true, Lifetime: immutableLifetime, By: "original"} // it has no age: this is its origin
	}
	d, replaced := ofResponse(m.Header)
	v := Verdict{Age: Age(m, now), swr: d.swr, sie: d.sie, Omit: d.noCacheFields}
	// A 304 can forbid what the response that it confirms allowed when it was stored. From then on nobody gets it without the
	// origin's word.
	forbidden := d.private || d.noStore && !(d.mustUnderstand && understood[m.Status])
	v.NoCache = d.noCache || forbidden
	v.negative = m.Status == http.StatusNotFound || m.Status == http.StatusGone
	v.MustRevalidate = v.NoCache || d.mustRevalidate || d.proxyRevalidate || d.sMaxAge != unset || m.Provisional
	v.Lifetime, v.By = lifetime(m, rule, d, replaced)
	v.over = v.Age - v.Lifetime
	if m.Listing {
		// Counted from when it came, for servers make listings at the moment of asking, whatever their clocks say.
		limit := jitter(rule.ListingTTL, m) + Age(m, m.Received)
		if own := v.By == none || v.By == "heuristic"; own || limit < v.Lifetime {
			// Only a lifetime that is ours is over: its origin may still call it fresh, and then need not be asked at any price.
			v.spare = !own && v.over < 0 && !v.NoCache && m.Limit != 0 && !m.Provisional
			v.Lifetime, v.By = limit, "listing"
		}
	}
	if m.Limit >= 0 {
		// The limit counts from when the response came, the lifetime from when its origin made it.
		if limit := m.Limit + Age(m, m.Received); limit < v.Lifetime {
			v.Lifetime, v.By, v.spare = limit, "redirect", false
		}
	}
	if !v.spare {
		v.over = v.Age - v.Lifetime
	}
	v.Fresh = v.Age < v.Lifetime && !v.NoCache
	switch {
	case m.Status != http.StatusOK || m.Provisional || forbidden:
	case rule.Class == ClassImmutable && m.Listing: // a pattern for files below says nothing of what else will come to lie there
	case rule.Class == ClassImmutable && m.Limit != 0: // an invalidated entry is no more what it was, whatever its path
		v.Lifetime, v.By = max(v.Lifetime, immutableLifetime), "class immutable"
		v.Fresh, v.NoCache, v.MustRevalidate = v.Lifetime > v.Age, false, false
	case rule.Class == ClassIndex:
		// No window of the origin's serves it behind its own revalidation; one for errors counts from the origin's own lifetime.
		v.Lifetime, v.By, v.Fresh, v.swr = 0, "class index", false, unset
	}
	return v
}

// none says that nothing gave a response a lifetime.
const none = "none"

func lifetime(m *cache.Meta, rule Rule, d directives, replaced bool) (time.Duration, string) {
	if m.Provisional {
		// Nothing but the connection's end vouches for this body: it is not reused until the origin confirms its length.
		return 0, "unconfirmed length"
	}
	by := func(name string) string {
		if replaced {
			return "cdn-cache-control " + name
		}
		return name
	}
	date := dateOf(m.Header, m.Received)
	switch {
	case d.sMaxAge != unset:
		return d.sMaxAge, by("s-maxage")
	case d.maxAge != unset:
		return d.maxAge, by("max-age")
	case !replaced && len(m.Header["Expires"]) > 0:
		if len(m.Header["Expires"]) > 1 {
			return 0, "expires (twice)"
		}
		t, ok := ParseDate(m.Header.Get("Expires"))
		if !ok {
			return 0, "expires (not a date)"
		}
		return since(date, t), "expires"
	case m.Status == http.StatusNotFound || m.Status == http.StatusGone:
		return jitter(rule.NegativeTTL, m), "negative"
	case rule.TTL > 0 && m.Status == http.StatusOK:
		return jitter(rule.TTL, m), "ttl"
	}
	if modified, ok := ParseDate(m.Header.Get("Last-Modified")); ok && rule.HeuristicMax > 0 && (heuristic[m.Status] || d.public) {
		if unchanged := since(modified, date); unchanged > 0 {
			return min(jitter(unchanged/10, m), jitterDown(rule.HeuristicMax, m)), "heuristic"
		}
	}
	return 0, none
}

// jitter spreads a lifetime of ours by ±15 %, so that what came together does not go stale together. It depends on the
// response alone: the same entry has the same lifetime whenever it is judged.
func jitter(d time.Duration, m *cache.Meta) time.Duration {
	return d + time.Duration(share(m)*float64(d))
}

// jitterDown is jitter for a bound, which must hold: it only takes away.
func jitterDown(d time.Duration, m *cache.Meta) time.Duration {
	return d - time.Duration((0.15+share(m))/2*float64(d))
}

// share is between -0.15 and 0.15.
func share(m *cache.Meta) float64 {
	h := fnv.New32a()
	var b [8]byte
	for i, n := 0, uint64(m.Received.UnixNano()); i < 8; i++ {
		b[i] = byte(n >> (8 * i))
	}
	h.Write(b[:])
	h.Write([]byte(m.URL))
	return float64(h.Sum32()%3001)/10000 - 0.15
}

// Age is the current age of a stored response (RFC 9111 section 4.2.3).
func Age(m *cache.Meta, now time.Time) time.Duration {
	var value time.Duration
	if lines := m.Header["Age"]; len(lines) > 0 {
		first, _, _ := strings.Cut(lines[0], ",")
		value, _ = seconds(strings.TrimSpace(first)) // what is no number is ignored (section 5.1)
	}
	apparent := since(dateOf(m.Header, m.Received), m.Received)
	corrected := value + since(m.Asked, m.Received)
	return max(apparent, corrected) + since(m.Received, now)
}

// since is the time from a to b, at least 0 and at most maxDelta: a Date of the year 1 would otherwise make a sum overflow, and a response
// with a negative age fresh for ever.
func since(a, b time.Time) time.Duration { return min(max(0, b.Sub(a)), maxDelta) }

// Lifetime is how long a response received at that time may still be reused by what its fields say, and whether they say
// anything.
func Lifetime(h http.Header, received time.Time) (time.Duration, bool) {
	d, replaced := ofResponse(h)
	if d.noStore || d.noCache || d.private {
		return 0, true
	}
	m := &cache.Meta{Header: h, Asked: received, Received: received}
	l, by := lifetime(m, Rule{}, d, replaced)
	return max(0, l-Age(m, received)), by != none
}

// VaryStar says that nothing but the origin can tell whom the response suits.
func VaryStar(h http.Header) bool {
	for _, line := range h["Vary"] {
		for f := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(f) == "*" {
				return true
			}
		}
	}
	return false
}
