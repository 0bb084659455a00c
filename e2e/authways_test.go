package e2e

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whoever has a site could send its readers anywhere: what a redirect leads to is judged as if it had been asked for.
func TestARedirectIsNoWayAroundTheRules(t *testing.T) {
	shut := startOrigin(t, func(w *wire, r *request) { w.file(r, []byte(mark), modified, "Cache-Control: max-age=600") })
	lure := startOrigin(t, func(w *wire, r *request) {
		to := map[string]string{"/out": shut.url + "/shut/x", "/hub": shut.url + "/hub/x", "/open": shut.url + "/open/x?y=%2F"}[r.Target]
		w.reply(r, http.StatusFound, "", "Location: "+to, "Cache-Control: max-age=600")
	})
	k := newKeyring(t, "").give("all").give("reader", "--read", "/files/http/"+lure.addr+",/files/http/"+shut.addr+"/open")
	z := start(t, k.hubs(fmt.Sprintf("proxy-allow-host = [%q, %q]", lure.addr, shut.addr), fmt.Sprintf("name = \"a\"\nupstream = %q", shut.url+"/hub")))
	for _, state := range []string{"cold", "held"} {
		for path, open := range map[string]bool{"/out": false, "/hub": false, "/open": true} {
			for _, form := range []string{"/files/http/", "/download/http://"} {
				what := fmt.Sprintf("%s: %s%s for a reader", state, form, path)
				a := get(t, z.url+form+lure.addr+path, k.as("reader")).is(t, what, http.StatusFound, "")
				to := a.Header.Get("Location")
				if bytes.Contains(a.Body, []byte(mark)) || !strings.HasPrefix(to, "/files/http/"+shut.addr+"/") {
					t.Errorf("%s leads to %q with %s", what, to, clip(a.Body))
					continue
				}
				b := get(t, z.url+to, k.as("reader"))
				if open {
					b.whole(t, what+", and on", []byte(mark))
				} else {
					b.is(t, what+", and on", http.StatusForbidden, "")
				}
			}
			get(t, z.url+"/files/http/"+lure.addr+path, k.as("all")).whole(t, state+": "+path+" for who may read all", []byte(mark))
		}
	}
	for _, who := range []string{"reader", "all"} {
		get(t, z.url+"/files/http/any:"+k.tokens["all"]+"@"+lure.addr+"/out", k.as(who))
		proxied(t, z, "GET", "http://any:"+k.tokens["all"]+"@"+lure.addr+"/out", "Proxy-Authorization: Basic "+k.basic(who))
		proxied(t, z, "GET", lure.url+"/out", "Proxy-Authorization: Basic "+k.basic(who), k.as("all"), "Connection: Authorization")
	}
	k.kept(z, lure, shut)
}

// A connection that was opened with a good token is worth no more than the token.
func TestConnectionsOutliveNoToken(t *testing.T) {
	o := startSecure(t, map[string][]byte{"f": []byte("inside")})
	plainOrigin := startOrigin(t, func(w *wire, r *request) { w.file(r, []byte("x"), modified, "Cache-Control: max-age=600") })
	ca := createCA(t, "localhost")
	k := newKeyring(t, "").give("gateway").give("tunnel")
	z := start(t, append(o.opened(), "--upstream", "up="+plainOrigin.url, "--intercept-ca", ca, "--auth-file", k.file, "--anonymous", "none")...)
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	proxy, err := url.Parse(z.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy.User = url.UserPassword("any", k.tokens["tunnel"])
	keeping := map[string]*http.Client{
		"gateway": {Transport: &http.Transport{}},
		"tunnel":  {Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}},
	}
	ask := func(who string) int {
		t.Helper()
		at := map[string]string{"gateway": z.url + "/up/x", "tunnel": "https://" + o.name + "/pub/f"}[who]
		req, err := http.NewRequest(http.MethodGet, at, nil)
		if err != nil {
			t.Fatal(err)
		}
		if who == "gateway" {
			setFields(req, []string{k.as(who)})
		}
		resp, err := keeping[who].Do(req)
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	for who, refused := range map[string]int{"gateway": http.StatusUnauthorized, "tunnel": http.StatusForbidden} {
		for range 2 {
			if got := ask(who); got != http.StatusOK {
				t.Errorf("%s: %d before its token was revoked", who, got)
			}
		}
		k.revoke(who)
		eventually(t, 2*time.Second, "the next request by the "+who+" is refused", func() (bool, string) {
			got := ask(who)
			return got == refused, fmt.Sprint(got)
		})
	}
	k.kept(z, plainOrigin)
}

// What went wrong beyond is for who may see how the instance is doing.
func TestErrorsTellReadersNothingOfTheUpstreams(t *testing.T) {
	dead := freeAddr(t)
	k := newKeyring(t, "").give("reader", "--read", "/up").give("observer", "--scope", "observe")
	z := start(t, k.hubs("", fmt.Sprintf("name = \"up\"\nupstream = \"http://%s/inner/name\"\nretries = 1", dead)))
	for _, path := range []string{"/up/x", "/up/", "/up/d/?format=json", "/-/explain?url=/up/x", "/-/entry?url=/up/x"} {
		for who, may := range map[string]bool{"reader": false, "observer": true} {
			a := get(t, z.url+path, k.as(who), "Accept: application/json")
			text := string(a.Body) + fmt.Sprint(a.Header)
			told := strings.Contains(text, dead) || strings.Contains(text, "inner/name")
			if told && !may {
				t.Errorf("%s tells a reader where its upstream is: %d %s", path, a.Status, text)
			}
			if !told && may && !strings.HasPrefix(path, "/-/entry") {
				t.Errorf("%s does not tell an observer where its upstream is: %d %s", path, a.Status, text)
			}
		}
	}
}

// A people is an auth file with a user of an htpasswd file and an identity provider.
type people struct {
	t    *testing.T
	dir  string
	key  *rsa.PrivateKey
	hash string // of the user's password
}

func newPeople(t *testing.T) *people {
	t.Helper()
	p := &people{t: t, dir: t.TempDir()}
	var err error
	if p.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	p.password("open sesame")
	p.write("jwks.json", fmt.Sprintf(`{"keys":[{"kty":"RSA","use":"sig","alg":"RS256","kid":"k1","n":%q,"e":%q}]}`,
		encode(p.key.N.Bytes()), encode(big.NewInt(int64(p.key.E)).Bytes())))
	p.write("auth.toml", `version = 1
htpasswd = ["users"]
[[user]]
name = "farm"
read = ["/up/farm"]
[jwt]
issuer = "https://id.example"
audience = ["zcache"]
keys = "jwks.json"
[[jwt.rule]]
claim = "groups"
value = "lab"
read = ["/up/lab"]
scope = ["observe"]
`)
	return p
}

func (p *people) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// password gives the user one, by the hash that another program makes of it.
func (p *people) password(text string) {
	p.t.Helper()
	hash, errs, exit := command(p.t, "openssl", "passwd", "-6", text)
	if exit != 0 {
		p.t.Fatalf("openssl passwd: %s", errs)
	}
	p.hash = strings.TrimSpace(hash)
	p.write("users", "farm:"+hash)
}

// word is a JWT of the provider's for a member of a group.
func (p *people) word(group, issuer string, good time.Duration) string {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{"iss": issuer, "aud": "zcache", "sub": "anna", "groups": []string{group}, "exp": time.Now().Add(good).Unix()})
	if err != nil {
		p.t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","kid":"k1","typ":"JWT"}`)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Fatal(err)
	}
	return "Authorization: Bearer " + text + "." + encode(sig)
}

// Passwords of an htpasswd file, and the word of an identity provider, open what the auth file says.
func TestUsersAndTheHoldersOfJWTsAreKnown(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.file(r, []byte("x"), modified, "Cache-Control: max-age=600") })
	p := newPeople(t)
	hash := p.hash
	z := start(t, "--upstream", "up="+o.url, "--auth-file", filepath.Join(p.dir, "auth.toml"), "--anonymous", "none")
	basic := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	const id = "https://id.example"
	good := p.word("lab", id, time.Hour)
	forged := good[:len(good)-8] + "AAAAAAAA"
	unsigned := "Authorization: Bearer " + base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(good, ".")[1] + "."
	for _, row := range []struct {
		claim, field, path string
		status             int
	}{
		{"a user", basic("farm", "open sesame"), "/up/farm/x", 200},
		{"a user elsewhere", basic("farm", "open sesame"), "/up/lab/x", 403},
		{"a wrong password", basic("farm", "open"), "/up/farm/x", 401},
		{"nobody's name", basic("barn", "open sesame"), "/up/farm/x", 401},
		{"a JWT", good, "/up/lab/x", 200},
		{"a JWT elsewhere", good, "/up/farm/x", 403},
		{"a JWT with a scope", good, "/-/status", 200},
		{"a JWT of another group", p.word("others", id, time.Hour), "/up/lab/x", 403},
		{"an expired JWT", p.word("lab", id, -time.Hour), "/up/lab/x", 401},
		{"a forged JWT", forged, "/up/lab/x", 401},
		{"a JWT that nobody signed", unsigned, "/up/lab/x", 401},
		{"another issuer's JWT", p.word("lab", "https://other.example", time.Hour), "/up/lab/x", 401},
	} {
		get(t, z.url+row.path, row.field).is(t, row.claim, row.status, "")
	}
	p.password("another")
	eventually(t, 2*time.Second, "the file of passwords has changed", func() (bool, string) {
		a := get(t, z.url+"/up/farm/x", basic("farm", "open sesame"))
		return a.Status == http.StatusUnauthorized, fmt.Sprint(a.Status)
	})
	for _, r := range o.requests("") {
		if a := r.Header.Get("Authorization"); a != "" {
			t.Errorf("the origin was sent Authorization: %.25s", a)
		}
	}
	for _, secret := range []string{"sesame", good[len(good)-40:], hash, p.hash} {
		if strings.Contains(z.log(), secret) {
			t.Errorf("%.8s… is in the log", secret)
		}
	}
}

// Rules that cannot be read are no rules: the process does not start without them.
func TestNoStartWithoutItsRules(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "auth.toml")
	for text, says := range map[string]string{
		"":                                   "auth-file",
		"version = 2\n":                      "version",
		"version = 1\n[anonymous\n":          "auth.toml",
		"version = 1\n[anonymus]\n":          "anonymus",
		"version = 1\nhtpasswd = [\"no\"]\n": "no",
	} {
		if text != "" {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, errs, exit := command(t, binary, "serve", "--listen", freeAddr(t), "--root", filepath.Join(dir, "root"), "--upstream", "http://127.0.0.1:9", "--auth-file", file)
		if exit != 1 || !strings.Contains(errs, says) || strings.Contains(errs, "goroutine") {
			t.Errorf("with %q: exit %d, %q; want 1 and %q", text, exit, errs, says)
		}
		_ = os.Remove(file)
	}
}
