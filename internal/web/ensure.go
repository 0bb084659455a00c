package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

const (
	// ensureAtOnce is how many URLs of a task are fetched side by side: enough to use a line, few enough to leave clients theirs.
	ensureAtOnce = 4
	// tasksKept is how many tasks are remembered, ended ones included.
	tasksKept = 256
	maxURLs   = 10000
	// mostNoted is how many URLs of a task the audit log names.
	mostNoted = 100
)

var (
	errNotKept = errors.New("the upstream answered, but with what may not be kept")
	errNoStore = errors.New("this instance stores nothing (mode proxy)")
)

// A taskItem is what became of one URL of a task.
type taskItem struct {
	URL    string `json:"url"`
	State  string `json:"state"`            // pending, fetching, held, failed
	Status int    `json:"status,omitempty"` // what a client would get
	Cache  string `json:"x_cache,omitempty"`
	Error  string `json:"error,omitempty"`
}

// taskView is the JSON of a task.
type taskView struct {
	ID      string     `json:"id"`
	State   string     `json:"state"` // running, done, partial, failed
	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`
	Held    int        `json:"held"`
	Failed  int        `json:"failed"`
	Total   int        `json:"total"`
	URLs    []taskItem `json:"urls"`
}

type task struct {
	mu   sync.Mutex
	view taskView
	done chan struct{}
}

func (t *task) snapshot() taskView {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.view
	v.URLs = append([]taskItem(nil), v.URLs...)
	return v
}

func (t *task) set(i int, item taskItem) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view.URLs[i] = item
	switch item.State {
	case "held":
		t.view.Held++
	case "failed":
		t.view.Failed++
	}
}

type tasks struct {
	mu    sync.Mutex
	byID  map[string]*task
	order []string
}

// add remembers a task and forgets the oldest ended ones. It returns false when too many are under way.
func (ts *tasks) add(t *task) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.byID == nil {
		ts.byID = map[string]*task{}
	}
	for i := 0; len(ts.order) >= tasksKept && i < len(ts.order); {
		old := ts.byID[ts.order[i]]
		select {
		case <-old.done:
			delete(ts.byID, ts.order[i])
			ts.order = append(ts.order[:i], ts.order[i+1:]...)
		default:
			i++
		}
	}
	if len(ts.order) >= tasksKept {
		return false
	}
	ts.byID[t.view.ID] = t
	ts.order = append(ts.order, t.view.ID)
	return true
}

func (ts *tasks) get(id string) *task {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.byID[id]
}

// ensure makes sure that URLs are held: at once with a task to look at, or, with wait, when all is done.
func (s *Server) ensure(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		URLs []string `json:"urls"`
		Wait bool     `json:"wait"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	if len(in.URLs) == 0 || len(in.URLs) > maxURLs {
		return &failure{http.StatusBadRequest, "no_urls", `ensure wants {"urls": ["/hub/…"], "wait": false}, at most 10,000 of them`}
	}
	var id [8]byte
	rand.Read(id[:])
	t := &task{done: make(chan struct{}), view: taskView{
		ID: hex.EncodeToString(id[:]), State: "running", Started: s.cfg.Now().UTC(), Total: len(in.URLs), URLs: make([]taskItem, len(in.URLs)),
	}}
	for i, u := range in.URLs {
		t.view.URLs[i] = taskItem{URL: u, State: "pending"}
	}
	if !s.tasks.add(t) {
		return &failure{http.StatusServiceUnavailable, "busy", "too many tasks are under way"}
	}
	for _, u := range in.URLs[:min(len(in.URLs), mostNoted)] {
		s.noteDone(r, u)
	}
	host := r.Host
	s.wg.Go(func() { s.run(t, in.URLs, host) })
	if in.Wait {
		select {
		case <-t.done:
			return s.show(w, r, "Ensure", t.snapshot())
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	w.Header().Set("Location", "/-/ensure/"+t.view.ID)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	return s.encode(w, t.snapshot())
}

func (s *Server) run(t *task, urls []string, host string) {
	defer close(t.done)
	var group errgroup.Group
	group.SetLimit(ensureAtOnce)
	for i, u := range urls {
		group.Go(func() error {
			t.set(i, taskItem{URL: u, State: "fetching"})
			t.set(i, s.ensureOne(s.ctx, u, host))
			return nil
		})
	}
	group.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	now := s.cfg.Now().UTC()
	t.view.Ended = &now
	switch {
	case t.view.Failed == 0:
		t.view.State = "done"
	case t.view.Held == 0:
		t.view.State = "failed"
	default:
		t.view.State = "partial"
	}
}

// maxHops is how many redirects of one hub into itself are followed for one URL.
const maxHops = 10

// ensureOne makes sure that what a URL stands for is held. A redirect that stays in the hub is passed to clients, who then ask for the
// other path: holding the redirect alone would leave them without the body.
func (s *Server) ensureOne(ctx context.Context, raw, host string) taskItem {
	key, err := s.cfg.Resolve(raw, host)
	if err == nil && s.cfg.Store == nil {
		err = errNoStore
	}
	if err != nil {
		return taskItem{URL: raw, State: "failed", Error: err.Error()}
	}
	for range maxHops {
		item := s.ensureKey(ctx, key)
		item.URL = raw
		if item.Status < 300 || item.Status > 399 {
			return item
		}
		next, ok := s.leadsTo(ctx, key)
		if !ok {
			return item
		}
		key = next
	}
	return taskItem{URL: raw, State: "failed", Status: http.StatusLoopDetected, Error: "it leads from redirect to redirect"}
}

func (s *Server) ensureKey(ctx context.Context, key cache.Key) taskItem {
	outcome, err := s.cfg.Filler.Ensure(ctx, key)
	if err != nil {
		return taskItem{State: "failed", Status: statusOf(err), Cache: outcome.Cache, Error: err.Error()}
	}
	// That the origin answered does not mean that its answer could be kept: look.
	x, err := s.cfg.Filler.Explain(&fill.Request{Key: key, Method: http.MethodGet, Header: http.Header{}})
	if err == nil && !x.Held {
		err = errNotKept
	}
	if err != nil {
		return taskItem{State: "failed", Status: outcome.FwdStatus, Cache: outcome.Cache, Error: err.Error()}
	}
	return taskItem{State: "held", Status: x.Meta.Status, Cache: outcome.Cache}
}

// leadsTo is the Key of the same hub that a client asks for who was redirected from key.
func (s *Server) leadsTo(ctx context.Context, key cache.Key) (cache.Key, bool) {
	a, err := s.cfg.Filler.Get(ctx, &fill.Request{Key: key, Method: http.MethodGet, Header: http.Header{}})
	if err != nil {
		return cache.Key{}, false
	}
	defer a.Close()
	location, base := a.Header.Get("Location"), a.URL
	if a.Status < 300 || a.Status > 399 || location == "" {
		return cache.Key{}, false
	}
	u, err := url.Parse(base)
	if err == nil {
		u, err = u.Parse(location)
	}
	if err != nil {
		return cache.Key{}, false
	}
	return s.cfg.KeyOf(key.Hub(), u)
}

// statusOf is the status that a client would get for an error of the filler.
func statusOf(err error) int {
	var answered *fill.StatusError
	switch {
	case errors.As(err, &answered):
		return answered.Status
	case errors.Is(err, fill.ErrUnreachable), errors.Is(err, fill.ErrOffline), errors.Is(err, fill.ErrOnlyIfCached):
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}

func (s *Server) task(w http.ResponseWriter, r *http.Request) error {
	t := s.tasks.get(mux.Vars(r)["id"])
	if t == nil {
		return &failure{http.StatusNotFound, "no_task", "no such task; only the last few hundred are remembered"}
	}
	return s.show(w, r, "Ensure", t.snapshot())
}
