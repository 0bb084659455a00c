package cache

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// setRecord writes the record to f, by way of an overflow file when the attribute cannot hold it. It returns that file's name. Tell
// says that the record has to name the key, for the place that f has or may get does not. An overflow file always names it: it is how
// one that nothing refers to is found out.
func (t *Tree) setRecord(f *os.File, m *Meta, key Key, tell bool) (string, error) {
	named := Key{}
	if tell {
		named = key
	}
	data, err := encode(m, named)
	if err != nil {
		return "", err
	}
	err = durable.SetAttr(f, attribute, data)
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.E2BIG) && !errors.Is(err, unix.ERANGE) {
		return "", err
	}
	// ENOSPC here is the word of ext4 for an attribute that does not fit the inode's block. A disk that is full indeed shows at the
	// next step.
	if data, err = encode(m, key); err != nil {
		return "", err
	}
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

// overflowOf is the name of the overflow file that f's attribute points to, or "". An error says that it could not be found out.
func (t *Tree) overflowOf(f *os.File) (string, error) {
	if !t.overflows.Load() {
		return "", nil
	}
	var buf [256]byte
	data, err := durable.Attr(f, attribute, buf[:])
	if err != nil {
		if unreadable(err) {
			err = nil
		}
		return "", err
	}
	r, _ := decodeRecord(data) // what is there instead has no pointer
	return r.overflow, nil
}

// overflowAt is overflowOf by name.
func (t *Tree) overflowAt(p place) (string, error) {
	f, err := t.root.Open(string(p))
	if err != nil {
		if absent(err) {
			err = nil
		}
		return "", err
	}
	defer f.Close()
	return t.overflowOf(f)
}

func (t *Tree) removeOverflow(name string) {
	if name == "" {
		return
	}
	if err := t.root.Remove(overflowDir + "/" + name); err != nil && !durable.IsGone(err) {
		t.Logger.Warn("cannot remove an overflow file", "name", name, "err", err)
	}
}

// reapOverflows removes the overflow files that nothing refers to: a crash left them between two steps, or their entries were removed by
// hand. An entry that was moved by hand to another name loses its overflow file, and is an adopted one from then on.
func (t *Tree) reapOverflows(ctx context.Context) error {
	if !t.overflows.Load() {
		return nil
	}
	now := t.Now()
	t.trash.mu.Lock() // nothing goes between the tree and the trash while both are looked through
	defer t.trash.mu.Unlock()
	// Drafts first: when one of them is published meanwhile it gets a new overflow file, too young to be looked at.
	used := map[string]bool{}
	err := t.eachName(draftsDir, func(name string) error {
		of, err := t.overflowAt(place(draftsDir + "/" + name))
		used[of] = true
		return err
	})
	if err != nil {
		return err
	}
	werr := t.walk(ctx, orphansDir, func(p place, _ *unix.Stat_t) bool {
		var of string
		of, err = t.overflowAt(p)
		used[of] = true
		return err == nil
	})
	if err = errors.Join(err, werr); err != nil {
		return err
	}
	return t.walk(ctx, overflowDir, func(p place, st *unix.Stat_t) bool {
		name := strings.TrimPrefix(string(p), overflowDir+"/")
		half := strings.HasPrefix(p.base(), durable.TempPrefix)
		if now.Sub(time.Unix(st.Ctim.Sec, st.Ctim.Nsec)) < tempAge || !half && !overflowName(name) || used[name] {
			return true
		}
		t.names.Lock()
		defer t.names.Unlock()
		if half || t.orphaned(name) {
			t.removeOverflow(name)
		}
		return true
	})
}

// orphaned says whether nothing that is stored for the key that an overflow file names refers to it. The names lock is held.
func (t *Tree) orphaned(name string) bool {
	data, err := t.root.ReadFile(overflowDir+"/"+name, 4<<20)
	if err != nil {
		return false
	}
	r, err := decodeRecord(data)
	if err != nil || r.key.IsZero() {
		return false
	}
	main := mainPlace(r.key)
	for _, p := range []place{main, main.content(), asidePlace(otherDir, r.key)} {
		if of, err := t.overflowAt(p); err != nil || of == name {
			return false
		}
	}
	dir, orphan := variantDir(r.key), true
	err = t.eachName(dir, func(base string) error {
		of, err := t.overflowAt(dir + place("/"+base))
		orphan = orphan && of != name
		return err
	})
	return orphan && err == nil
}
