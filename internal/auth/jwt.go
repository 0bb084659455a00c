package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// leeway is how far the clocks of the issuer and of this machine may be apart.
const leeway = 60 * time.Second

// longestJWT bounds what is looked at. One with many groups has some 4 KiB.
const longestJWT = 16 << 10

// algorithms are those that are taken: signatures with public keys, by the name of one algorithm each. HMAC would make the verifier's key a secret to
// forge with, and "none" needs no key.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

// An issuer knows people by the JWTs (RFC 7519) that an identity provider signed for them.
type issuer struct {
	issuer    string
	audience  []string
	keys      *keySet
	nameClaim string
	rules     []compiledRule
	parser    *jwt.Parser
}

// A compiledRule is what holders of a claim are given.
type compiledRule struct {
	claim, value string
	grant        *grant
}

// newIssuer makes the issuer that an auth file in dir describes.
func newIssuer(e *jwtEntry, cascade Cascade, dir string) (*issuer, error) {
	switch {
	case e.Issuer == "":
		return nil, errors.New("issuer: it is missing; it is the iss of the tokens")
	case len(e.Audience) == 0 || slices.Contains(e.Audience, ""):
		return nil, errors.New("audience: it is missing; a token that was made for another service must not be good here")
	case e.Keys == "":
		return nil, errors.New("keys: it is missing; it is the https URL or file of the issuer's JWKS")
	case len(e.Rules) == 0:
		return nil, errors.New("rule: without any, no token may do anything")
	}
	j := &issuer{issuer: e.Issuer, audience: e.Audience, nameClaim: e.NameClaim}
	if j.nameClaim == "" {
		j.nameClaim = "sub"
	}
	for i := range e.Rules {
		rule := &e.Rules[i]
		if rule.Claim == "" || rule.Value == "" {
			return nil, fmt.Errorf(`rule: the %d. needs a claim and a value; "*" is any value`, i+1)
		}
		grant, err := rule.grant(cascade)
		if err != nil {
			return nil, fmt.Errorf("rule for %s: %w", rule.Claim, err)
		}
		j.rules = append(j.rules, compiledRule{rule.Claim, rule.Value, grant})
	}
	// Time is looked at by verify, which knows what time it is.
	j.parser = jwt.NewParser(jwt.WithValidMethods(algorithms), jwt.WithoutClaimsValidation())
	var err error
	if j.keys, err = newKeySet(e.Keys, dir); err != nil {
		return nil, err
	}
	return j, nil
}

// adopt takes over the keys that were fetched under earlier rules: a reload must not ask the issuer for them again.
func (j *issuer) adopt(old *issuer) {
	if j.keys.url != "" && j.keys.url == old.keys.url {
		j.keys = old.keys
	}
}

// meant says that a token names this issuer and audience. Nothing of it is verified, and all that is looked at is public.
func (j *issuer) meant(text string) bool {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || len(text) > longestJWT {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var claims jwt.MapClaims
	return json.Unmarshal(payload, &claims) == nil && j.isFor(claims)
}

func (j *issuer) isFor(claims jwt.MapClaims) bool {
	iss, err := claims.GetIssuer()
	aud, err2 := claims.GetAudience()
	return err == nil && err2 == nil && iss == j.issuer && slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(j.audience, a) })
}

// verify says whose a token is.
func (j *issuer) verify(ctx context.Context, text string, now time.Time) (*identity, error) {
	if len(text) > longestJWT {
		return nil, wrong("JWT: it is too long")
	}
	claims := jwt.MapClaims{}
	_, err := j.parser.ParseWithClaims(text, claims, func(t *jwt.Token) (any, error) {
		if _, ok := t.Header["crit"]; ok {
			return nil, errors.New("it has critical header fields, of which none is known here") // RFC 7515 section 4.1.11
		}
		kid, _ := t.Header["kid"].(string)
		return j.keys.key(ctx, kid, t.Method.Alg(), now)
	})
	if err != nil {
		return nil, wrong("JWT: " + err.Error())
	}
	exp, err := claims.GetExpirationTime()
	nbf, err2 := claims.GetNotBefore()
	sub, err3 := claims.GetSubject()
	switch {
	case errors.Join(err, err2, err3) != nil, exp == nil, sub == "", !j.isFor(claims):
		return nil, wrong("JWT: exp, sub, iss or aud is missing or not as it must be")
	case nbf != nil && now.Add(leeway).Before(nbf.Time):
		return nil, fmt.Errorf("%w: the JWT is not good yet", ErrUnauthenticated)
	}
	id := &identity{
		kind: byJWT, id: sub, name: sub, until: exp.Add(leeway), grant: j.grantFor(claims), proof: j.issuer, claims: claims,
	}
	if name, ok := claims[j.nameClaim].(string); ok && name != "" {
		id.name = name
	}
	return id, id.current(now)
}

// ungranted is what somebody may do who is known and of whom no rule speaks.
var ungranted = &grant{read: nowhere, write: nowhere}

// grantFor is what the first rule gives that the claims meet.
func (j *issuer) grantFor(claims map[string]any) *grant {
	for _, rule := range j.rules {
		if holds(rule.claim, claims[rule.claim], rule.value) {
			return rule.grant
		}
	}
	return ungranted
}

// holds says whether a claim has a value: as a text, as a member of a list, or as a word of scope (RFC 8693 section 4.2) and of scp, as some issuers call it. Other texts
// are not taken apart: people choose their names.
func holds(name string, claim any, value string) bool {
	switch c := claim.(type) {
	case nil:
		return false
	case string:
		words := name == "scope" || name == "scp"
		return c == value || value == "*" || words && slices.Contains(strings.Split(c, " "), value)
	case []any:
		return value == "*" || slices.Contains(c, any(value))
	}
	return value == "*" || fmt.Sprint(claim) == value
}
