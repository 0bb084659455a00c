package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"zcache/internal/auth"
	"zcache/internal/cache"
)

// The ways in which a hub's upstreams learn who asks.
const (
	IdentityOwn  = "own"  // by the hub's credentials; a client's foreign ones pass
	IdentityPass = "pass" // by those that the client was identified by; what comes is for that client alone
	IdentityNone = "none" // not at all
)

// at is the place of a path of the hub, by which rules judge it whichever way it was asked for.
func (h *Hub) at(path string) auth.Place {
	switch {
	case h.Mount != "":
		return auth.Place{Path: h.Mount[:len(h.Mount)-1] + path}
	case len(h.Hosts) > 0:
		return auth.Place{Host: bareHost(h.Hosts[0]), Path: path}
	}
	return auth.Place{Path: "/" + h.Name + path}
}

// Place is where clients find what is stored for a Key.
func (g *Gateway) Place(key cache.Key) auth.Place {
	return g.hubNamed(g.table.Load(), key).at(key.Path())
}

// hubNamed is the hub of a Key. Of one that is configured no more the files may be held still: its name stands for its mount.
func (g *Gateway) hubNamed(table *table, key cache.Key) *Hub {
	name := cache.BaseHub(key.Hub())
	if name == cache.FilesHub {
		return g.files
	}
	if h := table.byName[name]; h != nil {
		return h
	}
	return &Hub{Name: name}
}

// at is the place that is asked for: of a mount without its slash that directory's.
func (to place) at() auth.Place {
	if to.key.IsZero() {
		return to.hub.at("/")
	}
	return to.hub.at(to.key.Path())
}

// identify finds out who asks, and in which form.
func (g *Gateway) identify(r *http.Request, x *exchange, table *table) {
	x.host = bareHost(r.Host)
	abroad := r.URL.IsAbs() && (r.URL.Scheme == "ftp" || r.URL.Host == "" || table.byHost[x.host] == nil && !table.ourselves(x.host, r))
	if x.connect || abroad {
		x.form = proxyForm
	}
	if r.URL.IsAbs() {
		if t, ok := r.Context().Value(tunnelKey{}).(*tunnelled); ok {
			x.client, x.credential, x.inside = g.cfg.Guard.Inside(r, t.client), t.credential, true
			return
		}
	}
	x.client = g.cfg.Guard.IdentifyIn(r, x.form == proxyForm)
	x.credential = credential(r.Header, x.form == proxyForm)
}

// credential is the line by which a client is known, if it is.
func credential(h http.Header, proxy bool) string {
	for _, lines := range [][]string{h["Proxy-Authorization"], h["Authorization"]} {
		if len(lines) == 1 && proxy {
			return lines[0]
		}
		proxy = true // elsewhere the first field means nothing
	}
	return ""
}

// may says whether the client may have what is asked for. Of a directory of which it may see a part, x.unseen says that it gets our listing, or that.
func (g *Gateway) may(r *http.Request, x *exchange, to place) error {
	if !safe(r.Method) {
		x.at = to.at()
		return g.mayWrite(x, to)
	}
	if x.learned {
		return nil
	}
	x.view = g.cfg.Guard.View(x.client)
	if x.view.ID() == seesAll {
		return nil // a hit pays nothing for rules that there are none of
	}
	x.at = to.at()
	err := g.cfg.Guard.AllowAt(x.client, auth.Read, x.at)
	extent := x.view.Of(x.at)
	listed := to.hub.Listings && (to.asked != proxyForm || to.ftp)
	switch {
	case extent != auth.Part:
		return err
	case to.key.IsZero() || to.bare:
		return nil // that a slash is missing tells nothing
	case !to.key.IsDir():
		x.way = err != nil && listed
		return err
	}
	x.unseen = cmp.Or(err, g.partly(x.client))
	if !listed {
		return x.unseen // the origin's own page names what may not be seen
	}
	return nil
}

// seesAll is the id of a View without restrictions.
const seesAll = "all"

// narrow says that redirects out of a site that is no hub's are not followed for the client: whoever has that site could lead it to what is closed to it.
// A hub's redirects are followed on the word of who configured the hub, and so are those of a file that its index names.
func (g *Gateway) narrow(x *exchange, to place) bool {
	return to.hub == g.files && to.asked == urlForm && x.client.Ruled() && !x.learned && x.view.ID() != seesAll
}

// partly refuses what would show all of a directory to who may see a part of it.
func (g *Gateway) partly(c auth.Client) error {
	is := auth.ErrDenied
	if !c.Known() && c.Ruled() {
		is = auth.ErrUnauthenticated
	}
	return fmt.Errorf("%w: read is allowed for a part of this", is)
}

// safe says that a method changes nothing (RFC 9110 section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// mayWrite says whether the client may use an unsafe method. With an auth file that is for who was given it; without one, for whom the upstreams could
// not tell from anybody else, and on this machine.
func (g *Gateway) mayWrite(x *exchange, to place) error {
	guard := g.cfg.Guard
	if x.client.Ruled() {
		return guard.AllowAt(x.client, auth.Write, x.at)
	}
	if (to.hub.Auth == "credentialed" || to.hub.Writable) && !x.client.Local {
		return fmt.Errorf("%w: write is for clients on this machine that ask for localhost", auth.ErrDenied)
	}
	return guard.AllowAt(x.client, auth.Read, x.at)
}

// mayAt returns why the client may not read a path that leads to no hub. Whether there is one is not told to whom the path would be closed.
func (g *Gateway) mayAt(x *exchange, p auth.Place) error {
	x.at = p
	return g.cfg.Guard.AllowAt(x.client, auth.Read, p)
}

// passCredentials has the hub's upstreams learn what they are to learn of who asks. What is fetched in a client's own name is kept for it alone.
func (g *Gateway) passCredentials(r *http.Request, x *exchange, to *place) *http.Request {
	switch to.hub.Identity {
	case IdentityPass:
		if who := x.client.Subject(); who != "" && x.credential != "" && !g.isOriginal(to.key) {
			to.key, to.credential = cache.Partition(to.key, who), x.credential
		}
	case IdentityNone:
		if len(r.Header["Authorization"]) > 0 {
			out := *r
			out.Header = r.Header.Clone()
			delete(out.Header, "Authorization")
			return &out
		}
	}
	return r
}

// KeyFor is the Key under which a client finds what is stored: in a partition of its own where the hub has those.
func (g *Gateway) KeyFor(c auth.Client, key cache.Key) cache.Key {
	if g.hubNamed(g.table.Load(), key).Identity == IdentityPass && !g.isOriginal(key) {
		return cache.Partition(key, c.Subject())
	}
	return key
}

// MayAsk says whether a client may be told of a Key: who may read it, and of the built-in hub's, who may ask for what it holds.
func (g *Gateway) MayAsk(r *http.Request, key cache.Key) error {
	client := g.cfg.Guard.IdentifyIn(r, false)
	if err := g.cfg.Guard.AllowAt(client, auth.Read, g.Place(key)); err != nil {
		return err
	}
	if key.Hub() != cache.FilesHub || g.cfg.Guard.Allow(client, auth.Observe) == nil {
		return nil
	}
	_, err := g.mayForward(r, &exchange{client: client})
	return err
}

// noteAccess tells the audit log of what a client was refused, and of what it changed.
func (g *Gateway) noteAccess(r *http.Request, x *exchange, err error) {
	if !errors.Is(err, auth.ErrDenied) && (err != nil || safe(r.Method) || x.connect || x.hub == nil) {
		return
	}
	action := "read"
	switch {
	case x.connect:
		action = "connect"
	case !safe(r.Method):
		action = "write"
	}
	path := x.at.String()
	if path == "" {
		path = withoutUsers(r.URL.EscapedPath())
		if x.connect {
			path = r.Host
		}
	}
	g.cfg.Audit.Note(x.client, action, path, err)
}

// tunnelPlaces are the places that a tunnel to an authority leads to: what lies there, which is a hub's if the whole of it is, and the hubs that have
// an upstream there.
func (g *Gateway) tunnelPlaces(table *table, host, port string) (all []auth.Place) {
	for _, scheme := range []string{"https", "http"} {
		authority, err := cache.Authority(scheme, net.JoinHostPort(host, port))
		if err != nil {
			continue
		}
		to, err := g.placeOf(table, locator{target: target{path: "/"}, scheme: scheme, authority: authority}, proxyForm)
		if err != nil {
			continue
		}
		switch h := table.byHost[host]; {
		case h != nil: // what is asked inside is for the hub, as it would be without a tunnel
			all = append(all, h.at("/"))
		case scheme == "https":
			all = append(all, to.at())
		}
		for _, name := range table.names {
			if h := table.byName[name]; slices.Contains(h.Sites, "/"+scheme+"/"+authority) {
				all = append(all, h.at("/"))
			}
		}
	}
	return all
}

// mayEnter says whether a client may begin a tunnel in which each request is judged on its own: there must be something for it at the other end.
func (g *Gateway) mayEnter(c auth.Client, places []auth.Place) error {
	view := g.cfg.Guard.View(c)
	var refusal error
	for _, p := range places {
		if view.Of(p) != auth.Nothing {
			return nil
		}
		refusal = cmp.Or(refusal, g.cfg.Guard.AllowAt(c, auth.Read, p))
	}
	return cmp.Or(refusal, g.partly(c))
}

// mayTunnel says whether a client may have a tunnel, in which nobody sees what it asks for: it must be allowed everything there.
func (g *Gateway) mayTunnel(c auth.Client, places []auth.Place) error {
	view := g.cfg.Guard.View(c)
	for _, p := range places {
		if view.Of(p) != auth.All {
			return cmp.Or(g.cfg.Guard.AllowAt(c, auth.Read, p), g.partly(c))
		}
	}
	return nil
}
