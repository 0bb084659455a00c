package proxy

import (
	"encoding/hex"
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// isOriginal says that a Key has a local original, which is for all who may read it: there is none in the partition of one client.
func (g *Gateway) isOriginal(key cache.Key) bool {
	return g.cfg.Listings != nil && g.cfg.Listings.IsOriginal(cache.Partition(key, ""))
}

// leadsToOriginals says that what upstream does not have is a directory of local originals, asked for without its slash.
func (g *Gateway) leadsToOriginals(r *http.Request, to place) bool {
	_, has := to.key.Query()
	return g.cfg.Listings != nil && to.hub.Writable && to.asked == gatewayForm && safe(r.Method) && !has && !to.key.IsDir() &&
		g.cfg.Listings.HasOriginals(cache.Partition(to.key, ""))
}

// ownListing makes the listing of a directory that exists only through local originals: its upstream answered with status, 0 for not at all. It returns
// false when there are none, or the upstream's answer is about something else.
func (g *Gateway) ownListing(d *directory, status int) bool {
	switch status {
	case 0, http.StatusNotFound, http.StatusGone, http.StatusForbidden:
	default:
		return false
	}
	if g.cfg.Listings == nil || d.query.Raw || d.hub.Local {
		return false
	}
	l, _ := g.cfg.Listings.WithOriginals(cache.Partition(d.key, ""), nil)
	if l == nil {
		return false
	}
	d.list, d.made, d.offline, d.stale = l, false, false, false
	d.ours = true
	return true
}

// addOriginals adds the local originals of a directory to its listing.
func (g *Gateway) addOriginals(d *directory) {
	if d.local || g.cfg.Listings == nil {
		return
	}
	d.list, d.own = g.cfg.Listings.WithOriginals(cache.Partition(d.key, ""), d.list)
}

// joinOriginal says of a row that it is a local original, or a directory that has nothing else to show; its size and time are exact already. It returns
// false when it is neither.
func (g *Gateway) joinOriginal(d *directory, row *listing.Row) bool {
	key, err := d.key.Child(row.Name, row.Kind == listing.Dir)
	if err != nil {
		return false
	}
	key = cache.Partition(key, "")
	if row.Kind == listing.Dir {
		if _, _, err := g.cfg.Listings.Peek(key); err == nil || !g.cfg.Listings.HasOriginals(key) {
			return false
		}
	} else if !g.cfg.Listings.IsOriginal(key) {
		return false
	}
	row.Cached = listing.Fresh
	return true
}

// ownSubtree is the digest of a directory that exists only through local originals: of it this instance knows all there is, at any moment.
func (g *Gateway) ownSubtree(d *directory) (digest string, asOf time.Time, ok bool) {
	sum, ok := g.cfg.Listings.OriginalsDigest(cache.Partition(d.key, ""))
	return hex.EncodeToString(sum[:]), g.cfg.Now(), ok
}
