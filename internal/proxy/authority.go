package proxy

import (
	"container/list"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

var (
	// ErrUnconstrained says that a certificate authority may speak for any host. Whoever got hold of its key could do so towards every client
	// that trusts it, so it is not used.
	ErrUnconstrained = errors.New("no critical name constraint limits it to hosts")

	errNoAuthority = errors.New("is no certificate authority that may sign")
	errOtherName   = errors.New("the client names another host than its tunnel leads to")
)

// The limits of what an Authority keeps and signs.
const (
	leafLifetime = 14 * 24 * time.Hour // short, since nobody can revoke one; long enough for a client that keeps a connection over a holiday
	leafRenewal  = leafLifetime / 2    // what is left when a new one is made
	leafBackdate = time.Hour           // for clients whose clocks are behind
	maxLeaves    = 1024
)

// An Authority signs certificates for the hosts that its own certificate is limited to by name constraints (RFC 5280 section 4.2.1.10). Its
// methods may be called concurrently.
type Authority struct {
	cert  *x509.Certificate
	key   crypto.Signer
	chain [][]byte // what is sent after a leaf; empty when cert is a root, which clients hold
	pem   []byte
	now   func() time.Time

	mu     sync.Mutex
	recent *list.List // of *leaf, the last used first
	byHost map[string]*list.Element
}

// NewAuthority makes an Authority of a certificate, its issuers and its key. It refuses one that may not sign, is out of its time, or is not limited to
// hosts (ErrUnconstrained). A nil now means the clock.
func NewAuthority(pair *tls.Certificate, now func() time.Time) (*Authority, error) {
	if now == nil {
		now = time.Now
	}
	a := &Authority{now: now, recent: list.New(), byHost: map[string]*list.Element{}}
	for i, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		if i == 0 {
			a.cert = c
		}
		if c.CheckSignatureFrom(c) != nil {
			a.chain = append(a.chain, der)
		}
		a.pem = append(a.pem, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if a.cert == nil || !ok {
		return nil, errNoAuthority
	}
	a.key = key
	if err := a.check(); err != nil {
		return nil, err
	}
	return a, nil
}

// check refuses what no client would believe, or should have to.
func (a *Authority) check() error {
	c := a.cert
	switch {
	case !c.BasicConstraintsValid || !c.IsCA, c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errNoAuthority
	case !c.PermittedDNSDomainsCritical, len(c.PermittedDNSDomains)+len(c.PermittedIPRanges) == 0,
		slices.ContainsFunc(c.PermittedDNSDomains, everyName), slices.ContainsFunc(c.PermittedIPRanges, everyAddress):
		return ErrUnconstrained
	case !a.valid():
		return fmt.Errorf("is valid from %s to %s alone", c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// everyName says that a DNS constraint leaves all names open.
func everyName(constraint string) bool { return strings.Trim(constraint, ".*") == "" }

func (a *Authority) valid() bool {
	now := a.now()
	return now.After(a.cert.NotBefore) && now.Before(a.cert.NotAfter)
}

// PEM is the certificate, and those of its issuers that came with it, for clients to trust.
func (a *Authority) PEM() []byte { return a.pem }

// Certificate is the certificate of the authority. It is shared, and not to be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Constraints are the hosts and address ranges that the authority is limited to, those with a leading dot without the name itself.
func (a *Authority) Constraints() []string { return constraints(a.cert) }

func constraints(c *x509.Certificate) []string {
	out := slices.Clone(c.PermittedDNSDomains)
	for _, n := range c.PermittedIPRanges {
		if ones, bits := n.Mask.Size(); ones == bits {
			out = append(out, n.IP.String())
			continue
		}
		out = append(out, n.String())
	}
	return out
}

// Permits says that the authority may sign for a host, which is a name in lower case without a trailing dot, or an address. An authority whose time is
// over permits none: a tunnel still works then.
func (a *Authority) Permits(host string) bool {
	if a == nil || !a.valid() {
		return false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		ip := net.IP(addr.Unmap().AsSlice())
		in := func(n *net.IPNet) bool { return n.Contains(ip) }
		return addr.Zone() == "" && slices.ContainsFunc(a.cert.PermittedIPRanges, in) && !slices.ContainsFunc(a.cert.ExcludedIPRanges, in)
	}
	within := func(constraint string) bool { return under(host, constraint) }
	return slices.ContainsFunc(a.cert.PermittedDNSDomains, within) && !slices.ContainsFunc(a.cert.ExcludedDNSDomains, within)
}

// under says that a DNS constraint covers host: the name and what lies below it, or only the latter where the constraint begins with a dot.
func under(host, constraint string) bool {
	constraint = strings.ToLower(constraint)
	if strings.HasPrefix(constraint, ".") {
		return strings.HasSuffix(host, constraint) && len(host) > len(constraint)
	}
	return host == constraint || strings.HasSuffix(host, "."+constraint)
}

// A leaf is how TLS is spoken in the name of one host.
type leaf struct {
	host   string
	until  time.Time // when a new one is due
	config *tls.Config
}

// config is the server's side of TLS for a host that is permitted. A host's connections share it, and so its session tickets.
func (a *Authority) config(host string) (*tls.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if e := a.byHost[host]; e != nil {
		if l := e.Value.(*leaf); now.Before(l.until) {
			a.recent.MoveToFront(e)
			return l.config, nil
		}
		a.drop(e)
	}
	// Signing takes a fraction of a millisecond: less than it would cost to keep two clients of one host apart.
	pair, err := a.sign(host, now)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", host, err)
	}
	l := &leaf{host: host, config: serverConfig(host, pair)}
	l.until = now.Add(pair.Leaf.NotAfter.Sub(now) - min(leafRenewal, pair.Leaf.NotAfter.Sub(now)/2))
	a.byHost[host] = a.recent.PushFront(l)
	if a.recent.Len() > maxLeaves {
		a.drop(a.recent.Back())
	}
	return l.config, nil
}

func (a *Authority) drop(e *list.Element) {
	delete(a.byHost, e.Value.(*leaf).host)
	a.recent.Remove(e)
}

func serverConfig(host string, pair *tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{*pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1", "http/1.0"},
		// Asked for resumed sessions too.
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if name := hello.ServerName; name != "" && bareHost(name) != host {
				return nil, errOtherName
			}
			return nil, nil
		},
	}
}
