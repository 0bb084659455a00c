package fill

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/origin/origintest"
)

func TestVersioned(t *testing.T) {
	for name, want := range map[string]bool{
		"foo-1.2.3.tar.xz": true, "foo-v1.2.tar.gz": true, "linux-6.9.1.tar.sign": false, "linux-6.9.tar.xz": true, "foo_1.2-1_amd64.deb": true,
		"libfoo-dev_1.2.3-1_amd64.deb": true, "foo-devel-1.2-3.el9.x86_64.rpm": true, "foo-1.2.3-py3-none-any.whl": true, "git-2.43.0.tar.xz": true,
		"foo-1.2.3.TAR.XZ": true, "gcc-13.2.0.tar.gz": true, "foo-1.2+b1.zip": true, "foo-1.2.3-SNAPSHOT.jar": false, "foo-latest.tar.gz": false,
		"foo-latest-1.2.tar.gz": false, "foo.tar.gz": false, "1.2.3.tar.gz": false, "foo-2024.tar.gz": false, "foo-1.2.3": false, "foo-1.2.3.html": false,
		"foo-1.2.3.tar.gz.asc": false, "Packages.gz": false, "FreeBSD-15.0-CURRENT-amd64.iso": false, "master-1.0.zip": true, "foo-1.x.zip": false, "": false,
		".tar.gz": false, "-1.2.zip": false,
	} {
		if got := versioned(name); got != want {
			t.Errorf("versioned(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestChanged(t *testing.T) {
	meta := func(change func(*cache.Meta)) *cache.Meta {
		m := &cache.Meta{Status: 200, Size: 5, SHA256: [32]byte{1}, Header: http.Header{"Last-Modified": {"Mon, 02 Mar 2026 00:00:00 GMT"}}}
		if change != nil {
			change(m)
		}
		return m
	}
	other := func(m *cache.Meta) { m.SHA256 = [32]byte{2} }
	later := func(m *cache.Meta) {
		other(m)
		m.Header = http.Header{"Last-Modified": {"Tue, 03 Mar 2026 00:00:00 GMT"}}
	}
	for _, row := range []struct {
		claim     string
		name      string
		old, new  *cache.Meta
		immutable bool
		want      string
	}{
		{"the same bytes", "a-1.2.zip", meta(nil), meta(nil), true, ""},
		{"a release", "a-1.2.zip", meta(nil), meta(later), false, "release"},
		{"of class immutable", "a", meta(nil), meta(later), true, "immutable"},
		{"the same size and time", "a", meta(nil), meta(other), false, "same"},
		{"a later time", "a", meta(nil), meta(later), false, ""},
		{"the same time and another size", "a", meta(nil), meta(func(m *cache.Meta) { other(m); m.Size = 6 }), false, ""},
		{"no time at all", "a", meta(func(m *cache.Meta) { m.Header = nil }), meta(func(m *cache.Meta) { other(m); m.Header = nil }), false, ""},
		{"a digest that was not known", "a-1.2.zip", meta(func(m *cache.Meta) { m.SHA256 = [32]byte{} }), meta(other), true, ""},
		{"a listing", "", meta(func(m *cache.Meta) { m.Listing = true }), meta(other), true, ""},
		{"an error before", "a-1.2.zip", meta(func(m *cache.Meta) { m.Status = 404 }), meta(other), true, ""},
		{"an answer to another selection", "a-1.2.zip", meta(nil), meta(func(m *cache.Meta) { other(m); m.Vary = http.Header{"Accept": nil} }), true, ""},
		{"what a client put", "a-1.2.zip", meta(nil), meta(func(m *cache.Meta) { other(m); m.Original = true }), true, ""},
	} {
		t.Run(row.claim, func(t *testing.T) {
			got := changed(row.name, row.old, row.new, row.immutable)
			if (row.want == "") != (got == "") || !strings.Contains(got, row.want) {
				t.Errorf("changed = %q, want one with %q", got, row.want)
			}
		})
	}
}

// notices are what people were told.
type notices struct {
	mu  sync.Mutex
	all []string
}

func (n *notices) tell(kind string, key cache.Key, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, kind+" "+key.Path())
	if text == "" {
		n.all = append(n.all, "without a word")
	}
}

func (n *notices) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := n.all
	n.all = nil
	return out
}

func TestPeopleAreTold(t *testing.T) {
	g := newRig(t)
	var told notices
	g.f.cfg.Tell = told.tell
	g.set(func(p *Policy) { p.Tries = 1 })
	body := func(s string) *origintest.Content { return origintest.Text(s) }
	stale := origintest.Header("Cache-Control", "max-age=0")
	sum := fmt.Sprintf("%x", [32]byte{7})
	for _, row := range []struct {
		claim string
		do    func()
		want  string
	}{
		{"a miss that is filled", func() { g.o.File("/a-1.0.zip", body("PK1"), stale); g.get("/a-1.0.zip") }, ""},
		{"a release that changes", func() { g.o.File("/a-1.0.zip", body("PK22"), stale); g.get("/a-1.0.zip") }, NoticeChanged + " /a-1.0.zip"},
		{"an index that changes", func() {
			g.o.File("/Packages", body("1"), stale)
			g.get("/Packages")
			g.idle()
			g.o.File("/Packages", body("22"), stale)
			g.get("/Packages")
		}, ""},
		{"what is not there", func() { g.get("/none") }, ""},
		{"an answer 500 to a miss", func() { g.o.File("/broken", body("no"), origintest.Status(500)); g.get("/broken") }, NoticeFailed + " /broken"},
		{"an answer 403 to a miss", func() { g.o.File("/closed", body("no"), origintest.Status(403)); g.get("/closed") }, ""},
		{"a digest that a checksum file denies", func() {
			g.o.File("/sums/SHA256SUMS", body(sum+"  x\n"))
			g.o.File("/sums/x", body("x"))
			g.get("/sums/SHA256SUMS")
			g.idle()
			g.get("/sums/x")
		}, NoticeIntegrity + " /sums/x"},
		{"a web page for an archive", func() { g.o.File("/b.tar.gz", body("<html>portal</html>")); g.get("/b.tar.gz") }, NoticeFailed + " /b.tar.gz"},
		{"a walk that gets nothing", func() { g.f.Sync(t.Context(), SyncRequest{Key: g.key("/broken")}) }, ""},
		{"a release that a walk finds changed", func() {
			g.o.File("/a-1.0.zip", body("PK333"), stale)
			if got, err := g.f.Sync(t.Context(), SyncRequest{Key: g.key("/a-1.0.zip")}); err != nil || got.Outcome != SyncStored {
				t.Errorf("Sync = %+v, %v, want it stored", got, err)
			}
		}, NoticeChanged + " /a-1.0.zip"},
		{"no upstream, and a copy", func() { g.o.Stop(); g.get("/a-1.0.zip") }, ""},
		{"no upstream, and none", func() { g.get("/other") }, NoticeFailed + " /other"},
	} {
		row.do()
		g.f.wg.Wait() // what is told is told by flights
		var want []string
		if row.want != "" {
			want = []string{row.want}
		}
		if got := told.take(); !slices.Equal(got, want) {
			t.Errorf("%s: told %q, want %q", row.claim, got, want)
		}
	}
}

func TestNobodyIsToldOfWhatClientsName(t *testing.T) {
	g := newRig(t)
	var told notices
	g.f.cfg.Tell = told.tell
	key, err := cache.ParseKey(cache.FilesHub, "/http/nowhere.example/x", "", false)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := g.f.Get(t.Context(), &Request{Key: key, Method: http.MethodGet, Header: http.Header{}}); err == nil {
		a.Close()
		t.Fatal("Get of a host that is nowhere = no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	defer close(release)
	g.o.File("/slow", origintest.Text("x"), origintest.Stall(0, release))
	cancel()
	g.ask(ctx, http.MethodGet, "/slow")
	g.f.Close()
	if got := told.take(); len(got) > 0 {
		t.Errorf("told %q, want nothing", got)
	}
}
