package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

// An aclRow is what somebody gets of a target. In it ORIGIN is the origin of the hubs, OUT another's, and S what must not be seen.
type aclRow struct {
	claim, who, line string
	header           []string
	status           int
	body             string // contained in it, when it is not denied
}

var aclRows = []aclRow{
	// The gateway.
	{"anonymous: what is open", "", "GET /a/pub/f", nil, 200, "open"},
	{"anonymous: what is not", "", "GET /a/top", nil, 401, ""},
	{"anonymous: what is hidden", "", "GET /a/S/X", nil, 401, ""},
	{"anonymous: by HEAD", "", "HEAD /a/S/X", nil, 401, ""},
	{"anonymous: by OPTIONS", "", "OPTIONS /a/S/X", nil, 401, ""},
	{"anonymous: a hub that is not", "", "GET /nohub/x", nil, 401, ""},
	{"a wrong token, even for what is open", "nobody", "GET /a/pub/f", nil, 401, ""},
	{"an expired token, even for what is open", "expired", "GET /a/pub/f", nil, 401, ""},
	{"a reader: what it may read", "reader", "GET /a/top", nil, 200, "open"},
	{"a reader: below what is denied, allowed again", "reader", "GET /a/S/open/f", nil, 200, "open"},
	{"a reader: what is denied", "reader", "GET /a/S/X", nil, 403, ""},
	{"a reader: by HEAD", "reader", "HEAD /a/S/X", nil, 403, ""},
	{"a reader: a range", "reader", "GET /a/S/X", []string{"Range: bytes=0-1"}, 403, ""},
	{"a reader: a condition", "reader", "GET /a/S/X", []string{"If-None-Match: *"}, 403, ""},
	{"a reader: a condition on time", "reader", "GET /a/S/X", []string{"If-Modified-Since: Sun, 22 Nov 2037 00:00:00 GMT"}, 403, ""},
	{"a reader: by digest", "reader", "GET /a/S/X", []string{"Repr-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}, 403, ""},
	{"a reader: if it is cached", "reader", "GET /a/S/X", []string{"Cache-Control: only-if-cached"}, 403, ""},
	{"a reader: a redirect", "reader", "GET /a/S/moved", nil, 403, ""},
	{"a reader: what is not there", "reader", "GET /a/S/gone", nil, 403, ""},
	{"a reader: with a query", "reader", "GET /a/S/X?y", nil, 403, ""},
	{"a reader: with an escape", "reader", "GET /a/%73hut/X", nil, 403, ""},
	{"a reader: with an escaped slash", "reader", "GET /a/S%2FX", nil, 403, ""},
	{"a reader: with a second slash", "reader", "GET /a//S/X", nil, 403, ""},
	{"a reader: in capitals, which a server may fold", "reader", "GET /a/SHUT/X", nil, 403, ""},
	{"a reader: at a host of its own", "reader", "GET /S/X", []string{"Host: deb.lab"}, 403, ""},
	{"a reader: a hub that is not", "reader", "GET /nohub/x", nil, 403, ""},
	{"a reader: the top of what it may not see", "reader", "GET /", []string{"Host: deb.lab"}, 403, ""},
	{"the host's reader: there", "deb", "GET /dists/f", []string{"Host: deb.lab"}, 200, "open"},
	{"the host's reader: what is hidden there", "deb", "GET /S/X", []string{"Host: deb.lab"}, 403, ""},
	{"the host's reader: another hub", "deb", "GET /a/pub/f", nil, 403, ""},
	{"who sees all: what is hidden", "all", "GET /a/S/X", nil, 200, secret},
	{"who sees all: a hub that is not", "all", "GET /nohub/x", nil, 404, "no_hub"},

	// Whole URLs.
	{"URL form: what is open", "", "GET /files/http/OUT/pub/f", nil, 200, "out"},
	{"URL form: what is not", "", "GET /files/http/OUT/S/X", nil, 401, ""},
	{"URL form: the other spelling", "", "GET /download/http://OUT/S/X", nil, 401, ""},
	{"URL form: a hub's, what is open", "", "GET /files/http/ORIGIN/a/pub/f", nil, 200, "open"},
	{"URL form: a hub's, what is hidden", "reader", "GET /files/http/ORIGIN/a/S/X", nil, 403, ""},
	{"URL form: a hub's by host, what is hidden", "deb", "GET /download/http:/ORIGIN/deb/S/X", nil, 403, ""},
	{"URL form: a hub's by host", "deb", "GET /download/http:/ORIGIN/deb/dists/f", nil, 200, "open"},
	{"URL form: nothing of it", "reader", "GET /files/http/OUT/pub/f", nil, 403, ""},
	{"URL form: the page of a site seen in part", "out", "GET /files/http/OUT/", []string{"Accept: text/plain"}, 200, "pub/"},
	{"proxy form: what is open", "", "GET http://OUT/pub/f", nil, 200, "out"},
	{"proxy form: what is not", "", "GET http://OUT/S/X", nil, 407, ""},
	{"proxy form: an expired token", "expired", "GET http://OUT/pub/f", nil, 407, ""},
	{"proxy form: what is denied", "out", "GET http://OUT/S/X", nil, 403, ""},
	{"proxy form: by HEAD", "out", "HEAD http://OUT/S/X", nil, 403, ""},
	{"proxy form: the origin's page of what is seen in part", "out", "GET http://OUT/", nil, 403, ""},
	{"proxy form: the same with a query", "out", "GET http://OUT/?C=M", nil, 403, ""},
	{"proxy form: a hub's, what is hidden", "reader", "GET http://ORIGIN/a/S/X", nil, 403, ""},
	{"proxy form: a hub's, what may be read", "reader", "GET http://ORIGIN/a/top", nil, 200, "open"},
	{"proxy form: a hub's page of what is seen in part", "reader", "GET http://ORIGIN/a/", nil, 403, ""},
	{"proxy form: https by a word", "out", "GET http://HTTPS///OUT/S/X", nil, 403, ""},

	// Tunnels: of a whole site or none of it.
	{"CONNECT: nobody", "", "CONNECT other.example:443", nil, 407, ""},
	{"CONNECT: somebody else", "reader", "CONNECT other.example:443", nil, 403, ""},
	{"CONNECT: a site seen in part", "out", "CONNECT OUT", nil, 403, ""},
	{"CONNECT: an expired token", "expired", "CONNECT other.example:443", nil, 407, ""},

	// Directories.
	{"a page for who sees a part", "reader", "GET /a/S/", nil, 200, "open="},
	{"its JSON", "reader", "GET /a/S/?format=json", nil, 200, "open/"},
	{"its JSON by Accept", "reader", "GET /a/S/", []string{"Accept: application/json"}, 200, "open/"},
	{"its names", "reader", "GET /a/S/?format=text", nil, 200, "open/"},
	{"its nginx form", "reader", "GET /a/S/?format=nginx&sort=size", nil, 200, "open"},
	{"the upstream's own page", "reader", "GET /a/S/?raw=1", nil, 403, ""},
	{"the upstream's own order", "reader", "GET /a/S/?C=M;O=D", nil, 403, ""},
	{"for who sees nothing there", "deb", "GET /a/", nil, 403, ""},
	{"for who may read nothing of it without a name", "", "GET /a/S/", nil, 401, ""},
	{"on the way to what may be read", "way", "GET /a/", []string{"Accept: text/plain"}, 200, ""},
	{"on the way, without a slash", "way", "GET /a/S", nil, 301, ""},
	{"on the way, the hub without a slash", "way", "GET /a", nil, 301, ""},
	{"on the way, a file", "way", "GET /a/top", nil, 403, ""},
	{"the slash of what is hidden", "deb", "GET /a", nil, 403, ""},
	{"a document where what may be read is not all", "way", "GET /a/doc/", nil, 403, ""},
	{"an index that is not there", "way", "GET /a/S/none/", nil, 403, ""},
	{"what is right there", "way", "GET /a/S/open/", []string{"Accept: text/plain"}, 200, "f"},
	{"for who sees all", "all", "GET /a/S/?raw=1", nil, 200, secret},
	{"a digest of what is seen in part is nobody's before a walk", "reader", "GET /a/S/", []string{"Accept: " + fill.ListingType}, 200, "open/"},

	// Writes.
	{"a write by nobody", "", "DELETE /a/pub/f", nil, 401, ""},
	{"a write by a reader", "reader", "DELETE /a/pub/f", nil, 403, ""},
	{"a write where it is allowed", "writer", "POST /a/up/x", nil, 200, "written"},
	{"a write where it is not", "writer", "POST /a/pub/f", nil, 403, ""},
	{"a write in proxy form, by no Bearer", "writer", "POST http://ORIGIN/a/up/x", nil, 403, ""},
	{"a write in URL form", "writer", "POST /files/http/ORIGIN/a/up/x", nil, 200, "written"},
	{"a write by who reads all", "all", "PUT /a/up/x", nil, 403, ""},

	// What is no hub's.
	{"help", "", "GET /download/", nil, 200, "Write the whole URL"},
	{"help for a wrong token", "nobody", "GET /download/", nil, 401, ""},
}

func TestEveryFaceAsksTheRules(t *testing.T) {
	g := newRuledRig(t)
	g.o.Handle("/a/up/x", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "written") })
	g.g.SetForward(&Forward{Connect: g.tr.Connect})
	sub := strings.NewReplacer("ORIGIN", g.o.Addr, "OUT", g.out.Addr, "/SHUT", "/SHUT", "/S", "/"+shut, "X", secret)
	for _, warm := range []bool{false, true} {
		if warm { // what is held must be as closed as what is not
			for _, path := range []string{"/a/", "/a/pub/f", "/a/top", "/a/" + shut + "/" + secret, "/a/" + shut + "/moved", "/a/" + shut + "/gone", "/files/http/" + g.out.Addr + "/" + shut + "/" + secret} {
				g.ask("all", "GET "+path)
			}
			g.idle()
		}
		for _, row := range aclRows {
			g.o.Forget()
			g.out.Forget()
			line := sub.Replace(row.line)
			got := g.ask(row.who, line, row.header...)
			what := fmt.Sprintf("%s (held %v): %s by %q", row.claim, warm, line, row.who)
			if got.StatusCode != row.status || row.status < 400 && !strings.Contains(got.body, row.body) {
				t.Errorf("%s = %d %.200q, want %d with %q", what, got.StatusCode, got.body, row.status, row.body)
				continue
			}
			if row.status == 401 || row.status == 403 || row.status == 407 {
				g.closed(what, got, row.status)
			}
			if seen := got.body + got.Header.Get("Location"); row.who != "all" && strings.Contains(seen, secret) {
				t.Errorf("%s shows what is hidden: %q", what, seen)
			}
		}
	}
	if len(aclRows) < 60 {
		t.Errorf("%d rows, want 60 or more", len(aclRows))
	}
}

// closed holds a refusal to telling nothing, and to having asked nobody.
func (g *ruled) closed(what string, got reply, status int) {
	g.t.Helper()
	word := map[int]string{401: "unauthenticated", 403: "denied", 407: "unauthenticated"}[status]
	if got.body != "" && got.word() != word {
		g.t.Errorf("%s: %s, want the word %s", what, got.body, word)
	}
	for name := range got.Header {
		switch name {
		case "Date", "Content-Type", "Content-Length", "X-Request-Id", "Via", "Cache-Status", "X-Cache", "Cache-Control", "X-Content-Type-Options", "Connection":
		case "Www-Authenticate", "Proxy-Authenticate":
			if name == "Www-Authenticate" != (status == 401) || status == 403 {
				g.t.Errorf("%s: %s with status %d", what, name, status)
			}
		default:
			g.t.Errorf("%s: the refusal has %s: %s", what, name, got.Header.Get(name))
		}
	}
	if got.Header.Get("X-Cache") != "BYPASS" || got.Header.Get("Cache-Control") != "no-store" {
		g.t.Errorf("%s: X-Cache %s, Cache-Control %s", what, got.Header.Get("X-Cache"), got.Header.Get("Cache-Control"))
	}
	if n := g.o.Total() + g.out.Total(); n != 0 {
		g.t.Errorf("%s: the origins were asked %d times", what, n)
	}
}

func TestARefusalIsTheSameForWhatIsThereAndWhatIsNot(t *testing.T) {
	g := newRuledRig(t)
	g.ask("all", "GET /a/"+shut+"/"+secret)
	g.idle()
	for _, who := range []string{"", "deb", "nobody"} {
		var first reply
		for i, path := range []string{"/a/" + shut + "/" + secret, "/a/" + shut + "/none", "/a/" + shut + "/", "/a/none/", "/none/at/all", "/a/" + shut + "/gone", "/a/" + shut + "/moved"} {
			got := g.ask(who, "GET "+path)
			for _, name := range []string{"Date", "X-Request-Id"} {
				got.Header.Del(name)
			}
			if i == 0 {
				first = got
				continue
			}
			if got.StatusCode != first.StatusCode || got.body != first.body || fmt.Sprint(got.Header) != fmt.Sprint(first.Header) {
				t.Errorf("GET %s by %q = %d %s %v\nwant %d %s %v", path, who, got.StatusCode, got.body, got.Header, first.StatusCode, first.body, first.Header)
			}
		}
	}
}

func TestListingsHaveTheRowsThatMayBeSeen(t *testing.T) {
	g := newRuledRig(t)
	for _, c := range []struct{ who, path, want string }{
		{"all", "/a/", "pub/ " + shut + "/ top up/"},
		{"all", "/a/" + shut + "/", "open/ " + secret},
		{"reader", "/a/", "pub/ " + shut + "/ top up/"}, // it is on the way to what may be read
		{"reader", "/a/" + shut + "/", "open/"},
		{"way", "/a/", shut + "/"},
		{"way", "/a/" + shut + "/", "open/"},
		{"", "/a/", "pub/"},
		{"", "/a/pub/", "f g/"},
		{"out", "/files/http/" + g.out.Addr + "/", "pub/"},
	} {
		for _, down := range []bool{false, true} {
			if down {
				g.idle()
				g.o.Stop()
				g.out.Stop()
			}
			got := g.ask(c.who, "GET "+c.path+"?format=text")
			if strings.HasPrefix(c.path, "/files/") {
				got = g.ask(c.who, "GET "+c.path, "Accept: text/plain")
			}
			names := strings.Fields(got.body)
			slices.Sort(names)
			want := strings.Fields(c.want)
			slices.Sort(want)
			if !slices.Equal(names, want) || got.StatusCode != 200 {
				t.Errorf("%s by %q, without the origin %v = %d %q, want %q", c.path, c.who, down, got.StatusCode, names, want)
			}
			if down {
				g.o.Start()
				g.out.Start()
			}
		}
	}
}

func TestListingsMadeForOneViewAreToldApart(t *testing.T) {
	g := newRuledRig(t)
	page := g.ask("reader", "GET /a/"+shut+"/")
	if !strings.Contains(page.body, " of 1:") || strings.Contains(page.body, secret) {
		t.Errorf("page of a part: %q, want the total of what is seen", page.body)
	}
	tags := map[string]string{}
	for _, who := range []string{"all", "reader", ""} {
		got := g.ask(who, "GET /a/?format=text")
		tag := got.Header.Get("Etag")
		if other, ok := tags[tag]; ok || tag == "" {
			t.Errorf("Etag %s for %q is that for %q", tag, who, other)
		}
		tags[tag] = who
		private := strings.Contains(got.Header.Get("Cache-Control"), "private")
		if private != (who != "all") || !strings.Contains(got.Header.Get("Vary"), "Authorization") {
			t.Errorf("for %q: Cache-Control %q, Vary %q", who, got.Header.Get("Cache-Control"), got.Header.Get("Vary"))
		}
	}
	for tag, who := range tags {
		for other := range tags {
			got := g.ask(who, "GET /a/?format=text", "If-None-Match: "+other)
			if want := map[bool]int{true: 304, false: 200}[tag == other]; got.StatusCode != want {
				t.Errorf("%q with the Etag for %q = %d, want %d", who, tags[other], got.StatusCode, want)
			}
		}
	}
	between := g.ask("way", "GET /a/", "Accept: "+fill.ListingType)
	if between.Header.Get("Cache-Control") != "" || strings.Contains(between.Header.Get("Vary"), "Authorization") || strings.Contains(between.body, "pub") {
		t.Errorf("for another zcache: %v %s, want what it may keep", between.Header, between.body)
	}
}

func TestWhatIsHiddenShowsInNoTag(t *testing.T) {
	g := newRuledRig(t)
	before := g.ask("way", "GET /a/"+shut+"/?format=text")
	g.ask("all", "GET /a/"+shut+"/"+secret)
	g.idle()
	key, err := cache.ParseKey("a", "/"+shut+"/", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.f.Purge(key, false); err != nil {
		t.Fatal(err)
	}
	g.o.File("/a/"+shut+"/", index("another", "open/"), kind(asHTML))
	after := g.ask("way", "GET /a/"+shut+"/?format=text")
	if before.Header.Get("Etag") != after.Header.Get("Etag") || after.body != before.body {
		t.Errorf("a hidden file came: Etag %s, then %s; %q, then %q", before.Header.Get("Etag"), after.Header.Get("Etag"), before.body, after.body)
	}
}
