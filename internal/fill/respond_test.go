package fill

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
	"zcache/internal/freshness"
)

const (
	day    = "Thu, 01 Jan 2026 00:00:00 GMT"
	before = "Wed, 31 Dec 2025 23:59:59 GMT"
	later  = "Fri, 02 Jan 2026 00:00:00 GMT"
)

// stored is a Meta of a body of size bytes with these fields beside a Date of "later".
func stored(size int64, lines ...string) *cache.Meta {
	h := fields(append([]string{"Date: " + later}, lines...)...)
	return &cache.Meta{Status: 200, Size: size, Header: h, Received: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Limit: -1}
}

func TestConditionsInTheirOrder(t *testing.T) {
	both := []string{`Etag: "a"`, "Last-Modified: " + day}
	tests := []struct {
		name    string
		meta    []string
		request []string
		want    int
	}{
		{"no condition", both, nil, 200},
		{"If-None-Match that matches", both, []string{`If-None-Match: "a"`}, 304},
		{"If-None-Match compares weakly: weak in the request", both, []string{`If-None-Match: W/"a"`}, 304},
		{"If-None-Match compares weakly: weak in the store", []string{`Etag: W/"a"`}, []string{`If-None-Match: "a"`}, 304},
		{"If-None-Match that does not match", both, []string{`If-None-Match: "b"`}, 200},
		{"If-None-Match in a list", both, []string{`If-None-Match: "b", W/"c" ,,"a"`}, 304},
		{"If-None-Match in two lines", both, []string{`If-None-Match: "b"`, `If-None-Match: "a"`}, 304},
		{"If-None-Match: *", both, []string{"If-None-Match: *"}, 304},
		{"If-None-Match: * without an ETag", nil, []string{"If-None-Match: *"}, 304},
		{"a star with more behind it is garbage", both, []string{"If-None-Match: *x"}, 200},
		{"a star in quotes is a tag", both, []string{`If-None-Match: "*"`}, 200},
		{"a comma inside a tag is no separator", []string{`Etag: "b"`}, []string{`If-None-Match: "a,"b"`}, 200},
		{"unquoted garbage matches nothing", []string{"Etag: a"}, []string{"If-None-Match: a"}, 200},
		{"a tag without its end matches nothing", both, []string{`If-None-Match: "a`}, 200},
		{"If-None-Match is case-sensitive", both, []string{`If-None-Match: "A"`}, 200},
		{"If-None-Match that fails silences If-Modified-Since", both, []string{`If-None-Match: "b"`, "If-Modified-Since: " + later}, 200},
		{"even an empty one", both, []string{"If-None-Match: ", "If-Modified-Since: " + later}, 200},
		{"If-Modified-Since at the time", both, []string{"If-Modified-Since: " + day}, 304},
		{"If-Modified-Since before it", both, []string{"If-Modified-Since: " + before}, 200},
		{"If-Modified-Since that is no date", both, []string{"If-Modified-Since: 2026-01-01"}, 200},
		{"If-Modified-Since falls back on Date", nil, []string{"If-Modified-Since: " + later}, 304},
		{"If-Match that matches", both, []string{`If-Match: "a"`}, 200},
		{"If-Match compares strongly: weak in the request", both, []string{`If-Match: W/"a"`}, 412},
		{"If-Match compares strongly: weak in the store", []string{`Etag: W/"a"`}, []string{`If-Match: W/"a"`}, 412},
		{"If-Match: *", both, []string{"If-Match: *"}, 200},
		{"If-Match garbage", both, []string{"If-Match: a"}, 412},
		{"If-Match without an ETag", nil, []string{`If-Match: "a"`}, 412},
		{"If-Match that matches silences If-Unmodified-Since", both, []string{`If-Match: "a"`, "If-Unmodified-Since: " + before}, 200},
		{"If-Match that fails wins over If-None-Match", both, []string{`If-Match: "b"`, `If-None-Match: "a"`}, 412},
		{"If-Match that matches leaves If-None-Match to decide", both, []string{`If-Match: "a"`, `If-None-Match: "a"`}, 304},
		{"If-Unmodified-Since at the time", both, []string{"If-Unmodified-Since: " + day}, 200},
		{"If-Unmodified-Since before it", both, []string{"If-Unmodified-Since: " + before}, 412},
		{"If-Unmodified-Since without a Last-Modified is ignored", nil, []string{"If-Unmodified-Since: " + before}, 200},
		{"If-Unmodified-Since that is no date is ignored", both, []string{"If-Unmodified-Since: yesterday"}, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, method := range []string{"GET", "HEAD"} {
				r := Respond(stored(10, tt.meta...), method, fields(tt.request...), freshness.Verdict{Fresh: true})
				if r.Status != tt.want {
					t.Errorf("%s with %v of %v = %d, want %d", method, tt.request, tt.meta, r.Status, tt.want)
				}
				if body := method == "GET" && tt.want == 200; r.Body != body {
					t.Errorf("%s: a body follows = %v, want %v", method, r.Body, body)
				}
			}
		})
	}
}

func TestRanges(t *testing.T) {
	const size = 100
	many := "bytes=" + strings.Repeat("0-0,", maxRanges) + "1-1"
	tests := []struct {
		name string
		spec string
		size int64
		want []Range
		ok   bool
	}{
		{"the first byte", "bytes=0-0", size, []Range{{0, 1}}, true},
		{"the last byte", "bytes=99-99", size, []Range{{99, 1}}, true},
		{"open", "bytes=90-", size, []Range{{90, 10}}, true},
		{"an end beyond the end", "bytes=90-1000", size, []Range{{90, 10}}, true},
		{"a suffix", "bytes=-10", size, []Range{{90, 10}}, true},
		{"a suffix longer than the whole", "bytes=-1000", size, []Range{{0, 100}}, true},
		{"a suffix of nothing", "bytes=-0", size, nil, true},
		{"beyond the end", "bytes=100-", size, nil, true},
		{"several", "bytes=0-1, 10-11,-1", size, []Range{{0, 2}, {10, 2}, {99, 1}}, true},
		{"one of several beyond the end is left out", "bytes=0-1,500-", size, []Range{{0, 2}}, true},
		{"empty list members are passed over", "bytes=,0-1,,", size, []Range{{0, 2}}, true},
		{"overlapping parts of less than the whole", "bytes=0-9,5-14", size, []Range{{0, 10}, {5, 10}}, true},
		{"parts of more than the whole", "bytes=0-,0-", size, nil, false},
		{"too many parts", many, size, nil, false},
		{"inverted", "bytes=5-4", size, nil, false},
		{"one of several inverted", "bytes=0-1,5-4", size, nil, false},
		{"a number beyond 64 bits", "bytes=99999999999999999999-", size, nil, true},
		{"an end beyond 64 bits", "bytes=1-99999999999999999999", size, []Range{{1, 99}}, true},
		{"a suffix beyond 64 bits", "bytes=-99999999999999999999", size, []Range{{0, 100}}, true},
		{"the largest number", "bytes=0-9223372036854775807", size, []Range{{0, 100}}, true},
		{"another unit", "lines=0-1", size, nil, false},
		{"the unit in capitals", "BYTES=0-1", size, []Range{{0, 2}}, true},
		{"no unit", "0-1", size, nil, false},
		{"no spec", "bytes=", size, nil, false},
		{"a lone dash", "bytes=-", size, nil, false},
		{"no dash", "bytes=5", size, nil, false},
		{"a sign", "bytes=+1-2", size, nil, false},
		{"a negative suffix", "bytes=--5", size, nil, false},
		{"white space inside", "bytes=1 - 2", size, nil, false},
		{"hexadecimal", "bytes=0x1-0x2", size, nil, false},
		{"of an empty body", "bytes=0-", 0, nil, true},
		{"a suffix of an empty body is ignored", "bytes=-5", 0, nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParseRange(tt.spec, tt.size)
			if ok != tt.ok || ok && fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("ParseRange(%q, %d) = %v, %v, want %v, %v", tt.spec, tt.size, got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestIfRange(t *testing.T) {
	both := []string{`Etag: "a"`, "Last-Modified: " + day}
	tests := []struct {
		name    string
		meta    []string
		ifRange string
		want    int
	}{
		{"the entity tag", both, `"a"`, 206},
		{"another entity tag", both, `"b"`, 200},
		{"a weak tag never counts", []string{`Etag: W/"a"`}, `W/"a"`, 200},
		{"the date", both, day, 206},
		{"a later date is another", both, later, 200},
		{"an earlier date", both, before, 200},
		{"garbage", both, "a", 200},
		{"empty", both, "", 200},
		{"a date without Last-Modified", []string{`Etag: "a"`}, later, 200},
		{"a date in the second of the response proves nothing", []string{"Last-Modified: " + later}, later, 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Range": {"bytes=0-1"}, "If-Range": {tt.ifRange}}
			if r := Respond(stored(10, tt.meta...), "GET", h, freshness.Verdict{}); r.Status != tt.want {
				t.Errorf("If-Range: %s of %v = %d, want %d", tt.ifRange, tt.meta, r.Status, tt.want)
			}
		})
	}
}

func TestRespondFrames(t *testing.T) {
	tests := []struct {
		name    string
		meta    *cache.Meta
		method  string
		request []string
		status  int
		length  string // Content-Length
		rng     string // Content-Range
		body    bool
	}{
		{"whole", stored(10), "GET", nil, 200, "10", "", true},
		{"HEAD tells the length", stored(10), "HEAD", nil, 200, "10", "", false},
		{"HEAD with Range is a HEAD of the whole", stored(10), "HEAD", []string{"Range: bytes=0-1"}, 200, "10", "", false},
		{"one part", stored(10), "GET", []string{"Range: bytes=2-4"}, 206, "3", "bytes 2-4/10", true},
		{"the whole as a part", stored(10), "GET", []string{"Range: bytes=0-"}, 206, "10", "bytes 0-9/10", true},
		{"none to be had", stored(10), "GET", []string{"Range: bytes=10-"}, 416, "0", "bytes */10", false},
		{"two Range lines are ignored", stored(10), "GET", []string{"Range: bytes=0-1", "Range: bytes=0-1"}, 200, "10", "", true},
		{"304 comes before Range", stored(10, `Etag: "a"`), "GET", []string{"Range: bytes=0-1", `If-None-Match: "a"`}, 304, "", "", false},
		{"412 comes before Range", stored(10, `Etag: "a"`), "GET", []string{"Range: bytes=0-1", `If-Match: "b"`}, 412, "0", "", false},
		{"an empty body", stored(0), "GET", nil, 200, "0", "", true},
		{"a range of an empty body", stored(0), "GET", []string{"Range: bytes=0-0"}, 416, "0", "bytes */0", false},
		{"a length that is not known yet", stored(-1), "GET", []string{"Range: bytes=0-1"}, 200, "", "", true},
		{"204 has no length", &cache.Meta{Status: 204, Header: http.Header{}}, "GET", nil, 204, "", "", false},
		{"a stored 404 has no ranges", &cache.Meta{Status: 404, Size: 5, Header: http.Header{}}, "GET", []string{"Range: bytes=0-1"}, 404, "5", "", true},
		{"a stored 404 has no conditions", &cache.Meta{Status: 404, Size: 5, Header: fields(`Etag: "a"`)}, "GET", []string{`If-None-Match: "a"`}, 404, "5", "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := Respond(tt.meta, tt.method, fields(tt.request...), freshness.Verdict{Fresh: true, Age: 7 * time.Second})
			if r.Status != tt.status || r.Body != tt.body {
				t.Errorf("Respond = %d, body %v, want %d, %v", r.Status, r.Body, tt.status, tt.body)
			}
			if got := r.Header.Get("Content-Length"); got != tt.length {
				t.Errorf("Content-Length %q, want %q", got, tt.length)
			}
			if got := r.Header.Get("Content-Range"); got != tt.rng {
				t.Errorf("Content-Range %q, want %q", got, tt.rng)
			}
			if got := r.Header.Get("Age"); got != "7" {
				t.Errorf("Age %q, want 7", got)
			}
		})
	}
}

func TestRespondLeavesTheMetaAlone(t *testing.T) {
	m := stored(10, `Etag: "a"`, "Set-Cookie: x", "Content-Type: text/plain")
	was := fmt.Sprint(m.Header)
	r := Respond(m, "GET", fields("Range: bytes=0-1,4-5"), freshness.Verdict{Omit: []string{"Set-Cookie"}})
	r.Header.Set("X-More", "y")
	if r.Header.Get("Set-Cookie") != "" {
		t.Error(`a stale answer still has the field that no-cache="…" names`)
	}
	if got := fmt.Sprint(m.Header); got != was {
		t.Errorf("Meta's fields became %s, were %s", got, was)
	}
	if r := Respond(m, "GET", nil, freshness.Verdict{Fresh: true, Omit: []string{"Set-Cookie"}}); r.Header.Get("Set-Cookie") != "" {
		t.Error("a fresh answer still has it: without the origin's word it must not be replayed (RFC 9111 section 5.2.2.4)")
	}
	if r := Respond(m, "GET", nil, freshness.Verdict{Fresh: true}); r.Header.Get("Set-Cookie") != "x" {
		t.Error("an answer that the origin has just vouched for has lost it")
	}
}

// sectionOf is a section of text in memory.
func sectionOf(s string) section { return durable.NewBytes([]byte(s), 0, int64(len(s)), nil) }

func TestMultipartHasTheLengthItSays(t *testing.T) {
	body := "0123456789abcdefghij"
	for _, spec := range []string{"bytes=0-1,5-6", "bytes=0-0,-1,3-5", "bytes=1-2,1-2,19-"} {
		for _, kind := range []string{"", "Content-Type: text/plain"} {
			lines := []string{`Etag: "a"`}
			if kind != "" {
				lines = append(lines, kind)
			}
			reply := Respond(stored(int64(len(body)), lines...), "GET", fields("Range: "+spec), freshness.Verdict{})
			a := compose(reply, func(off, end int64) section { return sectionOf(body[off:end]) })
			b, err := io.ReadAll(a.Body)
			if err != nil || int64(len(b)) != a.Length || a.Header.Get("Content-Length") != strconv.Itoa(len(b)) {
				t.Fatalf("%s: %d bytes, %v; Length %d, Content-Length %s", spec, len(b), err, a.Length, a.Header.Get("Content-Length"))
			}
			_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
			if err != nil {
				t.Fatal(err)
			}
			r := multipart.NewReader(strings.NewReader(string(b)), params["boundary"])
			for _, want := range reply.Ranges {
				p, err := r.NextRawPart()
				if err != nil {
					t.Fatalf("%s: %v in %q", spec, err, b)
				}
				part, _ := io.ReadAll(p)
				if string(part) != body[want.Off:want.Off+want.N] || p.Header.Get("Content-Range") != contentRange(want, int64(len(body))) {
					t.Errorf("%s: part %q %v, want %v", spec, part, p.Header, want)
				}
			}
			if _, err := r.NextRawPart(); err != io.EOF {
				t.Errorf("%s: after the last part: %v", spec, err)
			}
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5,1-", "bytes=99999999999999999999-", "bytes=0-0,-1, 5-9", "x=1-2", "bytes=,,"} {
		f.Add(s, int64(100))
	}
	f.Fuzz(func(t *testing.T, s string, size int64) {
		if size < 0 || size > 1<<50 {
			return
		}
		ranges, ok := ParseRange(s, size)
		var total int64
		for _, r := range ranges {
			if r.Off < 0 || r.N <= 0 || r.Off+r.N > size {
				t.Errorf("ParseRange(%q, %d) = %v", s, size, ranges)
			}
			total += r.N
		}
		if !ok && ranges != nil || len(ranges) > maxRanges || total > size {
			t.Errorf("ParseRange(%q, %d) = %v, %v", s, size, ranges, ok)
		}
	})
}

func FuzzMatches(f *testing.F) {
	f.Add(`"a", W/"b"`, `"a"`)
	f.Add("*", "")
	f.Add(`W/"`, `W/"x"`)
	f.Fuzz(func(t *testing.T, line, etag string) {
		strong, weak := matches([]string{line}, etag, true), matches([]string{line}, etag, false)
		if strong && !weak {
			t.Errorf("%q matches %q strongly but not weakly", line, etag)
		}
		if weak && strings.TrimSpace(line) != "*" && (etag == "" || !strings.Contains(line, strings.TrimPrefix(etag, "W/"))) {
			t.Errorf("%q matches %q", line, etag)
		}
	})
}
