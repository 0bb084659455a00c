package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"zcache/internal/auth"
	"zcache/internal/config"
)

// accessOf follows an auth file until the test ends.
func accessOf(t *testing.T, file string) (*access, *lockedWriter, *registry) {
	t.Helper()
	registry := newRegistry()
	log := &lockedWriter{w: &strings.Builder{}}
	a := &access{
		guard: auth.NewGuard(nil), log: slog.New(slog.NewTextHandler(log, nil)), count: newAccessCount(registry), moved: make(chan struct{}, 1),
	}
	cfg, err := config.Parse("--auth-file="+file, "--anonymous=none")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := rulesOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.use(cfg, rules)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return a, log, registry
}

// counted is the value of a counter without labels.
func counted(t *testing.T, r *registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// mayRead says whether a request with the token may read.
func mayRead(a *access, token string) bool {
	r := httptest.NewRequest(http.MethodGet, "/k/x", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return a.guard.AllowAt(a.guard.IdentifyIn(r, false), auth.Read, auth.Place{Path: "/k/x"}) == nil
}

func TestAChangeOfTheAuthFileReplacesTheRules(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	one, _, err := auth.CreateToken(file, auth.TokenInfo{Name: "one"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	a, log, registry := accessOf(t, file)
	if !mayRead(a, one) || mayRead(a, "zct_nobody_nothing") {
		t.Fatal("the first token may not read, or a wrong one may")
	}
	two, _, err := auth.CreateToken(file, auth.TokenInfo{Name: "two"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a token made while the server runs may read", func() bool { return mayRead(a, two) })
	if _, err := auth.RevokeToken(file, "one", time.Now()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a token revoked while the server runs may not read", func() bool { return !mayRead(a, one) })

	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("version = 1\n[[token]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a broken file is told of", func() bool { return strings.Contains(log.String(), "the old rules stay in force") })
	if !mayRead(a, two) {
		t.Error("a broken file took a token away")
	}
	if n := counted(t, registry, "zcache_auth_reload_failures_total"); n != 1 {
		t.Errorf("refused files counted: %v, want 1", n)
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	three, _, err := auth.CreateToken(file, auth.TokenInfo{Name: "three"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mended file is in force", func() bool { return mayRead(a, three) })
}

func TestFilesThatTheAuthFileNamesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	file, passwords := filepath.Join(dir, "auth.toml"), filepath.Join(dir, "users")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "version = 1\n")
	a, _, _ := accessOf(t, file)
	may := func() bool {
		r := httptest.NewRequest(http.MethodGet, "/k/x", nil)
		r.SetBasicAuth("lab", "secret")
		return a.guard.AllowAt(a.guard.IdentifyIn(r, false), auth.Read, auth.Place{Path: "/k/x"}) == nil
	}
	write(passwords, "")
	write(file, "version = 1\nhtpasswd = [\"users\"]\n")
	eventually(t, "the second file is watched", func() bool { return len(a.watched()) == 2 })
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	write(passwords, "lab:"+string(hash)+"\n")
	eventually(t, "a password added to it counts", may)
}

func TestAuditLinesAreMarked(t *testing.T) {
	log := &lockedWriter{w: &strings.Builder{}}
	audit := newAudit(slog.New(slog.NewJSONHandler(log, nil)))
	audit.Note(auth.Client{Addr: netip.MustParseAddr("192.0.2.7")}, "purge", "/k/x", auth.ErrDenied)
	for _, want := range []string{`"level":"INFO"`, `"action":"audit"`, `"audit":true`, `"what":"purge"`, `"outcome":"denied"`, `"client":"192.0.2.7"`, `"path":"/k/x"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("audit line %s has no %s", log, want)
		}
	}
}

func TestProblemsOfTheAuthFileStopTheStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "auth.toml")
	if err := os.WriteFile(file, []byte("version = 1\n[[token]]\nname = \"a\"\n[[token]]\nname = \"b\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		claim string
		args  []string
		want  []string
	}{
		{"a file that is not there", []string{"--auth-file=" + filepath.Join(dir, "none")}, []string{"auth-file: ", "no such file"}},
		{"all that is wrong in it", []string{"--auth-file=" + file}, []string{"auth-file: ", "token[a]", "\nauth-file: token[b]"}},
		{"a notify URL", []string{"--notify=gopher://u:hunter2@a.example"}, []string{"notify: bad notify URL: it must begin with https://"}},
		{"a hook", []string{"--ready-hook=exec:relative"}, []string{"ready-hook: "}},
	} {
		code, out, errs := invoke(t, "", append([]string{"check-config"}, row.args...)...)
		for _, want := range row.want {
			if code != 1 || out != "" || !strings.Contains(errs, want) || strings.Contains(errs, "hunter2") {
				t.Errorf("%s: exit %d, %q, %q, want 1 and %q", row.claim, code, out, errs, want)
			}
		}
	}
}

func TestCheckConfigTellsWhoMayAskForHowMuch(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "auth.toml"), []byte("version = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "z.toml")
	text := "auth-file = \"auth.toml\"\nrate = \"10/s:50\"\negress = \"1GB\"\nnotify = \"https://hook.example/x#secret=hunter2hunter2hunter2\"\n" +
		"[[hub]]\nname = \"k\"\nupstream = \"https://a.example\"\nidentity = \"pass\"\nwritable = true\ndaily = \"5GB\"\nupstream-requests = 4\n" +
		"[[rule]]\nname = \"big\"\nlarger = \"4GB\"\nshadow = true\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := invoke(t, "", "check-config", "--config", conf)
	for _, want := range []string{
		"who may ask: " + filepath.Join(dir, "auth.toml") + "; without credentials: read\n", "each client: 10/s:50 requests\n", "all clients: 1.0 GB/s\n",
		"hub k, all clients: 5.0 GB a day\n", "hub k, upstream: 4 requests at a time\n", "hub k asks upstream as: pass\n", "hub k takes files from clients (PUT)\n",
		"rule big: deny, in shadow\n", "told what needs a person: ",
	} {
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "hunter2") {
			t.Errorf("exit %d (%s), %q, want %q", code, errs, out, want)
		}
	}
	code, out, _ = invoke(t, "", "check-config", "--json", "--config", conf)
	for _, want := range []string{`"name": "media-type"`, `"name": "big"`, `"identity": "pass"`, `"at_once": 4`, `"anonymous": "read"`} {
		if code != 0 || !strings.Contains(out, want) || strings.Contains(out, "hunter2") {
			t.Errorf("--json: exit %d, %s, want %s", code, out, want)
		}
	}
}

func TestSitesAreWhereUpstreamsAre(t *testing.T) {
	cfg, err := config.Parse("--upstream=a=https://Deb.example:443/debian,b=http://x.example:8080/", "--upstream=c=ftp://f.example/pub")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range gatewayHubs(cfg) {
		got = append(got, strings.Join(h.Sites, " "))
	}
	if want := []string{"/https/deb.example", "/http/x.example:8080", "/ftp/f.example"}; !slices.Equal(got, want) {
		t.Errorf("sites %q, want %q", got, want)
	}
}

func TestAHubThatShowsACertificateAsksInItsOwnName(t *testing.T) {
	for _, identity := range []string{config.IdentityOwn, config.IdentityPass, config.IdentityNone} {
		hubs := gatewayHubs(config.Config{Hubs: []config.Hub{
			{Name: "plain", Mount: "/plain", Identity: identity},
			{Name: "shows", Mount: "/shows", Identity: identity, Certificates: []tls.Certificate{{}}},
		}})
		if hubs[0].Auth != "anonymous" || hubs[1].Auth != "credentialed" {
			t.Errorf("identity %s: gatewayHubs says %s without and %s with a certificate, want anonymous and credentialed", identity, hubs[0].Auth, hubs[1].Auth)
		}
	}
}
