package main

import (
	"net/http"
	"strings"
	"testing"

	"zcache/internal/config"
)

func TestAReloadPutsRulesAndLimitsInForce(t *testing.T) {
	up, _, _ := upstreamTree(t, "a.iso", "b.txt")
	const head = "listen = \"127.0.0.1:0\"\n"
	hub := "[[hub]]\nname = \"k\"\nupstream = \"" + up.URL + "\"\n"
	base, write := serving(t, head+hub)
	for _, row := range []struct {
		claim, text string
		iso, txt    int
		metrics     string
	}{
		{"without rules", head + hub, 200, 200, ""},
		{"a rule refuses what is held too", head + hub + "[[rule]]\nname = \"images\"\nsuffix = \".iso\"\n", 403, 200,
			`zcache_filter_matches_total{outcome="denied",rule="images"} 1`},
		{"and counts on while it stays", head + hub + "[[rule]]\nname = \"images\"\nsuffix = \".iso\"\n", 403, 200,
			`zcache_filter_matches_total{outcome="denied",rule="images"} 2`},
		{"a rule in shadow is only counted", head + hub + "[[rule]]\nname = \"texts\"\nsuffix = \".txt\"\nshadow = true\n", 200, 200,
			`zcache_filter_matches_total{outcome="shadow",rule="texts"} 1`},
		{"a limit of the hub", head + hub + "rate = \"1/h:1\"\n", 200, 429, `zcache_limit_refusals_total{policy="hub-requests"} 1`},
		{"and none", head + hub, 200, 200, ""},
	} {
		write(row.text)
		c := &client{base: base, http: http.DefaultClient}
		if _, err := c.call(t.Context(), http.MethodPost, "/-/reload", nil); err != nil {
			t.Fatalf("%s: %v", row.claim, err)
		}
		iso, _ := get(t, base+"/k/a.iso")
		txt, body := get(t, base+"/k/b.txt")
		_, metrics := get(t, base+"/-/metrics")
		if iso != row.iso || txt != row.txt || !strings.Contains(metrics, row.metrics) {
			t.Errorf("%s: %d and %d (%s), want %d and %d, and %q among the metrics:\n%s", row.claim, iso, txt, body, row.iso, row.txt, row.metrics, only(metrics, "zcache_filter", "zcache_limit"))
		}
	}
}

// only is the lines of a text that begin with one of the words.
func only(text string, words ...string) string {
	var out []string
	for line := range strings.Lines(text) {
		for _, word := range words {
			if strings.HasPrefix(line, word) {
				out = append(out, line)
			}
		}
	}
	return strings.Join(out, "")
}

func TestLimitsOfAConfigurationAreThoseInForce(t *testing.T) {
	c := config.Config{
		Client:  config.Limits{Rate: config.Rate{PerSecond: 2, Burst: 5}, Requests: 3, Bandwidth: 4, Daily: 5, Misses: 6},
		Clients: []config.ClientLimits{{Who: []string{"token:a", "user:b"}, Limits: config.Limits{Daily: 9, Weight: 2}}},
		Egress:  7,
		Hubs:    []config.Hub{{Name: "k", Limits: config.Limits{Daily: 1}, Each: config.Limits{Requests: 2}, Trips: config.Trips{AtOnce: 3, Queue: 4, Wait: 5}}},
	}
	got := limitsOf(c)
	if l := got.Client; l.Rate != 2 || l.Burst != 5 || l.Requests != 3 || l.Bandwidth != 4 || l.Daily != 5 || l.Misses != 6 || got.Egress != 7 {
		t.Errorf("each client: %+v, egress %d", l, got.Egress)
	}
	if len(got.Tokens) != 2 || got.Tokens["user:b"].Daily != 9 || got.Tokens["token:a"].Weight != 2 {
		t.Errorf("single clients: %+v", got.Tokens)
	}
	if h := got.Hubs["k"]; h.Total.Daily != 1 || h.Each.Requests != 2 || h.Upstream.Trips != 3 || h.Upstream.Queue != 4 || h.Upstream.Wait != 5 {
		t.Errorf("the hub: %+v", h)
	}
}

func TestDefaultRulesStandBehindThoseThatAreGiven(t *testing.T) {
	for _, row := range []struct {
		claim string
		media string
		want  string
	}{
		{"by default", config.ActionDeny, "mine software-suffix media-suffix media-type"},
		{"where media are allowed", config.ActionAllow, "mine"},
	} {
		var names []string
		for _, r := range rulesOfFilter(config.Config{Media: row.media, Rules: []config.Rule{{Name: "mine", Action: config.ActionDeny, Forward: true}}}) {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != row.want {
			t.Errorf("%s: rules %s, want %s", row.claim, got, row.want)
		}
	}
}
