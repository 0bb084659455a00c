package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"zcache/internal/auth"
	"zcache/internal/cache"
)

// A form is how a request names what it wants.
type form int

const (
	gatewayForm form = iota // a path of ours
	urlForm                 // a whole URL, in a path of ours
	proxyForm               // a whole URL, as the request's target
)

func (f form) String() string { return [...]string{"gateway", "url", "proxy"}[f] }

var errScheme = errors.New("scheme is not http, https or ftp")

// A locator is the absolute URL that a request is for, in parts as they came.
type locator struct {
	target
	scheme    string
	authority string        // without userinfo
	user      *url.Userinfo // nil without
	base      string        // what stands before the URL's path in the client's URL space, without userinfo
}

// absolute reads an absolute-form target. http://HTTPS///host/path is what clients write that must not begin a tunnel of their own: it
// means https://host/path.
func absolute(uri string) (l locator, err error) {
	scheme, rest, _ := strings.Cut(uri, "://")
	l.scheme = strings.ToLower(scheme)
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if strings.EqualFold(authority, "https") && l.scheme == "http" {
		if inner, ok := strings.CutPrefix(strings.TrimPrefix(rest, "/"), "//"); ok {
			return absolute("https://" + inner)
		}
	}
	if strings.ContainsRune(uri, '#') {
		return l, errBadTarget
	}
	l.path, l.query, l.hasQuery = strings.Cut(rest, "?")
	return l, l.host(authority)
}

// host takes an authority apart.
func (l *locator) host(raw string) (err error) {
	switch l.scheme {
	case "http", "https", "ftp":
	default:
		return fmt.Errorf("%w: %.20q", errScheme, l.scheme)
	}
	if at := strings.LastIndexByte(raw, '@'); at >= 0 {
		name, password, has := strings.Cut(raw[:at], ":")
		name, err := url.PathUnescape(name)
		password, err2 := url.PathUnescape(password)
		if err != nil || err2 != nil || strings.ContainsAny(name+password, "\r\n\x00") || strings.Contains(name, ":") {
			return fmt.Errorf("%w: the user or password in it cannot be read", errBadTarget)
		}
		if l.user = url.User(name); has {
			l.user = url.UserPassword(name, password)
		}
		raw = raw[at+1:]
	}
	if l.path == "" {
		l.path = "/"
	}
	if l.scheme == "ftp" {
		l.path = withoutType(l.path)
	}
	l.authority, err = cache.Authority(l.scheme, raw)
	return err
}

// withoutType drops the transfer type that curl and others add to the path of a URL that they give to a proxy (RFC 1738 section 3.2.2): all
// transfers are binary. Type d asks for the directory.
func withoutType(path string) string {
	i := len(path) - len(";type=x")
	if i < 0 || !strings.EqualFold(path[i:len(path)-1], ";type=") {
		return path
	}
	switch path[len(path)-1] | 0x20 {
	case 'a', 'i':
		return path[:i]
	case 'd':
		return strings.TrimSuffix(path[:i], "/") + "/"
	}
	return path
}

// inPath reads the two URL forms, /files/<scheme>/<authority>/… and /download/<scheme>:/…, where the second is also read with two slashes: servers and
// people fold them. path is normal. is is false for a path of neither form.
func inPath(path string, t target) (l locator, is bool, err error) {
	var rest string
	switch {
	case strings.HasPrefix(path, "/files/"):
		l.scheme, rest, is = strings.Cut(path[len("/files/"):], "/")
		if is = is && (l.scheme == "http" || l.scheme == "https" || l.scheme == "ftp"); !is {
			return l, false, nil
		}
		l.base = "/files/" + l.scheme + "/"
	case strings.HasPrefix(path, "/download/"):
		l.scheme, rest, is = strings.Cut(path[len("/download/"):], ":/")
		if !is || l.scheme == "" || strings.Trim(strings.ToLower(l.scheme), "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "" {
			return l, false, nil
		}
		l.scheme = strings.ToLower(l.scheme)
		rest = strings.TrimPrefix(rest, "/")
		l.base = "/download/" + l.scheme + "://"
	default:
		return l, false, nil
	}
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	l.target = target{path: rest[end:], query: t.query, hasQuery: t.hasQuery}
	bare := l.path == ""
	at := strings.LastIndexByte(authority, '@') + 1
	// Brackets are escaped in a path by whoever escapes with care; pip escapes the colon, too.
	host := strings.NewReplacer("%5B", "[", "%5b", "[", "%5D", "]", "%5d", "]", "%3A", ":", "%3a", ":").Replace(authority[at:])
	err = l.host(authority[:at] + host)
	l.base += authority[at:]
	if bare {
		l.path = ""
	}
	return l, true, err
}

// isHelp says that a path asks how URL form is written.
func isHelp(path string) bool { return path == "/download/" || path == "/download" }

const helpText = `Write the whole URL behind this path:

    /download/https://host.example/path/file
    /files/https/host.example/path/file

The scheme is http, https or ftp. A query is the URL's own. What is under a hub's upstream comes from that hub.
`

func (g *Gateway) help(w http.ResponseWriter, r *http.Request, x *exchange) error {
	x.outcome.Detail = "help"
	x.status = http.StatusOK
	h := w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	g.stamp(h, x)
	w.WriteHeader(x.status)
	if r.Method == http.MethodHead {
		return nil
	}
	n, err := w.Write([]byte(helpText))
	x.sent = int64(n)
	return err
}

// placeOf finds where an absolute URL belongs: in the hub that has it under one of its upstreams, one copy however it was asked for, else in the
// built-in hub.
func (g *Gateway) placeOf(table *table, l locator, f form) (place, error) {
	bare := l.path == ""
	if bare {
		l.path = "/"
	}
	own, err := cache.FilesKey(l.scheme, l.authority, l.path, l.query, l.hasQuery)
	if err != nil {
		return place{}, err
	}
	to := place{hub: g.files, key: own, base: l.base, site: own.Site(), asked: f, bare: bare, ftp: l.scheme == "ftp"}
	u := &url.URL{Scheme: l.scheme, Host: l.authority, Opaque: l.path, RawQuery: l.query, ForceQuery: l.hasQuery}
	if key, ok := g.under(table, u); ok {
		path := strings.TrimPrefix(own.Path(), own.Site())
		to.hub, to.key, to.site = table.byName[key.Hub()], key, ""
		to.base += strings.TrimSuffix(path, key.Path())
	}
	if bare {
		to.base = l.base
	}
	return to, nil
}

// withUser is the request with the credentials of its URL as its own, unless it has some. A token of ours in there is for no origin.
func (l locator) withUser(r *http.Request) *http.Request {
	if l.user == nil || len(r.Header["Authorization"]) > 0 {
		return r
	}
	out := *r
	out.Header = r.Header.Clone()
	password, _ := l.user.Password()
	out.SetBasicAuth(l.user.Username(), password)
	if auth.HasToken(out.Header.Get("Authorization")) {
		return r
	}
	return &out
}

// users are what stands before an at sign in a URL or a part of one.
var users = regexp.MustCompile(`[^/\s"]*(?:@|%40)`)

// withoutUsers takes the user and password of URLs out of a text for logs and clients.
func withoutUsers(s string) string {
	if !strings.Contains(s, "@") && !strings.Contains(s, "%40") {
		return s
	}
	return users.ReplaceAllString(s, "***@")
}

// reachesOut says that a path, well formed or not, was meant for a URL form.
func reachesOut(path string) bool {
	path = strings.ToLower(strings.TrimLeft(path, "/"))
	return strings.HasPrefix(path, "files/") || strings.HasPrefix(path, "download/")
}
