package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// watchedBody is a response body that ends with an error when it gives no byte for too long. The clock runs only while a Read
// waits: a reader that takes its time is not the upstream's fault.
type watchedBody struct {
	rc     io.ReadCloser
	ctx    context.Context // the request's own; parent is the caller's
	parent context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	name   string
	count  counter
	end    func(error) // told once: nil after a whole body, not at all when the caller ended it
	leave  func()      // told that the body is over, however it ended; more than once. Nil tells nobody

	beyond func() bool // more came than was announced; nil: not known

	timer  *time.Timer
	err    error // what Read returns from now on
	closed atomic.Bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(b.idle, func() { b.cancel(errIdle) })
	} else {
		b.timer.Reset(b.idle)
	}
	n, err := b.rc.Read(p)
	b.timer.Stop()
	if n > 0 {
		b.count.Add(float64(n))
	}
	if err != nil {
		b.err = b.ended(err)
		b.over()
	}
	return n, b.err
}

// ended turns the error that ended the body into the caller's, and tells of it.
func (b *watchedBody) ended(err error) error {
	switch {
	case err == io.EOF && b.beyond != nil && b.beyond():
		err = errLonger
	case err == io.EOF:
		b.end(nil)
		b.cancel(nil)
		return err
	case b.parent.Err() != nil:
		return &Error{"read", b.name, "", b.parent.Err()}
	case b.closed.Load():
		return err
	case errors.Is(context.Cause(b.ctx), errIdle):
		err = errIdle
	}
	failure := &Error{"read", b.name, bodyKind(err), err}
	b.end(failure)
	b.cancel(err)
	return failure
}

// Close may be called while a Read waits in another goroutine; the Read then ends.
func (b *watchedBody) Close() error {
	b.closed.Store(true)
	err := b.rc.Close()
	b.cancel(nil)
	b.over()
	return err
}

func (b *watchedBody) over() {
	if b.leave != nil {
		b.leave()
	}
}

const (
	drainBytes = 16 << 10
	drainTime  = 200 * time.Millisecond
)

// discard gives up a response that another one replaces. A short body is read to its end, which keeps the connection; a long or slow
// one would cost more than a new connection.
func discard(resp *http.Response) {
	timer := time.AfterFunc(drainTime, func() { _ = resp.Body.Close() }) // ends the read below
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, drainBytes)
	_ = resp.Body.Close() // nobody wants what it may still say
}

// requestBody is the body of the caller's request, lent to one try after the other as long as nobody has read of it.
type requestBody struct {
	mu      sync.Mutex
	rc      io.ReadCloser // nil when there is none
	read    bool
	current *bodyView
	settled bool // no further try: the current view may close it
	closed  bool
}

func newRequestBody(req *http.Request) *requestBody {
	if req.Body == nil || req.Body == http.NoBody {
		return &requestBody{}
	}
	return &requestBody{rc: req.Body}
}

// A bodyView is the body as one try sees it.
type bodyView struct {
	of      *requestBody
	revoked bool
	done    bool
}

// view lends the body to the next try. The one before it must have been revoked.
func (b *requestBody) view() *bodyView {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = &bodyView{of: b}
	return b.current
}

// settle ends the lending: the body is closed with the last view, or now when that is closed already or there was none.
func (b *requestBody) settle() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settled = true
	if b.current == nil || b.current.done || b.current.revoked {
		b.closeLocked()
	}
}

func (b *requestBody) closeLocked() {
	if b.rc == nil || b.closed {
		return
	}
	b.closed = true
	_ = b.rc.Close() // the caller's own; nothing here could act on its error
}

// reader is what http.Transport gets: nil when the request has no body.
func (v *bodyView) reader() io.ReadCloser {
	if v.of.rc == nil {
		return nil
	}
	return v
}

// revoke takes the body back from a try that is over, whose connection may still be about to read it, and says whether it has been read
// from, so that nobody can send it again.
func (v *bodyView) revoke() (read bool) {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	v.revoked = true
	return v.of.read
}

var errRevoked = errors.New("the request goes to another upstream")

func (v *bodyView) Read(p []byte) (int, error) {
	v.of.mu.Lock()
	if v.revoked {
		v.of.mu.Unlock()
		return 0, errRevoked
	}
	v.of.read = true
	v.of.mu.Unlock()
	return v.of.rc.Read(p)
}

func (v *bodyView) Close() error {
	v.of.mu.Lock()
	defer v.of.mu.Unlock()
	v.done = true
	if v.of.settled && v.of.current == v {
		v.of.closeLocked()
	}
	return nil
}
