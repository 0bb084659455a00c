package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// Remove is described at Store. Drafts that somebody is writing are theirs to discard.
func (t *Tree) Remove(key Key, recursive bool) (int, error) {
	var n int
	var err error
	if recursive && !key.hasQuery {
		n, err = t.removeTree(key)
	} else {
		n, err = t.removeKey(key)
	}
	if err != nil {
		return n, fmt.Errorf("remove %s: %w", key, because(err))
	}
	return n, nil
}

// removeKey removes what is stored for key alone.
func (t *Tree) removeKey(key Key) (int, error) {
	n, err := t.removeBodies(key)
	for _, name := range t.drafts.takeIf(func(k Key) bool { return k == key }) {
		t.removeDraft(name)
	}
	return n, err
}

func (t *Tree) removeBodies(key Key) (int, error) {
	t.names.Lock()
	defer t.names.Unlock()
	if !key.hasQuery {
		folder, _ := folderOf(key)
		if err := t.unnote(folder); err != nil {
			return 0, err
		}
		defer t.counted(folder)
	}
	if h, err := t.heldOriginal(key); err != nil || h != nil {
		return 0, err
	}
	places := append(mainPlaces(key), asidePlace(otherDir, key))
	n, err := t.removeVariants(key)
	for _, p := range places {
		gone, rerr := t.unlink(p)
		if gone {
			n++
		}
		err = errors.Join(err, rerr)
	}
	if listed, ok := places[0].listed(); ok {
		t.removeSidecar(listed) // also one whose listing is gone
		t.prune(listed.dir())
	}
	t.table.drop(key)
	return n, err
}

// mainPlaces are those that key's 200 response may lie at, mainPlace first.
func mainPlaces(key Key) []place {
	p := mainPlace(key)
	places := []place{p}
	if p[0] != '.' && !key.IsDir() {
		places = append(places, p.content())
	}
	if listed, ok := p.listed(); ok {
		places = append(places, listed)
	}
	return places
}

// removeTree removes all at and below key. The mirrored subtree leaves by one rename, so that nobody sees half of it.
func (t *Tree) removeTree(key Key) (int, error) {
	under := func(k Key) bool { return k.Under(key) }
	ctx := context.Background()
	n := 0
	var errs []error
	for _, dir := range []place{oddDir, otherDir, variantsDir} {
		dir += place("/" + key.hub)
		if key.path == "/" && !t.originals.under(key) { // no note survives what follows
			gone, err := t.discardTree(ctx, dir, under)
			n, errs = n+gone, append(errs, err)
			continue
		}
		aside, err := t.asideUnder(ctx, dir, under)
		errs = append(errs, err)
		for _, a := range aside {
			if t.originals.has(a.key) {
				continue
			}
			gone, err := t.removeAside(a)
			if gone {
				n++
			}
			errs = append(errs, err)
		}
	}
	if p, ok := subtree(key); ok {
		if key.path == "/" {
			defer t.keepNote(key.hub)()
		}
		gone, err := t.discardTree(ctx, p, under)
		if errors.Is(err, ErrOriginal) {
			gone, err = t.removeAround(ctx, p)
		}
		n, errs = n+gone, append(errs, err)
	}
	t.table.dropIf(under)
	for _, name := range t.drafts.takeIf(under) {
		t.removeDraft(name)
	}
	return n, errors.Join(errs...)
}

// An aside is a response that lies at no plain place.
type aside struct {
	key Key
	at  place
}

// asideUnder finds the responses below dir, one of our own directories, whose keys match.
func (t *Tree) asideUnder(ctx context.Context, dir place, match func(Key) bool) (found []aside, err error) {
	err = t.walk(ctx, dir, func(p place, _ *unix.Stat_t) bool {
		if k, ok := t.keyOf(p); ok && match(k) {
			found = append(found, aside{k, p})
		}
		return true
	})
	return found, err
}

func (t *Tree) removeAside(a aside) (bool, error) {
	t.names.Lock()
	defer t.names.Unlock()
	if folder, ok := notable(a.key, a.at); ok {
		if err := t.unnote(folder); err != nil {
			return false, err
		}
		defer t.counted(folder)
	}
	return t.unlink(a.at)
}

// subtree is the place of key's directory, or of its body: what lies there and below is all at or under key.
func subtree(key Key) (place, bool) {
	key.path = strings.TrimSuffix(key.path, "/")
	if key.path == "" {
		return place(key.hub), true
	}
	return plainPlace(key)
}

// discardTree moves what lies at p out of the tree and deletes it there. It counts the stored responses among it.
func (t *Tree) discardTree(ctx context.Context, p place, under func(Key) bool) (int, error) {
	trash := place(trashDir + "/" + durable.Random())
	if err := t.leave(p, trash, under); err != nil {
		if absent(err) {
			return 0, nil
		}
		return 0, err
	}
	n := 0
	moved := t.moved(p, trash)
	err := t.walk(ctx, trash, func(at place, st *unix.Stat_t) bool {
		if at.stored() {
			n++
		}
		moved(at)
		t.clear(t.remainsOf(at, st))
		return true
	})
	return n, errors.Join(err, t.root.RemoveAll(ctx, string(trash), nil))
}

// leave renames p to a place in the trash, with the names locked.
func (t *Tree) leave(p, trash place, under func(Key) bool) error {
	t.names.Lock()
	defer t.names.Unlock()
	if p[0] != '.' {
		if t.originalsAt(p) {
			return ErrOriginal
		}
		if err := t.unnote(p.dir()); err != nil {
			return err
		}
		defer t.counted(p.dir())
	}
	err := t.root.Rename(string(p), string(trash))
	if errors.Is(err, unix.ENOENT) {
		// Either there is nothing, or somebody tidied .zcache.
		if merr := t.root.MkdirAll(trashDir); merr == nil {
			err = t.root.Rename(string(p), string(trash))
		}
	}
	if err == nil {
		t.prune(p.dir())
	}
	t.table.dropIf(under)
	return err
}

// moved returns what is to be called with every file that left with the directory p for the place to: it counts the change for the directories at and
// below p, which counted does not know. Their notes left with them.
func (t *Tree) moved(p, to place) func(at place) {
	last := place("")
	return func(at place) {
		folder := at.dir()
		if p[0] == '.' || folder == last || len(folder) < len(to) {
			return
		}
		last = folder
		for folder = p + folder[len(to):]; folder != p.dir(); folder = folder.dir() {
			t.notes.count(folder).Add(1)
		}
	}
}

// keyOf is the key of what lies at p, by its name or by its record.
func (t *Tree) keyOf(p place) (Key, bool) { return t.keyFrom(p, p) }

// keyFrom is the key of a response that lies at the place at and belongs to p.
func (t *Tree) keyFrom(p, at place) (Key, bool) {
	if p.telling() {
		return keyAt(p)
	}
	h, err := t.peek(at)
	if err != nil || h.key.IsZero() {
		return Key{}, false
	}
	k := h.key
	return k, asidePlace(oddDir, k) == p || asidePlace(otherDir, k) == p || variantDir(k) == p.dir()
}

// List is described at Store.
func (t *Tree) List(ctx context.Context, under Key, yield func(Key, Info) bool) error {
	more := true
	var errs []error
	visit := func(p place, st *unix.Stat_t) bool {
		if !p.stored() {
			return true
		}
		k, ok := t.keyOf(p)
		if !ok || !k.Under(under) {
			return true
		}
		info := Info{Size: st.Size, ModTime: modTime(st), Used: useTime(st), Status: 200}
		if strings.HasPrefix(string(p), otherDir+"/") {
			info.Status = 0
		}
		more = yield(k, info)
		return more
	}
	if p, ok := subtree(under); ok {
		errs = append(errs, t.walk(ctx, p, visit))
	}
	for _, dir := range []place{oddDir, otherDir, variantsDir} {
		if !more {
			break
		}
		errs = append(errs, t.walk(ctx, dir+place("/"+under.hub), visit))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("list %s: %w", under, err)
	}
	return nil
}

// Aside calls yield for the Keys without a query, at or below a directory, whose responses lie at no plain place, until yield returns false: a segment is
// longer than a file's name may be, is one of our own names or holds an escaped slash. Names does not tell them.
func (t *Tree) Aside(ctx context.Context, under Key, yield func(Key) bool) error {
	err := t.walk(ctx, oddDir+place("/"+under.hub), func(p place, _ *unix.Stat_t) bool {
		k, ok := t.keyOf(p)
		if !ok || k.hasQuery || !k.Under(under) {
			return true
		}
		return yield(k)
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", under, because(err))
	}
	return nil
}
