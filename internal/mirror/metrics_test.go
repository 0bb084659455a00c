package mirror

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"zcache/internal/cache"
	"zcache/internal/durable"
)

func TestMetricsCountWalksUnderWayAndThoseThatEnded(t *testing.T) {
	bubble(t, func(t *testing.T, root *durable.Root) {
		reg := prometheus.NewRegistry()
		let := make(chan error)
		r := play(t, root, Config{Registerer: reg}, func(ctx context.Context, j *job) (result, error) {
			j.files.Add(10)
			j.fetched.Add(3)
			j.removed.Add(1)
			j.bytes.Add(500)
			j.requests.Add(5)
			return result{files: 10}, <-let
		}, "/hub/a")
		r.touch("/hub/a/x")
		count(t, reg, "while the first is under way", map[string]float64{
			"zcache_walks_in_flight": 1, "zcache_walk_files_total": 10, "zcache_walk_fetched_total": 3, "zcache_walk_purged_total": 1,
			"zcache_walk_bytes_total": 500, "zcache_walk_requests_total": 5, "zcache_walk_failures_total": 0,
		})
		let <- nil
		synctest.Wait()
		success := float64(time.Now().Unix())
		count(t, reg, "after it", map[string]float64{
			"zcache_walks_in_flight": 0, "zcache_walk_files_total": 10, "zcache_walk_failures_total": 0,
			"zcache_walk_last_success_timestamp_seconds": success,
		})
		time.Sleep(2 * time.Hour)
		r.touch("/hub/a/x")
		let <- errors.New("down")
		synctest.Wait()
		if _, err := r.Walk("/hub/a", cache.Key{}, Options{DryRun: true}); err != nil {
			t.Fatal(err)
		}
		let <- nil
		synctest.Wait()
		count(t, reg, "after a failure and a dry run", map[string]float64{
			"zcache_walks_in_flight": 0, "zcache_walk_files_total": 20, "zcache_walk_fetched_total": 6, "zcache_walk_purged_total": 2,
			"zcache_walk_bytes_total": 1500, "zcache_walk_requests_total": 15, "zcache_walk_failures_total": 1,
			"zcache_walk_last_success_timestamp_seconds": success,
		})
	})
}

// count compares single metrics with what is wanted.
func count(t *testing.T, reg *prometheus.Registry, when string, want map[string]float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s %s = %v, want %v", name, when, got[name], value)
		}
	}
}
