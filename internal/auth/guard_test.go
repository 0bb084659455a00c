package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// request comes from peer, asks host and has these fields, given as name and value in turn.
func request(peer, host string, fields ...string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr, r.Host = peer, host
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}

func guard(trusted ...string) *Guard {
	var all []netip.Prefix
	for _, s := range trusted {
		all = append(all, netip.MustParsePrefix(s))
	}
	return NewGuard(all)
}

func TestTheClientIsTheRightmostUntrustedAddress(t *testing.T) {
	g := guard("10.0.0.0/8", "127.0.0.0/8", "2001:db8:1::/48")
	const xff, fwd = "X-Forwarded-For", "Forwarded"
	for _, row := range []struct {
		claim  string
		peer   string
		fields []string
		want   string // "" is nobody
	}{
		{"no fields: the peer", "203.0.113.9:1234", nil, "203.0.113.9"},
		{"a trusted peer without fields: itself", "10.0.0.1:1234", nil, "10.0.0.1"},
		{"an untrusted peer's word counts for nothing", "203.0.113.9:1234", []string{xff, "192.0.2.1", fwd, "for=192.0.2.1"}, "203.0.113.9"},
		{"a trusted peer's word", "10.0.0.1:1234", []string{xff, "192.0.2.1"}, "192.0.2.1"},
		{"what a client put before it does not count", "10.0.0.1:1234", []string{xff, "127.0.0.1, 10.9.9.9, 192.0.2.1"}, "192.0.2.1"},
		{"trusted hops are passed over", "10.0.0.1:1234", []string{xff, "1.1.1.1, 192.0.2.1, 10.0.0.3, 10.0.0.2"}, "192.0.2.1"},
		{"lines are one list", "10.0.0.1:1234", []string{xff, "1.1.1.1", xff, "192.0.2.1", xff, "10.0.0.2"}, "192.0.2.1"},
		{"all trusted: the first", "10.0.0.1:1234", []string{xff, "10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"with a port", "10.0.0.1:1234", []string{xff, "192.0.2.1:5678"}, "192.0.2.1"},
		{"IPv6", "10.0.0.1:1234", []string{xff, "2001:db8::1"}, "2001:db8::1"},
		{"IPv6 in brackets with a port", "10.0.0.1:1234", []string{xff, "[2001:db8::1]:5678"}, "2001:db8::1"},
		{"an IPv6 proxy", "[2001:db8:1::9]:1234", []string{xff, "192.0.2.1, 2001:db8:1::8"}, "192.0.2.1"},
		{"a mapped peer is its IPv4 self", "[::ffff:10.0.0.1]:1234", []string{xff, "192.0.2.1"}, "192.0.2.1"},
		{"so is a mapped hop", "10.0.0.1:1234", []string{xff, "192.0.2.1, ::ffff:10.0.0.2"}, "192.0.2.1"},
		{"so is a mapped client", "10.0.0.1:1234", []string{xff, "::ffff:192.0.2.1"}, "192.0.2.1"},
		{"quotes around it", "10.0.0.1:1234", []string{xff, `"192.0.2.1"`}, "192.0.2.1"},
		{"empty members mean nothing", "10.0.0.1:1234", []string{xff, "192.0.2.1, ,"}, "192.0.2.1"},
		{"an empty field means nothing", "10.0.0.1:1234", []string{xff, "", fwd, ""}, "10.0.0.1"},
		{"an obscured client is nobody", "10.0.0.1:1234", []string{xff, "unknown"}, ""},
		{"a garbled hop is nobody", "10.0.0.1:1234", []string{xff, "192.0.2.1, 999.1.1.1"}, ""},
		{"and nobody can be seen behind it", "10.0.0.1:1234", []string{xff, "192.0.2.1, rubbish, 10.0.0.2"}, ""},
		{"one behind a client that can be seen does not matter", "10.0.0.1:1234", []string{xff, "rubbish, 192.0.2.1"}, "192.0.2.1"},

		{"Forwarded", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1"}, "192.0.2.1"},
		{"its names know no case", "10.0.0.1:1234", []string{fwd, "FOR=192.0.2.1;Proto=http"}, "192.0.2.1"},
		{"in quotes, with a port", "10.0.0.1:1234", []string{fwd, `for="192.0.2.1:5678"`}, "192.0.2.1"},
		{"IPv6", "10.0.0.1:1234", []string{fwd, `for="[2001:db8::1]:5678"`}, "2001:db8::1"},
		{"an obscure port", "10.0.0.1:1234", []string{fwd, `for="192.0.2.1:_gazonk"`}, "192.0.2.1"},
		{"other parameters and white space", "10.0.0.1:1234", []string{fwd, "by=10.0.0.1; for=192.0.2.1 ;host=x, for=10.0.0.2"}, "192.0.2.1"},
		{"many lines", "10.0.0.1:1234", []string{fwd, "for=1.1.1.1", fwd, "for=192.0.2.1", fwd, "for=10.0.0.2"}, "192.0.2.1"},
		{"unknown is nobody", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1, for=unknown"}, ""},
		{"an obscured one too", "10.0.0.1:1234", []string{fwd, "for=_hidden"}, ""},
		{"an element without for too", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1, proto=http"}, ""},
		{"two for in one element too", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1;for=10.9.9.9"}, ""},
		{"empty elements mean nothing", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1, ,"}, "192.0.2.1"},
		{"a comma in a quoted host starts no element", "10.0.0.1:1234", []string{fwd, `for=192.0.2.1;host="x,for=10.9.9.9"`}, "192.0.2.1"},
		{"a semicolon in it no parameter", "10.0.0.1:1234", []string{fwd, `for=192.0.2.1;host="x;for=10.9.9.9"`}, "192.0.2.1"},
		{"an escaped quote does not end it", "10.0.0.1:1234", []string{fwd, `for=192.0.2.1;host="x\",for=10.9.9.9"`}, "192.0.2.1"},
		{"a quote that the client left open swallows nothing", "10.0.0.1:1234", []string{fwd, `for=10.9.9.9;host=", for=192.0.2.1`}, "192.0.2.1"},
		{"nor before one in quotes", "10.0.0.1:1234", []string{fwd, `for=10.9.9.9;host=", for="192.0.2.1:80"`}, "192.0.2.1"},

		{"both fields and one story", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1", xff, "1.1.1.1, 192.0.2.1"}, "192.0.2.1"},
		{"two stories: one is the client's own, so nobody", "10.0.0.1:1234", []string{fwd, "for=10.9.9.9", xff, "192.0.2.1"}, ""},
		{"either way round", "10.0.0.1:1234", []string{fwd, "for=192.0.2.1", xff, "10.9.9.9"}, ""},
		{"X-Real-IP is nobody's word", "10.0.0.1:1234", []string{"X-Real-IP", "192.0.2.1"}, "10.0.0.1"},
		{"a peer that is no address is nobody", "@", []string{xff, "192.0.2.1"}, ""},
	} {
		want := netip.Addr{}
		if row.want != "" {
			want = netip.MustParseAddr(row.want)
		}
		c := g.Identify(request(row.peer, "localhost", row.fields...))
		if c.Addr != want {
			t.Errorf("%s: Identify(%s, %q) = %v, want %q", row.claim, row.peer, row.fields, c.Addr, row.want)
		}
		if len(row.fields) > 0 && c.Local {
			t.Errorf("%s: Identify(%s, %q) is local", row.claim, row.peer, row.fields)
		}
	}
}

func TestOnlyThisMachineByItsOwnNameIsLocal(t *testing.T) {
	for _, row := range []struct {
		claim, peer, host string
		want              bool
	}{
		{"localhost", "127.0.0.1:1", "localhost", true},
		{"with a port", "127.0.0.1:1", "localhost:3142", true},
		{"in another case", "127.0.0.1:1", "LocalHost:3142", true},
		{"with the dot of the root", "127.0.0.1:1", "localhost.", true},
		{"127.0.0.1", "127.0.0.1:1", "127.0.0.1:3142", true},
		{"127.0.0.1 and a dot, which browsers take for the same", "127.0.0.1:1", "127.0.0.1.:3142", true},
		{"[::1]", "[::1]:1", "[::1]:3142", true},
		{"[::1] without a port", "[::1]:1", "[::1]", true},
		{"another address of the loopback network", "127.8.9.10:1", "localhost", true},
		{"a mapped loopback peer", "[::ffff:127.0.0.1]:1", "localhost", true},

		{"a remote peer that says localhost", "192.0.2.1:1", "localhost", false},
		{"a private one", "10.0.0.1:1", "127.0.0.1:3142", false},
		{"a mapped remote one", "[::ffff:192.0.2.1]:1", "localhost", false},
		{"a link-local one with a zone", "[fe80::1%eth0]:1", "localhost", false},
		{"a peer that is no address", "@", "localhost", false},
		{"a peer of no text", "", "localhost", false},
		{"a name that was made to resolve to 127.0.0.1", "127.0.0.1:1", "evil.example:3142", false},
		{"a name that begins like ours", "127.0.0.1:1", "localhost.evil.example", false},
		{"a name that ends like ours", "127.0.0.1:1", "evil.localhost", false},
		{"a name that begins like our address", "127.0.0.1:1", "127.0.0.1.evil.example", false},
		{"a service that resolves names to the address in them", "127.0.0.1:1", "127.0.0.1.nip.example:3142", false},
		{"a short form of the address", "127.0.0.1:1", "127.1", false},
		{"a number for it", "127.0.0.1:1", "2130706433", false},
		{"the address of all interfaces", "127.0.0.1:1", "0.0.0.0:3142", false},
		{"a mapped loopback name", "127.0.0.1:1", "[::ffff:127.0.0.1]:3142", false},
		{"another loopback address", "127.0.0.1:1", "127.0.0.2:3142", false},
		{"a name before an @", "127.0.0.1:1", "localhost@evil.example", false},
		{"two ports", "127.0.0.1:1", "localhost:80:3142", false},
		{"no name", "127.0.0.1:1", "", false},
		{"no name but a port", "127.0.0.1:1", ":3142", false},
	} {
		c := guard().Identify(request(row.peer, row.host))
		if c.Local != row.want {
			t.Errorf("%s: Identify(%s asks %q) = local %v, want %v", row.claim, row.peer, row.host, c.Local, row.want)
		}
		for _, s := range []Scope{Observe, Operate} {
			if err := guard().Allow(c, s); (err == nil) != row.want || err != nil && !errors.Is(err, ErrDenied) {
				t.Errorf("%s: Allow(%s) = %v, want allowed %v", row.claim, s, err, row.want)
			}
		}
		if err := guard().Allow(c, Read); err != nil {
			t.Errorf("%s: Allow(read) = %v, want everybody to read", row.claim, err)
		}
	}
}

func TestWhatWasRelayedIsNeverLocal(t *testing.T) {
	for _, field := range []string{
		"Via", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Server",
		"X-Forwarded-Prefix", "X-Forwarded", "X-Real-IP",
	} {
		for _, value := range []string{"", "127.0.0.1", "for=127.0.0.1"} {
			for claim, g := range map[string]*Guard{"an untrusted": guard(), "a trusted": guard("127.0.0.0/8", "::1/128")} {
				if c := g.Identify(request("127.0.0.1:1", "localhost", field, value)); c.Local {
					t.Errorf("%s peer's request with %s: %q is local", claim, field, value)
				}
			}
		}
	}
	if c := guard().Identify(request("127.0.0.1:1", "localhost", "User-Agent", "x", "Accept", "*/*")); !c.Local {
		t.Error("a request with no such field is not local")
	}
}

func FuzzForwarded(f *testing.F) {
	for _, s := range []string{"", `for=10.9.9.9;host="`, `for="10.9.9.9`, `for=10.9.9.9;x="a\"`, `\",;=`, "for=10.9.9.9,"} {
		f.Add(s)
	}
	g := guard("10.0.0.0/8")
	want := netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, client string) {
		for _, appended := range []string{"for=192.0.2.1", `for="192.0.2.1:80";host="a,b;c"`} {
			r := request("10.0.0.1:1", "localhost")
			r.Header["Forwarded"] = []string{client + ", " + appended}
			if got := g.Identify(r).Addr; got != want {
				t.Errorf("Forwarded %q = %v, want what the proxy appended", r.Header["Forwarded"], got)
			}
		}
	})
}
