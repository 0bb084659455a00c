package proxy

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	size     *prometheus.HistogramVec
	cached   *prometheus.CounterVec
	sent     *prometheus.CounterVec
	tunnels  prometheus.Gauge
	// tunnelled is by direction: up, from the client, or down.
	tunnelled *prometheus.CounterVec
	known     sync.Map // [3]string → *series
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zcache_requests_total", Help: "Requests by clients, by what became of them (RFC 9211).",
		}, []string{"hub", "module", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "zcache_request_duration_seconds", Help: "Time from a request's head to the end of its answer.",
			Buckets: []float64{.001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60},
		}, []string{"hub"}),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "zcache_response_bytes", Help: "Length of the bodies sent.",
			Buckets: prometheus.ExponentialBuckets(1<<10, 4, 11),
		}, []string{"hub"}),
		cached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zcache_cached_bytes_total", Help: "Bytes of bodies sent that no upstream had to send for the request.",
		}, []string{"hub"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zcache_sent_bytes_total", Help: "Bytes of bodies sent to clients.",
		}, []string{"hub"}),
		tunnels: prometheus.NewGauge(prometheus.GaugeOpts{Name: "zcache_tunnels", Help: "Tunnels (CONNECT) that are open."}),
		tunnelled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zcache_tunnel_bytes_total", Help: "Bytes through tunnels that have ended, by direction: up is from the client.",
		}, []string{"direction"}),
	}
	if r != nil {
		r.MustRegister(m.requests, m.duration, m.size, m.cached, m.sent, m.tunnels, m.tunnelled)
	}
	return m
}

// series are the metrics of one hub with one outcome, looked up once: finding them by their labels costs as much as a tenth of a small hit.
type series struct {
	requests, cached, sent prometheus.Counter
	duration, size         prometheus.Observer
}

func (m *metrics) of(hub, module, outcome string) *series {
	key := [3]string{hub, module, outcome}
	if s, ok := m.known.Load(key); ok {
		return s.(*series)
	}
	s, _ := m.known.LoadOrStore(key, &series{
		requests: m.requests.WithLabelValues(hub, module, outcome), cached: m.cached.WithLabelValues(hub), sent: m.sent.WithLabelValues(hub),
		duration: m.duration.WithLabelValues(hub), size: m.size.WithLabelValues(hub),
	})
	return s.(*series)
}

func (m *metrics) observe(hub, module string, x *exchange, took time.Duration) {
	s := m.of(hub, module, x.outcome.String())
	s.requests.Inc()
	s.duration.Observe(took.Seconds())
	s.size.Observe(float64(x.sent))
	s.sent.Add(float64(x.sent))
	if x.outcome.Hit || x.outcome.Collapsed {
		s.cached.Add(float64(x.sent))
	}
}
