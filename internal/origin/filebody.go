package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

var errChanged = errors.New("the file was changed while it was read")

// A LocalFile is the body of a 200 response for a file of a file upstream. Reading it gives the file as it was when it was opened, or an error:
// one that was cut ends with io.ErrUnexpectedEOF, one that was written over with an error too. A file that another one replaced is
// read on; a file that grew ends where it ended. One goroutine uses it.
type LocalFile struct {
	ctx   context.Context // the request's
	file  *os.File
	info  fs.FileInfo
	name  string // the URL, for errors
	off   int64
	count counter
}

// File gives the open file away: whoever asks for it closes it, and Close does nothing any more. Read must not be called after it.
func (f *LocalFile) File() *os.File {
	file := f.file
	f.file = nil
	return file
}

// Size is the size of the body in bytes, as announced in Content-Length.
func (f *LocalFile) Size() int64 { return f.info.Size() }

// Read reads the file, as long as the request's context lives.
func (f *LocalFile) Read(p []byte) (int, error) {
	n, err := f.readTo(p, f.Size())
	f.count.Add(float64(n))
	return n, err
}

// readTo reads on, to end at most.
func (f *LocalFile) readTo(p []byte, end int64) (int, error) {
	switch {
	case f.file == nil:
		return 0, os.ErrClosed
	case f.ctx.Err() != nil:
		return 0, &Error{"read", f.name, "", f.ctx.Err()}
	case f.off >= end:
		return 0, f.atEnd()
	}
	n, err := f.file.ReadAt(p[:min(int64(len(p)), end-f.off)], f.off)
	f.off += int64(n)
	switch {
	case n > 0 && (err == nil || err == io.EOF):
		return n, nil
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = &Error{"read", f.name, kindIncomplete, pathless(err)}
	}
	return n, err
}

// atEnd is io.EOF when what has been read is the file as it was at the beginning. Something added behind it changes nothing of that; a file
// of the same size with another time may have been read half before and half after it was changed.
func (f *LocalFile) atEnd() error {
	now, err := f.file.Stat()
	switch {
	case err != nil:
		return &Error{"read", f.name, kindIncomplete, pathless(err)}
	case now.Size() < f.info.Size():
		return &Error{"read", f.name, kindIncomplete, io.ErrUnexpectedEOF}
	case now.Size() == f.info.Size() && !now.ModTime().Equal(f.info.ModTime()):
		return &Error{"read", f.name, kindIncomplete, errChanged}
	}
	return io.EOF
}

// Close closes the file, unless it was given away.
func (f *LocalFile) Close() error {
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	return file.Close()
}

// A localPart is the body of a 206 response. It is no LocalFile, so that nobody takes a part for the whole.
type localPart struct {
	of  *LocalFile
	end int64
}

func (p *localPart) Read(b []byte) (int, error) {
	n, err := p.of.readTo(b, p.end)
	p.of.count.Add(float64(n))
	return n, err
}

func (p *localPart) Close() error { return p.of.Close() }

// pathless is the cause in an error of package os, whose text names a place on this machine.
func pathless(err error) error {
	var (
		in   *fs.PathError
		call *os.SyscallError
	)
	switch {
	case errors.As(err, &in):
		return in.Err
	case errors.As(err, &call):
		return fmt.Errorf("%s: %w", call.Syscall, call.Err)
	}
	return err
}
