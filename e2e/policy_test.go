package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestOnMissRedirectSendsTheClientAwayAndFillsBehind(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 5000))
	n.put("b.bin", bytesOf("b", 5000))
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"away\"\nupstream = %q\non-miss = \"redirect\"\n[[hub]]\nname = \"wait\"\nupstream = %q\non-miss = \"wait\"\n", n.url, n.url)))
	a := get(t, z.url+"/away/a.bin").is(t, "miss", http.StatusFound, "")
	if got := a.Header.Get("Location"); got != n.url+"/a.bin" {
		t.Errorf("Location of a miss = %q, want the upstream's %s", got, n.url+"/a.bin")
	}
	if cc := a.Header.Get("Cache-Control"); !strings.Contains(cc, "no-store") && !strings.Contains(cc, "max-age=0") && !strings.Contains(cc, "no-cache") && cc != "" {
		t.Errorf("Cache-Control of the redirect = %q: a client must not remember it", cc)
	}
	z.published("away", "a.bin", 5000)
	get(t, z.url+"/away/a.bin").whole(t, "once it is there", bytesOf("a", 5000)).is(t, "once it is there", 200, "HIT")
	get(t, z.url+"/wait/b.bin").whole(t, "wait", bytesOf("b", 5000))
	z.published("wait", "b.bin", 5000)
}

// The answer to a client that pins a digest must not be the answer, or the failure, of one that pins none.
func TestADigestThatAClientPinsBindsThatClientAlone(t *testing.T) {
	body := bytesOf("d", 300_000)
	right, wrong := sha256.Sum256(body), sha256.Sum256([]byte("another"))
	pin := func(sum [32]byte) string {
		return "Repr-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Target == "/shared.bin" && r.Nth == 1 {
			<-release
		}
		w.file(r, body, modified, "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/right.bin", pin(right)).whole(t, "right digest", body)
	a, err := tryAsk(http.MethodGet, z.url+"/up/wrong.bin", pin(wrong))
	if err == nil && a.Err == nil && a.Status == 200 {
		t.Errorf("a body of the wrong digest came whole, X-Cache %s", a.cache())
	}
	get(t, z.url+"/up/wrong.bin").whole(t, "the next client", body)
	if a, err := tryAsk(http.MethodGet, z.url+"/up/wrong.bin", pin(wrong)); err == nil && a.Err == nil && a.Status == 200 {
		t.Errorf("a held body of the wrong digest came whole, X-Cache %s", a.cache())
	}

	var wg sync.WaitGroup
	wg.Go(func() { _, _ = tryAsk(http.MethodGet, z.url+"/up/shared.bin", pin(wrong)) })
	eventually(t, waitShort, "the pinned request is under way", func() (bool, string) { return o.count("/shared.bin") == 1, "" })
	for range 8 {
		wg.Go(func() {
			a, err := tryAsk(http.MethodGet, z.url+"/up/shared.bin")
			if err != nil || a.Err != nil || string(a.Body) != string(body) {
				t.Errorf("a client beside one with a wrong digest got %d, %d bytes, %v %v", a.Status, len(a.Body), err, a.Err)
			}
		})
	}
	close(release)
	wg.Wait()
}

func TestAChecksumFileBesideABodyIsHeldAgainstIt(t *testing.T) {
	body := bytesOf("s", 300_000)
	good, bad := sha256.Sum256(body), sha256.Sum256([]byte("another"))
	o := startOrigin(t, func(w *wire, r *request) {
		if strings.HasSuffix(r.Target, "SHA256SUMS") {
			w.reply(r, 200, fmt.Sprintf("%x  good.tar\n%x  bad.tar\n", good, bad), "Cache-Control: max-age=600", "Content-Type: text/plain")
			return
		}
		w.file(r, body, modified, "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/d/SHA256SUMS").is(t, "the sums", 200, "MISS")
	get(t, z.url+"/up/d/good.tar").whole(t, "what agrees", body)
	z.published("up", "d/good.tar", int64(len(body)))
	a, err := tryAsk(http.MethodGet, z.url+"/up/d/bad.tar")
	if err == nil && a.Err == nil && a.Status == 200 {
		t.Errorf("what does not agree came whole to its client")
	}
	z.noEntry("up", "d/bad.tar")
}

func TestAnHTTPSUpstreamIsVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprint(w, r.Proto)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"known\"\nupstream = %q\nca = %q\n[[hub]]\nname = \"unknown\"\nupstream = %q\n", s.URL, ca, s.URL)))
	get(t, z.url+"/known/a").whole(t, "with its CA", []byte("HTTP/2.0"))
	a := get(t, z.url+"/unknown/a")
	if a.Status < 502 {
		t.Errorf("with an unknown CA = %d %s, want 502 or 504", a.Status, clip(a.Body))
	}
	if got := a.Header.Get("Proxy-Status"); !strings.Contains(got, "tls_certificate_error") {
		t.Errorf("with an unknown CA: Proxy-Status %q, want tls_certificate_error", got)
	}
}

// Meta that outgrows the attribute of its file system (about 4,000 bytes on ext4) is no full disk.
func TestManyFieldsOutgrowTheAttribute(t *testing.T) {
	var fields []string
	for i := range 200 {
		fields = append(fields, fmt.Sprintf("X-Field-%03d: %s", i, strings.Repeat("v", 100)))
	}
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "body", append(fields, "Cache-Control: max-age=600")...) })
	z := start(t, "--upstream", "up="+o.url)
	for _, verdict := range []string{"MISS", "HIT", "HIT"} {
		a := get(t, z.url+"/up/a").whole(t, verdict, []byte("body")).is(t, verdict, 200, verdict)
		for i := range 200 {
			if got := a.Header.Get(fmt.Sprintf("X-Field-%03d", i)); len(got) != 100 {
				t.Fatalf("%s: X-Field-%03d = %q", verdict, i, got)
			}
		}
		if verdict == "HIT" {
			z.stop()
			z.again()
		}
	}
	get(t, z.url+"/-/readyz").is(t, "readyz", 200, "")
}

func TestNegativeEntriesObeyTheOrigin(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		control := "Cache-Control: max-age=600"
		if strings.HasSuffix(r.Target, "no-store") {
			control = "Cache-Control: no-store"
		}
		status := http.StatusNotFound
		if strings.HasPrefix(r.Target, "/410") {
			status = http.StatusGone
		}
		w.reply(r, status, "no such thing", control)
	})
	z := start(t, "--upstream", "up="+o.url)
	for target, want := range map[string]int{"/404/kept": 1, "/410/kept": 1, "/404/no-store": 3, "/410/no-store": 3} {
		for range 3 {
			a := get(t, z.url+"/up"+target)
			if a.Status != 404 && a.Status != 410 || string(a.Body) != "no such thing" {
				t.Errorf("%s = %d %s", target, a.Status, clip(a.Body))
			}
		}
		if got := o.count(target); got != want {
			t.Errorf("%s: the origin was asked %d times, want %d", target, got, want)
		}
		z.noEntry("up", target)
	}
}

// What may not be stored is still asked for in parts and with conditions.
func TestWhatIsNotStoredIsAnsweredAsAsked(t *testing.T) {
	body := bytesOf("p", 100_000)
	controls := map[string]string{"/no-store": "no-store", "/private": "private, max-age=60", "/no-cache": "no-cache"}
	o := startOrigin(t, func(w *wire, r *request) {
		w.file(r, body, modified, "Cache-Control: "+controls[r.Target], `ETag: "p"`)
	})
	z := start(t, "--upstream", "up="+o.url)
	for path := range controls {
		for _, extra := range []string{"X-Nothing: x", "Cookie: a=b", "Authorization: Basic YTpi"} {
			what := path + " with " + extra
			get(t, z.url+"/up"+path, extra).whole(t, what, body)
			a := get(t, z.url+"/up"+path, extra, "Range: bytes=10-19")
			if part := a.Status == 206 && string(a.Body) == string(body[10:20]) && a.Header.Get("Content-Range") == "bytes 10-19/100000"; !part && !(a.Status == 200 && string(a.Body) == string(body)) {
				t.Errorf("%s, a range = %d, %d bytes, Content-Range %q", what, a.Status, len(a.Body), a.Header.Get("Content-Range"))
			}
			a = get(t, z.url+"/up"+path, extra, `If-None-Match: "p"`)
			if a.Status != 304 && !(a.Status == 200 && string(a.Body) == string(body)) {
				t.Errorf("%s, If-None-Match = %d with %d bytes", what, a.Status, len(a.Body))
			}
			get(t, z.url+"/up"+path, extra, `If-None-Match: "q"`).whole(t, what+", another ETag", body)
			if a := ask(t, http.MethodHead, z.url+"/up"+path, extra); a.Status != 200 || a.Header.Get("Content-Length") != "100000" {
				t.Errorf("%s, HEAD = %d, Content-Length %q", what, a.Status, a.Header.Get("Content-Length"))
			}
		}
	}
	z.noEntry("up", "/no-store")
	z.noEntry("up", "/private")
}

func TestTheAdminListenerServesOperationsOnly(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", []byte("a"))
	admin := freeAddr(t)
	z := start(t, "--upstream", n.url, "--admin-listen", admin)
	get(t, "http://"+admin+"/-/status", "Accept: application/json").is(t, "status there", 200, "")
	get(t, "http://"+admin+"/-/pprof/goroutine?debug=1").is(t, "profiles there", 200, "")
	get(t, "http://"+admin+"/a.bin").is(t, "a body there", 404, "")
	if a := get(t, z.url+"/-/pprof/goroutine?debug=1"); a.Status != 404 {
		t.Errorf("profiles on the clients' port = %d, want 404", a.Status)
	}
	if a := operate(t, &zcache{t: t, addr: admin}, "GET", "/-/pprof/goroutine", "", "X-Forwarded-For: 10.0.0.1"); a.Status != http.StatusForbidden {
		t.Errorf("profiles through a proxy = %d, want 403", a.Status)
	}
}

func TestTheDemoShowsAHitAndAnOutage(t *testing.T) {
	out, errs, code := command(t, binary, "demo", "--once")
	if code != 0 {
		t.Fatalf("zcache demo --once: exit %d\n%s%s", code, out, errs)
	}
	for _, word := range []string{"HIT", "http://"} {
		if !strings.Contains(out, word) {
			t.Errorf("the demo does not show %s:\n%s", word, out)
		}
	}
}
