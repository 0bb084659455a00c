package web

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/mux"
)

// endpoint is one line of the contract: who may ask it, and what a proper request gets.
type endpoint struct {
	method, path, query, body string
	anyone                    bool
	status                    int
}

var endpoints = []endpoint{
	{method: "GET", path: "/-/healthz", anyone: true, status: 200},
	{method: "GET", path: "/-/readyz", anyone: true, status: 200},
	{method: "GET", path: "/-/version", anyone: true, status: 200},
	{method: "GET", path: "/-/clients", anyone: true, status: 200},
	{method: "GET", path: "/-/proxy.pac", anyone: true, status: 200},
	{method: "GET", path: "/-/ca.pem", anyone: true, status: 404},
	{method: "GET", path: "/-/explain", query: "?url=/up/a", anyone: true, status: 200},
	{method: "GET", path: "/-/entry", query: "?url=/up/a", anyone: true, status: 200},
	{method: "GET", path: "/-/metrics", status: 200},
	{method: "GET", path: "/-/status", status: 200},
	{method: "GET", path: "/-/modules", status: 200},
	{method: "GET", path: "/-/modules/{key}", status: 200},
	{method: "GET", path: "/-/mirror", status: 200},
	{method: "GET", path: "/-/events", status: 200},
	{method: "GET", path: "/-/trash", status: 200},
	{method: "GET", path: "/-/ensure/{id}", status: 404},
	{method: "POST", path: "/-/ensure", body: `{"urls":["/up/a"],"wait":true}`, status: 200},
	{method: "POST", path: "/-/purge", body: `{"path":"/up/a"}`, status: 200},
	{method: "POST", path: "/-/walk", body: `{"subtree":"/up/d"}`, status: 202},
	{method: "POST", path: "/-/trash", body: `{"path":"/up/a","restore":true}`, status: 200},
	{method: "POST", path: "/-/reload", status: 200},
}

var adminOnly = []endpoint{
	{method: "GET", path: "/-/pprof/", status: 200},
	{method: "GET", path: "/-/pprof/{name}", status: 200},
	{method: "GET", path: "/-/pprof/profile", status: 200},
	{method: "GET", path: "/-/pprof/trace", status: 200},
	{method: "GET", path: "/debug/pprof/", status: 200},
	{method: "GET", path: "/debug/pprof/{name}", status: 200},
	{method: "GET", path: "/debug/pprof/profile", status: 200},
	{method: "GET", path: "/debug/pprof/trace", status: 200},
}

func (e endpoint) target() string {
	return strings.NewReplacer("{id}", "0123", "{name}", "goroutine", "{key}", "legacy").Replace(e.path) + e.query
}

// leaving makes the request to an endpoint that answers for as long as its client stays one that ends.
func (e endpoint) leaving() []change {
	if strings.Contains(e.path, "/pprof/") || e.path == "/-/events" {
		return []change{gone}
	}
	return nil
}

// strangers are clients that may not operate or observe.
var strangers = map[string][]change{
	"a remote client":                        {remote},
	"a remote client that says localhost":    {remote, host("127.0.0.1:3142")},
	"a remote client that says it is local":  {remote, field("X-Forwarded-For", "127.0.0.1"), field("Forwarded", "for=127.0.0.1")},
	"a proxy on this machine":                {field("X-Forwarded-For", "127.0.0.1")},
	"a proxy on this machine, by Via alone":  {field("Via", "1.1 x")},
	"a trusted proxy that says it was local": {peer("10.0.0.1:1"), field("X-Forwarded-For", "127.0.0.1")},
	"a name made to resolve to us":           {host("evil.example:3142")},
	"a name of ours, by our outer address":   {host("deb.lab")},
	"IPv6, from elsewhere":                   {peer("[2001:db8::1]:1"), host("[::1]:3142")},
}

func TestEveryEndpointIsInTheTable(t *testing.T) {
	g := newRig(t)
	for name, router := range map[string]http.Handler{"clients' face": g.s.mux, "admin listener": g.s.admin} {
		known := map[string]bool{}
		for _, e := range endpoints {
			known[e.method+" "+e.path] = true
		}
		if router == g.s.admin {
			for _, e := range adminOnly {
				known[e.method+" "+e.path] = true
			}
		}
		err := router.(*mux.Router).Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
			path, err := route.GetPathTemplate()
			if err != nil {
				return err
			}
			methods, err := route.GetMethods()
			if err != nil {
				return err
			}
			if !known[methods[0]+" "+path] {
				t.Errorf("%s: %s %s is served, and no row here tells for whom", name, methods[0], path)
			}
			delete(known, methods[0]+" "+path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for left := range known {
			t.Errorf("%s: %s is not served", name, left)
		}
	}
}

func TestScopes(t *testing.T) {
	f, bin := twoSubtrees(), &fakeTrash{}
	g := newRig(t, withMirror(f), withTrash(bin))
	g.file("/a")
	check := func(h http.Handler, e endpoint) {
		t.Helper()
		w := do(t, h, e.method, e.target(), e.body, e.leaving()...)
		if w.Code != e.status && !strings.Contains(e.path, "/pprof/") || w.Code == http.StatusForbidden {
			t.Errorf("%s %s by a local client = %d, want %d\n%s", e.method, e.target(), w.Code, e.status, w.Body)
		}
		for who, changes := range strangers {
			before := g.asked() + len(f.asked()) + len(bin.restored)
			w := do(t, h, e.method, e.target(), e.body, changes...)
			switch {
			case e.anyone && w.Code != e.status:
				t.Errorf("%s %s by %s = %d, want %d", e.method, e.target(), who, w.Code, e.status)
			case !e.anyone:
				isProblem(t, e.method+" "+e.target()+" by "+who, w, http.StatusForbidden, "denied")
				if g.asked()+len(f.asked())+len(bin.restored) != before {
					t.Errorf("%s %s by %s was refused, and done", e.method, e.target(), who)
				}
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s %s by %s: %s = %q, want %q", e.method, e.target(), who, name, got, want)
				}
			}
		}
	}
	for _, e := range endpoints {
		check(g.s, e)
		check(g.s.Admin(), e)
	}
	for _, e := range adminOnly {
		check(g.s.Admin(), e)
		isProblem(t, e.target()+" on the clients' face", g.do(e.method, e.target(), ""), http.StatusNotFound, "no_endpoint")
	}
}

// gone makes a request one whose client has left.
func gone(r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	*r = *r.WithContext(ctx)
}

func TestOtherSitesPagesChangeNothing(t *testing.T) {
	f, bin := twoSubtrees(), &fakeTrash{}
	g := newRig(t, withMirror(f), withTrash(bin))
	g.file("/a")
	posts := 0
	for _, e := range endpoints {
		if e.method != "POST" {
			continue
		}
		posts++
		for _, row := range []struct {
			claim   string
			changes []change
			refused bool
		}{
			{"no browser", nil, false},
			{"a page of this very origin", []change{field("Origin", "http://localhost:3142")}, false},
			{"the same, by a browser that says so", []change{field("Origin", "http://localhost:3142"), field("Sec-Fetch-Site", "same-origin")}, false},
			{"typed by a person", []change{field("Sec-Fetch-Site", "none")}, false},
			{"another site", []change{field("Origin", "http://evil.example")}, true},
			{"another site, by a browser that says so", []change{field("Sec-Fetch-Site", "cross-site")}, true},
			{"another port of this machine", []change{field("Origin", "http://localhost:8080")}, true},
			{"the same site, another origin", []change{field("Sec-Fetch-Site", "same-site"), field("Origin", "http://localhost:8080")}, true},
			{"a page of no origin", []change{field("Origin", "null")}, true},
			{"a page of no origin, whatever else is said", []change{field("Origin", "null"), field("Sec-Fetch-Site", "same-origin")}, true},
		} {
			before := g.asked() + len(f.asked()) + len(bin.restored)
			g.tree.Remove(mustKey(t, g, "/up/a"), false)
			w := g.do(e.method, e.target(), e.body, row.changes...)
			if !row.refused {
				if w.Code != e.status {
					t.Errorf("%s: POST %s = %d, want %d\n%s", row.claim, e.path, w.Code, e.status, w.Body)
				}
				continue
			}
			isProblem(t, row.claim+": POST "+e.path, w, http.StatusForbidden, "cross_origin")
			if g.asked()+len(f.asked())+len(bin.restored) != before {
				t.Errorf("%s: POST %s was refused, and done", row.claim, e.path)
			}
		}
	}
	if posts != 5 {
		t.Errorf("%d endpoints change state, want the five of the contract", posts)
	}
}

func TestMethods(t *testing.T) {
	g := newRig(t)
	byPath := map[string]string{}
	for _, e := range endpoints {
		if byPath[e.path] != "" {
			byPath[e.path] += ", "
		}
		byPath[e.path] += map[string]string{"GET": "GET, HEAD", "POST": "POST"}[e.method]
	}
	for _, e := range endpoints {
		allowed := byPath[e.path]
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			w := g.do(method, e.target(), "{}", e.leaving()...)
			if strings.Contains(allowed, method) {
				if w.Code == http.StatusMethodNotAllowed {
					t.Errorf("%s %s = 405", method, e.path)
				}
				continue
			}
			isProblem(t, method+" "+e.path, w, http.StatusMethodNotAllowed, "method")
			if got := w.Header().Get("Allow"); got != allowed {
				t.Errorf("%s %s: Allow = %q, want %q", method, e.path, got, allowed)
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s %s: the refusal may be stored", method, e.path)
			}
		}
	}
}

func TestWhatIsNoEndpointIsAProblem(t *testing.T) {
	g := newRig(t)
	for _, h := range []http.Handler{g.s, g.s.Admin()} {
		for _, target := range []string{
			"/-/", "/-/nothing", "/-/healthz/", "/-//healthz", "/-/%68ealthz", "/-/../-/healthz", "/-/ensure/", "/-/ensure/a/b", "/-/ensure/a%2Fb/c", "/-/HEALTHZ",
			"/", "/up/a",
		} {
			w := do(t, h, "GET", target, "", remote)
			isProblem(t, target, w, http.StatusNotFound, "no_endpoint")
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: the refusal may be stored", target)
			}
		}
	}
}
