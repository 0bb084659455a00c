package fill

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
	"zcache/internal/origin/origintest"
)

func (g *rig) put(path, body string, lines ...string) (PutResult, error) {
	g.t.Helper()
	return g.f.Put(g.t.Context(), &PutRequest{Key: g.key(path), Header: fields(lines...), Body: strings.NewReader(body), Length: int64(len(body))})
}

func base(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func TestPutIsHeldAgainstItsDigests(t *testing.T) {
	const body = "what a client has"
	s256, s512 := sha256.Sum256([]byte(body)), sha512.Sum512([]byte(body))
	s1, s5 := sha1.Sum([]byte(body)), md5.Sum([]byte(body))
	wrong := sha256.Sum256([]byte("something else"))
	for _, row := range []struct {
		claim string
		field string
		want  error
	}{
		{"none", "", nil},
		{"Content-Digest", "Content-Digest: sha-256=:" + base(s256[:]) + ":", nil},
		{"Repr-Digest of SHA-512", "Repr-Digest: sha-512=:" + base(s512[:]) + ":", nil},
		{"two, and one that nobody knows", "Content-Digest: id-crc=:AA==:, sha-512=:" + base(s512[:]) + ":;x=1 , sha-256=:" + base(s256[:]) + ":", nil},
		{"one that nobody knows, badly written", "Content-Digest: crc32c=?", nil},
		{"X-Checksum-Sha256", "X-Checksum-Sha256: " + hex.EncodeToString(s256[:]), nil},
		{"in capitals", "X-Checksum-Sha256: " + strings.ToUpper(hex.EncodeToString(s256[:])), nil},
		{"X-Checksum-Sha1", "X-Checksum-Sha1: " + hex.EncodeToString(s1[:]), nil},
		{"X-Checksum-Md5", "X-Checksum-Md5: " + hex.EncodeToString(s5[:]), nil},
		{"Content-MD5", "Content-Md5: " + base(s5[:]), nil},
		{"another Content-Digest", "Content-Digest: sha-256=:" + base(wrong[:]) + ":", ErrSumDiffers},
		{"one that agrees and one that does not", "Content-Digest: sha-512=:" + base(s512[:]) + ":, sha-256=:" + base(wrong[:]) + ":", ErrSumDiffers},
		{"another X-Checksum-Sha256", "X-Checksum-Sha256: " + hex.EncodeToString(wrong[:]), ErrSumDiffers},
		{"another Content-MD5", "Content-Md5: " + base(make([]byte, 16)), ErrSumDiffers},
		{"a digest without colons", "Content-Digest: sha-256=" + base(s256[:]), ErrSumMalformed},
		{"a digest that is no base64", "Content-Digest: sha-256=:!:", ErrSumMalformed},
		{"a digest that is too short", "Content-Digest: sha-256=:AAAA:", ErrSumMalformed},
		{"hex that is none", "X-Checksum-Sha1: xyz", ErrSumMalformed},
		{"hex of another length", "X-Checksum-Md5: " + hex.EncodeToString(s1[:]), ErrSumMalformed},
		{"an empty checksum", "X-Checksum-Sha256: ", ErrSumMalformed},
		{"a checksum of a kind that is not checked", "X-Checksum-Crc32: 00000000", ErrSumMalformed},
		{"a long checksum that is wrong", "X-Checksum-Sha512: " + strings.Repeat("00", 64), ErrSumDiffers},
	} {
		t.Run(row.claim, func(t *testing.T) {
			g := newRig(t)
			var lines []string
			if row.field != "" {
				lines = []string{row.field}
			}
			got, err := g.put("/d/a", body, lines...)
			if !errors.Is(err, row.want) {
				t.Fatalf("Put with %s = %v, want %v", row.field, err, row.want)
			}
			if row.want == nil {
				if g.held("/d/a") != body || !got.Created || got.Meta.ETag() != `"`+hex.EncodeToString(s256[:])+`"` {
					t.Errorf("Put = %+v, held %q, want it created and held, by its SHA-256", got, g.held("/d/a"))
				}
			} else if g.held("/d/a") != "" || len(drafts(t, g)) > 0 {
				t.Errorf("held %q, drafts %q, want nothing kept", g.held("/d/a"), drafts(t, g))
			}
		})
	}
}

// drafts are the files of bodies that are not whole.
func drafts(t *testing.T, g *rig) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(g.dir, ".zcache/drafts"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestPutThatIsNotWholeKeepsNothing(t *testing.T) {
	g := newRig(t)
	if _, err := g.put("/a", "before"); err != nil {
		t.Fatal(err)
	}
	broken := io.MultiReader(strings.NewReader("hal"), iotest{errors.New("broken off")})
	for claim, r := range map[string]*PutRequest{
		"one that breaks off":            {Body: broken, Length: 6},
		"one that ends early":            {Body: strings.NewReader("hal"), Length: 6},
		"one of unknown length that too": {Body: io.MultiReader(strings.NewReader("hal"), iotest{io.ErrUnexpectedEOF}), Length: -1},
	} {
		r.Key, r.Header = g.key("/a"), http.Header{}
		if _, err := g.f.Put(t.Context(), r); !errors.Is(err, ErrCut) {
			t.Errorf("%s: %v, want ErrCut", claim, err)
		}
		if g.held("/a") != "before" || len(drafts(t, g)) > 0 {
			t.Errorf("%s: held %q, drafts %q, want what was held and no drafts", claim, g.held("/a"), drafts(t, g))
		}
	}
	if _, err := g.f.Put(t.Context(), &PutRequest{Key: g.key("/b"), Header: http.Header{}, Body: strings.NewReader("chunks"), Length: -1}); err != nil || g.held("/b") != "chunks" {
		t.Errorf("one of unknown length that is whole: %v, held %q, want it", err, g.held("/b"))
	}
}

type iotest struct{ err error }

func (r iotest) Read([]byte) (int, error) { return 0, r.err }

func TestConditionsOfPutAndDelete(t *testing.T) {
	sum := sha256.Sum256([]byte("mine"))
	tag := `"` + hex.EncodeToString(sum[:]) + `"`
	for _, row := range []struct {
		claim string
		held  string // "", "mine" or "up": what lies there
		field string
		ok    bool
	}{
		{"a new file, if there is none", "", "If-None-Match: *", true},
		{"a new file in an original's place", "mine", "If-None-Match: *", false},
		{"a new file in the place of what was fetched", "up", "If-None-Match: *", false},
		{"the one that is meant", "mine", "If-Match: " + tag, true},
		{"one of several", "mine", `If-Match: "x", ` + tag, true},
		{"another one", "mine", `If-Match: "x"`, false},
		{"its tag, weak", "mine", "If-Match: W/" + tag, false},
		{"whatever there is", "mine", "If-Match: *", true},
		{"whatever there is, and that is nothing", "", "If-Match: *", false},
		{"none like it", "mine", "If-None-Match: " + tag, false},
		{"unmodified since then", "mine", "If-Unmodified-Since: Mon, 02 Jan 2090 00:00:00 GMT", true},
		{"modified since", "mine", "If-Unmodified-Since: Mon, 02 Jan 2006 00:00:00 GMT", false},
		{"unmodified, and it is not there", "", "If-Unmodified-Since: Mon, 02 Jan 2006 00:00:00 GMT", true},
	} {
		t.Run(row.claim, func(t *testing.T) {
			g := newRig(t)
			g.o.File("/a", origintest.Text("up"), origintest.Header("Cache-Control", "max-age=600"))
			before := row.held
			switch row.held {
			case "mine":
				if _, err := g.put("/a", "mine"); err != nil {
					t.Fatal(err)
				}
			case "up":
				g.get("/a")
				g.idle()
			}
			ready := false
			_, err := g.f.Put(t.Context(), &PutRequest{Key: g.key("/a"), Header: fields(row.field), Body: strings.NewReader("new"), Length: 3, Ready: func() { ready = true }})
			if row.ok != (err == nil) || !row.ok && !errors.Is(err, ErrPrecondition) || ready != row.ok {
				t.Fatalf("Put with %s = %v (ready for its body: %v), want ok %v", row.field, err, ready, row.ok)
			}
			if row.ok {
				before = "new"
			}
			if got := g.held("/a"); got != before {
				t.Errorf("held %q, want %q", got, before)
			}
			if row.ok || row.held != "mine" {
				return
			}
			if err := g.f.Delete(g.key("/a"), fields(row.field)); !errors.Is(err, ErrPrecondition) || g.held("/a") != "mine" {
				t.Errorf("Delete with %s = %v, held %q, want ErrPrecondition", row.field, err, g.held("/a"))
			}
		})
	}
}

func TestConditionsHoldWhenItIsPublished(t *testing.T) {
	g := newRig(t)
	const n = 8
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	all := make(chan struct{})
	ready := make(chan struct{}, n)
	for i := range n {
		wg.Go(func() {
			body := fmt.Sprintf("number %d", i)
			_, err := g.f.Put(t.Context(), &PutRequest{
				Key: g.key("/a"), Header: fields("If-None-Match: *"), Body: strings.NewReader(body), Length: int64(len(body)),
				Ready: func() { ready <- struct{}{}; <-all },
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made++
			} else if !errors.Is(err, ErrPrecondition) {
				t.Error(err)
			}
		})
	}
	for range n {
		<-ready
	}
	close(all)
	wg.Wait()
	if made != 1 {
		t.Errorf("%d of %d that were to create the file did, want one", made, n)
	}
}

func TestOriginalIsServedWithoutItsUpstream(t *testing.T) {
	g := newRig(t)
	g.o.File("/d/a", origintest.Text("theirs"))
	g.get("/d/a")
	g.idle()
	got, err := g.put("/d/a", "0123456789", "Content-Type: text/x-mine", "Cache-Control: no-store", "X-Other: y", "Content-Disposition: attachment")
	if err != nil || got.Created {
		t.Fatalf("Put over what was fetched = %+v, %v, want it replaced", got, err)
	}
	asked := g.o.Count("/d/a")
	tag := got.Meta.ETag()
	g.clock.Add(1000 * time.Hour)
	for _, row := range []struct {
		claim, method string
		lines         []string
		status        int
		body          string
		change        func(*Policy)
	}{
		{"a plain GET", "GET", nil, 200, "0123456789", nil},
		{"a HEAD", "HEAD", nil, 200, "", nil},
		{"a range", "GET", []string{"Range: bytes=2-4"}, 206, "234", nil},
		{"a range if it is the same", "GET", []string{"Range: bytes=2-4", "If-Range: " + tag}, 206, "234", nil},
		{"a condition", "GET", []string{"If-None-Match: " + tag}, 304, "", nil},
		{"one who wants it fresh", "GET", []string{"Cache-Control: no-cache"}, 200, "0123456789", nil},
		{"one who wants it young", "GET", []string{"Cache-Control: max-age=0"}, 200, "0123456789", nil},
		{"one who wants what is held", "GET", []string{"Cache-Control: only-if-cached"}, 200, "0123456789", nil},
		{"one with credentials", "GET", []string{"Authorization: Basic eDp5"}, 200, "0123456789", nil},
		{"one who names its digest", "GET", []string{"Repr-Digest: " + got.Meta.Header.Get("Repr-Digest")}, 200, "0123456789", nil},
		{"off line", "GET", nil, 200, "0123456789", func(p *Policy) { p.Offline = true }},
		{"of class index", "GET", nil, 200, "0123456789", func(p *Policy) { p.Class = freshness.ClassIndex }},
		{"of class bypass", "GET", nil, 200, "0123456789", func(p *Policy) { p.Class = freshness.ClassBypass }},
	} {
		t.Run(row.claim, func(t *testing.T) {
			old := g.policy
			defer g.set(func(p *Policy) { *p = old })
			if row.change != nil {
				g.set(row.change)
			}
			a := g.ask(t.Context(), row.method, "/d/a", row.lines...)
			a.want(t, row.method, row.status, row.body, Hit)
			h := a.header
			if h.Get("Age") != "0" || h.Get("Cache-Control") != "max-age=0" || h.Get("Etag") != tag || h.Get("Last-Modified") == "" || h.Get("X-Other") != "" ||
				h.Get("Content-Type") != "text/x-mine" || h.Get("Content-Disposition") != "attachment" || h.Get("Date") != "" {
				t.Errorf("fields %v", h)
			}
		})
	}
	other := sha256.Sum256([]byte("x"))
	if a := g.get("/d/a", "Repr-Digest: sha-256=:"+base(other[:])+":"); !errors.Is(a.err, ErrDigest) {
		t.Errorf("one who names another digest: %v, want ErrDigest", a.err)
	}
	r := &Request{Key: g.key("/d/a"), Method: http.MethodGet, Header: http.Header{}}
	g.f.Refresh(r)
	g.f.wg.Wait()
	if res, err := g.f.Sync(t.Context(), SyncRequest{Key: g.key("/d/a"), Row: "row"}); err != nil || res.Outcome != SyncSame {
		t.Errorf("Sync = %+v, %v, want SyncSame", res, err)
	}
	g.f.Invalidate(g.key("/d/a"), http.Header{})
	if n, err := g.f.Purge(g.key("/d/"), true); n != 0 || err != nil {
		t.Errorf("Purge = %d, %v, want nothing removed", n, err)
	}
	g.get("/d/a").want(t, "after all that", 200, "0123456789", Hit)
	if n := g.o.Count("/d/a"); n != asked {
		t.Errorf("the upstream was asked %d times, want not once", n-asked)
	}
}

func TestPutWhileTheSameIsFetched(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	big := origintest.Body(1, 1<<20)
	g.o.File("/a", big, origintest.Stall(1000, release), origintest.Header("Cache-Control", "max-age=600"))
	a := g.open("/a")
	if _, err := g.put("/a", "mine"); err != nil {
		t.Fatal(err)
	}
	g.get("/a").want(t, "one who asks after the PUT", 200, "mine", Hit)
	close(release)
	got := read(a, nil)
	if got.broken != nil || got.body != big.String() {
		t.Errorf("who asked before it: %d bytes, %v, want all that they were promised", len(got.body), got.broken)
	}
	g.f.wg.Wait()
	g.get("/a").want(t, "when the fetch has ended", 200, "mine", Hit)
}

func TestDelete(t *testing.T) {
	g := newRig(t)
	g.o.File("/up", origintest.Text("up"))
	g.get("/up")
	g.idle()
	if err := g.f.Delete(g.key("/up"), http.Header{}); !errors.Is(err, ErrNotOriginal) || g.held("/up") != "up" {
		t.Errorf("Delete of what was fetched = %v, want ErrNotOriginal, and it stays", err)
	}
	if err := g.f.Delete(g.key("/none"), http.Header{}); !errors.Is(err, cache.ErrNotStored) {
		t.Errorf("Delete of nothing = %v, want ErrNotStored", err)
	}
	if _, err := g.put("/up", "mine"); err != nil {
		t.Fatal(err)
	}
	if err := g.f.Delete(g.key("/up"), http.Header{}); err != nil {
		t.Fatal(err)
	}
	g.get("/up").want(t, "what is below an original that was deleted", 200, "up", Miss)
}

func TestWhatCannotBePut(t *testing.T) {
	g := newRig(t)
	for _, path := range []string{"/d/", "/", "/a?x", "/a//b", "/a%2Fb", "/a%2bb"} {
		if _, err := g.put(path, "x"); !errors.Is(err, ErrName) {
			t.Errorf("Put %s = %v, want ErrName", path, err)
		}
	}
	f := New(Config{Policy: func(cache.Key) Policy { return Policy{} }})
	defer f.Close()
	if _, err := f.Put(t.Context(), &PutRequest{Key: g.key("/a")}); !errors.Is(err, ErrNoOriginals) {
		t.Errorf("Put without a store = %v, want ErrNoOriginals", err)
	}
	if err := f.Delete(g.key("/a"), nil); !errors.Is(err, ErrNoOriginals) {
		t.Errorf("Delete without a store = %v, want ErrNoOriginals", err)
	}
}

func TestPutEndsWithItsFiller(t *testing.T) {
	g := newRig(t)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := g.f.Put(t.Context(), &PutRequest{Key: g.key("/a"), Header: http.Header{}, Body: r, Length: -1})
		r.Close() // as a server does with the body of a request that it has answered
		done <- err
	}()
	w.Write([]byte("begins"))
	g.f.Close()
	for {
		if _, err := w.Write([]byte(".")); err != nil {
			break // nobody reads on
		}
	}
	if err := <-done; !errors.Is(err, ErrStopping) || g.held("/a") != "" {
		t.Errorf("Put = %v, held %q, want ErrStopping and nothing", err, g.held("/a"))
	}
}
