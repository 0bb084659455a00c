package mirror

import (
	"cmp"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"zcache/internal/cache"
)

// A track is what the scheduler knows of one subtree. Touches read its atomic fields; the rest is guarded by the scheduler's lock.
type track struct {
	// notBefore is from when on, in Unix nanoseconds, a touch starts a walk; what lies further ahead than any pause lasts is void.
	notBefore atomic.Int64
	// pending says that a touch has been handed on, or that a walk is waiting or under way: there is nothing for another touch to do.
	pending atomic.Bool

	sub   Subtree
	adhoc bool // walked by command alone, and remembered only while the process lasts
	gone  bool // not configured any more
	past  standing
	size  int64 // of the subtree around an ad-hoc one, as far as that is known
	now   *errand
	last  *Figures
	dry   bool   // last is of a dry run
	why   string // that the dry run failed
}

// A seat is a configured subtree as touches find it: immutable but for its track.
type seat struct {
	sub   Subtree
	track *track
}

// A table finds the subtree of a Key. It is immutable, so that touches read it without a lock.
type table struct {
	hubs  map[string]*shelf
	seats []*seat
}

// A shelf holds the subtrees of one hub by their paths without the last slash.
type shelf struct {
	paths   map[string]*seat
	longest int // of the paths, in bytes
}

func (t *table) add(s *seat) {
	path := strings.TrimSuffix(s.sub.Dir.Path(), "/")
	h := t.hubs[s.sub.Dir.Hub()]
	if h == nil {
		h = &shelf{paths: map[string]*seat{}}
		t.hubs[s.sub.Dir.Hub()] = h
	}
	h.paths[path] = s
	h.longest = max(h.longest, len(path))
	t.seats = append(t.seats, s)
}

// find returns the innermost subtree that key lies in, by whole segments as Key.Under has it; nil when there is none. It looks up every prefix of the path
// rather than every subtree, and allocates nothing.
func (t *table) find(key cache.Key) *seat {
	h := t.hubs[key.Hub()]
	if h == nil {
		return nil
	}
	for path := key.Path(); ; {
		if len(path) <= h.longest {
			if s := h.paths[path]; s != nil {
				return s
			}
		}
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			return nil
		}
		path = path[:i]
	}
}

// SetSubtrees makes subs the subtrees that touches start walks of. Walks of those that are no more are cancelled; the others go on as they began.
func (s *Scheduler) SetSubtrees(subs []Subtree) {
	s.seatAll(subs)
	s.save()
}

func (s *Scheduler) seatAll(subs []Subtree) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inForce = rand.Uint64()
	next := &table{hubs: map[string]*shelf{}}
	named := map[string]bool{}
	for _, sub := range subs {
		if named[sub.Name] {
			continue
		}
		named[sub.Name] = true
		next.add(&seat{sub: sub, track: s.seatTrack(sub)})
	}
	for name, t := range s.tracks {
		if !t.adhoc && !named[name] {
			s.dropTrack(t)
		}
	}
	s.table.Store(next)
}

// seatTrack returns the track for a configured subtree: the one there is, unless it stands for another directory. The lock is held.
func (s *Scheduler) seatTrack(sub Subtree) *track {
	t := s.tracks[sub.Name]
	if t != nil && t.sub.Dir != sub.Dir {
		s.dropTrack(t)
		delete(s.remembered, sub.Name) // of another directory
		t = nil
	}
	if t != nil && t.sub.Upstream != sub.Upstream { // what a walk found so far is another server's
		t.past.Unfinished = time.Time{}
		if t.now != nil {
			t.now.cancel(ErrForgotten)
		}
	}
	if t == nil {
		t = &track{past: s.remembered[sub.Name]}
		delete(s.remembered, sub.Name)
		if t.past.Next.IsZero() && t.past.Unfinished.IsZero() && !t.past.Success.IsZero() {
			t.past.Next = t.past.Success.Add(jitter(s.cfg.MinInterval))
		}
		t.setNext(t.past.Next)
		s.tracks[sub.Name] = t
	}
	t.sub, t.adhoc = sub, false
	return t
}

// dropTrack forgets a subtree that is no more. The lock is held.
func (s *Scheduler) dropTrack(t *track) {
	t.gone = true
	delete(s.tracks, t.sub.Name)
	if !t.adhoc {
		s.remembered[t.sub.Name] = t.past
		s.tell(EventDropped, t)
	}
	if t.now != nil {
		t.now.cancel(errDropped)
	}
}

// setNext makes the track due from next on; a zero time means now. The lock is held.
func (t *track) setNext(next time.Time) {
	t.past.Next = next
	if next.IsZero() {
		t.notBefore.Store(0)
		return
	}
	t.notBefore.Store(next.UnixNano())
}

// due says whether a touch starts a walk. A moment further ahead than any pause lasts was written by a clock that was wrong, or with a longer interval
// than is configured now; it must not silence the subtree.
func (t *track) due(now int64, longest time.Duration) bool {
	wait := t.notBefore.Load() - now
	return wait <= 0 || wait > int64(longest)
}

const (
	mostWaiting = 256 // ad-hoc walks that wait or are under way
	mostKept    = 64  // ad-hoc walks that are shown after their end
)

// adhocTrack returns the track of a directory that is to be walked by command. The lock is held.
func (s *Scheduler) adhocTrack(name string, dir cache.Key) (*track, error) {
	sub := Subtree{Dir: dir}
	if s.cfg.Rules != nil {
		sub = s.cfg.Rules(dir)
	}
	upstream, size := sub.Upstream, int64(0)
	if around := s.table.Load().find(dir); around != nil {
		sub = within(around.sub, name, dir)
		size = around.track.past.Size
		sub.Upstream = cmp.Or(upstream, sub.Upstream)
	}
	sub.Name = name
	if t := s.tracks[name]; t != nil && t.sub.Dir == dir {
		if t.now == nil {
			t.sub, t.size = sub, size
		}
		return t, nil
	}
	waiting := 0
	var oldest *track
	kept := 0
	for _, t := range s.tracks {
		switch {
		case !t.adhoc:
		case t.now != nil:
			waiting++
		default:
			if kept++; oldest == nil || t.past.Ended.Before(oldest.past.Ended) {
				oldest = t
			}
		}
	}
	if waiting >= mostWaiting {
		return nil, ErrBusy
	}
	if kept >= mostKept {
		delete(s.tracks, oldest.sub.Name)
	}
	t := &track{sub: sub, adhoc: true, size: size}
	if old := s.tracks[name]; old != nil {
		s.dropTrack(old)
	}
	s.tracks[name] = t
	return t, nil
}

// within is the directory dir as a subtree of its own, with the rules of the configured one around it. What that skips by paths below itself is skipped
// here by the same paths.
func within(around Subtree, name string, dir cache.Key) Subtree {
	sub := around
	sub.Name, sub.Dir = name, dir
	if around.Skip != nil {
		prefix := below(around.Dir, dir)
		sub.Skip = func(path string) bool { return around.Skip(prefix + path) }
	}
	return sub
}

// below is the path of key relative to the directory dir that it lies in, unescaped.
func below(dir, key cache.Key) string {
	rel := strings.TrimPrefix(key.Path()[len(strings.TrimSuffix(dir.Path(), "/")):], "/")
	if plain, err := url.PathUnescape(rel); err == nil {
		return plain
	}
	return rel // cannot be: a Key's escapes are valid
}
