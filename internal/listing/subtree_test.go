package listing

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"
)

func TestSubtreeDigestTellsTreesApart(t *testing.T) {
	when := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	body := sha256.Sum256([]byte("body"))
	other := sha256.Sum256([]byte("other"))
	digest := func(add func(h *SubtreeHash)) [32]byte {
		var h SubtreeHash
		add(&h)
		return h.Sum()
	}
	base := func(h *SubtreeHash) { h.File("a", 5, when, `"x"`, body) }
	for _, row := range []struct {
		claim string
		add   func(h *SubtreeHash)
		same  bool
	}{
		{"the same file", base, true},
		{"its fraction of a second is not seen over HTTP", func(h *SubtreeHash) { h.File("a", 5, when.Add(time.Second-1), `"x"`, body) }, true},
		{"its zone is none of its time", func(h *SubtreeHash) { h.File("a", 5, when.In(time.FixedZone("", 3600)), `"x"`, body) }, true},
		{"a tag that was weak", func(h *SubtreeHash) { h.File("a", 5, when, `W/"x"`, body) }, true},
		{"a body that the validators vouch for", func(h *SubtreeHash) { h.File("a", 5, when, `"x"`, other) }, true},
		{"another name", func(h *SubtreeHash) { h.File("b", 5, when, `"x"`, body) }, false},
		{"another size", func(h *SubtreeHash) { h.File("a", 6, when, `"x"`, body) }, false},
		{"another second", func(h *SubtreeHash) { h.File("a", 5, when.Add(time.Second), `"x"`, body) }, false},
		{"another tag", func(h *SubtreeHash) { h.File("a", 5, when, `"y"`, body) }, false},
		{"no tag", func(h *SubtreeHash) { h.File("a", 5, when, "", body) }, false},
		{"no time", func(h *SubtreeHash) { h.File("a", 5, time.Time{}, `"x"`, body) }, false},
		{"nothing but the body", func(h *SubtreeHash) { h.File("a", 5, time.Time{}, "", body) }, false},
		{"a directory of its name", func(h *SubtreeHash) { h.Dir("a", body) }, false},
		{"one file more", func(h *SubtreeHash) { base(h); h.File("b", 5, when, `"x"`, body) }, false},
		{"nothing at all", func(*SubtreeHash) {}, false},
	} {
		t.Run(row.claim, func(t *testing.T) {
			if got := digest(row.add) == digest(base); got != row.same {
				t.Errorf("same digest = %v, want %v", got, row.same)
			}
		})
	}
	bare := func(sum [32]byte) [32]byte {
		return digest(func(h *SubtreeHash) { h.File("a", 5, time.Time{}, "", sum) })
	}
	if bare(body) == bare(other) {
		t.Error("two bodies of a file without validators have one digest, want two")
	}
	if a, b := digest(func(h *SubtreeHash) { h.Dir("d", body) }), digest(func(h *SubtreeHash) { h.Dir("d", other) }); a == b {
		t.Error("a change below a directory leaves its parent's digest, want another")
	}
}

func TestSubtreeDigestDoesNotDependOnItsBuffer(t *testing.T) {
	var whole, asked SubtreeHash
	for i := range 5000 {
		name := strings.Repeat("n", i%200+1)
		whole.File(name, int64(i), time.Time{}, `"t"`, [32]byte{})
		asked.File(name, int64(i), time.Time{}, `"t"`, [32]byte{})
		if i%777 == 0 {
			asked.Sum()
		}
	}
	first := whole.Sum()
	if again := whole.Sum(); first != asked.Sum() || again != first {
		t.Error("Sum depends on when it was asked for before, want the same")
	}
}

func TestTrailEndsWhereItHasBeen(t *testing.T) {
	dir := func(name string) Entry { return Entry{Name: name, Kind: Dir} }
	link := func(name, target string) Entry { return Entry{Name: name, Kind: Dir, Link: true, Target: target} }
	for _, row := range []struct {
		claim string
		from  string
		way   []Entry
		want  bool // of the last step
	}{
		{"a directory below", "/", []Entry{dir("a"), dir("b")}, true},
		{"a directory of its parent's name", "/a/", []Entry{dir("a"), dir("a")}, true},
		{"a link to itself", "/a/", []Entry{link("l", ".")}, false},
		{"a link to its parent", "/a/", []Entry{dir("b"), link("l", "..")}, false},
		{"a link to the top of the walk", "/a/", []Entry{dir("b"), dir("c"), link("l", "../../")}, false},
		{"a link to a sibling", "/", []Entry{dir("a"), link("l", "../b")}, true},
		{"two links to each other's parent", "/", []Entry{dir("a"), link("l", "../b"), link("m", "../a")}, false},
		{"a link above the walk leads back", "/a/", []Entry{link("l", ".."), dir("a")}, false},
		{"a link above the top is one to the top", "/", []Entry{link("l", "../../..")}, false},
		{"a link of which the target is not told", "/", []Entry{link("l", ""), link("l", "")}, true},
		{"a link that is told from a server's own top", "/", []Entry{link("l", "/")}, true},
	} {
		t.Run(row.claim, func(t *testing.T) {
			trail, ok := TrailFrom(row.from), true
			for i := range row.way {
				if trail, ok = trail.Enter(&row.way[i]); !ok && i < len(row.way)-1 {
					t.Fatalf("Enter %s = false, want true on the way", row.way[i].Name)
				}
			}
			if ok != row.want {
				t.Errorf("Enter of the last = %v, want %v", ok, row.want)
			}
		})
	}
}

func TestTrailEndsInTheDeep(t *testing.T) {
	trail, steps := TrailFrom("/"), 0
	for ok := true; ok && steps < 1000; steps++ {
		trail, ok = trail.Enter(&Entry{Name: "d", Kind: Dir})
	}
	if steps-1 != 64 {
		t.Errorf("Enter went down %d directories, want 64", steps-1)
	}
}
