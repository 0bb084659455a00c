package web

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/listing"
)

// A zcache may stand behind a zcache, and read this page where it asked for HTML.
func TestPageIsAListing(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	rows := []listing.Row{dirRow("docs"), fileRow("a.iso", 5000, listing.Fresh), fileRow("a.iso.sig", 95, listing.Absent)}
	for _, name := range oddNames {
		if !strings.ContainsAny(name, "/\x00") {
			rows = append(rows, fileRow("x"+name, 1<<30+7, listing.Stale))
		}
	}
	for i := range rows[1:] {
		rows[i+1].ModTime = at.Add(time.Duration(i) * time.Hour)
	}
	minute, day := fileRow("minute", 0, listing.Fresh), fileRow("day", 1, listing.Fresh)
	minute.ModTime, minute.Step = at.Truncate(time.Minute), time.Minute
	day.ModTime, day.Step, day.ZoneKnown = at.Truncate(24*time.Hour), 24*time.Hour, false
	link := fileRow("latest", 5000, listing.Fresh)
	link.Link, link.Target = true, "a.iso"
	rows = append(rows, minute, day, link, listing.Row{Entry: listing.Entry{Name: "unknown", Size: -1, Kind: listing.File}})

	for _, claim := range []string{"listed", "off line", "empty"} {
		p := pageOf(rows...)
		want := rows
		switch claim {
		case "off line":
			p.Offline = true
		case "empty":
			p = pageOf()
			want = nil
		}
		u, err := url.Parse("http://z.lab" + p.Path)
		if err != nil {
			t.Fatal(err)
		}
		l, err := listing.Parse(listing.Source{URL: u, ContentType: "text/html; charset=utf-8", Now: pageNow}, strings.NewReader(browsed(t, p)))
		if err != nil {
			t.Errorf("%s: Parse = %v", claim, err)
			continue
		}
		if len(l.Entries) != len(want) {
			t.Errorf("%s: Parse found %d entries, want %d", claim, len(l.Entries), len(want))
		}
		for _, r := range want {
			i := slices.IndexFunc(l.Entries, func(e listing.Entry) bool { return e.Name == r.Name })
			if i < 0 {
				t.Errorf("%s: %q is missing", claim, r.Name)
				continue
			}
			got := l.Entries[i]
			if got.Size != r.Size || got.SizeExact != (r.SizeExact && r.Size >= 0) || (got.Kind == listing.Dir) != (r.Kind == listing.Dir) {
				t.Errorf("%s: %q = %d exact %v kind %d, want %d exact %v kind %d", claim, r.Name, got.Size, got.SizeExact, got.Kind, r.Size, r.SizeExact, r.Kind)
			}
			if !got.ModTime.Equal(r.ModTime) || got.Step != r.Step || got.ZoneKnown != r.ZoneKnown {
				t.Errorf("%s: %q is of %v step %v zone %v, want %v step %v zone %v", claim, r.Name, got.ModTime, got.Step, got.ZoneKnown, r.ModTime, r.Step, r.ZoneKnown)
			}
		}
	}
}
