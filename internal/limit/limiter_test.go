package limit

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dunglas/httpsfv"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(addr string) Client { return Client{Addr: netip.MustParseAddr(addr)} }

// address is the nth of many, each of another network.
func address(n int) Client {
	return Client{Addr: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}
}

func admit(t *testing.T, l *Limiter, c Client, hub string, now time.Time) *Lease {
	t.Helper()
	lease, refusal := l.Admit(c, hub, now)
	if refusal != nil {
		t.Fatalf("Admit(%s, %q) = %v, want a lease", c.Subject(), hub, refusal)
	}
	return lease
}

func TestWhoCountsAsOne(t *testing.T) {
	for _, row := range []struct {
		claim string
		a, b  Client
		same  bool
	}{
		{"an address", at("192.0.2.1"), at("192.0.2.1"), true},
		{"its neighbour is another", at("192.0.2.1"), at("192.0.2.2"), false},
		{"a mapped address is itself", at("::ffff:192.0.2.1"), at("192.0.2.1"), true},
		{"all of a /64", at("2001:db8::1"), at("2001:db8::ffff:1:2"), true},
		{"the next /64 is another", at("2001:db8::1"), at("2001:db8:0:1::1"), false},
		{"a zone tells nothing", at("fe80::1%eth0"), at("fe80::1"), true},
		{"a token, from wherever", Client{Token: "lab", Addr: netip.MustParseAddr("192.0.2.1")}, Client{Token: "lab"}, true},
		{"another token, from one address", Client{Token: "lab"}, Client{Token: "ci"}, false},
		{"a token that looks like an address", Client{Token: "192.0.2.1"}, at("192.0.2.1"), false},
		{"all without an address", Client{}, Client{}, true},
	} {
		if got := row.a.Subject() == row.b.Subject(); got != row.same {
			t.Errorf("%s: %v and %v are one = %v, want %v", row.claim, row.a.Subject(), row.b.Subject(), got, row.same)
		}
	}
}

// used fills a limit and says what is then told.
type used struct {
	claim  string
	config Config
	fill   func(*testing.T, *Limiter)
	policy string
	fields map[string]string // RateLimit-Policy and RateLimit
	after  [2]time.Duration  // Retry-After lies between
	later  time.Duration     // when the next is admitted again; 0 = not looked at
}

func usedUp() []used {
	return []used{
		{"one request a second, five at once", Config{Client: Limits{Rate: 1, Burst: 5}}, func(t *testing.T, l *Limiter) {
			for range 5 {
				admit(t, l, at("192.0.2.1"), "h", noon).Close()
			}
		}, "client-requests", map[string]string{"Ratelimit-Policy": `"client-requests";q=5;w=5`, "Ratelimit": `"client-requests";r=0;t=1`},
			[2]time.Duration{time.Second, time.Second}, time.Second},
		{"a rate below one", Config{Client: Limits{Rate: 0.1}}, func(t *testing.T, l *Limiter) {
			admit(t, l, at("192.0.2.1"), "h", noon).Close()
		}, "client-requests", map[string]string{"Ratelimit-Policy": `"client-requests";q=1;w=10`, "Ratelimit": `"client-requests";r=0;t=10`},
			[2]time.Duration{10 * time.Second, 10 * time.Second}, 10 * time.Second},
		{"two at a time", Config{Client: Limits{Requests: 2}}, func(t *testing.T, l *Limiter) {
			admit(t, l, at("192.0.2.1"), "h", noon)
			admit(t, l, at("192.0.2.1"), "h", noon)
		}, "client-concurrent", map[string]string{"Ratelimit-Policy": `"client-concurrent";q=2;qu="concurrent-requests"`, "Ratelimit": `"client-concurrent";r=0`},
			[2]time.Duration{time.Second, 10 * time.Second}, 0},
		{"a client at one hub", Config{Hubs: map[string]Hub{"h": {Each: Limits{Requests: 1}}}}, func(t *testing.T, l *Limiter) {
			admit(t, l, at("192.0.2.1"), "other", noon)
			admit(t, l, at("192.0.2.2"), "h", noon)
			admit(t, l, at("192.0.2.1"), "h", noon)
		}, "client-hub-concurrent", nil, [2]time.Duration{time.Second, 10 * time.Second}, 0},
		{"a hub in all", Config{Hubs: map[string]Hub{"h": {Total: Limits{Requests: 1}}}}, func(t *testing.T, l *Limiter) {
			admit(t, l, at("192.0.2.2"), "h", noon)
		}, "hub-concurrent", nil, [2]time.Duration{time.Second, 10 * time.Second}, 0},
		{"bytes of a day", Config{Client: Limits{Daily: 1000}}, func(t *testing.T, l *Limiter) {
			if err := admit(t, l, at("192.0.2.1"), "h", noon).Wait(t.Context(), 1500); err != nil {
				t.Fatal(err)
			}
		}, "client-daily-bytes", map[string]string{"Ratelimit-Policy": `"client-daily-bytes";q=1000;qu="content-bytes";w=86400`},
			[2]time.Duration{12 * time.Hour, 12*time.Hour + time.Minute}, 12 * time.Hour},
		{"files that are not there", Config{Client: Limits{Misses: 30}}, func(t *testing.T, l *Limiter) {
			for range 30 {
				lease := admit(t, l, at("192.0.2.1"), "h", noon)
				lease.Missed(noon)
				lease.Close()
			}
		}, "client-misses", map[string]string{"Ratelimit-Policy": `"client-misses";q=30;w=60`, "Ratelimit": `"client-misses";r=0;t=2`},
			[2]time.Duration{2 * time.Second, 2 * time.Second}, 2 * time.Second},
	}
}

func TestEachLimitRefuses(t *testing.T) {
	for _, row := range usedUp() {
		t.Run(row.claim, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(noon)) // the clock of the bubble: Grant reads it
				l := New(row.config)
				row.fill(t, l)
				lease, refusal := l.Admit(at("192.0.2.1"), "h", noon)
				if refusal == nil || lease != nil {
					t.Fatalf("Admit = %v, %v, want a refusal", lease, refusal)
				}
				if refusal.Policy != row.policy || refusal.Status != http.StatusTooManyRequests || !errors.Is(refusal, ErrRefused) {
					t.Errorf("Admit = %q with status %d, want %q with 429", refusal.Policy, refusal.Status, row.policy)
				}
				checkFields(t, refusal, row.fields, row.after)
				if row.later == 0 {
					return
				}
				if _, refusal := l.Admit(at("192.0.2.1"), "h", noon.Add(row.later-time.Millisecond)); refusal == nil {
					t.Errorf("Admit %v later is admitted, want it a millisecond after that", row.later-time.Millisecond)
				}
				admit(t, l, at("192.0.2.1"), "h", noon.Add(row.later)).Close()
			})
		})
	}
}

// checkFields wants fields that parse as structured fields, with the values of want where it has some.
func checkFields(t *testing.T, r *Refusal, want map[string]string, after [2]time.Duration) {
	t.Helper()
	h := http.Header{}
	r.Fields(h)
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if d := time.Duration(seconds) * time.Second; err != nil || d < after[0] || d > after[1] {
		t.Errorf("Retry-After = %q, want %v to %v", h.Get("Retry-After"), after[0], after[1])
	}
	for _, name := range []string{"RateLimit-Policy", "RateLimit"} {
		list, err := httpsfv.UnmarshalList(h.Values(name))
		if err != nil || len(list) != 1 {
			t.Errorf("%s = %q, want a list of one (%v)", name, h.Get(name), err)
			continue
		}
		item := list[0].(httpsfv.Item)
		if item.Value != r.Policy {
			t.Errorf("%s = %q, want the name %q", name, h.Get(name), r.Policy)
		}
		if at, ok := item.Params.Get("t"); ok && at.(int64) > int64(seconds) {
			t.Errorf("RateLimit = %q with Retry-After %d, want it not before t", h.Get(name), seconds)
		}
	}
	for name, value := range want {
		if got := h.Get(name); got != value {
			t.Errorf("%s = %s, want %s", name, got, value)
		}
	}
}

func TestARefusedRequestCostsNothing(t *testing.T) {
	l := New(Config{Client: Limits{Rate: 1, Burst: 2}, Hubs: map[string]Hub{"h": {Total: Limits{Requests: 1}}}})
	held := admit(t, l, at("192.0.2.9"), "h", noon)
	for range 100 {
		if _, refusal := l.Admit(at("192.0.2.1"), "h", noon); refusal == nil || refusal.Policy != "hub-concurrent" {
			t.Fatalf("Admit to a full hub = %v, want hub-concurrent", refusal)
		}
	}
	held.Close()
	admit(t, l, at("192.0.2.1"), "h", noon).Close()
	admit(t, l, at("192.0.2.1"), "h", noon).Close()
	if _, refusal := l.Admit(at("192.0.2.1"), "h", noon); refusal == nil || refusal.Policy != "client-requests" {
		t.Errorf("Admit of the third = %v, want client-requests", refusal)
	}
}

func TestTheDebtOfMissesEnds(t *testing.T) {
	l := New(Config{Client: Limits{Misses: 30}})
	leases := make([]*Lease, 1000)
	for i := range leases { // all are under way before the first one ends
		leases[i] = admit(t, l, at("192.0.2.1"), "h", noon)
	}
	for _, lease := range leases {
		lease.Missed(noon)
		lease.Close()
	}
	if _, refusal := l.Admit(at("192.0.2.1"), "h", noon.Add(time.Minute)); policy(refusal) != "client-misses" {
		t.Errorf("Admit a minute after 1000 misses = %v, want client-misses", refusal)
	}
	admit(t, l, at("192.0.2.1"), "h", noon.Add(63*time.Second)).Close()
}

func TestWhatIsUnlimitedHasNoLease(t *testing.T) {
	for _, row := range []struct {
		claim  string
		l      *Limiter
		client Client
	}{
		{"no limiter", nil, at("192.0.2.1")},
		{"no limits", New(Config{}), at("192.0.2.1")},
		{"no limits of this hub", New(Config{Hubs: map[string]Hub{"other": {Each: Limits{Rate: 1}}}}), at("192.0.2.1")},
		{"an exempt address", New(Config{Client: Limits{Rate: 1}, Exempt: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}), at("192.0.2.1")},
		{"a token with limits of its own, which are none", New(Config{Client: Limits{Rate: 1}, Tokens: map[string]Limits{"ci": {}}}), Client{Token: "ci"}},
	} {
		for range 100 {
			lease, refusal := row.l.Admit(row.client, "h", noon)
			if lease != nil || refusal != nil {
				t.Fatalf("%s: Admit = %v, %v, want nothing", row.claim, lease, refusal)
			}
			if n, err := lease.Grant(t.Context(), 1<<40); n != 1<<40 || err != nil || lease.Shaped() {
				t.Fatalf("%s: Grant of no lease = %d, %v, want all", row.claim, n, err)
			}
			lease.Missed(noon)
			lease.Return(5)
			lease.Close()
		}
	}
}

func TestAClientIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		l := New(Config{Client: Limits{Bandwidth: rate}})
		start := time.Now()
		var wg sync.WaitGroup
		for range 10 { // ten connections have no more than one
			wg.Go(func() {
				lease := admit(t, l, at("192.0.2.1"), "h", time.Now())
				defer lease.Close()
				if err := lease.Wait(context.Background(), 2*rate); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d < 19*time.Second || d > 20*time.Second {
			t.Errorf("20 s worth of bytes took %v, want about 20 s", d)
		}
	})
}

func TestWhoLeavesGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{Client: Limits{Bandwidth: 1000, Daily: 1 << 20}})
		lease := admit(t, l, at("192.0.2.1"), "h", time.Now())
		defer lease.Close()
		if err := lease.Wait(t.Context(), 4096); err != nil { // the slack
			t.Fatal(err)
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		if n, err := lease.Grant(ctx, 4096); n != 0 || !errors.Is(err, gone) {
			t.Errorf("Grant of a client that left = %d, %v, want the cause", n, err)
		}
		start := time.Now()
		if err := lease.Wait(t.Context(), 1000); err != nil || time.Since(start) != 0 {
			t.Errorf("Wait for the second that went by = %v after %v, want none", err, time.Since(start))
		}
		lease.Return(1000)
		b, err := l.Snapshot(time.Now())
		if want := `"bytes":4096`; err != nil || !strings.Contains(string(b), want) {
			t.Errorf("Snapshot = %s, %v, want %s", b, err, want)
		}
	})
}

func policy(r *Refusal) string {
	if r == nil {
		return ""
	}
	return r.Policy
}

func TestApplyKeepsWhatWasUsed(t *testing.T) {
	l := New(Config{Client: Limits{Rate: 1, Burst: 3}})
	for range 3 {
		admit(t, l, at("192.0.2.1"), "h", noon).Close()
	}
	l.Apply(Config{Client: Limits{Rate: 1, Burst: 4}})
	admit(t, l, at("192.0.2.1"), "h", noon).Close()
	if _, refusal := l.Admit(at("192.0.2.1"), "h", noon); refusal == nil {
		t.Error("Admit of a fifth after Apply is admitted, want the first three remembered")
	}
	l.Apply(Config{})
	if lease, refusal := l.Admit(at("192.0.2.1"), "h", noon); lease != nil || refusal != nil {
		t.Errorf("Admit without limits = %v, %v, want nothing", lease, refusal)
	}
}

func TestAClockThatIsSetBackStopsNobody(t *testing.T) {
	l := New(Config{Client: Limits{Rate: 1, Burst: 1}})
	admit(t, l, at("192.0.2.1"), "h", noon).Close()
	back := noon.Add(-time.Hour)
	if _, refusal := l.Admit(at("192.0.2.1"), "h", back); refusal == nil {
		t.Error("Admit after the clock was set back is admitted, want the request remembered")
	}
	admit(t, l, at("192.0.2.1"), "h", back.Add(time.Second)).Close()
}

func BenchmarkAdmitUnlimited(b *testing.B) {
	l := New(Config{})
	for b.Loop() {
		lease, _ := l.Admit(at("192.0.2.1"), "h", noon)
		lease.Close()
	}
}

func BenchmarkAdmit(b *testing.B) {
	l := New(Config{Client: Limits{Rate: 1e12, Requests: 100}})
	c := at("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		lease, _ := l.Admit(c, "h", noon)
		lease.Close()
	}
}
