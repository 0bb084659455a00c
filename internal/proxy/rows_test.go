package proxy

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"zcache/internal/fill"
	"zcache/internal/listing"
	"zcache/internal/origin/origintest"
)

// listed is how a directory reads to a zcache behind this one.
func (g *rig) listed(path string) *listing.Listing {
	g.t.Helper()
	got := g.get(path, "Accept: "+fill.ListingType)
	u, err := url.Parse("http://" + g.addr + path)
	if err != nil {
		g.t.Fatal(err)
	}
	l, err := listing.Parse(listing.Source{URL: u, ContentType: got.Header.Get("Content-Type"), Now: time.Now()}, strings.NewReader(got.body))
	if err != nil {
		g.t.Fatalf("GET %s: %v in %s", path, err, got.body)
	}
	return l
}

// coarse is a page of one file whose time is in some zone, to the minute, and whose size is rounded unless it counts bytes.
func coarse(when time.Time, size string) *origintest.Content {
	return origintest.Text("<html>\n<head><title>Index of /d/</title></head>\n<body>\n<h1>Index of /d/</h1><hr><pre><a href=\"../\">../</a>\n" +
		`<a href="a">a</a>` + strings.Repeat(" ", 50) + when.Format("02-Jan-2006 15:04") + strings.Repeat(" ", 15) + size + "\n</pre><hr></body>\n</html>\n")
}

func TestAChangeShowsAlthoughTheOldFileIsHeld(t *testing.T) {
	modified := time.Date(2025, 11, 8, 10, 0, 42, 0, time.UTC)
	for _, c := range []struct {
		claim     string
		when      time.Time // that the new listing shows
		size      string
		confirmed bool // the held file's own figures stand
	}{
		{"the same row", modified, "1.0K", true},
		{"the same row two hours ahead", modified.Add(2 * time.Hour), "1.0K", true},
		{"another size", modified, "3.0K", false},
		{"another time that no zone makes up for", modified.Add(7 * time.Minute), "1.0K", false},
		{"another day", modified.Add(24 * time.Hour), "1.0K", false},
	} {
		t.Run(c.claim, func(t *testing.T) {
			g := newListingRig(t)
			g.o.File("/d/a", origintest.Body(1, 1050), cc(fresh), origintest.LastModified(modified))
			g.o.File("/d/", coarse(modified, "1.0K"), kind(asHTML), cc("max-age=0"))
			g.get("/d/")
			before := g.listed("/d/")
			if e := before.Entries[0]; e.SizeExact || e.Step != time.Minute {
				t.Fatalf("before anything is held: %+v, want the row as it was listed", e)
			}
			g.get("/d/a")
			g.idle()
			g.o.File("/d/", coarse(c.when, c.size), kind(asHTML), cc("max-age=0"))
			e := g.listed("/d/").Entries[0]
			exact := e.Size == 1050 && e.SizeExact && e.Step == time.Second && e.ModTime.Equal(modified) && e.ZoneKnown
			if exact != c.confirmed {
				t.Errorf("row = %+v, the held figures stand %v, want %v", e, exact, c.confirmed)
			}
			if !c.confirmed && (e.SizeExact || e.Step != time.Minute || e.ZoneKnown || !e.ModTime.Equal(c.when.Truncate(time.Minute))) {
				t.Errorf("row = %+v, want the listing's own with its own exactness", e)
			}
		})
	}
}

func TestWhatIsFetchedAfterItsListingIsExact(t *testing.T) {
	g := newListingRig(t)
	now := time.Now().UTC().Truncate(time.Second)
	g.o.File("/d/", coarse(now.Add(-time.Hour), "9"), kind(asHTML), cc(fresh))
	g.o.File("/d/a", origintest.Body(1, 1050), cc(fresh), origintest.LastModified(now))
	g.get("/d/")
	g.get("/d/a")
	g.idle()
	if e := g.listed("/d/").Entries[0]; e.Size != 1050 || !e.SizeExact || e.Step != time.Second || !e.ModTime.Equal(now) {
		t.Errorf("row = %+v, want the figures of the file, which the origin gave after the listing", e)
	}
}

func TestAFigureThatNobodyListsIsNoPromise(t *testing.T) {
	g := newListingRig(t)
	names := origintest.Text("<html><head><title>Index of /d/</title></head><body><h1>Index of /d/</h1><ul><li><a href=\"../\"> Parent Directory</a></li>\n<li><a href=\"a\"> a</a></li>\n<li><a href=\"b\"> b</a></li>\n</ul></body></html>\n")
	g.o.File("/d/", names, kind(asHTML), cc("max-age=0"))
	g.o.File("/d/a", origintest.Body(1, 1050), cc(fresh))
	g.get("/d/a")
	g.idle()
	l := g.listed("/d/")
	if len(l.Entries) != 2 || l.Entries[0].SizeExact || !l.Entries[0].ModTime.IsZero() || l.Entries[1].Size >= 0 {
		t.Errorf("rows = %+v, want no exact figure, for the file may have changed since", l.Entries)
	}
}
