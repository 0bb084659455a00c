package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A keyring is an auth file that the product itself has written, with the tokens that it printed.
type keyring struct {
	t      *testing.T
	file   string
	tokens map[string]string // by name
}

// newKeyring begins an auth file with what people write by hand.
func newKeyring(t *testing.T, head string) *keyring {
	t.Helper()
	k := &keyring{t: t, file: filepath.Join(t.TempDir(), "auth.toml"), tokens: map[string]string{}}
	if err := os.WriteFile(k.file, []byte("version = 1\n"+head), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

// give makes a token.
func (k *keyring) give(name string, args ...string) *keyring {
	k.t.Helper()
	k.tokens[name] = newToken(k.t, k.file, append([]string{"--name", name}, args...)...)
	return k
}

func (k *keyring) revoke(name string) {
	k.t.Helper()
	if out, errs, exit := command(k.t, binary, "token", "revoke", "--auth-file", k.file, name); exit != 0 || !strings.Contains(out, name) {
		k.t.Fatalf("token revoke %s: exit %d, %s%s", name, exit, out, errs)
	}
}

// as is the field by which somebody is known.
func (k *keyring) as(who string) string {
	k.t.Helper()
	token := k.tokens[who]
	if token == "" {
		k.t.Fatalf("nobody is called %s", who)
	}
	return "Authorization: Bearer " + token
}

// basic is what follows Basic where a client sends a token as the password, as most clients of proxies do.
func (k *keyring) basic(who string) string {
	return base64.StdEncoding.EncodeToString([]byte("any:" + k.tokens[who]))
}

// edit replaces a part of the file, as people do.
func (k *keyring) edit(old, now string) {
	k.t.Helper()
	b, err := os.ReadFile(k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(old)) {
		k.t.Fatalf("the auth file has no %q:\n%s", old, b)
	}
	next := k.file + ".next"
	if err := os.WriteFile(next, bytes.Replace(b, []byte(old), []byte(now), 1), 0o600); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Rename(next, k.file); err != nil {
		k.t.Fatal(err)
	}
}

// kept fails when a token is to be found where none may be: in a log, in what is stored and the attributes of that, or in what an origin was sent.
func (k *keyring) kept(z *zcache, origins ...*origin) {
	k.t.Helper()
	look := func(where, text string) {
		for name, token := range k.tokens {
			secret := token[strings.LastIndexByte(token, '_')+1:]
			for _, form := range []string{secret, k.basic(name), base64.StdEncoding.EncodeToString([]byte(token + ":"))} {
				if strings.Contains(text, form) {
					k.t.Errorf("the token of %s is in %s", name, where)
				}
			}
		}
	}
	look("the log", z.log())
	for _, o := range origins {
		for _, r := range o.requests("") {
			look("a request to the origin for "+r.Target, r.Head+string(r.Body))
		}
	}
	attr := make([]byte, 64<<10)
	err := filepath.WalkDir(z.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what is on its way somewhere else
		}
		if n, err := syscall.Getxattr(path, "user.zcache", attr); err == nil {
			look("the attributes of "+path, string(attr[:n]))
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Size() < mib {
			b, _ := os.ReadFile(path)
			look(path, path+string(b))
		}
		return nil
	})
	if err != nil {
		k.t.Error(err)
	}
}

func TestATokenIsWorthlessSoonAfterItWasRevoked(t *testing.T) {
	going := make(chan struct{})
	body := bytesOf("long", 2*mib)
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Target == "/long" {
			w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nLast-Modified: %s\r\n\r\n", len(body), modified.Format(http.TimeFormat)))
			w.send(string(body[:mib]))
			<-going
			w.send(string(body[mib:]))
			return
		}
		w.file(r, []byte("short"), modified, "Cache-Control: max-age=600")
	})
	k := newKeyring(t, "").give("lab", "--read", "/up").give("other", "--read", "/up").give("brief", "--expires", "2s")
	z := start(t, "--upstream", "up="+o.url, "--auth-file", k.file, "--anonymous", "none")
	get(t, z.url+"/up/short", k.as("lab")).whole(t, "before", []byte("short"))
	if a := get(t, z.url+"/up/short", k.as("brief")); a.Status != 200 && a.Status != 401 {
		t.Errorf("with a token of two seconds = %d", a.Status)
	}
	req, err := http.NewRequest(http.MethodGet, z.url+"/up/long", nil)
	if err != nil {
		t.Fatal(err)
	}
	setFields(req, []string{k.as("lab")})
	under, err := plain.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer under.Body.Close()
	readBytes(t, under.Body, body[:mib/2])

	turnedAway := func(what, who string) {
		t.Helper()
		began := time.Now()
		eventually(t, 2*time.Second, what, func() (bool, string) {
			a := get(t, z.url+"/up/short", k.as(who))
			return a.Status == http.StatusUnauthorized, fmt.Sprint(a.Status)
		})
		t.Logf("%s: refused after %v", what, time.Since(began).Round(time.Millisecond))
	}
	k.revoke("lab")
	turnedAway("the token that was revoked", "lab")
	get(t, z.url+"/up/short", k.as("other")).whole(t, "another token", []byte("short"))
	close(going)
	readBytes(t, under.Body, body[mib/2:])
	get(t, z.url+"/up/long", k.as("lab")).is(t, "what its download brought", 401, "")
	get(t, z.url+"/up/long", k.as("other")).whole(t, "the same for another", body)

	// A file that is broken opens nothing and closes nothing.
	good := "name = \"other\""
	k.edit(good, "name = other")
	eventually(t, waitShort, "the log tells of the broken file", func() (bool, string) {
		return strings.Contains(z.log(), "the old rules stay in force"), tail(z.log(), 3)
	})
	get(t, z.url+"/up/short", k.as("other")).whole(t, "with a broken file", []byte("short"))
	get(t, z.url+"/up/short", k.as("lab")).is(t, "the revoked one with a broken file", 401, "")
	get(t, z.url+"/up/short").is(t, "nobody with a broken file", 401, "")
	k.edit("name = other", good)
	k.revoke("other")
	turnedAway("the next token", "other")
	eventually(t, 3*time.Second, "a token that has expired is refused without any change of the file", func() (bool, string) {
		a := get(t, z.url+"/up/short", k.as("brief"))
		return a.Status == http.StatusUnauthorized, fmt.Sprint(a.Status)
	})
	if err := os.Remove(k.file); err != nil {
		t.Fatal(err)
	}
	get(t, z.url+"/up/short").is(t, "without the file", 401, "")
	k.kept(z, o)
}

// readBytes wants the next bytes of a body.
func readBytes(t testing.TB, body interface{ Read([]byte) (int, error) }, want []byte) {
	t.Helper()
	got := make([]byte, 0, len(want))
	for len(got) < len(want) {
		n, err := body.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if err != nil && len(got) < len(want) {
			t.Fatalf("the body ended after %d of %d bytes: %v", len(got), len(want), err)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the body has %d other bytes", len(got))
	}
}

// What was refused and what was changed is in the log, each line by itself.
func TestTheLogTellsWhoWasRefusedAndWhoChangedWhat(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.file(r, []byte("up"), modified, "Cache-Control: max-age=600") })
	k := newKeyring(t, "[anonymous]\nread = [\"/lab/pub\"]\n").
		give("reader", "--read", "/lab", "--deny", "/lab/shut").give("writer", "--read", "/lab", "--write", "/lab").give("ops", "--scope", "operate")
	z := start(t, settings(t, fmt.Sprintf("auth-file = %q\n[[hub]]\nname = \"lab\"\nupstream = %q\nwritable = true\n", k.file, o.url)))
	get(t, z.url+"/lab/pub/x").is(t, "what all may read", 200, "")
	get(t, z.url+"/lab/top").is(t, "nobody", 401, "")
	get(t, z.url+"/lab/shut/x", k.as("reader")).is(t, "a reader", 403, "")
	get(t, z.url+"/lab/top", "Authorization: Bearer zct_0123456789_wrong").is(t, "a wrong token", 401, "")
	ask(t, http.MethodPut, z.url+"/lab/mine", k.as("writer")).is(t, "a PUT", 201, "")
	ask(t, http.MethodPut, z.url+"/lab/mine", k.as("reader")).is(t, "a PUT of a reader's", 403, "")
	ask(t, http.MethodDelete, z.url+"/lab/mine", k.as("writer")).is(t, "a DELETE", 204, "")
	post := operate(t, z, http.MethodPost, "/-/purge", `{"path":"/lab/pub/x"}`, k.as("ops"))
	post.is(t, "a purge", 200, "")
	operate(t, z, http.MethodPost, "/-/reload", "", k.as("reader")).is(t, "a reload by a reader", 403, "")
	operate(t, z, http.MethodGet, "/-/status", "").is(t, "the status for nobody", 401, "")
	raw(t, z.addr, "CONNECT other.example:443 HTTP/1.1\r\nHost: x\r\n\r\n").is(t, "a tunnel for nobody", 407, "")
	for _, want := range [][]string{
		{`"what":"read"`, `"outcome":"denied"`, `"path":"/lab/top"`, `"client":"127.0.0.1"`},
		{`"what":"read"`, `"outcome":"denied"`, `"path":"/lab/shut/x"`, `"name":"reader"`, `"subject":"token:`, `"reason":"`},
		{`"what":"write"`, `"outcome":"allowed"`, `"path":"/lab/mine"`, `"name":"writer"`},
		{`"what":"write"`, `"outcome":"denied"`, `"path":"/lab/mine"`, `"name":"reader"`},
		{`"what":"purge"`, `"outcome":"allowed"`, `"path":"/lab/pub/x"`, `"name":"ops"`},
		{`"what":"reload"`, `"outcome":"denied"`, `"path":"/-/reload"`, `"name":"reader"`},
		{`"what":"read"`, `"outcome":"denied"`, `"path":"/-/status"`},
		{`"what":"connect"`, `"outcome":"denied"`, `other.example`},
	} {
		eventually(t, waitShort, "an audit line with "+strings.Join(want, ", "), func() (bool, string) {
			return z.audited(want...) > 0, strings.Join(z.audits(), "")
		})
	}
	if n := z.audited(`"what":"write"`, `"outcome":"allowed"`); n != 2 {
		t.Errorf("%d writes are in the audit log, want the PUT and the DELETE", n)
	}
	if n := z.audited(`"path":"/lab/pub/x"`, `"what":"read"`); n != 0 {
		t.Errorf("a read that is allowed to all is in the audit log %d times", n)
	}
	k.kept(z, o)
}

// audits are the lines of the audit log.
func (z *zcache) audits() (all []string) {
	for l := range strings.Lines(z.log()) {
		if strings.Contains(l, `"audit":true`) {
			all = append(all, l)
		}
	}
	return all
}

// audited counts the audit lines that have all of these.
func (z *zcache) audited(parts ...string) (n int) {
	for _, l := range z.audits() {
		has := true
		for _, p := range parts {
			has = has && strings.Contains(l, p)
		}
		if has {
			n++
		}
	}
	return n
}
