package fill

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// result is what became of a flight, known once its head is.
type result int

const (
	pending   result = iota
	filling          // a body is coming, or came, into the draft
	confirmed        // the held entry stands, with new Meta
	passed           // the answer cannot be kept: it goes to the one client that leads
	failed           // no answer that counts
)

// interim is a 1xx response on its way to the client that leads.
type interim struct {
	status int
	header http.Header
}

// A trip is what is needed to ask an origin on behalf of clients.
type trip struct {
	key      cache.Key
	policy   Policy
	header   http.Header  // of the client that started it
	as       string       // its Credential
	whose    Marker       // its Mark
	avoid    []string     // URLs whose upstreams gave what cannot be the file
	interims chan interim // nil: nobody listens
	errand   *errand      // nil: what clients want
}

// A flight is one trip to the origin for a Key. It belongs to no client. What is written before head is closed may be read after it.
type flight struct {
	trip
	ctx     context.Context
	cancel  context.CancelCauseFunc
	shared  bool // others may join
	started time.Time
	readers atomic.Int64
	after   time.Time // a fresh entry that came later than this is as good as the trip

	// Of a flight that was started behind everybody's back, promoted is closed when the first client joins. The Filler's lock guards the rest; since is
	// also read by who joined.
	promoted chan struct{}
	wanted   bool      // a client joined, or started it
	since    time.Time // from when on
	behind   int       // how many wait that are no clients
	jury     jury

	// ending is held while the fill is published or given up, so that a purge comes before or after that and never between.
	ending sync.Mutex
	purged bool // under ending: what comes must not be published
	// whole is the length of the body once all of it is in the draft; negative before.
	whole atomic.Int64
	// refs counts who may yet want to read: the flight itself, and everyone who joined, until release. The last one closes
	// open, which keeps the draft readable although it may have been published meanwhile.
	refs atomic.Int64
	open section

	head chan struct{} // closed when outcome is known
	gone chan struct{} // closed when the leading client no longer waits for the answer
	body chan *http.Response
	end  chan struct{} // closed when all is over

	// Should the store take no more in the middle of a body, the rest of it, still on its way, goes to the first reader who has all that
	// was stored. spent is closed when there is no such rest to wait for.
	live      chan io.ReadCloser
	spent     chan struct{}
	full      chan struct{} // closed when the rest is offered: who waits for the whole need not wait on
	following atomic.Int64  // readers of the draft

	outcome result
	meta    *cache.Meta
	draft   cache.Draft
	held    *cache.Meta // what was confirmed
	before  *cache.Meta // what was held when it set out; nil when that was nothing, or adopted
	lone    bool        // and only to the client that leads
	status  int         // of the origin's answer, when it answered
	said    http.Header // with these fields; not to be changed
	asOf    time.Time   // of a subtree that the origin says is unchanged
	stored  *cache.Meta // what was published; it and unkept are set before end is closed
	unkept  error       // why the store did not publish
	err     error
	detail  string // why the answer was passed on
	wrong   error  // how the fill ended, set before spent and end are closed
	denied  *Head  // of the answer that nobody who wanted it may have
}

// passFor is how long nobody waits for a Key whose answer could not be shared.
const passFor = 10 * time.Second

// join returns the flight of the request's Key, starting one if need be; the caller releases it. leads says that the answer is this request's own
// should it turn out that it cannot be shared. after is when the caller's copy was received, zero without one.
func (f *Filler) join(r *Request, want freshness.Request, policy Policy, after time.Time) (fl *flight, leads bool) {
	if !r.collapsible(want) {
		return f.start(r, policy), true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if until, ok := f.passing[r.Key]; ok {
		if f.cfg.Now().Before(until) {
			return f.startLocked(r, policy, false, after), true
		}
		delete(f.passing, r.Key)
	}
	if fl := f.flights[r.Key]; fl != nil {
		fl.refs.Add(1) // it is on the map, so the flight itself has not released it
		fl.want(f.cfg.Now())
		fl.jury.seat(r)
		return fl, false
	}
	return f.startLocked(r, policy, true, after), true
}

// start starts a flight for one client alone.
func (f *Filler) start(r *Request, policy Policy) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.startLocked(r, policy, false, time.Time{})
}

func (f *Filler) startLocked(r *Request, policy Policy, shared bool, after time.Time) *flight {
	fl := f.newFlight(r, policy)
	fl.shared, fl.after, fl.wanted = shared, after, true
	f.launch(fl)
	return fl
}

// newFlight makes a flight that launch is to start.
func (f *Filler) newFlight(r *Request, policy Policy) *flight {
	now := f.cfg.Now()
	fl := &flight{
		// The flight outlives the client's request: it keeps a copy of its fields, nothing else.
		trip:    trip{key: r.Key, policy: policy, header: r.Header.Clone(), as: r.Credential, whose: r.Mark, interims: make(chan interim, 8)},
		started: now, since: now,
		head: make(chan struct{}), gone: make(chan struct{}),
		body: make(chan *http.Response), end: make(chan struct{}),
		live: make(chan io.ReadCloser), spent: make(chan struct{}), full: make(chan struct{}),
	}
	fl.whole.Store(-1)
	fl.refs.Store(2)
	fl.jury.seat(r)
	return fl
}

// launch starts a flight. The lock is held.
func (f *Filler) launch(fl *flight) {
	fl.ctx, fl.cancel = context.WithCancelCause(f.ctx)
	if fl.whose != nil {
		fl.ctx = fl.whose.Mark(fl.ctx)
	}
	if fl.errand != nil {
		fl.ctx = f.cfg.Background(fl.ctx, fl.promoted)
	}
	if f.closed {
		fl.outcome, fl.err, fl.wrong = failed, ErrStopping, ErrStopping
		fl.cancel(nil)
		close(fl.head)
		close(fl.end)
		fl.spend()
		fl.release()
		return
	}
	if fl.shared {
		f.flights[fl.key] = fl
	} else {
		f.solo[fl] = true
	}
	f.wg.Go(func() {
		defer fl.cancel(nil)
		f.fly(fl)
		f.drop(fl)
		f.tellFailure(fl, fl.before != nil)
		f.tellChange(fl, fl.before)
		close(fl.end)
		fl.spend()
		fl.release()
	})
}

// spend closes spent; only the flight's own goroutine calls it.
func (fl *flight) spend() {
	select {
	case <-fl.spent:
	default:
		close(fl.spent)
	}
}

// release says that the caller wants nothing more of the flight.
func (fl *flight) release() {
	if fl.refs.Add(-1) == 0 && fl.open != nil {
		fl.open.Close()
	}
}

// drop takes the flight off the map, so that the next request starts another.
func (f *Filler) drop(fl *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flights[fl.key] == fl {
		delete(f.flights, fl.key)
	}
	delete(f.solo, fl)
}

// decide makes the outcome known. What is not a growing draft cannot be joined any more.
func (f *Filler) decide(fl *flight, outcome result) {
	fl.outcome = outcome
	if outcome != filling {
		f.drop(fl)
	}
	f.mu.Lock()
	switch {
	case outcome == passed && fl.policy.pass && fl.detail == "redirect": // others have it followed, and share what it leads to
	case (outcome == passed || fl.lone) && fl.shared:
		if len(f.passing) > 4096 {
			clear(f.passing)
		}
		f.passing[fl.key] = f.cfg.Now().Add(passFor)
	case outcome == filling || outcome == confirmed:
		delete(f.passing, fl.key)
	}
	f.mu.Unlock()
	close(fl.head)
}

// hand gives the origin's answer to the client that leads, or closes it when that client is gone.
func (fl *flight) hand(resp *http.Response) {
	select {
	case fl.body <- resp:
	case <-fl.gone:
		resp.Body.Close()
	case <-fl.ctx.Done():
		resp.Body.Close()
	}
}

// take is the other end of hand.
func (fl *flight) take(ctx context.Context) (*http.Response, error) {
	select {
	case resp := <-fl.body:
		return resp, nil
	case <-ctx.Done():
		close(fl.gone)
		return nil, ctx.Err()
	case <-fl.ctx.Done():
		return nil, context.Cause(fl.ctx)
	}
}

// leave says that the leading client waits no longer.
func (fl *flight) leave(leads bool) {
	if leads {
		close(fl.gone)
	}
}

// crossWait is how long a request that others passed on waits for a flight without their marks. Of two zcaches that are each other's upstream and
// are both asked at the same moment, each has a flight that waits for the other's, and neither flight carries the mark by which a loop is found:
// they hung for the three tries of 30 s. Whoever goes on alone carries all marks. No less, for two children of a parent
// whose origin is slow should still cost it one request.
const crossWait = 5 * time.Second

// crosses says that the request has passed through an instance which the flight's own has not, so that the flight may be waiting for it.
func (fl *flight) crosses(r *Request) bool {
	theirs := members(fl.header)
	return slices.ContainsFunc(members(r.Header), func(m string) bool { return !slices.Contains(theirs, m) })
}

// members are those of CDN-Loop (RFC 8586).
func members(h http.Header) (all []string) {
	for _, line := range h["Cdn-Loop"] {
		for m := range strings.SplitSeq(line, ",") {
			if m = strings.TrimSpace(m); m != "" {
				all = append(all, m)
			}
		}
	}
	return all
}

// wait returns when the outcome is known, when ctx ends, or with errSlow when patience runs out. Interim responses go to the leader.
func (fl *flight) wait(ctx context.Context, r *Request, leads bool, patience <-chan time.Time) error {
	fl.readers.Add(1)
	defer fl.readers.Add(-1)
	var interims chan interim
	if leads && r.Interim != nil {
		interims = fl.interims
	}
	for {
		select {
		case i := <-interims:
			r.Interim(i.status, i.header)
		case <-fl.head:
			for {
				select {
				case i := <-interims:
					r.Interim(i.status, i.header)
					continue
				default:
				}
				return nil
			}
		case <-patience:
			select {
			case <-fl.head:
				patience = nil
			default:
				return errSlow
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// landed returns when the fill has ended, with how it ended.
func (fl *flight) landed(ctx context.Context) error {
	select {
	case <-fl.end:
		if errors.Is(fl.wrong, errStorage) && !errors.Is(fl.wrong, cache.ErrCutListing) {
			return nil // its readers cope
		}
		return fl.wrong
	case <-fl.full:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// suits says that what came of the flight is of use to a request that did not start it.
func (fl *flight) suits(r *Request) bool {
	return fl.outcome != passed && !fl.lone && (fl.outcome != filling || fl.meta.Selects(r.Header))
}

// lists says that what is being filled may be a listing. It may be called once head is closed.
func (fl *flight) lists() bool { return fl.outcome == filling && fl.meta.Listing }

// result may be called once head is closed.
func (fl *flight) result() result { return fl.outcome }

// sofar is the status that the origin has answered with as far as this caller may know.
func (fl *flight) sofar(err error) int {
	if errors.Is(err, errSlow) {
		return 0
	}
	return fl.status
}

// confirms says that the flight confirmed the very entry that the caller holds.
func (fl *flight) confirms(e *cache.Entry) (*cache.Meta, bool) {
	if fl.outcome != confirmed || fl.held == nil {
		return nil, false
	}
	same := fl.held.Size == e.Meta.Size && fl.held.ModTime.Equal(e.Meta.ModTime) &&
		fl.held.SHA256 == e.Meta.SHA256 && fl.held.Stored.Equal(e.Meta.Stored)
	return fl.meta, same
}
