package fill

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"zcache/internal/origin/origintest"
)

func TestContentThatCannotBeTheFile(t *testing.T) {
	const page = "<!DOCTYPE html><title>Please log in</title>"
	gz := "\x1f\x8b\x08 archive"
	tests := []struct {
		name string
		path string
		body string
		opts []origintest.Option
		ok   bool // passed to the client
		kept bool
	}{
		{"an archive", "/a.tar.gz", gz, nil, true, true},
		{"a page for an archive", "/a.tar.gz", page, nil, false, false},
		{"a page behind white space", "/a.tar.gz", "\ufeff\r\n  " + page, nil, false, false},
		{"a page behind a comment", "/a.zip", "<!-- portal -->" + page, nil, false, false},
		{"anything called text/html for an archive", "/a.deb", "Service unavailable", []origintest.Option{origintest.Header("Content-Type", "text/html")}, false, false},
		{"an archive called text/html", "/a.tar.gz", gz, []origintest.Option{origintest.Header("Content-Type", "text/html; charset=x")}, true, true},
		{"XML for an archive", "/a.iso", `<?xml version="1.0"?><Error/>`, nil, false, false},
		{"a page for a page", "/index.html", page, nil, true, true},
		{"a page for a directory, which may be called anything", "/dir.gz/", page, nil, true, true},
		{"a page as the body of a 404", "/a.tar.gz", page, []origintest.Option{origintest.Status(404)}, true, true},
		{"an empty archive", "/a.tar.gz", "", nil, true, true},
		{"something else for an archive, but no page", "/a.tar.gz", "raw", nil, true, true},
		{"gzip that nobody asked for", "/a.txt", strings.Repeat("text ", 1000), []origintest.Option{origintest.Gzip()}, true, false},
		{"a coding that we do not know is the origin's own affair", "/a.txt", "text", []origintest.Option{origintest.Header("Content-Encoding", "aes128gcm"), origintest.Chunked()}, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			g.o.File(tt.path, origintest.Text(tt.body), append([]origintest.Option{cc(fresh)}, tt.opts...)...)
			r := g.get(tt.path)
			g.idle()
			if !tt.ok && !errors.Is(r.err, ErrWrongContent) {
				t.Errorf("%d %.30q, %v, want ErrWrongContent", r.status, r.body, r.err)
			}
			if tt.ok && (r.err != nil || r.broken != nil) {
				t.Errorf("%v, %v", r.err, r.broken)
			}
			if kept := len(g.tryOpen(tt.path)) > 0; kept != tt.kept {
				t.Errorf("kept: %v, want %v", kept, tt.kept)
			}
		})
	}
}

// tryOpen is "held" when something is stored for path, whatever its length.
func (g *rig) tryOpen(path string) string {
	e, err := g.tree.Open(g.key(path), http.Header{})
	if err != nil {
		return ""
	}
	e.Close()
	return "held"
}

func TestPageInPlaceOfAHeldArchive(t *testing.T) {
	g := newRig(t)
	g.o.File("/a.tar.gz", origintest.Text("\x1f\x8b good"), cc("max-age=1"))
	g.get("/a.tar.gz")
	g.idle()
	g.clock.Add(time.Hour)
	g.o.File("/a.tar.gz", origintest.Text("<html>portal"))
	g.get("/a.tar.gz").want(t, "it", 200, "\x1f\x8b good", Stale)
}

func TestBogus(t *testing.T) {
	tests := []struct {
		name, file, coding, vary string
		length                   int64
		want                     bool
	}{
		{"gzip on .gz", "a.gz", "gzip", "", 10, true},
		{"x-gzip on .TGZ", "a.TGZ", "x-gzip", "", 10, true},
		{"bzip2 on .bz2", "a.bz2", "bzip2", "", 10, true},
		{"gzip on .xz", "a.xz", "gzip", "", 10, false},
		{"gzip on a text", "a.txt", "gzip", "", 10, false},
		{"gzip on .gz that varies by it", "a.gz", "gzip", "Origin, Accept-Encoding", 10, false},
		{"gzip on .gz made on the way", "a.gz", "gzip", "", -1, false},
		{"no suffix", "gz", "gzip", "", 10, false},
	}
	for _, tt := range tests {
		resp := &http.Response{ContentLength: tt.length, Header: http.Header{}}
		if tt.vary != "" {
			resp.Header.Set("Vary", tt.vary)
		}
		if got := bogus(tt.file, tt.coding, resp); got != tt.want {
			t.Errorf("%s: bogus = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPinnedDigests(t *testing.T) {
	const right = "the bytes"
	sum := origintest.Text(right).SHA256()
	wrong := strings.Repeat("0", 64)
	t.Run("a client that pins another digest does not get the copy", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/a", origintest.Text("older"), cc(fresh))
		g.get("/a")
		g.idle()
		g.o.File("/a", origintest.Text(right), cc(fresh))
		g.get("/a", "X-Checksum-Sha256: "+sum).want(t, "it", 200, right, Miss)
		g.idle()
		g.get("/a", "X-Checksum-Sha256: "+sum).want(t, "again", 200, right, Hit)
	})
	t.Run("a client that pins a wrong digest harms nobody else", func(t *testing.T) {
		g := newRig(t)
		release := make(chan struct{})
		g.o.File("/a", origintest.Text(right), cc(fresh), origintest.Hold(release))
		done := make(chan received)
		go func() { done <- g.get("/a", "X-Checksum-Sha256: "+wrong) }()
		g.o.Wait("/a", 1)
		other := make(chan received)
		go func() { other <- g.get("/a") }()
		g.o.Wait("/a", 2)
		close(release)
		if r := <-done; r.err == nil && r.broken == nil {
			t.Errorf("the client that pins got %q", r.body)
		}
		r := <-other
		r.want(t, "the other", 200, right, Miss)
		g.idle()
		if g.held("/a") != right {
			t.Errorf("held %q", g.held("/a"))
		}
	})
	t.Run("checksum files that speak against each other end", func(t *testing.T) {
		g := newRig(t)
		g.o.File("/SHA256SUMS", origintest.Text(wrong+"  sha256sums.asc\n"), cc("max-age=1"))
		g.o.File("/sha256sums.asc", origintest.Text(wrong+"  SHA256SUMS\n"), cc("max-age=1"))
		for _, p := range []string{"/SHA256SUMS", "/sha256sums.asc", "/SHA256SUMS"} {
			if r := g.get(p); r.err != nil || r.broken != nil {
				t.Errorf("%s: %v, %v", p, r.err, r.broken)
			}
			g.idle()
			g.clock.Add(time.Hour)
		}
	})
}
