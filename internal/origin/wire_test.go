package origin

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"zcache/internal/origin/origintest"
)

func TestPathReachesTheRequestLineAsItIs(t *testing.T) {
	o := newRawOrigin(t, emptyAnswer)
	rows := []struct{ upstream, path, want string }{
		{"", "/a", "/a"},
		{"/", "/a", "/a"},
		{"/pub", "/a", "/pub/a"},
		{"/pub/", "/a", "/pub/a"},
		{"/pub", "/", "/pub/"},
		{"/p%7eb", "/a", "/p%7eb/a"},
		{"", `/a"b<c>{d}|^` + "`", `/a"b<c>{d}|^` + "`"},
		{"", "/%7e/%7E/%2f/%2F/~", "/%7e/%7E/%2f/%2F/~"},
		{"", "//a//b", "//a//b"},
		{"", "//", "//"},
		{"/pub", "//a//b/", "/pub//a//b/"},
		{"/pub", `//a"b`, `/pub//a"b`},
		{"", "/\xff\xfe", "/\xff\xfe"},
		{"", "/%FF%00%0a", "/%FF%00%0a"},
		{"", "/%zz%", "/%zz%"},
		{"", "/a?", "/a?"},
		{"", `/a?x=%7e&"y"&z=/../?`, `/a?x=%7e&"y"&z=/../?`},
		{"", "//a?b", "//a?b"},
		{"", "/a;b,c:d@e!f$g&h'(i)*+=[j]#k", "/a;b,c:d@e!f$g&h'(i)*+=[j]#k"},
		{"", "/...", "/..."},
		{"", "/a..b/.c/d.", "/a..b/.c/d."},
	}
	for _, row := range rows {
		t.Run(row.upstream+row.path, func(t *testing.T) {
			tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, "http://"+o.addr+row.upstream)}})
			if _, _, err := ask(t, tr, row.path); err != nil {
				t.Fatal(err)
			}
			if got := requestTarget(<-o.heads); got != row.want {
				t.Errorf("request line has %q, want %q", got, row.want)
			}
		})
	}
}

// The one case that url.URL cannot carry in origin form goes out in absolute form, the path still exact.
func TestOddPathBehindTwoSlashesGoesInAbsoluteForm(t *testing.T) {
	o := newRawOrigin(t, emptyAnswer)
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, "http://"+o.addr)}})
	if _, _, err := ask(t, tr, `//a"b?c`); err != nil {
		t.Fatal(err)
	}
	if got, want := requestTarget(<-o.heads), "http://"+o.addr+`//a"b?c`; got != want {
		t.Errorf("request line has %q, want %q", got, want)
	}
}

func TestPathIsExactOverHTTP2Too(t *testing.T) {
	o := origintest.NewTLS(t)
	h := hubOf(t, o.URL)
	h.RootCAs = o.Pool()
	tr := newTransport(t, Config{Hubs: []Hub{h}})
	for _, path := range []string{"/a%7eb", "//a//b", `/a"b`, `//a"b`, "/%2F?q=%7e"} {
		if _, _, err := ask(t, tr, path); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all := o.Requests()
		got := all[len(all)-1]
		if got.Target != path || got.Proto != "HTTP/2.0" {
			t.Errorf("asked for %s, the origin saw %s over %s", path, got.Target, got.Proto)
		}
	}
	if n := o.Conns(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAbsoluteURLKeepsItsBytes(t *testing.T) {
	o := newRawOrigin(t, emptyAnswer)
	tr := newTransport(t, Config{AllowHosts: []string{"127.0.0.1"}})
	for _, row := range [][2]string{
		{`/a"b{c}%7e`, `/a"b{c}%7e`}, {"", "/"}, {"//x/y", "//x/y"}, {"/a b", "/a%20b"}, {"/?q=%7e", "/?q=%7e"}, {"/../x", "/../x"},
	} {
		u, err := url.Parse("http://" + o.addr + row[0])
		if err != nil {
			t.Fatal(err)
		}
		req := (&http.Request{Method: "GET", URL: u}).WithContext(t.Context())
		if _, _, err := do(tr, req); err != nil {
			t.Fatal(err)
		}
		if got := requestTarget(<-o.heads); got != row[1] {
			t.Errorf("%q: request line has %q, want %q", row[0], got, row[1])
		}
	}
}

func TestHubPathThatWouldLeaveTheUpstreamIsRefused(t *testing.T) {
	o := origintest.New(t)
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL+"/pub")}})
	for _, path := range []string{
		"", "a", "*", "/../a", "/..", "/a/..", "/./a", "/%2e%2e/a", "/.%2E/a", "/%2e", "/a%2f..%2fb", "/a%2F%2e%2E", `/a\..\b`, "/a%5c..%5cb",
		"/a b", "/a\r\nHost: x", "/a\x00", "/a\x7f", "/a?x y", "/a?x\ny",
	} {
		_, _, err := ask(t, tr, path)
		if e := errorOf(err); e == nil || !e.Refused() {
			t.Errorf("%q: error %v, want a refusal", path, err)
		}
	}
	if n := o.Total(); n != 0 {
		t.Errorf("the origin was asked %d times", n)
	}
	if _, _, err := do(tr, hubRequest(t.Context(), "CONNECT", "/a")); errorOf(err) == nil || !errorOf(err).Refused() {
		t.Errorf("CONNECT: error %v, want a refusal", err)
	}
}

func TestWhatIsSentAndWhatIsNot(t *testing.T) {
	o := newRawOrigin(t, emptyAnswer)
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, "http://"+o.addr)}, ID: "abc", Version: "1.2"})
	req := hubRequest(t.Context(), "GET", "/a")
	req.Host = "client.example"
	req.Header = http.Header{
		"Via": {"1.0 first", "1.1 second"}, "Cdn-Loop": {"other"}, "Connection": {"X-Secret, keep-alive"}, "X-Secret": {"1"},
		"Proxy-Connection": {"keep-alive"}, "Te": {"trailers"}, "Upgrade": {"h2c"}, "Proxy-Authorization": {"Basic eA=="},
		"X-Kept": {"yes"}, "Authorization": {"Bearer client"},
	}
	before := req.Header.Clone()
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	head := <-o.heads
	for _, want := range []string{
		"Host: " + o.addr, "Via: 1.0 first, 1.1 second, 1.1 zcache", "Cdn-Loop: other, zcache; id=abc",
		"User-Agent: zcache/1.2", "X-Kept: yes", "Authorization: Bearer client",
	} {
		if !strings.Contains(head, "\r\n"+want+"\r\n") {
			t.Errorf("the request has no line %q:\n%s", want, head)
		}
	}
	for _, name := range []string{"Connection", "X-Secret", "Proxy-Connection", "Te", "Upgrade", "Proxy-Authorization", "Accept-Encoding", "Cookie"} {
		if strings.Contains(head, "\r\n"+name+":") {
			t.Errorf("the request has a field %s:\n%s", name, head)
		}
	}
	if len(before) != len(req.Header) || req.URL.Scheme != "hub" || req.Host != "client.example" || req.Header.Get("Via") != "1.0 first" {
		t.Errorf("the caller's request was changed: %v", req.Header)
	}
	if got, want := resp.Request.URL.String(), "http://"+o.addr+"/a"; got != want {
		t.Errorf("Response.Request.URL = %s, want %s", got, want)
	}
}

func TestInterimResponsesArrive(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Text("x"), origintest.EarlyHints(http.Header{"Link": {"</s.css>; rel=preload"}}))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	var hints []string
	ctx := withHints(t.Context(), func(link string) { hints = append(hints, link) })
	if code, _, err := do(tr, hubRequest(ctx, "GET", "/a")); err != nil || code != 200 {
		t.Fatal(code, err)
	}
	if len(hints) != 1 || hints[0] != "</s.css>; rel=preload" {
		t.Errorf("103 fields = %q", hints)
	}
}

func requestTarget(head string) string {
	line, _, _ := strings.Cut(head, "\r\n")
	line = strings.TrimSuffix(line, " HTTP/1.1")
	_, target, _ := strings.Cut(line, " ")
	return target
}
