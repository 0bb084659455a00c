package proxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// vouched is the digest that the mirror has of a directory of which all is seen.
func (c *census) vouched(dir cache.Key) (sum [sha256.Size]byte, round bool, err error) {
	digest, _, ok := c.g.cfg.Subtree(dir)
	if !ok && c.g.cfg.Listings.OnlyOriginals(c.ctx, dir) {
		if sum, ok = c.g.cfg.Listings.OriginalsDigest(dir); ok {
			return sum, false, nil
		}
	}
	if n, err := hex.Decode(sum[:], []byte(digest)); !ok || len(digest) != 2*len(sum) || err != nil || n != len(sum) {
		return sum, false, fmt.Errorf("%w %s: the mirror does not vouch for it", errUncounted, dir)
	}
	return sum, false, nil
}

// heldList is what the kept listing of a directory tells, as the walk found it that the mirror vouches by.
func (c *census) heldList(dir cache.Key) ([]listing.Entry, error) {
	e, err := c.g.cfg.Listings.Open(dir, fill.ForListing(nil))
	if errors.Is(err, cache.ErrNotStored) {
		if l, _ := c.g.cfg.Listings.WithOriginals(dir, nil); l != nil {
			return l.Entries, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errUncounted, dir, err)
	}
	defer e.Close()
	if !e.Meta.Listing || e.Edited {
		return nil, fmt.Errorf("%w %s: its listing is not held", errUncounted, dir)
	}
	l, err := c.g.cfg.Listings.Listing(e)
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errUncounted, dir, err)
	}
	l, _ = c.g.cfg.Listings.WithOriginals(dir, l)
	if c.left -= len(l.Entries); c.left < 0 {
		return nil, fmt.Errorf("%w %s: there are more than %d entries", errUncounted, dir, mostCounted)
	}
	return l.Entries, nil
}

// heldFile adds a file that is listed, by what is held of it.
func (c *census) heldFile(h *listing.SubtreeHash, dir cache.Key, e *listing.Entry) error {
	if e.Kind == listing.Other {
		return nil
	}
	key, err := dir.Child(e.Name, false)
	if err != nil {
		return nil // nobody can ask for it
	}
	m, adopted, err := c.g.cfg.Listings.Peek(key)
	if err != nil || adopted {
		return fmt.Errorf("%w %s: it is not held", errUncounted, key)
	}
	modTime, err := http.ParseTime(m.LastModified())
	if err != nil {
		modTime = time.Time{}
	}
	h.File(e.Name, m.Size, modTime, m.ETag(), m.SHA256)
	return nil
}
