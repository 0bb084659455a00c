package listing

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// parseCapture parses a capture as its consumer would. ok is false for what is not this file's: HTML, and answers without a listing.
func parseCapture(s *server, c *capture, data []byte) (l *Listing, err error, ok bool) {
	src := c.source(s)
	switch {
	case c.Truth == "" || c.Body == "" || s.name == "gnu-ls" || strings.HasSuffix(c.Case, "-R"):
		return nil, nil, false
	case c.Command != "":
		l, err = ParseFTP(src, c.Command, bytes.NewReader(data))
	case c.ext == "html":
		return nil, nil, false
	default:
		if c.ext == "txt" {
			src.ContentType = TypeNames
		}
		l, err = Parse(src, bytes.NewReader(data))
	}
	return l, err, true
}

// better are cases that we read right where a plain reader of the rows would not: their deviations do not hold.
var better = map[string]string{
	"caddy-2.6/bytes-json": "the url has the bytes that the name had to replace",
}

// errorsWanted are captures that are no listing.
var errorsWanted = map[string]error{
	"npm-serve-index/links-json": ErrNotListing, // an error page, for one link leads nowhere
	"npm-serve-index/links-text": ErrNotListing,
	"nginx-json/with-index-html": ErrNotListing, // the file
}

// isPart says whether a capture has only a part of the names.
func isPart(s *server, c *capture) bool {
	return s.name == "s3-versitygw" && strings.HasPrefix(c.Case, "many") ||
		s.name == "pure-ftpd-limited" && strings.HasPrefix(c.Case, "many") // cut at 1000 names, and only the reply says so
}

func TestCorpus(t *testing.T) {
	c := loadCorpus(t)
	seen := 0
	for _, name := range slices.Sorted(maps.Keys(c.servers)) {
		s := c.servers[name]
		for _, one := range s.Cases {
			l, err, ok := parseCapture(s, one, one.data)
			if !ok || one.ext == "html" {
				continue
			}
			seen++
			t.Run(name+"/"+one.Case, func(t *testing.T) {
				if want := errorsWanted[name+"/"+one.Case]; want != nil {
					if !errors.Is(err, want) {
						t.Errorf("Parse = %v, want %v", err, want)
					}
					return
				}
				if err != nil {
					t.Fatalf("Parse = %v", err)
				}
				checkClean(t, l)
				compare(t, s, one, c.truth(t, one.Truth), l)
			})
		}
	}
	if seen < 300 {
		t.Errorf("%d captures were read, want over 300", seen)
	}
}

// checkClean says whether l keeps the promises of a Listing.
func checkClean(t *testing.T, l *Listing) {
	t.Helper()
	for i, e := range l.Entries {
		if !possible(e.Name) {
			t.Errorf("entry %q, want no such name", e.Name)
		}
		if i > 0 && l.Entries[i-1].Name >= e.Name {
			t.Errorf("entry %q behind %q, want them sorted and once", e.Name, l.Entries[i-1].Name)
		}
		if e.Kind == Dir && e.Size != -1 || e.Size < -1 || e.Size < 0 && e.SizeExact {
			t.Errorf("entry %q has size %d, exact %v", e.Name, e.Size, e.SizeExact)
		}
		if e.ModTime.IsZero() != (e.Step == 0) || e.Step == 0 && e.ZoneKnown {
			t.Errorf("entry %q has time %v, step %v, zone known %v", e.Name, e.ModTime, e.Step, e.ZoneKnown)
		}
	}
}

// compare says where l differs from the truth beyond what about.json and the lists below allow.
func compare(t *testing.T, s *server, c *capture, truth []truthEntry, l *Listing) {
	t.Helper()
	got := make(map[string]*Entry)
	for i := range l.Entries {
		got[l.Entries[i].Name] = &l.Entries[i]
	}
	var dev deviation
	if better[s.name+"/"+c.Case] == "" && !isPart(s, c) {
		dev = s.Deviations[c.Case]
	}
	missing, extra := deviated(t, dev.Missing), deviated(t, dev.Extra)
	for i := range truth {
		want := &truth[i]
		e := got[want.Name]
		delete(got, want.Name)
		switch hidden := slices.Contains(missing, want.Name); {
		case e == nil && !hidden && !isPart(s, c):
			t.Errorf("no entry %q", want.Name)
		case e != nil && hidden:
			t.Errorf("entry %q, which about.json says is missing", want.Name)
		case e != nil:
			compareEntry(t, s, c, want, e)
		}
	}
	for name := range got {
		if !slices.Contains(extra, name) {
			t.Errorf("entry %q, which is not in the tree", name)
		}
	}
}

// namesOnly says whether a capture has names and nothing else.
func namesOnly(s *server, c *capture) bool {
	return strings.HasPrefix(c.Command, "NLST") || s.name == "npm-serve-index"
}

func compareEntry(t *testing.T, s *server, c *capture, want *truthEntry, e *Entry) {
	t.Helper()
	if namesOnly(s, c) {
		if e.Kind != Unknown || e.Size != -1 || !e.ModTime.IsZero() {
			t.Errorf("entry %+v, want nothing but a name", e)
		}
		return
	}
	kind := map[bool]Kind{true: Dir, false: File}[want.IsDir]
	if want.Broken || want.Type == "fifo" || want.Name == "to-dev-null" {
		kind = Other
	}
	unknownLink := e.Link && e.Kind == Unknown
	if e.Kind != kind && !unknownLink && !kindExcused(s, c, want) {
		t.Errorf("entry %q is %v, want %v", e.Name, e.Kind, kind)
	}
	switch {
	case want.Type == "fifo" || want.Name == "to-dev-null": // servers that take it for a file have what size they like
	case e.Size < 0 && e.Kind == File && s.name == "npm-ftp-srv-eplf" && *want.Size == 0: // its rows have no size then
	case e.Size < 0 && e.Kind == File:
		t.Errorf("entry %q has no size", e.Name)
	case e.Size >= 0 && (want.Size == nil || *want.Size != e.Size || !e.SizeExact) && !linkShown(s, c, want):
		t.Errorf("entry %q has size %d, exact %v, want %v", e.Name, e.Size, e.SizeExact, want.Size)
	}
	compareTime(t, s, c, want, e)
}

func compareTime(t *testing.T, s *server, c *capture, want *truthEntry, e *Entry) {
	t.Helper()
	switch {
	case e.ModTime.IsZero():
		s3dir := s.name == "s3-versitygw" && e.Kind == Dir
		if !e.Link && !s3dir && !farFuture(s, c, want) && want.Type != "link" {
			t.Errorf("entry %q has no time", e.Name)
		}
	case want.ModTime == nil || linkShown(s, c, want):
	case s.name == "nginx-json" && want.ModTime.Unix() < 0: // nginx takes all of that for 1970
	case e.ModTime.After(*want.ModTime) || !e.ModTime.Add(e.Step).After(*want.ModTime):
		rounds := s.name == "pyftpdlib" || s.name == "npm-ftp-srv-eplf" // to the nearest second
		if up := e.ModTime.Sub(*want.ModTime); !rounds || up <= 0 || up > time.Second {
			t.Errorf("entry %q is of %v, step %v, want %v", e.Name, e.ModTime, e.Step, want.ModTime)
		}
	case e.ZoneKnown == strings.HasPrefix(c.Command, "LIST") && s.name != "npm-ftp-srv-eplf":
		t.Errorf("entry %q has a known zone %v", e.Name, e.ZoneKnown)
	}
}

// kindExcused are kinds that a server tells wrong.
func kindExcused(s *server, c *capture, want *truthEntry) bool {
	switch {
	case want.Type == "fifo" || want.Name == "to-dev-null":
		return c.Command == "MLSD" || s.name == "npm-ftp-srv-eplf" || s.name == "s3-versitygw" || s.name == "caddy-2.6" // all call it a file
	case want.Type == "link":
		return linkShown(s, c, want)
	}
	return false
}

// linkShown are links that a server shows as files of the link's own size.
func linkShown(s *server, c *capture, want *truthEntry) bool {
	return want.Type == "link" && (s.name == "s3-versitygw" || s.name == "caddy-2.6" && want.Broken)
}

// farFuture are times that some FTP servers show without the year, and that no one can tell from the past.
func farFuture(s *server, c *capture, want *truthEntry) bool {
	switch s.name {
	case "proftpd", "pyftpdlib", "pure-ftpd-limited":
		return strings.HasPrefix(c.Command, "LIST") && want.ModTime != nil && want.ModTime.After(s.Captured)
	}
	return false
}

func TestPagesOfABucketAreAllOfIt(t *testing.T) {
	c := loadCorpus(t)
	s := c.servers["s3-versitygw"]
	byCase := make(map[string]*capture)
	for _, one := range s.Cases {
		byCase[one.Case] = one
	}
	for _, first := range []string{"many", "many-v1"} {
		t.Run(first, func(t *testing.T) {
			names := make(map[string]bool)
			for _, page := range []string{first, first + "-page2", first + "-page3"} {
				one := byCase[page]
				l, err := Parse(one.source(s), bytes.NewReader(one.data))
				if err != nil {
					t.Fatalf("Parse %s = %v", page, err)
				}
				for _, e := range l.Entries {
					names[e.Name] = true
				}
				checkNext(t, one, byCase[nextPage(page)], l.Next)
			}
			for _, want := range c.truth(t, "/many/") {
				if !names[want.Name] {
					t.Errorf("no entry %q on any page", want.Name)
				}
				delete(names, want.Name)
			}
			if len(names) > 0 {
				t.Errorf("%d entries that are not in the tree", len(names))
			}
		})
	}
}

func nextPage(page string) string {
	first, n, _ := strings.Cut(page, "-page")
	return first + "-page" + map[string]string{"": "2", "2": "3", "3": "4"}[n]
}

// checkNext compares a page's Next with the URL by which the corpus got the page behind it.
func checkNext(t *testing.T, page, behind *capture, next string) {
	t.Helper()
	if behind == nil {
		if next != "" {
			t.Errorf("%s: Next = %q, want none", page.Case, next)
		}
		return
	}
	u, err := page.url.Parse(next)
	if err != nil || u.Path != behind.url.Path || !maps.EqualFunc(u.Query(), behind.url.Query(), slices.Equal) {
		t.Errorf("%s: Next = %q, %v, want what leads to %s", page.Case, next, err, behind.url)
	}
}

// A prefix of a body must never look whole while it lacks a name.
func TestCutCorpusIsAnError(t *testing.T) {
	c := loadCorpus(t)
	for _, name := range slices.Sorted(maps.Keys(c.servers)) {
		s := c.servers[name]
		for _, one := range s.Cases {
			if errorsWanted[name+"/"+one.Case] != nil {
				continue
			}
			whole, err, ok := parseCapture(s, one, one.data)
			if !ok || err != nil || len(one.data) == 0 {
				continue
			}
			points := 30
			if len(one.data) > 16<<10 {
				points = 6
			}
			step := max(1, len(one.data)/points)
			for n := step / 2; n < len(one.data); n += step {
				cut := one.data[:n]
				if atLineEnd(s, one, cut) {
					continue
				}
				l, err, _ := parseCapture(s, one, cut)
				if err == nil && len(l.Entries) != len(whole.Entries) {
					t.Errorf("%s/%s: Parse of %d of %d bytes = %d entries, want an error", name, one.Case, n, len(one.data), len(l.Entries))
				}
				if err != nil && !errors.Is(err, ErrCut) && !errors.Is(err, ErrNotListing) {
					t.Errorf("%s/%s: Parse of %d of %d bytes = %v, want ErrCut", name, one.Case, n, len(one.data), err)
				}
			}
		}
	}
}

// atLineEnd says whether a body is a list of lines that was cut between two of them, which no one can see.
func atLineEnd(s *server, c *capture, cut []byte) bool {
	return (c.Command != "" || c.ext == "txt") && (len(cut) == 0 || cut[len(cut)-1] == '\n')
}
