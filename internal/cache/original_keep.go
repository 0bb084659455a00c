package cache

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"
)

// originalsAt says whether an original lies at or below p in the mirrored tree. The names lock is held: one that is on its way is known before it takes it.
func (t *Tree) originalsAt(p place) bool {
	if !t.originals.any() {
		return false
	}
	if p.dir() == "." { // a hub's folder
		return t.originals.under(Key{hub: string(p), path: "/"})
	}
	key, ok := keyAt(p)
	return ok && t.originals.under(key)
}

// others finds the stored responses at and below p that are no originals.
func (t *Tree) others(ctx context.Context, p place) (found []aside, err error) {
	err = t.walk(ctx, p, func(at place, _ *unix.Stat_t) bool {
		if !at.stored() {
			return true
		}
		if k, ok := t.keyOf(at); ok && !t.originals.has(k) {
			found = append(found, aside{k, at})
		}
		return true
	})
	return found, err
}

// removeAround removes what lies at and below p but the originals, one by one.
func (t *Tree) removeAround(ctx context.Context, p place) (n int, err error) {
	found, err := t.others(ctx, p)
	for _, a := range found {
		gone, rerr := t.removeAside(a)
		if gone {
			n++
		}
		err = errors.Join(err, rerr)
	}
	return n, err
}

// around retires what lies at and below p but the originals, one by one. The notes of the directories down there were of what leaves now.
func (r *retirement) around(p place) error {
	t := r.tree
	found, err := t.others(context.Background(), p)
	for _, a := range found {
		if !r.match(a.key) {
			continue
		}
		err = errors.Join(err, r.apart(p, a))
	}
	return err
}

func (r *retirement) apart(top place, a aside) error {
	t := r.tree
	t.names.Lock()
	defer t.names.Unlock()
	if h, err := t.heldOriginal(a.key); err != nil || h != nil {
		return err // it became one meanwhile
	}
	for folder := a.at.dir(); len(folder) >= len(top); folder = folder.dir() {
		if err := t.dropNote(folder); err != nil {
			return err
		}
		t.notes.none[folder] = struct{}{}
		defer t.notes.count(folder).Add(1)
	}
	return r.file(a)
}

// evictable says whether a body may be removed for space. A file that says of itself that it is an original never may, whatever the marks say. The names
// lock is not held.
func (t *Tree) evictable(p place) bool {
	h, err := t.peek(p)
	if err != nil {
		return absent(err)
	}
	if !h.meta.Original {
		return true
	}
	if key, ok := t.keyOf(p); ok {
		t.noticeOriginal(key, h)
	}
	return false
}

// isOriginalAt says whether what lies at p is known for an original.
func (t *Tree) isOriginalAt(p place) bool {
	if !t.originals.any() || !p.stored() {
		return false
	}
	key, ok := t.keyOf(p)
	return ok && t.originals.has(key)
}
