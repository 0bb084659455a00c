package fill

import (
	"context"
	"errors"
	"net/http"
	"sort"
	"strconv"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// Refresh starts a flight for the request behind everybody's back, unless one is under way or the hub is off line.
func (f *Filler) Refresh(r *Request) {
	if policy := f.cfg.Policy(r.Key); !policy.Offline {
		f.refresh(r, policy, f.cfg.Now())
	}
}

// refresh is Refresh for a caller whose copy was received at after.
func (f *Filler) refresh(r *Request, policy Policy, after time.Time) {
	f.mu.Lock()
	until, passing := f.passing[r.Key]
	f.mu.Unlock()
	if passing && f.cfg.Now().Before(until) {
		return // what came last could not be kept, and nobody waits for this: asking again at every touch would be a flood
	}
	fl, leads := f.join(&Request{Key: r.Key, Method: http.MethodGet, Header: plain(r.Header), Credential: r.Credential, Judge: r.Judge, Magic: r.Magic, Mark: r.Mark}, freshness.Request{}, policy, after)
	fl.leave(leads)
	fl.release()
}

// plain drops what would keep a refresh from being shared.
func plain(h http.Header) http.Header {
	out := h.Clone()
	// A digest that the client wants is that of what is held: what takes its place has another.
	for _, name := range []string{"Authorization", "Cookie", "Cache-Control", "Pragma", "Repr-Digest", "X-Checksum-Sha256"} {
		out.Del(name)
	}
	for _, name := range conditionals {
		out.Del(name)
	}
	return out
}

// Fresh says that what is held of a Key under this Meta would be served without asking its origin.
func (f *Filler) Fresh(key cache.Key, m *cache.Meta, adopted bool) bool {
	policy := f.cfg.Policy(key)
	return Decide(m, adopted, freshness.ParseRequest(nil), policy.Rule, f.cfg.Now()).Verdict.Fresh
}

// Ensure makes sure that a Key is held and fresh, and returns when it is whole.
func (f *Filler) Ensure(ctx context.Context, key cache.Key) (Outcome, error) {
	r := &Request{Key: key, Method: http.MethodGet, Header: http.Header{}}
	if key.IsDir() && f.cfg.Policy(key).Listings {
		r.Header, r.Listing = ForListing(nil), true // as who browses it will ask
	}
	a, err := f.Get(ctx, r)
	if err != nil {
		return Outcome{}, err
	}
	outcome, status := a.Outcome, a.Status
	a.Close()
	fl := a.flight
	if fl == nil && outcome.Fwd != "" { // a redirect, or a copy in place of a slow origin's answer
		f.mu.Lock()
		fl = f.flights[key]
		f.mu.Unlock()
	}
	if fl != nil {
		if err := fl.landed(ctx); err != nil {
			return outcome, err
		}
		if fl.wrong != nil {
			return outcome, fl.wrong
		}
	}
	if status >= 400 {
		return outcome, &StatusError{key, status}
	}
	return outcome, nil
}

// StatusError says that the origin answered, with an error.
type StatusError struct {
	Key    cache.Key
	Status int
}

func (e *StatusError) Error() string {
	return "get " + e.Key.String() + ": origin answered " + strconv.Itoa(e.Status) + " " + http.StatusText(e.Status)
}

// Purge removes what is held of a Key, and with recursive all below it. Flights of it are detached first: their clients get the bodies they
// were promised, but nothing of them is published.
func (f *Filler) Purge(key cache.Key, recursive bool) (int, error) {
	if f.store == nil {
		return 0, nil
	}
	f.detach(func(k cache.Key) bool { return k == key || recursive && k.Under(key) })
	return f.store.Remove(key, recursive)
}

// detach keeps what is under way for some Keys from being published and joined. When it returns, such a fill is either published already or
// never will be.
func (f *Filler) detach(hit func(cache.Key) bool) {
	var under []*flight
	f.mu.Lock()
	for k, fl := range f.flights {
		if hit(k) {
			delete(f.flights, k)
			under = append(under, fl)
		}
	}
	for fl := range f.solo {
		if hit(fl.key) {
			under = append(under, fl)
		}
	}
	f.mu.Unlock()
	for _, fl := range under {
		fl.ending.Lock()
		fl.purged = true
		fl.ending.Unlock()
	}
}

// FlightInfo tells of a flight under way.
type FlightInfo struct {
	Key     cache.Key
	Since   time.Time
	Bytes   int64
	Size    int64 // -1 while unknown
	Waiting int64 // clients that wait for its first byte
}

// Flights lists what is under way, the oldest first.
func (f *Filler) Flights() []FlightInfo {
	f.mu.Lock()
	all := make([]*flight, 0, len(f.flights)+len(f.solo))
	for _, fl := range f.flights {
		all = append(all, fl)
	}
	for fl := range f.solo {
		all = append(all, fl)
	}
	f.mu.Unlock()
	out := make([]FlightInfo, 0, len(all))
	for _, fl := range all {
		i := FlightInfo{Key: fl.key, Since: fl.started, Size: -1, Waiting: fl.readers.Load()}
		select {
		case <-fl.head:
			if fl.outcome == filling {
				i.Bytes, i.Size = fl.draft.Len(), fl.meta.Size
			}
		default:
		}
		out = append(out, i)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Since.Before(out[j].Since) })
	return out
}

// An Explanation tells what is held for a request and what it would get now.
type Explanation struct {
	Held    bool
	Adopted bool
	Edited  bool        // adopted, and not of the size that its Meta tells: never served on our word
	Meta    *cache.Meta // nil when nothing is held
	Plan    Plan
	Next    string // what the next such request does, in a sentence
	Flight  bool   // one is under way
}

// Explain looks without asking the origin or touching the entry.
func (f *Filler) Explain(r *Request) (Explanation, error) {
	policy := f.cfg.Policy(r.Key)
	f.mu.Lock()
	x := Explanation{Flight: f.flights[r.Key] != nil}
	f.mu.Unlock()
	if policy.Local {
		return f.explainLocal(r, policy)
	}
	if f.store == nil || policy.Class == freshness.ClassBypass {
		x.Next = "goes to the upstream; nothing is stored"
		return x, nil
	}
	entry, err := f.store.Open(r.Key, r.Header)
	if errors.Is(err, cache.ErrNotStored) && policy.Listings && r.Key.IsDir() {
		entry, err = f.store.Open(r.Key, ForListing(r.Header)) // as who browses asks
	}
	if errors.Is(err, cache.ErrNotStored) {
		switch {
		case policy.Offline:
			x.Next = "answers 504: off line and not held"
		case x.Flight:
			x.Next = "joins the fill that is under way"
		default:
			x.Next = "fetches from the upstream and stores what comes"
		}
		return x, nil
	}
	if err != nil {
		return x, err
	}
	defer entry.Close()
	x.Held, x.Adopted, x.Edited, x.Meta = true, entry.Adopted, entry.Edited, entry.Meta
	x.Plan = Decide(entry.Meta, entry.Adopted, freshness.ParseRequest(r.Header), policy.Rule, f.cfg.Now())
	if entry.Edited && policy.Offline {
		x.Plan.Action = Refuse
	}
	switch x.Plan.Action {
	case Serve:
		x.Next = "serves the copy without asking the upstream"
		if !x.Plan.Verdict.Fresh {
			x.Next = "serves the stale copy, as the upstream must not be asked"
		}
	case ServeStale:
		x.Next = "serves the copy and revalidates it behind"
	case Revalidate:
		x.Next = "asks the upstream whether the copy still stands"
	case Refuse:
		x.Next = "answers 504"
	}
	return x, nil
}

// Effective is the policy of a Key, as configured.
func (f *Filler) Effective(key cache.Key) Policy { return f.cfg.Policy(key) }
