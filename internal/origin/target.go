package origin

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// A target is where a request goes: everything of its URL as bytes, nothing escaped anew.
type target struct {
	scheme, host string
	path         string // escaped, begins with a slash
	query        string
	forceQuery   bool
}

// wire is the URL to give to http.Transport so that the path reaches the request line as it is. A url.URL takes a path as it is only
// in Opaque, where a path that begins with two slashes would be taken for a host.
func (g target) wire(absolute bool) *url.URL {
	u := &url.URL{Scheme: g.scheme, Host: g.host, RawQuery: g.query, ForceQuery: g.forceQuery}
	switch {
	case absolute && g.scheme == "http":
		u.Opaque = "//" + g.host + g.path
	case !strings.HasPrefix(g.path, "//"):
		u.Opaque = g.path
	default:
		u.RawPath = g.path
		u.Path, _ = url.PathUnescape(g.path) // an escape that is none leaves Path empty, and EscapedPath differs
		if u.EscapedPath() != g.path {
			// Two slashes in front and a byte that url.URL would escape: the absolute form of the request line, which every HTTP/1.1 server
			// must take (RFC 9112 section 3.2.2), carries the path exactly. HTTP/2 sends the path alone.
			u.Path, u.RawPath, u.Opaque = "", "", "//"+g.host+g.path
		}
	}
	return u
}

// carry addresses a request for g to the gate, an http proxy, as if that were the server: the whole target in the request line, and the credentials
// that http.Transport sends to none but the proxies it knows of.
func (g target) carry(gate *url.URL, out *http.Request) {
	out.URL = &url.URL{Scheme: gate.Scheme, Host: gate.Host, Opaque: g.scheme + "://" + g.host + g.path, RawQuery: g.query, ForceQuery: g.forceQuery}
	if gate.User == nil {
		return
	}
	password, _ := gate.User.Password()
	pair := base64.StdEncoding.EncodeToString([]byte(gate.User.Username() + ":" + password))
	out.Header.Set("Proxy-Authorization", "Basic "+pair)
}

// shown is the URL as others may handle it: for resolving a Location, for a log.
func (g target) shown() *url.URL {
	u := &url.URL{Scheme: g.scheme, Host: g.host, RawPath: g.path, RawQuery: g.query, ForceQuery: g.forceQuery}
	path, err := url.PathUnescape(g.path)
	if err != nil {
		path = g.path
	}
	u.Path = path
	return u
}

// name is the URL in errors and logs: without the query, which may be a signature or a token.
func (g target) name() string {
	g.query, g.forceQuery = "", false
	return g.shown().String()
}

// rawPathOf is the escaped path of u, as it was written where that is known.
func rawPathOf(u *url.URL) string {
	if u.Opaque != "" {
		return u.Opaque
	}
	if u.RawPath != "" && !hasUnsendable(u.RawPath) {
		// EscapedPath would escape a quote or a brace that the server sent us bare.
		if path, err := url.PathUnescape(u.RawPath); err == nil && path == u.Path {
			return u.RawPath
		}
	}
	if path := u.EscapedPath(); path != "" {
		return path
	}
	return "/"
}

var (
	errNoPath      = errors.New("the path must begin with a slash")
	errDotSegment  = errors.New("the path has a dot segment")
	errUnsendable  = errors.New("the URL has a space or control character")
	errPathIsQuery = errors.New("the path has a question mark")
)

// checkPath refuses what would leave the upstream's own path, or the request line.
func checkPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errNoPath
	case strings.Contains(path, "?"):
		return errPathIsQuery
	case hasUnsendable(path):
		return errUnsendable
	case hasDotSegment(path):
		return errDotSegment
	}
	return nil
}

func hasUnsendable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// hasDotSegment looks for . and .. between slashes and backslashes, escaped once or not: servers differ in what they decode before they
// walk up.
func hasDotSegment(path string) bool {
	if !strings.Contains(path, ".") && !strings.Contains(path, "%2") {
		return false
	}
	decoded := decodeSome.Replace(path)
	for segment := range strings.FieldsFuncSeq(decoded, func(r rune) bool { return r == '/' || r == '\\' }) {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

var decodeSome = strings.NewReplacer("%2e", ".", "%2E", ".", "%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`)
