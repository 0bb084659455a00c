package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// newAuthority is an Authority over hosts that is valid from now for ten years.
func newAuthority(t *testing.T, now func() time.Time, hosts ...string) *Authority {
	t.Helper()
	cert, key, err := MakeAuthority(hosts, now(), 10*365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAuthority(&pair, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestPermitsIsWhatClientsWillTake(t *testing.T) {
	for _, row := range []struct {
		claim string
		hosts []string
		host  string
		want  bool
	}{
		{"the host itself", []string{"a.example"}, "a.example", true},
		{"what is below it, as RFC 5280 has it", []string{"a.example"}, "x.y.a.example", true},
		{"another host with the same end", []string{"a.example"}, "ba.example", false},
		{"what is above it", []string{"a.example"}, "example", false},
		{"a pattern: below", []string{"*.a.example"}, "x.a.example", true},
		{"a pattern: far below", []string{".a.example"}, "x.y.a.example", true},
		{"a pattern: the host itself", []string{"*.a.example"}, "a.example", false},
		{"case does not count", []string{"A.Example."}, "a.example", true},
		{"a label alone", []string{"registry"}, "registry", true},
		{"one of several", []string{"a.example", "b.example"}, "b.example", true},
		{"an address where names are named", []string{"a.example"}, "10.0.0.1", false},
		{"an address by itself", []string{"10.0.0.1"}, "10.0.0.1", true},
		{"its neighbour", []string{"10.0.0.1"}, "10.0.0.2", false},
		{"an address of a range", []string{"10.0.0.0/8", "fd00::/8"}, "fd12::1", true},
		{"an address of the other kind", []string{"10.0.0.0/8"}, "fd12::1", false},
		{"a name where addresses are named", []string{"10.0.0.0/8"}, "a.example", false},
	} {
		t.Run(row.claim, func(t *testing.T) {
			a := newAuthority(t, time.Now, row.hosts...)
			if got := a.Permits(row.host); got != row.want {
				t.Errorf("Permits(%s) of %v = %v, want %v", row.host, row.hosts, got, row.want)
			}
			// The judgement of a client that knows nothing of ours.
			pair, err := a.sign(row.host, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(a.PEM())
			_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: row.host, Roots: roots})
			if (err == nil) != row.want {
				t.Errorf("a client given a certificate for %s signed by %v: %v, want it taken: %v", row.host, row.hosts, err, row.want)
			}
		})
	}
}

func TestMakeAuthorityRefusesAllTheWorld(t *testing.T) {
	for _, hosts := range [][]string{nil, {"*"}, {"."}, {""}, {"*."}, {"com"}, {".com"}, {"*.co.uk"}, {"0.0.0.0/0"}, {"::/0"}, {"a.example", "*"}} {
		if _, _, err := MakeAuthority(hosts, time.Now(), time.Hour); !errors.Is(err, errEverybody) && !errors.Is(err, ErrUnconstrained) {
			t.Errorf("MakeAuthority(%q) = %v, want it refused for being open to all", hosts, err)
		}
	}
	for _, host := range []string{"a..example", "a b", "a/b", "*.*.example", "x*.example", "bücher.example", "a.example:443", "https://a.example"} {
		if _, _, err := MakeAuthority([]string{host}, time.Now(), time.Hour); !errors.Is(err, errNoHostName) {
			t.Errorf("MakeAuthority(%q) = %v, want %v", host, err, errNoHostName)
		}
	}
}

func TestNewAuthorityRefusesOneThatIsOutOfItsTime(t *testing.T) {
	made := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cert, key, err := MakeAuthority([]string{"a.example"}, made, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Duration]bool{-2 * time.Hour: false, 0: true, 23 * time.Hour: true, 25 * time.Hour: false} {
		if _, err := NewAuthority(&pair, func() time.Time { return made.Add(at) }); (err == nil) != want {
			t.Errorf("NewAuthority %v after it was made = %v, want it taken: %v", at, err, want)
		}
	}
}

// A moving is a time that only the test moves.
type moving struct {
	mu sync.Mutex
	at time.Time
}

func (m *moving) now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at
}

func (m *moving) add(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = m.at.Add(d)
}

func TestLeavesAreShortKeptAndRenewed(t *testing.T) {
	clock := &moving{at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	a := newAuthority(t, clock.now, "example.org")
	get := func(host string) *x509.Certificate {
		t.Helper()
		c, err := a.config(host)
		if err != nil {
			t.Fatal(err)
		}
		return c.Certificates[0].Leaf
	}
	first := get("a.example.org")
	if before, after := clock.now().Sub(first.NotBefore), first.NotAfter.Sub(clock.now()); before != time.Hour || after != leafLifetime {
		t.Errorf("a leaf is valid from %v before now for %v, want 1h and %v", before, after, leafLifetime)
	}
	if len(first.DNSNames) != 1 || first.DNSNames[0] != "a.example.org" || first.IsCA {
		t.Errorf("leaf for %v, CA %v; want it for the one host", first.DNSNames, first.IsCA)
	}
	clock.add(leafLifetime - leafRenewal - time.Minute)
	if get("a.example.org") != first {
		t.Error("a leaf was made anew before half of its time was over")
	}
	if other := get("b.example.org"); other.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("two leaves have one serial number")
	}
	clock.add(2 * time.Minute)
	if get("a.example.org") == first {
		t.Error("a leaf was kept for more than half of its time")
	}
	for i := range maxLeaves + 10 {
		get(fmt.Sprintf("h%d.example.org", i))
	}
	if n := a.recent.Len(); n != maxLeaves || len(a.byHost) != n {
		t.Errorf("%d leaves are kept, found by %d hosts; want %d", n, len(a.byHost), maxLeaves)
	}
	clock.add(a.cert.NotAfter.Sub(clock.now()) - time.Hour)
	if last := get("a.example.org"); !last.NotAfter.Equal(a.cert.NotAfter) {
		t.Errorf("a leaf is valid until %v, want no longer than its issuer: %v", last.NotAfter, a.cert.NotAfter)
	}
	clock.add(2 * time.Hour)
	if a.Permits("a.example.org") {
		t.Error("an authority whose time is over permits a host")
	}
}
