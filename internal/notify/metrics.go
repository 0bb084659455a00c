package notify

import "github.com/prometheus/client_golang/prometheus"

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

type metrics struct{ notices *prometheus.CounterVec }

func newMetrics(r Registerer) *metrics {
	m := &metrics{notices: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "zcache_notices_total", Help: "Notices to people, by what became of them; sent, failed, retried and dropped by sink.",
	}, []string{"kind", "outcome"})}
	if r != nil {
		r.MustRegister(m.notices)
	}
	return m
}

func (m *metrics) count(k Kind, outcome string) { m.notices.WithLabelValues(string(k), outcome).Inc() }
