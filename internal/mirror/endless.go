package mirror

import (
	"strings"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// mostRounds is how often the way from a directory to one below it that looks alike is gone on before it is taken for endless.
const mostRounds = 6

// endless says that a directory is one of those above it once more: a link leads back, which servers' pages do not tell. Two directories that show the same names,
// sizes and times may be two all the same, so the way between them is gone on: where it ends, they are. Only listings are asked for.
func (w *walk) endless(n *node) bool {
	twin := n.twin()
	if twin == nil {
		return false
	}
	way := strings.TrimPrefix(n.key.Path(), twin.key.Path())
	key := n.key
	for range mostRounds {
		next, err := cache.ParseKey(key.Hub(), key.Path()+way, "", false)
		if err != nil || !w.alike(next, n) {
			return false
		}
		key = next
	}
	if w.ctx.Err() != nil {
		return true // nobody will ask
	}
	// What was seen on the way is no part of the tree.
	if first, err := cache.ParseKey(n.key.Hub(), n.key.Path()+way, "", false); err == nil {
		if _, _, err := w.cfg.Store.Retire(first, true); err != nil {
			w.log.Warn("walk", "action", "skip", "key", first.String(), "error", err)
		}
	}
	return true
}

// alike says that a directory lists the same as n.
func (w *walk) alike(key cache.Key, n *node) bool {
	ans, err := w.refresh(Ask{Key: key}, false)
	if w.ctx.Err() != nil {
		return true
	}
	if err != nil || ans.Outcome != Stored {
		return false
	}
	other := &node{key: key}
	return w.open(other) == nil && listing.Digest(other.list) == n.digest
}
