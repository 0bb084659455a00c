package mirror

import "zcache/internal/cache"

// leaveOrphans has those that stay found again by the next walk, which may be the one that somebody confirms.
func (w *walk) leaveOrphans() error {
	var last cache.Key
	return w.orphans.each(w.sub.Dir.Hub(), func(x orphan) error {
		if dir := x.key.Parent(); dir != last {
			w.lookAgain(dir)
			last = dir
		}
		return w.ctx.Err()
	})
}

// lookAgain has the next walk list a directory and those above it, whatever their upstream says of their digests.
func (w *walk) lookAgain(dir cache.Key) {
	for ; ; dir = dir.Parent() {
		since := w.cfg.Store.Changes(dir)
		if n := w.noted(dir); n != nil && !n.look {
			n.look = true
			if _, err := w.cfg.Store.Note(dir, n.encode(), since); err != nil {
				w.log.Warn("walk", "action", "note", "key", dir.String(), "error", err)
			}
		}
		if dir.Path() == "/" {
			return
		}
	}
}
