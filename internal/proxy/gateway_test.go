package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"zcache/internal/origin/origintest"
)

func TestRouting(t *testing.T) {
	hubs := []Hub{
		{Name: "a", Mount: "/a/"}, {Name: "ab", Mount: "/a/b/"}, {Name: "tilde", Mount: "/~x/"},
		{Name: "deb", Hosts: []string{"deb.lab"}}, {Name: "top", Mount: "/"},
	}
	g := newRig(t, hubs...)
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", fresh)
		io.WriteString(w, r.RequestURI)
	}
	tests := []struct {
		name, target, host string
		status             int
		body               string // the origin's request line, or the error's word
	}{
		{"a mount", "/a/x", "", 200, "/a/x"},
		{"the longest mount wins", "/a/b/x", "", 200, "/ab/x"},
		{"by whole segments", "/a/bc", "", 200, "/a/bc"},
		{"the catch-all", "/other", "", 200, "/other"},
		{"its root", "/", "", 200, "/"},
		{"an escape in the mount that means the same", "/%61/x", "", 200, "/a/x"},
		{"an unreserved escape in the mount", "/%7Ex/y", "", 200, "/tilde/y"},
		{"an escaped slash is no slash", "/a%2Fb/x", "", 200, "/a%2Fb/x"},
		{"two slashes stay two", "/a//x", "", 200, "/a//x"},
		{"two slashes at the start are no host", "//a/x", "", 200, "//a/x"},
		{"a query", "/a/x?y=%20&z", "", 200, "/a/x?y=%20&z"},
		{"an empty query", "/a/x?", "", 200, "/a/x?"},
		{"a dot segment", "/a/../b", "", 400, "bad_path"},
		{"an escaped dot segment", "/a/%2e%2E/b", "", 400, "bad_path"},
		{"a dot segment before the mount", "/../a/x", "", 400, "bad_path"},
		{"a raw #", "/a/x#y", "", 400, "bad_target"},
		{"a host-bound hub", "/x", "deb.lab", 200, "/deb/x"},
		{"its host with port, capitals and a dot", "/x", "DEB.lab.:3142", 200, "/deb/x"},
		{"at that host no mount counts", "/a/x", "deb.lab", 200, "/deb/a/x"},
		{"an unknown host and a mount", "/a/x", "evil.example", 200, "/a/x"},
		{"an unknown host and the catch-all", "/x", "evil.example", 404, "host_unmapped"},
		{"an unknown host and the root", "/", "evil.example", 404, "host_unmapped"},
		{"no host and the catch-all", "/x", "-", 404, "host_unmapped"},
		{"localhost", "/x", "localhost:3142", 200, "/x"},
		{"an IPv6 literal", "/x", "[::1]:3142", 200, "/x"},
		{"the public URL", "/x", "cache.lab", 200, "/x"},
		{"operations", "/-/status", "evil.example", 200, "operations"},
		{"operations, spelled another way", "/%2D/status", "", 200, "operations"},
		{"operations at a hub's host", "/-/status", "deb.lab", 200, "operations"},
		{"URL form", "/files/https/x.example/y", "", 403, "proxy_refused"},
		{"URL form, spelled another way", "/%66iles/https/x.example/y", "", 403, "proxy_refused"},
		{"what only looks like it", "/files/gopher/x", "", 200, "/files/gopher/x"},
		{"absolute form at ourselves", "http://localhost:PORT/a/x", "", 200, "/a/x"},
		{"absolute form at our address", "http://ADDR/a/x?q", "", 200, "/a/x?q"},
		{"absolute form at a hub's host", "http://deb.lab/x", "", 200, "/deb/x"},
		{"absolute form at the public URL, without a path", "http://cache.lab", "", 200, "/"},
		{"absolute form at another host", "http://x.example/a/x", "", 403, "proxy_refused"},
		{"absolute form with another host in Host", "http://x.example/a/x", "deb.lab", 403, "proxy_refused"},
		{"absolute form at another port of ours", "http://127.0.0.1:1/a/x", "", 403, "proxy_refused"},
	}
	port := g.addr[strings.LastIndexByte(g.addr, ':')+1:]
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := strings.NewReplacer("PORT", port, "ADDR", g.addr).Replace(tt.target)
			g.o.Handle(tt.body, echo)
			if path, _, has := strings.Cut(tt.body, "?"); has {
				g.o.Handle(path, echo)
			}
			line, header := "GET "+target+" HTTP/1.1", []string{}
			switch tt.host {
			case "":
			case "-":
				line, header = "GET "+target+" HTTP/1.0", []string{"Host: "}
			default:
				header = []string{"Host: " + tt.host}
			}
			r := g.send(line, header...)
			got := r.body
			if tt.status >= 400 {
				got = r.word()
			}
			if r.StatusCode != tt.status || got != tt.body || r.broken != nil {
				t.Errorf("%s = %d %q, %v, want %d %q", line, r.StatusCode, got, r.broken, tt.status, tt.body)
			}
		})
	}
}

func TestMountWithoutItsSlash(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}, Hub{Name: "b", Mount: "/b/c/"})
	for target, want := range map[string]string{"/a": "/a/", "/a?x=1": "/a/?x=1", "/%61": "/a/", "/b/c": "/b/c/"} {
		if r := g.get(target); r.StatusCode != 301 || r.Header.Get("Location") != want {
			t.Errorf("GET %s = %d to %q, want 301 to %q", target, r.StatusCode, r.Header.Get("Location"), want)
		}
	}
	g.get("/").want(t, "no catch-all", 200, "front", "")
	if r := g.get("/nothing"); r.StatusCode != 404 || r.word() != "no_hub" {
		t.Errorf("GET /nothing = %d %s", r.StatusCode, r.word())
	}
	if g.o.Total() != 0 {
		t.Errorf("the origin got %d requests", g.o.Total())
	}
}

func TestMethodsThatAreRefused(t *testing.T) {
	g := newRig(t)
	for line, want := range map[string]string{
		"CONNECT x.example:443 HTTP/1.1": "403 proxy_refused", "TRACE / HTTP/1.1": "405 method",
	} {
		r := g.send(line, "X-Secret: s")
		if got := fmt.Sprint(r.StatusCode, " ", r.word()); got != want || strings.Contains(r.body, "X-Secret") {
			t.Errorf("%s = %s %q, want %s", line, got, r.body, want)
		}
		if r.StatusCode == 405 && r.Header.Get("Allow") == "" {
			t.Errorf("%s: 405 without Allow", line)
		}
	}
	if g.o.Total() != 0 {
		t.Errorf("the origin got %d requests", g.o.Total())
	}
}

func TestLoops(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("x"))
	others := strings.Repeat("zcache; id=other, ", 15)
	for _, tt := range []struct {
		name string
		loop []string
		want int
	}{
		{"nobody", nil, 200},
		{"others", []string{"CDN-Loop: somebody; id=self, elsewhere"}, 200},
		{"another zcache", []string{"CDN-Loop: zcache; id=other"}, 200},
		{"ourselves", []string{"CDN-Loop: zcache; id=self"}, 508},
		{"ourselves, quoted", []string{`CDN-Loop: zcache;id="self"`}, 508},
		{"ourselves, with more to say", []string{"CDN-Loop: zcache; x=1; ID=self; y=2"}, 508},
		{"ourselves among others", []string{"CDN-Loop: a, zcache; id=other", "CDN-Loop: b, ZCache; id=self, c"}, 508},
		{"16 of us", []string{"CDN-Loop: " + others + "zcache"}, 200},
		{"17 of us", []string{"CDN-Loop: " + others + "zcache, zcache"}, 508},
		{"Via alone decides nothing", []string{"Via: 1.1 zcache, 1.1 zcache"}, 200},
	} {
		if r := g.get("/a", tt.loop...); r.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, r.StatusCode, tt.want)
		}
	}
	if got := g.o.Last("/a").Header.Get("Cdn-Loop"); !strings.Contains(got, "zcache; id=self") && !strings.Contains(got, "zcache;id=self") {
		t.Errorf("the origin was told CDN-Loop: %s", got)
	}
}

func TestFieldsOfAnAnswer(t *testing.T) {
	g := newRig(t)
	body := strings.Repeat("x", 100)
	g.o.File("/a", origintest.Text(body), cc(fresh), origintest.Header("Connection", "X-Hop, X-Other"), origintest.Header("X-Hop", "1"),
		origintest.Header("X-Other", "1"), origintest.Header("Keep-Alive", "timeout=5"), origintest.Header("Proxy-Authenticate", "Basic"),
		origintest.Header("Upgrade", "h2c"), origintest.Header("X-Request-Id", "the origin's"), origintest.Header("X-Stays", "1"),
		origintest.Header("Via", "1.0 fred"), origintest.Header("Cache-Status", "inner; hit"), origintest.Header("X-Cache", "HIT from inner"))
	seen := map[string]bool{}
	for _, want := range []string{"MISS", "HIT", "HIT"} {
		r := g.get("/a")
		r.want(t, want, 200, body, want)
		for _, name := range []string{"X-Hop", "X-Other", "Keep-Alive", "Proxy-Authenticate", "Upgrade"} {
			if v := r.Header.Values(name); len(v) > 0 {
				t.Errorf("%s: %s: %v was passed on", want, name, v)
			}
		}
		if got := fmt.Sprint(r.Header.Values("Via")); got != "[1.0 fred 1.1 zcache]" {
			t.Errorf("%s: Via %s", want, got)
		}
		if cs := r.Header.Values("Cache-Status"); len(cs) != 2 || cs[0] != "inner; hit" || !strings.HasPrefix(cs[1], "zcache; ") {
			t.Errorf("%s: Cache-Status %q", want, cs)
		}
		id := r.Header.Values("X-Request-Id")
		if len(id) != 1 || len(id[0]) != 16 || seen[id[0]] {
			t.Errorf("%s: X-Request-ID %q, want a new one of our own", want, id)
		}
		seen[id[0]] = true
		if r.Header.Get("Age") == "" || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("X-Stays") != "1" {
			t.Errorf("%s: %v", want, r.Header)
		}
		g.idle()
	}
}

func TestHeaderOfTheRequestCannotChangeTheAnswer(t *testing.T) {
	g := newRig(t)
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", fresh)
		for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override"} {
			io.WriteString(w, r.Header.Get(name))
		}
		if r.Host != g.o.Addr {
			io.WriteString(w, r.Host)
		}
		io.WriteString(w, "clean")
	})
	g.get("/a", "Host: evil.example", "X-Forwarded-Host: evil", "X-Forwarded-Proto: evil", "Forwarded: host=evil", "X-Original-URL: /evil",
		"X-Rewrite-URL: /evil", "X-HTTP-Method-Override: PUT").want(t, "the one who tries", 200, "clean", "MISS")
	g.get("/a").want(t, "the next", 200, "clean", "HIT")
}

func TestActiveContentIsSandboxed(t *testing.T) {
	g := newRig(t, Hub{Name: "top", Mount: "/"}, Hub{Name: "live", Mount: "/live/", Active: true})
	for _, tt := range []struct {
		kind []string
		want bool
	}{
		{[]string{"text/html"}, true}, {[]string{"TEXT/HTML; charset=utf-8"}, true}, {[]string{"image/svg+xml"}, true},
		{[]string{"application/xhtml+xml"}, true}, {[]string{"text/xml"}, true}, {[]string{"multipart/x-mixed-replace; boundary=x"}, true},
		{[]string{"text/plain"}, false}, {[]string{"application/gzip"}, false},
		{[]string{"text/plain, text/html"}, true}, {[]string{"text/plain", "text/html"}, true},
	} {
		opts := []origintest.Option{cc(fresh), origintest.AddHeader("Content-Security-Policy", "default-src 'none'")}
		for i, k := range tt.kind {
			if i == 0 {
				opts = append(opts, origintest.Header("Content-Type", k))
				continue
			}
			opts = append(opts, origintest.AddHeader("Content-Type", k))
		}
		path := fmt.Sprintf("/%x", fmt.Sprint(tt.kind))
		g.o.File(path, origintest.Text("<script>"), opts...)
		g.o.File("/live"+path, origintest.Text("<script>"), opts...)
		for _, when := range []string{"MISS", "HIT"} {
			r := g.get(path)
			g.idle()
			csp := r.Header.Values("Content-Security-Policy")
			if got := len(csp) == 2 && csp[1] == "sandbox"; got != tt.want || csp[0] != "default-src 'none'" {
				t.Errorf("%v as %s: Content-Security-Policy %q, sandboxed should be %v", tt.kind, when, csp, tt.want)
			}
			if r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v as %s: no nosniff", tt.kind, when)
			}
		}
		if csp := g.get("/live" + path).Header.Values("Content-Security-Policy"); len(csp) != 1 {
			t.Errorf("%v of an active hub: %q", tt.kind, csp)
		}
	}
	g.o.File("/none", origintest.Text("<html>"), origintest.Header("Content-Type", "x"))
	g.o.Handle("/none", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<html>")
	})
	if r := g.get("/none"); len(r.Header.Values("Content-Type")) != 0 {
		t.Errorf("a type was made up: %q", r.Header.Values("Content-Type"))
	}
}

func TestRedirectsInTheClientsURLSpace(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/m/"}, Hub{Name: "h", Hosts: []string{"h.lab"}}, Hub{Name: "top", Mount: "/"})
	here := g.o.URL
	for _, tt := range []struct {
		name, ask, host, path string // path: what the origin is asked
		location, want        string
		status                int
	}{
		{"a slash at a mount", "/m/d", "", "/a/d", "/a/d/", "/m/d/", 301},
		{"a URL at a mount", "/m/d", "", "/a/d", here + "/a/e?x=1#f", "/m/e?x=1#f", 302},
		{"at a host", "/d", "h.lab", "/h/d", here + "/h/e", "/e", 307},
		{"at the root", "/d", "", "/d", "/e", "/e", 308},
		{"a relative path stays", "/m/d/x", "", "/a/d/x", "../e?x", "../e?x", 302},
		{"a path that begins with two slashes is no host", "/d", "h.lab", "/h/d", here + "/h//evil.example/", "/.//evil.example/", 302},
		{"escapes stay", "/m/d", "", "/a/d", "/a/%2Fx%20y", "/m/%2Fx%20y", 302},
		{"above the upstream it is the upstream's own URL", "/m/d", "", "/a/d", "/elsewhere", here + "/elsewhere", 302},
		{"201 too", "/m/d", "", "/a/d", "/a/new", "/m/new", 201},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "above the upstream it is the upstream's own URL" {
				g.mu.Lock()
				g.policy.Follow = false
				g.mu.Unlock()
				defer func() { g.mu.Lock(); g.policy.Follow = true; g.mu.Unlock() }()
			}
			g.o.File(tt.path, origintest.Text(""), origintest.Redirect(tt.status, tt.location), cc("no-store"))
			header := []string{}
			if tt.host != "" {
				header = append(header, "Host: "+tt.host)
			}
			r := g.get(tt.ask, header...)
			if r.StatusCode != tt.status || r.Header.Get("Location") != tt.want {
				t.Errorf("GET %s, Location %s = %d to %q, want %q", tt.ask, tt.location, r.StatusCode, r.Header.Get("Location"), tt.want)
			}
		})
	}
	g.o.File("/evil", origintest.Text(""), origintest.Redirect(302, "http://127.0.0.1:1/"))
	if r := g.get("/evil"); r.StatusCode != 403 || r.word() != "destination_refused" {
		t.Errorf("a redirect to this machine = %d %s", r.StatusCode, r.word())
	}
}

func TestFailures(t *testing.T) {
	g := newRig(t)
	g.o.File("/page.tar.gz", origintest.Text("<html>"))
	g.o.File("/abort", origintest.Text(""), origintest.Abort())
	check := func(what, line string, status int, word string, header ...string) {
		t.Helper()
		r := g.send(line, header...)
		if r.StatusCode != status || r.word() != word {
			t.Errorf("%s = %d %s, want %d %s", what, r.StatusCode, r.word(), status, word)
		}
		for _, name := range []string{"X-Cache", "Cache-Status", "Via", "X-Request-Id", "X-Content-Type-Options"} {
			if r.Header.Get(name) == "" {
				t.Errorf("%s: no %s", what, name)
			}
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", what)
		}
	}
	check("a page for an archive", "GET /page.tar.gz HTTP/1.1", 502, "wrong_content")
	check("only-if-cached", "GET /b HTTP/1.1", 504, "only_if_cached", "Cache-Control: only-if-cached")
	check("an origin that aborts", "GET /abort HTTP/1.1", 504, "upstream_unreachable")
	check("a bad path", "GET /a/../b HTTP/1.1", 400, "bad_path")
	g.o.Stop()
	check("an origin that is down", "GET /c HTTP/1.1", 504, "upstream_unreachable")
	if r := g.get("/c"); !strings.Contains(r.Header.Get("Proxy-Status"), "zcache; error=") {
		t.Errorf("Proxy-Status %q", r.Header.Get("Proxy-Status"))
	}
	if r := g.send("HEAD /c HTTP/1.1"); r.StatusCode != 504 || r.body != "" {
		t.Errorf("HEAD = %d %q", r.StatusCode, r.body)
	}
	g.mu.Lock()
	g.policy.Offline = true
	g.mu.Unlock()
	check("off line", "GET /d HTTP/1.1", 504, "offline")
	g.f.Close()
	g.mu.Lock()
	g.policy.Offline = false
	g.mu.Unlock()
	check("stopping", "GET /d HTTP/1.1", 503, "stopping")
}

func TestLogAndMetrics(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/", Module: "legacy", Rollout: "legacy-only"})
	g.o.File("/a/x", origintest.Text("four"), cc(fresh+", public"))
	port := g.addr[strings.LastIndexByte(g.addr, ':')+1:]
	secret := "c2VjcmV0OnNlY3JldA=="
	for range 2 {
		g.get("http://user:hunter2@localhost:"+port+"/a/x?token=hunter3", "Authorization: Basic "+secret, "Cookie: s="+secret).want(t, "it", 200, "four", "")
		g.idle()
	}
	for i := range 30 {
		g.send(fmt.Sprintf("BREW%d /a/%d HTTP/1.1", i, i), fmt.Sprintf("Host: h%d.example", i))
		g.get(fmt.Sprintf("/nowhere/%d", i))
	}
	var logged []map[string]any // of the two; a line is written when the answer is through, so others may come between
	for _, l := range g.logs.requests() {
		if l["path"] == "/a/x" {
			logged = append(logged, l)
		}
	}
	if len(logged) != 2 {
		t.Fatalf("%d lines for two requests", len(logged))
	}
	if logged[0]["cache_hit"] == true {
		slices.Reverse(logged)
	}
	for _, name := range []string{"action", "hub", "module_key", "rollout_flag", "cache_hit", "upstream_status", "method", "domain", "path", "status",
		"bytes_sent", "x_cache", "elapsed_ms", "request_id", "client", "upstream"} {
		if _, ok := logged[0][name]; !ok {
			t.Errorf("the log line has no %s: %v", name, logged[0])
		}
	}
	if l := logged[1]; l["cache_hit"] != true || l["hub"] != "a" || l["path"] != "/a/x" || l["bytes_sent"] != 4.0 || l["x_cache"] != "HIT" {
		t.Errorf("the hit's line is %v", l)
	}
	all := g.logs.String()
	for _, s := range []string{secret, "hunter2", "hunter3"} {
		if strings.Contains(all, s) {
			t.Errorf("the log holds %s", s)
		}
	}
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if len(f.GetMetric()) > 8 {
			t.Errorf("%s has %d series after requests for many paths, hosts and methods", f.GetName(), len(f.GetMetric()))
		}
	}
}

func TestResolve(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}, Hub{Name: "h", Hosts: []string{"h.lab"}}, Hub{Name: "top", Mount: "/"})
	for _, tt := range []struct{ raw, want string }{
		{"/a/x", "/a/x"}, {"/%61/x?q", "/a/x?q"}, {"//h.lab/x", "/h/x"}, {"http://h.lab/x", "/h/x"}, {g.o.URL + "/a/x", "/a/x"},
		{"http://cache.lab/y", "/top/y"}, {"http://self.lab:3142/y", "/top/y"},
		{"http://x.example/y", ""}, {"http://self.lab:1/y", ""}, {"ftp://self.lab:3142/y", ""}, {"/a", "/a/"}, {"/a/../b", ""}, {"nonsense", ""}, {"/a#b", ""},
	} {
		key, err := g.g.Resolve(tt.raw, "self.lab:3142")
		if got := key.String(); err == nil && got != tt.want || err != nil && tt.want != "" {
			t.Errorf("Resolve(%q) = %s, %v, want %s", tt.raw, got, err, tt.want)
		}
	}
	if _, err := g.g.Resolve("http://x.example/y", "self"); !errors.Is(err, errNoHub) {
		t.Errorf("Resolve of a foreign URL = %v", err)
	}
	for raw, want := range map[string]string{"http://localhost:3142/y": "/top/y", "http://[::1]:3142/a/x": "/a/x", "http://localhost:1/y": ""} {
		key, err := g.g.Resolve(raw, "127.0.0.1:3142")
		if want == "" && err == nil || want != "" && (err != nil || key.String() != want) {
			t.Errorf("Resolve(%q) at 127.0.0.1:3142 = %s, %v, want %q", raw, key, err, want)
		}
	}
}

func TestInterimResponses(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("x"), origintest.EarlyHints(http.Header{"Link": {"</s.css>"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}}))
	for _, tt := range []struct {
		proto string
		want  bool
	}{{"HTTP/1.1", true}, {"HTTP/1.0", false}} {
		c := g.dial()
		fmt.Fprintf(c, "GET /a?%s %s\r\nHost: localhost\r\nConnection: close\r\n\r\n", tt.proto, tt.proto)
		in := bufio.NewReader(c)
		first, err := in.Peek(len("HTTP/1.1 103"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.HasSuffix(string(first), "103"); got != tt.want {
			t.Errorf("%s: the answer begins with %s", tt.proto, first)
		}
		if tt.want {
			hints := readReply(t, in, "GET")
			if hints.Header.Get("Link") != "</s.css>" || hints.Header.Get("X-Hop") != "" || hints.Header.Get("X-Request-Id") != "" {
				t.Errorf("103 with %v", hints.Header)
			}
		}
		r := readReply(t, in, "GET")
		r.want(t, tt.proto, 200, "x", "MISS")
		if r.Header.Get("Link") != "" || r.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: the final answer has %v", tt.proto, r.Header)
		}
		c.Close()
	}
}
