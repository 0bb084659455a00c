package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The kill comes at moments that are counted in bytes which the client has, from none to all.
func TestAKilledFillIsResumedAndNeverTorn(t *testing.T) {
	n := startNginx(t, "limit_rate 60m;")
	rl := startRelay(t, n.url)
	z := start(t, "--upstream", "up="+rl.url)
	moments := []int64{0, 1, 70_000, 5 * mib, 20 * mib, 41*mib + 1, 64 * mib, 90*mib + 4095, 111 * mib, 130*mib - 1, 155 * mib, 180 * mib, 199 * mib}
	for i, moment := range moments {
		resp := begin(t, z.url+"/up/big.bin")
		readPrefix(t, resp.Body, "big.bin", moment)
		z.kill9()
		resp.Body.Close()
		wholeOrNothing := func(when string) {
			if info, err := os.Stat(z.path("up", "big.bin")); err == nil && (moment < 180*mib || info.Size() != bigSize) {
				t.Fatalf("%s the kill at %d bytes, %d bytes are published", when, moment, info.Size())
			}
		}
		wholeOrNothing("after")
		z.again()
		wholeOrNothing("after a restart from")
		if got := rl.count("/big.bin"); got != i+1 {
			t.Fatalf("after %d kills the origin saw %d requests, want %d", i+1, got, i+1)
		}
	}
	d, resp, err := download(t, z.url+"/up/big.bin")
	if d != bodies["big.bin"].digest || err != nil {
		t.Fatalf("the body after %d kills = %d bytes, %v; want the origin's %d", len(moments), d.n, err, int64(bigSize))
	}
	for i, r := range rl.requests("/big.bin") {
		if i == 0 || moments[i-1] == 0 {
			continue
		}
		var from int64
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil || from < moments[i-1] {
			t.Errorf("after the kill at %d bytes the origin was asked for Range %q, want one from there on", moments[i-1], r.Header.Get("Range"))
		}
		if got := r.Header.Get("If-Range"); got != resp.Header.Get("ETag") {
			t.Errorf("after the kill at %d bytes If-Range was %q, want the ETag %q", moments[i-1], got, resp.Header.Get("ETag"))
		}
	}
	z.published("up", "big.bin", bigSize)
	if d := fileDigest(t, z.path("up", "big.bin")); d != bodies["big.bin"].digest {
		t.Errorf("the entry on disk has %d bytes, not the origin's", d.n)
	}
}

// The most delicate moment is the end, when the draft becomes the entry.
func TestAKillAtThePublishingLeavesAllOrNothing(t *testing.T) {
	n := startNginx(t, "")
	z := start(t, "--upstream", "up="+n.url)
	for i := range 12 {
		path := fmt.Sprintf("k%d.bin", i)
		n.put(path, bytesOf(path, 3*mib))
		resp := begin(t, z.url+"/up/"+path)
		// One byte less, then the end: the last byte is withheld by no one, so the kill falls on either side of the rename.
		got := make([]byte, 3*mib-(i+1)%2)
		if _, err := io.ReadFull(resp.Body, got); err != nil {
			t.Fatal(err)
		}
		z.kill9()
		resp.Body.Close()
		for _, when := range []string{"after the kill", "after the restart"} {
			if b, ok := z.held("up", path); ok && !bytes.Equal(b, bytesOf(path, 3*mib)) {
				t.Errorf("%s: %s holds %d torn bytes", when, path, len(b))
			}
			if when == "after the kill" {
				z.again()
			}
		}
		get(t, z.url+"/up/"+path).whole(t, path+" after the restart", bytesOf(path, 3*mib))
	}
}

func TestAnUpstreamThatCutsEveryConnectionStillGivesOneWholeBody(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	rl.cut = 5 * mib
	z := start(t, "--upstream", "up="+rl.url)
	began := time.Now()
	d, _, err := download(t, z.url+"/up/big.bin")
	if d != bodies["big.bin"].digest || err != nil {
		t.Fatalf("body = %d bytes, %v; want %d", d.n, err, int64(bigSize))
	}
	t.Logf("took %v over %d connections", time.Since(began), rl.count("/big.bin"))
	for i, r := range rl.requests("/big.bin") {
		if i > 0 && (r.Header.Get("Range") == "" || r.Header.Get("If-Range") == "") {
			t.Errorf("request %d had Range %q and If-Range %q, want both", i+1, r.Header.Get("Range"), r.Header.Get("If-Range"))
		}
	}
	// A reset takes with it what was still on its way, so a connection gives less than its 5 MiB.
	if got, want := rl.count("/big.bin"), bigSize/(5*mib); got > 2*want {
		t.Errorf("the origin was asked %d times, want not much more than %d", got, want)
	}
	z.published("up", "big.bin", bigSize)
	get(t, z.url+"/up/big.bin", "Range: bytes=0-9").is(t, "afterwards", http.StatusPartialContent, "HIT")
}

// The origin stands still at each percent until the client has gone: the client leaves a fill that is really under way.
func TestAClientThatLeavesAtAnyPercentLeavesNoHole(t *testing.T) {
	n := startNginx(t, "location ~ ^/leave/ { alias "+sharedBodies(t)["mid.bin"].path+"; }")
	rl := startRelay(t, n.url)
	rl.piece = midSize / 100
	gates := make(map[string]gate, 100)
	for percent := range 100 {
		gates[fmt.Sprintf("/leave/%d.bin", percent)] = gate{int64(percent) * midSize / 100, make(chan struct{})}
	}
	rl.before = func(r *request, sent int64) {
		if g := gates[r.Target]; sent == g.at {
			<-g.left
		}
	}
	z := start(t, "--upstream", "up="+rl.url)
	for percent := range 100 {
		path := fmt.Sprintf("/leave/%d.bin", percent)
		g := gates[path]
		if percent == 0 {
			leaveUnanswered(t, z.addr, "/up"+path, func() bool { return rl.count(path) == 1 })
		} else {
			resp := begin(t, z.url+"/up"+path)
			readPrefix(t, resp.Body, "mid.bin", g.at)
			resp.Body.Close()
		}
		close(g.left)
		z.published("up", path, midSize)
		d, resp, err := download(t, z.url+"/up"+path)
		if d != bodies["mid.bin"].digest || err != nil || resp.Header.Get("X-Cache") != "HIT" {
			t.Errorf("after a client left at %d %%: %d bytes, %v, X-Cache %s; want the whole body as a HIT", percent, d.n, err, resp.Header.Get("X-Cache"))
		}
		if got := rl.count(path); got != 1 {
			t.Errorf("after a client left at %d %% the origin was asked %d times, want once", percent, got)
		}
		_ = os.Remove(z.path("up", path)) // 2 GiB in all would only warm the disk
	}
}

// leaveUnanswered asks for something and goes once the origin was asked, without a byte of the answer.
func leaveUnanswered(t testing.TB, addr, path string, asked func() bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, addr)
	eventually(t, waitShort, "the origin is asked", func() (bool, string) { return asked(), "" })
}

type gate struct {
	at   int64
	left chan struct{}
}

// readPrefix reads the first n bytes of a shared body and wants them to be right.
func readPrefix(t testing.TB, r io.Reader, name string, n int64) {
	t.Helper()
	f, err := os.Open(sharedBodies(t)[name].path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want, err := digestOf(io.LimitReader(f, n))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := digestOf(io.LimitReader(r, n)); got != want || err != nil {
		t.Fatalf("the first %d bytes of %s: got %d of them, %v, and not the origin's", n, name, got.n, err)
	}
}

func fileDigest(t testing.TB, path string) digest {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d, err := digestOf(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const page = "<!DOCTYPE html><html><head><title>Sorry</title></head><body>try again later</body></html>"

// What an origin broke, or what is not the thing asked for, is never kept; a client never sees it as a whole body.
func TestBrokenAnswersAreNeverPublished(t *testing.T) {
	body := string(bytesOf("b", 40_000))
	head := "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Type: application/octet-stream\r\n"
	rows := []struct {
		name, path string
		answer     func(w *wire, r *request)
		mayPass    bool // the client may get the answer as it is, uncached
	}{
		{"more announced than sent", "long.bin", func(w *wire, r *request) {
			w.send(head + "Content-Length: 50000\r\n\r\n" + body)
			w.last = true
		}, false},
		{"more announced than sent, reset", "reset.bin", func(w *wire, r *request) {
			w.send(head + "Content-Length: 50000\r\n\r\n" + body)
			w.cut()
		}, false},
		{"less announced than sent", "short.bin", func(w *wire, r *request) {
			w.send(head + "Content-Length: 30000\r\n\r\n" + body)
		}, true},
		{"no last chunk", "chunk.bin", func(w *wire, r *request) {
			w.send(head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(body), body))
			w.last = true
		}, false},
		{"a chunk cut short", "chunk2.bin", func(w *wire, r *request) {
			w.send(head + "Transfer-Encoding: chunked\r\n\r\nffff\r\n" + body)
			w.last = true
		}, false},
		{"a chunk size that is none", "chunk3.bin", func(w *wire, r *request) {
			w.send(head + fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\nzz\r\n\r\n", len(body), body))
			w.last = true
		}, false},
		{"two lengths", "two.bin", func(w *wire, r *request) {
			w.send(head + "Content-Length: 40000\r\nContent-Length: 5\r\n\r\n" + body)
			w.last = true
		}, false},
		{"no length, connection reset", "close.bin", func(w *wire, r *request) {
			w.send(head + "Connection: close\r\n\r\n" + body)
			w.cut()
		}, false},
		{"gzip that nobody asked for", "notes.txt", func(w *wire, r *request) {
			w.reply(r, 200, "\x1f\x8b\x08"+body, "Cache-Control: max-age=600", "Content-Encoding: gzip", "Content-Type: text/plain")
		}, true},
		{"a page for a tarball", "a.tar.gz", func(w *wire, r *request) {
			w.reply(r, 200, page, "Cache-Control: max-age=600", "Content-Type: text/html")
		}, false},
		{"a page for a tarball, labelled as one", "b.tar.gz", func(w *wire, r *request) {
			w.reply(r, 200, page, "Cache-Control: max-age=600", "Content-Type: application/gzip")
		}, false},
		{"a part for the whole", "part.bin", func(w *wire, r *request) {
			w.reply(r, 206, body[:100], "Cache-Control: max-age=600", "Content-Range: bytes 0-99/40000")
		}, true},
	}
	o := startOrigin(t, func(w *wire, r *request) {
		for _, row := range rows {
			if strings.HasSuffix(r.Target, "/"+row.path) {
				row.answer(w, r)
			}
		}
	})
	z := start(t, "--upstream", "up="+o.url)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // most of the time goes by in backoff
			for try := range 2 {
				before := o.count("/" + row.path)
				a, err := tryAsk(http.MethodGet, z.url+"/up/"+row.path)
				if err == nil && a.Err == nil && a.Status < 400 && !row.mayPass {
					t.Errorf("request %d = %d with a body of %d bytes that looks whole, want an abort or an error", try+1, a.Status, len(a.Body))
				}
				if o.count("/"+row.path) == before {
					t.Errorf("request %d was answered without the origin, X-Cache %s: something was kept", try+1, a.cache())
				}
				z.noEntry("up", row.path)
			}
		})
	}
}

// Bytes behind the announced end could be taken for the answer to the next request on that connection.
func TestBytesBehindABodyNeverAnswerAnotherRequest(t *testing.T) {
	smuggled := "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 4\r\n\r\nevil"
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Target == "/short.bin" {
			w.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nCache-Control: max-age=600\r\n\r\n0123456789" + smuggled)
			return
		}
		w.reply(r, 200, "good", "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	for i := range 5 {
		if a, err := tryAsk(http.MethodGet, z.url+"/up/short.bin"); err == nil && bytes.Contains(a.Body, []byte("evil")) {
			t.Errorf("short.bin = %s", clip(a.Body))
		}
		get(t, fmt.Sprintf("%s/up/%d.bin", z.url, i)).whole(t, "the next request", []byte("good"))
	}
}

// A resume that starts elsewhere, or of another version, must not be glued to what is there.
func TestAResumeIsNeverGluedToAnotherBody(t *testing.T) {
	first, second := bytesOf("one", 900_000), bytesOf("two", 900_000)
	half := func(w *wire) {
		w.send("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Length: 900000\r\n\r\n" + string(first[:400_000]))
		w.cut()
	}
	rows := map[string]func(w *wire, r *request){
		"/changed.bin": func(w *wire, r *request) { w.file(r, second, modified, `ETag: "2"`) },
		"/offset.bin": func(w *wire, r *request) {
			w.reply(r, 206, string(first[300_000:]), `ETag: "1"`, "Content-Range: bytes 300000-899999/900000")
		},
		"/tag.bin": func(w *wire, r *request) {
			var from int
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.reply(r, 206, string(second[from:]), `ETag: "2"`, fmt.Sprintf("Content-Range: bytes %d-899999/900000", from))
		},
		"/total.bin": func(w *wire, r *request) {
			var from int
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			w.reply(r, 206, string(second[from:800_000]), `ETag: "1"`, fmt.Sprintf("Content-Range: bytes %d-799999/800000", from))
		},
	}
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Nth == 1 {
			half(w)
		} else {
			rows[r.Target](w, r)
		}
	})
	z := start(t, "--upstream", "up="+o.url)
	for path := range rows {
		t.Run(path[1:], func(t *testing.T) {
			t.Parallel()
			for range 2 {
				a, err := tryAsk(http.MethodGet, z.url+"/up"+path)
				if err != nil || a.Err != nil || a.Status != 200 {
					continue
				}
				if !bytes.Equal(a.Body, first) && !bytes.Equal(a.Body, second) {
					t.Errorf("a body of %d bytes that no version of the origin's has", len(a.Body))
				}
			}
			if got, ok := z.held("up", path); ok && !bytes.Equal(got, second) {
				t.Errorf("published %d bytes that the origin does not have", len(got))
			}
		})
	}
}

// Compressed archives are often labelled with the coding that they are made with.
func TestABogusCodingOfAnArchiveIsDropped(t *testing.T) {
	archive := append([]byte{0x1f, 0x8b, 0x08, 0}, bytesOf("gz", 9000)...)
	o := startOrigin(t, func(w *wire, r *request) {
		w.reply(r, 200, string(archive), "Content-Encoding: gzip", "Content-Type: application/x-tar", "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	for _, verdict := range []string{"MISS", "HIT"} {
		a := get(t, z.url+"/up/a.tar.gz").whole(t, verdict, archive).is(t, verdict, 200, verdict)
		if ce := a.Header.Get("Content-Encoding"); ce != "" {
			t.Errorf("%s: Content-Encoding %q, want none: a client would unpack the archive", verdict, ce)
		}
	}
	for _, r := range o.requests("") {
		if ae := r.Header.Get("Accept-Encoding"); ae != "identity" {
			t.Errorf("the origin was asked with Accept-Encoding %q, want identity", ae)
		}
	}
}
