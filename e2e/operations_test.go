package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestHealthReadinessAndVersion(t *testing.T) {
	z := start(t, "--upstream", "http://127.0.0.1:9")
	get(t, z.url+"/-/healthz").is(t, "healthz", 200, "")
	a := get(t, z.url+"/-/readyz").is(t, "readyz", 200, "")
	if words := strings.Fields(string(a.Body)); len(words) != 1 {
		t.Errorf("readyz says %s, want one word", clip(a.Body))
	}
	v := get(t, z.url+"/-/version", "Accept: application/json").is(t, "version", 200, "")
	if v.json(t, "version")["version"] == nil {
		t.Errorf("version = %s, want a member version", clip(v.Body))
	}
	out, _, code := command(t, binary, "version")
	if code != 0 || !strings.Contains(out, "zcache") {
		t.Errorf("zcache version: exit %d, %q", code, out)
	}
}

func TestMetricsCarryTheNamesOfTheContract(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/max-age=600/x").is(t, "fill", 200, "MISS")
	get(t, z.url+"/up/max-age=600/x").is(t, "hit", 200, "HIT")
	var text string
	want := []string{
		`zcache_requests_total{hub="up",module="legacy",outcome="hit"} 1`,
		"zcache_request_duration_seconds_bucket{", "zcache_response_bytes_bucket{", "zcache_upstream_requests_total{", "zcache_upstream_bytes_total{",
		"zcache_cache_bytes", "zcache_evicted_bytes_total", "zcache_inflight_fills", "zcache_breaker_state{", "zcache_build_info{",
	}
	eventually(t, waitShort, "the metrics", func() (bool, string) {
		text = string(get(t, z.url+"/-/metrics").is(t, "metrics", 200, "").Body)
		missing := slices.DeleteFunc(slices.Clone(want), func(s string) bool { return strings.Contains(text, s) })
		return len(missing) == 0, fmt.Sprint("missing ", missing)
	})
	if strings.Contains(text, "max-age=600/x") {
		t.Error("a path became a label of a metric")
	}
}

func TestStatusCountsHitsAndBytesPerHub(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url, "--upstream", "other="+o.url+"/max-age=600")
	for range 4 {
		get(t, z.url+"/up/max-age=600/x")
	}
	a := get(t, z.url+"/-/status", "Accept: application/json").is(t, "status", 200, "")
	s := a.json(t, "status")
	for _, name := range []string{"hubs", "flights", "disk"} {
		if _, ok := s[name]; !ok {
			t.Errorf("status has no %s: %s", name, a.Body)
		}
	}
	if !strings.Contains(string(a.Body), `"up"`) || !strings.Contains(string(a.Body), "0.75") {
		t.Errorf("status does not show hub up with a hit ratio of 0.75:\n%s", a.Body)
	}
}

// explained asks what would be done with a URL.
func explained(t testing.TB, z *zcache, url string) map[string]any {
	t.Helper()
	a := get(t, z.url+"/-/explain?url="+strings.NewReplacer("%", "%25", "&", "%26", "#", "%23", "+", "%2B").Replace(url), "Accept: application/json")
	return a.is(t, "explain "+url, 200, "").json(t, "explain "+url)
}

func TestExplainTellsHubKeyStateRuleAndNextStep(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url)
	asked := func() int { return o.count("") }
	for _, url := range []string{"/up/max-age=600/x", z.url + "/up/max-age=600/x", o.url + "/max-age=600/x"} {
		e := explained(t, z, url)
		if e["hub"] != "up" || e["held"] != false || e["key"] == nil || e["next"] == nil {
			t.Errorf("explain %s before a fill = %v, want hub up, not held, its key and what comes next", url, e)
		}
	}
	if asked() != 0 {
		t.Errorf("explaining asked the origin %d times", asked())
	}
	get(t, z.url+"/up/max-age=600/x")
	e := explained(t, z, "/up/max-age=600/x")
	if e["held"] != true || e["fresh_until"] == nil || e["rule"] == nil || e["next"] == nil {
		t.Errorf("explain of a held entry = %v, want held, fresh_until, rule and next", e)
	}
	before := asked()
	out, errs, code := command(t, binary, "explain", "--server", z.url, "/up/max-age=600/x")
	if code != 0 || !strings.Contains(out, "up") {
		t.Errorf("zcache explain: exit %d, %q %q", code, out, errs)
	}
	if asked() != before {
		t.Error("explaining asked the origin")
	}
}

func TestEnsureFillsAndTellsHowFarItIs(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		switch {
		case strings.HasSuffix(r.Target, "/slow"):
			<-release
		case strings.HasSuffix(r.Target, "/missing"):
			w.reply(r, 404, "no")
			return
		}
		w.reply(r, 200, "body", "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	a := operate(t, z, "POST", "/-/ensure", fmt.Sprintf(`{"urls":[%q,"/up/b"],"wait":true}`, o.url+"/a"))
	if a.Status != 200 {
		t.Fatalf("ensure and wait = %d %s, want 200", a.Status, a.Body)
	}
	for _, path := range []string{"a", "b"} {
		get(t, z.url+"/up/"+path, "Cache-Control: only-if-cached").is(t, "what was ensured", 200, "HIT")
	}
	asked := o.count("")
	operate(t, z, "POST", "/-/ensure", `{"urls":["/up/a"],"wait":true}`).is(t, "ensure what is held", 200, "")
	if o.count("") != asked {
		t.Error("ensuring what is held and fresh asked the origin")
	}
	if a := operate(t, z, "POST", "/-/ensure", `{"urls":["/up/missing"],"wait":true}`); !strings.Contains(string(a.Body), "404") {
		t.Errorf("ensure of what does not exist = %d %s, want it to tell of the 404", a.Status, a.Body)
	}
	for _, bad := range []string{`{"urls":["http://127.0.0.1:1/x"],"wait":true}`, `{"urls":["file:///etc/passwd"],"wait":true}`} {
		a := operate(t, z, "POST", "/-/ensure", bad)
		if a.Status < 400 && !strings.Contains(string(a.Body), "error") && !strings.Contains(string(a.Body), "refused") {
			t.Errorf("ensure %s = %d %s, want a refusal", bad, a.Status, a.Body)
		}
	}

	task := operate(t, z, "POST", "/-/ensure", `{"urls":["/up/slow"],"wait":false}`).is(t, "ensure behind", http.StatusAccepted, "")
	location := task.Header.Get("Location")
	if location == "" {
		t.Fatalf("ensure behind gives no Location of its task: %s", task.Raw)
	}
	location = "/" + strings.TrimPrefix(strings.TrimPrefix(location, z.url), "/")
	running := get(t, z.url+location, "Accept: application/json").is(t, "the task", 200, "").json(t, "the task")
	close(release)
	eventually(t, waitShort, "the task is done", func() (bool, string) {
		a := get(t, z.url+location, "Accept: application/json")
		done := a.json(t, "the task")
		return fmt.Sprint(done["state"]) != fmt.Sprint(running["state"]), string(a.Body)
	})
	get(t, z.url+"/up/slow", "Cache-Control: only-if-cached").is(t, "what was ensured behind", 200, "HIT")

	out, errs, code := command(t, binary, "warm", "--server", z.url, o.url+"/c", o.url+"/d")
	if code != 0 {
		t.Errorf("zcache warm: exit %d, %q %q", code, out, errs)
	}
	get(t, z.url+"/up/d", "Cache-Control: only-if-cached").is(t, "what was warmed", 200, "HIT")
	if out, errs, code := command(t, binary, "warm", "--server", z.url, o.url+"/e", o.url+"/missing"); code != 3 {
		t.Errorf("zcache warm of which one fails: exit %d, %q %q; want 3", code, out, errs)
	}
}

func TestPurgeRemovesByPathAndBelow(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--upstream", "up="+o.url)
	paths := []string{"max-age=600/d/1", "max-age=600/d/e/2", "max-age=600/d/2?q", "max-age=600/dd"}
	fillAll := func() {
		for _, p := range paths {
			get(t, z.url+"/up/"+p)
			get(t, z.url+"/up/"+p).is(t, p, 200, "HIT")
		}
	}
	held := func(want ...bool) {
		t.Helper()
		for i, p := range paths {
			a := get(t, z.url+"/up/"+p, "Cache-Control: only-if-cached")
			if (a.Status == 200) != want[i] {
				t.Errorf("%s = %d, want it held: %v", p, a.Status, want[i])
			}
		}
	}
	fillAll()
	operate(t, z, "POST", "/-/purge", `{"path":"/up/max-age=600/d/1"}`).is(t, "purge", 200, "")
	held(false, true, true, true)
	operate(t, z, "POST", "/-/purge", `{"path":"/up/max-age=600/d","recursive":true}`).is(t, "purge below", 200, "")
	held(false, false, false, true)
	fillAll()
	out, errs, code := command(t, binary, "purge", "--server", z.url, "/up/max-age=600/d", "--recursive")
	if code != 0 {
		t.Errorf("zcache purge: exit %d, %q %q", code, out, errs)
	}
	held(false, false, false, true)
	for _, bad := range []string{`{"path":"/up/../x"}`, `{"path":"/up/%2e%2e/x","recursive":true}`, `{"path":""}`, `{}`, `not json`, `{"path":"/none/x"}`} {
		a := operate(t, z, "POST", "/-/purge", bad)
		if a.Status < 400 || a.Status >= 500 {
			t.Errorf("purge %s = %d %s, want a refusal", bad, a.Status, clip(a.Body))
		}
	}
}

func TestAPurgeReachesNegativeEntriesAndFlights(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Target == "/gone" && r.Nth == 1 {
			w.reply(r, 404, "no")
			return
		}
		body := bytesOf(fmt.Sprint(r.Nth), 200_000)
		w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:100_000]))
		if r.Target == "/flight" && r.Nth == 1 {
			<-release
		}
		w.send(string(body[100_000:]))
	})
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/gone").is(t, "negative", 404, "")
	operate(t, z, "POST", "/-/purge", `{"path":"/up/gone"}`).is(t, "purge", 200, "")
	get(t, z.url+"/up/gone").whole(t, "after the purge", bytesOf("2", 200_000))

	resp := begin(t, z.url+"/up/flight")
	defer resp.Body.Close()
	operate(t, z, "POST", "/-/purge", `{"path":"/up/flight"}`).is(t, "purge of a flight", 200, "")
	close(release)
	want, _ := digestOf(strings.NewReader(string(bytesOf("1", 200_000))))
	if d, err := digestOf(resp.Body); d != want || err != nil {
		t.Errorf("the client of a purged flight got %d bytes, %v; want its whole body", d.n, err)
	}
	get(t, z.url+"/up/flight").whole(t, "after the purge of a flight", bytesOf("2", 200_000))
}

func TestReloadTakesANewConfigurationOrKeepsTheOld(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, r.Target, "Cache-Control: max-age=600") })
	hub := func(name string) string {
		return fmt.Sprintf("[[hub]]\nname = %q\nupstream = %q\n", name, o.url+"/"+name)
	}
	config := settings(t, hub("one"))
	file := strings.TrimPrefix(config, "--config=")
	z := start(t, config)
	get(t, z.url+"/one/a").whole(t, "first configuration", []byte("/one/a"))
	rewrite := func(toml string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(hub("one") + hub("two"))
	operate(t, z, "POST", "/-/reload", "").is(t, "reload", 200, "")
	get(t, z.url+"/two/a").whole(t, "second configuration", []byte("/two/a"))
	get(t, z.url+"/one/a").whole(t, "what was held before", []byte("/one/a")).is(t, "what was held before", 200, "HIT")

	rewrite(hub("one") + "nonsense = 1\n")
	if a := operate(t, z, "POST", "/-/reload", ""); a.Status < 400 || !strings.Contains(string(a.Body), "nonsense") {
		t.Errorf("reload of a bad file = %d %s, want a refusal that names the key", a.Status, a.Body)
	}
	get(t, z.url+"/two/a").whole(t, "after a bad reload", []byte("/two/a"))

	rewrite(hub("one") + hub("three"))
	if err := z.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, waitShort, "SIGHUP reloads", func() (bool, string) {
		a := get(t, z.url+"/three/a")
		return string(a.Body) == "/three/a", fmt.Sprint(a.Status)
	})
	get(t, z.url+"/two/a").is(t, "a hub that is no more", 404, "")
}

func TestEveryRequestIsALineOfTheLog(t *testing.T) {
	o := lifetimes(t)
	z := start(t, "--log-format", "json", "--upstream", "up="+o.url)
	a := get(t, z.url+"/up/max-age=600/x", "X-Request-ID: my-own-id")
	z.published("up", "max-age=600/x", int64(len(a.Body)))
	get(t, z.url+"/up/max-age=600/x")
	id := a.Header.Get("X-Request-ID")
	z.stop()
	var lines []map[string]any
	for l := range strings.Lines(z.log()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Errorf("a line of the log is no JSON: %s", l)
			continue
		}
		if v["hub"] == "up" && v["request_id"] != nil {
			lines = append(lines, v)
		}
	}
	if len(lines) != 2 {
		t.Fatalf("%d lines for two requests:\n%s", len(lines), z.log())
	}
	if lines[0]["request_id"] != id { // a line is written when the answer is through: that of the hit may come first
		slices.Reverse(lines)
	}
	for i, line := range lines {
		for _, name := range []string{"action", "module_key", "rollout_flag", "cache_hit", "elapsed_ms", "bytes_sent", "client"} {
			if _, ok := line[name]; !ok {
				t.Errorf("line %d has no %s: %v", i, name, line)
			}
		}
		if line["cache_hit"] != (i == 1) {
			t.Errorf("line %d has cache_hit %v, want %v", i, line["cache_hit"], i == 1)
		}
	}
	if lines[0]["request_id"] != id || lines[0]["upstream_status"] != 200.0 {
		t.Errorf("the line of a miss = %v, want request_id %q and upstream_status 200", lines[0], id)
	}
}

func TestCheckConfigNamesTheFault(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.toml")
	plant(t, good, []byte("[[hub]]\nname = \"a\"\nupstream = \"http://a.example\"\n"), modified)
	if out, errs, code := command(t, binary, "check-config", "--config", good); code != 0 {
		t.Errorf("check-config of a good file: exit %d, %q %q", code, out, errs)
	}
	for toml, says := range map[string]string{
		"lisen = \":1\"": "lisen",
		"[[hub]]\nname = \"A B\"\nupstream = \"http://a.example\"":                 "hub[A B]",
		"[[hub]]\nname = \"a\"\nupstream = \"gopher://a.example\"":                 "hub[a].upstream",
		"[[hub]]\nname = \"files\"\nupstream = \"http://a.example\"":               "files",
		"[[hub]]\nname = \"a\"\nmodule = \"nix\"\nupstream = \"http://a.example\"": "nix",
	} {
		bad := filepath.Join(t.TempDir(), "bad.toml")
		plant(t, bad, []byte(toml), modified)
		_, errs, code := command(t, binary, "check-config", "--config", bad)
		if code != 1 || !strings.Contains(errs, says) {
			t.Errorf("check-config of %q: exit %d, %q; want 1 and the name %s", toml, code, errs, says)
		}
	}
}
