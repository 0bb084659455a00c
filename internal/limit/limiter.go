package limit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A Limiter admits requests. Its methods may be called concurrently. A nil Limiter admits everything.
type Limiter struct {
	rules   atomic.Pointer[rules]
	parties *table
	egress  *Egress
	metrics *metrics

	mu    sync.Mutex
	hubs  map[string]*party
	gates map[string]*Gate
}

// New returns a Limiter. MaxClients is fixed by it; all else can be changed by Apply.
func New(c Config) *Limiter {
	l := &Limiter{egress: NewEgress(c.Egress), hubs: map[string]*party{}, gates: map[string]*Gate{}}
	r := newRules(c)
	l.parties = newTable(r.MaxClients)
	l.rules.Store(r)
	l.metrics = newMetrics(c.Registerer, l)
	l.Apply(c)
	return l
}

// Apply puts other limits in force: the egress and the gates at once, all else with the next request of a client. What clients have used stays
// used.
func (l *Limiter) Apply(c Config) {
	r := newRules(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules.Store(r)
	l.egress.SetRate(c.Egress)
	for name, g := range l.gates {
		g.resize(c.Hubs[name].Upstream)
	}
}

// Gate bounds the trips to the hub's upstreams, as the Config in force says. It is the same one for every call.
func (l *Limiter) Gate(hub string) *Gate {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g := l.gates[hub]
	if g == nil {
		g = NewGate(l.rules.Load().Hubs[hub].Upstream)
		l.gates[hub] = g
	}
	return g
}

// Admit takes a request of the client to the hub, or refuses it. A nil Lease with a nil Refusal is a request that nothing limits. The Lease must
// be closed when the answer is out.
func (l *Limiter) Admit(c Client, hub string, now time.Time) (*Lease, *Refusal) {
	if l == nil {
		return nil, nil
	}
	r := l.rules.Load()
	if r.idle {
		return nil, nil
	}
	who := c.Subject()
	own, exempt := r.client(c)
	lease := &Lease{limiter: l}
	if !own.none() {
		lease.add(l.parties.pin(partyKey{who: who}, own, ofClient, now))
	}
	if h := r.hubs[hub]; h != nil {
		if !h.Each.none() && !exempt {
			lease.add(l.parties.pin(partyKey{who, hub}, h.Each, ofClientAtHub, now))
		}
		if !h.Total.none() {
			lease.add(l.hub(hub, h.Total))
		}
	}
	for i := range lease.n {
		if refusal := lease.parties[i].enter(now); refusal != nil {
			for _, p := range lease.parties[:i] {
				p.undo()
			}
			for _, p := range lease.parties[:lease.n] {
				p.unpin()
			}
			l.metrics.refuse(refusal.Policy)
			return nil, refusal
		}
	}
	if r.Egress > 0 {
		lease.flow = l.egress.join(who, own.Weight)
	}
	if lease.n == 0 && lease.flow == nil {
		return nil, nil
	}
	lease.measure()
	return lease, nil
}

// hub returns the party of a hub. There are as many as are configured.
func (l *Limiter) hub(name string, limits Limits) *party {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.hubs[name]
	if p == nil {
		p = &party{mu: new(sync.Mutex), key: partyKey{hub: name}, scope: ofHub, slot: -1}
		l.hubs[name] = p
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits = limits
	p.pins++
	return p
}

// A Lease is an admitted request. A nil one limits nothing. Grant, Wait and Return are for one goroutine at a time.
type Lease struct {
	limiter *Limiter
	parties [3]*party
	n       int
	flow    *flow
	grain   int64 // 0: bytes are neither paced nor counted
	paced   bool  // by a party
	closed  atomic.Bool
}

func (l *Lease) add(p *party) {
	l.parties[l.n] = p
	l.n++
}

// measure finds how much is granted at once.
func (l *Lease) measure() {
	for _, p := range l.parties[:l.n] {
		p.mu.Lock()
		limits := p.limits
		p.mu.Unlock()
		if limits.Daily > 0 && l.grain == 0 {
			l.grain = wholeGrain
		}
		if limits.Bandwidth > 0 {
			l.paced = true
			l.grain = minPositive(l.grain, limits.grain())
		}
	}
	if l.flow != nil {
		l.grain = minPositive(l.grain, largeGrain)
	}
}

func minPositive(a, b int64) int64 {
	if a <= 0 {
		return b
	}
	return min(a, b)
}

// Shaped says that a body must be sent by grants. Else it may go in one piece.
func (l *Lease) Shaped() bool { return l != nil && l.grain > 0 }

// Grant waits until bytes may be sent and says how many: at least 1 and at most want, which must not be less than 1. They count as sent. It
// ends early with the cause of the context's end.
func (l *Lease) Grant(ctx context.Context, want int64) (int64, error) {
	if !l.Shaped() {
		return want, nil
	}
	n := min(want, l.grain)
	if l.flow != nil {
		n = min(n, l.limiter.egress.Quantum())
	}
	now := time.Now()
	if l.paced {
		var d time.Duration
		for _, p := range l.parties[:l.n] {
			d = max(d, p.reserve(now, n))
		}
		if err := pause(ctx, d); err != nil {
			l.unreserve(n)
			return 0, err
		}
		now = now.Add(d)
	}
	if l.flow != nil {
		if err := l.limiter.egress.wait(ctx, l.flow, n); err != nil {
			l.unreserve(n)
			return 0, err
		}
	}
	for _, p := range l.parties[:l.n] {
		p.count(now, n)
	}
	return n, nil
}

// Wait is Grant for a body that leaves in one write: it returns when all n bytes may be sent.
func (l *Lease) Wait(ctx context.Context, n int64) error {
	for l.Shaped() && n > 0 {
		granted, err := l.Grant(ctx, n)
		if err != nil {
			return err
		}
		n -= granted
	}
	return nil
}

// Return gives back bytes that were granted and not sent. What the egress has lost by them is lost.
func (l *Lease) Return(n int64) {
	if !l.Shaped() || n <= 0 {
		return
	}
	l.unreserve(n)
	for _, p := range l.parties[:l.n] {
		p.count(time.Now(), -n)
	}
}

func (l *Lease) unreserve(n int64) {
	if l.paced {
		for _, p := range l.parties[:l.n] {
			p.giveBack(n)
		}
	}
}

// Missed tells that the answer led nowhere: 404 or 410 of a path that some hub serves. A client with too many of them is refused for a while,
// whatever it asks for, for it fills the store with negative entries and the upstream's log with nonsense.
func (l *Lease) Missed(now time.Time) {
	if l != nil {
		for _, p := range l.parties[:l.n] {
			p.missed(now)
		}
	}
}

// Close ends the request. More than one call is one.
func (l *Lease) Close() {
	if l == nil || l.closed.Swap(true) {
		return
	}
	for _, p := range l.parties[:l.n] {
		p.leave()
	}
	if l.flow != nil {
		l.limiter.egress.part(l.flow)
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
