package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// newOwnedRig serves a tree of this machine.
func newOwnedRig(t *testing.T) (g *rig, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "tree")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	g = newRigAt(t, "file://"+dir, Hub{Name: "top", Mount: "/", Listings: true, Local: true}).listing()
	g.policy.Local, g.policy.ListingTTL = true, 0
	return g, dir
}

// plant writes files of an hour ago; a name that ends in a slash is a directory, a text that begins with "-> " makes a link.
func plant(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		target, link := strings.CutPrefix(text, "-> ")
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(at, 0o755)
		case link:
			err = os.Symlink(target, at)
		default:
			old := time.Now().Add(-time.Hour)
			if err = os.WriteFile(at, []byte(text), 0o644); err == nil {
				err = os.Chtimes(at, old, old)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

var subtreeShape = regexp.MustCompile(`^"([0-9a-f]{64})"; as-of=@([0-9]+); complete=\?1$`)

// digest is what the gateway vouches for of a directory to another zcache; "" for nothing.
func (g *rig) digest(path string) string {
	g.t.Helper()
	got := g.send("HEAD "+path+" HTTP/1.1", "Accept: "+fill.ListingType)
	field := got.Header.Get(subtreeField)
	m := subtreeShape.FindStringSubmatch(field)
	if got.StatusCode != 200 || m == nil && field != "" {
		g.t.Fatalf("HEAD %s = %d, Zcache-Subtree %q", path, got.StatusCode, field)
	}
	if m == nil {
		return ""
	}
	return m[1]
}

func TestOwnersDigestShowsEveryChange(t *testing.T) {
	g, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{"a": "aa", "d/b": "bb", "d/e/c": "cc", "d/empty/": "", "l": "-> d/b", "dl": "-> d/e", "broken": "-> none"})
	at := func(name string) string { return filepath.Join(dir, name) }
	old := time.Now().Add(-2 * time.Hour)
	last := g.digest("/")
	for _, c := range []struct {
		claim   string
		change  func() error
		changes bool
	}{
		{"nothing", func() error { return nil }, false},
		{"a file's time", func() error { return os.Chtimes(at("d/e/c"), old, old) }, true},
		{"a fraction of it, which its tag has", func() error { return os.Chtimes(at("d/e/c"), old, old.Add(1)) }, true},
		{"a file's size, at the same time", func() error {
			return firstOf(os.WriteFile(at("d/b"), []byte("longer"), 0o644), os.Chtimes(at("d/b"), old, old))
		}, true},
		{"a file's mode", func() error { return os.Chmod(at("a"), 0o600) }, false},
		{"a directory's time", func() error { return os.Chtimes(at("d"), old, old) }, false},
		{"a new directory", func() error { return os.Mkdir(at("d/new"), 0o755) }, true},
		{"a directory in the place of a file", func() error { return firstOf(os.Remove(at("a")), os.Mkdir(at("a"), 0o755)) }, true},
		{"a link that leads elsewhere", func() error { return firstOf(os.Remove(at("l")), os.Symlink("d/e/c", at("l"))) }, true},
		{"a link that leads nowhere is not there", func() error { return os.Remove(at("broken")) }, false},
		{"what a zcache keeps for itself is not there", func() error { return os.WriteFile(at("d/.zcache-listing.json"), nil, 0o644) }, false},
		{"a name of bytes", func() error { return os.WriteFile(at("d/\xff"), nil, 0o644) }, true},
		{"a file renamed", func() error { return os.Rename(at("d/b"), at("d/b2")) }, true},
		{"a file gone", func() error { return os.Remove(at("d/b2")) }, true},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		now := g.digest("/")
		if (now != last) != c.changes || now == "" {
			t.Errorf("%s: digest changes = %v (%.8s to %.8s), want %v", c.claim, now != last, last, now, c.changes)
		}
		last = now
	}
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// seen is the digest of a directory as who asks for every file of it over HTTP makes it.
func (g *rig) seen(path string, trail listing.Trail) [32]byte {
	g.t.Helper()
	got := g.get(path, "Accept: "+fill.ListingType)
	u, err := url.Parse("http://" + g.addr + path)
	if err != nil {
		g.t.Fatal(err)
	}
	l, err := listing.Parse(listing.Source{URL: u, ContentType: got.Header.Get("Content-Type"), Now: time.Now()}, strings.NewReader(got.body))
	if err != nil {
		g.t.Fatalf("GET %s: %v", path, err)
	}
	var h listing.SubtreeHash
	for i := range l.Entries {
		e := &l.Entries[i]
		switch e.Kind {
		case listing.Dir:
			if below, ok := trail.Enter(e); ok {
				h.Dir(e.Name, g.seen(path+url.PathEscape(e.Name)+"/", below))
			}
		case listing.File:
			f := g.get(path + url.PathEscape(e.Name))
			modTime, _ := http.ParseTime(f.Header.Get("Last-Modified"))
			h.File(e.Name, int64(len(f.body)), modTime, f.Header.Get("Etag"), [32]byte{})
		}
	}
	return h.Sum()
}

func TestOwnersDigestIsWhatItsMirrorsMake(t *testing.T) {
	g, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{
		"a": "aa", "a b%": "x", "d/b": "bb", "d/e/c": "cc", "empty/": "", "l": "-> d/b", "dl": "-> d/e", "d/up": "-> ..", "d/e/there": "-> ../../o", "o/back": "-> ../d",
		"broken": "-> none", "past": "p", "future": "f", "now": "n", "back\\slash": "b",
	})
	for name, when := range map[string]time.Time{
		"past": time.Unix(12, 500), "future": time.Now().Add(time.Hour), "now": time.Now(), // whose tag is a weak one yet
	} {
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/", "/d/", "/d/e/", "/o/", "/empty/"} {
		if got, want := g.digest(path), fmt.Sprintf("%x", g.seen(path, listing.TrailFrom(path))); got != want {
			t.Errorf("digest of %s by its owner = %.16s, by who asks for all of it %.16s", path, got, want)
		}
	}
}

func TestOwnersDigestIsForZcaches(t *testing.T) {
	g, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{"a": "aa", "d/b": "bb"})
	known := g.digest("/")
	for _, accept := range []string{"text/html", "application/json", "*/*"} {
		if field := g.get("/", "Accept: "+accept).Header.Get(subtreeField); field != "" {
			t.Errorf("Accept %s: Zcache-Subtree %q, want none: it takes a look at every file", accept, field)
		}
	}
	for digest, want := range map[string]int{known: 304, "x" + known[1:]: 200} {
		got := g.get("/", ifSubtreeField+`: "`+digest+`"`)
		if got.StatusCode != want || got.Header.Get(subtreeField) == "" || want == 304 && got.body != "" {
			t.Errorf("asked for %.8s with %.8s held: %d %v, want %d", digest, known, got.StatusCode, got.Header, want)
		}
	}
	plant(t, dir, map[string]string{"d/b": "other"})
	if got := g.get("/", ifSubtreeField+`: "`+known+`"`); got.StatusCode != 200 {
		t.Errorf("after a change far below: %d, want 200", got.StatusCode)
	}
}

func TestOwnersDigestIsRememberedAsLongAsListings(t *testing.T) {
	g, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{"a": "aa", "d/b": "bb", "d/e/c": "c"})
	var clock struct {
		sync.Mutex
		ahead time.Duration
	}
	g.g.cfg.Now = func() time.Time { clock.Lock(); defer clock.Unlock(); return time.Now().Add(clock.ahead) }
	g.mu.Lock()
	g.policy.ListingTTL = time.Hour
	g.mu.Unlock()
	before, below := g.digest("/"), g.digest("/d/")
	began := time.Now().Unix()
	plant(t, dir, map[string]string{"d/e/c": "changed"})
	if got := g.digest("/"); got != before {
		t.Errorf("digest within the hour = %.8s, want the remembered %.8s", got, before)
	}
	if got := g.digest("/d/"); got != below {
		t.Errorf("digest of what was counted with it = %.8s, want the remembered %.8s", got, below)
	}
	clock.Lock()
	clock.ahead = time.Hour + time.Second
	clock.Unlock()
	got := g.get("/", "Accept: "+fill.ListingType)
	m := subtreeShape.FindStringSubmatch(got.Header.Get(subtreeField))
	if m == nil || m[1] == before {
		t.Fatalf("after the hour: %q, want another digest than %.8s", got.Header.Get(subtreeField), before)
	}
	if asOf, err := strconv.ParseInt(m[2], 10, 64); err != nil || asOf < began+3600 {
		t.Errorf("as-of = %s, want the new count's, not before %d", m[2], began+3600)
	}
}

func TestATreeTooLargeIsNotVouchedFor(t *testing.T) {
	g, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{"a": "aa", "d/b": "bb", "d/e/c": "c"})
	for left, want := range map[int]bool{5: true, 4: false} {
		c := &census{question: question{ownedKey: ownedKey{view: seesAll}, local: true}, g: g.g, ctx: t.Context(), now: time.Now(), left: left, found: map[ownedKey][32]byte{}}
		root, err := cache.ParseKey("top", "/", "", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = c.directory(root, listing.TrailFrom("/")); (err == nil) != want {
			t.Errorf("five entries with %d allowed: %v, want ok %v", left, err, want)
		}
	}
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if got := g.get("/", "Accept: "+fill.ListingType, ifSubtreeField+`: "x"`); got.Header.Get(subtreeField) != "" || got.StatusCode == 304 {
		t.Errorf("a tree that is away: %d, Zcache-Subtree %q, want none", got.StatusCode, got.Header.Get(subtreeField))
	}
}

func TestManyWhoAskForADigestWaitForOneCount(t *testing.T) {
	g, dir := newOwnedRig(t)
	for i := range 50 {
		plant(t, dir, map[string]string{fmt.Sprintf("d%d/f", i): "x", fmt.Sprintf("d%d/e/f", i): "y"})
	}
	g.mu.Lock()
	g.policy.ListingTTL = time.Hour
	g.mu.Unlock()
	want := g.digest("/d0/")
	var wg sync.WaitGroup
	all := make([]string, 20)
	root, err := cache.ParseKey("top", "/", "", false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		wg.Go(func() {
			all[i], _, _ = g.g.ownDigest(t.Context(), question{ownedKey: ownedKey{root, seesAll}, hub: g.g.files, local: true})
		})
	}
	wg.Wait()
	for _, got := range all {
		if got != all[0] || got == "" || got == want {
			t.Errorf("digests %.8s and %.8s of one tree, want one", got, all[0])
		}
	}
}

func TestALargeDirectoryIsCountedLikeASmallOne(t *testing.T) {
	g, dir := newOwnedRig(t)
	for i := range 5000 { // more than are looked up with the names
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := g.digest("/")
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(dir, "4321"), old, old); err != nil {
		t.Fatal(err)
	}
	if after := g.digest("/"); before == after || after == "" {
		t.Errorf("digest before %.8s, after a file's change %.8s, want another", before, after)
	}
}
