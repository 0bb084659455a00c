package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/limit"
)

// overrideField is how an operator asks for what a rule refuses, and says why.
const overrideField = "X-Zcache-Override"

// SetFilter replaces the rules about what may be fetched; nil has none. Requests under way keep theirs.
func (g *Gateway) SetFilter(f *limit.Filter) { g.filter.Store(f) }

// A sieve is what the rules ask of a request, until the head of its answer decides.
type sieve struct {
	filter *limit.Filter
	facts  limit.Facts
	// returns says of the URL of a redirect that it leads back here, where it is judged when it is asked for.
	returns func(*url.URL) bool
	last    atomic.Pointer[limit.Verdict]
}

// sift judges a request before anything is asked for it. When the head of the answer has to decide, the exchange has a sieve for it.
func (g *Gateway) sift(r *http.Request, x *exchange, to place) error {
	filter := g.filter.Load()
	if filter == nil {
		return nil
	}
	path := strings.TrimPrefix(to.key.Path(), to.key.Site())
	if strings.IndexByte(path, '%') >= 0 {
		if plain, err := url.PathUnescape(path); err == nil {
			path = plain
		}
	}
	facts := limit.Facts{
		Method: r.Method, Hub: to.hub.Name, Forward: to.asked == proxyForm, Host: x.named, Path: path, Now: g.cfg.Now(), Override: g.override(r, x),
	}
	v := filter.Judge(facts)
	if v.Decision == limit.Later {
		x.sieve = g.newSieve(filter, facts, to.key, to.asked)
		return nil
	}
	return g.settle(x, filter, facts, v)
}

func (g *Gateway) newSieve(filter *limit.Filter, facts limit.Facts, key cache.Key, asked form) *sieve {
	return &sieve{filter: filter, facts: facts, returns: func(u *url.URL) bool {
		if asked == proxyForm {
			return true // its client asks this proxy again
		}
		at, ok := g.cfg.KeyOf(cache.BaseHub(key.Hub()), u)
		return ok && at.Site() == key.Site()
	}}
}

// siftTunnel judges a CONNECT, by its host alone: of what is in a tunnel nothing is seen. What an intercepted one asks for is judged by itself.
func (g *Gateway) siftTunnel(r *http.Request, x *exchange, host string) error {
	filter := g.filter.Load()
	if filter == nil {
		return nil
	}
	facts := limit.Facts{
		Method: http.MethodConnect, Hub: cache.FilesHub, Forward: true, Host: host, Now: g.cfg.Now(), Override: g.override(r, x),
		Head: true, Size: -1, Published: beyondAge,
	}
	return g.settle(x, filter, facts, filter.Judge(facts))
}

// override says who breaks the glass and why; "" when nobody does, or may.
func (g *Gateway) override(r *http.Request, x *exchange) string {
	why := strings.TrimSpace(r.Header.Get(overrideField))
	if why == "" || g.cfg.Guard.Allow(x.client, auth.Operate) != nil {
		return ""
	}
	if len(why) > 200 {
		why = why[:200]
	}
	return why
}

// settle counts what came of the rules for a request, tells of those that let it pass for now, and returns the denial.
func (g *Gateway) settle(x *exchange, filter *limit.Filter, facts limit.Facts, v limit.Verdict) error {
	if len(v.Notes) == 0 {
		return v.Err()
	}
	filter.Count(v)
	where := facts.Hub + ":" + facts.Path
	if facts.Host != "" {
		where = "//" + facts.Host + facts.Path
	}
	for _, n := range v.Notes {
		switch n.Outcome {
		case limit.Shadowed:
			g.log.Info("a rule in shadow would refuse", "action", "shadow", "rule", n.Rule, "reason", n.Reason, "request_id", x.id, "path", where)
		case limit.Overridden:
			g.log.Warn("a rule is overridden", "action", "override", "rule", n.Rule, "reason", n.Reason, "request_id", x.id, "path", where, "why", facts.Override)
			g.cfg.Audit.Note(x.client, "override of rule "+n.Rule+": "+facts.Override, where, nil)
		}
	}
	return v.Err()
}

// sifted settles what the head of the answer has decided, once. Without a head, nothing is counted.
func (g *Gateway) sifted(x *exchange) {
	if x.sieve == nil {
		return
	}
	if v := x.sieve.last.Swap(nil); v != nil {
		g.settle(x, x.sieve.filter, x.sieve.facts, *v)
	}
}

// beyondAge is a time of publication that no rule about age minds.
var beyondAge = time.Unix(0, 0)

// judge is the fill.Judge of a request.
func (s *sieve) judge(h fill.Head) error {
	f := s.facts
	f.Head, f.Size, f.Type, f.Magic = true, h.Size, h.Header.Get("Content-Type"), h.Magic
	f.Published = s.published(h)
	v := s.filter.Judge(f)
	if !h.Early {
		s.last.Store(&v)
	}
	return v.Err()
}

// published is when what is answered came into being. A file is as old as its origin says, and of unknown age where that says nothing. What is no file has
// no age that matters: a listing, an error, and a redirect after which this instance is asked again. One that leads elsewhere stands for what is there.
func (s *sieve) published(h fill.Head) time.Time {
	switch {
	case h.Listing || h.Status >= 400 || h.Status == http.StatusNotModified || h.Status == http.StatusNoContent:
		return beyondAge
	case h.Status >= 300:
		base, err := url.Parse(h.URL)
		if err != nil {
			return time.Time{}
		}
		if to, err := base.Parse(h.Header.Get("Location")); err == nil && s.returns(to) {
			return beyondAge
		}
		return time.Time{}
	}
	t, err := http.ParseTime(h.Header.Get("Last-Modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// named is the host of an authority, as rules have it.
func named(authority string) string {
	host := bareHost(authority)
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	return host
}
