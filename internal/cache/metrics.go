package cache

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Registerer takes the metrics of this package.
type Registerer = prometheus.Registerer

// register offers the tree's numbers to whoever collects them. They are read when asked for.
func (t *Tree) register() error {
	if t.Registerer == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	counter := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		gauge("zcache_cache_bytes", "Bytes that stored responses, drafts that wait to be resumed and the trash take on disk.", func() float64 {
			return float64(t.taken())
		}),
		gauge("zcache_trash_bytes", "Bytes that retired responses take on disk until they are restored or removed.", func() float64 {
			return float64(t.trash.bytes.Load())
		}),
		gauge("zcache_cache_entries", "Stored responses.", func() float64 { return float64(t.usage.entries.Load()) }),
		gauge("zcache_cache_free_bytes", "Bytes that may be stored before the store refuses more.", func() float64 {
			free, _ := t.Free() // an unreadable disk has no room either
			return float64(free)
		}),
		gauge("zcache_oldest_item_idle_seconds", "Time since the last use of the entry used least recently, as of the last scan.",
			t.oldestIdle),
		counter("zcache_evicted_bytes_total", "Bytes removed to make room.", func() float64 {
			return float64(t.usage.evicted.Load())
		}),
		counter("zcache_integrity_failures_total", "Stored bodies that did not have their digest.", func() float64 {
			return float64(t.usage.torn.Load())
		}),
	} {
		if err := t.Registerer.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (t *Tree) oldestIdle() float64 {
	oldest := t.usage.oldest.Load()
	if oldest == 0 {
		return 0
	}
	return t.Now().Sub(time.Unix(0, oldest)).Seconds()
}
