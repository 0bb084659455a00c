package listing

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"path"
	"slices"
	"strings"
	"time"
)

// A SubtreeHash makes the digest of a directory and all below it, a Merkle tree over what HTTP shows of it: two trees that look alike to who asks
// for every file of them have the same digest, whoever computes it and from whatever listings. Add the entries in the order of their names, bytewise;
// what is neither a file nor a directory is left out. The zero SubtreeHash is an empty directory.
type SubtreeHash struct {
	sum hash.Hash
	buf []byte
}

// subtreeForm begins what is hashed, so that another way to hash would give other digests for the same tree.
const subtreeForm = "zcache subtree 1\n"

// File adds a file: its size in bytes, its Last-Modified (zero when it has none), of which the seconds count, and its entity tag. Whether that is weak does
// not count, for an origin's tag of a file becomes strong as the file ages. A file with neither is known by sum, the SHA-256 of its body.
func (h *SubtreeHash) File(name string, size int64, modTime time.Time, etag string, sum [sha256.Size]byte) {
	h.begin(name, 'f')
	h.buf = binary.AppendVarint(h.buf, size)
	etag = strings.TrimPrefix(etag, "W/")
	switch {
	case etag == "" && modTime.IsZero():
		h.buf = append(append(h.buf, 's'), sum[:]...)
	case modTime.IsZero():
		h.buf = append(h.buf, 'e')
	default:
		h.buf = binary.AppendVarint(append(h.buf, 't'), modTime.Unix())
	}
	h.buf = binary.AppendUvarint(h.buf, uint64(len(etag)))
	h.buf = append(h.buf, etag...)
}

// Dir adds a directory, of which child is the digest.
func (h *SubtreeHash) Dir(name string, child [sha256.Size]byte) {
	h.begin(name, 'd')
	h.buf = append(h.buf, child[:]...)
}

// Sum is the digest of what was added. More may be added after it.
func (h *SubtreeHash) Sum() (digest [sha256.Size]byte) {
	h.flush(0)
	h.sum.Sum(digest[:0])
	return digest
}

// begin writes the parts that all entries have. Every part says how long it is, so that no two directories are written alike.
func (h *SubtreeHash) begin(name string, kind byte) {
	h.flush(flushAt)
	h.buf = binary.AppendUvarint(h.buf, uint64(len(name)))
	h.buf = append(append(h.buf, name...), kind)
}

// flush hashes what was gathered once that is more than most bytes.
func (h *SubtreeHash) flush(most int) {
	if h.sum == nil {
		h.sum = sha256.New()
		h.buf = append(h.buf, subtreeForm...)
	}
	if len(h.buf) > most {
		h.sum.Write(h.buf)
		h.buf = h.buf[:0]
	}
}

// mostDeep is how many directories below one another a tree may have. What lies deeper is most likely a way round in a circle that nobody could see.
const mostDeep = 64

// A Trail is the way from the top of a tree to a directory in it, as a walk goes it: the places that the directories on it have once links among them are
// followed. It is immutable.
type Trail struct{ places []string }

// TrailFrom begins a Trail at a directory, by its path without escapes.
func TrailFrom(dir string) Trail { return Trail{[]string{path.Clean("/" + dir)}} }

// Enter goes on into a directory that the last one lists. It is false for a link that leads to where the Trail has been, whose tree would have no end,
// and for what lies too deep. Of a link whose target is not told, or is told from the top of a server's file system, only the depth is known.
func (t Trail) Enter(e *Entry) (Trail, bool) {
	place := t.places[len(t.places)-1]
	if e.Link && e.Target != "" && e.Target[0] != '/' {
		place = path.Join(place, e.Target)
	} else {
		place = strings.TrimSuffix(place, "/") + "/" + e.Name
	}
	if len(t.places) > mostDeep || slices.Contains(t.places, place) {
		return t, false
	}
	return Trail{append(slices.Clip(t.places), place)}, true
}

// FileTag is the opaque part, in its quotes, of the entity tag that a file of this machine is served with.
func FileTag(size int64, modTime time.Time) string {
	return fmt.Sprintf(`"%x-%x"`, uint64(modTime.UnixNano()), size)
}
