package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// refusedByRule wants the answer of a rule that denies, which names it.
func (a answer) refusedByRule(t testing.TB, what, rule string) answer {
	t.Helper()
	a.is(t, what, http.StatusForbidden, "")
	if p := a.problem(t, what); p["rule"] != rule || p["error"] != "filtered" {
		t.Errorf("%s: %s, want the rule %s", what, clip(a.Body), rule)
	}
	return a
}

// typed is an origin whose answers have the type that their last extension says.
func typed(t testing.TB) *origin {
	kinds := map[string]string{
		".mp3": "audio/mpeg", ".mp4": "video/mp4", ".ts": "video/mp2t", ".rpm": "audio/x-pn-realaudio-plugin", ".txt": "text/plain", "clip": "video/mp4", "song": "audio/ogg; q=1",
	}
	return startOrigin(t, func(w *wire, r *request) {
		kind := "application/octet-stream"
		for end, k := range kinds {
			if strings.HasSuffix(strings.ToLower(r.Target), end) {
				kind = k
			}
		}
		w.file(r, []byte("body of "+r.Target), modified, "Cache-Control: max-age=600", "Content-Type: "+kind)
	})
}

func TestMusicAndVideoAreRefusedByTheForwardProxyAlone(t *testing.T) {
	o := typed(t)
	z := start(t, "--upstream", "up="+o.url+"/up", "--proxy-allow-host", o.addr)
	for _, path := range []string{"/a.mp3", "/A.MP3", "/d/film.mp4", "/film.mp4?download=1"} {
		proxied(t, z, "GET", o.url+path).refusedByRule(t, "by its name, "+path, "media-suffix")
		proxied(t, z, "GET", o.url+"/up"+path).refusedByRule(t, "a hub's by its name, "+path, "media-suffix")
		proxied(t, z, "HEAD", o.url+path).is(t, "HEAD "+path, 403, "")
	}
	if got := o.count(""); got != 0 {
		t.Errorf("the origin was asked %d times for what its name tells of", got)
	}
	for _, path := range []string{"/clip", "/song", "/watch?v=clip"} {
		for range 2 {
			proxied(t, z, "GET", o.url+path).refusedByRule(t, "by its type, "+path, "media-type")
			proxied(t, z, "GET", o.url+path, "Range: bytes=0-3").refusedByRule(t, "a range by its type, "+path, "media-type")
			proxied(t, z, "HEAD", o.url+path).is(t, "HEAD "+path, 403, "")
		}
	}
	for _, path := range []string{"/a.txt", "/lib.ts", "/a.rpm", "/mp3", "/a.mp3.sha256", "/a.mp3/b.txt", "/x?f=a.mp3.txt"} {
		proxied(t, z, "GET", o.url+path).whole(t, "no music or video, "+path, []byte("body of "+path))
	}
	for _, path := range []string{"/a.mp3", "/clip"} {
		get(t, z.url+"/up"+path).whole(t, "a hub's, in gateway form, "+path, []byte("body of /up"+path))
		get(t, z.url+"/files/http/"+o.addr+path).whole(t, "by a URL in a path, "+path, []byte("body of "+path))
		proxied(t, z, "GET", o.url+"/up"+path).is(t, "held, through the proxy, "+path, 403, "")
	}
	if got := z.metric(`zcache_filter_matches_total{outcome="denied",rule="media-suffix"}`); got < 12 {
		t.Errorf("the metrics count %v refusals by suffix, want all", got)
	}

	z = start(t, "--upstream", "up="+o.url+"/up", "--proxy-allow-host", o.addr, "--media", "allow")
	for _, path := range []string{"/a.mp3", "/clip"} {
		proxied(t, z, "GET", o.url+path).whole(t, "with media = allow, "+path, []byte("body of "+path))
	}
}

// ruled is a zcache with a hub "up" and rules that can be replaced.
type ruled struct {
	*zcache
	file, head string
}

func startRuled(t testing.TB, upstream, rules string, args ...string) *ruled {
	t.Helper()
	head := fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\n", upstream)
	config := settings(t, head+rules)
	return &ruled{start(t, append(args, config)...), strings.TrimPrefix(config, "--config="), head}
}

func (z *ruled) rules(rules string, fields ...string) {
	z.t.Helper()
	if err := os.WriteFile(z.file, []byte(z.head+rules), 0o600); err != nil {
		z.t.Fatal(err)
	}
	operate(z.t, z.zcache, "POST", "/-/reload", "", fields...).is(z.t, "reload", 200, "")
}

func TestARuleInShadowTellsAndRefusesNothing(t *testing.T) {
	o := typed(t)
	z := startRuled(t, o.url, "[[rule]]\nname = \"trial\"\nsuffix = [\".txt\"]\nshadow = true\n[[rule]]\nname = \"trial-of-head\"\nlarger = \"11\"\nshadow = true\n")
	for range 3 {
		get(t, z.url+"/up/a.txt").whole(t, "what a rule in shadow is about", []byte("body of /a.txt"))
	}
	get(t, z.url+"/up/b").whole(t, "what it is not about", []byte("body of /b"))
	for rule, want := range map[string]float64{"trial": 3, "trial-of-head": 3} {
		if got := z.metric(fmt.Sprintf(`zcache_filter_matches_total{outcome="shadow",rule=%q}`, rule)); got != want {
			t.Errorf("the metrics count %v for the rule %s, want %v", got, rule, want)
		}
	}
	if n := strings.Count(z.log(), `"rule":"trial"`); n != 3 || !strings.Contains(z.log(), "up:/a.txt") {
		t.Errorf("the log tells %d times of the rule in shadow, want 3 times and of what", n)
	}
	z.rules("[[rule]]\nname = \"trial\"\nsuffix = [\".txt\"]\n")
	get(t, z.url+"/up/a.txt").refusedByRule(t, "held, once the rule is in force", "trial")
	get(t, z.url+"/up/b").whole(t, "what it is not about", []byte("body of /b"))
	z.rules("")
	get(t, z.url+"/up/a.txt").whole(t, "held, without the rule", []byte("body of /a.txt")).is(t, "held, without the rule", 200, "HIT")
}

// What was published a moment ago may be poisoned, and what nobody says the age of may have been published a moment ago.
func TestWhatIsTooYoungIsRefusedUntilTheGlassIsBroken(t *testing.T) {
	dates := map[string]time.Time{"/old.tgz": time.Now().Add(-100 * time.Hour), "/young.tgz": time.Now().Add(-time.Hour), "/slow.tgz": time.Now(), "/future.tgz": time.Now().Add(100 * time.Hour)}
	slow, release := bytesOf("slow", 100_000), make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		fields := []string{"Cache-Control: max-age=600"}
		if at := dates[r.Target]; !at.IsZero() {
			fields = append(fields, "Last-Modified: "+at.UTC().Format(http.TimeFormat))
		}
		if r.Target == "/odd.tgz" {
			fields = append(fields, "Last-Modified: some time ago")
		}
		switch r.Target {
		case "/gone.tgz":
			w.reply(r, 404, "no", fields...)
		case "/slow.tgz":
			w.send("HTTP/1.1 200 OK\r\n" + strings.Join(fields, "\r\n") + "\r\nContent-Length: 100000\r\n\r\n" + string(slow[:50_000]))
			<-release
			w.send(string(slow[50_000:]))
		default:
			w.reply(r, 200, "body of "+r.Target, fields...)
		}
	})
	auth := filepath.Join(t.TempDir(), "auth.toml")
	reader := "Authorization: Bearer " + newToken(t, auth, "--name", "reader", "--read", "/up")
	operator := "Authorization: Bearer " + newToken(t, auth, "--name", "oncall", "--read", "/up", "--scope", "observe,operate")
	rule := "[[rule]]\nname = \"cooldown\"\nhub = \"up\"\nyounger = \"3d\"\nbreakable = true\n"
	z := startRuled(t, o.url, rule, "--auth-file", auth)
	glass := "X-Zcache-Override: CVE-2026-1 is fixed in it"
	for _, who := range []string{reader, operator, ""} {
		fields := []string{who}
		if who == "" {
			fields = nil
		}
		get(t, z.url+"/up/old.tgz", fields...).whole(t, "old enough", []byte("body of /old.tgz"))
		get(t, z.url+"/up/gone.tgz", fields...).is(t, "what is not there has no age", 404, "")
		for _, name := range []string{"young", "future", "unknown", "odd"} {
			get(t, z.url+"/up/"+name+".tgz", fields...).refusedByRule(t, name, "cooldown")
			ask(t, "HEAD", z.url+"/up/"+name+".tgz", fields...).is(t, "HEAD of "+name, 403, "")
			get(t, z.url+"/up/"+name+".tgz", append(fields, "Range: bytes=0-3")...).refusedByRule(t, "a part of "+name, "cooldown")
			z.noEntry("up", name+".tgz")
		}
	}
	get(t, z.url+"/up/young.tgz", reader, glass).refusedByRule(t, "a reader who would break the glass", "cooldown")
	get(t, z.url+"/up/young.tgz", glass).refusedByRule(t, "somebody who would break the glass", "cooldown")
	if strings.Contains(z.log(), "CVE-2026-1") {
		t.Error("the log tells of an override that was none")
	}
	for _, name := range []string{"young", "unknown"} {
		get(t, z.url+"/up/"+name+".tgz", operator, glass).whole(t, name+", with the glass broken", []byte("body of /"+name+".tgz"))
		z.published("up", name+".tgz", int64(len("body of /"+name+".tgz")))
		get(t, z.url+"/up/"+name+".tgz", reader).refusedByRule(t, "what an override has brought, for others: "+name, "cooldown")
		get(t, z.url+"/up/"+name+".tgz", operator).refusedByRule(t, "and for the same without it: "+name, "cooldown")
	}
	resp := begin(t, z.url+"/up/slow.tgz", operator, glass)
	defer resp.Body.Close()
	z.audited(3) // before the body has come
	close(release)
	if b, err := io.ReadAll(resp.Body); string(b) != string(slow) || err != nil {
		t.Errorf("slow, with the glass broken: %d bytes, %v", len(b), err)
	}
	if got := z.metric(`zcache_filter_matches_total{outcome="overridden",rule="cooldown"}`, operator); got != 3 {
		t.Errorf("the metrics count %v overrides, want 3", got)
	}
	for _, r := range o.requests("") {
		if r.Header.Get("X-Zcache-Override") != "" {
			t.Errorf("the origin was told why the glass was broken: %s", r.Head)
		}
	}
	z.rules(strings.Replace(rule, "breakable = true\n", "", 1), operator)
	get(t, z.url+"/up/young.tgz", operator, glass).refusedByRule(t, "a rule that is not to be broken", "cooldown")
}

// audited wants so many lines of the audit log about the override of this test, each with who did it, which rule it was and what for.
func (z *ruled) audited(want int) {
	z.t.Helper()
	n := 0
	for line := range strings.Lines(z.log()) {
		var l map[string]any
		if json.Unmarshal([]byte(line), &l) == nil && l["audit"] == true && strings.Contains(line, "CVE-2026-1") {
			n++
			if l["name"] != "oncall" || !strings.Contains(line, "cooldown") || !strings.Contains(line, ".tgz") {
				z.t.Errorf("the audit log says %swant who, which rule and what", line)
			}
		}
	}
	if n != want {
		z.t.Errorf("%d lines of the audit log tell of an override, want %d", n, want)
	}
}

// What is too large is told by the head: neither the client nor the disk waits for the body.
func TestWhatIsTooLargeIsRefusedByItsHead(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if !strings.HasPrefix(r.Target, "/large") {
			w.reply(r, 200, "body", "Cache-Control: max-age=600")
			return
		}
		w.send("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5000000\r\n\r\n")
		if r.Method == http.MethodGet {
			<-release
			w.last = true
		}
	})
	t.Cleanup(func() { close(release) })
	z := startRuled(t, o.url, "[[rule]]\nname = \"size\"\nlarger = \"1MB\"\n")
	for i := range 3 {
		a := get(t, fmt.Sprintf("%s/up/large%d", z.url, i)).refusedByRule(t, "too large", "size")
		if a.Took > 10*time.Second {
			t.Errorf("the refusal took %v: it has waited for the body", a.Took)
		}
		ask(t, "HEAD", fmt.Sprintf("%s/up/large%d", z.url, i)).is(t, "HEAD", 403, "")
		z.noEntry("up", fmt.Sprintf("large%d", i))
	}
	get(t, z.url+"/up/small").whole(t, "small enough", []byte("body"))
	eventually(t, waitShort, "no trip goes on for a body that was refused", func() (bool, string) {
		n := z.metric("zcache_inflight_fills")
		return n == 0, fmt.Sprint(n)
	})
	z.rules("[[rule]]\nname = \"tiny\"\nlarger = \"2\"\n")
	get(t, z.url+"/up/small").refusedByRule(t, "what is held, by a rule that came later", "tiny")
	get(t, z.url+"/up/small", "Range: bytes=0-0").refusedByRule(t, "a part of it", "tiny")
}

func TestRulesAreMetByWhatTheyName(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		body := "body of " + r.Target
		if strings.Contains(r.Target, "program") {
			body = "MZ\x90\x00 and so on"
		}
		w.reply(r, 200, body, "Cache-Control: max-age=600", "Content-Type: text/plain")
	})
	z := startRuled(t, o.url, fmt.Sprintf(`
[[hub]]
name = "other"
upstream = %q
[[rule]]
name = "but-this"
action = "allow"
path = ["/pub/keep/**"]
[[rule]]
name = "isos"
hub = ["up", "files"]
path = ["/pub/**/*.iso"]
reason = "images come from the shelf"
status = 451
[[rule]]
name = "over"
suffix = [".over"]
until = "2020-01-01"
[[rule]]
name = "posts"
method = ["POST", "DELETE"]
[[rule]]
name = "host"
host = ["127.0.0.*"]
suffix = [".hosted"]
[[rule]]
name = "programs"
magic = ["hex:4d5a"]
`, o.url+"/other"), "--proxy-allow-host", o.addr)
	through := func(path string) string { return "http://" + o.addr + path }
	for _, row := range []struct {
		claim, method, target string
		status                int
		rule                  string
	}{
		{"a glob of paths", "GET", "/up/pub/a/b.iso", 451, "isos"},
		{"of any depth", "GET", "/up/pub/b.iso", 451, "isos"},
		{"whose escapes are read", "GET", "/up/pub/b.i%73o", 451, "isos"},
		{"with a query too", "GET", "/up/pub/b.iso?x=y", 451, "isos"},
		{"through the proxy it is the hub's", "GET", through("/pub/b.iso"), 451, "isos"},
		{"and by a URL in a path", "GET", "/files/http/" + o.addr + "/pub/b.iso", 451, "isos"},
		{"not of another directory", "GET", "/up/b.iso", 200, ""},
		{"not of another name", "GET", "/up/pub/b.iso.asc", 200, ""},
		{"not of another hub", "GET", "/other/pub/b.iso", 200, ""},
		{"the first that is met decides", "GET", "/up/pub/keep/b.iso", 200, ""},
		{"a rule that is over", "GET", "/up/a.over", 200, ""},
		{"a hub's host is not named in gateway form", "GET", "/up/a.hosted", 200, ""},
		{"through the proxy it is", "GET", through("/a.hosted"), 403, "host"},
		{"what a body begins with, whatever its type says", "GET", "/up/program.txt", 403, "programs"},
		{"asked for again", "GET", "/up/program.txt", 403, "programs"},
		{"a method", "POST", "/up/form", 403, "posts"},
		{"what begins otherwise", "GET", "/up/text.exe", 200, ""},
	} {
		a := raw(t, z.addr, row.method+" "+row.target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").is(t, row.claim, row.status, "")
		if row.rule == "" {
			continue
		}
		if p := a.problem(t, row.claim); p["rule"] != row.rule {
			t.Errorf("%s: %s, want the rule %s", row.claim, clip(a.Body), row.rule)
		} else if row.rule == "isos" && !strings.Contains(fmt.Sprint(p["detail"]), "images come from the shelf") {
			t.Errorf("%s: detail %q, want the reason of the rule", row.claim, p["detail"])
		}
	}
	z.noEntry("up", "program.txt")
}
