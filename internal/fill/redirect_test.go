package fill

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestRedirectsOutOfTheHubAreFollowed(t *testing.T) {
	g := newRig(t)
	out := origintest.New(t)
	body := origintest.Body(30, 1<<20)
	g.o.File("/a", origintest.Text(""), origintest.Redirect(302, out.URL+"/1?sig=secret"), cc("max-age=100"))
	out.File("/1", origintest.Text(""), origintest.Redirect(307, "/2"), cc("max-age=10"))
	out.File("/2", body, cc("max-age=1000"))
	r := g.get("/a", "Referer: http://secret.example/")
	r.want(t, "the end of the chain", 200, body.String(), Miss)
	for _, hop := range out.Requests() {
		if hop.Header.Get("Referer") != "" {
			t.Errorf("%s was told the Referer", hop.Target)
		}
	}
	g.idle()
	if got := mustMeta(g, "/a").URL; got != g.o.URL+"/a" {
		t.Errorf("stored under %s", got)
	}
	g.clock.Add(9 * time.Second)
	g.get("/a").want(t, "within the chain's smallest lifetime", 200, body.String(), Hit)
	g.clock.Add(2 * time.Second)
	g.get("/a").want(t, "after it", 200, body.String(), Revalidated)
	if g.o.Count("/a") != 2 || out.Last("/2").Header.Get("If-None-Match") == "" {
		t.Errorf("revalidation began elsewhere than at the first URL, or without the validator: %v", out.Last("/2").Header)
	}
}

func TestCredentialsStayWithTheHostTheyWereFor(t *testing.T) {
	g := newRig(t)
	out := origintest.New(t)
	g.o.File("/a", origintest.Text(""), origintest.Redirect(302, out.URL+"/b"))
	out.File("/b", origintest.Text("x"), cc("public, max-age=10"))
	for _, method := range []string{"GET", "HEAD"} {
		r := g.ask(t.Context(), method, "/a", "Authorization: Basic eDp5", "Cookie: a=b", "Referer: r")
		if r.status != 200 {
			t.Fatalf("%s = %d, %v", method, r.status, r.err)
		}
		for _, name := range []string{"Authorization", "Cookie", "Referer"} {
			if v := out.Last("/b").Header.Get(name); v != "" {
				t.Errorf("%s: the other host was told %s: %s", method, name, v)
			}
			if method == "GET" && g.o.Last("/a").Header.Get(name) == "" {
				t.Errorf("%s: the origin was not told %s", method, name)
			}
		}
	}
}

func TestRedirectsThatAreNotFollowed(t *testing.T) {
	out := origintest.New(t)
	out.File("/b", origintest.Text("x"))
	tests := []struct {
		name     string
		location func(g *rig) string
		policy   bool
	}{
		{"within the hub, by a path", func(*rig) string { return "/b" }, true},
		{"within the hub, by a URL", func(g *rig) string { return g.o.URL + "/b" }, true},
		{"a slash", func(*rig) string { return "/a/" }, true},
		{"out of it, where the hub says pass", func(*rig) string { return out.URL + "/b" }, false},
		{"to another scheme", func(*rig) string { return "ftp://x.example/b" }, true},
		{"nowhere", func(*rig) string { return "" }, true},
		{"garbage", func(*rig) string { return "http://[/" }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.set(func(p *Policy) { p.Follow = tt.policy })
			to := tt.location(g)
			g.o.File("/a", origintest.Text(""), origintest.Redirect(302, to))
			r := g.get("/a")
			if r.err != nil || r.status != 302 || r.header.Get("Location") != to || g.o.Total() != 1 {
				t.Errorf("%d to %q, %v after %d requests, want the 302 as it is", r.status, r.header.Get("Location"), r.err, g.o.Total())
			}
		})
	}
}

func TestRedirectsHaveAnEnd(t *testing.T) {
	g := newRig(t)
	out := origintest.New(t)
	g.o.File("/a", origintest.Text(""), origintest.Redirect(302, out.URL+"/loop"))
	out.File("/loop", origintest.Text(""), origintest.Redirect(302, "/loop"))
	g.set(func(p *Policy) { p.Tries = 1 })
	if r := g.get("/a"); !errors.Is(r.err, ErrUnreachable) || out.Total() != maxHops {
		t.Errorf("%d, %v after %d hops, want ErrUnreachable after %d", r.status, r.err, out.Total(), maxHops)
	}
}

func TestRedirectToARefusedAddress(t *testing.T) {
	g := newRig(t)
	for _, to := range []string{"http://127.0.0.2:1/", "http://169.254.169.254/latest", "http://[::1]/", "http://0.0.0.0:80/"} {
		g.o.File("/a", origintest.Text(""), origintest.Redirect(302, to))
		g.o.Forget()
		r := g.get("/a")
		if !refused(r.err) || g.o.Total() != 1 {
			t.Errorf("to %s: %d, %v after %d tries, want a refusal after one", to, r.status, r.err, g.o.Total())
		}
	}
}

func TestUnsafeMethodsFollowNothing(t *testing.T) {
	g := newRig(t)
	out := origintest.New(t)
	g.o.File("/a", origintest.Text(""), origintest.Redirect(307, out.URL+"/b"))
	if r := g.ask(t.Context(), http.MethodPost, "/a"); r.status != 307 || out.Total() != 0 {
		t.Errorf("POST = %d, %v, and %d requests elsewhere", r.status, r.err, out.Total())
	}
}

func TestRedirectsThatTheClientWantsToSee(t *testing.T) {
	g := newRig(t)
	out := origintest.New(t)
	g.o.File("/a", origintest.Text(""), origintest.Redirect(302, out.URL+"/b"), cc("max-age=600"))
	out.File("/b", origintest.Text("x"), cc("max-age=600"))
	g.set(func(p *Policy) { p.OnMiss = RedirectMiss })
	pass := func() *Answer {
		t.Helper()
		a, err := g.f.Get(t.Context(), &Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}, PassRedirects: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(a.Close)
		return a
	}
	for range 2 {
		if a := pass(); a.Status != 302 || a.Header.Get("Location") != out.URL+"/b" || a.Outcome.Cache != Miss {
			t.Errorf("%d to %q, %s; want the origin's own redirect, not kept", a.Status, a.Header.Get("Location"), a.Outcome.Cache)
		}
	}
	if out.Total() != 0 {
		t.Error("the redirect was followed")
	}
	// What another request made of it by following is another host's: shown as this one's own, it would be a script in its place.
	g.set(func(p *Policy) { p.OnMiss = StreamMiss })
	if r := g.get("/a"); r.status != 200 {
		t.Fatalf("followed: %d, %v", r.status, r.err)
	}
	g.idle()
	if a := pass(); a.Status != 302 || a.Header.Get("Location") != out.URL+"/b" {
		t.Errorf("once held: %d to %q, want the redirect still", a.Status, a.Header.Get("Location"))
	}
	g.get("/a").want(t, "followed again", 200, "x", Hit)
}
