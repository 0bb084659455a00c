package fill

import (
	"net/http"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const minute = time.Minute
	tests := []struct {
		name    string
		control string // the response's Cache-Control
		age     time.Duration
		request string // the request's
		rule    freshness.Rule
		change  func(*cache.Meta)
		adopted bool
		want    Action
		why     string
	}{
		{name: "fresh is served", control: "max-age=60", age: 59 * time.Second, want: Serve, why: "max-age"},
		{name: "stale at the end of its lifetime", control: "max-age=60", age: minute, want: Revalidate, why: "stale"},
		{name: "no-cache needs the origin's word", control: "max-age=60, no-cache", want: Revalidate, why: "no-cache"},
		{name: "an adopted entry needs the origin's word", control: "max-age=60", adopted: true, want: Revalidate, why: "adopted"},
		{name: "no max-stale helps an adopted entry", adopted: true, request: "max-stale", want: Revalidate, why: "adopted"},
		{name: "off line all is served", control: "no-cache", age: time.Hour, rule: freshness.Rule{Offline: true}, want: Serve, why: "offline"},
		{name: "off line an adopted entry is served", adopted: true, rule: freshness.Rule{Offline: true}, want: Serve, why: "offline"},
		{name: "request no-cache asks", control: "max-age=60", request: "no-cache", want: Revalidate, why: "request"},
		{name: "request max-age below the age asks", control: "max-age=60", age: 10 * time.Second, request: "max-age=9", want: Revalidate, why: "request"},
		{name: "request max-age at the age serves", control: "max-age=60", age: 10 * time.Second, request: "max-age=10", want: Serve, why: "max-age"},
		{name: "request max-age makes nothing fresh", control: "max-age=60", age: 2 * minute, request: "max-age=600", want: Revalidate, why: "stale"},
		{name: "min-fresh more than is left asks", control: "max-age=60", age: 50 * time.Second, request: "min-fresh=11", want: Revalidate, why: "request"},
		{name: "min-fresh that is left serves", control: "max-age=60", age: 50 * time.Second, request: "min-fresh=10", want: Serve, why: "max-age"},
		{name: "max-stale that covers it serves", control: "max-age=60", age: 70 * time.Second, request: "max-stale=10", want: Serve, why: "max-age"},
		{name: "max-stale that does not, asks", control: "max-age=60", age: 71 * time.Second, request: "max-stale=10", want: Revalidate, why: "stale"},
		{name: "max-stale without a number takes all", control: "max-age=60", age: 999 * time.Hour, request: "max-stale", want: Serve, why: "max-age"},
		{name: "must-revalidate wins over max-stale", control: "max-age=60, must-revalidate", age: 2 * minute, request: "max-stale", want: Revalidate, why: "stale"},
		{name: "s-maxage wins over max-stale", control: "s-maxage=60", age: 2 * minute, request: "max-stale", want: Revalidate, why: "stale"},
		{name: "only-if-cached takes what is fresh", control: "max-age=60", request: "only-if-cached", want: Serve, why: "max-age"},
		{name: "only-if-cached and stale is refused", control: "max-age=60", age: 2 * minute, request: "only-if-cached", want: Refuse, why: "only-if-cached"},
		{name: "only-if-cached, max-stale takes what is stale", control: "max-age=60", age: 2 * minute, request: "only-if-cached, max-stale", want: Serve, why: "max-age"},
		{name: "stale-while-revalidate within its window", control: "max-age=60, stale-while-revalidate=60", age: 119 * time.Second, want: ServeStale, why: "stale-while-revalidate"},
		{name: "stale-while-revalidate at its end", control: "max-age=60, stale-while-revalidate=60", age: 2 * minute, want: Revalidate, why: "stale"},
		{name: "must-revalidate wins over stale-while-revalidate", control: "max-age=60, stale-while-revalidate=60, must-revalidate", age: 61 * time.Second, want: Revalidate, why: "stale"},
		{name: "request no-cache wins over stale-while-revalidate", control: "max-age=60, stale-while-revalidate=60", age: 61 * time.Second, request: "no-cache", want: Revalidate, why: "request"},
		{name: "class index asks at every use", control: "max-age=60, stale-while-revalidate=60", rule: freshness.Rule{Class: freshness.ClassIndex}, want: Revalidate, why: "stale"},
		{name: "class immutable asks never", control: "no-cache", age: 99 * time.Hour, rule: freshness.Rule{Class: freshness.ClassImmutable}, want: Serve, why: "class immutable"},
		{name: "what was invalidated asks whatever it may do when stale", control: "max-age=60, stale-while-revalidate=600", want: Revalidate, why: "stale",
			change: func(m *cache.Meta) { m.Limit = 0 }},
		{name: "no max-stale helps what was invalidated", control: "max-age=60", request: "max-stale", want: Revalidate, why: "stale",
			change: func(m *cache.Meta) { m.Limit = 0 }},
		{name: "no class helps what was invalidated", rule: freshness.Rule{Class: freshness.ClassImmutable}, want: Revalidate, why: "stale",
			change: func(m *cache.Meta) { m.Limit = 0 }},
		{name: "a body of unconfirmed length is not served while it is revalidated", control: "max-age=60, stale-while-revalidate=600", want: Revalidate, why: "stale",
			change: func(m *cache.Meta) { m.Provisional = true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			then := now.Add(-tt.age)
			m := &cache.Meta{
				Status: 200, Asked: then, Received: then, Limit: -1,
				Header: http.Header{"Cache-Control": {tt.control}, "Date": {then.Format(http.TimeFormat)}},
			}
			if tt.adopted {
				m = &cache.Meta{Status: 200, Size: 3, ModTime: then}
			}
			if tt.change != nil {
				tt.change(m)
			}
			h := http.Header{}
			if tt.request != "" {
				h.Set("Cache-Control", tt.request)
			}
			p := Decide(m, tt.adopted, freshness.ParseRequest(h), tt.rule, now)
			if p.Action != tt.want || p.Why != tt.why {
				t.Errorf("Decide = %v (%s), want %v (%s)", p.Action, p.Why, tt.want, tt.why)
			}
		})
	}
}

func TestOutcomeInTheWordsOfCacheStatus(t *testing.T) {
	for _, tt := range []struct {
		o          Outcome
		field, one string
	}{
		{Outcome{Hit: true, TTL: 90 * time.Second}, "zcache; hit; ttl=90", "hit"},
		{Outcome{Hit: true, TTL: -5 * time.Second, Fwd: "stale", FwdStatus: 503, Detail: "slow"}, "zcache; hit; ttl=-5; fwd=stale; fwd-status=503; detail=slow", "hit"},
		{Outcome{Fwd: "uri-miss", FwdStatus: 200, Stored: true, Collapsed: true}, "zcache; fwd=uri-miss; fwd-status=200; stored; collapsed", "collapsed"},
		{Outcome{Fwd: "bypass"}, "zcache; fwd=bypass", "bypass"},
		{Outcome{Detail: "offline"}, "zcache; detail=offline", "none"},
	} {
		if got := tt.o.CacheStatus(); got != tt.field {
			t.Errorf("CacheStatus = %q, want %q", got, tt.field)
		}
		if got := tt.o.String(); got != tt.one {
			t.Errorf("String of %s = %q, want %q", tt.field, got, tt.one)
		}
	}
}
