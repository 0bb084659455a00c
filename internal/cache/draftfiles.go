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
		key, size, err := t.idleDraft(name, kind)
		if err != nil {
			useless = append(useless, name)
			return true
		}
		if best, ok := sizes[key]; ok && best >= size {
			useless = append(useless, name)
			return true
		}
		sizes[key] = size
		if displaced := t.drafts.suspend(key, name); displaced != "" {
			useless = append(useless, displaced)
		}
		return true
	})
	for _, name := range useless {
		t.removeDraft(name)
	}
	return because(err)
}

var errUseless = errors.New("draft of no use")

// idleDraft looks at one draft file: whose it is and how far it came.
func (t *Tree) idleDraft(name string, kind byte) (Key, int64, error) {
	if kind != durable.Regular {
		return Key{}, 0, errUseless
	}
	f, err := t.root.Open(draftsDir + "/" + name)
	if err != nil {
		return Key{}, 0, err
	}
	defer f.Close()
	st, err := durable.Stat(f)
	if err != nil {
		return Key{}, 0, err
	}
	r, err := t.record(f)
	if err != nil {
		return Key{}, 0, err
	}
	written := modTime(&st)
	if r.key.IsZero() || st.Size == 0 || t.Now().Sub(written) > draftAge || t.boot.suspects(written) {
		return Key{}, 0, errUseless
	}
	return r.key, st.Size, nil
}

// reapDrafts removes the drafts that have waited too long for somebody to resume them.
func (t *Tree) reapDrafts() {
	var useless []string
	err := t.root.ReadDir(draftsDir, func(name string, kind byte) bool {
		if t.drafts.isActive(name) {
			return true
		}
		if _, _, err := t.idleDraft(name, kind); err != nil {
			useless = append(useless, name)
		}
		return true
	})
	if err != nil && !durable.IsGone(err) {
		t.Logger.Warn("cannot look for old drafts", "err", err)
	}
	for _, name := range useless {
		if !t.drafts.isActive(name) {
			t.removeDraft(name)
		}
	}
}

// removeDraft removes a draft's file and forgets it.
func (t *Tree) removeDraft(name string) {
	t.drafts.letGo(name)
	p := place(draftsDir + "/" + name)
	if t.overflows.Load() {
		if f, err := t.root.Open(string(p)); err == nil {
			t.removeOverflow(t.overflowOf(f))
			f.Close()
		}
	}
	if err := t.root.Remove(string(p)); err != nil && !durable.IsGone(err) {
		t.Logger.Warn("cannot remove a draft", "err", err)
	}
}
