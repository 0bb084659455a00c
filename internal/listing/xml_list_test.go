package listing

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestXMLList(t *testing.T) {
	when := time.Date(2026, 1, 15, 8, 9, 10, 0, time.UTC)
	const head = `<?xml version="1.0"?>` + "\r\n<list>\r\n"
	for _, c := range []struct {
		claim, body string
		want        []Entry
	}{
		{"a file", head + `<file mtime="2026-01-15T08:09:10Z" size="7">a&amp;b</file></list>`,
			[]Entry{{Name: "a&b", Size: 7, SizeExact: true, Kind: File, ModTime: when, Step: time.Second, ZoneKnown: true}}},
		{"a directory has no size", head + `<directory mtime="2026-01-15T08:09:10Z">d</directory></list>`,
			[]Entry{{Name: "d", Size: -1, Kind: Dir, Mode: fs.ModeDir, ModTime: when, Step: time.Second, ZoneKnown: true}}},
		{"what is neither", head + `<other mtime="2026-01-15T08:09:10Z">p</other></list>`,
			[]Entry{{Name: "p", Size: -1, Kind: Other, ModTime: when, Step: time.Second, ZoneKnown: true}}},
		{"bytes of any kind, attributes in any order", head + "<file size = '0' mtime='2026-01-15T08:09:10Z'>\xff\a\r\n</file></list>",
			[]Entry{{Name: "\xff\a\r\n", SizeExact: true, Kind: File, ModTime: when, Step: time.Second, ZoneKnown: true}}},
		{"nothing", head + "</list>\r\n", nil},
	} {
		l, err := Parse(Source{ContentType: "text/xml"}, strings.NewReader(c.body))
		if err != nil || len(l.Entries) != len(c.want) || len(c.want) > 0 && l.Entries[0] != c.want[0] {
			t.Errorf("%s: Parse(%q) = %+v, %v, want %+v", c.claim, c.body, l, err, c.want)
		}
	}
}

func TestXMLListThatIsNone(t *testing.T) {
	for _, c := range []struct {
		claim, body string
		want        error
	}{
		{"a list of something else", `<list><item mtime="2026-01-15T08:09:10Z">a</item></list>`, ErrNotListing},
		{"files that are no rows", `<list><file>a</file></list>`, ErrNotListing},
		{"a file with parts", `<list><file mtime="2026-01-15T08:09:10Z"><name>a</name></file></list>`, ErrNotListing},
		{"a file without a name", `<list><file mtime="2026-01-15T08:09:10Z"></file></list>`, ErrNotListing},
		{"a path", `<list><file mtime="2026-01-15T08:09:10Z">a/b</file></list>`, ErrNotListing},
		{"cut between two rows", `<list><file mtime="2026-01-15T08:09:10Z">a</file>`, ErrCut},
		{"cut in a tag", `<list><file mtime="2026-01-15T0`, ErrCut},
	} {
		if l, err := Parse(Source{ContentType: "text/xml"}, strings.NewReader(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: Parse(%s) = %+v, %v, want %v", c.claim, c.body, l, err, c.want)
		}
	}
}
