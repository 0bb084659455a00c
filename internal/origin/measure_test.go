package origin

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// onceServer answers every connection with raw after it has read a head.
func onceServer(t *testing.T, raw string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.WriteString(c, raw)
			}
			c.Close()
		}
	}()
	u, _ := url.Parse("http://" + l.Addr().String())
	return u
}

func TestMoreThanAnnouncedIsAnError(t *testing.T) {
	big := strings.Repeat("x", 48<<10) // with its tail in one packet on loopback: what has not arrived cannot be seen
	for name, tc := range map[string]struct {
		raw  string
		want error
	}{
		"a few bytes too many":           {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcdefgh", errLonger},
		"after an interim response":      {"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcdefgh", errLonger},
		"a large body with a tail":       {"HTTP/1.1 200 OK\r\nContent-Length: 49152\r\n\r\n" + big + "tail", errLonger},
		"a line end after it":            {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd\r\n", nil},
		"a line end and more after it":   {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd\r\nx", errLonger},
		"just what was announced":        {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", nil},
		"the same after an interim one":  {"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd", nil},
		"a large body without a tail":    {"HTTP/1.1 200 OK\r\nContent-Length: 49152\r\n\r\n" + big, nil},
		"a body with blank lines in it":  {"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\r\n\r\nabcd", nil},
		"a body that ends with its line": {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdefgh", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := New(Config{Hubs: []Hub{{Name: "h", Upstreams: []*url.URL{onceServer(t, tc.raw)}}}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			req := (&http.Request{Method: "GET", URL: &url.URL{Scheme: "hub", Host: "h", Opaque: "/a"}, Header: http.Header{}}).WithContext(t.Context())
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, tc.want) || (tc.want == nil && err != nil) {
				t.Errorf("read to the end: %v, want %v", err, tc.want)
			}
		})
	}
}
