package listing

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// An htmlException is where a page cannot give what about.json says, or where we read it better than a plain reader.
type htmlException struct {
	why  string
	err  error    // in place of an empty listing
	gone []string // names that a plain reader would find and that are not there
	read []string // names that are there and that a plain reader would miss
	time []string // names whose time the page does not show, or shows wrongly
}

var (
	unescapedAmp = htmlException{
		why:  "in an attribute, a browser leaves a reference without its semicolon alone before =",
		gone: []string{"x©=y.txt"}, read: []string{"x&copy=y.txt"},
	}
	pastedReadme = htmlException{
		why:  "links in a pasted header or footer are not rows of the listing",
		gone: []string{"phantom-header.iso", "phantom-readme.iso", "phantom-row.iso"},
	}
	unescapedPath = htmlException{
		why: "the rows lead elsewhere; a plain reader would take the directory for empty", err: ErrNotListing,
	}
	indexTimes = htmlException{
		why: "the time shown is that of the index file within", time: []string{"with-index-htm", "with-index-html"},
	}
	roundedUp = htmlException{
		why:  "the server rounds fractions of a second up",
		time: []string{"frac-2023-08-09T101159.999999999Z", "frac-2025-12-31T235959.999999999Z"},
	}
	noNegative = htmlException{
		why: "times before 1970 are shown as 1970", time: []string{"t-1969-12-31T235959Z"},
	}
)

// htmlExceptions are by "server/case".
var htmlExceptions = map[string]htmlException{
	"go-fileserver/tricky":              unescapedAmp,
	"aiohttp/tricky":                    unescapedAmp,
	"jetty/tricky":                      unescapedAmp,
	"webfs/tricky":                      unescapedAmp,
	"aiohttp/tricky-hash":               unescapedPath,
	"aiohttp/tricky-quote":              unescapedPath,
	"aiohttp/tricky-pct":                unescapedPath,
	"aiohttp/tricky-query":              unescapedPath,
	"aiohttp/links-to-dir":              unescapedPath,
	"apache-table-debian/with-readme":   pastedReadme,
	"apache-pre-olddate-sh/with-readme": pastedReadme,
	"apache-table-debian/root":          indexTimes,
	"apache-pre-olddate-sh/root":        indexTimes,
	"apache-pre/root":                   indexTimes,
	"npm-serve-index/times":             roundedUp,
	"npm-http-server/times":             roundedUp,
	"nginx-html/times":                  noNegative,
	"nginx-fancyindex/times":            noNegative,
	"jetty/times": {
		why: "times up to 1970 are blank", time: []string{"t-1969-12-31T235959Z", "t-1970-01-01T000000Z"},
	},
	"webfs/times": {
		why: "a far future has no year, like the last six months", time: []string{"t-2038-01-19T031408Z", "t-2099-12-31T235959Z"},
	},
	"h2o/tricky": {
		why: "the href is escaped as it should be", gone: []string{"dir&amp"}, read: []string{"dir&amp;"},
	},
	"h2o/with-index-txt": {why: "the index file itself", err: ErrNotListing},
}

// indexFiles are what the tree's index files say, which some servers send in a listing's place.
var indexFiles = []string{"<title>Project page</title>", "<title>Index of nothing</title>"}

// listedHTML gives the corpus's captures that hold an HTML listing.
func listedHTML(t *testing.T, c *corpus) map[*server][]*capture {
	t.Helper()
	found := make(map[*server][]*capture)
	for _, s := range c.servers {
		for _, one := range s.Cases {
			if one.ext == "html" && one.Status == 200 && one.Truth != "" && strings.HasSuffix(one.url.Path, "/") {
				found[s] = append(found[s], one)
			}
		}
	}
	return found
}

// TestHTMLCorpus reads every HTML listing of the corpus: its names are exactly those that are there and that a browser would reach,
// their kinds are right or unknown, their sizes and times are within what the page shows.
func TestHTMLCorpus(t *testing.T) {
	c := loadCorpus(t)
	for s, cases := range listedHTML(t, c) {
		for _, one := range cases {
			t.Run(s.name+"/"+one.Case, func(t *testing.T) { checkHTML(t, c, s, one) })
		}
	}
}

func checkHTML(t *testing.T, c *corpus, s *server, one *capture) {
	src := one.source(s)
	if zone, ok := strings.CutPrefix(s.Env, "TZ="); ok && zone != "UTC" {
		var err error
		if src.Zone, err = time.LoadLocation(zone); err != nil {
			t.Fatalf("LoadLocation(%q): %v", zone, err)
		}
	}
	off := htmlExceptions[s.name+"/"+one.Case]
	for _, file := range indexFiles {
		if bytes.Contains(one.data, []byte(file)) {
			off = htmlException{why: "the index file itself", err: ErrNotListing}
		}
	}
	l, err := parseHTML(src, bytes.NewReader(one.data))
	if off.err != nil {
		if !errors.Is(err, off.err) {
			t.Errorf("parseHTML = %v, %v, want %v: %s", l, err, off.err, off.why)
		}
		return
	}
	if err != nil {
		t.Fatalf("parseHTML: %v", err)
	}
	truth := c.truth(t, one.Truth)
	wrong := s.Deviations[one.Case]
	want := make(map[string]*truthEntry)
	missing := deviated(t, wrong.Missing)
	for i, e := range truth {
		if !slices.Contains(missing, e.Name) || slices.Contains(off.read, e.Name) {
			want[e.Name] = &truth[i]
		}
	}
	for _, name := range deviated(t, wrong.Extra) {
		if possible(name) && !slices.Contains(off.gone, name) && want[name] == nil {
			want[name] = nil
		}
	}
	for _, e := range l.Entries {
		true, ok := want[e.Name]
		if !ok {
			t.Errorf("parseHTML: phantom %q", e.Name)
			continue
		}
		delete(want, e.Name)
		if true != nil && !true.Broken {
			checkEntry(t, s, e, true, slices.Contains(wrong.DirSlash, e.Name), slices.Contains(off.time, e.Name))
		}
	}
	for name := range want {
		t.Errorf("parseHTML: %q is missing", name)
	}
}

func checkEntry(t *testing.T, s *server, e Entry, want *truthEntry, wrongKind, wrongTime bool) {
	t.Helper()
	told := s.Can.TypeFromPage != nil && *s.Can.TypeFromPage
	switch {
	case e.Kind == Unknown && told && want.IsDir && !wrongKind:
		t.Errorf("%q: kind unknown, want a directory", e.Name)
	case e.Kind != Unknown && (e.Kind == Dir) != want.IsDir && !wrongKind:
		t.Errorf("%q: kind %v, want directory %v", e.Name, e.Kind, want.IsDir)
	}
	lstat := strings.HasPrefix(s.Can.Symlinks, "link itself") && want.Type == "link"
	switch {
	case want.IsDir:
		if e.Kind == Dir && (e.Size != -1 || e.SizeExact) {
			t.Errorf("%q: size %d of a directory, want -1", e.Name, e.Size)
		}
	case lstat:
	case s.Can.Size == "none":
		if e.Size != -1 {
			t.Errorf("%q: size %d, want -1: the page shows none", e.Name, e.Size)
		}
	case want.Size == nil:
	case s.Can.Size == "exact" && (e.Size != *want.Size || !e.SizeExact):
		t.Errorf("%q: size %d, exact %v, want %d exactly", e.Name, e.Size, e.SizeExact, *want.Size)
	case e.SizeExact && e.Size != *want.Size:
		t.Errorf("%q: size %d said to be exact, want %d", e.Name, e.Size, *want.Size)
	case !withinRounding(e.Size, *want.Size):
		t.Errorf("%q: size %d, want about %d", e.Name, e.Size, *want.Size)
	}
	if wrongTime || lstat {
		return
	}
	checkTime(t, s, e, want)
}

// withinRounding allows for a figure of one digit, rounded up or down, and for "0.9M".
func withinRounding(got, want int64) bool {
	unit := 1024.0
	for float64(max(got, want)) >= unit*1024 {
		unit *= 1024
	}
	return got >= 0 && math.Abs(float64(got-want)) <= max(unit, float64(got)/8)
}

func checkTime(t *testing.T, s *server, e Entry, want *truthEntry) {
	t.Helper()
	steps := map[string]time.Duration{"none": 0, "minute": time.Minute, "second": time.Second, "millisecond": time.Second, "nanosecond": time.Second}
	finest := steps[s.Can.ModTime]
	true := want.ModTime
	if strings.Contains(s.Can.Symlinks, "mtime is the LINK's") && want.Type == "link" {
		true = want.LinkModTime
	}
	switch {
	case finest == 0:
		if !e.ModTime.IsZero() {
			t.Errorf("%q: time %v, want none: the page shows none", e.Name, e.ModTime)
		}
		return
	case e.ModTime.IsZero() || e.Step == 0:
		t.Errorf("%q: time %v to %v, want %v", e.Name, e.ModTime, e.Step, true)
		return
	case e.Step > finest && s.name != "webfs":
		t.Errorf("%q: time to %v, want to %v", e.Name, e.Step, finest)
	}
	if d := true.Sub(e.ModTime); d < 0 || d >= e.Step {
		t.Errorf("%q: time %v to %v, want %v", e.Name, e.ModTime, e.Step, true)
	}
	if e.ModTime.Location() != time.UTC {
		t.Errorf("%q: time %v, want UTC", e.Name, e.ModTime)
	}
}

// TestHTMLCut reads every listing of the corpus as if the connection had broken where it matters (see cuts). Unless all entries came
// before the cut, that must not pass for a listing.
func TestHTMLCut(t *testing.T) {
	c := loadCorpus(t)
	for s, cases := range listedHTML(t, c) {
		for _, one := range cases {
			whole, err := parseHTML(one.source(s), bytes.NewReader(one.data))
			if err != nil {
				continue
			}
			for _, at := range cuts(one.data) {
				l, err := parseHTML(one.source(s), bytes.NewReader(one.data[:at]))
				switch {
				case err != nil && !errors.Is(err, ErrCut) && !errors.Is(err, ErrNotListing):
					t.Errorf("%s/%s cut at %d of %d: %v, want ErrCut", s.name, one.Case, at, len(one.data), err)
				case err == nil && !slices.Equal(l.Entries, whole.Entries):
					t.Errorf("%s/%s cut at %d of %d: %d entries, want ErrCut or all %d",
						s.name, one.Case, at, len(one.data), len(l.Entries), len(whole.Entries))
				}
			}
		}
	}
}

// cuts gives places to cut a page: in its head, in its first row and in its middle; in the last link, behind it, and within each of the
// tags that close the page. A large page has the shape of its server's small ones, and every cut reads it anew: it is cut behind its
// last link, and within its last tag unless it is a very large one.
func cuts(page []byte) []int {
	n := len(page)
	last := max(bytes.LastIndex(page, []byte("<a ")), bytes.LastIndex(page, []byte("<A ")))
	end := max(bytes.LastIndex(page, []byte("</a>")), bytes.LastIndex(page, []byte("</A>"))) + len("</a>")
	switch {
	case n > 100_000:
		return []int{end}
	case n > 20_000:
		return []int{end, n - 3}
	}
	at := []int{n / 8, n / 2, n - 1}
	if first := bytes.Index(page, []byte("href=")); first >= 0 {
		at = append(at, first+8, last+4, last+12, end)
	}
	for tag := n; len(at) < 14; at = append(at, tag, tag+2) {
		if tag = bytes.LastIndexByte(page[:tag], '<'); tag <= last {
			break
		}
	}
	at = slices.DeleteFunc(at, func(i int) bool { return i <= 0 || i >= n })
	slices.Sort(at)
	return slices.Compact(at)
}
