package mirror

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

// mostSeries bounds the subtrees that have a series of their own.
const mostSeries = 1024

// tally sums up what walks did. Of a dry run only the requests and bytes count: nothing came of the rest.
type tally struct {
	files, fetched, purged, bytes, requests, failures int64
}

func (t *tally) add(f *Figures, dry bool) {
	t.bytes += f.Bytes
	t.requests += f.Requests
	if !dry {
		t.files += f.Files
		t.fetched += f.Fetched
		t.purged += f.Removed
	}
}

// A collector reads the Scheduler's numbers when they are asked for, those of walks under way included.
type collector struct {
	s                                                 *Scheduler
	files, fetched, purged, bytes, requests, failures *prometheus.Desc
	success, inFlight                                 *prometheus.Desc
}

// register offers the Scheduler's numbers to whoever collects them.
func (s *Scheduler) register() error {
	if s.cfg.Registerer == nil {
		return nil
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	c := &collector{
		s:        s,
		files:    desc("zcache_walk_files_total", "Files that the listings of walks named."),
		fetched:  desc("zcache_walk_fetched_total", "Files that walks found new or changed, and fetched."),
		purged:   desc("zcache_walk_purged_total", "Orphans that walks moved to the trash."),
		bytes:    desc("zcache_walk_bytes_total", "Body bytes that walks fetched."),
		requests: desc("zcache_walk_requests_total", "Questions that walks put to upstreams."),
		failures: desc("zcache_walk_failures_total", "Walks that failed."),
		success: desc("zcache_walk_last_success_timestamp_seconds", "When the last walk of a subtree that succeeded ended; absent when none did.",
			"subtree"),
		inFlight: desc("zcache_walks_in_flight", "Walks under way."),
	}
	if err := s.cfg.Registerer.Register(c); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

// Describe is part of prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.files, c.fetched, c.purged, c.bytes, c.requests, c.failures, c.success, c.inFlight} {
		out <- d
	}
}

// Collect is part of prometheus.Collector. What a walk has done moves from the live figures to the sums under the lock that is held here, so that no
// counter ever goes back.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.s.mu.Lock()
	sum, inFlight := c.s.sums, 0
	for e := range c.s.live {
		inFlight++
		f := e.job.figures(c.s.cfg.Now())
		sum.add(&f, e.o.DryRun)
	}
	type point struct {
		name string
		at   float64
	}
	var points []point
	for _, seat := range c.s.table.Load().seats {
		if at := seat.track.past.Success; !at.IsZero() && len(points) < mostSeries {
			points = append(points, point{seat.sub.Name, float64(at.UnixMilli()) / 1000})
		}
	}
	c.s.mu.Unlock()
	for _, v := range []struct {
		desc *prometheus.Desc
		n    int64
	}{
		{c.files, sum.files}, {c.fetched, sum.fetched}, {c.purged, sum.purged}, {c.bytes, sum.bytes}, {c.requests, sum.requests}, {c.failures, sum.failures},
	} {
		out <- prometheus.MustNewConstMetric(v.desc, prometheus.CounterValue, float64(v.n))
	}
	out <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(inFlight))
	for _, p := range points {
		out <- prometheus.MustNewConstMetric(c.success, prometheus.GaugeValue, p.at, p.name)
	}
}
