package mirror

import (
	"net/http"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

func TestARowOfMinutesThatReadsOtherwiseThanBeforeIsAskedAbout(t *testing.T) {
	modified := time.Date(2026, 5, 1, 12, 0, 30, 0, time.UTC)
	row := func(at time.Time) listing.Entry {
		return listing.Entry{Name: "a", Kind: listing.File, Size: 4, SizeExact: true, ModTime: at, Step: time.Minute, ZoneKnown: true}
	}
	seen := row(modified.Truncate(time.Minute))
	for name, c := range map[string]struct {
		row  listing.Entry
		last string
		want bool
	}{
		"the row that was seen when it was confirmed":             {seen, seen.Row(), true},
		"no row was seen, and this one may be it":                 {seen, "", true},
		"the next minute, into which its time may be rounded":     {row(seen.ModTime.Add(time.Minute)), "", true},
		"the next minute, where the one before was seen":          {row(seen.ModTime.Add(time.Minute)), seen.Row(), false},
		"a minute that is farther from its time than a minute is": {row(seen.ModTime.Add(2 * time.Minute)), "", false},
	} {
		m := &cache.Meta{
			Status: 200, Size: 4, ModTime: modified, Received: modified.Add(time.Hour), Row: c.last,
			Header: http.Header{"Last-Modified": {modified.Format(http.TimeFormat)}},
		}
		if got := current(&c.row, m, false); got != c.want {
			t.Errorf("%s: current(%q, last %q) = %v, want %v", name, c.row.Row(), c.last, got, c.want)
		}
	}
}
