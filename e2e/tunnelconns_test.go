package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"
)

func TestConnectionsOfInterceptedTunnelsCount(t *testing.T) {
	ca := createCA(t, "mirror.example")
	z := start(t, "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca, "--max-conns-per-client", "4", "--proxy-allow-host", "mirror.example")
	open := 0
	for range 12 {
		c, err := net.DialTimeout("tcp", z.addr, 5*time.Second)
		if err != nil {
			continue
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(c, "CONNECT mirror.example:443 HTTP/1.1\r\nHost: mirror.example:443\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 16), &http.Request{Method: http.MethodConnect})
		if err != nil || resp.StatusCode != 200 {
			continue
		}
		if err := tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake(); err == nil {
			open++
		}
	}
	if open == 0 || open > 4 {
		t.Errorf("%d intercepted tunnels of one client are open at a time, want 1 to 4", open)
	}
}
