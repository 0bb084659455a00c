package auth

import (
	"errors"
	"net/http"
)

// A Denial is an ErrDenied that knows more than it tells the client.
type Denial struct {
	is   error // ErrDenied, or one of its kinds
	text string
	why  string
}

func (d *Denial) Error() string { return d.is.Error() + ": " + d.text }

func (d *Denial) Unwrap() error { return d.is }

// Why is the reason for the operator's eyes: it may hold the path of a rule.
func (d *Denial) Why() string {
	if d.why != "" {
		return d.why
	}
	return d.text
}

// A Decision is what was decided on a request, with the reason, for explanations and the audit log. Why is not for clients.
type Decision struct {
	Allowed bool
	Why     string
}

// Allow returns nil when the client has the scope, wherever that may be, else an ErrDenied with the reason. The text is fit for the client.
func (g *Guard) Allow(c Client, s Scope) error {
	rules := g.rulesOf(c)
	switch {
	case s == Anyone:
		return nil
	case c.wrong != nil:
		return c.wrong
	case !rules.configured && s == Write:
		return &Denial{is: ErrDenied, text: "write is for tokens, and there is no auth file"}
	case !rules.configured && c.Local:
		return nil
	case !rules.configured && (s != Read || !rules.anonymous.has(Read)):
		return &Denial{is: ErrDenied, text: s.String() + " is for clients on this machine that ask for localhost"}
	case g.grantOf(c).has(s):
		if c.who != nil && !c.bearer && (s == Operate || s == Write) {
			return &Denial{is: ErrDenied, text: s.String() + " takes the token as Bearer, not as a password"}
		}
		return nil
	case c.who == nil:
		return &Denial{is: ErrUnauthenticated, text: s.String() + " needs credentials"}
	}
	return &Denial{is: ErrDenied, text: "the credentials do not include " + s.String()}
}

// AllowAt is Allow for one place, which matters to Read and Write. The text does not tell which rule decided, nor what there is.
func (g *Guard) AllowAt(c Client, s Scope, p Place) error {
	if err := g.Allow(c, s); err != nil {
		return err
	}
	ok, why := g.at(c, s, p)
	switch {
	case ok:
		return nil
	case c.who == nil && g.rulesOf(c).configured:
		return &Denial{is: ErrUnauthenticated, text: s.String() + " needs credentials for this path", why: why.String()}
	}
	return &Denial{is: ErrDenied, text: s.String() + " is not allowed on this path", why: why.String()}
}

// Decide is AllowAt with the reason in both cases.
func (g *Guard) Decide(c Client, s Scope, p Place) Decision {
	if err := g.Allow(c, s); err != nil {
		var d *Denial
		if errors.As(err, &d) {
			return Decision{Why: d.Why()}
		}
		return Decision{Why: err.Error()}
	}
	ok, why := g.at(c, s, p)
	return Decision{ok, why.String()}
}

func (g *Guard) at(c Client, s Scope, p Place) (ok bool, why reason) {
	switch s {
	case Read:
		return g.grantOf(c).read.decide(p)
	case Write:
		return g.grantOf(c).write.decide(p)
	}
	return true, reason{text: "the scope is for the whole instance"}
}

func (g *Guard) rulesOf(c Client) *Rules {
	if c.rules == nil {
		return g.rules.Load()
	}
	return c.rules
}

// grantOf is what the client was given.
func (g *Guard) grantOf(c Client) *grant {
	rules := g.rulesOf(c)
	switch {
	case c.Known():
		return c.who.grant
	case !rules.configured && c.Local:
		return openRules.anonymous
	}
	return rules.anonymous
}

// Challenge adds the fields that ask for credentials to the answer to an ErrDenied, and returns its status: 401 or, in proxy form, 407 when
// credentials could help, 503 for ErrBusy, else 403. Basic alone is offered to who came with nothing: what clients of registries find after Bearer they
// take for the address of a token service.
func (c Client) Challenge(h http.Header, err error, proxy bool) int {
	switch {
	case errors.Is(err, ErrBusy):
		h.Set("Retry-After", "1")
		return http.StatusServiceUnavailable
	case !errors.Is(err, ErrUnauthenticated):
		return http.StatusForbidden
	}
	field, status := "Www-Authenticate", http.StatusUnauthorized
	if proxy {
		field, status = "Proxy-Authenticate", http.StatusProxyAuthRequired
	}
	h.Set(field, `Basic realm="zcache", charset="UTF-8"`)
	if c.bearer && c.wrong != nil {
		h.Set(field, `Bearer realm="zcache", error="invalid_token"`)
	}
	return status
}
