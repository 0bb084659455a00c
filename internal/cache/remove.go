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
	t.names.Lock()
	p := mainPlace(key)
	places := []place{p, asidePlace(otherDir, key)}
	if p[0] != '.' && !key.IsDir() {
		places = append(places, p.content())
	}
	if listed, ok := p.listed(); ok {
		places = append(places, listed)
	}
	n, err := t.removeVariants(key)
	for _, p := range places {
		gone, rerr := t.unlink(p)
		if gone {
			n++
		}
		err = errors.Join(err, rerr)
	}
	if listed, ok := p.listed(); ok {
		t.removeSidecar(listed) // also one whose listing is gone
		t.prune(p.dir())
	}
	t.table.drop(key)
	t.names.Unlock()
	for _, name := range t.drafts.takeIf(func(k Key) bool { return k == key }) {
		t.removeDraft(name)
	}
	return n, err
}

// removeTree removes all at and below key. The mirrored subtree leaves by one rename, so that nobody sees half of it.
func (t *Tree) removeTree(key Key) (int, error) {
	under := func(k Key) bool { return k.Under(key) }
	ctx := context.Background()
	n := 0
	var errs []error
	if p, ok := subtree(key); ok {
		if key.path == "/" {
			defer t.keepNote(key.hub)()
		}
		gone, err := t.discardTree(ctx, p, under)
		n, errs = n+gone, append(errs, err)
	}
	for _, dir := range []place{oddDir, otherDir, variantsDir} {
		dir += place("/" + key.hub)
		if key.path == "/" {
			gone, err := t.discardTree(ctx, dir, under)
			n, errs = n+gone, append(errs, err)
			continue
		}
		var aside []place
		errs = append(errs, t.walk(ctx, dir, func(p place, st *unix.Stat_t) bool {
			if k, ok := t.keyOf(p); ok && under(k) {
				aside = append(aside, p)
			}
			return true
		}))
		for _, p := range aside {
			t.names.Lock()
			gone, err := t.unlink(p)
			t.names.Unlock()
			if gone {
				n++
			}
			errs = append(errs, err)
		}
	}
	t.table.dropIf(under)
	for _, name := range t.drafts.takeIf(under) {
		t.removeDraft(name)
	}
	return n, errors.Join(errs...)
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
	t.names.Lock()
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
	t.names.Unlock()
	if err != nil {
		if absent(err) {
			return 0, nil
		}
		return 0, err
	}
	n := 0
	err = t.walk(ctx, trash, func(at place, st *unix.Stat_t) bool {
		if at.stored() {
			n++
		}
		t.clear(t.remainsOf(at, st))
		return true
	})
	return n, errors.Join(err, t.root.RemoveAll(ctx, string(trash), nil))
}

// keyOf is the key of what lies at p, by its name or by its record.
func (t *Tree) keyOf(p place) (Key, bool) {
	if p.telling() {
		return keyAt(p)
	}
	h, err := t.peek(p)
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
