package proxy

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestOurTokensReachNoOriginAndKeepNothingFromBeingShared(t *testing.T) {
	g := newRig(t).forward().rule("version = 1\n", auth.TokenInfo{Name: "all"}, auth.TokenInfo{Name: "other"})
	token := g.tokens["all"]
	foreign := "Bearer of-the-origin"
	for i, c := range []struct {
		claim, target string
		header        []string
		want          string // Authorization at the origin
		shared        bool
	}{
		{"Bearer", "/N", []string{"Authorization: Bearer " + token}, "", true},
		{"Basic, as the password", "/N", []string{"Authorization: " + basic("x", token)}, "", true},
		{"Basic, as the user", "/N", []string{"Authorization: " + basic(token, "")}, "", true},
		{"of the origin", "/N", []string{"Authorization: " + foreign}, foreign, false},
		{"none", "/N", nil, "", true},
		{"in URL form", "/files/http/OUT/N", []string{"Authorization: Bearer " + token}, "", true},
		{"in the URL", "/files/http/x:" + token + "@OUT/N", nil, "", true},
		{"in the URL, for the origin, beside ours", "/files/http/me:mine@OUT/N", []string{"Authorization: Bearer " + token}, basic("me", "mine"), false},
		{"proxy form", "http://OUT/N", []string{"Proxy-Authorization: " + basic("x", token)}, "", true},
		{"proxy form, as Bearer", "http://OUT/N", []string{"Proxy-Authorization: Bearer " + token}, "", true},
		{"proxy form, with one of the origin's", "http://OUT/N", []string{"Proxy-Authorization: " + basic("x", token), "Authorization: " + foreign}, foreign, false},
		{"proxy form, ours twice", "http://OUT/N", []string{"Proxy-Authorization: " + basic("x", token), "Authorization: Bearer " + g.tokens["other"]}, "", true},
		{"proxy form, in the URL", "http://x:" + token + "@OUT/N", nil, "", true},
	} {
		path := fmt.Sprintf("/n%d", i)
		for _, o := range []*origintest.Origin{g.o, g.out} {
			o.File(path, origintest.Text("n"), cc(fresh))
		}
		target := strings.NewReplacer("OUT", g.out.Addr, "/N", path).Replace(c.target)
		if got := g.get(target, c.header...); got.StatusCode != 200 {
			t.Errorf("%s: %d %s, want 200", c.claim, got.StatusCode, got.body)
			continue
		}
		g.idle()
		o := g.o
		if strings.Contains(c.target, "OUT") {
			o = g.out
		}
		last := o.Last(path)
		if last.Header.Get("Authorization") != c.want || last.Header.Get("Proxy-Authorization") != "" {
			t.Errorf("%s: the origin got Authorization %q, Proxy-Authorization %q, want %q and none",
				c.claim, last.Header.Get("Authorization"), last.Header.Get("Proxy-Authorization"), c.want)
		}
		if got := g.get(target, "Authorization: Bearer "+g.tokens["other"]); (got.Header.Get("X-Cache") == "HIT") != c.shared && !strings.HasPrefix(target, "http") {
			t.Errorf("%s: the next client got %s, want a hit %v", c.claim, got.Header.Get("X-Cache"), c.shared)
		}
	}
}

func TestClientsWithTokensShareAFlight(t *testing.T) {
	g := newRig(t).rule("version = 1\n", auth.TokenInfo{Name: "all"}, auth.TokenInfo{Name: "other"})
	release := make(chan struct{})
	g.o.File("/big", origintest.Body(1, 1<<16), cc(fresh), origintest.Hold(release))
	var wg sync.WaitGroup
	words := make([]string, 6)
	for i := range words {
		wg.Go(func() { words[i] = g.ask([]string{"all", "other"}[i%2], "GET /big").Header.Get("X-Cache") })
	}
	for g.f.Flights() == nil || len(g.f.Flights()) == 0 || g.f.Flights()[0].Waiting < int64(len(words)) {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	if n := g.o.Count("/big"); n != 1 {
		t.Errorf("the origin was asked %d times for %q, want once", n, words)
	}
}

func TestAnAbsoluteTargetThatIsUsIsNoProxyRequest(t *testing.T) {
	g := newRig(t).rule("version = 1\n[anonymous]\nread = [\"/none\"]\n", auth.TokenInfo{Name: "all"})
	g.o.File("/a", origintest.Text("a"), cc(fresh))
	target := "http://" + g.addr + "/a"
	if got := g.get(target); got.StatusCode != 401 || got.Header.Get("Www-Authenticate") == "" || got.Header.Get("Proxy-Authenticate") != "" {
		t.Errorf("GET %s = %d %v, want 401", target, got.StatusCode, got.Header)
	}
	g.get(target, "Authorization: "+basic("x", g.tokens["all"])).want(t, target, 200, "a", "MISS")
}

// whose has the origin tell who asks.
func whose(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", fresh)
	io.WriteString(w, "for "+r.Header.Get("Authorization"))
}

func TestIdentityThatIsPassedPartitionsWhatIsHeld(t *testing.T) {
	g := newRig(t, Hub{Name: "p", Mount: "/p/", Identity: IdentityPass, Listings: true}).forward().listing().rule("version = 1\n", auth.TokenInfo{Name: "one"}, auth.TokenInfo{Name: "two"})
	g.o.Handle("/p/f", whose)
	one, two := "Bearer "+g.tokens["one"], "Bearer "+g.tokens["two"]
	g.ask("one", "GET /p/f").want(t, "the first client", 200, "for "+one, "MISS")
	g.idle()
	g.ask("two", "GET /p/f").want(t, "another one", 200, "for "+two, "MISS")
	g.idle()
	g.ask("", "GET /p/f").want(t, "nobody", 200, "for ", "MISS")
	g.idle()
	for who, want := range map[string]string{"one": "for " + one, "two": "for " + two, "": "for "} {
		g.ask(who, "GET /p/f").want(t, "again "+who, 200, want, "HIT")
		if who == "" {
			continue
		}
		g.get("/files/http/"+g.o.Addr+"/p/f", g.as(who, false)...).want(t, "in URL form "+who, 200, want, "HIT")
		g.ask(who, "GET http://"+g.o.Addr+"/p/f").want(t, "in proxy form "+who, 200, want, "HIT")
	}
	key, err := cache.ParseKey("p", "/f", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if parts := g.tree.Partitions("p"); len(parts) != 2 {
		t.Errorf("partitions %q, want one for each known client", parts)
	}
	var mine auth.Client
	r := (&http.Request{Method: "GET", Header: http.Header{"Authorization": {one}}, RemoteAddr: "192.0.2.1:1"}).WithContext(t.Context())
	if mine = g.g.cfg.Guard.IdentifyIn(r, false); !slices.Contains(g.tree.Partitions("p"), g.g.KeyFor(mine, key).Hub()) {
		t.Errorf("KeyFor = %s, which is none of %q", g.g.KeyFor(mine, key), g.tree.Partitions("p"))
	}
	g.o.Handle("/p/d/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", asHTML)
		io.Copy(w, index("of-"+fmt.Sprint(len(r.Header.Get("Authorization"))), "x").Reader())
	})
	if got := g.ask("one", "GET /p/d/?format=text"); !strings.Contains(got.body, fmt.Sprintf("of-%d", len(one))) {
		t.Errorf("the listing of the one who asks: %q", got.body)
	}
}

func TestNoIdentityIsPassed(t *testing.T) {
	g := newRig(t, Hub{Name: "n", Mount: "/n/", Identity: IdentityNone}).rule("version = 1\n", auth.TokenInfo{Name: "one"})
	g.o.Handle("/n/f", whose)
	g.get("/n/f", "Authorization: Bearer of-somebody").want(t, "a foreign credential", 200, "for ", "MISS")
	g.idle()
	g.ask("one", "GET /n/f").want(t, "a token", 200, "for ", "HIT")
}

func TestWithoutAnAuthFileOnlyThisMachineWritesInTheHubsName(t *testing.T) {
	g := newRig(t, Hub{Name: "own", Mount: "/own/", Auth: "credentialed"}, Hub{Name: "open", Mount: "/open/", Auth: "anonymous"},
		Hub{Name: "keep", Mount: "/keep/", Writable: true})
	for _, name := range []string{"own", "open", "keep"} {
		g.o.Handle("/"+name+"/x", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "written") })
	}
	host := "Host: localhost:" + port(g.addr)
	for _, c := range []struct {
		line   string
		header []string
		want   int
	}{
		{"POST /own/x", nil, 403},
		{"POST /own/x", []string{host}, 200},
		{"POST /own/x", []string{host, "X-Forwarded-For: 127.0.0.1"}, 403},
		{"DELETE /keep/x", []string{"Host: elsewhere.example"}, 403},
		{"POST /open/x", []string{"Host: elsewhere.example"}, 200},
		{"GET /own/x", []string{"Host: elsewhere.example"}, 200},
	} {
		if c.header == nil {
			c.header = []string{"Host: elsewhere.example"}
		}
		if got := g.send(c.line+" HTTP/1.1", c.header...); got.StatusCode != c.want {
			t.Errorf("%s with %q = %d %s, want %d", c.line, c.header, got.StatusCode, got.body, c.want)
		}
	}
}

func TestWhatIsRefusedOrWrittenIsNoted(t *testing.T) {
	g := newRuledRig(t)
	g.o.Handle("/a/up/x", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "written") })
	var mu sync.Mutex
	var notes []string
	g.g.cfg.Audit = auth.NewAudit(func(r auth.Record) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, fmt.Sprintf("%s %s %s by %s", r.Outcome, r.Action, r.Path, r.Name))
	})
	g.ask("reader", "GET /a/top")
	g.ask("reader", "GET /a/"+shut+"/"+secret)
	g.ask("writer", "POST /a/up/x")
	g.ask("reader", "POST /a/up/x")
	g.ask("reader", "CONNECT other.example:443")
	g.ask("deb", "GET /x", "Host: deb.lab")
	want := []string{
		"denied read /a/" + shut + "/" + secret + " by reader", "allowed write /a/up/x by writer", "denied write /a/up/x by reader",
		"denied connect other.example:443 by reader", "denied read //deb.lab/x by deb",
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(notes, want) {
		t.Errorf("noted\n%s\nwant\n%s", strings.Join(notes, "\n"), strings.Join(want, "\n"))
	}
}

func TestAPartOfAnOwnedTreeHasADigestOfItsOwn(t *testing.T) {
	plain, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{"pub/a": "a", "shut/x": "x", "shut/open/b": "b", "top": "t"})
	g := plain.rule("version = 1\n",
		auth.TokenInfo{Name: "part", Read: []string{"/pub", "/shut/open"}}, auth.TokenInfo{Name: "same", Read: []string{"/shut/open", "/pub"}},
		auth.TokenInfo{Name: "less", Read: []string{"/pub"}}, auth.TokenInfo{Name: "all"})
	digest := func(who, path string) string {
		return g.ask(who, "GET "+path, ifSubtreeField+`: "0"`).Header.Get(subtreeField)[:20]
	}
	first := map[string]string{}
	for _, who := range []string{"part", "less", "all"} {
		first[who] = digest(who, "/")
	}
	if first["part"] == first["all"] || first["less"] == first["part"] || digest("same", "/") != first["part"] || digest("part", "/pub/") != digest("all", "/pub/") {
		t.Errorf("digests %v, of the same rules %s; want one for each that sees something else", first, digest("same", "/"))
	}
	plant(t, dir, map[string]string{"shut/y": "y"})
	if digest("part", "/") != first["part"] || digest("all", "/") == first["all"] {
		t.Error("a hidden file came: want it in the digest of who sees it, and in no other")
	}
	plant(t, dir, map[string]string{"shut/open/c": "c"})
	if digest("part", "/") == first["part"] || digest("less", "/") != first["less"] {
		t.Error("a file came that may be seen: want it in the digest of who sees it, and in no other")
	}
	if got := g.ask("part", "GET /", ifSubtreeField+": "+g.ask("part", "GET /", ifSubtreeField+`: "0"`).Header.Get(subtreeField)[:66]); got.StatusCode != 304 {
		t.Errorf("with the digest of what is seen = %d, want 304", got.StatusCode)
	}
}

func TestAPartOfAMirrorHasADigestOfItsOwn(t *testing.T) {
	plain := newListingRig(t)
	g := plain.rule("version = 1\n", auth.TokenInfo{Name: "part", Read: []string{"/d/pub"}}, auth.TokenInfo{Name: "all"})
	mirrored := map[string]string{"/d/": strings.Repeat("0d", 32), "/d/pub/": strings.Repeat("0e", 32)}
	asOf := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	g.g.cfg.Subtree = func(dir cache.Key) (string, time.Time, bool) {
		return mirrored[dir.Path()], asOf, mirrored[dir.Path()] != ""
	}
	g.o.File("/d/", index("pub/", "hidden"), kind(asHTML), cc("max-age=600"))
	g.o.File("/d/hidden", origintest.Text("h"), cc(fresh))
	digest := func(who string) string {
		return g.ask(who, "GET /d/", ifSubtreeField+`: "0"`).Header.Get(subtreeField)
	}
	whole, part := digest("all"), digest("part")
	if !strings.HasPrefix(whole, `"0d0d`) || part == "" || part[:20] == whole[:20] || part[66:] != whole[66:] {
		t.Errorf("Zcache-Subtree = %s for all and %s for a part, want two of the same walk", whole, part)
	}
	mirrored["/d/"], asOf = strings.Repeat("1d", 32), asOf.Add(time.Hour) // as after a walk that found something new in what is hidden
	if later := digest("part"); later[:66] != part[:66] || later == part {
		t.Errorf("after a change of what is hidden %s, want %s of the later walk", later, part)
	}
	mirrored["/d/pub/"], asOf = strings.Repeat("1e", 32), asOf.Add(time.Hour)
	if later := digest("part"); later[:66] == part[:66] {
		t.Errorf("after a change of what is seen the digest is still %s", later)
	}
	delete(mirrored, "/d/")
	if later := digest("part"); later != "" {
		t.Errorf("what nobody vouches for has the digest %s", later)
	}
}

func TestFilesThatAnIndexNamedFollowTheRulesOfTheIndex(t *testing.T) {
	plain := newSimpleRig(t)
	html, _ := plain.project("pypi")
	for _, name := range []string{"foo", "shut"} {
		plain.o.File("/pypi/simple/"+name+"/", origintest.Text(html), kind(asHTML), cc(fresh), origintest.Header("Vary", "Accept"))
	}
	for _, file := range []string{"foo-1.0.whl", "shut-1.0.whl", "shut-2.0.tar.gz", "foo-bar-1.0.tar.gz"} {
		plain.out.File("/p/"+file, origintest.Text("of "+file), cc(fresh))
	}
	g := plain.rule("version = 1\n[anonymous]\nread = [\"/none\"]\n",
		auth.TokenInfo{Name: "foo", Read: []string{"/pypi/simple/foo"}},
		auth.TokenInfo{Name: "most", Read: []string{"/pypi"}, Deny: []string{"/pypi/simple/shut"}},
		auth.TokenInfo{Name: "hub", Read: []string{"/pypi"}})
	g.ask("hub", "GET /pypi/simple/foo/", "Accept: text/html;q=0.1")
	g.idle()
	for _, c := range []struct {
		who, file string
		want      int
	}{
		{"", "foo-1.0.whl", 401},
		{"foo", "foo-1.0.whl", 200},
		{"foo", "shut-1.0.whl", 403},
		{"foo", "foo-bar-1.0.tar.gz", 403},
		{"most", "foo-1.0.whl", 200},
		{"most", "shut-1.0.whl", 403},
		{"most", "shut-2.0.tar.gz", 403},
		{"most", "foo-bar-1.0.tar.gz", 200},
		{"hub", "shut-1.0.whl", 200},
	} {
		if got := g.ask(c.who, "GET /files/http/"+g.out.Addr+"/p/"+c.file); got.StatusCode != c.want {
			t.Errorf("%s by %q = %d %s, want %d", c.file, c.who, got.StatusCode, got.body, c.want)
		}
	}
	if got := g.ask("hub", "GET http://"+g.out.Addr+"/p/foo-1.0.whl"); got.StatusCode != 403 {
		t.Errorf("the same in proxy form = %d, want 403: an index gives no leave to use the proxy", got.StatusCode)
	}
}

func TestProjectsOf(t *testing.T) {
	for _, c := range []struct {
		file string
		want []string
	}{
		{"foo-1.0-py3-none-any.whl", []string{"foo"}},
		{"foo_bar-1.0-2-py3-none-any.whl.metadata", []string{"foo-bar"}},
		{"foo-1.0.tar.gz", []string{"foo"}},
		{"Foo.Bar-1.0.zip", []string{"foo-bar"}},
		{"foo-bar-1.0.tar.gz", []string{"foo-bar"}},
		{"foo-2-bar-1.0.tar.gz", []string{"foo", "foo-2-bar"}},
		{"plain.txt", nil},
		{filepath.Base("-1"), nil},
	} {
		if got := projectsOf(c.file); !slices.Equal(got, c.want) {
			t.Errorf("projectsOf(%q) = %q, want %q", c.file, got, c.want)
		}
	}
}

func TestOfAHubWithoutListingsAPartIsNoDirectory(t *testing.T) {
	g := newRig(t, Hub{Name: "npm", Mount: "/npm/"}).rule("version = 1\n", auth.TokenInfo{Name: "most", Read: []string{"/npm"}, Deny: []string{"/npm/shut"}}, auth.TokenInfo{Name: "none", Read: []string{"/x"}})
	g.o.File("/npm/", origintest.Text("all names: "+secret), kind(asHTML), cc(fresh))
	g.o.File("/npm/foo/", origintest.Text("foo"), cc(fresh))
	for _, c := range []struct {
		who, path string
		want      int
	}{
		{"most", "/npm", 301}, {"none", "/npm", 403}, {"most", "/npm/", 403}, {"most", "/npm/foo/", 200}, {"most", "/npm/shut/", 403}, {"most", "/npm/shut", 403},
	} {
		if got := g.ask(c.who, "GET "+c.path); got.StatusCode != c.want || strings.Contains(got.body, secret) {
			t.Errorf("GET %s by %s = %d %s, want %d", c.path, c.who, got.StatusCode, got.body, c.want)
		}
	}
}
