package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/fill"
	"zcache/internal/listing"
	"zcache/internal/origin/origintest"
)

// index is a page as file servers make them of a directory.
func index(names ...string) *origintest.Content {
	var b strings.Builder
	b.WriteString("<html>\n<head><title>Index of /</title></head>\n<body>\n<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\n")
	for _, name := range names {
		b.WriteString(`<a href="` + name + `">` + name + `</a>` + strings.Repeat(" ", 51-len(name)) + "08-Nov-2025 10:00                 123\n")
	}
	b.WriteString("</pre><hr></body>\n</html>\n")
	return origintest.Text(b.String())
}

const asHTML = "text/html"

func kind(s string) origintest.Option { return origintest.Header("Content-Type", s) }

// newListingRig is a rig whose hub shows its directories.
func newListingRig(t *testing.T) *rig {
	return newRig(t, Hub{Name: "top", Mount: "/", Listings: true}).listing()
}

// listing has the rig show directories.
func (g *rig) listing() *rig {
	g.policy.Listings, g.policy.ListingTTL = true, time.Minute
	g.g.cfg.Listings = g.tree
	g.g.cfg.BrowsePolicy = "default-src 'none'"
	g.g.cfg.Browse = func(w io.Writer, p *listing.Page) error {
		fmt.Fprintf(w, "page of %s in %s, made %v offline %v stale %v local %v of %d:", p.Path, p.Mount, p.Made, p.Offline, p.Stale, p.Local, p.Total)
		for r := range p.Rows {
			fmt.Fprintf(w, " %s=%s", r.Name, r.Cached)
		}
		return nil
	}
	return g
}

func TestFormOf(t *testing.T) {
	for _, c := range []struct {
		claim, accept, form string
		ok                  bool
	}{
		{"nothing said", "", "html", true},
		{"anything", "*/*", "html", true},
		{"JSON by name", "application/json", "json", true},
		{"JSON by name, else anything", "application/json, text/plain, */*", "json", true},
		{"JSON outranks", "text/html;q=0.5, application/json;q=0.9", "json", true},
		{"HTML outranks", "text/html, application/json;q=0.9", "html", true},
		{"equal by name", "text/html, application/json", "html", true},
		{"plain text", "text/plain", "text", true},
		{"a browser", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", "html", true},
		{"another zcache", fill.ListingType + ", text/html;q=0.9", "json", true},
		{"XHTML alone", "application/xhtml+xml", "html", true},
		{"a registry's own type", "application/vnd.pypi.simple.v1+json, text/html;q=0.01", "", false},
		{"a registry's own type or anything", "application/vnd.npm.install-v1+json, */*", "", false},
		{"an image", "image/png", "", false},
		{"HTML refused", "text/html;q=0, image/*", "", false},
		{"case does not matter", "Application/JSON", "json", true},
	} {
		var lines []string
		if c.accept != "" {
			lines = []string{c.accept}
		}
		if form, ok := formOf(lines); ok != c.ok || ok && form != c.form {
			t.Errorf("%s: formOf(%q) = %q, %v, want %q, %v", c.claim, c.accept, form, ok, c.form, c.ok)
		}
	}
}

func TestOneListingServesEveryForm(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/d/", index("a", "b/"), kind(asHTML), origintest.Header("Vary", "Accept"))
	first := g.get("/d/", "Accept: application/json")
	if first.Header.Get("X-Cache") != "MISS" || first.Header.Get("Content-Type") != "application/json" || !json.Valid([]byte(first.body)) {
		t.Errorf("first: %s %s %s", first.Header.Get("X-Cache"), first.Header.Get("Content-Type"), first.body)
	}
	g.get("/d/").want(t, "page", 200, "page of /d/ in /, made false offline false stale false local false of 2: b=absent a=absent", "HIT")
	g.get("/d/", "Accept: text/plain").want(t, "text", 200, "b/\na\n", "HIT")
	g.get("/d/?format=text&sort=name&order=desc").want(t, "by query", 200, "b/\na\n", "HIT")
	g.get("/d/?limit=1&offset=1&format=text").want(t, "a part", 200, "a\n", "HIT")
	if n := g.o.Count("/d/"); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	raw := g.get("/d/?raw=1")
	if !strings.Contains(raw.body, "<h1>Index of /</h1>") || !slices.Contains(raw.Header["Content-Security-Policy"], "sandbox") {
		t.Errorf("raw: %s %v", raw.body, raw.Header)
	}
	if p := g.get("/d/").Header.Get("Content-Security-Policy"); p != "default-src 'none'" {
		t.Errorf("policy of our page = %q", p)
	}
}

func TestWhatIsNoListingIsTheOriginsBusiness(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/api/", origintest.Text(`{"hello":"json"}`), kind("application/json"), cc(fresh))
	g.get("/api/").want(t, "a document", 200, `{"hello":"json"}`, "MISS")
	g.get("/api/").want(t, "a document again", 200, `{"hello":"json"}`, "HIT")
	if got := g.get("/api/", "Range: bytes=0-1"); got.StatusCode != http.StatusPartialContent || got.body != `{"` {
		t.Errorf("a range of a document: %d %q", got.StatusCode, got.body)
	}
	g.o.File("/api/?limit=2", origintest.Text("two"), cc(fresh))
	g.get("/api/?limit=2").want(t, "a query of ours where there is no listing", 200, "two", "MISS")
	g.o.File("/never/?format=json", origintest.Text("{}"), kind("application/json"))
	g.get("/never/?format=json").want(t, "the same before anything is held", 200, "{}", "MISS")
	g.o.File("/gone/", origintest.Text("no"), origintest.Status(404))
	g.get("/gone/").want(t, "a directory that is not there", 404, "no", "MISS")
	g.o.File("/moved/", origintest.Text(""), origintest.Redirect(301, "/d2/"))
	if got := g.get("/moved/"); got.StatusCode != 301 || got.Header.Get("Location") != "/d2/" {
		t.Errorf("a redirect: %d to %q", got.StatusCode, got.Header.Get("Location"))
	}
	g.o.File("/simple/", origintest.Text("registry"), kind("application/vnd.registry+json"), cc(fresh))
	g.get("/simple/", "Accept: application/vnd.registry+json").want(t, "a type of the origin's own", 200, "registry", "MISS")
	if a := g.o.Last("/simple/").Header.Get("Accept"); a != "application/vnd.registry+json" {
		t.Errorf("the origin saw Accept %q, want the client's", a)
	}
}

func TestPageThatVariesIsAskedWithTheClientsAccept(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/v/", origintest.Text("some page"), kind("text/css"), cc(fresh), origintest.Header("Vary", "Accept"))
	g.get("/v/", "Accept: text/html").want(t, "a page that varies", 200, "some page", "MISS")
	if a := g.o.Last("/v/").Header.Get("Accept"); a != "text/html" {
		t.Errorf("the last question had Accept %q, want the client's own", a)
	}
	g.get("/v/", "Accept: text/html").want(t, "the same again", 200, "some page", "HIT")
}

func TestListingThatIsNotStored(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/d/", index("a"), kind(asHTML), cc("no-store"))
	g.get("/d/", "Accept: text/plain").want(t, "no-store", 200, "a\n", "MISS")
	g.o.File("/p/", origintest.Text("<p>page</p>"), kind(asHTML), cc("no-store"))
	g.get("/p/").want(t, "a page that is not stored", 200, "<p>page</p>", "MISS")
}

func TestDirectoryWithoutItsUpstream(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/d/", index("a", "b"), kind(asHTML), cc("max-age=0"))
	g.o.File("/d/a", origintest.Text("aa"), cc(fresh))
	g.o.File("/e/f/x", origintest.Text("x"), cc(fresh))
	g.get("/d/")
	g.get("/d/a")
	g.get("/e/f/x")
	g.idle()
	g.o.Stop()
	g.get("/d/").want(t, "held listing", 200, "page of /d/ in /, made false offline true stale true local false of 2: a=fresh b=absent", "STALE")
	g.get("/e/").want(t, "made of what is held", 200, "page of /e/ in /, made true offline true stale true local false of 1: f=stale", "OFFLINE")
	g.get("/e/f/", "Accept: text/plain").want(t, "made of what is held", 200, "x\n", "OFFLINE")
	if got := g.get("/none/"); got.StatusCode != http.StatusGatewayTimeout || got.word() != "upstream_unreachable" {
		t.Errorf("nothing held: %d %s", got.StatusCode, got.body)
	}
}

func TestCutListingKeepsTheOldOne(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/d/", index("a", "b"), kind(asHTML), cc("max-age=0"))
	g.get("/d/")
	g.o.File("/d/", origintest.Text("<html><head><title>Index of /d/</title></head><body><h1>Index of /d/</h1><pre><a href=\"../\">../</a>\n<a href=\"a\">a</a>  08-Nov-2025 10:00  12"), kind(asHTML), cc("max-age=0"))
	g.get("/d/", "Accept: text/plain").want(t, "a listing that is cut off", 200, "a\nb\n", "STALE")
}

func TestWhatTheOriginForbidsHoldsForOurForms(t *testing.T) {
	g := newListingRig(t)
	for path, c := range map[string]struct{ control, vary, want, also string }{
		"/private/": {"private", "", "private, no-store", ""},
		"/nostore/": {"no-store", "", "private, no-store", ""},
		"/star/":    {"", "*", "private, no-store", ""},
		"/must/":    {"max-age=60, must-revalidate", "Cookie, User-Agent", "must-revalidate", "Cookie"},
		"/plain/":   {"max-age=60", "", "", ""},
	} {
		opts := []origintest.Option{kind(asHTML)}
		if c.control != "" {
			opts = append(opts, cc(c.control))
		}
		if c.vary != "" {
			opts = append(opts, origintest.Header("Vary", c.vary))
		}
		g.o.File(path, index("a"), opts...)
		for range 2 {
			r := g.get(path, "Accept: text/plain")
			if got := r.Header.Get("Cache-Control"); got != c.want || r.body != "a\n" || !strings.Contains(r.Header.Get("Vary"), c.also) || strings.Contains(r.Header.Get("Vary"), "User-Agent") {
				t.Errorf("%s: Cache-Control %q, Vary %q, %q; want %q, with %q", path, got, r.Header.Get("Vary"), r.body, c.want, c.also)
			}
		}
	}
}

func TestOneListingForAllClients(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/d/", index("a", "b"), kind(asHTML), origintest.Header("Vary", "User-Agent, Accept-Language"))
	g.get("/d/", "User-Agent: one", "Accept-Language: de")
	g.get("/d/", "User-Agent: other", "Accept: text/plain").want(t, "another client", 200, "a\nb\n", "HIT")
	g.o.Stop()
	g.mu.Lock()
	g.policy.Offline = true
	g.mu.Unlock()
	g.get("/d/", "User-Agent: third", "Accept: text/plain").want(t, "a third one off line", 200, "a\nb\n", "HIT")
}

func TestPageInPlaceOfAListing(t *testing.T) {
	g := newListingRig(t)
	g.o.File("/d/", index("a", "b"), kind(asHTML), cc("max-age=0"))
	g.get("/d/")
	g.o.File("/d/", origintest.Text("<html><body>Please log in</body></html>"), kind(asHTML), cc("max-age=0"))
	for range 2 {
		g.get("/d/").want(t, "a page that is no listing", 200, "<html><body>Please log in</body></html>", "MISS")
	}
	g.idle()
	g.o.Stop()
	g.get("/d/", "Accept: text/plain").want(t, "the listing off line", 200, "a\nb\n", "STALE")
}

// listingBody is a body that tells what it lists, as those of FTP servers and of trees of this machine do.
type listingBody struct {
	io.ReadCloser
	l *listing.Listing
}

func (b listingBody) Listing() *listing.Listing { return b.l }

func TestOnlyATreeOfThisMachineIsOwned(t *testing.T) {
	g := newListingRig(t)
	for _, own := range []bool{false, true} {
		d := &directory{place: place{hub: &Hub{Local: own}}}
		a := &fill.Answer{Status: 200, Header: http.Header{}, Body: listingBody{io.NopCloser(strings.NewReader("")), &listing.Listing{}}}
		if err := g.g.readListing(d, a); err != nil || d.local != own || own == (len(d.control) > 0) {
			t.Errorf("hub of this machine %v: local %v, Cache-Control %q, %v", own, d.local, d.control, err)
		}
	}
}
