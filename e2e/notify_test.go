package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A troubled instance has hubs that each have a trouble of their own, and people who are to be told.
type troubled struct {
	*zcache
	hook *hook
	mail *mailbox
	pub  *nginx  // a tree that is mirrored
	o    *origin // single files
	lost string  // in the path of a receiver that is not there
}

func startTroubled(t testing.TB) *troubled {
	t.Helper()
	d := &troubled{hook: startHook(t), mail: startMailbox(t), pub: startNginx(t, "autoindex on;"), lost: rand.Text()}
	for i := range 30 {
		d.pub.put(fmt.Sprintf("pub/%02d.bin", i), bytesOf(fmt.Sprint(i), 1000))
	}
	listed, body := sha256.Sum256([]byte("what it should be")), bytesOf("d", 300_000)
	d.o = startOrigin(t, func(w *wire, r *request) {
		switch {
		case strings.HasSuffix(r.Target, "SHA256SUMS"):
			w.reply(r, 200, fmt.Sprintf("%x  bad.bin\n", listed), "Cache-Control: max-age=600", "Content-Type: text/plain")
		case strings.HasSuffix(r.Target, ".tar.xz"):
			w.reply(r, 200, "\xfd7zXZ\x00 version "+fmt.Sprint(r.Nth), "Cache-Control: max-age=0", fmt.Sprintf(`ETag: "%d"`, r.Nth))
		default:
			w.file(r, body, modified, "Cache-Control: max-age=600")
		}
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if out, errs, code := command(t, binary, "ca", "create", "--out", ca, "--host", "x.example", "--days", "5"); code != 0 {
		t.Fatalf("zcache ca create: exit %d\n%s%s", code, out, errs)
	}
	d.zcache = start(t, "--intercept-ca", ca, "--mode", "mirror", "--mirror-subtree", "/pub,/lost", "--mirror-min-interval", "1h", "--log-level", "debug",
		"--notify", d.hook.url, "--notify", d.mail.url, "--notify", "http://127.0.0.1:9/"+d.lost, "--public-url", "https://cache.lab.example",
		settings(t, fmt.Sprintf(`
[[hub]]
name = "pub"
upstream = %q
[[hub]]
name = "o"
upstream = %q
[[hub]]
name = "lost"
upstream = "http://127.0.0.1:9/"
retries = 0
[[hub]]
name = "down"
upstream = "http://127.0.0.1:9/down"
retries = 0
`, d.pub.url+"/pub", d.o.url)))
	return d
}

// walked walks a subtree and waits for the walk's end.
func (d *troubled) walked(path string, want int) {
	d.t.Helper()
	if out, errs, code := command(d.t, binary, "walk", "--server", d.url, "--follow", path); code != want {
		d.t.Fatalf("zcache walk --follow %s: exit %d, want %d\n%s%s", path, code, want, out, errs)
	}
}

// bothTold wants a webhook and a mail about something, the same in words.
func (d *troubled) bothTold(kind, subject, words string) {
	d.t.Helper()
	one, letter := d.hook.told(kind, subject), d.mail.told(kind, subject)
	if !strings.Contains(one.Data.Text, words) || !strings.Contains(letter.Data.Text, one.Data.Text) {
		d.t.Errorf("of %s people are told %q by webhook and %q by mail, want %q", kind, one.Data.Text, letter.Data.Text, words)
	}
	if one.Data.Instance != "https://cache.lab.example" || !strings.Contains(letter.Data.Text, "https://cache.lab.example") {
		d.t.Errorf("of %s people are not told where: %+v, %q", kind, one, letter.Data.Text)
	}
}

func TestPeopleAreToldWhatNeedsThem(t *testing.T) {
	d := startTroubled(t)
	d.bothTold("certificate-expiry", "intercept-ca", "ends in")
	get(t, d.url+"/o/d/SHA256SUMS").is(t, "the sums", 200, "MISS")
	if a, err := tryAsk(http.MethodGet, d.url+"/o/d/bad.bin"); err == nil && a.Err == nil && a.Status == 200 {
		t.Error("what its sum denies came whole")
	}
	d.bothTold("integrity-failure", d.o.url+"/d/bad.bin", "sha-256")

	for i := range 2 {
		get(t, d.url+"/o/tool-1.2.3.tar.xz").whole(t, "a release", fmt.Appendf(nil, "\xfd7zXZ\x00 version %d", i+1))
	}
	d.bothTold("content-changed", d.o.url+"/tool-1.2.3.tar.xz", "release")

	d.walked("/pub", 0)
	for i := range 20 {
		if err := os.Remove(filepath.Join(d.pub.tree, fmt.Sprintf("pub/%02d.bin", i))); err != nil {
			t.Fatal(err)
		}
	}
	d.walked("/pub", 3)
	d.bothTold("purge-held-back", "/pub", "20 files")
	get(t, d.url+"/pub/00.bin", "Cache-Control: only-if-cached").whole(t, "what was held back", bytesOf("0", 1000))

	for range 3 {
		d.walked("/lost", 3)
	}
	d.bothTold("walk-failing", "/lost", "3 walks in a row")

	for range 100 {
		if a := get(t, d.url+"/down/a.bin"); a.Status < 500 {
			t.Fatalf("of an upstream that is down: %d", a.Status)
		}
	}
	d.bothTold("upstream-failed", "http://127.0.0.1:9/down/a.bin", "")
	for i := range 40 {
		get(t, fmt.Sprintf("%s/down/%d.bin", d.url, i))
	}
	d.quiet()
}

// quiet wants what was told to have been little, and no secret of it anywhere.
func (d *troubled) quiet() {
	t := d.t
	eventually(t, waitShort, "what is too much is held back", func() (bool, string) {
		n := d.metric(`zcache_notices_total{kind="upstream-failed",outcome="held"}`)
		return n > 30, fmt.Sprint(n)
	})
	if n := d.metric(`zcache_notices_total{kind="upstream-failed",outcome="suppressed"}`); n != 99 {
		t.Errorf("of 100 failures of one file %v were left out, want 99", n)
	}
	d.noSecrets("status", string(get(t, d.url+"/-/status", "Accept: application/json").Body))
	d.noSecrets("metrics", string(get(t, d.url+"/-/metrics").Body))
	d.stop() // what was held back is told before the end
	for _, n := range []*notices{&d.hook.notices, &d.mail.notices} {
		if got := n.of("upstream-failed"); len(got) > 10 {
			t.Errorf("%d notices tell of an upstream that is down, want 10 at most", len(got))
		}
		if got := n.of("held-back"); len(got) != 1 || !strings.Contains(got[0].Data.Text, "127.0.0.1:9/down/") {
			t.Errorf("held back: %+v, want one notice that tells of the others", got)
		}
		seen := map[string]bool{}
		for _, one := range n.all {
			topic := one.Type + " " + one.Data.Subject
			if seen[topic] || seen[one.ID] {
				t.Errorf("people were told twice of %s (%s)", topic, one.ID)
			}
			seen[topic], seen[one.ID] = true, true
		}
	}
	if n := strings.Count(d.log(), "notice not delivered"); n == 0 {
		t.Error("the log does not say that one of the receivers could not be told")
	}
	d.noSecrets("the log", d.log())
}

func (d *troubled) noSecrets(where, text string) {
	d.t.Helper()
	for _, secret := range append([]string{d.mail.password, d.lost}, d.hook.secrets...) {
		if strings.Contains(text, secret) {
			i := strings.Index(text, secret)
			d.t.Errorf("%s has a secret in it: %.300s", where, text[max(0, i-200):])
		}
	}
}

func TestSecretsOfReceiversAreShownToNobody(t *testing.T) {
	const secret, token = "c0rrect-horse-battery", "T0KEN-IN-THE-PATH"
	good := fmt.Sprintf("notify = [\"smtp://zcache:%s@mail.lab.example?to=ops@lab.example\", \"https://hooks.lab.example/%s#secret=%s\"]\nready-hook = \"https://dns.lab.example/%s\"\n", secret, token, secret, token)
	bad := fmt.Sprintf("notify = [\"smtp://zcache:%s@mail.lab.example?tp=ops@lab.example\", \"https://hooks.lab.example/%s#secrets=%s\", \"gopher://%s@x/%s\", \"https://u:%s@x:%%zz/\"]\n",
		secret, token, secret, secret, token, secret)
	hub := "[[hub]]\nname = \"up\"\nupstream = \"http://127.0.0.1:9\"\n"
	for _, row := range []struct {
		claim, config string
		exit          int
	}{{"a good configuration", good + hub, 0}, {"one with mistakes", bad + hub, 1}} {
		out, errs, exit := command(t, binary, "check-config", settings(t, row.config))
		if exit != row.exit {
			t.Errorf("%s: exit %d, want %d\n%s%s", row.claim, exit, row.exit, out, errs)
		}
		if text := out + errs; strings.Contains(text, secret) || strings.Contains(text, token) {
			t.Errorf("%s: zcache check-config shows a secret:\n%s", row.claim, text)
		}
	}
	z := start(t, settings(t, good+hub), "--log-level", "debug")
	z.stop()
	if strings.Contains(z.log(), secret) || strings.Contains(z.log(), token) {
		t.Errorf("the log shows a secret:\n%s", z.log())
	}
}

// An instance that cannot store must leave the rotation, and come back by itself.
func TestAFullDiskTakesTheInstanceOutOfTheRotation(t *testing.T) {
	t.Parallel() // most of the time goes by between probes
	dir := t.TempDir()
	said := filepath.Join(dir, "said")
	script := filepath.Join(dir, "dns-update")
	// It does not work at once: the first call fails.
	text := "#!/bin/sh\necho \"$ZCACHE_KIND $ZCACHE_FIELD_STATE $1\" >> " + said + "\ntest -e " + said + ".second || { : > " + said + ".second; echo no route to the name server >&2; exit 1; }\n"
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	h := startHook(t)
	disk := smallDisk(t, 24*mib)
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 4000))
	z := start(t, "--upstream", "up="+n.url, "--root", filepath.Join(disk, "root"), "--notify", h.url, "--ready-hook", "exec://"+script+"?arg=cache7")
	get(t, z.url+"/-/readyz").is(t, "ready", 200, "")
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast)
	heard := func(lines ...string) {
		t.Helper()
		want := strings.Join(lines, "\n") + "\n"
		eventually(t, 40*time.Second, "the hook is called", func() (bool, string) {
			b, _ := os.ReadFile(said)
			return string(b) == want, string(b)
		})
	}
	heard("readiness red cache7", "readiness red cache7")
	z.ready(http.StatusServiceUnavailable)
	one := h.told("storage-red", "store")
	if !strings.Contains(one.Data.Text, "no space") {
		t.Errorf("people are told %q, want the reason", one.Data.Text)
	}
	get(t, z.url+"/up/a.bin").whole(t, "with a full disk", bytesOf("a", 4000))
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	heard("readiness red cache7", "readiness red cache7", "readiness green cache7")
	z.ready(http.StatusOK)
	if got := h.of("storage-red"); len(got) != 1 {
		t.Errorf("people were told %d times of a full disk, want once: %+v", len(got), got)
	}
	if !strings.Contains(z.log(), "no route to the name server") {
		t.Error("the log does not say why the hook failed")
	}
}
