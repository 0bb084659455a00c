package cache

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcache/internal/durable"
)

func overflowFiles(tree *Tree) int {
	n := 0
	filepath.WalkDir(tree.Dir+"/"+overflowDir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		return nil
	})
	return n
}

func TestOrphanedOverflowFilesAreReaped(t *testing.T) {
	dir := t.TempDir()
	c := &clock{}
	tree := open(t, Config{Dir: dir, Now: c.now})
	big := func(vary string) *Meta {
		m := meta()
		m.Header.Set("X-Big", strings.Repeat("v", 100000))
		if vary != "" {
			m.Vary = http.Header{"X-Lang": {vary}}
		}
		return m
	}
	missing := big("")
	missing.Status = 404
	putMeta(t, tree, "/plain", "body", big(""))
	putMeta(t, tree, "/doc", "document", big(""))
	put(t, tree, "/doc/child", "child")
	putMeta(t, tree, "/odd?q", "body", big(""))
	putMeta(t, tree, "/missing", "no", missing)
	putMeta(t, tree, "/vary", "de", big("de"))
	putMeta(t, tree, "/vary", "en", big("en"))
	d, err := tree.Create(key(t, "/draft"), big(""))
	must(t, err)
	_, err = io.WriteString(d, "half")
	must(t, err)
	d.Suspend(nil)
	active, err := tree.Create(key(t, "/active"), big(""))
	must(t, err)
	const used = 8
	if overflowFiles(tree) != used {
		t.Fatalf("%d overflow files, want %d", overflowFiles(tree), used)
	}
	putMeta(t, tree, "/gone", "body", big(""))
	putMeta(t, tree, "/gone?q", "body", big(""))
	must(t, os.Remove(dir+"/hub/gone"))
	must(t, os.Remove(dir+"/"+string(mainPlace(key(t, "/gone?q")))))
	must(t, os.WriteFile(dir+"/"+overflowDir+"/"+durable.TempPrefix+"x", nil, 0o600))
	must(t, tree.reapOverflows(t.Context()))
	if n := overflowFiles(tree); n != used+3 {
		t.Errorf("%d overflow files, want what is new left alone", n)
	}
	c.advance(2 * time.Hour)
	must(t, tree.reapOverflows(t.Context()))
	if n := overflowFiles(tree); n != used {
		t.Errorf("%d overflow files after reaping, want the %d that are referred to", n, used)
	}
	active.Discard(nil)
	for p, want := range map[string]string{"/plain": "body", "/doc": "document", "/odd?q": "body", "/missing": "no"} {
		if got := get(t, tree, p); got != want {
			t.Errorf("%s = %q after reaping, want %q", p, got, want)
		}
	}
	if r := tree.Resume(key(t, "/draft")); r == nil || len(r.Meta().Header.Get("X-Big")) != 100000 {
		t.Error("the draft lost its overflow file")
	}
}

func TestLeftoversOfWriteFileGoAtTheStart(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{Dir: dir}).Close()
	left := dir + "/" + ownDir + "/" + durable.TempPrefix + "x"
	must(t, os.WriteFile(left, nil, 0o600))
	next := open(t, Config{Dir: dir})
	next.tidyAtStart(t.Context())
	if exists(left) || !exists(dir+"/"+formatFile) {
		t.Errorf("leftover there: %v, format there: %v", exists(left), exists(dir+"/"+formatFile))
	}
}

func TestLargeMetasCountInTheTable(t *testing.T) {
	tree := open(t, Config{})
	m := meta()
	m.Header.Set("X-Big", strings.Repeat("v", 200<<10))
	for i := range 40 {
		p := "/" + strings.Repeat("a", i+1)
		putMeta(t, tree, p, "body", m)
		get(t, tree, p)
	}
	var ram int64
	for i := range tree.table.shard {
		ram += tree.table.shard[i].ram
	}
	if ram < 40*200<<10 {
		t.Errorf("40 Metas of 200 KiB weigh %d bytes", ram)
	}
}
