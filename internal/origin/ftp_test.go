package origin

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/listing"
)

const ftpText = "0123456789abcdefghij"

func ftpFiles() map[string]string {
	return map[string]string{"/pub/a.txt": ftpText, "/pub/empty": "", "/pub/sub/b": "b", "/pub/o d[d]*\xfe": "odd"}
}

// ftpHub is a server and a Transport with hub h over its /pub.
func ftpHub(t *testing.T) (*ftpServer, *Transport) {
	t.Helper()
	s := newFTPServer(t, ftpFiles())
	return s, newTransport(t, Config{Hubs: []Hub{hubOf(t, s.url()+"/pub/")}})
}

func TestFTPAnswersAsHTTP(t *testing.T) {
	stamp := ftpTime.Format(http.TimeFormat)
	_, tr := ftpHub(t)
	for _, row := range []struct {
		claim, method, path string
		fields              []string // name, value
		status              int
		body                string
		want                []string // name, value
	}{
		{"a file comes whole", "GET", "/a.txt", nil, 200, ftpText, []string{"Content-Length", "20", "Last-Modified", stamp, "Content-Type", textType}},
		{"an empty file too", "GET", "/empty", nil, 200, "", []string{"Content-Length", "0"}},
		{"a HEAD says the same of it", "HEAD", "/a.txt", nil, 200, "", []string{"Content-Length", "20", "Last-Modified", stamp}},
		{"a name of any bytes", "GET", "/o%20d%5Bd%5D%2A%FE", nil, 200, "odd", nil},
		{"the type code is no part of the name", "GET", "/a.txt;type=i", nil, 200, ftpText, nil},
		{"a range in the middle", "GET", "/a.txt", []string{"Range", "bytes=5-9"}, 206, "56789", []string{"Content-Range", "bytes 5-9/20"}},
		{"a range to the end", "GET", "/a.txt", []string{"Range", "bytes=15-"}, 206, "fghij", []string{"Content-Range", "bytes 15-19/20"}},
		{"the last bytes", "GET", "/a.txt", []string{"Range", "bytes=-2"}, 206, "ij", []string{"Content-Range", "bytes 18-19/20"}},
		{"a range behind the end", "GET", "/a.txt", []string{"Range", "bytes=20-"}, 416, "", []string{"Content-Range", "bytes */20"}},
		{"a resume of the same state", "GET", "/a.txt", []string{"Range", "bytes=15-", "If-Range", stamp}, 206, "fghij", nil},
		{"a resume of another", "GET", "/a.txt", []string{"Range", "bytes=15-", "If-Range", "Wed, 05 Apr 2023 06:07:07 GMT"}, 200, ftpText, nil},
		{"unmodified since", "GET", "/a.txt", []string{"If-Modified-Since", stamp}, 304, "", nil},
		{"modified since", "GET", "/a.txt", []string{"If-Modified-Since", "Wed, 05 Apr 2023 06:07:07 GMT"}, 200, ftpText, nil},
		{"the tag that we gave", "GET", "/a.txt", []string{"If-None-Match", fmt.Sprintf(`W/"%x-14"`, ftpTime.Unix())}, 304, "", nil},
		{"another size is another tag", "GET", "/a.txt", []string{"If-None-Match", fmt.Sprintf(`W/"%x-15"`, ftpTime.Unix())}, 200, ftpText, nil},
		{"what is not there", "GET", "/none", nil, 404, "", nil},
		{"a directory's name without slash", "GET", "/sub", nil, 301, "", []string{"Location", "./sub/"}},
		{"a file's name with one", "GET", "/a.txt/", nil, 404, "", nil},
		{"an empty segment", "GET", "//a.txt", nil, 404, "", nil},
		{"a line end in the name", "GET", "/a%0D%0ADELE%20b", nil, 400, "", nil},
		{"a NUL in the name", "GET", "/a%00", nil, 400, "", nil},
		{"a broken escape", "GET", "/a%zz", nil, 400, "", nil},
		{"nothing is written", "PUT", "/a.txt", nil, 405, "", []string{"Allow", "GET, HEAD"}},
	} {
		t.Run(row.claim, func(t *testing.T) {
			req := hubRequest(t.Context(), row.method, row.path)
			for i := 0; i < len(row.fields); i += 2 {
				req.Header.Set(row.fields[i], row.fields[i+1])
			}
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %s: %v", row.method, row.path, err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != row.status || (row.status == 200 || row.status == 206) && string(body) != row.body {
				t.Errorf("%s %s %v = %d %q, %v, want %d %q", row.method, row.path, row.fields, resp.StatusCode, body, err, row.status, row.body)
			}
			for i := 0; i < len(row.want); i += 2 {
				if got := resp.Header.Get(row.want[i]); got != row.want[i+1] {
					t.Errorf("%s %s: %s = %q, want %q", row.method, row.path, row.want[i], got, row.want[i+1])
				}
			}
		})
	}
}

func TestFTPDirectoryIsAListing(t *testing.T) {
	s, tr := ftpHub(t)
	for _, command := range []string{"MLSD", "LIST"} {
		s.on(func(c *ftpConn, verb, _ string) bool {
			switch {
			case command == "LIST" && verb == "MLSD":
				c.say("502 not today")
			case verb == "LIST":
				c.transfer("total 8\r\n-rw-r--r-- 1 a b 20 Apr  5 2023 a.txt\r\ndrwxr-xr-x 1 a b 4096 Apr 5 2023 sub\r\nlrwxrwxrwx 1 a b 3 Apr 5 2023 l -> sub\r\n", "250 done")
			default:
				return false
			}
			return true
		})
		resp, err := tr.RoundTrip(hubRequest(t.Context(), "GET", "/"))
		if err != nil {
			t.Fatalf("GET / by %s: %v", command, err)
		}
		l, err := listing.Parse(listing.Source{URL: resp.Request.URL, ContentType: resp.Header.Get("Content-Type"), Now: time.Now()}, resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("the listing by %s: %v", command, err)
		}
		got := map[string]listing.Kind{}
		for _, e := range l.Entries {
			got[e.Name] = e.Kind
		}
		if got["a.txt"] != listing.File || got["sub"] != listing.Dir || command == "LIST" && got["l"] != listing.Dir {
			t.Errorf("rows by %s = %v", command, got)
		}
		req := hubRequest(t.Context(), "GET", "/")
		req.Header.Set("If-None-Match", resp.Header.Get("Etag"))
		if status, _, err := do(tr, req); status != 304 || err != nil {
			t.Errorf("GET / by %s with its own tag = %d, %v, want 304", command, status, err)
		}
	}
	if got := s.count("MLSD"); got != 3 {
		t.Errorf("MLSD was asked for %d times, want 3: a server that has it not is asked once", got)
	}
}

func TestFTPConnectionsAreReusedWithinABound(t *testing.T) {
	s, tr := ftpHub(t)
	for range 5 {
		if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
			t.Fatalf("GET /a.txt = %d %q, %v", status, body, err)
		}
		if status, _, err := ask(t, tr, "/none"); status != 404 || err != nil {
			t.Fatalf("GET /none = %d, %v", status, err)
		}
	}
	if got := s.count("PASS"); got != 1 {
		t.Errorf("10 requests in a row logged in %d times, want once", got)
	}
	inside, most := 0, 0
	var mu sync.Mutex
	s.on(func(_ *ftpConn, verb, _ string) bool {
		mu.Lock()
		defer mu.Unlock()
		switch verb {
		case "SIZE":
			inside++
			most = max(most, inside)
		case "RETR":
			inside--
		}
		return false
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
				t.Errorf("GET /a.txt among 20 = %d %q, %v", status, body, err)
			}
		})
	}
	all.Wait()
	if got := s.count("PASS"); got > ftpConns || most > ftpConns {
		t.Errorf("20 at once logged in %d times and had %d sessions at work, want at most %d", got, most, ftpConns)
	}
}

func TestFTPServerThatHungUpIsAskedAgain(t *testing.T) {
	for _, verb := range []string{"SIZE", "MDTM", "EPSV", "RETR"} {
		t.Run("before the answer to "+verb, func(t *testing.T) {
			s, tr := ftpHub(t)
			var once sync.Once
			s.on(func(c *ftpConn, v, _ string) (done bool) {
				if v == verb {
					once.Do(func() { c.Close(); done = true })
				}
				return done
			})
			if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
				t.Errorf("GET /a.txt = %d %q, %v, want the file", status, body, err)
			}
		})
	}
	t.Run("while nothing was asked", func(t *testing.T) {
		s, tr := ftpHub(t)
		for range 3 {
			if status, body, err := ask(t, tr, "/a.txt"); status != 200 || body != ftpText || err != nil {
				t.Fatalf("GET /a.txt = %d %q, %v, want the file", status, body, err)
			}
			s.hangUp()
		}
	})
	t.Run("each time, it fails", func(t *testing.T) {
		s, tr := ftpHub(t)
		s.on(func(c *ftpConn, v, _ string) bool {
			if v == "MDTM" {
				c.Close()
			}
			return v == "MDTM"
		})
		if status, _, err := ask(t, tr, "/a.txt"); err == nil || s.count("MDTM") != 2 {
			t.Errorf("GET /a.txt = %d, %v after %d tries, want an error after 2", status, err, s.count("MDTM"))
		}
	})
}

// ftpSays has the server answer a command with these lines.
func ftpSays(verb string, lines ...string) func(*ftpConn, string, string) bool {
	return func(c *ftpConn, v, _ string) bool {
		if v == verb {
			c.say(lines...)
		}
		return v == verb
	}
}

func ftpSends(verb, text, last string) func(*ftpConn, string, string) bool {
	return func(c *ftpConn, v, _ string) bool {
		if v == verb {
			c.transfer(text, last)
		}
		return v == verb
	}
}

func TestFTPBodyIsWholeOrAnError(t *testing.T) {
	for _, row := range []struct {
		claim  string
		script func(*ftpConn, string, string) bool
		whole  bool
	}{
		{"226 and the size", ftpSends("RETR", ftpText, "226 done"), true},
		{"250 is as good", ftpSends("RETR", ftpText, "250 done"), true},
		{"several lines", ftpSends("RETR", ftpText, "226-550 is not the code\r\n226 done"), true},
		{"all bytes and no last word", ftpSends("RETR", ftpText, ""), true},
		{"fewer bytes and no last word", ftpSends("RETR", ftpText[:7], ""), false},
		{"fewer bytes and 226", ftpSends("RETR", ftpText[:7], "226 done"), false},
		{"more bytes", ftpSends("RETR", ftpText+"x", "226 done"), false},
		{"all bytes and 426", ftpSends("RETR", ftpText, "426 aborted"), false},
		{"all bytes and 451", ftpSends("RETR", ftpText, "451 read error"), false},
	} {
		t.Run(row.claim, func(t *testing.T) {
			s, tr := ftpHub(t)
			s.on(row.script)
			status, body, err := ask(t, tr, "/a.txt")
			if status != 200 || (err == nil) != row.whole || row.whole && body != ftpText {
				t.Errorf("GET /a.txt = %d %q, %v, want whole: %v", status, body, err, row.whole)
			}
		})
	}
}

func TestFTPRepliesBecomeStatuses(t *testing.T) {
	for _, row := range []struct {
		claim, path string
		script      func(*ftpConn, string, string) bool
		status      int // 0: an error
	}{
		{"too many users", "/a.txt", ftpSays("USER", "421 too many users"), 503},
		{"a password that is wrong", "/a.txt", ftpSays("PASS", "530 Login incorrect"), 401},
		{"a user who is not let in", "/a.txt", ftpSays("USER", "530 no anonymous users"), 401},
		{"530 of many users", "/a.txt", ftpSays("PASS", "530 Sorry, the maximum number of clients (5) are connected"), 503},
		{"a file that is busy", "/a.txt", ftpSays("RETR", "450 busy"), 503},
		{"a file that may not be read", "/a.txt", ftpSays("RETR", "550 a.txt: Permission denied"), 403},
		{"a file that cannot be opened", "/a.txt", ftpSays("RETR", "550 Failed to open file."), 403},
		{"a disk that fails", "/a.txt", ftpSays("SIZE", "550 a.txt: Input/output error"), 503},
		{"a directory that may not be entered", "/sub/", ftpSays("CWD", "550 Permission denied"), 403},
		{"a listing that may not be read", "/sub/", ftpSends("MLSD", "", "226 Transfer done (but failed to open directory)."), 403},
		{"a listing that is cut", "/sub/", ftpSends("MLSD", "type=file;size=1; b\r\n", "226 Output truncated to 1 matches"), 0},
		{"a listing that ends in a row", "/sub/", ftpSends("MLSD", "type=file;size=1; b\r\ntype=fi", "226 done"), 0},
		{"a listing without a last word", "/sub/", ftpSends("MLSD", "type=file;size=1; b\r\n", ""), 0},
		{"a listing that was aborted", "/sub/", ftpSends("MLSD", "type=file;size=1; b\r\n", "426 aborted"), 503},
		{"garbage for a reply", "/a.txt", ftpSays("SIZE", "what?"), 0},
		{"garbage for a size", "/a.txt", ftpSays("SIZE", "213 many"), 0},
		{"a negative size", "/a.txt", ftpSays("SIZE", "213 -5"), 0},
		{"a reply without end", "/a.txt", ftpSays("SIZE", "213-"+strings.Repeat("x", 2*maxReply)), 0},
		{"no SIZE", "/a.txt", ftpSays("SIZE", "500 what is that"), 200},
		{"no MDTM", "/a.txt", ftpSays("MDTM", "500 what is that"), 200},
		{"garbage for a time", "/a.txt", ftpSays("MDTM", "213 19100405060708"), 200},
		{"no EPSV", "/a.txt", ftpSays("EPSV", "500 what is that"), 200},
		{"no PWD", "/a.txt", ftpSays("PWD", "502 what is that"), 200},
	} {
		t.Run(row.claim, func(t *testing.T) {
			s, tr := ftpHub(t)
			s.on(row.script)
			status, body, err := ask(t, tr, row.path)
			if status != row.status || (err == nil) != (row.status != 0) || status == 200 && body != ftpText {
				t.Errorf("GET %s = %d %q, %v, want %d", row.path, status, body, err, row.status)
			}
		})
	}
}
