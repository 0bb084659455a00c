package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// filesHub is the hub whose paths are whole URLs, /<scheme>/<authority>/<path>. No configuration vouches for any of them, so they go where
// absolute URLs go.
const filesHub = "files"

// filesTrip sends a request for hub://files/….
func (t *Transport) filesTrip(req *http.Request, body *requestBody) (*http.Response, error) {
	to, err := filesTarget(req.URL.Opaque)
	if err == nil {
		to.query, to.forceQuery = req.URL.RawQuery, req.URL.ForceQuery
		err = checkSendable(to.path, to.query)
	}
	if err != nil {
		return nil, &Error{verb(req), "hub://" + filesHub, kindDenied, err}
	}
	return t.sendElsewhere(req, body.view(), to).result()
}

// filesTarget takes a path of the built-in hub apart.
func filesTarget(rawPath string) (to target, err error) {
	parts := strings.SplitN(rawPath, "/", 4)
	if len(parts) != 4 || parts[0] != "" {
		return to, errors.New("the path is not one of /<scheme>/<authority>/<path>")
	}
	switch parts[1] {
	case "http", "https", "ftp":
	default:
		return to, fmt.Errorf("the scheme %.20q is not one of http, https and ftp", parts[1])
	}
	host, err := url.PathUnescape(parts[2])
	if err != nil {
		return to, err
	}
	to = target{scheme: parts[1], host: host, path: "/" + parts[3]}
	return to, checkElsewhere(to)
}
