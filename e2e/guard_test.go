package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// operations are what only a person at the machine may do as long as there are no tokens.
var operations = []struct{ method, path, body string }{
	{"GET", "/-/status", ""},
	{"GET", "/-/metrics", ""},
	{"POST", "/-/purge", `{"path":"/up/nothing"}`},
	{"POST", "/-/ensure", `{"urls":[],"wait":true}`},
	{"POST", "/-/reload", ""},
}

// operate sends one operation as a program on the machine would, plus fields that make it something else.
func operate(t testing.TB, z *zcache, method, path, body string, fields ...string) answer {
	t.Helper()
	host := z.addr
	head := ""
	for _, f := range fields {
		if h, ok := strings.CutPrefix(f, "Host: "); ok {
			host = h
			continue
		}
		head += f + "\r\n"
	}
	if method == http.MethodPost {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return raw(t, z.addr, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nAccept: application/json\r\n%s\r\n%s", method, path, host, head, body))
}

func TestOperationsBelongToTheMachineItself(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "x") })
	z := start(t, "--upstream", "up="+o.url)
	allowed := []string{"Host: localhost", "Host: LOCALHOST:3142", "Host: 127.0.0.1", "Host: 127.0.0.1:80", "Host: [::1]", "Host: [::1]:3142"}
	refused := []string{
		"Host: evil.example", "Host: localhost.evil.example", "Host: 192.0.2.1", "Host: " + "up",
		"X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1", "Via: 1.1 somebody", "x-forwarded-host: localhost",
	}
	foreign := []string{"Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: http://localhost.evil.example"}
	for _, op := range operations {
		what := op.method + " " + op.path
		for _, field := range allowed {
			if a := operate(t, z, op.method, op.path, op.body, field); a.Status >= 300 && a.Status != http.StatusBadRequest {
				t.Errorf("%s with %s = %d %s, want it done", what, field, a.Status, clip(a.Body))
			}
		}
		for _, field := range refused {
			a := operate(t, z, op.method, op.path, op.body, field)
			if a.Status != http.StatusForbidden && a.Status != http.StatusUnauthorized {
				t.Errorf("%s with %s = %d %s, want 403", what, field, a.Status, clip(a.Body))
				continue
			}
			a.problem(t, what+" with "+field)
		}
		if op.method == http.MethodPost {
			for _, field := range foreign {
				if a := operate(t, z, op.method, op.path, op.body, field); a.Status != http.StatusForbidden {
					t.Errorf("%s with %s = %d, want 403: another site's page sent it", what, field, a.Status)
				}
			}
			for _, method := range []string{"GET", "HEAD", "PUT"} {
				if a := operate(t, z, method, op.path, ""); a.Status != http.StatusMethodNotAllowed {
					t.Errorf("%s %s = %d, want 405", method, op.path, a.Status)
				}
			}
		}
	}
	for _, path := range []string{"healthz", "readyz", "version"} {
		get(t, z.url+"/-/"+path, "Host: any.example", "Via: 1.1 x").is(t, path+" for anyone", 200, "")
	}
	if got := o.count(""); got != 0 {
		t.Errorf("the origin was asked %d times", got)
	}
}

func TestATrustedProxySaysWhoAsks(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "x") })
	z := start(t, "--upstream", "up="+o.url, "--trusted-proxy", "127.0.0.1/32")
	for _, field := range []string{"X-Forwarded-For: 192.0.2.9", "X-Forwarded-For: 127.0.0.1, 192.0.2.9", "Forwarded: for=192.0.2.9", `Forwarded: for="[2001:db8::1]:99"`, "X-Forwarded-For: nonsense"} {
		if a := operate(t, z, "GET", "/-/status", "", field); a.Status != http.StatusForbidden && a.Status != http.StatusUnauthorized {
			t.Errorf("status for a client behind the proxy (%s) = %d, want 403", field, a.Status)
		}
	}
}

func TestOperationsAreNeverRoutedToAHub(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "from the origin") })
	z := start(t, "--upstream", o.url)
	for _, path := range []string{"/-/nothing", "/-/", "/-/healthz/", "/-//healthz", "/-/../x", "/-"} {
		if a := target(t, z.addr, path); path != "/-" && strings.Contains(string(a.Body), "from the origin") {
			t.Errorf("%s was answered by the origin", path)
		}
	}
	a := get(t, z.url+"/-/nothing", "Accept: application/json").is(t, "an operation that is none", 404, "")
	if a.problem(t, "an operation that is none")["error"] == nil {
		t.Errorf("the problem has no member error: %s", clip(a.Body))
	}
}

// A cached page shares an origin with operations: it must not run.
func TestCachedPagesCannotRunOnOurOrigin(t *testing.T) {
	types := map[string]bool{ // type: active
		"text/html": true, "text/html; charset=utf-8": true, "TEXT/HTML": true, "application/xhtml+xml": true, "image/svg+xml": true, "text/xml": true, "application/xml": true,
		"text/plain": false, "application/octet-stream": false,
	}
	o := startOrigin(t, func(w *wire, r *request) {
		w.reply(r, 200, "<script>1</script>", "Cache-Control: max-age=600", "Content-Type: "+strings.ReplaceAll(r.Target[5:], "%20", " "))
	})
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\n[[hub]]\nname = \"trusted\"\nupstream = %q\nactive = true\n", o.url, o.url)))
	for typ, active := range types {
		path := "/get/" + strings.ReplaceAll(typ, " ", "%20")
		for _, verdict := range []string{"MISS", "HIT"} {
			a := get(t, z.url+"/up"+path).is(t, typ, 200, verdict)
			if got := a.Header.Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("%s, %s: X-Content-Type-Options %q, want nosniff", typ, verdict, got)
			}
			if got := a.Header.Get("Content-Security-Policy"); strings.Contains(got, "sandbox") != active {
				t.Errorf("%s, %s: Content-Security-Policy %q, want a sandbox: %v", typ, verdict, got, active)
			}
		}
		if got := get(t, z.url+"/trusted"+path).Header.Get("Content-Security-Policy"); got != "" {
			t.Errorf("%s from a hub that may be active: Content-Security-Policy %q, want none", typ, got)
		}
	}
}

func TestAStopLetsDownloadsFinish(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	reached, release := make(chan struct{}), make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if sent == mib {
			close(reached)
			<-release
		}
	}
	z := start(t, "--upstream", "up="+rl.url)
	resp := begin(t, z.url+"/up/mid.bin")
	defer resp.Body.Close()
	<-reached
	if err := z.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, waitShort, "no new client is let in", func() (bool, string) {
		a, err := tryAsk(http.MethodGet, z.url+"/-/healthz")
		return err != nil, fmt.Sprint(a.Status)
	})
	close(release)
	d, err := digestOf(resp.Body)
	if d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("the download under way got %d bytes, %v; want %d", d.n, err, midSize)
	}
	<-z.gone
	if z.err != nil {
		t.Errorf("zcache ended with %v", z.err)
	}
}

func TestUnsafeMethodsAreForwardedAndInvalidate(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		w.reply(r, 200, fmt.Sprint(r.Method, " ", r.Nth, " ", string(r.Body)), "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/a").whole(t, "fill", []byte("GET 1 "))
	req, err := http.NewRequest(http.MethodPost, z.url+"/up/a", strings.NewReader("sent"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "POST 2 sent" {
		t.Errorf("POST = %s, want it forwarded with its body", b)
	}
	get(t, z.url+"/up/a").whole(t, "after the POST", []byte("GET 3 ")).is(t, "after the POST", 200, "MISS")
}
