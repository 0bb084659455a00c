package origin

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestAnUpstreamThatHangsLosesItsTurn(t *testing.T) {
	release := make(chan struct{})
	hangs, good := origintest.New(t), origintest.New(t)
	defer close(release)
	hangs.File("/a", origintest.Text("late"), origintest.Hold(release))
	good.File("/a", origintest.Text("body"))
	c := newClock()
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, hangs.URL, good.URL)}, Turn: 50 * time.Millisecond, Now: c.Now})
	for i, asked := range []int{1, 2, 2} { // two turns that went by are enough to be asked last
		if status, body, err := ask(t, tr, "/a"); status != 200 || body != "body" || err != nil {
			t.Fatalf("request %d = %d %q, %v, want the second upstream's body", i+1, status, body, err)
		}
		if n := hangs.Count("/a"); n != asked {
			t.Errorf("after request %d the one that hangs was asked %d times, want %d", i+1, n, asked)
		}
	}
	if s := tr.Status()[0]; s.State != "open" || !strings.Contains(s.LastError, errLate.Error()) {
		t.Errorf("status of the one that hangs = %+v, want open, with the reason", s)
	}
	c.Add(time.Minute)
	hangs.File("/a", origintest.Text("back"))
	if _, body, err := ask(t, tr, "/a"); body != "back" || err != nil {
		t.Errorf("after its pause = %q, %v, want the first upstream's body again", body, err)
	}
}

func TestNoTurnEndsWhereNobodyIsLeft(t *testing.T) {
	slow, dead := origintest.New(t), deadURL(t)
	for _, row := range []struct {
		claim  string
		urls   []string
		method string
	}{
		{"the only one", []string{slow.URL}, "GET"},
		{"the last one", []string{dead, slow.URL}, "GET"},
		{"a method that may not be repeated", []string{slow.URL, dead}, "POST"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			held := make(chan struct{})
			slow.File("/a", origintest.Text("body"), origintest.Hold(held))
			tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, row.urls...)}, Turn: 20 * time.Millisecond})
			time.AfterFunc(200*time.Millisecond, func() { close(held) })
			_, body, err := do(tr, hubRequest(t.Context(), row.method, "/a"))
			if body != "body" || err != nil {
				t.Errorf("%s = %q, %v, want the slow one's body", row.method, body, err)
			}
		})
	}
}

func TestCredentialsOfAHubAreForTheSiteOfItsFirstUpstream(t *testing.T) {
	const answer = emptyAnswer
	rows := []struct {
		claim  string
		second string // host of the second upstream, both of which are on this machine
		conf   func(*Hub)
		want   string // Authorization that the second gets
	}{
		{"the same host", "127.0.0.1", bearer, "Bearer geheim"},
		{"another site", "localhost", bearer, ""},
		{"another site, basic", "localhost", basic, ""},
		{"another site that the operator named", "localhost", func(h *Hub) { basic(h); h.Realms = []string{"localhost"} }, "Basic dTpnZWhlaW0="},
		{"another site with credentials of its own", "own:word@localhost", bearer, "Basic b3duOndvcmQ="},
	}
	for _, row := range rows {
		t.Run(row.claim, func(t *testing.T) {
			first, second := newRawOrigin(t, strings.Replace(answer, "200 OK", "503 no", 1)), newRawOrigin(t, answer)
			h := hubOf(t, "http://"+first.addr, "http://"+strings.Replace(second.addr, "127.0.0.1", row.second, 1))
			row.conf(&h)
			var log strings.Builder
			tr := newTransport(t, Config{Hubs: []Hub{h}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if status, _, err := ask(t, tr, "/a"); status != 200 || err != nil {
				t.Fatalf("request = %d, %v", status, err)
			}
			if head := <-first.heads; !strings.Contains(head, "Authorization: ") {
				t.Errorf("the first upstream was sent no credentials:\n%s", head)
			}
			head := <-second.heads
			_, got, _ := strings.Cut(head, "Authorization: ")
			got, _, _ = strings.Cut(got, "\r\n")
			if got != row.want {
				t.Errorf("the second upstream was sent Authorization %q, want %q", got, row.want)
			}
			if told := strings.Contains(log.String(), "another site"); told != (row.want == "") || strings.Contains(log.String(), "geheim") {
				t.Errorf("the log says %q", log.String())
			}
		})
	}
}

func TestAnHTTPProxyIsGivenTheWholeFTPURL(t *testing.T) {
	gate := newRawOrigin(t, emptyAnswer)
	h := hubOf(t, "ftp://own:word@ftp.example/pub")
	h.Proxy = &url.URL{Scheme: "http", Host: gate.addr, User: url.UserPassword("u", "geheim")}
	tr := newTransport(t, Config{Hubs: []Hub{h}})
	if status, _, err := ask(t, tr, "/a%20b//c;x"); status != 200 || err != nil {
		t.Fatalf("request = %d, %v", status, err)
	}
	head := <-gate.heads
	for _, want := range []string{
		"GET ftp://ftp.example/pub/a%20b//c;x HTTP/1.1\r\n", "\r\nHost: ftp.example\r\n",
		"\r\nAuthorization: Basic b3duOndvcmQ=\r\n", "\r\nProxy-Authorization: Basic dTpnZWhlaW0=\r\n",
	} {
		if !strings.Contains("\r\n"+head, want) && !strings.HasPrefix(head, want) {
			t.Errorf("the proxy was sent\n%s\nwant %q in it", head, want)
		}
	}
	for _, no := range []Hub{{Proxy: &url.URL{Scheme: "socks5", Host: gate.addr}}, {Proxy: h.Proxy, Upstreams: hubOf(t, "ftps://ftp.example/").Upstreams}} {
		other := h
		if other.Proxy = no.Proxy; no.Upstreams != nil {
			other.Upstreams = no.Upstreams
		}
		if _, err := New(Config{Hubs: []Hub{other}}); err == nil {
			t.Errorf("New with %s by way of %s gives no error", other.Upstreams[0].Redacted(), other.Proxy.Redacted())
		}
	}
}

func bearer(h *Hub) { h.Bearer = func() (string, error) { return "geheim", nil } }

func basic(h *Hub) { h.Username, h.Password = "u", "geheim" }
