package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/freshness"
	"zcache/internal/limit"
	"zcache/internal/origin"
	"zcache/internal/origin/origintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fresh = "max-age=600"

func cc(s string) origintest.Option { return origintest.Header("Cache-Control", s) }

// A rig is a Gateway behind a real server, with an origin for every hub.
type rig struct {
	t      *testing.T
	o      *origintest.Origin
	out    *origintest.Origin // no hub's, and open to the forward proxy
	tr     *origin.Transport
	g      *Gateway
	f      *fill.Filler
	tree   *cache.Tree
	reg    *prometheus.Registry
	addr   string
	logs   *lines
	limits *limit.Limiter // nil limits nothing; set by limited
	mu     sync.Mutex
	policy fill.Policy
}

// lines is where the log goes.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// requests are the log lines of requests so far.
func (l *lines) requests() (all []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil && m["action"] == "request" {
			all = append(all, m)
		}
	}
	return all
}

// newRig serves these hubs; each has the one origin as its upstream, under the path /<name> unless it is called "top".
func newRig(t *testing.T, hubs ...Hub) *rig {
	t.Helper()
	return newRigAt(t, "", hubs...)
}

// newRigAt is newRig with one upstream for all hubs, unless that is "".
func newRigAt(t *testing.T, upstream string, hubs ...Hub) *rig {
	t.Helper()
	g := &rig{t: t, o: origintest.New(t), out: origintest.New(t), logs: &lines{}, reg: prometheus.NewRegistry()}
	g.policy = fill.Policy{Rule: freshness.Rule{NegativeTTL: 15 * time.Second}, Follow: true, Tries: 1, Backoff: time.Microsecond}
	if len(hubs) == 0 {
		hubs = []Hub{{Name: "top", Mount: "/"}}
	}
	var upstreams []origin.Hub
	for _, h := range hubs {
		base := g.o.URL
		if h.Name != "top" {
			base += "/" + h.Name
		}
		u, err := url.Parse(cmp.Or(upstream, base))
		if err != nil {
			t.Fatal(err)
		}
		upstreams = append(upstreams, origin.Hub{Name: h.Name, Upstreams: []*url.URL{u}})
	}
	tr, err := origin.New(origin.Config{
		Hubs: upstreams, ID: "self", Files: true, AllowHosts: []string{g.out.Addr, "127.0.0.1:443"},
		Own:    func(a netip.AddrPort) bool { return a.String() == g.addr },
		Limits: func(hub string) *limit.Gate { return g.limits.Gate(hub) },
	})
	if err != nil {
		t.Fatal(err)
	}
	g.tr = tr
	if g.tree, err = cache.OpenTree(cache.Config{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	keyOf := func(hub string, u *url.URL) (cache.Key, bool) {
		if hub == cache.FilesHub {
			k, err := cache.FilesKeyOf(u)
			return k, err == nil
		}
		path, ok := tr.UnderHub(hub, u)
		if !ok {
			return cache.Key{}, false
		}
		k, err := cache.ParseKey(hub, path, u.RawQuery, u.ForceQuery)
		return k, err == nil
	}
	log := slog.New(slog.NewJSONHandler(g.logs, nil))
	g.f = fill.New(fill.Config{
		Store: g.tree, Origin: tr, KeyOf: keyOf, Skip: origin.WithSkipOpen, Logger: log,
		Policy:   func(cache.Key) fill.Policy { g.mu.Lock(); defer g.mu.Unlock(); return g.policy },
		Upstream: func(k cache.Key) string { to, _ := tr.Resolve(k.Hub(), k.Path()); return to },
	})
	named := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) })
	}
	public, _ := url.Parse("http://cache.lab/")
	g.g = NewGateway(Config{
		Hubs: hubs, Public: public, Filler: g.f, Guard: auth.NewGuard(nil), Operations: named("operations"), Front: named("front"),
		KeyOf: keyOf, ID: "self", Logger: log, Registerer: g.reg,
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g.addr = l.Addr().String()
	server := &http.Server{Handler: g.g, ConnContext: ConnContext, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	done := make(chan struct{})
	go func() { defer close(done); server.Serve(Listener(l)) }()
	t.Cleanup(func() {
		server.Close()
		<-done
		g.g.Close()
		g.f.Close()
		tr.Close()
		g.tree.Close()
	})
	return g
}

// forward switches the forward proxy on.
func (g *rig) forward() *rig {
	g.g.SetForward(&Forward{Connect: g.tr.Connect})
	return g
}

// A reply is what came over a connection in answer to one request.
type reply struct {
	*http.Response
	body   string
	broken error // the body has not come whole
}

// dial opens a connection to the gateway.
func (g *rig) dial() net.Conn {
	g.t.Helper()
	c, err := (&net.Dialer{}).DialContext(g.t.Context(), "tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second)) // never reached by a test that passes
	return c
}

// send writes a request head as it is given and reads the answer. Without a Host line one is added.
func (g *rig) send(line string, header ...string) reply {
	g.t.Helper()
	return g.sendBody("", line, header...)
}

func (g *rig) sendBody(body, line string, header ...string) reply {
	g.t.Helper()
	c := g.dial()
	defer c.Close()
	hosted := false
	var b strings.Builder
	b.WriteString(line + "\r\n")
	for _, h := range header {
		hosted = hosted || strings.HasPrefix(h, "Host:")
		b.WriteString(h + "\r\n")
	}
	if !hosted {
		b.WriteString("Host: " + g.addr + "\r\n")
	}
	b.WriteString("\r\n" + body)
	if _, err := io.WriteString(c, b.String()); err != nil {
		g.t.Fatal(err)
	}
	method, _, _ := strings.Cut(line, " ")
	return readReply(g.t, bufio.NewReader(c), method)
}

func readReply(t *testing.T, in *bufio.Reader, method string) reply {
	t.Helper()
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return reply{broken: err, Response: &http.Response{Header: http.Header{}}}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp, string(b), err}
}

func (g *rig) get(path string, header ...string) reply {
	g.t.Helper()
	return g.send("GET "+path+" HTTP/1.1", header...)
}

// idle returns when no fill is under way.
func (g *rig) idle() {
	g.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(g.f.Flights()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("fills that do not end: %+v", g.f.Flights())
		}
	}
}

// want checks status, body and X-Cache; an empty word is not checked.
func (r reply) want(t *testing.T, what string, status int, body, word string) {
	t.Helper()
	if r.broken != nil || r.StatusCode != status || r.body != body || word != "" && r.Header.Get("X-Cache") != word {
		t.Errorf("%s: %d %.80q (%d bytes) %s, %v; want %d %.80q %s", what, r.StatusCode, r.body, len(r.body), r.Header.Get("X-Cache"), r.broken, status, body, word)
	}
}

// word is the error member of a problem.
func (r reply) word() string {
	var p struct {
		Error  string
		Status int
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		return fmt.Sprintf("no problem JSON: %.60q", r.body)
	}
	if p.Status != r.StatusCode || r.Header.Get("Content-Type") != "application/problem+json" {
		return fmt.Sprintf("status %d in the body, %d, %s", p.Status, r.StatusCode, r.Header.Get("Content-Type"))
	}
	return p.Error
}
