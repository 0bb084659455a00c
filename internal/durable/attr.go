package durable

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrNoAttr says that the file has no such attribute.
var ErrNoAttr error = unix.ENODATA

// Attr reads the extended attribute name of f into buf, or into a larger buffer when it does not fit. ErrNoAttr says that there
// is none.
func Attr(f *os.File, name string, buf []byte) ([]byte, error) {
	for {
		n, err := retry(func() (int, error) {
			if len(buf) == 0 {
				// An empty buffer would only ask for the size.
				buf = make([]byte, 512)
			}
			return unix.Fgetxattr(int(f.Fd()), name, buf)
		})
		if err == nil {
			return buf[:n], nil
		}
		if err != unix.ERANGE || len(buf) >= 1<<20 {
			return nil, fmt.Errorf("attribute %s of %s: %w", name, f.Name(), err)
		}
		buf = make([]byte, 4*len(buf))
	}
}

// SetAttr sets the extended attribute name of f.
func SetAttr(f *os.File, name string, value []byte) error {
	if err := again(func() error { return unix.Fsetxattr(int(f.Fd()), name, value, 0) }); err != nil {
		return fmt.Errorf("set attribute %s of %s: %w", name, f.Name(), err)
	}
	return nil
}

// RemoveAttr removes the extended attribute name of f. That there is none is no error.
func RemoveAttr(f *os.File, name string) error {
	err := again(func() error { return unix.Fremovexattr(int(f.Fd()), name) })
	if err != nil && err != unix.ENODATA {
		return fmt.Errorf("remove attribute %s of %s: %w", name, f.Name(), err)
	}
	return nil
}

// Mark sets the extended attribute name of the directory itself.
func (r *Root) Mark(name string, value []byte) error {
	return r.with("mark", r.dir, func(root int) error {
		return again(func() error { return unix.Fsetxattr(root, name, value, 0) })
	})
}

// Marked says whether the directory itself has the extended attribute name.
func (r *Root) Marked(name string) (bool, error) {
	n, err := r.mark(name, nil)
	return n >= 0 && err == nil, err
}

// ReadMark reads the extended attribute name of the directory itself into buf; nil when there is none. One that does not fit is an error (ERANGE).
func (r *Root) ReadMark(name string, buf []byte) ([]byte, error) {
	n, err := r.mark(name, buf)
	if err != nil || n < 0 {
		return nil, err
	}
	return buf[:n], nil
}

// mark is the size of the attribute, -1 when there is none. With a buf it reads it too.
func (r *Root) mark(name string, buf []byte) (n int, err error) {
	err = r.with("mark", r.dir, func(root int) (err error) {
		n, err = retry(func() (int, error) { return unix.Fgetxattr(root, name, buf) })
		return err
	})
	if errors.Is(err, ErrNoAttr) {
		return -1, nil
	}
	return n, err
}

// Unmark removes the extended attribute name of the directory itself. That there is none is no error.
func (r *Root) Unmark(name string) error {
	err := r.with("unmark", r.dir, func(root int) error {
		return again(func() error { return unix.Fremovexattr(root, name) })
	})
	if errors.Is(err, ErrNoAttr) {
		return nil
	}
	return err
}

// SetTimes sets the times of f's last use and last change. A zero time is left as it is.
func SetTimes(f *os.File, used, changed time.Time) error {
	ts := [2]unix.Timespec{timespec(used), timespec(changed)}
	err := again(func() error {
		// A nil path makes utimensat mean the descriptor itself; the package's wrapper has no way to say that.
		_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, f.Fd(), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("set times of %s: %w", f.Name(), err)
	}
	return nil
}

// SetUsed sets the time of last use of the file at name, and nothing else.
func (r *Root) SetUsed(name string, used time.Time) error {
	return r.at("set time", name, func(dir int, base string) error {
		ts := []unix.Timespec{timespec(used), timespec(time.Time{})}
		return again(func() error { return unix.UtimesNanoAt(dir, base, ts, unix.AT_SYMLINK_NOFOLLOW) })
	})
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	return unix.Timespec{Sec: t.Unix(), Nsec: int64(t.Nanosecond())}
}

// Dup is a second descriptor of the same open file.
func Dup(f *os.File) (*os.File, error) {
	fd, err := retry(func() (int, error) { return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return nil, fmt.Errorf("dup %s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
