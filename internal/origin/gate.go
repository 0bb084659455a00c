package origin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	longestRest = 5 * time.Minute // that a host may ask for: a Retry-After of a day would end all background work for good
	restsKept   = 64              // hosts without requests whose wish to be left alone is remembered before anybody looks which are over
)

type backgroundKey struct{}

// A background is how a request that nobody waits for is known.
type background struct{ promoted <-chan struct{} }

// WithBackground marks requests that no client waits for. Each waits at its host until there is room: see Config.BackgroundPerHost. From the moment
// that promoted is closed it is like any other; nil never is.
func WithBackground(ctx context.Context, promoted <-chan struct{}) context.Context {
	return context.WithValue(ctx, backgroundKey{}, background{promoted})
}

// A host is known by its scheme, name and port, as targets write them.
type host struct{ scheme, name string }

// gates keep the requests of the background behind those of clients, for each host by itself. The methods may be called concurrently.
type gates struct {
	most int // of the background at a time
	now  func() time.Time

	mu    sync.Mutex
	hosts map[host]*gate
}

// A gate is what is under way to one host.
type gate struct {
	interactive int       // requests of clients, until their bodies are closed
	inside      []*pass   // of the background
	waiting     []*pass   // the longest first
	until       time.Time // the host asked to be left alone
	over        bool      // somebody looks again when that is over
}

// A pass is one request's leave to be at its host. A nil pass is for what needs none.
type pass struct {
	of       *gates
	host     host
	promoted <-chan struct{}
	ready    chan struct{} // closed when it is let in
	counted  bool          // as interactive
	left     bool
	trip     func() // ends the trip that the hub's limits count; nil when they do not
}

// enter lets a request of a client in at once, and one of the background when there is room for it. It fails only with ctx.
func (g *gates) enter(ctx context.Context, at host) (*pass, error) {
	b, behind := ctx.Value(backgroundKey{}).(background)
	p := &pass{of: g, host: at}
	g.mu.Lock()
	own := g.gate(at)
	if !behind {
		own.interactive++
		p.counted = true
		g.mu.Unlock()
		return p, nil
	}
	p.promoted, p.ready = b.promoted, make(chan struct{})
	own.waiting = append(own.waiting, p)
	g.admit(at, own)
	g.mu.Unlock()
	select {
	case <-p.ready:
	case <-p.promoted:
		g.promote(p)
	case <-ctx.Done():
		p.leave()
		return nil, ctx.Err()
	}
	return p, nil
}

// gate returns that of a host. The lock is held.
func (g *gates) gate(at host) *gate {
	own := g.hosts[at]
	if own == nil {
		if g.hosts == nil {
			g.hosts = map[host]*gate{}
		}
		if len(g.hosts) >= restsKept {
			for other, o := range g.hosts {
				g.tidy(other, o)
			}
		}
		own = &gate{}
		g.hosts[at] = own
	}
	return own
}

// tidy forgets a gate that means nothing any more: there is no end to the hosts of absolute URLs. The lock is held.
func (g *gates) tidy(at host, own *gate) {
	if own.interactive == 0 && len(own.inside) == 0 && len(own.waiting) == 0 && !own.over && !g.now().Before(own.until) {
		delete(g.hosts, at)
	}
}

// admit lets in whom there is room for, now or when the host need not be left alone any more. The lock is held.
func (g *gates) admit(at host, own *gate) {
	if rest := own.until.Sub(g.now()); rest > 0 {
		if len(own.waiting) > 0 && !own.over {
			own.over = true
			time.AfterFunc(rest, func() {
				g.mu.Lock()
				defer g.mu.Unlock()
				own.over = false
				g.admit(at, own)
				g.tidy(at, own)
			})
		}
		return
	}
	for len(own.waiting) > 0 && g.room(at, own) {
		p := own.waiting[0]
		own.waiting = slices.Delete(own.waiting, 0, 1)
		own.inside = append(own.inside, p)
		close(p.ready)
	}
}

// room says that one more request of the background may be at the host. Those inside that were promoted meanwhile count as what they are now. The
// lock is held.
func (g *gates) room(at host, own *gate) bool {
	own.inside = slices.DeleteFunc(own.inside, func(p *pass) bool {
		select {
		case <-p.promoted:
			p.counted = true
			own.interactive++
			return true
		default:
			return false
		}
	})
	if speaksFTP(at.scheme) && own.interactive+len(own.inside)+1 >= ftpConns {
		return false // a login has few sessions, and the last one is for a client
	}
	if own.interactive > 0 {
		return len(own.inside) == 0
	}
	return len(own.inside) < g.most
}

// promote makes a pass that waits, or was just let in, that of a client.
func (g *gates) promote(p *pass) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.gate(p.host)
	same := func(other *pass) bool { return other == p }
	own.waiting = slices.DeleteFunc(own.waiting, same)
	own.inside = slices.DeleteFunc(own.inside, same)
	if !p.counted {
		p.counted = true
		own.interactive++
	}
}

// leave ends the request's stay. It may be called more than once.
func (p *pass) leave() {
	if p == nil {
		return
	}
	g := p.of
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.left {
		return
	}
	p.left = true
	if p.trip != nil {
		defer p.trip()
	}
	own := g.gate(p.host)
	if p.counted {
		own.interactive--
	} else {
		same := func(other *pass) bool { return other == p }
		own.waiting = slices.DeleteFunc(own.waiting, same)
		own.inside = slices.DeleteFunc(own.inside, same)
	}
	g.admit(p.host, own)
	g.tidy(p.host, own)
}

// attend takes in what came of the request: the pass lasts as long as the body of its response, and a host that asks to be left alone is.
func (p *pass) attend(sent outcome) outcome {
	if p == nil {
		return sent
	}
	if sent.resp == nil {
		p.leave()
		return sent
	}
	if rest := retryAfter(sent.resp, p.of.now()); rest > 0 {
		p.of.mu.Lock()
		own := p.of.gate(p.host)
		if until := p.of.now().Add(min(rest, longestRest)); until.After(own.until) {
			own.until = until
		}
		p.of.mu.Unlock()
	}
	body, streams := sent.resp.Body.(*watchedBody)
	if !streams { // it is all there
		p.leave()
		return sent
	}
	body.leave = p.leave
	return sent
}

// retryAfter is how long a host that is overloaded asks to be left alone (RFC 9110 section 10.2.3); 0 when it does not.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	t, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return t.Sub(now)
}
