package e2e

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Everything that a client can ask of one file, cold and held, gives the bytes that nginx has.
func TestEveryWayToABodyGivesTheSameBytes(t *testing.T) {
	const size = 300_000
	want := bytesOf("a", size)
	n := startNginx(t, "location / { gzip on; gzip_types *; gzip_min_length 1; }")
	z := start(t, "--upstream", "up="+n.url)
	n.put("probe", want)
	etag := get(t, n.url+"/probe").Header.Get("ETag")
	date := modified.Format(http.TimeFormat)
	old := modified.Add(-time.Hour).Format(http.TimeFormat)

	all := fmt.Sprintf("bytes */%d", size)
	rows := []struct {
		name   string
		fields []string
		status int
		body   []byte // nil where the body does not matter
		rng    string // Content-Range
	}{
		{"plain", nil, 200, want, ""},
		{"first byte", []string{"Range: bytes=0-0"}, 206, want[:1], "bytes 0-0/300000"},
		{"middle", []string{"Range: bytes=100-199"}, 206, want[100:200], "bytes 100-199/300000"},
		{"open", []string{"Range: bytes=1000-"}, 206, want[1000:], "bytes 1000-299999/300000"},
		{"suffix", []string{"Range: bytes=-500"}, 206, want[size-500:], "bytes 299500-299999/300000"},
		{"suffix longer than the body", []string{"Range: bytes=-900000"}, 206, want, "bytes 0-299999/300000"},
		{"end beyond the body", []string{"Range: bytes=299990-400000"}, 206, want[size-10:], "bytes 299990-299999/300000"},
		{"resume at equal offset", []string{"Range: bytes=300000-"}, 416, nil, all},
		{"start beyond the body", []string{"Range: bytes=300001-300002"}, 416, nil, all},
		{"suffix of nothing", []string{"Range: bytes=-0"}, 416, nil, all},
		{"unknown unit", []string{"Range: lines=1-2"}, 200, want, ""},
		{"If-Range with the ETag", []string{"Range: bytes=5-9", "If-Range: " + etag}, 206, want[5:10], "bytes 5-9/300000"},
		{"If-Range with the date", []string{"Range: bytes=5-9", "If-Range: " + date}, 206, want[5:10], "bytes 5-9/300000"},
		{"If-Range with another ETag", []string{"Range: bytes=5-9", `If-Range: "other"`}, 200, want, ""},
		{"If-Range with another date", []string{"Range: bytes=5-9", "If-Range: " + old}, 200, want, ""},
		{"If-Range with a weak ETag", []string{"Range: bytes=5-9", "If-Range: W/" + etag}, 200, want, ""},
		{"If-None-Match", []string{"If-None-Match: " + etag}, 304, nil, ""},
		{"If-None-Match, weak, in a list", []string{`If-None-Match: "x", W/` + etag}, 304, nil, ""},
		{"If-None-Match *", []string{"If-None-Match: *"}, 304, nil, ""},
		{"If-None-Match with another", []string{`If-None-Match: "x"`}, 200, want, ""},
		{"If-Modified-Since", []string{"If-Modified-Since: " + date}, 304, nil, ""},
		{"If-Modified-Since before", []string{"If-Modified-Since: " + old}, 200, want, ""},
		{"If-None-Match outranks If-Modified-Since", []string{`If-None-Match: "x"`, "If-Modified-Since: " + date}, 200, want, ""},
		{"If-Match", []string{"If-Match: " + etag}, 200, want, ""},
		{"If-Match with another", []string{`If-Match: "x"`}, 412, nil, ""},
		{"If-Unmodified-Since before", []string{"If-Unmodified-Since: " + old}, 412, nil, ""},
		{"304 outranks a range", []string{"If-None-Match: " + etag, "Range: bytes=0-4"}, 304, nil, ""},
		{"a client that takes gzip", []string{"Accept-Encoding: gzip, br"}, 200, want, ""},
	}
	for i, row := range rows {
		path := fmt.Sprintf("dir/%d.bin", i)
		n.put(path, want)
		for _, state := range []string{"cold", "held"} {
			what := row.name + ", " + state
			if state == "held" {
				z.published("up", path, size)
			}
			a := get(t, z.url+"/up/"+path, row.fields...)
			if a.is(t, what, row.status, ""); row.body != nil && (a.Err != nil || !bytes.Equal(a.Body, row.body)) {
				t.Errorf("%s: body of %d bytes, %v; want %d bytes", what, len(a.Body), a.Err, len(row.body))
			}
			if got := a.Header.Get("Content-Range"); got != row.rng {
				t.Errorf("%s: Content-Range %q, want %q", what, got, row.rng)
			}
			if ce := a.Header.Get("Content-Encoding"); ce != "" {
				t.Errorf("%s: Content-Encoding %q, want none", what, ce)
			}
			if row.status == 200 || row.status == 206 || row.status == 304 {
				if got := a.Header.Get("ETag"); got != etag {
					t.Errorf("%s: ETag %q, want %q", what, got, etag)
				}
			}
			if state == "cold" && row.status != 200 && row.status != 206 {
				// What was cold may have been answered without the body; make it held for the second round.
				get(t, z.url+"/up/"+path)
			}
		}
	}
}

func TestSeveralRangesComeAsMultipart(t *testing.T) {
	want := bytesOf("a", 300_000)
	n := startNginx(t, "")
	n.put("a.bin", want)
	z := start(t, "--upstream", "up="+n.url)
	for _, state := range []string{"cold", "held"} {
		a := get(t, z.url+"/up/a.bin", "Range: bytes=0-9,1000-1099,-5")
		a.is(t, state, http.StatusPartialContent, "")
		typ, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if err != nil || typ != "multipart/byteranges" {
			t.Fatalf("%s: Content-Type %q, want multipart/byteranges", state, a.Header.Get("Content-Type"))
		}
		parts := multipart.NewReader(bytes.NewReader(a.Body), params["boundary"])
		for _, w := range []struct{ from, to int }{{0, 10}, {1000, 1100}, {299_995, 300_000}} {
			p, err := parts.NextRawPart()
			if err != nil {
				t.Fatalf("%s: part %v: %v", state, w, err)
			}
			got, err := io.ReadAll(p)
			if err != nil || !bytes.Equal(got, want[w.from:w.to]) {
				t.Errorf("%s: part %v holds %d bytes, %v", state, w, len(got), err)
			}
			if cr := p.Header.Get("Content-Range"); cr != fmt.Sprintf("bytes %d-%d/300000", w.from, w.to-1) {
				t.Errorf("%s: part %v has Content-Range %q", state, w, cr)
			}
		}
		if _, err := parts.NextRawPart(); err != io.EOF {
			t.Errorf("%s: after the last part: %v, want the end", state, err)
		}
		get(t, z.url+"/up/a.bin")
		z.published("up", "a.bin", 300_000)
	}
}

func TestHeadMissAsksHeadAndFillsNothing(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 5000))
	z := start(t, "--upstream", "up="+n.url)
	a := ask(t, http.MethodHead, z.url+"/up/a.bin")
	a.is(t, "cold HEAD", http.StatusOK, "")
	if a.Header.Get("Content-Length") != "5000" || len(a.Body) != 0 {
		t.Errorf("cold HEAD: Content-Length %q and %d bytes of body, want 5000 and none", a.Header.Get("Content-Length"), len(a.Body))
	}
	z.noEntry("up", "a.bin")
	if log := n.log("/a.bin"); len(log) != 1 || log[0].Method != http.MethodHead {
		t.Errorf("nginx served %+v, want one HEAD", log)
	}
	get(t, z.url+"/up/a.bin").whole(t, "GET", bytesOf("a", 5000)).is(t, "GET", 200, "MISS")
	a = ask(t, http.MethodHead, z.url+"/up/a.bin").is(t, "held HEAD", 200, "HIT")
	if a.Header.Get("Content-Length") != "5000" {
		t.Errorf("held HEAD: Content-Length %q, want 5000", a.Header.Get("Content-Length"))
	}
	if log := n.log("/a.bin"); len(log) != 2 {
		t.Errorf("nginx served %+v, want one HEAD and one GET", log)
	}
}

// Real clients judge more than bytes: they resume, undo codings and give exit codes.
func TestCurlAndWgetGetAndResumeBodies(t *testing.T) {
	want := bytesOf("a", 300_000)
	n := startNginx(t, "location / { gzip on; gzip_types *; gzip_min_length 1; }")
	z := start(t, "--upstream", "up="+n.url)
	rows := []struct {
		name   string
		before []byte // what lies in the file already
		args   []string
		after  []byte
	}{
		{"curl", nil, []string{"curl", "-sSf", "-o", "FILE", "URL"}, want},
		{"curl --compressed", nil, []string{"curl", "-sSf", "--compressed", "-o", "FILE", "URL"}, want},
		{"curl -r", nil, []string{"curl", "-sSf", "-r", "100-199", "-o", "FILE", "URL"}, want[100:200]},
		{"curl -C - resumes", want[:123_456], []string{"curl", "-sSf", "-C", "-", "-o", "FILE", "URL"}, want},
		{"curl -C - of a finished file", want, []string{"curl", "-sS", "-C", "-", "-o", "FILE", "URL"}, want},
		{"wget", nil, []string{"wget", "-q", "-O", "FILE", "URL"}, want},
		{"wget -c resumes", want[:123_456], []string{"wget", "-q", "-c", "-O", "FILE", "URL"}, want},
		{"wget -c of a finished file", want, []string{"wget", "-q", "-c", "-O", "FILE", "URL"}, want},
	}
	for i, row := range rows {
		path := fmt.Sprintf("%d.bin", i)
		n.put(path, want)
		for _, state := range []string{"cold", "held"} {
			file := filepath.Join(t.TempDir(), "f")
			if row.before != nil {
				if err := os.WriteFile(file, row.before, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			args := strings.Split(strings.NewReplacer("FILE", file, "URL", z.url+"/up/"+path).Replace(strings.Join(row.args, "\x00")), "\x00")
			out, errs, code := command(t, args[0], args[1:]...)
			got, err := os.ReadFile(file)
			if code != 0 || err != nil || !bytes.Equal(got, row.after) {
				t.Errorf("%s, %s: exit %d, %d bytes (want %d), %v %s%s", row.name, state, code, len(got), len(row.after), err, out, errs)
			}
		}
	}
}

func TestRangeOfAGrowingBodyIsServedAtOnce(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	reached, release := make(chan struct{}), make(chan struct{})
	rl.before = func(r *request, sent int64) {
		// The fill stands still after its first MiB; a request of a far range of its own goes through.
		if r.Header.Get("Range") == "" && sent == mib {
			close(reached)
			<-release
		}
	}
	z := start(t, "--upstream", "up="+rl.url)
	first := begin(t, z.url+"/up/mid.bin")
	defer first.Body.Close()
	<-reached
	near := get(t, z.url+"/up/mid.bin", "Range: bytes=1000-1999")
	near.is(t, "range that is there", http.StatusPartialContent, "")
	sameBytes(t, "range that is there", near.Body, "mid.bin", 1000)
	far := get(t, z.url+"/up/mid.bin", "Range: bytes=20000000-20000999")
	far.is(t, "range far ahead", http.StatusPartialContent, "")
	sameBytes(t, "range far ahead", far.Body, "mid.bin", 20_000_000)
	close(release)
	d, err := digestOf(first.Body)
	if d != bodies["mid.bin"].digest || err != nil {
		t.Errorf("the fill's first client got %d bytes, %v; want %d", d.n, err, midSize)
	}
	z.published("up", "mid.bin", midSize)
}

// begin sends a GET and returns once the head of its answer is there.
func begin(t testing.TB, url string, fields ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	setFields(req, fields)
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s = %d, want 200", url, resp.StatusCode)
	}
	return resp
}

// sameBytes wants got to be what the shared body holds at an offset.
func sameBytes(t testing.TB, what string, got []byte, name string, off int64) {
	t.Helper()
	f, err := os.Open(sharedBodies(t)[name].path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := make([]byte, len(got))
	if _, err := f.ReadAt(want, off); err != nil || len(got) == 0 || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the origin's at %d (%v)", what, len(got), off, err)
	}
}
