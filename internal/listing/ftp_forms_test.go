package listing

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func namesOf(l *Listing) []string {
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	return names
}

func TestNamesOfLists(t *testing.T) {
	src := Source{Now: today, URL: &url.URL{Path: "/srv/pub/"}}
	for _, c := range []struct {
		claim, command, body string
		want                 []string
	}{
		{"nothing is an empty directory", "LIST", "", nil},
		{"so is a total alone", "LIST -la", "total 0\r\n", nil},
		{"and no name", "NLST", "", nil},
		{"the directory and its parent are dropped", "LIST -a", "drwxr-xr-x 2 0 0 1 Jan 15  2026 .\r\ndrwxr-xr-x 2 0 0 1 Jan 15  2026 ..\r\n", nil},
		{"a newline in a name", "LIST", "-rw-r--r-- 1 0 0 7 Jan 15  2026 new\nline\r\n", []string{"new\nline"}},
		{"line ends of both kinds", "LIST", "-rw-r--r-- 1 0 0 7 Jan 15  2026 a\n-rw-r--r-- 1 0 0 7 Jan 15  2026 b\r\n", []string{"a", "b"}},
		{"a carriage return in a name", "LIST", "-rw-r--r-- 1 0 0 7 Jan 15  2026 c\rr\r\n", []string{"c\rr"}},
		{"a slash is no part of a name", "LIST", "-rw-r--r-- 1 0 0 7 Jan 15  2026 a/b\r\n", nil},
		{"each name once", "NLST", "b\r\na\r\nb\r\n", []string{"a", "b"}},
		{"names behind the whole path", "NLST", "/srv/pub/a\r\n/srv/pub/b\r\n", []string{"a", "b"}},
		{"names behind the end of the path", "NLST", "pub/a\r\n", []string{"a"}},
		{"names behind a dot", "NLST", "./a\r\n", []string{"a"}},
		{"names of nothing but blanks", "NLST", " \r\n", []string{" "}},
		{"NLST that is a LIST", "NLST -l", "-rw-r--r-- 1 0 0 7 Jan 15  2026 a\r\n", []string{"a"}},
		{"MLSD without the directory and its parent", "MLSD", "type=cdir; /srv/pub\r\n", nil},
		{"MLSD with blanks in names", "MLSD", "Type=file;Size=1;  a; b \r\n", []string{" a; b "}},
		{"MLSD without facts", "MLSD", " a\r\n", []string{"a"}},
		{"VMS, its newest versions", "LIST", "\r\nDirectory DISK:[PUB]\r\n\r\nREADME.TXT;2      12/15  21-NOV-2023 19:19:00  [SYS]  (RWED,RE)\r\n" +
			"README.TXT;1      10/15  20-NOV-2023 19:19:00  [SYS]  (RWED,RE)\r\nLONG_NAME_OF_A_FILE.TAR_GZ;1\r\n                  7/9  1-JAN-2024 10:00  [SYS]  (RWED)\r\n" +
			"SUB.DIR;1          1/3  21-NOV-2023 19:19:00  [SYS]  (RWE)\r\n\r\nTotal of 4 files, 30/42 blocks\r\n", []string{"LONG_NAME_OF_A_FILE.TAR_GZ", "README.TXT", "SUB"}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l, err := ParseFTP(src, c.command, strings.NewReader(c.body))
			if err != nil || !slices.Equal(namesOf(l), c.want) {
				t.Errorf("ParseFTP(%s) = %q, %v, want %q", c.command, namesOf(l), err, c.want)
			}
		})
	}
}

func TestFacts(t *testing.T) {
	const rows = "modify=20230909090909.25;type=dir;unique=u1;UNIX.mode=0755; v1\r\n" +
		"Modify=20230909090909;Type=OS.unix=symlink;size=2;unique=u1; latest\r\n" +
		"type=OS.unix=slink:v1;size=2;modify=20230909090909; slink\r\n" +
		"type=OS.unix=blkdev;modify=20230909090909; dev\r\n" +
		"type=pdir;unique=u0; ..\r\n" +
		"type=OS.unix=symlink;unique=u0; parent\r\n"
	l, err := ParseFTP(Source{}, "mlsd", strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	when := time.Date(2023, 9, 9, 9, 9, 9, 250_000_000, time.UTC)
	want := []string{
		"dev other -1 1s", "latest dir -1 10ms", "parent dir -1 0s", "slink dir -1 10ms", "v1 dir -1 10ms",
	}
	for i, e := range l.Entries {
		got := fmt.Sprintf("%s %s %d %v", e.Name, kindNames[e.Kind], e.Size, e.Step)
		if i >= len(want) || got != want[i] {
			t.Errorf("entry %d is %s, want %q", i, got, want)
		}
		if e.Step == 10*time.Millisecond && (!e.ModTime.Equal(when) || !e.ZoneKnown) {
			t.Errorf("entry %q is of %v, zone known %v, want %v", e.Name, e.ModTime, e.ZoneKnown, when)
		}
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct {
		claim, reply string
		want         error
	}{
		{"a success", "226-Options: -l \r\n226 14 matches total\r\n", nil},
		{"pure-ftpd at its limit", "226-Options: -l \r\n226 Output truncated to 1000 matches\r\n", ErrCut},
		{"a refusal", "550 Permission denied", ErrForbidden},
		{"a broken connection", "426 Failure writing network stream.", ErrCut},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if err := ReplyError(c.reply); !errors.Is(err, c.want) {
				t.Errorf("ReplyError(%q) = %v, want %v", c.reply, err, c.want)
			}
		})
	}
}

func FuzzFTP(f *testing.F) {
	f.Add("LIST", "total 3\r\n-rw-r--r-- 1 0 0 7 Jan 15 08:09 a\r\nlrwxrwxrwx 1 0 0 1 2026-01-15 08:09 l -> a\r\n")
	f.Add("LIST", "+i1.2,m3,r,s4,up644\ta\r\n")
	f.Add("LIST", "01-15-26  08:09AM       <DIR>          pub\r\n")
	f.Add("LIST", "d [R----F--] supervisor            512       Jan 16 18:53    login\r\n")
	f.Add("LIST", "Directory A:[B]\r\n\r\nA.B;1\r\n  1/2 1-JAN-2024 10:00\r\n")
	f.Add("MLSD", "type=file;size=1;modify=20260115080910.5;unique=a; n\r\n")
	f.Add("NLST", "a\r\npub/b\r\n")
	f.Add("TREE", ".:\ntotal 4\ndrwxr-xr-x 3 0 0 7 Jan 15  2026 a\n\n./a:\ntotal 0\n")
	f.Fuzz(func(t *testing.T, command, body string) {
		src := Source{Now: today, URL: &url.URL{Path: "/pub/"}}
		if command == "TREE" {
			_ = ParseTree(src, strings.NewReader(body), func(dir string, l *Listing) error {
				for part := range strings.SplitSeq(dir, "/") {
					if dir != "" && !possible(part) {
						t.Errorf("directory %q", dir)
					}
				}
				checkClean(t, l)
				return nil
			})
			return
		}
		if l, err := ParseFTP(src, command, strings.NewReader(body)); err == nil {
			checkClean(t, l)
		}
	})
}
