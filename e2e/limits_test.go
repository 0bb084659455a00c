package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A client may shut its own side when it has asked (nc does). What it gets then is the body, or nothing; a 200 without the body is a
// short body that looks whole.
func TestAClientThatShutsItsSideNeverGetsAnEmptySuccess(t *testing.T) {
	body := bytesOf("b", 100_000)
	n := startNginx(t, "")
	z := start(t, "--upstream", "up="+n.url)
	for i := range 10 {
		path := fmt.Sprintf("%d.bin", i)
		n.put(path, body)
		for _, state := range []string{"cold", "held"} {
			conn, err := net.Dial("tcp", z.addr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET /up/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
			_ = conn.(*net.TCPConn).CloseWrite()
			got, err := readAnswer(conn, http.MethodGet)
			conn.Close()
			if err == nil && got.Err == nil && got.Status < 300 && string(got.Body) != string(body) {
				t.Errorf("%s %s = %d with %d bytes that look whole, want %d bytes or an abort:\n%.300s", state, path, got.Status, len(got.Body), len(body), got.Raw)
			}
			if state == "cold" {
				z.published("up", path, int64(len(body)))
			}
		}
	}
}

// Running out of descriptors slows clients down; it must not end the process nor fail what is held once they are there again.
func TestRunningOutOfDescriptorsIsNotFatal(t *testing.T) {
	n := startNginx(t, "")
	for i := range 50 {
		n.put(fmt.Sprintf("%d.bin", i), bytesOf("b", 200_000))
	}
	z := start(t, "--upstream", "up="+n.url)
	if _, errs, code := command(t, "prlimit", "--pid", strconv.Itoa(z.pid()), "--nofile=60:"); code != 0 {
		t.Fatalf("prlimit: %s", errs)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			a, err := tryAsk(http.MethodGet, fmt.Sprintf("%s/up/%d.bin", z.url, i%50))
			if err == nil && a.Err == nil && a.Status == 200 && string(a.Body) != string(bytesOf("b", 200_000)) {
				t.Errorf("a body of %d bytes that looks whole", len(a.Body))
			}
		})
	}
	wg.Wait()
	if _, errs, code := command(t, "prlimit", "--pid", strconv.Itoa(z.pid()), "--nofile=4096:"); code != 0 {
		t.Fatalf("prlimit: %s", errs)
	}
	for i := range 50 {
		get(t, fmt.Sprintf("%s/up/%d.bin", z.url, i)).whole(t, "afterwards", bytesOf("b", 200_000))
	}
	z.ready(http.StatusOK)
}

func TestABodyLargerThanTheWholeCachePassesThrough(t *testing.T) {
	n := startNginx(t, "")
	n.put("small.bin", bytesOf("s", mib))
	body := bytesOf("c", 3*mib)
	o := startOrigin(t, func(w *wire, r *request) {
		w.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 4 {
			w.send(fmt.Sprintf("%x\r\n%s\r\n", len(body), body))
		}
		w.send("0\r\n\r\n")
	})
	z := start(t, "--upstream", "up="+n.url, "--upstream", "endless="+o.url, "--cache-max-size", "8MiB")
	get(t, z.url+"/up/small.bin").whole(t, "what fits", bytesOf("s", mib))
	z.published("up", "small.bin", mib)
	for range 2 {
		d, _, err := download(t, z.url+"/up/mid.bin")
		if d != bodies["mid.bin"].digest || err != nil {
			t.Errorf("a body of 20 MiB = %d bytes, %v", d.n, err)
		}
		get(t, z.url+"/endless/x").whole(t, "12 MiB of unknown length", []byte(strings.Repeat(string(body), 4)))
	}
	z.noEntry("up", "mid.bin")
	get(t, z.url+"/up/small.bin").whole(t, "what fits, afterwards", bytesOf("s", mib))
}

// What is asked of a body that is still coming is answered at once wherever its head is enough.
func TestTheHeadOfAGrowingBodyAnswersAtOnce(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	reached, release := make(chan struct{}), make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if r.Method == http.MethodGet && r.Header.Get("Range") == "" && sent == mib {
			close(reached)
			<-release
		}
	}
	z := start(t, "--upstream", "up="+rl.url)
	first := begin(t, z.url+"/up/mid.bin")
	defer first.Body.Close()
	<-reached
	etag := first.Header.Get("ETag")
	for name, a := range map[string]answer{
		"HEAD":          ask(t, http.MethodHead, z.url+"/up/mid.bin").is(t, "HEAD", 200, ""),
		"If-None-Match": get(t, z.url+"/up/mid.bin", "If-None-Match: "+etag).is(t, "If-None-Match", 304, ""),
		"If-Match":      get(t, z.url+"/up/mid.bin", `If-Match: "other"`).is(t, "If-Match", 412, ""),
		"416":           get(t, z.url+"/up/mid.bin", "Range: bytes=20971520-").is(t, "range at the end", 416, ""),
	} {
		if a.Took > 2*time.Second {
			t.Errorf("%s during the fill took %v", name, a.Took)
		}
	}
	close(release)
	if d, err := digestOf(first.Body); d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("the first client got %d bytes, %v", d.n, err)
	}
}

// A fill that nobody reads does not hold up a stop; its draft goes on after the start.
func TestAStopSuspendsAFillThatNobodyReads(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	release := make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if r.Nth == 1 && sent == 5*mib {
			<-release
		}
	}
	z := start(t, "--upstream", "up="+rl.url)
	resp := begin(t, z.url+"/up/mid.bin")
	readPrefix(t, resp.Body, "mid.bin", 4*mib)
	resp.Body.Close()
	began := time.Now()
	z.stop()
	close(release)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %v, want it not to wait for a fill that nobody reads", took)
	}
	z.noEntry("up", "mid.bin")
	z.again()
	d, _, err := download(t, z.url+"/up/mid.bin")
	if d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("after the start: %d bytes, %v", d.n, err)
	}
	all := rl.requests("/mid.bin")
	var from int64
	if _, err := fmt.Sscanf(all[len(all)-1].Header.Get("Range"), "bytes=%d-", &from); err != nil || from < 4*mib {
		t.Errorf("after the start the origin was asked for Range %q, want one from 4 MiB on", all[len(all)-1].Header.Get("Range"))
	}
}

func TestAReloadDisturbsNoDownload(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	reached, release := make(chan struct{}), make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if r.Nth == 1 && sent == mib {
			close(reached)
			<-release
		}
	}
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\n", rl.url)))
	resp := begin(t, z.url+"/up/mid.bin")
	defer resp.Body.Close()
	<-reached
	if err := z.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	operate(t, z, "POST", "/-/reload", "").is(t, "reload", 200, "")
	close(release)
	if d, err := digestOf(resp.Body); d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("the download got %d bytes, %v", d.n, err)
	}
	if got := rl.count("/mid.bin"); got != 1 {
		t.Errorf("the origin was asked %d times, want once", got)
	}
}

// Many small or overlapping ranges would multiply the work that one request causes.
func TestAFloodOfRangesCostsNoMoreThanTheBody(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 300_000))
	z := start(t, "--upstream", "up="+n.url)
	for _, piece := range []string{"0-", "-300000", "0-299999"} {
		ranges := "Range: bytes=" + strings.Repeat(piece+",", 500) + piece
		a := get(t, z.url+"/up/a.bin", ranges)
		if a.Err != nil || len(a.Body) > 600_000 || a.Status >= 500 {
			t.Errorf("501 times the range %s = %d with %d bytes, %v", piece, a.Status, len(a.Body), a.Err)
		}
	}
}

// Without the forward proxy no other site is answered for: least of all by a hub at the root.
func TestAnAbsoluteTargetElsewhereIsNoHubs(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "from the hub", "Cache-Control: max-age=600") })
	z := start(t, "--upstream", o.url, "--proxy", "off")
	for _, line := range []string{
		"GET http://other.example/a", "GET https://other.example/a", "GET http://127.0.0.1:1/a", "GET http://localhost:1/a", "GET http://192.0.2.1/a", "GET http:///a",
		"CONNECT other.example:443", "CONNECT 127.0.0.1:22", "CONNECT " + z.addr,
	} {
		_, to, _ := strings.Cut(line, "://")
		host, _, _ := strings.Cut(to, "/")
		a := raw(t, z.addr, line+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		if a.Status < 400 {
			t.Errorf("%s = %d %s, want a refusal", line, a.Status, clip(a.Body))
		}
	}
	raw(t, z.addr, "GET "+z.url+"/a HTTP/1.1\r\nHost: "+z.addr+"\r\nConnection: close\r\n\r\n").whole(t, "an absolute target here", []byte("from the hub"))
	// What other URL tools take is held to the same: these are not this instance's, whatever hub is at the root.
	for _, url := range []string{"http://127.0.0.1:1/a", "http://other.example/a", "ftp://" + z.addr + "/a"} {
		if a := get(t, z.url+"/-/explain?url="+url, "Accept: application/json"); a.Status == 200 {
			t.Errorf("explain %s = %s, want no hub", url, clip(a.Body))
		}
	}
}
