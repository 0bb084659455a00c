package listing

import (
	"strings"
	"testing"
	"time"
)

func TestReadSize(t *testing.T) {
	for _, one := range []struct {
		text  string
		bytes int64 // -1: no size
		exact bool
	}{
		{"0", 0, true},
		{"12345", 12345, true},
		{"12,345 bytes", 12345, true},
		{"12.345 bytes", 12345, true},
		{"1'234'567 B", 1234567, true},
		{"1 234 567 o", 1234567, true},
		{"777B", 777, true},
		{"5368709121", 5<<30 + 1, true},
		{"1.2K", 1229, false},
		{"1,2 Kio", 1229, false},
		{"1,234 KB", 1234 << 10, false},
		{"1.234 KB", 1264, false},
		{"1.1k", 1126, false},
		{"0.7K", 717, false},
		{"12.06 KiB", 12349, false},
		{"3072 MB", 3 << 30, false},
		{"1.5 GiB", 3 << 29, false},
		{"8 EB", -1, false},
		{"99999999999999999999", -1, false},
		{"", -1, false},
		{"-", -1, false},
		{"-1", -1, false},
		{"—", -1, false},
		{"??k", -1, false},
		{"1.5", -1, false},
		{"1,2", -1, false},
		{"1,23,4 bytes", -1, false},
		{"12 files", -1, false},
		{"12abc", -1, false},
		{"2026-11-20", -1, false},
		{"12:30", -1, false},
		{"k8s", -1, false},
		{"[DIRECTORY]", -1, false},
	} {
		f, ok := readSize(one.text)
		if ok != (one.bytes >= 0) || ok && (f.bytes != one.bytes || f.exact != one.exact) {
			t.Errorf("readSize(%q) = %+v, %v, want %d, exact %v", one.text, f, ok, one.bytes, one.exact)
		}
	}
}

func TestReadTime(t *testing.T) {
	now := time.Date(2026, 11, 21, 19, 26, 41, 0, time.UTC)
	const minute, second, day = time.Minute, time.Second, 24 * time.Hour
	for _, one := range []struct {
		text  string
		want  string // RFC 3339 in UTC; "" is no time
		step  time.Duration
		zoned bool
	}{
		{"2026-11-20 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"2026-11-20 08:01:02", "2026-11-20T08:01:02Z", second, false},
		{"2026-11-20T08:01:02Z", "2026-11-20T08:01:02Z", second, true},
		{"2026-11-20T08:01:02.500+08:00", "2026-11-20T00:01:02.5Z", time.Millisecond, true},
		{"2023-08-09 10:11:12.5 +0000 UTC", "2023-08-09T10:11:12.5Z", 100 * time.Millisecond, true},
		{"2023-08-09 10:11:12.000000001 +0000 UTC", "2023-08-09T10:11:12.000000001Z", 1, true},
		{"20261120T080102Z", "2026-11-20T08:01:02Z", second, true},
		{"2026/11/20 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"2026-Nov-20 08:01:02", "2026-11-20T08:01:02Z", second, false},
		{"20-Nov-2026 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"20Nov2026 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"20/Nov/2026:08:01:02 +0100", "2026-11-20T07:01:02Z", second, true},
		{"20 Nov 2026, 08:01:02", "2026-11-20T08:01:02Z", second, false},
		{"Fri, 20 Nov 2026 08:01:02 GMT", "2026-11-20T08:01:02Z", second, true},
		{"Friday, 20-Nov-26 08:01:02 GMT", "2026-11-20T08:01:02Z", second, true},
		{"Fri Nov 20 08:01:02 2026", "2026-11-20T08:01:02Z", second, false},
		{"Fri Nov 20 08:01:02 UTC 2026", "2026-11-20T08:01:02Z", second, true},
		{"Fri Nov 20 08:01:02 CST 2026", "2026-11-20T08:01:02Z", second, false},
		{"Fri Nov 20 08:01:02 CET 2026", "2026-11-20T07:01:02Z", second, true},
		{"Nov 20, 2026, 8:01:02 PM", "2026-11-20T20:01:02Z", second, false},
		{"Nov 20, 2026 12:01 a.m.", "2026-11-20T00:01:00Z", minute, false},
		{"November 20th, 2026", "2026-11-20T00:00:00Z", day, false},
		{"Nov 20  2026", "2026-11-20T00:00:00Z", day, false},
		{"Nov 20 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"Nov 22 08:01", "2026-11-22T08:01:00Z", minute, false},
		{"Jun 15 12:00", "2026-06-15T12:00:00Z", minute, false},
		{"Dec 31 23:59", "2026-12-31T23:59:00Z", minute, false},
		{"Feb  3 04:05", "2027-02-03T04:05:00Z", minute, false},
		{"20.11.2026 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"11/20/2026 8:01 AM", "2026-11-20T08:01:00Z", minute, false},
		{"20/11/2026 08:01", "2026-11-20T08:01:00Z", minute, false},
		{"2026-11-20 08:01 UTC+8", "2026-11-20T00:01:00Z", minute, true},
		{"2026-02-30 08:01", "", 0, false},
		{"2026-11-20 25:01", "", 0, false},
		{"99/99/2026", "", 0, false},
		{"Nov 20", "", 0, false},
		{"1.2.3", "", 0, false},
		{"aN-Invalid Date-NaN aN:aN", "", 0, false},
		{"-", "", 0, false},
	} {
		got, ok := clockOf(Source{Now: now}).readTime(one.text)
		if ok != (one.want != "") {
			t.Errorf("readTime(%q) = %+v, %v, want %q", one.text, got, ok, one.want)
			continue
		}
		if ok && (got.time.Format(time.RFC3339Nano) != one.want || got.step != one.step || got.zoned != one.zoned) {
			t.Errorf("readTime(%q) = %v to %v, zoned %v, want %s to %v, zoned %v", one.text, got.time, got.step, got.zoned, one.want, one.step, one.zoned)
		}
	}
}

func TestScanTimeLeavesTheRest(t *testing.T) {
	for _, one := range []struct{ text, rest string }{
		{"20-Nov-2026 08:01                   -", "-"},
		{"20-Nov-2026 08:01     12345", "12345"},
		{"2026-11-20 08:01  -1", "-1"},
		{"2026-11-20 08:01  1.2K  a description of 2026", "1.2K  a description of 2026"},
		{"Nov 20  2026   777  B", "777  B"},
		{"Nov 20 08:01 2000", ""}, // ctime's year
		{"11/20/2026  8:01 AM        <dir>", "<dir>"},
	} {
		_, rest, ok := clockOf(Source{Now: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)}).scanTime(one.text)
		if rest = strings.TrimSpace(rest); !ok || rest != one.rest {
			t.Errorf("scanTime(%q) leaves %q, %v, want %q", one.text, rest, ok, one.rest)
		}
	}
}

func TestReadTimeInAZone(t *testing.T) {
	shanghai := time.FixedZone("CST", 8*3600)
	got, ok := clockOf(Source{Zone: shanghai}).readTime("2026-11-20 08:01")
	if want := time.Date(2026, 11, 20, 0, 1, 0, 0, time.UTC); !ok || !got.time.Equal(want) || !got.zoned {
		t.Errorf("readTime in a known zone = %v, zoned %v, want %v, zoned", got.time, got.zoned, want)
	}
}

func TestReadEpoch(t *testing.T) {
	for _, one := range []struct {
		text string
		unix int64 // 0: no time
		step time.Duration
	}{
		{"1795161662", 1795161662, time.Second},
		{"1795161662.25", 1795161662, time.Second},
		{"1795161662000", 1795161662, time.Second},
		{"1795161662123", 1795161662, time.Millisecond},
		{"4711", 0, 0},
		{"17951616621231234", 0, 0},
		{"-1", 0, 0},
		{"x", 0, 0},
	} {
		got, ok := readEpoch(one.text)
		if ok != (one.unix != 0) || ok && (got.time.Unix() != one.unix || got.step != one.step) {
			t.Errorf("readEpoch(%q) = %v to %v, %v, want %d to %v", one.text, got.time, got.step, ok, one.unix, one.step)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, one := range []struct {
		page, href string
		want       place
	}{
		{"http://h/d/", "x", place{kind: childLink, name: "x"}},
		{"http://h/d/", "./x/", place{kind: childLink, name: "x", slash: true}},
		{"http://h/d/", "/d/a%20b", place{kind: childLink, name: "a b"}},
		{"http://h/a%20b/", "/a b/c d", place{kind: childLink, name: "c d"}},
		{"http://h/a%2Fb/", "/a/b/c", place{kind: otherLink}},
		{"http://h/a%2Fb/", "/a%252Fb/c", place{kind: otherLink}},
		{"http://h/a%2fb/", "/a%2Fb/c", place{kind: childLink, name: "c"}},
		{"http://h:80/d/", "http://H/d/x", place{kind: childLink, name: "x"}},
		{"http://h/d/", "https://h:443/d/x", place{kind: childLink, name: "x"}},
		{"http://h:8080/d/", "http://h/d/x", place{kind: otherLink}},
		{"http://h/d/", "http:x", place{kind: childLink, name: "x"}},
		{"http://h/d/", "mailto:x@y", place{}},
		{"http://h/d/", "javascript:alert(1)", place{}},
		{"http://h/d/", "#top", place{}},
		{"http://h/d/", "x#top", place{kind: childLink, name: "x"}},
		{"http://h/d/", "x?y=1", place{kind: childLink, name: "x", query: "?y=1"}},
		{"http://h/d/", "?C=N;O=D", place{kind: controlLink, query: "?C=N;O=D"}},
		{"http://h/d/", "/d/?C=N", place{kind: controlLink, query: "?C=N"}},
		{"http://h/d/", ".", place{kind: selfLink}},
		{"http://h/d/", "..", place{kind: parentLink}},
		{"http://h/d/e/", "../", place{kind: parentLink, slash: true}},
		{"http://h/d/e/", "/d", place{kind: parentLink}},
		{"http://h/d/e/", "/d/e/../", place{kind: parentLink, slash: true}},
		{"http://h/d/", "..\\d\\x", place{kind: childLink, name: "x"}},
		{"http://h/d/", "x/y", place{kind: otherLink}},
		{"http://h/d/", "x%2Fy", place{kind: otherLink}},
		{"http://h/d/", "x%00", place{kind: otherLink}},
		{"http://h/d/", "%2e%2E/d/x", place{kind: childLink, name: "x"}},
		{"http://h/d/", "100%", place{kind: childLink, name: "100%"}},
		{"http://h/d/", "a%zzb", place{kind: childLink, name: "a%zzb"}},
		{"http://h/d/", "%252e", place{kind: childLink, name: "%2e"}},
		{"http://h/d/", "caf\xe9", place{kind: childLink, name: "caf\xe9"}},
		{"http://h/d/", "a\nb\t", place{kind: childLink, name: "ab"}},
		{"http://h/", "/x", place{kind: childLink, name: "x"}},
		{"http://h/", "..", place{kind: selfLink}},
	} {
		got := newResolver(pageSource(t, one.page).URL).resolve(one.href)
		got.slash = got.slash && got.kind != otherLink
		if got != one.want {
			t.Errorf("resolve(%q) at %s = %+v, want %+v", one.href, one.page, got, one.want)
		}
	}
}
