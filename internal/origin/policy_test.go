package origin

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestClassOfAddresses(t *testing.T) {
	rows := map[class][]string{
		public: {
			"8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.0.1", "192.0.1.1", "198.17.0.1",
			"2606:4700::1111", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
		},
		private: {
			"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "198.18.0.1",
			"192.0.0.1", "192.0.2.1", "203.0.113.1", "240.0.0.1", "fc00::1", "fd12:3456::1", "fec0::1", "2001:db8::1", "100::1",
			"::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "2002:a00:1::1", "::8.8.8.8", "::ffff:0:10.0.0.1", "4000::1",
			"2606:4700::5efe:192.168.0.1",
		},
		forbidden: {
			"127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255",
			"::", "::1", "fe80::1", "febf::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16",
			"::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254",
			"2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:808:808::80ff:fffe", "2001:0:7f00:1::f7f7:f7f7", "::ffff:0:127.0.0.1",
			"2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:169.254.169.254",
		},
	}
	for want, all := range rows {
		for _, s := range all {
			if got := classify(netip.MustParseAddr(s)); got != want {
				t.Errorf("classify %s = %d, want %d", s, got, want)
			}
		}
	}
}

func TestWhatTheRulesOpen(t *testing.T) {
	rows := []struct {
		claim, rules, host, addr string
		open                     bool
	}{
		{"public needs no rule", "", "x.example", "8.8.8.8:80", true},
		{"private is shut", "", "x.example", "10.0.0.1:80", false},
		{"a name opens private", "x.example", "x.example", "10.0.0.1:80", true},
		{"a name in any case, with a dot", "X.Example.", "x.EXAMPLE.", "10.0.0.1:80", true},
		{"a name opens ULA", "x.example", "x.example", "[fd12::1]:80", true},
		{"a name opens CGNAT", "x.example", "x.example", "100.64.0.1:80", true},
		{"a name does not open loopback", "localhost", "localhost", "127.0.0.1:80", false},
		{"a name does not open loopback, mapped", "localhost", "localhost", "[::ffff:127.0.0.1]:80", false},
		{"a name does not open link-local", "x.example", "x.example", "[fe80::1]:80", false},
		{"a name does not open metadata", "x.example", "x.example", "169.254.169.254:80", false},
		{"a name does not open AWS metadata within ULA", "*", "x.example", "[fd00:ec2::254]:80", false},
		{"a name does not open unspecified", "*", "x.example", "0.0.0.0:80", false},
		{"a name does not open another", "x.example", "y.example", "10.0.0.1:80", false},
		{"a name is no suffix", "x.example", "evilx.example", "10.0.0.1:80", false},
		{"a glob opens below", "*.example", "a.b.example", "10.0.0.1:80", true},
		{"a glob needs its dot", "*.example", "example", "10.0.0.1:80", false},
		{"* opens no literal", "*", "10.0.0.1", "10.0.0.1:80", false},
		{"* opens no mapped literal", "*", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:80", false},
		{"an address opens itself", "10.0.0.1", "10.0.0.1", "10.0.0.1:80", true},
		{"an address opens itself, mapped", "10.0.0.1", "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:80", true},
		{"an address opens names that resolve to it", "10.0.0.1", "x.example", "10.0.0.1:80", true},
		{"an address opens no other", "10.0.0.1", "10.0.0.2", "10.0.0.2:80", false},
		{"an address opens no form that carries it", "127.0.0.1", "x.example", "[64:ff9b::127.0.0.1]:80", false},
		{"a loopback literal opens it", "127.0.0.1", "127.0.0.1", "127.0.0.1:80", true},
		{"a range opens what is in it", "10.0.0.0/8", "x.example", "10.9.9.9:80", true},
		{"a range opens nothing else", "10.0.0.0/8", "x.example", "11.0.0.1:80", true},
		{"a range opens nothing else that is shut", "10.0.0.0/8", "x.example", "192.168.0.1:80", false},
		{"IPv6 range", "fd00::/8", "x.example", "[fd12::1]:80", true},
		{"port of a name", "x.example:8080", "x.example", "10.0.0.1:8080", true},
		{"other port of a name", "x.example:8080", "x.example", "10.0.0.1:80", false},
		{"port of a range", "10.0.0.0/8:8080", "x.example", "10.0.0.1:8080", true},
		{"other port of a range", "10.0.0.0/8:8080", "x.example", "10.0.0.1:22", false},
		{"port of an IPv6 literal", "[fd12::1]:80", "x.example", "[fd12::1]:80", true},
		{"port of an IPv6 range", "fd00::/8:443", "x.example", "[fd12::1]:443", true},
		{"other port of an IPv6 range", "[fd00::/8]:443", "x.example", "[fd12::1]:80", false},
		{"IPv6 literal without a port", "fd12::1", "x.example", "[fd12::1]:9", true},
		{"a zone is never opened", "fe80::/10", "x.example", "[fe80::1%eth0]:80", false},
		{"one of several", "a.example, 10.0.0.0/8 ,b.example", "b.example", "192.168.0.1:80", true},
	}
	for _, row := range rows {
		t.Run(row.claim, func(t *testing.T) {
			var rules []string
			if row.rules != "" {
				rules = strings.Split(row.rules, ",")
			}
			p, err := newPolicy(rules)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.judge(row.host, netip.MustParseAddrPort(row.addr)); (err == nil) != row.open {
				t.Errorf("judge %s at %s with %q = %v, want open %v", row.host, row.addr, row.rules, err, row.open)
			}
		})
	}
}

func TestRulesThatMeanNothingAreRefused(t *testing.T) {
	for _, s := range []string{
		"", ":80", "a b", "http://x", "x/y", "10.0.0.0/33", "10.0.0", "2130706433", "10.*", "x:0", "x:99999", "x:http", "[fd00::1", "[fd00::1]x",
		"fe80::1%eth0", "::ffff:10.0.0.0/104", "[a-z]", "[10.0.0.1]:80",
	} {
		if _, err := newPolicy([]string{s}); err == nil {
			t.Errorf("rule %q is taken", s)
		}
	}
}

// Each of these URLs leads to the origin on loopback, or would with one resolver or another. None may get there, not even with every
// name opened.
func TestNoSpellingReachesLoopback(t *testing.T) {
	o := origintest.New(t)
	o.File("/", origintest.Text("secret"))
	_, port, _ := strings.Cut(o.Addr, ":")
	for _, allow := range [][]string{nil, {"*"}, {"localhost", "*.localhost"}} {
		tr := newTransport(t, Config{AllowHosts: allow, Hubs: []Hub{hubOf(t, o.URL)}})
		for _, host := range []string{
			"127.0.0.1", "127.0.0.2", "localhost", "LOCALHOST", "localhost.", "0.0.0.0", "0", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1",
			"0177.0.0.1", "017700000001", "127.0.0.1.", "0x7f.0.0.0x1", "127.0.0.0x1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
			"[::1%25lo]", "[fe80::1%25lo]", "user:pw@127.0.0.1", "user@localhost", "127.0.0.1", "①②⑦.0.0.1", "127。0。0。1",
		} {
			u, err := url.Parse("http://" + host + ":" + port + "/")
			if host, name, ok := strings.Cut(host, "@"); ok {
				u, err = url.Parse("http://" + host + "@" + name + ":" + port + "/")
			}
			if err != nil {
				continue // no such URL can come here
			}
			code, body, err := do(tr, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context()))
			if err == nil {
				t.Errorf("%s with %q = %d %q", u, allow, code, body)
				continue
			}
			if strings.Contains(err.Error(), "pw") {
				t.Errorf("the error has the password: %v", err)
			}
			if e := errorOf(err); !e.Refused() && !strings.HasPrefix(e.ProxyStatus(), "dns_") {
				t.Errorf("%s with %q: %v (%s), want a refusal", u, allow, err, e.ProxyStatus())
			}
		}
		if n := o.Conns(); n != 0 {
			t.Fatalf("with %q %d connections were made", allow, n)
		}
	}
}

func TestHubReachesItsLoopbackUpstreamAndAbsoluteURLsDoNot(t *testing.T) {
	o := origintest.New(t)
	o.File("/a", origintest.Text("x"))
	tr := newTransport(t, Config{Hubs: []Hub{hubOf(t, o.URL)}})
	if _, got, err := ask(t, tr, "/a"); got != "x" || err != nil {
		t.Fatalf("through the hub: %q, %v", got, err)
	}
	// A pooled connection of the hub is idle now; it must not serve others.
	u, _ := url.Parse(o.URL + "/a")
	_, _, err := do(tr, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context()))
	if e := errorOf(err); e == nil || !e.Refused() || e.ProxyStatus() != "destination_ip_prohibited" {
		t.Errorf("absolute URL: %v, want destination_ip_prohibited", err)
	}
	open := newTransport(t, Config{AllowHosts: []string{o.Addr}})
	if _, got, err := do(open, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context())); got != "x" || err != nil {
		t.Errorf("opened by its address: %q, %v", got, err)
	}
	for _, s := range []string{"gopher://x/a", "file:///etc/passwd", "http:///a", "unix:/x"} {
		u, _ := url.Parse(s)
		_, _, err := do(tr, (&http.Request{Method: "GET", URL: u}).WithContext(t.Context()))
		if e := errorOf(err); e == nil || !e.Refused() {
			t.Errorf("%s: %v, want a refusal", s, err)
		}
	}
}

func TestHubDialsItsOwnHostsOnly(t *testing.T) {
	o := origintest.New(t)
	conf := Config{Connect: time.Second}
	dial := dialOnly(map[string]bool{"up.example:80": true}, conf.dialer())
	conn, err := dial(t.Context(), "tcp", o.Addr)
	if err == nil {
		conn.Close()
	}
	if kindOf(err, waiting) != "destination_ip_prohibited" {
		t.Errorf("dial of another host = %v, want it prohibited", err)
	}
}
