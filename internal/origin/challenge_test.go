package origin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestBearerChallenge(t *testing.T) {
	for _, row := range []struct {
		claim string
		lines []string
		want  challenge
		found bool
	}{
		{"as registries send it", []string{`Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull"`},
			challenge{"https://auth.example/token", "r.example", "repository:a/b:pull"}, true},
		{"spaces, case, a comma in quotes", []string{`bearer  REALM = "https://a.example/t" , Scope="repository:a:pull,push"`},
			challenge{"https://a.example/t", "", "repository:a:pull,push"}, true},
		{"after another scheme", []string{`Basic realm="x", Bearer realm="https://a.example/t"`}, challenge{realm: "https://a.example/t"}, true},
		{"before another scheme", []string{`Bearer realm="https://a.example/t", Basic realm="x"`}, challenge{realm: "https://a.example/t"}, true},
		{"on the second line", []string{`Basic realm="x"`, `Bearer realm="https://a.example/t"`}, challenge{realm: "https://a.example/t"}, true},
		{"after a token68", []string{`Negotiate YWJj/+==, Bearer realm="https://a.example/t"`}, challenge{realm: "https://a.example/t"}, true},
		{"a quoted pair", []string{`Bearer realm="https://a.example/\"t"`}, challenge{realm: `https://a.example/"t`}, true},
		{"a value without quotes", []string{`Bearer realm=https://a.example/t,service=s`}, challenge{"https://a.example/t", "s", ""}, true},
		{"an error beside it", []string{`Bearer realm="https://a.example/t",error="invalid_token"`}, challenge{realm: "https://a.example/t"}, true},
		{"no realm", []string{`Bearer error="invalid_token"`}, challenge{}, false},
		{"another scheme's realm", []string{`Digest realm="https://a.example/t"`}, challenge{}, false},
		{"a quote that never closes", []string{`Bearer realm="https://a.example/t`}, challenge{}, false},
		{"nothing", nil, challenge{}, false},
		{"garbage", []string{`;;;"=,`, `Bearer =`, `=Bearer`}, challenge{}, false},
	} {
		got, found := bearerChallenge(row.lines)
		if got != row.want || found != row.found {
			t.Errorf("%s: bearerChallenge(%q) = %+v, %v; want %+v, %v", row.claim, row.lines, got, found, row.want, row.found)
		}
	}
}

func TestSameSite(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"registry.example.com", "auth.example.com", true}, {"example.com", "example.com", true}, {"10.0.0.1", "10.0.0.1", true}, {"registry", "registry", true},
		{"a.github.io", "b.github.io", false}, {"a.co.uk", "b.co.uk", false}, {"example.com", "example.org", false}, {"10.0.0.1", "10.0.0.2", false},
		{"registry", "auth", false}, {"example.com", "example.com.evil.org", false},
	} {
		if got := sameSite(row.a, row.b); got != row.want {
			t.Errorf("sameSite(%s, %s) = %v, want %v", row.a, row.b, got, row.want)
		}
	}
}

const (
	mirrorUser     = "mirror"
	mirrorPassword = "p4ssw0rd"
)

// A registry is an upstream that wants tokens, and the server that gives them.
type registry struct {
	o, auth *origintest.Origin
	realm   string
	clock   *clock
	log     *bytes.Buffer

	mu     sync.Mutex
	issued int
	valid  map[string]bool
	answer func(w http.ResponseWriter, text string) // of the realm
}

func newRegistry(t *testing.T) *registry {
	r := &registry{o: origintest.New(t), auth: origintest.New(t), clock: newClock(), log: &bytes.Buffer{}, valid: map[string]bool{}}
	r.realm = r.auth.URL + "/token"
	r.answer = func(w http.ResponseWriter, text string) {
		json.NewEncoder(w).Encode(map[string]any{"token": text, "expires_in": 300})
	}
	r.auth.Handle("/token", func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		r.issued++
		text := fmt.Sprintf("secret-token-%d", r.issued)
		r.valid["Bearer "+text] = true
		r.mu.Unlock()
		r.answer(w, text)
	})
	for _, path := range []string{"/v2/a/blobs/1", "/v2/a/blobs/2", "/v2/b/blobs/1"} {
		r.o.Handle(path, func(w http.ResponseWriter, q *http.Request) {
			r.mu.Lock()
			ok := r.valid[q.Header.Get("Authorization")]
			r.mu.Unlock()
			if !ok {
				repo := strings.Split(q.URL.Path, "/")[2]
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service="reg.example",scope="repository:%s:pull"`, r.realm, repo))
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			io.WriteString(w, "body of "+q.URL.Path)
		})
	}
	return r
}

// transport is one with hub h over the registry, made different by change. The realm is opened, as an operator would.
func (r *registry) transport(t *testing.T, change ...func(*Config, *Hub)) *Transport {
	h := hubOf(t, r.o.URL)
	conf := Config{AllowHosts: []string{r.auth.Addr}, Now: r.clock.Now, Logger: slog.New(slog.NewTextHandler(r.log, nil))}
	for _, c := range change {
		c(&conf, &h)
	}
	conf.Hubs = []Hub{h}
	return newTransport(t, conf)
}

func withBasic(_ *Config, h *Hub) { h.Username, h.Password = mirrorUser, mirrorPassword }

// quiet wants no secret in the log.
func (r *registry) quiet(t *testing.T) {
	t.Helper()
	for _, secret := range []string{"secret-token", mirrorPassword, "bWlycm9y"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, r.log)
		}
	}
}

func (r *registry) want(t *testing.T, what string, upstream, realm int) {
	t.Helper()
	if got := r.o.Total(); got != upstream {
		t.Errorf("%s: the upstream was asked %d times, want %d", what, got, upstream)
	}
	if got := r.auth.Total(); got != realm {
		t.Errorf("%s: the realm was asked %d times, want %d", what, got, realm)
	}
}

func TestTokenIsFetchedOnceAndUsedUntilItsEnd(t *testing.T) {
	for claim, change := range map[string]func(*Config, *Hub){"without credentials": func(*Config, *Hub) {}, "with credentials": withBasic} {
		t.Run(claim, func(t *testing.T) {
			r := newRegistry(t)
			tr := r.transport(t, change)
			get := func(path string, upstream, realm int) {
				t.Helper()
				status, body, err := ask(t, tr, path)
				if status != http.StatusOK || body != "body of "+path || err != nil {
					t.Errorf("GET %s = %d %q, %v; want its body", path, status, body, err)
				}
				r.want(t, "GET "+path, upstream, realm)
			}
			get("/v2/a/blobs/1", 2, 1) // asked, challenged, asked with the token
			get("/v2/a/blobs/2", 3, 1) // the same directory: the token goes along at once
			get("/v2/b/blobs/1", 5, 2) // another scope, another token
			asked := r.auth.Last("/token")
			if q, _ := url.ParseQuery(asked.Query); q.Get("service") != "reg.example" || q.Get("scope") != "repository:b:pull" {
				t.Errorf("the realm was asked for %q, want service and scope of the challenge", asked.Query)
			}
			user, password, ok := (&http.Request{Header: asked.Header}).BasicAuth()
			if want := claim == "with credentials"; ok != want || want && (user != mirrorUser || password != mirrorPassword) {
				t.Errorf("the realm was given %q %q (%v), want the hub's credentials: %v", user, password, ok, want)
			}
			r.clock.Add(5*time.Minute - maxMargin)
			get("/v2/a/blobs/1", 7, 3) // what was left of the lifetime is not relied on
			r.quiet(t)
		})
	}
}

func TestOneTokenForAllWhoWait(t *testing.T) {
	r := newRegistry(t)
	release := make(chan struct{})
	give := r.answer
	r.answer = func(w http.ResponseWriter, text string) {
		<-release
		give(w, text)
	}
	tr := r.transport(t)
	const n = 20
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if status, _, err := ask(t, tr, "/v2/a/blobs/1"); status != http.StatusOK || err != nil {
				t.Errorf("GET = %d, %v; want 200", status, err)
			}
		})
	}
	r.o.Wait("/v2/a/blobs/1", n)
	close(release)
	wg.Wait()
	if got := r.auth.Total(); got != 1 {
		t.Errorf("the realm was asked %d times for %d requests, want once", got, n)
	}
}

func TestARefusedTokenIsReplacedOnceAndNoMore(t *testing.T) {
	r := newRegistry(t)
	tr := r.transport(t)
	if status, _, err := ask(t, tr, "/v2/a/blobs/1"); status != http.StatusOK || err != nil {
		t.Fatalf("GET = %d, %v; want 200", status, err)
	}
	revoke := func() {
		r.mu.Lock()
		clear(r.valid)
		r.mu.Unlock()
	}
	revoke()
	if status, _, err := ask(t, tr, "/v2/a/blobs/1"); status != http.StatusOK || err != nil {
		t.Errorf("GET after the token was revoked = %d, %v; want 200", status, err)
	}
	r.want(t, "after a revocation", 4, 2)
	give := r.answer
	r.answer = func(w http.ResponseWriter, text string) { revoke(); give(w, text) } // good for nothing
	revoke()
	if status, _, err := ask(t, tr, "/v2/a/blobs/1"); status != http.StatusUnauthorized || err != nil {
		t.Errorf("GET with tokens that are never taken = %d, %v; want 401", status, err)
	}
	r.want(t, "with tokens that are never taken", 6, 3)
}

func TestChallengesThatAreNotAnswered(t *testing.T) {
	plainHTTP := func(r *registry) { r.realm = strings.Replace(r.realm, "127.0.0.1", "localhost", 1) }
	opened := func(c *Config, _ *Hub) { c.AllowHosts = []string{"127.0.0.1", "::1"} }
	for _, row := range []struct {
		claim    string
		prepare  func(*registry)
		change   []func(*Config, *Hub)
		header   string // Authorization of the client
		upstream int
		realm    int
		logged   string
	}{
		{"the client's own credentials", nil, nil, "Basic Y2xpZW50Om93bg==", 1, 0, ""},
		{"a hub with a token of its own", nil, []func(*Config, *Hub){func(_ *Config, h *Hub) { h.Bearer = func() (string, error) { return "static", nil } }}, "", 1, 0, ""},
		{"credentials to another site", plainHTTP, []func(*Config, *Hub){opened, withBasic}, "", 1, 0, "not of the upstream's site"},
		{"a realm that leads inward", nil, []func(*Config, *Hub){func(c *Config, _ *Hub) { c.AllowHosts = nil }}, "", 1, 0, "loopback"},
		{"a realm that is no URL", func(r *registry) { r.realm = "::" }, nil, "", 1, 0, "no URL"},
		{"a realm with credentials in it", func(r *registry) { r.realm = "http://a:b@127.0.0.1/" }, nil, "", 1, 0, "no URL"},
		{"a realm of another scheme", func(r *registry) { r.realm = "file:///etc/passwd" }, nil, "", 1, 0, "URL"},
		{"a realm that redirects", func(r *registry) {
			r.answer = func(w http.ResponseWriter, _ string) {
				w.Header().Set("Location", r.auth.URL+"/token")
				w.WriteHeader(http.StatusFound)
			}
		}, nil, "", 1, 1, "302"},
		{"an answer that is no JSON", func(r *registry) {
			r.answer = func(w http.ResponseWriter, text string) { io.WriteString(w, text) }
		}, nil, "", 1, 1, "form"},
		{"a token with a line break", func(r *registry) {
			r.answer = func(w http.ResponseWriter, text string) {
				json.NewEncoder(w).Encode(map[string]any{"token": text + "\r\nX-Evil: 1"})
			}
		}, nil, "", 1, 1, "no token"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			r := newRegistry(t)
			if row.prepare != nil {
				row.prepare(r)
			}
			req := hubRequest(t.Context(), "GET", "/v2/a/blobs/1")
			if row.header != "" {
				req.Header.Set("Authorization", row.header)
			}
			status, _, err := do(r.transport(t, row.change...), req)
			if status != http.StatusUnauthorized || err != nil {
				t.Errorf("GET = %d, %v; want the upstream's 401", status, err)
			}
			r.want(t, "GET", row.upstream, row.realm)
			if row.logged != "" != (r.log.Len() > 0) || !strings.Contains(r.log.String(), row.logged) {
				t.Errorf("logged %q, want a line with %q", r.log, row.logged)
			}
			r.quiet(t)
		})
	}
}

func TestTokenOfARealmThatTheOperatorNamed(t *testing.T) {
	r := newRegistry(t)
	r.realm = strings.Replace(r.realm, "127.0.0.1", "localhost", 1)
	tr := r.transport(t, withBasic, func(c *Config, h *Hub) { c.AllowHosts, h.Realms = []string{"127.0.0.1", "::1"}, []string{"localhost"} })
	if status, _, err := ask(t, tr, "/v2/a/blobs/1"); status != http.StatusOK || err != nil {
		t.Errorf("GET = %d, %v; want 200\n%s", status, err, r.log)
	}
	if _, _, ok := (&http.Request{Header: r.auth.Last("/token").Header}).BasicAuth(); !ok {
		t.Error("the realm was not given the hub's credentials")
	}
}

func TestABodyIsNotSentTwice(t *testing.T) {
	r := newRegistry(t)
	tr := r.transport(t)
	put := func() int {
		req := hubRequest(t.Context(), "PUT", "/v2/a/blobs/1")
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader("layer")), 5
		status, _, err := do(tr, req)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	if got := put(); got != http.StatusUnauthorized {
		t.Errorf("PUT = %d, want 401: its body is gone", got)
	}
	r.want(t, "first PUT", 1, 1)
	if got := put(); got != http.StatusOK {
		t.Errorf("PUT again = %d, want 200 with the token that the first one earned", got)
	}
	r.want(t, "second PUT", 2, 1)
}

func TestHTTPSUpstreamWantsAnHTTPSRealm(t *testing.T) {
	up := &upstream{scheme: "https", host: "reg.example"}
	v := &via{up: up, hub: &hub{}}
	if u, err := v.realm(challenge{realm: "http://auth.example/token"}); err == nil {
		t.Errorf("realm of an https upstream = %s, want it refused", u)
	}
	u, err := v.realm(challenge{realm: "https://auth.example/token?a=b#c", service: "s", scope: "x:y z"})
	if err != nil || u.String() != "https://auth.example/token?a=b&scope=x%3Ay&scope=z&service=s" {
		t.Errorf("realm = %v, %v; want its query kept, and service and scopes added", u, err)
	}
}
