package listing

import (
	"bytes"
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
	"time"
)

// trees are the captures for ParseTree.
func trees(t *testing.T) map[string]*capture {
	c := loadCorpus(t)
	all := make(map[string]*capture)
	for name, s := range c.servers {
		for _, one := range s.Cases {
			recursive := strings.HasSuffix(one.Command, "-R") && name != "npm-ftp-srv-eplf" // which takes no notice of -R
			if one.Body != "" && (recursive || strings.HasPrefix(one.Case, "ls-")) {
				all[name+"/"+one.Case] = one
			}
		}
	}
	if len(all) < 8 {
		t.Fatalf("the corpus has %d trees, want 8", len(all))
	}
	return all
}

func TestCorpusTrees(t *testing.T) {
	c := loadCorpus(t)
	for name, one := range trees(t) {
		t.Run(name, func(t *testing.T) {
			s := c.servers[path.Dir(name)]
			got := make(map[string]bool)
			err := ParseTree(one.source(s), bytes.NewReader(one.data), func(dir string, l *Listing) error {
				got[dir] = true
				checkClean(t, l)
				compareTree(t, c, s, one, dir, l)
				return nil
			})
			if s.name == "pure-ftpd-limited" { // it ends at the second level
				if !errors.Is(err, ErrCut) {
					t.Errorf("ParseTree = %v, want ErrCut", err)
				}
				return
			}
			if err != nil {
				t.Errorf("ParseTree = %v", err)
			}
			if len(got) == 0 || !got[""] {
				t.Errorf("ParseTree gave %d directories and the root %v", len(got), got[""])
			}
		})
	}
}

func compareTree(t *testing.T, c *corpus, s *server, one *capture, dir string, l *Listing) {
	t.Helper()
	var truth []truthEntry
	found := false
	for key, d := range c.dirs {
		plain, err := url.PathUnescape(key)
		if err != nil {
			t.Fatal(err)
		}
		root, _ := url.PathUnescape(one.Truth)
		if plain == path.Join(root, dir)+"/" || plain == "/" && dir == "" && root == "/" {
			truth, found = d.Entries, true
		}
	}
	if !found {
		t.Errorf("directory %q, which is not in the tree", dir)
		return
	}
	got := make(map[string]*Entry)
	for i := range l.Entries {
		got[l.Entries[i].Name] = &l.Entries[i]
	}
	for i := range truth {
		want := &truth[i]
		hidden := want.Name[0] == '.' && !strings.Contains(one.Command, "-laR") && one.Case != "ls-laR"
		e := got[want.Name]
		delete(got, want.Name)
		if (e == nil) != hidden {
			t.Errorf("%s: entry %q is there: %v, want %v", dir, want.Name, e != nil, !hidden)
		}
		if e != nil && one.Case != "ls-lR-full-iso" {
			compareEntry(t, s, &capture{Command: "LIST"}, want, e)
		} else if e != nil && e.Kind == File && (!e.ModTime.Equal(*want.ModTime) || e.Step != time.Nanosecond || !e.ZoneKnown) {
			t.Errorf("%s: entry %q is of %v, step %v, want %v", dir, e.Name, e.ModTime, e.Step, want.ModTime)
		}
	}
	for name := range got {
		t.Errorf("%s: entry %q, which is not in the tree", dir, name)
	}
}

// A tree that was cut must be an error, unless no directory was still to come.
func TestCutTreesAreErrors(t *testing.T) {
	c := loadCorpus(t)
	for name, one := range trees(t) {
		src := one.source(c.servers[path.Dir(name)])
		last := max(bytes.LastIndex(one.data, []byte(":\n")), bytes.LastIndex(one.data, []byte(":\r\n")))
		step := max(1, last/30)
		for n := 1; n < last; n += step {
			cut := one.data[:n]
			switch atEnd := bytes.LastIndexByte(cut, '\n') + 1; {
			case n%2 == 0 && path.Dir(name) == "gnu-ls":
				cut = cut[:atEnd]
			case atEnd == n:
				continue
			}
			if err := ParseTree(src, bytes.NewReader(cut), func(string, *Listing) error { return nil }); err == nil {
				t.Errorf("%s: ParseTree of %d of %d bytes = nil, want an error", name, len(cut), len(one.data))
			}
		}
	}
}

// What find prints is none of ParseTree's.
func TestOtherIndexesAreNoTrees(t *testing.T) {
	for _, one := range loadCorpus(t).servers["gnu-ls"].Cases {
		if !strings.HasPrefix(one.Case, "find-") {
			continue
		}
		err := ParseTree(Source{}, bytes.NewReader(one.data), func(string, *Listing) error { return nil })
		if !errors.Is(err, ErrNotListing) {
			t.Errorf("%s: ParseTree = %v, want ErrNotListing", one.Case, err)
		}
	}
}
