package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// An HTTP/1.0 client knows the end of a body without a length by the end of the connection alone: a body that broke off must end
// with a reset, or it looks whole.
func TestABodyThatBreaksOffLooksWholeToNobody(t *testing.T) {
	body := string(bytesOf("b", 200_000))
	o := startOrigin(t, func(w *wire, r *request) {
		w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(body), body))
		w.last = true
	})
	z := start(t, "--upstream", "up="+o.url)
	for i, head := range []string{"HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n", "HTTP/1.1\r\nConnection: close\r\n", "HTTP/1.1\r\nTE: trailers\r\nConnection: close, TE\r\n"} {
		a := raw(t, z.addr, fmt.Sprintf("GET /up/%d.bin %sHost: %s\r\n\r\n", i, head, z.addr))
		if a.Err == nil && a.Status < 400 {
			t.Errorf("GET with %q = %d and a body of %d bytes that looks whole, want a reset", head, a.Status, len(a.Body))
		}
	}
}

func TestAnOldClientGetsABodyWithoutALength(t *testing.T) {
	body := bytesOf("b", 200_000)
	o := startOrigin(t, func(w *wire, r *request) {
		w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body))
	})
	z := start(t, "--upstream", "up="+o.url)
	for _, state := range []string{"cold", "held"} {
		a := raw(t, z.addr, "GET /up/a.bin HTTP/1.0\r\nHost: "+z.addr+"\r\n\r\n")
		a.whole(t, state, body)
		if strings.Contains(strings.ToLower(a.Raw[:strings.Index(a.Raw, "\r\n\r\n")]), "chunked") {
			t.Errorf("%s: an HTTP/1.0 client was sent chunks", state)
		}
		z.published("up", "a.bin", int64(len(body)))
	}
	// Held, its length is known.
	if a := get(t, z.url+"/up/a.bin", "Range: bytes=-10"); a.Status != 206 || a.Header.Get("Content-Range") != "bytes 199990-199999/200000" {
		t.Errorf("suffix of the held body = %d, Content-Range %q", a.Status, a.Header.Get("Content-Range"))
	}
}

func TestARangeOfAColdBodyWithoutALengthIsRightOrWhole(t *testing.T) {
	body := bytesOf("b", 200_000)
	o := startOrigin(t, func(w *wire, r *request) {
		w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body))
	})
	z := start(t, "--upstream", "up="+o.url)
	for i, row := range []struct {
		rng      string
		from, to int
	}{{"0-9", 0, 10}, {"100-199", 100, 200}, {"199990-", 199_990, 200_000}, {"-10", 199_990, 200_000}, {"199990-300000", 199_990, 200_000}} {
		a := get(t, fmt.Sprintf("%s/up/%d.bin", z.url, i), "Range: bytes="+row.rng)
		switch {
		case a.Status == 200 && string(a.Body) == string(body):
		case a.Status == 206 && string(a.Body) == string(body[row.from:row.to]) && strings.HasPrefix(a.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/", row.from, row.to-1)):
		default:
			t.Errorf("range %s = %d, Content-Range %q, %d bytes", row.rng, a.Status, a.Header.Get("Content-Range"), len(a.Body))
		}
	}
}

// What has no validator, or a weak one, cannot be resumed: two halves may be of different bodies.
func TestABodyWithoutAStrongValidatorIsNeverSpliced(t *testing.T) {
	first, second := bytesOf("one", 600_000), bytesOf("two", 600_000)
	heads := map[string]string{"/none.bin": "X-Tag: none", "/weak.bin": `ETag: W/"1"`}
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Nth == 1 {
			w.send("HTTP/1.1 200 OK\r\n" + heads[r.Target] + "\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=600\r\nContent-Length: 600000\r\n\r\n" + string(first[:250_000]))
			w.cut()
			return
		}
		w.file(r, second, time.Time{}, heads[r.Target], "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	for path := range heads {
		a, err := tryAsk(http.MethodGet, z.url+"/up"+path)
		if err == nil && a.Err == nil && a.Status == 200 {
			a.whole(t, path+", first answer", second)
		}
		get(t, z.url+"/up"+path).whole(t, path+", next answer", second)
		z.published("up", path, int64(len(second)))
		if got, _ := z.held("up", path); string(got) != string(second) {
			t.Errorf("%s: the entry is not what the origin has", path)
		}
	}
}

// A draft that was left by a crash is worth nothing once the origin has another version.
func TestADraftOfAnOldVersionIsThrownAway(t *testing.T) {
	old, young := bytesOf("old", 3*mib), bytesOf("young", 4*mib)
	n := startNginx(t, "")
	n.put("a.bin", old)
	rl := startRelay(t, n.url)
	release := make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if r.Nth == 1 && sent == mib {
			<-release
		}
	}
	z := start(t, "--upstream", "up="+rl.url)
	resp := begin(t, z.url+"/up/a.bin")
	if _, err := resp.Body.Read(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	z.kill9()
	resp.Body.Close()
	close(release)
	n.put("a.bin", young)
	when := modified.Add(time.Hour)
	if err := os.Chtimes(n.tree+"/a.bin", when, when); err != nil {
		t.Fatal(err)
	}
	z.again()
	get(t, z.url+"/up/a.bin").whole(t, "after the crash", young)
	z.published("up", "a.bin", int64(len(young)))
	if got, _ := z.held("up", "a.bin"); string(got) != string(young) {
		t.Error("the entry is not what the origin has now")
	}
}

// Clients that come and go in the middle of bodies leave no descriptor and no goroutine behind.
func TestClientsThatGoLeaveNothingOpen(t *testing.T) {
	n := startNginx(t, "")
	z := start(t, "--upstream", "up="+n.url)
	get(t, z.url+"/up/mid.bin")
	z.published("up", "mid.bin", midSize)
	open := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", z.pid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := open()
	for round := range 4 {
		path := "/up/mid.bin"
		if round%2 == 1 {
			path = fmt.Sprintf("/up/mid.bin?%d", round) // a fill of its own
		}
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				conn, err := net.Dial("tcp", z.addr)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
				_, _ = conn.Read(make([]byte, 1+i*1000))
				if i%2 == 0 {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
			})
		}
		wg.Wait()
	}
	eventually(t, waitShort, "descriptors are closed", func() (bool, string) {
		now := open()
		return now <= before+20, fmt.Sprintf("%d open, %d before", now, before)
	})
	eventually(t, waitShort, "goroutines have ended", func() (bool, string) {
		for l := range strings.Lines(string(get(t, z.url+"/-/metrics").Body)) {
			var count float64
			if _, err := fmt.Sscanf(l, "go_goroutines %g", &count); err == nil {
				return count < 60, l
			}
		}
		return false, "no go_goroutines in the metrics"
	})
	d, _, err := download(t, z.url+"/up/mid.bin")
	if d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("afterwards: %d bytes, %v", d.n, err)
	}
}
