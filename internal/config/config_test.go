package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// load loads args with text as the config file, in an empty working directory.
func load(t *testing.T, text string, args ...string) (Config, error) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	if text != "" {
		write(t, filepath.Join(dir, "zcache.toml"), text)
	}
	return flagsOf(t, args...).Load()
}

func mustLoad(t *testing.T, text string, args ...string) Config {
	t.Helper()
	c, err := load(t, text, args...)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDefaultsAreTheContracts(t *testing.T) {
	c := mustLoad(t, "")
	if c.Listen[0] != ":3142" || c.Root != "./zcache-data" || c.Mode != ModeCache || c.DiskHigh != 0.8 || c.DiskLow != 0.75 ||
		c.LogFormat != LogJSON || c.LogLevel != "info" || c.Durability != DurabilityDefault || c.CacheMaxSize != 0 {
		t.Errorf("defaults = %+v", c)
	}
	var names []string
	for _, h := range c.Hubs {
		names = append(names, h.Name+" "+h.Mount+" "+h.Upstreams[0].String()+" "+h.Upstreams[1].String())
		if !h.Builtin || h.HeuristicMax != 24*time.Hour || h.NegativeTTL != 15*time.Second || h.OnMiss != OnMissStream ||
			h.Verify != VerifyTail || h.Rollout != RolloutLegacyOnly {
			t.Errorf("hub %s = %+v", h.Name, h.Policy())
		}
	}
	want := []string{
		"kernel /kernel https://mirrors.edge.kernel.org/pub https://www.kernel.org/pub",
		"gnu /gnu https://ftp.gnu.org/gnu https://ftpmirror.gnu.org",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("built-in hubs (-want +got):\n%s", diff)
	}
}

func TestFlagWinsOverVariableOverFileOverDefault(t *testing.T) {
	text := "root = \"/file\"\nlog-level = \"warn\"\nlisten = [\":1\", \":2\"]\ndurability = \"full\"\n"
	t.Setenv("ZCACHE_ROOT", "/variable")
	t.Setenv("ZCACHE_LOG_LEVEL", "error")
	t.Setenv("ZCACHE_TRUSTED_PROXY", "10.0.0.0/8, 192.168.1.1")
	c := mustLoad(t, text, "--root", "/flag")
	if c.Root != "/flag" || c.LogLevel != "error" || c.Durability != "full" || c.LogFormat != "json" {
		t.Errorf("root %q, level %q, durability %q, format %q", c.Root, c.LogLevel, c.Durability, c.LogFormat)
	}
	if diff := cmp.Diff([]string{":1", ":2"}, c.Listen); diff != "" {
		t.Errorf("listen (-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(c.TrustedProxy); got != "[10.0.0.0/8 192.168.1.1/32]" {
		t.Errorf("trusted proxies %s", got)
	}
	c = mustLoad(t, text, "--listen", "127.0.0.1:9,:10", "--listen=11", "--offline")
	if diff := cmp.Diff([]string{"127.0.0.1:9", ":10", ":11"}, c.Listen); diff != "" || !c.Offline {
		t.Errorf("offline %v, listen (-want +got):\n%s", c.Offline, diff)
	}
}

func TestConfigFileIsFoundByFlagVariableOrPlace(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"zcache.toml", "variable.toml", "flag.toml"} {
		write(t, name, fmt.Sprintf("root = %q\n", "/"+name))
	}
	if c, err := flagsOf(t).Load(); err != nil || c.Root != "/zcache.toml" {
		t.Errorf("by place: root %q, %v", c.Root, err)
	}
	t.Setenv("ZCACHE_CONFIG", "variable.toml")
	if c, err := flagsOf(t).Load(); err != nil || c.Root != "/variable.toml" {
		t.Errorf("by variable: root %q, %v", c.Root, err)
	}
	if c, err := flagsOf(t, "-c", "flag.toml").Load(); err != nil || c.Root != "/flag.toml" {
		t.Errorf("by flag: root %q, %v", c.Root, err)
	}
	_, err := flagsOf(t, "--config", "none.toml").Load()
	if want := "config: none.toml does not exist; create it or name another file with --config"; err == nil || err.Error() != want {
		t.Errorf("missing file: %v, want %s", err, want)
	}
}

func TestReloadReadsTheFileAnewAndKeepsTheCommandLine(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "zcache.toml", "root = \"/a\"\nlog-level = \"warn\"\n")
	f := flagsOf(t, "--log-level", "debug", "--upstream", "https://one.example/,https://two.example/x")
	f.given[1].text = "a=https://one.example/,b=https://two.example/x"
	for _, root := range []string{"/a", "/b"} {
		write(t, "zcache.toml", fmt.Sprintf("root = %q\nlog-level = \"warn\"\n", root))
		c, err := f.Load()
		if err != nil || c.Root != root || c.LogLevel != "debug" || len(c.Hubs) != 2 {
			t.Errorf("Load: root %q, level %q, %d hubs, %v; want %s, debug, 2 hubs", c.Root, c.LogLevel, len(c.Hubs), err, root)
		}
	}
}

const full = `
StoragePath = "store"
CacheMaxSize = "10GiB"
[[Hub]]
Name = "npm-like"
Domain = ["NPM.lab.", "127.0.0.1"]
Upstream = "https://registry.example/a"
Module = "Generic"
Rollout = "dual"
CacheTTL = "0x3c"
ValidationMode = "last-modified"
MaxRetries = 5
Username = "u"
Password = "p:@w"

[[hub]]
name = "kernel"
path = "pub/linux/"
hosts = "mirror.lab"
upstream = ["https://one.example/pub/", "http://two.example:8080"]
ttl = 90
negative-ttl = "1m"
heuristic_max = "7d"
immutable = ["*.tar.xz", "a,b"]
index = "*/"
bypass = ["/live/*"]
stale = "always"
redirects = "pass"
on-miss = "wait"
active = true
verify = "before"
bearer-file = "kernel.token"
proxy = "socks5://me:hidden@gate.example:1080"
`

func TestHubTakesEveryKeyInEverySpelling(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "kernel.token", " tok-1 \n")
	write(t, "zcache.toml", full)
	c, err := flagsOf(t).Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Root != "store" || c.CacheMaxSize != 10<<30 || len(c.Hubs) != 2 {
		t.Errorf("root %q, size %d, %d hubs", c.Root, c.CacheMaxSize, len(c.Hubs))
	}
	want := []Policy{{
		Name: "npm-like", Hosts: []string{"npm.lab", "127.0.0.1"}, Upstream: []string{"https://registry.example/a"}, Module: "legacy",
		Rollout: "dual", TTL: "1m0s", NegativeTTL: "15s", HeuristicMax: "24h0m0s", ListingTTL: "1m0s", Validation: "last-modified", Redirects: "follow",
		OnMiss: "stream", Verify: "tail", Retries: 5, Credentials: "basic", Identity: "own",
	}, {
		Name: "kernel", Path: "/pub/linux", Hosts: []string{"mirror.lab"},
		Upstream: []string{"https://one.example/pub/", "http://two.example:8080"}, Module: "legacy", Rollout: "legacy-only", TTL: "1m30s",
		NegativeTTL: "1m0s", HeuristicMax: "168h0m0s", ListingTTL: "1m0s", Immutable: []string{"*.tar.xz", "a,b"}, Index: []string{"*/"},
		Bypass: []string{"/live/*"}, Stale: "always", Redirects: "pass", OnMiss: "wait", Active: true, Verify: "before", Retries: 3,
		Credentials: "bearer", Proxy: "socks5://me:xxxxx@gate.example:1080", Identity: "own",
	}}
	if diff := cmp.Diff(want, []Policy{c.Hubs[0].Policy(), c.Hubs[1].Policy()}); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	if h := &c.Hubs[0]; h.Username != "u" || string(h.Password) != "p:@w" {
		t.Errorf("credentials not read")
	}
	write(t, "kernel.token", "tok-2")
	if token, err := c.Hubs[1].Token(); err != nil || token != "tok-2" {
		t.Errorf("Token after rotation = %q, %v, want tok-2", token, err)
	}
}

func TestNamesInTheFileAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(t.TempDir())
	write(t, filepath.Join(dir, "up.basic"), "user:pass\n")
	path := filepath.Join(dir, "z.toml")
	write(t, path, "root = \"data\"\n[[hub]]\nname = \"a\"\nupstream = \"http://a.example\"\nbasic-file = \"up.basic\"\n")
	c, err := flagsOf(t, "--config", path).Load()
	if err != nil {
		t.Fatal(err)
	}
	if c.Root != filepath.Join(dir, "data") || c.Hubs[0].Username != "user" || string(c.Hubs[0].Password) != "pass" {
		t.Errorf("root %q, user %q", c.Root, c.Hubs[0].Username)
	}
	if diff := cmp.Diff([]string{path, filepath.Join(dir, "up.basic")}, c.Files()); diff != "" {
		t.Errorf("Files (-want +got):\n%s", diff)
	}
}

func TestUpstreamFlagNamesItsHub(t *testing.T) {
	for _, row := range []struct{ claim, text, want string }{
		{"without a name it is the root hub of its host", "https://Deb.Example:8080/debian", "deb.example / https://deb.example:8080/debian"},
		{"with a name it is mounted under it", "k=https://a.example/pub", "k /k https://a.example/pub"},
		{"an equals sign in the URL is the URL's", "https://a.example/x=y", "a.example / https://a.example/x=y"},
		{"an address makes a name too", "http://[::1]:80/", "1 / http://[::1]:80/"},
		{"a host named files does not shadow ours", "http://files/", "hub-files / http://files/"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			c := mustLoad(t, "", "--upstream", row.text)
			h := c.Hubs[0]
			if got := fmt.Sprint(h.Name, " ", h.Mount, " ", h.Upstreams[0]); got != row.want || len(c.Hubs) != 1 {
				t.Errorf("--upstream %s = %s, want %s", row.text, got, row.want)
			}
		})
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	text := "[[hub]]\nname = \"a\"\nupstream = \"http://a.example\"\n"
	c := mustLoad(t, text+"basic = \"me:hunter2\"\n[[hub]]\nname = \"b\"\nupstream = \"http://b.example\"\nbearer = \"hunter2\"\n")
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "hub", c.Hubs[0], "secret", c.Hubs[0].Password)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "hub", c.Hubs[1], "secret", c.Hubs[1].Bearer)
	asJSON, err := json.Marshal(c.Hubs)
	if err != nil {
		t.Fatal(err)
	}
	bearer := c.Hubs[1].Bearer
	for _, got := range []string{
		log.String(), string(asJSON), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%s %q %x %d", bearer, bearer, bearer, bearer),
	} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") {
			t.Errorf("a secret is shown: %s", got)
		}
	}
	for _, bad := range []string{
		text + "password = hunter2\n",
		text + "basic = \"hunter2\"\n",
		text + "password = \"hunter2\"\n",
		text + "bearer = \"hunter2\n",
		text + "user = \"me\"\npassword = \"hunter2\"\nbearer = \"hunter2\"\n",
		text + "proxy = \"http://me:hunter2@\"\n",
		text + "proxy = \"me:hunter2@gate.example\"\n",
		"[[hub]]\nname = \"a\"\nupstream = \"http://me:hunter2@a.example\"\n",
		"[[hub]]\nname = \"a\"\nupstream = \"http://me:hunter2@a.example:port\"\n",
		"upstream = \"me:hunter2@a.example\"\n",
	} {
		if _, err := load(t, bad); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Load of\n%sgives %v, want an error without the secret", bad, err)
		}
	}
}
