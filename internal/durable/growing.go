package durable

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// errEnded is what a writer gets who goes on after End.
var errEnded = errors.New("write after the end")

// A Growing is a file that one goroutine appends to while any number of others read what is there. The file is closed when its
// owner and the last reader have let go of it.
type Growing struct {
	file *os.File
	refs atomic.Int32

	mu      sync.Mutex
	written int64
	visible int64 // at most written
	hold    int64 // readers see no more than this; negative: all
	ended   bool
	err     error
	// wake is closed when more is visible or the end has come. It is nil while nobody waits, so that a writer without followers
	// allocates nothing.
	wake chan struct{}
}

// NewGrowing takes over f, whose first size bytes are there already. The caller is its owner and calls Close once.
func NewGrowing(f *os.File, size int64) *Growing {
	g := &Growing{file: f, written: size, visible: size, hold: -1}
	g.refs.Store(1)
	return g
}

// Write appends p. Only one goroutine may write. What was written before an error stays readable.
func (g *Growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	at, ended := g.written, g.ended
	g.mu.Unlock()
	if ended {
		return 0, errEnded
	}
	n, err := g.file.WriteAt(p, at) // not under the lock: readers go on during a slow write
	if n > 0 {
		g.mu.Lock()
		g.written += int64(n)
		g.show()
		g.mu.Unlock()
	}
	return n, err
}

// Len is the number of bytes written, held back ones included.
func (g *Growing) Len() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.written
}

// Hold makes readers see at most n bytes; negative lifts it. What they have seen already stays seen.
func (g *Growing) Hold(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hold = n
	g.show()
}

// End says that no more will come. With a nil error all that was written is the whole, and a hold is lifted; else readers get what
// is visible and then err. Only the first End counts.
func (g *Growing) End(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	g.ended, g.err = true, err
	if err == nil {
		g.hold = -1
	}
	g.show()
	g.signal()
}

// show makes visible what may be seen. The lock is held.
func (g *Growing) show() {
	n := g.written
	if g.hold >= 0 && g.hold < n {
		n = g.hold
	}
	if n > g.visible {
		g.visible = n
		g.signal()
	}
}

func (g *Growing) signal() {
	if g.wake != nil {
		close(g.wake)
		g.wake = nil
	}
}

// Wait returns as soon as more than off bytes are visible, with their number, or nothing more will come. Then ended is true and
// err is what the writer ended with; it is also the error of ctx.
func (g *Growing) Wait(ctx context.Context, off int64) (visible int64, ended bool, err error) {
	for {
		g.mu.Lock()
		visible, ended, err = g.visible, g.ended, g.err
		if visible > off || ended {
			g.mu.Unlock()
			if visible > off {
				err = nil // the bytes first, then the bad news
			}
			return visible, ended, err
		}
		if g.wake == nil {
			g.wake = make(chan struct{})
		}
		wake := g.wake
		g.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return visible, false, context.Cause(ctx)
		}
	}
}

// Section reads [off, end) as it comes; end < 0 means to the end. Its reads end with ctx. The Growing stays open until the
// Section is closed. It is false when the last user has let go already.
func (g *Growing) Section(ctx context.Context, off, end int64) (*Section, bool) {
	for {
		n := g.refs.Load()
		if n == 0 {
			return nil, false
		}
		if g.refs.CompareAndSwap(n, n+1) {
			return &Section{grow: g, ctx: ctx, off: off, end: end, release: g.unref}, true
		}
	}
}

// Err is what the Growing ended with, or nil.
func (g *Growing) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// File is the file itself, for what has to be set on it before it is published. It is valid until Close.
func (g *Growing) File() *os.File { return g.file }

// Close lets go of the file for the owner. Sections go on.
func (g *Growing) Close() { g.unref() }

func (g *Growing) unref() {
	if g.refs.Add(-1) == 0 {
		// An error of close can mean lost bytes only after a write by this descriptor; who cares for that calls Sync first.
		g.file.Close()
	}
}
