package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hubs is a configuration with an auth file.
func (k *keyring) hubs(head string, hubs ...string) string {
	toml := fmt.Sprintf("auth-file = %q\nanonymous = \"none\"\n%s\n", k.file, head)
	for _, h := range hubs {
		toml += "[[hub]]\n" + h + "\n"
	}
	return settings(k.t, toml)
}

// tokenFile is a file with a token, as verbs and hubs read it.
func (k *keyring) tokenFile(who string) string {
	k.t.Helper()
	name := filepath.Join(k.t.TempDir(), "token")
	if err := os.WriteFile(name, []byte(k.tokens[who]+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
	return name
}

// As itself, as its client or as nobody: what a hub's upstream learns of who asks.
func TestAnUpstreamLearnsWhatTheHubSays(t *testing.T) {
	elsewhere := startOrigin(t, func(w *wire, r *request) { w.file(r, []byte("elsewhere"), modified, "Cache-Control: max-age=600") })
	o := startOrigin(t, func(w *wire, r *request) {
		if strings.HasSuffix(r.Target, "/moved") {
			w.reply(r, http.StatusFound, "", "Location: "+elsewhere.url+"/to")
			return
		}
		w.file(r, []byte("x"), modified, "Cache-Control: max-age=600")
	})
	k := newKeyring(t, "").give("anna").give("ben")
	var hubs []string
	for _, identity := range []string{"own", "pass", "none"} {
		for _, bearer := range []string{"", "bearer = \"the-hubs-word\"\n"} {
			name := identity
			if bearer != "" {
				name += "-known"
			}
			hubs = append(hubs, fmt.Sprintf("name = %q\nupstream = %q\nidentity = %q\n%s", name, o.url+"/"+name, identity, bearer))
		}
	}
	z := start(t, k.hubs(fmt.Sprintf("proxy-allow-host = [%q]", elsewhere.addr), hubs...))
	const foreign = "Authorization: Bearer of-somebody-else"
	for _, row := range []struct{ hub, field, learns string }{
		{"own", k.as("anna"), ""},
		{"own", "Authorization: Basic " + k.basic("anna"), ""},
		{"own-known", k.as("anna"), "Bearer the-hubs-word"},
		{"pass", k.as("anna"), "Bearer " + k.tokens["anna"]},
		{"pass", "Authorization: Basic " + k.basic("anna"), "Basic " + k.basic("anna")},
		{"pass", k.as("ben"), "Bearer " + k.tokens["ben"]},
		{"pass-known", k.as("ben"), "Bearer " + k.tokens["ben"]},
		{"none", k.as("anna"), ""},
		{"none-known", k.as("anna"), ""},
	} {
		for i, path := range []string{"file", "moved"} {
			target := fmt.Sprintf("/%s/%s-%d/%s", row.hub, strings.ReplaceAll(row.field, " ", "-")[:25], len(o.requests("")), path)
			target = strings.ReplaceAll(target, ":", "")
			a := get(t, z.url+target, row.field)
			if want := []string{"x", "elsewhere"}[i]; a.Status != 200 || string(a.Body) != want {
				t.Errorf("GET %s = %d %s, want %q", target, a.Status, clip(a.Body), want)
			}
			if got := o.asked(target).Header.Get("Authorization"); got != row.learns {
				t.Errorf("hub %s for %.25q: the upstream is sent Authorization %.25q, want %.25q", row.hub, row.field, got, row.learns)
			}
		}
	}
	get(t, z.url+"/own/x", foreign).is(t, "what is no credential of ours opens nothing", 401, "")
	for _, r := range elsewhere.requests("") {
		if got := r.Header.Get("Authorization"); got != "" {
			t.Errorf("the host that a redirect led to was sent Authorization %.25q", got)
		}
	}
	open := start(t, "--upstream", "own="+o.url+"/own", settings(t, fmt.Sprintf("[[hub]]\nname = \"none\"\nupstream = %q\nidentity = \"none\"\n", o.url)))
	for hub, learns := range map[string]string{"own": "Bearer of-somebody-else", "none": ""} {
		get(t, open.url+"/"+hub+"/foreign-"+hub, foreign).is(t, "a credential of the origin's", 200, "")
		all := o.requests("")
		if got := all[len(all)-1].Header.Get("Authorization"); got != learns {
			t.Errorf("without an auth file hub %s passes Authorization %q, want %q", hub, got, learns)
		}
	}
	k.kept(z)
}

// In a chain that passes on who asks, the end of it decides, and everybody gets what is theirs.
func TestAChainThatPassesIdentityShowsEachReaderItsOwn(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	for _, path := range []string{"anna/x", "ben/y", "both/z"} {
		n.put("t/"+path, bytesOf(path, 500))
	}
	k := newKeyring(t, "").give("anna", "--read", "/up/anna,/up/both,/via").give("ben", "--read", "/up/ben,/up/both,/via").give("all").give("ops", "--scope", "operate")
	master := start(t, k.hubs("", fmt.Sprintf("name = \"up\"\nupstream = %q", n.url+"/t")))
	child := start(t, k.hubs("listing-ttl = \"1ms\"", fmt.Sprintf("name = \"via\"\nupstream = %q\nidentity = \"pass\"\nretries = 1", master.url+"/up")))
	for _, state := range []string{"cold", "held", "master down"} {
		if state == "master down" {
			master.stop()
		}
		for _, row := range []struct {
			who, path string
			status    int
		}{
			{"anna", "anna/x", 200}, {"anna", "ben/y", 403}, {"anna", "both/z", 200},
			{"ben", "ben/y", 200}, {"ben", "anna/x", 403}, {"ben", "both/z", 200}, {"all", "anna/x", 200},
		} {
			what := fmt.Sprintf("%s: /via/%s for %s", state, row.path, row.who)
			a := get(t, child.url+"/via/"+row.path, k.as(row.who))
			switch {
			case row.status == 200:
				a.whole(t, what, bytesOf(row.path, 500)).is(t, what, 200, map[bool]string{true: "MISS", false: "HIT"}[state == "cold"])
			case state == "master down":
				if a.Status < 400 {
					t.Errorf("%s = %d, want an error", what, a.Status)
				}
			default:
				a.is(t, what, row.status, "")
			}
		}
		for who, want := range map[string][]string{"anna": {"anna", "both"}, "ben": {"ben", "both"}, "all": {"anna", "ben", "both"}} {
			if got := shownIn(t, get(t, child.url+"/via/?format=json", k.as(who))); !slices.Equal(got, want) {
				t.Errorf("%s: the child lists %q for %s, want %q", state, got, who, want)
			}
		}
		get(t, child.url+"/via/both/z").is(t, state+": nobody", 401, "")
	}
	for who, want := range map[string]string{"anna": "fresh", "ben": "absent"} {
		a := get(t, child.url+"/-/entry?url=/via/anna/x", k.as(who), "Accept: application/json").is(t, "the entry", 200, "")
		if held := a.json(t, "the entry")["held"]; held != want {
			t.Errorf("what anna fetched is %v for %s, want %s", held, who, want)
		}
	}
	entries := func() []string {
		held, err := filepath.Glob(filepath.Join(child.root, "via.as-*", "both", "z"))
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	if held := entries(); len(held) != 2 {
		t.Errorf("what two readers fetched in their own names is held as %q, want two entries", held)
	}
	if _, held := child.held("via", "both/z"); held {
		t.Error("what was fetched in a reader's name is held for all")
	}
	operate(t, child, "POST", "/-/purge", `{"path":"/via/both/","recursive":true}`, k.as("ops")).is(t, "a purge", 200, "")
	if held := entries(); len(held) > 0 {
		t.Errorf("a purge left %q", held)
	}
	get(t, child.url+"/via/anna/x", k.as("anna")).is(t, "what was not purged", 200, "HIT")
	k.kept(child)
	k.kept(master)
}

// walk has a subtree walked by the product's own verb, and gives the line that tells of it.
func (k *keyring) walk(z *zcache, path string, exit int) string {
	k.t.Helper()
	out, errs, code := command(k.t, binary, "walk", path, "--follow", "--server", z.url, "--token-file", k.tokenFile("ops"))
	if code != exit {
		k.t.Errorf("walk %s: exit %d, want %d: %s%s", path, code, exit, out, errs)
	}
	return out + errs
}

// A mirror behind a master that lets it see a part has that part, to the file, and it costs it no more than the whole would.
func TestAMirrorHasWhatItsTokenMayRead(t *testing.T) {
	files := map[string]string{"a/1": "one", "a/deep/2": "two", "b/3": "three", "shut/4": mark, "a/shut": mark, "top": "top"}
	visible := []string{"a/1", "a/deep/2", "b/3", "top"}
	for _, kind := range []string{"owner", "mirror"} {
		t.Run(kind, func(t *testing.T) {
			up := "file://" + grow(t, files)
			if kind == "mirror" {
				n := startNginx(t, "autoindex on;")
				for path, body := range files {
					n.put("t/"+path, []byte(body))
				}
				up = n.url + "/t"
			}
			k := newKeyring(t, "").give("vendor", "--read", "/up", "--deny", "/up/shut,/up/a/shut").give("all").give("ops", "--scope", "operate")
			master := start(t, k.hubs("listing-ttl = \"1ms\"", fmt.Sprintf("name = \"up\"\nupstream = %q", up)))
			child := start(t, k.hubs("listing-ttl = \"1ms\"", fmt.Sprintf("name = \"up\"\nupstream = %q\nbearer-file = %q", master.url+"/up", k.tokenFile("vendor"))))
			if kind == "mirror" {
				k.walk(master, "/up", 0)
			}
			k.walk(child, "/up", 0)
			has := func(what string, want ...string) {
				t.Helper()
				var got []string
				for path, body := range files {
					if b, ok := child.held("up", path); ok && string(b) == body {
						got = append(got, path)
					}
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%s the child holds %q, want %q", what, got, want)
				}
			}
			has("after a walk", visible...)

			k.digests(master)
			eventually(t, waitShort, "a walk that finds nothing new costs one request", func() (bool, string) {
				out := k.walk(child, "/up", 0)
				return strings.Contains(out, " 1 request,") || strings.Contains(out, " 1 request "), out
			})
			has("after a walk of nothing new", visible...)

			const deny = `deny = ["/up/shut", "/up/a/shut"`
			k.edit(deny, deny+`, "/up/b"`)
			eventually(t, waitShort, "the new rule is in force", func() (bool, string) {
				return get(t, master.url+"/up/b/3", k.as("vendor")).Status == 403, ""
			})
			k.walk(child, "/up", 0)
			has("after it lost a part", "a/1", "a/deep/2", "top")
			out, errs, _ := command(t, binary, "trash", "list", "/up", "--server", child.url, "--token-file", k.tokenFile("ops"))
			if !strings.Contains(out, "/up/b/3") {
				t.Errorf("the trash of the child has %s%s, want /up/b/3", out, errs)
			}
			k.edit(`, "/up/b"`, "")
			eventually(t, waitShort, "the part is given back", func() (bool, string) {
				return get(t, master.url+"/up/b/3", k.as("vendor")).Status == 200, ""
			})
			k.walk(child, "/up", 0)
			has("after it was given back", visible...)

			k.revoke("vendor")
			eventually(t, waitShort, "the token is worthless", func() (bool, string) {
				return get(t, master.url+"/up/top", k.as("vendor")).Status == 401, ""
			})
			k.walk(child, "/up", 3)
			has("after its token was revoked", visible...)
			for _, r := range []string{"/up/shut/4", "/up/a/shut"} {
				if n := master.requests(r); n > 0 {
					t.Errorf("%s was asked for %d times by a child that could not know it", r, n)
				}
			}
			k.kept(child)
			k.kept(master)
		})
	}
}

// digests wants those of a tree to be of what their reader sees of it.
func (k *keyring) digests(z *zcache) {
	t := k.t
	t.Helper()
	const neighbour = "Accept: application/vnd.zcache.listing+json"
	digest := map[string]string{}
	for _, dir := range []string{"/up/", "/up/a/", "/up/b/"} {
		for _, who := range []string{"vendor", "all"} {
			a := get(t, z.url+dir, k.as(who), neighbour).is(t, dir, 200, "")
			sum, _, _ := strings.Cut(a.Header.Get("Zcache-Subtree"), ";")
			if digest[dir+who] = sum; sum == "" {
				t.Errorf("%s has no digest for %s: %v", dir, who, a.Header)
			}
		}
		if same := digest[dir+"vendor"] == digest[dir+"all"]; same != (dir == "/up/b/") {
			t.Errorf("%s: the digest for who sees a part and that for who sees all are the same %v", dir, same)
		}
		for _, who := range []string{"vendor", "all"} {
			for _, of := range []string{"vendor", "all"} {
				a := get(t, z.url+dir, k.as(who), neighbour, "Zcache-If-Subtree: "+digest[dir+of])
				if (a.Status == http.StatusNotModified) != (digest[dir+who] == digest[dir+of]) {
					t.Errorf("%s for %s with the digest of %s = %d", dir, who, of, a.Status)
				}
			}
		}
	}
	get(t, z.url+"/up/", neighbour, "Zcache-If-Subtree: "+digest["/up/all"]).is(t, "a digest for nobody", 401, "")
	get(t, z.url+"/up/shut/", k.as("vendor"), neighbour, "Zcache-If-Subtree: \"x\"").is(t, "a digest of what is hidden", 403, "")
}
