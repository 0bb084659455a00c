package origin

import (
	"errors"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

type counter = prometheus.Counter

// elsewhereLabel stands for all hosts that are no hub's upstream: clients choose these, so they must not make series.
const elsewhereLabel = "other"

type metrics struct {
	requests *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	breakers *breakers
}

// newMetrics registers the counters, or takes those of an earlier Transport: a reload makes a second one beside the first.
func newMetrics(reg prometheus.Registerer, t *Transport) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zcache_upstream_requests_total",
			Help: "Requests sent to upstreams, by the status they were answered with; error when there was no answer.",
		}, []string{"upstream", "status"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "zcache_upstream_bytes_total",
			Help: "Body bytes received from upstreams, by the hub that they were for.",
		}, []string{"hub", "upstream"}),
		breakers: &breakers{
			desc: prometheus.NewDesc("zcache_breaker_state",
				"Breaker of an upstream: 0 closed, 1 half-open, 2 open.", []string{"upstream"}, nil),
			of: map[*Transport]bool{},
		},
	}
	if reg != nil {
		if err := errors.Join(register(reg, &m.requests), register(reg, &m.bytes), register(reg, &m.breakers)); err != nil {
			return nil, err
		}
	}
	m.breakers.mu.Lock()
	defer m.breakers.mu.Unlock()
	m.breakers.of[t] = true
	return m, nil
}

func register[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	var already prometheus.AlreadyRegisteredError
	if !errors.As(err, &already) {
		return err
	}
	existing, ok := already.ExistingCollector.(C)
	if !ok {
		return err
	}
	*c = existing
	return nil
}

func (m *metrics) answered(label string, status int) {
	code := "other"
	if status >= 100 && status <= 599 {
		code = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(label, code).Inc()
}

func (m *metrics) failed(label string) { m.requests.WithLabelValues(label, "error").Inc() }

func (m *metrics) remove(t *Transport) {
	m.breakers.mu.Lock()
	defer m.breakers.mu.Unlock()
	delete(m.breakers.of, t)
}

// breakers tells the state of the breakers when it is asked for: half-open comes by time alone, nobody would set a gauge then.
type breakers struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	of   map[*Transport]bool
}

func (b *breakers) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }

func (b *breakers) Collect(ch chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	worst := map[string]state{}
	for t := range b.of {
		now := t.conf.Now()
		for _, h := range t.order {
			for _, u := range h.upstreams {
				worst[u.label] = max(worst[u.label], u.health.state(now))
			}
		}
	}
	for label, s := range worst {
		ch <- prometheus.MustNewConstMetric(b.desc, prometheus.GaugeValue, float64(s), label)
	}
}
