package cache

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

// answered stores an answer that is no body.
func answered(t *testing.T, tree *Tree, path string, status int) {
	t.Helper()
	putMeta(t, tree, path, "no", &Meta{Status: status, Received: time.Now(), Size: -1, Limit: -1, Header: http.Header{}})
}

// keptAside counts the files that lie aside as such answers.
func keptAside(t *testing.T, tree *Tree) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(tree.Dir, otherDir), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	must(t, err)
	return n
}

func TestAFloodOfMissesKeepsNoMoreThanItMay(t *testing.T) {
	const most = 50
	tree := open(t, Config{})
	tree.negatives.most = most
	put(t, tree, "/held", "held")
	answered(t, tree, "/moved", 301)
	answered(t, tree, "/was-gone", 410)
	answered(t, tree, "/was-gone", 301) // no negative entry any more
	for i := range 4 * most {
		answered(t, tree, fmt.Sprintf("/none/%d", i), 404+6*(i%2))
		for range 3 { // what is asked for again and again is one entry
			answered(t, tree, "/popular", 404)
		}
	}
	if n := keptAside(t, tree); n > most+2 {
		t.Errorf("%d answers are kept, want at most %d and the two redirects", n, most)
	}
	for path, want := range map[string]string{
		"/held": "held", "/moved": "no", "/was-gone": "no", "/none/0": "-", "/none/100": "-",
		fmt.Sprintf("/none/%d", 4*most-1): "no", fmt.Sprintf("/none/%d", 4*most-most/2): "no",
	} {
		if got := get(t, tree, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	_, entries, _ := tree.Usage()
	must(t, tree.scan(t.Context()))
	if _, counted, _ := tree.Usage(); counted != entries {
		t.Errorf("%d entries are counted where %d lie", entries, counted)
	}
}
