package limit

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestConnectionsThatSayNothingAreBounded(t *testing.T) {
	for _, row := range []struct {
		claim     string
		each, all int
		want      int
	}{
		{"of one address", 3, 0, 3},
		{"in all", 0, 5, 5},
		{"the tighter bound counts", 2, 5, 2},
	} {
		t.Run(row.claim, func(t *testing.T) {
			conns := NewConns(row.each, row.all)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
			server.Config.ConnState = conns.State
			server.Start()
			defer server.Close()
			var open []net.Conn
			answered := 0
			for range 8 {
				c, err := net.Dial("tcp", server.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					continue
				}
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					continue
				}
				resp.Body.Close()
				answered++
				open = append(open, c)
			}
			if n, refused := conns.Load(); answered != row.want || n != row.want || refused != uint64(8-row.want) {
				t.Errorf("%d connections answered, %d open, %d refused; want %d, %d, %d", answered, n, refused, row.want, row.want, 8-row.want)
			}
			// The server learns of an end in its own time; a request on a new connection that it answers is the fact.
			open[0].Close()
			for range 1000 {
				if resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(server.URL); err == nil {
					resp.Body.Close()
					return
				}
			}
			t.Error("no connection is answered after one was closed")
		})
	}
}
