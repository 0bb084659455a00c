package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"zcache/internal/limit"
	"zcache/internal/origin/origintest"
)

// bounded is a Transport over an upstream, with a bound on the trips of hub h and of what belongs to no hub.
func bounded(t *testing.T, u limit.Upstream, urls ...string) (*Transport, *limit.Limiter) {
	t.Helper()
	l := limit.New(limit.Config{Hubs: map[string]limit.Hub{"h": {Upstream: u}, filesHub: {Upstream: u}}})
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, urls...)}, AllowHosts: []string{"127.0.0.1/32"}, Limits: l.Gate})
	return tr, l
}

// load waits until so many trips are under way and so many wait.
func load(t *testing.T, g *limit.Gate, under, waiting int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		u, w := g.Load()
		if u == under && w == waiting {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d trips under way and %d waiting, want %d and %d", u, w, under, waiting)
		}
	}
}

func TestATripLastsUntilItsBodyIsOver(t *testing.T) {
	o := origintest.New(t)
	for _, path := range []string{"/a", "/b"} {
		o.File(path, origintest.Body(1, 100_000))
	}
	for _, row := range []struct {
		claim string
		end   func(*http.Response) error
	}{
		{"read to its end", func(r *http.Response) error { _, err := io.Copy(io.Discard, r.Body); return err }},
		{"closed before", func(r *http.Response) error { return r.Body.Close() }},
	} {
		t.Run(row.claim, func(t *testing.T) {
			tr, l := bounded(t, limit.Upstream{Trips: 1, Queue: 5}, o.URL)
			resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/a"))
			if err != nil {
				t.Fatal(err)
			}
			second := make(chan error, 1)
			go func() { _, _, err := ask(t, tr, "/b"); second <- err }()
			load(t, l.Gate("h"), 1, 1)
			if n := o.Count("/b"); n != 0 {
				t.Errorf("the upstream was asked %d times by who waits", n)
			}
			if err := row.end(resp); err != nil {
				t.Fatal(err)
			}
			if err := <-second; err != nil {
				t.Errorf("the one that waited: %v", err)
			}
			resp.Body.Close()
			load(t, l.Gate("h"), 0, 0)
			o.Forget()
		})
	}
}

func TestATripThatIsRefusedIsNobodysFault(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Body(1, 100_000))
	tr, l := bounded(t, limit.Upstream{Trips: 1}, o.URL)
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/a"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = ask(t, tr, "/a")
	var e *Error
	if !errors.Is(err, limit.ErrRefused) || !errors.As(err, &e) || !e.Crowded() || e.Refused() || e.ProxyStatus() != "connection_limit_reached" {
		t.Errorf("with one trip under way: %v, want a refusal that tells so", err)
	}
	if s := tr.Status()[0]; s.Failures != 0 || s.State != "closed" {
		t.Errorf("the upstream counts as %s after %d failures", s.State, s.Failures)
	}
	resp.Body.Close()
	load(t, l.Gate("h"), 0, 0)
}

func TestWhoLeavesWhileItWaitsHoldsNothing(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Body(1, 100_000))
	tr, l := bounded(t, limit.Upstream{Trips: 1, Queue: 5}, o.URL)
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/a"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { _, _, err := do(tr, hubRequest(ctx, "GET", "/a")); left <- err }()
	load(t, l.Gate("h"), 1, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) || errors.Is(err, limit.ErrRefused) {
		t.Errorf("who has left: %v, want its own doing", err)
	}
	load(t, l.Gate("h"), 1, 0)
	resp.Body.Close()
	load(t, l.Gate("h"), 0, 0)
}

func TestTripsThatFailOrFailOverEnd(t *testing.T) {
	first, second := origintest.New(t), origintest.New(t)
	second.File("/a", origintest.Text("a"))
	first.File("/ill", origintest.Text("ill"), origintest.Status(500))
	second.File("/ill", origintest.Text("well"))
	tr, l := bounded(t, limit.Upstream{Trips: 1, Queue: 1}, deadURL(t), first.URL, second.URL)
	for path, want := range map[string]string{"/a": "a", "/ill": "well"} {
		if status, body, err := ask(t, tr, path); status != 200 || body != want || err != nil {
			t.Errorf("%s: %d %q, %v; want the answer of the last upstream, with one trip at a time", path, status, body, err)
		}
	}
	ask(t, tr, "/none")
	load(t, l.Gate("h"), 0, 0)
}

func TestWhatIsNoHubsHasABoundOfItsOwn(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Body(1, 100_000))
	tr, l := bounded(t, limit.Upstream{Trips: 1}, o.URL)
	resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", o.URL+"/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatalf("an absolute URL beside a trip of the hub: %v", err)
	}
	load(t, l.Gate(filesHub), 1, 0)
	if _, _, err := do(tr, req); !errors.Is(err, limit.ErrRefused) {
		t.Errorf("a second absolute URL: %v, want a refusal", err)
	}
	other.Body.Close()
	load(t, l.Gate(filesHub), 0, 0)
}

func TestClientsTakeTurns(t *testing.T) {
	o := origintest.New(t)
	release := make(chan struct{})
	o.File("/first", origintest.Text("first"), origintest.Hold(release))
	for _, path := range []string{"/greedy", "/modest"} {
		o.File(path, origintest.Text("x"))
	}
	tr, l := bounded(t, limit.Upstream{Trips: 1, Queue: 100}, o.URL)
	who := func(s string) context.Context {
		return limit.With(t.Context(), limit.Client{Addr: netip.MustParseAddr(s)}.Subject())
	}
	done := make(chan error, 100)
	ask := func(ctx context.Context, path string) {
		go func() { _, _, err := do(tr, hubRequest(ctx, "GET", path)); done <- err }()
	}
	ask(who("192.0.2.1"), "/first")
	load(t, l.Gate("h"), 1, 0)
	for i := range 20 {
		ask(who("192.0.2.1"), "/greedy")
		load(t, l.Gate("h"), 1, i+1)
	}
	ask(who("192.0.2.2"), "/modest")
	load(t, l.Gate("h"), 1, 21)
	close(release)
	for range 22 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for i, r := range o.Requests() {
		if r.Path == "/modest" && i > 2 {
			t.Errorf("the one request of a client was made as number %d, behind those that another has queued", i+1)
		}
	}
}

func TestWhoMakesWayForClientsHoldsNoTrip(t *testing.T) {
	o := origintest.New(t)
	release := make(chan struct{})
	o.File("/slow", origintest.Body(1, 100_000), origintest.Stall(1000, release))
	o.File("/a", origintest.Text("a"))
	tr, l := bounded(t, limit.Upstream{Trips: 2, Queue: 10}, o.URL)
	client, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/slow"))
	if err != nil {
		t.Fatal(err)
	}
	// Beside a client one request of the background may be at the host, and the others wait there, not here.
	behind := make(chan error, 10)
	for range 5 {
		go func() {
			_, _, err := do(tr, hubRequest(WithBackground(t.Context(), nil), "GET", "/slow"))
			behind <- err
		}()
	}
	load(t, l.Gate("h"), 2, 0)
	one := make(chan error, 1)
	go func() { _, _, err := ask(t, tr, "/a"); one <- err }()
	load(t, l.Gate("h"), 2, 1)
	client.Body.Close()
	if err := <-one; err != nil {
		t.Errorf("a client beside the background: %v", err)
	}
	close(release)
	for range 5 {
		if err := <-behind; err != nil {
			t.Error(err)
		}
	}
	load(t, l.Gate("h"), 0, 0)
}
