package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"zcache/internal/fill"
)

// forwarding is a rig that is a forward proxy and ends TLS.
func forwarding(changes ...changing) changing {
	return func(c *Config, f *fill.Config) {
		c.Forwarding = func() Forwarding {
			return Forwarding{Proxy: true, CA: []byte("-----BEGIN CERTIFICATE-----\n"), Hosts: []string{"git.example", ".cdn.example", "10.0.0.0/8", "fd00::1"}, Fingerprint: "AB:CD"}
		}
		for _, change := range changes {
			change(c, f)
		}
	}
}

func (g *rig) usage(t *testing.T, changes ...change) usage {
	t.Helper()
	w := g.do("GET", "/-/clients", "", append(changes, remote)...)
	var u usage
	if err := json.Unmarshal(w.Body.Bytes(), &u); err != nil || w.Code != http.StatusOK {
		t.Fatalf("GET /-/clients = %d, %v\n%s", w.Code, err, w.Body)
	}
	return u
}

// text is all that is said of a client.
func (u *usage) text(client string) string {
	var b strings.Builder
	for _, c := range u.Clients {
		for _, l := range c.Lines {
			if c.Name == client {
				b.WriteString(l.File + "\n" + l.Text + "\n")
			}
		}
	}
	return b.String()
}

func TestClientsAreToldOfThisInstance(t *testing.T) {
	g := newRig(t, forwarding(func(c *Config, _ *fill.Config) {
		c.Hubs = func() []HubInfo {
			return []HubInfo{
				{Name: "kernel", Path: "/kernel/"}, {Name: "debian", Path: "/debian/"}, {Name: "epel-9", Path: "/epel/"}, {Name: "index", Path: "/i/", Module: "pypi"},
				{Name: "npm", Path: "/npm/"}, {Name: "go", Path: "/go/"}, {Name: "docker", Path: "/docker/"}, {Name: "ghcr", Hosts: []string{"ghcr.lab"}}, {Name: "github", Path: "/github/"},
			}
		}
	}))
	u := g.usage(t, host("cache.lab:3142"))
	if u.URL != "http://cache.lab:3142" || u.Proxy == nil || u.Proxy.URL != u.URL || u.Proxy.PAC != u.URL+"/-/proxy.pac" || u.CA == nil || u.CA.URL != u.URL+"/-/ca.pem" {
		t.Errorf("usage = %+v, want all of it under the host that was asked", u)
	}
	for client, lines := range map[string][]string{
		"shell":  {"export http_proxy=http://cache.lab:3142 https_proxy=http://cache.lab:3142 ftp_proxy=http://cache.lab:3142", "update-ca-certificates"},
		"wget":   {`http_proxy=http://cache.lab:3142`, "wget -qO- http://cache.lab:3142/kernel/", "--ca-certificate=zcache-ca.pem"},
		"curl":   {`curl --proxy http://cache.lab:3142 -fLO "$URL"`, "curl -fL http://ghcr.lab:3142/", "--cacert zcache-ca.pem"},
		"apt":    {`Acquire::http::Proxy "http://cache.lab:3142";`, "deb http://cache.lab:3142/debian SUITE main"},
		"dnf":    {"proxy=http://cache.lab:3142", "baseurl=http://cache.lab:3142/epel/PATH"},
		"pip":    {"pip config set global.proxy http://cache.lab:3142", "global.index-url http://cache.lab:3142/i/simple/", "global.trusted-host cache.lab"},
		"npm":    {"npm config set proxy http://cache.lab:3142", "npm config set registry http://cache.lab:3142/npm/"},
		"go":     {"HTTPS_PROXY=http://cache.lab:3142", "go env -w GOPROXY=http://cache.lab:3142/go,direct"},
		"docker": {`"https-proxy": "http://cache.lab:3142"`, `"registry-mirrors": ["http://ghcr.lab:3142"]`},
		"git": {"git config --global http.proxy http://cache.lab:3142", "http://cache.lab:3142/github/$REPOSITORY",
			`http."https://git.example/".sslCAInfo`, `http."https://*.cdn.example/".sslCAInfo`, `http."https://[fd00::1]/".sslCAInfo`},
	} {
		for _, line := range lines {
			if !strings.Contains(u.text(client), line) {
				t.Errorf("%s is not told %q:\n%s", client, line, u.text(client))
			}
		}
	}
	for client, line := range map[string]string{"apt": "/kernel", "pip": "/debian", "docker": "3142/docker", "git": "10.0.0.0"} {
		if strings.Contains(u.text(client), line) {
			t.Errorf("%s is told of what is not for it, %q:\n%s", client, line, u.text(client))
		}
	}
	page := g.do("GET", "/-/clients", "", remote, host("cache.lab:3142"), field("Accept", "text/html")).Body.String()
	for _, want := range []string{"curl --proxy http://cache.lab:3142", "<h2>git</h2>", `href="/-/ca.pem"`, "AB:CD", "data-copy"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
}

func TestClientsAreToldNothingThatIsNotSo(t *testing.T) {
	g := newRig(t)
	u := g.usage(t)
	if u.Proxy != nil || u.CA != nil || strings.Contains(u.text("curl"), "--proxy") || u.text("git") != "" {
		t.Errorf("usage without a forward proxy = %+v, want nothing of one", u)
	}
	if !strings.Contains(u.text("curl"), "http://localhost:3142/up/") || !strings.Contains(u.text("wget"), "http://deb.lab:3142/") {
		t.Errorf("usage without a forward proxy leaves out the hubs: %+v", u)
	}
	isProblem(t, "no certificate", g.do("GET", "/-/ca.pem", "", remote), http.StatusNotFound, "no_ca")
	g = newRig(t, forwarding())
	w := g.do("GET", "/-/ca.pem", "", remote)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-pem-file" || !strings.HasPrefix(w.Body.String(), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("GET /-/ca.pem = %d %s, want the certificate", w.Code, w.Header().Get("Content-Type"))
	}
}

func TestBaseIsThePublicURLOrAHostThatIsPlain(t *testing.T) {
	for _, row := range []struct {
		claim, public, host, want string
	}{
		{"as asked", "", "cache.lab:3142", "http://cache.lab:3142"},
		{"an IPv6 address", "", "[::1]:3142", "http://[::1]:3142"},
		{"as configured", "https://cache.example", "cache.lab:3142", "https://cache.example"},
		{"a host that a shell would act on", "", "$(id).lab", "http://localhost"},
		{"a host that ends a string", "", `a";alert(1);"`, "http://localhost"},
		{"a host that is an option", "", "-x.lab", "http://localhost"},
		{"a host that is none", "", ":::", "http://localhost"},
		{"no host", "", "", "http://localhost"},
	} {
		g := newRig(t, forwarding(func(c *Config, _ *fill.Config) {
			if row.public != "" {
				c.Public, _ = url.Parse(row.public)
			}
		}))
		if got := g.usage(t, host(row.host)).URL; got != row.want {
			t.Errorf("%s: url = %q, want %q", row.claim, got, row.want)
		}
	}
}

// evaluate runs a script as a browser would and asks it about URLs.
func evaluate(t *testing.T, script string, urls []string) []string {
	t.Helper()
	asked, _ := json.Marshal(urls)
	program := `"use strict"; const vm = require("vm"); const c = vm.createContext({}); vm.runInContext(` + quoteJSON(t, script) + `, c);
console.log(JSON.stringify(` + string(asked) + `.map(u => { const h = new URL(u.replace(/^ftp:/, "http:").replace(/^wss?:/, "http:")).hostname; return c.FindProxyForURL(u, h); })));`
	out, err := exec.Command("node", "-e", program).CombinedOutput()
	if err != nil {
		t.Fatalf("node (is it installed?): %v\n%s", err, out)
	}
	var answers []string
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(urls) {
		t.Fatalf("node said %q, %v", out, err)
	}
	return answers
}

func quoteJSON(t *testing.T, s string) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPACSendsHereWhatIsHandledHere(t *testing.T) {
	const here, direct = "PROXY cache.lab:3142", "DIRECT"
	rows := []struct{ url, want string }{
		{"http://mirror.example/a", here}, {"http://mirror.example:8080/a", here}, {"https://mirror.example/", here}, {"https://mirror.example:443/", here},
		{"ftp://mirror.example/a", here}, {"http://198.51.100.1/", here}, {"http://172.32.0.1/", here}, {"http://[2001:db8::1]/", here}, {"http://11.0.0.1/", here},
		{"http://mirror.example/a:8443", here}, {"https://mirror.example/?x=http://a:1", here}, {"https://[2001:db8::1]/", here},
		{"https://mirror.example:8443/", direct}, {"https://[2001:db8::1]:8443/", direct}, {"wss://mirror.example/", direct}, {"ws://mirror.example/", direct},
		{"http://printer/", direct}, {"http://localhost:3000/", direct}, {"http://a.localhost/", direct}, {"http://nas.local/", direct}, {"http://x.internal/", direct}, {"http://x.home.arpa/", direct},
		{"http://127.0.0.1/", direct}, {"http://10.1.2.3/", direct}, {"http://192.168.1.1/", direct}, {"http://172.16.0.1/", direct}, {"http://172.31.255.1/", direct},
		{"http://169.254.169.254/", direct}, {"http://100.64.0.1/", direct}, {"http://0.0.0.0/", direct},
		{"http://[::1]/", direct}, {"http://[fd00::1]/", direct}, {"http://[fe80::1]/", direct}, {"http://cache.lab:3142/-/clients", direct}, {"http://10.example.com/", here},
	}
	g := newRig(t, forwarding())
	w := g.do("GET", "/-/proxy.pac", "", remote, host("cache.lab:3142"))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/x-ns-proxy-autoconfig" {
		t.Errorf("GET /-/proxy.pac = %d %s", w.Code, w.Header().Get("Content-Type"))
	}
	var urls []string
	for _, row := range rows {
		urls = append(urls, row.url)
	}
	for i, got := range evaluate(t, w.Body.String(), urls) {
		if got != rows[i].want {
			t.Errorf("FindProxyForURL(%s) = %q, want %q", urls[i], got, rows[i].want)
		}
	}
	for public, want := range map[string]string{"http://c.example": "PROXY c.example:80", "https://c.example": "HTTPS c.example:443", "http://[2001:db8::2]:1": "PROXY [2001:db8::2]:1"} {
		g := newRig(t, forwarding(func(c *Config, _ *fill.Config) { c.Public, _ = url.Parse(public) }))
		if got := evaluate(t, g.do("GET", "/-/proxy.pac", "").Body.String(), []string{"http://mirror.example/"})[0]; got != want {
			t.Errorf("with --public-url %s: FindProxyForURL = %q, want %q", public, got, want)
		}
	}
	off := newRig(t).do("GET", "/-/proxy.pac", "").Body.String()
	if got := evaluate(t, off, []string{"http://mirror.example/"})[0]; got != direct {
		t.Errorf("without a forward proxy: FindProxyForURL = %q, want %q", got, direct)
	}
}
