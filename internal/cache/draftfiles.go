package cache

import (
	"errors"

	"zcache/internal/durable"
)

// findDrafts indexes the drafts that an earlier process left, and removes those that are of no use.
func (t *Tree) findDrafts() error {
	sizes := map[Key]int64{}
	var useless []string
	err := t.root.ReadDir(draftsDir, func(name string, kind byte) bool {
		key, d, size, err := t.idleDraft(name, kind)
		if err != nil {
			useless = t.unlessUnsure(useless, name, err)
			return true
		}
		if best, ok := sizes[key]; ok && best >= size {
			useless = append(useless, name)
			return true
		}
		sizes[key] = size
		if displaced := t.drafts.suspend(key, d); displaced != "" {
			useless = append(useless, displaced)
		}
		return true
	})
	for _, name := range useless {
		t.removeDraft(name)
	}
	return because(err)
}

// unlessUnsure adds name to the drafts to be removed, if err condemns it and does not only say that it could not be looked at.
func (t *Tree) unlessUnsure(useless []string, name string, err error) []string {
	if errors.Is(err, errUseless) || unreadable(err) {
		return append(useless, name)
	}
	t.Logger.Warn("cannot look at a draft", "name", name, "err", err)
	return useless
}

var errUseless = errors.New("draft of no use")

// idleDraft looks at one draft file: whose it is and how far it came.
func (t *Tree) idleDraft(name string, kind byte) (_ Key, d idleDraft, size int64, err error) {
	if kind != durable.Regular {
		return Key{}, d, 0, errUseless
	}
	f, err := t.root.Open(draftsDir + "/" + name)
	if err != nil {
		return Key{}, d, 0, err
	}
	defer f.Close()
	st, err := durable.Stat(f)
	if err != nil {
		return Key{}, d, 0, err
	}
	r, err := t.record(f)
	if err != nil {
		return Key{}, d, 0, err
	}
	d = idleDraft{name: name, bytes: onDisk(&st), written: modTime(&st)}
	if r.key.IsZero() || r.meta.Original || st.Size == 0 || t.Now().Sub(d.written) > draftAge || t.boot.suspects(d.written) {
		return Key{}, d, 0, errUseless
	}
	return r.key, d, st.Size, nil
}

// reapDrafts removes the drafts that have waited too long for somebody to resume them.
func (t *Tree) reapDrafts() {
	var useless []string
	err := t.root.ReadDir(draftsDir, func(name string, kind byte) bool {
		if t.drafts.isActive(name) {
			return true
		}
		if _, _, _, err := t.idleDraft(name, kind); err != nil {
			useless = t.unlessUnsure(useless, name, err)
		}
		return true
	})
	if err != nil && !durable.IsGone(err) {
		t.Logger.Warn("cannot look for old drafts", "err", err)
	}
	for _, name := range useless {
		if t.drafts.forget(name) {
			t.removeDraft(name)
		}
	}
}

// removeDraft removes a draft's file and forgets it.
func (t *Tree) removeDraft(name string) {
	t.drafts.letGo(name)
	p := place(draftsDir + "/" + name)
	if t.overflows.Load() {
		of, _ := t.overflowAt(p) // reapOverflows finds one that this does not
		t.removeOverflow(of)
	}
	if err := t.root.Remove(string(p)); err != nil && !durable.IsGone(err) {
		t.Logger.Warn("cannot remove a draft", "err", err)
	}
}
