package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// certificatePEM is a certificate and its key.
func certificatePEM(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestInterceptCAIsReadWithItsKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, parts ...[]byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, slices.Concat(parts...), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	cert, key := certificatePEM(t)
	_, other := certificatePEM(t)
	one := write("one.pem", cert, key)
	two := write("two.pem", cert)
	write("two.pem.key", key)
	alien := write("alien.pem", cert, other)
	for _, row := range []struct {
		claim, file, problem string
		files                []string
	}{
		{"both in one file", one, "", []string{one}},
		{"the key beside it", two, "", []string{two, two + ".key"}},
		{"the key first", write("first.pem", key, cert), "", []string{filepath.Join(dir, "first.pem")}},
		{"no key", write("none.pem", cert), "holds no key", nil},
		{"another's key", alien, "does not match", nil},
		{"no certificate", write("key.pem", key), "failed to find certificate", nil},
		{"no file", filepath.Join(dir, "missing"), "cannot be read", nil},
	} {
		c, err := Parse("--intercept-ca", row.file)
		if row.problem != "" {
			if err == nil || !strings.Contains(err.Error(), "intercept-ca: ") || !strings.Contains(err.Error(), row.problem) {
				t.Errorf("%s: Parse = %v, want %q", row.claim, err, row.problem)
			}
			continue
		}
		if err != nil || c.InterceptCA == nil || !slices.Equal(c.Files(), row.files) {
			t.Errorf("%s: Parse = %v, files %v; want the pair, and %v watched", row.claim, err, c.Files(), row.files)
		}
	}
	if c, err := Parse(); err != nil || c.InterceptCA != nil {
		t.Errorf("Parse without it = %v, %v; want none", c.InterceptCA, err)
	}
}

func TestRealmNamesHosts(t *testing.T) {
	for _, row := range []struct{ text, want string }{
		{"auth.example", "auth.example"}, {"Auth.Example.", "auth.example"}, {"https://auth.example/token", "auth.example"}, {"10.0.0.1", "10.0.0.1"},
		{"a b", ""}, {"auth.example/token", ""}, {"ftp://auth.example", ""}, {"", ""},
	} {
		got, err := parseRealm(row.text)
		if got != row.want && row.want != "" || (err != nil) != (row.want == "") {
			t.Errorf("parseRealm(%q) = %q, %v; want %q", row.text, got, err, row.want)
		}
	}
}
