package listing

import (
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"testing"
	"time"
)

// today is the Now of the tests of lists.
var today = time.Date(2026, 11, 21, 19, 30, 0, 0, time.UTC)

// oneRow parses a LIST of one row.
func oneRow(t *testing.T, src Source, row string) Entry {
	t.Helper()
	l, err := ParseFTP(src, "LIST", strings.NewReader(row+"\r\n"))
	if err != nil || len(l.Entries) != 1 {
		t.Fatalf("ParseFTP(%q) = %v, %v, want one entry", row, l, err)
	}
	return l.Entries[0]
}

func TestRowForms(t *testing.T) {
	day := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC) }
	at := func(y int, m time.Month, d, h, min int) time.Time { return time.Date(y, m, d, h, min, 0, 0, time.UTC) }
	file := func(name string, size int64, when time.Time, step time.Duration) Entry {
		return Entry{Name: name, Size: size, SizeExact: true, Kind: File, ModTime: when, Step: step}
	}
	dir := func(name string, when time.Time, step time.Duration) Entry {
		return Entry{Name: name, Size: -1, Kind: Dir, ModTime: when, Step: step}
	}
	const daily = 24 * time.Hour
	jan := day(2026, time.January, 15)
	for _, row := range []struct {
		claim, line string
		want        Entry
	}{
		{"a year is a day's exactness", "-rw-r--r-- 1 root root 1234 Jan 15  2026 a", file("a", 1234, jan, daily)},
		{"a time is a minute's", "-rw-r--r-- 1 root root 1 Nov 20 23:59 a", file("a", 1, at(2026, 11, 20, 23, 59), time.Minute)},
		{"no group", "-rw-r--r--   1 ftp         1234 Jan 15  2026 a", file("a", 1234, jan, daily)},
		{"neither owner nor links", "drwxrwxr-x               folder        2 May 10  1996 network", dir("network", day(1996, 5, 10), daily)},
		{"an owner with blanks", "-rw-r--r-- 1 ACME\\jane doe Domain Users 7 Jan 15  2026 a", file("a", 7, jan, daily)},
		{"an access list", "-rw-r--r--+ 1 0 0 7 Jan 15  2026 a", file("a", 7, jan, daily)},
		{"a security context", "drwxr-xr-x. 2 0 0 7 Jan 15  2026 a", dir("a", jan, daily)},
		{"leading and trailing blanks of a name", "-rw-r--r-- 1 0 0 7 Jan 15  2026  a ", file(" a ", 7, jan, daily)},
		{"a name like a row", "-rw-r--r-- 1 0 0 7 Jan 15  2026 -rw-r--r-- 1 ftp ftp 0 Jan  1 00:00 fake", file("-rw-r--r-- 1 ftp ftp 0 Jan  1 00:00 fake", 7, jan, daily)},
		{"an arrow in a file's name", "-rw-r--r-- 1 0 0 7 Jan 15  2026 a -> b", file("a -> b", 7, jan, daily)},
		{"the day first", "-rw-r--r-- 1 0 0 7 15 Jan  2026 a", file("a", 7, jan, daily)},
		{"German", "-rw-r--r-- 1 0 0 7 15. Mär  2026 a", file("a", 7, day(2026, 3, 15), daily)},
		{"French", "-rw-r--r-- 1 0 0 7 15 févr. 2026 a", file("a", 7, day(2026, 2, 15), daily)},
		{"Russian", "-rw-r--r-- 1 0 0 7 окт 15 12:00 a", file("a", 7, at(2026, 10, 15, 12, 0), time.Minute)},
		{"Chinese", "-rw-r--r-- 1 0 0 7 10月 15 12:00 a", file("a", 7, at(2026, 10, 15, 12, 0), time.Minute)},
		{"long-iso", "-rw-r--r-- 1 0 0 7 2026-01-15 08:09 a", file("a", 7, at(2026, 1, 15, 8, 9), time.Minute)},
		{"iso, recent", "-rw-r--r-- 1 0 0 7 11-20 08:09 a", file("a", 7, at(2026, 11, 20, 8, 9), time.Minute)},
		{"iso, old", "-rw-r--r-- 1 0 0 7 2026-01-15  a", file("a", 7, jan, daily)},
		{"seconds and a year", "-rw-r--r-- 1 0 0 7 Jan 15 08:09:10 2026 a", file("a", 7, at(2026, 1, 15, 8, 9).Add(10*time.Second), time.Second)},
		{"IIS, morning", "01-15-26  12:09AM                 1234 a b", file("a b", 1234, at(2026, 1, 15, 0, 9), time.Minute)},
		{"IIS, evening", "01-15-2026  08:09PM       <DIR>          pub", dir("pub", at(2026, 1, 15, 20, 9), time.Minute)},
		{"IIS, a name with a leading blank", "01-15-26  08:09AM       <DIR>           x", dir(" x", at(2026, 1, 15, 8, 9), time.Minute)},
		{"DOS, the year first", "2026-01-15  08:09             1,234 a", file("a", 1234, at(2026, 1, 15, 8, 9), time.Minute)},
		{"a day where IIS has the month", "15-01-26  08:09AM                 1234 a", Entry{Name: "a", Size: 1234, SizeExact: true, Kind: File}},
		{"a junction", "01-15-26  08:09AM       <JUNCTION>     j [D:\\x y]", Entry{Name: "j", Size: -1, Kind: Dir, Link: true, Target: "D:\\x y"}},
		{"NetWare", "- [RWCEAFMS] rhesus       214059       Oct 20 15:27    cx.exe", file("cx.exe", 214059, at(2026, 10, 20, 15, 27), time.Minute)},
		{"a NetWare directory", "d [R----F--] supervisor            512       Jan 15  2026    login", dir("login", jan, daily)},
	} {
		t.Run(row.claim, func(t *testing.T) {
			got := oneRow(t, Source{Now: today}, row.line)
			got.Mode = 0
			if got != row.want {
				t.Errorf("ParseFTP(%q) = %+v, want %+v", row.line, got, row.want)
			}
		})
	}
}

func TestRowsOfExactTimes(t *testing.T) {
	full := oneRow(t, Source{}, "-rw-r--r-- 1 0 0 7 2026-01-15 08:09:10.123000000 +0530 a")
	if want := time.Date(2026, 1, 15, 2, 39, 10, 123_000_000, time.UTC); !full.ModTime.Equal(want) || full.Step != time.Nanosecond || !full.ZoneKnown {
		t.Errorf("full-iso is %v, step %v, zone known %v, want %v", full.ModTime, full.Step, full.ZoneKnown, want)
	}
	eplf := oneRow(t, Source{}, "+i8388621.48594,m-1,r,s280,up644,\tdjb.html")
	if want := (Entry{Name: "djb.html", Size: 280, SizeExact: true, Kind: File, Mode: 0o644, ModTime: time.Unix(-1, 0).UTC(), Step: time.Second, ZoneKnown: true}); eplf != want {
		t.Errorf("EPLF = %+v, want %+v", eplf, want)
	}
}

func TestModesAndTypes(t *testing.T) {
	for _, row := range []struct {
		claim, line string
		kind        Kind
		mode        fs.FileMode
		size        int64
		exact       bool
	}{
		{"a device has no size", "crw-rw-rw- 1 root root 1, 3 Jan 15  2026 null", Other, 0o666, -1, false},
		{"a device without a blank", "brw-rw---- 1 root disk 8,16 Jan 15  2026 sdb", Other, 0o660, -1, false},
		{"a pipe", "prw-r--r-- 1 0 0 0 Jan 15  2026 fifo", Other, 0o644, -1, false},
		{"setuid and sticky", "-rwsr-xr-T 1 0 0 9 Jan 15  2026 a", File, 0o754 | fs.ModeSetuid | fs.ModeSticky, 9, true},
		{"a rounded size is flagged", "-rw-r--r-- 1 0 0 1.5K Jan 15  2026 a", File, 0o644, 1536, false},
		{"a row that could not be looked at", "-????????? ? ? ? ?            ? gone", Unknown, 0, -1, false},
	} {
		t.Run(row.claim, func(t *testing.T) {
			e := oneRow(t, Source{Now: today}, row.line)
			if e.Kind != row.kind || e.Mode != row.mode || e.Size != row.size || e.SizeExact != row.exact {
				t.Errorf("ParseFTP(%q) = %+v, want kind %v, mode %v, size %d, exact %v", row.line, e, row.kind, row.mode, row.size, row.exact)
			}
		})
	}
}

func TestYearsThatAreNotShown(t *testing.T) {
	for _, row := range []struct {
		claim, date string
		now         time.Time
		want        time.Time
	}{
		{"today", "Nov 21 19:00", today, time.Date(2026, 11, 21, 19, 0, 0, 0, time.UTC)},
		{"within a day ahead, for the zones", "Nov 22 15:00", today, time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)},
		{"last year", "Nov 30 12:00", time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 11, 30, 12, 0, 0, 0, time.UTC)},
		{"next year, on its eve", "Jan  1 00:30", time.Date(2025, 12, 31, 23, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC)},
		{"a leap day", "Feb 29 12:00", time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC), time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)},
		{"a leap day of no year near", "Feb 29 12:00", time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), time.Time{}},
		{"beyond half a year it is some future", "Feb  3 04:05", today, time.Time{}},
		{"a now that is not known", "Nov 21 19:00", time.Time{}, time.Time{}},
	} {
		t.Run(row.claim, func(t *testing.T) {
			e := oneRow(t, Source{Now: row.now}, "-rw-r--r-- 1 0 0 7 "+row.date+" a")
			if !e.ModTime.Equal(row.want) {
				t.Errorf("%s at %v is %v, want %v", row.date, row.now, e.ModTime, row.want)
			}
		})
	}
}

// A row that the six months do not hold gives a server away that shows no years, unless another row shows one.
func TestServersThatShowNoYears(t *testing.T) {
	const august, future, old = "-rw-r--r-- 1 0 0 7 Aug 09 10:11 a\r\n", "-rw-r--r-- 1 0 0 7 Feb 03 04:05 b\r\n", "-rw-r--r-- 1 0 0 7 Feb 03  2020 c\r\n"
	recent := time.Date(2026, 8, 9, 10, 11, 0, 0, time.UTC)
	for _, c := range []struct {
		claim, rows string
		want        time.Time // of a
	}{
		{"rows that may all be recent are", august, recent},
		{"one that cannot be spoils the others", august + future, time.Time{}},
		{"and those behind it", future + august, time.Time{}},
		{"but not where old rows have years", august + future + old, recent},
	} {
		l, err := ParseFTP(Source{Now: today}, "LIST", strings.NewReader(c.rows))
		if err != nil || l.Entries[0].Name != "a" || !l.Entries[0].ModTime.Equal(c.want) {
			t.Errorf("%s: ParseFTP(%q) = %+v, %v, want a of %v", c.claim, c.rows, l, err, c.want)
		}
	}
}

func TestZoneOfTheServer(t *testing.T) {
	zone := time.FixedZone("", 8*3600)
	e := oneRow(t, Source{Now: today, Zone: zone}, "-rw-r--r-- 1 0 0 7 Nov 21 01:00 a")
	if want := time.Date(2026, 11, 20, 17, 0, 0, 0, time.UTC); !e.ModTime.Equal(want) || !e.ZoneKnown {
		t.Errorf("Nov 21 01:00 at +8 is %v, zone known %v, want %v", e.ModTime, e.ZoneKnown, want)
	}
}

func TestLinksToTheSameDirectory(t *testing.T) {
	const rows = "drwxr-xr-x 2 0 0 4096 Dec  2  2023 v1.2\r\n" +
		"-rw-r--r-- 1 0 0 777 Dec  1  2023 file\r\n" +
		"lrwxrwxrwx 1 0 0 5 Jan  6  2022 latest -> ./v1.2/\r\n" +
		"lrwxrwxrwx 1 0 0 6 Jan  6  2022 chain -> alias\r\n" +
		"lrwxrwxrwx 1 0 0 4 Jan  6  2022 alias -> file\r\n" +
		"lrwxrwxrwx 1 0 0 4 Jan  6  2022 self -> self\r\n" +
		"lrwxrwxrwx 1 0 0 5 Jan  6  2022 up -> ../..\r\n" +
		"lrwxrwxrwx 1 0 0 6 Jan  6  2022 away -> ../pub\r\n" +
		"lrwxrwxrwx 1 0 0 6 Jan  6  2022 arrow -> x -> y -> z\r\n"
	l, err := ParseFTP(Source{Now: today}, "LIST", strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		kind   Kind
		size   int64
		target string
	}{
		"v1.2": {Dir, -1, ""}, "file": {File, 777, ""}, "latest": {Dir, -1, "./v1.2/"}, "chain": {File, 777, "alias"}, "alias": {File, 777, "file"},
		"self": {Other, -1, "self"}, "up": {Dir, -1, "../.."}, "away": {Unknown, -1, "../pub"}, "arrow -> x": {Unknown, -1, "y -> z"},
	}
	if len(l.Entries) != len(want) {
		t.Errorf("%d entries, want %d", len(l.Entries), len(want))
	}
	for _, e := range l.Entries {
		w := want[e.Name]
		if e.Kind != w.kind || e.Size != w.size || e.Target != w.target || e.Link != (w.target != "") {
			t.Errorf("entry %+v, want %+v", e, w)
		}
		if e.Kind == Unknown && !e.ModTime.IsZero() {
			t.Errorf("entry %q has the link's own time %v, want none", e.Name, e.ModTime)
		}
	}
}

func TestListsThatAreErrors(t *testing.T) {
	const row = "-rw-r--r-- 1 0 0 7 Jan 15  2026 a\r\n"
	for _, c := range []struct {
		claim, command, body string
		want                 error
	}{
		{"an unreadable row", "LIST", row + "what is this\r\n", ErrNotListing},
		{"a row of another form", "LIST", row + "01-15-26  08:09AM  1234 b\r\n", ErrNotListing},
		{"a month that is none", "LIST", "-rw-r--r-- 1 0 0 7 Foo 15  2026 a\r\n", ErrNotListing},
		{"a day that is none", "LIST", "-rw-r--r-- 1 0 0 7 Feb 30  2026 a\r\n", ErrNotListing},
		{"a row without a name", "LIST", "-rw-r--r-- 1 0 0 7 Feb 20  2026 \r\n", ErrNotListing},
		{"a last row without an end", "LIST", row + strings.TrimSuffix(row, "\r\n"), ErrCut},
		{"half of a line's end", "LIST", strings.TrimSuffix(row, "\n"), ErrCut},
		{"a limit was met", "LIST", row + "Output truncated to 2000 matches\r\n", ErrCut},
		{"a name could not be read", "LIST", row + "ls: cannot access 'b': Input/output error\r\n", ErrCut},
		{"a refusal among the rows", "LIST", "ls: .: Permission denied\r\n", ErrForbidden},
		{"a refusal as a reply", "LIST", "550 Permission denied.\r\n", ErrForbidden},
		{"a failure as a reply", "LIST", row + "451 Requested action aborted\r\n", ErrCut},
		{"a header of another directory", "LIST", row + "\r\n./sub:\r\n" + row, ErrNotListing},
		{"facts without a name", "MLSD", "type=file;size=3;\r\n", ErrNotListing},
		{"facts with a path", "MLSD", "type=file;size=3; a/b\r\n", ErrNotListing},
		{"no facts", "MLSD", "README\r\n", ErrNotListing},
		{"facts that were cut", "MLSD", "type=file;size=3; a", ErrCut},
		{"a name that leads elsewhere", "NLST", "/other/a\r\n", ErrNotListing},
		{"ls failing at a name", "NLST", "a\r\nls: b: Permission denied\r\n", ErrForbidden},
		{"a command that lists nothing", "RETR a", "", ErrNotListing},
		{"a VMS name without columns", "LIST", "Directory DISK:[PUB]\r\n\r\nVERY_LONG_NAME.TXT;1\r\n", ErrCut},
	} {
		t.Run(c.claim, func(t *testing.T) {
			src := Source{Now: today, URL: &url.URL{Path: "/pub/"}}
			if l, err := ParseFTP(src, c.command, strings.NewReader(c.body)); !errors.Is(err, c.want) {
				t.Errorf("ParseFTP(%s) = %v, %v, want %v", c.command, l, err, c.want)
			}
		})
	}
}
