package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

func TestFileIsDescribed(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"pub/a.tar.gz": "0123456789"})
	when := newClock().Now().Add(-time.Hour + 123456789)
	if err := os.Chtimes(dir+"/pub/a.tar.gz", time.Time{}, when); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "HEAD"} {
		resp, err := tr.RoundTrip(hubRequest(t.Context(), method, "/pub/a.tar.gz"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		want := map[string]string{
			"Content-Length": "10", "Content-Type": "application/gzip", "Content-Encoding": "", "Accept-Ranges": "bytes",
			"Last-Modified": "Thu, 30 Apr 2026 23:00:00 GMT", "Date": "Fri, 01 May 2026 00:00:00 GMT",
			"Etag": fmt.Sprintf(`"%x-a"`, when.UnixNano()),
		}
		for name, value := range want {
			if got := resp.Header.Get(name); got != value {
				t.Errorf("%s: %s = %q, want %q", method, name, got, value)
			}
		}
		if resp.StatusCode != 200 || resp.Status != "200 OK" || resp.ContentLength != 10 || err != nil || len(body) != map[string]int{"GET": 10}[method] {
			t.Errorf("%s = %s of %d bytes, body %q, %v, want 200 OK of 10", method, resp.Status, resp.ContentLength, body, err)
		}
		if got, want := resp.Request.URL.String(), "file://"+dir+"/pub/a.tar.gz"; got != want {
			t.Errorf("%s: Request.URL = %s, want %s", method, got, want)
		}
	}
}

func TestTagTellsStatesApart(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"a": "one"})
	now := newClock().Now()
	seen := map[string]string{}
	for _, row := range []struct {
		claim, text string
		when        time.Time
		weak, dated bool
	}{
		{"old", "one", now.Add(-time.Hour), false, true},
		{"of another size", "three", now.Add(-time.Hour), false, true},
		{"a nanosecond younger", "one", now.Add(-time.Hour + 1), false, true},
		{"from before 1970", "one", time.Unix(-5, 0), false, true},
		{"just settled", "one", now.Add(-2 * time.Second), false, true},
		{"too young for a strong tag", "one", now.Add(-2*time.Second + 1), true, true},
		{"from the near future", "one", now.Add(time.Second), true, false},
		{"from the far future", "one", now.Add(time.Hour), false, false},
	} {
		if err := errors.Join(os.WriteFile(dir+"/a", []byte(row.text), 0o644), os.Chtimes(dir+"/a", time.Time{}, row.when)); err != nil {
			t.Fatal(err)
		}
		h := opened(t, tr, "/a").Header
		tag := h.Get("Etag")
		if got := strings.HasPrefix(tag, `W/"`); got != row.weak || tag == "" {
			t.Errorf("%s: ETag = %s, weak %v, want %v", row.claim, tag, got, row.weak)
		}
		if got := h.Get("Last-Modified") != ""; got != row.dated {
			t.Errorf("%s: Last-Modified = %q, want one: %v", row.claim, h.Get("Last-Modified"), row.dated)
		}
		if other := seen[tag]; other != "" {
			t.Errorf("%s: ETag %s is that of the file %s too", row.claim, tag, other)
		}
		seen[tag] = row.claim
	}
}

func TestFileAnswersConditions(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"a": "0123456789", "young": "0123456789"})
	if err := os.Chtimes(dir+"/young", time.Time{}, newClock().Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	old, young := opened(t, tr, "/a").Header, opened(t, tr, "/young").Header
	tag, date := old.Get("Etag"), old.Get("Last-Modified")
	for _, row := range []struct {
		claim, path string
		fields      []string
		want        string
	}{
		{"the same tag", "/a", []string{"If-None-Match", tag}, "304 "},
		{"the same tag, weak", "/a", []string{"If-None-Match", "W/" + tag}, "304 "},
		{"among others", "/a", []string{"If-None-Match", `"x", ` + tag}, "304 "},
		{"any", "/a", []string{"If-None-Match", "*"}, "304 "},
		{"another tag", "/a", []string{"If-None-Match", `"x"`}, "200 0123456789"},
		{"another tag outweighs the time", "/a", []string{"If-None-Match", `"x"`, "If-Modified-Since", date}, "200 0123456789"},
		{"the same time", "/a", []string{"If-Modified-Since", date}, "304 "},
		{"an earlier time", "/a", []string{"If-Modified-Since", "Thu, 30 Apr 2020 00:00:00 GMT"}, "200 0123456789"},
		{"no time", "/a", []string{"If-Modified-Since", "yesterday"}, "200 0123456789"},
		{"the time of a young file proves nothing", "/young", []string{"If-Modified-Since", young.Get("Last-Modified")}, "200 0123456789"},
		{"a condition on what is not there", "/none", []string{"If-None-Match", "*"}, "404 Not Found\n"},
		{"from the middle", "/a", []string{"Range", "bytes=3-5"}, "206 345 bytes 3-5/10"},
		{"to the end", "/a", []string{"Range", "bytes=7-"}, "206 789 bytes 7-9/10"},
		{"beyond the end", "/a", []string{"Range", "bytes=7-99999999999999999999"}, "206 789 bytes 7-9/10"},
		{"the last", "/a", []string{"Range", "bytes=-2"}, "206 89 bytes 8-9/10"},
		{"more than all of the last", "/a", []string{"Range", "Bytes=-20"}, "206 0123456789 bytes 0-9/10"},
		{"after the end", "/a", []string{"Range", "bytes=10-"}, "416 Requested Range Not Satisfiable\n bytes */10"},
		{"none of the last", "/a", []string{"Range", "bytes=-0"}, "416 Requested Range Not Satisfiable\n bytes */10"},
		{"backwards is no range", "/a", []string{"Range", "bytes=5-3"}, "200 0123456789"},
		{"several ranges", "/a", []string{"Range", "bytes=0-1,3-4"}, "200 0123456789"},
		{"another unit", "/a", []string{"Range", "lines=0-1"}, "200 0123456789"},
		{"no numbers", "/a", []string{"Range", "bytes=a-b"}, "200 0123456789"},
		{"nothing", "/a", []string{"Range", "bytes=-"}, "200 0123456789"},
		{"if it is still this", "/a", []string{"Range", "bytes=3-5", "If-Range", tag}, "206 345 bytes 3-5/10"},
		{"if it is still of this time", "/a", []string{"Range", "bytes=3-5", "If-Range", date}, "206 345 bytes 3-5/10"},
		{"if it were another", "/a", []string{"Range", "bytes=3-5", "If-Range", `"x"`}, "200 0123456789"},
		{"if, by a weak tag", "/a", []string{"Range", "bytes=3-5", "If-Range", "W/" + tag}, "200 0123456789"},
		{"if, of a young file", "/young", []string{"Range", "bytes=3-5", "If-Range", young.Get("Etag")}, "200 0123456789"},
		{"an unchanged file before its range", "/a", []string{"Range", "bytes=3-5", "If-None-Match", tag}, "304 "},
	} {
		t.Run(row.claim, func(t *testing.T) {
			req := hubRequest(t.Context(), "GET", row.path)
			for i := 0; i < len(row.fields); i += 2 {
				req.Header.Set(row.fields[i], row.fields[i+1])
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			got := fmt.Sprint(resp.StatusCode, " ", string(body))
			if part := resp.Header.Get("Content-Range"); part != "" {
				got += " " + part
			}
			if got != row.want || err != nil || resp.StatusCode != 304 && resp.ContentLength != int64(len(body)) {
				t.Errorf("GET %s with %q = %s, %v, length %d, want %s", row.path, row.fields, got, err, resp.ContentLength, row.want)
			}
		})
	}
}

func TestPartIsNoLocalFile(t *testing.T) {
	tr, _ := treeOf(t, map[string]string{"a": "0123456789"})
	req := hubRequest(t.Context(), "GET", "/a")
	req.Header.Set("Range", "bytes=3-5")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, ok := resp.Body.(*LocalFile); ok {
		t.Error("the body of a 206 is a *LocalFile, which would be served as the whole")
	}
}

func TestLocalFileGivesItsFileAway(t *testing.T) {
	tr, dir := treeOf(t, map[string]string{"a": "0123456789"})
	body := opened(t, tr, "/a").Body.(*LocalFile)
	file := body.File()
	if err := body.Close(); err != nil {
		t.Errorf("Close after File = %v, want nil", err)
	}
	if err := os.Remove(dir + "/a"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(file, 0, body.Size())); string(got) != "0123456789" || err != nil {
		t.Errorf("reading the file after Close = %q, %v, want the whole", got, err)
	}
	if err := file.Close(); err != nil {
		t.Errorf("Close of the file = %v, want nil", err)
	}
	if _, err := body.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after File = %v, want %v", err, os.ErrClosed)
	}
}

func TestFileThatChangesNeverLooksWhole(t *testing.T) {
	const size = 1 << 20
	for _, row := range []struct {
		claim  string
		change func(name string) error
		want   error // nil: all that was announced comes
		read   int64
	}{
		{"cut once all of it had come", func(name string) error { return os.Truncate(name, size-2) }, io.ErrUnexpectedEOF, size},
		{"cut", func(name string) error { return os.Truncate(name, size/2) }, io.ErrUnexpectedEOF, size / 2},
		{"cut to nothing", func(name string) error { return os.Truncate(name, 0) }, io.ErrUnexpectedEOF, 1},
		{"written over", func(name string) error { return os.WriteFile(name, make([]byte, size), 0o644) }, errChanged, size},
		{"cut behind what was read", func(name string) error { return os.Truncate(name, size-1) }, io.ErrUnexpectedEOF, size - 1},
		{"longer", func(name string) error { return os.Truncate(name, size+1) }, nil, size},
		{"replaced by another", func(name string) error {
			return errors.Join(os.WriteFile(name+".new", []byte("short"), 0o644), os.Rename(name+".new", name))
		}, nil, size},
		{"removed", os.Remove, nil, size},
	} {
		t.Run(row.claim, func(t *testing.T) {
			tr, dir := treeOf(t, map[string]string{"a": strings.Repeat("x", size)})
			resp := opened(t, tr, "/a")
			first := 1
			if strings.HasSuffix(row.claim, "all of it had come") {
				first = size
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, first)); err != nil {
				t.Fatal(err)
			}
			if err := row.change(dir + "/a"); err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if n+int64(first) != row.read || !errors.Is(err, row.want) || row.want == nil && err != nil {
				t.Errorf("reading a file that was %s = %d bytes, %v, want %d, %v", row.claim, n+int64(first), err, row.read, row.want)
			}
			if failure := (*Error)(nil); row.want != nil && (!errors.As(err, &failure) || failure.ProxyStatus() != kindIncomplete) {
				t.Errorf("reading a file that was %s = %v, want an *Error of %s", row.claim, err, kindIncomplete)
			}
		})
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	tr, _ := treeOf(t, map[string]string{"a": "0123456789", "d/x": ""})
	for _, path := range []string{"/a", "/d/"} {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := tr.RoundTrip(hubRequest(ctx, "GET", path))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := resp.Body.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
			t.Errorf("Read of %s after cancel = %v, want %v", path, err, context.Canceled)
		}
		resp.Body.Close()
		if _, err := tr.RoundTrip(hubRequest(ctx, "GET", path)); !errors.Is(err, context.Canceled) {
			t.Errorf("RoundTrip of %s after cancel = %v, want %v", path, err, context.Canceled)
		}
	}
}

func TestNothingStaysOpen(t *testing.T) {
	tr, _ := treeOf(t, map[string]string{"a": "0123456789", "d/x": "", "doc/__content": "x"})
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 50 {
		for _, path := range []string{"/a", "/d/", "/d", "/doc", "/a/", "/none", "/a%zz"} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				for _, fields := range []http.Header{{}, {"If-None-Match": {"*"}}, {"Range": {"bytes=5-6"}}, {"Range": {"bytes=99-"}}} {
					req := hubRequest(t.Context(), method, path)
					req.Header = fields
					if resp, err := tr.RoundTrip(req); err == nil {
						resp.Body.Close()
					}
				}
			}
		}
	}
	if after := count(); after > before+5 {
		t.Errorf("%d descriptors are open after the requests, %d were before", after, before)
	}
}

func TestTypesDependOnTheNameAlone(t *testing.T) {
	for name, want := range map[string]string{
		"a.tar.gz": "application/gzip", "a.TGZ": "application/gzip", "page.html.gz": "application/gzip", "linux-6.1": "application/octet-stream",
		"a.tar.xz": "application/x-xz", "a.tar.zst": "application/zstd", "index.html": "text/html; charset=utf-8", "README": textType,
		"README.Debian": textType, "SHA256SUMS": textType, "SHA256SUMS.gpg": "application/octet-stream", "a.deb": "application/vnd.debian.binary-package",
		"linux.tar.sign": "application/pgp-signature", "ChangeLog-2.6.1": textType, "x": "application/octet-stream", ".gz": "application/gzip",
		"dir.html/x": "application/octet-stream", "a.svg": "image/svg+xml", "x.json": "application/json",
	} {
		if got := typeOf(name); got != want {
			t.Errorf("typeOf(%q) = %s, want %s", name, got, want)
		}
	}
}
