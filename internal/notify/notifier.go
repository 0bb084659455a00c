package notify

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	mostSubjects = 1024            // of which it is known that they were told; beyond, those of a kind are one
	mostPending  = 256             // events that Run has not taken yet
	samples      = 10              // of what was held back
	drain        = 5 * time.Second // for what is queued when the context ends
)

// Config is what a Notifier works with.
type Config struct {
	Sinks      []Sink
	Window     time.Duration // in which the same thing is told once; 0 = 1 h
	PerHour    int           // the most that is told in any hour; 0 = 30, and 2 at least
	Instance   string        // how this instance is called in messages
	Logger     *slog.Logger
	Registerer Registerer
}

// A Notifier tells Sinks of events. Its methods may be called concurrently. A nil Notifier tells nobody.
type Notifier struct {
	conf    Config
	log     *slog.Logger
	outlets []*outlet
	limiter *rate.Limiter
	metrics *metrics
	queue   chan Event

	mu    sync.Mutex
	seen  map[topic]*record
	order []*record // by the end of their windows, for all are equally long

	held      map[Kind]int // by Run alone: what the limit has kept back
	heldLines []string
}

type topic struct {
	kind    Kind
	subject string
}

// A record is a topic that was told.
type record struct {
	topic topic
	until time.Time
	again int
	last  Event
}

// New returns a Notifier. Nothing is told before Run runs.
func New(c Config) *Notifier {
	if c.Window <= 0 {
		c.Window = time.Hour
	}
	if c.PerHour <= 0 {
		c.PerHour = 30
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.PerHour = max(c.PerHour, 2)
	// A third at once and the rest over the hour: the two together are what any hour sees at most.
	burst := max(1, c.PerHour/3)
	n := &Notifier{
		conf: c, log: c.Logger, metrics: newMetrics(c.Registerer), queue: make(chan Event, mostPending),
		limiter: rate.NewLimiter(rate.Limit(float64(c.PerHour-burst)/3600), burst),
		seen:    map[topic]*record{}, held: map[Kind]int{},
	}
	for _, s := range c.Sinks {
		n.outlets = append(n.outlets, newOutlet(s, n.log, n.metrics))
	}
	return n
}

// Tell tells of an event, or counts it when the same was told within the window. It returns at once.
func (n *Notifier) Tell(e Event) {
	if n == nil || len(n.outlets) == 0 {
		return
	}
	e = e.clean()
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	key := topic{e.Kind, e.Subject}
	if n.seen[key] == nil && len(n.seen) >= mostSubjects {
		key.subject = ""
	}
	if r := n.seen[key]; r != nil {
		r.again++
		r.last = e
		n.metrics.count(e.Kind, "suppressed")
		return
	}
	r := &record{topic: key, until: now.Add(n.conf.Window), last: e}
	n.seen[key] = r
	n.order = append(n.order, r)
	select {
	case n.queue <- e:
	default:
		r.again = 1 // it is told at the end of its window
		n.metrics.count(e.Kind, "suppressed")
	}
}

// Run tells what there is to tell until ctx ends, and then for up to 5 s what is still queued, without trying again.
func (n *Notifier) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	for _, o := range n.outlets {
		wg.Go(func() { o.run(ctx, work) })
	}
	timer := time.NewTimer(n.conf.Window)
	defer timer.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case e := <-n.queue:
			n.emit(e, 0)
		case <-timer.C:
			n.endWindows(time.Now())
			n.tellHeld(false)
		}
		timer.Reset(n.next())
	}
	n.rest()
	for _, o := range n.outlets {
		close(o.queue)
	}
	deadline := time.AfterFunc(drain, stop)
	defer deadline.Stop()
	wg.Wait()
	return ctx.Err()
}

// rest hands to the outlets what was not told yet.
func (n *Notifier) rest() {
	for {
		select {
		case e := <-n.queue:
			n.emit(e, 0)
			continue
		default:
		}
		break
	}
	n.tellHeld(true)
}

// next is the time until something is due.
func (n *Notifier) next() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.conf.Window
	if len(n.order) > 0 {
		d = time.Until(n.order[0].until)
	}
	if len(n.held) > 0 {
		lack := 1 - n.limiter.Tokens()
		d = min(d, time.Duration(lack/float64(n.limiter.Limit())*1e9)+time.Millisecond)
	}
	return max(d, time.Millisecond)
}

// endWindows tells how often it happened again what was told a window ago, and forgets what did not.
func (n *Notifier) endWindows(now time.Time) {
	var again []record
	n.mu.Lock()
	for len(n.order) > 0 && !now.Before(n.order[0].until) {
		r := n.order[0]
		n.order = n.order[1:]
		if r.again == 0 {
			delete(n.seen, r.topic)
			continue
		}
		again = append(again, *r)
		r.again, r.until = 0, now.Add(n.conf.Window)
		n.order = append(n.order, r)
	}
	n.mu.Unlock()
	for _, r := range again {
		n.emit(r.last, r.again)
	}
}

// emit gives an event to all sinks, or holds it back for the summary. While something is held back, all that follows is too: the summary then is
// whole, and in its place.
func (n *Notifier) emit(e Event, again int) {
	if len(n.held) > 0 || !n.limiter.Allow() {
		n.held[e.Kind] += 1 + again
		if len(n.heldLines) < samples {
			n.heldLines = append(n.heldLines, fmt.Sprintf("%s %s: %s", e.Kind, e.Subject, e.Text))
		}
		n.metrics.count(e.Kind, "held")
		return
	}
	n.send(newMessage(e, n.conf.Instance, again))
}

// tellHeld tells in one message what was held back, when there may be one again, or at last.
func (n *Notifier) tellHeld(last bool) {
	if len(n.held) == 0 || !last && !n.limiter.Allow() {
		return
	}
	e := Event{Kind: HeldBack, Subject: "more notices than are told in an hour", Fields: map[string]string{}}
	total := 0
	for kind, count := range n.held {
		e.Fields[string(kind)] = fmt.Sprint(count)
		total += count
	}
	e.Text = fmt.Sprintf("%d notices were held back; the first are: %s", total, strings.Join(n.heldLines, "; "))
	n.held, n.heldLines = map[Kind]int{}, nil
	n.send(newMessage(e, n.conf.Instance, 0))
}

func (n *Notifier) send(m Message) {
	for _, o := range n.outlets {
		o.put(m)
	}
}

// takes says that the sink wants messages of the kind.
func takes(s Sink, k Kind) bool {
	chosen, ok := s.(interface{ Kinds() []Kind })
	if !ok || len(chosen.Kinds()) == 0 {
		return k != ReadinessChanged
	}
	return slices.Contains(chosen.Kinds(), k)
}
