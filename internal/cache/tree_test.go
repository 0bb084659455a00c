package cache_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/cache/cachetest"
)

func openTree(t testing.TB, c cache.Config) *cache.Tree {
	t.Helper()
	tree, err := cache.OpenTree(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func TestTreeIsAStore(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Store { return openTree(t, cache.Config{Dir: t.TempDir()}) })
}

func TestTreeIsAStoreWithFullDurability(t *testing.T) {
	cachetest.Run(t, func(t *testing.T) cache.Store { return openTree(t, cache.Config{Dir: t.TempDir(), Full: true}) })
}

func TestListingThatWasCopiedInIsAListing(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{
		".zcache-listing.html": "<html><head><title>Index of /d/</title></head><body><h1>Index of /d/</h1><pre><a href=\"../\">../</a>\n<a href=\"a\">a</a>  08-Nov-2025 10:00  12\n</pre></body></html>\n",
		".zcache-listing.json": `[{"name":"a","size":12,"url":"./a","mod_time":"2025-11-08T10:00:00Z","is_dir":false}]` + "\n",
	} {
		path := filepath.Join(dir, "hub", "d", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := openTree(t, cache.Config{Dir: dir})
	e, err := tree.Open(cachetest.Key(t, "/d/"), nil)
	if err != nil || !e.Adopted || !e.Meta.Listing {
		t.Fatalf("Open = %+v, %v, want an adopted listing", e, err)
	}
	defer e.Close()
	l, err := tree.Listing(e)
	if err != nil || len(l.Entries) != 1 || l.Entries[0].Name != "a" || l.Entries[0].Size != 12 {
		t.Errorf("Listing = %+v, %v, want the one entry a of 12 bytes", l, err)
	}
	// Confirmed by its origin it still is one.
	m := *e.Meta
	m.Listing, m.URL, m.Received = false, "http://origin.example/d/", time.Now()
	if err := tree.Freshen(e, &m); err != nil {
		t.Fatal(err)
	}
	if m, adopted, err := tree.Peek(cachetest.Key(t, "/d/")); err != nil || adopted || !m.Listing {
		t.Errorf("Peek = %+v, adopted %v, %v, want a confirmed listing", m, adopted, err)
	}
}
