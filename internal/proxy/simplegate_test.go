package proxy

import (
	"testing"
	"time"

	"zcache/internal/limit"
	"zcache/internal/origin/origintest"
)

func TestAPartOfAnIndexPageTakesOneTripAtATime(t *testing.T) {
	g := newSimpleRig(t).limited(limit.Config{Hubs: map[string]limit.Hub{"pypi": {Upstream: limit.Upstream{Trips: 1, Queue: 4, Wait: 3 * time.Second}}}})
	page, want := g.project("pypi")
	g.o.File("/pypi/simple/foo/", origintest.Text(page), kind(asHTML))
	plain := "<html><body>" + string(make([]byte, 200<<10)) + "</body></html>"
	g.o.File("/pypi/simple/bar/", origintest.Text(plain), kind(asHTML))
	begun := time.Now()
	got := g.get("/pypi/simple/foo/", "Cookie: a=b", "Range: bytes=0-99")
	if got.StatusCode != 200 || got.body != want {
		t.Errorf("part of a project's page: %d %q, want 200 with all of it", got.StatusCode, got.body)
	}
	if got = g.get("/pypi/simple/bar/", "Cookie: a=b", "Range: bytes=0-99999"); got.StatusCode != 206 || got.body != plain[:100000] {
		t.Errorf("part of another page: %d with %d bytes, want 206 with 100000", got.StatusCode, len(got.body))
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v: a trip has waited for another one of the same request", took)
	}
}
