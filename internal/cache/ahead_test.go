package cache_test

import (
	"testing"

	"zcache/internal/cache"
	"zcache/internal/cache/cachetest"
)

func TestAnnouncedBodiesDoNotUseTheSpaceUp(t *testing.T) {
	tree := openTree(t, cache.Config{Dir: t.TempDir()})
	free, err := tree.Free()
	if err != nil || free < 2<<30 {
		t.Fatalf("this test needs 2 GiB free: %d, %v", free, err)
	}
	for _, path := range []string{"/one", "/two", "/three"} { // each announces half of what is free, and sends nothing
		m := cachetest.Meta()
		m.Size = free / 2
		d, err := tree.Create(cachetest.Key(t, path), m)
		if err != nil {
			t.Fatalf("Create %s: %v", path, err)
		}
		defer d.Discard(nil)
	}
	if left, err := tree.Free(); err != nil || left < free/2 {
		t.Errorf("three announcements leave %d of %d bytes, %v; want most of it", left, free, err)
	}
	m := cachetest.Meta()
	m.Size = 1 << 62
	if d, err := tree.Create(cachetest.Key(t, "/huge"), m); err == nil {
		d.Discard(nil)
		t.Error("a body larger than the disk was begun")
	}
}
