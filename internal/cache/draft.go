package cache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
	"zcache/internal/listing"
)

// draftAge is how long a draft that nobody takes up is kept.
const draftAge = 7 * 24 * time.Hour

// checkEvery is how many bytes beyond its announced length a draft may grow before the free space is looked at again.
const checkEvery = 16 << 20

var (
	errDraftEnded = errors.New("draft has ended")
	errLength     = errors.New("body has not the announced length")
)

type draft struct {
	tree *Tree
	key  Key
	name string
	meta *Meta
	grow *durable.Growing

	overflow string
	done     atomic.Pointer[handle] // what Commit published

	mu       sync.Mutex // the writer's own calls against Discard by another
	hash     hash.Hash
	hashed   int64
	reserved int64
	checked  int64 // length at the last look at the free space
	ended    bool
}

// mostAhead is how much space one draft sets aside ahead of its bytes: an origin that announces much and sends little must not keep all others
// from being stored. A longer body looks for more as it grows.
const mostAhead = 256 << 20

// Create is described at Store.
func (t *Tree) Create(key Key, meta *Meta) (Draft, error) {
	d, err := t.create(key, meta)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", key, because(err))
	}
	return d, nil
}

func (t *Tree) create(key Key, meta *Meta) (*draft, error) {
	if err := t.fits(max(0, meta.Size)); err != nil {
		return nil, err
	}
	if meta.Original {
		if err := t.fitsOriginal(max(0, meta.Size)); err != nil {
			return nil, err
		}
	} else if t.originals.has(key) {
		if err := t.mayPublish(key, meta); err != nil {
			return nil, err
		}
	}
	reserved := min(max(0, meta.Size), mostAhead)
	if err := t.reserve(reserved); err != nil {
		return nil, err
	}
	d := &draft{tree: t, key: key, name: durable.Random(), meta: meta, hash: sha256.New(), reserved: reserved}
	f, err := t.newDraft(d)
	if err != nil {
		t.usage.reserved.Add(-reserved)
		return nil, err
	}
	d.grow = durable.NewGrowing(f, 0)
	return d, nil
}

func (t *Tree) newDraft(d *draft) (*os.File, error) {
	p := draftsDir + "/" + d.name
	t.drafts.hold(d.name)
	f, err := t.root.Create(p)
	if durable.IsGone(err) { // somebody tidied .zcache
		if err = t.root.MkdirAll(draftsDir); err == nil {
			f, err = t.root.Create(p)
		}
	}
	if err != nil {
		t.drafts.letGo(d.name)
		return nil, err
	}
	if d.overflow, err = t.setRecord(f, d.meta, d.key, true); err != nil {
		t.drafts.letGo(d.name)
		f.Close()
		return nil, errors.Join(err, t.root.Remove(p))
	}
	return f, nil
}

// Resume is described at Store.
func (t *Tree) Resume(key Key) Draft {
	idle, ok := t.drafts.take(key)
	if !ok {
		return nil
	}
	d, err := t.resume(key, idle.name)
	switch {
	case err == nil:
		return d
	case unreadable(err):
		t.Logger.Warn("cannot resume a draft", "key", key.String(), "err", err)
		t.removeDraft(idle.name)
	default:
		// Nothing is wrong with the draft: there is no room, no descriptor or no root just now.
		t.Logger.Warn("cannot resume a draft now", "key", key.String(), "err", err)
		t.shelve(key, idle)
	}
	return nil
}

// shelve makes d the draft to resume for key.
func (t *Tree) shelve(key Key, d idleDraft) {
	if displaced := t.drafts.suspend(key, d); displaced != "" && displaced != d.name {
		t.removeDraft(displaced)
	}
}

func (t *Tree) resume(key Key, name string) (*draft, error) {
	f, err := t.root.OpenRW(draftsDir + "/" + name)
	if err != nil {
		return nil, err
	}
	st, err := durable.Stat(f)
	var r record
	if err == nil {
		r, err = t.record(f)
	}
	if err == nil && (!regular(&st) || r.key != key || r.meta.Original || r.meta.Size >= 0 && st.Size > r.meta.Size) {
		err = errMeta
	}
	var reserved int64
	if err == nil {
		reserved = min(max(0, r.meta.Size-st.Size), mostAhead)
		err = t.reserve(reserved)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	d := &draft{tree: t, key: key, name: name, meta: r.meta, overflow: r.overflow, reserved: reserved, checked: st.Size}
	d.hash, d.grow = sha256.New(), durable.NewGrowing(f, st.Size)
	return d, nil
}

func (d *draft) Meta() *Meta  { return d.meta }
func (d *draft) Len() int64   { return d.grow.Len() }
func (d *draft) Hold(n int64) { d.grow.Hold(n) }

func (d *draft) Section(ctx context.Context, off, end int64) *durable.Section {
	if s, ok := d.grow.Section(ctx, off, end); ok {
		return s
	}
	// The draft has ended and its last reader left. After a commit the entry is the same bytes, while somebody has it open.
	if h := d.done.Load(); h != nil && h.revive() {
		defer h.unref()
		return h.Section(off, end)
	}
	return durable.Failed(cmp.Or(d.grow.Err(), errDraftEnded))
}

func (d *draft) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return 0, errDraftEnded
	}
	if err := d.catchUp(); err != nil {
		return 0, err
	}
	if err := d.room(int64(len(p))); err != nil {
		return 0, fmt.Errorf("store %s: %w", d.key, err)
	}
	n, err := d.grow.Write(p)
	d.hash.Write(p[:n])
	d.hashed += int64(n)
	used := min(d.reserved, int64(n))
	d.reserved -= used
	d.tree.usage.reserved.Add(-used)
	if err != nil {
		return n, fmt.Errorf("store %s: %w", d.key, because(err))
	}
	return n, nil
}

// room looks after bodies that were not announced, for nothing was reserved for them.
func (d *draft) room(n int64) error {
	t, size := d.tree, d.grow.Len()+n
	if t.MaxSize > 0 && size > t.MaxSize {
		return fmt.Errorf("%w: it alone exceeds --cache-max-size", ErrNoSpace)
	}
	if d.reserved >= n || size-d.checked < checkEvery {
		return nil
	}
	d.checked = size
	if d.meta.Original {
		if err := t.fitsOriginal(size); err != nil {
			return err
		}
	}
	return t.roomFor(n)
}

// catchUp hashes what a resumed draft held already.
func (d *draft) catchUp() error {
	size := d.grow.Len()
	if d.hashed == size {
		return nil
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{d.hash}, io.NewSectionReader(d.grow.File(), d.hashed, size-d.hashed), make([]byte, 256<<10))
	d.hashed += n
	if err == nil && d.hashed != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("hash the draft of %s: %w", d.key, err)
	}
	return nil
}

func (d *draft) Sum() ([32]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.catchUp(); err != nil {
		return [32]byte{}, err
	}
	return [32]byte(d.hash.Sum(nil)), nil
}

// Commit is described at Draft. When it fails the draft is discarded: there is nothing that a second try could do better.
func (d *draft) Commit(meta *Meta) (*Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return nil, errDraftEnded
	}
	publish := d.publish
	if meta.Original {
		publish = d.publishOriginal
	}
	h, err := publish(meta)
	if err != nil {
		err = fmt.Errorf("store %s: %w", d.key, because(err))
		d.grow.Hold(-1) // the body is whole, it is only not kept: its readers may have all of it
		d.discard(err)
		return nil, err
	}
	d.end()
	d.done.Store(h)
	d.grow.End(nil)
	d.grow.Close()
	if displaced, ok := d.tree.drafts.take(d.key); ok {
		d.tree.removeDraft(displaced.name)
	}
	return &Entry{Key: d.key, Meta: h.meta, handle: h}, nil
}

// publish makes the draft's file whole, with its time and its record, and moves it to its place.
func (d *draft) publish(meta *Meta) (*handle, error) {
	if err := d.catchUp(); err != nil {
		return nil, err
	}
	size := d.grow.Len()
	if meta.Size >= 0 && meta.Size != size {
		return nil, fmt.Errorf("%w: %d of %d bytes", errLength, size, meta.Size)
	}
	t, f := d.tree, d.grow.File()
	now := t.Now()
	m := *meta
	m.Size, m.SHA256 = size, [32]byte(d.hash.Sum(nil))
	if m.Original {
		if err := t.fitsOriginal(size); err != nil {
			return nil, err
		}
		finishOriginal(&m)
	}
	list, err := t.recognise(d.key, &m, f)
	if err != nil {
		return nil, err
	}
	if m.Stored.IsZero() {
		m.Stored = now
	}
	st, err := d.record(f, &m, now)
	if err != nil {
		return nil, err
	}
	safe := t.Full || m.Original // which nobody could fetch again
	if safe {
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	// The entry is read through the descriptor that wrote it: by name it may be another already when it is opened.
	mine, err := durable.Dup(f)
	if noDescriptor(err) {
		t.table.shrink()
		mine, err = durable.Dup(f)
	}
	if err != nil {
		return nil, err
	}
	p, anew, err := t.publish(d.key, &m, place(draftsDir+"/"+d.name), t.repeats(d.key, &m, list))
	if err != nil {
		mine.Close()
		return nil, err
	}
	if list != nil {
		t.writeSidecar(p, &m, list)
		if len(list.Entries) > listing.Large {
			list = nil
			runtime.GC()
		}
	}
	if safe {
		t.syncDirs(p.dir(), anew)
	}
	h := newHandle(p, &st, mine)
	h.meta, h.since = &m, m.Received
	return h, nil
}

// record gives the whole file its time and its record, of which m becomes what is kept.
func (d *draft) record(f *os.File, m *Meta, now time.Time) (st unix.Stat_t, err error) {
	if err := durable.SetTimes(f, now, mtimeFor(m, now)); err != nil {
		return st, err
	}
	if st, err = durable.Stat(f); err != nil {
		return st, err
	}
	if st.Size != m.Size {
		return st, fmt.Errorf("%w: the file has %d bytes, %d were written", errLength, st.Size, m.Size)
	}
	m.ModTime = modTime(&st) // as exact as the file system keeps it
	old := d.overflow
	if d.overflow, err = d.tree.setRecord(f, m, d.key, !tells(d.key, m)); err != nil {
		return st, err
	}
	if old != d.overflow {
		d.tree.removeOverflow(old)
	}
	return st, nil
}

// syncDirs makes the names in dir durable and, when dir was made for the entry, those of the directories above it too.
func (t *Tree) syncDirs(dir place, anew bool) {
	for {
		if err := t.root.SyncDir(string(dir)); err != nil && !durable.IsGone(err) {
			t.Logger.Warn("cannot sync a directory", "err", err)
			return
		}
		if !anew || dir == "." {
			return
		}
		dir = dir.dir()
	}
}

// tells says whether every place that a published body may get tells its key.
func tells(key Key, m *Meta) bool {
	p := mainPlace(key)
	if m.Status != http.StatusOK {
		p = asidePlace(otherDir, key)
	}
	return len(m.Vary) == 0 && p.telling() // one that varies may become a variant
}

// mtimeFor is the mtime that a body is published with: what the origin calls its last modification, else when it came.
func mtimeFor(m *Meta, now time.Time) time.Time {
	if when, err := http.ParseTime(m.LastModified()); err == nil {
		return when
	}
	if !m.Received.IsZero() {
		return m.Received
	}
	return now
}

// end gives back what the draft had reserved. The lock is held.
func (d *draft) end() {
	d.ended = true
	d.tree.usage.reserved.Add(-d.reserved)
	d.reserved = 0
	d.tree.drafts.letGo(d.name)
}

func (d *draft) Discard(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.discard(err)
	}
}

func (d *draft) discard(err error) {
	if err == nil {
		err = errDraftEnded
	}
	d.tree.removeDraft(d.name)
	d.end()
	d.tree.removeOverflow(d.overflow)
	d.grow.End(err)
	d.grow.Close()
}

func (d *draft) Suspend(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		return
	}
	if err == nil {
		err = errDraftEnded
	}
	if d.grow.Len() == 0 { // nothing that a later fill could build on
		d.discard(err)
		return
	}
	idle := idleDraft{name: d.name, bytes: d.grow.Len(), written: d.tree.Now()}
	if st, err := durable.Stat(d.grow.File()); err == nil {
		idle.bytes = onDisk(&st)
	}
	d.end()
	d.grow.End(err)
	d.grow.Close()
	d.tree.shelve(d.key, idle)
	d.tree.checkLimit()
}

func noDescriptor(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }
