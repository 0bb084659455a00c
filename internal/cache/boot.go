package cache

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"zcache/internal/durable"
)

const bootFile = ownDir + "/boot"

// A bootMark tells entries that certainly reached the disk from those that a loss of power may have torn. The file .zcache/boot
// holds the id of the boot that wrote last, and the time up to which all was synced. Under another boot id, what is newer than that
// is checked against its digest before it is used.
type bootMark struct {
	id    string
	dirty atomic.Bool // committed since the last sync

	mu       sync.Mutex
	from, to time.Time         // what was changed between is in doubt; zero from means nothing is
	checked  map[identity]bool // true for what was found whole, false for what was torn
	torn     []*handle         // found so, still to be removed

	// hashing lets one of many who want the same body check it, and the others wait for the verdict.
	hashing [16]sync.Mutex
}

// suspects says whether a file changed at that time is in doubt.
func (b *bootMark) suspects(changed time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.from.IsZero() && changed.After(b.from) && changed.Before(b.to)
}

// readBoot finds out whether the machine went down since the last sync.
func (t *Tree) readBoot() error {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("read the boot id: %w", err)
	}
	t.boot.id = string(bytes.TrimSpace(id))
	now := t.Now()
	data, err := t.root.ReadFile(bootFile, 1<<10)
	if durable.IsGone(err) {
		return because(t.writeBoot(now))
	}
	if err != nil {
		return because(err)
	}
	last, synced, ok := parseBoot(string(data))
	if ok && last == t.boot.id {
		return nil
	}
	until := now
	if !ok || synced.After(now) {
		// A mark that cannot be read vouches for nothing, and neither does one of the future: either it or the clock is wrong, and
		// what was written last may bear any time.
		synced, until = time.Unix(1, 0), time.Unix(1<<40, 0)
	}
	t.boot.from, t.boot.to, t.boot.checked = synced, until, map[identity]bool{}
	t.Logger.Info("the machine was restarted; entries newer than the last sync are checked before use", "synced", synced)
	return nil
}

func parseBoot(s string) (id string, synced time.Time, ok bool) {
	id, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	n, err := strconv.ParseInt(rest, 10, 64)
	return id, time.Unix(0, n), err == nil
}

func (t *Tree) writeBoot(synced time.Time) error {
	return t.root.WriteFile(bootFile, fmt.Appendf(nil, "%s %d\n", t.boot.id, synced.UnixNano()), true)
}

// sync writes what was committed to the disk and moves the mark. While entries of an earlier boot are in doubt the mark stays, so
// that another loss of power does not make them trusted.
func (t *Tree) sync() error {
	if !t.boot.dirty.Swap(false) {
		return nil
	}
	began := t.Now()
	err := t.root.Syncfs()
	if err == nil && !t.inDoubt() {
		// Files are stamped by a clock that lags some milliseconds.
		err = t.writeBoot(began.Add(-time.Second))
	}
	if err != nil {
		t.boot.dirty.Store(true)
		return fmt.Errorf("sync: %w", because(err))
	}
	return nil
}

func (t *Tree) inDoubt() bool {
	t.boot.mu.Lock()
	defer t.boot.mu.Unlock()
	return !t.boot.from.IsZero()
}

// trustAll ends the doubt, once every entry was looked at.
func (t *Tree) trustAll() {
	t.boot.mu.Lock()
	t.boot.from, t.boot.checked = time.Time{}, nil
	t.boot.mu.Unlock()
	t.boot.dirty.Store(true)
}

var errTorn = fmt.Errorf("%w: torn by a loss of power", errNoEntry)

// vouch checks a body that may have been torn by a loss of power. One that was is as if it were not there.
func (t *Tree) vouch(h *handle) error {
	doubt := t.boot.suspects(time.Unix(h.id.ctime.Sec, h.id.ctime.Nsec)) || h.told != nil && t.boot.suspects(h.told.Stored)
	switch {
	case !doubt:
		return nil
	case h.lost, h.adopted && h.told != nil && h.told.ModTime.Equal(h.meta.ModTime):
		// A file system that gives a file its blocks, and with them its length, later than its name and its attributes leaves it too
		// short, or its overflow file, and with the time that it was published with. What was edited by hand has another one.
		return t.boot.tear(h)
	case h.adopted:
		return nil
	}
	lock := &t.boot.hashing[h.id.ino%uint64(len(t.boot.hashing))]
	lock.Lock()
	defer lock.Unlock()
	t.boot.mu.Lock()
	whole, known := t.boot.checked[h.id]
	t.boot.mu.Unlock()
	switch {
	case known && whole:
		return nil
	case known:
		return errTorn
	}
	if h.meta.SHA256 == [32]byte{} { // nothing to check against: its origin has to confirm it
		h.adopted = true
		return nil
	}
	sum := sha256.New()
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, io.NewSectionReader(h.file, 0, h.id.size), make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("check %s: %w", h.at, err)
	}
	if [32]byte(sum.Sum(nil)) != h.meta.SHA256 {
		return t.boot.tear(h)
	}
	t.boot.mu.Lock()
	defer t.boot.mu.Unlock()
	if t.boot.checked != nil {
		t.boot.checked[h.id] = true
	}
	return nil
}

// tear notes that the body is torn, to be removed by removeTorn.
func (b *bootMark) tear(h *handle) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.checked != nil {
		b.checked[h.id] = false
	}
	b.torn = append(b.torn, &handle{at: h.at, id: h.id})
	return errTorn
}

// removeTorn removes the bodies that vouch found torn, unless they were replaced meanwhile.
func (t *Tree) removeTorn() {
	t.boot.mu.Lock()
	torn := t.boot.torn
	t.boot.torn = nil
	t.boot.mu.Unlock()
	for _, h := range torn {
		key, _ := t.keyOf(h.at)
		if t.removeIf(h.at, func(id identity) bool { return id == h.id }) {
			t.Logger.Warn("removed an entry that a loss of power had torn", "place", string(h.at))
			t.usage.torn.Add(1)
			if t.Torn != nil && !key.IsZero() {
				t.Torn(key)
			}
		}
	}
}

// removeIf removes the body at p if what lies there matches.
func (t *Tree) removeIf(p place, match func(identity) bool) bool {
	t.names.Lock()
	defer t.names.Unlock()
	st, err := t.root.Lstat(string(p))
	if err != nil || !regular(&st) || !match(identityOf(&st)) {
		return false
	}
	if p[0] == '.' {
		k, _ := t.keyOf(p)
		if folder, ok := notable(k, p); ok {
			if err := t.unnote(folder); err != nil {
				t.Logger.Warn("cannot remove", "place", string(p), "err", err)
				return false
			}
			defer t.counted(folder)
		}
	}
	if !t.removeFile(p) {
		return false
	}
	t.forget(p)
	return true
}

// forget drops from the table what was stored at p.
func (t *Tree) forget(p place) {
	if key, ok := keyAt(p); ok {
		t.table.drop(key)
		return
	}
	t.table.dropAt(p) // it does not tell its key: a variant or a name by digest
}
