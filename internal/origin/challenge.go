package origin

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
	"golang.org/x/sync/singleflight"
)

// The limits of what a hub keeps of tokens, and of what a server may give as one.
const (
	maxTokens       = 1024
	maxTokenAnswer  = 256 << 10
	maxToken        = 16 << 10
	defaultLifetime = time.Minute // where the answer tells none, as registries have it
	maxLifetime     = 24 * time.Hour
	maxMargin       = 30 * time.Second // of a lifetime that is left unused: requests take time, and clocks differ
)

// A challenge is what a server that wants a bearer token says of where to get one (RFC 6750 section 3, with the realm and service of container
// registries).
type challenge struct{ realm, service, scope string }

// A token is an answer to a challenge.
type token struct {
	text  string
	until time.Time
}

// A place is what one challenge is taken to be for: a directory of an upstream, for those who only read it or for others.
type place struct {
	up   *upstream
	dir  string
	safe bool
}

// tokens are those of one hub. The zero value holds none.
type tokens struct {
	mu      sync.Mutex
	wanted  map[place]challenge
	held    map[challenge]token
	flights singleflight.Group
}

// known is the token that is held for a place.
func (k *tokens) known(p place, now time.Time) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.held[k.wanted[p]]
	if !now.Before(t.until) {
		return ""
	}
	return t.text
}

// note keeps what a place wants. Of too many, others are forgotten: they cost a request each to learn again.
func (k *tokens) note(p place, c challenge) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.wanted == nil {
		k.wanted = map[place]challenge{}
	}
	for other := range k.wanted {
		if len(k.wanted) < maxTokens {
			break
		}
		delete(k.wanted, other)
	}
	k.wanted[p] = c
}

func (k *tokens) keep(c challenge, t token, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held == nil {
		k.held = map[challenge]token{}
	}
	for other, old := range k.held {
		if len(k.held) >= maxTokens || !now.Before(old.until) {
			delete(k.held, other)
		}
	}
	k.held[c] = t
}

// refused forgets a token that its server takes no longer.
func (k *tokens) refused(c challenge, text string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.held[c].text == text {
		delete(k.held, c)
	}
}

func placeOf(req *http.Request, up *upstream, path string) place {
	safe := req.Method == "" || req.Method == http.MethodGet || req.Method == http.MethodHead
	return place{up, path[:strings.LastIndexByte(path, '/')+1], safe}
}

// answers says that challenges to a request are ours to answer: not where it was given a token of its own, nor where the client brought
// credentials of its own.
func (up *upstream) answers(req *http.Request) bool {
	return up.bearer == nil && (up.basic != nil || req.Header.Get("Authorization") == "")
}

// present puts the token that is held for the request into it, in place of the credentials that tokens are given for.
func (t *Transport) present(out, req *http.Request, to target, v *via) {
	if !v.up.answers(req) {
		return
	}
	if v.token == "" {
		v.token = v.hub.tokens.known(placeOf(req, v.up, to.path), t.conf.Now())
	}
	if v.token != "" {
		out.Header.Set("Authorization", "Bearer "+v.token)
	}
}

// sendAuthorized sends a request, and once more with a token when the upstream asked for one. The second answer stands, whatever it is.
func (t *Transport) sendAuthorized(req *http.Request, body *bodyView, to target, v *via) outcome {
	sent := t.send(req, body, to, v)
	text, ok := t.challenged(req, to, v, sent.resp)
	if !ok {
		return sent
	}
	discard(sent.resp)
	return t.send(req, body, to, &via{hub: v.hub, up: v.up, token: text})
}

// challenged gets a token for a response that asks for one (401, or 429 to those who ask without one). It is false when the request is not to be sent
// again: nothing was got, or the body may be spent. The response stands as the answer then.
func (t *Transport) challenged(req *http.Request, to target, v *via, resp *http.Response) (string, bool) {
	wants := resp != nil && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusTooManyRequests && v.token == "")
	if !wants || !v.up.answers(req) {
		return "", false
	}
	c, ok := bearerChallenge(resp.Header["Www-Authenticate"])
	if !ok {
		return "", false
	}
	k := &v.hub.tokens
	k.note(placeOf(req, v.up, to.path), c)
	if v.token != "" {
		k.refused(c, v.token)
	}
	text, err := t.token(req.Context(), v, c)
	if err != nil {
		if req.Context().Err() == nil {
			t.conf.Logger.Warn("no token for an upstream that wants one", "hub", v.hub.name, "upstream", v.up.shown, "error", err)
		}
		return "", false
	}
	return text, text != v.token && (req.Body == nil || req.Body == http.NoBody)
}

// token is the token for a challenge: the one that is held, or a new one, for which the realm is asked once for all who wait.
func (t *Transport) token(ctx context.Context, v *via, c challenge) (string, error) {
	k := &v.hub.tokens
	k.mu.Lock()
	held := k.held[c]
	k.mu.Unlock()
	if t.conf.Now().Before(held.until) {
		return held.text, nil
	}
	// The trip belongs to none of those who wait for it: one that leaves must not take it away from the others.
	got := k.flights.DoChan(v.up.shown+"\x00"+c.realm+"\x00"+c.service+"\x00"+c.scope, func() (any, error) {
		trip, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.conf.Connect+t.conf.TLS+t.conf.Header)
		defer cancel()
		fetched, err := t.fetchToken(trip, v, c)
		if err == nil {
			k.keep(c, fetched, t.conf.Now())
		}
		return fetched.text, err
	})
	select {
	case r := <-got:
		text, _ := r.Val.(string)
		return text, r.Err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// fetchToken asks the realm of a challenge for a token, with the hub's credentials where they may go there.
func (t *Transport) fetchToken(ctx context.Context, v *via, c challenge) (token, error) {
	realm, err := v.realm(c)
	if err != nil {
		return token{}, err
	}
	if v.hub.proxied() && !v.hub.owns(realm) && inward(realm.Hostname()) {
		return token{}, errors.New("the realm of the upstream's challenge is no public address")
	}
	name := target{scheme: realm.Scheme, host: realm.Host, path: realm.EscapedPath()}.name()
	fail := func(err error) (token, error) {
		var inURL *url.Error // has the whole URL in its text
		if errors.As(err, &inURL) {
			err = inURL.Err
		}
		return token{}, fmt.Errorf("ask %s for a token: %w", name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
	if err != nil {
		return fail(err)
	}
	out := t.prepare(ctx, req)
	if basic := v.up.basic; basic != nil {
		if !v.hub.trusts(v.up, realm) {
			return fail(errors.New("its host is not of the upstream's site, so the credentials are not sent there (realm in [[hub]] names hosts that may have them)"))
		}
		password, _ := basic.Password()
		out.SetBasicAuth(basic.Username(), password)
	}
	resp, err := t.poolFor(v.hub, realm).pick(out).RoundTrip(out)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fail(fmt.Errorf("it answered %d", resp.StatusCode)) // a redirect too: credentials do not follow one
	}
	got, err := readToken(io.LimitReader(resp.Body, maxTokenAnswer), t.conf.Now())
	if err != nil {
		return fail(err)
	}
	return got, nil
}

// readToken reads the answer of a realm. It keeps the content out of its errors.
func readToken(r io.Reader, now time.Time) (token, error) {
	var answer struct {
		Token       string  `json:"token"`
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"` // seconds
	}
	if err := json.NewDecoder(r).Decode(&answer); err != nil {
		return token{}, errors.New("its answer is not of the form that tokens come in")
	}
	text := cmp.Or(answer.Token, answer.AccessToken)
	if text == "" || len(text) > maxToken || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return token{}, errors.New("its answer holds no token that could be sent")
	}
	lifetime := defaultLifetime
	if s := answer.ExpiresIn; s > 0 {
		lifetime = time.Duration(min(s, maxLifetime.Seconds()) * float64(time.Second))
	}
	return token{text, now.Add(lifetime - min(lifetime/4, maxMargin))}, nil
}

// realm is the URL at which a challenge says tokens are given. It must be https unless the upstream itself is plain http, for credentials go there and a
// token comes from there.
func (v *via) realm(c challenge) (*url.URL, error) {
	u, err := url.Parse(c.realm)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Opaque != "":
		return nil, errors.New("the realm of the upstream's challenge is no URL")
	case u.Scheme != "https" && (u.Scheme != "http" || v.up.scheme != "http"):
		return nil, errors.New("the realm of the upstream's challenge is not https")
	}
	if err := checkElsewhere(target{scheme: u.Scheme, host: u.Host, path: cmp.Or(u.EscapedPath(), "/")}); err != nil {
		return nil, fmt.Errorf("the realm of the upstream's challenge: %w", err)
	}
	q := u.Query()
	if c.service != "" {
		q.Set("service", c.service)
	}
	for scope := range strings.FieldsSeq(c.scope) {
		q.Add("scope", scope)
	}
	u.RawQuery, u.Fragment, u.RawFragment = q.Encode(), "", ""
	return u, nil
}

// trusts says that the realm may be given the hub's credentials: it is of the upstream's own site, or the operator named its host.
func (h *hub) trusts(up *upstream, realm *url.URL) bool {
	host := strings.TrimSuffix(strings.ToLower(realm.Hostname()), ".")
	return sameSite(strings.TrimSuffix(hostname(up.host), "."), host) || slices.Contains(h.realms, host)
}

// sameSite says that two host names have one owner, as far as names tell: they are equal, or under one registered domain.
func sameSite(a, b string) bool {
	if a == b {
		return true
	}
	if _, err := netip.ParseAddr(a); err == nil {
		return false
	}
	x, errX := publicsuffix.EffectiveTLDPlusOne(a)
	y, errY := publicsuffix.EffectiveTLDPlusOne(b)
	return errX == nil && errY == nil && x == y
}

// poolFor is by which connections a realm is reached: those of the hub where it is one of the hub's own servers or all of its way out is a proxy, else
// those for absolute URLs, which go to public addresses only.
func (t *Transport) poolFor(h *hub, realm *url.URL) pool {
	if h.owns(realm) {
		return h.pool
	}
	return h.away
}

// owns says that the realm is at one of the hub's own servers.
func (h *hub) owns(realm *url.URL) bool {
	port := portOf(realm.Scheme, realm.Port())
	return slices.ContainsFunc(h.upstreams, func(u *upstream) bool {
		return u.scheme == realm.Scheme && u.port == port && strings.EqualFold(hostname(u.host), realm.Hostname())
	})
}

// newAway makes the connections to realms elsewhere. They show no client certificate: that is for the upstreams.
func (t *Transport) newAway(h *hub, conf Hub) pool {
	switch {
	case conf.Proxy != nil:
		return h.pool
	case conf.RootCAs != nil:
		return t.conf.newPool(t.reach, nil, &tls.Config{RootCAs: conf.RootCAs})
	}
	return t.elsewhere
}

// proxied says that all of the hub's way out is a proxy, which resolves names and is out of reach of our own judgement of addresses.
func (h *hub) proxied() bool { return h.away.shared == h.pool.shared }

// inward says that a host is, in whatever spelling, an address that is not public.
func inward(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return endsInNumber(host) || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
	}
	return classify(a) != public
}
