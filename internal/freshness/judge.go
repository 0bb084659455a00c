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
	// MustRevalidate says that the origin forbids serving it stale (must-revalidate, proxy-revalidate, s-maxage, no-cache).
	MustRevalidate bool
	// NoCache says that every use needs the origin's word.
	NoCache bool
	// Omit are the fields that must not be replayed without the origin's word (no-cache="…").
	Omit []string

	swr, sie time.Duration
}

// Until is when the response goes stale, or went.
func (v Verdict) Until(now time.Time) time.Time { return now.Add(v.Lifetime - v.Age) }

// WhileRevalidating says that the stale response may be served while it is revalidated behind (RFC 5861 section 3).
func (v Verdict) WhileRevalidating() bool {
	return !v.Fresh && !v.MustRevalidate && v.swr > 0 && v.Age-v.Lifetime < v.swr
}

// OnError says that the stale response may be served in place of an error: of an answer 5xx or 429 (reached), within the
// window that the origin sets if it sets one (RFC 5861 section 4), or of no answer at all (RFC 9111 section 4.2.4).
func (v Verdict) OnError(rule Rule, reached bool) bool {
	if rule.StaleAlways || rule.Offline {
		return true
	}
	if v.MustRevalidate {
		return false
	}
	return !reached || v.sie == unset || v.Age-v.Lifetime < v.sie
}

// immutableLifetime is what class immutable stands for, and the most that any response is worth without a word from its origin.
const immutableLifetime = 365 * 24 * time.Hour

// Judge says how fresh a stored response is at now.
func Judge(m *cache.Meta, rule Rule, now time.Time) Verdict {
	d, replaced := ofResponse(m.Header)
	v := Verdict{Age: Age(m, now), swr: d.swr, sie: d.sie, Omit: d.noCacheFields}
	v.NoCache = d.noCache
	v.MustRevalidate = d.noCache || d.mustRevalidate || d.proxyRevalidate || d.sMaxAge != unset
	v.Lifetime, v.By = lifetime(m, rule, d, replaced)
	if m.Limit >= 0 && m.Limit < v.Lifetime {
		v.Lifetime, v.By = m.Limit, "redirect"
	}
	v.Fresh = v.Lifetime > v.Age && !v.NoCache
	switch {
	case m.Status != http.StatusOK:
	case rule.Class == ClassImmutable:
		v.Lifetime, v.By = max(v.Lifetime, immutableLifetime), "class immutable"
		v.Fresh, v.NoCache, v.MustRevalidate = v.Lifetime > v.Age, false, false
	case rule.Class == ClassIndex:
		v.Lifetime, v.By, v.Fresh = 0, "class index", false
	}
	return v
}

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
		return max(0, t.Sub(date)), "expires"
	case m.Status == http.StatusNotFound || m.Status == http.StatusGone:
		return jitter(rule.NegativeTTL, m), "negative"
	case rule.TTL > 0 && m.Status == http.StatusOK:
		return jitter(rule.TTL, m), "ttl"
	}
	if modified, ok := ParseDate(m.Header.Get("Last-Modified")); ok && rule.HeuristicMax > 0 && (heuristic[m.Status] || d.public) {
		if since := date.Sub(modified); since > 0 {
			return jitter(min(since/10, rule.HeuristicMax), m), "heuristic"
		}
	}
	return 0, "none"
}

// jitter spreads a lifetime of ours by ±15 %, so that what came together does not go stale together. It depends on the
// response alone: the same entry has the same lifetime whenever it is judged.
func jitter(d time.Duration, m *cache.Meta) time.Duration {
	h := fnv.New32a()
	var b [8]byte
	for i, n := 0, uint64(m.Received.UnixNano()); i < 8; i++ {
		b[i] = byte(n >> (8 * i))
	}
	h.Write(b[:])
	h.Write([]byte(m.URL))
	share := float64(h.Sum32()%3001)/10000 - 0.15
	return d + time.Duration(share*float64(d))
}

// Age is the current age of a stored response (RFC 9111 section 4.2.3).
func Age(m *cache.Meta, now time.Time) time.Duration {
	var value time.Duration
	if lines := m.Header["Age"]; len(lines) > 0 {
		first, _ := nextMember(lines[0])
		value, _ = seconds(first) // what is no number is ignored (section 5.1)
	}
	apparent := max(0, m.Received.Sub(dateOf(m.Header, m.Received)))
	corrected := value + max(0, m.Received.Sub(m.Asked))
	return max(apparent, corrected) + max(0, now.Sub(m.Received))
}

// Lifetime is what the fields of a response received at that time say of how long it may be reused, and whether they say
// anything.
func Lifetime(h http.Header, received time.Time) (time.Duration, bool) {
	d, replaced := ofResponse(h)
	switch {
	case d.noStore || d.noCache || d.private:
		return 0, true
	case d.sMaxAge != unset:
		return d.sMaxAge, true
	case d.maxAge != unset:
		return d.maxAge, true
	case !replaced && len(h["Expires"]) > 0:
		t, _ := ParseDate(h.Get("Expires"))
		return max(0, t.Sub(dateOf(h, received))), true
	}
	return 0, false
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
