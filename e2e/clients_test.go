package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// told is what /-/clients says.
type told struct {
	URL   string `json:"url"`
	Proxy *struct {
		URL, PAC string
	} `json:"proxy"`
	Clients []struct {
		Name  string
		Lines []struct{ For, Hub, File, Text string }
	}
}

func clientsOf(t *testing.T, z *zcache) told {
	t.Helper()
	var v told
	a := get(t, z.url+"/-/clients", "Accept: application/json").is(t, "clients", 200, "")
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("clients: %v\n%s", err, a.Body)
	}
	return v
}

// line is what a client's users are told for a purpose: proxy, ca, or a hub by name. File says whether it belongs in a file.
func (v *told) line(t *testing.T, client, purpose string, file bool) (text, name string) {
	t.Helper()
	for _, c := range v.Clients {
		for _, l := range c.Lines {
			if c.Name == client && (l.For == purpose || l.Hub == purpose) && (l.File != "") == file {
				return l.Text, l.File
			}
		}
	}
	t.Fatalf("/-/clients tells %s nothing for %s (file: %v): %+v", client, purpose, file, v)
	return "", ""
}

// A user runs lines in a home and a directory of his own.
type user struct {
	t    *testing.T
	home string
}

func newUser(t *testing.T) *user { return &user{t, t.TempDir()} }

// run has a shell run a line as it stands, with $URL set.
func (u *user) run(line, url string) string {
	u.t.Helper()
	cmd := exec.Command("sh", "-ec", line)
	cmd.Dir = u.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.home, "URL=" + url, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1"}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := spawn(cmd); err != nil {
		u.t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer hung.Stop()
	if err := cmd.Wait(); err != nil {
		u.t.Errorf("%s: %v\n%s", line, err, out.String())
	}
	return out.String()
}

// keep writes text to a file that is named as for a shell.
func (u *user) keep(text, name string) {
	u.t.Helper()
	if err := os.WriteFile(strings.Replace(name, "~", u.home, 1), []byte(text+"\n"), 0o600); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) has(name string, want []byte) {
	u.t.Helper()
	got, err := os.ReadFile(filepath.Join(u.home, name))
	if err != nil || !bytes.Equal(got, want) {
		u.t.Errorf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(want))
	}
}

func TestLinesForCurlAndWgetWorkAsTheyStand(t *testing.T) {
	want := bytesOf("lines", 50_000)
	o := startSecure(t, map[string][]byte{"a.bin": want})
	plainOrigin := startOrigin(t, func(w *wire, r *request) { w.file(r, want, modified, "Cache-Control: max-age=600") })
	ca := createCA(t, "localhost")
	z := start(t, append(o.opened(), "--proxy-allow-host", plainOrigin.addr, "--upstream", "up="+plainOrigin.url+"/tree", "--intercept-ca", ca)...)
	v := clientsOf(t, z)
	if v.URL != z.url || v.Proxy == nil || v.Proxy.URL != z.url {
		t.Errorf("/-/clients names %q, want %q", v.URL, z.url)
	}
	secure := "https://" + o.name + "/pub/a.bin"
	for _, client := range []string{"curl", "wget"} {
		t.Run(client, func(t *testing.T) {
			u := newUser(t)
			line, _ := v.line(t, client, "proxy", false)
			u.run(line, plainOrigin.url+"/"+client+".bin")
			u.has(client+".bin", want)
			line, _ = v.line(t, client, "up", false)
			u.run(line, "")

			line, _ = v.line(t, "shell", "ca", false)
			u.run(line, "") // fetches the certificate
			line, _ = v.line(t, client, "ca", false)
			u.run(line, secure)
			u.has("a.bin", want)

			u = newUser(t)
			text, file := v.line(t, client, "proxy", true)
			u.keep(text, file)
			u.run(map[string]string{"curl": `curl -fsSO "$URL"`, "wget": `wget -q "$URL"`}[client], plainOrigin.url+"/file-"+client+".bin")
			u.has("file-"+client+".bin", want)

			u = newUser(t)
			line, _ = v.line(t, "shell", "proxy", false)
			u.run(line+"; unset no_proxy; "+map[string]string{"curl": `curl -fsSO "$URL"`, "wget": `wget -q "$URL"`}[client], plainOrigin.url+"/env-"+client+".bin")
			u.has("env-"+client+".bin", want)
		})
	}
	if o.total() != 1 {
		t.Errorf("the https origin was asked %d times by two clients, want once", o.total())
	}
	for _, name := range []string{"curl.bin", "wget.bin", "file-curl.bin", "file-wget.bin", "env-curl.bin", "env-wget.bin"} {
		z.published("files", "/http/"+plainOrigin.addr+"/"+name, int64(len(want)))
	}
}

func TestLinesForGitWorkAsTheyStand(t *testing.T) {
	root := t.TempDir()
	work := filepath.Join(root, "work")
	setup := newUser(t)
	setup.run("git init -q -b main "+work+" && cd "+work+" && echo hello > README && git add README && git -c user.name=a -c user.email=a@b commit -qm one && git clone -q --bare . ../lab.git", "")
	backend := gitBackend(t)
	server := httptest.NewUnstartedServer(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, Logger: log.New(io.Discard, "", 0)})
	secure := startSecureHandler(t, server.Config)
	server.Start()
	t.Cleanup(server.Close)
	plainAddr := server.Listener.Addr().String()

	ca := createCA(t, "localhost")
	z := start(t, append(secure.opened(), "--proxy-allow-host", plainAddr, "--upstream", "git="+server.URL, "--intercept-ca", ca)...)
	v := clientsOf(t, z)
	clone := func(u *user, url, dir string) {
		t.Helper()
		u.run(`git clone -q "$URL" `+dir, url)
		u.has(dir+"/README", []byte("hello\n"))
	}
	u := newUser(t)
	line, _ := v.line(t, "git", "proxy", false)
	u.run(line, "")
	clone(u, server.URL+"/lab.git", "by-proxy")
	line, _ = v.line(t, "shell", "ca", false)
	u.run(line, "")
	line, _ = v.line(t, "git", "ca", false)
	u.run(strings.Replace(line, "https://localhost/", "https://"+secure.name+"/", 1), "") // it is for port 443, which a test cannot have
	clone(u, "https://"+secure.name+"/lab.git", "intercepted")
	if !strings.Contains(z.log(), `"path":"/lab.git/info/refs"`) {
		t.Error("no request of git's was seen inside a tunnel")
	}
	u = newUser(t)
	line, _ = v.line(t, "git", "git", false)
	u.run("REPOSITORY=lab.git; "+line, "")
	u.has("lab/README", []byte("hello\n"))
}

// gitBackend is git's own server for http.
func gitBackend(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git --exec-path (is git installed?): %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
}

// startSecureHandler is an https server for what plain serves, which zcache trusts.
func startSecureHandler(t *testing.T, plain *http.Server) *secureOrigin {
	t.Helper()
	o := startSecure(t, nil)
	o.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { plain.Handler.ServeHTTP(w, r) })
	return o
}

func TestProxyScriptAndCertificateForEverybody(t *testing.T) {
	ca := createCA(t, "localhost")
	z := start(t, "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca)
	pac := get(t, z.url+"/-/proxy.pac").is(t, "proxy.pac", 200, "")
	if ct := pac.Header.Get("Content-Type"); ct != "application/x-ns-proxy-autoconfig" || !strings.Contains(string(pac.Body), "PROXY "+z.addr) {
		t.Errorf("proxy.pac = %s\n%s\nwant a script that names %s", ct, pac.Body, z.addr)
	}
	want, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	get(t, z.url+"/-/ca.pem").whole(t, "ca.pem", want)
	off := start(t, "--upstream", "up=http://127.0.0.1:9", "--proxy", "off")
	if body := string(get(t, off.url+"/-/proxy.pac").is(t, "proxy.pac", 200, "").Body); strings.Contains(body, "PROXY") {
		t.Errorf("proxy.pac without a forward proxy:\n%s", body)
	}
	if v := clientsOf(t, off); v.Proxy != nil {
		t.Error("/-/clients tells of a forward proxy that is off")
	}
	get(t, off.url+"/-/ca.pem").is(t, "ca.pem without interception", 404, "")
}
