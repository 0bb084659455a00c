package auth

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"
)

// A credential is what a field line says of who asks.
type credential struct {
	scheme   string // in lower case
	bearer   string
	user     string // of Basic
	password string
	other    string // what follows any other scheme, or stands alone
}

// parseCredential takes an Authorization or Proxy-Authorization line apart. What cannot be read has only its scheme.
func parseCredential(line string) (c credential) {
	line = strings.TrimSpace(line)
	end := strings.IndexAny(line, " \t")
	if end < 0 {
		return credential{scheme: strings.ToLower(line), other: line}
	}
	rest := strings.TrimSpace(line[end:])
	switch c.scheme = strings.ToLower(line[:end]); c.scheme {
	case "bearer":
		c.bearer = rest
	case "basic":
		// Some clients leave the padding out.
		pair, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
		if err == nil {
			c.user, c.password, _ = strings.Cut(string(pair), ":")
		}
	default:
		c.other = rest
	}
	return c
}

// token is the token of ours that c carries: in Basic as the password, with any user name, or as the user name, which is where clients put it that
// ask for one word only.
func (c credential) token() (string, bool) {
	for _, text := range []string{c.bearer, c.password, c.user} {
		if strings.HasPrefix(text, tokenPrefix) {
			return text, true
		}
	}
	return "", false
}

// HasToken says whether an Authorization line carries what looks like a token of ours, be it in a way that is not taken. It must not be sent to an
// origin on a client's word.
func HasToken(line string) bool { return parseCredential(line).carries() }

func (c credential) carries() bool {
	_, ok := c.token()
	return ok || strings.HasPrefix(c.other, tokenPrefix)
}

// ours says whether c, found in Authorization, is meant for this instance.
func (r *Rules) ours(c credential, proxy bool) bool {
	if c.carries() {
		return true
	}
	switch c.scheme {
	case "bearer":
		return r.jwt != nil && r.jwt.meant(c.bearer)
	case "basic":
		return !proxy && len(r.htpasswd) > 0
	}
	return false
}

// What of a request was ours.
const (
	inAuthorization = 1 << iota
	inProxyAuthorization
)

// authenticate fills in who asks. Proxy says that the request is one to a forward proxy.
func (g *Guard) authenticate(ctx context.Context, h http.Header, proxy bool, c Client) Client {
	lines, passwords := h["Authorization"], h["Proxy-Authorization"]
	for _, line := range lines {
		if c.rules.ours(parseCredential(line), proxy) {
			c.consumed |= inAuthorization
		}
	}
	if !proxy || len(passwords) == 0 {
		if c.consumed != 0 {
			c = g.prove(ctx, lines, c)
		}
		return c
	}
	c.consumed |= inProxyAuthorization
	return g.prove(ctx, passwords, c)
}

// prove finds out who holds the one credential in lines.
func (g *Guard) prove(ctx context.Context, lines []string, c Client) Client {
	if len(lines) != 1 {
		c.wrong = wrong("there are several credentials in one request")
		return c
	}
	cred := parseCredential(lines[0])
	text, is := cred.token()
	now := g.now()
	switch {
	case is:
		c.who, c.wrong = c.rules.findToken(text, now)
	case cred.scheme == "bearer" && c.rules.jwt != nil:
		c.who, c.wrong = c.rules.jwt.verify(ctx, cred.bearer, now)
	case cred.scheme == "basic":
		c.who, c.wrong = g.checker.identify(ctx, c.rules, source(c.Addr), cred.user, cred.password)
	default:
		c.wrong = wrong("credentials of a kind that is not set up")
	}
	c.bearer = cred.scheme == "bearer"
	return c
}

// source is whom an address counts as: an IPv6 host has a /64 to itself.
func source(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero Prefix for the zero Addr: all of whom nothing is known are one
	return p
}

// Consume is r without the credentials that were meant for this instance; r itself when it has none.
func (c Client) Consume(r *http.Request) *http.Request {
	if c.consumed == 0 {
		return r
	}
	out := *r
	out.Header = r.Header.Clone()
	if c.consumed&inAuthorization != 0 {
		delete(out.Header, "Authorization")
	}
	if c.consumed&inProxyAuthorization != 0 {
		delete(out.Header, "Proxy-Authorization")
	}
	return &out
}
