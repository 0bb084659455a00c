package limit

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Gate bounds the trips to the upstreams of a hub. Those that wait are let through client by client, the trips of one in the order in which they
// came. A nil Gate lets everything through. Its methods may be called concurrently.
type Gate struct {
	mu      sync.Mutex
	conf    Upstream
	under   int // trips under way
	waiting int
	turns   []*line // of clients with trips that wait; the first is next
	lines   map[Subject]*line
}

// A line is the trips of one client that wait.
type line struct {
	who   Subject
	trips []*trip
}

type trip struct {
	done chan struct{} // closed when it may go, or was refused
	err  error
}

// NewGate returns a Gate.
func NewGate(u Upstream) *Gate { return &Gate{conf: u, lines: map[Subject]*line{}} }

// Enter waits for the client's turn. The trip is over when leave is called, once or more often. The error is a Refusal with status 503 when too many
// wait or the wait was too long, else the cause of the context's end.
func (g *Gate) Enter(ctx context.Context, who Subject) (leave func(), err error) {
	if g == nil {
		return func() {}, nil
	}
	g.mu.Lock()
	if g.conf.Trips <= 0 || g.under < g.conf.Trips && g.waiting == 0 {
		g.under++
		g.mu.Unlock()
		return sync.OnceFunc(g.leave), nil
	}
	if err := g.room(who); err != nil {
		g.mu.Unlock()
		return nil, err
	}
	t := &trip{done: make(chan struct{})}
	l := g.lines[who]
	if l == nil {
		l = &line{who: who}
		g.lines[who] = l
		g.turns = append(g.turns, l)
	}
	l.trips = append(l.trips, t)
	g.waiting++
	trips, longest := g.conf.Trips, g.conf.Wait
	g.mu.Unlock()

	var late <-chan time.Time
	if longest > 0 {
		timer := time.NewTimer(longest)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-late:
		err = busy(trips, fmt.Sprintf("no turn came within %v for a trip to the upstream, which has %d at a time", longest, trips))
	}
	if err != nil && g.withdraw(who, t) {
		return nil, err
	}
	if t.err != nil {
		return nil, t.err
	}
	if err != nil { // its turn came at the same moment
		g.leave()
		return nil, err
	}
	return sync.OnceFunc(g.leave), nil
}

// room makes a place in the queue. When it is full, whoever has most trips in it loses the one that came last, if that is fair: one client that asks
// for a thousand files must not keep all others from asking for one.
func (g *Gate) room(who Subject) error {
	if g.waiting < g.conf.Queue {
		return nil
	}
	refusal := busy(g.conf.Trips, fmt.Sprintf("%d trips to the upstream wait already, and %d are under way", g.waiting, g.under))
	own := 0
	if l := g.lines[who]; l != nil {
		own = len(l.trips)
	}
	var longest *line
	for _, l := range g.turns {
		if longest == nil || len(l.trips) > len(longest.trips) {
			longest = l
		}
	}
	if longest == nil || len(longest.trips) <= own+1 {
		return refusal
	}
	t := longest.trips[len(longest.trips)-1]
	t.err = refusal
	g.remove(longest, len(longest.trips)-1)
	close(t.done)
	return nil
}

// leave ends a trip and lets the next one go.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under--
	g.next()
}

// next lets go who may.
func (g *Gate) next() {
	for len(g.turns) > 0 && (g.conf.Trips <= 0 || g.under < g.conf.Trips) {
		l := g.turns[0]
		t := l.trips[0]
		g.turns = append(g.turns[1:], l) // behind all others, if it has more
		g.remove(l, 0)
		g.under++
		close(t.done)
	}
}

func (g *Gate) remove(l *line, i int) {
	l.trips = append(l.trips[:i], l.trips[i+1:]...)
	g.waiting--
	if len(l.trips) > 0 {
		return
	}
	delete(g.lines, l.who)
	for j := range g.turns {
		if g.turns[j] == l {
			g.turns = append(g.turns[:j], g.turns[j+1:]...)
			break
		}
	}
}

// withdraw takes a trip out of its line. It is false when the trip is there no more.
func (g *Gate) withdraw(who Subject, t *trip) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.lines[who]
	if l == nil {
		return false
	}
	for i := range l.trips {
		if l.trips[i] == t {
			g.remove(l, i)
			return true
		}
	}
	return false
}

// resize puts other bounds in force.
func (g *Gate) resize(u Upstream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conf = u
	g.next()
}

// Load is how many trips are under way and how many wait.
func (g *Gate) Load() (under, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.under, g.waiting
}

type subjectKey struct{}

// With says in a context on whose behalf a trip is made. A flight that outlives its client must carry it over.
func With(ctx context.Context, who Subject) context.Context {
	return context.WithValue(ctx, subjectKey{}, who)
}

// From is the client of a context; all that have none are counted as one.
func From(ctx context.Context) Subject {
	who, _ := ctx.Value(subjectKey{}).(Subject)
	return who
}
