package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zcache/internal/cache"
)

// ErrStopped says that the Scheduler's Run has ended.
var ErrStopped = errors.New("the mirror has stopped")

// Why a walk was interrupted, beside ErrForgotten.
var (
	errSlice    = errors.New("its slice of time is over")
	errStopping = errors.New("the process stops")
	errDropped  = errors.New("the subtree is not configured any more")
)

const (
	firstBackoff = time.Minute // after a walk that failed; each further one doubles it
	// spread is the share by which every pause is longer or shorter, so that instances that were started together do not walk together.
	spread = 0.15
)

// A Scheduler decides when a subtree is walked. Its methods may be called concurrently.
type Scheduler struct {
	cfg        Config
	log        *slog.Logger
	walker     func(context.Context, *job) (result, error) // s.walk, but for tests
	companions *companions
	table      atomic.Pointer[table]
	longest    time.Duration // that a pause can last

	touched struct {
		mu     sync.Mutex // held for an append only: Touch must not wait
		tracks []*track   // each once, for pending is set
	}
	kick    chan struct{} // holds one when there is something for Run
	slots   chan struct{} // holds one for each walk under way
	closing chan struct{} // closed when Run ends
	helpers sync.WaitGroup

	mu         sync.Mutex
	tracks     map[string]*track   // by the subtrees' names
	remembered map[string]standing // of subtrees that are not configured now, by their names
	starts     []*errand           // not yet taken by Run
	live       map[*errand]bool    // that have a slot and a job
	readers    map[*subscription]bool
	sums       tally
	stopped    bool
	inForce    uint64 // the rules of subtrees: drawn anew when they, or the credentials of hubs, may have changed

	saves     atomic.Uint64 // asked for
	saving    sync.Mutex
	savedTurn uint64 // of saves: those up to it are done
	saved     string // what the state file holds
	readOnly  bool   // the state file must not be written
}

// New returns a Scheduler that remembers what an earlier one left in the state file. Run starts it.
func New(cfg Config) (*Scheduler, error) {
	if cfg.Store == nil || cfg.Refresher == nil || cfg.Root == nil {
		return nil, errors.New("a mirror needs a store, a refresher and a root")
	}
	withDefaults(&cfg)
	s := &Scheduler{
		cfg: cfg, log: cfg.Logger, longest: time.Duration(float64(cfg.MinInterval) * (1 + spread)),
		kick: make(chan struct{}, 1), slots: make(chan struct{}, cfg.Walks), closing: make(chan struct{}),
		tracks: map[string]*track{}, remembered: map[string]standing{}, live: map[*errand]bool{}, readers: map[*subscription]bool{},
	}
	s.walker = s.walk
	s.companions = newCompanions(&s.cfg)
	s.load()
	s.seatAll(cfg.Subtrees)
	if err := s.register(); err != nil {
		return nil, err
	}
	return s, nil
}

func withDefaults(cfg *Config) {
	if cfg.MinInterval <= 0 {
		cfg.MinInterval = time.Hour
	}
	if cfg.Parallel <= 0 {
		cfg.Parallel = 4
	}
	if cfg.Walks <= 0 {
		cfg.Walks = 4
	}
	if cfg.Slice <= 0 {
		cfg.Slice = 30 * time.Minute
	}
	cfg.MaxBytes = max(cfg.MaxBytes, 0)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

// jitter spreads a pause by ±15 %, drawn anew each time.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - spread + 2*spread*rand.Float64()))
}

// Touch says that a client used key. It starts a walk of the subtree around it when one is due, and never waits: of a subtree that is not due, or is being
// walked, it costs a few loads.
func (s *Scheduler) Touch(key cache.Key) {
	seat := s.table.Load().find(key)
	if seat == nil {
		return
	}
	s.companions.touch(seat, key)
	t := seat.track
	if t.pending.Load() || !t.due(s.cfg.Now().UnixNano(), s.longest) || !t.pending.CompareAndSwap(false, true) {
		return
	}
	s.touched.mu.Lock()
	s.touched.tracks = append(s.touched.tracks, t)
	s.touched.mu.Unlock()
	s.wake()
}

func (s *Scheduler) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Run walks what is touched and due, and what Walk asks for, until ctx ends. A walk that is under way then is interrupted: the first touch after a restart
// goes on with it. When Run returns, nothing of the Scheduler runs any more. It is called once.
func (s *Scheduler) Run(ctx context.Context) error {
	defer s.stop()
	s.companions.start(ctx, &s.helpers)
	for {
		for _, e := range s.gather() {
			s.helpers.Go(func() { s.carry(ctx, e) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.kick:
		}
	}
}

// gather returns the errands that are to be started.
func (s *Scheduler) gather() []*errand {
	s.touched.mu.Lock()
	tracks := s.touched.tracks
	s.touched.tracks = nil
	s.touched.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now().UnixNano()
	for _, t := range tracks {
		switch {
		case t.gone || t.now != nil: // a command was quicker
		case !t.due(now, s.longest): // a walk ended between the two looks of a touch
			t.pending.Store(false)
		default:
			s.send(t, Options{}, false)
		}
	}
	starts := s.starts
	s.starts = nil
	return starts
}

// send puts a walk of t in the queue. The lock is held.
func (s *Scheduler) send(t *track, o Options, command bool) {
	e := &errand{track: t, o: o, command: command, done: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	t.now = e
	t.pending.Store(true)
	s.starts = append(s.starts, e)
	s.tell(EventQueued, t)
}

func (s *Scheduler) stop() {
	s.mu.Lock()
	s.stopped = true
	for _, e := range s.starts {
		e.cancel(errStopping)
		s.release(e)
	}
	s.starts = nil
	close(s.closing)
	s.mu.Unlock()
	s.helpers.Wait()
}

// Options are what a command may ask of a walk.
type Options struct {
	DryRun       bool // only look, and tell what a walk would do
	ConfirmPurge bool // remove whatever is gone, however much that is
}

// Walk has a subtree walked at once: no interval and no pause holds it back, only the number of walks at a time does. It returns when the walk is queued;
// Events and Lookup tell how it goes. name is a configured subtree's, or any other, and then dir is walked by the rules of the subtree around it. It goes on
// over any number of slices. A walk of the same kind that is under way is joined; one of another kind fails with ErrBusy.
func (s *Scheduler) Walk(name string, dir cache.Key, o Options) (Status, error) {
	defer s.wake()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return Status{}, ErrStopped
	}
	t, err := s.trackFor(name, dir)
	if err != nil {
		return Status{}, fmt.Errorf("walk %s: %w", name, err)
	}
	switch {
	case t.now == nil:
		s.send(t, o, true)
	case t.now.o == o && t.now.ctx.Err() == nil:
		t.now.command = true
	default:
		return s.statusOf(t), fmt.Errorf("walk %s: %w", name, ErrBusy)
	}
	return s.statusOf(t), nil
}

// trackFor returns the track of what a command names. The lock is held.
func (s *Scheduler) trackFor(name string, dir cache.Key) (*track, error) {
	if t := s.tracks[name]; t != nil && !t.adhoc {
		return t, nil
	}
	if dir.IsZero() || !dir.IsDir() {
		return nil, ErrNoSubtree
	}
	if seat := s.table.Load().find(dir); seat != nil && seat.sub.Dir == dir {
		return seat.track, nil
	}
	if name == "" {
		name = dir.String()
	}
	return s.adhocTrack(name, dir)
}

// Status tells of all subtrees, and of what was walked by command, sorted by name.
func (s *Scheduler) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Status, 0, len(s.tracks))
	for _, t := range s.tracks {
		all = append(all, s.statusOf(t))
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Lookup tells of the subtree of that name.
func (s *Scheduler) Lookup(name string) (Status, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tracks[name]
	if t == nil {
		return Status{}, false
	}
	return s.statusOf(t), true
}

// statusOf tells of one subtree. The lock is held.
func (s *Scheduler) statusOf(t *track) Status {
	p := &t.past
	st := Status{
		Name: t.sub.Name, State: p.state(), Upstream: t.sub.Upstream,
		Success: p.Success, Started: p.Started, Ended: p.Ended, Next: p.Next,
		Size: p.Size, Files: p.Files, Dirs: p.Dirs, Err: p.Err, Failed: p.Failures, Held: p.Held,
		Last: t.last, DryRun: t.dry,
	}
	if p.Success.IsZero() {
		st.Size = -1
	}
	if t.dry {
		st.Err = t.why
	}
	if e := t.now; e != nil {
		st.State, st.DryRun = StateQueued, e.o.DryRun
		if s.live[e] {
			f := e.job.figures(s.cfg.Now())
			st.State, st.Live = StateWalking, &f
		}
	}
	return st
}

// longestForget bounds how long Forget waits for walks to end; they give up at once, but a stalled disk may hold them.
const longestForget = 10 * time.Second

// Forget ends the walks that touch key or anything below it, because that is about to be purged: what they have found out is no longer so, and they would
// bring back what is removed. It returns when they have ended. No touch starts them again at once.
func (s *Scheduler) Forget(key cache.Key) {
	var ended []<-chan struct{}
	s.mu.Lock()
	for _, t := range s.tracks {
		if e := t.now; e != nil && (t.sub.Dir.Under(key) || key.Under(t.sub.Dir)) {
			e.cancel(ErrForgotten)
			ended = append(ended, e.done)
		}
	}
	starts := s.starts[:0]
	for _, e := range s.starts {
		if e.ctx.Err() == nil {
			starts = append(starts, e)
			continue
		}
		s.release(e)
	}
	s.starts = starts
	s.mu.Unlock()
	late := time.NewTimer(longestForget)
	defer late.Stop()
	for _, done := range ended {
		select {
		case <-done:
		case <-late.C:
			s.log.Warn("a walk does not end for a purge", "key", key.String())
			return
		}
	}
}
