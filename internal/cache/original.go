package cache

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// ErrOriginal says that a local original lies where something from upstream was to be stored.
var ErrOriginal = errors.New("a local original lies there")

// originalsDir holds a mark for each original. That one is an original its own Meta says; the marks tell at the start which there are, without a look at
// every file of the tree. A mark without an original is forgotten when it is met, and an original that came without one, with a copied folder, is marked
// when it is first opened.
const originalsDir = ownDir + "/originals"

// originals knows which Keys have one.
type originals struct {
	turn  sync.Mutex   // held while one comes or goes, from its mark to its body; taken before trash.mu and Tree.names
	bytes atomic.Int64 // that they take on disk, exact after a scan
	total atomic.Int64 // how many there are: where there are none, a hit pays no more for them than a look at this

	mu    sync.RWMutex
	known map[Key]struct{}
	below map[Key]map[string]named // by directory
}

// named is what of one name in a directory is an original: the file of that name, and how many lie below the directory of that name.
type named struct {
	file  bool
	below int
}

// Listable says whether k is the one Key that a listing's row can stand for: each segment is written in the one way that its name has, and none is empty.
// An original needs that, or no directory would show it.
func (k Key) Listable() bool {
	if k.hasQuery || k.IsDir() {
		return false
	}
	for segment := range strings.SplitSeq(k.path[1:], "/") {
		name := decode(segment)
		if name == "" || strings.ContainsAny(name, "/\x00") || encodeSegment(name) != segment {
			return false
		}
	}
	return true
}

// add notes an original, and says whether it was unknown.
func (o *originals) add(key Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, is := o.known[key]; is {
		return false
	}
	if o.known == nil {
		o.known, o.below = map[Key]struct{}{}, map[Key]map[string]named{}
	}
	o.known[key] = struct{}{}
	o.total.Add(1)
	o.count(key, 1)
	return true
}

// drop forgets one, and says whether it was known.
func (o *originals) drop(key Key) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, is := o.known[key]; !is {
		return false
	}
	delete(o.known, key)
	o.total.Add(-1)
	o.count(key, -1)
	return true
}

// count adds n to what lies below each directory above the key. The lock is held.
func (o *originals) count(key Key, n int) {
	for k, file := key, true; k.path != "/"; k, file = k.Parent(), false {
		dir, name := k.Parent(), k.Name()
		kids := o.below[dir]
		if kids == nil {
			kids = map[string]named{}
			o.below[dir] = kids
		}
		it := kids[name]
		if file {
			it.file = n > 0
		} else {
			it.below += n
		}
		if kids[name] = it; it == (named{}) {
			delete(kids, name)
		}
		if len(kids) == 0 {
			delete(o.below, dir)
		}
	}
}

func (o *originals) has(key Key) bool {
	if !o.any() {
		return false
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	_, is := o.known[key]
	return is
}

// any says whether there are any at all.
func (o *originals) any() bool { return o.total.Load() > 0 }

// under says whether one lies at or below key, as Key.Under has it.
func (o *originals) under(key Key) bool {
	if !o.any() {
		return false
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if _, is := o.known[key]; is {
		return true
	}
	_, is := o.known[Key{hub: key.hub, path: strings.TrimSuffix(key.path, "/")}]
	return is || len(o.below[asDir(key)]) > 0
}

// in is what lies in a directory.
func (o *originals) in(dir Key) map[string]named {
	if !o.any() {
		return nil
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	kids := o.below[asDir(dir)]
	if len(kids) == 0 {
		return nil
	}
	out := make(map[string]named, len(kids))
	for name, it := range kids {
		out[name] = it
	}
	return out
}

// IsOriginal says whether key is known to have a local original. It asks no disk.
func (t *Tree) IsOriginal(key Key) bool { return t.originals.has(key) }

// findOriginals reads the marks.
func (t *Tree) findOriginals() error {
	err := t.walk(context.Background(), originalsDir, func(p place, _ *unix.Stat_t) bool {
		if key, ok := t.marked(p); ok {
			t.originals.add(key)
		}
		return true
	})
	return because(err)
}

// marked is the Key that the mark at p is for. A name that is a digest has the Key in its file.
func (t *Tree) marked(p place) (Key, bool) {
	parts := strings.Split(string(p), "/")
	if len(parts) != 5 || parts[4] == "" {
		return Key{}, false
	}
	text := decodeMark(parts[4])
	if parts[4][0] == '~' {
		data, err := t.root.ReadFile(string(p), longestPath+1)
		if err != nil {
			return Key{}, false
		}
		text = string(data)
	}
	key, err := unkeyed(parts[2], text)
	return key, err == nil && asidePlace(originalsDir, key) == p
}

// decodeMark undoes oddName; what it did not make is no Key.
func decodeMark(name string) string {
	for i := range len(name) {
		if name[i] == '%' && !escapeAt(name, i) {
			return ""
		}
	}
	return decode(name)
}

// markOriginal notes an original, on disk too. It comes before the body: a mark too many is harmless.
func (t *Tree) markOriginal(key Key) error {
	if t.originals.has(key) {
		return nil
	}
	p := asidePlace(originalsDir, key)
	if err := t.root.MkdirAll(string(p.dir())); err != nil {
		return err
	}
	var text []byte
	if p.base()[0] == '~' {
		text = []byte(keyed(key))
	}
	if err := t.root.WriteFile(string(p), text, true); err != nil {
		return err
	}
	t.originals.add(key)
	return nil
}

// unmarkOriginal forgets one.
func (t *Tree) unmarkOriginal(key Key) {
	if !t.originals.drop(key) {
		return
	}
	if err := t.root.Remove(string(asidePlace(originalsDir, key))); err != nil && !durable.IsGone(err) {
		t.Logger.Warn("cannot remove the mark of an original", "key", key.String(), "err", err)
	}
}

// noticeOriginal marks what was found to be an original and is not known as one.
func (t *Tree) noticeOriginal(key Key, h *handle) {
	if h == nil || !h.meta.Original || t.originals.has(key) {
		return
	}
	if err := t.markOriginal(key); err != nil {
		t.Logger.Warn("cannot mark an original", "key", key.String(), "err", err)
		t.originals.add(key) // until the restart, after which it is noticed again
	}
}

// staysOriginal says whether a file at p that was edited by hand, so that its Meta does not fit it, or put in an original's place, is one still: told is what
// its record says, nil without one.
func (t *Tree) staysOriginal(p place, told *Meta) bool {
	if told != nil {
		return told.Original
	}
	if !t.originals.any() {
		return false
	}
	key, ok := keyAt(p)
	return ok && t.originals.has(key)
}

// heldOriginal looks for the original of a Key that is known to have one. A mark whose body was removed by hand is forgotten, but not while an original is
// on its way from its mark to its body: without the mark the next purge would take it. Nobody waits for that here, for some hold the names lock.
func (t *Tree) heldOriginal(key Key) (*handle, error) {
	if !t.originals.has(key) {
		return nil, nil
	}
	h, err := t.peekOriginal(key)
	if h != nil || err != nil || !t.originals.turn.TryLock() {
		return h, err
	}
	defer t.originals.turn.Unlock()
	if h, err = t.peekOriginal(key); h == nil && err == nil { // it may have come since the first look
		t.unmarkOriginal(key)
	}
	return h, err
}

// peekOriginal is peekMain for an original; nil when what lies there is none.
func (t *Tree) peekOriginal(key Key) (*handle, error) {
	h, err := t.peekMain(key)
	if err != nil || h == nil || !h.meta.Original {
		return nil, err
	}
	return h, nil
}

// mayPublish refuses to put what came from upstream in an original's place.
func (t *Tree) mayPublish(key Key, m *Meta) error {
	if m.Original {
		return nil
	}
	h, err := t.heldOriginal(key)
	if err == nil && h != nil {
		err = ErrOriginal
	}
	return err
}

// fitsOriginal says whether one more original of n bytes can be kept for good: nothing makes room for it later.
func (t *Tree) fitsOriginal(n int64) error {
	if held := t.originals.bytes.Load(); t.MaxSize > 0 && held+n > t.MaxSize {
		return fmt.Errorf("%w: with the local originals there are, of %d bytes, it exceeds --cache-max-size", ErrNoSpace, held)
	}
	return nil
}

// publishOriginal is publish for an original, with its mark. One comes or goes at a time; the body is on the disk before its turn comes.
func (d *draft) publishOriginal(m *Meta) (*handle, error) {
	if err := d.grow.File().Sync(); err != nil {
		return nil, err
	}
	t, key := d.tree, d.key
	o := &t.originals
	o.turn.Lock()
	defer o.turn.Unlock()
	old := int64(0)
	if was, err := t.heldOriginal(key); err == nil && was != nil {
		old = t.diskOf(was.at)
	}
	known := o.has(key)
	if err := t.markOriginal(key); err != nil {
		return nil, err
	}
	h, err := d.publish(m)
	if err != nil {
		if !known {
			t.unmarkOriginal(key)
		}
		return nil, err
	}
	o.bytes.Add(t.diskOf(h.at) - old)
	return h, nil
}

func (t *Tree) diskOf(p place) int64 {
	st, err := t.root.Lstat(string(p))
	if err != nil {
		return 0
	}
	return onDisk(&st)
}

// RetireOriginal moves the local original of key to the trash, from where it can be restored. ErrNotStored says that there is none. With a negative TrashTTL
// it is removed.
func (t *Tree) RetireOriginal(key Key) error {
	o := &t.originals
	o.turn.Lock()
	defer o.turn.Unlock()
	t.trash.mu.Lock()
	defer t.trash.mu.Unlock()
	r := retirement{tree: t, key: key, own: t.TrashTTL < 0}
	err := r.original()
	if err == nil {
		t.unmarkOriginal(key)
	}
	if r.own {
		for _, b := range r.used {
			_, derr := t.removeBatch(context.Background(), b)
			err = errors.Join(err, derr)
		}
	}
	if err != nil && !errors.Is(err, ErrNotStored) {
		err = fmt.Errorf("retire %s: %w", key, because(err))
	}
	return err
}

// original retires the original of the key. Its directories' notes told of it.
func (r *retirement) original() error {
	t := r.tree
	t.names.Lock()
	defer t.names.Unlock()
	defer t.table.drop(r.key)
	h, err := t.peekMain(r.key)
	if err != nil {
		return err
	}
	if h == nil || !h.meta.Original {
		return ErrNotStored
	}
	if folder, ok := notable(r.key, h.at); ok {
		if err := t.unnote(folder); err != nil {
			return err
		}
		defer t.counted(folder)
	}
	size := t.diskOf(h.at)
	if err := r.file(aside{r.key, h.at}); err != nil {
		return err
	}
	t.originals.bytes.Add(-size)
	return nil
}

// finishOriginal gives the Meta of an original that is about to be published the fields that tell it from others.
func finishOriginal(m *Meta) {
	h := m.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	h["Etag"] = []string{`"` + hex.EncodeToString(m.SHA256[:]) + `"`}
	h["Repr-Digest"] = []string{"sha-256=:" + base64.StdEncoding.EncodeToString(m.SHA256[:]) + ":"} // who fetches it from here holds it against that
	m.Header = h
}
