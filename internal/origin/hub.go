package origin

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

type hub struct {
	name      string
	upstreams []*upstream
	pool      pool
	ftp       *ftpPool // for upstreams that are asked by FTP
	realms    []string // hosts that may have the credentials beside those of the upstream's site
	tokens    tokens
	away      pool     // to realms that are none of its upstreams
	gate      *url.URL // the http or https proxy that is given ftp:// URLs; nil without one
	gated     pool     // to the gate, as if it were the server itself
	absolute  bool     // requests reach an http proxy, which wants the whole URL in the request line
}

type upstream struct {
	tree   *fileTree // of a file upstream; nil for one that is spoken to
	scheme string
	host   string // as in the Host field
	port   string
	base   string // the URL's own escaped path, without a slash at the end
	shown  string // the URL without credentials
	label  string // in metrics
	basic  *url.Userinfo
	bearer func() (string, error) // nil without, and where basic is given
	bytes  counter
	health health
	parent atomic.Bool // it is a zcache, as its answers say
}

func (t *Transport) newHub(conf Hub) (*hub, error) {
	if conf.Name == "" {
		return nil, errors.New("name: is empty")
	}
	if len(conf.Upstreams) == 0 {
		return nil, errors.New("upstream: none is given")
	}
	if (conf.Username == "") != (conf.Password == "") {
		return nil, errors.New("basic: user and password come together")
	}
	if conf.Username != "" && conf.Bearer != nil {
		return nil, errors.New("bearer: comes instead of user and password, not with them")
	}
	h := &hub{name: conf.Name, realms: conf.Realms}
	reach := map[string]bool{}
	for _, raw := range conf.Upstreams {
		u, err := newUpstream(raw)
		if err != nil {
			return nil, fmt.Errorf("upstream: %w", err)
		}
		h.upstreams = append(h.upstreams, u)
		t.entrust(h, u, raw, conf)
		if u.tree != nil {
			continue
		}
		reach[net.JoinHostPort(hostname(u.host), u.port)] = true
	}
	if p := conf.Proxy; p != nil {
		port := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[p.Scheme]
		if port == "" || p.Hostname() == "" {
			return nil, errors.New("proxy: must be an http, https or socks5 URL")
		}
		reach = map[string]bool{net.JoinHostPort(p.Hostname(), cmp.Or(p.Port(), port)): true}
		h.absolute = strings.HasPrefix(p.Scheme, "http")
	}
	secure := &tls.Config{RootCAs: conf.RootCAs, Certificates: conf.Certificates}
	h.pool = t.conf.newPool(dialOnly(reach, t.conf.dialer()), conf.Proxy, secure)
	h.away = t.newAway(h, conf)
	if h.absolute {
		h.gate, h.gated = conf.Proxy, t.conf.newPool(dialOnly(reach, t.conf.dialer()), nil, secure)
		h.gated.speakHTTP1()
	}
	h.ftp = t.conf.newFTPPool(dialOnly(reach, t.conf.dialer()), nil, secure)
	return h, h.checkFTP(conf)
}

// entrust gives the hub's credentials to an upstream that has none of its own, if it may have them: the first one, and others of its site or that
// the operator named. A group of a parent and the origin would otherwise tell the origin the parent's token.
func (t *Transport) entrust(h *hub, u *upstream, raw *url.URL, conf Hub) {
	switch {
	case u.basic != nil || u.tree != nil || conf.Username == "" && conf.Bearer == nil:
	case !h.trusts(h.upstreams[0], raw):
		t.conf.Logger.Warn("the hub's credentials are not sent to this upstream, which is of another site than the first", "hub", h.name, "upstream", u.shown)
	case conf.Username != "":
		u.basic = url.UserPassword(conf.Username, conf.Password)
	default:
		u.bearer = conf.Bearer
	}
}

func newUpstream(u *url.URL) (*upstream, error) {
	up := &upstream{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Host), basic: u.User}
	up.port = portOf(up.scheme, u.Port())
	up.base = strings.TrimSuffix(u.EscapedPath(), "/")
	up.shown = (&url.URL{Scheme: up.scheme, Host: up.host, Path: u.Path, RawPath: u.RawPath}).String()
	up.label = up.host
	if up.scheme == "file" {
		return up, up.openTree(u)
	}
	switch {
	case up.port == "":
		return nil, fmt.Errorf("%s: must begin with http://, https://, ftp://, ftps:// or file:///", up.shown)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%s: has no host", up.shown)
	case strings.ContainsFunc(up.host, func(r rune) bool { return r > 0x7e || r <= ' ' }):
		return nil, fmt.Errorf("%s: write the host in its ASCII form (xn--…)", up.shown)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return nil, fmt.Errorf("%s: must end with its path", up.shown)
	case hasDotSegment(up.base):
		return nil, fmt.Errorf("%s: has a dot segment", up.shown)
	}
	return up, nil
}

// openTree makes up one for a directory of this machine, which need not be there yet: a request for it then fails, and the next may not.
func (up *upstream) openTree(u *url.URL) error {
	switch {
	case up.host != "" || u.User != nil:
		return fmt.Errorf("%s: must have three slashes before its path and no host", up.shown)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "":
		return fmt.Errorf("%s: must end with its path", up.shown)
	case !path.IsAbs(u.Path) || path.Clean(u.Path) == "/" || hasDotSegment(up.base) || strings.ContainsRune(u.Path, 0):
		return fmt.Errorf("%s: must name one directory by its whole path", up.shown)
	}
	up.tree, up.label = &fileTree{dir: path.Clean(u.Path)}, up.shown
	return nil
}

// checkFTP refuses what does not go with upstreams that are asked by FTP.
func (h *hub) checkFTP(conf Hub) error {
	for _, u := range h.upstreams {
		switch {
		case !speaksFTP(u.scheme):
		case conf.Proxy != nil && (h.gate == nil || u.scheme != "ftp"):
			return fmt.Errorf("proxy: %s is asked without one; http and https proxies take ftp:// URLs", u.shown)
		case conf.Bearer != nil:
			return fmt.Errorf("bearer: %s takes a user and password only", u.shown)
		}
	}
	return nil
}

// portOf is the port that a URL means, "" for a scheme that we do not speak.
func portOf(scheme, port string) string {
	switch strings.ToLower(scheme) {
	case "http":
		return cmp.Or(port, "80")
	case "https":
		return cmp.Or(port, "443")
	case "ftp", "ftps":
		return cmp.Or(port, "21")
	}
	return ""
}

func hostname(host string) string { return (&url.URL{Host: host}).Hostname() }

// ranked is the hub's upstreams in the order of trying, open breakers left to whoever tries them. The order is the configured one, but that one
// which is known to answer much faster goes before its neighbour: twice as fast is little between 2 ms and 4 ms, and
// 50 ms is little between 2 s and 2.05 s. Nobody goes before a parent: what it has to fetch first it keeps for all who ask it, and is slow at once.
func (h *hub) ranked(now time.Time) []*upstream {
	if len(h.upstreams) == 1 {
		return h.upstreams
	}
	order := slices.Clone(h.upstreams)
	latency := make(map[*upstream]time.Duration, len(order))
	for _, u := range order {
		latency[u] = u.health.known(now)
	}
	faster := func(a, b *upstream) bool {
		x, y := latency[a], latency[b]
		return x > 0 && y > 2*x && y-x > 50*time.Millisecond && !b.parent.Load()
	}
	for i := range order {
		for j := i; j > 0 && faster(order[j], order[j-1]); j-- {
			order[j], order[j-1] = order[j-1], order[j]
		}
	}
	return order
}

// authorize puts the credentials for u into the request. Without any, what the client sent stays.
func (u *upstream) authorize(out *http.Request) error {
	switch {
	case u.basic != nil:
		password, _ := u.basic.Password()
		out.SetBasicAuth(u.basic.Username(), password)
	case u.bearer != nil:
		token, err := u.bearer()
		if err != nil {
			return fmt.Errorf("read the bearer token: %w", err)
		}
		if token = strings.TrimSpace(token); token == "" {
			return errors.New("the bearer token is empty")
		}
		out.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

// Resolve is the URL that the hub-relative escaped path has at the hub's preferred upstream, without credentials; for those who tell
// clients of it. It is false for an unknown hub, a path that RoundTrip would refuse, and a hub of which every upstream is a directory of
// this machine or asked by FTP: clients have no use for the name of either.
func (t *Transport) Resolve(hub, rawPath string) (string, bool) {
	if hub == filesHub && t.conf.Files {
		to, err := filesTarget(rawPath)
		return to.scheme + "://" + to.host + to.path, err == nil && !speaksFTP(to.scheme)
	}
	h := t.hubs[hub]
	if h == nil || checkPath(rawPath) != nil {
		return "", false
	}
	now := t.conf.Now()
	order := slices.DeleteFunc(slices.Clone(h.ranked(now)), func(u *upstream) bool { return u.tree != nil || speaksFTP(u.scheme) })
	if len(order) == 0 {
		return "", false
	}
	best := order[0]
	if i := slices.IndexFunc(order, func(u *upstream) bool { return u.health.state(now) == closed }); i >= 0 {
		best = order[i]
	}
	return best.scheme + "://" + best.host + best.base + rawPath, true
}

// UnderHub says whether u lies under one of the hub's upstreams (the same scheme, host and port, whole path segments), and gives
// its hub-relative path with the escapes as they are. A URL with credentials or with a dot segment in any coding lies under none.
func (t *Transport) UnderHub(hub string, u *url.URL) (rawPath string, ok bool) {
	h := t.hubs[hub]
	if h == nil || u.User != nil || u.Host == "" && !strings.EqualFold(u.Scheme, "file") {
		return "", false
	}
	raw := rawPathOf(u)
	if checkPath(raw) != nil {
		return "", false
	}
	for _, up := range h.upstreams {
		if !strings.EqualFold(u.Scheme, up.scheme) || portOf(u.Scheme, u.Port()) != up.port ||
			!strings.EqualFold(u.Hostname(), hostname(up.host)) {
			continue
		}
		if rest, ok := cutSegments(raw, up.base); ok {
			return rest, true
		}
	}
	return "", false
}

// cutSegments cuts base off the front of path where it ends at a slash. Segments are compared decoded: %7E is ~, but %2F never
// becomes a slash between two segments.
func cutSegments(path, base string) (string, bool) {
	for base != "" {
		var want, have string
		want, base = firstSegment(base)
		have, path = firstSegment(path)
		if want == have {
			continue
		}
		x, errX := url.PathUnescape(want)
		y, errY := url.PathUnescape(have)
		if errX != nil || errY != nil || x != y {
			return "", false
		}
	}
	return path, strings.HasPrefix(path, "/")
}

// firstSegment splits "/a/b" into "/a" and "/b".
func firstSegment(path string) (first, rest string) {
	if path == "" {
		return "", ""
	}
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[:i+1], path[i+1:]
	}
	return path, ""
}
