package proxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/limit"
)

// A problem is how an error is told to clients: RFC 9457, with a word for programs.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error"`
	// Violated are the limits that were reached, by the names that the RateLimit fields have for them (draft-ietf-httpapi-ratelimit-headers-10 section 5).
	Violated []string `json:"violated-policies,omitempty"`
	Rule     string   `json:"rule,omitempty"` // that refuses it
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
	// The limit and the rule say which status these have; see limited.
	{limit.ErrRefused, http.StatusTooManyRequests, "rate_limited", "Too much was asked for"},
	{limit.ErrFiltered, http.StatusForbidden, "filtered", "A rule of this instance refuses this"},
	// The guard says which status these have; see refuse.
	{auth.ErrBusy, http.StatusServiceUnavailable, "busy", "Too many passwords are being checked"},
	{auth.ErrUnauthenticated, http.StatusUnauthorized, "unauthenticated", "It is not known who asks"},
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
	{fill.ErrName, http.StatusBadRequest, "bad_name", "No listing could show a file of this name"},
	{fill.ErrSumMalformed, http.StatusBadRequest, "bad_digest", "A digest in the request cannot be read"},
	{fill.ErrSumDiffers, http.StatusBadRequest, "digest_differs", "The body has not the digest that came with it"},
	{fill.ErrCut, http.StatusBadRequest, "incomplete", "The body is not whole"},
	{fill.ErrPrecondition, http.StatusPreconditionFailed, "precondition", "A condition of the request does not hold"},
	{fill.ErrNotOriginal, http.StatusConflict, "not_original", "What is held came from upstream; a purge removes it"},
	{fill.ErrNoOriginals, http.StatusNotImplemented, "no_originals", "This instance keeps no local originals"},
	{errDirectory, http.StatusConflict, "directory", "A directory is made by what is put into it"},
	{errPart, http.StatusBadRequest, "partial", "A part of a file cannot be put"},
	{errCoded, http.StatusUnsupportedMediaType, "coded", "A body is kept as it is, without a coding"},
	{cache.ErrNotStored, http.StatusNotFound, "not_found", "There is no local original"},
	{cache.ErrNoSpace, http.StatusInsufficientStorage, "no_space", "There is no space for the body"},
	{cache.ErrReadOnly, http.StatusServiceUnavailable, "read_only", "The store cannot be written now"},
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
	denied := errors.Is(err, auth.ErrDenied)
	if denied {
		g.refuse(w.Header(), x, &p, err)
	}
	bound := limited(w.Header(), &p, err)
	var reasoned interface{ Reason() string }
	reason := ""
	if errors.As(err, &reasoned) {
		reason = reasoned.Reason()
	}
	beyond := !denied && !bound && (p.Status == http.StatusForbidden && p.Error == "destination_refused" || p.Status >= 500 && p.Status != http.StatusLoopDetected)
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
	if asked := beyond && !local(err) && !errors.Is(err, fill.ErrOffline) && !errors.Is(err, fill.ErrOnlyIfCached); asked && x.outcome.Fwd == "" {
		x.outcome.Fwd = "uri-miss"
		if errors.Is(err, fill.ErrNotConfirmed) {
			x.outcome.Fwd = "stale"
		}
	}
	if x.outcome.Cache == "" {
		x.outcome.Cache = fill.Bypass
		if x.hub != nil && !denied && !bound {
			x.outcome.Cache = fill.Miss // of what was denied it is not told whether there is a hub
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
		h["Allow"] = []string{allowedAt(x)}
	}
	x.sent = writeProblem(w, p)
	x.status = p.Status
}

// refuse asks for credentials where some would help. Inside a tunnel none would: what a client sends there it means for the origin.
func (g *Gateway) refuse(h http.Header, x *exchange, p *problem, err error) {
	if x.inside && errors.Is(err, auth.ErrUnauthenticated) {
		p.Status, p.Error, p.Title = http.StatusForbidden, "denied", "You may not do this"
		return
	}
	p.Status = x.client.Challenge(h, err, x.form == proxyForm)
}

// limited tells what a limit or a rule says, and whether it was one.
func limited(h http.Header, p *problem, err error) bool {
	var refusal *limit.Refusal
	var denial *limit.Denial
	switch {
	case errors.As(err, &refusal):
		p.Type, p.Status, p.Detail, p.Violated = refusal.Type, refusal.Status, refusal.Detail, []string{refusal.Policy}
		if refusal.Status == http.StatusServiceUnavailable {
			p.Error, p.Title = "upstream_busy", "Too many requests to the upstream are under way"
		}
		refusal.Fields(h)
	case errors.As(err, &denial):
		p.Status, p.Detail, p.Rule = denial.Status, denial.Error(), denial.Rule
	default:
		return false
	}
	return true
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
