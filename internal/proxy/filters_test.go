package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/limit"
	"zcache/internal/origin/origintest"
)

// filtered puts rules in force.
func (g *rig) filtered(rules ...limit.Rule) *limit.Filter {
	g.t.Helper()
	f, err := limit.NewFilter(rules)
	if err != nil {
		g.t.Fatal(err)
	}
	g.g.SetFilter(f)
	return f
}

// stored says that something is held of a path of the only hub.
func (g *rig) stored(path string) bool {
	g.t.Helper()
	g.idle()
	key, err := cache.ParseKey("top", path, "", false)
	if err != nil {
		g.t.Fatal(err)
	}
	_, _, err = g.tree.Peek(key)
	return err == nil
}

const elf = "\x7fELF\x02\x01\x01 and what else a program is made of"

// menu is what the origin of the tests of rules has.
func menu(o *origintest.Origin, control string) {
	old, young := origintest.LastModified(time.Now().Add(-90*24*time.Hour)), origintest.LastModified(time.Now().Add(-time.Hour))
	o.File("/a.tar", origintest.Text("tar"), cc(control), old)
	o.File("/young.tgz", origintest.Text("tgz"), cc(control), young)
	o.File("/undated.tgz", origintest.Text("tgz"), cc(control), origintest.NoValidators())
	o.File("/film", origintest.Text("film"), cc(control), origintest.Header("Content-Type", "video/mp4"), old)
	o.File("/film.MP4", origintest.Text("film"), cc(control), old)
	o.File("/big", origintest.Body(1, 300_000), cc(control), old)
	o.File("/program", origintest.Text(elf), cc(control), old)
	o.File("/none.tgz", origintest.Text("not here"), origintest.Status(404), cc(control))
	o.File("/away.tgz", origintest.Text(""), origintest.Redirect(302, "http://elsewhere.example/x.tgz"), cc(control))
	o.File("/latest.tgz", origintest.Text(""), origintest.Redirect(302, "/a.tar"), cc(control))
}

func TestRules(t *testing.T) {
	week := 7 * 24 * time.Hour
	tests := []struct {
		name  string
		rule  limit.Rule
		line  string // of a request; ORIGIN is the hub's, OUT is no hub's
		rule2 limit.Rule
		want  string // the rule that refuses it; empty = none does
		trip  bool   // the origin is asked all the same
	}{
		{"a method", limit.Rule{Methods: []string{"POST"}}, "POST /a.tar", limit.Rule{}, "r", false},
		{"another method", limit.Rule{Methods: []string{"POST"}}, "GET /a.tar", limit.Rule{}, "", true},
		{"a path", limit.Rule{Paths: []string{"/**/*.tar"}}, "GET /a.tar", limit.Rule{}, "r", false},
		{"a path that is written otherwise", limit.Rule{Paths: []string{"/a.tar"}}, "GET /%61%2Etar", limit.Rule{}, "r", false},
		{"a suffix in another case", limit.Rule{Suffixes: []string{".mp4"}}, "GET /film.MP4", limit.Rule{}, "r", false},
		{"a suffix, HEAD", limit.Rule{Suffixes: []string{".mp4"}}, "HEAD /film.MP4", limit.Rule{}, "r", false},
		{"a rule for the forward proxy means no gateway", limit.Rule{Forward: true, Suffixes: []string{".mp4"}}, "GET /film.MP4", limit.Rule{}, "", true},
		{"nor URL form", limit.Rule{Forward: true, Suffixes: []string{".mp4"}}, "GET /download/OUT/film.MP4", limit.Rule{}, "", true},
		{"but proxy form", limit.Rule{Forward: true, Suffixes: []string{".mp4"}}, "GET OUT/film.MP4", limit.Rule{}, "r", false},
		{"and what is a hub's in it", limit.Rule{Forward: true, Suffixes: []string{".mp4"}}, "GET ORIGIN/film.MP4", limit.Rule{}, "r", false},
		{"a hub, whichever way it is asked", limit.Rule{Hubs: []string{"top"}}, "GET ORIGIN/a.tar", limit.Rule{}, "r", false},
		{"another hub", limit.Rule{Hubs: []string{"top"}}, "GET OUT/a.tar", limit.Rule{}, "", true},
		{"a host", limit.Rule{Hosts: []string{"127.0.0.*"}}, "GET OUT/a.tar", limit.Rule{}, "r", false},
		{"a host in URL form", limit.Rule{Hosts: []string{"127.0.0.*"}}, "GET /download/OUT/a.tar", limit.Rule{}, "r", false},
		{"this instance's own name is no host that is asked for", limit.Rule{Hosts: []string{"127.0.0.*"}}, "GET /a.tar", limit.Rule{}, "", true},
		{"a tunnel's host", limit.Rule{Hosts: []string{"127.0.0.*"}}, "CONNECT TUNNEL", limit.Rule{}, "r", false},
		{"tunnels", limit.Rule{Methods: []string{"CONNECT"}}, "CONNECT TUNNEL", limit.Rule{}, "r", false},
		{"a host after a rule about types", limit.Rule{Types: []string{"text/plain"}}, "CONNECT TUNNEL", limit.Rule{Name: "s", Hosts: []string{"127.0.0.*"}}, "s", false},

		{"a type", limit.Rule{Types: []string{"video/*"}}, "GET /film", limit.Rule{}, "r", true},
		{"a type, HEAD", limit.Rule{Types: []string{"video/*"}}, "HEAD /film", limit.Rule{}, "r", true},
		{"a type, a range", limit.Rule{Types: []string{"video/*"}}, "GET /film\r\nRange: bytes=1-2", limit.Rule{}, "r", true},
		{"another type", limit.Rule{Types: []string{"video/*"}}, "GET /a.tar", limit.Rule{}, "", true},
		{"a type in proxy form", limit.Rule{Types: []string{"video/*"}}, "GET OUT/film", limit.Rule{}, "r", true},
		{"a size", limit.Rule{Larger: 200_000}, "GET /big", limit.Rule{}, "r", true},
		{"a size, of which a part is asked for", limit.Rule{Larger: 200_000}, "GET /big\r\nRange: bytes=5-9", limit.Rule{}, "r", true},
		{"a size, HEAD", limit.Rule{Larger: 200_000}, "HEAD /big", limit.Rule{}, "r", true},
		{"less than a size", limit.Rule{Larger: 400_000}, "GET /big", limit.Rule{}, "", true},
		{"first bytes", limit.Rule{Magic: []string{"hex:7f454c46"}}, "GET /program", limit.Rule{}, "r", true},
		{"first bytes, of which none is asked for", limit.Rule{Magic: []string{"hex:7f454c46"}}, "GET /program\r\nRange: bytes=10-", limit.Rule{}, "r", true},
		{"first bytes that are behind what a client has", limit.Rule{Magic: []string{"hex:7f454c46"}}, "GET /program\r\nCache-Control: no-cache", limit.Rule{}, "r", true},
		{"other first bytes", limit.Rule{Magic: []string{"hex:7f454c46"}}, "GET /a.tar", limit.Rule{}, "", true},
		{"age", limit.Rule{Younger: week}, "GET /young.tgz", limit.Rule{}, "r", true},
		{"more than an age", limit.Rule{Younger: week}, "GET /a.tar", limit.Rule{}, "", true},
		{"an age that nobody tells", limit.Rule{Younger: week}, "GET /undated.tgz", limit.Rule{}, "r", true},
		{"an error has no age", limit.Rule{Younger: week}, "GET /none.tgz", limit.Rule{}, "", true},
		{"a redirect in proxy form comes back", limit.Rule{Younger: week}, "GET OUT/away.tgz", limit.Rule{}, "", true},
		{"a redirect within the hub comes back", limit.Rule{Younger: week}, "GET /latest.tgz", limit.Rule{}, "", true},
		{"an exception goes before", limit.Rule{Paths: []string{"/young.tgz"}}, "GET /young.tgz", limit.Rule{Name: "s", Younger: week}, "", true},
		{"an exception by type goes before", limit.Rule{Types: []string{"video/*"}}, "GET /film.MP4", limit.Rule{Name: "s", Suffixes: []string{".mp4"}}, "s", true},
		{"in shadow nothing is refused", limit.Rule{Shadow: true, Types: []string{"video/*"}}, "GET /film", limit.Rule{}, "", true},
	}
	for _, control := range []string{fresh, "no-store"} {
		for _, tt := range tests {
			if control != fresh && !tt.trip {
				continue
			}
			t.Run(tt.name+", "+control, func(t *testing.T) {
				g := newRig(t).forward()
				menu(g.o, control)
				menu(g.out, control)
				rules := []limit.Rule{tt.rule}
				rules[0].Name = "r"
				if rules[0].Action = limit.Deny; strings.HasPrefix(tt.name, "an exception") || strings.HasPrefix(tt.name, "a host after") {
					rules[0].Action = limit.Allow
				}
				if tt.rule2.Name != "" {
					tt.rule2.Action = limit.Deny
					rules = append(rules, tt.rule2)
				}
				f := g.filtered(rules...)
				line, header, _ := strings.Cut(strings.NewReplacer("ORIGIN", g.o.URL, "OUT", g.out.URL, "TUNNEL", g.out.Addr).Replace(tt.line), "\r\n")
				before := g.o.Total() + g.out.Total()
				var got reply
				if header == "" {
					got = g.send(line + " HTTP/1.1")
				} else {
					got = g.send(line+" HTTP/1.1", header)
				}
				trips := g.o.Total() + g.out.Total() - before
				if (trips > 0) != tt.trip {
					t.Errorf("%s: the origin was asked %d times, want it asked: %v", tt.line, trips, tt.trip)
				}
				if tt.want == "" {
					if got.StatusCode == 403 {
						t.Errorf("%s: %d %.300q, want it served", tt.line, got.StatusCode, got.body)
					}
					return
				}
				if got.StatusCode != 403 || !strings.HasPrefix(tt.line, "HEAD") && (got.word() != "filtered" || !strings.Contains(got.body, `"rule":"`+tt.want+`"`) || !strings.Contains(got.body, "rule "+tt.want+": ")) {
					t.Errorf("%s: %d %.300q, want 403 by rule %s", tt.line, got.StatusCode, got.body, tt.want)
				}
				for _, path := range []string{"/film", "/big", "/program", "/young.tgz", "/undated.tgz"} {
					if g.stored(path) {
						t.Errorf("%s is held although nobody may have it", path)
					}
				}
				if counts := f.Counts(); len(counts) != 1 || counts[0] != (limit.RuleCount{Rule: tt.want, Outcome: limit.Denied, Count: 1}) {
					t.Errorf("counted %v, want one denial by %s", counts, tt.want)
				}
			})
		}
	}
}

func TestNewRulesHoldForWhatIsHeld(t *testing.T) {
	g := newRig(t)
	menu(g.o, fresh)
	paths := map[string]limit.Rule{
		"/film":        {Types: []string{"video/*"}},
		"/film.MP4":    {Suffixes: []string{".mp4"}},
		"/big":         {Larger: 200_000},
		"/program":     {Magic: []string{"hex:7f454c46"}},
		"/young.tgz":   {Younger: time.Hour * 24},
		"/undated.tgz": {Younger: time.Hour * 24},
	}
	for path := range paths {
		if got := g.get(path); got.StatusCode != 200 || !g.stored(path) {
			t.Fatalf("%s: %d, want it stored", path, got.StatusCode)
		}
	}
	before := g.o.Total()
	for path, rule := range paths {
		rule.Name, rule.Action = "new", limit.Deny
		g.filtered(rule)
		for _, header := range [][]string{nil, {"Range: bytes=20-30"}, {"If-Modified-Since: " + time.Now().UTC().Format(http.TimeFormat)}} {
			if got := g.get(path, header...); got.StatusCode != 403 || got.word() != "filtered" {
				t.Errorf("%s %v: %d %.60q, want 403 of what is held", path, header, got.StatusCode, got.body)
			}
		}
		if got := g.get("/film", "Cache-Control: only-if-cached"); got.StatusCode != 403 && path == "/film" {
			t.Errorf("%s from the store alone: %d, want 403", path, got.StatusCode)
		}
		if got := g.send("HEAD " + path + " HTTP/1.1"); got.StatusCode != 403 {
			t.Errorf("HEAD %s: %d, want 403", path, got.StatusCode)
		}
	}
	if n := g.o.Total(); n != before {
		t.Errorf("the origin was asked %d times about what is held and fresh", n-before)
	}
	g.filtered()
	g.get("/film").want(t, "when the rule is gone", 200, "film", fill.Hit)
}

func TestRedirectsAreJudgedByWhatTheyLeadTo(t *testing.T) {
	t.Run("to the upstream, on a miss", func(t *testing.T) {
		g := newRig(t)
		menu(g.o, fresh)
		g.policy.OnMiss = fill.RedirectMiss
		g.filtered(limit.Rule{Name: "r", Action: limit.Deny, Types: []string{"video/*"}})
		if got := g.get("/film"); got.StatusCode != 403 || got.Header.Get("Location") != "" {
			t.Errorf("%d to %q, want 403 and no Location", got.StatusCode, got.Header.Get("Location"))
		}
		if got := g.get("/a.tar"); got.StatusCode != 302 || !strings.HasSuffix(got.Header.Get("Location"), "/a.tar") {
			t.Errorf("%d to %q, want 302 to the upstream for what the rule allows", got.StatusCode, got.Header.Get("Location"))
		}
		if !g.stored("/a.tar") || g.stored("/film") {
			t.Errorf("held: /a.tar %v, /film %v; want the one filled behind, and not the other", g.stored("/a.tar"), g.stored("/film"))
		}
		if n := g.o.Count("/a.tar"); n != 1 {
			t.Errorf("%d requests for what was filled behind, want 1", n)
		}
	})
	t.Run("elsewhere, of unknown age", func(t *testing.T) {
		g := newRig(t)
		menu(g.o, fresh)
		g.policy.Follow = false
		g.filtered(limit.Rule{Name: "r", Action: limit.Deny, Younger: time.Hour})
		if got := g.get("/away.tgz"); got.StatusCode != 403 || got.Header.Get("Location") != "" {
			t.Errorf("%d to %q, want 403 and no Location", got.StatusCode, got.Header.Get("Location"))
		}
	})
}

func TestRulesAreTheAskersAlone(t *testing.T) {
	// The same file, of one flight: asked for in proxy form a rule refuses it, by path none does.
	for _, first := range []string{"proxy", "gateway"} {
		t.Run("the "+first+"'s client comes first", func(t *testing.T) {
			g := newRig(t).forward()
			body := origintest.Body(2, 200_000)
			release := make(chan struct{})
			g.o.File("/film", body, cc(fresh), origintest.Header("Content-Type", "video/mp4"), origintest.Hold(release))
			g.filtered(limit.Rule{Name: "r", Action: limit.Deny, Forward: true, Types: []string{"video/*"}})
			lines := map[string]string{"proxy": "GET " + g.o.URL + "/film HTTP/1.1", "gateway": "GET /film HTTP/1.1"}
			var all sync.WaitGroup
			ask := func(form string) {
				all.Go(func() {
					got := g.send(lines[form])
					if form == "proxy" && (got.StatusCode != 403 || got.word() != "filtered") {
						t.Errorf("in proxy form: %d %.60q, want 403", got.StatusCode, got.body)
					}
					if form == "gateway" && (got.StatusCode != 200 || got.body != body.String()) {
						t.Errorf("by path: %d, %d bytes, want the file", got.StatusCode, len(got.body))
					}
				})
			}
			ask(first)
			g.o.Wait("/film", 1)
			for form := range lines {
				for range 3 {
					ask(form)
				}
			}
			eventually(t, "all wait for one flight", func() bool { f := g.f.Flights(); return len(f) == 1 && f[0].Waiting == 7 })
			close(release)
			all.Wait()
			if !g.stored("/film") || g.o.Count("/film") != 1 {
				t.Errorf("stored: %v, after %d requests; want it stored after one", g.stored("/film"), g.o.Count("/film"))
			}
		})
	}
	t.Run("when all are refused the fetch stops", func(t *testing.T) {
		g := newRig(t)
		never := make(chan struct{})
		t.Cleanup(func() { close(never) })
		release := make(chan struct{})
		g.o.File("/film", origintest.Body(3, 1<<30), cc(fresh), origintest.Header("Content-Type", "video/mp4"), origintest.Hold(release))
		g.filtered(limit.Rule{Name: "r", Action: limit.Deny, Types: []string{"video/*"}})
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got := g.get("/film"); got.StatusCode != 403 {
					t.Errorf("%d, want 403", got.StatusCode)
				}
			})
		}
		eventually(t, "all wait for one flight", func() bool { f := g.f.Flights(); return len(f) == 1 && f[0].Waiting == 20 })
		close(release)
		all.Wait()
		if g.stored("/film") || g.o.Count("/film") != 1 {
			t.Errorf("stored: %v, after %d requests; want nothing stored after one", g.stored("/film"), g.o.Count("/film"))
		}
	})
}

func TestRulesInShadowAreReported(t *testing.T) {
	g := newRig(t)
	menu(g.o, fresh)
	f := g.filtered(limit.Rule{Name: "tried", Action: limit.Deny, Shadow: true, Types: []string{"video/*"}})
	for range 2 { // as it comes, and held
		if got := g.get("/film"); got.StatusCode != 200 {
			t.Fatalf("%d, want it served", got.StatusCode)
		}
		g.idle()
	}
	if counts := f.Counts(); len(counts) != 1 || counts[0] != (limit.RuleCount{Rule: "tried", Outcome: limit.Shadowed, Count: 2}) {
		t.Errorf("counted %v, want two in shadow", counts)
	}
	if n := strings.Count(g.logs.String(), `"action":"shadow","rule":"tried"`); n != 2 {
		t.Errorf("%d lines in the log tell of the rule, want 2", n)
	}
}

func TestTheGlassIsBrokenByOperatorsAlone(t *testing.T) {
	g := newRig(t)
	menu(g.o, fresh)
	var mu sync.Mutex
	var noted []auth.Record
	g.g.cfg.Audit = auth.NewAudit(func(r auth.Record) { mu.Lock(); defer mu.Unlock(); noted = append(noted, r) })
	f := g.filtered(limit.Rule{Name: "age", Action: limit.Deny, Breakable: true, Younger: 24 * time.Hour}, limit.Rule{Name: "hard", Action: limit.Deny, Types: []string{"video/*"}})
	const why = "X-Zcache-Override: incident 42"
	if got := g.get("/young.tgz"); got.StatusCode != 403 {
		t.Errorf("without a word: %d, want 403", got.StatusCode)
	}
	c := g.dialFrom("127.0.0.1")
	io.WriteString(c, "GET /young.tgz HTTP/1.1\r\nHost: cache.lab\r\n"+why+"\r\n\r\n")
	if got := readReply(t, bufio.NewReader(c), "GET"); got.StatusCode != 403 {
		t.Errorf("by who is no operator: %d, want 403", got.StatusCode)
	}
	if got := g.get("/young.tgz", "X-Zcache-Override:  "); got.StatusCode != 403 {
		t.Errorf("without a reason: %d, want 403", got.StatusCode)
	}
	if got := g.get("/film", why); got.StatusCode != 403 {
		t.Errorf("through a rule that cannot be broken: %d, want 403", got.StatusCode)
	}
	g.get("/young.tgz", why).want(t, "by an operator", 200, "tgz", fill.Miss)
	for name := range g.o.Last("/young.tgz").Header {
		if name == "X-Zcache-Override" {
			t.Error("the upstream was told of the override")
		}
	}
	g.idle()
	if got := g.get("/young.tgz"); got.StatusCode != 403 {
		t.Errorf("once it is held, without a word: %d, want 403", got.StatusCode)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(noted) != 1 || !strings.Contains(noted[0].Action, "age") || !strings.Contains(noted[0].Action, "incident 42") || !strings.Contains(noted[0].Path, "/young.tgz") {
		t.Errorf("the audit log has %+v, want one line with the rule, the reason and the path", noted)
	}
	want := fmt.Sprint([]limit.RuleCount{{Rule: "age", Outcome: limit.Denied, Count: 4}, {Rule: "age", Outcome: limit.Overridden, Count: 1}, {Rule: "hard", Outcome: limit.Denied, Count: 1}})
	if got := fmt.Sprint(f.Counts()); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestDirectoriesAreNoPackages(t *testing.T) {
	g := newRig(t, Hub{Name: "top", Mount: "/", Listings: true})
	g.policy.Listings = true
	g.o.File("/d/", origintest.Text(`<html><head><title>Index of /d/</title></head><body><h1>Index of /d/</h1><hr><pre><a href="../">../</a>
<a href="a.tar">a.tar</a>                  01-Jan-2020 10:00       3
</pre><hr></body></html>`), cc(fresh), origintest.Header("Content-Type", "text/html"), origintest.NoValidators())
	g.g.cfg.Listings = g.tree
	g.filtered(limit.Rule{Name: "age", Action: limit.Deny, Younger: 24 * time.Hour})
	if got := g.get("/d/", "Accept: application/json"); got.StatusCode != 200 || !strings.Contains(got.body, "a.tar") {
		t.Errorf("%d %s, want the listing", got.StatusCode, got.body)
	}
	g.filtered(limit.Rule{Name: "closed", Action: limit.Deny, Paths: []string{"/d/**"}})
	if got := g.get("/d/", "Accept: application/json"); got.StatusCode != 403 {
		t.Errorf("a rule about paths: %d, want 403", got.StatusCode)
	}
}
