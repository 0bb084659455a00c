package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The registries here are those that this machine's own clients are configured for. Their addresses are read from there.

const goModule = "golang.org/x/sync" // one that this project is built with, so its version and digest are known

func TestGoModDownload(t *testing.T) {
	list := configured(t, "go", "env", "GOPROXY")
	upstream := strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' })
	i := slices.IndexFunc(upstream, func(s string) bool { return strings.HasPrefix(s, "http") })
	if i < 0 {
		t.Fatalf("this test needs a module proxy, and this machine's go has GOPROXY=%s", list)
	}
	version := configured(t, "go", "list", "-m", "-f", "{{.Version}}", goModule)
	sums, err := os.ReadFile("../go.sum")
	if err != nil {
		t.Fatal(err)
	}
	z := before(t, "", map[string]string{"go": upstream[i]})
	told := clientsOf(t, z.zcache)
	hub, _ := told.line(t, "go", "go", false)
	proxy, _ := told.line(t, "go", "proxy", false)
	database := "export GOFLAGS=-modcacherw GOTOOLCHAIN=local GOSUMDB=" + quote(configured(t, "go", "env", "GOSUMDB"))
	download := " && go mod download -json " + goModule + "@" + version
	run := func(claim string, u *user, setup string) {
		t.Helper()
		var got struct{ Sum, GoModSum, Zip string }
		said := u.run(database+" && "+setup+download, "")
		if err := json.Unmarshal([]byte(said[max(0, strings.IndexByte(said, '{')):]), &got); err != nil {
			t.Errorf("%s: go mod download says %q: %v", claim, said, err)
			return
		}
		for _, want := range []string{fmt.Sprintf("%s %s %s\n", goModule, version, got.Sum), fmt.Sprintf("%s %s/go.mod %s\n", goModule, version, got.GoModSum)} {
			if !strings.Contains(string(sums), want) {
				t.Errorf("%s: %q is not in go.sum", claim, want)
			}
		}
		z.keepsBody(claim, "go", "/"+goModule+"/@v/"+version+".zip", got.Zip)
	}
	z.fourTimes(func(claim string, u *user) {
		run(claim, u, hub)
		if z.ca == "" {
			return
		}
		// The same files by their own URLs, inside a tunnel that ends here: the hub's entries.
		run(claim+", intercepted", newUser(t), fmt.Sprintf("%s GOPROXY=%s SSL_CERT_FILE=%s SSL_CERT_DIR=/nowhere", proxy, quote(upstream[i]), z.ca))
	})
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const npmPackage = "is-number"

func TestNpmInstall(t *testing.T) {
	upstream := configured(t, "npm", "config", "get", "registry")
	own := configured(t, "npm", "config", "get", "https-proxy")
	if own == "null" {
		own = ""
	}
	z := before(t, own, map[string]string{"npm": upstream})
	told := clientsOf(t, z.zcache)
	hub, _ := told.line(t, "npm", "npm", false)
	proxy, _ := told.line(t, "npm", "proxy", false)
	var want string // the lock's digest of the package, the same each time
	run := func(claim string, u *user, setup string) {
		t.Helper()
		// The notifier would ask for npm itself, and leave before it has its answer.
		u.run(`export npm_config_update_notifier=false; `+setup+
			` && npm install --cache "$HOME/cache" --prefix "$HOME/project" --no-audit --no-fund --fetch-retries=0 --replace-registry-host=always `+npmPackage, "")
		var lock struct {
			Packages map[string]struct{ Version, Integrity string }
		}
		b, err := os.ReadFile(filepath.Join(u.home, "project", "package-lock.json"))
		if err == nil {
			err = json.Unmarshal(b, &lock)
		}
		got := lock.Packages["node_modules/"+npmPackage]
		want = cmp.Or(want, got.Integrity)
		if err != nil || got.Integrity == "" || got.Integrity != want {
			t.Errorf("%s: the lock has %+v, %v; want integrity %q", claim, lock, err, want)
			return
		}
		if _, err := os.Stat(filepath.Join(u.home, "project", "node_modules", npmPackage, "index.js")); err != nil {
			t.Errorf("%s: %v", claim, err)
		}
		if body, ok := z.held("npm", "/"+npmPackage+"/-/"+npmPackage+"-"+got.Version+".tgz"); !ok || len(body) == 0 {
			t.Errorf("%s: the package's archive is not held at its path", claim)
		}
	}
	z.fourTimes(func(claim string, u *user) {
		run(claim, u, hub)
		if z.ca == "" {
			return
		}
		run(claim+", intercepted", newUser(t), fmt.Sprintf("%s && export npm_config_registry=%s npm_config_cafile=%s", proxy, quote(upstream), z.ca))
	})
}

const debianPackage = "hello"

func TestAptUpdateAndInstall(t *testing.T) {
	uris := aptSites(t)
	hubs := map[string]string{}
	for i, uri := range uris {
		hubs[fmt.Sprintf("apt%d", i)] = uri
	}
	z := before(t, aptSetting(t, "Acquire::http::Proxy"), hubs)
	told := clientsOf(t, z.zcache)
	lines, _ := told.line(t, "apt", "proxy", true)
	if z.ca != "" {
		lines += "\nAcquire::https::CaInfo \"" + z.ca + "\";"
	}
	const patience = "\nAcquire::http::Max-Age \"600\";"
	sources := aptSources(t)
	var deb []byte
	run := func(claim string, a *apt) {
		t.Helper()
		if said := a.get("update"); strings.Contains(said, "\nErr:") || strings.Contains(said, "\nW:") {
			t.Errorf("%s: apt-get update says\n%s", claim, said)
		}
		a.get("install -y --reinstall --no-install-recommends --download-only " + debianPackage)
		found, _ := filepath.Glob(filepath.Join(a.home, "cache/archives", debianPackage+"_*.deb"))
		if len(found) != 1 {
			t.Errorf("%s: %d archives of %s, want one", claim, len(found), debianPackage)
			return
		}
		got, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		if deb == nil {
			deb = got // apt has held it against the digest that the signed lists name
		}
		if !bytes.Equal(got, deb) {
			t.Errorf("%s: %d bytes of %s, which are not those that came first", claim, len(got), debianPackage)
		}
	}
	z.fourTimes(func(claim string, u *user) {
		lines, direct := lines, `Acquire::http::Proxy "DIRECT";`
		if claim == "warm" {
			// By itself apt says of every index that it wants the origin's word.
			lines += patience
			direct += patience
		}
		run(claim, newApt(u, lines, sources))
		byHub := map[string]string{}
		for name, text := range sources {
			for i, uri := range uris {
				text = strings.ReplaceAll(text, uri, fmt.Sprintf("%s/apt%d", z.url, i))
			}
			byHub[name] = text
		}
		run(claim+", hubs as sources", newApt(newUser(t), direct, byHub))
	})
}

// aptSites are the roots of the machine's package sources, without their slash; what is a prefix of another comes after it.
func aptSites(t *testing.T) []string {
	t.Helper()
	uris := strings.Fields(configured(t, "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"))
	for i := range uris {
		uris[i] = strings.TrimSuffix(uris[i], "/")
	}
	slices.Sort(uris)
	if uris = slices.Compact(uris); len(uris) == 0 {
		t.Fatal("this test needs package sources, and this machine's apt has none")
	}
	slices.Reverse(uris)
	return uris
}

// aptSetting is an item of the machine's own configuration, "" where it has none.
func aptSetting(t *testing.T, item string) string {
	t.Helper()
	return strings.Trim(strings.TrimPrefix(configured(t, "apt-config", "shell", "V", item), "V="), "'")
}

// An apt is a user's with lists, archives and sources of his own; what is installed is a copy of what the machine has.
type apt struct{ *user }

func newApt(u *user, lines string, sources map[string]string) *apt {
	u.t.Helper()
	for _, dir := range []string{"state/lists/partial", "cache/archives/partial", "parts"} {
		if err := os.MkdirAll(filepath.Join(u.home, dir), 0o755); err != nil {
			u.t.Fatal(err)
		}
	}
	status, err := os.ReadFile(aptSetting(u.t, "Dir::State::status/f"))
	if err != nil {
		u.t.Fatal(err)
	}
	files := map[string]string{"status": string(status), "sources.list": "", "apt.conf": lines + `
Dir::State "` + u.home + `/state";
Dir::State::status "` + u.home + `/status";
Dir::Cache "` + u.home + `/cache";
Dir::Etc::sourcelist "` + u.home + `/sources.list";
Dir::Etc::sourceparts "` + u.home + `/parts";
APT::Sandbox::User "root";
Acquire::Retries "0";
`}
	for name, text := range sources {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(u.home, name), []byte(text), 0o644); err != nil {
			u.t.Fatal(err)
		}
	}
	return &apt{u}
}

func (a *apt) get(args string) string {
	a.t.Helper()
	return a.run(`APT_CONFIG="$HOME/apt.conf" apt-get `+args, "")
}

// aptSources are the machine's own source files by the names that they have for an apt.
func aptSources(t *testing.T) map[string]string {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(aptSetting(t, "Dir::Etc::sourceparts/d"), "*"))
	all := map[string]string{}
	for _, name := range names {
		if ext := filepath.Ext(name); ext == ".list" || ext == ".sources" {
			all[filepath.Join("parts", filepath.Base(name))] = readText(t, name)
		}
	}
	if main := aptSetting(t, "Dir::Etc::sourcelist/f"); main != "" {
		if _, err := os.Stat(main); err == nil {
			all["sources.list"] = readText(t, main)
		}
	}
	return all
}

func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
