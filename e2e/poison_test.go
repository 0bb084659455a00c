package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// unkeyed are fields that an origin may build its answer from and that are in no key.
var unkeyed = []string{
	"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-Scheme", "Forwarded",
	"X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override",
}

// reflect is the answer of an origin that believes everything it is told.
func reflect(r *request) string {
	s := r.Method + " " + r.Target + " host " + r.Header.Get("Host")
	for _, name := range append([]string{"Cookie", "Authorization", "Proxy-Authorization"}, unkeyed...) {
		if v := r.Header.Get(name); v != "" {
			s += "\n" + name + " " + v
		}
	}
	if len(r.Body) > 0 {
		s += "\nbody " + string(r.Body)
	}
	return s
}

func TestNobodyGetsWhatWasMadeForAnother(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, reflect(r), "Cache-Control: max-age=600") })
	z := start(t, "--upstream", "up="+o.url)
	rows := []struct{ name, head, body string }{
		{"Cookie", "Cookie: session=evil", ""},
		{"Authorization", "Authorization: Basic ZXZpbDpldmls", ""},
		{"Proxy-Authorization", "Proxy-Authorization: Basic ZXZpbDpldmls", ""},
		{"fat GET", "Content-Length: 4", "evil"},
		{"fat GET, chunked", "Transfer-Encoding: chunked", "4\r\nevil\r\n0\r\n\r\n"},
		{"fat GET with a form", "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 8", "q=evil&x"},
		{"X-HTTP-Method-Override: HEAD", "X-HTTP-Method-Override: HEAD", ""},
		{"Connection names a field", "Connection: close, Cookie\r\nCookie: evil", ""},
		{"Host with a port", "HOST evil.example:1234", ""},
		{"Host in capitals", "HOST EVIL.EXAMPLE", ""},
	}
	for _, name := range unkeyed {
		rows = append(rows, struct{ name, head, body string }{name, name + ": evil.example/evil", ""})
		rows = append(rows, struct{ name, head, body string }{name + ", lower case", strings.ToLower(name) + ": evil", ""})
	}
	for i, row := range rows {
		path := fmt.Sprintf("/p%d", i)
		host, head := z.addr, "Connection: close\r\n"+row.head
		if h, ok := strings.CutPrefix(row.head, "HOST "); ok {
			host, head = h, "Connection: close"
		}
		if strings.HasPrefix(row.head, "Connection:") {
			head = row.head
		}
		raw(t, z.addr, fmt.Sprintf("GET /up%s HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s", path, host, head, row.body))
		for _, again := range []string{"the next client", "the one after it"} {
			get(t, z.url+"/up"+path).whole(t, row.name+": "+again, []byte("GET "+path+" host "+o.addr))
		}
	}
	for _, r := range o.requests("") {
		for _, name := range unkeyed {
			if v := r.Header.Get(name); v != "" && name != "X-Method-Override" {
				t.Errorf("%s: the origin was told %s: %s", r.Target, name, v)
			}
		}
		if got := r.Header.Get("Host"); got != o.addr {
			t.Errorf("%s: the origin was asked as Host %q, want %q", r.Target, got, o.addr)
		}
	}
}

func TestOtherFieldsOfTheRequestPassToTheOrigin(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "x", "Cache-Control: no-store") })
	z := start(t, "--upstream", "up="+o.url)
	get(t, z.url+"/up/a", "X-Custom: 1", "User-Agent: apt/2", "Accept-Language: de", "Cookie: a=b", "Authorization: Basic dXNlcjpwdw==")
	r := o.asked("/a")
	for name, want := range map[string]string{"X-Custom": "1", "User-Agent": "apt/2", "Accept-Language": "de", "Cookie": "a=b", "Authorization": "Basic dXNlcjpwdw=="} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("the origin got %s %q, want %q", name, got, want)
		}
	}
}

func TestUserinfoInAnAbsoluteTargetIsKeptNowhere(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, reflect(r), "Cache-Control: max-age=600") })
	z := start(t, "--upstream", "up="+o.url)
	raw(t, z.addr, "GET http://eve:geheim@"+z.addr+"/up/a HTTP/1.1\r\nHost: "+z.addr+"\r\nConnection: close\r\n\r\n")
	get(t, z.url+"/up/a").whole(t, "the next client", []byte("GET /a host "+o.addr))
	z.stop()
	if strings.Contains(z.log(), "geheim") {
		t.Errorf("the log shows a password:\n%s", tail(z.log(), 20))
	}
	err := filepath.WalkDir(z.root, func(p string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(p, "geheim") {
			t.Errorf("a password in the path %s", p)
		}
		if err == nil && d.Type().IsRegular() {
			if b, _ := os.ReadFile(p); strings.Contains(string(b), "geheim") {
				t.Errorf("a password in the file %s", p)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Waiters who collapsed with a request of another selection must not get its answer.
func TestWaitersWithAnotherVarySelectionGetTheirOwn(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		<-release
		w.reply(r, 200, "flavour "+r.Header.Get("X-Flavour"), "Cache-Control: max-age=600", "Vary: X-Flavour")
	})
	z := start(t, "--upstream", "up="+o.url)
	var wg sync.WaitGroup
	for i := range 40 {
		flavour := []string{"sweet", "sour", "salt", ""}[i%4]
		wg.Go(func() {
			a, err := tryAsk(http.MethodGet, z.url+"/up/a", "X-Flavour: "+flavour)
			if err != nil || string(a.Body) != "flavour "+flavour {
				t.Errorf("a client of flavour %q got %s, %v", flavour, clip(a.Body), err)
			}
		})
	}
	eventually(t, 10*time.Second, "the origin is asked", func() (bool, string) { return o.count("") > 0, "" })
	close(release)
	wg.Wait()
	if got := o.count(""); got > 40 || got < 4 {
		t.Errorf("the origin was asked %d times for four selections by 40 clients", got)
	}
	for _, flavour := range []string{"sweet", "sour", "salt", ""} {
		get(t, z.url+"/up/a", "X-Flavour: "+flavour).whole(t, "held "+flavour, []byte("flavour "+flavour))
	}
}

// An answer that may not be stored belongs to the one request that brought it.
func TestWaitersOfAnUncacheableAnswerFetchForThemselves(t *testing.T) {
	rows := map[string]string{
		"/private": "Cache-Control: private, max-age=600", "/no-store": "Cache-Control: no-store", "/vary": "Vary: *",
	}
	var mu sync.Mutex
	gates, counts := map[string]chan struct{}{}, map[string]int{}
	for path := range rows {
		gates[path] = make(chan struct{})
	}
	o := startOrigin(t, func(w *wire, r *request) {
		mu.Lock()
		counts[r.Target]++
		mine := counts[r.Target]
		mu.Unlock()
		<-gates[r.Target]
		w.reply(r, 200, fmt.Sprint("answer ", mine), rows[r.Target], "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	for path := range rows {
		const crowd = 12
		got := make(chan string, crowd)
		for range crowd {
			go func() {
				a, err := tryAsk(http.MethodGet, z.url+"/up"+path)
				got <- fmt.Sprint(string(a.Body), " ", err)
			}()
		}
		eventually(t, 10*time.Second, "the origin is asked", func() (bool, string) { return o.count(path) > 0, "" })
		close(gates[path])
		seen := map[string]bool{}
		for range crowd {
			s := <-got
			if seen[s] {
				t.Errorf("%s: two clients got %q", path, s)
			}
			seen[s] = true
		}
		z.noEntry("up", path)
	}
}

func TestRequestsWithCredentialsNeverCollapse(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if r.Header.Get("Authorization")+r.Header.Get("Cookie") != "" {
			<-release
		}
		w.reply(r, 200, reflect(r), "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url)
	for i, secret := range []string{"Authorization: Bearer mine", "Cookie: mine=1"} {
		path := fmt.Sprintf("/%d", i)
		first := make(chan answer, 1)
		go func() {
			a, _ := tryAsk(http.MethodGet, z.url+"/up"+path, secret)
			first <- a
		}()
		eventually(t, 10*time.Second, "the first request is under way", func() (bool, string) { return o.count(path) == 1, "" })
		get(t, z.url+"/up"+path).whole(t, "a client without "+secret, []byte("GET "+path+" host "+o.addr))
		release <- struct{}{}
		if a := <-first; !strings.Contains(string(a.Body), "mine") {
			t.Errorf("the client with %s got %s", secret, clip(a.Body))
		}
		get(t, z.url+"/up"+path).whole(t, "a later client", []byte("GET "+path+" host "+o.addr))
	}
}

func TestTheHostDecidesTheHubAndAnUnknownOneGetsNone(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, r.Target, "Cache-Control: max-age=600") })
	z := start(t, settings(t, fmt.Sprintf(`
[[hub]]
name = "deb"
hosts = ["deb.example", "debian.example"]
upstream = "%[1]s/debhub"
[[hub]]
name = "main"
path = "/"
upstream = "%[1]s/roothub"
[[hub]]
name = "named"
upstream = "%[1]s/namedhub"
`, o.url)))
	rows := []struct {
		host, path string
		status     int
		body       string
	}{
		{"deb.example", "/a", 200, "/debhub/a"},
		{"DEB.Example", "/a", 200, "/debhub/a"},
		{"deb.example.", "/a", 200, "/debhub/a"},
		{"deb.example:3142", "/a", 200, "/debhub/a"},
		{"deb.example.:80", "/a", 200, "/debhub/a"},
		{"debian.example", "/a", 200, "/debhub/a"},
		{"deb.example", "/named/a", 200, "/debhub/named/a"},
		{"localhost", "/a", 200, "/roothub/a"},
		{"localhost:3142", "/named/a", 200, "/namedhub/a"},
		{"127.0.0.1", "/a", 200, "/roothub/a"},
		{"[::1]:3142", "/a", 200, "/roothub/a"},
		{"192.0.2.7:3142", "/a", 200, "/roothub/a"},
		{"unknown.example", "/a", 404, ""},
		{"unknown.example", "/", 404, ""},
		{"x.deb.example", "/a", 404, ""},
		{"deb.example.evil.example", "/a", 404, ""},
		{"unknown.example", "/named/a", 200, "/namedhub/a"},
		{"unknown.example", "/-/healthz", 200, ""},
		{"deb.example", "/-/healthz", 200, ""},
	}
	for _, row := range rows {
		what := "Host " + row.host + " " + row.path
		a := raw(t, z.addr, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", row.path, row.host))
		a.is(t, what, row.status, "")
		if row.body != "" && string(a.Body) != row.body {
			t.Errorf("%s: origin was asked for %s, want %s", what, clip(a.Body), row.body)
		}
		if row.status == 404 && a.problem(t, what)["error"] != "host_unmapped" {
			t.Errorf("%s: %s, want error host_unmapped", what, clip(a.Body))
		}
	}
	for _, bad := range []string{"", "Host: a\r\nHost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: deb.example@evil\r\n"} {
		a := raw(t, z.addr, "GET /a HTTP/1.1\r\n"+bad+"Connection: close\r\n\r\n")
		if a.Status != http.StatusBadRequest && a.Status != http.StatusNotFound {
			t.Errorf("Host field %q = %d, want 400", bad, a.Status)
		}
	}
}
