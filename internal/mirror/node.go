package mirror

import (
	"crypto/sha256"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// A task is one thing to be done in a directory.
type task struct {
	name  string
	dir   bool
	doubt bool          // no listing names it, and it is asked for before it is taken for an orphan
	held  bool          // something is held of it
	known bool          // and a walk brought that, or confirmed it
	row   string        // what the listing says of a file
	size  int64         // that the listing is exact about; 0 unknown
	loose bool          // the listing does not say whether it is a directory
	trail listing.Trail // of a directory: the way to it
}

// A node is a directory that a walk is in. Its lists are guarded by the walk's lock once it was pushed; its verdicts are too.
type node struct {
	parent *node
	key    cache.Key
	rel    string // its path below the subtree's root, unescaped; "" or ending in a slash
	depth  int
	trail  listing.Trail
	list   *listing.Listing
	digest [sha256.Size]byte // of the listing
	url    string            // where the listing came from, after redirects
	asOf   time.Time
	of     time.Time // the earliest time that anything at or below it is known to be true of
	up     string    // the upstream's digest for all below

	files, bytes, subdirs int64 // at and below it, as far as they are finished

	// What was seen of the files by their places in the listing, to be used once more if nothing has changed since.
	since  uint64
	sights []sight

	tasks, dirs         []task // of now
	lateTasks, lateDirs []task // when those are done
	open                int    // tasks in hand and directories not finished
	// broken says that something at or below it could not be had, gap that something is not held although nothing failed.
	broken, gap bool
	// doubt says that an answer left something in doubt, so that the next walk has to look, whatever the upstream says of its digest.
	doubt bool
}

// take hands out a task: files first, so that what a directory holds is not kept in memory for longer than need be. The walk's lock is held.
func (n *node) take(mayEnter bool) (t task, ok bool) {
	if len(n.tasks) > 0 {
		t, n.tasks = n.tasks[0], n.tasks[1:]
		return t, true
	}
	if len(n.dirs) > 0 && mayEnter {
		t, n.dirs = n.dirs[0], n.dirs[1:]
		return t, true
	}
	return t, false
}

// more says that there is something left to do, the late part once all else is done. The walk's lock is held, and nothing is in hand.
func (n *node) more() bool {
	if len(n.tasks)+len(n.dirs) == 0 {
		n.tasks, n.dirs, n.lateTasks, n.lateDirs = n.lateTasks, n.lateDirs, nil, nil
	}
	return len(n.tasks)+len(n.dirs) > 0
}

func (n *node) waiting() int {
	return len(n.tasks) + len(n.dirs) + len(n.lateTasks) + len(n.lateDirs)
}

// add takes over what a finished directory found. The walk's lock is held.
func (n *node) add(child *node) {
	n.files += child.files
	n.bytes += child.bytes
	n.subdirs += child.subdirs + 1
	n.of = earlier(n.of, child.of)
	n.broken = n.broken || child.broken
	n.gap = n.gap || child.gap
	n.doubt = n.doubt || child.doubt
}

// came says that a directory was reached from where one above it came from, after redirects.
func (n *node) came() bool {
	for up := n.parent; up != nil && !up.key.IsZero(); up = up.parent {
		if up.url == n.url {
			return true
		}
	}
	return false
}

// twin is the nearest directory above that shows the very same names, sizes and times, directories among them; nil when there is none.
func (n *node) twin() *node {
	dirs := 0
	for i := range n.list.Entries {
		if n.list.Entries[i].Kind == listing.Dir {
			dirs++
		}
	}
	for up := n.parent; dirs > 0 && up != nil && !up.key.IsZero(); up = up.parent {
		if up.digest == n.digest {
			return up
		}
	}
	return nil
}

// mayBeCut says that a listing has as many entries as a server may show at most: Caddy shows 10,000 and says nothing of the others. What a new file has pushed
// off its end is still there.
func (n *node) mayBeCut() bool {
	const round = 1000
	return len(n.list.Entries) > 0 && len(n.list.Entries)%round == 0
}

// mostSights bounds the directories of which it is remembered what was seen of their files, some 120 bytes each: looking twice is most of what an unchanged
// walk costs, and the largest directories have to do with it.
const mostSights = 4096

// A sight is what a digest is made of.
type sight struct {
	size     int64
	modified time.Time // of Last-Modified; zero without one
	etag     string
	digest   [sha256.Size]byte
	adopted  bool
	original bool
	held     bool
}

func sighted(m *cache.Meta, adopted bool) sight {
	return sight{size: m.Size, modified: lastModified(m), etag: strings.Clone(m.ETag()), digest: m.SHA256, adopted: adopted, original: m.Original, held: true}
}

// look begins to remember what is seen. since is what the store's Changes was before.
func (n *node) look(since uint64) {
	if len(n.list.Entries) <= mostSights {
		n.since, n.sights = since, make([]sight, len(n.list.Entries))
	}
}

func (n *node) saw(i int, m *cache.Meta) {
	if n.sights != nil {
		n.sights[i] = sighted(m, false)
	}
}

func (n *node) sight(i int) (sight, bool) {
	if n.sights == nil {
		return sight{}, false
	}
	return n.sights[i], n.sights[i].held
}
