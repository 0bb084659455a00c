package proxy

import (
	"strings"
	"testing"

	"zcache/internal/auth"
	"zcache/internal/origin/origintest"
)

func TestWhatACredentialGotIsForNoCacheBetween(t *testing.T) {
	g := newRig(t, Hub{Name: "a", Mount: "/a/"}).rule("version = 1\n\n[anonymous]\nread = [\"/a/pub\"]\n", auth.TokenInfo{Name: "all"})
	const said = "public, s-maxage=900, max-age=600, must-revalidate"
	for _, path := range []string{"/a/pub/f", "/a/shut/f"} {
		g.o.File(path, origintest.Text("x"), cc(said), origintest.Header("Cdn-Cache-Control", "max-age=900"))
	}
	for _, row := range []struct {
		claim, path string
		header      []string
		private     bool
	}{
		{"what everybody may have", "/a/pub/f", nil, false},
		{"the same for a credential", "/a/pub/f", g.as("all", false), false},
		{"what a credential opens", "/a/shut/f", g.as("all", false), true},
		{"what a zcache asks for", "/a/shut/f", append(g.as("all", false), "Cdn-Loop: zcache; id=other"), false},
	} {
		for _, when := range []string{"first", "again"} {
			got := g.get(row.path, row.header...)
			control := strings.Join(got.Header["Cache-Control"], ", ")
			if got.StatusCode != 200 || strings.Contains(control, "private") != row.private || (got.Header.Get("Cdn-Cache-Control") == "") != row.private {
				t.Errorf("%s, %s: %d, Cache-Control %q, CDN-Cache-Control %q, want 200 and private %v",
					row.claim, when, got.StatusCode, control, got.Header.Get("Cdn-Cache-Control"), row.private)
			}
			g.idle()
		}
	}
}
