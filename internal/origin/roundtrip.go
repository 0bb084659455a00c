package origin

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
)

type skipOpenKey struct{}

// WithSkipOpen says that the caller holds a copy that will do: upstreams whose breaker is open are not asked at all, and a hub that has no
// other fails at once with ErrUnavailable. A 404 is then believed only when no upstream was skipped or failed, so that the mirror that
// happens to lack a file cannot take the copy away while the main site is down.
func WithSkipOpen(ctx context.Context) context.Context {
	return context.WithValue(ctx, skipOpenKey{}, true)
}

func skipsOpen(ctx context.Context) bool {
	skip, _ := ctx.Value(skipOpenKey{}).(bool)
	return skip
}

type avoidKey struct{}

// WithAvoid says that the upstreams which gave these URLs are not to be asked: what they answered could not be used.
func WithAvoid(ctx context.Context, urls []string) context.Context {
	return context.WithValue(ctx, avoidKey{}, urls)
}

// avoided says that the caller has had enough of the upstream. Its whole URL counts: another upstream may lie above or below it on the same host.
func avoided(ctx context.Context, u *upstream, path string) bool {
	urls, _ := ctx.Value(avoidKey{}).([]string)
	return slices.Contains(urls, target{u.scheme, u.host, u.base + path, "", false}.name())
}

// RoundTrip sends one request, as the package comment says. Response.Request.URL is the URL that answered.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := newRequestBody(req)
	resp, err := t.roundTrip(req, body)
	body.settle()
	return resp, err
}

func (t *Transport) roundTrip(req *http.Request, body *requestBody) (*http.Response, error) {
	u := req.URL
	if req.Method == http.MethodConnect {
		return nil, &Error{verb(req), u.Host, kindDenied, errors.New("a tunnel is no request for a thing")}
	}
	switch u.Scheme {
	case "hub":
		if u.Host == filesHub && t.conf.Files {
			return t.filesTrip(req, body)
		}
		h := t.hubs[u.Host]
		if h == nil {
			return nil, &Error{verb(req), "hub://" + u.Host, kindConfig, errors.New("no such hub")}
		}
		if err := checkSendable(u.Opaque, u.RawQuery); err != nil {
			return nil, &Error{verb(req), "hub://" + u.Host, kindDenied, err}
		}
		c := &call{t: t, hub: h, req: req, body: body, skipOpen: skipsOpen(req.Context())}
		return c.run()
	case "http", "https", "ftp":
		to := target{u.Scheme, u.Host, rawPathOf(u), u.RawQuery, u.ForceQuery}
		if err := checkElsewhere(to); err != nil {
			return nil, &Error{verb(req), to.name(), kindDenied, err}
		}
		return t.sendElsewhere(req, body.view(), to).result()
	}
	return nil, &Error{verb(req), u.Scheme + ":", kindDenied, errors.New("the scheme is not one of http, https and ftp")}
}

func checkSendable(path, query string) error {
	if hasUnsendable(query) {
		return errUnsendable
	}
	return checkPath(path)
}

// checkElsewhere leaves dot segments alone: they cannot lead anywhere that the host itself does not.
func checkElsewhere(to target) error {
	switch {
	case to.host == "" || hostname(to.host) == "":
		return errors.New("the URL has no host")
	case strings.Contains(to.host, "%"), strings.Contains(to.host, "@"):
		return errors.New("the host has a zone or user in it")
	case !strings.HasPrefix(to.path, "/"):
		return errNoPath
	case hasUnsendable(to.path) || hasUnsendable(to.query):
		return errUnsendable
	}
	return nil
}

func verb(req *http.Request) string {
	if req.Method == "" {
		return "get"
	}
	return strings.ToLower(req.Method)
}

// A call is one request on its way through the upstreams of a hub. One goroutine uses it.
type call struct {
	t        *Transport
	hub      *hub
	req      *http.Request
	body     *requestBody
	skipOpen bool

	best    *http.Response // the answer to give unless a better one comes
	err     error          // the first failure
	missing int            // how many upstreams answered 404
	left    int            // how many may yet be asked
	skipped bool           // an upstream was left out
}

// run tries the upstreams in turn, those with an open breaker last.
func (c *call) run() (*http.Response, error) {
	var last []*upstream
	order := c.hub.ranked(c.t.conf.Now())
	for _, u := range order {
		if c.mayAsk(u) {
			c.left++
		}
	}
	for _, u := range order {
		if avoided(c.req.Context(), u, c.req.URL.Opaque) {
			c.skipped = true // another's 404 must not take the copy away while this one cannot be asked
			continue
		}
		// Before the breaker is asked: its probe must not be one that waits.
		at, err := c.enter(u)
		if err != nil {
			return c.finish()
		}
		probe, ok := u.health.enter(c.t.conf.Now())
		if !ok {
			at.leave()
			last = append(last, u)
			continue
		}
		if done := c.try(u, probe, at); done {
			return c.finish()
		}
	}
	if c.skipOpen {
		c.skipped = c.skipped || len(last) > 0
		return c.finish()
	}
	for _, u := range last {
		at, err := c.enter(u)
		if err != nil {
			break
		}
		if done := c.try(u, false, at); done {
			break
		}
	}
	return c.finish()
}

// mayAsk says that the upstream's turn comes if those before it fail.
func (c *call) mayAsk(u *upstream) bool {
	return !avoided(c.req.Context(), u, c.req.URL.Opaque) && !(c.skipOpen && u.health.state(c.t.conf.Now()) == open)
}

// enter waits for the request's turn at an upstream. An error is the end of the call.
func (c *call) enter(u *upstream) (*pass, error) {
	if u.tree != nil {
		return nil, nil
	}
	at, err := c.t.enter(c.req.Context(), c.hub.name, host{u.scheme, u.host})
	if err != nil {
		c.keep(nil)
		c.err = notEntered(verb(c.req), "hub://"+c.hub.name, err)
	}
	return at, err
}

// try asks one upstream, where the request is let in, and says whether the answer stands.
func (c *call) try(u *upstream, probe bool, at *pass) (done bool) {
	if c.mayAsk(u) {
		c.left--
	}
	view := c.body.view()
	to := target{u.scheme, u.host, u.base + c.req.URL.Opaque, c.req.URL.RawQuery, c.req.URL.ForceQuery}
	safe := c.req.Method == "" || c.req.Method == http.MethodGet || c.req.Method == http.MethodHead
	var sent outcome
	if u.tree != nil {
		sent = c.t.fromTree(c.req, to, u)
	} else {
		v := &via{hub: c.hub, up: u, probe: probe}
		if safe && c.left > 0 && (c.req.Body == nil || c.req.Body == http.NoBody) {
			v.turn = c.t.conf.turn(probe)
		}
		sent = at.attend(c.t.sendAuthorized(c.req, view, to, v))
	}
	if sent.err != nil {
		spent := view.revoke()
		if c.err == nil {
			c.err = sent.err
		}
		if c.req.Context().Err() != nil {
			c.keep(nil)
			c.err = sent.err
			return true
		}
		// Asking another upstream again for what may have been acted upon is not ours to decide.
		return spent || !safe && sent.reached >= connected || sent.fatal
	}
	switch sent.resp.StatusCode {
	case http.StatusNotFound:
		c.yield(at)
		c.missing++
		c.keepBetter(sent.resp)
		return !safe || c.missing == 2 || view.revoke()
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusLoopDetected: // siblings that ask each other first still have the origin
		c.yield(at)
		c.keepBetter(sent.resp)
		return !safe || view.revoke()
	}
	c.keep(sent.resp)
	return true
}

// yield gives up the place at a host whose answer may not stand, as the next one may have to be waited for: two calls could wait for each other.
func (c *call) yield(at *pass) {
	if c.left > 0 {
		at.leave()
	}
}

// keep makes resp the answer and drops the one before.
func (c *call) keep(resp *http.Response) {
	if c.best != nil {
		discard(c.best)
	}
	c.best = resp
}

// keepBetter keeps the answer that says more: that a thing is not there before that one should come later, before that the
// upstream is ill. Among equals the first stays.
func (c *call) keepBetter(resp *http.Response) {
	if c.best != nil && c.severity(c.best) <= c.severity(resp) {
		discard(resp)
		return
	}
	c.keep(resp)
}

func (c *call) severity(resp *http.Response) int {
	switch resp.StatusCode {
	case http.StatusNotFound:
		if c.skipOpen {
			return 4
		}
		return 1
	case http.StatusTooManyRequests:
		return 2
	}
	return 3
}

func (c *call) finish() (*http.Response, error) {
	doubted := c.best != nil && c.best.StatusCode == http.StatusNotFound && c.skipOpen && (c.skipped || c.err != nil)
	if doubted {
		c.keep(nil)
	}
	if c.best != nil {
		return c.best, nil
	}
	if c.err != nil {
		return nil, c.err
	}
	return nil, &Error{verb(c.req), "hub://" + c.hub.name, kindNotThere, ErrUnavailable}
}
