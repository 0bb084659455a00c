package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A peer is a server that a test speaks for.
type peer struct {
	net.Listener
	conns chan *net.TCPConn
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{l, make(chan *net.TCPConn)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			select {
			case p.conns <- c.(*net.TCPConn):
			case <-t.Context().Done():
				c.Close()
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return p
}

// tunnel opens one to the peer, wherever the request says, and returns its two ends.
func (g *rig) tunnel(p *peer, idle time.Duration, early string) (client *net.TCPConn, in *bufio.Reader, server *net.TCPConn) {
	g.t.Helper()
	g.g.SetForward(&Forward{Idle: idle, Connect: func(ctx context.Context, host, port string) (net.Conn, error) {
		if host != "x.example" || port != "443" {
			return nil, fmt.Errorf("connect to %s port %s", host, port)
		}
		return (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr().String())
	}})
	c := g.dial()
	g.t.Cleanup(func() { c.Close() })
	io.WriteString(c, "CONNECT X.Example:443 HTTP/1.1\r\nHost: y.example\r\n\r\n"+early)
	in = bufio.NewReader(c)
	resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != 200 {
		g.t.Fatalf("CONNECT = %+v, %v", resp, err)
	}
	server = <-p.conns
	g.t.Cleanup(func() { server.Close() })
	server.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn), in, server
}

// metric is the value of one of our series; label is that of its only label, "" where there is none.
func (g *rig) metric(name, label string) float64 {
	g.t.Helper()
	all, err := g.reg.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, family := range all {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func (g *rig) tunnelsOpen() float64 { return g.metric("zcache_tunnels", "") }

func (g *rig) tunnelled(direction string) float64 {
	return g.metric("zcache_tunnel_bytes_total", direction)
}

// settled waits until no tunnel is open.
func (g *rig) settled() {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); g.tunnelsOpen() > 0 || g.tunnelled("up")+g.tunnelled("down") == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatal("a tunnel does not end")
		}
	}
}

func TestTunnelCarriesBytesBothWaysAndTheirEnd(t *testing.T) {
	g := newRig(t)
	client, in, server := g.tunnel(newPeer(t), 0, "early")
	up, down := make([]byte, 3<<20), make([]byte, 5<<20)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(up)
	r.Read(down)
	sent := make(chan error, 2)
	go func() {
		_, err := client.Write(up)
		client.CloseWrite()
		sent <- err
	}()
	got, err := io.ReadAll(server) // to the client's end, which has to come through
	if want := append([]byte("early"), up...); err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
		t.Fatalf("the server got %d bytes, %v; want %d", len(got), err, len(want))
	}
	// The other direction still works when the first has ended.
	go func() {
		_, err := server.Write(down)
		server.Close()
		sent <- err
	}()
	got, err = io.ReadAll(in)
	if err != nil || !bytes.Equal(got, down) {
		t.Fatalf("the client got %d bytes, %v; want %d", len(got), err, len(down))
	}
	for range 2 {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	g.settled()
	if u, d := g.tunnelled("up"), g.tunnelled("down"); u != float64(len(up)+5) || d != float64(len(down)) {
		t.Errorf("counted %v up and %v down, want %d and %d", u, d, len(up)+5, len(down))
	}
	for deadline := time.Now().Add(20 * time.Second); len(g.logs.requests()) == 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
	}
	lines := g.logs.requests()
	if len(lines) != 1 {
		t.Fatalf("log lines: %v", lines)
	}
	if l := lines[0]; l["method"] != "CONNECT" || l["domain"] != "X.Example:443" || l["bytes_sent"] != float64(len(down)) || l["bytes_received"] != float64(len(up)+5) || l["form"] != "proxy" {
		t.Errorf("log line: %v", l)
	}
}

func TestTunnelPassesAResetOn(t *testing.T) {
	g := newRig(t)
	_, in, server := g.tunnel(newPeer(t), 0, "")
	server.Write([]byte("half"))
	if b := make([]byte, 4); true {
		if _, err := io.ReadFull(in, b); err != nil || string(b) != "half" {
			t.Fatalf("read %q, %v", b, err)
		}
	}
	server.SetLinger(0)
	server.Close()
	if _, err := in.ReadByte(); err == nil || err == io.EOF {
		t.Errorf("the client read %v, want a reset: an orderly end would be the end of the body", err)
	}
}

func TestTunnelThatIsIdleEnds(t *testing.T) {
	g := newRig(t)
	_, in, server := g.tunnel(newPeer(t), 100*time.Millisecond, "x")
	if b, err := io.ReadAll(server); string(b) != "x" || err != nil {
		t.Errorf("the server read %q, %v", b, err)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		t.Errorf("the client read %v, want the end", err)
	}
	g.settled()
}

func TestTunnelWithBytesOneWayIsNotIdle(t *testing.T) {
	g := newRig(t)
	const idle = 200 * time.Millisecond
	_, in, server := g.tunnel(newPeer(t), idle, "")
	go func() {
		defer server.Close()
		tick := time.NewTicker(idle / 4)
		defer tick.Stop()
		for range 16 {
			<-tick.C
			if _, err := server.Write([]byte("x")); err != nil {
				return
			}
		}
	}()
	if b, err := io.ReadAll(in); len(b) != 16 || err != nil {
		t.Errorf("the client got %d bytes, %v; want 16 over four times the idle time", len(b), err)
	}
}

func TestTunnelsEndWithTheGateway(t *testing.T) {
	g := newRig(t)
	client, in, server := g.tunnel(newPeer(t), 0, "x")
	if b := make([]byte, 1); true {
		if _, err := io.ReadFull(server, b); err != nil {
			t.Fatal(err)
		}
	}
	g.g.Close()
	if _, err := in.ReadByte(); err == nil {
		t.Error("the client's end still reads")
	}
	if _, err := server.Read(make([]byte, 1)); err == nil {
		t.Error("the server's end still reads")
	}
	client.Close()
	c := g.dial()
	defer c.Close()
	io.WriteString(c, "CONNECT x.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	if b, _ := io.ReadAll(c); strings.Contains(string(b), "\r\n\r\nx") {
		t.Errorf("a tunnel begins after the end: %q", b)
	}
}

func TestTunnelsThatAreRefused(t *testing.T) {
	g := newRig(t).forward()
	for target, want := range map[string]string{
		"169.254.169.254:443": "403 destination_refused", "10.0.0.1:443": "403 destination_refused", "[::ffff:127.0.0.2]:443": "403 destination_refused",
		"x.example:22": "403 destination_refused", "127.0.0.1:22": "403 destination_refused",
		"2130706433:443": "403 destination_refused", "127.1:443": "403 destination_refused", g.o.Addr: "403 destination_refused", g.addr: "403 destination_refused",
		"127.0.0.1:443": "502 tunnel_unreachable", "x.example": "400 bad_target", "x.example:": "400 bad_target", "x.example:0": "400 bad_path",
		"[fe80::1%25lo]:443": "400 bad_path", "[::1]": "400 bad_target",
	} {
		r := g.send("CONNECT " + target + " HTTP/1.1")
		if got := fmt.Sprint(r.StatusCode, " ", r.word()); got != want {
			t.Errorf("CONNECT %s = %s %q, want %s", target, got, r.body, want)
		}
		if r.StatusCode == 403 && !strings.Contains(r.Header.Get("Proxy-Status"), "details=") {
			t.Errorf("CONNECT %s: no reason in Proxy-Status %q", target, r.Header.Get("Proxy-Status"))
		}
	}
	if g.o.Total() != 0 {
		t.Error("an origin was reached")
	}
}
