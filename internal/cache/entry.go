package cache

import (
	"io"
	"os"

	"zcache/internal/durable"
)

// A Body is where an Entry's bytes are read from. Its Sections may outlive it.
type Body interface {
	io.ReaderAt
	// Section reads [off, end); end < 0 means to the end of the body.
	Section(off, end int64) *durable.Section
	Size() int64
	Close() error
}

type entryHandle = Body

// NewEntry makes an Entry of a response whose body lies elsewhere than in a Tree. Closing the Entry closes the body.
func NewEntry(key Key, meta *Meta, body Body) *Entry {
	return &Entry{Key: key, Meta: meta, handle: body}
}

// BytesBody is a Body held in memory; b must not change.
func BytesBody(b []byte) Body { return bytesBody(b) }

type bytesBody []byte

func (b bytesBody) Size() int64  { return int64(len(b)) }
func (b bytesBody) Close() error { return nil }

func (b bytesBody) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b bytesBody) Section(off, end int64) *durable.Section {
	if end < 0 {
		end = int64(len(b))
	}
	return durable.NewBytes(b, off, end, nil)
}

// Size is the size of the body in bytes.
func (e *Entry) Size() int64 { return e.handle.Size() }

// Section reads [off, end) of the body; end < 0 means to its end. It may outlive the Entry.
func (e *Entry) Section(off, end int64) *durable.Section { return e.handle.Section(off, end) }

// ReadAt reads the body at off.
func (e *Entry) ReadAt(p []byte, off int64) (int, error) { return e.handle.ReadAt(p, off) }

// Close lets go of the body. Sections go on. A second Close does nothing; it is not to be called concurrently.
func (e *Entry) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	return e.handle.Close()
}

// ETag is the response's entity tag as the origin wrote it, or "".
func (m *Meta) ETag() string { return m.Header.Get("Etag") }

// LastModified is the response's Last-Modified field as the origin wrote it, or "".
func (m *Meta) LastModified() string { return m.Header.Get("Last-Modified") }

// FileBody is a Body of a file that lies elsewhere than in a Tree: its first size bytes. It takes f over.
func FileBody(f *os.File, size int64) Body { return durable.NewFileBody(f, size) }
