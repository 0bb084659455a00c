package mirror

import (
	"errors"
	"fmt"
	"strings"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// enter lists a directory, finds out what is to be done in it, and has that done. An error gives the walk up.
func (w *walk) enter(n *node) error {
	n.asOf = w.cfg.Now()
	parent, key := n.parent, n.key
	since := w.cfg.Store.Changes(key) // before the note is read: it is renewed only if nothing has changed since it was true
	known := w.noted(key)
	if !w.dry && known.within(w.began, n.asOf) {
		w.pass(parent, known) // done already, before the walk was interrupted
		return nil
	}
	shown := key.String()
	w.at.Store(&shown)
	listed := w.listed(key)
	a := Ask{Key: key}
	if !w.cfg.AskAll {
		a.Subtree = known.question(w.rules)
	}
	ans, err := w.refresh(a, listed)
	if w.ctx.Err() == nil && err == nil && ans.Outcome == Same && known != nil {
		if w.intact(key, known) {
			return w.unchanged(n, known, ans, since)
		}
		ans, err = w.refresh(Ask{Key: key}, listed)
	}
	if w.ctx.Err() != nil {
		return nil
	}
	if err == nil && ans.Outcome == Stored {
		w.dirs.Add(1)
		n.of = earlier(n.asOf, ans.AsOf)
		if err = w.open(n); err == nil {
			return w.expand(n)
		}
	}
	return w.absent(n, ans, err, listed)
}

// unchanged takes over what is known of a directory whose upstream says that nothing at or below it has changed.
func (w *walk) unchanged(n *node, known *note, ans Answer, since uint64) error {
	known.asOf, known.of = n.asOf, earlier(n.asOf, ans.AsOf)
	if !w.dry {
		if _, err := w.cfg.Store.Note(n.key, known.encode(), since); err != nil {
			w.log.Warn("walk", "action", "note", "key", n.key.String(), "error", err)
		}
	}
	w.pass(n.parent, known)
	return w.over()
}

// pass counts a directory that need not be entered.
func (w *walk) pass(parent *node, known *note) {
	w.dirs.Add(known.dirs + 1)
	w.files.Add(known.files)
	w.skipped.Add(known.files)
	w.promised.Add(known.bytes)
	w.mu.Lock()
	defer w.mu.Unlock()
	parent.files += known.files
	parent.bytes += known.bytes
	parent.subdirs += known.dirs + 1
	parent.gap = parent.gap || !known.held
	parent.doubt = parent.doubt || known.look
	parent.of = earlier(parent.of, known.of)
	if parent.key.IsZero() {
		w.root = result{files: known.files, dirs: known.dirs + 1, bytes: known.bytes}
	}
}

// lacks says that something of a directory is not held, although nothing failed.
func (w *walk) lacks(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.gap = true
}

// fails says that something of a directory could not be had.
func (w *walk) fails(n *node, err error) {
	w.failure(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	n.broken, n.gap = true, true
}

// absent deals with a directory that could not be listed. What is held of it stays, whatever the reason: only 404 and 410 are the upstream's word that it is gone.
func (w *walk) absent(n *node, ans Answer, err error, listed bool) error {
	if n.parent.key.IsZero() {
		if err == nil {
			err = fmt.Errorf("upstream answers %d (%s)", ans.Status, ans.Outcome)
		}
		return fmt.Errorf("walk %s: list %s: %w", w.sub.Name, n.key, err)
	}
	switch {
	case err != nil && errors.Is(err, cache.ErrNoListing) && !listed:
		w.unkept.Add(1) // a page of its own instead of a listing, as it was before
		w.lacks(n.parent)
	case err != nil:
		w.log.Warn("walk", "action", "skip", "key", n.key.String(), "error", err)
		w.fails(n.parent, fmt.Errorf("list %s: %w", n.key, err))
	case ans.Outcome == Gone:
		w.wonders(n.parent, n.key, ans)
		return w.orphan(n.key, true, true)
	case ans.Outcome == Denied:
		w.denied.Add(1)
		w.wonders(n.parent, n.key, ans)
	case ans.Outcome == Unkept:
		w.fails(n.parent, fmt.Errorf("list %s: the listing may not be kept", n.key))
	case ans.Outcome == Same:
		w.fails(n.parent, fmt.Errorf("list %s: upstream answers 304 to what it was not asked", n.key))
	default:
		w.unkept.Add(1)
		w.wonders(n.parent, n.key, ans)
	}
	return nil
}

// wonders says that an answer leaves something of a directory open: it is not held, and may be had the next time, although no listing changes until then.
func (w *walk) wonders(n *node, key cache.Key, ans Answer) {
	w.log.Info("walk", "action", "leave", "key", key.String(), "outcome", ans.Outcome.String(), "status", ans.Status)
	w.mu.Lock()
	defer w.mu.Unlock()
	n.gap, n.doubt = true, true
}

// listed says that the listing of a directory is held.
func (w *walk) listed(dir cache.Key) bool {
	e, err := w.cfg.Store.Open(dir, w.cfg.Refresher.Listing())
	if err != nil {
		return false
	}
	defer e.Close()
	return e.Meta.Listing
}

// open reads the listing that was just stored.
func (w *walk) open(n *node) error {
	e, err := w.cfg.Store.Open(n.key, w.cfg.Refresher.Listing())
	if err != nil {
		return err
	}
	defer e.Close()
	if !e.Meta.Listing {
		return cache.ErrNoListing
	}
	if n.list, err = w.cfg.Store.Listing(e); err != nil {
		return err
	}
	n.url = e.Meta.Base
	if n.url == "" {
		n.url = e.Meta.URL
	}
	n.up = upstreamDigest(e.Meta.Header.Get("Zcache-Subtree"))
	n.digest = listing.Digest(n.list)
	return nil
}

// expand compares a directory's listing with what is held, row by row.
func (w *walk) expand(n *node) error {
	if n.came() || w.endless(n) {
		if w.ctx.Err() != nil {
			return nil
		}
		w.log.Warn("walk", "action", "skip", "key", n.key.String(), "error", "it leads back to a directory above it")
		w.unkept.Add(1)
		w.lacks(n.parent)
		return nil
	}
	n.look(w.cfg.Store.Changes(n.key))
	held := map[string]parts{}
	err := w.cfg.Store.Names(n.key, func(name string, dir bool) bool {
		held[name] = aFile
		if dir {
			held[name] |= aFolder // a file of that name would lie in it
		}
		return true
	})
	if err != nil {
		w.fails(n.parent, err)
		return nil
	}
	for i := range n.list.Entries {
		w.row(n, i, held)
	}
	if err := w.over(); err != nil {
		return err
	}
	if err := w.strangers(n, held); err != nil {
		return err
	}
	w.push(n)
	return nil
}

// The parts of a name in a directory that may be held.
type parts uint8

const (
	aFile parts = 1 << iota
	aFolder
)

// partOf is what of a name a row of that kind may stand for.
func partOf(kind listing.Kind) parts {
	switch kind {
	case listing.Dir:
		return aFolder
	case listing.Unknown:
		return aFile | aFolder
	}
	return aFile
}

// row finds out what is to be done about one row of a listing.
func (w *walk) row(n *node, i int, held map[string]parts) {
	e := &n.list.Entries[i]
	is, here := held[e.Name]
	if here {
		// A file where the listing has a directory stays in, and a directory where it has a file: it is an orphan.
		if is &^= partOf(e.Kind); is == 0 {
			delete(held, e.Name)
		} else {
			held[e.Name] = is
		}
	}
	rel := n.rel + e.Name
	if e.Kind == listing.Dir {
		switch {
		case w.skips(rel + "/"):
			n.gap = true
		default:
			// A link to where the walk has been is not entered, and who owns the tree leaves it out of its digest too.
			if trail, ok := n.trail.Enter(e); ok {
				n.later(isIndex(e.Name, true), task{name: e.Name, dir: true, trail: trail})
			} else {
				w.unkept.Add(1)
			}
		}
		return
	}
	if e.Kind == listing.Other {
		return
	}
	w.files.Add(1)
	key, err := n.key.Child(e.Name, false)
	if err != nil || w.skips(rel) || w.sub.MaxFile > 0 && e.Size > w.sub.MaxFile {
		w.unkept.Add(1)
		n.gap = true
		return
	}
	t := task{name: e.Name, row: e.Row(), loose: e.Kind == listing.Unknown}
	if e.SizeExact && !e.Link {
		t.size = max(e.Size, 0)
	}
	if here || !plain(e.Name) {
		m, adopted, err := w.cfg.Store.Peek(key)
		if err == nil && m.Original {
			w.skipped.Add(1)
			return // whatever the upstream has under that name
		}
		t.held = err == nil
		t.known = t.held && m.Row != ""
		if t.held && !w.cfg.AskAll && current(e, m, adopted) {
			n.saw(i, m)
			w.promise(e, t)
			w.skipped.Add(1)
			return
		}
	}
	w.promise(e, t)
	if w.dry {
		w.would.Add(1)
		return
	}
	n.later(isIndex(e.Name, false), t)
}

// promise counts the bytes that the listing promises. Those that clients brought before the first walk are here already, and no budget is for them; those that
// a walk brought count each time, or a walk that was given up would go on by another budget's worth whenever it is tried again.
func (w *walk) promise(e *listing.Entry, t task) {
	if e.Size > 0 && (!t.held || t.known) {
		w.promised.Add(e.Size)
	}
}

// plain says that a file of this name lies under this name, so that Names tells of it.
func plain(name string) bool {
	return len(name) <= 200 && !strings.HasPrefix(name, ".zcache") && name != "__content"
}

// later appends a task, of an index for when all else of the directory is here.
func (n *node) later(late bool, t task) {
	switch {
	case t.dir && late:
		n.lateDirs = append(n.lateDirs, t)
	case t.dir:
		n.dirs = append(n.dirs, t)
	case late:
		n.lateTasks = append(n.lateTasks, t)
	default:
		n.tasks = append(n.tasks, t)
	}
}

func (w *walk) skips(rel string) bool { return w.sub.Skip != nil && w.sub.Skip(rel) }
