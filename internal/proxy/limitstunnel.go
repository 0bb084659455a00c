package proxy

import (
	"context"
	"sync"
	"sync/atomic"

	"zcache/internal/limit"
)

// A toll is what the two directions of a tunnel pay for their bytes. They pay when a piece has passed, as nobody knows before that how long it is: what
// is asked for ahead of a peer that says nothing would be lost to others. A nil toll is free.
type toll struct {
	ctx     context.Context
	stop    context.CancelFunc
	mu      sync.Mutex // a Lease is for one goroutine at a time
	lease   *limit.Lease
	waiting atomic.Int32
}

// shape has the pair pay for its bytes, if its client's are counted. The caller calls done when the tunnel has ended.
func (t *pair) shape(ctx context.Context, lease *limit.Lease) (done func()) {
	if !lease.Shaped() {
		return func() {}
	}
	t.toll = &toll{lease: lease}
	t.toll.ctx, t.toll.stop = context.WithCancel(ctx)
	return t.toll.stop
}

// pay returns when n more bytes could have passed.
func (p *toll) pay(n int64) error {
	if p == nil || n <= 0 {
		return nil
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lease.Wait(p.ctx, n)
}

// waits says that a direction is still for no fault of its peers.
func (p *toll) waits() bool { return p != nil && p.waiting.Load() > 0 }

// close ends the waiting.
func (p *toll) close() {
	if p != nil {
		p.stop()
	}
}
