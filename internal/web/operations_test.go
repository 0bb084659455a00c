package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/freshness"
	"zcache/internal/origin/origintest"
)

func TestHealth(t *testing.T) {
	well, ill, bare := newRig(t), newRig(t, withSickStore), newRig(t, withoutStore)
	for _, row := range []struct {
		claim, target string
		g             *rig
		status        int
		word          string
	}{
		{"a process that answers is healthy", "/-/healthz", well, 200, "ok"},
		{"also when its disk is gone", "/-/healthz", ill, 200, "ok"},
		{"one that can keep what it fetches is ready", "/-/readyz", well, 200, "ready"},
		{"one whose disk is gone is not", "/-/readyz", ill, 503, "storage"},
		{"one that is to keep nothing is", "/-/readyz", bare, 200, "ready"},
	} {
		w := row.g.do("GET", row.target, "", remote)
		if w.Code != row.status || w.Body.String() != row.word+"\n" {
			t.Errorf("%s: %s = %d %q, want %d %q", row.claim, row.target, w.Code, w.Body, row.status, row.word)
		}
	}
	if reason := ill.do("GET", "/-/readyz", "").Header().Get("X-Reason"); reason == "" || strings.ContainsAny(reason, "\r\n") {
		t.Errorf("X-Reason = %q, want one line", reason)
	}
	s := object(t, ill.do("GET", "/-/status", ""))
	if s["ready"] != false || s["reason"] != errDisk.Error() {
		t.Errorf("status with the disk gone = ready %v because %v", s["ready"], s["reason"])
	}
	if s := object(t, bare.do("GET", "/-/status", "")); s["disk"] != nil || s["ready"] != true || s["mode"] != "proxy" {
		t.Errorf("status without a store = %v, want no disk", s)
	}
}

func TestBodiesThatAreNotWhatIsWanted(t *testing.T) {
	g := newRig(t)
	var many strings.Builder
	many.WriteString(`{"urls":["/up/a"`)
	for range maxURLs {
		many.WriteString(`,"/up/a"`)
	}
	many.WriteString(`]}`)
	for _, row := range []struct {
		claim, path, body, word string
	}{
		{"no body", "/-/ensure", "", "bad_json"},
		{"no JSON", "/-/ensure", "urls=/up/a", "bad_json"},
		{"half of it", "/-/ensure", `{"urls":["/up/a"`, "bad_json"},
		{"another type", "/-/ensure", `{"urls":"/up/a"}`, "bad_json"},
		{"an array", "/-/ensure", `["/up/a"]`, "bad_json"},
		{"a member that is mistyped", "/-/ensure", `{"urls":["/up/a"],"wiat":true}`, "bad_json"},
		{"more behind it", "/-/ensure", `{"urls":["/up/a"]}{}`, "bad_json"},
		{"too much", "/-/ensure", `{"urls":["` + strings.Repeat("a", 5<<20) + `"]}`, "bad_json"},
		{"too much behind it", "/-/ensure", `{"urls":["/up/a"]}` + strings.Repeat(" ", 5<<20), "bad_json"},
		{"null", "/-/ensure", "null", "no_urls"},
		{"no URL", "/-/ensure", `{"urls":[]}`, "no_urls"},
		{"too many URLs", "/-/ensure", many.String(), "no_urls"},
		{"no body to purge", "/-/purge", "", "bad_json"},
		{"a mistyped recursive", "/-/purge", `{"path":"/up/","recursve":true}`, "bad_json"},
		{"recursive that is no boolean", "/-/purge", `{"path":"/up/","recursive":"yes"}`, "bad_json"},
		{"no path", "/-/purge", `{"recursive":true}`, "no_path"},
		{"a dot segment", "/-/purge", `{"path":"/up/%2e%2e/x"}`, "bad_path"},
		{"an escape that is none", "/-/purge", `{"path":"/up/%zz"}`, "bad_path"},
		{"neither path nor URL", "/-/purge", `{"path":"up"}`, "bad_path"},
	} {
		isProblem(t, row.claim, g.do("POST", row.path, row.body), http.StatusBadRequest, row.word)
	}
	isProblem(t, "a path of no hub", g.do("POST", "/-/purge", `{"path":"/other/x"}`), http.StatusNotFound, "no_hub")
	if g.asked() != 0 {
		t.Errorf("bodies that were refused led to %d requests", g.asked())
	}
}

func TestPurgeCountsWhatItRemoves(t *testing.T) {
	g := newRig(t)
	for _, path := range []string{"/a", "/d/b", "/d/c", "/d/e/f", "/dd/g"} {
		g.file(path)
	}
	fillAll := func() {
		if task, _ := g.ensure("/up/a", "/up/d/b", "/up/d/c", "/up/d/e/f", "/up/dd/g"); task["state"] != "done" {
			t.Fatalf("ensure = %v", task)
		}
	}
	for _, row := range []struct {
		claim, body string
		removed     float64
		left        string // paths that stay
	}{
		{"one entry", `{"path":"/up/a"}`, 1, "d/b d/c d/e/f dd/g"},
		{"what is not held", `{"path":"/up/nothing"}`, 0, "a d/b d/c d/e/f dd/g"},
		{"a directory alone is not what lies in it", `{"path":"/up/d/"}`, 0, "a d/b d/c d/e/f dd/g"},
		{"a directory and all below, on whole segments", `{"path":"/up/d/","recursive":true}`, 3, "a dd/g"},
		{"all of a hub", `{"path":"/up/","recursive":true}`, 5, ""},
		{"one by its upstream's URL", `{"path":"` + g.o.URL + `/pub/d/b"}`, 1, "a d/c d/e/f dd/g"},
	} {
		fillAll()
		v := object(t, g.do("POST", "/-/purge", row.body))
		if v["removed"] != row.removed {
			t.Errorf("%s: purge %s removed %v, want %v", row.claim, row.body, v["removed"], row.removed)
		}
		var left []string
		for _, path := range []string{"a", "d/b", "d/c", "d/e/f", "dd/g"} {
			if g.held("/up/" + path) {
				left = append(left, path)
			}
		}
		if got := strings.Join(left, " "); got != row.left {
			t.Errorf("%s: purge %s left %q, want %q", row.claim, row.body, got, row.left)
		}
	}
	if !strings.Contains(g.log.String(), "action=purge") {
		t.Error("a purge is not in the log")
	}
}

func TestReload(t *testing.T) {
	g := newRig(t)
	if v := object(t, g.do("POST", "/-/reload", "")); v["reloaded"] != true {
		t.Errorf("reload = %v", v)
	}
	g.reload = errors.New("hub[kernel].upstream: is empty")
	w := g.do("POST", "/-/reload", "")
	isProblem(t, "a configuration that is not valid", w, http.StatusUnprocessableEntity, "configuration")
	if object(t, w)["detail"] != g.reload.Error() {
		t.Errorf("the refusal says %s, want the reason", w.Body)
	}
}

// explain asks about a path or URL.
func (g *rig) explain(what string, changes ...change) map[string]any {
	g.t.Helper()
	w := g.do("GET", "/-/explain?url="+url.QueryEscape(what), "", changes...)
	if w.Code != http.StatusOK {
		g.t.Fatalf("explain %s = %d\n%s", what, w.Code, w.Body)
	}
	return object(g.t, w)
}

func TestExplainTellsWhatTheNextRequestGets(t *testing.T) {
	g := newRig(t)
	g.file("/fresh")
	g.o.File("/pub/stale", origintest.Text("x"), origintest.Header("Cache-Control", "max-age=0, must-revalidate"))
	g.o.File("/pub/gone", origintest.Text("x"), origintest.Status(404))
	g.ensure("/up/fresh", "/up/stale", "/up/gone")
	asked := g.asked()
	for _, row := range []struct {
		claim, what string
		want        map[string]any
	}{
		{"not held", "/up/nothing", map[string]any{"hub": "up", "held": false, "fresh": false, "next": "fetches from the upstream and stores what comes"}},
		{"held and fresh", "/up/fresh", map[string]any{"held": true, "fresh": true, "status": 200.0, "rule": "max-age", "lifetime": 3600.0, "size": 14.0, "next": "serves the copy without asking the upstream", "may_serve_stale": true}},
		{"held and stale", "/up/stale", map[string]any{"held": true, "fresh": false, "rule": "max-age", "next": "asks the upstream whether the copy still stands", "may_serve_stale": false}},
		{"a held absence", "/up/gone", map[string]any{"held": true, "fresh": true, "status": 404.0, "rule": "negative"}},
		{"by the upstream's URL", g.o.URL + "/pub/fresh", map[string]any{"hub": "up", "held": true}},
		{"by this instance's own URL", "http://localhost:3142/up/fresh", map[string]any{"hub": "up", "held": true}},
		{"by a host of a hub", "//deb.lab/x", map[string]any{"hub": "deb", "held": false}},
	} {
		v := g.explain(row.what)
		for name, want := range row.want {
			if v[name] != want {
				t.Errorf("%s: explain %s: %s = %v, want %v", row.claim, row.what, name, v[name], want)
			}
		}
	}
	v := g.explain("/up/fresh")
	until, err := time.Parse(time.RFC3339, v["fresh_until"].(string))
	if left := time.Until(until); err != nil || left < 59*time.Minute || left > time.Hour {
		t.Errorf("fresh_until = %v, %v from now; want an hour at most", v["fresh_until"], left)
	}
	if len(v["sha256"].(string)) != 64 || v["held_since"] == nil || v["confirmed"] == nil || v["etag"] == nil || v["last_modified"] == nil {
		t.Errorf("explain of what is held = %v, want its digest, times and validators", v)
	}
	if g.asked() != asked {
		t.Errorf("explaining asked the origin %d times", g.asked()-asked)
	}
	isProblem(t, "no url", g.do("GET", "/-/explain", "", remote), http.StatusBadRequest, "no_url")
	isProblem(t, "a path of no hub", g.do("GET", "/-/explain?url=/other/x", "", remote), http.StatusNotFound, "no_hub")
	isProblem(t, "a dot segment", g.do("GET", "/-/explain?url=/up/%252e%252e/x", "", remote), http.StatusBadRequest, "bad_path")
}

func TestExplainTellsWhatPolicyDoes(t *testing.T) {
	g := newRig(t)
	g.file("/a")
	g.ensure("/up/a")
	for _, row := range []struct {
		claim  string
		rule   freshness.Rule
		path   string
		fresh  bool
		by     any
		answer string
	}{
		{"class immutable", freshness.Rule{Class: freshness.ClassImmutable}, "/up/a", true, "class immutable", "serves the copy without asking the upstream"},
		{"class index", freshness.Rule{Class: freshness.ClassIndex}, "/up/a", false, "class index", "asks the upstream whether the copy still stands"},
		{"class bypass", freshness.Rule{Class: freshness.ClassBypass}, "/up/a", false, nil, "goes to the upstream; nothing is stored"},
		{"off line and held", freshness.Rule{Offline: true}, "/up/a", true, "max-age", "serves the copy without asking the upstream"},
		{"off line and not held", freshness.Rule{Offline: true}, "/up/b", false, nil, "answers 504: off line and not held"},
	} {
		g.policy.Rule = row.rule
		if v := g.explain(row.path); v["fresh"] != row.fresh || v["rule"] != row.by || v["next"] != row.answer {
			t.Errorf("%s: explain %s = fresh %v by %v, %v; want %v by %v, %s", row.claim, row.path, v["fresh"], v["rule"], v["next"], row.fresh, row.by, row.answer)
		}
	}
}

func TestExplainHidesTheUpstreamFromWhoMayNotObserve(t *testing.T) {
	g := newRig(t)
	g.file("/a")
	g.ensure("/up/a")
	for _, accept := range []string{"application/json", "text/html"} {
		for _, path := range []string{"/up/a", "/up/absent"} {
			target := "/-/explain?url=" + path
			w := g.do("GET", target, "", field("Accept", accept))
			if !strings.Contains(w.Body.String(), g.o.Addr) {
				t.Errorf("explain %s as %s to an observer hides the upstream:\n%s", path, accept, w.Body)
			}
			if s := w.Body.String(); strings.Contains(s, password) || strings.Contains(s, user+":") || strings.Contains(s, user+"@") {
				t.Errorf("explain %s as %s to an observer tells credentials:\n%s", path, accept, s)
			}
			for who, changes := range strangers {
				w := g.do("GET", target, "", append([]change{field("Accept", accept)}, changes...)...)
				if w.Code != http.StatusOK {
					t.Fatalf("explain %s to %s = %d", path, who, w.Code)
				}
				for _, secret := range []string{g.o.Addr, "127.0.0.1", password, "policy", `"from"`} {
					if strings.Contains(w.Body.String(), secret) {
						t.Errorf("explain %s as %s to %s tells %q:\n%s", path, accept, who, secret, w.Body)
					}
				}
			}
		}
	}
}

// What went wrong inside may name files and upstreams: readers are told that it did, observers what.
func TestErrorsInsideAreForTheLog(t *testing.T) {
	g := newRig(t, withSickStore)
	w := g.do("GET", "/-/explain?url=/up/a", "", remote)
	isProblem(t, "a reader", w, http.StatusInternalServerError, "internal")
	if strings.Contains(w.Body.String(), "secret-path") {
		t.Errorf("a reader is told %s", w.Body)
	}
	w = g.do("GET", "/-/explain?url=/up/a", "")
	isProblem(t, "an observer", w, http.StatusInternalServerError, "internal")
	if !strings.Contains(w.Body.String(), "secret-path") || !strings.Contains(g.log.String(), "secret-path") {
		t.Errorf("an observer is told %s, the log %s; want both to tell the cause", w.Body, g.log)
	}
}

func TestStatusAddsUp(t *testing.T) {
	g := newRig(t)
	s := object(t, g.do("GET", "/-/status", ""))
	if s["hit_ratio"] != 0.0 {
		t.Errorf("hit ratio before any request = %v, want 0", s["hit_ratio"])
	}
	registry := prometheus.NewRegistry()
	vec := func(name string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
		registry.MustRegister(c)
		return c
	}
	requests := vec("zcache_requests_total", "hub", "module", "outcome")
	for outcome, n := range map[string]float64{"hit": 5, "collapsed": 1, "uri-miss": 1, "stale": 1} {
		requests.WithLabelValues("up", "legacy", outcome).Add(n)
	}
	requests.WithLabelValues("up", "other", "hit").Add(2)
	requests.WithLabelValues("removed", "legacy", "hit").Add(1000)
	sent, cached := vec("zcache_sent_bytes_total", "hub"), vec("zcache_cached_bytes_total", "hub")
	sent.WithLabelValues("up").Add(1000)
	cached.WithLabelValues("up").Add(750)
	sent.WithLabelValues("deb").Add(10) // read a moment before the other counter
	cached.WithLabelValues("deb").Add(30)
	received := vec("zcache_upstream_bytes_total", "hub", "upstream")
	received.WithLabelValues("up", "a.example").Add(200)
	received.WithLabelValues("up", "b.example").Add(50)
	vec("zcache_other_total", "hub").WithLabelValues("up").Add(99)
	g = newRig(t, func(c *Config, _ *fill.Config) { c.Gatherer = registry })
	s = object(t, g.do("GET", "/-/status", ""))
	hubs := s["hubs"].([]any)
	if len(hubs) != 2 {
		t.Fatalf("status tells of %d hubs, want those that are configured", len(hubs))
	}
	for i, want := range []map[string]any{
		{"name": "up", "path": "/up/", "module_key": "legacy", "rollout_flag": "legacy-only", "requests": 10.0, "hits": 8.0, "hit_ratio": 0.8, "bytes_sent": 1000.0, "bytes_from_cache": 750.0, "bytes_from_upstream": 250.0},
		{"name": "deb", "requests": 0.0, "hits": 0.0, "hit_ratio": 0.0, "bytes_sent": 10.0, "bytes_from_cache": 30.0, "bytes_from_upstream": 0.0},
	} {
		for name, v := range want {
			if got := hubs[i].(map[string]any)[name]; got != v {
				t.Errorf("status of hub %v: %s = %v, want %v", want["name"], name, got, v)
			}
		}
	}
	if s["hit_ratio"] != 0.8 || s["mode"] != "cache" || s["offline"] != false || s["ready"] != true {
		t.Errorf("status = %v, want a hit ratio of 0.8 over the hubs that are configured", s)
	}
}

func TestStatusCountsRealRequests(t *testing.T) {
	g := newRig(t)
	g.file("/a")
	for range 4 {
		if w := do(t, g.gateway, "GET", "/up/a", "", remote); w.Code != http.StatusOK {
			t.Fatalf("GET /up/a = %d", w.Code)
		}
		if task, _ := g.ensure("/up/a"); task["state"] != "done" { // it is there before it is asked for again
			t.Fatalf("ensure = %v", task)
		}
	}
	s := object(t, g.do("GET", "/-/status", ""))
	up := s["hubs"].([]any)[0].(map[string]any)
	if up["requests"] != 4.0 || up["hits"] != 3.0 || up["hit_ratio"] != 0.75 || up["bytes_sent"] != 40.0 || up["bytes_from_cache"] != 30.0 || up["bytes_from_upstream"] != 10.0 {
		t.Errorf("status after a miss and three hits of ten bytes = %v", up)
	}
	if disk := s["disk"].(map[string]any); disk["free"].(float64) <= 0 {
		t.Errorf("status of the disk = %v, want some of it free", disk)
	}
	if body := g.do("GET", "/-/status", "").Body.String(); strings.Contains(body, password) {
		t.Errorf("status tells credentials:\n%s", body)
	}
	if m := g.do("GET", "/-/metrics", "").Body.String(); !strings.Contains(m, `zcache_requests_total{hub="up"`) {
		t.Errorf("metrics lack the requests:\n%s", m)
	}
}

func TestResolveFailuresKeepTheirKind(t *testing.T) {
	g := newRig(t, func(c *Config, _ *fill.Config) {
		c.Resolve = func(string, string) (cache.Key, error) { return cache.Key{}, errors.New("no hub serves this") }
	})
	isProblem(t, "what no hub serves", g.do("GET", "/-/explain?url=/x", ""), http.StatusNotFound, "no_hub")
}
