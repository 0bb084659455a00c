package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	mostQueued  = 64 // messages of one sink
	sendTimeout = 15 * time.Second
	longestWait = 10 * time.Minute // that a receiver may ask for
)

// pauses are those between the tries of a message. A receiver that is restarted, or moved, is back in that time; one that is down for longer finds
// what happened in the log.
var pauses = []time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute}

// errPermanent says that trying again is of no use; errGone, that the receiver wants no more of it.
var (
	errPermanent = errors.New("will not be tried again")
	errGone      = errors.New("the receiver wants no more messages")
)

// A retryLater is an error of a receiver that says when to come again.
type retryLater struct {
	error
	after time.Duration
}

func (r retryLater) Unwrap() error { return r.error }

// An outlet brings messages to one sink, in their order.
type outlet struct {
	sink    Sink
	log     *slog.Logger
	metrics *metrics
	queue   chan Message
}

func newOutlet(s Sink, log *slog.Logger, m *metrics) *outlet {
	return &outlet{sink: s, log: log.With("sink", s.String()), metrics: m, queue: make(chan Message, mostQueued)}
}

// put queues a message. It does not wait for room.
func (o *outlet) put(m Message) {
	if !takes(o.sink, m.Kind) {
		return
	}
	select {
	case o.queue <- m:
	default:
		o.metrics.count(m.Kind, "dropped")
		o.log.Warn("notice dropped: too many wait for the sink", "kind", m.Kind, "subject", m.Subject)
	}
}

// run sends what is queued until the queue is closed. When ctx has ended each message is tried once more, until work ends too.
func (o *outlet) run(ctx, work context.Context) {
	gone := false
	for m := range o.queue {
		if gone {
			o.metrics.count(m.Kind, "failed")
			continue
		}
		err := o.deliver(ctx, work, m)
		if err == nil {
			o.metrics.count(m.Kind, "sent")
			continue
		}
		gone = errors.Is(err, errGone)
		o.metrics.count(m.Kind, "failed")
		o.log.Error("notice not delivered", "kind", m.Kind, "subject", m.Subject, "text", m.Text, "error", err.Error())
	}
}

// deliver tries until it has worked, or it is of no use.
func (o *outlet) deliver(ctx, work context.Context, m Message) error {
	for try := 0; ; try++ {
		last := ctx.Err() != nil
		err := attempt(work, o.sink, m)
		if err == nil || last || try == len(pauses) || errors.Is(err, errPermanent) || errors.Is(err, errGone) {
			return err
		}
		o.metrics.count(m.Kind, "retried")
		await(ctx, pauseAfter(err, pauses[try]))
	}
}

func attempt(ctx context.Context, s Sink, m Message) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return s.Send(ctx, m)
}

// pauseAfter is a pause with up to a quarter more, so that many instances do not come back at once; or what the receiver asks for.
func pauseAfter(err error, d time.Duration) time.Duration {
	if later, ok := errors.AsType[retryLater](err); ok {
		d = max(d, min(later.after, longestWait))
	}
	return d + rand.N(d/4+1)
}

func await(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
