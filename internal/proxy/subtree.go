package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

// The fields in which zcaches tell each other of all that is at and below a directory (RFC 9651: a string with parameters, and a list of strings). They are
// between neighbours: neither is passed on, for what an upstream vouches for is not what is held here.
const (
	subtreeField   = "Zcache-Subtree"
	ifSubtreeField = "Zcache-If-Subtree"
)

// withoutMirror fills in for a mirror that is not there.
func (g *Gateway) withoutMirror() {
	if g.cfg.Touch == nil {
		g.cfg.Touch = func(cache.Key) {}
	}
	if g.cfg.Subtree == nil {
		g.cfg.Subtree = func(cache.Key) (string, time.Time, bool) { return "", time.Time{}, false }
	}
	if g.cfg.AsOf == nil {
		g.cfg.AsOf = func(cache.Key) (time.Time, bool) { return time.Time{}, false }
	}
}

// touch tells that somebody uses what is stored for a Key.
func (g *Gateway) touch(method string, status int, key cache.Key) {
	if status < 400 && (method == http.MethodGet || method == http.MethodHead) && !own(key) {
		g.cfg.Touch(key)
	}
}

// takeSubtree takes what the client knows of a subtree out of its request, so that it reaches no upstream: a 304 to it would be for that client alone.
func (x *exchange) takeSubtree(r *http.Request) {
	if lines, ok := r.Header[ifSubtreeField]; ok {
		x.subtree = lines
		delete(r.Header, ifSubtreeField)
	}
}

// vouch is what can be said of all at and below a directory. A mirror says it of what its last walk found current and has not changed since. The owner of a
// tree says it of what lies there, which takes a look at every file: for other zcaches alone. So it is with the part of a mirror that somebody may see.
func (g *Gateway) vouch(r *http.Request, x *exchange, d *directory) (digest string, asOf time.Time, ok bool) {
	switch {
	case d.query.Raw || !d.shared():
		return "", time.Time{}, false
	case d.ours && !d.part:
		return g.ownSubtree(d)
	case !d.local && !d.part:
		return g.cfg.Subtree(d.key)
	case len(x.subtree) == 0 && !byZcache(r.Header["Accept"]):
		return "", time.Time{}, false
	}
	q := question{ownedKey: ownedKey{d.key, seesAll}, hub: d.hub, local: d.local}
	if d.part {
		q.view, q.sees = d.view, x.view
	}
	if !d.local {
		if _, q.asOf, ok = g.cfg.Subtree(d.key); !ok {
			return "", time.Time{}, false
		}
	}
	return g.ownDigest(r.Context(), q)
}

// shared says that the directory is what its origin shows to all. A listing that it made for its asker, kept or not, is not what others see.
func (d *directory) shared() bool { return d.local || d.ours || d.meta != nil && len(d.vary) == 0 }

// byZcache says that an Accept is that of another zcache.
func byZcache(lines []string) bool {
	for _, line := range lines {
		if strings.Contains(line, fill.ListingType) {
			return true
		}
	}
	return false
}

// unchangedBelow puts what is vouched for into the answer's fields, and says whether it is what the client knows: then there is nothing more to send.
func (g *Gateway) unchangedBelow(h http.Header, r *http.Request, x *exchange, d *directory) bool {
	digest, asOf, ok := g.vouch(r, x, d)
	if !ok {
		return false
	}
	h[subtreeField] = []string{`"` + digest + `"; as-of=@` + strconv.FormatInt(asOf.Unix(), 10) + "; complete=?1"}
	return namesDigest(x.subtree, digest)
}

// namesDigest says that a list of strings has one that is the digest, which has neither quotes nor commas in it.
func namesDigest(lines []string, digest string) bool {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			s, _, _ := strings.Cut(member, ";")
			if s = strings.TrimSpace(s); len(s) > 2 && s == `"`+digest+`"` {
				return true
			}
		}
	}
	return false
}
