package cache

import (
	"errors"
	"fmt"
	"net/http"
	"os"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// Open is described at Store.
func (t *Tree) Open(key Key, request http.Header) (*Entry, error) {
	if key.IsZero() {
		return nil, ErrNotStored
	}
	f := t.table.look(key, request, t.Now())
	if f.due != nil {
		f = t.compare(key, request, f)
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
	return &Entry{Key: key, Meta: h.meta, Adopted: h.adopted, handle: h}, nil
}

// compare looks whether what the table holds is still what lies on the disk, and selects from it if so.
func (t *Tree) compare(key Key, request http.Header, f found) found {
	defer release(f.due)
	for _, h := range f.due {
		st, err := t.root.Lstat(string(h.at))
		if err != nil || identityOf(&st) != h.id {
			t.table.drop(key)
			return t.table.look(key, request, t.Now()) // not there: it was just dropped, or is new
		}
	}
	if h := choose(f.due, request); h != nil {
		f.handle = h.acquire()
	}
	return f
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
	if len(handles) > 0 {
		complete := handles[0].at.dir() != variantDir(key) && handles[0].at != asidePlace(otherDir, key)
		t.table.put(&slot{key: key, handles: handles, checked: t.Now(), complete: complete}, turn)
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
	if st.Ino != h.id.ino || st.Size != h.id.size || st.Mtim != h.id.mtime {
		return nil // replaced meanwhile
	}
	old := t.overflowOf(f)
	name, err := t.setRecord(f, &m, keyFor(entry.Key, h.at))
	if err != nil {
		return fmt.Errorf("freshen %s: %w", entry.Key, because(err))
	}
	t.table.drop(entry.Key)
	if old != name {
		t.removeOverflow(old)
	}
	return nil
}

// keyFor is the key to keep in the record of what lies at p: none where the place tells it.
func keyFor(key Key, p place) Key {
	if p.telling() {
		return Key{}
	}
	return key
}

// setRecord writes the record to f, by way of an overflow file when the attribute cannot hold it. It returns that file's name.
func (t *Tree) setRecord(f *os.File, m *Meta, key Key) (string, error) {
	data, err := encode(m, key)
	if err != nil {
		return "", err
	}
	err = durable.SetAttr(f, attribute, data)
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.E2BIG) && !errors.Is(err, unix.ERANGE) {
		return "", err
	}
	// ENOSPC here is the word of ext4 for an attribute that does not fit the inode's block. A disk that is full indeed shows at the
	// next step.
	id := durable.Random()
	dir := overflowDir + "/" + id[:2]
	name := id[:2] + "/" + id
	if err := t.root.MkdirAll(dir); err != nil {
		return "", err
	}
	t.overflows.Store(true)
	if err := t.root.WriteFile(overflowDir+"/"+name, data, t.Full); err != nil {
		return "", err
	}
	if err := durable.SetAttr(f, attribute, encodeOverflow(name)); err != nil {
		return "", errors.Join(err, t.root.Remove(overflowDir+"/"+name))
	}
	return name, nil
}
