package e2e

import (
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// startGit serves a repository by https at /lab.git, by git's own server or as the plain files that it is made of, which stay fresh.
func startGit(t *testing.T, files bool) *secureOrigin {
	t.Helper()
	root := t.TempDir()
	u := newUser(t)
	u.run("git init -q -b main work && cd work && seq 20000 > README && git add README && git -c user.name=a -c user.email=a@b commit -qm one && "+
		"git clone -q --bare . "+root+"/lab.git && cd "+root+"/lab.git && git update-server-info", "")
	var h http.Handler = &cgi.Handler{Path: gitBackend(t), Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, Logger: log.New(io.Discard, "", 0)}
	if files {
		tree := http.FileServer(http.Dir(root))
		h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=600")
			tree.ServeHTTP(w, r)
		})
	}
	var o *secureOrigin
	o = startSecureHandler(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		o.asked = append(o.asked, r)
		o.mu.Unlock()
		h.ServeHTTP(w, r)
	})})
	return o
}

// cloned has a new user clone the repository through a proxy that is zcache, trusting ca, and wants what is in it.
func cloned(t *testing.T, claim string, z *zcache, o *secureOrigin, ca string) {
	t.Helper()
	t.Run(claim, func(t *testing.T) {
		u := newUser(t)
		u.run("git config --global http.proxy "+z.url+" && git config --global http.sslCAInfo "+ca, "")
		u.run(`git clone -q "$URL" && git -C lab fsck --full --strict && seq 20000 | cmp - lab/README`, "https://"+o.name+"/lab.git")
	})
}

// What goes through a tunnel is git's and its server's alone, so the server is needed each time, and its end is told at once.
func TestGitCloneByConnect(t *testing.T) {
	o := startGit(t, false)
	z := start(t, append(o.opened(), "--upstream", "idle=http://127.0.0.1:9/idle")...)
	cloned(t, "cold", z, o, o.ca)
	cold := o.total()
	if cold < 2 {
		t.Errorf("the server was asked %d times by git, want its references and its objects at least", cold)
	}
	cloned(t, "again", z, o, o.ca)
	if o.total() != 2*cold {
		t.Errorf("the server was asked %d times by two clones, want %d: nothing is kept of a tunnel", o.total(), 2*cold)
	}
	o.Close()
	u := newUser(t)
	began := time.Now()
	said := u.run("git config --global http.proxy "+z.url+" && git config --global http.sslCAInfo "+o.ca+` && ! LC_ALL=C git clone -q "$URL"`, "https://"+o.name+"/lab.git")
	if took := time.Since(began); !strings.Contains(said, "response 50") || took > waitShort {
		t.Errorf("without the server git says %q after %v, want the proxy's 502 or 504 at once", said, took)
	}
	z.stop()
	if n := strings.Count(z.log(), `"method":"CONNECT"`); n < 3 {
		t.Errorf("the log tells of %d tunnels, want one of each clone", n)
	}
	if kept, err := filepath.Glob(filepath.Join(z.root, "files", "*", "*")); err != nil || len(kept) > 0 {
		t.Errorf("kept of the tunnels: %q, %v; want nothing", kept, err)
	}
}

// A repository that is served as plain files is kept like any other, where the tunnel ends at zcache.
func TestGitCloneByInterceptionNeedsNoServer(t *testing.T) {
	o := startGit(t, true)
	ca := createCA(t, "localhost")
	z := start(t, append(o.opened(), "--upstream", "idle=http://127.0.0.1:9/idle", "--intercept-ca", ca)...)
	cloned(t, "cold", z, o, ca)
	cold := o.total()
	z.stop()
	if _, err := os.Stat(filepath.Join(z.root, "files/https", o.name, "lab.git/HEAD")); err != nil || cold == 0 {
		t.Errorf("the server was asked %d times, and of the entry it is said: %v", cold, err)
	}
	z.again()
	cloned(t, "warm", z, o, ca)
	// Of the references git wants the server's word, Cache-Control: no-cache, and nothing more than that.
	for _, r := range o.asked[cold:] {
		if r.Header.Get("If-Modified-Since") == "" || !slices.Contains([]string{"/lab.git/info/refs", "/lab.git/HEAD"}, r.URL.Path) {
			t.Errorf("warm: the server was asked for %s with fields %v, want at most whether the references are the same", r.URL.Path, r.Header)
		}
	}
	o.Close()
	cloned(t, "without the server", z, o, ca)
	z.stop()
	z.again("--offline")
	cloned(t, "off line", z, o, ca)
}
