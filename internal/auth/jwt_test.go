package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// An idp signs tokens.
type idp struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	e, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, d, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	return &idp{r, e, d}
}

func (p *idp) jwks(t *testing.T) []byte {
	t.Helper()
	point, err := p.ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": b64(p.rsa.N.Bytes()), "e": b64(big.NewInt(int64(p.rsa.E)).Bytes())},
		{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])},
		{"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": b64(p.ed.Public().(ed25519.PublicKey))},
		{"kty": "oct", "kid": "h", "k": "c2VjcmV0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sign(t *testing.T, method jwt.SigningMethod, key crypto.PrivateKey, header map[string]any, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for k, v := range header {
		token.Header[k] = v
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims are good ones with changes; a nil value takes a claim away.
func claims(changes jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": "https://id.example", "aud": "zcache", "sub": "u1", "exp": now.Add(time.Hour).Unix(), "nbf": now.Unix(),
		"email": "u1@lab.example", "groups": []string{"staff", "lab3"},
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

const jwtSection = `
[jwt]
issuer = "https://id.example"
audience = ["zcache", "mirror"]
keys = "KEYS"
name-claim = "email"
[[jwt.rule]]
claim = "groups"
value = "admins"
scope = ["operate"]
[[jwt.rule]]
claim = "groups"
value = "lab3"
read = ["/kernel"]
[[jwt.rule]]
claim = "scope"
value = "mirror:read"
read = ["/gnu"]
`

func jwtGuard(t *testing.T, keys string) *Guard {
	t.Helper()
	g, _, _ := house(t, replaceKeys(keys), AnonymousRead)
	return g
}

func replaceKeys(keys string) string { return strings.Replace(jwtSection, "KEYS", keys, 1) }

func TestAJWTIsGoodWhenAllOfItIs(t *testing.T) {
	p := newIDP(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	writeTo(t, file, string(p.jwks(t)))
	g := jwtGuard(t, file)
	if files := g.rules.Load().Files(); len(files) != 2 || files[1] != file {
		t.Errorf("Files = %q, want the auth file and the keys", files)
	}
	other := newIDP(t)
	rs, es, ed, hs := jwt.SigningMethodRS256, jwt.SigningMethodES256, jwt.SigningMethodEdDSA, jwt.SigningMethodHS256
	kid := func(s string) map[string]any { return map[string]any{"kid": s} }
	const good, refused, origin = "good", "refused", "origin"
	public := []byte(b64(p.rsa.N.Bytes()))
	for _, row := range []struct {
		claim, text, want string
	}{
		{"RS256", sign(t, rs, p.rsa, kid("r"), claims(nil)), good},
		{"ES256", sign(t, es, p.ec, kid("e"), claims(nil)), good},
		{"EdDSA", sign(t, ed, p.ed, kid("d"), claims(nil)), good},
		{"without a key id, for one key fits", sign(t, es, p.ec, nil, claims(nil)), good},
		{"several audiences", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"aud": []string{"x", "mirror"}})), good},
		{"expired within the leeway", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"exp": now.Add(-59 * time.Second).Unix()})), good},
		{"good soon, within the leeway", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"nbf": now.Add(59 * time.Second).Unix()})), good},
		{"expired", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"exp": now.Add(-61 * time.Second).Unix()})), refused},
		{"not good yet", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"nbf": now.Add(61 * time.Second).Unix()})), refused},
		{"without an end", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"exp": nil})), refused},
		{"with an end that is none", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"exp": "never"})), refused},
		{"without a subject", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"sub": nil})), refused},
		{"of another key", sign(t, es, other.ec, nil, claims(nil)), refused},
		{"of another key of the same name", sign(t, rs, other.rsa, kid("r"), claims(nil)), refused},
		{"of a key that is not there", sign(t, es, p.ec, kid("x"), claims(nil)), refused},
		{"by a key of another algorithm", sign(t, es, p.ec, kid("r"), claims(nil)), refused},
		{"HMAC with the public key", sign(t, hs, public, kid("r"), claims(nil)), refused},
		{"HMAC with a key of the set", sign(t, hs, []byte("secret"), kid("h"), claims(nil)), refused},
		{"RS512, which is not taken", sign(t, jwt.SigningMethodRS512, p.rsa, kid("r"), claims(nil)), refused},
		{"none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims(nil)), refused},
		{"with a critical field", sign(t, es, p.ec, map[string]any{"crit": []string{"x"}, "x": 1}, claims(nil)), refused},
		{"another issuer's is the origin's", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"iss": "https://else.example"})), origin},
		{"one for another audience too", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"aud": "registry"})), origin},
		{"one for none too", sign(t, es, p.ec, nil, claims(jwt.MapClaims{"aud": nil})), origin},
		{"what is no JWT too", "a.b.c", origin},
	} {
		r := request("192.0.2.1:1", "h", "Authorization", "Bearer "+row.text)
		c := g.Identify(r)
		got := refused
		switch err := g.Allow(c, Read); {
		case c.Known() && err == nil && c.Subject() == "jwt:u1" && c.Name() == "u1@lab.example":
			got = good
		case c.Consume(r) == r && err == nil:
			got = origin
		case !errors.Is(err, ErrUnauthenticated):
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s: Identify = %s (%v), want %s", row.claim, got, c.wrong, row.want)
		}
	}
}

func TestTheFirstRuleThatAClaimMeetsDecides(t *testing.T) {
	p := newIDP(t)
	file := filepath.Join(t.TempDir(), "keys.json")
	writeTo(t, file, string(p.jwks(t)))
	g := jwtGuard(t, file)
	for _, row := range []struct {
		claim         string
		changes       jwt.MapClaims
		kernel, gnu   bool
		operate, read bool
	}{
		{"a member of a list", nil, true, false, false, true},
		{"the first of two", jwt.MapClaims{"groups": []string{"lab3", "admins"}}, true, true, true, true},
		{"a text", jwt.MapClaims{"groups": "lab3"}, true, false, false, true},
		{"a word of a text", jwt.MapClaims{"groups": nil, "scope": "openid mirror:read"}, false, true, false, true},
		{"no part of a word", jwt.MapClaims{"groups": nil, "scope": "mirror:readwrite"}, false, false, false, false},
		{"none", jwt.MapClaims{"groups": nil}, false, false, false, false},
	} {
		text := sign(t, jwt.SigningMethodES256, p.ec, nil, claims(row.changes))
		c := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text))
		kernel := g.AllowAt(c, Read, Place{Path: "/kernel/a"}) == nil
		gnu := g.AllowAt(c, Read, Place{Path: "/gnu/a"}) == nil
		operate, read := g.Allow(c, Operate) == nil, g.Allow(c, Read) == nil
		if !c.Known() || kernel != row.kernel || gnu != row.gnu || operate != row.operate || read != row.read {
			t.Errorf("%s: known %v, kernel %v, gnu %v, operate %v, read %v; want %+v", row.claim, c.Known(), kernel, gnu, operate, read, row)
		}
		later := jwtGuard(t, file)
		if again := later.Renew(c); again.Subject() != c.Subject() || (later.AllowAt(again, Read, Place{Path: "/kernel/a"}) == nil) != row.kernel {
			t.Errorf("%s: Renew under the rules read anew = %q, want %q with the same rules", row.claim, again.Subject(), c.Subject())
		}
		if err := guard().Allow(guard().Renew(c), Read); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: Allow(renewed where no JWT is taken) = %v", row.claim, err)
		}
	}
}

func TestKeysAreFetchedWhenTheyAreNeeded(t *testing.T) {
	p, next := newIDP(t), newIDP(t)
	var asked atomic.Int64
	var keys atomic.Pointer[[]byte]
	serve := p.jwks(t)
	keys.Store(&serve)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if k := keys.Load(); k != nil {
			w.Write(*k)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer server.Close()
	g := jwtGuard(t, server.URL)
	clock := now
	g.now = func() time.Time { return clock }
	known := func(p *idp, kid string) bool {
		text := sign(t, jwt.SigningMethodES256, p.ec, map[string]any{"kid": kid}, claims(jwt.MapClaims{"exp": now.Add(100 * time.Hour).Unix()}))
		return g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text)).Known()
	}
	if asked.Load() != 0 {
		t.Errorf("the issuer was asked %d times before anybody came", asked.Load())
	}
	if first := known(p, "e"); !first || !known(p, "e") || asked.Load() != 1 {
		t.Errorf("after two requests the issuer was asked %d times, want once, and both known", asked.Load())
	}
	for range 5 {
		known(p, "unknown")
	}
	if asked.Load() != 1 {
		t.Errorf("unknown key ids made %d requests to the issuer within a minute, want none", asked.Load()-1)
	}
	g.SetRules(load(t, writeFile(t, "version = 1\n"+replaceKeys(server.URL))))
	if !known(p, "e") || asked.Load() != 1 {
		t.Errorf("a reload made %d requests to the issuer, want none", asked.Load()-1)
	}
	clock = clock.Add(keysEvery)
	rotated := next.jwks(t)
	keys.Store(&rotated)
	if known(next, "e") {
		t.Error("a key that was not fetched yet is known")
	}
	known(next, "new id") // which makes it ask
	if !known(next, "e") || known(p, "e") || asked.Load() != 2 {
		t.Errorf("after the issuer changed its keys, %d requests to it, want 2, and the new key alone known", asked.Load())
	}
	keys.Store(nil)
	clock = clock.Add(keysFor)
	if first := known(next, "e"); !first || !known(next, "e") {
		t.Error("keys are forgotten while the issuer does not answer")
	}
}

func TestKeysThatCannotBeTrustedAreRefused(t *testing.T) {
	dir := t.TempDir()
	weak := `{"keys":[{"kty":"RSA","n":"` + b64(make([]byte, 128)) + `","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"oct","k":"AA"}]}`
	writeTo(t, filepath.Join(dir, "weak"), weak)
	writeTo(t, filepath.Join(dir, "text"), "no keys")
	off := append(make([]byte, 31), 1)
	writeTo(t, filepath.Join(dir, "off"), `{"keys":[{"kty":"EC","crv":"P-256","x":"`+b64(off)+`","y":"`+b64(off)+`"}]}`)
	for claim, from := range map[string]string{
		"weak and symmetric ones": "weak", "no JWKS": "text", "a point off the curve": "off", "no file": "no", "http": "http://id.example/keys", "ftp": "ftp://id.example/keys", "no host": "https:///keys",
	} {
		if s, err := newKeySet(from, dir); err == nil {
			t.Errorf("%s: newKeySet(%s) = %v, want an error", claim, from, s.keys)
		}
	}
}
