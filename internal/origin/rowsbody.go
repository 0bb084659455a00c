package origin

import (
	"io"
	"iter"
	"os"
	"sync"

	"zcache/internal/listing"
)

// A rowsBody is a body in the form of listing.WriteJSON, written as it is read.
type rowsBody struct {
	rows func() iter.Seq[listing.Row]

	mu     sync.Mutex
	closed bool
	out    *io.PipeReader // made by the first Read
}

func (b *rowsBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, os.ErrClosed
	}
	if b.out == nil {
		var in *io.PipeWriter
		b.out, in = io.Pipe()
		go func() { in.CloseWithError(listing.WriteJSON(in, b.rows())) }() // ends with the pipe
	}
	out := b.out
	b.mu.Unlock()
	return out.Read(p)
}

// Close ends a Read that goes on.
func (b *rowsBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.out != nil {
		b.out.Close()
	}
	return nil
}

// IsListing tells the body from what an upstream has sent.
func (b *rowsBody) IsListing() {}
