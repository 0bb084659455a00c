package cache

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// Open is described at Store.
func (t *Tree) Open(key Key, request http.Header) (*Entry, error) {
	if key.IsZero() {
		return nil, ErrNotStored
	}
	f := t.table.look(key, request, t.Now())
	for f.due != nil && !t.compare(request, &f) {
		// What the next look finds somebody else may have put there meanwhile, and it may be due again.
		t.table.drop(key)
		f = t.table.look(key, request, t.Now())
	}
	if f.known {
		return entryOf(key, f.handle)
	}
	h, err := t.fetch(key, request, f.turn)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, err)
	}
	return entryOf(key, h)
}

func entryOf(key Key, h *handle) (*Entry, error) {
	if h == nil {
		return nil, ErrNotStored
	}
	return &Entry{Key: key, Meta: h.meta, Adopted: h.adopted, Edited: h.adopted && h.told != nil && h.told.Size >= 0 && h.told.Size != h.meta.Size, handle: h}, nil
}

// compare says whether what the table holds is still what lies on the disk, and selects from it if so.
func (t *Tree) compare(request http.Header, f *found) bool {
	defer release(f.due)
	for _, h := range f.due {
		st, err := t.root.Lstat(string(h.at))
		if err != nil || identityOf(&st) != h.id {
			return false
		}
	}
	if h := choose(f.due, request); h != nil {
		f.handle = h.acquire()
	}
	f.due = nil
	return true
}

// fetch loads all that is stored for key, puts it into the table and selects from it; nil when nothing matches.
func (t *Tree) fetch(key Key, request http.Header, turn uint64) (*handle, error) {
	handles, err := t.loadAll(key)
	t.removeTorn()
	if err != nil {
		return nil, err
	}
	h := choose(handles, request)
	if h != nil {
		h.acquire()
	}
	if len(handles) > 0 && !slices.ContainsFunc(handles, (*handle).unsettled) {
		complete := handles[0].at.dir() != variantDir(key) && handles[0].at != asidePlace(otherDir, key)
		t.table.put(&slot{key: key, handles: handles, checked: t.Now(), complete: complete}, turn)
	} else {
		release(handles)
	}
	return h, nil
}

// loadAll opens every stored response of key, the main one first.
func (t *Tree) loadAll(key Key) (_ []*handle, err error) {
	var handles []*handle
	defer func() {
		if err != nil {
			release(handles)
		}
	}()
	main, err := t.loadMain(key)
	if err != nil {
		return nil, err
	}
	t.noticeOriginal(key, main)
	if main != nil {
		handles = append(handles, main)
	}
	other, err := t.loadOne(key, asidePlace(otherDir, key))
	if err != nil {
		return nil, err
	}
	if other != nil {
		handles = append(handles, other)
	}
	// Variants exist only beside a main response that varies, but that one may have been removed by hand or for space.
	if main != nil && len(main.meta.Vary) == 0 {
		return handles, nil
	}
	dir := variantDir(key)
	err = t.eachName(dir, func(name string) error {
		h, err := t.loadOne(key, dir+place("/"+name))
		if h != nil {
			handles = append(handles, h)
		}
		return err
	})
	return handles, err
}

// eachName calls f for the regular files in dir, if there is such a directory.
func (t *Tree) eachName(dir place, f func(name string) error) error {
	var ferr error
	err := t.root.ReadDir(string(dir), func(name string, kind byte) bool {
		if kind == durable.Regular {
			ferr = f(name)
		}
		return ferr == nil
	})
	if absent(err) {
		return nil
	}
	return errors.Join(err, ferr)
}

// loadMain opens the 200 response of key, or returns nil.
func (t *Tree) loadMain(key Key) (*handle, error) {
	p := mainPlace(key)
	if at, ok := p.listed(); ok {
		for _, p := range []place{at, p, at} { // once more, for one may take the other's place between the two looks
			if h, err := t.loadOne(key, p); h != nil || err != nil && !errors.Is(err, errIsDir) {
				return h, err
			}
		}
		return nil, nil
	}
	for range 3 {
		h, err := t.loadOne(key, p)
		if !errors.Is(err, errIsDir) {
			return h, err
		}
		if p[0] == '.' || key.IsDir() {
			return nil, nil
		}
		if h, err = t.loadOne(key, p.content()); h != nil || err != nil && !errors.Is(err, errIsDir) {
			return h, err
		}
		// Either there is no document, or it became a plain file between the two looks.
		if st, err := t.root.Lstat(string(p)); err != nil || folder(&st) {
			return nil, nil
		}
	}
	return nil, nil
}

// loadOne opens what lies at p, or returns nil when that is nothing of key's. A directory is errIsDir.
func (t *Tree) loadOne(key Key, p place) (*handle, error) {
	h, err := t.load(p)
	switch {
	case errors.Is(err, errIsDir):
		return nil, err
	case err != nil && absent(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	if !p.telling() && h.key != key {
		// Named by a digest: without a Meta that says so it could be anything.
		h.unref()
		return nil, nil
	}
	return h, nil
}

// Freshen is described at Store. Size, SHA256, Stored and ModTime are the body's own and stay; of an adopted body they become what
// the file tells.
func (t *Tree) Freshen(entry *Entry, meta *Meta) error {
	h, ok := entry.handle.(*handle)
	if !ok {
		return fmt.Errorf("freshen %s: not an entry of this store", entry.Key)
	}
	if h.meta.Original {
		return nil // nobody upstream knows it
	}
	m := *meta
	m.Size = h.id.size
	if !h.adopted {
		m.SHA256, m.Stored, m.ModTime = h.meta.SHA256, h.meta.Stored, h.meta.ModTime
	} else {
		m.ModTime = h.meta.ModTime
		if m.Stored.IsZero() {
			m.Stored = m.ModTime
		}
	}
	t.names.Lock()
	defer t.names.Unlock()
	f, err := t.root.Open(string(h.at))
	if absent(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("freshen %s: %w", entry.Key, because(err))
	}
	defer f.Close()
	st, err := durable.Stat(f)
	if err != nil {
		return fmt.Errorf("freshen %s: %w", entry.Key, err)
	}
	if !h.id.sameBody(&st) {
		return nil // replaced meanwhile
	}
	if folder, ok := notable(entry.Key, h.at); ok && t.alters(f, &st, h, &m) {
		if err := t.unnote(folder); err != nil {
			return fmt.Errorf("freshen %s: %w", entry.Key, because(err))
		}
		defer t.counted(folder)
	}
	old, err := t.overflowOf(f)
	if err != nil {
		return fmt.Errorf("freshen %s: %w", entry.Key, err)
	}
	name, err := t.setRecord(f, &m, entry.Key, !h.at.telling())
	if err != nil {
		return fmt.Errorf("freshen %s: %w", entry.Key, because(err))
	}
	t.boot.dirty.Store(true) // the mark has to pass the inode's new ctime, or a restart would find the body in doubt
	t.table.drop(entry.Key)
	if old != name {
		t.removeOverflow(old)
	}
	return nil
}

// alters says whether m, about to become the Meta of f, tells of another state than what f has: by its validators, or because it is known for a listing now.
func (t *Tree) alters(f *os.File, st *unix.Stat_t, h *handle, m *Meta) bool {
	old := h.meta
	if h.adopted {
		return true
	}
	if identityOf(st) != h.id { // freshened or used since it was opened
		r, err := t.record(f)
		if err != nil {
			return true
		}
		old = r.meta
	}
	return old.ETag() != m.ETag() || old.LastModified() != m.LastModified() || m.Listing && !old.Listing
}
