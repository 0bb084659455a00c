package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRateIsReadInEveryNotation(t *testing.T) {
	for text, want := range map[string]Rate{
		"5": {PerSecond: 5}, "5/s": {PerSecond: 5}, "0.5": {PerSecond: 0.5}, "30/m": {PerSecond: 0.5}, "1/s:5": {PerSecond: 1, Burst: 5},
		"3600/h": {PerSecond: 1}, "0": {}, "60/min:10": {PerSecond: 1, Burst: 10},
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("parseRate(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "fast", "-1", "5/", "5/y", "5:", "5:0", "5:-1", "5:x", "NaN", "Inf", "5/s:9999999999"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("parseRate(%q) = %+v, want an error", text, got)
		}
	}
	for want, r := range map[string]Rate{"": {}, "5/s": {PerSecond: 5}, "30/m:7": {PerSecond: 0.5, Burst: 7}} {
		if got := r.String(); got != want {
			t.Errorf("%+v.String() = %q, want %q", r, got, want)
		}
	}
}

const limited = `
auth-file = "tokens.toml"
anonymous = "none"
rate = "10/s:50"
max-downloads-per-client = 8
client-bandwidth = "20MB/s"
client-daily = "500GB"
max-misses = "120/m"
rate-exempt = ["10.0.0.0/8"]
egress = "1GB"
max-conns-per-client = 64
max-conns = 10000
media = "allow"
notify = ["https://hook.example/a,b", "smtp://m.example?to=a@b.example,c@b.example"]
ready-hook = "exec:///bin/dereg"

[[hub]]
name = "k"
upstream = "https://a.example"
identity = "pass"
writable = true
rate = "100"
max-requests = 200
bandwidth = "100MB"
daily = "10TB"
max-misses = 1000
client-rate = "2/s"
client-max-requests = 3
client-bandwidth = "1MB"
client-daily = "1GB"
client-max-misses = 10
upstream-requests = 4
upstream-wait = "30s"

[[rule]]
name = "exception"
action = "allow"
path = "/pub/**"
until = 2027-01-31
[[rule]]
suffix = [".iso", ".img"]
hub = ["k", "files"]
method = "get"
host = "*.example"
type = "video/*"
magic = "hex:4d5a"
larger = "4GiB"
min-age = "3d"
status = 451
reason = "too young"
forward = true
shadow = true
breakable = true

[[client]]
who = ["token:ab12", "user:lab"]
rate = "100"
weight = 4
`

func TestLimitsAndRulesTakeEveryKey(t *testing.T) {
	c := mustLoad(t, limited)
	if c.AuthFile != "tokens.toml" || c.Anonymous != AnonymousNone || c.Media != ActionAllow || c.Egress != 1e9 || c.MaxConns != 10000 || c.MaxConnsPerClient != 64 {
		t.Errorf("auth file %q, anonymous %q, media %q, egress %d, connections %d and %d", c.AuthFile, c.Anonymous, c.Media, c.Egress, c.MaxConns, c.MaxConnsPerClient)
	}
	if diff := cmp.Diff(Limits{Rate: Rate{10, 50}, Requests: 8, Bandwidth: 20e6, Daily: 500e9, Misses: 120}, c.Client); diff != "" {
		t.Errorf("limits of clients (-want +got):\n%s", diff)
	}
	h := c.Hubs[0]
	got := []any{h.Identity, h.Writable, h.Limits, h.Each, h.Trips}
	want := []any{
		IdentityPass, true, Limits{Rate: Rate{PerSecond: 100}, Requests: 200, Bandwidth: 100e6, Daily: 10e12, Misses: 1000},
		Limits{Rate: Rate{PerSecond: 2}, Requests: 3, Bandwidth: 1e6, Daily: 1e9, Misses: 10}, Trips{AtOnce: 4, Queue: 1024, Wait: 30 * time.Second},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the hub (-want +got):\n%s", diff)
	}
	rules := []Rule{
		{Name: "exception", Action: ActionAllow, Paths: []string{"/pub/**"}, Until: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)},
		{Name: "rule-2", Action: ActionDeny, Reason: "too young", Status: 451, Shadow: true, Breakable: true, Forward: true, Hubs: []string{"k", "files"},
			Methods: []string{"GET"}, Hosts: []string{"*.example"}, Suffixes: []string{".iso", ".img"}, Types: []string{"video/*"}, Magic: []string{"hex:4d5a"},
			Larger: 4 << 30, Younger: 72 * time.Hour},
	}
	if diff := cmp.Diff(rules, c.Rules); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	clients := []ClientLimits{{Who: []string{"token:ab12", "user:lab"}, Limits: Limits{Rate: Rate{PerSecond: 100}, Weight: 4}}}
	if diff := cmp.Diff(clients, c.Clients); diff != "" {
		t.Errorf("clients (-want +got):\n%s", diff)
	}
	if len(c.Notify) != 2 || string(c.Notify[0]) != "https://hook.example/a,b" || string(c.ReadyHooks[0]) != "exec:///bin/dereg" {
		t.Errorf("notify of %d, hooks of %d", len(c.Notify), len(c.ReadyHooks))
	}
}

func TestURLsInOneTextArePartedWhereTheNextBegins(t *testing.T) {
	c := mustLoad(t, "", "--notify", "smtp://m.example?to=a@b,c@d, https://hook.example/x", "--notify=exec:///bin/true")
	var got []string
	for _, s := range c.Notify {
		got = append(got, string(s))
	}
	if diff := cmp.Diff([]string{"smtp://m.example?to=a@b,c@d", "https://hook.example/x", "exec:///bin/true"}, got); diff != "" {
		t.Errorf("notify (-want +got):\n%s", diff)
	}
}

func TestProblemsOfLimitsAndRulesNameTheSetting(t *testing.T) {
	hub := "[[hub]]\nname = \"k\"\nupstream = \"http://a.example\"\n"
	tree := t.TempDir()
	for _, row := range []struct{ claim, text, want string }{
		{"a rate that is none", "rate = \"fast\"\n", `rate: "fast" is no rate; write requests a second or minute and how many may come at once, such as 5, 5/s:20 or 300/m (zcache.toml:1)`},
		{"anonymous with another word", "anonymous = \"write\"\n", `anonymous: "write" is not known; write read or none (zcache.toml:1)`},
		{"a bandwidth that is none", "egress = \"much\"\n", `egress: "much" is no bandwidth; write bytes a second such as 10MB/s, or 0 for no limit (zcache.toml:1)`},
		{"an identity that is none", hub + "identity = \"mine\"\n", `hub[k].identity: "mine" is not known; write own, pass or none (zcache.toml:4)`},
		{"a name that is a client's part", strings.Replace(hub, "\"k\"", "\"k.as-0123456789abcdef\"", 1),
			`hub[k.as-0123456789abcdef].name: "k.as-0123456789abcdef" reads as a client's part of a hub; choose another name (zcache.toml:2)`},
		{"a writable tree of this machine", "[[hub]]\nname = \"k\"\nupstream = \"file://" + tree + "\"\nwritable = true\n",
			`hub[k].writable: its upstream is a directory of this machine; put files there, or name another upstream (zcache.toml:4)`},
		{"writable where nothing is kept", "mode = \"proxy\"\n" + hub + "writable = true\n",
			`hub[k].writable: in mode proxy nothing is kept; choose another mode or remove it (zcache.toml:2)`},
		{"a queue for nothing", hub + "upstream-queue = 5\n",
			`hub[k].upstream-requests: upstream-queue and upstream-wait say who waits for it, and it is missing; write it too (zcache.toml:1)`},
		{"a rule with one bracket", "[rule]\nsuffix = \".x\"\n", `rule: it is not a list of tables; write [[rule]] with two brackets (zcache.toml:1)`},
		{"an unknown key of a rule", "[[rule]]\nsufix = \".x\"\n", `rule[#1].sufix: unknown key; did you mean suffix? (zcache.toml:2)`},
		{"a key of a rule at the top", "shadow = true\n", `shadow: unknown key at the top level; write it below a [[rule]] (zcache.toml:1)`},
		{"the second rule", "[[rule]]\nsuffix = \".x\"\n[[rule]]\nsuffix = \"a/b\"\n", `rule[#2].suffix: "a/b" is no suffix of names; write one such as .mp3 (zcache.toml:4)`},
		{"a rule by its name", "[[rule]]\nname = \"big\"\nlarger = \"huge\"\n",
			`rule[big].larger: "huge" is no size; write one such as 500MB, 10GiB or 0 for no limit (zcache.toml:3)`},
		{"a name twice", "[[rule]]\nname = \"r\"\nforward = true\n[[rule]]\nname = \"r\"\nforward = true\n",
			`rule[r].name: another rule has this name; choose another (zcache.toml:4)`},
		{"a rule that refuses everything", "[[rule]]\nreason = \"no\"\n", `rule[#1]: it names nothing, so it would refuse everything; say what it is about (zcache.toml:1)`},
		{"an exception in shadow", "[[rule]]\naction = \"allow\"\nshadow = true\n", `rule[#1].shadow: a rule that allows does nothing in shadow; remove it (zcache.toml:1)`},
		{"a hub that is not there", "[[rule]]\nhub = \"x\"\n" + hub, `rule[#1].hub: there is no hub x (zcache.toml:1)`},
		{"a path that does not begin", "[[rule]]\npath = \"pub/**\"\n", `rule[#1].path: "pub/**" is no pattern of paths; write one such as /pub/**/*.iso (zcache.toml:2)`},
		{"a status of success", "[[rule]]\nforward = true\nstatus = 200\n", `rule[#1].status: "200" is no status from 400 to 499 (zcache.toml:3)`},
		{"a date that is none", "[[rule]]\nforward = true\nuntil = \"soon\"\n",
			`rule[#1].until: "soon" is no date; write one such as 2027-01-31 or 2027-01-31T12:00:00Z (zcache.toml:3)`},
		{"a client without a name", "[[client]]\nrate = 5\n", `client[#1].who: it is missing; name the client, as token:ID, user:NAME or jwt:SUBJECT (zcache.toml:1)`},
		{"a client by a bare name", "[[client]]\nwho = \"lab\"\n", `client[#1].who: "lab" names no client; write token:ID (zcache token list), user:NAME or jwt:SUBJECT (zcache.toml:2)`},
		{"a client twice", "[[client]]\nwho = \"user:a\"\n[[client]]\nwho = \"user:a\"\n", `client[#2].who: user:a has limits already; name it once (zcache.toml:3)`},
		{"a notify URL is not shown", "notify = \"smtp://u:hunter2@\nx\"\n",
			`config: the line is not TOML (its text is not shown, since it may hold a secret); put text values in double quotes (zcache.toml:1)`},
	} {
		t.Run(row.claim, func(t *testing.T) {
			_, err := load(t, row.text)
			if err == nil || err.Error() != row.want {
				t.Errorf("Load of\n%s got %v\nwant %s", row.text, err, row.want)
			}
		})
	}
}
