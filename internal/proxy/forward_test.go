package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

func TestFormsOfAURL(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}, Hub{Name: "top", Mount: "/"}, Hub{Name: "deb", Hosts: []string{"deb.lab"}}).forward()
	echo := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", fresh)
		io.WriteString(w, r.Host+r.RequestURI)
	}
	for _, path := range []string{"/x", "/", "/a/x", "/a%2Fb/x", "//x", "/files/gopher/x", "/download/x", "/deb/x"} {
		g.out.Handle(path, echo)
		g.o.Handle(path, echo)
	}
	for _, tt := range []struct {
		claim, target string
		status        int
		want          string // host and request line at an origin, or the error's word
	}{
		{"proxy form", "http://OUT/x", 200, "OUT/x"},
		{"proxy form without a path", "http://OUT", 200, "OUT/"},
		{"proxy form, a query alone", "http://OUT?q", 200, "OUT/?q"},
		{"proxy form keeps escapes and slashes", "http://OUT/a%2Fb/x?y=%20", 200, "OUT/a%2Fb/x?y=%20"},
		{"two slashes begin a path, too", "http://OUT//x", 200, "OUT//x"},
		{"capitals in the scheme", "HTTP://OUT/x", 200, "OUT/x"},
		{"a URL under a hub's upstream is the hub's", "http://ORIGIN/a/x", 200, "ORIGIN/a/x"},
		{"another scheme", "gopher://OUT/x", 400, "bad_scheme"},
		{"no host", "http:///x", 400, "bad_target"},
		{"a port beyond ports", "http://127.0.0.1:65536/x", 400, "bad_path"},
		{"a dot segment", "http://OUT/../x", 400, "bad_path"},
		{"a raw #", "http://OUT/x#y", 400, "bad_target"},
		{"https by a word", "http://HTTPS///127.0.0.9:9/x", 403, "destination_refused"},
		{"URL form", "/files/http/OUT/x", 200, "OUT/x"},
		{"URL form with a query of the URL", "/files/http/OUT/x?format=json", 200, "OUT/x?format=json"},
		{"URL form, spelled another way", "/%66iles/http/OUT/x", 200, "OUT/x"},
		{"URL form, its colon escaped", "/files/http/127.0.0.1%3AOUTPORT/x", 200, "OUT/x"},
		{"URL form under a hub's upstream", "/files/http/ORIGIN/a/x", 200, "ORIGIN/a/x"},
		{"the other URL form", "/download/http://OUT/x", 200, "OUT/x"},
		{"the other one, slashes folded", "/download/http:/OUT/x?q", 200, "OUT/x?q"},
		{"its scheme in capitals", "/download/HTTP://OUT/x", 200, "OUT/x"},
		{"a third slash is no host", "/download/http:///x", 400, "bad_path"},
		{"another scheme in URL form", "/download/gopher://OUT/x", 400, "bad_scheme"},
		{"file in URL form", "/download/file:///etc/passwd", 400, "bad_scheme"},
		{"an empty authority", "/files/http//x", 400, "bad_path"},
		{"no scheme of ours is a hub's path", "/files/gopher/x", 200, "ORIGIN/files/gopher/x"},
		{"no URL is a hub's path", "/download/x", 200, "ORIGIN/download/x"},
		{"a hub's host in proxy form is the gateway", "http://deb.lab/x", 200, "ORIGIN/deb/x"},
		{"ourselves in proxy form", "http://ADDR/a/x", 200, "ORIGIN/a/x"},
		{"ourselves by name", "http://localhost.:PORT/a/x", 200, "ORIGIN/a/x"},
		{"our own listener by another address", "http://0.0.0.0:PORT/x", 403, "destination_refused"},
		{"our own listener, mapped", "http://[::ffff:127.0.0.1]:PORT/x", 403, "destination_refused"},
		{"our own listener in URL form", "/files/http/ADDR/x", 403, "destination_refused"},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			sub := strings.NewReplacer("OUTPORT", port(g.out.Addr), "OUT", g.out.Addr, "ORIGIN", g.o.Addr, "ADDR", g.addr, "PORT", port(g.addr))
			line := "GET " + sub.Replace(tt.target) + " HTTP/1.1"
			r := g.send(line)
			got := r.body
			if tt.status >= 400 {
				got = r.word()
			}
			if want := sub.Replace(tt.want); r.StatusCode != tt.status || got != want {
				t.Errorf("%s = %d %q, want %d %q", line, r.StatusCode, got, tt.status, want)
			}
		})
	}
}

func port(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

func TestOneEntryWhicheverWayItIsAsked(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}).forward()
	g.out.File("/d/x", origintest.Text("out"), cc(fresh))
	g.o.File("/a/d/x", origintest.Text("hub"), cc(fresh))
	for _, tt := range []struct {
		body, disk string
		ways       []string
	}{
		{"out", filepath.Join("files", "http", g.out.Addr, "d", "x"),
			[]string{"http://" + g.out.Addr + "/d/x", "/files/http/" + g.out.Addr + "/d/x", "/download/http://" + g.out.Addr + "/d/x", "/download/http:/" + g.out.Addr + "/%64/x"}},
		{"hub", filepath.Join("a", "d", "x"),
			[]string{"/files/http/" + g.o.Addr + "/a/d/x", "/a/d/x", "http://" + g.o.Addr + "/a/d/x", "/download/http:/" + g.o.Addr + "/a/d/x"}},
	} {
		word := "MISS"
		for _, way := range tt.ways {
			g.get(way).want(t, way, 200, tt.body, word)
			g.idle()
			word = "HIT"
		}
		if b, err := os.ReadFile(filepath.Join(g.tree.Dir, tt.disk)); err != nil || string(b) != tt.body {
			t.Errorf("on disk at %s: %q, %v", tt.disk, b, err)
		}
	}
	if n := g.out.Total() + g.o.Total(); n != 2 {
		t.Errorf("the origins got %d requests, want one each", n)
	}
	if _, err := g.g.Resolve("http://"+g.out.Addr+"/d/x", g.addr); err != nil {
		t.Errorf("Resolve of the URL: %v", err)
	}
	for _, raw := range []string{"/files/http/" + g.out.Addr + "/d/x", "/download/http://" + g.out.Addr + "/d/x"} {
		if k, err := g.g.Resolve(raw, g.addr); err != nil || k.Hub() != cache.FilesHub || k.Path() != "/http/"+g.out.Addr+"/d/x" {
			t.Errorf("Resolve(%s) = %s, %v", raw, k, err)
		}
	}
}

func TestHelpOfURLForm(t *testing.T) {
	g := newRig(t)
	r := g.get("/download/")
	if r.StatusCode != 200 || !strings.Contains(r.body, "/download/https://host.example/") || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("GET /download/ = %d %q", r.StatusCode, r.body)
	}
	if g.o.Total() != 0 {
		t.Error("a hub at / was asked for it")
	}
}

func TestWhatAProxyLeavesAsItCame(t *testing.T) {
	g := newRig(t).forward()
	elsewhere := "http://elsewhere.example/y"
	g.out.File("/page", origintest.Text("<html>"), cc(fresh), origintest.Header("Content-Type", "text/html"))
	g.out.File("/cookie", origintest.Text("x"), origintest.Header("Set-Cookie", "a=b"))
	g.out.File("/away", origintest.Text(""), origintest.Redirect(302, elsewhere), cc(fresh))
	g.out.File("/near", origintest.Text(""), origintest.Redirect(301, "/page"), cc(fresh))
	base := "http://" + g.out.Addr
	r := g.get(base + "/page")
	if r.StatusCode != 200 || r.Header.Get("X-Content-Type-Options") != "" || r.Header.Get("Content-Security-Policy") != "" {
		t.Errorf("proxy form: %d with %v, want no field that guards our own origin", r.StatusCode, r.Header)
	}
	if r := g.get(base + "/cookie"); r.Header.Get("Set-Cookie") != "a=b" {
		t.Errorf("proxy form: Set-Cookie = %q", r.Header.Get("Set-Cookie"))
	}
	if r := g.get("/files/http/" + g.out.Addr + "/cookie"); r.StatusCode != 200 || r.Header.Get("Set-Cookie") != "" {
		t.Errorf("URL form: Set-Cookie = %q, want none: the next host would be sent it", r.Header.Get("Set-Cookie"))
	}
	r = g.get("/files/http/" + g.out.Addr + "/page")
	if r.StatusCode != 200 || r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Content-Security-Policy") != "sandbox" {
		t.Errorf("URL form: %d with %v, want both fields that guard our own origin", r.StatusCode, r.Header)
	}
	for range 2 {
		if r := g.get(base + "/away"); r.StatusCode != 302 || r.Header.Get("Location") != elsewhere || r.Header.Get("X-Cache") != "MISS" {
			t.Errorf("a redirect away in proxy form = %d to %q, %s; want it passed and not kept", r.StatusCode, r.Header.Get("Location"), r.Header.Get("X-Cache"))
		}
		if r := g.get(base + "/near"); r.StatusCode != 301 || r.Header.Get("Location") != "/page" {
			t.Errorf("a redirect within the host in proxy form = %d to %q", r.StatusCode, r.Header.Get("Location"))
		}
	}
	for way, want := range map[string]string{
		"/files/http/" + g.out.Addr + "/near":      "/files/http/" + g.out.Addr + "/page",
		"/download/http://" + g.out.Addr + "/near": "/download/http://" + g.out.Addr + "/page",
	} {
		if r := g.get(way); r.StatusCode != 301 || r.Header.Get("Location") != want {
			t.Errorf("GET %s = %d to %q, want 301 to %q", way, r.StatusCode, r.Header.Get("Location"), want)
		}
	}
	if r := g.get("/files/http/" + g.out.Addr); r.StatusCode != 301 || r.Header.Get("Location") != "/files/http/"+g.out.Addr+"/" {
		t.Errorf("a host without its slash = %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}

func TestRedirectsInwardInURLForm(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}).forward()
	for _, to := range []string{"http://169.254.169.254/latest", "http://127.0.0.9:80/", "http://" + g.o.Addr + "/b/x", "http://" + g.addr + "/-/status"} {
		g.out.File("/r", origintest.Text(""), origintest.Redirect(302, to))
		if r := g.get("/files/http/" + g.out.Addr + "/r"); r.StatusCode != 403 || r.word() != "destination_refused" || !strings.Contains(r.Header.Get("Proxy-Status"), "destination_ip_prohibited; details=") {
			t.Errorf("to %s: %d %s, Proxy-Status %q", to, r.StatusCode, r.word(), r.Header.Get("Proxy-Status"))
		}
	}
	if g.o.Total() != 0 {
		t.Errorf("the hub's host was asked %d times outside the hub's path", g.o.Total())
	}
}

func TestUserinfoBecomesTheRequestsCredentials(t *testing.T) {
	g := newRig(t).forward()
	g.out.Handle("/x", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", fresh)
		u, p, _ := r.BasicAuth()
		fmt.Fprint(w, u+"|"+p)
	})
	for _, way := range []string{"http://me%40x:s%3Acret@" + g.out.Addr + "/x", "/files/http/me%40x:s%3Acret@" + g.out.Addr + "/x", "/download/http://me%40x:s%3Acret@" + g.out.Addr + "/x"} {
		r := g.get(way)
		r.want(t, way, 200, "me@x|s:cret", "MISS")
	}
	g.get("http://a:b@"+g.out.Addr+"/x", "Authorization: Basic Yzpk").want(t, "the client's own field wins", 200, "c|d", "MISS")
	if log := g.logs.String(); strings.Contains(log, "cret") {
		t.Errorf("the password is in the log:\n%s", log)
	}
	err := filepath.WalkDir(g.tree.Dir, func(name string, _ os.DirEntry, err error) error {
		if strings.Contains(name, "cret") {
			t.Errorf("the password is on disk: %s", name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestWhoMayForward(t *testing.T) {
	g := newRig(t).forward()
	for _, tt := range []struct {
		claim, peer, allow, field string
		may                       bool
	}{
		{"loopback", "127.0.0.1:1", "", "", true},
		{"a private network", "10.1.2.3:1", "", "", true},
		{"a private network, mapped", "[::ffff:192.168.1.1]:1", "", "", true},
		{"a unique local address", "[fd00::1]:1", "", "", true},
		{"the own link", "[fe80::1%lo]:1", "", "", true},
		{"a public address", "203.0.113.1:1", "", "", false},
		{"a public IPv6 address", "[2001:db8::1]:1", "", "", false},
		{"one that is let in", "203.0.113.1:1", "203.0.113.0/24", "", true},
		{"its neighbour", "203.0.114.1:1", "203.0.113.0/24", "", false},
		{"whoever hides behind a proxy that is not trusted", "127.0.0.1:1", "", "X-Forwarded-For", false},
		{"whoever hides behind one that is let in", "10.0.0.1:1", "10.0.0.1/32", "X-Forwarded-For", true},
	} {
		t.Run(tt.claim, func(t *testing.T) {
			f := &Forward{}
			if tt.allow != "" {
				f.Clients = []netip.Prefix{netip.MustParsePrefix(tt.allow)}
			}
			g.g.SetForward(f)
			r, _ := http.NewRequest("GET", "http://x.example/", nil)
			r.RemoteAddr = tt.peer
			if tt.field != "" {
				r.Header.Set(tt.field, "198.51.100.7")
			}
			_, err := g.g.mayForward(r, &exchange{client: g.g.cfg.Guard.Identify(r)})
			if (err == nil) != tt.may {
				t.Errorf("mayForward from %s with %q = %v, want it allowed: %v", tt.peer, tt.allow, err, tt.may)
			}
		})
	}
}

func TestOptionsGoAsFarAsTheyMay(t *testing.T) {
	g := newRig(t).forward()
	g.out.Handle("/x", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Left", r.Header.Get("Max-Forwards"))
	})
	if r := g.send("OPTIONS http://"+g.out.Addr+"/x HTTP/1.1", "Max-Forwards: 0"); r.StatusCode != 204 || r.Header.Get("Allow") == "" || g.out.Total() != 0 {
		t.Errorf("Max-Forwards 0 = %d with Allow %q after %d requests, want our own 204", r.StatusCode, r.Header.Get("Allow"), g.out.Total())
	}
	if r := g.send("OPTIONS http://"+g.out.Addr+"/x HTTP/1.1", "Max-Forwards: 3"); r.StatusCode != 200 || r.Header.Get("X-Left") != "2" {
		t.Errorf("Max-Forwards 3 = %d, the origin got %q, want 2", r.StatusCode, r.Header.Get("X-Left"))
	}
	if r := g.send("TRACE http://"+g.out.Addr+"/x HTTP/1.1", "Max-Forwards: 3"); r.StatusCode != 405 {
		t.Errorf("TRACE = %d, want 405", r.StatusCode)
	}
}

func TestMethodsAndFieldsInProxyForm(t *testing.T) {
	g := newRig(t).forward()
	g.out.Handle("/x", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s|%s|%s|%s", r.Method, r.Host, r.Header.Get("Upgrade"), r.Header.Get("Proxy-Connection"), r.Header.Get("Proxy-Authorization"))
	})
	want := g.out.Addr + "|||"
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		r := g.sendBody("body", method+" http://"+g.out.Addr+"/x HTTP/1.1", "Host: other.example", "Content-Length: 4", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic eDp5")
		r.want(t, method, 200, method+" "+want, "BYPASS")
		if got := g.out.Last("/x"); string(got.Body) != "body" {
			t.Errorf("%s: the origin got body %q", method, got.Body)
		}
	}
	r := g.get("http://"+g.out.Addr+"/x", "Connection: Upgrade", "Upgrade: websocket")
	r.want(t, "an upgrade", 200, "GET "+want, "")
}
