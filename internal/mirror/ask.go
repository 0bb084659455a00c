package mirror

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// ask puts the question that a row leaves open, or one that no row answers. An error gives the walk up.
func (w *walk) ask(n *node, t task) error {
	key, err := n.key.Child(t.name, t.dir)
	if err != nil {
		w.unkept.Add(1)
		w.lacks(n)
		return nil
	}
	ans, err := w.refresh(Ask{Key: key, Size: t.size, Row: t.row}, t.held)
	if w.ctx.Err() != nil {
		return nil
	}
	if t.doubt {
		return w.doubted(n, key, t, ans, err)
	}
	if err != nil {
		w.log.Info("walk", "action", "fail", "key", key.String(), "error", err)
		w.fails(n, fmt.Errorf("get %s: %w", key, err))
		return nil
	}
	switch ans.Outcome {
	case Same:
		w.same.Add(1)
		return nil
	case Stored:
		w.fetched.Add(1)
		return nil
	case Gone:
		w.wonders(n, key, ans)
		if t.held {
			return w.orphan(key, false, true)
		}
		w.unkept.Add(1)
		return nil
	case Denied:
		w.denied.Add(1)
	case Elsewhere:
		if t.loose && leadsInto(ans.Location, key) {
			w.files.Add(-1) // it is a directory
			if trail, ok := n.trail.Enter(&listing.Entry{Name: t.name}); ok {
				w.discover(n, task{name: t.name, dir: true, trail: trail})
			}
			return nil
		}
		w.unkept.Add(1)
	default:
		w.unkept.Add(1)
	}
	w.wonders(n, key, ans)
	return nil
}

// leadsInto says that a redirect adds a slash to where it came from: what was asked for is a directory.
func leadsInto(location string, key cache.Key) bool {
	location, _, _ = strings.Cut(location, "?")
	name := key.Path()[strings.LastIndexByte(key.Path(), '/')+1:]
	return strings.HasSuffix(location, "/"+name+"/") || location == name+"/"
}

// discover adds a directory that no listing called one.
func (w *walk) discover(n *node, t task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.dirs = append(n.dirs, t)
	w.queue.Add(1)
}

// doubted takes the upstream's word on what is held and not listed: gone, it is an orphan; else it is one of those files that servers have without
// showing them, and stays.
func (w *walk) doubted(n *node, key cache.Key, t task, ans Answer, err error) error {
	switch {
	case errors.Is(err, cache.ErrNoListing): // a page in a directory's place says that it exists, or that the server is out of order
		w.looks(n)
	case err != nil:
		w.fails(n, fmt.Errorf("get %s: %w", key, err))
	case ans.Outcome == Gone:
		return w.orphan(key, t.dir, false)
	case ans.Outcome == Stored:
		w.fetched.Add(1)
	case ans.Outcome != Same:
		w.looks(n)
	}
	return nil
}

// looks has the next walk look at a directory again, whatever its upstream says of its digest.
func (w *walk) looks(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.doubt = true
}

// strangers deals with what is held in a directory and not listed.
func (w *walk) strangers(n *node, held map[string]parts) error {
	for name, left := range held {
		rel := n.rel + name
		if left&aFile != 0 && !w.skips(rel) {
			if err := w.stranger(n, name, false); err != nil {
				return err
			}
		}
		if left&aFolder != 0 && !w.skips(rel+"/") {
			if err := w.stranger(n, name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// stranger deals with one of them. What a walk brought was listed once, and is gone now. Anything else may never have been listed: it is asked for.
func (w *walk) stranger(n *node, name string, dir bool) error {
	key, err := n.key.Child(name, dir)
	if err != nil {
		return nil
	}
	was := false
	if dir {
		was = w.noted(key) != nil
		if !was && !w.any(key) || w.cfg.Store.OnlyOriginals(w.ctx, key) {
			return nil // a document's folder, or an empty one, or one that nobody upstream knows
		}
	} else {
		m, _, err := w.cfg.Store.Peek(key)
		if err != nil || m.Original {
			return nil
		}
		was = m.Row != ""
	}
	switch {
	case was && !n.mayBeCut():
		return w.orphan(key, dir, false)
	case w.dry:
		w.would.Add(1)
	default:
		n.tasks = append(n.tasks, task{name: name, dir: dir, doubt: true, held: true})
	}
	return nil
}

// any says that something is held in a directory.
func (w *walk) any(dir cache.Key) (any bool) {
	if _, _, err := w.cfg.Store.Peek(dir); err == nil {
		return true
	}
	err := w.cfg.Store.Names(dir, func(string, bool) bool {
		any = true
		return false
	})
	return any && err == nil
}

// finish notes what a directory holds now that all in it is done.
func (w *walk) finish(n *node) {
	own, since := w.sumUp(n)
	w.mu.Lock()
	n.files += own.files
	n.bytes += own.bytes
	n.gap = n.gap || !own.held
	broken := n.broken
	w.mu.Unlock()
	for range mostNotings {
		if w.dry || broken {
			return
		}
		own.held = own.held && !n.gap
		own.files, own.bytes, own.dirs, own.of = n.files, n.bytes, n.subdirs, n.of
		own.rules, own.look = w.rules, n.doubt
		if own.up = n.up; own.held && own.up != hex.EncodeToString(own.theirs[:]) {
			own.up = "" // what is held is of before a change or of after it
		}
		noted, err := w.cfg.Store.Note(n.key, own.encode(), since)
		if err != nil {
			w.log.Warn("walk", "action", "note", "key", n.key.String(), "error", err)
		}
		if noted || err != nil {
			return
		}
		own, since = w.sumUp(n) // a client changed something, or another directory shares the count
	}
}

// mostNotings is how often a directory is summed up that changes meanwhile: one without a note makes the digests of all above it unknown.
const mostNotings = 4

func (w *walk) sumUp(n *node) (own note, since uint64) {
	since = w.cfg.Store.Changes(n.key)
	own, own.files, own.bytes = w.sum(n)
	return own, since
}

// sum makes the digests of what a directory lists, as far as that is held, and counts its own files. That of the upstream's part leaves the local originals
// out; where one stands in the place of a file of the upstream's it is none that anybody else has.
func (w *walk) sum(n *node) (own note, files, bytes int64) {
	var all, theirs listing.SubtreeHash
	own = note{asOf: n.asOf, held: true}
	list, mine := w.cfg.Store.WithOriginals(n.key, n.list)
	fresh := mine == nil && w.cfg.Store.Changes(n.key) == n.since // with originals among them the places are others
	for i := range list.Entries {
		e := &list.Entries[i]
		if e.Kind == listing.Other {
			continue
		}
		if e.Kind == listing.Dir {
			switch _, ok := n.trail.Enter(e); {
			case !ok || !own.held:
			case mine != nil && !n.lists(e.Name):
				own.held = w.sumOriginals(&all, n.key, e.Name)
			default:
				own.held = w.sumDir(&all, &theirs, n.key, e.Name)
			}
			continue
		}
		var seen sight
		held := false
		if fresh {
			seen, held = n.sight(i)
		}
		if !held {
			if seen, held = w.look(n.key, e.Name); !held {
				own.held = false
				continue
			}
		}
		files++
		bytes += seen.size
		own.held = own.held && (!seen.adopted || seen.original)
		all.File(e.Name, seen.size, seen.modified, seen.etag, seen.digest)
		if !seen.original || n.lists(e.Name) {
			theirs.File(e.Name, seen.size, seen.modified, seen.etag, seen.digest)
		}
	}
	own.own, own.theirs = all.Sum(), theirs.Sum()
	return own, files, bytes
}

// lists says whether the upstream lists a name.
func (n *node) lists(name string) bool {
	_, ok := slices.BinarySearchFunc(n.list.Entries, name, func(e listing.Entry, name string) int { return strings.Compare(e.Name, name) })
	return ok
}

// sumOriginals adds a directory that exists only through local originals.
func (w *walk) sumOriginals(h *listing.SubtreeHash, dir cache.Key, name string) bool {
	key, err := dir.Child(name, true)
	if err != nil {
		return false
	}
	sum, ok := w.cfg.Store.OriginalsDigest(key)
	h.Dir(name, sum)
	return ok
}

// sumDir adds a directory of which this walk has noted the digests; false when it has not.
func (w *walk) sumDir(all, theirs *listing.SubtreeHash, dir cache.Key, name string) bool {
	key, err := dir.Child(name, true)
	if err != nil {
		return false
	}
	child := w.noted(key)
	if !child.within(w.began, w.cfg.Now()) || !child.held {
		return false
	}
	all.Dir(name, child.own)
	theirs.Dir(name, child.theirs)
	return true
}

// look looks at what is held of a file.
func (w *walk) look(dir cache.Key, name string) (sight, bool) {
	key, err := dir.Child(name, false)
	if err != nil {
		return sight{}, false
	}
	m, adopted, err := w.cfg.Store.Peek(key)
	if err != nil {
		return sight{}, false
	}
	return sighted(m, adopted), true
}

// lastModified is the time of that field; zero without one.
func lastModified(m *cache.Meta) time.Time {
	t, err := http.ParseTime(m.LastModified())
	if err != nil {
		return time.Time{}
	}
	return t
}
