package cache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// mostVariants bounds the further responses that one key has.
const mostVariants = 32

// publish moves the finished file temp to where key's response with this Meta belongs, and returns that place. Anew says that the
// directory of that place was not there before. Same, if not nil, is what lies there and says the same.
func (t *Tree) publish(key Key, m *Meta, temp place, same *identity) (p place, anew bool, err error) {
	t.names.Lock()
	defer t.names.Unlock()
	if err = t.mayPublish(key, m); err != nil {
		return "", false, err
	}
	if p, err = t.target(key, m); err != nil {
		return "", false, err
	}
	if folder, ok := notable(key, p); ok && !t.holds(p, same) {
		if err := t.unnote(folder); err != nil {
			return "", false, err
		}
		defer t.counted(folder)
	}
	if t.Full || m.Original { // who else would care
		st, err := t.root.Lstat(string(p.dir()))
		anew = err != nil || !folder(&st)
	}
	more := nothing(m.Status) && t.vacant(p)
	to, err := t.moveIn(temp, p)
	if err != nil {
		t.prune(p.dir())
		return "", false, err
	}
	if p = to; p[0] != '.' {
		t.claim(key.hub)
	}
	t.boot.dirty.Store(true)
	if m.Status == http.StatusOK {
		t.outdate(key, m, p)
	}
	t.table.drop(key)
	if more {
		t.bound(p)
	}
	if st, err := t.root.Lstat(string(p)); err == nil {
		t.usage.add(onDisk(&st), 1)
		t.checkLimit()
	}
	return p, anew, nil
}

// holds says whether the body that id was taken of lies at p.
func (t *Tree) holds(p place, id *identity) bool {
	if id == nil {
		return false
	}
	st, err := t.root.Lstat(string(p))
	return err == nil && id.sameBody(&st)
}

// target is where a response belongs: a 200 at the key's main place, unless another selection lies there.
func (t *Tree) target(key Key, m *Meta) (place, error) {
	if m.Status != http.StatusOK {
		return asidePlace(otherDir, key), nil
	}
	main := mainPlace(key)
	if p, ok := main.listed(); ok && m.Listing {
		main = p
	}
	if len(m.Vary) == 0 {
		return main, nil
	}
	held, err := t.peekMain(key)
	if err != nil {
		return "", err
	}
	if held != nil && len(held.meta.Vary) > 0 && selection(held.meta) != selection(m) {
		return variantPlace(key, m), nil
	}
	return main, nil
}

// peekMain is what lies at key's main place, without its body, or nil.
func (t *Tree) peekMain(key Key) (*handle, error) {
	p := mainPlace(key)
	if at, ok := p.listed(); ok {
		for _, p := range []place{at, p, at} {
			if h, err := t.peek(p); err == nil || !absent(err) {
				return h, err
			}
		}
		return nil, nil
	}
	h, err := t.peek(p)
	if errors.Is(err, errIsDir) && p[0] != '.' && !key.IsDir() {
		h, err = t.peek(p.content())
	}
	if err != nil && absent(err) {
		return nil, nil
	}
	return h, err
}

// outdate removes what a 200 response at p makes pointless: the negative entry, and the variants that it outlives.
func (t *Tree) outdate(key Key, m *Meta, p place) {
	t.removeFile(asidePlace(otherDir, key))
	if index := mainPlace(key); p.dir() == index.dir() { // a directory is a listing or a document, never both
		if listed, ok := index.listed(); ok && p == listed {
			t.removeFile(index)
		} else if ok {
			t.removeFile(listed)
		}
	}
	dir := variantDir(key)
	switch {
	case len(m.Vary) == 0:
		// Every request selects the new response, and it is the most recent.
		if _, err := t.removeVariants(key); err != nil {
			t.Logger.Warn("cannot remove variants", "key", key.String(), "err", err)
		}
	case p.dir() == dir:
		t.limitVariants(dir)
	default:
		t.removeFile(variantPlace(key, m))
	}
}

func (t *Tree) removeVariants(key Key) (int, error) {
	n := 0
	dir := variantDir(key)
	err := t.eachName(dir, func(name string) error {
		gone, err := t.unlink(dir + place("/"+name))
		if gone {
			n++
		}
		return err
	})
	return n, err
}

// limitVariants drops the least recently received until the bound is kept.
func (t *Tree) limitVariants(dir place) {
	for {
		n := 0
		var oldest *handle
		err := t.eachName(dir, func(name string) error {
			n++
			h, err := t.peek(dir + place("/"+name))
			if err == nil && (oldest == nil || h.since.Before(oldest.since)) {
				oldest = h
			}
			return nil
		})
		if err != nil || n <= mostVariants || oldest == nil || !t.removeFile(oldest.at) {
			return
		}
	}
}

// moveIn renames temp to p, making the directories above it. A document that is in the way of a directory becomes that directory's
// content, and a document whose place is a directory goes into it. The names lock is held; what races here is a person at the
// tree, so a few tries are enough.
func (t *Tree) moveIn(temp, p place) (place, error) {
	var err error
	for range 10 {
		to := p
		if err = t.makeDirs(p.dir()); err != nil {
			return "", err
		}
		st, serr := t.root.Lstat(string(p))
		if serr == nil && folder(&st) {
			// A directory that a removal left empty makes way.
			if rerr := t.root.Rmdir(string(p)); rerr != nil && !durable.IsGone(rerr) {
				to = p.content()
				st, serr = t.root.Lstat(string(to))
			}
		}
		if serr == nil && regular(&st) {
			old := t.remainsOf(to, &st)
			if err = t.replace(temp, to); err == nil {
				t.clear(old)
			}
		} else {
			err = t.root.Rename(string(temp), string(to))
		}
		if err == nil {
			return to, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.ENOTDIR) {
			return "", err
		}
	}
	return "", err
}

// replace puts temp in the place of the body at to. A rename over a file makes ext4 write out the new one's data first, a
// millisecond for a small body and much more for a large one, with the names locked; an exchange does not (1.05 ms and 0.06 ms a
// body), and what may be torn by a loss of power is checked in any case.
func (t *Tree) replace(temp, to place) error {
	err := t.root.Exchange(string(temp), string(to))
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return t.root.Rename(string(temp), string(to))
	}
	if err != nil {
		return err
	}
	err = t.root.Remove(string(temp))
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		// Somebody put a directory there since we looked: it goes back, and the caller looks again.
		return errors.Join(unix.EISDIR, t.root.Exchange(string(temp), string(to)))
	}
	if err != nil {
		// Published all the same. A leftover is no draft that could be taken for the new body: it has the old one's validators.
		t.Logger.Warn("cannot remove a replaced body", "err", err)
	}
	return nil
}

// makeDirs makes the directory p and all above it.
func (t *Tree) makeDirs(p place) error {
	err := t.root.MkdirAll(string(p))
	for range strings.Count(string(p), "/") + 2 {
		if !errors.Is(err, unix.ENOTDIR) {
			return err
		}
		at, ferr := t.fileAbove(p)
		if ferr != nil {
			return ferr
		}
		if at != "" {
			if err := t.turnIntoDir(at); err != nil {
				return fmt.Errorf("make %s a directory: %w", at, err)
			}
		}
		err = t.root.MkdirAll(string(p))
	}
	return err
}

// fileAbove finds the file that stands where a directory of p should be; "" when it is gone meanwhile.
func (t *Tree) fileAbove(p place) (place, error) {
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		st, err := t.root.Lstat(string(p[:i]))
		if durable.IsGone(err) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		if regular(&st) && strings.IndexByte(string(p[:i]), '/') > 0 && p[0] != '.' {
			return p[:i], nil
		}
		if !folder(&st) {
			return "", fmt.Errorf("%s is in the way: %w", p[:i], unix.ENOTDIR)
		}
	}
	return "", nil
}

// turnIntoDir makes the document at p the content of a directory at p. The directory is built aside and swapped in, so that the
// document can be opened at every moment.
func (t *Tree) turnIntoDir(p place) error {
	temp := place(tempDir + "/" + durable.Random())
	if err := t.root.MkdirAll(string(temp)); err != nil {
		return err
	}
	err := t.root.Link(string(p), string(temp.content()))
	if err == nil {
		err = t.root.Exchange(string(temp), string(p))
	}
	if err != nil {
		return errors.Join(err, t.root.RemoveAll(context.Background(), string(temp), nil))
	}
	if key, ok := keyAt(p); ok {
		t.table.drop(key)
	}
	return t.root.Remove(string(temp))
}

// removeFile is unlink where nobody waits for the outcome.
func (t *Tree) removeFile(p place) bool {
	gone, err := t.unlink(p)
	if err != nil {
		t.Logger.Warn("cannot remove", "place", string(p), "err", err)
	}
	return gone
}

// unlink removes the body at p, if there is one, and the directories that become empty. Of one that lies aside the caller sees to the notes. The names
// lock is held.
func (t *Tree) unlink(p place) (gone bool, err error) {
	st, err := t.root.Lstat(string(p))
	if err != nil || !regular(&st) {
		if absent(err) {
			err = nil
		}
		return false, err
	}
	if folder, ok := notable(Key{}, p); ok {
		if err := t.unnote(folder); err != nil {
			return false, err
		}
		defer t.counted(folder)
	}
	old := t.remainsOf(p, &st)
	if err := t.root.Remove(string(p)); err != nil {
		if durable.IsGone(err) {
			err = nil
		}
		return false, err
	}
	t.clear(old)
	if p.base() == listingName {
		t.removeSidecar(p)
	}
	t.prune(p.dir())
	return true, nil
}

// remains are what is left to do for a file that was replaced or removed.
type remains struct {
	bytes    int64
	entries  int64
	overflow string
}

// remainsOf looks at what lies at p while it is still there.
func (t *Tree) remainsOf(p place, st *unix.Stat_t) remains {
	old := remains{bytes: onDisk(st)}
	if p.stored() {
		old.entries = 1
	}
	if t.overflows.Load() {
		old.overflow, _ = t.overflowAt(p) // reapOverflows finds one that this does not
	}
	return old
}

// clear is called once the file is gone from its name.
func (t *Tree) clear(old remains) {
	t.usage.add(-old.bytes, -old.entries)
	t.removeOverflow(old.overflow)
}

// prune removes p and the directories above it as long as they are empty, up to the hub's own. The names lock is held.
func (t *Tree) prune(p place) {
	keep := 1 // <hub>
	if p[0] == '.' {
		keep = 3 // .zcache/odd/<hub>
	}
	for strings.Count(string(p), "/") >= keep {
		if err := t.root.Rmdir(string(p)); err != nil && !errors.Is(err, unix.ENOENT) {
			return
		}
		p = p.dir()
	}
}
