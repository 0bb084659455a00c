package cache

import (
	"context"
	"sync"
	"time"
)

// noteEvery is how often, at most, an entry's last use is written to its file.
const noteEvery = time.Hour

// mostTouches bounds what waits to be written. What is dropped beyond is made good by the next use.
const mostTouches = 1 << 16

type touchQueue struct {
	mu   sync.Mutex
	uses map[place]time.Time
}

// Touch is described at Store. A use within the hour of the last one noted costs one atomic store.
func (t *Tree) Touch(entry *Entry) {
	h, ok := entry.handle.(*handle)
	if !ok {
		return
	}
	now := t.Now()
	h.used.Store(now.UnixNano())
	noted := h.noted.Load()
	// One noted in the future was noted under a wrong clock.
	if since := now.Sub(time.Unix(0, noted)); since < noteEvery && since > -noteEvery || !h.noted.CompareAndSwap(noted, now.UnixNano()) {
		return
	}
	t.touches.mu.Lock()
	defer t.touches.mu.Unlock()
	if t.touches.uses == nil {
		t.touches.uses = map[place]time.Time{}
	}
	if len(t.touches.uses) < mostTouches {
		t.touches.uses[h.at] = now
	}
}

// flushTouches writes the uses that wait to the files. What was replaced meanwhile gets the time too: it was just made. The change
// of the inode's ctime makes the table look at the file once more, and find the same entry.
func (t *Tree) flushTouches(ctx context.Context) {
	t.touches.mu.Lock()
	uses := t.touches.uses
	t.touches.uses = nil
	t.touches.mu.Unlock()
	if len(uses) > 0 {
		t.boot.dirty.Store(true) // as in Freshen
	}
	for p, at := range uses {
		if ctx.Err() != nil {
			return
		}
		// A last use that cannot be written, on a read-only disk or because the entry is gone, is no loss worth telling.
		_ = t.root.SetUsed(string(p), at)
	}
}
