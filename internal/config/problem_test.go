package config

import (
	"flag"
	"io"
	"strings"
	"testing"
)

func flagsOf(t *testing.T, args ...string) *Flags {
	t.Helper()
	fs := flag.NewFlagSet("zcache", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	f := Register(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFlagProblemsNameTheSettingAndTheFix(t *testing.T) {
	for _, row := range []struct{ arg, want string }{
		{"--listen=nowhere", `listen: "nowhere" is no address; write one such as :3142, 127.0.0.1:3142 or [::1]:3142`},
		{"--listen=:70000", `listen: ":70000" has no port from 0 to 65535`},
		{"--listen=:1,:1", `listen: :1 is given twice; remove one`},
		{"--admin-listen=:3142", `admin-listen: :3142 is a listen address too; choose another port`},
		{"--mode=fast", `mode: "fast" is not known; write proxy, cache or mirror`},
		{"--offline=maybe", `offline: "maybe" is neither true nor false`},
		{"--cache-max-size=big", `cache-max-size: "big" is no size; write one such as 500MB, 10GiB or 0 for no limit`},
		{"--disk-high=180%", `disk-high: "180%" is no percentage from 1% to 100%`},
		{"--disk-high=NaN", `disk-high: "NaN" is no percentage from 1% to 100%`},
		{"--disk-low=85", `disk-low: 85% is not below disk-high 80%; set both`},
		{"--heuristic-max=1y", `heuristic-max: "1y" is no duration; write one such as 30s, 10m, 24h, 7d or seconds`},
		{"--heuristic-max=-1s", `heuristic-max: "-1s" is negative; write 0 or more`},
		{"--heuristic-max=0xffffffffffffffff", `heuristic-max: "0xffffffffffffffff" is no duration; write one such as 30s, 10m, 24h, 7d or seconds`},
		{"--heuristic-max=9999999999999", `heuristic-max: "9999999999999" is no duration; write one such as 30s, 10m, 24h, 7d or seconds`},
		{"--trusted-proxy=10.0.0.1/8", `trusted-proxy: "10.0.0.1/8" has bits beyond its mask; write 10.0.0.0/8`},
		{"--trusted-proxy=lab", `trusted-proxy: "lab" is no CIDR; write one such as 10.0.0.0/8 or one address`},
		{"--proxy-allow-host=http://a/", `proxy-allow-host: "http://a/" is no host, glob or CIDR; write one such as mirror.example, *.example or 10.1.0.0/16`},
		{"--public-url=cache.example", `public-url: "cache.example" has no scheme and host; write it whole, such as https://host.example/path`},
		{"--public-url=https://a.example/x", `public-url: it is more than scheme, host and port; write one such as https://cache.example`},
		{"--log-format=combined", `log-format: combined comes with a later version; write json or text`},
		{"--log-level=loud", `log-level: "loud" is not known; write debug, info, warn or error`},
		{"--durability=some", `durability: "some" is not known; write default or full`},
		{"--on-miss=drop", `on-miss: "drop" is not known; write stream, redirect or wait`},
		{"--upstream=gopher://a.example/", `upstream: scheme "gopher" is not spoken here; write a URL of file, ftp, ftps, http or https`},
		{"--upstream=http://a.example/?x", `upstream: http://a.example/?x has a query or fragment; name a directory, which ends at its path`},
		{"--upstream=http://a.example/b/../c", `upstream: http://a.example/b/../c has ".." in its path; write the path plainly`},
		{"--upstream=Kernel=http://a.example/", `upstream: "Kernel" is no hub name; write lower-case letters, digits, '.', '_' and '-', a letter or digit first`},
		{"--upstream=files=http://a.example/", `upstream: "files" belongs to zcache itself; choose another name`},
		{"--upstream=k=", `upstream: k= has no URL; write k=https://host.example/path`},
		{"--upstream=http:///pub", `upstream: "http:///pub" has no scheme and host; write it whole, such as https://host.example/path`},
		{"--upstream=http://a.example:0/", `upstream: "0" is no port from 1 to 65535`},
		{"--upstream=http://a.example/,http://b.example/", `hub[b.example].path: / is where hub a.example is mounted; choose another path, or name it NAME=URL`},
		{"--upstream=k=http://a.example/,k=http://b.example/", `hub[k].name: another hub has this name; choose another (several upstreams of one hub are a list in [[hub]])`},
	} {
		_, err := load(t, "", row.arg)
		if err == nil || err.Error() != row.want {
			t.Errorf("%s\n got %v\nwant %s", row.arg, err, row.want)
		}
	}
}

func TestFileProblemsNameTheLine(t *testing.T) {
	hub := "[[hub]]\nname = \"k\"\nupstream = \"http://a.example\"\n"
	for _, row := range []struct{ claim, text, want string }{
		{"unknown key", "rooot = \"x\"\n", `rooot: unknown key; did you mean root? (zcache.toml:1)`},
		{"unknown key of a hub", hub + "uptsream = \"x\"\n", `hub[k].uptsream: unknown key; did you mean upstream? (zcache.toml:4)`},
		{"nothing near", hub + "colour = \"x\"\n", `hub[k].colour: unknown key; remove it (zcache help lists the settings) (zcache.toml:4)`},
		{"key of a later version", "s3-bucket = \"x\"\n", `s3-bucket: it comes with a later version; remove it (zcache.toml:1)`},
		{"hub key at the top", "immutable = [\"*\"]\n", `immutable: unknown key at the top level; write it below a [[hub]] (zcache.toml:1)`},
		{"same key twice in two spellings", hub + "ttl = 1\nCacheTTL = 2\n", `hub[k].ttl: it is set twice; the other is at line 4 (zcache.toml:5)`},
		{"one value wanted", "root = [\"a\", \"b\"]\n", `root: it takes one value; remove the brackets (zcache.toml:1)`},
		{"table for a value", "[root]\na = 1\n", `root: a table stands where a value is expected; write key = value (zcache.toml)`},
		{"single brackets", "[hub]\nname = \"k\"\n", `hub: it is not a list of tables; write [[hub]] with two brackets (zcache.toml:1)`},
		{"broken TOML", "root = \"a\"\nlisten = :1\n", `config: expected value but found ':' instead (zcache.toml:2)`},
		{"bad value", "\ndisk-high = 0\n", `disk-high: "0" is no percentage from 1% to 100% (zcache.toml:2)`},
		{"unknown module", hub + "module = \"nmp\"\n", `hub[k].module: unknown module "nmp"; this version knows legacy (alias generic) (zcache.toml:4)`},
		{"no name", "[[hub]]\nupstream = \"http://a.example\"\n", `hub[#1].name: it is missing; give the hub a name (zcache.toml:1)`},
		{"no upstream", "[[hub]]\nname = \"k\"\n", `hub[k].upstream: it is missing; name the tree's URL (zcache.toml:1)`},
		{"bad name", "[[hub]]\nname = \"download\"\nupstream = \"http://a.example\"\n", `hub[download].name: "download" belongs to zcache itself; choose another name (zcache.toml:2)`},
		{"reserved path", hub + "path = \"/-/x\"\n", `hub[k].path: /- belongs to zcache itself; choose another path (zcache.toml:4)`},
		{"time path", hub + "path = \"/@now\"\n", `hub[k].path: /@now belongs to zcache itself; choose another path (zcache.toml:4)`},
		{"climbing path", hub + "path = \"/a/../b\"\n", `hub[k].path: "/a/../b" is no plain path; write one such as /kernel (zcache.toml:4)`},
		{"host with a port", hub + "hosts = \"a:80\"\n", `hub[k].hosts: "a:80" is no host name; write it without scheme, port and path (zcache.toml:4)`},
		{"same host twice", hub + "hosts = \"a\"\n[[hub]]\nname = \"l\"\nhosts = \"A.\"\nupstream = \"http://b.example\"\n",
			`hub[l].hosts: a leads to hub k already; name it once (zcache.toml:5)`},
		{"same name twice", hub + hub, `hub[k].name: another hub has this name; choose another (several upstreams of one hub are a list in [[hub]]) (zcache.toml:4)`},
		{"same path twice", hub + "[[hub]]\nname = \"l\"\npath = \"/k/\"\nupstream = \"http://b.example\"\n",
			`hub[l].path: /k is where hub k is mounted; choose another path, or name it NAME=URL (zcache.toml:4)`},
		{"user alone", hub + "user = \"u\"\n", `hub[k].user: user and password belong together; write both or neither (zcache.toml:1)`},
		{"two kinds of credentials", hub + "bearer = \"t\"\nbasic = \"u:p\"\n", `hub[k].bearer: basic is given too; keep one kind of credentials (zcache.toml:1)`},
		{"missing token file", hub + "bearer-file = \"none\"\n", `hub[k].bearer-file: none cannot be read: no such file or directory (zcache.toml:4)`},
		{"cert without key", hub + "cert = \"x\"\n", `hub[k].cert: cert and key belong together; write both or neither (zcache.toml:1)`},
		{"ca that is none", hub + "ca = \"zcache.toml\"\n", `hub[k].ca: zcache.toml holds no certificate in PEM form (zcache.toml:4)`},
		{"line break in a token", hub + "bearer = \"a\\nX: y\"\n", `hub[k].bearer: it is empty or holds control characters; write the plain text (zcache.toml:4)`},
		{"a realm for no credentials", hub + "realm = \"auth.example\"\n", `hub[k].realm: it names who may have the user and password, and there are none; write them too (zcache.toml:4)`},
		{"bad pattern", hub + "index = [\"[a\"]\n", `hub[k].index: "[a" is no path pattern; write one such as *.tar.xz or /pool/** (zcache.toml:4)`},
		{"ftp through SOCKS", "[[hub]]\nname = \"k\"\nupstream = \"ftp://a.example/\"\nproxy = \"socks5://p.example\"\n",
			`hub[k].proxy: only http and https proxies take ftp:// URLs, and none takes ftps://; remove it (zcache.toml:4)`},
		{"ftps through a proxy", "[[hub]]\nname = \"k\"\nupstream = [\"ftp://a.example/\", \"ftps://b.example/\"]\nproxy = \"http://p.example\"\n",
			`hub[k].proxy: only http and https proxies take ftp:// URLs, and none takes ftps://; remove it (zcache.toml:4)`},
		{"bearer token for ftps", "[[hub]]\nname = \"k\"\nupstream = \"ftps://a.example/\"\nbearer = \"t\"\n",
			`hub[k].upstream: ftps upstreams take no bearer token; write user and password (zcache.toml:3)`},
		{"stale with another word", hub + "stale = \"never\"\n", `hub[k].stale: "never" is not known; write always (zcache.toml:4)`},
	} {
		t.Run(row.claim, func(t *testing.T) {
			_, err := load(t, row.text)
			if err == nil || err.Error() != row.want {
				t.Errorf("Load of\n%s got %v\nwant %s", row.text, err, row.want)
			}
		})
	}
}

func TestAllProblemsAreListedOneALine(t *testing.T) {
	t.Setenv("ZCACHE_MODE", "copy")
	_, err := load(t, "root = \"x\"\ndisk-low = \"no\"\n[[hub]]\nname = \"A\"\n", "--log-level=x")
	want := strings.Join([]string{
		`mode: "copy" is not known; write proxy, cache or mirror (ZCACHE_MODE)`,
		`disk-low: "no" is no percentage from 1% to 100% (zcache.toml:2)`,
		`log-level: "x" is not known; write debug, info, warn or error`,
		`hub[A].name: "A" is no hub name; write lower-case letters, digits, '.', '_' and '-', a letter or digit first (zcache.toml:4)`,
		`hub[A].upstream: it is missing; name the tree's URL (zcache.toml:3)`,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestNearestFindsSlipsOnly(t *testing.T) {
	known := []string{"serve", "purge", "warm", "check-config"}
	for word, want := range map[string]string{"sevre": "serve", "Purge": "purge", "chekconfig": "check-config", "frobnicate": "", "x": ""} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
