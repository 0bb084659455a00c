package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestFTPDataComesFromTheHostThatWasAsked(t *testing.T) {
	bait, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer bait.Close()
	port := bait.Addr().(*net.TCPAddr).Port
	s, tr := ftpHub(t)
	s.on(func(c *ftpConn, verb, _ string) bool {
		switch verb {
		case "EPSV":
			c.say("500 what is that")
		case "PASV":
			real := c.listen()
			if c.of.count("PASV") == 1 {
				c.say(fmt.Sprintf("227 there (127,0,0,2,%d,%d)", port>>8, port&255))
				return true
			}
			c.say(fmt.Sprintf("227 here (127,0,0,2,%d,%d)", real>>8, real&255))
		default:
			return false
		}
		return true
	})
	if status, _, err := ask(t, tr, "/a.txt"); err == nil {
		t.Errorf("GET /a.txt with data at another host = %d, want an error", status)
	}
	if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
		t.Errorf("GET /a.txt with a false address and the right port = %d %q, %v, want the file from the host that was asked", status, body, err)
	}
	s.on(ftpSays("PASV", "227 there (127,0,0,1,0,25)"))
	var refused *Error
	if status, body, err := ask(t, tr, "/a.txt"); !errors.As(err, &refused) || !refused.Refused() {
		t.Errorf("GET /a.txt with data at port 25 = %d %q, %v, want a refusal, after %q", status, body, err, s.sent())
	}
	own := newTransport(t, Config{AllowHosts: []string{"127.0.0.1"}, Own: func(to netip.AddrPort) bool { return to.Port() == uint16(port) }})
	s.on(ftpSays("EPSV", fmt.Sprintf("229 there (|||%d|)", port)))
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.url()+"/pub/a.txt", nil)
	if _, _, err := do(own, req); !errors.As(err, &refused) || !refused.Refused() {
		t.Errorf("GET of a URL with data at our own listener: %v, want a refusal", err)
	}
}

func TestFTPOfAbsoluteURLs(t *testing.T) {
	s := newFTPServer(t, ftpFiles())
	get := func(tr *Transport, path, user string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, "pass word")
		}
		status, _, err := do(tr, req)
		return status, err
	}
	var refused *Error
	if _, err := get(newTransport(t, Config{}), "/pub/a.txt", ""); !errors.As(err, &refused) || !refused.Refused() || len(s.sent()) > 0 {
		t.Errorf("GET of a URL on loopback: %v, want a refusal before a word", err)
	}
	tr := newTransport(t, Config{AllowHosts: []string{"127.0.0.1"}})
	if status, err := get(tr, "/pub/a.txt", ""); status != 200 || err != nil || s.count("USER anonymous") != 1 {
		t.Errorf("GET of an opened URL = %d, %v after %q", status, err, s.sent())
	}
	if status, err := get(tr, "/pub/a.txt", "joe"); status != 200 || err != nil || s.count("USER joe") != 1 || s.count("PASS pass word") != 1 {
		t.Errorf("GET with the client's credentials = %d, %v after %q", status, err, s.sent())
	}
	if status, err := get(tr, "/pub/a.txt", "joe\r\nDELE x"); status != 400 || err != nil || s.count("DELE") != 0 {
		t.Errorf("GET with a line end in the user's name = %d, %v, want 400", status, err)
	}
	s.on(ftpSays("PWD", `257 "/pub" is home`))
	home := newTransport(t, Config{AllowHosts: []string{"127.0.0.1"}})
	for path, want := range map[string]int{"/a.txt": 200, "/pub/a.txt": 404, "/%2Fpub/a.txt": 200} {
		if status, err := get(home, path, ""); status != want || err != nil {
			t.Errorf("GET %s with the login at /pub = %d, %v, want %d", path, status, err, want)
		}
	}
}

func TestFTPEndsWithItsRequest(t *testing.T) {
	s, tr := ftpHub(t)
	for _, verb := range []string{"SIZE", "RETR"} {
		asked := make(chan struct{}, 9)
		s.on(func(_ *ftpConn, v, _ string) bool {
			if v == verb {
				asked <- struct{}{} // and no answer
			}
			return v == verb
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		if _, _, err := do(tr, hubRequest(ctx, "GET", "/a.txt")); !errors.Is(err, context.Canceled) {
			t.Errorf("GET that was cancelled at %s: %v, want context.Canceled", verb, err)
		}
	}
	s.on(nil)
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() // a transfer that nobody wants
	if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
		t.Errorf("GET after an abandoned one = %d %q, %v", status, body, err)
	}
}

func TestFTPTimesOut(t *testing.T) {
	s := newFTPServer(t, ftpFiles())
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, s.url()+"/pub/")}, Header: 50 * time.Millisecond, Idle: 50 * time.Millisecond})
	for _, verb := range []string{"SIZE", "MLSD"} {
		s.on(func(c *ftpConn, v, _ string) bool {
			if v == "MLSD" && v == verb {
				data, err := c.data.Accept()
				if err != nil {
					return true
				}
				c.say("150 here it comes") // and nothing does
				_, _ = io.Copy(io.Discard, data)
				data.Close()
			}
			return v == verb
		})
		path := map[string]string{"SIZE": "/a.txt", "MLSD": "/"}[verb]
		var failed *Error
		if _, _, err := ask(t, tr, path); !errors.As(err, &failed) || !strings.Contains(failed.ProxyStatus(), "timeout") {
			t.Errorf("GET %s without an answer to %s: %v, want a timeout", path, verb, err)
		}
	}
}

func TestFTPFailsOverToTheNextUpstream(t *testing.T) {
	ill, well := newFTPServer(t, ftpFiles()), newFTPServer(t, ftpFiles())
	ill.on(ftpSays("USER", "421 closed for today"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, ill.url()+"/pub", well.url()+"/pub")}})
	if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
		t.Errorf("GET /a.txt = %d %q, %v, want the second upstream's file", status, body, err)
	}
	if got := tr.Status()[0].Failures; got != 1 {
		t.Errorf("the first upstream has %d failures, want 1", got)
	}
}

func TestFTPServerIsNotCrowded(t *testing.T) {
	s := newFTPServer(t, map[string]string{"/big": strings.Repeat("x", 4<<20)})
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, s.url())}, Header: 50 * time.Millisecond})
	for range ftpConns {
		resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/big"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	if status, _, err := ask(t, tr, "/big"); status != 503 || err != nil {
		t.Errorf("GET with every connection in use = %d, %v, want 503", status, err)
	}
	if got := tr.Status()[0].Failures; got != 0 {
		t.Errorf("that counts as %d failures of the upstream, want none", got)
	}
}
