package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	crashDirs  = 100
	crashFiles = 20 // in each directory
	parallel   = 4  // of a walk, by default
)

// A history is all that a publisher ever had, by path.
type history map[string][][]byte

func (h history) publish(p *publisher, path string, version int, at time.Time) {
	body := bytesOf(fmt.Sprintf("%s version %d", path, version), 100+len(h)%3000)
	h[path] = append(h[path], body)
	p.set(path, release{body: body, at: at})
}

// knows says that a body is one that the publisher had at that path.
func (h history) knows(path string, body []byte) bool {
	for _, version := range h[path] {
		if bytes.Equal(version, body) {
			return true
		}
	}
	return false
}

// A trap closes sprung at the n-th request that a publisher gets.
type trap struct {
	mu     sync.Mutex
	left   int
	sprung chan struct{}
}

func (tr *trap) set(n int) <-chan struct{} {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.left, tr.sprung = n, make(chan struct{})
	return tr.sprung
}

func (tr *trap) step(http.ResponseWriter, *http.Request) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.left--; tr.left == 0 {
		close(tr.sprung)
	}
	return false
}

// killWhileWalking touches a file, ends the process with kill -9 at the n-th request that comes of it, and starts it again. It is false when the walk
// ended before.
func (z *zcache) killWhileWalking(tr *trap, n int) bool {
	z.t.Helper()
	sprung := tr.set(n)
	get(z.t, z.url+"/up/d00/f00")
	walked := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(walked)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			a, err := tryAsk(http.MethodGet, z.url+"/-/mirror?subtree=/up", "Accept: application/json")
			if err != nil || !bytes.Contains(a.Body, []byte(`"syncing"`)) && !bytes.Contains(a.Body, []byte(`"pre-syncing"`)) {
				return
			}
		}
	}()
	killed := false
	select {
	case <-sprung:
		killed = true
	case <-walked:
	}
	close(stop)
	z.kill9()
	<-walked
	z.again()
	return killed
}

// noWrongByte wants every file that is held to be one that the publisher had, and few drafts to be left of those that were on their way.
func (z *zcache) noWrongByte(h history, kills int) {
	z.t.Helper()
	root := filepath.Join(z.root, "up")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".zcache") {
			return err
		}
		body, err := os.ReadFile(path)
		if rel := strings.TrimPrefix(path, root); err == nil && !h.knows(rel, body) {
			z.t.Errorf("after kill %d %s is held with %d bytes that upstream never had there", kills, rel, len(body))
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		z.t.Fatal(err)
	}
	left := 0
	_ = filepath.WalkDir(filepath.Join(z.root, ".zcache"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "/orphans") {
			left++
		}
		return nil
	})
	if left > 20+2*parallel {
		z.t.Errorf("after kill %d %d files lie below .zcache, want few", kills, left)
	}
}

func TestMirrorSurvivesKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	p, h := startPublisher(t), history{}
	for d := range crashDirs {
		for f := range crashFiles {
			h.publish(p, fmt.Sprintf("/d%02d/f%02d", d, f), 1, modified)
		}
	}
	tr := &trap{}
	tr.set(-1)
	p.misbehave(tr.step)
	z := mirrorOver(t, p)

	kills := 0
	for range 8 {
		if z.killWhileWalking(tr, 1+dice.IntN(400)) {
			kills++
			z.noWrongByte(h, kills)
		}
	}
	f := z.walk("/up")
	fetched := len(filesAsked(p.take()))
	t.Logf("first walk: %d kills, %d files fetched for %d, %v", kills, fetched, len(h), f)
	if most := len(h) + kills*parallel + kills; kills < 4 || fetched > most {
		t.Errorf("first walk: %d files fetched in spite of %d kills, want at most %d, and some kills", fetched, kills, most)
	}
	z.isAsPublished(p)

	changed := 0
	for d := range crashDirs {
		for f := range crashFiles {
			path := fmt.Sprintf("/d%02d/f%02d", d, f)
			switch n := d*crashFiles + f; {
			case n == 0: // which is touched
			case n%4 == 0:
				h.publish(p, path, 2, modified.Add(24*time.Hour))
				changed++
			case n%10 == 3:
				p.remove(path)
			}
		}
	}
	p.remove("/d99")
	z.stop()
	z.again("--mirror-min-interval", "1s")
	before := kills
	for range 7 {
		if z.killWhileWalking(tr, 1+dice.IntN(150)) {
			kills++
			z.noWrongByte(h, kills)
		}
	}
	eventually(t, 30*time.Second, "no walk is under way", func() (bool, string) {
		get(t, z.url+"/up/d00/f00")
		m := z.mirrorOf("/up")
		return m.Status == "success", m.Status + " " + m.Error
	})
	f = z.walk("/up")
	fetched = len(filesAsked(p.take()))
	t.Logf("changed tree: %d kills, %d files fetched for %d, %v", kills-before, fetched, changed, f)
	if most := changed + 2*(kills-before)*parallel; fetched > most {
		t.Errorf("changed tree: %d files fetched in spite of %d kills, want at most %d", fetched, kills-before, most)
	}
	z.isAsPublished(p)
}

// isAsPublished wants what is held of hub up to be what the publisher has, no more and no less.
func (z *zcache) isAsPublished(p *publisher) {
	z.t.Helper()
	dir := z.t.TempDir()
	p.mu.Lock()
	for path, f := range p.files {
		name := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, f.body, 0o644), os.Chtimes(name, f.at, f.at)); err != nil {
			z.t.Fatal(err)
		}
	}
	p.mu.Unlock()
	sameTree(z.t, "what is held", dir, filepath.Join(z.root, "up"))
}
