package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Retired tells of one stored response in the trash.
type Retired struct {
	Key  Key
	Size int64     // of the body, in bytes
	When time.Time // it was retired, exact to a second
}

// Trash calls yield for every stored response in the trash that was retired from key's directory or from below it, the latest first, until yield
// returns false. One Key may come more than once.
func (t *Tree) Trash(ctx context.Context, under Key, yield func(Retired) bool) error {
	all, err := t.batches()
	more := true
	for _, b := range all {
		if !more || err != nil {
			break
		}
		err = t.retiredIn(ctx, b, under, true, func(r binned) bool {
			more = yield(Retired{r.key, r.size, b.when})
			return more
		})
	}
	if err != nil {
		return fmt.Errorf("list the trash of %s: %w", under, because(err))
	}
	return nil
}

// Restore brings back what was retired of key, with recursive of all below it too: of each response the latest version, unless one is held now. It
// returns the number of stored responses brought back.
func (t *Tree) Restore(key Key, recursive bool) (int, error) {
	t.trash.mu.Lock()
	defer t.trash.mu.Unlock()
	n := 0
	all, err := t.batches()
	for _, b := range all {
		var found []binned
		err = errors.Join(err, t.retiredIn(context.Background(), b, key, recursive && !key.hasQuery, func(r binned) bool {
			found = append(found, r)
			return true
		}))
		for _, r := range found {
			back, rerr := t.putBack(r)
			if back {
				n++
				t.pruneBatch(b, r.at)
			}
			err = errors.Join(err, rerr)
		}
	}
	if err != nil {
		return n, fmt.Errorf("restore %s: %w", key, because(err))
	}
	return n, nil
}

// A binned response lies in the trash.
type binned struct {
	key  Key
	at   place // where it lies
	was  place // where it lay
	size int64 // of the body
	disk int64 // that it takes
}

// retiredIn finds the responses of a batch, at the key or with recursive below it too: those of main places come before their variants.
func (t *Tree) retiredIn(ctx context.Context, b batch, key Key, recursive bool, yield func(binned) bool) error {
	prefix := b.at() + "/"
	roots := []place{oddDir + place("/"+key.hub), variantsDir + place("/"+key.hub)}
	if p, ok := subtree(key); ok && recursive {
		roots = append([]place{p}, roots...)
	}
	if !recursive {
		roots = append(mainPlaces(key), variantDir(key))
	}
	for _, root := range roots {
		more := true
		err := t.walk(ctx, prefix+root, func(at place, st *unix.Stat_t) bool {
			was := at[len(prefix):]
			if !at.stored() {
				return true
			}
			k, ok := t.keyFrom(was, at)
			if !ok || k != key && !(recursive && k.Under(key)) {
				return true
			}
			more = yield(binned{k, at, was, st.Size, onDisk(st)})
			return more
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// putBack moves a response from the trash to its place, unless what is held now answers for it.
func (t *Tree) putBack(r binned) (bool, error) {
	t.names.Lock()
	defer t.names.Unlock()
	held, err := t.peekMain(r.key)
	if err != nil {
		return false, err
	}
	to := r.was
	if strings.HasPrefix(string(to), variantsDir+"/") {
		if held != nil && len(held.meta.Vary) == 0 {
			return false, nil // every request selects that one
		}
		if _, err := t.root.Lstat(string(to)); err == nil || !absent(err) {
			return false, err
		}
	} else if held != nil {
		return false, nil
	} else if to.base() == contentName {
		to = mainPlace(r.key) // its directory may be gone
	}
	if folder, ok := notable(r.key, to); ok {
		if err := t.unnote(folder); err != nil {
			return false, err
		}
		defer t.counted(folder)
	}
	if to, err = t.moveIn(r.at, to); err != nil {
		return false, err
	}
	t.account(r.disk, 1)
	t.boot.dirty.Store(true)
	if to[0] != '.' {
		t.claim(r.key.hub)
	}
	t.removeFile(asidePlace(otherDir, r.key)) // that it was gone
	t.table.drop(r.key)
	if h, err := t.peek(to); err == nil && h.meta.Original {
		t.noticeOriginal(r.key, h)
		t.originals.bytes.Add(r.disk)
	}
	if to.base() == listingName {
		t.putBackSidecar(r.at.dir(), to.dir())
	}
	return true, nil
}

// putBackSidecar lets a listing that was restored have its sidecar again. Without one the listing is read anew.
func (t *Tree) putBackSidecar(from, to place) {
	old, at := string(from+"/"+sidecarName), string(to+"/"+sidecarName)
	st, err := t.root.Lstat(old)
	if err != nil || !regular(&st) {
		return
	}
	if _, err := t.root.Lstat(at); err == nil {
		return
	}
	if err := t.root.Rename(old, at); err != nil {
		t.Logger.Warn("cannot restore a listing's sidecar", "place", at, "err", err)
		return
	}
	t.account(onDisk(&st), 0)
}

// account moves bytes from the trash's account to the tree's.
func (t *Tree) account(bytes, entries int64) {
	t.trash.bytes.Add(-bytes)
	t.usage.add(bytes, entries)
}

// pruneBatch removes the directories of a batch that are empty since something left p.
func (t *Tree) pruneBatch(b batch, p place) {
	for p = p.dir(); len(p) >= len(b.at()); p = p.dir() {
		if err := t.root.Rmdir(string(p)); err != nil {
			return
		}
	}
}
