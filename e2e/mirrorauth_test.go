package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A vault is a real nginx that shows each token a view of its own: a directory of links to the files that it may see. A token is a link to its view, so
// that a rename withdraws it and gives another.
type vault struct {
	t    testing.TB
	tree string
	url  string
}

// vaultDialect refuses what has its name and a dash below .closed of a view, whether the view lists it or not.
var vaultDialect = dialect{name: "nginx with tokens", run: nginxRun, conf: strings.NewReplacer(
	"http {", `http { map $http_authorization $token { default none; "~^Bearer (?<t>[a-z0-9-]+)$" $t; }`,
	"root @TREE@;", `root @TREE@/tokens/$token;
    location / {
      if (!-d @TREE@/tokens/$token) { return 401; }
      if (-e "@TREE@/tokens/$token/.closed${uri}-") { return 403; }
    }`).Replace(nginxConf("autoindex_format json;"))}

// secrets are what the vault has.
var secrets = []string{"pub/a.txt", "pub/sub/b.txt", "pub/admins.txt", "vendor/x/c.bin", "vendor/x/d.bin", "vendor/y/e.bin", "internal/f.txt", "internal/deep/g.txt"}

// vendors says what a vendor may see of it.
func vendors(name string) bool {
	return name != "pub/admins.txt" && !strings.HasPrefix(name, "internal/")
}

func startVault(t testing.TB) *vault {
	t.Helper()
	v := &vault{t: t, tree: openDir(t)}
	for _, name := range secrets {
		plantFile(t, filepath.Join(v.tree, "all", name), bytesOf(name, 1000), modified)
	}
	if err := os.Mkdir(filepath.Join(v.tree, "tokens"), 0o755); err != nil {
		t.Fatal(err)
	}
	v.view("empty", func(string) bool { return false })
	v.token("none-yet", "empty")
	v.url = startDialect(t, vaultDialect, v.tree)
	return v
}

// view makes a directory of what pass lets through.
func (v *vault) view(name string, pass func(string) bool) (dir string) {
	v.t.Helper()
	dir = filepath.Join(v.tree, "views", name)
	err := os.MkdirAll(dir, 0o755)
	for _, secret := range secrets {
		if err == nil && pass(secret) {
			at := filepath.Join(dir, secret)
			if err = os.MkdirAll(filepath.Dir(at), 0o755); err == nil {
				err = os.Link(filepath.Join(v.tree, "all", secret), at)
			}
		}
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return dir
}

// token lets a token see a view.
func (v *vault) token(token, view string) {
	v.t.Helper()
	if err := os.Symlink(filepath.Join("../views", view), filepath.Join(v.tree, "tokens", token)); err != nil {
		v.t.Fatal(err)
	}
}

// close refuses a file, or a directory, whose name ends in a slash, to who has a view.
func (v *vault) close(view, name string) {
	v.t.Helper()
	plantFile(v.t, filepath.Join(v.tree, "views", view, ".closed", name+"-"), nil, modified)
}

// mirror starts a zcache with a token, which it reads from the file that is returned.
func (v *vault) mirror(token string) (z *zcache, file string) {
	v.t.Helper()
	file = filepath.Join(v.t.TempDir(), "token")
	writeToken(v.t, file, token)
	conf := fmt.Sprintf("mode = \"mirror\"\n[[hub]]\nname = \"up\"\nupstream = %q\nbearer-file = %q\n", v.url, file)
	return start(v.t, settings(v.t, conf)), file
}

func writeToken(t testing.TB, file, token string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMirrorByBearer(t *testing.T) {
	for _, filtered := range []bool{true, false} {
		name := "what is guarded is listed and refused"
		if filtered {
			name = "what is guarded is not listed"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testMirrorByBearer(t, filtered)
		})
	}
}

func testMirrorByBearer(t *testing.T, filtered bool) {
	v := startVault(t)
	seen := v.view("what-vendors-see", vendors) // which no token shows when all is listed
	all := v.view("admin", func(string) bool { return true })
	if filtered {
		v.token("token-of-a-vendor", "what-vendors-see")
	} else {
		v.view("vendor", func(string) bool { return true })
		v.close("vendor", "internal/")
		for _, name := range secrets {
			if !vendors(name) {
				v.close("vendor", name)
			}
		}
		v.token("token-of-a-vendor", "vendor")
	}
	v.token("token-of-an-admin", "admin")
	vendor, _ := v.mirror("token-of-a-vendor")
	admin, _ := v.mirror("token-of-an-admin")
	for _, walk := range []string{"first", "second"} {
		did := vendor.walk("/up")
		sameTree(t, walk+" walk of a vendor", seen, vendor.path("up", ""))
		if (did.Denied > 0) == filtered {
			t.Errorf("%s walk of a vendor: %v, want refusals only of what is listed", walk, did)
		}
		if did = admin.walk("/up"); did.Denied != 0 {
			t.Errorf("%s walk of an admin: %v, want no refusal", walk, did)
		}
		sameTree(t, walk+" walk of an admin", all, admin.path("up", ""))
	}
	nobody := start(t, "--upstream", "up="+v.url)
	if m, exit, _ := nobody.tryWalk("/up"); exit != 3 || !strings.Contains(m.Error, "401") {
		t.Errorf("walk without a token: exit %d, %q, want 3 and the status", exit, m.Error)
	}
	if got := namesIn(t, nobody.path("up", "")); len(got) > 1 {
		t.Errorf("a walk without a token left %v, want nothing", got)
	}
	status := 403
	if filtered {
		status = 404
	}
	for _, name := range secrets {
		if a := get(t, vendor.url+"/up/"+name); !vendors(name) {
			a.is(t, "of a vendor: "+name, status, "")
		} else {
			a.is(t, "of a vendor: "+name, 200, "HIT").whole(t, name, bytesOf(name, 1000))
		}
	}
	for _, z := range []*zcache{vendor, admin} {
		state, err := os.ReadFile(filepath.Join(z.root, ".zcache-mirror-state.json"))
		if err != nil || strings.Contains(z.log()+string(state), "token-of") {
			t.Errorf("the log or the mirror's state tells of a token (%v)", err)
		}
	}
}

func TestMirrorKeepsWhatIsRefusedAndNotWhatIsHidden(t *testing.T) {
	v := startVault(t)
	seen := v.view("vendor", vendors)
	v.token("token-of-a-vendor", "vendor")
	z, _ := v.mirror("token-of-a-vendor")
	z.walk("/up")
	held := z.path("up", "")

	// Changed and refused at once: what was fetched before is all that may be had.
	plantFile(t, filepath.Join(seen, "vendor/y/e.bin"), bytesOf("other", 1000), modified.Add(time.Hour))
	v.close("vendor", "vendor/y/e.bin")
	v.close("vendor", "vendor/x/")
	if did := z.walk("/up"); did.Denied != 2 || did.Removed != 0 {
		t.Errorf("walk after a refusal: %v, want 2 refusals and nothing removed", did)
	}
	for name, want := range map[string]string{"vendor/y/e.bin": "vendor/y/e.bin", "vendor/x/c.bin": "vendor/x/c.bin", "vendor/x/d.bin": "vendor/x/d.bin"} {
		if got, ok := z.held("up", name); !ok || string(got) != string(bytesOf(want, 1000)) {
			t.Errorf("after a refusal %s is held: %v, want it as it was", name, ok)
		}
	}

	for _, name := range []string{".closed", "vendor/x"} {
		if err := os.RemoveAll(filepath.Join(seen, name)); err != nil {
			t.Fatal(err)
		}
	}
	if did := z.walk("/up"); did.Removed != 2 || did.Denied != 0 {
		t.Errorf("walk after a directory was hidden: %v, want its 2 files removed", did)
	}
	sameTree(t, "after a directory was hidden", seen, held)
	out, errs, exit := command(t, binary, "trash", "list", "--server", z.url, "/up/vendor")
	for _, name := range []string{"/up/vendor/x/c.bin", "/up/vendor/x/d.bin"} {
		if exit != 0 || !strings.Contains(out, name) {
			t.Errorf("zcache trash list: exit %d %s\n%s\nwant %s there", exit, errs, out, name)
		}
	}

	if err := os.Remove(filepath.Join(v.tree, "tokens/token-of-a-vendor")); err != nil {
		t.Fatal(err)
	}
	if m, exit, _ := z.tryWalk("/up"); exit != 3 || !strings.Contains(m.Error, "401") {
		t.Errorf("walk without a right: exit %d, %q, want 3 and the status", exit, m.Error)
	}
	sameTree(t, "after the token was withdrawn", seen, held)
}

func TestMirrorUsesTheTokenThatTheFileHasNow(t *testing.T) {
	v := startVault(t)
	seen := v.view("admin", func(string) bool { return true })
	v.token("first", "admin")
	z, file := v.mirror("first")
	z.walk("/up")
	tokens := filepath.Join(v.tree, "tokens")
	if err := os.Rename(filepath.Join(tokens, "first"), filepath.Join(tokens, "second")); err != nil {
		t.Fatal(err)
	}
	plantFile(t, filepath.Join(seen, "pub/new.txt"), bytesOf("new", 10), modified)
	if m, exit, _ := z.tryWalk("/up"); exit != 3 {
		t.Errorf("walk with the token of before: exit %d, %s, want 3", exit, m.Status)
	}
	writeToken(t, file, "second")
	z.walk("/up")
	sameTree(t, "with the new token", seen, z.path("up", ""))
}
