package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// forward starts a zcache that forwards to these addresses of loopback, and has a hub that nobody asks.
func forward(t testing.TB, open ...string) *zcache {
	t.Helper()
	return start(t, "--upstream", "idle=http://127.0.0.1:9/idle", "--proxy-allow-host", strings.Join(open, ","))
}

// through gives a program's command line the environment of somebody whose proxy is zcache.
func (z *zcache) through(args ...string) []string {
	env := []string{"-u", "no_proxy", "-u", "NO_PROXY", "-u", "all_proxy", "-u", "ALL_PROXY"}
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy"} {
		env = append(env, name+"="+z.url)
	}
	return append(env, args...)
}

func TestProxyForCurlAndWget(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	z := forward(t, n.addr)
	want := bodies["mid.bin"].digest
	url := n.url + "/mid.bin"
	fetch := func(what string, args ...string) {
		t.Helper()
		out := filepath.Join(t.TempDir(), "out")
		name := append(args, out, url)
		if stdout, stderr, exit := command(t, "env", z.through(name...)...); exit != 0 {
			t.Errorf("%s: exit %d\n%s%s", what, exit, stdout, stderr)
			return
		}
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if got, err := digestOf(f); got != want || err != nil {
			t.Errorf("%s: got %d bytes, %v; want mid.bin's %d", what, got.n, err, want.n)
		}
	}
	curl, wget := []string{"curl", "-sSf", "-o"}, []string{"wget", "-q", "-O"}
	fetch("curl, cold", curl...)
	z.published("files", "http/"+n.addr+"/mid.bin", want.n)
	fetch("curl, warm", curl...)
	fetch("wget, warm", wget...)
	if log := n.log("/mid.bin"); len(log) != 1 {
		t.Errorf("the origin served it %d times, want once: %+v", len(log), log)
	}
	n.stop()
	fetch("curl, without the origin", curl...)
	fetch("wget, without the origin", wget...)
	a := proxied(t, z, "GET", url)
	a.is(t, "without the origin", 200, "HIT")
	if a.Header.Get("X-Content-Type-Options") != "" {
		t.Error("the proxy adds fields of its own face to an origin's answer")
	}
	n.start()
	n.put("d/x.txt", []byte("x"))
	page := proxied(t, z, "GET", n.url+"/d/")
	direct := get(t, n.url+"/d/")
	page.whole(t, "a directory is the origin's own page", direct.Body)
}

// proxied asks for an absolute URL over a connection of its own.
func proxied(t testing.TB, z *zcache, method, url string, fields ...string) answer {
	t.Helper()
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	head := method + " " + url + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	return raw(t, z.addr, head+"\r\n")
}

func TestRangesAndResumesThroughTheProxy(t *testing.T) {
	n := startNginx(t, "")
	z := forward(t, n.addr)
	b, err := os.ReadFile(bodies["mid.bin"].path)
	if err != nil {
		t.Fatal(err)
	}
	url := n.url + "/mid.bin"
	out := filepath.Join(t.TempDir(), "out")
	if _, stderr, exit := command(t, "curl", "-sSf", "-x", z.url, "--noproxy", "", "-r", "1000-1999", "-o", out, url); exit != 0 {
		t.Fatalf("curl -r: exit %d %s", exit, stderr)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, b[1000:2000]) {
		t.Errorf("range: %d bytes, %v", len(got), err)
	}
	z.published("files", "http/"+n.addr+"/mid.bin", int64(len(b)))
	for _, program := range []string{"curl", "wget"} {
		if err := os.WriteFile(out, b[:7<<20], 0o600); err != nil {
			t.Fatal(err)
		}
		args := z.through("curl", "-sSf", "-C", "-", "-o", out, url)
		if program == "wget" {
			args = z.through("wget", "-q", "-c", "-O", out, url)
		}
		if _, stderr, exit := command(t, "env", args...); exit != 0 {
			t.Fatalf("%s, resuming: exit %d %s", program, exit, stderr)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s, resuming: %d bytes, %v, want %d", program, len(got), err, len(b))
		}
	}
	if log := n.log("/mid.bin"); len(log) != 1 {
		t.Errorf("the origin was asked %d times, want once", len(log))
	}
}

func TestOneEntryForEveryFaceOnDiskAndOverRestarts(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "body of "+r.Target, "Cache-Control: max-age=600") })
	z := start(t, "--upstream", "up="+o.url+"/pub", "--proxy-allow-host", o.addr)
	for _, row := range []struct {
		path, disk string
		ways       []string
	}{
		{"/pub/a", "up/a", []string{o.url + "/pub/a", "/up/a", "/files/http/" + o.addr + "/pub/a", "/download/" + o.url + "/pub/a"}},
		{"/b", "files/http/" + o.addr + "/b", []string{"/download/http:/" + o.addr + "/b", "/files/http/" + o.addr + "/b", o.url + "/b"}},
	} {
		verdict := "MISS"
		for _, way := range row.ways {
			target(t, z.addr, way).whole(t, way, []byte("body of "+row.path)).is(t, way, 200, verdict)
			verdict = "HIT"
		}
		if b, err := os.ReadFile(filepath.Join(z.root, row.disk)); err != nil || string(b) != "body of "+row.path {
			t.Errorf("on disk at %s: %q, %v", row.disk, b, err)
		}
		if n := o.count(row.path); n != 1 {
			t.Errorf("the origin was asked %d times for %s", n, row.path)
		}
	}
	z.stop()
	o.stop()
	z.again()
	target(t, z.addr, o.url+"/b").whole(t, "after a restart, without the origin", []byte("body of /b"))
	get(t, z.url+"/download/").is(t, "the help", 200, "")
	if a := get(t, z.url+"/download/gopher://x/"); a.Status != 400 || a.problem(t, "another scheme")["error"] != "bad_scheme" {
		t.Errorf("another scheme = %d %s", a.Status, a.Body)
	}
}

func TestTheWordHTTPSInAProxiedURLMeansTLS(t *testing.T) {
	o := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "secret") }))
	o.Config.ErrorLog = log.New(io.Discard, "", 0) // it hears of the handshakes that fail
	o.StartTLS()
	defer o.Close()
	addr := strings.TrimPrefix(o.URL, "https://")
	z := forward(t, addr)
	// The origin's certificate is nobody's, so what shows that TLS was spoken is that it was not believed.
	a := target(t, z.addr, "http://HTTPS///"+addr+"/x")
	if a.Status != 504 || !strings.Contains(a.Header.Get("Proxy-Status"), "tls_certificate_error") {
		t.Errorf("= %d with Proxy-Status %q, want 504 and tls_certificate_error", a.Status, a.Header.Get("Proxy-Status"))
	}
}

func TestTunnelForCurl(t *testing.T) {
	up, body := sharedBodies(t)["mid.bin"], bytesOf("tunnel", 3*mib)
	o := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Got", fmt.Sprint(len(sent)))
		_, _ = w.Write(body)
	}))
	defer o.Close()
	addr := strings.TrimPrefix(o.URL, "https://")
	z := forward(t, addr)
	out := filepath.Join(t.TempDir(), "out")
	stdout, stderr, exit := command(t, "env", z.through("curl", "-sSfk", "-D", "-", "--data-binary", "@"+up.path, "-o", out, o.URL+"/x")...)
	if exit != 0 || !strings.Contains(stdout, fmt.Sprintf("X-Got: %d", up.n)) {
		t.Fatalf("curl: exit %d\n%s%s", exit, stdout, stderr)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, body) {
		t.Errorf("through the tunnel: %d bytes, %v, want %d", len(got), err, len(body))
	}
	if stdout, _, exit := command(t, "env", z.through("wget", "-q", "--no-check-certificate", "-O", "-", o.URL+"/x")...); exit != 0 || stdout != string(body) {
		t.Errorf("wget: exit %d, %d bytes", exit, len(stdout))
	}
	eventually(t, waitShort, "the tunnels are counted and logged", func() (bool, string) {
		m := string(get(t, z.url+"/-/metrics").Body)
		ok := strings.Contains(m, "\nzcache_tunnels 0\n") && strings.Contains(m, `zcache_tunnel_bytes_total{direction="up"}`)
		return ok && strings.Count(z.log(), `"method":"CONNECT"`) == 2, z.log()
	})
	if _, stderr, exit := command(t, "env", z.through("curl", "-sSk", "https://127.0.0.1:9/")...); exit == 0 || !strings.Contains(stderr, "403") {
		t.Errorf("curl to a port that is not open: exit %d %s, want 403", exit, stderr)
	}
}

func TestTunnelsDoNotHoldUpAStop(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	z := forward(t, l.Addr().String())
	client, err := net.Dial("tcp", z.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fmt.Fprintf(client, "CONNECT %s HTTP/1.1\r\nHost: x\r\n\r\n", l.Addr())
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	in := bufio.NewReader(client)
	if resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"}); err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT = %+v, %v", resp, err)
	}
	began := time.Now()
	z.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %v", took)
	}
	for who, r := range map[string]io.Reader{"client": in, "server": server} {
		if n, err := r.Read(make([]byte, 1)); err == nil {
			t.Errorf("the %s read %d bytes, want the end", who, n)
		}
	}
}

func TestOldAndPersistentClientsOfTheProxy(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, r.Target, "Cache-Control: max-age=600") })
	z := forward(t, o.addr)
	raw(t, z.addr, "GET "+o.url+"/old HTTP/1.0\r\n\r\n").whole(t, "HTTP/1.0 without Host", []byte("/old"))
	if r := o.asked("/old"); r.Header.Get("Host") != o.addr {
		t.Errorf("the origin was sent Host %q, want %q", r.Header.Get("Host"), o.addr)
	}
	conn, err := net.Dial("tcp", z.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for i := range 3 {
		path := fmt.Sprintf("/%d", i)
		fmt.Fprintf(conn, "GET %s%s HTTP/1.1\r\nHost: evil.example\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\r\n", o.url, path)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != path {
			t.Errorf("request %d on one connection = %q, %v", i, b, err)
		}
		r := o.asked(path)
		if r.Header.Get("Host") != o.addr || r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("Proxy-Connection") != "" {
			t.Errorf("the origin was sent\n%s", r.Head)
		}
	}
}

func TestProxyOff(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "x") })
	z := start(t, "--upstream", "up="+o.url, "--proxy", "off", "--proxy-allow-host", o.addr)
	for _, way := range []string{o.url + "/a", "/files/http/" + o.addr + "/a", "/download/" + o.url + "/a"} {
		if a := target(t, z.addr, way); a.Status != 403 || a.problem(t, way)["error"] != "proxy_refused" {
			t.Errorf("%s = %d %s, want 403 proxy_refused", way, a.Status, a.Body)
		}
	}
	if a := raw(t, z.addr, "CONNECT "+o.addr+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); a.Status != 403 {
		t.Errorf("CONNECT = %d, want 403", a.Status)
	}
	get(t, z.url+"/up/a").whole(t, "the gateway", []byte("x"))
	if n := o.count(""); n != 1 {
		t.Errorf("the origin got %d requests, want the gateway's one", n)
	}
}

func TestProxyForFTP(t *testing.T) {
	s := startFTP(t, "vsftpd", 0)
	body := bytesOf("ftp", 300_000)
	s.put("pub/a b.bin", body)
	s.put("pub/d/x", []byte("x"))
	z := forward(t, s.addr)
	url := s.url() + "/pub/a%20b.bin"
	fetch := func(what string, args ...string) {
		t.Helper()
		stdout, stderr, exit := command(t, "env", z.through(args...)...)
		if exit != 0 || stdout != string(body) {
			t.Errorf("%s: exit %d, %d bytes, want %d\n%s", what, exit, len(stdout), len(body), stderr)
		}
	}
	fetch("curl, cold", "curl", "-sSf", url)
	fetch("wget, warm", "wget", "-q", "-O", "-", url)
	named := proxied(t, z, "GET", s.url()+"/pub/", "Accept: text/plain")
	named.whole(t, "a directory as plain text", []byte("d/\na b.bin\n"))
	if page := proxied(t, z, "GET", s.url()+"/pub/"); !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || !bytes.Contains(page.Body, []byte(`href="./a%20b.bin"`)) {
		t.Errorf("a directory as a page = %s %s", page.Header.Get("Content-Type"), page.Body)
	}
	if a := get(t, z.url+"/files/ftp/"+s.addr+"/pub/d"); a.Status != 301 || a.Header.Get("Location") != "/files/ftp/"+s.addr+"/pub/d/" {
		t.Errorf("a directory without its slash in URL form = %d to %q", a.Status, a.Header.Get("Location"))
	}
	s.stop()
	fetch("curl, without the server", "curl", "-sSf", url)
	get(t, z.url+"/files/ftp/"+s.addr+"/pub/a%20b.bin").whole(t, "URL form, without the server", body)
	get(t, z.url+"/download/ftp://"+s.addr+"/pub/", "Accept: text/plain").whole(t, "the directory, without the server", []byte("d/\na b.bin\n"))
}
