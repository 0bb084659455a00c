package proxy

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"zcache/internal/auth"
	"zcache/internal/fill"
	"zcache/internal/limit"
	"zcache/internal/origin/origintest"
)

// limited puts limits in force, before the first request.
func (g *rig) limited(c limit.Config) *rig {
	g.limits = limit.New(c)
	g.g.cfg.Limiter = g.limits
	return g
}

// dialFrom opens a connection to the gateway from another address of this machine.
func (g *rig) dialFrom(addr string) net.Conn {
	g.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	c, err := d.DialContext(g.t.Context(), "tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	g.t.Cleanup(func() { c.Close() })
	return c
}

// wellFormed says what is wrong with a refusal.
func (r reply) wellFormed(status int, word string) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if r.broken != nil || r.StatusCode != status {
		return []string{fmt.Sprintf("status %d, %v, want %d", r.StatusCode, r.broken, status)}
	}
	if s, err := strconv.Atoi(r.Header.Get("Retry-After")); err != nil || s < 1 {
		bad("Retry-After: %q, want seconds", r.Header.Get("Retry-After"))
	}
	if r.Header.Get("Cache-Control") != "no-store" {
		bad("Cache-Control: %q, want no-store", r.Header.Get("Cache-Control"))
	}
	var name string
	for _, field := range []string{"Ratelimit", "Ratelimit-Policy"} {
		list, err := httpsfv.UnmarshalList(r.Header[field])
		if err != nil || len(list) != 1 {
			bad("%s: %q, %v", field, r.Header[field], err)
			continue
		}
		name, _ = list[0].(httpsfv.Item).Value.(string)
	}
	if r.Request != nil && r.Request.Method == http.MethodHead {
		return problems
	}
	if got := r.word(); got != word {
		bad("error: %s, want %s", got, word)
	}
	var p struct {
		Type     string
		Detail   string
		Violated []string `json:"violated-policies"`
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || !strings.HasPrefix(p.Type, "https://iana.org/assignments/http-problem-types#") || p.Detail == "" || !slices.Equal(p.Violated, []string{name}) {
		bad("problem %s, %v; want a registered type, a detail and the policy %q", r.body, err, name)
	}
	return problems
}

func TestRefusalsAreWellFormedInEveryForm(t *testing.T) {
	// One request a minute is admitted and then refused, whatever it asks for.
	once := limit.Config{Client: limit.Limits{Rate: 1.0 / 60, Burst: 1}}
	tests := []struct {
		name string
		line func(g *rig) string
	}{
		{"a path of a hub", func(g *rig) string { return "GET /a HTTP/1.1" }},
		{"a held file", func(g *rig) string { return "GET /held HTTP/1.1" }},
		{"HEAD", func(g *rig) string { return "HEAD /a HTTP/1.1" }},
		{"HTTP/1.0", func(g *rig) string { return "GET /a HTTP/1.0" }},
		{"URL form", func(g *rig) string { return "GET /download/" + g.out.URL + "/a HTTP/1.1" }},
		{"proxy form", func(g *rig) string { return "GET " + g.out.URL + "/a HTTP/1.1" }},
		{"CONNECT", func(g *rig) string { return "CONNECT " + g.out.Addr + " HTTP/1.1" }},
		{"POST", func(g *rig) string { return "POST /a HTTP/1.1" }},
		{"operations", func(g *rig) string { return "GET /-/status HTTP/1.1" }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t).forward().limited(once)
			for _, o := range []*origintest.Origin{g.o, g.out} {
				o.File("/held", origintest.Text("held"), cc(fresh))
				o.File("/a", origintest.Text("a"), cc(fresh))
			}
			g.get("/held").want(t, "within the limit", 200, "held", fill.Miss)
			g.idle()
			before := g.o.Total() + g.out.Total()
			got := g.send(tt.line(g))
			for _, p := range got.wellFormed(429, "rate_limited") {
				t.Error(p)
			}
			if strings.HasPrefix(tt.line(g), "CONNECT") && !got.Close {
				t.Error("the connection stays open behind a refused CONNECT")
			}
			if n := g.o.Total() + g.out.Total(); n != before {
				t.Errorf("the origin was asked %d times for what was refused", n-before)
			}
			for _, path := range []string{"/-/healthz", "/-/readyz", "/-/version"} {
				if got := g.get(path); got.StatusCode != 200 {
					t.Errorf("%s: %d, want 200 whoever asks", path, got.StatusCode)
				}
			}
			// Each line comes after its answer, and those of other connections may come first.
			eventually(t, "the log tells of the refusal", func() bool {
				return slices.ContainsFunc(g.logs.requests(), func(line map[string]any) bool { return line["status"] == 429.0 })
			})
		})
	}
}

func TestWhoAsksForWhatIsNotThereIsRefused(t *testing.T) {
	g := newRig(t).limited(limit.Config{Client: limit.Limits{Misses: 5}})
	g.o.File("/held", origintest.Text("held"), cc(fresh))
	g.get("/held")
	g.idle()
	for i := range 5 {
		if got := g.get("/none/" + strconv.Itoa(i)); got.StatusCode != 404 {
			t.Fatalf("request %d for what is not there: %d", i, got.StatusCode)
		}
	}
	var got reply
	eventually(t, "five misses are counted, each once its answer is out", func() bool { got = g.get("/held"); return got.StatusCode == 429 })
	for _, p := range got.wellFormed(429, "rate_limited") {
		t.Error("after 5 misses: " + p)
	}
	c := g.dialFrom("127.0.0.2")
	io.WriteString(c, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	readReply(t, bufio.NewReader(c), "GET").want(t, "another client", 200, "held", fill.Hit)
}

func TestPathsOfNoHubAreNoMisses(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}).limited(limit.Config{Client: limit.Limits{Misses: 2}})
	for range 5 {
		if got := g.get("/typo"); got.StatusCode != 404 || got.word() != "no_hub" {
			t.Fatalf("%d %s, want 404 no_hub each time", got.StatusCode, got.word())
		}
	}
}

func TestALeaseEndsWithItsAnswer(t *testing.T) {
	g := newRig(t).limited(limit.Config{Client: limit.Limits{Requests: 1}})
	body := origintest.Body(1, 1<<20)
	release := make(chan struct{})
	g.o.File("/slow", body, cc(fresh), origintest.Stall(1000, release))
	g.o.File("/a", origintest.Text("a"), cc(fresh))
	c := g.dialFrom("127.0.0.1")
	io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(c)
	if _, err := in.Peek(100); err != nil {
		t.Fatal(err)
	}
	for _, p := range g.get("/a").wellFormed(429, "rate_limited") {
		t.Error("while a download is under way: " + p)
	}
	close(release)
	readReply(t, in, "GET")
	eventually(t, "the next request is admitted", func() bool { return g.get("/a").StatusCode == 200 })
	// An answer that breaks off ends its lease, too.
	g.o.File("/cut", body, cc(fresh), origintest.CutAfter(5000), origintest.NoRange(), origintest.NoValidators())
	var got reply
	eventually(t, "the lease of the answer before is given back", func() bool { got = g.get("/cut"); return got.StatusCode != 429 })
	if got.broken == nil {
		t.Errorf("a body that broke off upstream came whole: %d", got.StatusCode)
	}
	eventually(t, "a request after a broken one is admitted", func() bool { return g.get("/a").StatusCode == 200 })
}

// eventually polls for a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !fact(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came that %s", what)
		}
	}
}

func TestShapedBodiesAreTheSameBytes(t *testing.T) {
	const large = 3 << 20
	body := origintest.Body(3, large)
	all := []byte(body.String())
	for _, kind := range []struct {
		name   string
		limits limit.Config
	}{
		{"by a bandwidth", limit.Config{Client: limit.Limits{Bandwidth: 64 << 20}}},
		{"by the egress", limit.Config{Egress: 64 << 20}},
		{"by a daily allowance", limit.Config{Client: limit.Limits{Daily: 1 << 40}}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			g := newRig(t).limited(kind.limits)
			g.o.File("/held", body, cc(fresh))
			g.o.File("/small", origintest.Text("small"), cc(fresh))
			g.o.File("/unstored", body, cc("no-store"))
			g.o.File("/chunked", body, cc(fresh), origintest.Chunked())
			g.o.File("/unstored-chunked", body, cc("no-store"), origintest.Chunked())
			check := func(what string, got reply, status int, want []byte) {
				t.Helper()
				if got.broken != nil || got.StatusCode != status || got.body != string(want) {
					t.Errorf("%s: %d with %d bytes, %v; want %d with the %d bytes of the origin", what, got.StatusCode, len(got.body), got.broken, status, len(want))
				}
			}
			check("as it comes", g.get("/held"), 200, all)
			check("as it comes, chunked", g.get("/chunked"), 200, all)
			check("a small one as it comes", g.get("/small"), 200, []byte("small"))
			g.idle()
			check("held", g.get("/held"), 200, all)
			check("held, to HTTP/1.0", g.send("GET /held HTTP/1.0"), 200, all)
			check("a small held one", g.get("/small"), 200, []byte("small"))
			check("a range", g.get("/held", "Range: bytes=1000000-2000000"), 206, all[1000000:2000001])
			check("passed on", g.get("/unstored"), 200, all)
			check("passed on, chunked", g.get("/unstored-chunked"), 200, all)
			check("nothing new", g.get("/held", "If-None-Match: "+g.get("/held").Header.Get("Etag")), 304, nil)
			check("operations", g.get("/-/status"), 200, []byte("operations"))
			got := g.get("/held", "Range: bytes=10-20,2000000-2500000")
			if parts := multiparts(t, got); len(parts) != 2 || parts[0] != string(all[10:21]) || parts[1] != string(all[2000000:2500001]) {
				t.Errorf("several ranges: %d, %d parts", got.StatusCode, len(parts))
			}
			// Of two requests on one connection the second must not meet what is left of the first one's deadline or head.
			c := g.dial()
			defer c.Close()
			in := bufio.NewReader(c)
			for i := range 2 {
				io.WriteString(c, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
				check(fmt.Sprintf("request %d on a connection", i+1), readReply(t, in, "GET"), 200, all)
			}
		})
	}
}

func multiparts(t *testing.T, r reply) (all []string) {
	t.Helper()
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		t.Error(err)
		return nil
	}
	parts := multipart.NewReader(strings.NewReader(r.body), params["boundary"])
	for {
		p, err := parts.NextPart()
		if err != nil {
			return all
		}
		b, _ := io.ReadAll(p)
		all = append(all, string(b))
	}
}

func TestBytesOfADayAreCounted(t *testing.T) {
	g := newRig(t).limited(limit.Config{Client: limit.Limits{Daily: 150_000}})
	body := origintest.Body(4, 100_000)
	g.o.File("/a", body, cc(fresh))
	for i := range 2 {
		g.get("/a").want(t, "download "+strconv.Itoa(i+1), 200, body.String(), "")
	}
	eventually(t, "the third download is refused", func() bool { return g.get("/a").StatusCode == 429 })
}

func TestASlowClientHoldsNobodyUp(t *testing.T) {
	// The slow one is throttled to 64 kB/s: its megabytes would take minutes.
	slow := netip.MustParsePrefix("127.0.0.2/32")
	g := newRig(t).limited(limit.Config{Client: limit.Limits{Bandwidth: 64 << 10}, Exempt: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	body := origintest.Body(5, 16<<20)
	g.o.File("/cold", body, cc(fresh))
	c := g.dialFrom(slow.Addr().String())
	io.WriteString(c, "GET /cold HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(c)
	if _, err := in.Peek(1); err != nil {
		t.Fatal(err)
	}
	g.get("/cold").want(t, "another client of the same flight", 200, body.String(), "")
	g.idle() // the flight has ended although one who follows it has had next to nothing
	g.get("/cold").want(t, "once it is stored", 200, body.String(), fill.Hit)
	resp, err := http.ReadResponse(in, &http.Request{Method: "GET"})
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 32<<10)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != body.String()[:len(first)] {
		t.Errorf("the slow client's first bytes: %v", err)
	}
	c.Close()
	eventually(t, "the slow client's request ends with its connection", func() bool { return len(g.logs.requests()) == 3 })
}

func TestTunnelsPayForTheirBytes(t *testing.T) {
	g := newRig(t).forward().limited(limit.Config{Client: limit.Limits{Daily: 300_000}})
	body := origintest.Body(6, 200_000)
	g.out.File("/a", body)
	through := func() (got reply) {
		c := g.dial()
		defer c.Close()
		in := bufio.NewReader(c)
		io.WriteString(c, "CONNECT "+g.out.Addr+" HTTP/1.1\r\nHost: "+g.out.Addr+"\r\n\r\n")
		resp, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"})
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 {
			b, _ := io.ReadAll(resp.Body)
			return reply{Response: resp, body: string(b)}
		}
		io.WriteString(c, "GET /a HTTP/1.1\r\nHost: "+g.out.Addr+"\r\nConnection: close\r\n\r\n")
		return readReply(t, in, "GET")
	}
	for range 2 {
		through().want(t, "through a tunnel", 200, body.String(), "")
	}
	eventually(t, "the next tunnel is refused", func() bool { return through().StatusCode == 429 })
}

func TestAThrottledTunnelIsNoIdleOne(t *testing.T) {
	// Within a second a quarter of the bandwidth's second leaves at once, the rest at its pace: about 2 s, of which the tunnel is idle for none.
	g := newRig(t).limited(limit.Config{Client: limit.Limits{Bandwidth: 64 << 10}})
	g.g.SetForward(&Forward{Connect: g.tr.Connect, Idle: 400 * time.Millisecond})
	body := origintest.Body(7, 160<<10)
	g.out.File("/a", body)
	c := g.dial()
	defer c.Close()
	in := bufio.NewReader(c)
	io.WriteString(c, "CONNECT "+g.out.Addr+" HTTP/1.1\r\nHost: "+g.out.Addr+"\r\n\r\n")
	if _, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	io.WriteString(c, "GET /a HTTP/1.1\r\nHost: "+g.out.Addr+"\r\nConnection: close\r\n\r\n")
	readReply(t, in, "GET").want(t, "through the tunnel", 200, body.String(), "")
	if took := time.Since(began); took < time.Second {
		t.Errorf("160 kB at 64 kB/s took %v", took)
	}
}

func TestTripsToAnUpstreamAreBounded(t *testing.T) {
	g := newRig(t).limited(limit.Config{Hubs: map[string]limit.Hub{"top": {Upstream: limit.Upstream{Trips: 1, Queue: 1}}}})
	release := make(chan struct{})
	for _, path := range []string{"/a", "/b", "/c"} {
		g.o.File(path, origintest.Body(8, 1<<20), cc(fresh), origintest.Stall(1000, release))
	}
	answers := make(chan reply, 2)
	go func() { answers <- g.get("/a") }()
	g.o.Wait("/a", 1)
	go func() { answers <- g.get("/b") }()
	eventually(t, "the second trip waits for its turn", func() bool { _, waiting := g.limits.Gate("top").Load(); return waiting == 1 })
	if n := g.o.Count("/b"); n != 0 {
		t.Errorf("the upstream was asked for the second file while the first one's body was on its way")
	}
	for _, p := range g.get("/c").wellFormed(503, "upstream_busy") {
		t.Error("with one trip under way and one waiting: " + p)
	}
	close(release)
	for range 2 {
		if got := <-answers; got.StatusCode != 200 || got.broken != nil {
			t.Errorf("%d, %v; want those that waited to be served", got.StatusCode, got.broken)
		}
	}
	g.idle()
	if under, waiting := g.limits.Gate("top").Load(); under != 0 || waiting != 0 {
		t.Errorf("%d trips under way and %d waiting when all is over", under, waiting)
	}
}

func TestWhoIsHeldIsServedWhileTripsAreRefused(t *testing.T) {
	g := newRig(t).limited(limit.Config{Hubs: map[string]limit.Hub{"top": {Upstream: limit.Upstream{Trips: 1}}}})
	g.o.File("/stale", origintest.Text("held"), cc("max-age=0, stale-if-error=600"))
	g.get("/stale")
	g.idle()
	release := make(chan struct{})
	g.o.File("/a", origintest.Text("a"), cc(fresh), origintest.Hold(release))
	done := make(chan reply, 1)
	go func() { done <- g.get("/a") }()
	g.o.Wait("/a", 1)
	g.get("/stale").want(t, "a copy that may stand in", 200, "held", fill.Stale)
	close(release)
	(<-done).want(t, "the one under way", 200, "a", fill.Miss)
}

func TestNoLimitsCostNothing(t *testing.T) {
	g := newRig(t)
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://x/a", nil)
	if err != nil {
		t.Fatal(err)
	}
	x, req := &exchange{client: auth.Client{Addr: netip.MustParseAddr("192.0.2.1")}}, &fill.Request{}
	whole := func() {
		if err := g.g.admit(r, x, "top"); err != nil || x.lease.Shaped() {
			t.Error("without limits one was met")
		}
		if err := g.g.sift(r, x, place{hub: g.g.files}); err != nil || g.g.equip(x, req).Judge != nil {
			t.Error("without rules one was met")
		}
		g.g.sifted(x)
		g.g.release(x)
	}
	if n := testing.AllocsPerRun(100, whole); n != 0 {
		t.Errorf("without a Limiter: %v allocations, want 0", n)
	}
	filter, err := limit.NewFilter(limit.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	g.g.SetFilter(filter)
	if n := testing.AllocsPerRun(100, whole); n != 0 {
		t.Errorf("with rules for the forward proxy alone: %v allocations, want 0", n)
	}
	g.limited(limit.Config{})
	if n := testing.AllocsPerRun(100, whole); n != 0 {
		t.Errorf("with one that limits nothing: %v allocations, want 0", n)
	}
}

func TestWhoIsAskedForIsTold(t *testing.T) {
	a := &exchange{client: auth.Client{Addr: netip.MustParseAddr("2001:db8::1")}}
	b := &exchange{client: auth.Client{Addr: netip.MustParseAddr("2001:db8::2")}}
	c := &exchange{client: auth.Client{Addr: netip.MustParseAddr("2001:db8:0:1::1")}}
	who := func(x *exchange) limit.Subject { return limit.From(x.Mark(context.Background())) }
	if who(a) != who(b) || who(a) == who(c) || who(a) == limit.From(context.Background()) {
		t.Errorf("trips are made for %v, %v and %v; want one client for each network", who(a), who(b), who(c))
	}
}
