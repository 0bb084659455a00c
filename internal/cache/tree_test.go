package cache_test

import (
	"testing"

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
