package proxy

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"zcache/internal/cache"
)

// Resolve returns the Key that a person means: a path as clients ask for it ("/kernel/…"), one at a hub's host ("//deb.lab/…"), a
// URL at this instance, which is known as self, or a URL under a hub's upstream.
func (g *Gateway) Resolve(raw, self string) (cache.Key, error) {
	table := g.table.Load()
	host := bareHost(self)
	if !table.open(host) {
		host = "localhost"
	}
	if rest, ok := strings.CutPrefix(raw, "//"); ok {
		raw = "http://" + rest
	}
	if !strings.HasPrefix(raw, "/") {
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			return cache.Key{}, fmt.Errorf("%w: %q is neither a path nor a URL", cache.ErrBadKey, raw)
		}
		if key, ok := g.under(table, u); ok {
			return key, nil
		}
		host = bareHost(u.Host)
		ours := strings.EqualFold(u.Host, self) || sameLoopback(u.Host, self) // the port too: another one is another server
		switch web := u.Scheme == "http" || u.Scheme == "https"; {
		case !web || table.byHost[host] == nil && !ours && (host != table.public || host == ""):
			if g.forward.Load() == nil {
				return cache.Key{}, fmt.Errorf("%w: %s", errNoHub, raw)
			}
			return cache.FilesKeyOf(u)
		case table.byHost[host] == nil && !table.open(host):
			host = "localhost"
		}
	}
	t, ok := split(raw)
	if !ok {
		return cache.Key{}, errBadTarget
	}
	path, err := normal(t.path)
	if err != nil {
		return cache.Key{}, err
	}
	if key, ok, err := g.inFiles(table, path, t); ok || err != nil {
		return key, err
	}
	to, err := route(table, host, path, t)
	if err == nil && to.hub != nil && to.key == (cache.Key{}) { // the mount without its slash
		t.path, path = t.path+"/", path+"/"
		to, err = route(table, host, path, t)
	}
	switch {
	case err != nil:
		return cache.Key{}, err
	case to.hub == nil || to.key == (cache.Key{}):
		return cache.Key{}, fmt.Errorf("%w: %s", errNoHub, raw)
	}
	return to.key, nil
}

// inFiles reads a path of one of the URL forms, or one of the built-in hub above the URLs in it, which is worth naming to purge what lies below.
func (g *Gateway) inFiles(table *table, path string, t target) (key cache.Key, ok bool, err error) {
	if g.forward.Load() == nil {
		return key, false, nil
	}
	switch path {
	case "/files/", "/files/http/", "/files/https/", "/files/ftp/":
		key, err = cache.ParseKey(cache.FilesHub, path[len("/files"):], "", false)
		return key, true, err
	}
	l, ok, err := inPath(path, t)
	if !ok || err != nil {
		return key, false, err
	}
	if l.path == "" {
		l.path = "/"
	}
	to, err := g.placeOf(table, l, urlForm)
	return to.key, true, err
}

// under returns the Key of a URL that lies under some hub's upstream: of several hubs the one whose upstream names most of it, the first by name
// of equal ones.
func (g *Gateway) under(table *table, u *url.URL) (best cache.Key, found bool) {
	for _, name := range table.names {
		if key, ok := g.cfg.KeyOf(name, u); ok && (!found || len(key.Path()) < len(best.Path())) {
			best, found = key, true
		}
	}
	return best, found
}

// sameLoopback says that two Host fields are names of one listener on this machine's loopback.
func sameLoopback(a, b string) bool {
	loopback := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	if !loopback[bareHost(a)] || !loopback[bareHost(b)] {
		return false
	}
	_, pa, _ := net.SplitHostPort(a)
	_, pb, _ := net.SplitHostPort(b)
	return pa == pb
}
