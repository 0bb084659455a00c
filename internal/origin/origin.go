package origin

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"zcache/internal/limit"
)

// Config is what a Transport is made from. Zero values mean the defaults in parentheses.
type Config struct {
	Hubs       []Hub
	AllowHosts []string // HOST|GLOB|CIDR[:port]: what absolute URLs may reach beyond public addresses
	// Files has the Transport answer for the built-in hub too: hub://files/<scheme>/<authority>/<path> is an absolute URL that some client named.
	Files bool
	// Own says that an address is one that this process listens on. Absolute URLs and tunnels never lead there; nil owns none.
	Own      func(netip.AddrPort) bool
	Resolver *net.Resolver // of names in absolute URLs and tunnels; nil is the system's
	ID       string        // this process, in CDN-Loop
	Version  string        // for the User-Agent of requests that have none

	Connect time.Duration // to resolve a name and connect (10 s)
	TLS     time.Duration // for the TLS handshake (10 s)
	Header  time.Duration // from the request sent to the head of the response (30 s)
	// Turn is how long an upstream has to answer while another is left to ask (10 s; 3 s for one that failed lately).
	Turn            time.Duration
	Idle            time.Duration // for a body without a byte (60 s)
	IdleConn        time.Duration // an unused connection is kept (90 s)
	MaxConnsPerHost int           // (64)
	// BackgroundPerHost is how many requests marked by WithBackground may be at one host at a time (16). While a client's request is there too, it is one.
	BackgroundPerHost int
	// Limits bounds the trips to the upstreams of a hub; what leads out of every hub counts for the built-in one. Nil bounds none.
	Limits func(hub string) *limit.Gate

	Logger     *slog.Logger
	Registerer Registerer
	Now        func() time.Time
}

// A Hub is a name for one or more upstreams that carry the same tree.
type Hub struct {
	Name         string
	Upstreams    []*url.URL             // http, https, ftp, ftps or file; userinfo is sent as Basic to that upstream and wins over the hub's credentials
	Username     string                 // with Password: Basic credentials for every upstream
	Password     string                 //
	Bearer       func() (string, error) // asked for a token at every request; nil means none
	Realms       []string               // hosts that may be sent Username and Password for a token, beyond those of the upstream's own site
	Proxy        *url.URL               // reaches the upstreams through this http, https or socks5 proxy
	RootCAs      *x509.CertPool         // nil means the system's
	Certificates []tls.Certificate      // shown to upstreams that ask
}

// A Transport is the http.RoundTripper for all upstreams. Its methods may be called concurrently.
type Transport struct {
	conf      Config
	hubs      map[string]*hub
	order     []*hub // as configured
	policy    *policy
	reach     dialFunc // to what no hub vouches for
	elsewhere pool     // for absolute URLs, by reach
	ftp       *ftpPool // for those of FTP, by reach
	gates     gates
	metrics   *metrics
}

// New makes the Transport. It opens no connection and starts nothing.
func New(conf Config) (*Transport, error) {
	conf.setDefaults()
	if conf.ID != "" && !isToken(conf.ID) {
		return nil, fmt.Errorf("id %q is no token", conf.ID)
	}
	policy, err := newPolicy(conf.AllowHosts)
	if err != nil {
		return nil, err
	}
	policy.own = conf.Own
	dialer := conf.dialer()
	dialer.Resolver = conf.Resolver
	t := &Transport{conf: conf, hubs: map[string]*hub{}, policy: policy, reach: policy.dial(dialer)}
	t.gates.most, t.gates.now = conf.BackgroundPerHost, conf.Now
	t.elsewhere = conf.newPool(t.reach, nil, &tls.Config{})
	t.ftp = t.conf.newFTPPool(t.reach, conf.Own, &tls.Config{})
	for _, h := range conf.Hubs {
		if t.hubs[h.Name] != nil || conf.Files && h.Name == filesHub {
			return nil, fmt.Errorf("hub[%s]: the name is used twice", h.Name)
		}
		built, err := t.newHub(h)
		if err != nil {
			return nil, fmt.Errorf("hub[%s].%w", h.Name, err)
		}
		t.hubs[h.Name] = built
		t.order = append(t.order, built)
	}
	if t.metrics, err = newMetrics(conf.Registerer, t); err != nil {
		return nil, err
	}
	for _, h := range t.order {
		for _, u := range h.upstreams {
			u.bytes = t.metrics.bytes.WithLabelValues(h.name, u.label)
		}
	}
	return t, nil
}

func (c *Config) setDefaults() {
	c.Connect = cmp.Or(c.Connect, 10*time.Second)
	c.TLS = cmp.Or(c.TLS, 10*time.Second)
	c.Header = cmp.Or(c.Header, 30*time.Second)
	c.Turn = cmp.Or(c.Turn, 10*time.Second)
	c.Idle = cmp.Or(c.Idle, time.Minute)
	c.IdleConn = cmp.Or(c.IdleConn, 90*time.Second)
	c.MaxConnsPerHost = cmp.Or(c.MaxConnsPerHost, 64)
	c.BackgroundPerHost = cmp.Or(c.BackgroundPerHost, 16)
	c.Version = cmp.Or(c.Version, "dev")
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

func isToken(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") == ""
}

// UpstreamStatus is how one upstream of a hub does.
type UpstreamStatus struct {
	Hub       string        `json:"hub"`
	URL       string        `json:"url"`      // without credentials
	State     string        `json:"state"`    // closed, half-open or open
	Failures  int           `json:"failures"` // in a row
	LastError string        `json:"last_error,omitempty"`
	FailedAt  time.Time     `json:"failed_at,omitzero"`
	UsedAt    time.Time     `json:"used_at,omitzero"` // zero when it was never asked
	Latency   time.Duration `json:"-"`                // smoothed time from request to response; 0 when it is not known
}

// MarshalJSON adds the latency in seconds.
func (s UpstreamStatus) MarshalJSON() ([]byte, error) {
	type plain UpstreamStatus
	return json.Marshal(struct {
		plain
		Latency float64 `json:"latency_seconds,omitzero"`
	}{plain(s), s.Latency.Seconds()})
}

// Status tells how every upstream does, in the order of configuration.
func (t *Transport) Status() []UpstreamStatus {
	now := t.conf.Now()
	var all []UpstreamStatus
	for _, h := range t.order {
		for _, u := range h.upstreams {
			s := u.health.status(now)
			s.Hub, s.URL = h.name, u.shown
			all = append(all, s)
		}
	}
	return all
}

// Reset forgets what is held against the hub's upstreams and closes its idle connections. It returns how many upstreams that are, 0 for
// an unknown hub.
func (t *Transport) Reset(hub string) int {
	h := t.hubs[hub]
	if h == nil {
		return 0
	}
	for _, u := range h.upstreams {
		u.health.reset()
	}
	h.closeIdle()
	h.ftp.closeIdle()
	return len(h.upstreams)
}

// Close closes idle connections and takes the upstreams out of the metrics. Requests that are under way go on.
func (t *Transport) Close() {
	t.metrics.remove(t)
	t.elsewhere.closeIdle()
	t.ftp.close()
	for _, h := range t.order {
		h.closeIdle()
		h.away.closeIdle()
		h.ftp.close()
	}
}

func (h *hub) closeIdle() {
	h.pool.closeIdle()
	if h.gate != nil {
		h.gated.closeIdle()
	}
}

// A pool is the connections of one dialling policy.
type pool struct {
	shared *http.Transport
	// fresh opens a connection for each request. A POST on a pooled connection that the upstream closes at that moment would fail,
	// and nobody could tell whether it was acted upon.
	fresh *http.Transport
}

func (p pool) pick(out *http.Request) *http.Transport {
	switch out.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		if out.Body == nil {
			return p.shared
		}
	}
	return p.fresh
}

func (p pool) closeIdle() {
	p.shared.CloseIdleConnections()
	p.fresh.CloseIdleConnections()
}

// speakHTTP1 is for what has a whole URL in its request line, which HTTP/2 has no room for.
func (p pool) speakHTTP1() {
	only := new(http.Protocols)
	only.SetHTTP1(true)
	p.shared.Protocols, p.fresh.Protocols = only, only
	p.shared.ForceAttemptHTTP2, p.fresh.ForceAttemptHTTP2 = false, false
}

func (c *Config) newPool(dial dialFunc, proxy *url.URL, secure *tls.Config) pool {
	p := pool{shared: c.newTransport(dial, proxy, secure), fresh: c.newTransport(dial, proxy, secure)}
	p.fresh.DisableKeepAlives = true
	return p
}

func (c *Config) newTransport(dial dialFunc, proxy *url.URL, secure *tls.Config) *http.Transport {
	rt := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &measured{Conn: c}, nil
		},
		TLSClientConfig:        secure.Clone(),
		TLSHandshakeTimeout:    c.TLS,
		ResponseHeaderTimeout:  c.Header,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        c.IdleConn,
		MaxConnsPerHost:        c.MaxConnsPerHost,
		MaxIdleConnsPerHost:    c.MaxConnsPerHost,
		MaxIdleConns:           4 * c.MaxConnsPerHost,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		// An HTTP/2 connection whose peer vanished would take every new request until the kernel gives up, a quarter of an hour later.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	if proxy != nil {
		rt.Proxy = http.ProxyURL(proxy)
	}
	return rt
}
