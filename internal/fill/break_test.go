package fill

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestUpstreamThatBreaksOff(t *testing.T) {
	const size = 1 << 20
	body := origintest.Body(20, size)
	other := origintest.Body(21, size)
	weak := origintest.ETag("W/\"a\"")
	tests := []struct {
		name  string
		path  string
		opts  []origintest.Option
		whole bool // the client gets all of it, and it is kept
	}{
		{"once: the rest is asked for", "/a", []origintest.Option{origintest.First(1, origintest.CutAfter(400_000))}, true},
		{"in the first bytes", "/a", []origintest.Option{origintest.First(1, origintest.CutAfter(1))}, true},
		{"in the first bytes of an archive", "/a.tar", []origintest.Option{origintest.First(1, origintest.CutAfter(100))}, true},
		{"at the last byte", "/a", []origintest.Option{origintest.First(1, origintest.CutAfter(size-1))}, true},
		{"every 100,000 bytes", "/a", []origintest.Option{origintest.CutAfter(100_000)}, true},
		{"every 1,000 bytes: too little to go on with", "/a", []origintest.Option{origintest.CutAfter(1_000)}, false},
		{"an origin without ranges is read over again", "/a", []origintest.Option{origintest.NoRange(), origintest.First(1, origintest.CutAfter(400_000))}, true},
		{"without an ETag the date does", "/a", []origintest.Option{origintest.ETag(""), origintest.First(1, origintest.CutAfter(400_000))}, true},
		{"a weak ETag and a date: the date does", "/a", []origintest.Option{weak, origintest.First(1, origintest.CutAfter(400_000))}, true},
		{"a weak ETag alone cannot be resumed", "/a", []origintest.Option{weak, origintest.LastModified(time.Time{}), origintest.First(1, origintest.CutAfter(400_000))}, false},
		{"no validator cannot be resumed", "/a", []origintest.Option{origintest.NoValidators(), origintest.First(1, origintest.CutAfter(400_000))}, false},
		{"a chunked body cannot be resumed", "/a", []origintest.Option{origintest.Chunked(), origintest.First(1, origintest.CutAfter(400_000))}, false},
		{"another ETag is another representation", "/a", []origintest.Option{origintest.ETag(`"new"`), origintest.First(1, origintest.ETag(`"old"`), origintest.CutAfter(400_000))}, false},
		{"503 to the rest is tried again", "/a", []origintest.Option{origintest.First(2, origintest.Status(503)), origintest.First(1, origintest.Status(0), origintest.CutAfter(400_000))}, true},
		{"416 to the rest", "/a", []origintest.Option{origintest.First(99, origintest.Status(416)), origintest.First(1, origintest.Status(0), origintest.CutAfter(400_000))}, false},
		{"a Content-Length far below the body's", "/a", []origintest.Option{origintest.ContentLength(1000)}, false},
		{"a Content-Length beyond the body's", "/a", []origintest.Option{origintest.ContentLength(size + 1)}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File(tt.path, body, append([]origintest.Option{cc(fresh)}, tt.opts...)...)
			r := g.get(tt.path)
			g.idle()
			switch held := g.held(tt.path); {
			case tt.whole:
				r.want(t, "the client", 200, body.String(), Miss)
				if held != body.String() {
					t.Errorf("held %d bytes", len(held))
				}
				if n := g.o.Sent(tt.path); !strings.Contains(tt.name, "over again") && n > size+2_000_000 {
					t.Errorf("the origin sent %d bytes for %d", n, size)
				}
			case r.broken == nil && r.err == nil:
				t.Errorf("the client got %d of %d bytes that look whole", len(r.body), size)
			case held != "":
				t.Errorf("%d bytes were kept", len(held))
			case !strings.HasPrefix(body.String(), r.body):
				t.Error("the client got bytes of something else")
			}
		})
	}
	t.Run("the same ETag with other bytes is caught", func(t *testing.T) {
		g := newRig(t)
		same := []origintest.Option{cc(fresh), origintest.ETag(`"same"`), origintest.NoRange()}
		release := make(chan struct{})
		g.o.File("/a", body, append(same, origintest.Stall(400_000, release), origintest.CutAfter(400_001))...)
		a := g.open("/a")
		defer a.Close()
		g.o.WaitSent("/a", 400_000)
		g.o.File("/a", other, same...)
		close(release)
		if b, err := io.ReadAll(a.Body); !errors.Is(err, errChanged) || len(b) > 400_001 {
			t.Errorf("the client got %d bytes, %v", len(b), err)
		}
		g.idle()
		if g.held("/a") != "" {
			t.Error("a mixture was kept")
		}
	})
}

func TestBrokenReplacementLeavesTheEntry(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("good"), cc("max-age=1"))
	g.get("/a")
	g.idle()
	g.clock.Add(time.Hour)
	g.o.File("/a", origintest.Body(22, 1<<20), cc(fresh), origintest.NoValidators(), origintest.CutAfter(1000))
	if r := g.get("/a"); r.broken == nil {
		t.Errorf("the client got %d bytes that look whole", len(r.body))
	}
	g.idle()
	if got := g.held("/a"); got != "good" {
		t.Errorf("held %d bytes, want the good entry", len(got))
	}
}

func TestRetries(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("at last"), cc("max-age=1"), origintest.First(2, origintest.Abort()))
	g.get("/a").want(t, "the third try", 200, "at last", Miss)
	g.idle()
	n := g.o.Count("/a")
	if n < 3 {
		t.Errorf("%d requests", n)
	}
	g.clock.Add(time.Hour)
	g.o.File("/a", origintest.Text("at last"), origintest.Abort())
	g.get("/a").want(t, "with a copy", 200, "at last", Stale)
	if again := g.o.Count("/a") - n; again > 2 { // net/http itself asks again once when a kept connection was dead
		t.Errorf("with a copy the origin was asked %d times, want one try", again)
	}
	g.o.File("/b", origintest.Text("x"), origintest.Abort())
	if r := g.get("/b"); !errors.Is(r.err, ErrUnreachable) {
		t.Errorf("an origin that never answers: %d, %v, want ErrUnreachable", r.status, r.err)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for _, head := range []string{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade", "HTTP/1.1 099 What", "HTTP/1.1 304 Not Modified"} {
		g := newRig(t)
		g.o.File("/a", origintest.Text(""), origintest.Raw(head+"\r\n\r\n"))
		if r := g.get("/a"); !errors.Is(r.err, ErrUnreachable) {
			t.Errorf("%.12s to a plain GET = %d, %v, want ErrUnreachable", head, r.status, r.err)
		}
		if r := g.ask(t.Context(), http.MethodPost, "/a"); r.status == 101 || r.status == 99 {
			t.Errorf("%.12s to a POST was passed on", head)
		}
	}
}

// labelled serves b with ranges as servers do that take the suffix .gz for a content coding.
func labelled(b string, cut int) http.HandlerFunc {
	first := true
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Encoding", "gzip")
		h.Set("Cache-Control", fresh)
		h.Set("ETag", `"a"`)
		if first {
			first = false
			h.Set("Content-Length", strconv.Itoa(len(b)))
			io.WriteString(w, b[:cut])
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if r.Header.Get("Range") == fmt.Sprintf("bytes=%d-", cut) && r.Header.Get("If-Range") == `"a"` {
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", cut, len(b)-1, len(b)))
			h.Set("Content-Length", strconv.Itoa(len(b)-cut))
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, b[cut:])
		}
	}
}

func TestLabelledArchiveIsResumed(t *testing.T) {
	g := newRig(t)
	b := "\x1f\x8b" + strings.Repeat("archive ", 10_000)
	g.o.Handle("/a.tar.gz", labelled(b, 50_000))
	r := g.get("/a.tar.gz")
	r.want(t, "it", 200, b, Miss)
	if r.header.Get("Content-Encoding") != "" || g.o.Count("/a.tar.gz") != 2 {
		t.Errorf("Content-Encoding %q after %d requests", r.header.Get("Content-Encoding"), g.o.Count("/a.tar.gz"))
	}
}
