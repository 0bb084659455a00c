package origintest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func get(t *testing.T, c *http.Client, url string, fields ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

func TestAnyRangeOfABodyIsTheSameBytes(t *testing.T) {
	c := Body(7, 1003)
	whole := []byte(c.String())
	if len(whole) != 1003 {
		t.Fatalf("Body(7, 1003) has %d bytes", len(whole))
	}
	for off := int64(0); off < 1003; off += 13 {
		for _, n := range []int64{1, 7, 8, 9, 100} {
			end := min(off+n, 1003)
			got, err := io.ReadAll(c.Range(off, end))
			if err != nil || !bytes.Equal(got, whole[off:end]) {
				t.Fatalf("Range(%d, %d) differs from the whole body: %v", off, end, err)
			}
		}
	}
	if bytes.Equal(whole, []byte(Body(8, 1003).String())) {
		t.Error("two seeds give one body")
	}
}

func TestFileAnswersRangesAndConditions(t *testing.T) {
	o, c := New(t), client(t)
	body := Body(1, 100_000)
	o.File("/a%20b.bin", body, Header("Cache-Control", "max-age=60"))
	resp, got, err := get(t, c, o.URL+"/a%20b.bin?x=1")
	if err != nil || string(got) != body.String() || resp.Header.Get("Cache-Control") != "max-age=60" {
		t.Fatalf("GET = %v, %d bytes, %v", resp, len(got), err)
	}
	tag := resp.Header.Get("ETag")
	resp, got, _ = get(t, c, o.URL+"/a%20b.bin", "Range", "bytes=10-19", "If-Range", tag)
	if resp.StatusCode != 206 || string(got) != body.String()[10:20] {
		t.Errorf("range = %d, %q", resp.StatusCode, got)
	}
	if resp, _, _ = get(t, c, o.URL+"/a%20b.bin", "If-None-Match", tag); resp.StatusCode != 304 {
		t.Errorf("If-None-Match = %d, want 304", resp.StatusCode)
	}
	if resp, _, _ = get(t, c, o.URL+"/none"); resp.StatusCode != 404 {
		t.Errorf("unknown path = %d, want 404", resp.StatusCode)
	}
	if n := o.Count("/a%20b.bin"); n != 3 {
		t.Errorf("Count = %d, want 3", n)
	}
	if n := o.Count("/a%20b.bin?x=1"); n != 1 {
		t.Errorf("Count with the query = %d, want 1", n)
	}
	if r := o.Last("/a%20b.bin"); r.Header.Get("If-None-Match") != tag {
		t.Errorf("Last = %+v, want its If-None-Match", r)
	}
}

func TestFaultsShow(t *testing.T) {
	release := make(chan struct{})
	body := Body(3, 50_000)
	rows := []struct {
		claim  string
		opt    Option
		length int
		err    error
	}{
		{"cut after 1000 bytes", CutAfter(1000), 1000, io.ErrUnexpectedEOF},
		{"cut in front of the body", CutAfter(0), 0, io.ErrUnexpectedEOF},
		{"no last chunk", func(a *answer) { Chunked()(a); CutAfter(2000)(a) }, 2000, io.ErrUnexpectedEOF},
		{"announced length too long", ContentLength(60_000), 50_000, io.ErrUnexpectedEOF},
		{"announced length too short", ContentLength(40_000), 40_000, nil},
		{"chunked and whole", Chunked(), 50_000, nil},
		{"stalled and released", Stall(10, release), 50_000, nil},
	}
	close(release)
	for _, row := range rows {
		t.Run(row.claim, func(t *testing.T) {
			o, c := New(t), client(t)
			o.File("/f", body, row.opt)
			_, got, err := get(t, c, o.URL+"/f")
			if len(got) != row.length || !errors.Is(err, row.err) {
				t.Errorf("GET = %d bytes, %v, want %d, %v", len(got), err, row.length, row.err)
			}
			if string(got) != body.String()[:len(got)] {
				t.Error("the bytes are not the body's")
			}
		})
	}
}

func TestStatusGzipRedirectAndFirst(t *testing.T) {
	o, c := New(t), client(t)
	o.File("/s", Text("later"), First(2, Status(503)))
	o.File("/g", Text("squeezed"), Gzip())
	o.File("/r", Text(""), Redirect(302, "/s"))
	o.File("/x", Text(""), Abort())
	for i, want := range []int{503, 503, 200} {
		if resp, _, _ := get(t, c, o.URL+"/s"); resp.StatusCode != want {
			t.Errorf("request %d = %d, want %d", i+1, resp.StatusCode, want)
		}
	}
	if resp, got, _ := get(t, c, o.URL+"/g"); resp.Header.Get("Content-Encoding") != "gzip" || string(got) == "squeezed" {
		t.Errorf("gzip = %v, %q", resp.Header, got)
	}
	if resp, _, _ := get(t, c, o.URL+"/r"); resp.StatusCode != 302 || resp.Header.Get("Location") != "/s" {
		t.Errorf("redirect = %d %v", resp.StatusCode, resp.Header)
	}
	if _, _, err := get(t, c, o.URL+"/x"); err == nil {
		t.Error("aborted request has no error")
	}
}

func TestStopAndStartKeepThePort(t *testing.T) {
	o, c := New(t), client(t)
	o.File("/a", Text("here"))
	o.File("/held", Text("never"), Hold(make(chan struct{})))
	failed := make(chan error, 1)
	go func() {
		_, _, err := get(t, c, o.URL+"/held")
		failed <- err
	}()
	o.Wait("/held", 1)
	o.Stop()
	if err := <-failed; err == nil {
		t.Error("a held request survives Stop")
	}
	if _, _, err := get(t, c, o.URL+"/a"); err == nil {
		t.Error("a stopped origin answers")
	}
	o.Start()
	if _, got, err := get(t, c, o.URL+"/a"); err != nil || string(got) != "here" {
		t.Errorf("after Start: %q, %v", got, err)
	}
}

func TestTLSOriginSpeaksHTTP2(t *testing.T) {
	o := NewTLS(t)
	o.File("/a", Text("here"))
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.TLSClientConfig.RootCAs = o.Pool()
	defer tr.CloseIdleConnections()
	if _, got, err := get(t, &http.Client{Transport: tr}, o.URL+"/a"); err != nil || string(got) != "here" {
		t.Fatalf("GET = %q, %v", got, err)
	}
	if p := o.Last("/a").Proto; p != "HTTP/2.0" {
		t.Errorf("protocol = %s, want HTTP/2.0", p)
	}
}
