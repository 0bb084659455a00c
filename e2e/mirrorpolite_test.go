package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A slowHost holds requests for some paths until the test lets them go.
type slowHost struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
	open    bool // nothing waits any more
}

func (s *slowHost) meddle(_ http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	if !strings.HasPrefix(path, "/walk/f") && path != "/client" {
		return false
	}
	s.mu.Lock()
	free := make(chan struct{})
	if s.open {
		close(free)
	} else {
		s.waiting[path] = free
	}
	s.mu.Unlock()
	select {
	case <-free:
	case <-r.Context().Done():
	}
	return false
}

// queue are the paths that wait, in order.
func (s *slowHost) queue() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.waiting))
}

func (s *slowHost) release(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.waiting[path])
	delete(s.waiting, path)
}

func (s *slowHost) releaseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = true
	for path, free := range s.waiting {
		close(free)
		delete(s.waiting, path)
	}
}

func TestMirrorWalksBehindClients(t *testing.T) {
	p := startPublisher(t)
	for i := range 20 {
		p.put(fmt.Sprintf("/walk/f%02d", i))
	}
	p.put("/walk/quick", "/client", "/other")
	slow := &slowHost{waiting: map[string]chan struct{}{}}
	p.misbehave(slow.meddle)
	z := mirrorOver(t, p, "--mirror-subtree", "/up/walk")
	get(t, z.url+"/up/walk/quick")
	queued := func(n int) {
		t.Helper()
		eventually(t, waitShort, fmt.Sprint(n, " requests wait at the upstream"), func() (bool, string) {
			q := slow.queue()
			return len(q) == n, fmt.Sprint(q)
		})
	}
	queued(parallel)
	// Of what the walk may have there nothing moves; a client's miss does not wait for it.
	get(t, z.url+"/up/other").is(t, "a miss beside a walk that is stuck", http.StatusOK, "MISS")

	client := make(chan answer, 1)
	go func() {
		a, err := tryAsk(http.MethodGet, z.url+"/up/client")
		if err != nil {
			t.Error(err)
		}
		client <- a
	}()
	queued(parallel + 1)
	p.take()
	first := slices.DeleteFunc(slow.queue(), func(path string) bool { return path == "/client" })
	for i, path := range first[1:] {
		slow.release(path)
		z.published("up", path, 200)
		if q := slow.queue(); len(q) != parallel-i {
			t.Errorf("with a client at the host %d of the walk's requests ended, and %q wait, want no new ones", i+1, q)
		}
	}
	for i := range 3 { // one of the walk's remains, and each that ends makes room for one
		q := slices.DeleteFunc(slow.queue(), func(path string) bool { return path == "/client" })
		slow.release(q[0])
		z.published("up", q[0], 200)
		queued(2)
		if got := filesAsked(p.take()); len(got) != 1 {
			t.Errorf("turn %d: with a client at the host %q came when one of the walk's requests had ended, want one", i, got)
		}
	}
	slow.releaseAll()
	if a := <-client; a.Status != http.StatusOK {
		t.Errorf("the client's request got %d", a.Status)
	}
	if f := z.mirrored("/up/walk", waitShort); f.Failed != 0 {
		t.Errorf("the walk behind a client: %v, want all files", f)
	}
}

func TestMirrorWalkRestsWhenAskedTo(t *testing.T) {
	const rest = 2 * time.Second
	p := startPublisher(t)
	for i := range 20 {
		p.put(fmt.Sprintf("/f%02d", i))
	}
	var mu sync.Mutex
	var told time.Time
	var early []string
	n := 0
	p.misbehave(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		n++
		if since := time.Since(told); !told.IsZero() && since < rest-50*time.Millisecond {
			early = append(early, fmt.Sprint(r.URL.Path, " after ", since))
		}
		if n == 6 {
			told = time.Now()
			w.Header().Set("Retry-After", fmt.Sprint(int(rest/time.Second)))
			w.WriteHeader(http.StatusTooManyRequests)
		}
		return n == 6
	})
	z := mirrorOver(t, p, "--mirror-parallel", "1")
	f := z.walk("/up")
	mu.Lock()
	defer mu.Unlock()
	if len(early) > 0 || told.IsZero() {
		t.Errorf("an upstream that asked to be left alone for %v was asked for %q", rest, early)
	}
	if f.Fetched != 20 || f.Failed != 0 {
		t.Errorf("walk that was asked to wait: %v, want all 20 files", f)
	}
}
