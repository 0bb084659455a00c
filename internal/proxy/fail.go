package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

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

// failures maps errors to statuses. The first that matches counts. What comes from beyond says in its text which addresses it comes from, and that is
// for those alone who may observe.
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
	{errScheme, http.StatusBadRequest, "bad_scheme", "The URL's scheme is not spoken here"},
	{errLoop, http.StatusLoopDetected, "loop", "The request has come back to where it was"},
	{errNotProxy, http.StatusForbidden, "proxy_refused", "This instance does not forward for you"},
	{errCrossOrigin, http.StatusForbidden, "cross_origin", "Another site's page may not write here"},
	{errTunnels, http.StatusServiceUnavailable, "too_many_tunnels", "Too many tunnels are open"},
	{errTunnel, http.StatusBadGateway, "tunnel_unreachable", "The tunnel's destination cannot be reached"},
	{errMisdirected, http.StatusMisdirectedRequest, "misdirected", "The request is for another host than its tunnel leads to"},
	{errMethod, http.StatusMethodNotAllowed, "method", "The method is not supported"},
	{fill.ErrOffline, http.StatusGatewayTimeout, "offline", "Not held, and this instance is off line"},
	{fill.ErrOnlyIfCached, http.StatusGatewayTimeout, "only_if_cached", "Not held fresh, and the request takes nothing else"},
	{fill.ErrWrongContent, http.StatusBadGateway, "wrong_content", "The upstream's answer cannot be the file"},
	{cache.ErrCutListing, http.StatusBadGateway, "cut_listing", "The upstream's listing is cut off, and the one that is held may not be served unconfirmed"},
	{fill.ErrDigest, http.StatusBadGateway, "digest", "The upstream's body has not the digest that is known for it"},
	{fill.ErrStopping, http.StatusServiceUnavailable, "stopping", "This instance is stopping"},
	{fill.ErrNotConfirmed, http.StatusGatewayTimeout, "not_confirmed", "Held, but its origin wants to be asked before every use, and no upstream answered"},
	{fill.ErrUnreachable, http.StatusGatewayTimeout, "upstream_unreachable", "Not held, and no upstream answered"},
}

// allowed are the methods that are forwarded.
const allowed = "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"

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
	var reasoned interface{ Reason() string }
	reason := ""
	if errors.As(err, &reasoned) {
		reason = reasoned.Reason()
	}
	beyond := p.Status == http.StatusForbidden && p.Error == "destination_refused" || p.Status >= 500 && p.Status != http.StatusLoopDetected
	if beyond && g.cfg.Guard.Allow(x.client, auth.Observe) != nil {
		if p.Detail = ""; x.form != gatewayForm {
			p.Detail = reason // the client named the place itself
		}
	}
	h := w.Header()
	x.outcome.Detail = p.Error
	x.head = g.cfg.Now().Sub(x.start)
	if p.Status == http.StatusGatewayTimeout {
		x.outcome.Cache = fill.Offline
	}
	if asked := beyond && !errors.Is(err, fill.ErrOffline) && !errors.Is(err, fill.ErrOnlyIfCached); asked && x.outcome.Fwd == "" {
		x.outcome.Fwd = "uri-miss"
		if errors.Is(err, fill.ErrNotConfirmed) {
			x.outcome.Fwd = "stale"
		}
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
		if reason != "" && x.form != gatewayForm {
			h["Proxy-Status"][0] += "; details=" + strconv.QuoteToASCII(reason)
		}
	}
	if errors.Is(err, errUnmapped) {
		h["X-Zcache-Host"] = []string{x.host}
	}
	if x.connect {
		h["Connection"] = []string{"close"} // what comes behind the CONNECT was meant for the tunnel, and is no request
	}
	if x.form != gatewayForm || reachesOut(x.asked) {
		p.Detail = withoutUsers(p.Detail)
	}
	h["Cache-Control"] = []string{"no-store"}
	if p.Status == http.StatusMethodNotAllowed {
		h["Allow"] = []string{allowed}
	}
	x.sent = writeProblem(w, p)
	x.status = p.Status
}

// writeProblem writes an error as problem JSON (RFC 9457) with the extra member error, and returns the length of its body.
func writeProblem(w http.ResponseWriter, p problem) int64 {
	body, _ := json.Marshal(p)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	n, _ := w.Write(append(body, '\n')) // nobody is left to tell
	return int64(n)
}
