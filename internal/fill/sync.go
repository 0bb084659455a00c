package fill

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// A SyncRequest asks that what is held of a Key be what its origin has now, on nobody's behalf.
type SyncRequest struct {
	Key cache.Key
	Row string // of a file: noted in the entry's Meta when the origin's answer is about the state that the row told of; "" leaves what is there
	// Size is what the file's listing says that it has, in bytes, where that is exact; 0 elsewhere. A web page of another size is not taken for the file, unless
	// its name says that it is one: firewalls and portals answer so, with status 200.
	Size int64
	// Subtree is of a directory whose listings are kept: the digest that Zcache-If-Subtree asks with; "" asks for the listing whatever it says.
	Subtree string
}

// SyncOutcome is what became of a SyncRequest.
type SyncOutcome int

const (
	SyncSame      SyncOutcome = iota // what is held stands; of a directory asked for with Subtree: so does all below it
	SyncStored                       // it was fetched and is held now
	SyncGone                         // 404 or 410; what was held is there still
	SyncDenied                       // 401, 403, 451, or another 4xx that asking again would not change
	SyncLimited                      // 429, or 503 with Retry-After
	SyncElsewhere                    // a redirect that is not followed here
	SyncUnkept                       // the origin has it, but it may not be kept
)

// A SyncResult is what a SyncRequest got.
type SyncResult struct {
	Outcome  SyncOutcome
	Status   int           // of the origin's answer; 0 when it was not asked
	Bytes    int64         // of the body that was fetched
	After    time.Duration // Retry-After; 0 when it tells none
	Location string        // as it came
	AsOf     time.Time     // of a directory: as of when its upstream vouches for all below it; zero when it does not
}

const (
	ifSubtree = "Zcache-If-Subtree"
	subtree   = "Zcache-Subtree"

	syncTries = 2 // a walk comes again, and waits for each try
)

// An errand is what a Sync has its flight do beyond what clients want of one. Of a listing, the whole is asked for, with nothing but its digest as a
// condition.
type errand struct {
	row     string
	size    int64 // 0 unknown
	listing bool
	digest  string
}

// Sync asks the origin, however fresh what is held may be, and returns when what comes is whole and stored. A file is asked for with the validators
// that it is held with. Should a flight of it be under way, its body is waited for; but that flight asked before the caller did, so what it brought is
// then asked for with its validators, and taken for current without only where it has none.
//
// The error is one of this package's, a StatusError, or the store's: cache.ErrNoListing and cache.ErrCutListing of a directory, cache.ErrNoSpace. When
// ctx ends, a flight that no client joined is suspended.
func (f *Filler) Sync(ctx context.Context, q SyncRequest) (SyncResult, error) {
	policy := f.cfg.Policy(q.Key)
	switch {
	case policy.Offline:
		return SyncResult{}, ErrOffline
	case f.store == nil || policy.Local || policy.Class == freshness.ClassBypass:
		return SyncResult{Outcome: SyncUnkept}, nil
	}
	policy.Tries = min(max(1, policy.Tries), syncTries)
	r := &Request{Key: q.Key, Method: http.MethodGet, Header: http.Header{}}
	e := &errand{row: q.Row, size: q.Size}
	if _, has := q.Key.Query(); policy.Listings && q.Key.IsDir() && !has {
		r.Header = ForListing(nil)
		e = &errand{listing: true, digest: q.Subtree}
	}
	if e.listing {
		return f.reap(ctx, f.startBehind(r, policy, e), true)
	}
	fl := f.joinBehind(q.Key)
	if fl == nil {
		return f.reap(ctx, f.startBehind(r, policy, e), true)
	}
	before, err := f.reap(ctx, fl, false)
	switch {
	case err != nil:
		return before, err
	case before.Outcome == SyncStored && freshness.Condition(fl.stored, policy.Rule) != nil:
	case before.Outcome == SyncSame || before.Outcome == SyncGone:
	default:
		return before, nil
	}
	now, err := f.reap(ctx, f.startBehind(r, policy, e), true)
	if err == nil && now.Outcome == SyncSame && before.Outcome == SyncStored {
		return before, nil
	}
	return now, err
}

// joinBehind joins the flight of a Key without becoming a client of it; nil when there is none.
func (f *Filler) joinBehind(key cache.Key) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.flights[key]
	if fl != nil {
		fl.refs.Add(1)
		fl.behind++
		fl.jury.seat(nil)
	}
	return fl
}

// startBehind starts a flight that no client waits for. Clients may join one of a file; a listing that is fetched whole says nothing to who holds one.
func (f *Filler) startBehind(r *Request, policy Policy, e *errand) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.newFlight(r, policy)
	fl.errand, fl.behind, fl.promoted = e, 1, make(chan struct{})
	fl.shared = !e.listing && f.flights[r.Key] == nil
	f.launch(fl)
	return fl
}

// want makes a client's flight of one that was started behind everybody's back: it goes on without who started it, and waits for no one at the upstream.
// The lock is held.
func (fl *flight) want(now time.Time) {
	if !fl.wanted {
		fl.wanted, fl.since = true, now
		close(fl.promoted)
	}
}

// abandon is for who waited behind a flight and waits no longer. One that nobody else wants is suspended; what it has brought so far is kept.
func (f *Filler) abandon(fl *flight, leads bool) {
	f.mu.Lock()
	fl.behind--
	alone := fl.behind == 0 && !fl.wanted
	if alone && f.flights[fl.key] == fl { // nobody may join it now, but a purge still has to find it
		delete(f.flights, fl.key)
		f.solo[fl] = true
	}
	f.mu.Unlock()
	fl.leave(leads)
	if alone {
		fl.cancel(context.Canceled)
		<-fl.end
	}
}

// reap waits for what comes of a flight, and releases it.
func (f *Filler) reap(ctx context.Context, fl *flight, leads bool) (SyncResult, error) {
	defer fl.release()
	var err error
	select {
	case <-fl.head:
		if fl.result() == filling {
			err = fl.landed(ctx)
		}
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		f.abandon(fl, leads)
		return SyncResult{}, ctx.Err()
	}
	f.mu.Lock()
	fl.behind--
	f.mu.Unlock()
	fl.leave(leads) // of what may not be kept not a byte is fetched
	return f.verdict(fl, err)
}

// verdict says what came of a flight that is over, or whose answer was passed on; wrong is how its body ended.
func (f *Filler) verdict(fl *flight, wrong error) (SyncResult, error) {
	got := SyncResult{Status: fl.status}
	if fl.result() == filling {
		got.Status = fl.meta.Status // of the whole, where the rest of one came
	}
	after, waits := retryAfter(fl.said, f.cfg.Now())
	switch status := got.Status; {
	case fl.result() == failed && status == 0:
		return got, fl.err
	case status == http.StatusNotFound || status == http.StatusGone:
		got.Outcome = SyncGone
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable && waits:
		got.Outcome, got.After = SyncLimited, after
	case lastWord(status):
		got.Outcome = SyncDenied
	case status >= 400:
		return got, &StatusError{fl.key, status}
	case status >= 300 && status != http.StatusNotModified:
		got.Outcome, got.Location = SyncElsewhere, fl.said.Get("Location")
	case fl.result() == confirmed && !fl.lone:
		got.Outcome, got.AsOf = SyncSame, fl.asOf
	case fl.result() == passed && fl.err != nil:
		return got, fmt.Errorf("store %s: %w", fl.key, fl.err)
	case fl.result() != filling || status != http.StatusOK:
		got.Outcome = SyncUnkept
	default:
		return f.landedWell(fl, got, wrong)
	}
	return got, nil
}

// lastWord says that a status is the origin's last word on a request: there are servers that list names which they then call bad requests.
func lastWord(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusMisdirectedRequest, http.StatusTooEarly: // of the connection rather than the name
		return false
	}
	return status >= 400 && status < 500
}

// landedWell says what came of a body with status 200.
func (f *Filler) landedWell(fl *flight, got SyncResult, wrong error) (SyncResult, error) {
	switch wrong = cmp.Or(fl.unkept, wrong, fl.wrong); {
	case wrong != nil:
		return got, wrong
	case fl.stored == nil:
		return got, ErrPurged
	case fl.errand != nil && fl.errand.listing && !fl.stored.Listing:
		return got, fmt.Errorf("get %s: %w", fl.key, cache.ErrNoListing)
	}
	got.Outcome, got.Bytes = SyncStored, fl.stored.Size
	if _, asOf, complete := parseSubtree(fl.stored.Header.Get(subtree)); complete {
		got.AsOf = asOf
	}
	return got, nil
}

// question is what a flight builds on, and the fields that it asks with.
func (f *Filler) question(fl *flight, entry *cache.Entry) (h held, condition http.Header) {
	h.entry = entry
	if e := fl.errand; e != nil && e.listing {
		if e.digest != "" {
			condition = http.Header{ifSubtree: {strconv.Quote(e.digest)}}
		}
		return h, condition
	}
	// Of an adopted entry the file stays as it is while it is fetched anew. That a page of an error stands says nothing of the file behind it.
	if entry != nil && !entry.Adopted && !unproven(fl.header, entry) && (fl.errand == nil || entry.Meta.Status == http.StatusOK) {
		condition = freshness.Condition(entry.Meta, fl.policy.Rule)
		h.conditional = condition != nil
	}
	if condition == nil {
		if h.left = f.resume(fl); h.left != nil {
			condition = continuation(h.left.Meta(), h.left.Len())
		}
	}
	return h, condition
}

// unchanged acts on a 304 to the digest of a subtree, which stands only if it is for that digest and for all of the subtree.
func (f *Filler) unchanged(fl *flight, got *fetched, entry *cache.Entry) {
	got.resp.Body.Close()
	digest, asOf, complete := parseSubtree(got.resp.Header.Get(subtree))
	if digest != fl.errand.digest || !complete {
		f.fail(fl, 0, fmt.Errorf("get %s: %w: status 304 for another subtree than was asked for", got.url, ErrUnreachable))
		return
	}
	if entry != nil && !entry.Adopted && entry.Meta.Listing {
		if m, ok := freshness.Freshen(entry.Meta, endToEnd(got.resp.Header), got.asked, got.received); ok {
			m.Limit = got.limit
			f.freshen(entry, m, &fl.trip)
		}
	}
	fl.asOf = asOf
	f.decide(fl, confirmed)
}

// parseSubtree reads a Zcache-Subtree field: the digest, a string of RFC 9651 in which nothing needs an escape, and its parameters, of which as-of is a Date.
func parseSubtree(s string) (digest string, asOf time.Time, complete bool) {
	s, ok := strings.CutPrefix(strings.TrimSpace(s), `"`)
	if !ok {
		return "", asOf, false
	}
	digest, params, ok := strings.Cut(s, `"`)
	if !ok {
		return "", asOf, false
	}
	for p := range strings.SplitSeq(params, ";") {
		p = strings.TrimSpace(p)
		if p == "complete" || p == "complete=?1" {
			complete = true
		}
		if at, ok := strings.CutPrefix(p, "as-of=@"); ok {
			if n, err := strconv.ParseInt(at, 10, 64); err == nil {
				asOf = time.Unix(n, 0)
			}
		}
	}
	return digest, asOf, complete
}

// retryAfter reads how long the origin wants to be left alone (RFC 9110 section 10.2.3). ok is false when it does not say.
func retryAfter(h http.Header, now time.Time) (d time.Duration, ok bool) {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second, true
	}
	t, ok := freshness.ParseDate(v)
	return max(0, t.Sub(now)), ok
}

// doubts says that the answer has another size than the listing tells of a file that is no web page by its name.
func (e *errand) doubts(name string, resp *http.Response) bool {
	if e == nil || e.size == 0 || resp.ContentLength == e.size {
		return false
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".html", ".htm", ".xhtml", ".shtml", ".php", ".xml", ".svg", ".rss", ".atom":
		return false
	}
	return true
}

// mark notes in a Meta the row that the flight was started for.
func (fl *flight) mark(m *cache.Meta) {
	if fl.errand != nil && fl.errand.row != "" {
		m.Row = fl.errand.row
	}
}
