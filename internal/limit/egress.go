package limit

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// An Egress shares a number of bytes a second between clients by start-time fair queueing: each grant is tagged with the service that its client
// has had, in bytes over weight, and the lowest tag is served first. A client with a hundred connections has one tag, so one share. What some do
// not ask for, others get. Its methods may be called concurrently.
type Egress struct {
	mu      sync.Mutex
	rate    float64 // bytes a second; 0 grants everything at once
	quantum int64
	credit  float64 // bytes that may be granted now; below 0 a grant is still being paid for
	at      time.Time
	virtual float64 // the service that a client has had which was always there
	highest float64 // the highest tag that was given
	flows   map[Subject]*flow
	live    float64 // the weight of the flows that somebody has joined
	sweepAt int
	ready   flowHeap
	order   uint64
	waiting int
	timer   *time.Timer
}

// A flow is a client that sends.
type flow struct {
	who    Subject
	users  int
	weight float64
	start  float64 // the tag of its next grant, while it waits
	finish float64 // up to where it has been served
	asks   []*ask
	index  int // in ready; -1 when it is not there
	order  uint64
}

type ask struct {
	n       int64
	granted bool
	done    chan struct{}
}

// NewEgress returns an Egress of rate bytes a second; 0 has no limit.
func NewEgress(rate int64) *Egress {
	e := &Egress{flows: map[Subject]*flow{}, at: time.Now(), sweepAt: 64}
	e.SetRate(rate)
	return e
}

// SetRate changes the rate for all that follows.
func (e *Egress) SetRate(rate int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.refill(now)
	e.rate = float64(max(rate, 0))
	// A thousand grants a second keep the line busy and 200 clients' turns a fifth of a second apart.
	e.quantum = min(max(rate/1000, smallGrain), largeGrain)
	e.credit = min(e.credit, e.burst())
	e.dispatch(now)
}

// Quantum is the most that is granted at once.
func (e *Egress) Quantum() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.quantum
}

// Waiting is the number of connections that wait for a grant.
func (e *Egress) Waiting() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.waiting
}

// burst is what a line that was idle may send at once: the bytes of a fiftieth of a second, for a timer comes late now and then.
func (e *Egress) burst() float64 { return max(e.rate/50, float64(e.quantum)) }

func (e *Egress) refill(now time.Time) {
	if d := now.Sub(e.at); d > 0 {
		e.credit = min(e.credit+e.rate*d.Seconds(), e.burst())
	}
	e.at = now
	if e.credit >= e.burst() && len(e.ready) == 0 {
		e.virtual = max(e.virtual, e.highest) // the line was idle: nobody is owed anything
	}
}

// join returns the flow of a client, for one more connection. Weight 0 is 1.
func (e *Egress) join(who Subject, weight float64) *flow {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refill(time.Now())
	f := e.flows[who]
	if f == nil {
		if len(e.flows) >= e.sweepAt {
			e.sweep()
		}
		f = &flow{who: who, finish: e.virtual, index: -1}
		e.flows[who] = f
	}
	if weight <= 0 {
		weight = 1
	}
	if f.users > 0 {
		e.live -= f.weight
	}
	e.live += weight
	f.weight = weight
	f.users++
	return f
}

// part ends a connection's part in a flow. The flow stays for as long as its tag is ahead of the others': forgotten, a client that opens a
// connection for each file would be a newcomer with each, and served before those who wait.
func (e *Egress) part(f *flow) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f.users--
	if f.users > 0 {
		return
	}
	e.live -= f.weight
	if f.finish <= e.virtual {
		delete(e.flows, f.who)
	}
}

func (e *Egress) sweep() {
	for who, f := range e.flows {
		if f.users == 0 && f.finish <= e.virtual {
			delete(e.flows, who)
		}
	}
	e.sweepAt = max(64, 2*len(e.flows))
}

// wait returns when n bytes of the flow may be sent.
func (e *Egress) wait(ctx context.Context, f *flow, n int64) error {
	e.mu.Lock()
	now := time.Now()
	e.refill(now)
	a := &ask{n: n, done: make(chan struct{})}
	f.asks = append(f.asks, a)
	e.waiting++
	if f.index < 0 {
		// A client that was busy sending what it was last granted has not lost its turn: two quanta may be made up for.
		f.start = max(f.finish, e.virtual-2*float64(e.quantum)/f.weight)
		e.push(f)
	}
	e.dispatch(now)
	e.mu.Unlock()
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.granted {
		e.credit += float64(n)
		f.finish -= float64(n) / f.weight
		e.dispatch(time.Now())
	} else {
		e.withdraw(f, a)
	}
	return context.Cause(ctx)
}

func (e *Egress) push(f *flow) {
	e.order++
	f.order = e.order
	heap.Push(&e.ready, f)
}

// withdraw takes an ask back.
func (e *Egress) withdraw(f *flow, a *ask) {
	for i := range f.asks {
		if f.asks[i] == a {
			f.asks = append(f.asks[:i], f.asks[i+1:]...)
			e.waiting--
			break
		}
	}
	if len(f.asks) == 0 && f.index >= 0 {
		heap.Remove(&e.ready, f.index)
	}
}

// dispatch grants what may be granted now, and sees to it that it is called again when there is more. The mutex is held.
func (e *Egress) dispatch(now time.Time) {
	for len(e.ready) > 0 && (e.credit > 0 || e.rate <= 0) {
		f := e.ready[0]
		a := f.asks[0]
		f.asks[0] = nil
		f.asks = f.asks[1:]
		e.waiting--
		// Time goes on with what is granted, as if all who are there had taken their share. By the tags alone it would stand still while ever
		// new clients come, each of whom would then be served before those who wait.
		e.virtual = max(e.virtual+float64(a.n)/max(e.live, f.weight), f.start)
		f.finish = f.start + float64(a.n)/f.weight
		e.highest = max(e.highest, f.finish)
		if e.rate > 0 {
			e.credit -= float64(a.n)
		}
		a.granted = true
		close(a.done)
		heap.Remove(&e.ready, 0)
		if len(f.asks) > 0 {
			f.start = f.finish
			e.push(f)
		}
	}
	if len(e.ready) == 0 {
		return
	}
	d := time.Duration(-e.credit/e.rate*1e9) + 1
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.tick)
		return
	}
	e.timer.Reset(d)
}

func (e *Egress) tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	e.refill(now)
	e.dispatch(now)
}

// flowHeap has the flow on top whose turn it is.
type flowHeap []*flow

func (h flowHeap) Len() int { return len(h) }

func (h flowHeap) Less(i, j int) bool {
	if h[i].start != h[j].start {
		return h[i].start < h[j].start
	}
	return h[i].order < h[j].order
}

func (h flowHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *flowHeap) Push(x any) {
	f := x.(*flow)
	f.index = len(*h)
	*h = append(*h, f)
}

func (h *flowHeap) Pop() any {
	old := *h
	f := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	f.index = -1
	return f
}
