package durable

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// mostAtOnce bounds one sendfile call, so that a fast peer's connection still sees its deadline and its context now and then.
const mostAtOnce = 4 << 20

// buffers are for the rare case that sendfile cannot be had. They are taken only while bytes move, never while a peer is waited
// for with nothing to send: 600 followers would else hold 600 of them.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// A Section is a stretch of a file, of a byte slice or of a Growing, read from an offset of its own. One goroutine uses it.
type Section struct {
	ram  []byte
	file *os.File
	grow *Growing
	ctx  context.Context // of a Growing's reader
	err  error           // all that a failed Section gives

	off, end int64
	release  func()
}

// NewSection reads [off, end) of f. Release, if not nil, is called once, by Close: f must be open until then.
func NewSection(f *os.File, off, end int64, release func()) *Section {
	return &Section{file: f, off: off, end: end, release: release}
}

// NewBytes reads [off, end) of b, which must not change.
func NewBytes(b []byte, off, end int64, release func()) *Section {
	return &Section{ram: b, off: off, end: end, release: release}
}

// Failed is a Section of which every read fails with err.
func Failed(err error) *Section { return &Section{err: err, end: -1} }

// Len is the number of bytes still to come, or -1 while that is not known.
func (s *Section) Len() int64 {
	if s.end >= 0 {
		return max(0, s.end-s.off)
	}
	if s.grow == nil {
		return -1
	}
	s.grow.mu.Lock()
	defer s.grow.mu.Unlock()
	if s.grow.ended && s.grow.err == nil {
		return max(0, s.grow.visible-s.off)
	}
	return -1
}

// Bytes is what is still to come when it is held in memory, else nil. The caller must not change it.
func (s *Section) Bytes() []byte {
	if s.ram == nil || s.off > int64(len(s.ram)) {
		return nil
	}
	return s.ram[s.off:min(s.end, int64(len(s.ram)))]
}

// ready waits until something can be read and returns up to where, or the error that ends the Section: io.EOF at its end,
// io.ErrUnexpectedEOF when the file has no more although it should.
func (s *Section) ready() (int64, error) {
	switch {
	case s.err != nil:
		return 0, s.err
	case s.end >= 0 && s.off >= s.end:
		return 0, io.EOF
	case s.grow != nil:
		if err := s.ctx.Err(); err != nil {
			return 0, context.Cause(s.ctx)
		}
		visible, _, err := s.grow.Wait(s.ctx, s.off)
		switch {
		case err != nil:
			return 0, err
		case visible > s.off && s.end >= 0:
			return min(visible, s.end), nil
		case visible > s.off:
			return visible, nil
		case s.end < 0 && visible == s.off:
			return 0, io.EOF
		}
		return 0, io.ErrUnexpectedEOF
	case s.file != nil:
		return s.end, nil
	}
	if s.off >= int64(len(s.ram)) {
		return 0, io.ErrUnexpectedEOF
	}
	return min(s.end, int64(len(s.ram))), nil
}

// Read reads what is there, waiting only for the first byte.
func (s *Section) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	limit, err := s.ready()
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), limit-s.off)]
	if s.source() == nil {
		n := copy(p, s.ram[s.off:])
		s.off += int64(n)
		return n, nil
	}
	n, err := s.source().ReadAt(p, s.off)
	s.off += int64(n)
	switch {
	case n > 0 && (err == nil || err == io.EOF):
		return n, nil
	case err == io.EOF: // cut by hand
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *Section) source() *os.File {
	if s.grow != nil {
		return s.grow.file
	}
	return s.file
}

// Await waits until some of it can be sent, and says how much that is. io.EOF says that nothing is still to come.
func (s *Section) Await() (int64, error) {
	limit, err := s.ready()
	if err != nil {
		return 0, err
	}
	return limit - s.off, nil
}

// SendTo sends what is still to come, without copying it through this process where the kernel can. It ends early with the
// connection's error, with that of the context or of the draft, or with io.ErrUnexpectedEOF when the file ends before the
// Section does. A peer that takes nothing is the affair of the connection's write deadline.
func (s *Section) SendTo(dst *net.TCPConn) (int64, error) {
	return s.send(dst, math.MaxInt64)
}

// SendPart is SendTo for at most n bytes. It returns with fewer and no error when nothing is still to come.
func (s *Section) SendPart(dst *net.TCPConn, n int64) (int64, error) {
	return s.send(dst, n)
}

func (s *Section) send(dst *net.TCPConn, most int64) (int64, error) {
	raw, err := dst.SyscallConn()
	if err != nil {
		return 0, err
	}
	var sent int64
	for sent < most {
		limit, err := s.ready()
		if err == io.EOF {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		limit = min(limit, s.off+min(most-sent, mostAtOnce))
		var n int64
		if src := s.source(); src == nil {
			var w int
			w, err = dst.Write(s.ram[s.off:limit])
			n = int64(w)
		} else {
			n, err = sendfile(raw, src, s.off, limit-s.off)
			if n == 0 && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP)) {
				n, err = s.copyTo(dst, limit)
			}
		}
		s.off += n
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// sendfile sends up to n bytes of src from off. It never touches the file's own offset, which all readers share.
func sendfile(raw rawWriter, src *os.File, off, n int64) (int64, error) {
	var sent int64
	var serr error
	from := int(src.Fd())
	err := raw.Write(func(fd uintptr) bool {
		for sent < n {
			at := off + sent
			w, err := unix.Sendfile(int(fd), from, &at, int(n-sent))
			switch {
			case w > 0:
				sent += int64(w)
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false // called again when the peer takes more
			case err != nil:
				serr = os.NewSyscallError("sendfile", err)
				return true
			default:
				serr = io.ErrUnexpectedEOF // the file was cut; another call would return 0 for ever
				return true
			}
		}
		return true
	})
	if err == nil {
		err = serr
	}
	return sent, err
}

// rawWriter is the part of syscall.RawConn that sendfile needs.
type rawWriter interface {
	Write(func(fd uintptr) bool) error
}

func (s *Section) copyTo(dst *net.TCPConn, limit int64) (int64, error) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	p := (*buf)[:min(int64(len(*buf)), limit-s.off)]
	n, err := s.source().ReadAt(p, s.off)
	if n == 0 {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	w, err := dst.Write(p[:n])
	return int64(w), err
}

// Close lets go of the file.
func (s *Section) Close() error {
	if release := s.release; release != nil {
		s.release = nil
		release()
	}
	return nil
}
