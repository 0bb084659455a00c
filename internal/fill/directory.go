package fill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"zcache/internal/cache"
)

// ListingType is what zcaches call their JSON listings among each other: a server that is no zcache does not take it for a wish for its own JSON.
const ListingType = "application/vnd.zcache.listing+json"

// askListing is the Accept of every request for a directory, whatever its client accepts: one listing serves all forms. Pages come before foreign
// JSON, which has names alone at some servers.
const askListing = ListingType + ", text/html;q=0.9, application/xhtml+xml;q=0.9, */*;q=0.8"

// passedOn are the fields of a client that a request for a directory keeps: who asks, how fresh it has to be, and which way it came.
var passedOn = []string{"Authorization", "Proxy-Authorization", "Cookie", "Cache-Control", "Pragma", "Cdn-Loop", "Via"}

// ForListing returns the fields that ask for a directory in a client's place. They are the same for all, so that an upstream whose answers vary by
// the client's language or make still gives one listing.
func ForListing(client http.Header) http.Header {
	h := http.Header{"Accept": {askListing}, "Accept-Encoding": {"identity"}}
	for _, name := range passedOn {
		if values, ok := client[name]; ok {
			h[name] = values
		}
	}
	return h
}

// Personal says that a field that an answer may vary by tells who asks: what one client got is not for another.
func Personal(name string) bool {
	return name == "Authorization" || name == "Proxy-Authorization" || name == "Cookie"
}

const (
	// listingWait bounds how long a client of a directory waits for the whole of what may be a listing, from when its head came: that long some
	// servers need for a hundred thousand files. Lines of text may just as well be a log that never ends.
	listingWait = 30 * time.Second
	textWait    = 3 * time.Second
)

// errLong says that a body did not end in the time in which listings do.
var errLong = errors.New("body takes long")

// whole waits for a body that may be a listing, as long as a listing takes.
func (fl *flight) wholeListing(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, most, errLong)
	defer cancel()
	err := fl.landed(ctx)
	if err != nil && context.Cause(ctx) == errLong {
		return errLong
	}
	return err
}

// patience is how long a listing of this type is waited for.
func patience(m *cache.Meta) time.Duration {
	if kind := m.Header.Get("Content-Type"); len(kind) >= 10 && kind[:10] == "text/plain" {
		return textWait
	}
	return listingWait
}

// fromListing answers from what became of a body that may be a listing, once it is whole; nil when it could not be stored, or takes too long.
func (f *Filler) fromListing(ctx context.Context, r *Request, fl *flight, leads bool, policy Policy, fwd string) (*Answer, error) {
	err := fl.wholeListing(ctx, patience(fl.meta))
	if errors.Is(err, errLong) {
		return nil, nil
	}
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, cache.ErrCutListing) || errors.Is(err, ErrDigest) || errors.Is(err, ErrStopping) || errors.Is(err, ErrPurged):
		return nil, err
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err) // it began and never came whole
	}
	entry, err := f.store.Open(r.Key, r.Header)
	// A walk may have fetched it at the same time: what came since this flight began will do.
	if err != nil || !entry.Meta.Received.Equal(fl.meta.Received) && (!entry.Meta.Listing || entry.Meta.Received.Before(fl.started)) {
		if err == nil {
			entry.Close()
		}
		return nil, nil
	}
	v := judge(entry.Meta, entry.Adopted, policy.Rule, f.cfg.Now())
	v.Omit = nil
	a := f.fromEntry(entry, entry.Meta, r, v)
	a.Outcome = Outcome{Cache: Miss, Fwd: fwd, FwdStatus: fl.meta.Status, Stored: true, TTL: v.Lifetime - v.Age}
	if !leads {
		a.Outcome.Cache, a.Outcome.Collapsed = Coalesced, true
	}
	return a, nil
}

// MayStandIn says that what is held of a Key may be served although its origin cannot be asked.
func (f *Filler) MayStandIn(e *cache.Entry) bool {
	rule := f.cfg.Policy(e.Key).Rule
	return !e.Edited && judge(e.Meta, e.Adopted, rule, f.cfg.Now()).OnError(rule, false)
}
