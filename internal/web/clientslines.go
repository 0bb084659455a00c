package web

import (
	"net/url"
	"slices"
	"strings"
)

// caFile is what the certificate is called in the snippets.
const caFile = "zcache-ca.pem"

// views are the snippets by client, in the order in which the page has them. A client that nothing can be said to is left out.
func (u *usage) views() []clientView {
	all := []clientView{
		{"shell", u.shell()}, {"wget", u.wget()}, {"curl", u.curl()}, {"apt", u.apt()}, {"dnf", u.dnf()}, {"pip", u.pip()}, {"npm", u.npm()},
		{"go", u.goCommand()}, {"docker", u.docker()}, {"git", u.git()},
	}
	return slices.DeleteFunc(all, func(c clientView) bool { return len(c.Lines) == 0 })
}

// proxied is a snippet that holds where there is a forward proxy; P in it stands for that.
func (u *usage) proxied(about, file, text string) []snippet {
	if u.Proxy == nil {
		return nil
	}
	return []snippet{{For: "proxy", About: about, File: file, Text: strings.ReplaceAll(text, "{P}", u.Proxy.URL)}}
}

// trusting is a snippet that holds where TLS is ended here.
func (u *usage) trusting(about, text string) []snippet {
	if u.CA == nil {
		return nil
	}
	return []snippet{{For: "ca", About: about, Text: strings.NewReplacer("{P}", u.Proxy.URL, "{CA}", u.CA.URL, "{F}", caFile).Replace(text)}}
}

// hubs are a snippet for each hub that carries the kind of tree, "" being any; H in it stands for the hub's URL without its slash.
func (u *usage) hubs(kind, about, file, text string) (out []snippet) {
	for i, h := range u.Hubs {
		if kind != "" && !carries(u.infos[i], kind) {
			continue
		}
		at := strings.TrimSuffix(h.URL, "/")
		host := ""
		if parsed, err := url.Parse(at); err == nil {
			host = parsed.Hostname()
		}
		replace := strings.NewReplacer("{H}", at, "{HOST}", host, "{N}", h.Name)
		out = append(out, snippet{For: "hub", Hub: h.Name, About: about, File: replace.Replace(file), Text: replace.Replace(text)})
	}
	return out
}

// kinds are the words in a hub's name that tell what its tree is for, where its module does not.
var kinds = map[string][]string{
	"apt":  {"debian", "ubuntu", "deb", "apt", "raspbian", "devuan", "mint", "kali"},
	"rpm":  {"fedora", "centos", "rocky", "alma", "almalinux", "epel", "rhel", "opensuse", "rpm", "dnf", "yum"},
	"pypi": {"pypi", "pip", "python"},
	"npm":  {"npm", "npmjs", "node"},
	"go":   {"go", "golang", "goproxy"},
	"oci":  {"docker", "oci", "registry", "ghcr", "quay", "dockerhub"},
	"git":  {"git", "github", "gitlab", "codeberg", "gitea"},
}

// carries says that a hub is, by its module or else its name, for a client of some kind.
func carries(h HubInfo, kind string) bool {
	if h.Module == kind {
		return true
	}
	words := strings.FieldsFunc(strings.ToLower(h.Name), func(r rune) bool { return strings.ContainsRune("._-0123456789", r) })
	return slices.ContainsFunc(words, func(w string) bool { return slices.Contains(kinds[kind], w) })
}

func (u *usage) shell() []snippet {
	return slices.Concat(
		u.proxied("most programs take their proxy from here", "", "export http_proxy={P} https_proxy={P} ftp_proxy={P} no_proxy=localhost,127.0.0.1,::1"),
		u.trusting("the certificate, into this directory", "curl -fsSo {F} {CA}"),
		u.trusting("trust it, on Debian and its kin", "sudo curl -fsSo /usr/local/share/ca-certificates/zcache.crt {CA} && sudo update-ca-certificates"),
		u.trusting("trust it, on Fedora and its kin", "sudo curl -fsSo /etc/pki/ca-trust/source/anchors/zcache.pem {CA} && sudo update-ca-trust"))
}

func (u *usage) wget() []snippet {
	return slices.Concat(
		u.proxied("for one download", "", `http_proxy={P} https_proxy={P} ftp_proxy={P} wget "$URL"`),
		u.proxied("for all", "~/.wgetrc", "use_proxy = on\nhttp_proxy = {P}\nhttps_proxy = {P}\nftp_proxy = {P}"),
		u.trusting("a download by https that is kept here", `https_proxy={P} wget --ca-certificate={F} "$URL"`),
		u.hubs("", "what there is", "", "wget -qO- {H}/"))
}

func (u *usage) curl() []snippet {
	return slices.Concat(
		u.proxied("for one download", "", `curl --proxy {P} -fLO "$URL"`),
		u.proxied("for all", "~/.curlrc", `proxy = "{P}"`),
		u.trusting("a download by https that is kept here", `curl --proxy {P} --cacert {F} -fLO "$URL"`),
		u.hubs("", "what there is", "", "curl -fL {H}/"))
}

func (u *usage) apt() []snippet {
	return slices.Concat(
		u.proxied("for all sources", "/etc/apt/apt.conf.d/01zcache", "Acquire::http::Proxy \"{P}\";\nAcquire::https::Proxy \"{P}\";\nAcquire::ftp::Proxy \"{P}\";"),
		u.hubs("apt", "the hub as a source; SUITE is the release's name", "/etc/apt/sources.list.d/{N}.list", "deb {H} SUITE main"))
}

func (u *usage) dnf() []snippet {
	return slices.Concat(
		u.proxied("for all repositories", "/etc/dnf/dnf.conf", "[main]\nproxy={P}"),
		u.hubs("rpm", "the hub as a repository; PATH leads to the directory with repodata", "/etc/yum.repos.d/{N}.repo",
			"[{N}]\nname={N}\nbaseurl={H}/PATH\nenabled=1\ngpgcheck=1"))
}

func (u *usage) pip() []snippet {
	return slices.Concat(
		u.proxied("for all indexes", "", "pip config set global.proxy {P}"),
		u.trusting("once the system trusts the certificate, on Debian and its kin", "pip config set global.cert /etc/ssl/certs/ca-certificates.crt"),
		u.hubs("pypi", "the hub as the index", "", "pip config set global.index-url {H}/simple/ && pip config set global.trusted-host {HOST}"))
}

func (u *usage) npm() []snippet {
	return slices.Concat(
		u.proxied("for all registries", "", "npm config set proxy {P} && npm config set https-proxy {P}"),
		u.trusting("trust the certificate", `export NODE_EXTRA_CA_CERTS="$PWD/{F}"`),
		u.hubs("npm", "the hub as the registry", "", "npm config set registry {H}/"))
}

func (u *usage) goCommand() []snippet {
	return slices.Concat(
		u.proxied("for all module proxies", "", "export HTTP_PROXY={P} HTTPS_PROXY={P}"),
		u.hubs("go", "the hub as the module proxy", "", "go env -w GOPROXY={H},direct"))
}

// docker takes no path in the URL of a mirror, so a hub serves as one only at the root of a host.
func (u *usage) docker() []snippet {
	mirrors := u.hubs("oci", "the hub as a mirror", "/etc/docker/daemon.json", "{\n  \"registry-mirrors\": [\"{H}\"]\n}")
	mirrors = slices.DeleteFunc(mirrors, func(s snippet) bool {
		i := slices.IndexFunc(u.Hubs, func(h hubPlace) bool { return h.Name == s.Hub })
		parsed, err := url.Parse(u.Hubs[i].URL)
		return err != nil || parsed.Path != "/"
	})
	return slices.Concat(
		u.proxied("for the daemon", "/etc/docker/daemon.json",
			"{\n  \"proxies\": {\n    \"http-proxy\": \"{P}\",\n    \"https-proxy\": \"{P}\",\n    \"no-proxy\": \"localhost,127.0.0.0/8\"\n  }\n}"),
		mirrors)
}

func (u *usage) git() []snippet {
	out := u.proxied("for all repositories by http and https", "", "git config --global http.proxy {P}")
	if u.CA != nil {
		for _, host := range u.CA.Hosts {
			if strings.Contains(host, "/") {
				continue // git has no word for a range
			}
			if strings.HasPrefix(host, ".") {
				host = "*" + host
			}
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			out = append(out, u.trusting("trust the certificate for "+host, `git config --global http."https://`+host+`/".sslCAInfo "$PWD/{F}"`)...)
		}
	}
	return append(out, u.hubs("git", "a repository by way of the hub", "", `git clone "{H}/$REPOSITORY"`)...)
}
