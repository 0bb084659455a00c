package listing

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// walkTree gives what ParseTree calls for, as "path: name name".
func walkTree(body string) ([]string, error) {
	var got []string
	err := ParseTree(Source{Now: today}, strings.NewReader(body), func(path string, l *Listing) error {
		got = append(got, fmt.Sprintf("%s: %s", path, strings.Join(namesOf(l), " ")))
		return nil
	})
	return got, err
}

const (
	treeFile = "-rw-r--r-- 1 0 0 7 Jan 15  2026 "
	treeDirs = "drwxr-xr-x 2 0 0 7 Jan 15  2026 "
	treeFull = "drwxr-xr-x 3 0 0 7 Jan 15  2026 "
	treeShut = "drwx------ 2 0 0 7 Jan 15  2026 "
)

func TestTrees(t *testing.T) {
	for _, c := range []struct {
		claim, body string
		want        []string
		err         error
	}{
		{"a root of its own", ".:\ntotal 4\n" + treeDirs + "d\n" + treeFile + "a\n\n./d:\ntotal 4\n" + treeFile + "b\n", []string{": a d", "d: b"}, nil},
		{"a root without a header", "total 4\n" + treeDirs + "d\n\nd:\ntotal 0\n", []string{": d", "d: "}, nil},
		{"a root by its path", "/srv/pub:\ntotal 4\n" + treeDirs + "d\n\n/srv/pub/d:\ntotal 0\n", []string{": d", "d: "}, nil},
		{"a path outside of the root", "/srv/pub:\ntotal 4\n\n/srv/other:\ntotal 0\n", []string{": "}, ErrNotListing},
		{"a path that climbs", ".:\ntotal 4\n\n./../x:\ntotal 0\n", []string{": "}, ErrNotListing},
		{"blanks behind headers, as of pure-ftpd", treeDirs + "d\r\n\r\n\r\n./d:\r\n\r\n" + treeFile + "b\r\n", []string{": d", "d: b"}, nil},
		{"a file named like a header", ".:\ntotal 4\n" + treeFile + "x:\n", []string{": x:"}, nil},
		{"a name with a newline", ".:\ntotal 4\n" + treeFile + "new\nline\n" + treeFile + "z\n", []string{": new\nline z"}, nil},
		{"a directory that could not be read, before others", ".:\ntotal 4\n" + treeDirs + "c\n" + treeDirs + "d\n\n./d:\ntotal 0\n", []string{": c d", "d: "}, nil},
		{"one that others may not read, at the end", ".:\ntotal 4\n" + treeShut + "c\n", []string{": c"}, nil},
		{"one that never comes", ".:\ntotal 4\n" + treeDirs + "c\n", []string{": c"}, ErrCut},
		{"an uncle that never comes", ".:\ntotal 4\n" + treeDirs + "c\n" + treeDirs + "d\n\n./c:\ntotal 4\n" + treeDirs + "d\n\n./c/d:\ntotal 0\n", []string{": c d", "c: d", "c/d: "}, ErrCut},
		{"a header without its total", ".:\ntotal 4\n" + treeDirs + "c\n\n./c:\n", []string{": c"}, ErrCut},
		{"a header without the rows that its links promise", treeFull + "c\r\n\r\nc:\r\n", []string{": c"}, ErrCut},
		{"a header that may be an empty directory's", treeDirs + "c\r\n\r\nc:\r\n", []string{": c", "c: "}, nil},
		{"a row that is none", ".:\ntotal 4\n" + treeFile + "a\n-rw-r--r-- what\n", nil, ErrNotListing},
		{"a directory that ls names as unreadable", ".:\ntotal 4\n" + treeDirs + "c\nls: ./c: Permission denied\n", nil, ErrForbidden},
		{"a last line without an end", ".:\ntotal 4\n" + treeFile + "a", nil, ErrCut},
		{"no tree", "Hello.\n", nil, ErrNotListing},
		{"nothing", "", nil, ErrNotListing},
	} {
		t.Run(c.claim, func(t *testing.T) {
			got, err := walkTree(c.body)
			if !slices.Equal(got, c.want) || !errors.Is(err, c.err) {
				t.Errorf("ParseTree(%q) = %q, %v, want %q, %v", c.body, got, err, c.want, c.err)
			}
		})
	}
}

func TestTreeEndsWithTheCallersError(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := ParseTree(Source{Now: today}, strings.NewReader(".:\ntotal 4\n"+treeDirs+"c\n\n./c:\ntotal 0\n"), func(string, *Listing) error {
		calls++
		return stop
	})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("ParseTree = %v after %d calls, want %v after 1", err, calls, stop)
	}
}

// The bound is one directory's, not the tree's.
func TestTreeBoundsADirectory(t *testing.T) {
	row := treeFile + strings.Repeat("x", 60<<10) + "\n"
	err := ParseTree(Source{Now: today}, io.MultiReader(strings.NewReader(".:\n"), &endless{text: row}), func(string, *Listing) error { return nil })
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("ParseTree of a directory without end = %v, want ErrTooLarge", err)
	}
}
