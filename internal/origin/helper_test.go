package origin

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"zcache/internal/origin/origintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTransport makes a Transport that ends with the test.
func newTransport(t *testing.T, conf Config) *Transport {
	t.Helper()
	tr, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// hubOf is a hub called h over these URLs.
func hubOf(t testing.TB, urls ...string) Hub {
	t.Helper()
	h := Hub{Name: "h"}
	for _, s := range urls {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		h.Upstreams = append(h.Upstreams, u)
	}
	return h
}

func hubRequest(ctx context.Context, method, path string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, method, "http://placeholder/", nil)
	if err != nil {
		panic(err)
	}
	path, query, force := strings.Cut(path, "?")
	req.URL = &url.URL{Scheme: "hub", Host: "h", Opaque: path, RawQuery: query, ForceQuery: force}
	return req
}

// ask sends a GET through hub h and reads the whole body.
func ask(t *testing.T, tr *Transport, path string) (int, string, error) {
	t.Helper()
	return do(tr, hubRequest(t.Context(), "GET", path))
}

func do(tr *Transport, req *http.Request) (int, string, error) {
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// A clock is a time that only the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rawOrigin accepts connections and keeps the head of each request as it was on the wire.
type rawOrigin struct {
	addr  string
	heads chan string
}

// newRawOrigin answers every request head by answer, then closes the connection.
func newRawOrigin(t *testing.T, answer string) *rawOrigin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &rawOrigin{addr: ln.Addr().String(), heads: make(chan string, 100)}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer conn.Close()
				var head bytes.Buffer
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadString('\n')
					head.WriteString(line)
					if err != nil || line == "\r\n" {
						break
					}
				}
				o.heads <- head.String()
				_, _ = io.WriteString(conn, answer)
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return o
}

const emptyAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// deadURL is an address that refuses connections.
func deadURL(t *testing.T) string {
	o := origintest.New(t)
	o.Stop()
	return o.URL
}
