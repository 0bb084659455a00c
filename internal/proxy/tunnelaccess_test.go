package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/origin/origintest"
)

func TestATunnelEndsWithItsToken(t *testing.T) {
	g := newRig(t).rule("version = 1\n[anonymous]\nread = [\"/none\"]\n", auth.TokenInfo{Name: "all"})
	g.g.renewal = 5 * time.Millisecond
	p := newPeer(t)
	g.g.SetForward(&Forward{Connect: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", p.Addr().String())
	}})
	c := g.dial()
	defer c.Close()
	fmt.Fprintf(c, "CONNECT x.example:443 HTTP/1.1\r\nHost: x.example:443\r\n%s\r\n\r\n", g.as("all", true)[0])
	in := bufio.NewReader(c)
	if resp, err := http.ReadResponse(in, &http.Request{Method: http.MethodConnect}); err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT = %v, %v", resp, err)
	}
	server := <-p.conns
	defer server.Close()
	server.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "x")
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.RevokeToken(g.file, "all", time.Now()); err != nil {
		t.Fatal(err)
	}
	g.reload()
	if _, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the origin's end reads on: %v", err)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("the client's end reads on")
	}
	g.settled()
}

func TestATunnelLeadsToNothingThatIsShut(t *testing.T) {
	g := newRig(t, Hub{Name: "sub", Mount: "/sub/", Sites: []string{"/https/mirror.example"}}).rule("version = 1\n",
		auth.TokenInfo{Name: "site", Read: []string{"/files/https/mirror.example"}},
		auth.TokenInfo{Name: "both", Read: []string{"/files/https/mirror.example", "/sub"}},
		auth.TokenInfo{Name: "most", Read: []string{"/files/https/mirror.example", "/sub"}, Deny: []string{"/sub/x"}})
	reached := 0
	g.g.SetForward(&Forward{Connect: func(context.Context, string, string) (net.Conn, error) {
		reached++
		return nil, errors.New("no such host")
	}})
	for who, want := range map[string]int{"site": 403, "both": 502, "most": 403} {
		before := reached
		if got := g.ask(who, "CONNECT mirror.example:443"); got.StatusCode != want || (reached > before) != (want == 502) {
			t.Errorf("CONNECT by %s = %d, reached %v, want %d", who, got.StatusCode, reached > before, want)
		}
	}
}

func TestInsideATunnelItsClientIsJudged(t *testing.T) {
	plain, _ := intercepting(t)
	g := plain.rule("version = 1\n[anonymous]\nread = [\"/none\"]\n", auth.TokenInfo{Name: "deb", Read: []string{"//deb.lab/pub"}}, auth.TokenInfo{Name: "all"})
	g.o.File("/deb/pub/f", origintest.Text("f"), cc(fresh))
	g.o.File("/deb/x", origintest.Text(secret), cc(fresh))
	if got := g.ask("", "CONNECT deb.lab:443"); got.StatusCode != 407 {
		t.Errorf("CONNECT by nobody = %d, want 407", got.StatusCode)
	}
	inside := func(who, head string) reply {
		c, err := g.inTunnel("deb.lab", "deb.lab", g.as(who, true)...)
		if err != nil {
			t.Fatal(err)
		}
		return g.rig.ask(c, head)
	}
	inside("deb", "GET /pub/f HTTP/1.1\r\nHost: deb.lab\r\n\r\n").want(t, "what may be read", 200, "f", "MISS")
	for claim, head := range map[string]string{
		"what may not":                   "GET /x HTTP/1.1\r\nHost: deb.lab\r\n\r\n",
		"by another's token":             "GET /x HTTP/1.1\r\nHost: deb.lab\r\nAuthorization: Bearer " + g.tokens["all"] + "\r\n\r\n",
		"by another's token, to a proxy": "GET https://deb.lab/x HTTP/1.1\r\nHost: deb.lab\r\nProxy-Authorization: Bearer " + g.tokens["all"] + "\r\n\r\n",
	} {
		got := inside("deb", head)
		if got.StatusCode != 403 || got.word() != "denied" || got.Header.Get("Www-Authenticate")+got.Header.Get("Proxy-Authenticate") != "" {
			t.Errorf("inside, %s = %d %s %v, want 403 without a challenge", claim, got.StatusCode, got.body, got.Header)
		}
	}
	if n := g.o.Count("/deb/x"); n != 0 {
		t.Errorf("the origin was asked %d times for what is shut", n)
	}
	c, err := g.inTunnel("deb.lab", "deb.lab", g.as("deb", true)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := auth.RevokeToken(g.file, "deb", time.Now()); err != nil {
		t.Fatal(err)
	}
	g.reload()
	if got := g.rig.ask(c, "GET /pub/f HTTP/1.1\r\nHost: deb.lab\r\n\r\n"); got.StatusCode != 403 {
		t.Errorf("after the token was revoked = %d %s, want 403", got.StatusCode, got.body)
	}
}
