package fill

import (
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// An Action is what a request for a held entry gets.
type Action int

const (
	Serve      Action = iota // the entry, as it is
	ServeStale               // the entry though stale, while it is revalidated behind
	Revalidate               // the origin's word first
	Refuse                   // 504: only-if-cached, and what is held does not do
)

// A Plan is Decide's finding: what to do, why, and how fresh the entry is.
type Plan struct {
	Action  Action
	Why     string
	Verdict freshness.Verdict
}

// judge is freshness.Judge but for an entry that an unsafe request has invalidated, which Limit 0 marks: it needs its origin's word before any
// further use, whatever lifetime, class or leave to serve it stale it came with (RFC 9111 section 4.4).
func judge(m *cache.Meta, adopted bool, rule freshness.Rule, now time.Time) freshness.Verdict {
	v := freshness.Judge(m, rule, now)
	if m.Original {
		return v
	}
	if adopted {
		v.Fresh, v.Lifetime, v.By = false, 0, "adopted" // nobody has given it a lifetime
	}
	if m.Limit == 0 && !adopted {
		v.Fresh, v.MustRevalidate = false, true
	}
	return v
}

// Decide says what a request with these fields gets of a held entry, without I/O (RFC 9111 sections 4 and 5.2.1). An adopted entry is never
// taken at its word: its origin has to know it first, unless the hub is off line.
func Decide(m *cache.Meta, adopted bool, request freshness.Request, rule freshness.Rule, now time.Time) Plan {
	v := judge(m, adopted, rule, now)
	p := Plan{Verdict: v}
	fresh := v.Fresh && !adopted
	why := "stale"
	switch {
	case m.Original: // there is nobody to ask
		p.Action, p.Why = Serve, v.By
		return p
	case rule.Offline && !fresh && !v.OnError(rule, false):
		p.Action, p.Why = Refuse, "offline"
		return p
	case rule.Offline:
		p.Action, p.Why = Serve, "offline"
		return p
	case adopted:
		why = "adopted"
	case v.NoCache:
		why = "no-cache"
	}
	switch {
	case request.NoCache:
		fresh, why = false, "request"
	case fresh && v.By == "class immutable":
		// The operator's word that it never changes goes before a client's habit of asking: apt says max-age=0 of every index, by-hash ones too.
	case request.MaxAge >= 0 && v.Age > request.MaxAge:
		fresh, why = false, "request"
	case request.MinFresh >= 0 && v.Lifetime-v.Age < request.MinFresh:
		fresh, why = false, "request"
	case !fresh && !adopted && !v.MustRevalidate && request.MaxStale >= 0 && v.Age-v.Lifetime <= request.MaxStale:
		fresh = true
	}
	switch {
	case fresh:
		p.Action, p.Why = Serve, v.By
	case request.OnlyIfCached:
		p.Action, p.Why = Refuse, "only-if-cached"
	case why == "stale" && v.WhileRevalidating() && !m.Provisional:
		p.Action, p.Why = ServeStale, "stale-while-revalidate"
	default:
		p.Action, p.Why = Revalidate, why
	}
	return p
}

// unproven says that the client wants a digest and that of the held body is not known. The origin's word cannot make up for it.
func unproven(h http.Header, entry *cache.Entry) bool {
	_, pinned := clientPin(h)
	return pinned && entry.Meta.Status == http.StatusOK && entry.Meta.SHA256 == [32]byte{}
}

// mayStandIn says that the entry is something that a client may get without the origin's word at all.
func mayStandIn(h http.Header, entry *cache.Entry) bool {
	return !entry.Edited && !unproven(h, entry)
}
