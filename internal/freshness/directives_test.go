package freshness

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// with is noDirectives, changed.
func with(change func(*directives)) directives {
	d := noDirectives()
	change(&d)
	return d
}

var sameDirectives = cmp.AllowUnexported(directives{})

func TestParseCacheControl(t *testing.T) {
	const hour = time.Hour
	maxAge := func(v time.Duration) directives { return with(func(d *directives) { d.maxAge = v }) }
	for _, row := range []struct {
		claim string
		lines []string
		want  directives
	}{
		{"no line says nothing", nil, noDirectives()},
		{"an empty line says nothing", []string{""}, noDirectives()},
		{"commas alone say nothing", []string{" , ,,"}, noDirectives()},
		{"max-age is seconds", []string{"max-age=3600"}, maxAge(hour)},
		{"names know no case", []string{"MaX-aGe=3600, NO-STORE"}, with(func(d *directives) { d.maxAge, d.noStore = hour, true })},
		{"quotes around a number are allowed", []string{`max-age="3600"`}, maxAge(hour)},
		{"leading zeros are digits", []string{"max-age=003600"}, maxAge(hour)},
		{"zero", []string{"max-age=0"}, maxAge(0)},
		{"2^31 and more are 2^31", []string{"max-age=99999999999999999999999"}, maxAge(maxDelta)},
		{"a fraction is no number and makes stale", []string{"max-age=3600.5"}, maxAge(0)},
		{"letters behind a number too", []string{"max-age=3600a"}, maxAge(0)},
		{"letters before it", []string{"max-age=a3600"}, maxAge(0)},
		{"single quotes", []string{"max-age='3600'"}, maxAge(0)},
		{"a negative number", []string{"max-age=-1"}, maxAge(0)},
		{"a plus sign", []string{"max-age=+3600"}, maxAge(0)},
		{"no number at all", []string{"max-age="}, maxAge(0)},
		{"not even an equals sign", []string{"max-age"}, maxAge(0)},
		{"of two the stricter counts", []string{"max-age=1800, max-age=1"}, maxAge(time.Second)},
		{"in either order and on two lines", []string{"max-age=1", "max-age=1800"}, maxAge(time.Second)},
		{"a directive inside a quoted string is none", []string{`max-age=1, ext="no-store, max-age=3600"`}, maxAge(time.Second)},
		{"an escaped quote does not end a quoted string", []string{`ext="a\", no-store", max-age=1`}, maxAge(time.Second)},
		{"a quote that is never closed hides nothing", []string{`max-age=3600, ext="oops, private`}, with(func(d *directives) { d.maxAge, d.private = hour, true })},
		{"nor one before a number", []string{`max-age="3600, no-store`}, with(func(d *directives) { d.maxAge, d.noStore = 0, true })},
		{"what is unknown is passed over", []string{"foo, bar=baz, s-maxage=3600"}, with(func(d *directives) { d.sMaxAge = hour })},
		{"white space around members does not matter", []string{"\t private ,\t public "}, with(func(d *directives) { d.private, d.public = true, true })},
		{"private with fields is private", []string{`private="set-cookie"`}, with(func(d *directives) { d.private = true })},
		{"no-store with an argument is no-store", []string{"no-store=foo"}, with(func(d *directives) { d.noStore = true })},
		{"no-cache with fields names fields", []string{`no-cache="set-cookie, x-b"`}, with(func(d *directives) { d.noCacheFields = []string{"Set-Cookie", "X-B"} })},
		{"also without quotes", []string{`no-cache=set-cookie`}, with(func(d *directives) { d.noCacheFields = []string{"Set-Cookie"} })},
		{"also with a space before the quote", []string{`no-cache= "a"`}, with(func(d *directives) { d.noCacheFields = []string{"A"} })},
		{"no-cache with an empty list is no-cache", []string{`no-cache=""`}, with(func(d *directives) { d.noCache = true })},
		{"no-cache with what is no field name is no-cache", []string{`no-cache="a b"`}, with(func(d *directives) { d.noCache = true })},
		{"no-cache with a quote that is never closed is no-cache", []string{`no-cache="a, b`}, with(func(d *directives) { d.noCache = true })},
		{"both forms of no-cache add up", []string{`no-cache="a", no-cache`}, with(func(d *directives) { d.noCache, d.noCacheFields = true, []string{"A"} })},
		{"all that are flags", []string{"must-revalidate, proxy-revalidate, must-understand, only-if-cached"}, with(func(d *directives) {
			d.mustRevalidate, d.proxyRevalidate, d.mustUnderstand, d.onlyIfCached = true, true, true, true
		})},
		{"the windows of RFC 5861", []string{"stale-while-revalidate=3600, stale-if-error=1"}, with(func(d *directives) { d.swr, d.sie = hour, time.Second })},
		{"immutable changes nothing here", []string{"immutable"}, noDirectives()},
	} {
		if diff := cmp.Diff(row.want, parseCacheControl(row.lines), sameDirectives); diff != "" {
			t.Errorf("%s: parseCacheControl(%q) differs (-want +got):\n%s", row.claim, row.lines, diff)
		}
	}
}

func TestTargetedFieldIsAStructuredDictionary(t *testing.T) {
	for _, row := range []struct {
		claim string
		lines []string
		want  directives
		ok    bool
	}{
		{"absent", nil, directives{}, false},
		{"empty is as good as absent", []string{""}, directives{}, false},
		{"max-age is an integer", []string{"max-age=60"}, with(func(d *directives) { d.maxAge = time.Minute }), true},
		{"lines are one list, the last of two counts", []string{"max-age=60", "max-age=3600"}, with(func(d *directives) { d.maxAge = time.Hour }), true},
		{"parameters are ignored", []string{"max-age=60;x=1, no-store;y"}, with(func(d *directives) { d.maxAge, d.noStore = time.Minute, true }), true},
		{"what is unknown is passed over", []string{"foo, max-age=60"}, with(func(d *directives) { d.maxAge = time.Minute }), true},
		{"upper case is no key: the field does not parse", []string{"Max-Age=60"}, directives{}, false},
		{"white space around = does not parse", []string{"max-age =60"}, directives{}, false},
		{"rubbish spoils the whole field", []string{"max-age=60, &&&&"}, directives{}, false},
		{"a comma at the end does not parse", []string{"max-age=60,"}, directives{}, false},
		{"a lifetime that is a string spoils it", []string{`max-age="60"`}, noDirectives(), false},
		{"a lifetime that is a token", []string{"max-age=sixty"}, noDirectives(), false},
		{"a lifetime that is a decimal", []string{"s-maxage=60.5"}, noDirectives(), false},
		{"a lifetime that is a list", []string{"max-age=(60 61)"}, noDirectives(), false},
		{"a lifetime without value is none left", []string{"max-age"}, with(func(d *directives) { d.maxAge = 0 }), true},
		{"a negative lifetime too", []string{"max-age=-1"}, with(func(d *directives) { d.maxAge = 0 }), true},
		{"a flag that is false is not set", []string{"no-store=?0, max-age=60"}, with(func(d *directives) { d.maxAge = time.Minute }), true},
		{"no-cache may name fields", []string{`no-cache="a, b"`}, with(func(d *directives) { d.noCacheFields = []string{"A", "B"} }), true},
		{"private with fields is private", []string{`private="a"`}, with(func(d *directives) { d.private = true }), true},
		{"what forbids needs no value that can be read", []string{"no-store=(a b), no-cache=1.5"}, with(func(d *directives) { d.noStore, d.noCache = true, true }), true},
	} {
		got, ok := targeted(http.Header{"Cdn-Cache-Control": row.lines})
		if ok != row.ok || ok && !cmp.Equal(row.want, got, sameDirectives) {
			t.Errorf("%s: targeted(%q) = ok %v, differs (-want +got):\n%s", row.claim, row.lines, ok, cmp.Diff(row.want, got, sameDirectives))
		}
	}
}

func TestParseRequest(t *testing.T) {
	none := Request{MaxAge: unset, MinFresh: unset, MaxStale: unset}
	change := func(f func(*Request)) Request { r := none; f(&r); return r }
	for _, row := range []struct {
		claim  string
		header http.Header
		want   Request
	}{
		{"nothing asked", http.Header{}, none},
		{"no-cache", http.Header{"Cache-Control": {"no-cache"}}, change(func(r *Request) { r.NoCache = true })},
		{"no-cache with an argument is no less", http.Header{"Cache-Control": {`no-cache="a"`}}, change(func(r *Request) { r.NoCache = true })},
		{"no-store and only-if-cached", http.Header{"Cache-Control": {"no-store, only-if-cached"}}, change(func(r *Request) { r.NoStore, r.OnlyIfCached = true, true })},
		{"numbers", http.Header{"Cache-Control": {"max-age=1, min-fresh=2, max-stale=3"}}, Request{MaxAge: time.Second, MinFresh: 2 * time.Second, MaxStale: 3 * time.Second}},
		{"max-stale alone is without end", http.Header{"Cache-Control": {"max-stale"}}, change(func(r *Request) { r.MaxStale = maxDelta })},
		{"of max-stale with and without end the stricter counts", http.Header{"Cache-Control": {"max-stale=3, max-stale"}}, change(func(r *Request) { r.MaxStale = 3 * time.Second })},
		{"max-stale that is no number allows nothing", http.Header{"Cache-Control": {"max-stale=x"}}, change(func(r *Request) { r.MaxStale = 0 })},
		{"of two min-fresh the stricter counts", http.Header{"Cache-Control": {"min-fresh=2, min-fresh=9"}}, change(func(r *Request) { r.MinFresh = 9 * time.Second })},
		{"Pragma: no-cache", http.Header{"Pragma": {"No-Cache"}}, change(func(r *Request) { r.NoCache = true })},
		{"Pragma with more in it", http.Header{"Pragma": {"foo, no-cache"}}, change(func(r *Request) { r.NoCache = true })},
		{"Pragma counts only without Cache-Control", http.Header{"Pragma": {"no-cache"}, "Cache-Control": {"max-age=1"}}, change(func(r *Request) { r.MaxAge = time.Second })},
		{"Pragma knows no other directive", http.Header{"Pragma": {"no-store, only-if-cached"}}, none},
	} {
		if got := ParseRequest(row.header); got != row.want {
			t.Errorf("%s: ParseRequest(%v) = %+v, want %+v", row.claim, row.header, got, row.want)
		}
	}
}

func FuzzParseCacheControl(f *testing.F) {
	for _, s := range []string{"", "max-age=60", `no-cache="a, b", private`, `"`, `"\",`, `ext="oops, private`, "max-age=99999999999999999999", "a=b;c=(d e);f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := parseCacheControl([]string{s})
		for _, v := range []time.Duration{d.maxAge, d.sMaxAge, d.swr, d.sie, d.minFresh, d.maxStale} {
			if v < unset || v > maxDelta {
				t.Errorf("parseCacheControl(%q) has a number of %v", s, v)
			}
		}
		if !strings.Contains(s, `"`) {
			for _, plain := range strings.Split(s, ",") {
				if strings.TrimSpace(plain) == "private" && !d.private {
					t.Errorf("parseCacheControl(%q) has overlooked private", s)
				}
			}
		}
		if d, ok := targeted(http.Header{"Cdn-Cache-Control": {s}}); ok && (d.maxAge < unset || d.maxAge > maxDelta) {
			t.Errorf("targeted(%q) has a max-age of %v", s, d.maxAge)
		}
	})
}

// An origin may send a field of a quarter of a megabyte. Reading it must not take time in its square.
func TestALongFieldIsReadOnce(t *testing.T) {
	line := strings.Repeat(`"\",`, 64<<10)
	n := 0
	for range members(line) {
		n++
	}
	if n == 0 || n > len(line) {
		t.Errorf("members of a long field = %d, want some and no more than it has bytes", n)
	}
}
