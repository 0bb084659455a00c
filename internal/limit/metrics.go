package limit

import "github.com/prometheus/client_golang/prometheus"

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

type metrics struct{ refused *prometheus.CounterVec }

func newMetrics(r Registerer, l *Limiter) *metrics {
	m := &metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "zcache_limit_refusals_total", Help: "Requests that were refused because somebody has taken too much, by the limit.",
	}, []string{"policy"})}
	if r == nil {
		return m
	}
	r.MustRegister(m.refused,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zcache_limit_clients", Help: "Clients that are told apart at the moment.",
		}, func() float64 { n, _ := l.parties.size(); return float64(n) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "zcache_limit_crowded_total", Help: "Requests of clients that shared their limits with others, because too many are about.",
		}, func() float64 { _, n := l.parties.size(); return float64(n) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zcache_limit_egress_waiting", Help: "Answers that wait for their share of the egress.",
		}, func() float64 { return float64(l.egress.Waiting()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zcache_limit_upstream_waiting", Help: "Trips that wait for their turn at an upstream.",
		}, func() float64 { return float64(l.queued()) }),
	)
	return m
}

func (m *metrics) refuse(policy string) { m.refused.WithLabelValues(policy).Inc() }

// queued is the number of trips that wait at all gates.
func (l *Limiter) queued() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, g := range l.gates {
		_, waiting := g.Load()
		n += waiting
	}
	return n
}

// CountIn makes the counts of a Filter metrics.
func (f *Filter) CountIn(r Registerer) {
	if r != nil {
		r.MustRegister(filterCollector{f})
	}
}

var matches = prometheus.NewDesc("zcache_filter_matches_total", "Requests that a rule was met by, by what came of it.", []string{"rule", "outcome"}, nil)

type filterCollector struct{ f *Filter }

func (c filterCollector) Describe(ch chan<- *prometheus.Desc) { ch <- matches }

func (c filterCollector) Collect(ch chan<- prometheus.Metric) {
	for _, n := range c.f.Counts() {
		ch <- prometheus.MustNewConstMetric(matches, prometheus.CounterValue, float64(n.Count), n.Rule, n.Outcome.String())
	}
}
