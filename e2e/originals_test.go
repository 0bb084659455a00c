package e2e

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A lab has a hub that clients may put files into, over an upstream with some of its own.
type lab struct {
	*keyring
	z  *zcache
	up *nginx
}

func startLab(t *testing.T, head string) *lab {
	t.Helper()
	l := &lab{up: startNginx(t, "autoindex on;")}
	for _, path := range []string{"src/theirs", "src/deep/theirs", "other/theirs"} {
		l.up.put("t/"+path, []byte("theirs at "+path))
	}
	l.keyring = newKeyring(t, "[anonymous]\nread = [\"/lab\"]\n").give("writer", "--write", "/lab").give("reader").give("some", "--write", "/lab/src").give("ops", "--scope", "operate")
	l.z = start(t, l.config(head))
	return l
}

func (l *lab) config(head string) string {
	return settings(l.t, fmt.Sprintf("auth-file = %q\nlisting-ttl = \"1ms\"\n%s\n[[hub]]\nname = \"lab\"\nupstream = %q\nretries = 1\nwritable = true\n", l.file, head, l.up.url+"/t"))
}

// put sends a body as who says, with more fields.
func (l *lab) put(who, path string, body []byte, fields ...string) answer {
	l.t.Helper()
	if who != "" {
		fields = append(fields, l.as(who))
	}
	req, err := http.NewRequest(http.MethodPut, l.z.url+path, bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	setFields(req, fields)
	resp, err := plain.Do(req)
	if err != nil {
		l.t.Fatalf("PUT %s: %v", path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return answer{Status: resp.StatusCode, Header: resp.Header, Body: got, Err: err}
}

func contentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "Content-Digest: sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// noDrafts wants nothing to be left of what was not kept.
func (z *zcache) noDrafts() {
	z.t.Helper()
	eventually(z.t, waitShort, "no draft is left", func() (bool, string) {
		left, _ := filepath.Glob(filepath.Join(z.root, ".zcache", "tmp", "*"))
		left = slices.DeleteFunc(left, func(name string) bool { return filepath.Base(name) == "health" }) // the probe of the store
		return len(left) == 0, strings.Join(left, " ")
	})
}

func TestAnOriginalIsKeptWholeOrNotAtAll(t *testing.T) {
	l := startLab(t, "")
	body := bytesOf("mine", 3*mib)
	file := filepath.Join(t.TempDir(), "mine.tar")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	upload := func(url string, fields ...string) string {
		t.Helper()
		args := []string{"-sS", "--noproxy", "*", "-o", "-", "-w", "%{http_code}", "-T", file, "-H", l.as("writer")}
		for _, f := range fields {
			args = append(args, "-H", f)
		}
		out, errs, _ := command(t, "curl", append(args, url)...)
		return out + errs
	}
	if said := upload(l.z.url+"/lab/new/mine.tar", contentDigest(body), "Content-Type: application/x-mine"); said != "201" {
		t.Fatalf("curl -T = %q, want 201", said)
	}
	a := get(t, l.z.url+"/lab/new/mine.tar").whole(t, "what was put", body)
	if a.Header.Get("Content-Type") != "application/x-mine" || strings.HasPrefix(a.Header.Get("Etag"), "W/") || a.Header.Get("Etag") == "" || a.cache() != "HIT" {
		t.Errorf("what was put comes with %v", a.Header)
	}
	get(t, l.z.url+"/lab/new/mine.tar", "If-None-Match: "+a.Header.Get("Etag")).is(t, "a condition", 304, "")
	if r := get(t, l.z.url+"/lab/new/mine.tar", "Range: bytes=5-9"); r.Status != 206 || !bytes.Equal(r.Body, body[5:10]) {
		t.Errorf("a range = %d %q", r.Status, r.Body)
	}

	// Of a larger one the connection would end while the body is on its way, for a client that does not wait for the word.
	small := body[:1000]
	sum5, sum512 := md5.Sum(small), sha512.Sum512(small)
	for _, row := range []struct {
		claim, field string
		status       int
	}{
		{"another digest", contentDigest([]byte("another")), 400},
		{"another digest in Repr-Digest", strings.Replace(contentDigest([]byte("another")), "Content", "Repr", 1), 400},
		{"one right and one wrong", contentDigest(small) + ", sha-512=:" + strings.Repeat("A", 86) + "==:", 400},
		{"a digest that is none", "Content-Digest: sha-256=mine", 400},
		{"another sum", "X-Checksum-Sha1: " + strings.Repeat("0", 40), 400},
		{"a part", "Content-Range: bytes 0-9/10", 400},
		{"a coded body", "Content-Encoding: gzip", 415},
		{"a page of another site", "Origin: https://evil.example", 403},
		{"a condition that does not hold", `If-Match: "none"`, 412},
		{"an algorithm that nobody knows", "Content-Digest: crc-99=:AAAA:", 201},
		{"sha-512", "Content-Digest: sha-512=:" + base64.StdEncoding.EncodeToString(sum512[:]) + ":", 201},
		{"Content-MD5", "Content-MD5: " + base64.StdEncoding.EncodeToString(sum5[:]), 201},
		{"X-Checksum-Md5", "X-Checksum-Md5: " + hex.EncodeToString(sum5[:]), 201},
	} {
		path := "/lab/try/" + strings.ReplaceAll(row.claim, " ", "-")
		if a := l.put("writer", path, small, row.field).is(t, row.claim, row.status, ""); row.status >= 400 {
			a.problem(t, row.claim)
			get(t, l.z.url+path).is(t, row.claim+": afterwards", 404, "")
		} else {
			get(t, l.z.url+path).whole(t, row.claim, small)
		}
	}
	if said := upload(l.z.url+"/lab/new/mine.tar", contentDigest([]byte("x"))); !strings.HasSuffix(said, "400") || !strings.Contains(said, "digest_differs") {
		t.Errorf("curl -T with another digest = %q, want 400", said)
	}
	get(t, l.z.url+"/lab/new/mine.tar").whole(t, "after a PUT that was refused", body)
	l.cut("/lab/try/cut", 1000, body[:600])
	l.cut("/lab/new/mine.tar", 1000, body[:600])
	get(t, l.z.url+"/lab/try/cut").is(t, "a body that broke off", 404, "")
	get(t, l.z.url+"/lab/new/mine.tar").whole(t, "after a body that broke off", body)
	l.z.noDrafts()
	l.kept(l.z)
}

// cut puts less than it said, and leaves.
func (l *lab) cut(path string, says int, body []byte) {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.z.addr)
	if err != nil {
		l.t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\n%s\r\nContent-Length: %d\r\n\r\n", path, l.as("writer"), says)
	_, _ = conn.Write(body)
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.CloseWrite()
	}
	_ = conn.SetDeadline(time.Now().Add(waitShort))
	said, _ := io.ReadAll(conn)
	conn.Close()
	if s := string(said); strings.Contains(s, " 201 ") || strings.Contains(s, " 204 ") {
		l.t.Errorf("a body of %d of %d bytes was taken: %.100q", len(body), says, said)
	}
}

func TestOriginalsAreForWhoMayWrite(t *testing.T) {
	l := startLab(t, "")
	l.put("writer", "/lab/src/mine", []byte("1")).is(t, "a PUT", 201, "")
	l.put("writer", "/lab/src/mine", []byte("2")).is(t, "another", 204, "")
	l.put("writer", "/lab/src/mine", []byte("3"), "If-None-Match: *").is(t, "one that must be new", 412, "")
	l.put("writer", "/lab/src/new", []byte("n"), "If-None-Match: *").is(t, "one that is", 201, "")
	etag := get(t, l.z.url+"/lab/src/mine").whole(t, "the second", []byte("2")).Header.Get("Etag")
	l.put("writer", "/lab/src/mine", []byte("3"), "If-Match: "+etag).is(t, "one over what is known", 204, "")
	l.put("writer", "/lab/src/mine", []byte("4"), "If-Match: "+etag).is(t, "one over what was", 412, "")
	for _, row := range []struct {
		who, field, path string
		status           int
	}{
		{"", "", "/lab/src/mine", 401}, {"reader", "", "/lab/src/mine", 403}, {"ops", "", "/lab/src/mine", 403}, {"some", "", "/lab/other/mine", 403},
		{"", "Authorization: Basic " + l.basic("writer"), "/lab/src/mine", 403}, {"", "Authorization: Bearer zct_none", "/lab/src/mine", 401},
		{"", "Proxy-Authorization: Bearer " + l.tokens["writer"], "/lab/src/mine", 401},
	} {
		for _, method := range []string{"PUT", "DELETE", "POST", "PATCH"} {
			var fields []string
			if row.who != "" {
				fields = append(fields, l.as(row.who))
			}
			if row.field != "" {
				fields = append(fields, row.field)
			}
			ask(t, method, l.z.url+row.path, fields...).is(t, fmt.Sprintf("%s %s for %q with %.20q", method, row.path, row.who, row.field), row.status, "")
		}
	}
	l.put("some", "/lab/src/deep/mine", []byte("s")).is(t, "where it may", 201, "")
	for line, status := range map[string]int{
		"POST /lab/src/mine": 405, "PUT /lab/src/": 409, "DELETE /lab/src/": 409, "DELETE /lab/src/none": 404, "PUT /lab/src/x?y": 400, "PUT /lab/src/%2e%2e/x": 400,
	} {
		method, path, _ := strings.Cut(line, " ")
		ask(t, method, l.z.url+path, l.as("writer")).is(t, line, status, "")
	}
	get(t, l.z.url+"/lab/src/theirs").is(t, "what is the upstream's", 200, "MISS")
	ask(t, "DELETE", l.z.url+"/lab/src/theirs", l.as("writer")).is(t, "a DELETE of what is the upstream's", 409, "")
	get(t, l.z.url+"/lab/src/theirs").is(t, "what is the upstream's, still", 200, "HIT")
	get(t, l.z.url+"/lab/src/mine").whole(t, "after all that", []byte("3"))
	if asked := append(l.up.log("/t/src/mine"), l.up.log("/t/src/theirs")[1:]...); len(asked) > 0 {
		t.Errorf("beyond one GET of its own file the upstream was asked %+v", asked)
	}
	// Who may not write is told so before the body is on its way.
	refusal := raw(t, l.z.addr, fmt.Sprintf("PUT /lab/src/big HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n%s\r\n\r\n", l.as("reader")))
	if refusal.Status != 403 || strings.Contains(refusal.Raw, "100 Continue") {
		t.Errorf("a PUT that waits for the word = %.200q, want 403 at once", refusal.Raw)
	}
	open := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"lab\"\nupstream = %q\nwritable = true\n", l.up.url)))
	ask(t, "PUT", open.url+"/lab/x").is(t, "without an auth file, on this machine", 201, "")
	ask(t, "PUT", open.url+"/lab/x", "Host: lab.example").is(t, "without an auth file, from elsewhere", 403, "")
	ask(t, "PUT", open.url+"/lab/x", "X-Forwarded-For: 192.0.2.1").is(t, "without an auth file, for another", 403, "")
	l.kept(l.z)
}

// Who puts one path at the same time as others puts the whole of it, and readers see nobody's half.
func TestPutsOfOnePathDoNotMix(t *testing.T) {
	l := startLab(t, "")
	const size = 2 * mib
	whole := map[string]bool{}
	for i := range 8 {
		whole[string(bytes.Repeat([]byte{byte('a' + i)}, size))] = true
	}
	l.put("writer", "/lab/one", []byte(strings.Repeat("a", size)))
	var writers, readers sync.WaitGroup
	ended := make(chan struct{})
	for body := range whole {
		writers.Go(func() {
			if a := l.put("writer", "/lab/one", []byte(body), contentDigest([]byte(body))); a.Status != 204 {
				t.Errorf("PUT of %.1s = %d %s", body, a.Status, a.Body)
			}
		})
	}
	for range 4 {
		readers.Go(func() {
			for {
				if a := get(t, l.z.url+"/lab/one"); a.Status != 200 || !whole[string(a.Body)] {
					t.Errorf("a reader got %d, %d bytes, %v", a.Status, len(a.Body), a.Err)
				}
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	writers.Wait()
	close(ended)
	readers.Wait()
	l.z.noDrafts()
}

func TestZcachePut(t *testing.T) {
	l := startLab(t, "")
	body := bytesOf("put", 100_000)
	file := filepath.Join(t.TempDir(), "a b.tar")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(who string, args ...string) (string, int) {
		t.Helper()
		args = append([]string{"put", "--server", l.z.url}, args...)
		if who != "" {
			args = append(args[:1:1], append([]string{"--token-file", l.tokenFile(who)}, args[1:]...)...)
		}
		out, errs, exit := command(t, binary, args...)
		return out + errs, exit
	}
	sum := sha256.Sum256(body)
	if said, exit := put("writer", file, "/lab/dir/"); exit != 0 || !strings.Contains(said, "put /lab/dir/a%20b.tar") || !strings.Contains(said, hex.EncodeToString(sum[:])) {
		t.Errorf("put into a directory: exit %d, %q", exit, said)
	}
	get(t, l.z.url+"/lab/dir/a%20b.tar").whole(t, "what was put", body)
	if said, exit := put("writer", "--no-clobber", file, "/lab/dir/"); exit == 0 || !strings.Contains(said, "there already") {
		t.Errorf("put that must not replace: exit %d, %q", exit, said)
	}
	said, exit := put("writer", "--json", file, "/lab/dir/a%20b.tar")
	var done struct {
		Created bool
		SHA256  string
	}
	if err := json.Unmarshal([]byte(said), &done); err != nil || exit != 0 || done.Created || done.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("put --json: exit %d, %q, %v", exit, said, err)
	}
	for who, word := range map[string]string{"reader": "denied", "": "token-file"} {
		if said, exit := put(who, file, "/lab/no"); exit != 1 || !strings.Contains(said, word) {
			t.Errorf("put by %q: exit %d, %q, want 1 and %q", who, exit, said, word)
		}
	}
	if said, exit := put("writer", file, "lab"); exit != 2 {
		t.Errorf("put to no path: exit %d, %q, want 2", exit, said)
	}
	get(t, l.z.url+"/lab/no").is(t, "what was refused", 404, "")
}
