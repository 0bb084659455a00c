package freshness

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"zcache/internal/cache"
)

// t0 is when the responses of these tests came.
var t0 = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func date(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

// stored is a 200 that was asked for and came at t0, without a limit.
func stored(lines ...string) *cache.Meta {
	return &cache.Meta{Status: 200, Header: fields(lines...), Asked: t0, Received: t0, Stored: t0, Limit: -1, URL: "http://origin.example/a"}
}

func TestAge(t *testing.T) {
	const s = time.Second
	for _, row := range []struct {
		claim           string
		date, age       string
		asked, received time.Duration // before and after t0
		now             time.Duration // after received
		want            time.Duration
	}{
		{"just made: none", date(t0), "", 0, 0, 0, 0},
		{"time that it lay here counts", date(t0), "", 0, 0, 90 * s, 90 * s},
		{"no Date: it was made when it came", "", "", 0, 0, 10 * s, 10 * s},
		{"a Date that is none: the same", "yesterday", "", 0, 0, 10 * s, 10 * s},
		{"an old Date counts", date(t0.Add(-100 * s)), "", 0, 0, 10 * s, 110 * s},
		{"a Date ahead of our clock does not make it younger", date(t0.Add(100 * s)), "", 0, 0, 10 * s, 10 * s},
		{"Age counts", date(t0), "100", 0, 0, 10 * s, 110 * s},
		{"of Date and Age the larger counts: Age", date(t0.Add(-100 * s)), "300", 0, 0, 10 * s, 310 * s},
		{"Date", date(t0.Add(-300 * s)), "100", 0, 0, 10 * s, 310 * s},
		{"what it took to come is added to Age", date(t0), "100", 0, 5 * s, 10 * s, 115 * s},
		{"and stands alone where there is no Age", date(t0.Add(5 * s)), "", 0, 5 * s, 10 * s, 15 * s},
		{"and is not added to what Date tells", date(t0.Add(-100 * s)), "", 0, 5 * s, 10 * s, 115 * s},
		{"a clock set back since does not make it younger", date(t0), "100", 0, 0, -50 * s, 100 * s},
		{"nor one set back on the way", date(t0), "100", 0, -50 * s, 0, 100 * s},
		{"of an Age list the first counts", date(t0), "100, 200", 0, 0, 0, 100 * s},
		{"white space around Age", date(t0), " 100 ", 0, 0, 0, 100 * s},
		{"a negative Age is ignored", date(t0), "-100", 0, 0, 0, 0},
		{"an Age that is no number is ignored", date(t0), "7200x", 0, 0, 0, 0},
		{"a quoted Age is ignored", date(t0), `"7200"`, 0, 0, 0, 0},
		{"a fraction is ignored", date(t0), "7200.5", 0, 0, 0, 0},
		{"an Age beyond 2^31 is 2^31", date(t0), "99999999999999999999", 0, 0, 0, maxDelta},
		{"a Date of the year 1 is old, not young", "Mon, 01 Jan 0001 00:00:00 GMT", "", 0, 0, 10 * s, maxDelta + 10*s},
	} {
		m := stored()
		m.Asked, m.Received = t0.Add(-row.asked), t0.Add(row.received)
		if row.date != "" {
			m.Header.Set("Date", row.date)
		}
		if row.age != "" {
			m.Header.Set("Age", row.age)
		}
		if got := Age(m, m.Received.Add(row.now)); got != row.want {
			t.Errorf("%s: Age(Date %q, Age %q, took %v, lay %v) = %v, want %v", row.claim, row.date, row.age, row.received, row.now, got, row.want)
		}
	}
	two := stored("Age: 100", "Age: 5000")
	if got := Age(two, t0); got != 100*s {
		t.Errorf("of two Age lines the first counts: Age = %v, want 100s", got)
	}
}

func TestAnAgeNeverOverflows(t *testing.T) {
	m := stored("Date: Mon, 01 Jan 0001 00:00:00 GMT", "Age: 99999999999", "Cache-Control: max-age=60")
	m.Asked = time.Time{}
	for _, now := range []time.Time{t0, t0.AddDate(300, 0, 0), t0.AddDate(5000, 0, 0)} {
		if v := Judge(m, Rule{}, now); v.Fresh || v.Age < 0 {
			t.Errorf("Judge at %v = fresh %v at age %v, want stale", now, v.Fresh, v.Age)
		}
	}
}

func TestLifetime(t *testing.T) {
	d0 := "Date: " + date(t0)
	in := func(d time.Duration) string { return "Expires: " + date(t0.Add(d)) }
	for _, row := range []struct {
		claim  string
		header http.Header
		rule   Rule
		status int // 0 = 200
		want   time.Duration
		by     string
	}{
		{claim: "nothing said, no heuristics: none", header: fields(d0), by: "none"},
		{claim: "max-age", header: fields(d0, "Cache-Control: max-age=60"), want: time.Minute, by: "max-age"},
		{claim: "s-maxage wins over max-age", header: fields(d0, "Cache-Control: max-age=60, s-maxage=3600"), want: time.Hour, by: "s-maxage"},
		{claim: "also when it is shorter", header: fields(d0, "Cache-Control: max-age=3600, s-maxage=0"), want: 0, by: "s-maxage"},
		{claim: "max-age wins over Expires", header: fields(d0, "Cache-Control: max-age=60", in(time.Hour)), want: time.Minute, by: "max-age"},
		{claim: "a max-age that is none makes stale, whatever Expires says", header: fields(d0, "Cache-Control: max-age=x", in(time.Hour)), want: 0, by: "max-age"},
		{claim: "Expires counts from Date", header: fields("Date: "+date(t0.Add(-time.Minute)), in(time.Hour)), want: time.Hour + time.Minute, by: "expires"},
		{claim: "or from when it came", header: fields(in(time.Hour)), want: time.Hour, by: "expires"},
		{claim: "Expires in the past: none", header: fields(d0, in(-time.Hour)), want: 0, by: "expires"},
		{claim: "Expires: 0 is in the past", header: fields(d0, "Expires: 0"), want: 0, by: "expires (not a date)"},
		{claim: "two Expires make stale", header: fields(d0, in(time.Hour), in(time.Hour)), want: 0, by: "expires (twice)"},
		{claim: "Expires in the year 9999 overflows nothing", header: fields(d0, "Expires: Fri, 31 Dec 9999 23:59:59 GMT"), want: maxDelta, by: "expires"},
		{claim: "the targeted field wins", header: fields(d0, "Cache-Control: max-age=60", in(time.Hour), "CDN-Cache-Control: max-age=5"), want: 5 * time.Second, by: "cdn-cache-control max-age"},
		{claim: "without a lifetime of its own it silences the others", header: fields(d0, "Cache-Control: max-age=60", in(time.Hour), "CDN-Cache-Control: public"), by: "none"},
		{claim: "one that does not parse does not", header: fields(d0, "Cache-Control: max-age=60", "CDN-Cache-Control: max-age=5,"), want: time.Minute, by: "max-age"},

		{claim: "ttl where the origin says nothing", header: fields(d0), rule: Rule{TTL: time.Hour}, want: time.Hour, by: "ttl"},
		{claim: "ttl before heuristics", header: fields(d0, "Last-Modified: "+date(t0.Add(-1000*time.Hour))), rule: Rule{TTL: time.Hour, HeuristicMax: 24 * time.Hour}, want: time.Hour, by: "ttl"},
		{claim: "not where there is max-age", header: fields(d0, "Cache-Control: max-age=1"), rule: Rule{TTL: time.Hour}, want: time.Second, by: "max-age"},
		{claim: "not where there is Expires, even a bad one", header: fields(d0, "Expires: soon"), rule: Rule{TTL: time.Hour}, want: 0, by: "expires (not a date)"},
		{claim: "not for errors", header: fields(d0, "Cache-Control: public"), status: 503, rule: Rule{TTL: time.Hour}, by: "none"},
		{claim: "404 has the negative ttl", header: fields(d0), status: 404, rule: Rule{TTL: time.Hour, NegativeTTL: 15 * time.Second}, want: 15 * time.Second, by: "negative"},
		{claim: "410 too", header: fields(d0), status: 410, rule: Rule{NegativeTTL: 15 * time.Second}, want: 15 * time.Second, by: "negative"},
		{claim: "the origin's max-age wins over it", header: fields(d0, "Cache-Control: max-age=3600"), status: 404, rule: Rule{NegativeTTL: 15 * time.Second}, want: time.Hour, by: "max-age"},
		{claim: "its max-age=0 too", header: fields(d0, "Cache-Control: max-age=0"), status: 404, rule: Rule{NegativeTTL: 15 * time.Second}, want: 0, by: "max-age"},
		{claim: "its Expires too", header: fields(d0, "Expires: 0"), status: 404, rule: Rule{NegativeTTL: 15 * time.Second}, want: 0, by: "expires (not a date)"},

		{claim: "a tenth of the time since it changed", header: fields(d0, "Last-Modified: "+date(t0.Add(-100*time.Hour))), rule: Rule{HeuristicMax: 24 * time.Hour}, want: 10 * time.Hour, by: "heuristic"},
		{claim: "counted to Date, not to when it came", header: fields("Date: "+date(t0.Add(-100*time.Hour)), "Last-Modified: "+date(t0.Add(-200*time.Hour))), rule: Rule{HeuristicMax: 24 * time.Hour}, want: 10 * time.Hour, by: "heuristic"},
		{claim: "at most the cap", header: fields(d0, "Last-Modified: "+date(t0.AddDate(-20, 0, 0))), rule: Rule{HeuristicMax: 24 * time.Hour}, want: 24 * time.Hour, by: "heuristic"},
		{claim: "none where the cap is 0", header: fields(d0, "Last-Modified: "+date(t0.AddDate(-20, 0, 0))), by: "none"},
		{claim: "none for what changes in the future", header: fields(d0, "Last-Modified: "+date(t0.Add(time.Hour))), rule: Rule{HeuristicMax: time.Hour}, by: "none"},
		{claim: "none without Last-Modified", header: fields(d0), rule: Rule{HeuristicMax: time.Hour}, by: "none"},
		{claim: "none where max-age is 0", header: fields(d0, "Cache-Control: max-age=0", "Last-Modified: "+date(t0.AddDate(-20, 0, 0))), rule: Rule{HeuristicMax: time.Hour}, want: 0, by: "max-age"},
		{claim: "none for a code that is not cacheable by default", header: fields(d0, "Cache-Control: foo", "Last-Modified: "+date(t0.AddDate(-20, 0, 0))), status: 403, rule: Rule{HeuristicMax: time.Hour}, by: "none"},
		{claim: "but for one with public", header: fields(d0, "Cache-Control: public", "Last-Modified: "+date(t0.AddDate(-20, 0, 0))), status: 403, rule: Rule{HeuristicMax: time.Hour}, want: time.Hour, by: "heuristic"},
		{claim: "and for 301", header: fields(d0, "Last-Modified: "+date(t0.AddDate(-20, 0, 0))), status: 301, rule: Rule{HeuristicMax: time.Hour}, want: time.Hour, by: "heuristic"},
	} {
		m := stored()
		m.Header = row.header
		if row.status != 0 {
			m.Status = row.status
		}
		v := Judge(m, row.rule, t0)
		low, high := row.want, row.want
		if slices.Contains([]string{"ttl", "negative", "heuristic"}, row.by) {
			low, high = row.want*85/100, row.want*115/100
		}
		if v.By != row.by || v.Lifetime < low || v.Lifetime > high {
			t.Errorf("%s: Judge(%v) = %v by %q, want %v by %q", row.claim, row.header, v.Lifetime, v.By, row.want, row.by)
		}
		if want := v.Lifetime > v.Age; v.Fresh != want {
			t.Errorf("%s: Judge(%v) = fresh %v at age %v of %v", row.claim, row.header, v.Fresh, v.Age, v.Lifetime)
		}
	}
}

func TestFreshEndsWithTheLifetime(t *testing.T) {
	m := stored("Cache-Control: max-age=60")
	for _, row := range []struct {
		claim string
		age   time.Duration
		want  bool
	}{
		{"fresh when it came", 0, true},
		{"fresh a moment before the end of its lifetime", time.Minute - 1, true},
		{"stale at the end of its lifetime", time.Minute, false},
		{"stale after it", time.Hour, false},
	} {
		v := Judge(m, Rule{}, t0.Add(row.age))
		if v.Fresh != row.want || !v.Until(t0.Add(row.age)).Equal(t0.Add(time.Minute)) {
			t.Errorf("%s: Judge at age %v = fresh %v until %v, want %v", row.claim, row.age, v.Fresh, v.Until(t0.Add(row.age)), row.want)
		}
	}
}

func TestJitterSpreadsLifetimesOfOursAndNoOthers(t *testing.T) {
	rule := Rule{TTL: 100 * time.Second, NegativeTTL: 100 * time.Second, HeuristicMax: 100 * time.Second}
	lowest, highest := time.Hour, time.Duration(0)
	for i := range 2000 {
		m := stored("Last-Modified: " + date(t0.AddDate(-1, 0, 0)))
		m.URL = fmt.Sprintf("http://origin.example/%d", i)
		m.Status = []int{200, 404, 301}[i%3]
		v := Judge(m, rule, t0)
		lowest, highest = min(lowest, v.Lifetime), max(highest, v.Lifetime)
		copied := *m
		copied.Header = m.Header.Clone()
		for _, later := range []time.Duration{time.Second, 99 * time.Second, 1000 * time.Hour} {
			if again := Judge(&copied, rule, t0.Add(later)); again.Lifetime != v.Lifetime {
				t.Fatalf("Judge(%s) = %v, and %v later %v; want the same", m.URL, v.Lifetime, later, again.Lifetime)
			}
		}
		m.Header.Set("Cache-Control", "max-age=100")
		if v := Judge(m, rule, t0); v.Lifetime != 100*time.Second {
			t.Fatalf("the origin's own lifetime came out as %v", v.Lifetime)
		}
	}
	if lowest < 85*time.Second || highest > 115*time.Second {
		t.Errorf("lifetimes of 100s lie between %v and %v, want within 15 %%", lowest, highest)
	}
	if lowest > 87*time.Second || highest < 113*time.Second {
		t.Errorf("lifetimes of 100s lie between %v and %v, want them spread over 15 %% either way", lowest, highest)
	}
	m := stored()
	first := Judge(m, rule, t0).Lifetime
	for i := 1; ; i++ {
		m.Received = t0.Add(time.Duration(i) * time.Second)
		if Judge(m, rule, m.Received).Lifetime != first {
			break
		}
		if i == 20 {
			t.Fatal("what was confirmed anew has the same jitter again and again")
		}
	}
}

// verdict is what a table expects of Judge beyond the lifetime.
type verdict struct{ fresh, must, noCache bool }

func TestWhatForbidsServingStale(t *testing.T) {
	for _, row := range []struct {
		claim  string
		header http.Header
		want   verdict
	}{
		{"nothing but max-age forbids nothing", fields("Cache-Control: max-age=60"), verdict{fresh: true}},
		{"must-revalidate", fields("Cache-Control: max-age=60, must-revalidate"), verdict{fresh: true, must: true}},
		{"proxy-revalidate", fields("Cache-Control: max-age=60, proxy-revalidate"), verdict{fresh: true, must: true}},
		{"s-maxage", fields("Cache-Control: s-maxage=60"), verdict{fresh: true, must: true}},
		{"no-cache is never fresh", fields("Cache-Control: no-cache, max-age=60"), verdict{must: true, noCache: true}},
		{"no-cache for a field is fresh", fields(`Cache-Control: no-cache="a", max-age=60`), verdict{fresh: true}},
		{"no-cache in the targeted field", fields("Cache-Control: max-age=60", "CDN-Cache-Control: no-cache, max-age=60"), verdict{must: true, noCache: true}},
		{"must-revalidate in the field that is replaced counts not", fields("Cache-Control: must-revalidate", "CDN-Cache-Control: max-age=60"), verdict{fresh: true}},
		{"immutable is fresh while max-age lasts", fields("Cache-Control: max-age=60, immutable"), verdict{fresh: true}},
		{"immutable alone is no lifetime", fields("Cache-Control: immutable"), verdict{}},
		{"private, which a 304 brought later", fields("Cache-Control: private, max-age=60"), verdict{must: true, noCache: true}},
		{"no-store, which a 304 brought later", fields("Cache-Control: no-store, max-age=60"), verdict{must: true, noCache: true}},
		{"no-store that must-understand lifts", fields("Cache-Control: no-store, must-understand, max-age=60"), verdict{fresh: true}},
	} {
		m := stored()
		m.Header = row.header
		v := Judge(m, Rule{}, t0)
		if got := (verdict{v.Fresh, v.MustRevalidate, v.NoCache}); got != row.want {
			t.Errorf("%s: Judge(%v) = %+v, want %+v", row.claim, row.header, got, row.want)
		}
		if v.MustRevalidate && (v.OnError(Rule{}, true) || v.OnError(Rule{}, false)) {
			t.Errorf("%s: served stale on error", row.claim)
		}
	}
	v := Judge(stored(`Cache-Control: max-age=60, no-cache="set-cookie, x-b"`), Rule{}, t0)
	if !slices.Equal(v.Omit, []string{"Set-Cookie", "X-B"}) {
		t.Errorf("fields that no-cache names: Omit = %q", v.Omit)
	}
}

func TestTheWindowsOfRFC5861(t *testing.T) {
	for _, row := range []struct {
		claim   string
		control string
		rule    Rule
		age     time.Duration
		behind  bool // served while it is revalidated
		error   bool // served instead of a 5xx
		silence bool // served instead of no answer
	}{
		{"without windows: instead of errors only", "max-age=60", Rule{}, time.Hour, false, true, true},
		{"a fresh response needs no window", "max-age=60, stale-while-revalidate=60", Rule{}, 0, false, true, true},
		{"within stale-while-revalidate", "max-age=60, stale-while-revalidate=60", Rule{}, 90 * time.Second, true, true, true},
		{"it begins where the lifetime ends", "max-age=60, stale-while-revalidate=60", Rule{}, time.Minute, true, true, true},
		{"and ends", "max-age=60, stale-while-revalidate=60", Rule{}, 2 * time.Minute, false, true, true},
		{"one of 0 is none", "max-age=60, stale-while-revalidate=0", Rule{}, time.Minute, false, true, true},
		{"within stale-if-error", "max-age=60, stale-if-error=60", Rule{}, 119 * time.Second, false, true, true},
		{"after it an error is passed on, but silence is not", "max-age=60, stale-if-error=60", Rule{}, 2 * time.Minute, false, false, true},
		{"one of 0 allows no error", "max-age=60, stale-if-error=0", Rule{}, time.Minute, false, false, true},
		{"one that is no number allows no error", "max-age=60, stale-if-error=x", Rule{}, time.Minute, false, false, true},
		{"must-revalidate closes both windows", "max-age=60, must-revalidate, stale-while-revalidate=600, stale-if-error=600", Rule{}, 90 * time.Second, false, false, false},
		{"so does s-maxage", "s-maxage=60, stale-while-revalidate=600, stale-if-error=600", Rule{}, 90 * time.Second, false, false, false},
		{"so does no-cache", "no-cache, stale-while-revalidate=600, stale-if-error=600", Rule{}, 0, false, false, false},
		{"stale always serves whatever the origin said", "no-cache, must-revalidate", Rule{StaleAlways: true}, time.Hour, false, true, true},
		{"also after stale-if-error", "max-age=60, stale-if-error=1", Rule{StaleAlways: true}, time.Hour, false, true, true},
		{"off line too", "no-cache", Rule{Offline: true}, time.Hour, false, true, true},
		{"neither makes it fresh", "max-age=60", Rule{StaleAlways: true, Offline: true}, time.Hour, false, true, true},
		{"class index is never served behind its own revalidation", "max-age=600, stale-while-revalidate=600", Rule{Class: ClassIndex}, time.Minute, false, true, true},
		{"class index on error: fresh by its origin", "max-age=600, stale-if-error=60", Rule{Class: ClassIndex}, 300 * time.Second, false, true, true},
		{"class index on error: within the window after that", "max-age=600, stale-if-error=60", Rule{Class: ClassIndex}, 630 * time.Second, false, true, true},
		{"class index on error: after it", "max-age=600, stale-if-error=60", Rule{Class: ClassIndex}, 660 * time.Second, false, false, true},
	} {
		v := Judge(stored("Cache-Control: "+row.control), row.rule, t0.Add(row.age))
		if got := v.WhileRevalidating(); got != row.behind {
			t.Errorf("%s: WhileRevalidating(%s at %v) = %v, want %v", row.claim, row.control, row.age, got, row.behind)
		}
		if got := v.OnError(row.rule, true); got != row.error {
			t.Errorf("%s: OnError(%s at %v, reached) = %v, want %v", row.claim, row.control, row.age, got, row.error)
		}
		if got := v.OnError(row.rule, false); got != row.silence {
			t.Errorf("%s: OnError(%s at %v, not reached) = %v, want %v", row.claim, row.control, row.age, got, row.silence)
		}
	}
	if v := Judge(stored("Cache-Control: max-age=60"), Rule{StaleAlways: true, Offline: true}, t0.Add(time.Hour)); v.Fresh {
		t.Error("a rule about errors made a stale response fresh")
	}
}

func TestClasses(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, row := range []struct {
		claim string
		meta  *cache.Meta
		class Class
		age   time.Duration
		want  verdict
		by    string
	}{
		{"immutable needs no lifetime", stored(), ClassImmutable, 300 * 24 * time.Hour, verdict{fresh: true}, "class immutable"},
		{"it wins over no-cache and must-revalidate", stored("Cache-Control: no-cache, must-revalidate, max-age=0"), ClassImmutable, time.Hour, verdict{fresh: true}, "class immutable"},
		{"it ends after a year", stored(), ClassImmutable, year, verdict{}, "class immutable"},
		{"a longer lifetime of the origin's stands", stored("Cache-Control: max-age=99999999"), ClassImmutable, year, verdict{fresh: true}, "class immutable"},
		{"it is for bodies, not for their absence", with404(stored()), ClassImmutable, time.Hour, verdict{}, "negative"},
		{"it does not vouch for a length", provisional(stored()), ClassImmutable, 0, verdict{must: true}, "unconfirmed length"},
		{"it does not lift private", stored("Cache-Control: private, max-age=60"), ClassImmutable, 0, verdict{must: true, noCache: true}, "max-age"},
		{"index is never fresh", stored("Cache-Control: max-age=60"), ClassIndex, 0, verdict{}, "class index"},
		{"index keeps what its origin forbids", stored("Cache-Control: max-age=60, must-revalidate"), ClassIndex, 0, verdict{must: true}, "class index"},
		{"an absent index is asked for no more often than others", with404(stored("Cache-Control: max-age=60")), ClassIndex, 0, verdict{fresh: true}, "max-age"},
		{"bypass is none of Judge's business", stored("Cache-Control: max-age=60"), ClassBypass, 0, verdict{fresh: true}, "max-age"},
	} {
		v := Judge(row.meta, Rule{Class: row.class, NegativeTTL: time.Second}, t0.Add(row.age))
		if got := (verdict{v.Fresh, v.MustRevalidate, v.NoCache}); got != row.want || v.By != row.by {
			t.Errorf("%s: Judge at age %v = %+v by %q, want %+v by %q", row.claim, row.age, got, v.By, row.want, row.by)
		}
	}
}

func with404(m *cache.Meta) *cache.Meta     { m.Status = 404; return m }
func provisional(m *cache.Meta) *cache.Meta { m.Provisional = true; return m }

func TestALimitOfRedirectsCountsFromWhenTheResponseCame(t *testing.T) {
	for _, row := range []struct {
		claim string
		limit time.Duration
		lay   time.Duration
		fresh bool
		by    string
	}{
		{"none", -1, 59 * time.Minute, true, "max-age"},
		{"longer than the lifetime that is left", 2 * time.Hour, 59 * time.Minute, true, "max-age"},
		{"not yet over", time.Minute, 59 * time.Second, true, "redirect"},
		{"over", time.Minute, time.Minute, false, "redirect"},
		{"nothing: stale at once", 0, 0, false, "redirect"},
	} {
		m := stored("Cache-Control: max-age=7200", "Age: 3600")
		m.Limit = row.limit
		if v := Judge(m, Rule{}, t0.Add(row.lay)); v.Fresh != row.fresh || v.By != row.by {
			t.Errorf("%s: Judge(limit %v) after %v = fresh %v by %q, want %v by %q", row.claim, row.limit, row.lay, v.Fresh, v.By, row.fresh, row.by)
		}
	}
	m := stored("Cache-Control: max-age=60, stale-while-revalidate=600")
	m.Limit = time.Second
	if v := Judge(m, Rule{}, t0.Add(30*time.Second)); !v.WhileRevalidating() {
		t.Error("what is stale by a redirect may not be served while it is revalidated")
	}
}

func TestABodyOfUnconfirmedLengthIsNotReused(t *testing.T) {
	m := provisional(stored("Cache-Control: max-age=60, stale-while-revalidate=600, stale-if-error=600"))
	v := Judge(m, Rule{TTL: time.Hour, HeuristicMax: time.Hour}, t0)
	if v.Fresh || v.WhileRevalidating() || v.OnError(Rule{}, true) || v.OnError(Rule{}, false) {
		t.Errorf("Judge = %+v; want it never reused without the origin's word", v)
	}
}

func TestLifetimeLeftOfARedirect(t *testing.T) {
	for _, row := range []struct {
		claim  string
		header http.Header
		want   time.Duration
		said   bool
	}{
		{"says nothing", fields("Location: /x"), 0, false},
		{"max-age", fields("Cache-Control: max-age=60"), time.Minute, true},
		{"s-maxage wins", fields("Cache-Control: max-age=60, s-maxage=5"), 5 * time.Second, true},
		{"the targeted field wins", fields("Cache-Control: max-age=60", "CDN-Cache-Control: max-age=5"), 5 * time.Second, true},
		{"Expires", fields("Expires: " + date(t0.Add(time.Hour))), time.Hour, true},
		{"Expires that is none", fields("Expires: 0"), 0, true},
		{"two Expires", fields("Expires: "+date(t0.Add(time.Hour)), "Expires: "+date(t0.Add(time.Hour))), 0, true},
		{"no-cache", fields("Cache-Control: no-cache, max-age=60"), 0, true},
		{"no-store", fields("Cache-Control: no-store"), 0, true},
		{"private", fields("Cache-Control: private, max-age=60"), 0, true},
		{"what has passed is gone", fields("Cache-Control: max-age=60", "Age: 50"), 10 * time.Second, true},
		{"by its Date too", fields("Cache-Control: max-age=60", "Date: "+date(t0.Add(-50*time.Second))), 10 * time.Second, true},
		{"nothing is left, not less", fields("Cache-Control: max-age=60", "Age: 500"), 0, true},
	} {
		if got, said := Lifetime(row.header, t0); got != row.want || said != row.said {
			t.Errorf("%s: Lifetime(%v) = %v, %v; want %v, %v", row.claim, row.header, got, said, row.want, row.said)
		}
	}
}

func TestListingsAreReusedForTheirTime(t *testing.T) {
	listed := func(m *cache.Meta) *cache.Meta { m.Listing = true; return m }
	for _, row := range []struct {
		claim string
		meta  *cache.Meta
		rule  Rule
		age   time.Duration
		fresh bool
		by    string
	}{
		{"without a lifetime of the origin's", listed(stored()), Rule{ListingTTL: time.Minute}, 50 * time.Second, true, "listing"},
		{"and no longer", listed(stored()), Rule{ListingTTL: time.Minute}, 70 * time.Second, false, "listing"},
		{"not by their age", listed(stored("Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT")), Rule{ListingTTL: time.Minute, HeuristicMax: 24 * time.Hour}, 70 * time.Second, false, "listing"},
		{"longer lifetimes are cut", listed(stored("Cache-Control: max-age=3600")), Rule{ListingTTL: time.Minute}, 70 * time.Second, false, "listing"},
		{"shorter ones stand", listed(stored("Cache-Control: max-age=10")), Rule{ListingTTL: time.Minute}, 11 * time.Second, false, "max-age"},
		{"no-cache stands", listed(stored("Cache-Control: no-cache")), Rule{ListingTTL: time.Minute}, time.Second, false, "listing"},
		{"no time means to ask at every use", listed(stored("Cache-Control: max-age=3600")), Rule{}, 0, false, "listing"},
		{"a pattern for files says nothing of them", listed(stored()), Rule{ListingTTL: time.Minute, Class: ClassImmutable}, 2 * time.Minute, false, "listing"},
		{"other pages are judged as ever", stored("Cache-Control: max-age=3600"), Rule{ListingTTL: time.Minute}, 10 * time.Minute, true, "max-age"},
	} {
		v := Judge(row.meta, row.rule, t0.Add(row.age))
		if v.Fresh != row.fresh || v.By != row.by {
			t.Errorf("%s: Judge at age %v = fresh %v by %q, want %v by %q", row.claim, row.age, v.Fresh, v.By, row.fresh, row.by)
		}
	}
}
