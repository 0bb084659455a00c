package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"testing"

	"zcache/internal/origin/origintest"
)

func TestUsersStayOutOfTexts(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"/files/http/bob:secret@h/f", "/files/http/***@h/f"},
		{"///bob:secret@h/f", "///***@h/f"},
		{"/download/sftp://bob:s%40cret@h/", "/download/sftp://***@h/"},
		{`write CONNECT "bob:secret@h:443"`, `write CONNECT "***@h:443"`},
		{"/files/http/bob%3Asecret%40h/f", "/files/http/***@h/f"},
		{"/plain/path", "/plain/path"},
	} {
		if got := withoutUsers(c.text); got != c.want {
			t.Errorf("withoutUsers(%q) = %q, want %q", c.text, got, c.want)
		}
	}
}

func TestWhatIsSaidOfAnOriginStaysBelowItsMount(t *testing.T) {
	g := newRig(t, Hub{Name: "one", Mount: "/one/"})
	g.o.File("/one/a", origintest.Text("a"), origintest.AddHeader("Set-Cookie", "sid=1; Path=/; Domain=origin.example; HttpOnly"),
		origintest.AddHeader("Set-Cookie", "deep=2; Path=/x"), origintest.Header("Clear-Site-Data", `"*"`), cc("no-store"))
	r := g.get("/one/a")
	want := []string{"sid=1; Path=/one/; HttpOnly", "deep=2; Path=/one/x"}
	if got := r.Header["Set-Cookie"]; !slices.Equal(got, want) {
		t.Errorf("Set-Cookie = %q, want %q", got, want)
	}
	if r.Header.Get("Clear-Site-Data") != "" {
		t.Errorf("one upstream may clear what all have: %v", r.Header)
	}
}

func TestCookiesStayOutOfTheURLForm(t *testing.T) {
	g := newRig(t).forward()
	g.out.File("/a", origintest.Text("a"), cc(fresh))
	g.get("/files/http/"+g.out.Addr+"/a", "Cookie: sid=1", "Referer: http://other.example/secret")
	if h := g.out.Last("/a").Header; len(h["Cookie"]) > 0 || len(h["Referer"]) > 0 {
		t.Errorf("a host of the URL form got %v", h)
	}
}

func TestAnotherSitesPageMayNotWrite(t *testing.T) {
	g := newRig(t)
	r := g.sendBody("x", "POST /a HTTP/1.1", "Content-Length: 1", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site")
	if r.StatusCode != http.StatusForbidden || r.word() != "cross_origin" || g.o.Total() != 0 {
		t.Errorf("a POST of another site's page: %d %s, the origin asked %d times", r.StatusCode, r.body, g.o.Total())
	}
}

func TestPlacesForTunnelsAreBounded(t *testing.T) {
	var tn tunnels
	one, other := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	n := 0
	for tn.room(one) {
		n++
	}
	if n != max(4, mostTunnels()/4) {
		t.Errorf("one client had %d places, want a quarter of %d", n, mostTunnels())
	}
	if !tn.room(other) {
		t.Error("another client had none")
	}
	tn.done(one)
	if !tn.room(one) || tn.room(one) {
		t.Error("a place that was given back is one place")
	}
}
