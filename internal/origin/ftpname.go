package origin

import (
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// An ftpName is what an escaped path names on an FTP server.
type ftpName struct {
	path     string // decoded, begins with a slash and ends without one; "" is where the login begins
	absolute bool   // path begins at the server's root (RFC 1738 section 3.2.2: /%2Fetc), not where the login begins
	slash    bool   // a directory is asked for
}

var errBadName = errors.New("the path has a line end or NUL in it")

// parseFTPName reads the path of a URL. The type code at its end (;type=i, which curl adds for a proxy) says nothing: all transfers are binary. An
// empty segment and those of dots are errNoFile, as for files of this machine.
func parseFTPName(raw string) (ftpName, error) {
	raw = cutTypeCode(raw)
	if raw == "/" || raw == "" {
		return ftpName{slash: true}, nil
	}
	n := ftpName{}
	raw, n.slash = strings.CutSuffix(raw, "/")
	segments := strings.Split(raw[1:], "/")
	for i, segment := range segments {
		s, err := url.PathUnescape(segment)
		if err != nil {
			return ftpName{}, errBadEscape
		}
		if strings.ContainsAny(s, "\r\n\x00") {
			return ftpName{}, errBadName
		}
		if rest, ok := strings.CutPrefix(s, "/"); ok && i == 0 {
			n.absolute, s = true, rest
			if s == "" && len(segments) == 1 {
				return ftpName{absolute: true, slash: n.slash}, nil
			}
		}
		if s == "" || s == "." || s == ".." || strings.Contains(s, "/") {
			return ftpName{}, errNoFile
		}
		n.path += "/" + s
	}
	return n, nil
}

func cutTypeCode(raw string) string {
	i := len(raw) - len(";type=i")
	if i > 0 && strings.EqualFold(raw[i:i+len(";type=")], ";type=") && strings.Contains("aidAID", raw[len(raw)-1:]) {
		return raw[:i]
	}
	return raw
}

// at is the name in commands, for a login that begins at home.
func (n ftpName) at(home string) string {
	if n.absolute {
		home = ""
	}
	if home+n.path == "" {
		return "/"
	}
	return home + n.path
}

// ftpCredentials are who logs in for a request: the upstream's or the hub's user, else the client's, else nobody in particular. ours says that the
// client has nothing to do with it.
func ftpCredentials(req *http.Request, v *via) (user, password string, ours bool) {
	if v != nil {
		if basic := v.up.basic; basic != nil {
			password, _ := basic.Password()
			return basic.Username(), password, true
		}
	}
	if user, password, ok := req.BasicAuth(); ok && user != "" {
		return user, password, false
	}
	return "anonymous", "anonymous@", false
}

// replyStatus is the status that tells a client of a negative reply: 503 for what may be otherwise soon, 403 and 404 for what a file or directory is
// refused with, 502 for a server that cannot do what it takes. Code 550 stands for all of the first three, and only words tell them apart.
func replyStatus(reply *textproto.Error) int {
	switch {
	case reply.Code < 500:
		return http.StatusServiceUnavailable
	case reply.Code == 501, reply.Code == 550, reply.Code == 553:
		text := strings.ToLower(reply.Msg)
		for _, word := range []string{"input/output", "i/o error", "stale", "timed out", "too many", "temporar", "try again", "out of memory", "no space"} {
			if strings.Contains(text, word) {
				return http.StatusServiceUnavailable
			}
		}
		for _, word := range []string{"permission", "denied", "not permitted", "not allowed", "forbidden", "privilege"} {
			if strings.Contains(text, word) {
				return http.StatusForbidden
			}
		}
		return http.StatusNotFound
	case reply.Code == 530, reply.Code == 532:
		return http.StatusForbidden
	}
	return http.StatusBadGateway
}

// refusalStatus is the status for a login that was not taken. Servers say 530 of a wrong password and of too many users alike.
func refusalStatus(reply *textproto.Error, ours bool) int {
	text := strings.ToLower(reply.Msg)
	switch {
	case reply.Code < 500, strings.Contains(text, "too many"), strings.Contains(text, "maximum"), strings.Contains(text, "try again"),
		strings.Contains(text, "limit"):
		return http.StatusServiceUnavailable
	case ours:
		return http.StatusForbidden // a client that is asked for a password would give its own
	}
	return http.StatusUnauthorized
}

// lacking says that a server does not know a command, or not for files such as this one.
func lacking(code int) bool { return code == 500 || code == 502 || code == 504 }
