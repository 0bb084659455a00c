package proxy

import (
	"encoding/json"
	"errors"
	"net/http"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
)

// A problem is how an error is told to clients: RFC 9457, with a word for programs.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error"`
}

// failures maps errors to statuses. The first that matches counts.
var failures = []struct {
	err    error
	status int
	word   string
	title  string
}{
	{cache.ErrBadKey, http.StatusBadRequest, "bad_path", "The path names nothing that could be fetched"},
	{errBadTarget, http.StatusBadRequest, "bad_target", "The request target is not a path"},
	{auth.ErrDenied, http.StatusForbidden, "denied", "You may not do this"},
	{errUnmapped, http.StatusNotFound, "host_unmapped", "No hub is bound to this host"},
	{errNoHub, http.StatusNotFound, "no_hub", "No hub serves this path"},
	{errNoURLForm, http.StatusNotFound, "no_url_form", "URL form is not available"},
	{errLoop, http.StatusLoopDetected, "loop", "The request has come back to where it was"},
	{errNotProxy, http.StatusForbidden, "proxy_refused", "This instance does not forward to that host"},
	{errMethod, http.StatusMethodNotAllowed, "method", "The method is not supported"},
	{fill.ErrOffline, http.StatusGatewayTimeout, "offline", "Not held, and this instance is off line"},
	{fill.ErrOnlyIfCached, http.StatusGatewayTimeout, "only_if_cached", "Not held fresh, and the request takes nothing else"},
	{fill.ErrWrongContent, http.StatusBadGateway, "wrong_content", "The upstream's answer cannot be the file"},
	{fill.ErrDigest, http.StatusBadGateway, "digest", "The upstream's body has not the digest that is known for it"},
	{fill.ErrStopping, http.StatusServiceUnavailable, "stopping", "This instance is stopping"},
	{fill.ErrUnreachable, http.StatusGatewayTimeout, "upstream_unreachable", "Not held, and no upstream answered"},
}

// fail turns an error into a status: the one place that does.
func (g *Gateway) fail(w http.ResponseWriter, x *exchange, err error) {
	p := problem{Type: "about:blank", Title: "Something went wrong here", Status: http.StatusBadGateway, Error: "internal", Detail: err.Error()}
	var refused interface{ Refused() bool }
	if errors.As(err, &refused) && refused.Refused() {
		p.Status, p.Error, p.Title = http.StatusForbidden, "destination_refused", "The upstream points to a place that must not be reached"
	} else {
		for _, f := range failures {
			if errors.Is(err, f.err) {
				p.Status, p.Error, p.Title = f.status, f.word, f.title
				break
			}
		}
	}
	h := w.Header()
	if x.outcome.Fwd == "" && p.Status == http.StatusGatewayTimeout {
		x.outcome = fill.Outcome{Cache: fill.Offline, Detail: p.Error}
	} else {
		x.outcome.Detail = p.Error
	}
	if x.outcome.Cache == "" {
		x.outcome.Cache = fill.Bypass
		if x.hub != nil {
			x.outcome.Cache = fill.Miss
		}
	}
	g.stamp(h, x)
	var named interface{ ProxyStatus() string }
	if errors.As(err, &named) && named.ProxyStatus() != "" {
		h["Proxy-Status"] = []string{"zcache; error=" + named.ProxyStatus()}
	}
	h["Cache-Control"] = []string{"no-store"}
	if p.Status == http.StatusMethodNotAllowed {
		h["Allow"] = []string{"GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"}
	}
	WriteProblem(w, p.Status, p.Error, p.Title, p.Detail)
	x.status = p.Status
}

// WriteProblem writes an error as problem JSON (RFC 9457) with the extra member error.
func WriteProblem(w http.ResponseWriter, status int, word, title, detail string) {
	body, _ := json.Marshal(problem{Type: "about:blank", Title: title, Status: status, Detail: detail, Error: word})
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}
