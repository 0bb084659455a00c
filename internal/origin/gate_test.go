package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/origin/origintest"
)

var somewhere = host{"http", "a.example"}

// behind lets a request of the background through g, and tells when it is in. What it gets then leaves with the test's leave.
func behind(ctx context.Context, g *gates, at host, promoted <-chan struct{}) <-chan *pass {
	in := make(chan *pass, 1)
	go func() {
		p, err := g.enter(WithBackground(ctx, promoted), at)
		if err == nil {
			in <- p
		}
		close(in)
	}()
	synctest.Wait()
	return in
}

func client(t *testing.T, g *gates, at host) *pass {
	t.Helper()
	p, err := g.enter(t.Context(), at)
	if err != nil {
		t.Fatalf("a client's request was not let in: %v", err)
	}
	return p
}

// entered counts those that are in.
func entered(all []<-chan *pass) (n int) {
	synctest.Wait()
	for _, in := range all {
		n += len(in)
	}
	return n
}

func newGates() *gates { return &gates{most: 3, now: time.Now} }

func TestTheBackgroundHasRoomForSoManyAtAHost(t *testing.T) {
	for _, row := range []struct {
		claim   string
		at      host
		clients int
		want    int
	}{
		{"so many as are configured with nobody else there", somewhere, 0, 3},
		{"one beside a client", somewhere, 1, 1},
		{"one beside many", somewhere, 50, 1},
		{"by FTP all sessions but one", host{"ftp", "a.example"}, 0, ftpConns - 1},
		{"by FTP one beside a client", host{"ftps", "a.example"}, 1, 1},
		{"by FTP none where a client would have to wait", host{"ftp", "a.example"}, ftpConns - 1, 0},
	} {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				g.most = 3
				var clients []*pass
				for range row.clients {
					clients = append(clients, client(t, g, row.at))
				}
				elsewhere := client(t, g, host{"http", "b.example"})
				var all []<-chan *pass
				for range 10 {
					all = append(all, behind(t.Context(), g, row.at, nil))
				}
				if n := entered(all); n != row.want {
					t.Errorf("%d of 10 are in beside %d clients, want %d", n, row.clients, row.want)
				}
				for _, p := range clients {
					p.leave()
				}
				for i, in := range all { // each that leaves lets the next in, the one that waits longest
					synctest.Wait()
					if len(in) != 1 {
						t.Fatalf("request %d is not in although all before it have left", i)
					}
					(<-in).leave()
				}
				elsewhere.leave()
				if len(g.hosts) != 0 {
					t.Errorf("%d hosts are remembered, want none", len(g.hosts))
				}
			})
		})
	}
}

func TestAPromotedRequestIsAClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		g.most = 1
		inside, waits := make(chan struct{}), make(chan struct{})
		first := <-behind(t.Context(), g, somewhere, inside)
		second := behind(t.Context(), g, somewhere, waits)
		if entered([]<-chan *pass{second}) != 0 {
			t.Fatal("two are in where one may be")
		}
		close(waits)
		if entered([]<-chan *pass{second}) != 1 {
			t.Fatal("a request that was promoted still waits")
		}
		if n := g.hosts[somewhere].interactive; n != 1 {
			t.Errorf("%d requests count as clients', want the promoted one", n)
		}
		close(inside)
		third, fourth := behind(t.Context(), g, somewhere, nil), behind(t.Context(), g, somewhere, nil)
		if n := entered([]<-chan *pass{third, fourth}); n != 1 {
			t.Errorf("%d of the background are in beside two that were promoted, want 1", n)
		}
		first.leave()
		(<-second).leave()
		(<-third).leave()
		(<-fourth).leave()
		if len(g.hosts) != 0 {
			t.Errorf("%d hosts are remembered, want none", len(g.hosts))
		}
	})
}

func TestWhoGivesUpWaitingTakesNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		g.most = 1
		first := <-behind(t.Context(), g, somewhere, nil)
		ctx, leave := context.WithCancel(t.Context())
		second, third := behind(ctx, g, somewhere, nil), behind(t.Context(), g, somewhere, nil)
		leave()
		if p := <-second; p != nil {
			t.Error("a request whose context ended was let in")
		}
		first.leave()
		first.leave()
		(<-third).leave()
		if len(g.hosts) != 0 {
			t.Errorf("%d hosts are remembered, want none", len(g.hosts))
		}
	})
}

func TestAHostThatAsksForItIsLeftAlone(t *testing.T) {
	for _, row := range []struct {
		claim  string
		status int
		after  string
		want   time.Duration
	}{
		{"for seconds", 429, "30", 30 * time.Second},
		{"until a date", 503, time.Date(2000, 1, 1, 0, 1, 0, 0, time.UTC).Format(http.TimeFormat), time.Minute}, // synctest begins in 2000
		{"never for a day", 503, "86400", longestRest},
		{"not without a time", 429, "", 0},
		{"not in the words of another status", 200, "30", 0},
	} {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				resp := &http.Response{StatusCode: row.status, Header: http.Header{"Retry-After": {row.after}}, Body: http.NoBody}
				client(t, g, somewhere).attend(outcome{resp: resp})
				asked := time.Now()
				in := behind(t.Context(), g, somewhere, nil)
				client(t, g, somewhere).leave() // clients do not wait
				p := <-in
				if waited := time.Since(asked); waited != row.want {
					t.Errorf("the background waited %v, want %v", waited, row.want)
				}
				p.leave()
				promoted := make(chan struct{})
				close(promoted)
				client(t, g, somewhere).attend(outcome{resp: resp})
				asked = time.Now()
				(<-behind(t.Context(), g, somewhere, promoted)).leave()
				if waited := time.Since(asked); waited != 0 {
					t.Errorf("a promoted request waited %v", waited)
				}
			})
		})
	}
}

// A walk's request waits until the body that a client reads is closed, whatever the way to the host is.
func TestTheBackgroundWaitsForClientsBodies(t *testing.T) {
	o := origintest.New(t)
	release := make(chan struct{})
	o.File("/held", origintest.Body(1, 1<<20), origintest.Stall(1000, release))
	o.File("/a", origintest.Text("a"), origintest.Hold(release))
	o.File("/b", origintest.Text("b"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}, AllowHosts: []string{"127.0.0.1"}})
	busy, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/held"))
	if err != nil {
		t.Fatal(err)
	}
	ctx := WithBackground(t.Context(), nil)
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 2)
	walk := func(path string) {
		_, body, err := do(tr, hubRequest(ctx, "GET", path))
		got <- result{body, err}
	}
	go walk("/a")
	o.Wait("/a", 1) // beside the client there is one
	short, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := do(tr, hubRequest(short, "GET", "/b")); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up while it waited = %v, want context.Canceled", err)
	}
	go walk("/b")
	if status, body, err := ask(t, tr, "/b"); status != 200 || body != "b" || err != nil {
		t.Errorf("another client's GET = %d %q, %v, want it at once", status, body, err)
	}
	req, _ := http.NewRequestWithContext(short, "GET", o.URL+"/b", nil)
	if _, _, err := do(tr, req); !errors.Is(err, context.Canceled) {
		t.Errorf("GET of an absolute URL while the host is busy = %v, want it to wait too", err)
	}
	if n := o.Count("/b"); n != 1 {
		t.Errorf("%d requests for /b, want the client's alone", n)
	}
	busy.Body.Close()
	if r := <-got; r.body != "b" || r.err != nil {
		t.Errorf("the walk's request after the client = %q, %v, want b", r.body, r.err)
	}
	close(release)
	if r := <-got; r.body != "a" || r.err != nil {
		t.Errorf("the walk's other request = %q, %v, want a", r.body, r.err)
	}
	if len(tr.gates.hosts) != 0 {
		t.Errorf("%d hosts are remembered, want none", len(tr.gates.hosts))
	}
}

// Two requests that each have an answer from the host that the other one turns to next must not wait for each other.
func TestAnAnswerThatDoesNotStandKeepsNoPlace(t *testing.T) {
	release := make(chan struct{})
	one, two := origintest.New(t), origintest.New(t)
	for _, o := range []*origintest.Origin{one, two} {
		o.File("/a", origintest.Text("a"), origintest.First(1, origintest.Status(500), origintest.Hold(release)))
	}
	there, back := hubOf(t, one.URL, two.URL), hubOf(t, two.URL, one.URL)
	back.Name = "back"
	tr := newTransport(t, Config{Hubs: []Hub{there, back}, BackgroundPerHost: 1})
	got := make(chan error, 2)
	ctx, cancel := context.WithTimeout(WithBackground(t.Context(), nil), 20*time.Second)
	defer cancel()
	for _, hub := range []string{"h", "back"} {
		req := hubRequest(ctx, "GET", "/a")
		req.URL.Host = hub
		go func() {
			status, _, err := do(tr, req)
			if err == nil && status != 200 {
				err = fmt.Errorf("status %d", status)
			}
			got <- err
		}()
	}
	one.Wait("/a", 1)
	two.Wait("/a", 1)
	close(release)
	for range 2 {
		if err := <-got; err != nil {
			t.Errorf("GET whose first upstream is ill = %v, want the answer of the other", err)
		}
	}
}

func TestTheLastFTPSessionIsForAClient(t *testing.T) {
	s, tr := ftpHub(t)
	var walks []io.Closer
	for range ftpConns - 1 {
		resp, err := tr.RoundTrip(hubRequest(WithBackground(t.Context(), nil), "GET", "/a.txt"))
		if err != nil {
			t.Fatal(err)
		}
		walks = append(walks, resp.Body) // not read: the session stays in use
	}
	one := make(chan error, 1)
	go func() {
		_, _, err := do(tr, hubRequest(WithBackground(t.Context(), nil), "GET", "/a.txt"))
		one <- err
	}()
	if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
		t.Errorf("a client's GET beside %d of the background = %d %q, %v, want the file at once", ftpConns-1, status, body, err)
	}
	if n := s.count("RETR"); n != ftpConns {
		t.Errorf("%d files were asked for, want %d", n, ftpConns)
	}
	for _, w := range walks {
		w.Close()
	}
	if err := <-one; err != nil {
		t.Errorf("the request that waited = %v", err)
	}
	if _, _, err := do(tr, hubRequest(WithBackground(t.Context(), nil), "GET", "/")); err != nil {
		t.Errorf("a listing = %v", err)
	}
	if len(tr.gates.hosts) != 0 {
		t.Errorf("%d hosts are remembered, want none", len(tr.gates.hosts))
	}
}
