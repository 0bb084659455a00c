package cache

import (
	"context"
	"crypto/sha256"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/listing"
)

// WithOriginals is what a directory lists, l, with the local originals in it, whose sizes and times are exact. In the place of an upstream's file of the
// same name the original stands; a directory of that name stands against a file. A directory that exists only through originals below it is listed too. The
// digest tells of the originals' names and bodies. Without any it returns l as it is, and no digest; without l, nil. l may be nil for a directory that
// nobody else lists.
func (t *Tree) WithOriginals(dir Key, l *listing.Listing) (*listing.Listing, []byte) {
	if l != nil && l.Complete != nil {
		return l, nil // it is of a tree of this machine, where nothing is put
	}
	kids := t.originals.in(dir)
	if len(kids) == 0 {
		return l, nil
	}
	own := make([]listing.Entry, 0, len(kids))
	digest := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(kids)) {
		if kids[name].below > 0 {
			own = append(own, listing.Entry{Name: name, Kind: listing.Dir, Size: -1})
			digest.Write([]byte(name + "/\x00"))
			continue
		}
		h := t.originalNamed(dir, name)
		if h == nil {
			continue
		}
		own = append(own, listing.Entry{
			Name: name, Kind: listing.File, Size: h.meta.Size, SizeExact: true, ModTime: modified(h.meta), Step: time.Second, ZoneKnown: true,
		})
		digest.Write([]byte(name + "\x00"))
		digest.Write(h.meta.SHA256[:])
		digest.Write([]byte(modified(h.meta).Format(time.RFC3339)))
	}
	if len(own) == 0 {
		return l, nil
	}
	return merge(l, own), digest.Sum(nil)
}

// originalNamed looks at the original of a name in a directory; nil when it cannot be seen.
func (t *Tree) originalNamed(dir Key, name string) *handle {
	key, err := dir.Child(name, false)
	if err != nil {
		return nil
	}
	h, err := t.heldOriginal(key)
	if err != nil {
		t.Logger.Warn("cannot look at an original", "key", key.String(), "err", err)
	}
	return h
}

// modified is what an original's Last-Modified says.
func modified(m *Meta) time.Time {
	if when, err := http.ParseTime(m.LastModified()); err == nil {
		return when.UTC()
	}
	return m.ModTime.UTC().Truncate(time.Second)
}

// merge adds the entries of own to those of l, both sorted by name.
func merge(l *listing.Listing, own []listing.Entry) *listing.Listing {
	if l == nil {
		return &listing.Listing{Entries: own}
	}
	out := *l
	out.Entries = make([]listing.Entry, 0, len(l.Entries)+len(own))
	rest := l.Entries
	for _, e := range own {
		i, found := slices.BinarySearchFunc(rest, e.Name, func(e listing.Entry, name string) int { return strings.Compare(e.Name, name) })
		out.Entries = append(out.Entries, rest[:i]...)
		rest = rest[i:]
		if found {
			if there := rest[0]; there.Kind == listing.Dir {
				e = there // as it is told upstream
			}
			rest = rest[1:]
		}
		out.Entries = append(out.Entries, e)
	}
	out.Entries = append(out.Entries, rest...)
	return &out
}

// OriginalsDigest is the digest, as listing.SubtreeHash has it, of a directory that holds nothing but local originals. It is false when there are none.
func (t *Tree) OriginalsDigest(dir Key) (sum [sha256.Size]byte, ok bool) {
	var h listing.SubtreeHash
	kids := t.originals.in(dir)
	for _, name := range slices.Sorted(maps.Keys(kids)) {
		if kids[name].below > 0 {
			sub, err := dir.Child(name, true)
			if err != nil {
				continue
			}
			if below, any := t.OriginalsDigest(sub); any {
				h.Dir(name, below)
				ok = true
			}
			continue
		}
		if it := t.originalNamed(dir, name); it != nil {
			h.File(name, it.meta.Size, modified(it.meta), it.meta.ETag(), it.meta.SHA256)
			ok = true
		}
	}
	return h.Sum(), ok
}

// OnlyOriginals says whether nothing is stored at and below a directory but local originals, of which there are some.
func (t *Tree) OnlyOriginals(ctx context.Context, dir Key) bool {
	if !t.originals.under(asDir(dir)) {
		return false
	}
	p, whole := folderOf(asDir(dir))
	if !whole {
		return false
	}
	only := true
	err := t.walk(ctx, p, func(at place, _ *unix.Stat_t) bool {
		if at.stored() {
			k, ok := t.keyOf(at)
			only = ok && t.originals.has(k)
		}
		return only
	})
	return err == nil && only
}

// HasOriginals says whether a local original is known to lie below a directory. It asks no disk.
func (t *Tree) HasOriginals(dir Key) bool {
	t.originals.mu.RLock()
	defer t.originals.mu.RUnlock()
	return len(t.originals.below[asDir(dir)]) > 0
}
