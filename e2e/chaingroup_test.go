package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// passed counts the zcaches that a request came through.
func passed(r *request) int { return strings.Count(r.Header.Get("Via"), "zcache") }

func TestAParentGoesFirstAndTheOriginStandsInForIt(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		w.file(r, bytesOf(r.Target, 3*mib), modified, `ETag: "1"`, "Cache-Control: max-age=600")
	})
	dead := freeAddr(t)
	parent := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\n[[hub]]\nname = \"ill\"\nupstream = \"http://%s\"\nretries = 1\n", o.url, dead)))
	group := func(hub string) string {
		return settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [%q, %q]\n", parent.url+hub, o.url))
	}
	child, ill := start(t, group("/up")), start(t, group("/ill"))
	fetch := func(what string, z *zcache, path string, through int) {
		t.Helper()
		get(t, z.url+"/up"+path).whole(t, what, bytesOf(path, 3*mib))
		r := o.requests(path)
		if len(r) != 1 || passed(r[0]) != through {
			t.Errorf("%s: the origin was asked %d times, want once, through %d zcaches", what, len(r), through)
		}
	}
	fetch("the parent is there", child, "/a.bin", 2)
	parent.stop()
	fetch("the parent is down", child, "/b.bin", 1)
	parent.again()
	fetch("the parent is back", child, "/c.bin", 2)
	parent.kill9()
	fetch("the parent is killed", child, "/d.bin", 1)
	parent.again()
	fetch("the parent answers 504", ill, "/e.bin", 1)

	// A parent that hangs costs two requests their patience; then it is asked last until it answers again.
	if err := parent.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, path := range []string{"/f.bin", "/g.bin"} {
		wg.Go(func() {
			a, err := tryAsk("GET", child.url+"/up"+path)
			if err != nil || !bytes.Equal(a.Body, bytesOf(path, 3*mib)) || a.Took > 15*time.Second {
				t.Errorf("the parent hangs: %d bytes after %v, %v", len(a.Body), a.Took, err)
			}
		})
	}
	wg.Wait()
	if a := get(t, child.url+"/up/h.bin").whole(t, "the parent hangs on", bytesOf("/h.bin", 3*mib)); a.Took > time.Second {
		t.Errorf("the parent hangs on: the body came after %v, want at once", a.Took)
	}
	if err := parent.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	n := 0
	eventually(t, 20*time.Second, "the parent is asked again", func() (bool, string) {
		n++
		path := fmt.Sprintf("/again-%d.bin", n)
		get(t, child.url+"/up"+path)
		through := passed(o.asked(path))
		return through == 2, fmt.Sprintf("the origin was asked through %d zcaches", through)
	})
}

// What the parent began the origin ends: both tell the same validator.
func TestTheOriginGoesOnWhereAParentDies(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	release := make(chan struct{})
	rl.before = func(r *request, sent int64) {
		if r.Nth == 1 && sent == 5*mib {
			<-release
		}
	}
	parent := start(t, "--upstream", "up="+rl.url)
	child := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [%q, %q]\n", parent.url+"/up", rl.url)))
	resp := begin(t, child.url+"/up/mid.bin")
	defer resp.Body.Close()
	readPrefix(t, resp.Body, "mid.bin", 4*mib)
	parent.kill9()
	close(release)
	rest, err := digestOf(resp.Body)
	if rest.n != midSize-4*mib || err != nil {
		t.Errorf("after the parent's death came %d bytes, %v; want the rest", rest.n, err)
	}
	child.published("up", "mid.bin", midSize)
	if d := fileDigest(t, child.path("up", "mid.bin")); d != bodies["mid.bin"].digest {
		t.Error("the entry is not the origin's body")
	}
	asked := rl.requests("/mid.bin")
	if len(asked) != 2 || passed(asked[1]) != 1 || asked[1].Header.Get("Range") == "" || asked[1].Header.Get("If-Range") == "" {
		t.Errorf("the origin was asked %d times, want the second time directly and for the rest", len(asked))
	}
}

func TestSiblingsThatAskEachOtherFirstStillHaveTheOrigin(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "body of "+r.Target, "Cache-Control: max-age=600") })
	addrs := []string{freeAddr(t), freeAddr(t)}
	for i, own := range addrs {
		start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [\"http://%s/up\", %q]\n", addrs[1-i], o.url)), "--listen", own)
	}
	for i, addr := range addrs {
		path := fmt.Sprintf("/%d", i)
		get(t, "http://"+addr+"/up"+path).whole(t, "asked first", []byte("body of "+path))
		get(t, "http://"+addrs[1-i]+"/up"+path).whole(t, "asked second", []byte("body of "+path))
		if n := o.count(path); n != 1 {
			t.Errorf("the origin was asked %d times, want once", n)
		}
	}
}

// The parent's gate is an nginx, which takes the token off: what it guards is a parent that knows no tokens.
func TestABearerTokenIsForTheParentAlone(t *testing.T) {
	const secret, next = "hamster-wheel-1", "hamster-wheel-2"
	var elsewhere *origin
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Target == "/away" {
			w.reply(r, 302, "", "Location: "+elsewhere.url+"/there")
			return
		}
		w.reply(r, 200, "body of "+r.Target, "Cache-Control: max-age=600")
	})
	elsewhere = startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "body of "+r.Target) })
	parent := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\nredirects = \"pass\"\n", o.url)))
	gate := startNginx(t, fmt.Sprintf(`location /up/ {
		if ($http_authorization !~ "^Bearer hamster-wheel-[12]$") { return 401; }
		proxy_set_header Authorization ""; proxy_http_version 1.1; proxy_pass http://%s; }`, parent.addr))
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret)
	// The origin beside the parent is of another site: a name here, an address there.
	beside := strings.Replace(o.url, "127.0.0.1", "localhost", 1)
	child := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [%q, %q]\nbearer-file = %q\n", gate.url+"/up", beside, file)),
		"--log-level", "debug", "--proxy-allow-host", elsewhere.addr)

	get(t, child.url+"/up/a").whole(t, "with the token", []byte("body of /a"))
	get(t, child.url+"/up/a").is(t, "held", 200, "HIT")
	get(t, child.url+"/up/away").whole(t, "a redirect elsewhere", []byte("body of /there"))
	write(next)
	get(t, child.url+"/up/b").whole(t, "with the next token", []byte("body of /b"))
	write("another")
	if a := get(t, child.url+"/up/c").is(t, "with a wrong token", http.StatusUnauthorized, ""); bytes.Contains(a.Body, []byte("another")) {
		t.Errorf("the answer to a wrong token shows it: %s", a.Body)
	}
	child.noEntry("up", "c")
	write(secret)
	get(t, child.url+"/up/c").whole(t, "with the right one again", []byte("body of /c"))
	gate.stop()
	get(t, child.url+"/up/d").whole(t, "from the origin beside", []byte("body of /d"))
	for _, seen := range []*origin{o, elsewhere} {
		for _, r := range seen.requests("") {
			if strings.Contains(r.Head, "hamster") || r.Header.Get("Authorization") != "" {
				t.Errorf("the token went on:\n%s", r.Head)
			}
		}
	}
	for what, said := range map[string]string{
		"the child's log": child.log(), "the parent's log": parent.log(), "status": string(get(t, child.url+"/-/status").Body),
		"modules": string(get(t, child.url+"/-/modules").Body), "metrics": string(get(t, child.url+"/-/metrics").Body),
		"explain": string(get(t, child.url+"/-/explain?url=/up/a").Body),
	} {
		if said == "" || strings.Contains(said, "hamster") {
			t.Errorf("%s shows the token, or nothing", what)
		}
	}
	holdsNot(t, child.root, "hamster")
}

// holdsNot fails where a file below dir, or what is kept beside its body, holds a word.
func holdsNot(t testing.TB, dir, word string) {
	t.Helper()
	attr := make([]byte, 64<<10)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if n, err := syscall.Getxattr(path, "user.zcache", attr); err == nil {
			b = append(b, attr[:n]...)
		}
		if bytes.Contains(b, []byte(word)) {
			t.Errorf("%s holds %q", path, word)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
