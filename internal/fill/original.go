package fill

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"sync"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// What a PUT or DELETE of a local original can fail by; cache.ErrNoSpace, cache.ErrReadOnly and cache.ErrNotStored are among the others.
var (
	// ErrNoOriginals says that nothing can be put here: nothing is stored, or what is stored does not know originals.
	ErrNoOriginals = errors.New("this instance keeps no local originals")
	// ErrName says that no listing could show an original of that name.
	ErrName = errors.New("name is no file's")
	// ErrPrecondition says that a condition of the request does not hold (RFC 9110 section 13.1).
	ErrPrecondition = errors.New("precondition does not hold")
	// ErrSumMalformed says that a field names a digest that cannot be one.
	ErrSumMalformed = errors.New("digest cannot be read")
	// ErrSumDiffers says that the body that came has not the digest that came with it.
	ErrSumDiffers = errors.New("body has not the digest that came with it")
	// ErrCut says that the body ended before its length, or broke off.
	ErrCut = errors.New("body is not whole")
	// ErrNotOriginal says that what is held came from upstream.
	ErrNotOriginal = errors.New("it came from upstream")
)

// keeper is what the store of a Filler can do beyond a cache.Store if it keeps originals.
type keeper interface {
	IsOriginal(cache.Key) bool
	RetireOriginal(cache.Key) error
}

// writers lets one at a time change an original, so that the conditions of a PUT are those that it is published by. Keys share locks.
type writers struct {
	seed  maphash.Seed
	locks [64]sync.Mutex
}

func (w *writers) of(key cache.Key) *sync.Mutex {
	return &w.locks[maphash.Comparable(w.seed, key)%uint64(len(w.locks))]
}

// A PutRequest is a file that a client has kept as a local original.
type PutRequest struct {
	Key    cache.Key
	Header http.Header // the client's fields; they are not changed
	Body   io.Reader
	Length int64 // of Body in bytes; -1 unknown
	// Ready, if not nil, is called once all that can be known before the body has been looked at: a client that waits to send it may.
	Ready func()
}

// A PutResult tells of an original that was kept.
type PutResult struct {
	Created bool // nothing was held of its Key
	Meta    *cache.Meta
}

// keptFields are what of a PUT's fields is said of the file again. All else is between that client and this instance.
var keptFields = []string{"Content-Type", "Content-Language", "Content-Disposition"}

// Put keeps a body as a local original. It is visible when it is whole and agrees with each digest that came with it, and then in one moment; of those who
// put one path at a time, the last to end wins. When it fails, what was held is held still. What a client's fill was bringing for the Key is its client's
// alone from now on.
func (f *Filler) Put(ctx context.Context, r *PutRequest) (PutResult, error) {
	if f.keeper == nil {
		return PutResult{}, ErrNoOriginals
	}
	if !r.Key.Listable() {
		return PutResult{}, fmt.Errorf("put %s: %w", r.Key, ErrName)
	}
	sums, err := sumsOf(r.Header)
	if err != nil {
		return PutResult{}, fmt.Errorf("put %s: %w", r.Key, err)
	}
	if _, err := f.mayReplace(r); err != nil { // before the body is sent for nothing; what counts is the look before it is published
		return PutResult{}, err
	}
	now := f.cfg.Now()
	m := &cache.Meta{Status: http.StatusOK, Header: http.Header{}, Asked: now, Received: now, Size: r.Length, Limit: -1, Original: true}
	for _, name := range keptFields {
		if values, ok := r.Header[name]; ok {
			m.Header[name] = values
		}
	}
	draft, err := f.store.Create(r.Key, m)
	if err != nil {
		return PutResult{}, err
	}
	if r.Ready != nil {
		r.Ready()
	}
	if err := f.take(ctx, r, draft, sums); err != nil {
		draft.Discard(err)
		return PutResult{}, fmt.Errorf("put %s: %w", r.Key, err)
	}
	return f.enter(r, draft, m)
}

// take reads the body into the draft, and holds it against its length and its digests.
func (f *Filler) take(ctx context.Context, r *PutRequest, draft cache.Draft, sums sums) error {
	stop := context.AfterFunc(f.ctx, func() { draft.Discard(ErrStopping) })
	defer stop()
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for {
		n, err := r.Body.Read(*b)
		if n > 0 {
			if _, werr := draft.Write((*b)[:n]); werr != nil {
				if f.ctx.Err() != nil {
					return ErrStopping
				}
				return werr
			}
			sums.write((*b)[:n])
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF:
			if r.Length >= 0 && draft.Len() != r.Length {
				return fmt.Errorf("%w: %d of %d bytes came", ErrCut, draft.Len(), r.Length)
			}
			return sums.check()
		case err != nil:
			return fmt.Errorf("%w: %w", ErrCut, err)
		}
	}
}

// enter publishes a whole draft, unless the conditions do not hold any more.
func (f *Filler) enter(r *PutRequest, draft cache.Draft, m *cache.Meta) (PutResult, error) {
	lock := f.writers.of(r.Key)
	lock.Lock()
	defer lock.Unlock()
	held, err := f.mayReplace(r)
	if err != nil {
		draft.Discard(err)
		return PutResult{}, err
	}
	published := *m
	published.Header = m.Header.Clone()
	now := f.cfg.Now()
	published.Received, published.Size = now, draft.Len()
	published.Header["Last-Modified"] = []string{now.UTC().Format(http.TimeFormat)}
	// A fill that is under way may not publish over it, nor be joined by who asks from now on.
	f.detach(func(k cache.Key) bool { return k == r.Key })
	entry, err := draft.Commit(&published)
	if err != nil {
		return PutResult{}, err
	}
	defer entry.Close()
	f.mu.Lock()
	delete(f.passing, r.Key)
	f.mu.Unlock()
	return PutResult{Created: !held, Meta: entry.Meta}, nil
}

// mayReplace holds the conditions of a PUT or DELETE against what is held, and says whether something is. What the upstream has and nobody asked for yet
// does not count.
func (f *Filler) mayReplace(r *PutRequest) (held bool, err error) {
	entry, err := f.store.Open(r.Key, http.Header{})
	switch {
	case errors.Is(err, cache.ErrNotStored):
	case err != nil:
		return false, err
	default:
		defer entry.Close()
		held = entry.Meta.Status == http.StatusOK
	}
	switch {
	case held && precondition(entry.Meta, http.MethodPut, r.Header) != 0, !held && len(r.Header["If-Match"]) > 0:
		return held, fmt.Errorf("put %s: %w", r.Key, ErrPrecondition)
	}
	return held, nil
}

// Delete moves a local original to the trash. Its conditions are those of a PUT. ErrNotOriginal says that something else is held, which goes by a purge.
func (f *Filler) Delete(key cache.Key, header http.Header) error {
	if f.keeper == nil {
		return ErrNoOriginals
	}
	lock := f.writers.of(key)
	lock.Lock()
	defer lock.Unlock()
	held, err := f.mayReplace(&PutRequest{Key: key, Header: header})
	if err != nil {
		return err
	}
	err = f.keeper.RetireOriginal(key)
	if errors.Is(err, cache.ErrNotStored) && held {
		return fmt.Errorf("delete %s: %w", key, ErrNotOriginal)
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// isOriginal says whether a Key is known to have a local original, whatever its policy.
func (f *Filler) isOriginal(key cache.Key) bool { return f.keeper != nil && f.keeper.IsOriginal(key) }

// original answers from a local original, which nobody upstream is asked about.
func (f *Filler) original(r *Request, entry *cache.Entry, policy Policy) (*Answer, error) {
	m := entry.Meta
	if pin, ok := clientPin(r.Header); ok && r.Method == http.MethodGet && pin != m.SHA256 {
		entry.Close()
		return nil, fmt.Errorf("get %s: %w: the local original has sha-256 %x, the client says %x", r.Key, ErrDigest, m.SHA256, pin)
	}
	a := f.fromEntry(entry, m, r, freshness.Judge(m, policy.Rule, f.cfg.Now()))
	a.Outcome.Cache, a.Outcome.Hit, a.Outcome.Detail = Hit, true, "original"
	return a, nil
}
