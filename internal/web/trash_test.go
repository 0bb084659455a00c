package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/fill"
)

// fakeTrash is a Trash that holds what it is told.
type fakeTrash struct {
	held     []cache.Retired
	err      error
	restored []string
}

func (f *fakeTrash) Trash(_ context.Context, under cache.Key, yield func(cache.Retired) bool) error {
	for _, e := range f.held {
		if e.Key.Under(under) && !yield(e) {
			return nil
		}
	}
	return f.err
}

func (f *fakeTrash) Restore(key cache.Key, recursive bool) (int, error) {
	f.restored = append(f.restored, fmt.Sprint(key, " ", recursive))
	return 2, f.err
}

func withTrash(f *fakeTrash) changing { return func(c *Config, _ *fill.Config) { c.Trash = f } }

func retired(t *testing.T, hub, path, query string) cache.Retired {
	t.Helper()
	key, err := cache.ParseKey(hub, path, query, query != "")
	if err != nil {
		t.Fatal(err)
	}
	return cache.Retired{Key: key, Size: int64(len(path)), When: walkEnded}
}

func TestTrashTellsWhatWasPutAside(t *testing.T) {
	f := &fakeTrash{held: []cache.Retired{
		retired(t, "up", "/d/a", ""), retired(t, "up", "/d/b", "x=1"), retired(t, "up", "/e", ""), retired(t, "deb", "/pool/c", ""), retired(t, "files", "/http/h.example/f", ""),
	}}
	g := newRig(t, withTrash(f))
	for _, row := range []struct {
		claim, query string
		want         string
		truncated    string
	}{
		{"all of it", "", "/up/d/a /up/d/b?x=1 /up/e http://deb.lab:3142/pool/c /files/http/h.example/f", ""},
		{"below a directory", "?path=/up/d/", "/up/d/a /up/d/b?x=1", ""},
		{"one entry", "?path=/up/e", "/up/e", ""},
		{"none there", "?path=/up/x/", "", ""},
		{"no more than is asked for", "?limit=2", "/up/d/a /up/d/b?x=1", "?1"},
		{"just as many", "?path=/up/d/&limit=2", "/up/d/a /up/d/b?x=1", ""},
	} {
		w := g.do("GET", "/-/trash"+row.query, "")
		var all []map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || all == nil {
			t.Fatalf("%s: trash%s = %v\n%s", row.claim, row.query, err, w.Body)
		}
		var paths []string
		for _, e := range all {
			paths = append(paths, e["path"].(string))
		}
		if got := strings.Join(paths, " "); got != row.want || w.Header().Get("Zcache-Truncated") != row.truncated {
			t.Errorf("%s: trash%s = %s (truncated %q), want %s (%q)", row.claim, row.query, got, w.Header().Get("Zcache-Truncated"), row.want, row.truncated)
		}
		if len(all) > 0 && row.query == "" && (all[0]["hub"] != "up" || all[0]["size"] != 4.0 || all[0]["retired"] != "2026-11-21T11:00:00Z") {
			t.Errorf("%s: entry = %v, want its hub, size and time", row.claim, all[0])
		}
	}
	if page := g.do("GET", "/-/trash", "", field("Accept", "text/html")).Body.String(); !strings.Contains(page, "/up/d/a") {
		t.Errorf("trash as HTML has no entry in it:\n%s", page)
	}
	for _, query := range []string{"?limit=0", "?limit=-1", "?limit=x", "?limit=100001"} {
		isProblem(t, query, g.do("GET", "/-/trash"+query, ""), http.StatusBadRequest, "bad_limit")
	}
	isProblem(t, "no hub", g.do("GET", "/-/trash?path=/other/", ""), http.StatusNotFound, "no_hub")
	isProblem(t, "no path", g.do("GET", "/-/trash?path=x", ""), http.StatusBadRequest, "bad_path")
	f.err = errors.New("read /srv/zcache: input/output error")
	isProblem(t, "a disk that does not answer", g.do("GET", "/-/trash", ""), http.StatusInternalServerError, "internal")
}

func TestRestoreBringsBackWhatIsNamed(t *testing.T) {
	f := &fakeTrash{}
	g := newRig(t, withTrash(f))
	for _, row := range []struct{ claim, body, want string }{
		{"one entry", `{"path":"/up/d/a","restore":true}`, "/up/d/a false"},
		{"all below a directory", `{"path":"/up/d/","restore":true,"recursive":true}`, "/up/d/ true"},
	} {
		f.restored = nil
		w := g.do("POST", "/-/trash", row.body)
		if w.Code != http.StatusOK || object(t, w)["restored"] != 2.0 || len(f.restored) != 1 || f.restored[0] != row.want {
			t.Errorf("%s: trash %s = %d, restored %q, want %q\n%s", row.claim, row.body, w.Code, f.restored, row.want, w.Body)
		}
	}
	if !strings.Contains(g.log.String(), "action=restore") {
		t.Error("what was restored is not in the log")
	}
	f.restored = nil
	for _, row := range []struct{ claim, body, word string }{
		{"no body", "", "bad_json"},
		{"a member that is mistyped", `{"path":"/up/d","restor":true}`, "bad_json"},
		{"no path", `{"restore":true}`, "no_path"},
		{"not said to restore", `{"path":"/up/d/a"}`, "no_path"},
		{"a dot segment", `{"path":"/up/../a","restore":true}`, "bad_path"},
	} {
		isProblem(t, row.claim, g.do("POST", "/-/trash", row.body), http.StatusBadRequest, row.word)
	}
	if len(f.restored) > 0 {
		t.Errorf("what was refused was restored: %q", f.restored)
	}
	bare := newRig(t, withoutStore)
	isProblem(t, "nothing is stored", bare.do("POST", "/-/trash", `{"path":"/up/d/a","restore":true}`), http.StatusNotFound, "no_store")
	isProblem(t, "nothing is stored", bare.do("GET", "/-/trash", ""), http.StatusNotFound, "no_store")
}
