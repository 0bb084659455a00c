package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestALoopIs508(t *testing.T) {
	self := freeAddr(t)
	start(t, "--listen", self, "--upstream", "up=http://"+self+"/up")
	get(t, "http://"+self+"/up/x").is(t, "zcache before itself", http.StatusLoopDetected, "")

	a, b := freeAddr(t), freeAddr(t)
	start(t, "--listen", a, "--upstream", "up=http://"+b+"/up")
	start(t, "--listen", b, "--upstream", "up=http://"+a+"/up")
	get(t, "http://"+a+"/up/x").is(t, "two before each other", http.StatusLoopDetected, "")
}

func TestOnlyOurOwnMarkIsALoop(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "x", "Cache-Control: no-store") })
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/a", "Via: 1.1 proxy.example, 1.1 zcache", "CDN-Loop: cdn.example, zcache; id=other").is(t, "another's marks", 200, "")
	r := o.asked("/a")
	if via := strings.Join(r.Header["Via"], ", "); !strings.HasPrefix(via, "1.1 proxy.example, 1.1 zcache") || !strings.HasSuffix(via, "1.1 zcache") || strings.Count(via, "zcache") != 2 {
		t.Errorf("Via toward the origin = %q, want ours appended", via)
	}
	loop := strings.Join(r.Header["Cdn-Loop"], ", ")
	if !strings.Contains(loop, "cdn.example") || strings.Count(loop, "zcache; id=")+strings.Count(loop, "zcache;id=") != 2 {
		t.Errorf("CDN-Loop toward the origin = %q, want ours appended with an id", loop)
	}
	// The very marks that went out must stop the request when they come back.
	mark := loop[strings.LastIndex(loop, "zcache"):]
	get(t, z.url+"/up/b", "CDN-Loop: "+mark).is(t, "our own id", http.StatusLoopDetected, "")
	get(t, z.url+"/up/b", "CDN-Loop: "+strings.Repeat("zcache; id=x, ", 16)+"zcache; id=x").is(t, "17 members", http.StatusLoopDetected, "")
	if got := o.count("/b"); got != 0 {
		t.Errorf("the origin was asked %d times in a loop", got)
	}
	a := get(t, z.url+"/up/c")
	if via := a.Header.Get("Via"); !strings.Contains(via, "1.1 zcache") {
		t.Errorf("Via toward the client = %q, want 1.1 zcache", via)
	}
	if a.Header.Get("X-Request-ID") == "" {
		t.Error("no X-Request-ID in the answer")
	}
}

// hops are fields for one connection only, and one that Connection makes such.
var hops = []string{"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "X-Listed"}

func TestFieldsOfOneHopStayOnIt(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		body := "x"
		head := "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nX-End: yes\r\nConnection: X-Listed, keep-alive\r\nX-Listed: hop\r\nKeep-Alive: timeout=hop\r\n" +
			"Proxy-Authenticate: Basic realm=hop\r\nProxy-Connection: hop\r\nTE: hop\r\nUpgrade: hop\r\nTrailer: X-Hop\r\n"
		if strings.HasSuffix(r.Target, "chunked") {
			w.send(head + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Hop: hop\r\n\r\n")
			return
		}
		w.send(head + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body))
	})
	z := start(t, "--upstream", "up="+o.url)
	for _, path := range []string{"/plain", "/chunked"} {
		for _, verdict := range []string{"MISS", "HIT", "after a restart"} {
			if verdict == "after a restart" {
				z.stop()
				z.again()
			}
			a := raw(t, z.addr, "GET /up"+path+" HTTP/1.1\r\nHost: "+z.addr+"\r\nConnection: close, X-Listed\r\nX-Listed: hop\r\nKeep-Alive: hop\r\nProxy-Connection: hop\r\n"+
				"TE: trailers, hop\r\nTrailer: X-Hop\r\nUpgrade: hop\r\nProxy-Authorization: hop\r\nX-End: yes\r\n\r\n")
			what := path + ", " + verdict
			a.whole(t, what, []byte("x"))
			if verdict != "after a restart" {
				a.is(t, what, 200, verdict)
			}
			head, _, _ := strings.Cut(a.Raw, "\r\n\r\n")
			if strings.Contains(head, "hop") {
				t.Errorf("%s: a field of one hop was replayed:\n%s", what, head)
			}
			if a.Header.Get("X-End") != "yes" {
				t.Errorf("%s: a field from end to end is missing:\n%s", what, head)
			}
		}
		r := o.asked(path)
		if strings.Contains(r.Head, "hop") || r.Header.Get("X-End") != "yes" {
			t.Errorf("%s: the origin was sent\n%s\nwant no field of one hop, and X-End", path, r.Head)
		}
		for name := range r.Header {
			if slices.ContainsFunc(hops, func(h string) bool { return strings.EqualFold(h, name) }) {
				t.Errorf("%s: the origin was sent %s: %s", path, name, r.Header.Get(name))
			}
		}
	}
	if got := o.count(""); got != 2 {
		t.Errorf("the origin was asked %d times, want twice", got)
	}
}

func TestRedirectsUnderTheHubAreRewrittenAndOthersFollowed(t *testing.T) {
	elsewhere := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "from elsewhere", "Cache-Control: max-age=600") })
	var o *origin
	o = startOrigin(t, func(w *wire, r *request) {
		to := map[string]string{
			"/pub/same":     "/pub/file",
			"/pub/absolute": o.url + "/pub/file",
			"/pub/relative": "file",
			"/pub/dir":      "/pub/dir/",
			"/pub/query":    "/pub/file?x=1",
			"/pub/above":    "/private/file",
			"/pub/other":    elsewhere.url + "/x",
			"/pub/chain":    "/hop/1",
		}[r.Target]
		if rest, ok := strings.CutPrefix(r.Target, "/hop/"); ok {
			to = "/hop/" + rest + "1"
		}
		if to != "" {
			w.reply(r, 302, "moved", "Location: "+to, "Cache-Control: max-age=600")
			return
		}
		w.reply(r, 200, "file", "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url+"/pub", "--proxy-allow-host", elsewhere.addr, "--proxy-allow-host", o.addr)
	for _, row := range []struct{ path, location string }{
		{"/same", "/up/file"}, {"/absolute", "/up/file"}, {"/relative", "/up/file"}, {"/dir", "/up/dir/"}, {"/query", "/up/file?x=1"},
	} {
		for _, again := range []string{"first", "second"} {
			a := get(t, z.url+"/up"+row.path).is(t, row.path+", "+again, 302, "")
			location := strings.TrimPrefix(a.Header.Get("Location"), z.url)
			if location != row.location && !(row.path == "/relative" && location == "file") {
				t.Errorf("%s, %s: Location %q, want %s", row.path, again, a.Header.Get("Location"), row.location)
			}
		}
	}
	// Followed inside, and kept under the URL that the client asked for.
	get(t, z.url+"/up/other").whole(t, "another host", []byte("from elsewhere")).is(t, "another host", 200, "MISS")
	get(t, z.url+"/up/other").whole(t, "another host, again", []byte("from elsewhere")).is(t, "another host, again", 200, "HIT")
	z.published("up", "other", int64(len("from elsewhere")))
	if got := elsewhere.count("/x"); got != 1 {
		t.Errorf("the other host was asked %d times, want once", got)
	}
	if a := get(t, z.url+"/up/chain"); a.Status < 500 {
		t.Errorf("a chain without end = %d, want an error of the gateway", a.Status)
	}
	if n := len(o.requests("")); n > 40 {
		t.Errorf("the origin was asked %d times, want a chain to end after 10", n)
	}
}

func TestARedirectOpensNoPrivateAddressAndCarriesNoCredentials(t *testing.T) {
	var locations map[string]string
	secret := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "internal secret", "Cache-Control: max-age=600") })
	open := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "open", "Cache-Control: max-age=600") })
	port := secret.addr[strings.LastIndexByte(secret.addr, ':'):]
	locations = map[string]string{
		"/loopback":  secret.url + "/x",
		"/localhost": "http://localhost" + port + "/x",
		"/mapped":    "http://[::ffff:127.0.0.1]" + port + "/x",
		"/short":     "http://127.1" + port + "/x",
		"/decimal":   "http://2130706433" + port + "/x",
		"/zero":      "http://0.0.0.0" + port + "/x",
		"/v6":        "http://[::1]" + port + "/x",
		"/any6":      "http://[::]" + port + "/x",
		"/metadata":  "http://169.254.169.254/latest/meta-data/",
		"/private":   "http://10.0.0.1/x",
		"/file":      "file:///etc/passwd",
		"/gopher":    "gopher://127.0.0.1" + port + "/x",
		"/userinfo":  "http://" + open.addr + "@127.0.0.1" + port + "/x",
		"/open":      open.url + "/x",
	}
	o := startOrigin(t, func(w *wire, r *request) {
		w.reply(r, 302, "moved", "Location: "+locations[r.Target], "Cache-Control: max-age=600")
	})
	z := start(t, settings(t, fmt.Sprintf(`
proxy-allow-host = [%q]
[[hub]]
name = "up"
upstream = %q
basic = "user:geheim"
`, open.addr, o.url)))
	for path := range locations {
		if path == "/open" {
			continue
		}
		a := get(t, z.url+"/up"+path)
		if passed := a.Status == 302 && (path == "/file" || path == "/gopher"); passed {
			continue // handed to the client as it is: nothing was opened
		}
		if a.Status != http.StatusForbidden && a.Status < 500 || strings.Contains(string(a.Body), "secret") {
			t.Errorf("redirect to %s = %d %s, want a refusal", locations[path], a.Status, clip(a.Body))
		}
		z.noEntry("up", path)
	}
	get(t, z.url+"/up/loopback").is(t, "redirect to loopback", http.StatusForbidden, "")
	if got := secret.requests(""); len(got) != 0 {
		t.Errorf("the internal service was asked:\n%s", got[0].Head)
	}
	get(t, z.url+"/up/open", "Authorization: Basic Y2xpZW50OnNlY3JldA==", "Cookie: client=secret").is(t, "redirect to an allowed host", 200, "")
	for _, r := range open.requests("") {
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
			t.Errorf("credentials crossed to another host:\n%s", r.Head)
		}
	}
	want := "Basic dXNlcjpnZWhlaW0="
	for _, r := range o.requests("") {
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s: the hub's own origin got Authorization %q, want the hub's", r.Target, got)
		}
	}
	if strings.Contains(z.log(), "geheim") {
		t.Error("the log shows the hub's password")
	}
}
