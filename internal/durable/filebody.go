package durable

import (
	"io"
	"os"
	"sync/atomic"
)

// A FileBody is a file that is read as it lies, by any number of Sections. The file is closed when the owner and the last Section have
// let go of it. Its methods may be called concurrently.
type FileBody struct {
	file   *os.File
	size   int64
	refs   atomic.Int32
	closed atomic.Bool
}

// NewFileBody takes over f, of which the first size bytes are the body. The caller is its owner and calls Close.
func NewFileBody(f *os.File, size int64) *FileBody {
	b := &FileBody{file: f, size: size}
	b.refs.Store(1)
	return b
}

// Size is the size of the body in bytes: what it was when the file was opened, whatever has become of it since.
func (b *FileBody) Size() int64 { return b.size }

// ReadAt reads the body at off. It ends with io.EOF at the body's own end, and with io.ErrUnexpectedEOF where the file was cut.
func (b *FileBody) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.size {
		return 0, io.EOF
	}
	wanted := p[:min(int64(len(p)), b.size-off)]
	n, err := b.file.ReadAt(wanted, off)
	switch {
	case n < len(wanted) && err == io.EOF:
		return n, io.ErrUnexpectedEOF
	case n == len(wanted) && n < len(p) && (err == nil || err == io.EOF):
		return n, io.EOF
	}
	return n, err
}

// Section reads [off, end); end < 0 means to the end of the body. It may outlive the FileBody; one that is asked for after the last user
// has let go fails with os.ErrClosed.
func (b *FileBody) Section(off, end int64) *Section {
	if end < 0 {
		end = b.size
	}
	for {
		n := b.refs.Load()
		if n == 0 {
			return Failed(os.ErrClosed)
		}
		if b.refs.CompareAndSwap(n, n+1) {
			return NewSection(b.file, off, end, b.unref)
		}
	}
}

// Close lets go of the file for the owner. Sections go on. A second Close does nothing.
func (b *FileBody) Close() error {
	if b.closed.CompareAndSwap(false, true) {
		b.unref()
	}
	return nil
}

func (b *FileBody) unref() {
	if b.refs.Add(-1) == 0 {
		b.file.Close() // it was only read: there is nothing an error could tell
	}
}
