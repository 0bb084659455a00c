package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// inward are places that no client may be led to by zcache, in every spelling that some resolver or gateway understands. PORT is one on which an
// origin listens on loopback.
var inward = []string{
	"127.0.0.1:PORT", "127.0.0.2:PORT", "localhost:PORT", "LOCALHOST.:PORT", "0.0.0.0:PORT", "0:PORT", "127.1:PORT", "127.0.1:PORT",
	"2130706433:PORT", "0x7f000001:PORT", "0x7f.1:PORT", "0177.0.0.1:PORT", "017700000001:PORT", "127.0.0.1.:PORT",
	"[::1]:PORT", "[::]:PORT", "[::ffff:127.0.0.1]:PORT", "[::ffff:7f00:1]:PORT", "[::127.0.0.1]:PORT", "[64:ff9b::127.0.0.1]:PORT", "[2002:7f00:1::]:PORT",
	"[::ffff:0:127.0.0.1]:PORT", "169.254.169.254", "169.254.1.1:PORT", "[fe80::1]:PORT", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16",
	"10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "[fc00::1]", "[64:ff9b::10.0.0.1]", "[2002:a9fe:a9fe::1]",
	"224.0.0.1", "255.255.255.255", "[ff02::1]", "240.0.0.1",
}

func TestNoFaceLeadsInward(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "secret") })
	_, port, _ := net.SplitHostPort(o.addr)
	// Opened as widely as names can be.
	z := start(t, "--upstream", "idle=http://127.0.0.1:9/idle", "--proxy-allow-host", "localhost,*.localhost,x.example:22")
	for _, place := range inward {
		place = strings.Replace(place, "PORT", port, 1)
		escaped := strings.NewReplacer("[", "%5B", "]", "%5D").Replace(place)
		for _, way := range []string{"http://" + place + "/x", "ftp://" + place + "/x", "/files/http/" + place + "/x", "/files/https/" + escaped + "/x", "/download/http://" + place + "/x"} {
			refused(t, way, target(t, z.addr, way), "destination_refused")
		}
		place = strings.TrimSuffix(place, ":"+port) + ":443" // on any other port it would be refused for that
		refused(t, "CONNECT "+place, raw(t, z.addr, "CONNECT "+place+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "destination_refused")
	}
	for _, place := range []string{"127.0.0.1:" + port, "192.0.2.1:22", "x.example:25", "kernel.example:80"} {
		refused(t, "CONNECT "+place, raw(t, z.addr, "CONNECT "+place+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "destination_refused")
	}
	if n := o.count(""); n != 0 {
		t.Errorf("the origin on loopback got %d requests", n)
	}
}

// refused wants a 403 with this word and a reason.
func refused(t testing.TB, what string, a answer, word string) {
	t.Helper()
	if a.Status != 403 {
		t.Errorf("%s = %d %s, want 403", what, a.Status, clip(a.Body))
		return
	}
	p := a.problem(t, what)
	if detail, _ := p["detail"].(string); p["error"] != word || detail == "" {
		t.Errorf("%s: %v, want %s with a reason in detail", what, p, word)
	}
	if word == "destination_refused" && !strings.Contains(a.Header.Get("Proxy-Status"), "; details=") {
		t.Errorf("%s: Proxy-Status %q, want a reason", what, a.Header.Get("Proxy-Status"))
	}
}

func TestWhatIsNoPlaceAtAll(t *testing.T) {
	z := start(t, "--upstream", "idle=http://127.0.0.1:9/idle")
	for _, way := range []string{
		"/files/http/[fe80::1%25lo]/x", "/download/http://[::1%25lo]/x", "http:///x", "/files/http/①②⑦.0.0.1/x", "/download/file:///etc/passwd", "/download/gopher://127.0.0.1/x",
		"/files/http/127.0.0.1:0/x", "/files/http/h/../../x", "/files/http/a%00b/x", "/files/http/a%2Fb/x", "/files/http/a b/x",
	} {
		if a := target(t, z.addr, way); a.Status != 400 {
			t.Errorf("%s = %d %s, want 400", way, a.Status, clip(a.Body))
		}
	}
}

func TestAHubOpensItselfAndNothingBeside(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "body of "+r.Target, "Cache-Control: no-store") })
	beside := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "beside") })
	z := start(t, "--upstream", "up="+o.url+"/pub")
	for _, way := range []string{"/up/a", o.url + "/pub/a", "/files/http/" + o.addr + "/pub/a", "/download/" + o.url + "/pub/a"} {
		target(t, z.addr, way).whole(t, way, []byte("body of /pub/a"))
	}
	for _, url := range []string{o.url + "/", o.url + "/private", o.url + "/pubx/a", o.url + "/PUB/a", "https://" + o.addr + "/pub/a", beside.url + "/pub/a"} {
		scheme, rest, _ := strings.Cut(url, "://")
		for _, way := range []string{"/files/" + scheme + "/" + rest, "/download/" + url} {
			refused(t, way, target(t, z.addr, way), "destination_refused")
		}
		if scheme == "http" {
			refused(t, url, target(t, z.addr, url), "destination_refused")
		}
	}
	refused(t, "CONNECT to the hub", raw(t, z.addr, "CONNECT "+o.addr+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), "destination_refused")
	if a := target(t, z.addr, o.url+"/pub/%2e%2e/private"); a.Status != 400 {
		t.Errorf("out of the prefix by dots = %d, want 400", a.Status)
	}
	if n := o.count("/pub/a"); n != 4 || o.count("") != n || beside.count("") != 0 {
		t.Errorf("the hub's origin got %d requests, %d of them for /pub/a; another got %d", o.count(""), n, beside.count(""))
	}
}

func TestRedirectsInwardAreRefusedOnEveryHop(t *testing.T) {
	hidden := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "secret") })
	var self string
	o := startOrigin(t, nil)
	o.answer = func(w *wire, r *request) {
		to := map[string]string{
			"/pub/loopback": hidden.url + "/x", "/pub/meta": "http://169.254.169.254/latest/meta-data/", "/pub/own": "http://" + self + "/-/status",
			"/pub/beside": "/private", "/pub/hop": o.url + "/hop", "/hop": hidden.url + "/x", "/pub/mapped": strings.Replace(hidden.url, "127.0.0.1", "[::ffff:127.0.0.1]", 1) + "/x",
		}[r.Target]
		w.reply(r, 302, "moved", "Location: "+to)
	}
	z := start(t, "--upstream", "up="+o.url+"/pub")
	open := start(t, "--upstream", "idle=http://127.0.0.1:9/idle", "--proxy-allow-host", o.addr)
	self = z.addr
	for _, path := range []string{"loopback", "meta", "own", "beside", "hop", "mapped"} {
		if a := get(t, z.url+"/up/"+path); a.Status != 403 {
			t.Errorf("through the hub, %s = %d %s, want 403", path, a.Status, clip(a.Body))
		}
		if path == "beside" {
			continue // within one host it is passed on
		}
		way := "/files/http/" + o.addr + "/pub/" + path
		if path == "hop" {
			way = "/files/http/" + o.addr + "/hop"
		}
		refused(t, way, target(t, open.addr, way), "destination_refused")
	}
	if n := hidden.count(""); n != 0 {
		t.Errorf("the hidden origin got %d requests", n)
	}
}

func TestOurOwnListenersAreNoDestination(t *testing.T) {
	admin := freeAddr(t)
	z := start(t, "--upstream", "idle=http://127.0.0.1:9/idle", "--proxy-allow-host", "127.0.0.0/8,::1", "--admin-listen", admin)
	_, port, _ := net.SplitHostPort(z.addr)
	for _, way := range []string{
		"/files/http/" + z.addr + "/-/status", "/download/" + z.url + "/-/status", "/files/http/localhost:" + port + "/-/status", "/files/http/" + admin + "/-/status",
		"/files/http/[::ffff:127.0.0.1]:" + port + "/-/status", "http://" + admin + "/-/status", "http://0.0.0.0:" + port + "/-/status",
	} {
		refused(t, way, target(t, z.addr, way), "destination_refused")
	}
	for _, place := range []string{z.addr, admin} {
		z := start(t, "--upstream", "idle=http://127.0.0.1:9/idle", "--proxy-allow-host", "127.0.0.0/8,"+place, "--listen", freeAddr(t), "--admin-listen", freeAddr(t))
		own := flagValue(z.args, "--listen")
		refused(t, "CONNECT "+own, raw(t, z.addr, fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", own)), "destination_refused")
	}
}

func TestAChildOfALoopIs508(t *testing.T) {
	a, b := freeAddr(t), freeAddr(t)
	start(t, "--listen", a, "--upstream", "up=http://"+b+"/files/http/"+a+"/up", "--proxy-allow-host", b)
	start(t, "--listen", b, "--upstream", "idle=http://127.0.0.1:9/idle", "--proxy-allow-host", a)
	get(t, "http://"+a+"/up/x").is(t, "through the other's URL form and back", 508, "")
}
