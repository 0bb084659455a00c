package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// An outlet is the outgoing proxy of a hub, and its only way to a registry: what the registry is asked is counted here, and cutting it is
// what the end of the registry looks like to zcache.
type outlet struct {
	*httptest.Server
	pass *httputil.ReverseProxy
	way  func(*http.Request) (*url.URL, error) // the machine's own proxy

	mu    sync.Mutex
	asked []string   // requests, and tunnels as CONNECT host:port
	open  []net.Conn // both ends of every tunnel; httptest.Server forgets what is hijacked
	shut  bool
}

// startOutlet leads to the network by the proxy that clients of this machine are configured for, which is "" where they have none but perhaps
// the environment's.
func startOutlet(t *testing.T, proxy string) *outlet {
	t.Helper()
	o := &outlet{way: http.ProxyFromEnvironment}
	if proxy != "" {
		fixed, err := url.Parse(proxy)
		if err != nil {
			t.Fatalf("the proxy that this machine's client is configured for: %v", err)
		}
		o.way = http.ProxyURL(fixed)
	}
	o.pass = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) {},
		Transport: &http.Transport{Proxy: o.way, DisableCompression: true},
		ErrorLog:  log.New(io.Discard, "", 0), // zcache tells of the same
	}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.cut)
	return o
}

func (o *outlet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.asked = append(o.asked, r.Method+" "+r.RequestURI)
	o.mu.Unlock()
	if r.Method != http.MethodConnect {
		o.pass.ServeHTTP(w, r)
		return
	}
	far, err := o.dial(r.Context(), r.RequestURI)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	near, in, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return
	}
	if !o.keep(near, far) {
		return
	}
	fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(far, in)
		far.Close()
	}()
	_, _ = io.Copy(near, far)
	near.Close()
}

// dial connects to the far end of a tunnel.
func (o *outlet) dial(ctx context.Context, addr string) (net.Conn, error) {
	proxy, err := o.way(&http.Request{URL: &url.URL{Scheme: "https", Host: addr}})
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: waitShort}
	if proxy == nil {
		return dialer.DialContext(ctx, "tcp", addr)
	}
	conn, err := dialer.DialContext(ctx, "tcp", proxy.Host)
	if err != nil {
		return nil, err
	}
	fields := ""
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		fields = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(proxy.User.Username()+":"+password)) + "\r\n"
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", addr, addr, fields)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1), &http.Request{Method: http.MethodConnect})
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("the machine's proxy answers %s", resp.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (o *outlet) keep(conns ...net.Conn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.shut {
		o.open = append(o.open, conns...)
		return true
	}
	for _, c := range conns {
		c.Close()
	}
	return false
}

// cut ends the outlet: its port refuses, and what was under way is broken off.
func (o *outlet) cut() {
	o.mu.Lock()
	o.shut = true
	for _, c := range o.open {
		c.Close()
	}
	o.mu.Unlock()
	o.CloseClientConnections()
	o.Close()
}

func (o *outlet) requests() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

// A registry is a zcache with hubs before what a client of this machine is configured for.
type registry struct {
	*zcache
	t     *testing.T
	out   *outlet
	ca    string // the authority of the interception
	seen  int    // bytes of the log that were read
	asked int    // requests at the outlet when the cold pass ended
}

// before starts a zcache with a hub for each upstream, reached through one outlet, and ends the TLS of those that have it. What the origin says of
// lifetimes holds; where it says nothing, ten minutes are longer than any test.
func before(t *testing.T, proxy string, hubs map[string]string) *registry {
	t.Helper()
	r := &registry{t: t, out: startOutlet(t, proxy)}
	var toml strings.Builder
	var hosts []string
	for name, upstream := range hubs {
		at, err := url.Parse(upstream)
		if err != nil || at.Host == "" {
			t.Fatalf("this machine is configured for %q, which is no URL of a registry: %v", upstream, err)
		}
		fmt.Fprintf(&toml, "[[hub]]\nname = %q\nttl = \"10m\"\nnegative-ttl = \"10m\"\nproxy = %q\n", name, r.out.URL)
		if at.User != nil {
			password, _ := at.User.Password()
			fmt.Fprintf(&toml, "user = %q\npassword = %q\n", at.User.Username(), password)
			at.User = nil
		}
		fmt.Fprintf(&toml, "upstream = %q\n", strings.TrimSuffix(at.String(), "/"))
		r.out.answers(t, at)
		if at.Scheme == "https" && !slices.Contains(hosts, at.Hostname()) {
			hosts = append(hosts, at.Hostname())
		}
	}
	args := []string{settings(t, toml.String())}
	if len(hosts) > 0 {
		r.ca = createCA(t, hosts...)
		args = append(args, "--intercept-ca", r.ca)
	}
	r.zcache = start(t, args...)
	return r
}

// answers fails the test where the registry that it is about cannot be reached by anybody, so that zcache is not blamed. Whom the certificate is of
// is zcache's to judge: the roots that a process trusts are read once, and another test may have had others.
func (o *outlet) answers(t *testing.T, at *url.URL) {
	t.Helper()
	way := &http.Transport{Proxy: o.way, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	client := &http.Client{Timeout: 20 * time.Second, Transport: way, CheckRedirect: plain.CheckRedirect}
	resp, err := client.Head(at.String())
	if err != nil {
		t.Fatalf("this test needs the registry that this machine's own client is configured for, and it does not answer: %v", err)
	}
	resp.Body.Close()
}

// A logged is what the log says of one request.
type logged struct {
	Method, Path, Hub, Form, Error string
	Action                         string
	Status                         int
	Sent                           int64  `json:"bytes_sent"`
	Cache                          string `json:"x_cache"`
	Upstream                       *int   `json:"upstream_status"` // nil: the registry was not asked
}

// pass has a client of its own run, and returns what it asked of zcache. zcache is stopped after it, so that all is kept and logged, and is started
// again before it, with args added, unless it runs already.
func (r *registry) pass(run func(u *user), args ...string) (asked []logged) {
	r.t.Helper()
	select {
	case <-r.gone:
		r.again(args...)
	default:
	}
	run(newUser(r.t))
	r.stop()
	text := r.log()[r.seen:]
	r.seen += len(text)
	for line := range strings.Lines(text) {
		var l logged
		if json.Unmarshal([]byte(line), &l) == nil && l.Action == "request" && l.Hub != "" {
			asked = append(asked, l)
		}
	}
	if len(asked) == 0 {
		r.t.Error("the client asked zcache for nothing")
	}
	if r.ca != "" && !slices.ContainsFunc(asked, func(l logged) bool { return l.Form == "proxy" }) {
		r.t.Error("no request was seen inside a tunnel, want the client's by its own URLs")
	}
	return asked
}

// bodiesHeld wants that no body came from the registry since the cold pass, though it may have confirmed some.
func (r *registry) bodiesHeld(asked []logged) {
	r.t.Helper()
	trips := 0
	for _, l := range asked {
		if l.Upstream != nil {
			trips++
		}
		if !slices.Contains([]string{"HIT", "HIT-COALESCED", "REVALIDATED"}, l.Cache) {
			r.t.Errorf("warm: %s %s of hub %s = %d %s %s, want it from the store", l.Method, l.Path, l.Hub, l.Status, l.Cache, l.Error)
		}
	}
	if more := r.out.requests()[r.asked:]; len(more) > trips {
		r.t.Errorf("warm: the registry was asked %q, want the %d times that the log tells of", more, trips)
	}
}

// withoutIt wants that every request was answered, by what is held.
func (r *registry) withoutIt(claim string, asked []logged) {
	r.t.Helper()
	for _, l := range asked {
		if l.Status >= http.StatusInternalServerError || !slices.Contains([]string{"HIT", "HIT-COALESCED", "STALE", "UPDATING", "OFFLINE"}, l.Cache) {
			r.t.Errorf("%s: %s %s of hub %s = %d %s %s, want it from the store", claim, l.Method, l.Path, l.Hub, l.Status, l.Cache, l.Error)
		}
	}
}

// fourTimes runs a client cold, warm, with the registry gone, and off line, each time from its own empty state: the latter three must not need the
// registry's bodies. Run gets what the pass is called.
func (r *registry) fourTimes(run func(claim string, u *user)) {
	r.t.Helper()
	named := func(claim string) func(*user) { return func(u *user) { run(claim, u) } }
	cold := r.pass(named("cold"))
	came := slices.ContainsFunc(cold, func(l logged) bool { return l.Upstream != nil && l.Status == http.StatusOK && l.Cache == "MISS" })
	r.asked = len(r.out.requests())
	if !came || r.asked == 0 {
		r.t.Errorf("cold: nothing came from the registry: %+v", cold)
	}
	r.bodiesHeld(r.pass(named("warm")))
	r.out.cut()
	r.withoutIt("registry gone", r.pass(named("registry gone")))
	r.withoutIt("off line", r.pass(named("off line"), "--offline"))
}

// configured is what a client says of its own configuration on this machine, its line ends cut off.
func configured(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%s is not installed; make deps installs what the tests need", name)
	}
	if err != nil {
		t.Fatalf("ask %s for its configuration: %v\n%s", strings.Join(cmd.Args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// keepsBody wants a file that a client took home to be, byte for byte, what lies at its place under the root.
func (r *registry) keepsBody(claim, hub, path, file string) {
	r.t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		r.t.Errorf("%s: %v", claim, err)
		return
	}
	if want, ok := r.held(hub, path); !ok || !bytes.Equal(got, want) {
		r.t.Errorf("%s: %d bytes at the client, %d bytes at %s%s, held: %v; want the same", claim, len(got), len(want), hub, path, ok)
	}
}
