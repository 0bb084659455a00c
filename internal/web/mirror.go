package web

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/mirror"
)

// A Mirror is what is asked of the scheduler of walks here.
type Mirror interface {
	Status() []mirror.Status // sorted by name
	Lookup(name string) (mirror.Status, bool)
	// Walk starts a walk of a directory by command. It fails with mirror.ErrBusy while another kind of walk of it is under way, and with
	// mirror.ErrNoSubtree for what cannot be walked.
	Walk(name string, dir cache.Key, o mirror.Options) (mirror.Status, error)
	// Forget ends the walks that could bring back what is stored for a Key, and returns when they have ended.
	Forget(key cache.Key)
	// Events are what happens from now on until ctx ends, which closes the channel. Who reads slowly misses some, never the last of a subtree.
	Events(ctx context.Context) <-chan mirror.Event
}

// mirrorView tells of a subtree in the shape in which tunasync tells of a mirror, so that what reads one reads the other. What tunasync has no word for
// comes after it.
type mirrorView struct {
	Name           string    `json:"name"`
	IsMaster       bool      `json:"is_master"`
	Status         string    `json:"status"`
	LastUpdate     textTime  `json:"last_update"`
	LastUpdateTS   stampTime `json:"last_update_ts"`
	LastStarted    textTime  `json:"last_started"`
	LastStartedTS  stampTime `json:"last_started_ts"`
	LastEnded      textTime  `json:"last_ended"`
	LastEndedTS    stampTime `json:"last_ended_ts"`
	NextSchedule   textTime  `json:"next_schedule"`
	NextScheduleTS stampTime `json:"next_schedule_ts"`
	Upstream       string    `json:"upstream"`
	Size           string    `json:"size"`

	Files    int64        `json:"files"`
	Dirs     int64        `json:"dirs"`
	Bytes    *int64       `json:"bytes"` // null until a walk has succeeded
	Error    string       `json:"error"`
	Failures int          `json:"failed_walks"` // in a row
	HeldBack int64        `json:"held_back"`
	DryRun   bool         `json:"dry_run"`
	Progress *figuresView `json:"progress"` // null without a walk under way
	Last     *figuresView `json:"last"`
}

// figuresView has Elapsed and ETA in seconds.
type figuresView struct {
	mirror.Figures
	Elapsed float64  `json:"elapsed_seconds"`
	ETA     *float64 `json:"eta_seconds"` // null when unknown
}

// textTime is a time as tunasync writes it. The zero one reads "0001-01-01 00:00:00 +0000".
type textTime time.Time

func (t textTime) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Time(t).UTC().Format("2006-01-02 15:04:05 -0700"))
}

// stampTime is a time in seconds since 1970. The zero one is a large negative number, as tunasync has it.
type stampTime time.Time

func (t stampTime) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(t).Unix(), 10), nil
}

func viewOf(st mirror.Status) mirrorView {
	v := mirrorView{
		Name: st.Name, IsMaster: true, Status: st.State, Upstream: st.Upstream, Size: roughSize(st.Size),
		LastUpdate: textTime(st.Success), LastUpdateTS: stampTime(st.Success), LastStarted: textTime(st.Started), LastStartedTS: stampTime(st.Started),
		LastEnded: textTime(st.Ended), LastEndedTS: stampTime(st.Ended), NextSchedule: textTime(st.Next), NextScheduleTS: stampTime(st.Next),
		Files: st.Files, Dirs: st.Dirs, Error: st.Err, Failures: st.Failed, HeldBack: st.Held, DryRun: st.DryRun,
		Progress: figuresOf(st.Live), Last: figuresOf(st.Last),
	}
	if st.Size >= 0 {
		v.Bytes = &st.Size
	}
	return v
}

func figuresOf(f *mirror.Figures) *figuresView {
	if f == nil {
		return nil
	}
	v := &figuresView{Figures: *f, Elapsed: f.Elapsed.Seconds()}
	v.Started = second(v.Started)
	if f.ETA > 0 {
		eta := f.ETA.Seconds()
		v.ETA = &eta
	}
	return v
}

// roughSize is a size as rsync's --human-readable words it, which is where tunasync has its sizes from: powers of 1,000, two places.
func roughSize(n int64) string {
	switch {
	case n < 0:
		return "unknown"
	case n < 1000:
		return strconv.FormatInt(n, 10)
	}
	v, unit := float64(n)/1000, 0
	for v >= 999.995 && unit < 5 {
		v, unit = v/1000, unit+1
	}
	return strconv.FormatFloat(v, 'f', 2, 64) + "KMGTPE"[unit:unit+1]
}

// mirrored tells of every subtree, or of the one that ?subtree= names.
func (s *Server) mirrored(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Vary", "Accept")
	html := prefersHTML(r.Header["Accept"])
	q := r.URL.Query()
	if !q.Has("subtree") {
		all := s.subtrees()
		if html {
			return s.mirrorPage(w, r, all)
		}
		views := make([]mirrorView, len(all))
		for i, st := range all {
			views[i] = viewOf(st)
		}
		w.Header().Set("Content-Type", "application/json")
		return s.encode(w, views)
	}
	st, err := s.subtree(q.Get("subtree"), r.Host)
	if err != nil {
		return err
	}
	if html {
		return s.mirrorPage(w, r, []mirror.Status{st})
	}
	w.Header().Set("Content-Type", "application/json")
	return s.encode(w, viewOf(st))
}

// subtrees are all that there are; none where nothing is stored.
func (s *Server) subtrees() []mirror.Status {
	if s.cfg.Mirror == nil {
		return nil
	}
	return s.cfg.Mirror.Status()
}

// subtree finds the subtree of a name as people write it, or the one of the directory that a path or URL means.
func (s *Server) subtree(raw, host string) (mirror.Status, error) {
	none := &failure{http.StatusNotFound, "no_subtree", "no subtree has this name"}
	if s.cfg.Mirror == nil {
		return mirror.Status{}, none
	}
	if st, ok := s.cfg.Mirror.Lookup(plainName(raw)); ok {
		return st, nil
	}
	name, _, err := s.directory(raw, host)
	if err != nil {
		return mirror.Status{}, none
	}
	if st, ok := s.cfg.Mirror.Lookup(name); ok {
		return st, nil
	}
	return mirror.Status{}, none
}

// plainName is a subtree's name as it is configured: with a slash in front, none behind, "/" for a root.
func plainName(raw string) string {
	name := strings.TrimRight(strings.TrimSpace(raw), "/")
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	return name
}

// directory reads a path or URL as that of a directory: its Key, and the name that a subtree there has.
func (s *Server) directory(raw, host string) (name string, dir cache.Key, err error) {
	key, err := s.cfg.Resolve(raw, host)
	if err != nil {
		return "", key, err
	}
	if _, ok := key.Query(); ok {
		return "", key, &failure{http.StatusBadRequest, "bad_path", "a directory has no query"}
	}
	if !key.IsDir() {
		if key, err = cache.ParseKey(key.Hub(), key.Path()+"/", "", false); err != nil {
			return "", key, err
		}
	}
	return s.nameOf(key), key, nil
}

// nameOf is the name that a subtree at a Key has: the path that clients ask for, behind the hub's first host where the hub is bound to one. It is ""
// for what lies under no configured hub.
func (s *Server) nameOf(key cache.Key) string {
	for _, h := range s.cfg.Hubs() {
		switch {
		case h.Name != key.Hub():
		case h.Path != "":
			return cmp.Or(strings.TrimSuffix(strings.TrimSuffix(h.Path, "/")+key.Path(), "/"), "/")
		case len(h.Hosts) > 0:
			return "//" + bracketed(h.Hosts[0]) + strings.TrimSuffix(key.Path(), "/")
		}
	}
	return ""
}

// bracketed is a host as URLs write it.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// mirroredView says of an entry which subtree it lies in, and when that was last walked with success.
type mirroredView struct {
	Subtree string    `json:"subtree"`
	AsOf    time.Time `json:"as_of"`
}

// walked returns the innermost subtree around a Key that was walked with success; nil without one.
func (s *Server) walked(key cache.Key) *mirroredView {
	var best *mirroredView
	longest := 0
	for _, st := range s.subtrees() {
		if st.Success.IsZero() {
			continue
		}
		_, dir, err := s.directory(st.Name, "") // by its name alone: "/" is no parent of what is mounted below it
		if err == nil && key.Under(dir) && len(dir.Path()) > longest {
			best, longest = &mirroredView{st.Name, second(st.Success)}, len(dir.Path())
		}
	}
	return best
}

// mirrorCount is what /-/status tells of the mirror.
type mirrorCount struct {
	Subtrees int `json:"subtrees"`
	Walking  int `json:"walking"`
	Failed   int `json:"failed"` // whose last walk did
}

func (s *Server) countMirror() *mirrorCount {
	if s.cfg.Mirror == nil {
		return nil
	}
	c := &mirrorCount{}
	for _, st := range s.subtrees() {
		c.Subtrees++
		switch {
		case st.Live != nil || st.State == mirror.StateWalking:
			c.Walking++
		case st.State == mirror.StateFailed:
			c.Failed++
		}
	}
	return c
}
