package origin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"zcache/internal/origin/origintest"
)

func TestNewNamesWhatIsWrong(t *testing.T) {
	bad := func(s string) []Hub { return []Hub{hubOf(t, s)} }
	rows := []struct {
		conf Config
		want string
	}{
		{Config{Hubs: []Hub{{Name: "k"}}}, "hub[k].upstream: none"},
		{Config{Hubs: bad("gopher://x/")}, "hub[h].upstream: gopher://x/: must begin"},
		{Config{Hubs: bad("http:///x")}, "has no host"},
		{Config{Hubs: bad("http://x/?q=1")}, "must end with its path"},
		{Config{Hubs: bad("http://x/a/../b")}, "dot segment"},
		{Config{Hubs: bad("http://bücher.example/")}, "ASCII"},
		{Config{Hubs: []Hub{hubOf(t, "http://x"), hubOf(t, "http://y")}}, "twice"},
		{Config{AllowHosts: []string{"a b"}}, `proxy-allow-host: "a b"`},
		{Config{ID: "a b"}, "token"},
	}
	for _, row := range rows {
		if _, err := New(row.conf); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("New = %v, want it to say %q", err, row.want)
		}
	}
	h := hubOf(t, "http://u:secret@x/")
	h.Username = "only"
	if _, err := New(Config{Hubs: []Hub{h}}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("New with half of the credentials = %v", err)
	}
	h = hubOf(t, "gopher://u:secret@x/")
	if _, err := New(Config{Hubs: []Hub{h}}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("New = %v, want an error without the password", err)
	}
}

func TestCredentialsGoToTheHubsUpstreamsAlone(t *testing.T) {
	a, b, elsewhere := origintest.New(t), origintest.New(t), origintest.New(t)
	a.File("/a", origintest.Text(""), origintest.Status(503))
	b.File("/a", origintest.Text("b"))
	withUser := strings.Replace(b.URL, "http://", "http://own:pw2@", 1)
	hub := hubOf(t, a.URL, withUser)
	hub.Username, hub.Password = "user", "pw1"
	tr := newTransport(t, Config{Hubs: []Hub{hub}, AllowHosts: []string{"127.0.0.1"}})
	req := hubRequest(t.Context(), "GET", "/a")
	req.Header.Set("Authorization", "Bearer client")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	expectBasic(t, a.Last("/a"), "user", "pw1")
	expectBasic(t, b.Last("/a"), "own", "pw2")
	if resp.Request.URL.User != nil || resp.Request.Header.Get("Authorization") != "Bearer client" || req.Header.Get("Authorization") != "Bearer client" {
		t.Errorf("Response.Request = %s %v", resp.Request.URL, resp.Request.Header)
	}
	for _, s := range tr.Status() {
		if strings.Contains(s.URL+s.LastError, "pw") {
			t.Errorf("status has a password: %+v", s)
		}
	}
	u, _ := url.Parse(strings.Replace(elsewhere.URL, "http://", "http://user:pw3@", 1) + "/a")
	if _, _, err := do(tr, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := elsewhere.Last("/a").Header.Get("Authorization"); got != "" {
		t.Errorf("another host got Authorization %q", got)
	}
}

func expectBasic(t *testing.T, r origintest.Request, user, password string) {
	t.Helper()
	u, p, ok := (&http.Request{Header: r.Header}).BasicAuth()
	if !ok || u != user || p != password {
		t.Errorf("the upstream got %q, %q, want %q, %q", u, p, user, password)
	}
}

func TestBearerIsReadAtEveryUse(t *testing.T) {
	o := origintest.New(t)
	tokens, failure := []string{"one\n", "two"}, error(nil)
	hub := hubOf(t, o.URL)
	hub.Bearer = func() (string, error) {
		if len(tokens) == 0 {
			return "", failure
		}
		next := tokens[0]
		tokens = tokens[1:]
		return next, nil
	}
	tr := newTransport(t, Config{Hubs: []Hub{hub}})
	for _, want := range []string{"Bearer one", "Bearer two"} {
		if _, _, err := ask(t, tr, "/a"); err != nil {
			t.Fatal(err)
		}
		if got := o.Last("/a").Header.Get("Authorization"); got != want {
			t.Errorf("Authorization %q, want %q", got, want)
		}
	}
	for _, failure = range []error{nil, errors.New("no such file")} {
		if _, _, err := ask(t, tr, "/a"); errorOf(err) == nil || errorOf(err).ProxyStatus() != "proxy_configuration_error" {
			t.Errorf("without a token: %v", err)
		}
	}
	if n := o.Count("/a"); n != 2 {
		t.Errorf("the upstream was asked %d times, want 2", n)
	}
}

func TestErrorClasses(t *testing.T) {
	tlsOrigin, slow := origintest.NewTLS(t), origintest.New(t)
	slow.File("/a", origintest.Text("x"), origintest.Hold(make(chan struct{})))
	garbage := newRawOrigin(t, "this is no HTTP\r\n\r\n")
	short := newRawOrigin(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
	chunk := newRawOrigin(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	silent := newRawOrigin(t, "")
	plain := origintest.New(t)
	rows := []struct{ claim, url, want string }{
		{"refused", deadURL(t), "connection_refused"},
		{"no such name", "http://nothing.invalid", "dns_error"},
		{"unknown authority", tlsOrigin.URL, "tls_certificate_error"},
		{"no TLS there", strings.Replace(plain.URL, "http", "https", 1), "tls_protocol_error"},
		{"no HTTP there", "http://" + garbage.addr, "http_protocol_error"},
		{"no answer in time", slow.URL, "http_response_timeout"},
		{"closed without an answer", "http://" + silent.addr, "connection_terminated"},
		{"short body", "http://" + short.addr, "http_response_incomplete"},
		{"no last chunk", "http://" + chunk.addr, "http_response_incomplete"},
	}
	for _, row := range rows {
		t.Run(row.claim, func(t *testing.T) {
			tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, row.url)}, Header: 100 * time.Millisecond})
			_, _, err := ask(t, tr, "/a?token=secret")
			e := errorOf(err)
			if e == nil {
				t.Fatalf("error = %v, want an *Error", err)
			}
			if got := e.ProxyStatus(); got != row.want && !(row.want == "dns_error" && got == "dns_timeout") {
				t.Errorf("%v: type %s, want %s", err, got, row.want)
			}
			if e.Upstream() != row.url+"/a" || e.Refused() || strings.Contains(e.Error(), "secret") || strings.Contains(e.Error(), "\n") {
				t.Errorf("error %q of upstream %q", e, e.Upstream())
			}
		})
	}
}

func TestHandshakeThatNeverEndsIsATimeoutOfTheConnection(t *testing.T) {
	o := origintest.New(t) // waits for a request line that the TLS hello is not, until its own deadline
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, strings.Replace(o.URL, "http", "https", 1))}, TLS: time.Nanosecond})
	_, _, err := ask(t, tr, "/a")
	if e := errorOf(err); e == nil || e.ProxyStatus() != "connection_timeout" {
		t.Errorf("error = %v, want connection_timeout", err)
	}
}

func TestClientCertificateIsShown(t *testing.T) {
	o := origintest.NewTLS(t)
	shown := 0
	o.Handle("/a", func(w http.ResponseWriter, r *http.Request) { shown = len(r.TLS.PeerCertificates) })
	donor := httptest.NewTLSServer(nil)
	defer donor.Close()
	hub := hubOf(t, o.URL)
	hub.RootCAs, hub.Certificates = o.Pool(), donor.TLS.Certificates
	tr := newTransport(t, Config{Hubs: []Hub{hub}})
	if code, _, err := ask(t, tr, "/a"); code != 200 || err != nil || shown != 1 {
		t.Errorf("%d, %v, %d certificates shown, want 1", code, err, shown)
	}
}

func TestHubProxyGetsTheWholeURL(t *testing.T) {
	proxy := newRawOrigin(t, emptyAnswer)
	hub := hubOf(t, "http://up.invalid/pub")
	hub.Proxy, _ = url.Parse("http://user:pw@" + proxy.addr)
	tr := newTransport(t, Config{Hubs: []Hub{hub}})
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", `//a"%7e?q`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	head := <-proxy.heads
	if got, want := requestTarget(head), `http://up.invalid/pub//a"%7e?q`; got != want {
		t.Errorf("request line has %q, want %q", got, want)
	}
	if !strings.Contains(head, "\r\nProxy-Authorization: Basic ") || !strings.Contains(head, "\r\nHost: up.invalid\r\n") {
		t.Errorf("head:\n%s", head)
	}
}

func TestUnderHub(t *testing.T) {
	hub := hubOf(t, "https://k.example/pub", "http://m.example:8080/~mirror/linux/", "http://root.example")
	tr := newTransport(t, Config{Hubs: []Hub{hub}})
	rows := []struct {
		url, want string
		ok        bool
	}{
		{"https://k.example/pub/a%7eb", "/a%7eb", true},
		{"https://K.EXAMPLE:443/pub/a", "/a", true},
		{"https://k.example/p%75b/a", "/a", true},
		{"https://k.example/pub/", "/", true},
		{"https://k.example/pub//a//b", "//a//b", true},
		{`https://k.example/pub/a"b{c}`, `/a"b{c}`, true},
		{"https://k.example/pub/a%2Fb?q=1#f", "/a%2Fb", true},
		{"http://m.example:8080/%7Emirror/linux/x", "/x", true},
		{"http://root.example", "/", true},
		{"http://root.example:80/x", "/x", true},
		{"https://k.example/pub", "", false},
		{"https://k.example/public/a", "", false},
		{"https://k.example/pub%2Fa", "", false},
		{"https://k.example//pub/a", "", false},
		{"https://k.example/", "", false},
		{"http://k.example/pub/a", "", false},
		{"https://k.example:8443/pub/a", "", false},
		{"https://k.example.evil/pub/a", "", false},
		{"https://user@k.example/pub/a", "", false},
		{"https://k.example/pub/../a", "", false},
		{"https://k.example/pub/%2e%2e/a", "", false},
		{"https://k.example/pub/..%2fa", "", false},
		{"/pub/a", "", false},
		{"ftp://k.example/pub/a", "", false},
	}
	for _, row := range rows {
		u, err := url.Parse(row.url)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := tr.UnderHub("h", u); got != row.want || ok != row.ok {
			t.Errorf("UnderHub(%s) = %q, %v, want %q, %v", row.url, got, ok, row.want, row.ok)
		}
	}
	if _, ok := tr.UnderHub("none", &url.URL{Scheme: "https", Host: "k.example", Path: "/pub/a"}); ok {
		t.Error("a URL lies under an unknown hub")
	}
	if got, ok := tr.Resolve("h", "/a%7eb"); got != "https://k.example/pub/a%7eb" || !ok {
		t.Errorf("Resolve = %q, %v", got, ok)
	}
	if got, ok := tr.Resolve("h", "/../b"); ok {
		t.Errorf("Resolve of a path that leaves = %q", got)
	}
}

func TestMetricsOutliveAReload(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Text("12345"))
	reg := prometheus.NewRegistry()
	conf := Config{Hubs: []Hub{hubOf(t, o.URL)}, Registerer: reg, AllowHosts: []string{"127.0.0.1"}}
	first := newTransport(t, conf)
	_, _, _ = ask(t, first, "/a")
	second := newTransport(t, conf)
	first.Close()
	_, _, _ = ask(t, second, "/a")
	_, _, _ = ask(t, second, "/none")
	u, _ := url.Parse(o.URL + "/a")
	_, _, _ = do(second, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context()))
	o.Stop()
	_, _, _ = ask(t, second, "/a")

	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	want := map[string]float64{
		"zcache_upstream_requests_total 200 " + o.Addr: 2, "zcache_upstream_requests_total 404 " + o.Addr: 1, "zcache_upstream_requests_total error " + o.Addr: 1,
		"zcache_upstream_requests_total 200 other": 1, "zcache_upstream_bytes_total  other": 5, "zcache_breaker_state " + o.Addr: 0,
		"zcache_upstream_bytes_total h " + o.Addr: 10 + float64(len("nothing here\n")),
	}
	for name, n := range want {
		if v, ok := got[name]; !ok || v != n {
			t.Errorf("%s = %v (there: %v), want %v", name, v, ok, n)
		}
	}
}
