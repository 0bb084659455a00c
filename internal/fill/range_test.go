package fill

import (
	"net/http"
	"testing"

	"zcache/internal/origin/origintest"
)

func TestRangeOfWhatIsNotKeptIsAskedOfTheOrigin(t *testing.T) {
	g := newRig(t)
	g.o.File("/private.bin", origintest.Body(1, 1<<20), origintest.Header("Cache-Control", "no-store"))
	g.o.File("/a.bin", origintest.Body(2, 1<<20), origintest.Header("Cache-Control", "max-age=60"))
	g.get("/private.bin")
	for _, row := range []struct {
		name, path string
		lines      []string
	}{
		{"what was not kept a moment ago", "/private.bin", nil},
		{"a request with credentials", "/a.bin", []string{"Authorization: Basic eDp5"}},
	} {
		r := g.get(row.path, append(row.lines, "Range: bytes=10-19")...)
		if r.status != http.StatusPartialContent || len(r.body) != 10 || r.broken != nil {
			t.Errorf("%s: a range = %d with %d bytes, %v, want 206 with 10", row.name, r.status, len(r.body), r.broken)
		}
		if got := g.o.Last(row.path).Header.Get("Range"); got != "bytes=10-19" {
			t.Errorf("%s: the origin was asked for %q, want bytes=10-19", row.name, got)
		}
	}
}
