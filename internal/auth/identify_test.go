package auth

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// house is a Guard with an auth file, and a token that may observe, operate, read /kernel and write /local.
func house(t testing.TB, more string, anonymous Anonymous) (g *Guard, text string, made TokenInfo) {
	t.Helper()
	file := writeFile(t, "version = 1\n"+more)
	text, made = create(t, file, TokenInfo{Name: "lab3", Read: []string{"/kernel"}, Write: []string{"/local"}, Scope: []string{"operate"}, Expires: now.Add(time.Hour)})
	r, err := LoadRules(file, anonymous)
	if err != nil {
		t.Fatal(err)
	}
	g = guard()
	g.now = func() time.Time { return now }
	g.SetRules(r)
	return g, text, made
}

func TestWhichCredentialsAreOurs(t *testing.T) {
	hash := "alice:" + hashOf(t, "open sesame") + "\n"
	file := filepath.Join(t.TempDir(), "users")
	writeTo(t, file, hash)
	g, text, made := house(t, "htpasswd = [\""+file+"\"]\n", AnonymousRead)
	bare, bareText, _ := house(t, "", AnonymousRead)
	_, _, stranger := newToken()
	const origin, nobody, refused = "origin", "nobody", "refused" // who an Authorization that is not ours belongs to; else the subject
	const auth, pauth = "Authorization", "Proxy-Authorization"
	lab := "token:" + made.ID
	for _, row := range []struct {
		claim  string
		g      *Guard
		proxy  bool
		fields []string
		want   string
	}{
		{"no credentials", g, false, nil, nobody},
		{"a token as Bearer", g, false, []string{auth, "Bearer " + text}, lab},
		{"the scheme has no case", g, false, []string{auth, "bEARER  " + text}, lab},
		{"a token as the password", g, false, []string{auth, basic("anything", text)}, lab},
		{"as the user name", g, false, []string{auth, basic(text, "")}, lab},
		{"without padding", g, false, []string{auth, strings.TrimRight(basic("abc", text), "=")}, lab},
		{"in proxy form in its own field", g, true, []string{pauth, "Bearer " + text}, lab},
		{"there as the password", g, true, []string{pauth, basic("x", text)}, lab},
		{"in proxy form in the origin's field", g, true, []string{auth, "Bearer " + text}, lab},
		{"there as the password", g, true, []string{auth, basic("x", text)}, lab},
		{"a token that is not known", g, false, []string{auth, "Bearer " + stranger}, refused},
		{"one that is cut", g, false, []string{auth, "Bearer " + text[:20]}, refused},
		{"the prefix alone", g, false, []string{auth, "Bearer zct_"}, refused},
		{"as the password", g, false, []string{auth, basic("x", stranger)}, refused},
		{"in proxy form", g, true, []string{pauth, "Bearer " + stranger}, refused},
		{"in the origin's field", g, true, []string{auth, "Bearer " + stranger}, refused},
		{"another's Bearer is the origin's", g, false, []string{auth, "Bearer abc"}, origin},
		{"in proxy form, too", g, true, []string{auth, "Bearer abc"}, origin},
		{"another scheme is the origin's", g, false, []string{auth, "AWS4-HMAC-SHA256 Credential=x"}, origin},
		{"but not a token in another scheme", g, false, []string{auth, "token " + text}, refused},
		{"nor without any", g, false, []string{auth, text}, refused},
		{"a tab is white space", g, false, []string{auth, "Bearer\t" + text}, lab},
		{"a user with a password", g, false, []string{auth, basic("alice", "open sesame")}, "user:alice"},
		{"in proxy form in its own field", g, true, []string{pauth, basic("alice", "open sesame")}, "user:alice"},
		{"in the origin's it is the origin's", g, true, []string{auth, basic("alice", "open sesame")}, origin},
		{"a wrong password", g, false, []string{auth, basic("alice", "open sesam")}, refused},
		{"an unknown user is no different", g, false, []string{auth, basic("bob", "open sesame")}, refused},
		{"nor a Basic that cannot be read", g, false, []string{auth, "Basic !"}, refused},
		{"without htpasswd Basic is the origin's", bare, false, []string{auth, basic("alice", "open sesame")}, origin},
		{"but not a token in it", bare, false, []string{auth, basic("alice", bareText[:20])}, refused},
		{"all of the proxy's field is ours", bare, true, []string{pauth, basic("alice", "open sesame")}, refused},
		{"other schemes as well", bare, true, []string{pauth, "NTLM abc"}, refused},
		{"outside proxy form it means nothing", bare, false, []string{pauth, "Bearer " + stranger}, nobody},
		{"the proxy's field decides", g, true, []string{pauth, "Bearer " + text, auth, "Bearer " + stranger}, lab},
		{"and is enough to be refused", g, true, []string{pauth, "Bearer " + stranger, auth, "Bearer " + text}, refused},
		{"the origin's own goes on beside it", g, true, []string{pauth, "Bearer " + text, auth, "Bearer abc"}, lab},
		{"two lines with one of ours", g, false, []string{auth, "Bearer abc", auth, "Bearer " + text}, refused},
		{"two of ours", g, false, []string{auth, "Bearer " + text, auth, "Bearer " + text}, refused},
		{"two of the origin's", g, false, []string{auth, "Bearer abc", auth, "Bearer def"}, origin},
		{"a token that is far too long", g, false, []string{auth, "Bearer zct_" + strings.Repeat("x", 1<<20)}, refused},
		{"or has a long name before it", g, false, []string{auth, basic(strings.Repeat("x", 1<<20), stranger)}, refused},
		{"without an auth file nothing is ours", guard(), false, []string{auth, "Bearer " + text}, origin},
	} {
		r := request("192.0.2.1:1", "h", row.fields...)
		c := row.g.IdentifyIn(r, row.proxy)
		got := c.Subject()
		kept := c.Consume(r).Header["Authorization"] != nil
		err := row.g.Allow(c, Read)
		switch {
		case err != nil:
			if got = refused; !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("%s: Allow(read) = %v, want ErrUnauthenticated", row.claim, err)
			}
		case got == "" && kept:
			got = origin
		case got == "":
			got = nobody
		}
		if got != row.want {
			t.Errorf("%s: IdentifyIn(proxy %v, %.60q) = %s (%v), want %s", row.claim, row.proxy, row.fields, got, err, row.want)
		}
		if row.proxy && row.g != nil && c.Consume(r).Header["Proxy-Authorization"] != nil {
			t.Errorf("%s: Proxy-Authorization goes on", row.claim)
		}
	}
	r := request("192.0.2.1:1", "h", pauth, "Bearer "+text, auth, "Bearer abc")
	if out := g.IdentifyIn(r, true).Consume(r); out.Header.Get(auth) != "Bearer abc" || r.Header.Get(pauth) == "" {
		t.Errorf("Consume leaves %v, of %v", out.Header, r.Header)
	}
}

func TestProxyFormIsSeenFromTheTarget(t *testing.T) {
	g, text, _ := house(t, "", AnonymousRead)
	for target, want := range map[string]bool{"http://deb.example/a": true, "/a": false} {
		r := httptest.NewRequest("GET", target, nil)
		r.Header.Set("Proxy-Authorization", "Bearer "+text)
		if target == "/a" {
			r.URL.Scheme, r.URL.Host = "", ""
		}
		if got := g.Identify(r).Known(); got != want {
			t.Errorf("Identify(%s with Proxy-Authorization) = known %v, want %v", target, got, want)
		}
	}
	r := request("192.0.2.1:1", "deb.example:443", "Proxy-Authorization", "Bearer "+text)
	r.Method = http.MethodConnect
	if !g.Identify(r).Known() {
		t.Error("Identify(CONNECT) does not know the holder of a token")
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	open := guard()
	shut := guard()
	none, err := LoadRules("", AnonymousNone)
	if err != nil {
		t.Fatal(err)
	}
	shut.SetRules(none)
	file := filepath.Join(t.TempDir(), "users")
	writeTo(t, file, "alice:"+hashOf(t, "pw")+"\nbob:"+hashOf(t, "pw")+"\n")
	more := "htpasswd = [\"" + file + "\"]\n[anonymous]\nread = [\"/gnu\"]\n[[user]]\nname = \"alice\"\nread = [\"/kernel\"]\nscope = [\"observe\"]\n"
	g, text, _ := house(t, more, AnonymousRead)
	closed, closedText, _ := house(t, more, AnonymousNone)
	local, remote := []string{"127.0.0.1:1", "localhost"}, []string{"192.0.2.1:1", "h"}
	const yes, no, who = "yes", "denied", "unauthenticated"
	for _, row := range []struct {
		claim string
		g     *Guard
		from  []string
		line  string
		scope Scope
		path  string
		want  string
	}{
		{"no auth file: all read", open, remote, "", Read, "/kernel/a", yes},
		{"no auth file: this machine operates", open, local, "", Operate, "/", yes},
		{"no auth file: others do not, and no password helps", open, remote, "", Operate, "/", no},
		{"no auth file: nor observe", open, remote, "", Observe, "/", no},
		{"no auth file: nobody writes", open, local, "", Write, "/local", no},
		{"no auth file, none: others read nothing", shut, remote, "", Read, "/kernel/a", no},
		{"no auth file, none: this machine reads", shut, local, "", Read, "/kernel/a", yes},
		{"no auth file, none: health is for anyone", shut, remote, "", Anyone, "", yes},

		{"anonymous reads what it may", g, remote, "", Read, "/gnu/a", yes},
		{"and is asked who it is elsewhere", g, remote, "", Read, "/kernel/a", who},
		{"and for other things", g, remote, "", Observe, "", who},
		{"with an auth file this machine is anonymous too", g, local, "", Observe, "", who},
		{"and does not operate", g, local, "", Operate, "", who},
		{"none: nothing is read", closed, remote, "", Read, "/gnu/a", who},
		{"none: by this machine neither", closed, local, "", Read, "/gnu/a", who},
		{"none: health is for anyone", closed, remote, "", Anyone, "", yes},
		{"health is for the holder of a wrong token as well", g, remote, "Bearer zct_x", Anyone, "", yes},
		{"who may read nothing without does so with", closed, remote, "Bearer " + closedText, Read, "/kernel/a", yes},

		{"a token reads what it may", g, remote, "Bearer " + text, Read, "/kernel/a", yes},
		{"and nothing else, were it open to all", g, remote, "Bearer " + text, Read, "/gnu/a", no},
		{"it operates", g, remote, "Bearer " + text, Operate, "", yes},
		{"and so observes", g, remote, "Bearer " + text, Observe, "", yes},
		{"it writes where it may", g, remote, "Bearer " + text, Write, "/local/a", yes},
		{"and not where it may read", g, remote, "Bearer " + text, Write, "/kernel/a", no},
		{"as a password it reads", g, remote, basic("x", text), Read, "/kernel/a", yes},
		{"and observes", g, remote, basic("x", text), Observe, "", yes},
		{"but does not operate", g, remote, basic("x", text), Operate, "", no},
		{"nor write", g, remote, basic("x", text), Write, "/local/a", no},
		{"a wrong one may not even what all may", g, remote, "Bearer zct_x", Read, "/gnu/a", who},

		{"a user reads what its section says", g, remote, basic("alice", "pw"), Read, "/kernel/a", yes},
		{"and not what others may", g, remote, basic("alice", "pw"), Read, "/gnu/a", no},
		{"and observes", g, remote, basic("alice", "pw"), Observe, "", yes},
		{"one without a section reads all", g, remote, basic("bob", "pw"), Read, "/anything", yes},
		{"and no more", g, remote, basic("bob", "pw"), Observe, "", no},
	} {
		r := request(row.from[0], row.from[1])
		if row.line != "" {
			r.Header.Set("Authorization", row.line)
		}
		c := row.g.Identify(r)
		err := row.g.AllowAt(c, row.scope, Place{Path: row.path})
		got := yes
		switch {
		case errors.Is(err, ErrUnauthenticated):
			got = who
		case errors.Is(err, ErrDenied):
			got = no
		case err != nil:
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s: AllowAt(%s, %q) = %v, want %s", row.claim, row.scope, row.path, err, row.want)
		}
		if d := row.g.Decide(c, row.scope, Place{Path: row.path}); d.Allowed != (err == nil) || d.Why == "" {
			t.Errorf("%s: Decide = %+v, and AllowAt %v", row.claim, d, err)
		}
		status := c.Challenge(http.Header{}, err, false)
		if want := map[string]int{yes: 403, no: 403, who: 401}[row.want]; status != want {
			t.Errorf("%s: Challenge = %d, want %d", row.claim, status, want)
		}
	}
}

func TestADenialDoesNotNameItsRule(t *testing.T) {
	file := writeFile(t, "version = 1\n")
	text, _ := create(t, file, TokenInfo{Name: "x", Deny: []string{"/kernel/embargo-4711"}})
	g := guard()
	g.SetRules(load(t, file))
	c := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text))
	err := g.AllowAt(c, Read, Place{Path: "/kernel/embargo-4711/a"})
	var d *Denial
	if !errors.As(err, &d) || strings.Contains(err.Error(), "4711") || !strings.Contains(d.Why(), "deny /kernel/embargo-4711") {
		t.Errorf("AllowAt = %v, want a denial that keeps its rule for Why", err)
	}
	if other := g.AllowAt(c, Read, Place{Path: "/kernel/embargo-4711/b"}); other.Error() != err.Error() {
		t.Errorf("%v and %v tell two paths apart", err, other)
	}
}

func TestAChallengeAsksInTheFormOfTheRequest(t *testing.T) {
	g, text, _ := house(t, "", AnonymousNone)
	for _, row := range []struct {
		claim  string
		fields []string
		proxy  bool
		err    error
		status int
		field  string
		want   string
	}{
		{"nobody", nil, false, nil, 401, "WWW-Authenticate", `Basic realm="zcache", charset="UTF-8"`},
		{"nobody in proxy form", nil, true, nil, 407, "Proxy-Authenticate", `Basic realm="zcache", charset="UTF-8"`},
		{"a wrong Bearer", []string{"Authorization", "Bearer zct_x"}, false, nil, 401, "WWW-Authenticate", `Bearer realm="zcache", error="invalid_token"`},
		{"a right one", []string{"Authorization", "Bearer " + text}, false, ErrDenied, 403, "WWW-Authenticate", ""},
		{"too many", nil, false, ErrBusy, 503, "Retry-After", "1"},
	} {
		c := g.IdentifyIn(request("192.0.2.1:1", "h", row.fields...), row.proxy)
		err := row.err
		if err == nil {
			err = g.Allow(c, Read)
		}
		h := http.Header{}
		if got := c.Challenge(h, err, row.proxy); got != row.status || h.Get(row.field) != row.want {
			t.Errorf("%s: Challenge(%v) = %d with %v, want %d with %s: %s", row.claim, err, got, h, row.status, row.field, row.want)
		}
	}
}

func TestATunnelEndsWithItsToken(t *testing.T) {
	file := writeFile(t, "version = 1\n")
	text, made := create(t, file, TokenInfo{Name: "x", Expires: now.Add(time.Hour)})
	g := guard()
	clock := now
	g.now = func() time.Time { return clock }
	g.SetRules(load(t, file))
	outer := g.IdentifyIn(request("127.0.0.1:1", "deb.example:443", "Proxy-Authorization", "Bearer "+text), true)
	inner := request("127.0.0.1:1", "localhost", "Authorization", "Bearer of the origin")
	if c := g.Inside(inner, outer); c.Subject() != "token:"+made.ID || c.Local || c.Consume(inner) != inner || g.Allow(c, Read) != nil {
		t.Errorf("Inside = %+v, want the tunnel's client, and the origin's Authorization left alone", c)
	}
	inner.Header.Set("Authorization", "Bearer "+text)
	if c := g.Inside(inner, outer); c.Consume(inner).Header["Authorization"] != nil {
		t.Error("a token of ours leaves through the tunnel")
	}
	clock = now.Add(time.Hour)
	if err := g.Allow(g.Renew(outer), Read); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("Allow after the token's end = %v", err)
	}
	clock = now
	g.SetRules(load(t, file)) // the same again
	if err := g.Allow(g.Renew(outer), Read); err != nil {
		t.Errorf("Allow after a reload = %v", err)
	}
	if _, err := RevokeToken(file, "x", now); err != nil {
		t.Fatal(err)
	}
	g.SetRules(load(t, file))
	if err := g.Allow(outer, Read); err != nil {
		t.Errorf("a request under way lost its rules: %v", err)
	}
	if err := g.Allow(g.Renew(outer), Read); !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("Allow after the token was revoked = %v", err)
	}
	if err := g.Allow(g.Renew(Client{}), Read); err != nil {
		t.Errorf("Allow(an anonymous client, renewed) = %v", err)
	}
}

// TestAReloadUnderLoadRefusesNobody changes the rules all the time while the holder of a token that is in all of them asks.
func TestAReloadUnderLoadRefusesNobody(t *testing.T) {
	file := writeFile(t, "version = 1\n")
	text, _ := create(t, file, TokenInfo{Name: "x", Read: []string{"/kernel"}})
	g := guard()
	g.SetRules(load(t, file))
	const changes = 50
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range changes {
			name := "t" + string(rune('a'+i%26)) + string(rune('a'+i/26))
			if _, _, err := CreateToken(file, TokenInfo{Name: name}, now); err != nil {
				t.Error(err)
			}
			writeTo(t, file+".broken", "version = 1\n[[")
			if r, err := LoadRules(file+".broken", AnonymousRead); err == nil {
				g.SetRules(r)
			}
			if r, err := LoadRules(file, AnonymousRead); err != nil {
				t.Error(err)
			} else {
				g.SetRules(r)
			}
		}
	}()
	asked := 0
	for running := true; running; asked++ {
		select {
		case <-done:
			running = false
		default:
		}
		c := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text))
		if err := g.AllowAt(c, Read, Place{Path: "/kernel/a"}); err != nil {
			t.Fatalf("request %d was refused: %v", asked, err)
		}
	}
	if c := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text)); len(c.rules.tokens) != changes+1 {
		t.Errorf("%d tokens in force at the end, want %d", len(c.rules.tokens), changes+1)
	}
}

func TestAViewIsTheClients(t *testing.T) {
	g, text, _ := house(t, "[anonymous]\ndeny = [\"/kernel\"]\n", AnonymousRead)
	anonymous := g.Identify(request("192.0.2.1:1", "h"))
	lab := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer "+text))
	wrong := g.Identify(request("192.0.2.1:1", "h", "Authorization", "Bearer zct_x"))
	kernel, gnu := Place{Path: "/kernel/"}, Place{Path: "/gnu/"}
	for _, row := range []struct {
		claim       string
		g           *Guard
		c           Client
		kernel, gnu Extent
	}{
		{"anonymous", g, anonymous, Nothing, All}, {"a token", g, lab, All, Nothing}, {"a wrong token", g, wrong, Nothing, Nothing},
		{"anybody without an auth file", guard(), Client{}, All, All},
	} {
		if v := row.g.View(row.c); v.Of(kernel) != row.kernel || v.Of(gnu) != row.gnu {
			t.Errorf("%s: View sees %v of /kernel/ and %v of /gnu/, want %v and %v", row.claim, v.Of(kernel), v.Of(gnu), row.kernel, row.gnu)
		}
	}
}

func BenchmarkIdentifyAToken(b *testing.B) {
	g, text, _ := house(b, "", AnonymousRead)
	r := request("192.0.2.1:1", "h", "Authorization", "Bearer "+text)
	b.ReportAllocs()
	for b.Loop() {
		if c := g.Identify(r); !c.Known() {
			b.Fatal("not known")
		}
	}
}
