package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shownIn are the names that a listing in some form shows, in its order.
func shownIn(t testing.TB, a answer) (names []string) {
	t.Helper()
	switch kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";"); kind {
	case "application/json":
		var all []struct{ Name string }
		if err := json.Unmarshal(a.Body, &all); err != nil {
			t.Fatalf("not a listing: %v: %s", err, clip(a.Body))
		}
		for _, r := range all {
			names = append(names, strings.TrimSuffix(r.Name, "/"))
		}
	case "text/plain":
		for l := range strings.Lines(string(a.Body)) {
			names = append(names, strings.TrimSuffix(strings.TrimSpace(l), "/"))
		}
	default:
		for _, m := range regexp.MustCompile(`href="\./([^"?/]+)/?"`).FindAllSubmatch(a.Body, -1) {
			if n := string(m[1]); !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// A reader of a part is shown that part, as if there were no more: in every form, order and section of it, by every way, held or not.
func TestListingsHaveNoMoreThanTheirReaderMayRead(t *testing.T) {
	g := startGuarded(t)
	ftp := "/files/ftp/" + g.ftp.addr + "/"
	for _, c := range []struct{ dir, all, part string }{
		{"/a/", "open shut t" + mark + " up", "open up"},
		{"/m/", "open shut t" + mark, "open"},
		{ftp, "open shut", "open"},
	} {
		for _, held := range []bool{false, true} {
			for _, q := range []struct {
				query, accept string
				from, to      int
				desc          bool
			}{
				{"", "text/html", 0, 9, false}, {"", "application/json", 0, 9, false}, {"", "text/plain", 0, 9, false},
				{"?format=nginx", "", 0, 9, false}, {"?format=json&sort=name&order=desc", "", 0, 9, true}, {"?format=html&sort=name&order=desc", "", 0, 9, true},
				{"?format=json&limit=1", "", 0, 1, false}, {"?format=text&limit=1&offset=1", "", 1, 2, false}, {"?format=html&limit=1&offset=1", "", 1, 2, false},
				{"?format=json&limit=5&offset=2", "", 2, 7, false},
			} {
				if q.query != "" && c.dir == ftp {
					continue // there it is the URL's own
				}
				for who, text := range map[string]string{"all": c.all, "part": c.part} {
					want := strings.Fields(text)
					if q.desc {
						slices.Reverse(want)
					}
					if q.accept == "text/html" || strings.Contains(q.query, "html") {
						want = dirsFirst(want)
					}
					want = want[min(q.from, len(want)):min(q.to, len(want))]
					a := get(t, g.z.url+c.dir+q.query, g.as(who), "Accept: "+q.accept)
					what := fmt.Sprintf("%s%s as %s for %s, held %v", c.dir, q.query, q.accept, who, held)
					if a.is(t, what, 200, ""); !slices.Equal(shownIn(t, a), want) {
						t.Errorf("%s: %q, want %q", what, shownIn(t, a), want)
					}
					if who == "part" && strings.Contains(string(a.Body)+fmt.Sprint(a.Header), mark) {
						t.Errorf("%s tells of what is not listed: %s", what, a.Body)
					}
				}
			}
			get(t, g.z.url+c.dir+"shut/s"+mark, g.as("all")).is(t, "what is hidden, for who may", 200, "")
			get(t, g.z.url+c.dir+"shut/", g.as("all")).is(t, "its directory", 200, "")
		}
	}
	get(t, g.z.url+"/a/?raw=1", g.as("part")).is(t, "the origin's own page of a directory that is seen in part", 403, "")
	g.o.stop()
	if got := shownIn(t, get(t, g.z.url+"/a/?format=json", g.as("part"))); !slices.Equal(got, []string{"open", "up"}) {
		t.Errorf("without the origin: %q", got)
	}
	g.o.start()
	g.kept(g.z, g.o, g.out)
}

// dirsFirst is how pages are sorted by name, whichever way they go.
func dirsFirst(names []string) (out []string) {
	for _, dirs := range []bool{true, false} {
		for _, n := range names {
			if dir := n == "open" || n == "shut"; dir == dirs {
				out = append(out, n)
			}
		}
	}
	return out
}

// What was sent to one reader must not stand in for what another would get.
func TestATagOfOneViewIsNoneOfAnother(t *testing.T) {
	g := startGuarded(t)
	g.give("twin", "--read", "/a", "--deny", "/a/shut,/a/t"+mark)
	g.give("part2", "--read", "/a", "--deny", "/a/shut,/a/t"+mark)
	eventually(t, 2*time.Second, "the new tokens are in force", func() (bool, string) {
		return get(t, g.z.url+"/a/", g.as("part2")).Status == 200, ""
	})
	alike := map[string]bool{"twin": true, "part2": true} // by the same rules they see the same
	for _, dir := range []string{"/a/", "/m/"} {
		readers := []string{"all", "part"}
		if dir == "/a/" {
			readers = append(readers, "reader", "twin", "part2", "")
		}
		tags := map[string]string{}
		for _, who := range readers {
			var fields []string
			if who != "" {
				fields = append(fields, g.as(who))
			}
			a := get(t, g.z.url+dir+"?format=text", fields...).is(t, dir+" for "+who, 200, "")
			tags[who] = a.Header.Get("Etag")
			if !strings.Contains(a.Header.Get("Vary"), "Authorization") || who != "all" && !strings.Contains(a.Header.Get("Cache-Control"), "private") {
				t.Errorf("%s for %q: Vary %q, Cache-Control %q", dir, who, a.Header.Get("Vary"), a.Header.Get("Cache-Control"))
			}
		}
		for _, who := range readers {
			for _, other := range readers {
				if tags[other] == "" || who == "" {
					continue
				}
				a := get(t, g.z.url+dir+"?format=text", g.as(who), "If-None-Match: "+tags[other])
				same := who == other || alike[who] && alike[other]
				if (a.Status == http.StatusNotModified) != same {
					t.Errorf("%s: %q with the tag of %q = %d", dir, who, other, a.Status)
				}
			}
		}
	}
}

// An allowed client's download under way is no way in for another.
func TestADownloadUnderWayIsForThoseWhoMayHaveIt(t *testing.T) {
	going := make(chan struct{})
	body := bytesOf("shared", 2*mib)
	o := startOrigin(t, func(w *wire, r *request) {
		w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: max-age=600\r\nLast-Modified: %s\r\n\r\n", len(body), modified.Format(http.TimeFormat)))
		w.send(string(body[:mib]))
		<-going
		w.send(string(body[mib:]))
	})
	k := newKeyring(t, "").give("all").give("second").give("reader", "--read", "/up/open")
	z := start(t, "--upstream", "up="+o.url, "--auth-file", k.file, "--anonymous", "none")
	var wg sync.WaitGroup
	begun := make(chan struct{}, 2)
	for _, who := range []string{"all", "second"} {
		wg.Go(func() {
			req, _ := http.NewRequest(http.MethodGet, z.url+"/up/shut/x", nil)
			setFields(req, []string{k.as(who)})
			resp, err := plain.Do(req)
			if err != nil {
				t.Error(err)
				begun <- struct{}{}
				return
			}
			defer resp.Body.Close()
			readBytes(t, resp.Body, body[:mib/2])
			begun <- struct{}{}
			readBytes(t, resp.Body, body[mib/2:])
		})
	}
	<-begun
	<-begun
	for _, fields := range [][]string{{k.as("reader")}, {k.as("reader"), "Range: bytes=0-9"}, {}, {"Authorization: Bearer zct_none"}} {
		if a := get(t, z.url+"/up/shut/x", fields...); a.Status != 403 && a.Status != 401 || a.Took > 5*time.Second || bytes.Contains(a.Body, body[:8]) {
			t.Errorf("GET with %.20q in the middle of it = %d after %v", fields, a.Status, a.Took)
		}
	}
	close(going)
	wg.Wait()
	if n := o.count(""); n != 1 {
		t.Errorf("the origin was asked %d times by two who may have it, want once", n)
	}
	z.published("up", "shut/x", int64(len(body)))
	get(t, z.url+"/up/shut/x", k.as("reader")).is(t, "afterwards", 403, "")
	get(t, z.url+"/up/shut/x", k.as("second")).whole(t, "afterwards, for who may", body)
	k.kept(z, o)
}

// Operations are for their scopes, by either listener.
func TestEndpointsAreForTheirScopes(t *testing.T) {
	g := startGuarded(t)
	get(t, g.z.url+"/a/open/f", g.as("reader")).is(t, "fill", 200, "")
	get(t, g.z.url+"/a/shut/s"+mark, g.as("all")).is(t, "fill", 200, "")
	who := []string{"", "wrong", "expired", "revoked", "reader", "observer", "operator", "writer"}
	for _, e := range []struct {
		method, path, body string
		may                string // of the above, beyond those that all of it is for
		opened             int
	}{
		{"GET", "/-/healthz", "", "*", 200}, {"GET", "/-/readyz", "", "*", 200}, {"GET", "/-/version", "", "*", 200},
		{"GET", "/-/clients", "", "*", 200}, {"GET", "/-/proxy.pac", "", "*", 200}, {"GET", "/-/ca.pem", "", "*", 404}, {"GET", "/-/nothing", "", "*", 404},
		{"GET", "/-/explain?url=/a/open/f", "", " reader observer operator writer", 200},
		{"GET", "/-/entry?url=/a/open/f", "", " reader observer operator writer", 200},
		{"GET", "/-/explain?url=/a/shut/s" + mark, "", "none", 0},
		{"GET", "/-/entry?url=/a/shut/s" + mark, "", "none", 0},
		{"GET", "/-/metrics", "", "observer operator", 200}, {"GET", "/-/status", "", "observer operator", 200},
		{"GET", "/-/modules", "", "observer operator", 200}, {"GET", "/-/modules/legacy", "", "observer operator", 200},
		{"GET", "/-/mirror", "", "observer operator", 200}, {"GET", "/-/trash", "", "observer operator", 200}, {"GET", "/-/trash?path=/a/shut", "", "observer operator", 200},
		{"GET", "/-/events", "", "observer operator", 200},
		{"GET", "/-/ensure/none", "", "operator", 404},
		{"POST", "/-/ensure", `{"urls":["/a/open/g"],"wait":true}`, "operator", 200},
		{"POST", "/-/purge", `{"path":"/a/open/none"}`, "operator", 200},
		{"POST", "/-/walk", `{"subtree":"/a/open","dry_run":true}`, "operator", 202},
		{"POST", "/-/trash", `{"path":"/a/open/none","restore":true}`, "operator", 0},
		{"POST", "/-/reload", "", "operator", 200},
		{"GET", "/-/pprof/", "", "operator", 200}, {"GET", "/-/pprof/heap", "", "operator", 200}, {"GET", "/debug/pprof/heap", "", "operator", 200},
	} {
		for _, addr := range []string{g.z.addr, g.admin} {
			if profile := strings.Contains(e.path, "pprof"); profile && addr == g.z.addr {
				continue
			}
			for _, name := range who {
				may := e.may == "*" || name != "" && slices.Contains(strings.Fields(e.may), name) || e.may[0] == ' ' && name == ""
				status := endpoint(t, addr, e.method, e.path, e.body, g.field(name))
				known := slices.Contains([]string{"reader", "observer", "operator", "writer"}, name)
				want := map[bool]int{true: http.StatusForbidden, false: http.StatusUnauthorized}[known]
				switch {
				case may && e.opened != 0 && status != e.opened, may && (status == 401 || status == 403), !may && status != want:
					t.Errorf("%s %s %s for %q at the %s = %d, may %v", e.method, e.path, e.body, name, map[bool]string{true: "front", false: "admin listener"}[addr == g.z.addr], status, may)
				}
			}
			if e.may == "operator" {
				if status := endpoint(t, addr, e.method, e.path, e.body, "Authorization: Basic "+g.basic("operator")); status != http.StatusForbidden {
					t.Errorf("%s %s by an operator's Basic = %d, want 403", e.method, e.path, status)
				}
			}
		}
	}
	for _, path := range []string{"/", "/a/open/f", "/download/", "/files/http/x/"} {
		if a := get(t, "http://"+g.admin+path, g.as("all")); a.Status != 404 {
			t.Errorf("GET %s at the admin listener = %d, want 404", path, a.Status)
		}
	}
	for _, path := range []string{"/-/pprof/", "/debug/pprof/"} {
		if a := get(t, g.z.url+path, g.as("operator")); a.Status != 404 && a.Status != 403 {
			t.Errorf("GET %s at the front = %d", path, a.Status)
		}
	}
	g.kept(g.z, g.o, g.out)
}

// field is what somebody of that name sends: nothing, a token, or one of nobody's.
func (g *guarded) field(name string) string {
	switch name {
	case "":
		return "X-Nothing: x"
	case "wrong":
		return "Authorization: Bearer zct_0123456789_" + strings.Repeat("x", 49)
	}
	return g.as(name)
}

// endpoint asks for one and takes no more than its head: some tell for ever.
func endpoint(t testing.TB, addr, method, path, body, field string) int {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", method, path, addr, len(body))
	_, _ = io.WriteString(conn, head+field+"\r\n\r\n"+body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode
}

// Inside a tunnel that zcache ends itself each request is judged by who opened it.
func TestRulesHoldInsideTunnels(t *testing.T) {
	want := bytesOf("inside", 1000)
	o := startSecure(t, map[string][]byte{"open/f": want, "shut/f": want})
	ca := createCA(t, "localhost")
	k := newKeyring(t, "").give("all").give("part", "--read", "/files/https/"+o.name+"/pub/open").give("none", "--read", "/up")
	z := start(t, append(o.opened(), "--upstream", "up=http://127.0.0.1:9", "--intercept-ca", ca, "--auth-file", k.file, "--anonymous", "none")...)
	for _, row := range []struct {
		who, path, status string
		field             string
	}{
		{"", "open/f", "407", ""}, {"none", "open/f", "403", ""},
		{"part", "open/f", "200", ""}, {"part", "shut/f", "403", ""}, {"part", "none", "403", ""},
		{"part", "shut/f", "403", k.as("all")}, // inside the tunnel it is the origin's, and a token of ours is nobody's
		{"all", "shut/f", "200", ""}, {"part", "shut/f", "403", ""}, {"all", "shut/f", "200", k.as("part")},
	} {
		args := []string{"https://" + o.name + "/pub/" + row.path, "-w", "%{http_connect} %{http_code}"}
		if row.who != "" {
			args = append(args, "--proxy-user", "x:"+k.tokens[row.who])
		}
		if row.field != "" {
			args = append(args, "-H", row.field)
		}
		said, body, _ := curl(t, z, ca, args...)
		words := strings.Fields(said)
		got := ""
		if len(words) > 1 {
			if got = words[1]; words[0] != "200" {
				got = words[0]
			}
		}
		if got != row.status || bytes.Equal(body, want) != (row.status == "200") {
			t.Errorf("%s for %q with %.25q = %q, %d bytes, want %s", row.path, row.who, row.field, said, len(body), row.status)
		}
	}
	o.mu.Lock()
	for _, r := range o.asked {
		if a := r.Header.Get("Authorization"); a != "" {
			t.Errorf("the origin was sent Authorization: %.20s", a)
		}
	}
	o.mu.Unlock()
	k.kept(z)
}
