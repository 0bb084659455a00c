package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// hundred publishes a hundred files in two directories, and gives their paths.
func hundred(p *publisher) (paths []string) {
	for i := range 100 {
		paths = append(paths, fmt.Sprintf("/%c/f%02d.tar.xz", 'd'+i%2, i))
		p.set(paths[i], release{body: append([]byte("\xfd7zXZ\x00"), bytesOf(paths[i], 200)...), at: modified, tag: `"1"`})
	}
	return paths
}

func hazardSingleRefusals(t *testing.T) {
	p := startPublisher(t)
	paths := hundred(p)
	z := mirrorOver(t, p, "--mirror-verify", "conditional")
	z.walk("/up")
	refused := []string{paths[0], paths[41], paths[80]}
	p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		i := slices.Index(refused, r.URL.Path)
		if i >= 0 {
			w.WriteHeader([]int{http.StatusForbidden, http.StatusUnauthorized, http.StatusUnavailableForLegalReasons}[i])
		}
		return i >= 0
	})
	p.take()
	f := z.walk("/up")
	if f.Removed != 0 || f.Denied != 3 || f.Same != 97 {
		t.Errorf("walk with three files refused: %v, want 3 denied, 97 the same, none removed", f)
	}
	if got := filesAsked(p.take()); len(got) != 100 {
		t.Errorf("walk that asks about all files asked about %d of 100", len(got))
	}
	z.holds("three files refused", p, paths...)
}

func hazardStorms(t *testing.T) {
	for _, row := range []struct {
		claim  string
		status int
		after  string // Retry-After
		dirs   bool   // the storm hits listings too
	}{
		{"403 to every file", http.StatusForbidden, "", false},
		{"403 to everything", http.StatusForbidden, "", true},
		{"429 to every file, for two minutes", http.StatusTooManyRequests, "120", false},
		{"429 to everything, for two minutes", http.StatusTooManyRequests, "120", true},
		{"503 to every file, for two minutes", http.StatusServiceUnavailable, "120", false},
		{"503 to every file", http.StatusServiceUnavailable, "", false},
		{"503 to everything", http.StatusServiceUnavailable, "", true},
	} {
		t.Run(row.claim, func(t *testing.T) {
			t.Parallel()
			p := startPublisher(t)
			paths := hundred(p)
			z := mirrorOver(t, p, "--mirror-verify", "conditional")
			z.walk("/up")
			p.take()
			p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if !row.dirs && strings.HasSuffix(r.URL.Path, "/") {
					return false
				}
				if row.after != "" {
					w.Header().Set("Retry-After", row.after)
				}
				w.WriteHeader(row.status)
				return true
			})
			m, exit, errs := z.tryWalk("/up")
			if exit != 3 || m.Status != "failed" || m.Error == "" || m.Last == nil || m.Last.Removed != 0 || m.HeldBack != 0 {
				t.Errorf("walk through the storm: exit %d, %s %q, %v, %s; want 3, failed, nothing removed", exit, m.Status, m.Error, m.Last, errs)
			}
			if got := len(p.take()); got > 60 {
				t.Errorf("the storm was met by %d requests for 100 files, want the walk given up early", got)
			}
			z.holds("after the storm", p, paths...)
		})
	}
}

// sorry are pages of errors as they come with status 200.
var sorry = []string{
	"<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center><hr><center>nginx</center></body></html>",
	"<!doctype html><html><head><title>Just a moment...</title></head><body><h1>Checking your browser</h1><a href=\"/why\">Why?</a><script>go()</script></body></html>",
	"<html><head><title>Maintenance</title></head><body><p>We will be <a href=\"status.html\">back</a> soon.</p></body></html>",
}

func hazardErrorPages(t *testing.T) {
	for i, page := range sorry {
		for _, where := range []string{"listings", "files"} {
			t.Run(fmt.Sprintf("%s are page %d", where, i+1), func(t *testing.T) {
				t.Parallel()
				p := startPublisher(t)
				paths := hundred(p)
				z := mirrorOver(t, p, "--mirror-verify", "conditional")
				z.walk("/up")
				p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == "/" || strings.HasSuffix(r.URL.Path, "/") != (where == "listings") {
						return false
					}
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
					fmt.Fprint(w, page)
					return true
				})
				m, exit, errs := z.tryWalk("/up")
				if exit != 3 || m.Last == nil || m.Last.Removed != 0 || m.Last.Fetched != 0 || m.HeldBack != 0 {
					t.Errorf("walk over pages of errors: exit %d, %s %q, %v, %s; want 3, nothing removed and nothing fetched", exit, m.Status, m.Error, m.Last, errs)
				}
				z.holds("after pages of errors", p, paths...)
				p.misbehave(nil)
				if f := z.walk("/up"); f.Removed+f.Fetched != 0 {
					t.Errorf("walk when the upstream is well again: %v, want nothing to do", f)
				}
			})
		}
	}
}

// hazardPageHeals has an upstream answer with a page of an error where nothing tells that the file is none: its listing does, and the next walk asks again.
func hazardPageHeals(t *testing.T) {
	p := startPublisher(t)
	p.json = true // whose times are exact
	p.put("/README", "/SHA256SUMS", "/a.tar")
	z := mirrorOver(t, p)
	z.walk("/up")
	for path := range p.files {
		p.set(path, release{body: bytesOf(path+" again", 300), at: modified.Add(time.Hour)})
	}
	p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/") {
			return false
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, sorry[2])
		return true
	})
	z.tryWalk("/up")
	p.misbehave(nil)
	z.walk("/up")
	z.holds("after pages of errors", p, "/README", "/SHA256SUMS", "/a.tar")
}

func hazardLoops(t *testing.T) {
	for _, row := range []struct {
		claim string
		child func(depth int) string
		most  int // listings of the loop
	}{
		{"a link to the directory that it lies in", func(int) string { return "again" }, 10},
		{"a tree without end", func(depth int) string { return fmt.Sprintf("deeper%d", depth) }, 70},
	} {
		t.Run(row.claim, func(t *testing.T) {
			p := startPublisher(t)
			p.put("/a")
			file := release{body: []byte("f"), at: modified}
			p.set("/loop/f", file)
			p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, "/loop/") {
					return false
				}
				if !strings.HasSuffix(r.URL.Path, "/") {
					file.serve(w, r)
					return true
				}
				depth := strings.Count(r.URL.Path, "/")
				kind, body := listingPage(r.URL.Path, []listed{
					{name: row.child(depth), dir: true, release: release{at: modified}}, {name: "f", release: file},
				}, false)
				w.Header().Set("Content-Type", kind)
				_, _ = w.Write(body)
				return true
			})
			z := mirrorOver(t, p)
			f := z.walk("/up")
			if got := len(dirsAsked(p.take())); got > row.most || f.Failed != 0 {
				t.Errorf("walk of %s listed %d directories, %v; want at most %d, and success", row.claim, got, f, row.most)
			}
			z.holds("beside the loop", p, "/a", "/loop/f")
			if f := z.walk("/up"); f.Removed != 0 || f.Fetched != 0 {
				t.Errorf("second walk of %s: %v, want nothing fetched or removed", row.claim, f)
			}
		})
	}
}

func hazardJitter(t *testing.T) {
	p := startPublisher(t)
	var args []string
	for i := range 12 {
		p.put(fmt.Sprintf("/s%02d/f", i))
		args = append(args, "--mirror-subtree", fmt.Sprintf("/up/s%02d", i))
	}
	z := mirrorOver(t, p, args...)
	for i := range 12 {
		get(t, z.url+fmt.Sprintf("/up/s%02d/f", i)).is(t, "a touch", http.StatusOK, "")
	}
	var pauses []time.Duration
	for i := range 12 {
		name := fmt.Sprintf("/up/s%02d", i)
		z.mirrored(name, waitShort)
		s := z.standings()[name]
		pauses = append(pauses, s.Next.Sub(s.Success))
	}
	slices.Sort(pauses)
	if first, last := pauses[0], pauses[11]; first < 50*time.Minute || last > 70*time.Minute || last-first < time.Minute || len(slices.Compact(pauses)) < 12 {
		t.Errorf("subtrees rest for %v, want an hour more or less, and each another time", pauses)
	}
}
