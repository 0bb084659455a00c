package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	milliDirs  = 100
	milliFiles = 10_000 // in each directory
	walkLimit  = 200 * mib
)

// startMillion is an upstream of a million files of 0 to 10 bytes that lie nowhere: its listings are written as they are asked for. asked counts the
// files that were asked for.
func startMillion(t testing.TB) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	var rows bytes.Buffer
	for i := range milliFiles {
		name := fmt.Sprintf("package-with-a-middling-name-%06d_1.0-1_amd64.deb", i)
		fmt.Fprintf(&rows, "<a href=\"%s\">%s</a> %s %19d\r\n", name, name, modified.Format("02-Jan-2006 15:04"), i%11)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/") {
			asked.Add(1)
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<html>\r\n<head><title>Index of %s</title></head>\r\n<body>\r\n<h1>Index of %s</h1><hr><pre><a href=\"../\">../</a>\r\n", r.URL.Path, r.URL.Path)
		if r.URL.Path == "/" {
			for i := range milliDirs {
				fmt.Fprintf(w, "<a href=\"d%02d/\">d%02d/</a> %s                   -\r\n", i, i, modified.Format("02-Jan-2006 15:04"))
			}
		} else {
			_, _ = w.Write(rows.Bytes())
		}
		fmt.Fprint(w, "</pre><hr></body>\r\n</html>\r\n")
	}))
	t.Cleanup(s.Close)
	return s.URL, asked
}

func TestMirrorMillion(t *testing.T) {
	for _, row := range []struct {
		claim  string
		hub    string
		flags  []string
		judge  func(f *mirrorFigures) bool
		within time.Duration
	}{
		{
			"files that are left out", "mirror-exclude = [\"*.deb\"]\n", nil,
			func(f *mirrorFigures) bool { return f.Unkept == milliDirs*milliFiles }, time.Minute,
		},
		{
			"a dry run", "", []string{"--dry-run"},
			func(f *mirrorFigures) bool { return f.Fetched == 0 && f.Removed == 0 }, time.Minute,
		},
	} {
		t.Run(row.claim, func(t *testing.T) {
			url, asked := startMillion(t)
			z := start(t, settings(t, fmt.Sprintf("mode = \"mirror\"\n[[hub]]\nname = \"up\"\nupstream = [%q]\n%s", url, row.hub)))
			began := time.Now()
			f := z.walk("/up", row.flags...)
			took, peak := time.Since(began), z.memory("VmHWM")
			t.Logf("%s: %d directories and %d files in %v, %d requests, %d MiB of memory at most", row.claim, f.Dirs, f.Files, took.Round(time.Millisecond), f.Requests, peak/mib)
			if f.Dirs != milliDirs+1 || f.Files != milliDirs*milliFiles || f.Requests != milliDirs+1 || !row.judge(f) || asked.Load() != 0 {
				t.Errorf("walk of a million files: %v and %d files asked for, want the listings alone asked for", f, asked.Load())
			}
			if peak > walkLimit || took > row.within {
				t.Errorf("walk of a million files took %v and %d MiB, want at most %v and %d MiB", took, peak/mib, row.within, walkLimit/mib)
			}
		})
	}
}
