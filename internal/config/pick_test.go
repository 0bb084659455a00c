package config

import "testing"

func TestWalksLeaveAloneWhatPatternsSay(t *testing.T) {
	for _, row := range []struct {
		claim            string
		include, exclude []string
		dir, path        string
		skip             bool
	}{
		{"a name anywhere", nil, []string{"*.iso"}, "/", "a/b/x.iso", true},
		{"another name not", nil, []string{"*.iso"}, "/", "a/b/x.img", false},
		{"a directory by its name", nil, []string{"old"}, "/", "a/old/", true},
		{"a directory by a pattern for directories", nil, []string{"old/"}, "/", "old/", true},
		{"which is not for files", nil, []string{"old/"}, "/", "a/old", false},
		{"what lies below an excluded directory", nil, []string{"old/"}, "/", "a/old/b/c", true},
		{"a path from the hub's root", nil, []string{"/v5.x/**"}, "/", "v5.x/", true},
		{"which is no other directory of that name", nil, []string{"/v5.x/**"}, "/", "a/v5.x/", false},
		{"a path, of a subtree deeper down", nil, []string{"/linux/v5.x/*.sign"}, "/linux/", "v5.x/a.sign", true},
		{"a subtree inside what is excluded is wanted all the same", nil, []string{"/old/"}, "/old/linux/", "a.xz", false},
		{"in names with spaces", nil, []string{"/My Files/*"}, "/My%20Files/", "a", true},
		{"with inclusions, what matches none", []string{"*.xz"}, nil, "/", "a/b.gz", true},
		{"with inclusions, not what matches one", []string{"*.gz", "*.xz"}, nil, "/", "a/b.xz", false},
		{"with inclusions by name, no directory", []string{"*.xz"}, nil, "/", "a/b/", false},
		{"with inclusions by path, a directory aside", []string{"/v6.x/**"}, nil, "/", "v5.x/", true},
		{"with inclusions by path, not the one on the way", []string{"/linux/v6.x/**"}, nil, "/", "linux/", false},
		{"with inclusions by path, not what is below", []string{"/linux/v6.x/**"}, nil, "/linux/", "v6.x/a/b.xz", false},
		{"an included directory is all below it", []string{"/v6.x"}, nil, "/", "v6.x/a/", false},
		{"a directory below what a pattern reaches", []string{"/v6.x/*.xz"}, nil, "/", "v6.x/a/", true},
		{"a pattern that begins anywhere leads everywhere", []string{"**/v6.x/*.xz"}, nil, "/", "a/b/c/", false},
		{"alternatives are not looked into", []string{"/{a/b,c}/*.xz"}, nil, "/", "x/", false},
		{"exclusions win", []string{"*.xz"}, []string{"/old/*"}, "/", "old/a.xz", true},
	} {
		h := &Hub{MirrorInclude: row.include, MirrorExclude: row.exclude}
		if got := h.Skip(row.dir)(row.path); got != row.skip {
			t.Errorf("%s: include %q, exclude %q: Skip(%q)(%q) = %v, want %v", row.claim, row.include, row.exclude, row.dir, row.path, got, row.skip)
		}
	}
	if (&Hub{}).Skip("/") != nil {
		t.Error("Skip of a hub without patterns is not nil")
	}
}
