package proxy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"
)

// MakeAuthority makes a certificate authority that is limited to hosts, valid from an hour before now for the time given, and returns its
// certificate and key in PEM form. A host is a name, which stands for itself and all below it, as RFC 5280 has it; a name after "." or "*.", which
// stands for what lies below it alone; or an address or range of addresses.
func MakeAuthority(hosts []string, now time.Time, lifetime time.Duration) (cert, key []byte, err error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: fmt.Sprintf("zcache interception CA %s %06x", now.UTC().Format("2006-01-02"), new(big.Int).Rsh(serial, 104))},
		NotBefore:             now.Add(-leafBackdate),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		PermittedDNSDomainsCritical: true,
	}
	if err := constrain(template, hosts); err != nil {
		return nil, nil, err
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), nil
}

// constrain writes hosts into the name constraints. A kind of name that no constraint speaks of is open (RFC 5280 section 4.2.1.10), so the kind that
// hosts do not name is closed.
func constrain(c *x509.Certificate, hosts []string) error {
	if len(hosts) == 0 {
		return ErrUnconstrained
	}
	for _, host := range hosts {
		if n := ipRange(host); n != nil {
			if everyAddress(n) {
				return fmt.Errorf("%q %w", host, errEverybody)
			}
			c.PermittedIPRanges = append(c.PermittedIPRanges, n)
			continue
		}
		name, err := constraintName(host)
		if err != nil {
			return fmt.Errorf("%q %w", host, err)
		}
		c.PermittedDNSDomains = append(c.PermittedDNSDomains, name)
	}
	if len(c.PermittedIPRanges) == 0 {
		for _, all := range []string{"0.0.0.0/0", "::/0"} {
			_, n, _ := net.ParseCIDR(all)
			c.ExcludedIPRanges = append(c.ExcludedIPRanges, n)
		}
	}
	if len(c.PermittedDNSDomains) == 0 {
		// Excluding every name is beyond what all clients read the same way; permitting one that cannot exist (RFC 6761) is not.
		c.PermittedDNSDomains = []string{noName}
	}
	return nil
}

// noName is a name that no host has.
const noName = "invalid"

func ipRange(s string) *net.IPNet {
	p, err := netip.ParsePrefix(s)
	if a, aerr := netip.ParseAddr(strings.Trim(s, "[]")); aerr == nil && a.Zone() == "" {
		a = a.Unmap()
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil || p.Addr().Is4In6() {
		return nil
	}
	return &net.IPNet{IP: p.Masked().Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// everyAddress says that a range leaves all addresses open.
func everyAddress(n *net.IPNet) bool {
	ones, _ := n.Mask.Size()
	return ones == 0
}

var (
	errNoHostName   = errors.New("is no host, pattern with a leading \"*.\", or range of addresses")
	errEverybody    = errors.New("is open to all the world; name the hosts themselves")
	hostNameLetters = "abcdefghijklmnopqrstuvwxyz0123456789-_"
)

// constraintName is a host or pattern as a DNS constraint.
func constraintName(host string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	below := ""
	if rest, ok := strings.CutPrefix(name, "*."); ok {
		name, below = rest, "."
	} else if rest, ok := strings.CutPrefix(name, "."); ok {
		name, below = rest, "."
	}
	if strings.Trim(name, "*.") == "" {
		return "", errEverybody
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, hostNameLetters) != "" {
			return "", errNoHostName
		}
	}
	if suffix, icann := publicsuffix.PublicSuffix(name); icann && suffix == name {
		return "", errEverybody
	}
	return below + name, nil
}

// sign makes the certificate of a host.
func (a *Authority) sign(host string, now time.Time) (*tls.Certificate, error) {
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		NotBefore:    now.Add(-leafBackdate), NotAfter: earlier(now.Add(leafLifetime), a.cert.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if addr, err := netip.ParseAddr(host); err == nil { // without a common name, which OpenSSL would hold against the constraints of names
		template.IPAddresses = []net.IP{addr.Unmap().AsSlice()}
	} else {
		template.DNSNames = []string{host}
		if len(host) <= 64 { // the most that X.520 lets a common name have
			template.Subject.CommonName = host
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: append([][]byte{der}, a.chain...), PrivateKey: key, Leaf: signed}, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// serialNumber is 127 random bits: positive, and never the same twice under one issuer.
func serialNumber() (*big.Int, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b[:]), nil
}

// A CertificateView is what people are shown of a certificate authority.
type CertificateView struct {
	Subject     string    `json:"subject"`
	Fingerprint string    `json:"fingerprint_sha256"`
	Constraints []string  `json:"constraints"`
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	PublicKey   string    `json:"public_key"`
}

// View tells of the authority's certificate.
func (a *Authority) View() CertificateView { return ViewCertificate(a.cert) }

// ViewCertificate tells of a certificate, whether or not an Authority could be made of it.
func ViewCertificate(c *x509.Certificate) CertificateView {
	sum := sha256.Sum256(c.Raw)
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return CertificateView{
		Subject: c.Subject.String(), Fingerprint: strings.Join(parts, ":"), Constraints: constraints(c),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(), PublicKey: publicKey(c.PublicKey, c.PublicKeyAlgorithm),
	}
}

func publicKey(key crypto.PublicKey, kind x509.PublicKeyAlgorithm) string {
	if k, ok := key.(*ecdsa.PublicKey); ok {
		return kind.String() + " " + k.Curve.Params().Name
	}
	return kind.String()
}
