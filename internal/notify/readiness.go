package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Readiness tells hooks when the instance is ready no more, and when it is again: what takes its address out of DNS and puts it back. It tells every
// state that lasts, the newest first, and tries until it has worked. An instance begins ready: whoever puts it into the rotation has done so.
// Its methods may be called concurrently. A nil Readiness tells nobody.
type Readiness struct {
	hooks    []Sink
	instance string
	log      *slog.Logger

	mu      sync.Mutex
	red     bool
	why     string
	changed chan struct{} // closed with every change
}

// NewReadiness returns a Readiness for these hooks. Nothing is told before Run runs.
func NewReadiness(hooks []Sink, instance string, log *slog.Logger) *Readiness {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Readiness{hooks: hooks, instance: instance, log: log, changed: make(chan struct{})}
}

// Set says how it is, as often as one likes, and returns at once. A state must be told from one that flickers by the caller.
func (r *Readiness) Set(ready bool, why string) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.red == !ready {
		return
	}
	r.red, r.why = !ready, why
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *Readiness) state() (red bool, why string, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.red, r.why, r.changed
}

// Run tells the hooks until ctx ends, and then for up to 5 s the last state, if it is not told.
func (r *Readiness) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	for _, hook := range r.hooks {
		wg.Go(func() { r.follow(ctx, work, hook) })
	}
	<-ctx.Done()
	defer time.AfterFunc(drain, stop).Stop()
	wg.Wait()
	return ctx.Err()
}

// follow keeps one hook told.
func (r *Readiness) follow(ctx, work context.Context, hook Sink) {
	told, tries := false, 0 // red, as the hook knows it
	for {
		last := ctx.Err() != nil
		red, why, changed := r.state()
		var again <-chan time.Time
		if red != told {
			err := attempt(work, hook, r.message(red, why))
			if err == nil {
				told, tries = red, 0
				continue
			}
			r.log.Error("hook of readiness failed", "sink", hook.String(), "red", red, "error", err.Error())
			timer := time.NewTimer(pauseAfter(err, min(pauses[min(tries, len(pauses)-1)], time.Minute)))
			defer timer.Stop()
			again = timer.C
			tries++
		}
		if last {
			return
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again:
		}
	}
}

func (r *Readiness) message(red bool, why string) Message {
	state := "green"
	if red {
		state = "red"
	}
	return newMessage(Event{Kind: ReadinessChanged, Subject: state, Text: why, Fields: map[string]string{"state": state}}.clean(), r.instance, 0)
}
