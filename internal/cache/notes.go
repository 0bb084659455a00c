package cache

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
	"zcache/internal/listing"
)

// noteAttribute is the extended attribute of a directory that a note is kept in: there it needs no cleaning, survives a restart and ends with
// its directory.
const noteAttribute = "user.zcache.walk"

const (
	longestNote  = 1 << 10 // of what a caller may keep, in bytes; ext4 has some 4,000 for all attributes
	noteShards   = 1 << 16
	mostNoteless = 1 << 15
)

var errLongNote = fmt.Errorf("a note has at most %d bytes", longestNote)

// notes counts what happens to directories, and knows which of them have no note. Every change of what is stored drops the notes of all directories
// above it, and most directories have none: without that knowledge each publish would ask the disk about every directory on its way.
type notes struct {
	seed   maphash.Seed
	counts [noteShards]atomic.Uint64 // by directory; two that share one are refused a note now and then, no more
	none   map[place]struct{}        // directories that certainly have no note; guarded by Tree.names
}

func newNotes() *notes {
	return &notes{seed: maphash.MakeSeed(), none: map[place]struct{}{}}
}

func (n *notes) count(folder place) *atomic.Uint64 {
	return &n.counts[maphash.String(n.seed, string(folder))%noteShards]
}

// folderOf is the deepest directory of the mirrored tree that k lies in, or is. Whole says that it is the one which k's path names; otherwise k lies
// aside, for one of its directories has a name that no file can have.
func folderOf(k Key) (p place, whole bool) {
	dir := k.path[:strings.LastIndexByte(k.path, '/')]
	if dir == "" {
		return place(k.hub), true
	}
	var b strings.Builder
	b.Grow(len(k.hub) + len(dir))
	b.WriteString(k.hub)
	for segment := range strings.SplitSeq(dir[1:], "/") {
		name := decode(segment)
		if !plainName(name) || encodeSegment(name) != segment || b.Len()+1+len(name) >= longestPlace {
			return place(b.String()), false
		}
		b.WriteByte('/')
		b.WriteString(name)
	}
	return place(b.String()), true
}

// asDir is the Key of the directory that dir names, with a slash at its end or not.
func asDir(dir Key) Key {
	if !dir.IsDir() {
		dir.path += "/"
	}
	return dir.WithoutQuery()
}

// Changes is a number that differs from what it was before when anything stored at or below the directory was published, replaced, removed or brought
// back since, or confirmed with other validators. It says nothing of negative entries, of Keys with a query, which no listing names, and of a listing
// that was fetched anew and says the same. It may differ without a cause, and starts anew with the process.
func (t *Tree) Changes(dir Key) uint64 {
	p, _ := folderOf(asDir(dir))
	return t.notes.count(p).Load()
}

// Note keeps data, up to 1 KiB, with a directory until anything at or below it changes, as Changes has it. It does nothing and returns false when
// something has since Changes gave that number, or when the directory is none on disk.
func (t *Tree) Note(dir Key, data []byte, since uint64) (bool, error) {
	if len(data) > longestNote {
		return false, fmt.Errorf("note %s: %w", dir, errLongNote)
	}
	p, whole := folderOf(asDir(dir))
	if !whole {
		return false, nil
	}
	// Whatever changes a name holds the lock from before it drops the notes until after it has counted.
	t.names.Lock()
	defer t.names.Unlock()
	if t.notes.count(p).Load() != since {
		return false, nil
	}
	sub, err := t.root.Sub(string(p))
	if err == nil {
		defer sub.Close()
		var head []byte
		if head, err = noteHead(sub, p); err == nil {
			delete(t.notes.none, p)
			err = sub.Mark(noteAttribute, append(head, data...))
		}
	}
	if absent(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("note %s: %w", dir, because(err))
	}
	return true, nil
}

// Noted returns what Note kept; nil when there is nothing.
func (t *Tree) Noted(dir Key) ([]byte, error) {
	p, whole := folderOf(asDir(dir))
	if !whole {
		return nil, nil
	}
	sub, err := t.root.Sub(string(p))
	if absent(err) {
		return nil, nil
	}
	var buf [longestNote + 256]byte
	var data, head []byte
	if err == nil {
		defer sub.Close()
		data, err = sub.ReadMark(noteAttribute, buf[:])
	}
	if err == nil && data != nil {
		head, err = noteHead(sub, p)
	}
	if err != nil {
		if errors.Is(err, unix.ERANGE) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil, nil // nothing of ours
		}
		return nil, fmt.Errorf("note of %s: %w", dir, because(err))
	}
	data, ours := bytes.CutPrefix(data, head)
	if !ours || head == nil {
		return nil, nil
	}
	return bytes.Clone(data), nil
}

// noteHead is the first line of a note. It ties the note to its directory: one that was copied, renamed by hand or restored from a backup with its
// attributes holds what somebody else saw somewhere else.
func noteHead(sub *durable.Root, p place) ([]byte, error) {
	st, err := sub.Lstat(".")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(p))
	return fmt.Appendf(nil, "zcache %d %d %x\n", version, st.Ino, sum[:8]), nil
}

// unnote drops the notes of a directory and of those above it. It comes before the change that it is for: a crash between the two loses a note, and
// never leaves one that is no longer true. The names lock is held until counted was called after the change.
func (t *Tree) unnote(folder place) error {
	for p := folder; p != "."; p = p.dir() {
		if _, ok := t.notes.none[p]; ok {
			continue
		}
		if err := t.dropNote(p); err != nil {
			return fmt.Errorf("drop the note of %s: %w", p, err)
		}
		if len(t.notes.none) >= mostNoteless {
			clear(t.notes.none)
		}
		t.notes.none[p] = struct{}{}
	}
	return nil
}

func (t *Tree) dropNote(p place) error {
	sub, err := t.root.Sub(string(p))
	if absent(err) || errors.Is(err, unix.EACCES) { // what we may not look into nobody could note
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.Close()
	noted, err := sub.Marked(noteAttribute)
	if errors.Is(err, unix.EOPNOTSUPP) || err == nil && !noted {
		return nil
	}
	if err != nil {
		return err
	}
	return sub.Unmark(noteAttribute)
}

// counted makes Changes differ for a directory and those above it. It comes after the change: who asked for the number before may have seen the old
// state, and is refused.
func (t *Tree) counted(folder place) {
	for p := folder; p != "."; p = p.dir() {
		t.notes.count(p).Add(1)
	}
}

// notable is the directory whose notes a change of k's response at p is about; false when it is about none.
func notable(k Key, p place) (place, bool) {
	if p[0] != '.' {
		return p.dir(), p.stored()
	}
	if k.IsZero() || k.hasQuery || strings.HasPrefix(string(p), otherDir+"/") {
		return "", false
	}
	folder, _ := folderOf(k)
	return folder, true
}

// repeats is the held listing that says the same as a new one which is about to replace it, nil when there is none. Servers that give listings no
// validators have them fetched whole at every visit.
func (t *Tree) repeats(key Key, m *Meta, l *listing.Listing) *identity {
	if l == nil {
		return nil
	}
	p, err := t.target(key, m)
	if err != nil {
		return nil
	}
	h, err := t.peek(p)
	if err != nil || h.adopted || !h.meta.Listing {
		return nil
	}
	old := h.meta
	if old.SHA256 == m.SHA256 && old.URL == m.URL && old.Base == m.Base && old.Header.Get("Content-Type") == m.Header.Get("Content-Type") {
		return &h.id
	}
	if p.base() != listingName {
		return nil
	}
	held, err := t.sidecar(p.dir(), old, false)
	if err != nil || listing.Digest(held) != listing.Digest(l) {
		return nil
	}
	return &h.id
}

// sameBody says whether st is still the body that id was taken of. Its Meta, and with it the inode's ctime, may have changed since.
func (id *identity) sameBody(st *unix.Stat_t) bool {
	return st.Ino == id.ino && st.Size == id.size && st.Mtim == id.mtime
}
