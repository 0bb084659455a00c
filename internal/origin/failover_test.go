package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/origin/origintest"
)

func withHints(ctx context.Context, got func(link string)) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { got(h.Get("Link")); return nil },
	})
}

func errorOf(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// TestFailover gives each upstream a status (0 = dead) and names the one whose answer wins and how often each is asked.
func TestFailover(t *testing.T) {
	rows := []struct {
		claim    string
		method   string
		statuses []int
		want     int
		asked    []int
		skipOpen bool
	}{
		{"first answers", "GET", []int{200, 200}, 200, []int{1, 0}, false},
		{"dead one is passed over", "GET", []int{0, 200}, 200, []int{0, 1}, false},
		{"HEAD too", "HEAD", []int{503, 200}, 200, []int{1, 1}, false},
		{"429 500 502 504 all pass over", "GET", []int{429, 500, 502, 504, 200}, 200, []int{1, 1, 1, 1, 1}, false},
		{"one that asked us in its turn is passed over", "GET", []int{508, 200}, 200, []int{1, 1}, false},
		{"404 asks one other", "GET", []int{404, 404, 200}, 404, []int{1, 1, 0}, false},
		{"404 then found", "GET", []int{404, 200}, 200, []int{1, 1}, false},
		{"404 then ill then found", "GET", []int{404, 503, 200}, 200, []int{1, 1, 1}, false},
		{"410 is final", "GET", []int{410, 200}, 410, []int{1, 0}, false},
		{"403 is final", "GET", []int{403, 200}, 403, []int{1, 0}, false},
		{"404 wins over 503 before it", "GET", []int{503, 404}, 404, []int{1, 1}, false},
		{"404 wins over 503 behind it", "GET", []int{404, 503}, 404, []int{1, 1}, false},
		{"404 wins over a dead one", "GET", []int{0, 404}, 404, []int{0, 1}, false},
		{"holding a copy, 503 wins over 404", "GET", []int{503, 404}, 503, []int{1, 1}, true},
		{"holding a copy, a dead one wins over 404", "GET", []int{0, 404}, 0, []int{0, 1}, true},
		{"holding a copy, two 404 are believed", "GET", []int{404, 404}, 404, []int{1, 1}, true},
		{"first of equals", "GET", []int{502, 503}, 502, []int{1, 1}, false},
		{"POST is not sent twice", "POST", []int{503, 200}, 503, []int{1, 0}, false},
		{"POST passes over what refuses connections", "POST", []int{0, 200}, 200, []int{0, 1}, false},
		{"all dead", "GET", []int{0, 0}, 0, []int{0, 0}, false},
	}
	for _, row := range rows {
		t.Run(row.claim, func(t *testing.T) {
			var origins []*origintest.Origin
			var urls []string
			for _, status := range row.statuses {
				o := origintest.New(t)
				o.File("/a", origintest.Text("body"), origintest.Status(status))
				if status == 0 {
					o.Stop()
				}
				origins, urls = append(origins, o), append(urls, o.URL)
			}
			tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, urls...)}})
			ctx := t.Context()
			if row.skipOpen {
				ctx = WithSkipOpen(ctx)
			}
			got, _, err := do(tr, hubRequest(ctx, row.method, "/a"))
			if got != row.want || (err == nil) != (row.want != 0) {
				t.Errorf("status %d, %v, want %d", got, err, row.want)
			}
			for i, o := range origins {
				if n := o.Count("/a"); n != row.asked[i] {
					t.Errorf("upstream %d was asked %d times, want %d", i, n, row.asked[i])
				}
			}
			if e := errorOf(err); err != nil && (e == nil || e.ProxyStatus() != "connection_refused" || e.Upstream() != urls[0]+"/a") {
				t.Errorf("error = %v, want connection_refused of the first", err)
			}
		})
	}
}

func TestAbortedAnswerToAPostIsNotSentElsewhere(t *testing.T) {
	a, b := origintest.New(t), origintest.New(t)
	a.File("/a", origintest.Text(""), origintest.Abort())
	b.File("/a", origintest.Text("no"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, a.URL, b.URL)}})
	req := hubRequest(t.Context(), "POST", "/a")
	if _, _, err := do(tr, req); errorOf(err) == nil || errorOf(err).ProxyStatus() != "connection_terminated" {
		t.Errorf("error = %v, want connection_terminated", err)
	}
	if a.Count("/a") != 1 || b.Count("/a") != 0 {
		t.Errorf("asked %d and %d times, want 1 and 0", a.Count("/a"), b.Count("/a"))
	}
}

type countedBody struct {
	io.Reader
	closed chan struct{}
}

func (b *countedBody) Close() error { close(b.closed); return nil }

func TestRequestBodyGoesWholeToTheOneThatTakesItAndIsClosedOnce(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Text("ok"), origintest.Status(201))
	for _, urls := range [][]string{{deadURL(t), o.URL}, {deadURL(t)}, {o.URL}} {
		tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, urls...)}})
		req := hubRequest(t.Context(), "PUT", "/a")
		body := &countedBody{strings.NewReader("payload"), make(chan struct{})}
		req.Body, req.ContentLength = body, 7
		code, _, err := do(tr, req)
		<-body.closed // a second Close would panic
		if len(urls) == 1 && urls[0] != o.URL {
			if err == nil {
				t.Error("no error from a dead upstream")
			}
			continue
		}
		if last := o.Last("/a"); code != 201 || err != nil || string(last.Body) != "payload" {
			t.Errorf("%d, %v, the origin read %q", code, err, last.Body)
		}
	}
	for _, path := range []string{"/../x", "/a"} { // refused, and an unknown hub
		tr := newTransport(t, Config{})
		req := hubRequest(t.Context(), "PUT", path)
		body := &countedBody{strings.NewReader("payload"), make(chan struct{})}
		req.Body = body
		if _, _, err := do(tr, req); err == nil {
			t.Error("no error")
		}
		<-body.closed
	}
}

func TestGetWhoseBodyWasReadIsNotRepeated(t *testing.T) {
	a, b := origintest.New(t), origintest.New(t)
	a.File("/a", origintest.Text("ill"), origintest.Status(503))
	b.File("/a", origintest.Text("well"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, a.URL, b.URL)}})
	req := hubRequest(t.Context(), "GET", "/a")
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader("fat")), 3
	if code, _, err := do(tr, req); code != 503 || err != nil || b.Total() != 0 {
		t.Errorf("%d, %v, second asked %d times, want 503 of the first alone", code, err, b.Total())
	}
}

// The bubble's clock moves only while all wait, so the body's silence is exact and costs no time.
func TestBodyWatchdogCountsOnlyTheWaitingOfAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		ctx, cancel := context.WithCancelCause(t.Context())
		context.AfterFunc(ctx, func() { r.CloseWithError(context.Canceled) })
		var told error
		m, err := newMetrics(nil, &Transport{})
		if err != nil {
			t.Fatal(err)
		}
		b := &watchedBody{
			rc: r, ctx: ctx, parent: t.Context(), cancel: cancel, idle: time.Minute, name: "http://o/a",
			count: m.bytes.WithLabelValues("h", "o"), end: func(err error) { told = err },
		}
		go func() {
			_, _ = w.Write([]byte("a"))
			time.Sleep(59 * time.Second)
			_, _ = w.Write([]byte("b"))
		}()
		for _, want := range []string{"a", "b"} {
			p := make([]byte, 1)
			if _, err := b.Read(p); err != nil || string(p) != want {
				t.Fatalf("Read = %q, %v, want %q", p, err, want)
			}
			time.Sleep(10 * time.Minute) // a slow reader
		}
		start := time.Now()
		_, err = b.Read(make([]byte, 1))
		if e := errorOf(err); e == nil || e.ProxyStatus() != "connection_read_timeout" || told == nil {
			t.Errorf("Read = %v, told %v, want connection_read_timeout", err, told)
		}
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("waited %s, want 1m", waited)
		}
		if _, again := b.Read(make([]byte, 1)); again != err {
			t.Errorf("the next Read = %v, want the same error", again)
		}
	})
}

func TestStalledBodyEndsOnARealConnection(t *testing.T) {
	for _, newOrigin := range []func(testing.TB) *origintest.Origin{origintest.New, origintest.NewTLS} {
		o := newOrigin(t)
		o.File("/a", origintest.Body(1, 1000), origintest.Stall(10, make(chan struct{})))
		h := hubOf(t, o.URL)
		h.RootCAs = o.Pool()
		tr := newTransport(t, Config{Hubs: []Hub{h}, Idle: 50 * time.Millisecond})
		_, got, err := ask(t, tr, "/a")
		if e := errorOf(err); len(got) != 10 || e == nil || e.ProxyStatus() != "connection_read_timeout" {
			t.Errorf("%d bytes, %v, want connection_read_timeout", len(got), err)
		}
		if s := tr.Status()[0]; s.Failures != 1 {
			t.Errorf("status = %+v, want one failure", s)
		}
	}
}

func TestUnsafeMethodsUseFreshConnections(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Text("x"), origintest.Status(200))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	for _, method := range []string{"GET", "GET", "HEAD", "POST", "DELETE"} {
		if code, _, err := do(tr, hubRequest(t.Context(), method, "/a")); code != http.StatusOK || err != nil {
			t.Fatal(method, code, err)
		}
	}
	if n := o.Conns(); n != 3 {
		t.Errorf("%d connections, want 3: one shared, one for each of POST and DELETE", n)
	}
}

func TestRedirectsAndCodingsAreLeftToTheCaller(t *testing.T) {
	o := origintest.New(t)
	o.File("/r", origintest.Text("moved"), origintest.Redirect(302, "/a"))
	o.File("/z", origintest.Text("squeezed"), origintest.Gzip())
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/r"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 302 || resp.Header.Get("Location") != "/a" || o.Total() != 1 {
		t.Errorf("redirect = %d %q after %d requests", resp.StatusCode, resp.Header.Get("Location"), o.Total())
	}
	resp, err = tr.RoundTrip(hubRequest(t.Context(), "GET", "/z"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.Uncompressed {
		t.Errorf("coding %q, uncompressed %v, want it left alone", resp.Header.Get("Content-Encoding"), resp.Uncompressed)
	}
}

func TestARevokedBodyIsReadByNobody(t *testing.T) {
	req := &http.Request{Body: io.NopCloser(strings.NewReader("payload"))}
	body := newRequestBody(req)
	first := body.view()
	if first.revoke() {
		t.Error("revoke says that an untouched body was read")
	}
	// The writer of a connection that was given up may come this late.
	if n, err := first.Read(make([]byte, 7)); n != 0 || err == nil {
		t.Errorf("the first try reads %d bytes, %v", n, err)
	}
	if got, err := io.ReadAll(body.view()); string(got) != "payload" || err != nil {
		t.Errorf("the second try reads %q, %v", got, err)
	}
}

func TestAnAvoidedUpstreamIsNotAsked(t *testing.T) {
	a, b := origintest.New(t), origintest.New(t)
	a.File("/pub/x", origintest.Text("page"))
	b.File("/pub/x", origintest.Text("file"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, a.URL+"/pub", b.URL+"/pub")}})
	for _, row := range []struct {
		name  string
		avoid []string
		want  string
	}{
		{"without anything to avoid the first answers", nil, "page"},
		{"the first avoided, the second answers", []string{a.URL + "/pub/x"}, "file"},
		{"a URL elsewhere on the same host avoids nothing", []string{a.URL + "/public/x"}, "page"},
	} {
		resp, err := tr.RoundTrip(hubRequest(WithAvoid(t.Context(), row.avoid), http.MethodGet, "/x"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != row.want {
			t.Errorf("%s: got %q, %v", row.name, got, err)
		}
	}
	if _, err := tr.RoundTrip(hubRequest(WithAvoid(t.Context(), []string{a.URL + "/pub/x", b.URL + "/pub/x"}), http.MethodGet, "/x")); !errors.Is(err, ErrUnavailable) {
		t.Errorf("all avoided: %v, want ErrUnavailable", err)
	}
}

func TestA404IsNotBelievedWhileAnotherUpstreamIsAvoidedAndACopyIsHeld(t *testing.T) {
	a, b := origintest.New(t), origintest.New(t)
	a.File("/x", origintest.Text("page"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, a.URL, b.URL)}})
	avoid := WithAvoid(t.Context(), []string{a.URL + "/x"})
	code, _, err := do(tr, hubRequest(WithSkipOpen(avoid), http.MethodGet, "/x"))
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("with a copy: %d, %v, want ErrUnavailable", code, err)
	}
	if code, _, err := do(tr, hubRequest(avoid, http.MethodGet, "/x")); code != http.StatusNotFound || err != nil {
		t.Errorf("without one: %d, %v, want 404", code, err)
	}
}

func TestAnUpstreamBesideTheAvoidedOneOnItsHostIsAsked(t *testing.T) {
	o := origintest.New(t)
	o.File("/pub/x", origintest.Text("page"))
	o.File("/x", origintest.Text("file"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL+"/pub", o.URL)}})
	code, body, err := do(tr, hubRequest(WithAvoid(t.Context(), []string{o.URL + "/pub/x"}), http.MethodGet, "/x"))
	if code != http.StatusOK || string(body) != "file" || err != nil {
		t.Errorf("%d %q, %v, want what the other one has", code, body, err)
	}
}
