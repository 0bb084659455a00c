package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/origin/origintest"
)

// intercepting is a rig whose hub deb answers to deb.lab, and which ends the TLS of tunnels to that and to what the authority permits besides. The
// function returned ends it.
func intercepting(t *testing.T, hosts ...string) (*rig, func()) {
	t.Helper()
	g := newRig(t, Hub{Name: "deb", Hosts: []string{"deb.lab"}}).forward()
	i := NewInterceptor(newAuthority(t, time.Now, append(hosts, "deb.lab")...), nil)
	g.g.cfg.Intercept = i
	server := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan error, 1)
	go func() { done <- i.Serve(server, g.g) }()
	stop := func() {
		server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v, want %v", err, http.ErrServerClosed)
		}
		done <- http.ErrServerClosed
	}
	t.Cleanup(stop)
	return g, stop
}

// inTunnel opens a tunnel to host:443 and speaks TLS in it, by name. The error is that of the handshake.
func (g *rig) inTunnel(host, name string, header ...string) (*tls.Conn, error) {
	g.t.Helper()
	c := g.dial()
	g.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\n%s\r\n", host, host, strings.Join(append(header, ""), "\r\n"))
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect})
	if err != nil || resp.StatusCode != http.StatusOK || in.Buffered() > 0 {
		g.t.Fatalf("CONNECT %s = %v, %v; want 200 and nothing after it", host, resp, err)
	}
	return g.secure(c, name)
}

func (g *rig) secure(c net.Conn, name string) (*tls.Conn, error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.g.cfg.Intercept.Authority().PEM())
	s := tls.Client(c, &tls.Config{RootCAs: roots, ServerName: name})
	return s, s.HandshakeContext(g.t.Context())
}

func (g *rig) ask(c net.Conn, head string) reply {
	g.t.Helper()
	if _, err := io.WriteString(c, head); err != nil {
		g.t.Fatal(err)
	}
	return readReply(g.t, bufio.NewReader(c), strings.Fields(head)[0])
}

func TestInsideATunnelTheHubAnswers(t *testing.T) {
	g, _ := intercepting(t)
	g.o.File("/deb/a", origintest.Text("a"), cc(fresh))
	c, err := g.inTunnel("DEB.lab", "deb.lab")
	if err != nil {
		t.Fatal(err)
	}
	g.ask(c, "GET /a HTTP/1.1\r\nHost: deb.lab\r\n\r\n").want(t, "on a connection inside", 200, "a", "MISS")
	g.idle()
	if r := g.ask(c, "GET /a#x HTTP/1.1\r\nHost: deb.lab\r\n\r\n"); r.StatusCode != http.StatusBadRequest || r.word() != "bad_target" {
		t.Errorf("GET /a#x = %d %s, want 400 bad_target", r.StatusCode, r.body)
	}
	c, _ = g.inTunnel("deb.lab", "deb.lab")
	g.ask(c, "GET https://deb.lab:443/a HTTP/1.1\r\nHost: other.example\r\n\r\n").want(t, "by its whole URL", 200, "a", "HIT")
	c, _ = g.inTunnel("deb.lab", "deb.lab")
	g.ask(c, "GET /a HTTP/1.1\r\nHost: deb.lab:443\r\n\r\n").want(t, "with the port in its Host", 200, "a", "HIT")
}

func TestInsideATunnelNothingElseAnswers(t *testing.T) {
	g, _ := intercepting(t, "other.lab")
	for _, head := range []string{
		"GET /a HTTP/1.1\r\nHost: other.lab\r\n\r\n", "GET /a HTTP/1.1\r\nHost: deb.lab:444\r\n\r\n", "GET http://deb.lab/a HTTP/1.1\r\nHost: deb.lab\r\n\r\n",
		"GET https://other.lab/a HTTP/1.1\r\nHost: deb.lab\r\n\r\n", "CONNECT deb.lab:443 HTTP/1.1\r\nHost: deb.lab:443\r\n\r\n",
	} {
		c, err := g.inTunnel("deb.lab", "deb.lab")
		if err != nil {
			t.Fatal(err)
		}
		if r := g.ask(c, head); r.StatusCode != http.StatusMisdirectedRequest || r.word() != "misdirected" {
			t.Errorf("%q = %d %s, want 421 misdirected", head, r.StatusCode, r.body)
		}
	}
	if _, err := g.inTunnel("deb.lab", "other.lab"); err == nil {
		t.Error("a hello for another host than the tunnel's was answered")
	}
	if g.o.Total() != 0 {
		t.Errorf("the origin was asked %d times, want never", g.o.Total())
	}
}

func TestAHelloWithoutANameIsForTheHostOfTheTunnel(t *testing.T) {
	g, _ := intercepting(t)
	c := g.dial()
	defer c.Close()
	fmt.Fprint(c, "CONNECT deb.lab:443 HTTP/1.1\r\nHost: deb.lab:443\r\n\r\n")
	in := bufio.NewReader(c)
	if resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT = %v, %v", resp, err)
	}
	s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
	if err := s.HandshakeContext(t.Context()); err != nil {
		t.Fatalf("handshake without a name: %v", err)
	}
	if got := s.ConnectionState().PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != "deb.lab" {
		t.Errorf("certificate for %v, want deb.lab", got)
	}
}

// Some clients do not wait for the answer to CONNECT.
func TestAHelloThatComesWithTheConnect(t *testing.T) {
	g, _ := intercepting(t)
	g.o.File("/deb/a", origintest.Text("a"))
	c := g.dial()
	defer c.Close()
	e := &eager{Conn: c, first: "CONNECT deb.lab:443 HTTP/1.1\r\nHost: deb.lab:443\r\n\r\n"}
	s, err := g.secure(e, "deb.lab")
	if err != nil {
		t.Fatal(err)
	}
	g.ask(s, "GET /a HTTP/1.1\r\nHost: deb.lab\r\n\r\n").want(t, "after an early hello", 200, "a", "")
}

// An eager connection sends its first bytes in one write with what follows, and drops the answer to them.
type eager struct {
	net.Conn
	first string
	in    *bufio.Reader
}

func (e *eager) Write(p []byte) (int, error) {
	first := e.first
	e.first = ""
	n, err := e.Conn.Write(append([]byte(first), p...))
	return max(n-len(first), 0), err
}

func (e *eager) Read(p []byte) (int, error) {
	if e.in == nil {
		e.in = bufio.NewReader(e.Conn)
		if _, err := http.ReadResponse(e.in, &http.Request{Method: http.MethodConnect}); err != nil {
			return 0, err
		}
	}
	return e.in.Read(p)
}

func TestWhoAsksInsideIsWhoAskedForTheTunnel(t *testing.T) {
	for _, row := range []struct {
		claim   string
		trusted bool
		connect []string
		inside  string
		want    string
	}{
		{"a direct client", false, nil, "", "127.0.0.1"},
		{"a direct client that claims more", false, nil, "X-Forwarded-For: 10.9.9.9\r\n", "127.0.0.1"},
		{"a trusted proxy's client", true, []string{"X-Forwarded-For: 10.1.2.3"}, "", "10.1.2.3"},
		{"a trusted proxy's client that claims more", true, []string{"X-Forwarded-For: 10.1.2.3"}, "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n", "10.1.2.3"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			g, _ := intercepting(t)
			if row.trusted {
				g.g.cfg.Guard = auth.NewGuard([]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
			}
			g.o.File("/deb/a", origintest.Text("a"))
			c, err := g.inTunnel("deb.lab", "deb.lab", row.connect...)
			if err != nil {
				t.Fatal(err)
			}
			g.ask(c, "GET /a HTTP/1.1\r\nHost: deb.lab\r\n"+row.inside+"\r\n").want(t, row.claim, 200, "a", "")
			all := g.logs.requests()
			for deadline := time.Now().Add(20 * time.Second); len(all) < 2 && time.Now().Before(deadline); all = g.logs.requests() {
				time.Sleep(time.Millisecond) // the line is written after the answer
			}
			if len(all) != 2 || all[0]["client"] != row.want || all[1]["client"] != row.want {
				t.Errorf("clients of the tunnel and of the request inside: %v, want %s of both", all, row.want)
			}
		})
	}
}

// An HTTP/1.0 client knows the end of a body by that of its connection.
func TestABodyThatBreaksOffInsideATunnelDoesNotLookWhole(t *testing.T) {
	g, _ := intercepting(t)
	g.o.File("/deb/a", origintest.Body(1, 1<<20), origintest.Chunked(), origintest.CutAfter(300<<10), origintest.NoRange())
	c, err := g.inTunnel("deb.lab", "deb.lab")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "GET /a HTTP/1.0\r\nHost: deb.lab\r\n\r\n")
	if n, err := io.Copy(io.Discard, c); err == nil {
		t.Errorf("a body that broke off ended in order after %d bytes", n)
	}
}

func TestTunnelsGoOnWithoutAnAuthority(t *testing.T) {
	g, stop := intercepting(t, "127.0.0.1")
	i := g.g.cfg.Intercept
	a := i.Authority()
	i.SetAuthority(nil)
	// Nothing listens there: a tunnel is tried, and fails.
	if r := g.send("CONNECT 127.0.0.1:443 HTTP/1.1", "Host: 127.0.0.1:443"); r.StatusCode != http.StatusBadGateway {
		t.Errorf("CONNECT without an authority = %d, want it tunnelled, and 502", r.StatusCode)
	}
	i.SetAuthority(a)
	if r := g.send("CONNECT deb.lab:8443 HTTP/1.1", "Host: deb.lab:8443"); r.StatusCode != http.StatusForbidden {
		t.Errorf("CONNECT to another port = %d, want it refused like any tunnel", r.StatusCode)
	}
	g.g.SetForward(nil)
	if r := g.send("CONNECT deb.lab:443 HTTP/1.1", "Host: deb.lab:443"); r.StatusCode != http.StatusForbidden || r.word() != "proxy_refused" {
		t.Errorf("CONNECT with the forward proxy off = %d %s, want 403 proxy_refused", r.StatusCode, r.body)
	}
	g.forward()
	stop()
	c := g.dial()
	defer c.Close()
	fmt.Fprint(c, "CONNECT deb.lab:443 HTTP/1.1\r\nHost: deb.lab:443\r\n\r\n")
	if rest, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(rest), "\r\n\r\n") {
		t.Errorf("a tunnel after Serve has ended: %q, %v; want its end", rest, err)
	}
}
