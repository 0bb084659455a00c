package origintest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// waitLimit ends a Wait that would hang the test. It is never reached by a test that passes.
const waitLimit = 20 * time.Second

// An Origin is a running http server. Its methods may be called concurrently.
type Origin struct {
	URL  string // http://127.0.0.1:<port>, without a slash at the end
	Addr string // host:port

	t     testing.TB
	certs *tls.Config // nil for http
	pool  *x509.CertPool

	mu       sync.Mutex
	changed  *sync.Cond // a request came or a body byte went out
	files    map[string]*file
	requests []*Request
	counts   map[string]int
	conns    int
	hijacked map[net.Conn]bool // connections that Stop must close itself
	server   *http.Server
	serving  chan struct{} // closed when the running server's Serve has returned
}

type file struct {
	content *Content
	opts    []Option
	handler http.Handler // instead of the two above
	asked   int
	sent    int64
}

// A Request is what the origin was asked.
type Request struct {
	Method string
	Target string // as in the request line
	Path   string // the target up to its query
	Query  string
	Host   string
	Proto  string
	Header http.Header
	Body   []byte // at most 1 MiB of it
}

// New starts an http origin on a free port of 127.0.0.1. It ends with the test.
func New(t testing.TB) *Origin {
	t.Helper()
	return start(t, nil, nil)
}

// NewTLS starts an https origin that speaks HTTP/1.1 and HTTP/2, with a certificate for 127.0.0.1, ::1 and example.com that Pool vouches for.
func NewTLS(t testing.TB) *Origin {
	t.Helper()
	donor := httptest.NewUnstartedServer(nil)
	donor.EnableHTTP2 = true
	donor.StartTLS()
	defer donor.Close()
	pool := x509.NewCertPool()
	pool.AddCert(donor.Certificate())
	return start(t, &tls.Config{
		Certificates: donor.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: tls.RequestClientCert,
	}, pool)
}

func start(t testing.TB, certs *tls.Config, pool *x509.CertPool) *Origin {
	t.Helper()
	o := &Origin{t: t, certs: certs, pool: pool, files: map[string]*file{}, counts: map[string]int{}, hijacked: map[net.Conn]bool{}}
	o.changed = sync.NewCond(&o.mu)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.Addr = ln.Addr().String()
	o.URL = "http://" + o.Addr
	if certs != nil {
		o.URL = "https://" + o.Addr
	}
	o.run(ln)
	t.Cleanup(o.Stop)
	return o
}

func (o *Origin) run(ln net.Listener) {
	server := &http.Server{
		Handler:   http.HandlerFunc(o.serve),
		TLSConfig: o.certs,
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				o.mu.Lock()
				o.conns++
				o.mu.Unlock()
			}
		},
		ErrorLog: quiet,
	}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		if o.certs != nil {
			_ = server.ServeTLS(ln, "", "") // always ErrServerClosed after Stop
			return
		}
		_ = server.Serve(ln)
	}()
	o.mu.Lock()
	o.server, o.serving = server, serving
	o.mu.Unlock()
}

// Pool holds the certificate of an origin made by NewTLS.
func (o *Origin) Pool() *x509.CertPool { return o.pool }

// Stop closes the port and every connection. An origin that is stopped stays so.
func (o *Origin) Stop() {
	o.mu.Lock()
	server, serving := o.server, o.serving
	o.server = nil
	o.mu.Unlock()
	if server == nil {
		return
	}
	_ = server.Close() // the connections are gone whatever it says
	o.mu.Lock()
	for conn := range o.hijacked {
		_ = conn.Close()
	}
	o.mu.Unlock()
	<-serving
}

// Start opens the port again after Stop.
func (o *Origin) Start() {
	o.t.Helper()
	o.mu.Lock()
	running := o.server != nil
	o.mu.Unlock()
	if running {
		return
	}
	ln, err := net.Listen("tcp", o.Addr)
	if err != nil {
		o.t.Fatalf("start the origin again: %v", err)
	}
	o.run(ln)
}

// File answers path with content. It replaces what the path was before; its counts stay.
func (o *Origin) File(path string, content *Content, opts ...Option) {
	o.put(path, &file{content: content, opts: slices.Clone(opts)})
}

// Handle answers path with h; for what no Option can say.
func (o *Origin) Handle(path string, h http.HandlerFunc) { o.put(path, &file{handler: h}) }

// Remove makes path a 404 again.
func (o *Origin) Remove(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.files, path)
}

func (o *Origin) put(path string, f *file) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[path] = f
}

// Count is how often path was asked for, by any method. Given with a query it counts that query alone.
func (o *Origin) Count(path string) int { return o.count("", path) }

// CountMethod is how often path was asked for by method.
func (o *Origin) CountMethod(method, path string) int { return o.count(method, path) }

// Total is the number of all requests.
func (o *Origin) Total() int { return o.count("", "") }

func (o *Origin) count(method, path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts[method+" "+path]
}

// Conns is the number of connections that were ever opened.
func (o *Origin) Conns() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns
}

// Sent is the number of body bytes that were written for the file at path since it was given.
func (o *Origin) Sent(path string) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if f := o.files[path]; f != nil {
		return f.sent
	}
	return 0
}

// Requests is every request so far, in order of arrival; only those for one of paths when any is given.
func (o *Origin) Requests(paths ...string) []Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []Request
	for _, r := range o.requests {
		if len(paths) == 0 || slices.Contains(paths, r.Path) || slices.Contains(paths, r.Target) {
			found = append(found, *r)
		}
	}
	return found
}

// Last is the latest request for path; the test fails when there is none.
func (o *Origin) Last(path string) Request {
	o.t.Helper()
	all := o.Requests(path)
	if len(all) == 0 {
		o.t.Fatalf("the origin was never asked for %s", path)
	}
	return all[len(all)-1]
}

// Forget sets all counts to zero and drops the remembered requests. First starts anew too.
func (o *Origin) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests, o.counts, o.conns = nil, map[string]int{}, 0
	for _, f := range o.files {
		f.asked, f.sent = 0, 0
	}
}

// Wait returns when path was asked for at least n times; the test fails when that does not happen.
func (o *Origin) Wait(path string, n int) {
	o.t.Helper()
	if !o.until(func() bool { return o.counts[" "+path] >= n }) {
		o.t.Fatalf("the origin was asked %d times for %s, waited for %d", o.Count(path), path, n)
	}
}

// WaitSent returns when at least n body bytes of the file at path were written; the test fails when that does not happen.
func (o *Origin) WaitSent(path string, n int64) {
	o.t.Helper()
	if !o.until(func() bool { f := o.files[path]; return f != nil && f.sent >= n }) {
		o.t.Fatalf("the origin sent %d bytes of %s, waited for %d", o.Sent(path), path, n)
	}
}

// until waits for met, which is called with o.mu held after every change.
func (o *Origin) until(met func() bool) bool {
	late := false
	timer := time.AfterFunc(waitLimit, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		late = true
		o.changed.Broadcast()
	})
	defer timer.Stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for !met() {
		if late {
			return false
		}
		o.changed.Wait()
	}
	return true
}

// record remembers r and returns the file that answers it and how often that was asked.
func (o *Origin) record(r *http.Request) (*file, int) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20)) // a client that broke off is the test's business
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if i := strings.Index(path, "://"); i > 0 { // absolute form
		if j := strings.IndexByte(path[i+3:], '/'); j >= 0 {
			path = path[i+3+j:]
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = append(o.requests, &Request{
		Method: r.Method, Target: r.RequestURI, Path: path, Query: query,
		Host: r.Host, Proto: r.Proto, Header: r.Header.Clone(), Body: body,
	})
	names := []string{"", path}
	if query != "" {
		names = append(names, path+"?"+query)
	}
	for _, name := range names {
		o.counts[" "+name]++
		o.counts[r.Method+" "+name]++
	}
	o.changed.Broadcast()
	f := o.files[path+"?"+query]
	if f == nil {
		f = o.files[path]
	}
	if f == nil {
		return nil, 0
	}
	f.asked++
	return f, f.asked
}

func (o *Origin) addSent(f *file, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.sent += int64(n)
	o.changed.Broadcast()
}
