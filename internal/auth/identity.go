package auth

import (
	"fmt"
	"time"
)

// The kinds of credentials that somebody is known by.
const (
	byToken    = "token"
	byPassword = "user"
	byJWT      = "jwt"
)

// An identity is who somebody has proved to be. It is immutable.
type identity struct {
	kind  string
	id    string // of the token; the user's name; the subject of the JWT
	name  string // for people
	until time.Time
	grant *grant
	// proof is what was proved: of a password the stored hash. If it changes, the identity has to be proved anew.
	proof  string
	claims map[string]any // of a JWT
}

// current says that the identity has expired.
func (i *identity) current(now time.Time) error {
	if !i.until.IsZero() && !now.Before(i.until) {
		return fmt.Errorf("%w: the %s has expired", ErrUnauthenticated, kindNames[i.kind])
	}
	return nil
}

var kindNames = map[string]string{byToken: "token", byPassword: "password", byJWT: "JWT"}

// renew is what the rules have for an identity that was proved under earlier ones.
func (r *Rules) renew(i *identity, now time.Time) (*identity, error) {
	gone := fmt.Errorf("%w: the credentials are good no more", ErrUnauthenticated)
	switch i.kind {
	case byToken:
		t, ok := r.tokens[i.id]
		if !ok || t.proof != i.proof {
			return nil, gone
		}
		return &t.identity, t.current(now)
	case byPassword:
		u, ok := r.users[i.id]
		if !ok || u.proof != i.proof {
			return nil, gone
		}
		return u, nil
	}
	if r.jwt == nil || r.jwt.issuer != i.proof {
		return nil, gone
	}
	out := *i
	out.grant = r.jwt.grantFor(i.claims)
	return &out, out.current(now)
}
