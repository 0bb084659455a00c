package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// Retire moves what is stored for key, with recursive all below it too, to the trash, and returns how many stored responses that were and the bytes of their
// bodies. Negative entries and drafts are removed. A directory's Key, which ends in a slash, leaves the document of the same name where it is. What cannot be
// moved stays, and nothing is ever at neither place. With a negative TrashTTL it removes.
//
// Local originals stay where they are; RetireOriginal is for them.
//
// The notes of the directories above stay: it is for what their listings do not name any more, of which those notes say nothing. Changes differs all the same, for who is about to make a note of what was seen before.
func (t *Tree) Retire(key Key, recursive bool) (entries int, bytes int64, err error) {
	t.trash.mu.Lock()
	defer t.trash.mu.Unlock()
	r := retirement{tree: t, key: key, recursive: recursive && !key.hasQuery, own: t.TrashTTL < 0}
	if r.recursive {
		if key.path == "/" {
			defer t.keepNote(key.hub)()
		}
		err = r.below()
	} else {
		err = r.alone()
	}
	for _, name := range t.drafts.takeIf(r.match) {
		t.removeDraft(name)
	}
	if r.own {
		for _, b := range r.used {
			_, derr := t.removeBatch(context.Background(), b)
			err = errors.Join(err, derr)
		}
	}
	if err != nil {
		err = fmt.Errorf("retire %s: %w", key, because(err))
	}
	return r.entries, r.bytes, err
}

// A retirement is one Retire under way.
type retirement struct {
	tree      *Tree
	key       Key
	recursive bool
	own       bool    // its batches are nobody else's
	used      []batch // in this retirement

	entries int
	bytes   int64 // of bodies
}

// match says whether k is among what is retired.
func (r *retirement) match(k Key) bool {
	if !r.recursive {
		return k == r.key
	}
	return k.Under(r.key) && (k.path != strings.TrimSuffix(r.key.path, "/") || !r.key.IsDir())
}

// alone retires what is stored for the key itself.
func (r *retirement) alone() error {
	t := r.tree
	t.names.Lock()
	defer t.names.Unlock()
	if h, err := t.heldOriginal(r.key); err != nil || h != nil {
		return err
	}
	defer t.table.drop(r.key)
	places := mainPlaces(r.key)
	dir := variantDir(r.key)
	err := t.eachName(dir, func(name string) error {
		places = append(places, dir+place("/"+name))
		return nil
	})
	t.removeFile(asidePlace(otherDir, r.key))
	for _, p := range places {
		if st, serr := t.root.Lstat(string(p)); serr == nil && regular(&st) {
			err = errors.Join(err, r.file(aside{r.key, p}))
		}
	}
	if listed, ok := places[0].listed(); ok {
		t.removeSidecar(listed) // of a listing that is gone: the other's went with it
		t.prune(listed.dir())
	}
	return err
}

// below retires all at and below the key.
func (r *retirement) below() error {
	t, ctx := r.tree, context.Background()
	defer t.table.dropIf(func(k Key) bool { return k.Under(r.key) })
	var errs []error
	for _, dir := range []place{oddDir, variantsDir, otherDir} {
		found, err := t.asideUnder(ctx, dir+place("/"+r.key.hub), r.match)
		errs = append(errs, err)
		for _, a := range found {
			switch {
			case dir == otherDir:
				_, err = t.removeAside(a)
			case t.originals.has(a.key):
				err = nil
			default:
				t.names.Lock()
				err = r.file(a)
				t.names.Unlock()
			}
			errs = append(errs, err)
		}
	}
	p, ok := subtree(r.key)
	if !ok {
		return errors.Join(errs...)
	}
	t.names.Lock()
	if t.originals.under(r.key) { // one that is on its way is known before it takes the lock
		t.names.Unlock()
		return errors.Join(append(errs, r.around(p))...)
	}
	at, err := r.move(p)
	t.names.Unlock()
	errs = append(errs, err)
	if at != "" {
		moved := t.moved(p, at)
		errs = append(errs, t.walk(ctx, at, func(at place, st *unix.Stat_t) bool {
			moved(at)
			r.count(at, st)
			return true
		}))
	}
	return errors.Join(errs...)
}

// file retires one response, and the sidecar with its listing. The names lock is held.
func (r *retirement) file(a aside) error {
	t := r.tree
	if folder, ok := notable(a.key, a.at); ok {
		defer t.counted(folder)
	}
	places := []place{a.at}
	if a.at.base() == listingName {
		places = append(places, a.at.dir()+"/"+sidecarName)
	}
	for _, p := range places {
		at, err := r.bin(p)
		if err != nil {
			return err
		}
		if st, err := t.root.Lstat(string(at)); at != "" && err == nil {
			r.count(at, &st)
		}
	}
	t.prune(a.at.dir())
	return nil
}

// move retires the tree, or the document, at p by one rename: nobody sees half of it. The names lock is held.
func (r *retirement) move(p place) (place, error) {
	t := r.tree
	st, err := t.root.Lstat(string(p))
	if err != nil || !folder(&st) && (r.key.IsDir() || !regular(&st)) {
		if absent(err) {
			err = nil
		}
		return "", err
	}
	defer t.counted(p.dir())
	if r.key.IsDir() && strings.Contains(string(p), "/") {
		if st, err := t.root.Lstat(string(p.content())); err == nil && regular(&st) {
			return r.moveAround(p)
		}
	}
	at, err := r.bin(p)
	if err == nil {
		t.prune(p.dir())
	}
	return at, err
}

// moveAround retires the directory p and leaves its document at p, which can be opened at every moment: a second name of it is made in the trash and
// swapped with the directory.
func (r *retirement) moveAround(p place) (place, error) {
	t := r.tree
	at, err := r.room(p)
	if err == nil {
		err = t.root.Link(string(p.content()), string(at))
	}
	if err != nil {
		return "", err
	}
	if err := t.root.Exchange(string(at), string(p)); err != nil {
		return "", errors.Join(err, t.root.Remove(string(at)))
	}
	t.boot.dirty.Store(true)
	return at, t.root.Remove(string(at.content()))
}

// bin moves what lies at p to the trash, and returns its place there; "" when nothing lies at p.
func (r *retirement) bin(p place) (place, error) {
	t := r.tree
	if _, err := t.root.Lstat(string(p)); err != nil {
		if absent(err) {
			err = nil
		}
		return "", err
	}
	at, err := r.room(p)
	if err == nil {
		err = t.root.Rename(string(p), string(at))
	}
	if err != nil {
		return "", err
	}
	t.boot.dirty.Store(true)
	return at, nil
}

// room finds a place for p in the trash where nothing lies, and makes the directories above it.
func (r *retirement) room(p place) (place, error) {
	t := r.tree
	var err error
	for tries := range 3 {
		now := t.Now()
		b := t.trash.last
		if tries > 0 || b.name == "" || b.when.Unix() != now.Unix() || r.own && !slices.Contains(r.used, b) {
			b = t.trash.newBatch(now)
		}
		if !slices.Contains(r.used, b) {
			r.used = append(r.used, b)
		}
		at := b.at() + "/" + p
		if err = t.root.MkdirAll(string(at.dir())); errors.Is(err, unix.ENOTDIR) {
			continue // a document was retired whose directory comes now
		}
		if err != nil {
			return "", err
		}
		if _, err = t.root.Lstat(string(at)); durable.IsGone(err) {
			return at, nil
		}
		if err != nil {
			return "", err
		}
		err = unix.EEXIST // an older version of it, or a part of it
	}
	return "", err
}

// count moves the account of a file that lies in the trash now.
func (r *retirement) count(at place, st *unix.Stat_t) {
	size := onDisk(st)
	stored := int64(0)
	if at.stored() {
		stored = 1
		r.entries++
		r.bytes += st.Size
	}
	r.tree.usage.add(-size, -stored)
	r.tree.trash.bytes.Add(size)
}
