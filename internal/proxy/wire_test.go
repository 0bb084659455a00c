package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"zcache/internal/origin/origintest"
)

func TestBodiesThatBreakOffNeverLookWhole(t *testing.T) {
	g := newRig(t)
	body := origintest.Body(1, 1<<20)
	for _, tt := range []struct {
		name string
		opts []origintest.Option
	}{
		{"of known length", []origintest.Option{origintest.NoValidators()}},
		{"chunked", []origintest.Option{origintest.Chunked()}},
		{"of known length, not kept", []origintest.Option{cc("no-store")}},
		{"chunked, not kept", []origintest.Option{origintest.Chunked(), cc("no-store")}},
	} {
		for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
			t.Run(tt.name+" over "+proto, func(t *testing.T) {
				path := fmt.Sprintf("/%x", t.Name())
				g.o.File(path, body, append(tt.opts, origintest.CutAfter(300_000))...)
				r := g.send("GET " + path + " " + proto)
				if r.broken == nil || len(r.body) > 300_000 {
					t.Errorf("%d bytes with %v, %v: they look whole", len(r.body), r.Header, r.broken)
				}
				if !strings.HasPrefix(body.String(), r.body) {
					t.Error("they are not the body's")
				}
				g.idle()
				g.o.File(path, body, append(tt.opts, cc(fresh))...)
				if r := g.send("GET " + path + " " + proto); r.body != body.String() || r.broken != nil {
					t.Errorf("without the fault: %d bytes, %v", len(r.body), r.broken)
				}
			})
		}
	}
}

func TestBytesReachTheClientAsTheyCome(t *testing.T) {
	g := newRig(t)
	body := origintest.Body(2, 1<<20)
	for _, opts := range [][]origintest.Option{nil, {origintest.Chunked()}, {origintest.Chunked(), cc("no-store")}, {cc("no-store")}} {
		release := make(chan struct{})
		path := fmt.Sprintf("/%d%p", len(opts), release)
		g.o.File(path, body, append(opts, origintest.Stall(5000, release))...)
		c := g.dial()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 5000)
		if _, err := io.ReadFull(resp.Body, first); err != nil {
			t.Fatalf("while the origin stalls: %v", err)
		}
		close(release)
		rest, err := io.ReadAll(resp.Body)
		if got := string(first) + string(rest); err != nil || got != body.String() {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		c.Close()
	}
}

func TestRangesOnTheWire(t *testing.T) {
	g := newRig(t)
	body := origintest.Body(3, 300_000)
	whole := body.String()
	g.o.File("/a", body, cc(fresh))
	g.get("/a").want(t, "the fill", 200, whole, "MISS")
	g.idle()
	// Several answers over one connection: what one of them sends too much or too little of shows in the next.
	c := g.dial()
	defer c.Close()
	in := bufio.NewReader(c)
	for _, tt := range []struct {
		method, spec string
		status       int
		want         string
	}{
		{"GET", "bytes=0-0", 206, whole[:1]}, {"GET", "bytes=-1", 206, whole[len(whole)-1:]}, {"GET", "bytes=1000-200999", 206, whole[1000:201000]},
		{"GET", "bytes=300000-", 416, ""}, {"HEAD", "bytes=0-0", 200, ""}, {"GET", "bytes=5-4", 200, whole}, {"GET", "bytes=0-", 206, whole},
		{"GET", "bytes=0-9,20-29", 206, ""}, {"GET", "", 200, whole}, {"HEAD", "", 200, ""},
	} {
		fmt.Fprintf(c, "%s /a HTTP/1.1\r\nHost: x\r\n", tt.method)
		if tt.spec != "" {
			fmt.Fprintf(c, "Range: %s\r\n", tt.spec)
		}
		io.WriteString(c, "\r\n")
		r := readReply(t, in, tt.method)
		if strings.Contains(tt.spec, ",") {
			tt.want = r.body
			if !strings.Contains(r.body, whole[20:30]) || int64(len(r.body)) != r.ContentLength {
				t.Errorf("%s: %q", tt.spec, r.body)
			}
		}
		r.want(t, tt.method+" "+tt.spec, tt.status, tt.want, "HIT")
		if tt.status == 416 && r.Header.Get("Content-Range") != "bytes */300000" {
			t.Errorf("416 with Content-Range %q", r.Header.Get("Content-Range"))
		}
	}
}

// A told body says whether it was asked to send itself.
type told struct {
	io.Reader
	sent bool
}

func (b *told) SendTo(c *net.TCPConn) (int64, error) {
	b.sent = true
	return io.Copy(c, b.Reader)
}

func TestBodyGoesStraightToTheSocket(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	body := &told{Reader: strings.NewReader("straight")}
	server := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "8")
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		w.(io.ReaderFrom).ReadFrom(body)
	})}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(Listener(l)) }()
	defer func() { server.Close(); <-done }()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	readReply(t, bufio.NewReader(c), "GET").want(t, "it", 200, "straight", "")
	if !body.sent {
		t.Error("the body was copied through this process")
	}
}

func TestUnsafeMethodsPassWithTheirBodies(t *testing.T) {
	g := newRig(t)
	g.o.Handle("/a", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "done") })
	g.sendBody("hello", "PUT /a HTTP/1.1", "Content-Length: 5").want(t, "PUT", 200, "done", "BYPASS")
	g.sendBody("5\r\nhello\r\n0\r\n\r\n", "POST /a HTTP/1.1", "Transfer-Encoding: chunked").want(t, "POST, chunked", 200, "done", "BYPASS")
	for _, r := range g.o.Requests("/a") {
		if string(r.Body) != "hello" {
			t.Errorf("%s brought %q", r.Method, r.Body)
		}
	}
	g.send("DELETE /a HTTP/1.1").want(t, "DELETE", 200, "done", "BYPASS")
}

// watched notes what kind of body its connections are given.
type watched struct {
	net.Listener
	direct, copied atomic.Int64
}

func (l *watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{c.(*conn), l}, nil
}

type watchedConn struct {
	*conn
	l *watched
}

func (c *watchedConn) ReadFrom(r io.Reader) (int64, error) {
	if _, ok := r.(sender); ok {
		c.l.direct.Add(1)
	} else {
		c.l.copied.Add(1)
	}
	return c.conn.ReadFrom(r)
}

func TestLargeBodiesAreNotCopied(t *testing.T) {
	g := newRig(t)
	body := origintest.Body(4, 2<<20)
	g.o.File("/a", body, cc(fresh))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	w := &watched{Listener: Listener(l)}
	server := &http.Server{Handler: g.g}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(w) }()
	defer func() { server.Close(); <-done }()
	for _, word := range []string{"MISS", "HIT"} {
		g.get("/a").want(t, "the whole", 200, body.String(), word)
		g.idle()
	}
	g.get("/a", "Range: bytes=1000000-").want(t, "a part", 206, body.String()[1000000:], "HIT")
	if w.direct.Load() != 3 || w.copied.Load() != 0 {
		t.Errorf("%d bodies went straight to the socket and %d through this process, want 3 and 0", w.direct.Load(), w.copied.Load())
	}
}

func TestClientThatShutsItsSideGetsNoEmptySuccess(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.o.File("/a", origintest.Text("body"), cc(fresh), origintest.Hold(release))
	for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
		c := g.dial().(*net.TCPConn)
		fmt.Fprintf(c, "GET /a %s\r\nHost: x\r\n\r\n", proto)
		g.o.Wait("/a", 1)
		c.CloseWrite()
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: it got %q", proto, b)
		}
		c.Close()
	}
	close(release)
	g.idle()
	g.get("/a").want(t, "the next client", 200, "body", "HIT")
	for _, l := range g.logs.requests()[:2] {
		if l["status"] != 499.0 {
			t.Errorf("logged as %v", l)
		}
	}
}
