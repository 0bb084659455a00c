package web

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// rule has the rig judge by an auth file with the tokens of all kinds, which it returns by name. Nobody without one may read anything but /up/open.
func (g *rig) rule() map[string]string {
	g.t.Helper()
	file := filepath.Join(g.t.TempDir(), "auth.toml")
	if err := os.WriteFile(file, []byte("version = 1\n[anonymous]\nread = [\"/up/open\"]\n"), 0o600); err != nil {
		g.t.Fatal(err)
	}
	tokens := map[string]string{"wrong": "zct_wrong_" + strings.Repeat("x", 43)}
	for _, info := range []auth.TokenInfo{
		{Name: "expired", Scope: []string{"operate"}, Expires: time.Now().Add(-24 * time.Hour)}, {Name: "revoked", Scope: []string{"operate"}},
		{Name: "reader", Read: []string{"/up/a"}}, {Name: "other", Read: []string{"/up/b", "//deb.lab"}},
		{Name: "part", Read: []string{"/up"}, Deny: []string{"/up/b", "/up/d/x"}}, {Name: "observer", Scope: []string{"observe"}}, {Name: "operator", Scope: []string{"operate"}},
	} {
		text, _, err := auth.CreateToken(file, info, time.Now().Add(-48*time.Hour))
		if err != nil {
			g.t.Fatal(err)
		}
		tokens[info.Name] = text
	}
	if _, err := auth.RevokeToken(file, "revoked", time.Now()); err != nil {
		g.t.Fatal(err)
	}
	rules, err := auth.LoadRules(file, auth.AnonymousRead)
	if err != nil {
		g.t.Fatal(err)
	}
	g.cfg.Guard.SetRules(rules)
	return tokens
}

func bearer(token string) change { return field("Authorization", "Bearer "+token) }

func inBasic(token string) change {
	return field("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+token)))
}

// open says what a proper request of somebody to an endpoint gets; 0 is what a proper request gets.
func (e endpoint) open(who string) int {
	needs := map[string]string{}
	for _, path := range []string{"healthz", "readyz", "version", "clients", "proxy.pac", "ca.pem"} {
		needs["/-/"+path] = "nothing"
	}
	for _, path := range []string{"explain", "entry"} {
		needs["/-/"+path] = "read"
	}
	for _, path := range []string{"metrics", "status", "modules", "modules/{key}", "mirror", "events", "trash"} {
		needs["/-/"+path] = "observe"
	}
	need := needs[e.path]
	if e.method != "GET" || need == "" {
		need = "operate"
	}
	refusal := http.StatusForbidden
	switch who {
	case "nobody", "wrong", "expired", "revoked":
		refusal = http.StatusUnauthorized
	}
	has := map[string][]string{
		"reader": {"read"}, "observer": {"read", "observe"}, "operator": {"read", "observe", "operate"}, "operator, by Basic": {"read", "observe"},
	}[who]
	if need == "nothing" || slices.Contains(has, need) {
		return 0
	}
	return refusal
}

// A crawler tries every route there is: what no row tells of is a failure of TestEveryEndpointIsInTheTable.
func TestACrawlerFindsNothingOpenThatShouldNotBe(t *testing.T) {
	f, bin := twoSubtrees(), &fakeTrash{}
	g := newRig(t, withMirror(f), withTrash(bin))
	g.file("/a")
	tokens := g.rule()
	crawlers := map[string][]change{"nobody": nil, "operator, by Basic": {inBasic(tokens["operator"])}}
	for _, who := range []string{"wrong", "expired", "revoked", "reader", "observer", "operator"} {
		crawlers[who] = []change{bearer(tokens[who])}
	}
	tried := 0
	for name, router := range map[string]http.Handler{"clients' face": g.s.mux, "admin listener": g.s.admin} {
		err := router.(*mux.Router).Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
			path, _ := route.GetPathTemplate()
			methods, _ := route.GetMethods()
			i := slices.IndexFunc(slices.Concat(endpoints, adminOnly), func(e endpoint) bool { return e.path == path && e.method == methods[0] })
			if i < 0 {
				t.Errorf("%s: no row for %s %s", name, methods[0], path)
				return nil
			}
			e := slices.Concat(endpoints, adminOnly)[i]
			for who, changes := range crawlers {
				for from, peer := range map[string][]change{"afar": {remote}, "this machine": nil} { // being here counts for nothing
					tried++
					before := g.asked() + len(f.asked()) + len(bin.restored)
					w := do(t, router, e.method, e.target(), e.body, slices.Concat(e.leaving(), changes, peer)...)
					what := fmt.Sprintf("%s: %s %s by %s from %s", name, e.method, e.target(), who, from)
					switch want := e.open(who); {
					case want == 0:
						if w.Code == 401 || w.Code == 403 {
							t.Errorf("%s = %d, want what is there\n%s", what, w.Code, w.Body)
						}
					default:
						word := map[int]string{401: "unauthenticated", 403: "denied"}[want]
						isProblem(t, what, w, want, word)
						if got := w.Header().Get("Www-Authenticate"); (got != "") != (want == 401) {
							t.Errorf("%s: WWW-Authenticate = %q with %d", what, got, want)
						}
						if g.asked()+len(f.asked())+len(bin.restored) != before {
							t.Errorf("%s was refused, and done", what)
						}
					}
					if len(w.Header()["Set-Cookie"]) > 0 {
						t.Errorf("%s sets a cookie", what)
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if least := 2 * len(endpoints) * len(crawlers) * 2; tried < least {
		t.Errorf("%d requests, want at least %d", tried, least)
	}
}

func TestOfAnEntryIsToldToWhomItIsOpen(t *testing.T) {
	g := newRig(t)
	g.file("/a")
	g.file("/b")
	tokens := g.rule()
	for _, path := range []string{"/up/a", "/up/b"} {
		if w := g.do("POST", "/-/ensure", `{"urls":["`+path+`"],"wait":true}`, bearer(tokens["operator"])); w.Code != 200 {
			t.Fatal(w.Body)
		}
	}
	for _, row := range []struct {
		who, url string
		want     int
	}{
		{"reader", "/up/a", 200},
		{"reader", g.o.URL + "/pub/a", 200},
		{"reader", "http://localhost:3142/up/a", 200},
		{"reader", "/up/a?x=y", 200},
		{"reader", "/up/b", 403},
		{"reader", g.o.URL + "/pub/b", 403},
		{"reader", "/up/none", 403},
		{"reader", "/up/", 403},
		{"reader", "/up", 403},
		{"reader", "//deb.lab/a", 403},
		{"reader", "/nohub/a", 403},
		{"reader", "http://elsewhere.example/a", 403},
		{"other", "//deb.lab/a", 200},
		{"other", "http://deb.lab/a", 200},
		{"other", "/up/a", 403},
		{"part", "/up/a", 200},
		{"part", "/up/", 403}, // of what it sees in part, what is held is of the whole
		{"part", "/up/d/", 403},
		{"part", "/nohub/a", 403},
		{"observer", "/nohub/a", 404},
		{"observer", "/up/", 200},
		{"nobody", "/up/open", 200},
		{"nobody", "/up/a", 401},
		{"nobody", "/nohub/a", 401},
		{"expired", "/up/open", 401},
	} {
		for _, endpoint := range []string{"explain", "entry"} {
			for _, accept := range []string{"application/json", "text/html"} {
				changes := []change{field("Accept", accept), remote}
				if row.who != "nobody" {
					changes = append(changes, bearer(tokens[row.who]))
				}
				w := g.do("GET", "/-/"+endpoint+"?url="+row.url, "", changes...)
				what := endpoint + " of " + row.url + " by " + row.who + " as " + accept
				if w.Code != row.want {
					t.Errorf("%s = %d %s, want %d", what, w.Code, w.Body, row.want)
				}
				if (w.Header().Get("Www-Authenticate") != "") != (row.want == 401) {
					t.Errorf("%s = %d with WWW-Authenticate %q", what, w.Code, w.Header().Get("Www-Authenticate"))
				}
				if shown := strings.Contains(w.Body.String(), g.o.Addr); shown && row.who != "observer" && !strings.Contains(row.url, g.o.Addr) {
					t.Errorf("%s tells the upstream's address: %s", what, w.Body)
				}
			}
		}
	}
}

func TestARefusalToTellIsTheSameWhateverThereIs(t *testing.T) {
	g := newRig(t)
	g.file("/b")
	tokens := g.rule()
	g.do("POST", "/-/ensure", `{"urls":["/up/b"],"wait":true}`, bearer(tokens["operator"]))
	for _, who := range []string{"reader", "wrong"} {
		var first *httptest.ResponseRecorder
		for _, url := range []string{"/up/b", "/up/none", "/nohub/b", "/up/b/", "//nohost.lab/b"} {
			w := g.do("GET", "/-/explain?url="+url, "", bearer(tokens[who]))
			if first == nil {
				first = w
			}
			if w.Code != first.Code || w.Body.String() != first.Body.String() {
				t.Errorf("explain of %s by %s = %d %s, want %d %s as for /up/b", url, who, w.Code, w.Body, first.Code, first.Body)
			}
		}
	}
}

func TestOnlyHubsThatAreSeenAreListed(t *testing.T) {
	g := newRig(t)
	tokens := g.rule()
	for who, want := range map[string]string{
		"nobody": "up", "reader": "up", "other": "up deb", "observer": "up deb", "wrong": "",
	} {
		changes := []change{remote, field("Accept", "application/json")}
		if who != "nobody" {
			changes = append(changes, bearer(tokens[who]))
		}
		front := do(t, g.gateway, "GET", "/", "", slices.Concat(changes, []change{host("localhost:3142")})...)
		if who == "wrong" {
			isProblem(t, "the list of hubs by "+who, front, 401, "unauthenticated")
		}
		for path, w := range map[string]*httptest.ResponseRecorder{"/": front, "/-/clients": g.do("GET", "/-/clients", "", changes...)} {
			var names []string
			all, _ := object(t, w)["hubs"].([]any)
			for _, h := range all {
				names = append(names, h.(map[string]any)["name"].(string))
			}
			if strings.Join(names, " ") != want {
				t.Errorf("GET %s by %s lists %q, want %q\n%s", path, who, names, want, w.Body)
			}
		}
		if want == "up" {
			if page := g.do("GET", "/-/clients", "", append(changes[:1:1], field("Accept", "text/html"))...); strings.Contains(page.Body.String(), "deb.lab") {
				t.Errorf("the page for %s names a hub that it does not see", who)
			}
		}
	}
}

func TestWhatWasDoneAndRefusedIsNoted(t *testing.T) {
	f, bin := twoSubtrees(), &fakeTrash{}
	var mu sync.Mutex
	var notes []string
	audited := func(c *Config, _ *fill.Config) {
		c.Audit = auth.NewAudit(func(r auth.Record) {
			mu.Lock()
			defer mu.Unlock()
			notes = append(notes, strings.Join([]string{r.Outcome, r.Action, r.Path, "by", r.Name}, " "))
		})
	}
	g := newRig(t, withMirror(f), withTrash(bin), audited)
	g.file("/a")
	tokens := g.rule()
	take := func() []string {
		mu.Lock()
		defer mu.Unlock()
		out := notes
		notes = nil
		return out
	}
	for _, row := range []struct{ path, body, done string }{
		{"/-/ensure", `{"urls":["/up/a"],"wait":true}`, "allowed ensure /up/a by operator"},
		{"/-/purge", `{"path":"/up/a"}`, "allowed purge /up/a by operator"},
		{"/-/walk", `{"subtree":"/up/d"}`, "allowed walk /up/d by operator"},
		{"/-/trash", `{"path":"/up/a","restore":true}`, "allowed trash /up/a by operator"},
		{"/-/reload", "", "allowed reload  by operator"},
	} {
		g.do("POST", row.path, row.body, bearer(tokens["operator"]))
		g.do("POST", row.path, row.body, bearer(tokens["reader"]))
		g.do("POST", row.path, row.body, inBasic(tokens["operator"]))
		word := strings.TrimPrefix(row.path, "/-/")
		want := []string{row.done, "denied " + word + " " + row.path + " by reader", "denied " + word + " " + row.path + " by operator"}
		if got := take(); !slices.Equal(got, want) {
			t.Errorf("POST %s noted %q, want %q", row.path, got, want)
		}
	}
	g.do("GET", "/-/explain?url=/up/a", "", bearer(tokens["operator"]))
	g.do("GET", "/-/status", "", bearer(tokens["reader"]))
	if got, want := take(), []string{"denied read /-/status by reader"}; !slices.Equal(got, want) {
		t.Errorf("GETs noted %q, want %q", got, want)
	}
}

func TestOfAPartitionIsToldToWhomItBelongs(t *testing.T) {
	var asked []string
	held := func(c *Config, _ *fill.Config) {
		c.KeyFor = func(who auth.Client, key cache.Key) cache.Key {
			asked = append(asked, who.Name())
			return cache.Partition(key, who.Subject())
		}
		c.Listing = func(key cache.Key) (*listing.Listing, time.Time, bool) { return nil, time.Time{}, false }
	}
	g := newRig(t, held)
	g.file("/a")
	tokens := g.rule()
	g.do("POST", "/-/ensure", `{"urls":["/up/a"],"wait":true}`, bearer(tokens["operator"]))
	for _, endpoint := range []string{"explain", "entry"} {
		w := g.do("GET", "/-/"+endpoint+"?url=/up/a", "", bearer(tokens["reader"]))
		v := object(t, w)
		if w.Code != 200 || v["held"] == true || v["held"] == "fresh" || v["hub"] != "up" || v["key"] != "/up/a" {
			t.Errorf("%s by who has a partition with nothing in it = %d %s", endpoint, w.Code, w.Body)
		}
		anonymous := g.do("GET", "/-/"+endpoint+"?url=/up/open", "")
		if anonymous.Code != 200 {
			t.Errorf("%s by nobody = %d %s", endpoint, anonymous.Code, anonymous.Body)
		}
	}
	if !slices.Contains(asked, "reader") || !slices.Contains(asked, "") {
		t.Errorf("KeyFor was asked for %q", asked)
	}
}

func TestAPurgeReachesThePartitions(t *testing.T) {
	part := ""
	g := newRig(t, func(c *Config, _ *fill.Config) {
		tree := c.Store.(*cache.Tree)
		c.Partitions = tree.Partitions
	})
	g.file("/a")
	tokens := g.rule()
	key := cache.Partition(mustKey(t, g, "/up/a"), "token:x")
	part = key.Hub()
	if _, err := g.cfg.Filler.Ensure(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if parts := g.tree.Partitions("up"); !slices.Equal(parts, []string{part}) {
		t.Fatalf("partitions %q, want %q", parts, part)
	}
	w := g.do("POST", "/-/purge", `{"path":"/up/","recursive":true}`, bearer(tokens["operator"]))
	if e, err := g.tree.Open(key, http.Header{}); err == nil {
		e.Close()
		t.Errorf("purge of the hub = %d %s, and a client's own copy is held still", w.Code, w.Body)
	}
	if object(t, w)["removed"] != 1.0 {
		t.Errorf("purge = %s, want one removed", w.Body)
	}
}
