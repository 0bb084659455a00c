package cache

import (
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// FilesHub is the built-in hub of what no configured hub's upstream has. Its paths are /<scheme>/<authority>/<path>, so that the tree on disk
// reads as the URLs do.
const FilesHub = "files"

// ports are those that a URL of a scheme means when it names none.
var ports = map[string]string{"http": "80", "https": "443", "ftp": "21"}

// Authority brings the host and port of a URL into the one form that Keys have: lower case, no dot at the end, no default port, IPv6 in
// brackets and as RFC 5952 writes it. It fails with ErrBadKey on what is no host, on a zone, on userinfo and for a scheme that the built-in
// hub does not take.
func Authority(scheme, raw string) (string, error) {
	standard, ok := ports[scheme]
	if !ok {
		return "", fmt.Errorf("%w: scheme %.20q is not http, https or ftp", ErrBadKey, scheme)
	}
	host, port := raw, ""
	if i := strings.LastIndexByte(raw, ':'); i >= 0 && i > strings.LastIndexByte(raw, ']') {
		host, port = raw[:i], raw[i+1:]
	}
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return "", fmt.Errorf("%w: %.20q is no port", ErrBadKey, port)
		}
		port = strconv.FormatUint(n, 10)
	}
	host, err := hostOf(host)
	if err != nil {
		return "", err
	}
	if port == "" || port == standard {
		return host, nil
	}
	return host + ":" + port, nil
}

// hostOf normalises a host without its port.
func hostOf(raw string) (string, error) {
	if inner, ok := strings.CutPrefix(raw, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		if err != nil || !closed || !a.Is6() || a.Zone() != "" {
			return "", fmt.Errorf("%w: %.60q is no IPv6 address", ErrBadKey, raw)
		}
		return "[" + a.String() + "]", nil
	}
	host := strings.TrimSuffix(strings.ToLower(raw), ".")
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return "", fmt.Errorf("%w: %.60q is no host name", ErrBadKey, raw)
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("%w: %.60q is no host name", ErrBadKey, raw)
		}
	}
	return host, nil
}

// FilesKey is the Key in the built-in hub of the URL that these parts make. rawPath is escaped; an empty one is the root.
func FilesKey(scheme, authority, rawPath, rawQuery string, hasQuery bool) (Key, error) {
	authority, err := Authority(scheme, authority)
	if err != nil {
		return Key{}, err
	}
	if rawPath == "" {
		rawPath = "/"
	}
	if rawPath[0] != '/' {
		return Key{}, fmt.Errorf("%w: does not begin with a slash", ErrBadKey)
	}
	return ParseKey(FilesHub, "/"+scheme+"/"+encodeSegment(authority)+rawPath, rawQuery, hasQuery)
}

// FilesKeyOf is the Key in the built-in hub of an absolute URL, whose userinfo and fragment do not count.
func FilesKeyOf(u *url.URL) (Key, error) {
	path := u.Opaque
	if path == "" {
		path = u.EscapedPath()
	}
	return FilesKey(strings.ToLower(u.Scheme), u.Host, path, u.RawQuery, u.ForceQuery || u.RawQuery != "")
}

// Site is what comes before the URL's own path in k's path: "" in a configured hub, which is one tree, and "/https/host.example" in the
// built-in one.
func (k Key) Site() string {
	if k.hub != FilesHub {
		return ""
	}
	end := 0
	for range 2 {
		next := strings.IndexByte(k.path[end+1:], '/')
		if next < 0 {
			return ""
		}
		end += 1 + next
	}
	return k.path[:end]
}
