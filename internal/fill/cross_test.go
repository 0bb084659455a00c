package fill

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/cache"
)

// hung is an origin that answers nobody before release, but at once those whose request has passed through instance b.
type hung struct {
	release chan struct{}
	mu      sync.Mutex
	asked   [][]string
}

func (h *hung) RoundTrip(r *http.Request) (*http.Response, error) {
	m := members(r.Header)
	h.mu.Lock()
	h.asked = append(h.asked, m)
	h.mu.Unlock()
	status := http.StatusLoopDetected
	if !slices.Contains(m, "zcache; id=b") {
		status = http.StatusOK
		select {
		case <-h.release:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	header := http.Header{"Cache-Control": {"max-age=600"}}
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Body: io.NopCloser(bytes.NewReader(nil)), Request: r}, nil
}

// Whoever may be what a flight waits for does not wait for the flight; all others do, however long it takes.
func TestARequestThatCameBackDoesNotWaitForItself(t *testing.T) {
	tests := []struct {
		name          string
		first, second []string // CDN-Loop
		own           bool     // the second makes a trip of its own
	}{
		{"a client and a client", nil, nil, false},
		{"a client after an instance", []string{"zcache; id=a"}, nil, false},
		{"the same instance twice", []string{"zcache; id=a"}, []string{"zcache; id=a"}, false},
		{"from one that the first has passed", []string{"edge, zcache; id=a"}, []string{"zcache; id=a"}, false},
		{"two instances after a client", nil, []string{"zcache; id=a, zcache; id=b"}, true},
		{"two other instances", []string{"zcache; id=a"}, []string{"zcache; id=b, zcache; id=c"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tree, err := cache.OpenTree(cache.Config{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer tree.Close()
			synctest.Test(t, func(t *testing.T) {
				o := &hung{release: make(chan struct{})}
				f := New(Config{Store: tree, Origin: o, Policy: func(cache.Key) Policy { return Policy{Tries: 1} }})
				defer f.Close()
				key, err := cache.ParseKey("h", "/a", "", false)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				ask := func(loop []string, want int, within time.Duration) {
					a, err := f.Get(context.Background(), &Request{Key: key, Method: http.MethodGet, Header: http.Header{"Cdn-Loop": loop}})
					if err != nil {
						t.Errorf("Get with CDN-Loop %q = %v", loop, err)
						return
					}
					a.Close()
					if took := time.Since(began); a.Status != want || took > within {
						t.Errorf("Get with CDN-Loop %q = %d after %v, want %d within %v", loop, a.Status, took, want, within)
					}
				}
				go ask(test.first, 200, time.Minute)
				synctest.Wait()
				if test.own {
					go ask(test.second, http.StatusLoopDetected, crossWait)
				} else {
					go ask(test.second, 200, time.Minute)
				}
				time.Sleep(time.Minute)
				close(o.release)
				synctest.Wait()
				if own := len(o.asked) == 2; own != test.own || len(o.asked) > 2 {
					t.Errorf("the origin was asked %d times, want a trip of its own: %v: %q", len(o.asked), test.own, o.asked)
				}
			})
		})
	}
}
