package mirror

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
)

// original puts a local original into the store.
func (w *world) original(path, body string) {
	w.t.Helper()
	h := http.Header{"Last-Modified": {w.now().Format(http.TimeFormat)}}
	m := &cache.Meta{Status: 200, Header: h, Received: w.now(), Size: int64(len(body)), Limit: -1, Original: true}
	d, err := w.tree.Create(w.key(path), m)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := d.Write([]byte(body)); err != nil {
		w.t.Fatal(err)
	}
	e, err := d.Commit(m)
	if err != nil {
		w.t.Fatal(err)
	}
	e.Close()
}

func TestWalkLeavesOriginalsAlone(t *testing.T) {
	w := newWorld(t)
	w.put("d/a", "theirs")
	w.put("d/b", "theirs")
	w.put("gone/c", "theirs")
	s := w.scheduler(nil)
	if _, err := w.walk(s, nil); err != nil {
		t.Fatal(err)
	}
	mine := []string{"/d/a", "/d/new", "/own/deep/x", "/gone/y", "/.zcache-odd"}
	for _, path := range mine {
		w.original(path, "mine")
	}
	w.drop("gone/c")
	w.pass(time.Hour)
	for i, row := range []struct {
		claim string
		asked []string
		gone  int64
	}{
		{"the directory that is gone upstream loses what came from there", []string{"/", "/d/", "/gone/"}, 2},
		{"what is left of it asks nobody", []string{"/", "/d/"}, 0},
	} {
		f, err := w.walk(s, nil)
		if err != nil || f.Removed != row.gone || f.HeldBack != 0 || f.Failed != 0 || !slices.Equal(w.questions(), row.asked) {
			t.Errorf("%s (walk %d): %+v, %v, asked %q, want %d removed, asked %q", row.claim, i+2, f, err, w.questions(), row.gone, row.asked)
		}
		for _, path := range mine {
			m, _, err := w.tree.Peek(w.key(path))
			if err != nil || !m.Original {
				t.Errorf("%s: %s is %+v, %v, want the original", row.claim, path, m, err)
			}
		}
		w.pass(time.Hour)
	}
	if _, _, err := w.tree.Peek(w.key("/gone/c")); err == nil {
		t.Error("what is gone upstream beside an original is held still")
	}
}

func TestOriginalsAreInTheDigestThatIsVouchedForAndNotInTheQuestion(t *testing.T) {
	w := newWorld(t)
	w.put("d/a", "theirs")
	s := w.scheduler(nil)
	digest := func() string {
		t.Helper()
		if _, err := w.walk(s, nil); err != nil {
			t.Fatal(err)
		}
		sum, _, ok := s.Digest(w.key("/"))
		if !ok {
			t.Fatal("Digest after a walk is not known")
		}
		w.pass(time.Hour)
		return sum
	}
	theirs := digest()
	w.digest["/"] = theirs // as the upstream itself has it
	all := []string{theirs}
	for _, put := range [][2]string{{"/d/new", "1"}, {"/own/x", "1"}, {"/own/x", "2"}} {
		w.original(put[0], put[1])
		if _, _, ok := s.Digest(w.key("/")); ok {
			t.Errorf("Digest stands after %s was put", put[0])
		}
		sum := digest()
		if slices.Contains(all, sum) {
			t.Errorf("with %s, %q: digest %.8s, as before", put[0], put[1], sum)
		}
		all = append(all, sum)
		if asked := w.questions(); !slices.Equal(asked, []string{"/", "/d/"}) {
			t.Errorf("with %s: asked %q, want the directories of the upstream's", put[0], asked)
		}
	}
	if again := digest(); again != all[len(all)-1] || !slices.Equal(w.questions(), []string{"/"}) {
		t.Errorf("when nothing has changed: %.8s, asked %q, want the same digest and one question", again, w.questions())
	}
	w.original("/d/a", "in its place")
	digest()
	if again := digest(); again == theirs || len(w.questions()) != 2 {
		t.Errorf("with an original in a file's place: asked %q, want both directories, for nobody upstream has that", w.questions())
	}
}

func TestNoteKeepsBothDigests(t *testing.T) {
	n := &note{asOf: time.Unix(1, 2), of: time.Unix(1, 2), held: true, own: [32]byte{1}, theirs: [32]byte{2}}
	got, err := decodeNote(n.encode())
	if err != nil || *got != *n || got.question(0) != hex.EncodeToString(n.theirs[:]) {
		t.Errorf("decodeNote = %+v, %v, want %+v", got, err, n)
	}
	n.theirs = n.own
	if text := string(n.encode()); strings.Contains(text, "theirs") {
		t.Errorf("a note of what holds no originals: %q, want no second digest", text)
	}
	if got, err = decodeNote(n.encode()); err != nil || *got != *n {
		t.Errorf("decodeNote = %+v, %v, want %+v", got, err, n)
	}
}
