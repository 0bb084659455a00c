package cache

import "net/http"

// mostNegative bounds the answers 404 and 410 that are kept at a time. A scan forgets old ones once an hour; in that time a client that asks for names
// it makes up would bring millions, each of them an inode.
const mostNegative = 1 << 14

// negatives are the places of those that were published, the oldest first from next on. The names lock guards them. What an earlier process has left is
// the scan's, and no more than this either.
type negatives struct {
	most int
	ring []place
	next int
}

// nothing says that a status tells that there is nothing.
func nothing(status int) bool { return status == http.StatusNotFound || status == http.StatusGone }

// vacant says that nothing lies at p.
func (t *Tree) vacant(p place) bool {
	_, err := t.root.Lstat(string(p))
	return absent(err)
}

// bound notes that a negative entry was published at p, where nothing was, and forgets the oldest one if there are too many. What else may lie there now
// stays. The names lock is held.
func (t *Tree) bound(p place) {
	n := &t.negatives
	if len(n.ring) < n.most {
		n.ring = append(n.ring, p)
		return
	}
	oldest := n.ring[n.next]
	n.ring[n.next] = p
	n.next = (n.next + 1) % n.most
	if t.negative(oldest) {
		t.removeFile(oldest)
		if key, ok := keyAt(oldest); ok {
			t.table.drop(key)
		}
	}
}
