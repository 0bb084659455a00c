package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The hazards of a mirror that is written without much thought. Each of these loses or refetches data there.
func TestMirrorHazard(t *testing.T) {
	for _, hazard := range []struct {
		claim string
		test  func(t *testing.T)
	}{
		{"a odd names are no orphans and are fetched once", hazardNames},
		{"b a failed walk is no reason to wait an interval", hazardFailedWalk},
		{"b a failed walk is tried again by the next touch after its pause", hazardTriedAgain},
		{"c an interrupted walk goes on where it was", hazardInterrupted},
		{"d listings that are cut off remove nothing", hazardCutListings},
		{"e single refusals remove nothing", hazardSingleRefusals},
		{"e storms of refusals end the walk and remove nothing", hazardStorms},
		{"e pages of errors with status 200 replace nothing", hazardErrorPages},
		{"e a page of an error that was taken for a file does not stay", hazardPageHeals},
		{"f directories that are gone go to the trash with all below", hazardDirectoryGone},
		{"g a tree that loops, or is without end, ends", hazardLoops},
		{"h subtrees are not due all at once", hazardJitter},
		{"i entity tags and sizes tell of changes, not times alone", hazardValidators},
		{"i Last-Modified goes back as it came", hazardLastModified},
		{"j so many orphans are held back until somebody confirms", hazardPurgeCap},
		{"j what lay in the trash long enough is gone", hazardTrashTime},
	} {
		t.Run(hazard.claim, hazard.test)
	}
}

func hazardNames(t *testing.T) {
	for _, asJSON := range []bool{false, true} {
		p := startPublisher(t)
		p.json = asJSON
		names := []string{"a b.txt", "100%41.txt", "%.txt", "c++_1+2.deb", "grüße.txt", "no#1.txt", "wh?t=1&b.txt", "a:b", "semi;colon", "it's \"quoted\".txt", "~home", "-dash", "..dots"}
		var paths []string
		for _, dir := range []string{"/", "/with space/", "/100%41/", "/ü#?/", "/c++/deep er/"} {
			for _, name := range names {
				paths = append(paths, dir+name)
			}
		}
		p.put(paths...)
		z := mirrorOver(t, p)
		first := z.walk("/up")
		z.holds("first walk", p, paths...)
		if got := filesAsked(p.take()); len(got) != len(paths) || int(first.Fetched) != len(paths) || first.Failed+first.Unkept != 0 {
			t.Errorf("first walk (JSON %v) asked for %d files and says %v, want %d fetched", asJSON, len(got), first, len(paths))
		}
		second := z.walk("/up")
		if got := filesAsked(p.take()); len(got) != 0 || second.Removed != 0 || second.Fetched != 0 {
			t.Errorf("second walk (JSON %v) asked for %q and says %v, want no files asked for and none removed", asJSON, got, second)
		}
		z.holds("second walk", p, paths...)
	}
}

// standing is what the state file keeps of a subtree.
type standing struct {
	Walked  time.Time `json:"last_walk_at"`
	Success time.Time `json:"last_success_at"`
	Next    time.Time `json:"next_at"`
	Err     string    `json:"last_error"`
	Failed  int       `json:"failures"`
}

func (z *zcache) standings() map[string]standing {
	z.t.Helper()
	b, err := os.ReadFile(filepath.Join(z.root, ".zcache-mirror-state.json"))
	if err != nil {
		z.t.Fatalf("read the state of the mirror: %v", err)
	}
	var file struct{ Subtrees map[string]standing }
	if err := json.Unmarshal(b, &file); err != nil {
		z.t.Fatalf("the state of the mirror: %v: %.300s", err, b)
	}
	return file.Subtrees
}

// failing answers 500 to listings.
func failing(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasSuffix(r.URL.Path, "/") {
		return false
	}
	http.Error(w, "the disk is full", http.StatusInternalServerError)
	return true
}

func hazardFailedWalk(t *testing.T) {
	p := startPublisher(t)
	p.put("/a", "/d/b")
	p.misbehave(failing)
	z := mirrorOver(t, p)
	get(t, z.url+"/up/a").is(t, "a file beside the listing that fails", http.StatusOK, "MISS")
	var s standing
	eventually(t, waitShort, "the walk has failed", func() (bool, string) {
		m := z.mirrorOf("/up")
		return m.Status == "failed", m.Status
	})
	s = z.standings()["/up"]
	if pause := s.Next.Sub(s.Walked); !s.Success.IsZero() || s.Failed != 1 || s.Err == "" || pause < 50*time.Second || pause > 70*time.Second {
		t.Errorf("after a walk that failed: %+v, want no success, and the next one a minute later", s)
	}
	p.misbehave(nil)
	if f := z.walk("/up"); f.Fetched != 1 {
		t.Errorf("a walk by command at once after the one that failed: %v, want /d/b fetched", f)
	}
	z.holds("a walk by command", p, "/a", "/d/b")
	s = z.standings()["/up"]
	if pause := s.Next.Sub(s.Success); s.Success.IsZero() || s.Failed != 0 || s.Err != "" || pause < 50*time.Minute || pause > 70*time.Minute {
		t.Errorf("after a walk that succeeded: %+v, want the next one an hour later", s)
	}
}

func hazardTriedAgain(t *testing.T) {
	p := startPublisher(t)
	p.put("/a", "/d/b")
	p.misbehave(failing)
	z := mirrorOver(t, p, "--mirror-min-interval", "1s")
	get(t, z.url+"/up/a")
	eventually(t, waitShort, "the walk has failed", func() (bool, string) {
		m := z.mirrorOf("/up")
		return m.Status == "failed", m.Status
	})
	p.misbehave(nil)
	eventually(t, waitShort, "touches have the walk tried again", func() (bool, string) {
		get(t, z.url+"/up/a")
		m := z.mirrorOf("/up")
		return m.Status == "success", m.Status
	})
	z.holds("the walk that was tried again", p, "/a", "/d/b")
}

func hazardInterrupted(t *testing.T) {
	p := startPublisher(t)
	for d := range 20 {
		for f := range 5 {
			p.put(fmt.Sprintf("/d%02d/f%d", d, f))
		}
	}
	const before = 64 // requests that get an answer: the root's, ten directories', and three files of the next
	stuck := make(chan struct{})
	n := 0 // one request at a time
	p.misbehave(func(_ http.ResponseWriter, r *http.Request) bool {
		if n++; n <= before {
			return false
		}
		if n == before+1 {
			close(stuck)
		}
		<-r.Context().Done()
		return true
	})
	z := mirrorOver(t, p, "--mirror-parallel", "1")
	get(t, z.url+"/up/d00/f0")
	<-stuck
	z.kill9()
	p.misbehave(nil)
	first := p.take()
	inHand := first[len(first)-1]
	z.again()
	get(t, z.url+"/up/d00/f0").is(t, "a touch after the crash", http.StatusOK, "HIT")
	z.mirrored("/up", waitShort)
	second := p.take()
	for _, path := range filesAsked(second) {
		if path != inHand.path && slices.Contains(filesAsked(first), path) {
			t.Errorf("%s was fetched before the crash, and again after it", path)
		}
	}
	again := 0
	for _, path := range dirsAsked(second) {
		if slices.Contains(dirsAsked(first), path) {
			again++
		}
	}
	if again > 2 {
		t.Errorf("after the crash %d directories were listed again, want the root and the one in hand", again)
	}
	if got := len(first) + len(second); got > 1+20+100+4 {
		t.Errorf("the two parts of the walk took %d requests, want at most 4 more than 121", got)
	}
	for d := range 20 {
		z.holds("the walk that went on", p, fmt.Sprintf("/d%02d/f0", d), fmt.Sprintf("/d%02d/f4", d))
	}
}

// hijack answers with bytes as they are and ends the connection.
func hijack(t testing.TB, w http.ResponseWriter, response string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(response))
}

func hazardCutListings(t *testing.T) {
	page := func(kind, body string, length int) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", kind, length, body)
	}
	for _, row := range []struct {
		claim string
		cut   func(html, json string) string // what comes over the wire; html and json are of a directory with fewer files
	}{
		{"a connection that breaks", func(html, _ string) string { return page("text/html", html[:len(html)/2], len(html)) }},
		{"a chunked body without its end", func(html, _ string) string {
			return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", len(html), html)
		}},
		{"a length that is too short", func(html, _ string) string { return page("text/html", html, len(html)/2) }},
		{"a page without its end", func(html, _ string) string { return page("text/html", html[:len(html)*2/3], len(html)*2/3) }},
		{"JSON without its end", func(_, json string) string { return page("application/json", json[:len(json)*2/3], len(json)*2/3) }},
		{"JSON that says there is more", func(_, json string) string {
			body := `{"entries": ` + json + `, "truncated": true}`
			return page("application/json", body, len(body))
		}},
		{"an empty body", func(_, _ string) string { return page("text/html", "", 0) }},
	} {
		t.Run(row.claim, func(t *testing.T) {
			p := startPublisher(t)
			var paths []string
			for i := range 30 {
				paths = append(paths, fmt.Sprintf("/d/f%02d", i), fmt.Sprintf("/e/f%02d", i))
			}
			p.put(paths...)
			z := mirrorOver(t, p)
			z.walk("/up")
			gone := []string{"/d/f00", "/d/f29", "/d/f28"}
			for _, path := range gone {
				p.remove(path)
			}
			p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != "/d/" {
					return false
				}
				p.mu.Lock()
				rows := p.rowsOf("/d/")
				p.mu.Unlock()
				_, page := listingPage("/d/", rows, false)
				_, asJSON := listingPage("/d/", rows, true)
				hijack(t, w, row.cut(string(page), string(asJSON)))
				return true
			})
			m, exit, errs := z.tryWalk("/up")
			if exit != 3 || m.Last == nil || m.Last.Removed != 0 || m.HeldBack != 0 || m.Last.Failed == 0 {
				t.Errorf("walk over a cut listing: exit %d, %v, held back %d, %s; want 3, something failed and nothing removed", exit, m.Last, m.HeldBack, errs)
			}
			z.holds("after the cut listing", p, paths...)
			p.misbehave(nil)
			if f := z.walk("/up"); f.Removed != 3 {
				t.Errorf("walk over the whole listing: %v, want 3 removed", f)
			}
			z.lacks("after the whole listing", gone...)
		})
	}
}
