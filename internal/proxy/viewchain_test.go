package proxy

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/freshness"
	"zcache/internal/origin"
)

// A child zcache mirrors what the token of its hub may see, and asks once whether that has changed.
func TestAChildKeepsWhatItsTokenSees(t *testing.T) {
	plain, dir := newOwnedRig(t)
	plant(t, dir, map[string]string{"pub/a": "a", "shut/x": "x", "top": "t"})
	g := plain.rule("version = 1\n[anonymous]\nread = [\"/none\"]\n", auth.TokenInfo{Name: "child", Read: []string{"/pub"}})
	u, err := url.Parse("http://" + g.addr)
	if err != nil {
		t.Fatal(err)
	}
	token := g.tokens["child"]
	tr, err := origin.New(origin.Config{Hubs: []origin.Hub{{Name: "up", Upstreams: []*url.URL{u}, Bearer: func() (string, error) { return token, nil }}}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	tree, err := cache.OpenTree(cache.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	child := fill.New(fill.Config{
		Store: tree, Origin: tr, KeyOf: func(string, *url.URL) (cache.Key, bool) { return cache.Key{}, false },
		Upstream: func(cache.Key) string { return "" },
		Policy: func(cache.Key) fill.Policy {
			return fill.Policy{Rule: freshness.Rule{ListingTTL: time.Minute}, Listings: true, Tries: 1}
		},
	})
	defer child.Close()
	sync := func(path, digest string) (fill.SyncOutcome, *cache.Entry) {
		key, err := cache.ParseKey("up", path, "", false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := child.Sync(t.Context(), fill.SyncRequest{Key: key, Subtree: digest})
		if err != nil {
			t.Fatalf("Sync(%s): %v", path, err)
		}
		e, err := tree.Open(key, fill.ForListing(nil))
		if err != nil {
			return got.Outcome, nil
		}
		e.Close()
		return got.Outcome, e
	}
	outcome, e := sync("/", "")
	if outcome != fill.SyncStored || e == nil || !e.Meta.Listing {
		t.Fatalf("Sync(/) = %v, %+v, want a listing that is kept", outcome, e)
	}
	digest := e.Meta.Header.Get(subtreeField)[1:65]
	if outcome, _ := sync("/", digest); outcome != fill.SyncSame {
		t.Errorf("Sync(/) with the digest of what is seen = %v, want %v", outcome, fill.SyncSame)
	}
	plant(t, dir, map[string]string{"shut/y": "y"})
	if outcome, _ := sync("/", digest); outcome != fill.SyncSame {
		t.Errorf("Sync(/) after a change of what is hidden = %v, want %v", outcome, fill.SyncSame)
	}
	plant(t, dir, map[string]string{"pub/b": "b"})
	if outcome, _ := sync("/", digest); outcome == fill.SyncSame {
		t.Error("Sync(/) after a change of what is seen says that nothing changed")
	}
	if outcome, _ := sync("/shut/x", ""); outcome != fill.SyncDenied {
		t.Errorf("Sync(/shut/x) = %v, want %v", outcome, fill.SyncDenied)
	}
	if e, err := tree.Open(mustParse(t, "up", "/"), http.Header{"Accept": fill.ForListing(nil)["Accept"]}); err == nil {
		l, err := tree.Listing(e)
		e.Close()
		if err != nil || len(l.Entries) != 1 || l.Entries[0].Name != "pub" {
			t.Errorf("what the child lists: %+v, %v, want pub alone", l, err)
		}
	}
}

func mustParse(t *testing.T, hub, path string) cache.Key {
	t.Helper()
	key, err := cache.ParseKey(hub, path, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
