package fill

import "github.com/prometheus/client_golang/prometheus"

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

type metrics struct {
	resumed prometheus.Counter
	refused prometheus.Counter
}

func newMetrics(r prometheus.Registerer, f *Filler) *metrics {
	m := &metrics{
		resumed: prometheus.NewCounter(prometheus.CounterOpts{Name: "zcache_resumes_total", Help: "Times that an upstream broke off and a fill carried on."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "zcache_refused_answers_total", Help: "Answers that were refused because they could not be what was asked for."}),
	}
	if r != nil {
		r.MustRegister(m.resumed, m.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zcache_inflight_fills", Help: "Trips to an origin that are under way.",
		}, func() float64 {
			f.mu.Lock()
			defer f.mu.Unlock()
			return float64(len(f.flights) + len(f.solo))
		}))
	}
	return m
}
