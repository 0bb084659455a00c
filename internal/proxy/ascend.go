package proxy

import (
	"net/http"
	"sync"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

// lookEvery is how often the listings above what is used are looked at.
const lookEvery = 10 * time.Second

// looked remembers when the listings above a directory were last looked at, so that a hit pays one look into a map.
type looked struct {
	mu   sync.Mutex
	when map[cache.Key]time.Time
}

// due says that the directory's turn has come, and notes that it was taken.
func (l *looked) due(dir cache.Key, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.when[dir]; ok && now.Sub(last) < lookEvery && now.After(last.Add(-lookEvery)) {
		return false
	}
	if l.when == nil || len(l.when) >= 8192 {
		l.when = map[cache.Key]time.Time{}
	}
	l.when[dir] = now
	return true
}

// own says that a Key is of one client's partition, where nothing is asked for but in its name.
func own(key cache.Key) bool { return cache.BaseHub(key.Hub()) != key.Hub() }

// ascend has the listings that are held above a Key asked for anew when they are due: whoever uses what is below wants them true, and a parent
// folder's page must not be a year older than the files in it.
func (g *Gateway) ascend(hub *Hub, key cache.Key) {
	if g.cfg.Listings == nil || !hub.Listings || hub.Local || own(key) {
		return
	}
	dir := key.Parent()
	if !g.looked.due(dir, g.cfg.Now()) {
		return
	}
	for {
		if m, adopted, err := g.cfg.Listings.Peek(dir); err == nil && m.Listing && !g.cfg.Filler.Fresh(dir, m, adopted) {
			g.cfg.Filler.Refresh(&fill.Request{Key: dir, Method: http.MethodGet, Header: fill.ForListing(nil)})
		}
		up := dir.Parent()
		if up == dir {
			return
		}
		dir = up
	}
}
