package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestBreaker(t *testing.T) {
	c := newClock()
	a, b := origintest.New(t), origintest.New(t)
	a.File("/a", origintest.Text("a"))
	b.File("/a", origintest.Text("b"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, a.URL, b.URL)}, Now: c.Now})
	expect := func(body, state string) {
		t.Helper()
		if _, got, err := ask(t, tr, "/a"); got != body || err != nil {
			t.Fatalf("got %q, %v, want %q", got, err, body)
		}
		if got := tr.Status()[0].State; got != state {
			t.Fatalf("state %s, want %s", got, state)
		}
	}
	expect("a", "closed")
	a.File("/a", origintest.Text("ill"), origintest.Status(503))
	for range tripAfter - 1 {
		expect("b", "closed")
	}
	expect("b", "open")
	n := a.Count("/a")
	expect("b", "open")
	if a.Count("/a") != n {
		t.Error("an open upstream was asked though another was there")
	}
	c.Add(firstPause * 12 / 10)
	if got := tr.Status()[0].State; got != "half-open" {
		t.Errorf("state after the pause = %s, want half-open", got)
	}
	expect("b", "open") // the probe failed
	c.Add(firstPause * 12 / 10)
	if got := tr.Status()[0].State; got != "open" {
		t.Errorf("state after the first pause again = %s, want open: it doubles", got)
	}
	a.File("/a", origintest.Text("a"))
	expect("b", "open")
	c.Add(2 * firstPause)
	expect("a", "closed")
	if s := tr.Status()[0]; s.Failures != 0 || s.LastError == "" || s.URL != a.URL {
		t.Errorf("status after recovery = %+v", s)
	}
}

func TestOpenBreakerIsAdviceUnlessTheCallerHoldsACopy(t *testing.T) {
	c := newClock()
	o := origintest.New(t)
	o.File("/a", origintest.Text("a"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}, Now: c.Now})
	o.Stop()
	for range tripAfter {
		if _, _, err := ask(t, tr, "/a"); err == nil {
			t.Fatal("a stopped origin answers")
		}
	}
	o.Start()
	_, _, err := do(tr, hubRequest(WithSkipOpen(t.Context()), "GET", "/a"))
	if e := errorOf(err); !errors.Is(err, ErrUnavailable) || e.ProxyStatus() != "destination_unavailable" {
		t.Errorf("error = %v, want ErrUnavailable", err)
	}
	if _, got, err := ask(t, tr, "/a"); got != "a" || err != nil {
		t.Errorf("without a copy: %q, %v", got, err)
	}
	if _, got, err := do(tr, hubRequest(WithSkipOpen(t.Context()), "GET", "/a")); got != "a" || err != nil {
		t.Errorf("after one success: %q, %v", got, err)
	}
}

func TestResetClosesTheBreaker(t *testing.T) {
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, deadURL(t))}})
	for range tripAfter {
		_, _, _ = ask(t, tr, "/a")
	}
	if s := tr.Status()[0]; s.State != "open" || s.Failures != tripAfter {
		t.Fatalf("status = %+v, want open", s)
	}
	if n := tr.Reset("h"); n != 1 || tr.Status()[0].State != "closed" {
		t.Errorf("Reset = %d, %+v", n, tr.Status()[0])
	}
	if n := tr.Reset("none"); n != 0 {
		t.Errorf("Reset of an unknown hub = %d", n)
	}
}

func TestClientErrorsNeverOpenTheBreaker(t *testing.T) {
	o := origintest.New(t)
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	for _, code := range []int{400, 403, 404, 429, 500} {
		o.File("/a", origintest.Text("x"), origintest.Status(code))
		for range tripAfter + 1 {
			_, _, _ = ask(t, tr, "/a")
		}
	}
	if s := tr.Status()[0]; s.State != "closed" || s.Failures != 0 {
		t.Errorf("status = %+v, want closed without failures", s)
	}
}

func TestBodiesThatBreakOffOpenTheBreaker(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Body(1, 10_000), origintest.CutAfter(100))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	for range tripAfter {
		_, got, err := ask(t, tr, "/a")
		if e := errorOf(err); len(got) != 100 || e == nil || e.ProxyStatus() != "http_response_incomplete" {
			t.Fatalf("%d bytes, %v, want http_response_incomplete", len(got), err)
		}
	}
	if s := tr.Status()[0]; s.State != "open" {
		t.Errorf("status = %+v, want open", s)
	}
}

func TestAClientThatLeavesIsNoFailure(t *testing.T) {
	o := origintest.New(t)
	o.File("/held", origintest.Text("x"), origintest.Hold(make(chan struct{})))
	o.File("/slow", origintest.Body(1, 1000), origintest.Stall(10, make(chan struct{})))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, _, err := do(tr, hubRequest(ctx, "GET", "/held"))
		failed <- err
	}()
	o.Wait("/held", 1)
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) || errorOf(err).ProxyStatus() != "" {
		t.Errorf("error = %v, want context.Canceled", err)
	}
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/slow"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	go resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a closed body came to its end")
	}
	if s := tr.Status()[0]; s.Failures != 0 {
		t.Errorf("status = %+v, want no failures", s)
	}
}

func TestTheProbeIsAlone(t *testing.T) {
	var h health
	now := time.Unix(1000, 0)
	for range tripAfter {
		h.failed(now, false, "x")
	}
	now = now.Add(4 * time.Second)
	if probe, ok := h.enter(now); !probe || !ok {
		t.Fatal("no probe is let through after the pause")
	}
	if _, ok := h.enter(now); ok {
		t.Error("a second probe is let through")
	}
	h.left(true)
	if probe, ok := h.enter(now); !probe || !ok {
		t.Error("after a probe that told nothing, none is let through")
	}
}

func TestPausesDoubleToAMinute(t *testing.T) {
	var h health
	now := time.Unix(1000, 0)
	for range tripAfter {
		h.failed(now, false, "x")
	}
	for i, want := range []time.Duration{3, 6, 12, 24, 48, 60, 60, 60} {
		pause := h.until.Sub(now)
		if want *= time.Second; pause < want*84/100 || pause > want*116/100 {
			t.Errorf("pause %d = %s, want %s within 15 %%", i, pause, want)
		}
		now = h.until
		h.enter(now)
		h.failed(now, true, "x")
	}
}

func TestMuchFasterUpstreamGoesFirst(t *testing.T) {
	ms := time.Millisecond
	rows := []struct {
		claim     string
		latencies []time.Duration
		want      string
	}{
		{"unknown ones keep their order", []time.Duration{0, 0, 0}, "012"},
		{"a little faster is nothing", []time.Duration{100 * ms, 60 * ms, 0}, "012"},
		{"twice as fast but under 50 ms is nothing", []time.Duration{40 * ms, 2 * ms, 0}, "012"},
		{"much faster goes first", []time.Duration{500 * ms, 20 * ms, 0}, "102"},
		{"the last may go first", []time.Duration{500 * ms, 400 * ms, 20 * ms}, "201"},
		{"an unknown one is not passed", []time.Duration{500 * ms, 0, 20 * ms}, "012"},
	}
	for _, row := range rows {
		t.Run(row.claim, func(t *testing.T) {
			now := time.Unix(1000, 0)
			h := &hub{}
			for i, l := range row.latencies {
				u := &upstream{label: string(rune('0' + i))}
				u.health.answered(now, l)
				h.upstreams = append(h.upstreams, u)
			}
			if got := labels(h.ranked(now)); got != row.want {
				t.Errorf("order %s, want %s", got, row.want)
			}
			if got := labels(h.ranked(now.Add(latencyHolds + 1))); got != "012" {
				t.Errorf("order of old latencies %s, want the configured one", got)
			}
		})
	}
}

func labels(all []*upstream) string {
	var s string
	for _, u := range all {
		s += u.label
	}
	return s
}

func TestFailuresDuringThePauseDoNotProlongIt(t *testing.T) {
	var h health
	now := time.Unix(1000, 0)
	for range tripAfter {
		h.failed(now, false, "x")
	}
	until := h.until
	if h.failed(now.Add(time.Second), false, "x") || h.until != until {
		t.Error("a request that had nowhere else to go prolonged the pause")
	}
	if h.failed(until.Add(time.Second), false, "x") || h.state(until.Add(time.Second)) != halfOpen {
		t.Error("a request that was no probe ended the half-open state")
	}
}

func TestIdleConnectionsEndWithTheOpeningOfTheBreaker(t *testing.T) {
	o := origintest.New(t)
	release := make(chan struct{})
	o.File("/a", origintest.Text("ill"), origintest.Status(503))
	o.File("/two", origintest.Body(1, 1000), origintest.First(2, origintest.Stall(10, release)))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	twoAtOnce := func() {
		t.Helper()
		var both []*http.Response
		for range 2 {
			resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/two"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			both = append(both, resp)
		}
		close(release)
		for _, resp := range both {
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
	twoAtOnce()
	for range tripAfter {
		_, _, _ = ask(t, tr, "/a")
	}
	release = make(chan struct{})
	o.File("/two", origintest.Body(1, 1000), origintest.Stall(10, release))
	twoAtOnce()
	// Neither the idle one nor the one whose answer opened the breaker is used again.
	if n := o.Conns(); n != 4 {
		t.Errorf("%d connections, want 4", n)
	}
}
