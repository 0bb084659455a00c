package origin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"zcache/internal/origin/origintest"
)

// A zone is a DNS server whose names resolve to what a test says, one answer after the other; the last one stays.
type zone struct {
	mu    sync.Mutex
	names map[string][]string
	asked map[string]int
}

func newZone(t *testing.T, names map[string][]string) (*zone, *net.Resolver) {
	t.Helper()
	z := &zone{names: names, asked: map[string]int{}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := z.answer(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return z, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (z *zone) answer(query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil
	}
	q, err := p.Question()
	if err != nil {
		return nil
	}
	head.Response, head.Authoritative = true, true
	name := strings.TrimSuffix(q.Name.String(), ".")
	z.mu.Lock()
	defer z.mu.Unlock()
	all := z.names[name]
	if all == nil {
		head.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, head)
	if b.StartQuestions() != nil || b.Question(q) != nil || b.StartAnswers() != nil {
		return nil
	}
	if all != nil && q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeAAAA && all != nil && strings.Contains(all[0], ":") {
		for one := range strings.FieldsSeq(all[min(z.asked[name], len(all)-1)]) {
			a := netip.MustParseAddr(one)
			h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 0}
			switch {
			case a.Is4() && q.Type == dnsmessage.TypeA:
				_ = b.AResource(h, dnsmessage.AResource{A: a.As4()})
			case a.Is6() && q.Type == dnsmessage.TypeAAAA:
				_ = b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()})
			}
		}
		if q.Type == dnsmessage.TypeA {
			z.asked[name]++
		}
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}

func filesRequest(ctx context.Context, path string) *http.Request {
	req := hubRequest(ctx, "GET", path)
	req.URL.Host = filesHub
	return req
}

// Names are judged by the address that the connection is made to. What another look-up gave before, or will give, does not matter.
func TestNamesThatResolveInwardAreRefused(t *testing.T) {
	o := origintest.New(t)
	o.File("/", origintest.Text("secret"))
	_, port, _ := strings.Cut(o.Addr, ":")
	_, resolver := newZone(t, map[string][]string{
		"loop.example": {"127.0.0.1"}, "meta.example": {"169.254.169.254"}, "private.example": {"10.0.0.1"}, "mapped.example": {"::ffff:127.0.0.1"},
		"six.example": {"::1"}, "nat64.example": {"64:ff9b::7f00:1"}, "6to4.example": {"2002:7f00:1::1"}, "cgnat.example": {"100.64.0.1"},
		"zero.example": {"0.0.0.0"}, "all.example": {"127.0.0.1 10.0.0.1 ::1"}, "link.lab": {"169.254.1.1"}, "loop.lab": {"127.0.0.1"},
	})
	// Globs and names open what is private, never this machine or its link.
	tr := newTransport(t, Config{Files: true, Resolver: resolver, AllowHosts: []string{"*.lab", "loop.example"}})
	for _, host := range []string{
		"loop.example", "meta.example", "private.example", "mapped.example", "six.example", "nat64.example", "6to4.example", "cgnat.example", "zero.example",
		"all.example", "link.lab", "loop.lab",
	} {
		_, body, err := do(tr, filesRequest(t.Context(), "/http/"+host+":"+port+"/"))
		if e := errorOf(err); e == nil || !e.Refused() || e.ProxyStatus() != "destination_ip_prohibited" || e.Reason() == "" {
			t.Errorf("GET from %s = %q, %v; want it prohibited with a reason", host, body, err)
		}
		u := &url.URL{Scheme: "http", Host: host + ":" + port, Path: "/"}
		if _, _, err := do(tr, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context())); !errorOf(err).Refused() {
			t.Errorf("a redirect to %s: %v, want it prohibited", host, err)
		}
		if c, err := tr.Connect(t.Context(), host, "443"); err == nil || !errorOf(err).Refused() {
			t.Errorf("a tunnel to %s: %v, %v, want it prohibited", host, c, err)
		}
	}
	if n := o.Conns(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// Whoever checks a name first and looks it up again to dial is led inward by the second answer.
func TestRebindingGainsNothing(t *testing.T) {
	o := origintest.New(t)
	o.File("/", origintest.Text("secret"))
	_, port, _ := strings.Cut(o.Addr, ":")
	z, resolver := newZone(t, map[string][]string{"rebind.lab": {"10.255.255.1", "127.0.0.1"}})
	tr := newTransport(t, Config{Files: true, Resolver: resolver, AllowHosts: []string{"rebind.lab"}, Connect: 50 * time.Millisecond})
	for range 3 {
		_, body, err := do(tr, filesRequest(t.Context(), "/http/rebind.lab:"+port+"/"))
		if err == nil {
			t.Fatalf("rebind.lab gave %q", body)
		}
	}
	_, _, err := do(tr, filesRequest(t.Context(), "/http/rebind.lab:"+port+"/"))
	if e := errorOf(err); e == nil || e.ProxyStatus() != "destination_ip_prohibited" {
		t.Errorf("the second address: %v, want it prohibited", err)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := z.asked["rebind.lab"]; n < 2 || o.Conns() != 0 {
		t.Errorf("%d look-ups, %d connections; want more than one and none", n, o.Conns())
	}
}

func TestFilesHubReachesWhatIsOpen(t *testing.T) {
	o := origintest.New(t)
	o.File("/a%2Fb", origintest.Text("x"))
	_, resolver := newZone(t, map[string][]string{"open.lab": {"127.0.0.1"}})
	tr := newTransport(t, Config{Files: true, Resolver: resolver, AllowHosts: []string{o.Addr}})
	_, port, _ := strings.Cut(o.Addr, ":")
	for _, host := range []string{o.Addr, "open.lab:" + port} {
		code, body, err := do(tr, filesRequest(t.Context(), "/http/"+host+"/a%2Fb?q="))
		if code != 200 || body != "x" || err != nil {
			t.Errorf("GET from %s = %d %q, %v", host, code, body, err)
		}
		if got := o.Last("/a%2Fb"); got.Host != host {
			t.Errorf("Host = %q, want %q", got.Host, host)
		}
	}
	if to, ok := tr.Resolve(filesHub, "/http/open.lab/a%2Fb"); !ok || to != "http://open.lab/a%2Fb" {
		t.Errorf("Resolve = %q, %v", to, ok)
	}
	for _, path := range []string{"/", "/http", "/http/", "/http/x", "/gopher/x/y", "/http//y", "/http/u@x/y", "/http/%5Bfe80::1%25lo%5D/y", "/http/x/../y"} {
		if _, _, err := do(tr, filesRequest(t.Context(), path)); err == nil || !errorOf(err).Refused() {
			t.Errorf("hub://files%s: %v, want a refusal", path, err)
		}
	}
	off := newTransport(t, Config{AllowHosts: []string{o.Addr}})
	if _, _, err := do(off, filesRequest(t.Context(), "/http/"+o.Addr+"/a%2Fb")); err == nil {
		t.Error("a Transport without Files answered for the built-in hub")
	}
}

func TestOwnListenersAreNeverReached(t *testing.T) {
	o := origintest.New(t)
	o.File("/", origintest.Text("us"))
	own := netip.MustParseAddrPort(o.Addr)
	tr := newTransport(t, Config{Files: true, AllowHosts: []string{"127.0.0.0/8"}, Own: func(a netip.AddrPort) bool { return a == own }})
	for _, host := range []string{o.Addr, "localhost:" + o.Addr[len("127.0.0.1:"):], "%5B::ffff:127.0.0.1%5D:" + o.Addr[len("127.0.0.1:"):]} {
		_, _, err := do(tr, filesRequest(t.Context(), "/http/"+host+"/"))
		if e := errorOf(err); e == nil || e.ProxyStatus() != "destination_ip_prohibited" {
			t.Errorf("GET from %s: %v, want it prohibited", host, err)
		}
	}
	if o.Conns() != 0 {
		t.Errorf("%d connections were made", o.Conns())
	}
}

func TestPortsOfTunnels(t *testing.T) {
	p, err := newPolicy([]string{"git.lab:22", "*.lab:23", "10.0.0.0/8:24", "10.0.0.1:25", "[fd00::1]:26", "open.lab"})
	if err != nil {
		t.Fatal(err)
	}
	tr := &Transport{policy: p}
	for _, tt := range []struct {
		claim, host, port string
		may               bool
	}{
		{"443 is for every host", "x.example", "443", true},
		{"another port is not", "x.example", "22", false},
		{"but for the host that a rule names", "git.lab", "22", true},
		{"in any case and with its dot", "GIT.lab.", "22", true},
		{"and that port", "git.lab", "23", false},
		{"a glob opens none", "a.lab", "23", false},
		{"not for its own text either", "*.lab", "23", false},
		{"a range opens none", "10.0.0.2", "24", false},
		{"an address does", "10.0.0.1", "25", true},
		{"mapped, too", "::ffff:10.0.0.1", "25", true},
		{"an IPv6 address", "fd00::1", "26", true},
		{"a rule without a port opens none", "open.lab", "22", false},
	} {
		if got := tr.Tunnels(tt.host, tt.port); got != tt.may {
			t.Errorf("%s: Tunnels(%s, %s) = %v, want %v", tt.claim, tt.host, tt.port, got, tt.may)
		}
	}
}

func TestConnectReachesWhatIsNamed(t *testing.T) {
	o := origintest.New(t)
	host, port, _ := strings.Cut(o.Addr, ":")
	tr := newTransport(t, Config{AllowHosts: []string{o.Addr}})
	c, err := tr.Connect(t.Context(), host, port)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.(*net.TCPConn); !ok {
		t.Errorf("the connection is a %T, which cannot be spliced", c)
	}
	c.Close()
	// A hub opens its upstream for requests through it, and for no tunnel.
	tr = newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}, AllowHosts: []string{"x.lab:" + port}})
	var e *Error
	if _, err := tr.Connect(t.Context(), host, port); !errors.As(err, &e) || !e.Refused() {
		t.Errorf("a tunnel to a hub's upstream: %v, want it refused", err)
	}
}
