package proxy

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

// newWritableRig has two hubs, of which w takes local originals.
func newWritableRig(t *testing.T) *rig {
	t.Helper()
	g := newRig(t, Hub{Name: "w", Mount: "/w/", Listings: true, Writable: true}, Hub{Name: "r", Mount: "/r/", Listings: true}).listing()
	g.o.File("/w/d/", index("a", "b/"), kind(asHTML))
	g.o.File("/w/d/a", origintest.Text("theirs"), cc(fresh))
	return g
}

func (g *rig) put(path, body string, header ...string) reply {
	g.t.Helper()
	return g.sendBody(body, "PUT "+path+" HTTP/1.1", append([]string{"Content-Length: " + strconv.Itoa(len(body))}, header...)...)
}

func TestPut(t *testing.T) {
	g := newWritableRig(t)
	const body = "what a client has"
	sum := sha256.Sum256([]byte(body))
	tag := `"` + hex.EncodeToString(sum[:]) + `"`
	digest := "Content-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	for _, c := range []struct {
		claim, line string
		header      []string
		status      int
		word        string
	}{
		{"a new file", "PUT /w/d/new", []string{digest, "Content-Type: text/x-mine"}, 201, ""},
		{"the same again", "PUT /w/d/new", []string{"If-Match: " + tag, "Content-Type: text/x-mine"}, 204, ""},
		{"one that must be new", "PUT /w/d/new", []string{"If-None-Match: *"}, 412, "precondition"},
		{"one that was not that", "PUT /w/d/new", []string{`If-Match: "x"`}, 412, "precondition"},
		{"a digest of something else", "PUT /w/d/other", []string{"X-Checksum-Sha256: " + strings.Repeat("0", 64)}, 400, "digest_differs"},
		{"a digest that is none", "PUT /w/d/other", []string{"Content-MD5: x"}, 400, "bad_digest"},
		{"a part", "PUT /w/d/other", []string{"Content-Range: bytes 0-16/100"}, 400, "partial"},
		{"a coded body", "PUT /w/d/other", []string{"Content-Encoding: gzip"}, 415, "coded"},
		{"a directory", "PUT /w/d/other/", nil, 409, "directory"},
		{"the hub itself", "PUT /w/", nil, 409, "directory"},
		{"a query", "PUT /w/d/other?x", nil, 400, "bad_name"},
		{"a name that no listing shows", "PUT /w/d/a%2Fb", nil, 400, "bad_name"},
		{"a dot segment", "PUT /w/d/%2e%2e/x", nil, 400, "bad_path"},
		{"another method", "POST /w/d/new", nil, 405, "method"},
		{"PATCH", "PATCH /w/d/new", nil, 405, "method"},
		{"nothing to delete", "DELETE /w/d/none", nil, 404, "not_found"},
		{"a directory to delete", "DELETE /w/d/", nil, 409, "directory"},
		{"another site's page", "PUT /w/d/new", []string{"Origin: http://evil.example"}, 403, "cross_origin"},
	} {
		got := g.sendBody(body, c.line+" HTTP/1.1", append(c.header, "Content-Length: "+strconv.Itoa(len(body)))...)
		if got.StatusCode != c.status || c.word != "" && got.word() != c.word {
			t.Errorf("%s: %s = %d %q, want %d %s", c.claim, c.line, got.StatusCode, got.body, c.status, c.word)
		}
		h := got.Header
		if c.status < 300 && (h.Get("Etag") != tag || h.Get("Location") != "/w/d/new" || h.Get("Last-Modified") == "" || got.body != "") {
			t.Errorf("%s: %v %q, want its validators and its place", c.claim, h, got.body)
		}
		if c.status == 405 && h.Get("Allow") != "GET, HEAD, OPTIONS, PUT, DELETE" || c.status == 415 && h.Get("Accept-Encoding") != "identity" {
			t.Errorf("%s: %v, want what may be sent", c.claim, h)
		}
	}
	g.get("/w/d/new").want(t, "what was put", 200, body, "HIT")
	if other := g.get("/w/d/other"); other.StatusCode != 404 {
		t.Errorf("what was refused: %d, want 404", other.StatusCode)
	}
	got := g.get("/w/d/new", "Range: bytes=5-8")
	if got.StatusCode != 206 || got.body != "a cl" || got.Header.Get("Content-Type") != "text/x-mine" || got.Header.Get("X-Content-Type-Options") != "nosniff" || got.Header.Get("Date") == "" {
		t.Errorf("a range: %d %q %v", got.StatusCode, got.body, got.Header)
	}
	if got := g.send("DELETE /w/d/new HTTP/1.1"); got.StatusCode != 204 || got.body != "" {
		t.Errorf("DELETE = %d %q, want 204", got.StatusCode, got.body)
	}
	if got := g.get("/w/d/new"); got.StatusCode != 404 {
		t.Errorf("what was deleted: %d, want the upstream's 404", got.StatusCode)
	}
	for _, path := range []string{"/w/d/new", "/w/d/other"} {
		if last := g.o.Last(path); last.Method != "" && last.Method != "GET" {
			t.Errorf("the upstream was asked to %s %s", last.Method, path)
		}
	}
}

func TestPutOverWhatWasFetched(t *testing.T) {
	g := newWritableRig(t)
	g.get("/w/d/a").want(t, "before", 200, "theirs", "MISS")
	g.idle()
	if got := g.send("DELETE /w/d/a HTTP/1.1"); got.StatusCode != 409 || got.word() != "not_original" {
		t.Errorf("DELETE of what was fetched = %d %q, want 409", got.StatusCode, got.body)
	}
	if got := g.put("/w/d/a", "mine"); got.StatusCode != 204 {
		t.Fatalf("PUT = %d %q, want 204", got.StatusCode, got.body)
	}
	n := g.o.Count("/w/d/a")
	g.get("/w/d/a", "Cache-Control: no-cache").want(t, "after", 200, "mine", "HIT")
	if g.o.Count("/w/d/a") != n {
		t.Error("the upstream was asked about an original")
	}
	g.send("DELETE /w/d/a HTTP/1.1")
	g.get("/w/d/a").want(t, "when it is gone", 200, "theirs", "MISS")
}

func TestOtherHubsForwardWrites(t *testing.T) {
	g := newWritableRig(t)
	g.o.File("/r/x", origintest.Text("x"))
	g.put("/r/x", "sent on")
	if last := g.o.Last("/r/x"); last.Method != "PUT" {
		t.Errorf("PUT to a hub that keeps nothing: the upstream got %v, want it", last)
	}
}

func TestNoOtherFormWritesToTheUpstreamOfAWritableHub(t *testing.T) {
	g := newWritableRig(t).forward()
	for _, line := range []string{"PUT /files/http/" + g.o.Addr + "/w/d/y HTTP/1.1", "PUT http://" + g.o.Addr + "/w/d/y HTTP/1.1", "DELETE /files/http/" + g.o.Addr + "/w/d/a HTTP/1.1"} {
		if got := g.sendBody("x", line, "Content-Length: 1"); got.StatusCode != 405 {
			t.Errorf("%s = %d, want 405", line, got.StatusCode)
		}
	}
	for _, path := range []string{"/w/d/y", "/w/d/a"} {
		if n := g.o.Count(path); n != 0 {
			t.Errorf("the upstream got %d requests for %s", n, path)
		}
	}
}

func TestPutThatBreaksOffKeepsNothing(t *testing.T) {
	g := newWritableRig(t)
	g.put("/w/x", "before")
	for claim, head := range map[string]string{
		"of known length": "Content-Length: 100\r\n\r\nhalf",
		"in chunks":       "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		c := g.dial()
		fmt.Fprintf(c, "PUT /w/x HTTP/1.1\r\nHost: %s\r\n%s", g.addr, head)
		c.Close()
		broken := func() bool {
			lines := g.logs.requests()
			return lines[len(lines)-1]["method"] == "PUT" && lines[len(lines)-1]["error"] != nil
		}
		for deadline := time.Now().Add(20 * time.Second); !broken(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: no line in the log", claim)
			}
		}
		g.get("/w/x").want(t, claim, 200, "before", "HIT")
	}
	if got := g.sendBody("4\r\nhalf\r\n3\r\nand\r\n0\r\n\r\n", "PUT /w/x HTTP/1.1", "Transfer-Encoding: chunked"); got.StatusCode != 204 {
		t.Errorf("PUT in chunks = %d, want 204", got.StatusCode)
	}
	g.get("/w/x").want(t, "a body in chunks", 200, "halfand", "HIT")
}

func TestPutIsLookedAtBeforeItsBody(t *testing.T) {
	g := newWritableRig(t)
	g.put("/w/x", "before")
	for _, c := range []struct {
		claim, field string
		status       int
	}{
		{"one that may come", "X-Y: z", 100},
		{"one whose condition does not hold", "If-None-Match: *", 412},
		{"one whose digest cannot be read", "Content-Digest: sha-256=x", 400},
	} {
		conn := g.dial()
		fmt.Fprintf(conn, "PUT /w/x HTTP/1.1\r\nHost: %s\r\nExpect: 100-continue\r\nContent-Length: 5\r\n%s\r\n\r\n", g.addr, c.field)
		in := bufio.NewReader(conn)
		line, err := in.ReadString('\n')
		if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%s: %q, %v, want %s", c.claim, line, err, want)
		}
		if c.status == 100 {
			in.ReadString('\n')
			io.WriteString(conn, "after")
			if got := readReply(t, in, "PUT"); got.StatusCode != 204 {
				t.Errorf("%s: then %d, want 204", c.claim, got.StatusCode)
			}
		}
		conn.Close()
	}
	g.get("/w/x").want(t, "after all", 200, "after", "HIT")
}

func TestConcurrentPutsLeaveOneWhole(t *testing.T) {
	g := newWritableRig(t)
	const n = 6
	bodies := map[string]bool{}
	done := make(chan reply, n)
	for i := range n {
		body := strings.Repeat(string(rune('a'+i)), 200_000)
		bodies[body] = true
		go func() { done <- g.put("/w/one", body) }()
	}
	created := 0
	for range n {
		got := <-done
		if got.StatusCode == 201 {
			created++
		} else if got.StatusCode != 204 {
			t.Errorf("PUT = %d %q", got.StatusCode, got.body)
		}
	}
	if got := g.get("/w/one"); !bodies[got.body] || created != 1 {
		t.Errorf("GET = %d bytes beginning with %.1q, %d created, want one of the bodies, whole, and one", len(got.body), got.body, created)
	}
}

// shows is what the JSON of a directory says, a line each.
func (g *rig) shows(path string) (lines []string) {
	g.t.Helper()
	got := g.get(path, "Accept: application/json")
	var rows []struct {
		Name, Cached string
		Size         *int64
		Exact        bool `json:"size_exact"`
		Dir          bool `json:"is_dir"`
		Step         int  `json:"mod_time_step"`
		Zone         bool `json:"zone_known"`
	}
	if err := json.Unmarshal([]byte(got.body), &rows); got.StatusCode != 200 || err != nil {
		g.t.Fatalf("GET %s = %d %q, %v", path, got.StatusCode, got.body, err)
	}
	for _, r := range rows {
		line := r.Name + " " + r.Cached
		if r.Exact && r.Size != nil && r.Step == 1 && r.Zone {
			line += fmt.Sprintf(" exactly %d", *r.Size)
		}
		lines = append(lines, line)
	}
	return lines
}

func TestOriginalsAreListed(t *testing.T) {
	g := newWritableRig(t)
	g.o.File("/w/", index("d/"), kind(asHTML))
	before := g.get("/w/d/", "Accept: application/json").Header.Get("Etag")
	for path, body := range map[string]string{"/w/d/mine": "12345", "/w/own/deep/x": "1", "/w/own/y%20z": "22"} {
		if got := g.put(path, body); got.StatusCode != 201 {
			t.Fatalf("PUT %s = %d %q", path, got.StatusCode, got.body)
		}
	}
	for path, want := range map[string]string{
		"/w/":          "d/ fresh, own/ fresh",
		"/w/d/":        "b/ absent, a absent, mine fresh exactly 5",
		"/w/own/":      "deep/ fresh, y z fresh exactly 2",
		"/w/own/deep/": "x fresh exactly 1",
	} {
		if got := strings.Join(g.shows(path), ", "); got != want {
			t.Errorf("%s lists %s, want %s", path, got, want)
		}
	}
	if page := g.get("/w/own/"); page.StatusCode != 200 || !strings.Contains(page.body, "made false offline false stale false local true of 2") {
		t.Errorf("the page of what is here alone: %d %s", page.StatusCode, page.body)
	}
	if got := g.get("/w/own"); got.StatusCode != 301 || got.Header.Get("Location") != "/w/own/" {
		t.Errorf("a directory without its slash: %d %s, want 301", got.StatusCode, got.Header.Get("Location"))
	}
	if got := g.send("HEAD /w/own/ HTTP/1.1"); got.StatusCode != 200 {
		t.Errorf("HEAD of it: %d, want 200", got.StatusCode)
	}
	after := g.get("/w/d/", "Accept: application/json").Header.Get("Etag")
	g.put("/w/d/mine", "54321")
	if again := g.get("/w/d/", "Accept: application/json").Header.Get("Etag"); before == after || again == after {
		t.Errorf("entity tags of the listing: %s, with a new original %s, with another body %s, want three", before, after, again)
	}
	g.put("/w/d/a", "in its place")
	if got := strings.Join(g.shows("/w/d/"), ", "); got != "b/ absent, a fresh exactly 12, mine fresh exactly 5" {
		t.Errorf("with an original in a file's place: %s", got)
	}
	g.o.Stop()
	if got := strings.Join(g.shows("/w/d/"), ", "); !strings.Contains(got, "mine fresh exactly 5") {
		t.Errorf("without the upstream: %s, want the originals in it", got)
	}
	g.get("/w/own/deep/x").want(t, "an original without the upstream", 200, "1", "HIT")
	for _, path := range []string{"/w/own/deep/x", "/w/own/y%20z"} {
		if got := g.send("DELETE " + path + " HTTP/1.1"); got.StatusCode != 204 {
			t.Errorf("DELETE %s = %d", path, got.StatusCode)
		}
	}
	if got := strings.Join(g.shows("/w/"), ", "); strings.Contains(got, "own") {
		t.Errorf("after the last one went: %s, want no directory of theirs", got)
	}
}

func TestWhatIsHereAloneIsVouchedFor(t *testing.T) {
	g := newWritableRig(t)
	g.put("/w/own/x", "1")
	field := g.get("/w/own/", "Accept: application/json").Header.Get(subtreeField)
	digest, _, _ := strings.Cut(field, ";")
	if !strings.HasSuffix(field, "; complete=?1") || len(digest) != 66 {
		t.Fatalf("Zcache-Subtree %q, want a digest of all", field)
	}
	if got := g.get("/w/own/", ifSubtreeField+": "+digest); got.StatusCode != 304 {
		t.Errorf("to who knows it: %d, want 304", got.StatusCode)
	}
	g.put("/w/own/x", "2")
	if got := g.get("/w/own/", ifSubtreeField+": "+digest); got.StatusCode != 200 || strings.HasPrefix(got.Header.Get(subtreeField), digest) {
		t.Errorf("when it has changed: %d, %s, want another", got.StatusCode, got.Header.Get(subtreeField))
	}
}

func TestWhoMayPut(t *testing.T) {
	g := newWritableRig(t)
	r := g.rule("version = 1\n\n[anonymous]\nread = [\"/\"]\n",
		auth.TokenInfo{Name: "writer", Write: []string{"/w/up"}, Scope: []string{"write"}},
		auth.TokenInfo{Name: "reader"},
	)
	for _, c := range []struct {
		claim, who, path string
		status           int
	}{
		{"the writer, where it may", "writer", "/w/up/x", 201},
		{"the writer, elsewhere", "writer", "/w/d/x", 403},
		{"a reader", "reader", "/w/up/y", 403},
		{"anybody, on this machine or not", "", "/w/up/y", 401},
		{"a wrong token", "nobody", "/w/up/y", 401},
	} {
		for _, method := range []string{"PUT", "DELETE"} {
			status := c.status
			if method == "DELETE" && status == 201 {
				status = 204
			}
			got := g.sendBody("1", method+" "+c.path+" HTTP/1.1", append(r.as(c.who, false), "Content-Length: 1")...)
			if got.StatusCode != status {
				t.Errorf("%s: %s %s = %d %q, want %d", c.claim, method, c.path, got.StatusCode, got.body, status)
			}
		}
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x:" + r.tokens["writer"]))
	if got := g.put("/w/up/z", "1", "Authorization: Basic "+basic); got.StatusCode != 401 && got.StatusCode != 403 {
		t.Errorf("the writer by Basic, which browsers send unasked: %d, want it refused", got.StatusCode)
	}
	key, err := cache.ParseKey("w", "/up/z", "", false)
	if err != nil || g.tree.IsOriginal(key) {
		t.Errorf("what was refused is held (%v)", err)
	}
}

func TestOnlyThisMachinePutsWithoutAnAuthFile(t *testing.T) {
	g := newWritableRig(t)
	if got := g.put("/w/x", "1", "Host: cache.lab"); got.StatusCode != 403 {
		t.Errorf("by another name: %d, want 403", got.StatusCode)
	}
	if got := g.put("/w/x", "1", "X-Forwarded-For: 10.0.0.1"); got.StatusCode != 403 {
		t.Errorf("through a proxy that nobody trusts: %d, want 403", got.StatusCode)
	}
	if got := g.put("/w/x", "1"); got.StatusCode != 201 {
		t.Errorf("from here: %d, want 201", got.StatusCode)
	}
}

func TestOriginalsOfAHubThatPassesIdentities(t *testing.T) {
	g := newRig(t, Hub{Name: "w", Mount: "/w/", Listings: true, Writable: true, Identity: IdentityPass}).listing()
	g.o.File("/w/d/", index("a"), kind(asHTML))
	r := g.rule("version = 1\n\n[anonymous]\nread = [\"/\"]\n", auth.TokenInfo{Name: "one", Write: []string{"/"}, Scope: []string{"write"}}, auth.TokenInfo{Name: "two"})
	if got := g.put("/w/d/x", "for all", r.as("one", false)...); got.StatusCode != 201 {
		t.Fatalf("PUT = %d %q", got.StatusCode, got.body)
	}
	for _, who := range []string{"one", "two", ""} {
		if got := g.send("GET /w/d/x HTTP/1.1", r.as(who, false)...); got.StatusCode != 200 || got.body != "for all" {
			t.Errorf("GET as %q = %d %q, want it", who, got.StatusCode, got.body)
		}
		got := g.send("GET /w/d/ HTTP/1.1", append(r.as(who, false), "Accept: text/plain")...)
		if got.StatusCode != 200 || !strings.Contains(got.body, "x\n") {
			t.Errorf("the directory as %q = %d %q, want it listed", who, got.StatusCode, got.body)
		}
	}
}
