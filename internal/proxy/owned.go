package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

const (
	// mostCounted and longestCount bound what is looked at for a digest: a look takes about a microsecond, and whoever asked waits.
	mostCounted  = 2_000_000
	longestCount = 10 * time.Second
	// mostOwned bounds the digests that are remembered, about 150 bytes each.
	mostOwned = 1 << 16
	// partKept is how long a digest of what is seen of a mirror is remembered, if what the mirror holds does not change.
	partKept = time.Hour
)

var errUncounted = errors.New("cannot tell what is below")

// owned remembers the digests of directories that are computed here: those whose tree this instance owns, for as long as listings are, and those of which
// somebody sees a part, for as long as the mirror vouches for the whole.
type owned struct {
	ctx    context.Context // of all that is computed
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	known   map[ownedKey]ownedDigest
	flights map[ownedKey]*ownedFlight
}

// An ownedKey names a digest: one for all who see the same of a directory, by the id of their view.
type ownedKey struct {
	dir  cache.Key
	view string
}

// A question is for the digest of what somebody sees of a directory.
type question struct {
	ownedKey
	hub   *Hub
	sees  auth.View // when view is not seesAll
	local bool      // the tree is owned; else the digest is of what the mirror holds, as of asOf
	asOf  time.Time
}

// extent is how much of a directory is seen, and the id of that.
func (q *question) extent(dir cache.Key) (auth.Extent, string) {
	if q.view == seesAll {
		return auth.All, seesAll
	}
	at := q.hub.at(dir.Path())
	return q.sees.Of(at), q.sees.IDOf(at)
}

// shows says that an entry of a directory is seen.
func (q *question) shows(dir cache.Key, e *listing.Entry) bool {
	return q.view == seesAll || sees(q.sees, place{hub: q.hub, key: dir}, e)
}

// An ownedDigest tells of all at and below a directory as of when the look at it was begun.
type ownedDigest struct {
	sum   [sha256.Size]byte
	asOf  time.Time
	until time.Time
	ok    bool // otherwise it could not be found out
}

// An ownedFlight is a digest that is being computed. result is set when done is closed.
type ownedFlight struct {
	done   chan struct{}
	result ownedDigest
}

func (o *owned) open() {
	o.ctx, o.cancel = context.WithCancel(context.Background())
	o.known, o.flights = map[ownedKey]ownedDigest{}, map[ownedKey]*ownedFlight{}
}

func (o *owned) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.cancel()
	o.wg.Wait()
}

// ownDigest is the digest of a directory, computed once for all who ask for it while it holds.
func (g *Gateway) ownDigest(ctx context.Context, q question) (digest string, asOf time.Time, ok bool) {
	o := &g.owned
	o.mu.Lock()
	have, is := o.known[q.ownedKey]
	if is && g.cfg.Now().Before(have.until) && (q.local || have.asOf.Equal(q.asOf)) {
		o.mu.Unlock()
		return hex.EncodeToString(have.sum[:]), have.asOf, have.ok
	}
	fl := o.flights[q.ownedKey]
	if fl == nil && !o.closed {
		fl = &ownedFlight{done: make(chan struct{})}
		o.flights[q.ownedKey] = fl
		o.wg.Go(func() { g.count(q, fl) })
	}
	o.mu.Unlock()
	if fl == nil {
		return "", time.Time{}, false
	}
	select {
	case <-fl.done:
	case <-ctx.Done():
		return "", time.Time{}, false
	}
	return hex.EncodeToString(fl.result.sum[:]), fl.result.asOf, fl.result.ok
}

// count computes a directory's digest and keeps it, with those of all below.
func (g *Gateway) count(q question, fl *ownedFlight) {
	o := &g.owned
	ctx, cancel := context.WithTimeout(o.ctx, longestCount)
	defer cancel()
	now := g.cfg.Now()
	c := &census{question: q, g: g, ctx: ctx, now: now, left: mostCounted, found: map[ownedKey][sha256.Size]byte{}}
	path, err := url.PathUnescape(q.dir.Path())
	if err == nil {
		fl.result.sum, _, err = c.directory(q.dir, listing.TrailFrom(path))
	}
	if err != nil {
		g.log.Debug("no digest of a tree", "key", q.dir.String(), "error", err)
	}
	fl.result.asOf, fl.result.until, fl.result.ok = now, now.Add(g.cfg.Filler.Effective(q.dir).ListingTTL), err == nil
	if !q.local {
		fl.result.asOf, fl.result.until = q.asOf, now.Add(partKept)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, d := range o.known {
		if !now.Before(d.until) {
			delete(o.known, key)
		}
	}
	for key, sum := range c.found {
		if len(o.known) >= mostOwned {
			break
		}
		o.known[key] = ownedDigest{sum, fl.result.asOf, fl.result.until, true}
	}
	o.known[q.ownedKey] = fl.result
	delete(o.flights, q.ownedKey)
	close(fl.done)
}

// A census goes through a tree of this machine, or what is held of another.
type census struct {
	question
	g     *Gateway
	ctx   context.Context
	now   time.Time // when it was begun
	left  int       // how many entries it may still look at
	found map[ownedKey][sha256.Size]byte
}

// errVanished says of a directory that it is no more.
var errVanished = errors.New("directory is gone")

// directory is the digest of a directory and all below it. It is round when a link in there leads back above it: then it differs with where the census was
// begun, and is no answer to who asks for this directory.
func (c *census) directory(dir cache.Key, trail listing.Trail) (sum [sha256.Size]byte, round bool, err error) {
	extent, view := c.extent(dir)
	if extent == auth.All && !c.local {
		return c.vouched(dir)
	}
	entries, err := c.list(dir)
	if err != nil {
		return sum, false, err
	}
	var h listing.SubtreeHash
	for i := range entries {
		e := &entries[i]
		switch {
		case !c.shows(dir, e):
		case e.Kind != listing.Dir && !c.local:
			if err := c.heldFile(&h, dir, e); err != nil {
				return sum, false, err
			}
		case e.Kind == listing.File && e.Size >= 0 && nameable(dir, e.Name):
			modTime := e.ModTime
			if modTime.After(c.now) {
				modTime = time.Time{} // it is not told before its time
			}
			h.File(e.Name, e.Size, modTime, listing.FileTag(e.Size, e.ModTime), [sha256.Size]byte{})
		case e.Kind == listing.Dir:
			sub, err := dir.Child(e.Name, true)
			below, ok := trail.Enter(e)
			if round = round || !ok; err != nil || !ok {
				continue
			}
			child, again, err := c.directory(sub, below)
			if errors.Is(err, errVanished) {
				continue
			}
			if err != nil {
				return sum, false, err
			}
			round = round || again
			h.Dir(e.Name, child)
		}
	}
	sum = h.Sum()
	if !round && len(c.found) < mostOwned {
		c.found[ownedKey{dir, view}] = sum
	}
	return sum, round, nil
}

// list is what a directory holds, with all that can be known of it. One that may not be read holds nothing, for whoever asks for what is in there is
// refused, too.
func (c *census) list(dir cache.Key) ([]listing.Entry, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w %s: %w", errUncounted, dir, err)
	}
	if !c.local {
		return c.heldList(dir)
	}
	a, err := c.g.cfg.Filler.Get(c.ctx, &fill.Request{Key: dir, Method: http.MethodGet, Header: http.Header{}, Listing: true})
	if err != nil {
		return nil, fmt.Errorf("%w %s: %w", errUncounted, dir, err)
	}
	defer a.Close()
	switch a.Status {
	case http.StatusOK:
	case http.StatusForbidden:
		return nil, nil
	case http.StatusNotFound:
		return nil, errVanished
	default:
		return nil, fmt.Errorf("%w %s: status %d", errUncounted, dir, a.Status)
	}
	body, ok := a.Body.(interface{ Listing() *listing.Listing })
	if !ok {
		return nil, fmt.Errorf("%w %s: it is not of this machine", errUncounted, dir)
	}
	l := body.Listing()
	if c.left -= len(l.Entries); c.left < 0 {
		return nil, fmt.Errorf("%w %s: there are more than %d entries", errUncounted, dir, mostCounted)
	}
	if l.Complete != nil {
		for i := range l.Entries { // while the directory is open: afterwards each would cost as much as opening it anew
			l.Complete(&l.Entries[i])
		}
	}
	return l.Entries, nil
}

// nameable says that a request may name a file: none may that has a dot segment behind a backslash.
func nameable(dir cache.Key, name string) bool {
	if strings.IndexByte(name, '\\') < 0 {
		return true
	}
	_, err := dir.Child(name, false)
	return err == nil
}
