package proxy

import (
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sort"
	"strings"

	"zcache/internal/cache"
)

// A Hub is what the gateway knows of a hub: where clients find it and what to say of it.
type Hub struct {
	Name    string
	Mount   string   // "/kernel/"; "/" for the catch-all; "" when it is reached by host only
	Hosts   []string // lower case, without port or trailing dot
	Module  string
	Rollout string
	Auth    string // how it identifies itself to its upstreams: anonymous or credentialed
	Active  bool   // its pages may run scripts on this origin
	// Listings says that its directories are shown in forms of ours.
	Listings bool
	Local    bool // its tree lies on this machine
	// Identity is how its upstreams learn who asks: IdentityOwn, which is also "", IdentityPass or IdentityNone.
	Identity string
	Writable bool     // it takes local originals
	Sites    []string // where its upstreams are, as "/https/host.example" or with a port that is not the scheme's own
}

// table finds hubs. It is immutable.
type table struct {
	byHost map[string]*Hub
	mounts []*Hub // the longest first
	byName map[string]*Hub
	names  []string // in order
	root   *Hub
	public string // host of the public URL
}

func newTable(hubs []Hub, public *url.URL) *table {
	t := &table{byHost: map[string]*Hub{}, byName: map[string]*Hub{}}
	if public != nil {
		t.public = bareHost(public.Host)
	}
	for i := range hubs {
		h := &hubs[i]
		t.byName[h.Name] = h
		for _, host := range h.Hosts {
			t.byHost[bareHost(host)] = h
		}
		switch h.Mount {
		case "":
		case "/":
			t.root = h
		default:
			t.mounts = append(t.mounts, h)
		}
	}
	t.names = slices.Sorted(maps.Keys(t.byName))
	sort.SliceStable(t.mounts, func(i, j int) bool { return len(t.mounts[i].Mount) > len(t.mounts[j].Mount) })
	return t
}

// bareHost is a Host field without port, case and trailing dot.
func bareHost(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// open says that a Host may reach the catch-all and the list of hubs: with hubs bound to hosts, an unknown one most likely means a
// hub that is not configured, and must not be answered with another's files.
func (t *table) open(host string) bool {
	if len(t.byHost) == 0 || host == "localhost" || host != "" && host == t.public {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// place is where a request goes.
type place struct {
	hub        *Hub
	key        cache.Key
	base       string // what precedes the hub's paths in the client's URL space: "/kernel" or ""
	site       string // what begins the Key's path and stands in base already, or in no path at all: the scheme and authority, in the built-in hub
	asked      form
	bare       bool   // only the slash at the end is missing
	credential string // that goes upstream in the name of who asks, whose partition key is of
	ftp        bool   // the client asked for a URL of FTP, which has no pages of its own
	narrow     bool   // rules close other places to the client: it has to ask itself for what a redirect leads to
}

// shown is the path of a Key of the same hub and site in the client's URL space.
func (to place) shown(key cache.Key) string { return to.base + strings.TrimPrefix(key.Path(), to.site) }

// find returns the hub and the path under it of a normalised path. rest is empty when only the mount's slash is missing.
func (t *table) find(host, path string) (hub *Hub, base, rest string) {
	if h := t.byHost[host]; h != nil {
		return h, "", path
	}
	for _, h := range t.mounts {
		if strings.HasPrefix(path, h.Mount) {
			return h, h.Mount[:len(h.Mount)-1], path[len(h.Mount)-1:]
		}
		if path == h.Mount[:len(h.Mount)-1] {
			return h, path, ""
		}
	}
	if t.root != nil && t.open(host) {
		return t.root, "", path
	}
	return nil, "", ""
}

// target is the request target as it came: the path, still escaped, and the query.
type target struct {
	path, query string
	hasQuery    bool
}

// split takes a request target apart: origin-form, or absolute-form without its scheme and authority.
func split(uri string) (t target, ok bool) {
	if !strings.HasPrefix(uri, "/") {
		i := strings.Index(uri, "://")
		if i < 0 {
			return t, false
		}
		uri = uri[i+3:]
		j := strings.IndexAny(uri, "/?")
		switch {
		case j < 0:
			uri = "/"
		case uri[j] == '?':
			uri = "/" + uri[j:]
		default:
			uri = uri[j:]
		}
	}
	t.path, t.query, t.hasQuery = strings.Cut(uri, "?")
	return t, !strings.ContainsRune(uri, '#')
}
