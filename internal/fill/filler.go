package fill

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// OnMiss is what a client gets while an absent entry is fetched.
type OnMiss int

const (
	StreamMiss   OnMiss = iota // the body as it comes
	RedirectMiss               // a redirect to the upstream; the entry is filled behind
	WaitMiss                   // the body when it is whole
)

// A Policy is what the filler does for one Key beyond RFC 9111.
type Policy struct {
	freshness.Rule
	OnMiss OnMiss
	Verify Verify
	// Local says that the hub's tree lies on this machine: it is read where it is, and nothing of it is kept twice.
	Local bool
	// Listings says that an answer for a directory may be a listing, to be kept as one.
	Listings bool
	// Follow says that a redirect out of the hub's upstream is followed here rather than passed to the client.
	Follow bool
	// Tries is how often an upstream that does not answer is asked, when nothing is held; at least 1.
	Tries int
	// Backoff is the pause after the first try; each further one doubles it.
	Backoff time.Duration

	pass bool // redirects go to the client and are not kept
}

// Verify is when a client may have the bytes of a body whose digest is pinned.
type Verify int

const (
	VerifyTail   Verify = iota // as they come, but the last ones only when the digest agrees
	VerifyBefore               // when the digest agrees
	VerifyAfter                // as they come; the digest decides about keeping them alone
)

// Config is what a Filler works with.
type Config struct {
	Store  cache.Store // nil stores nothing
	Origin http.RoundTripper
	Policy func(cache.Key) Policy
	// KeyOf returns the Key that a URL under one of the hub's upstreams stands for; false when it lies under none.
	KeyOf func(hub string, u *url.URL) (cache.Key, bool)
	// Upstream is the URL that a Key stands for at its first upstream, for redirects to it.
	Upstream func(cache.Key) string
	// Skip marks a request that has a copy to fall back on: upstreams known to be down need not be tried for it.
	Skip func(context.Context) context.Context
	// Avoid marks a request that is not for the upstreams which gave these URLs.
	Avoid func(ctx context.Context, urls []string) context.Context
	// Background marks a request that no client waits for, until the channel is closed; nil marks none.
	Background func(context.Context, <-chan struct{}) context.Context
	// Tell is called with what needs a person: one of the Notice kinds, what it happened to, and a sentence. It must not wait. Nil = nobody is told.
	Tell       func(kind string, key cache.Key, text string)
	FirstByte  time.Duration // how long an upstream has to start answering when a copy is held; 0 = 3 s
	Logger     *slog.Logger
	Registerer Registerer
	Now        func() time.Time
}

// A Filler answers requests. Its methods may be called concurrently.
type Filler struct {
	cfg     Config
	store   cache.Store
	log     *slog.Logger
	metrics *metrics
	keeper  keeper // nil when the store keeps no originals
	writers writers

	ctx    context.Context // of all flights
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	flights map[cache.Key]*flight
	solo    map[*flight]bool
	passing map[cache.Key]time.Time // Keys whose last answer could not be shared: nobody waits for them
}

// New returns a Filler. Close ends its flights.
func New(cfg Config) *Filler {
	if cfg.FirstByte == 0 {
		cfg.FirstByte = 3 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Skip == nil {
		cfg.Skip = func(ctx context.Context) context.Context { return ctx }
	}
	if cfg.Avoid == nil {
		cfg.Avoid = func(ctx context.Context, _ []string) context.Context { return ctx }
	}
	if cfg.Background == nil {
		cfg.Background = func(ctx context.Context, _ <-chan struct{}) context.Context { return ctx }
	}
	f := &Filler{
		cfg: cfg, store: cfg.Store, log: cfg.Logger,
		flights: map[cache.Key]*flight{}, solo: map[*flight]bool{}, passing: map[cache.Key]time.Time{},
	}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.metrics = newMetrics(cfg.Registerer, f)
	f.keeper, _ = cfg.Store.(keeper)
	f.writers.seed = maphash.MakeSeed()
	return f
}

// Close suspends all flights: their drafts are kept and taken up by the next fill. It returns when they have ended.
func (f *Filler) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.cancel(ErrStopping)
	f.wg.Wait()
}

// keyOf is the Key of a URL that lies under the hub of another Key, in the same partition.
func (f *Filler) keyOf(of cache.Key, u *url.URL) (cache.Key, bool) {
	key, ok := f.cfg.KeyOf(cache.BaseHub(of.Hub()), u)
	return key.InHub(of.Hub()), ok
}

// Get answers a request. The error is one of this package's, the round tripper's, ctx's, or that of the request's Judge.
func (f *Filler) Get(ctx context.Context, r *Request) (*Answer, error) {
	a, err := f.answer(ctx, r)
	if err != nil || r.Judge == nil {
		return a, err
	}
	return f.judged(ctx, r, a)
}

func (f *Filler) answer(ctx context.Context, r *Request) (*Answer, error) {
	policy := f.policyFor(r)
	switch {
	case policy.Local && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return f.local(ctx, r, policy)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return f.forward(ctx, r, policy, "method")
	case f.isOriginal(r.Key): // whatever the class, and whatever came with the question
	case policy.Class == freshness.ClassBypass || f.store == nil:
		return f.forward(ctx, r, policy, "bypass")
	case r.Body != nil:
		// What a body means to a GET, only the origin knows: its answer is for nobody else.
		return f.forward(ctx, r, policy, "request")
	}
	want := freshness.ParseRequest(r.Header)
	entry, err := f.store.Open(r.Key, r.Header)
	if err != nil {
		if !errors.Is(err, cache.ErrNotStored) {
			f.log.Warn("open entry", "key", r.Key.String(), "error", err)
		}
		return f.miss(ctx, r, want, policy)
	}
	if entry.Meta.Original {
		return f.original(r, entry, policy)
	}
	if r.PassRedirects && entry.Meta.Base != "" {
		// It is what a redirect led to, for those who have it followed here. To who sees the origin itself it would be that origin's own.
		entry.Close()
		return f.forward(ctx, r, policy, "request")
	}
	if pin, ok := clientPin(r.Header); ok && r.Method == http.MethodGet && !want.OnlyIfCached && entry.Meta.Status == http.StatusOK && !entry.Adopted && pin != entry.Meta.SHA256 && !policy.Offline {
		entry.Close()
		return f.alone(ctx, r, policy, "request")
	}
	if entry.Edited && policy.Offline {
		entry.Close() // it is not what its origin gave, and nobody can be asked what it is
		return nil, ErrOffline
	}
	return f.fromHeld(ctx, r, entry, want, policy)
}

// fromHeld answers a request for what is held as the plan for it says.
func (f *Filler) fromHeld(ctx context.Context, r *Request, entry *cache.Entry, want freshness.Request, policy Policy) (*Answer, error) {
	plan := Decide(entry.Meta, entry.Adopted, want, policy.Rule, f.cfg.Now())
	switch plan.Action {
	case Refuse:
		entry.Close()
		if policy.Offline {
			return nil, ErrOffline
		}
		return nil, ErrOnlyIfCached
	case Revalidate:
		return f.revalidate(ctx, r, entry, plan, policy)
	case ServeStale:
		f.refresh(r, policy, entry.Meta.Received)
		a := f.fromEntry(entry, entry.Meta, r, plan.Verdict)
		a.Outcome.Cache, a.Outcome.Hit = Updating, true
		return a, nil
	}
	a := f.fromEntry(entry, entry.Meta, r, plan.Verdict)
	a.Outcome.Cache, a.Outcome.Hit = Hit, true
	switch {
	case policy.Offline && !plan.Verdict.Fresh:
		a.Outcome.Cache, a.Outcome.Detail = Offline, "offline"
	case !plan.Verdict.Fresh:
		a.Outcome.Cache = Stale
	}
	return a, nil
}

// miss answers a request for what is not held.
func (f *Filler) miss(ctx context.Context, r *Request, want freshness.Request, policy Policy) (*Answer, error) {
	switch {
	case want.OnlyIfCached:
		return nil, ErrOnlyIfCached
	case policy.Offline:
		return nil, ErrOffline
	case r.Method == http.MethodHead:
		return f.forward(ctx, r, policy, "uri-miss")
	case len(r.Header["Range"]) > 0 && f.passes(r, want):
		// The answer would not be kept, so the part that is asked for is all that is worth fetching.
		return f.forward(ctx, r, policy, "uri-miss")
	case policy.OnMiss == RedirectMiss && !r.Listing && r.collapsible(want):
		if to := f.cfg.Upstream(r.Key); to != "" {
			return f.redirect(ctx, r, want, policy, to)
		}
	}
	fl, leads := f.join(r, want, policy, time.Time{})
	defer fl.release()
	if err := f.await(ctx, r, fl, leads, false); err != nil {
		fl.leave(leads)
		if errors.Is(err, errSlow) {
			return f.alone(ctx, r, policy, "uri-miss")
		}
		return nil, err
	}
	return f.settle(ctx, r, fl, leads, policy, "uri-miss")
}

// passes says that the answer to a request most likely goes to its client alone: the last one for its Key did, or the request carries credentials.
func (f *Filler) passes(r *Request, want freshness.Request) bool {
	if _, pinned := clientPin(r.Header); pinned {
		return false
	}
	if !r.collapsible(want) {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cfg.Now().Before(f.passing[r.Key])
}

// revalidate answers a request for an entry that needs its origin's word, from the entry itself if that word does not come in time.
func (f *Filler) revalidate(ctx context.Context, r *Request, entry *cache.Entry, plan Plan, policy Policy) (*Answer, error) {
	fwd := "stale"
	if plan.Why == "request" {
		fwd = "request"
	}
	mayStale := plan.Verdict.OnError(policy.Rule, false) && mayStandIn(r.Header, entry)
	if r.Method == http.MethodHead && r.Listing && entry.Meta.Listing { // what is said of a listing in our form takes the whole of it
		get := *r
		get.Method = http.MethodGet
		r = &get
	}
	if r.Method == http.MethodHead {
		return f.confirmByHead(ctx, r, entry, plan, policy)
	}
	want := freshness.ParseRequest(r.Header)
	fl, leads := f.join(r, want, policy, entry.Meta.Received)
	defer func() { fl.release() }()
	err := f.await(ctx, r, fl, leads, mayStale)
	if !leads && (err == nil && !fl.suits(r) || errors.Is(err, errSlow) && !mayStale) {
		fl.release()
		fl, leads = f.start(r, policy), true
		err = f.await(ctx, r, fl, leads, mayStale)
	}
	if err == nil && fl.result() == failed && fl.denied == nil {
		if mayStale && (fl.status == 0 || plan.Verdict.OnError(policy.Rule, true)) {
			err = fl.err
		}
	}
	if err == nil && mayStale && r.Listing && fl.lists() {
		// The old listing is better than a part of a new one, or than a long wait.
		err = fl.wholeListing(ctx, f.cfg.FirstByte)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fl.leave(leads)
		entry.Close()
		return nil, err
	default: // slow, or failed and the copy may stand in
		fl.leave(leads)
		a := f.fromEntry(entry, entry.Meta, r, plan.Verdict)
		a.Outcome.Cache, a.Outcome.Hit, a.Outcome.Fwd, a.Outcome.FwdStatus = Stale, true, fwd, fl.sofar(err)
		a.Outcome.Detail = detail(err)
		return a, nil
	}
	if m, ok := fl.confirms(entry); ok {
		v := judge(m, false, policy.Rule, f.cfg.Now())
		v.Omit = nil // the origin has just vouched for them
		a := f.fromEntry(entry, m, r, v)
		a.Outcome.Cache, a.Outcome.Hit = Revalidated, false
		a.Outcome.Fwd, a.Outcome.FwdStatus, a.Outcome.Collapsed = fwd, fl.status, !leads
		return a, nil
	}
	held := entry.Meta.Status == http.StatusOK
	entry.Close()
	if held && fl.result() == failed && errors.Is(fl.err, ErrUnreachable) {
		return nil, fmt.Errorf("%w: %w", ErrNotConfirmed, fl.err)
	}
	return f.settle(ctx, r, fl, leads, policy, fwd)
}

// await waits for a flight's outcome; with a copy that may stand in, no longer than the upstream has to start answering. That time runs from when the
// first client wanted the flight: of those who ask while an upstream hangs, only the first ones wait for it. Without a copy, a request that may be what the
// flight itself waits for gives it up after crossWait.
func (f *Filler) await(ctx context.Context, r *Request, fl *flight, leads, mayStale bool) error {
	wait := crossWait
	switch {
	case mayStale:
		wait = f.cfg.FirstByte - f.cfg.Now().Sub(fl.since)
	case leads || !fl.crosses(r):
		return fl.wait(ctx, r, leads, nil)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	return fl.wait(ctx, r, leads, t.C)
}

// settle makes the answer of a flight whose outcome is known.
func (f *Filler) settle(ctx context.Context, r *Request, fl *flight, leads bool, policy Policy, fwd string) (*Answer, error) {
	switch fl.result() {
	case failed:
		if fl.denied != nil {
			return f.appeal(ctx, r, fl, policy, fwd)
		}
		if !leads && fl.status != 0 {
			// The origin answered with an error in place of which somebody else's copy was served. This request has none and gets the error itself.
			return f.alone(ctx, r, policy, fwd)
		}
		return nil, fl.err
	case passed:
		if leads {
			resp, err := fl.take(ctx)
			if err != nil {
				return nil, err
			}
			return f.passOn(resp, r, Outcome{Cache: Miss, Fwd: fwd, FwdStatus: resp.StatusCode, Detail: fl.detail}), nil
		}
		return f.alone(ctx, r, policy, fwd)
	case confirmed:
		if !leads && fl.lone {
			return f.alone(ctx, r, policy, fwd)
		}
		// It was confirmed for those who held it; this request came by when it was not, or holds another.
		if entry, err := f.store.Open(r.Key, r.Header); err == nil {
			v := judge(entry.Meta, entry.Adopted, policy.Rule, f.cfg.Now())
			a := f.fromEntry(entry, entry.Meta, r, v)
			if fl.status == 0 { // it came while this request was on its way here: the origin was not asked again
				a.Outcome.Cache, a.Outcome.Hit, a.Outcome.Collapsed = Hit, true, !leads
				return a, nil
			}
			a.Outcome = Outcome{Cache: Revalidated, Fwd: fwd, FwdStatus: fl.status, Collapsed: !leads, TTL: v.Lifetime - v.Age}
			return a, nil
		}
		return f.alone(ctx, r, policy, fwd)
	}
	if !leads && !fl.meta.Selects(r.Header) {
		return f.alone(ctx, r, policy, "vary-miss")
	}
	if r.PassRedirects && fl.meta.Base != "" {
		return f.forward(ctx, r, policy, fwd)
	}
	if r.Listing && fl.lists() {
		if a, err := f.fromListing(ctx, r, fl, leads, policy, fwd); a != nil || err != nil {
			return a, err
		}
	}
	if policy.OnMiss == WaitMiss || fl.meta.Size == 0 {
		if err := fl.landed(ctx); err != nil && !errors.Is(err, cache.ErrCutListing) { // of that one the body is whole, it is only not kept
			return nil, err
		}
	}
	return f.follow(ctx, r, fl, leads, fwd)
}

// alone fetches for one client what could not be shared.
func (f *Filler) alone(ctx context.Context, r *Request, policy Policy, fwd string) (*Answer, error) {
	fl := f.start(r, policy)
	defer fl.release()
	if err := fl.wait(ctx, r, true, nil); err != nil {
		fl.leave(true)
		return nil, err
	}
	return f.settle(ctx, r, fl, true, policy, fwd)
}

// aheadBy is how far beyond the end of a growing draft a range may begin before it is fetched by a request of its own: about what
// one second brings on a line of 100 Mbit/s.
const aheadBy = 8 << 20

// follow answers from a draft that may still be growing.
func (f *Filler) follow(ctx context.Context, r *Request, fl *flight, leads bool, fwd string) (*Answer, error) {
	if err := r.judgeDraft(ctx, fl); err != nil {
		return nil, err
	}
	v := freshness.Judge(fl.meta, f.cfg.Policy(r.Key).Rule, f.cfg.Now())
	v.Omit = nil
	reply := Respond(fl.meta, r.Method, r.Header, v)
	outcome := Outcome{Cache: Miss, Fwd: fwd, FwdStatus: fl.meta.Status, Stored: true}
	if !leads {
		outcome.Cache, outcome.Collapsed = Coalesced, true
	}
	if len(reply.Ranges) > 0 && reply.Ranges[0].Off > fl.draft.Len()+aheadBy {
		if a := f.far(ctx, r, fl.meta, reply); a != nil {
			a.judged = true
			return a, nil
		}
	}
	a := compose(reply, func(off, end int64) section {
		fl.following.Add(1)
		return &follower{ctx: ctx, f: f, fl: fl, req: r, sec: fl.draft.Section(ctx, off, end), off: off, end: end}
	})
	a.URL, a.Outcome, a.Live, a.flight, a.judged = fl.meta.URL, outcome, true, fl, true
	return a, nil
}
