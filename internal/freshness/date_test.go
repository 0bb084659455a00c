package freshness

import (
	"testing"
	"time"
)

func TestParseDateTakesTheThreeFormsAndNothingElse(t *testing.T) {
	want := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, row := range []struct {
		claim, text string
		ok          bool
	}{
		{"IMF-fixdate", "Sun, 06 Nov 1994 08:49:37 GMT", true},
		{"RFC 850", "Sunday, 06-Nov-94 08:49:37 GMT", true},
		{"asctime, day padded with a space", "Sun Nov  6 08:49:37 1994", true},
		{"asctime, day of two digits", "Sun Nov 06 08:49:37 1994", true},
		{"weekday in another case", "SUN, 06 Nov 1994 08:49:37 GMT", true},
		{"month in another case", "Sun, 06 nOV 1994 08:49:37 GMT", true},
		{"zone in another case", "Sun, 06 Nov 1994 08:49:37 gmt", true},
		{"RFC 850 in another case", "sunday, 06-nov-94 08:49:37 gMt", true},
		{"asctime in another case", "sun nov  6 08:49:37 1994", true},
		{"white space around it", " \tSun, 06 Nov 1994 08:49:37 GMT ", true},
		{"a weekday that does not fit the date", "Mon, 06 Nov 1994 08:49:37 GMT", true},

		{"nothing", "", false},
		{"zero", "0", false},
		{"minus one", "-1", false},
		{"zone UTC", "Sun, 06 Nov 1994 08:49:37 UTC", false},
		{"zone in digits", "Sun, 06 Nov 1994 08:49:37 +0000", false},
		{"no zone", "Sun, 06 Nov 1994 08:49:37", false},
		{"something else than a space before the zone", "Sun, 06 Nov 1994 08:49:37xGMT", false},
		{"the same in RFC 850", "Sunday, 06-Nov-94 08:49:37xGMT", false},
		{"two digits of a year in IMF-fixdate", "Sun, 06 Nov 94 08:49:37 GMT", false},
		{"four digits of a year in RFC 850", "Sunday, 06-Nov-1994 08:49:37 GMT", false},
		{"no comma", "Sun 06 Nov 1994 08:49:37 GMT", false},
		{"dashes", "Sun, 06-Nov-1994 08:49:37 GMT", false},
		{"hour of one digit", "Sun, 06 Nov 1994 8:49:37 GMT", false},
		{"hour of one digit behind two spaces", "Sun, 06 Nov 1994  8:49:37 GMT", false},
		{"the same in asctime", "Sun Nov  6  8:49:37 1994", false},
		{"the same in RFC 850", "Sunday, 06-Nov-94  8:49:37 GMT", false},
		{"day of one digit", "Sun,  6 Nov 1994 08:49:37 GMT", false},
		{"two spaces", "Sun, 06  Nov 1994 08:49:37 GMT", false},
		{"fraction of a second", "Sun, 06 Nov 1994 08:49:37.5 GMT", false},
		{"full stops in the time", "Sun, 06 Nov 1994 08.49.37 GMT", false},
		{"a 31st of November", "Sun, 31 Nov 1994 08:49:37 GMT", false},
		{"a 25th hour", "Sun, 06 Nov 1994 25:49:37 GMT", false},
		{"a month that is none", "Sun, 06 Nev 1994 08:49:37 GMT", false},
		{"a weekday that is none", "Sin, 06 Nov 1994 08:49:37 GMT", false},
		{"a short weekday in RFC 850", "Sun, 06-Nov-94 08:49:37 GMT", false},
		{"full name of a month", "Sun, 06 November 1994 08:49:37 GMT", false},
		{"RFC 3339", "1994-11-06T08:49:37Z", false},
		{"seconds since 1970", "784111777", false},
		{"two dates in one line", "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT", false},
		{"letters that are none in ASCII", "Sun, 06 Nov 1994 08:49:37 GMТ", false},
	} {
		got, ok := ParseDate(row.text)
		if ok != row.ok || ok && (!got.Equal(want) || got.Location() != time.UTC) {
			t.Errorf("%s: ParseDate(%q) = %v, %v; want ok %v", row.claim, row.text, got, ok, row.ok)
		}
	}
}

func TestParseDateReadsTwoDigitsOfAYearAsNeverFarAhead(t *testing.T) {
	for text, year := range map[string]int{
		"Thursday, 01-Jan-70 00:00:00 GMT":  1970,
		"Wednesday, 01-Jan-69 00:00:00 GMT": 1969,
		"Saturday, 01-Jan-00 00:00:00 GMT":  2000,
		"Thursday, 18-Aug-50 02:01:18 GMT":  2050,
	} {
		if got, ok := ParseDate(text); !ok || got.Year() != year {
			t.Errorf("ParseDate(%q) = %v, %v; want year %d", text, got, ok, year)
		}
	}
}

func FuzzParseDate(f *testing.F) {
	for _, s := range []string{"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994  8:49:37 GMT", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseDate(s)
		if !ok {
			if !d.IsZero() {
				t.Errorf("ParseDate(%q) = %v, false; want the zero time", s, d)
			}
			return
		}
		if again, ok := ParseDate(d.Format("Mon, 02 Jan 2006 15:04:05 GMT")); !ok || !again.Equal(d) {
			t.Errorf("ParseDate(%q) = %v, which written out is read as %v, %v", s, d, again, ok)
		}
	})
}
