package main

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

type registry = prometheus.Registry

// newRegistry returns a registry with the figures of the process itself.
func newRegistry() *registry {
	r := prometheus.NewRegistry()
	b := thisBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "zcache_build_info", Help: "Always 1; the labels tell the build.",
		ConstLabels: prometheus.Labels{"version": b.Version, "go": b.Go},
	})
	info.Set(1)
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), info)
	return r
}

// accessCount counts readings of the auth file.
type accessCount struct {
	refused prometheus.Counter
	since   prometheus.Gauge
}

func newAccessCount(r *registry) *accessCount {
	c := &accessCount{
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "zcache_auth_reload_failures_total", Help: "Changes of the auth file that were refused because something is wrong with it.",
		}),
		since: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "zcache_auth_reload_timestamp_seconds", Help: "When the rules about who may ask were last read.",
		}),
	}
	r.MustRegister(c.refused, c.since)
	return c
}

func (c *accessCount) failed() { c.refused.Inc() }

func (c *accessCount) loaded(at time.Time) { c.since.Set(float64(at.Unix())) }

// countConns makes the number of connections metrics.
func countConns(r *registry, c *conns) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zcache_connections_open", Help: "Connections of clients that are open, tunnels left out.",
		}, func() float64 { open, _ := c.all.Load(); return float64(open) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "zcache_connections_refused_total", Help: "Connections that were closed at once because there were too many.",
		}, func() float64 {
			_, all := c.all.Load()
			_, each := c.each.Load()
			return float64(all + each)
		}),
	)
}

// A place is a Registerer for one collector, of which the next takes the place: that of a part which a reload replaces.
type place struct {
	held atomic.Pointer[prometheus.Collector]
}

// Register puts c in the place.
func (p *place) Register(c prometheus.Collector) error {
	p.held.Store(&c)
	return nil
}

// MustRegister puts the last of all in the place.
func (p *place) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		p.held.Store(&c)
	}
}

// Unregister leaves the place as it is.
func (p *place) Unregister(prometheus.Collector) bool { return false }

// Describe describes what is there.
func (p *place) Describe(ch chan<- *prometheus.Desc) {
	if c := p.held.Load(); c != nil {
		(*c).Describe(ch)
	}
}

// Collect collects from what is there.
func (p *place) Collect(ch chan<- prometheus.Metric) {
	if c := p.held.Load(); c != nil {
		(*c).Collect(ch)
	}
}
