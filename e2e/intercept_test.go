package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A secureOrigin is an https server by the names localhost and 127.0.0.1, with a certificate authority of its own.
type secureOrigin struct {
	*httptest.Server
	name string // localhost:PORT
	port string
	ca   string // file

	mu    sync.Mutex
	asked []*http.Request
}

// startSecure serves bodies below /pub/, which stay fresh, and has every zcache that starts from now on trust it.
func startSecure(t *testing.T, bodies map[string][]byte) *secureOrigin {
	t.Helper()
	o := &secureOrigin{}
	o.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r)
		o.mu.Unlock()
		body, ok := bodies[strings.TrimPrefix(r.URL.Path, "/pub/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", modified, bytes.NewReader(body))
	}))
	o.EnableHTTP2 = true
	o.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of clients that do not trust it
	cert, key := certify(t, nil, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "origin"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	o.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	o.StartTLS()
	t.Cleanup(o.Close)
	_, o.port, _ = net.SplitHostPort(o.Listener.Addr().String())
	o.name = "localhost:" + o.port
	o.ca = filepath.Join(t.TempDir(), "origin.pem")
	if err := os.WriteFile(o.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", o.ca)
	return o
}

func (o *secureOrigin) total() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

// opened are the flags that let clients of the forward proxy reach the origin.
func (o *secureOrigin) opened() []string {
	return []string{"--proxy-allow-host", o.name, "--proxy-allow-host", "127.0.0.1:" + o.port, "--proxy-allow-host", "[::1]:" + o.port}
}

// certify makes a certificate; without an issuer it is its own.
func certify(t *testing.T, issuer *x509.Certificate, by *ecdsa.PrivateKey, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	if issuer == nil {
		template.IsCA, template.BasicConstraintsValid = true, true
		issuer, by = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// createCA has the product make a certificate authority for hosts.
func createCA(t *testing.T, hosts ...string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "lab.pem")
	args := []string{"ca", "create", "--out", file}
	for _, h := range hosts {
		args = append(args, "--host", h)
	}
	out, errs, code := command(t, binary, args...)
	if code != 0 {
		t.Fatalf("zcache %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return file
}

// curl runs curl through a zcache and gives what it says of the transfer: protocol, status, X-Cache, exit code; the body goes to a file.
func curl(t *testing.T, z *zcache, ca string, args ...string) (said string, body []byte, code int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out")
	all := append([]string{"-sS", "--max-time", "30", "--proxy", z.url, "--cacert", ca, "-o", file, "-w", "%{http_version} %{http_code} %header{x-cache}"}, args...)
	out, errs, code := command(t, "curl", all...)
	body, _ = os.ReadFile(file)
	if code != 0 {
		out += " " + errs
	}
	return out, body, code
}

func TestInterceptionServesHTTP2And1FromTheCache(t *testing.T) {
	want := bytesOf("kernel", 3*mib)
	o := startSecure(t, map[string][]byte{"a.tar": want})
	ca := createCA(t, "localhost")
	z := start(t, append(o.opened(), "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca)...)
	from := "https://" + o.name + "/pub/a.tar"
	step := func(claim, said string, asked int, args ...string) {
		t.Helper()
		got, body, _ := curl(t, z, ca, append(args, from)...)
		if got != said || !bytes.Equal(body, want) {
			t.Errorf("%s: curl %v = %q and %d bytes, want %q and %d bytes", claim, args, got, len(body), said, len(want))
		}
		if o.total() != asked {
			t.Errorf("%s: the origin was asked %d times, want %d", claim, o.total(), asked)
		}
	}
	step("cold, HTTP/2", "2 200 MISS", 1, "--http2")
	z.published("files", "/https/"+o.name+"/pub/a.tar", int64(len(want)))
	step("warm, HTTP/2", "2 200 HIT", 1, "--http2")
	step("warm, HTTP/1.1", "1.1 200 HIT", 1, "--http1.1")
	step("warm, HTTP/1.0", "1 200 HIT", 1, "--http1.0")
	o.Close()
	step("upstream gone", "2 200 HIT", 1)

	got, body, _ := curl(t, z, ca, "-r", "1000-1999", from)
	if got != "2 206 HIT" || !bytes.Equal(body, want[1000:2000]) {
		t.Errorf("curl of a range = %q and %d bytes, want 206 and the thousand bytes", got, len(body))
	}
	file := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(file, want[:mib], 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := command(t, "curl", "-sS", "--proxy", z.url, "--cacert", ca, "-C", "-", "-o", file, "-w", "%{http_code} %{size_download}", from)
	whole, _ := os.ReadFile(file)
	if code != 0 || out != fmt.Sprintf("206 %d", 2*mib) || !bytes.Equal(whole, want) {
		t.Errorf("curl -C - = exit %d, %q, %d bytes %s; want the last 2 MiB", code, out, len(whole), errs)
	}
}

func TestInterceptionForWget(t *testing.T) {
	want := bytesOf("wget", mib)
	o := startSecure(t, map[string][]byte{"b.bin": want})
	ca := createCA(t, "localhost")
	z := start(t, append(o.opened(), "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca)...)
	get := func(file string, args ...string) {
		t.Helper()
		all := append([]string{"-q", "-e", "use_proxy=yes", "-e", "https_proxy=" + z.url, "--ca-certificate=" + ca, "-O", file}, args...)
		_, errs, code := command(t, "wget", append(all, "https://"+o.name+"/pub/b.bin")...)
		if got, _ := os.ReadFile(file); code != 0 || !bytes.Equal(got, want) {
			t.Errorf("wget %v = exit %d, %d bytes, want %d\n%s", args, code, len(got), len(want), errs)
		}
	}
	get(filepath.Join(t.TempDir(), "cold"))
	z.published("files", "/https/"+o.name+"/pub/b.bin", int64(len(want)))
	o.Close()
	get(filepath.Join(t.TempDir(), "gone"))
	part := filepath.Join(t.TempDir(), "part")
	if err := os.WriteFile(part, want[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	get(part, "-c")
	if o.total() != 1 {
		t.Errorf("the origin was asked %d times, want once", o.total())
	}
}

// What lies under a hub's upstream is the hub's entry, also inside a tunnel; and the hub's own way of reaching its upstream is used, which no flag opens.
func TestInterceptedURLUnderAHubIsTheHubsEntry(t *testing.T) {
	want := bytesOf("hub", 1000)
	o := startSecure(t, map[string][]byte{"c": want})
	ca := createCA(t, "localhost")
	z := start(t, "--upstream", "k="+"https://"+o.name+"/pub", "--intercept-ca", ca, "--proxy-allow-host", o.name)
	get(t, z.url+"/k/c").whole(t, "by the gateway", want).is(t, "by the gateway", 200, "MISS")
	z.published("k", "/c", int64(len(want)))
	if got, body, _ := curl(t, z, ca, "https://"+o.name+"/pub/c"); got != "2 200 HIT" || !bytes.Equal(body, want) {
		t.Errorf("inside a tunnel = %q %s, want the hub's entry", got, clip(body))
	}
	if o.total() != 1 {
		t.Errorf("the origin was asked %d times, want once", o.total())
	}
}

func TestHostsThatTheCADoesNotPermitAreTunnelled(t *testing.T) {
	want := bytesOf("direct", 1000)
	o := startSecure(t, map[string][]byte{"d": want})
	ca := createCA(t, "mirror.example", "*.localhost", "10.0.0.0/8")
	z := start(t, append(o.opened(), "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca)...)
	for range 2 {
		got, body, _ := curl(t, z, o.ca, "https://"+o.name+"/pub/d")
		if got != "2 200 " || !bytes.Equal(body, want) {
			t.Errorf("curl that trusts the origin alone = %q, want its own answer", got)
		}
	}
	if o.total() != 2 {
		t.Errorf("the origin was asked %d times, want twice: nothing is kept of a tunnel", o.total())
	}
	if _, _, code := curl(t, z, ca, "https://"+o.name+"/pub/d"); code != 60 {
		t.Errorf("curl that trusts the lab alone: exit %d, want 60", code)
	}
}

// With a stolen key, a certificate for any other host can be signed, and clients themselves refuse it.
func TestClientsRefuseWhatTheCAMayNotSign(t *testing.T) {
	file := createCA(t, "mirror.example", "*.lab.example")
	pair, err := tls.LoadX509KeyPair(file, file+".key")
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		host string
		ok   bool
	}{
		{"mirror.example", true}, {"a.mirror.example", true}, {"a.lab.example", true}, {"b.a.lab.example", true},
		{"bank.example", false}, {"xmirror.example", false}, {"lab.example", false}, {"127.0.0.1", false},
	} {
		template := &x509.Certificate{Subject: pkix.Name{CommonName: row.host}, DNSNames: []string{row.host}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if ip := net.ParseIP(row.host); ip != nil {
			template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
		}
		leaf, key := certify(t, issuer, pair.PrivateKey.(*ecdsa.PrivateKey), template)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}}
		server.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of every client that refused
		server.StartTLS()
		_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
		_, said, code := command(t, "curl", "-sS", "--noproxy", "*", "--cacert", file, "--resolve", row.host+":"+port+":127.0.0.1", "https://"+row.host+":"+port+"/")
		server.Close()
		if row.ok != (code == 0) || !row.ok && code != 60 {
			t.Errorf("curl https://%s/ with a certificate of the lab's: exit %d, want it taken: %v\n%s", row.host, code, row.ok, said)
		}
		if !row.ok && !strings.Contains(said, "subtree") {
			t.Errorf("curl https://%s/ says %q, want the name constraint as the reason", row.host, said)
		}
	}
}

func TestInterceptionIsForTheHostOfTheTunnelAlone(t *testing.T) {
	o := startSecure(t, map[string][]byte{"e": []byte("e")})
	ca := createCA(t, "localhost")
	z := start(t, append(o.opened(), "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca)...)
	said, _, code := curl(t, z, ca, "--connect-to", "sub.localhost:"+o.port+":"+o.name, "https://sub.localhost:"+o.port+"/pub/e")
	if code != 35 {
		t.Errorf("a tunnel to one host and a hello for another: exit %d, want 35, refused in the handshake (%s)", code, said)
	}
	if said, _, _ := curl(t, z, ca, "-H", "Host: other.example", "https://"+o.name+"/pub/e"); !strings.HasPrefix(said, "2 421") {
		t.Errorf("a request for another host inside = %q, want 421", said)
	}
	if said, _, _ := curl(t, z, ca, "https://localhost:22/"); !strings.Contains(said, "403") {
		t.Errorf("CONNECT to port 22 of a host that the CA permits = %q, want 403", said)
	}
	if o.total() != 0 {
		t.Errorf("the origin was asked %d times, want never", o.total())
	}
}

func TestDownloadInsideATunnelEndsBeforeTheProcess(t *testing.T) {
	want := bytesOf("drain", 8*mib)
	o := startSecure(t, map[string][]byte{"f": want})
	ca := createCA(t, "localhost")
	z := start(t, append(o.opened(), "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca)...)
	roots := x509.NewCertPool()
	data, _ := os.ReadFile(ca)
	roots.AppendCertsFromPEM(data)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: z.addr}), TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Get("https://" + o.name + "/pub/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := z.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, waitShort, "the listener is closed", func() (bool, string) {
		c, err := net.Dial("tcp", z.addr)
		if err == nil {
			c.Close()
		}
		return err != nil, "it still answers"
	})
	d, err := digestOf(resp.Body)
	resp.Body.Close()
	if err != nil || d.n != int64(len(want)) {
		t.Errorf("the download that was under way = %d bytes, %v; want all %d", d.n, err, len(want))
	}
	client.CloseIdleConnections()
	select {
	case <-z.gone:
	case <-time.After(waitShort):
		t.Error("the process goes on though no request is left")
	}
}

func TestACAThatIsNotLimitedIsRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, template *x509.Certificate) string {
		cert, key := certify(t, nil, nil, template)
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, both, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	limited := write("limited.pem", &x509.Certificate{PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"a.example"}})
	if out, errs, code := command(t, binary, "check-config", "--intercept-ca", limited); code != 0 || !strings.Contains(out, "https is looked into for: a.example\n") {
		t.Errorf("check-config with a limited CA in one file: exit %d, want 0 and its hosts\n%s%s", code, out, errs)
	}
	orphan := filepath.Join(dir, "orphan.pem")
	if data, err := os.ReadFile(createCA(t, "a.example")); err != nil || os.WriteFile(orphan, data, 0o600) != nil {
		t.Fatal(err)
	}
	for file, reason := range map[string]string{
		write("open.pem", &x509.Certificate{}):                                                                            "no critical name constraint limits it to hosts",
		write("soft.pem", &x509.Certificate{PermittedDNSDomains: []string{"a.example"}}):                                  "no critical name constraint limits it to hosts",
		write("all.pem", &x509.Certificate{PermittedDNSDomainsCritical: true, ExcludedDNSDomains: []string{"a.example"}}): "no critical name constraint limits it to hosts",
		orphan:                        "holds no key",
		filepath.Join(dir, "missing"): "cannot be read",
	} {
		for _, verb := range []string{"serve", "check-config"} {
			_, errs, code := command(t, binary, verb, "--intercept-ca", file, "--root", filepath.Join(dir, "root"), "--listen", "127.0.0.1:0")
			if code != 1 || !strings.Contains(errs, "intercept-ca") || !strings.Contains(errs, reason) {
				t.Errorf("%s with %s: exit %d, %q; want 1 and %q", verb, filepath.Base(file), code, errs, reason)
			}
		}
	}
}

func TestCAVerbs(t *testing.T) {
	file := createCA(t, "Mirror.Example.", "*.lab.example", ".sub.example", "10.1.0.0/16", "192.0.2.7")
	if info, err := os.Stat(file + ".key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v; want mode 0600", info.Mode(), err)
	}
	before, _ := os.ReadFile(file)
	if _, errs, code := command(t, binary, "ca", "create", "--out", file, "--host", "x.example"); code != 1 || !strings.Contains(errs, "is there already") {
		t.Errorf("ca create over a file: exit %d, %q; want it refused", code, errs)
	}
	if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
		t.Error("ca create overwrote a certificate")
	}
	out, _, code := command(t, binary, "ca", "print", file)
	for _, want := range []string{"CN=zcache interception CA", "mirror.example .lab.example .sub.example 10.1.0.0/16 192.0.2.7", "ECDSA P-256"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("ca print: exit %d, want %q in\n%s", code, want, out)
		}
	}
	if out, _, _ := command(t, binary, "ca", "print", "--pem", file); out != string(before) {
		t.Errorf("ca print --pem = %q, want the certificate and nothing else", out)
	}
	for _, args := range [][]string{
		{"ca", "create"}, {"ca", "create", "--host", "*"}, {"ca", "create", "--host", "com"}, {"ca", "create", "--host", "*.co.uk"}, {"ca", "create", "--host", "0.0.0.0/0"},
		{"ca", "create", "--host", "a..example"}, {"ca", "create", "--host", "a/b"}, {"ca", "create", "--host", "a.example", "--days", "0"}, {"ca", "print"}, {"ca", "sign"},
	} {
		if _, errs, code := command(t, binary, args...); code != 2 || errs == "" {
			t.Errorf("zcache %s: exit %d, %q; want 2 and a reason", strings.Join(args, " "), code, errs)
		}
	}
}
