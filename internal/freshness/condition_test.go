package freshness

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"zcache/internal/cache"
)

func TestConditionAsksWithWhatTheRuleAllows(t *testing.T) {
	both := stored(`ETag: W/"x, y"`, "Last-Modified: whenever")
	etag, lm := fields(`If-None-Match: W/"x, y"`), fields("If-Modified-Since: whenever")
	all := etag.Clone()
	all["If-Modified-Since"] = lm["If-Modified-Since"]
	for _, row := range []struct {
		claim string
		meta  *cache.Meta
		mode  Validation
		want  http.Header
	}{
		{"both, byte for byte as they came", both, ValidateBoth, all},
		{"entity tag alone", both, ValidateETag, etag},
		{"time alone", both, ValidateLastModified, lm},
		{"never", both, ValidateNever, nil},
		{"no validator, no question", stored(), ValidateBoth, nil},
		{"the tag is missing", stored("Last-Modified: whenever"), ValidateETag, nil},
		{"the time is missing", stored(`ETag: "a"`), ValidateLastModified, nil},
		{"the one that there is", stored("Last-Modified: whenever"), ValidateBoth, lm},
		{"a body of unconfirmed length is fetched anew", provisional(stored(`ETag: "a"`)), ValidateBoth, nil},
	} {
		if diff := cmp.Diff(row.want, Condition(row.meta, Rule{Validation: row.mode})); diff != "" {
			t.Errorf("%s: Condition differs (-want +got):\n%s", row.claim, diff)
		}
	}
}

func TestFreshenTellsRepresentationsApart(t *testing.T) {
	const older, newer = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Last-Modified: Sun, 06 Nov 1994 08:49:38 GMT"
	for _, row := range []struct {
		claim         string
		held, comes   http.Header
		ok            bool
		tagAfterwards string
	}{
		{"the same strong tag", fields(`ETag: "a"`), fields(`ETag: "a"`), true, `"a"`},
		{"another strong tag", fields(`ETag: "a"`), fields(`ETag: "b"`), false, ""},
		{"the same weak tag", fields(`ETag: W/"a"`), fields(`ETag: W/"a"`), true, `W/"a"`},
		{"another weak tag", fields(`ETag: W/"a"`), fields(`ETag: W/"b"`), false, ""},
		{"a weak tag confirms a strong one, which still names the body", fields(`ETag: "a"`), fields(`ETag: W/"a"`), true, `"a"`},
		{"a strong tag does not make a weak one strong", fields(`ETag: W/"a"`), fields(`ETag: "a"`), true, `W/"a"`},
		{"no tag in the 304", fields(`ETag: "a"`), fields(), true, `"a"`},
		{"a tag that the body was not given does not come to name it", fields(older), fields(older, `ETag: "b"`), true, ""},
		{"no validator at all", fields(older), fields(), true, ""},
		{"the same time, written otherwise", fields(older), fields("Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT"), true, ""},
		{"a newer time", fields(older), fields(newer), false, ""},
		{"an older time, as of a file rolled back", fields(newer), fields(older), false, ""},
		{"times that cannot be read and differ", fields("Last-Modified: a"), fields("Last-Modified: b"), false, ""},
		{"another time beside the same tag: the file was touched", fields(`ETag: "a"`, older), fields(`ETag: "a"`, newer), true, `"a"`},
		{"another time, and a tag on one side only", fields(`ETag: "a"`, older), fields(newer), false, ""},
	} {
		m := stored()
		m.Header = row.held
		n, ok := Freshen(m, row.comes, t0, t0)
		if ok != row.ok {
			t.Errorf("%s: Freshen(%v with %v) = %v, want %v", row.claim, row.held, row.comes, ok, row.ok)
			continue
		}
		if ok && n.Header.Get("Etag") != row.tagAfterwards {
			t.Errorf("%s: entity tag afterwards = %q, want %q", row.claim, n.Header.Get("Etag"), row.tagAfterwards)
		}
	}
}

func TestFreshenUpdatesFieldsAndKeepsWhatTheBodyIs(t *testing.T) {
	m := stored(
		"Date: "+date(t0), "Age: 500", `ETag: "a"`, "Cache-Control: max-age=1", "Content-Type: text/plain", "X-Old: 1", "X-Both: 1", "X-Both: 2",
		"Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Content-Length: 10",
	)
	m.Size, m.SHA256, m.ModTime, m.Vary = 10, [32]byte{1}, t0.Add(-time.Hour), http.Header{"Accept": {"x"}}
	before := *m
	before.Header = m.Header.Clone()
	asked, received := t0.Add(time.Hour), t0.Add(time.Hour+time.Second)
	n, ok := Freshen(m, fields(
		"Date: "+date(received), `ETag: "a"`, "Cache-Control: max-age=60", "X-Both: 3", "X-New: 4", "Content-Type: text/plain;charset=utf-8",
		"Content-Encoding: br", "Content-Range: bytes 5-6/7", "Content-Length: 0", "Transfer-Encoding: chunked",
	), asked, received)
	if !ok {
		t.Fatal("Freshen with the same tag = false")
	}
	want := before
	want.Asked, want.Received = asked, received
	want.Header = fields(
		"Date: "+date(received), `ETag: "a"`, "Cache-Control: max-age=60", "Content-Type: text/plain;charset=utf-8", "X-Old: 1", "X-Both: 3", "X-New: 4",
		"Content-Encoding: gzip", "Content-Range: bytes 0-1/2", "Content-Length: 10",
	)
	if diff := cmp.Diff(want, *n, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("Freshen differs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, *m); diff != "" {
		t.Errorf("Freshen changed what was stored (-before +after):\n%s", diff)
	}
	if v := Judge(n, Rule{}, received); !v.Fresh || v.Age != time.Second {
		t.Errorf("Judge of the freshened = fresh %v at age %v, want fresh at the second that the 304 took", v.Fresh, v.Age)
	}
}

func TestFreshenWithoutDateCountsFromWhenTheAnswerCame(t *testing.T) {
	m := stored("Date: "+date(t0.Add(-1000*time.Hour)), "Cache-Control: max-age=60")
	n, ok := Freshen(m, fields(), t0, t0)
	if !ok || n.Header.Get("Date") != date(t0) || !Judge(n, Rule{}, t0).Fresh {
		t.Errorf("Freshen with no fields = %v, Date %q; want it fresh from %s", ok, n.Header.Get("Date"), date(t0))
	}
	n, ok = Freshen(m, fields("Age: 30"), t0, t0)
	if !ok || Age(n, t0) != 30*time.Second {
		t.Errorf("Freshen by a cache's 304 = %v at age %v, want 30s", ok, Age(n, t0))
	}
}

func TestFreshenConfirmsALengthOnlyByItsLength(t *testing.T) {
	for _, row := range []struct {
		claim string
		comes http.Header
		ok    bool
	}{
		{"a 304 alone does not tell that the end is missing", fields(`ETag: "a"`), false},
		{"the same length does", fields(`ETag: "a"`, "Content-Length: 10"), true},
		{"another length says that it is", fields(`ETag: "a"`, "Content-Length: 11"), false},
	} {
		m := provisional(stored(`ETag: "a"`))
		m.Size = 10
		n, ok := Freshen(m, row.comes, t0, t0)
		if ok != row.ok || ok && n.Provisional {
			t.Errorf("%s: Freshen(%v) = %v, want %v", row.claim, row.comes, ok, row.ok)
		}
	}
}

// What a 304 says of who may have the response binds from then on.
func TestA304ThatForbidsEndsReuse(t *testing.T) {
	for _, control := range []string{"private, max-age=60", "no-store, max-age=60", "no-cache, max-age=60"} {
		n, ok := Freshen(stored(`ETag: "a"`, "Cache-Control: max-age=60"), fields(`ETag: "a"`, "Cache-Control: "+control), t0, t0)
		if !ok {
			t.Fatalf("Freshen with %q = false", control)
		}
		if v := Judge(n, Rule{}, t0); v.Fresh || v.OnError(Rule{}, false) {
			t.Errorf("Judge after a 304 with %q = fresh %v, on error %v; want neither", control, v.Fresh, v.OnError(Rule{}, false))
		}
	}
}
