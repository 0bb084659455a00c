package web

import (
	"net/http"
	"strings"
	"testing"

	"zcache/internal/fill"
)

func TestPrefersHTML(t *testing.T) {
	for _, row := range []struct {
		claim  string
		accept []string
		want   bool
	}{
		{"nothing said", nil, false},
		{"an empty field", []string{""}, false},
		{"anything", []string{"*/*"}, false},
		{"a browser", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, true},
		{"JSON", []string{"application/json"}, false},
		{"both alike", []string{"text/html, application/json"}, false},
		{"HTML rather", []string{"application/json;q=0.5, text/html"}, true},
		{"JSON rather", []string{"application/json, text/html;q=0.9"}, false},
		{"on two lines", []string{"application/json;q=0.1", "text/html;q=0.2"}, true},
		{"names and parameters know no case", []string{"TEXT/HTML;Q=0.9, application/json;Q=0.1"}, true},
		{"a parameter before the weight", []string{"text/html;level=1;q=0.9, application/json;q=0.8"}, true},
		{"HTML refused", []string{"text/html;q=0"}, false},
		{"a weight that is none", []string{"text/html;q=x"}, false},
		{"a weight that is not a number at all", []string{"text/html;q=NaN"}, false},
		{"XHTML is a page too", []string{"application/xhtml+xml"}, true},
		{"a type that begins like it", []string{"text/html5"}, false},
	} {
		if got := prefersHTML(row.accept); got != row.want {
			t.Errorf("%s: prefersHTML(%q) = %v, want %v", row.claim, row.accept, got, row.want)
		}
	}
}

func TestAnswersAreJSONOrPages(t *testing.T) {
	g := newRig(t)
	g.file("/a")
	front := g.s.Front()
	for _, row := range []struct {
		handler                    http.Handler
		method, target, body, page string
	}{
		{g.s, "GET", "/-/version", "", "v1.2.3"},
		{g.s, "GET", "/-/status", "", "hit ratio"},
		{g.s, "GET", "/-/explain?url=/up/a", "", "/up/a"},
		{g.s, "POST", "/-/ensure", `{"urls":["/up/a"],"wait":true}`, "held"},
		{g.s, "POST", "/-/purge", `{"path":"/up/a"}`, "removed"},
		{g.s, "POST", "/-/reload", "", "reloaded"},
		{front, "GET", "/", "", "/up/"},
	} {
		w := do(t, row.handler, row.method, row.target, row.body)
		if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Vary") != "Accept" {
			t.Errorf("%s without Accept = %s, Vary %q; want JSON", row.target, w.Header().Get("Content-Type"), w.Header().Get("Vary"))
		}
		object(t, w)
		w = do(t, row.handler, row.method, row.target, row.body, field("Accept", "text/html"))
		page := w.Body.String()
		if w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Vary") != "Accept" ||
			!strings.HasPrefix(page, "<!doctype html>") || !strings.HasSuffix(page, "</html>\n") || !strings.Contains(page, row.page) {
			t.Errorf("%s as HTML = %s, Vary %q, want a page with %q\n%s", row.target, w.Header().Get("Content-Type"), w.Header().Get("Vary"), row.page, page)
		}
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s as HTML may load what it likes", row.target)
		}
	}
	isProblem(t, "an error, whatever is preferred", g.do("GET", "/-/explain", "", field("Accept", "text/html")), http.StatusBadRequest, "no_url")
}

func TestFrontListsTheHubsAndNotTheirPolicy(t *testing.T) {
	shared := []HubInfo{{Name: "up", Path: "/up/", Policy: "http://upstream.example"}, {Name: "deb", Hosts: []string{"deb.lab"}}}
	g := newRig(t, func(c *Config, _ *fill.Config) { c.Hubs = func() []HubInfo { return shared } })
	for _, accept := range []string{"application/json", "text/html"} {
		w := do(t, g.s.Front(), "GET", "/", "", remote, field("Accept", accept))
		if s := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(s, "/up/") || !strings.Contains(s, "deb.lab") || strings.Contains(s, "upstream.example") {
			t.Errorf("front as %s = %d, want the hubs without their upstreams\n%s", accept, w.Code, s)
		}
	}
	if shared[0].Policy == nil {
		t.Error("showing the hubs changed what was given to show")
	}
	isProblem(t, "a POST", do(t, g.s.Front(), "POST", "/", ""), http.StatusMethodNotAllowed, "method")
}

func TestNothingThatIsShownIsMarkup(t *testing.T) {
	const hostile = `x"'><script>alert(1)</script><img src=x onerror=alert(1)>&`
	g := newRig(t, func(c *Config, _ *fill.Config) {
		c.Hubs = func() []HubInfo {
			return []HubInfo{
				{Name: hostile, Path: `/"><script>alert(1)</script>/`, Hosts: []string{hostile}, Policy: map[string]any{hostile: hostile}},
				{Name: "j", Path: "javascript:alert(1)"},
			}
		}
		c.Version = map[string]any{hostile: []any{hostile, nil, true, 1.5, map[string]string{}}}
	})
	for _, row := range []struct {
		handler              http.Handler
		method, target, body string
	}{
		{g.s.Front(), "GET", "/", ""},
		{g.s, "GET", "/-/version", ""},
		{g.s, "GET", "/-/status", ""},
		{g.s, "GET", "/-/explain?url=/up/%3Cscript%3Ealert(1)%3C/script%3E%22%3E", ""},
		{g.s, "POST", "/-/ensure", `{"urls":["/up/<script>alert(1)</script>","x\"><img src=x onerror=alert(1)>"],"wait":true}`},
		{g.s, "POST", "/-/purge", `{"path":"/up/<script>alert(1)</script>"}`},
	} {
		w := do(t, row.handler, row.method, row.target, row.body, field("Accept", "text/html"))
		page := strings.Replace(w.Body.String(), "<script>"+script+"</script>", "", 1) // our own
		if w.Code != http.StatusOK || !strings.Contains(page, "alert(1)") {
			t.Errorf("%s = %d, want a page that shows the hostile text\n%s", row.target, w.Code, page)
		}
		for _, bad := range []string{"<script", "<img", `href="javascript:`, `href="/"><`} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %q in it\n%s", row.target, bad, page)
			}
		}
	}
	w := g.do("GET", "/-/explain?url=/up/%3Cscript%3E", "")
	if strings.Contains(w.Body.String(), "<script") {
		t.Errorf("JSON that a browser may guess to be HTML has markup in it: %s", w.Body)
	}
	isProblem(t, "an error too", g.do("GET", "/-/explain?url=/other/%3Cscript%3E", ""), http.StatusNotFound, "no_hub")
}
