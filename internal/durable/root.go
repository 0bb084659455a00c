package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// longest is how much of a name one system call is given: PATH_MAX is 4,096 with the terminating NUL, and some slack is kept.
const longest = 4000

// resolve is how every name is looked up: nothing above the root, no link of any kind on the way.
const resolve = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// A Root is a directory. Names given to its methods are slash-separated, relative, of arbitrary bytes but NUL, and never leave it.
// "." is the directory itself. Its methods may be called concurrently; after Close they fail.
type Root struct {
	file *os.File
	dir  string
	// walk says that openat2 is not to be had (an old kernel, or a sandbox that refuses unknown calls), so that names are
	// walked one component at a time.
	walk bool
	// spare, if not nil, lets go of descriptors that the process can do without.
	spare func()
}

// OpenRoot opens the directory dir.
func OpenRoot(dir string) (*Root, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	r := &Root{file: os.NewFile(uintptr(fd), dir), dir: dir}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: resolve}
	probe, err := retry(func() (int, error) { return unix.Openat2(fd, ".", &how) })
	if err != nil {
		r.walk = true
		return r, nil
	}
	return r, unix.Close(probe)
}

// Sub opens the directory at name as a Root of its own, for many calls on names directly in it.
func (r *Root) Sub(name string) (*Root, error) {
	var fd int
	err := r.with("open", name, func(root int) (err error) {
		fd, err = r.open(root, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Root{file: os.NewFile(uintptr(fd), name), dir: r.dir + "/" + name, walk: r.walk, spare: r.spare}, nil
}

// Spare makes f be called when no descriptor is free, before what needed one is tried a second time. It is set before use.
func (r *Root) Spare(f func()) { r.spare = f }

// Dir is the name that the Root was opened by.
func (r *Root) Dir() string { return r.dir }

// Close gives the directory back. Calls under way end first.
func (r *Root) Close() error { return r.file.Close() }

// with runs f on the directory's descriptor, which stays open meanwhile: a number reused after Close would lead into another tree.
func (r *Root) with(op, name string, f func(root int) error) error {
	raw, err := r.file.SyscallConn()
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	var ferr error
	err = raw.Control(func(fd uintptr) {
		ferr = f(int(fd))
		if (ferr == unix.EMFILE || ferr == unix.ENFILE) && r.spare != nil {
			r.spare()
			ferr = f(int(fd))
		}
	})
	if err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	if ferr != nil {
		return &fs.PathError{Op: op, Path: name, Err: ferr}
	}
	return nil
}

// at runs f on the directory that holds name and on name's last component.
func (r *Root) at(op, name string, f func(dir int, base string) error) error {
	return r.with(op, name, func(root int) error {
		if err := check(name); err != nil {
			return err
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			if name == "." {
				return unix.EINVAL
			}
			return f(root, name)
		}
		dir, err := r.open(root, name[:i], unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer unix.Close(dir)
		return f(dir, name[i+1:])
	})
}

// open opens name below the directory root.
func (r *Root) open(root int, name string, flags int, mode uint32) (int, error) {
	if err := check(name); err != nil {
		return -1, err
	}
	dir := root
	for len(name) > longest {
		cut := strings.LastIndexByte(name[:longest], '/')
		if cut < 0 {
			return -1, unix.ENAMETOOLONG
		}
		next, err := r.openPiece(dir, name[:cut], unix.O_PATH|unix.O_DIRECTORY, 0)
		if dir != root {
			unix.Close(dir)
		}
		if err != nil {
			return -1, err
		}
		dir, name = next, name[cut+1:]
	}
	fd, err := r.openPiece(dir, name, flags, mode)
	if dir != root {
		unix.Close(dir)
	}
	return fd, err
}

func (r *Root) openPiece(dir int, name string, flags int, mode uint32) (int, error) {
	flags |= unix.O_CLOEXEC
	if r.walk {
		return openByWalk(dir, name, flags, mode)
	}
	how := unix.OpenHow{Flags: uint64(flags), Mode: uint64(mode), Resolve: resolve}
	return retry(func() (int, error) { return unix.Openat2(dir, name, &how) })
}

// openByWalk is openPiece without openat2: every component is opened by itself and must not be a link.
func openByWalk(dir int, name string, flags int, mode uint32) (int, error) {
	at := dir
	for {
		head, rest, more := strings.Cut(name, "/")
		f, m := flags, mode
		if more {
			f, m = unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0
		}
		fd, err := retry(func() (int, error) { return unix.Openat(at, head, f|unix.O_NOFOLLOW, m) })
		if at != dir {
			unix.Close(at)
		}
		if err != nil || !more {
			return fd, err
		}
		at, name = fd, rest
	}
}

// check refuses what is no name below a root, before the kernel sees it.
func check(name string) error {
	if name == "." {
		return nil
	}
	for rest, more := name, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return unix.EINVAL
		}
	}
	return nil
}

// retry calls f again while it was only interrupted. Openat2 says EAGAIN when a rename elsewhere raced with its look-up.
func retry(f func() (int, error)) (int, error) {
	for tries := 0; ; tries++ {
		n, err := f()
		if err == unix.EINTR || err == unix.EAGAIN && tries < 1000 {
			continue
		}
		return n, err
	}
}

func again(f func() error) error {
	_, err := retry(func() (int, error) { return 0, f() })
	return err
}

// Open opens the file at name for reading. A fifo or a device is opened without waiting; the caller looks at what it got.
func (r *Root) Open(name string) (*os.File, error) {
	return r.openFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// OpenRW opens the file at name for reading and writing.
func (r *Root) OpenRW(name string) (*os.File, error) {
	return r.openFile(name, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// Create makes the file name, which must not be there.
func (r *Root) Create(name string) (*os.File, error) {
	return r.openFile(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o644)
}

func (r *Root) openFile(name string, flags int, mode uint32) (*os.File, error) {
	var fd int
	err := r.with("open", name, func(root int) (err error) {
		if fd, err = r.open(root, name, flags, mode); err != nil || flags&unix.O_NONBLOCK == 0 {
			return err
		}
		// O_NONBLOCK was for the open alone. Left on, the runtime would try to poll every regular file.
		if _, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^unix.O_NONBLOCK); err != nil {
			unix.Close(fd)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Lstat tells what lies at name; a link is told as the link it is.
func (r *Root) Lstat(name string) (st unix.Stat_t, err error) {
	if name == "." {
		err = r.with("stat", name, func(root int) error { return again(func() error { return unix.Fstat(root, &st) }) })
		return st, err
	}
	err = r.at("stat", name, func(dir int, base string) error {
		return again(func() error { return unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW) })
	})
	return st, err
}

// MkdirAll makes the directory name and those above it that are missing. What is in the way and is no directory is an error
// (ENOTDIR).
func (r *Root) MkdirAll(name string) error {
	return r.with("mkdir", name, func(root int) error {
		// Most often all but the last are there, or all.
		fd, err := r.open(root, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == nil {
			return unix.Close(fd)
		}
		if err != unix.ENOENT {
			return err
		}
		return r.mkdirs(root, name)
	})
}

func (r *Root) mkdirs(root int, name string) error {
	at := root
	for more := true; more; {
		var head string
		head, name, more = strings.Cut(name, "/")
		err := again(func() error { return unix.Mkdirat(at, head, 0o755) })
		if err != nil && err != unix.EEXIST {
			if at != root {
				unix.Close(at)
			}
			return err
		}
		next, err := r.openPiece(at, head, unix.O_PATH|unix.O_DIRECTORY, 0)
		if at != root {
			unix.Close(at)
		}
		if err != nil {
			return err
		}
		at = next
	}
	return unix.Close(at)
}

// Rename moves old to new, replacing what is there.
func (r *Root) Rename(old, new string) error { return r.rename(old, new, 0) }

// Exchange swaps a and b, so that at every moment something lies at both.
func (r *Root) Exchange(a, b string) error { return r.rename(a, b, unix.RENAME_EXCHANGE) }

func (r *Root) rename(old, new string, flags uint) error {
	return r.at("rename", old, func(from int, a string) error {
		return unwrap(r.at("rename", new, func(to int, b string) error {
			return again(func() error {
				if flags == 0 { // file systems without renameat2 flags know plain renameat
					return unix.Renameat(from, a, to, b)
				}
				return unix.Renameat2(from, a, to, b, flags)
			})
		}))
	})
}

// Link gives the file at old the further name new, which must not be there.
func (r *Root) Link(old, new string) error {
	return r.at("link", old, func(from int, a string) error {
		return unwrap(r.at("link", new, func(to int, b string) error {
			return again(func() error { return unix.Linkat(from, a, to, b, 0) })
		}))
	})
}

// unwrap takes off the inner call's name, for the outer one adds its own.
func unwrap(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// Remove removes the file or the empty directory at name.
func (r *Root) Remove(name string) error {
	return r.at("remove", name, func(dir int, base string) error {
		err := again(func() error { return unix.Unlinkat(dir, base, 0) })
		if err != unix.EISDIR && err != unix.EPERM { // POSIX says EPERM for a directory, Linux EISDIR
			return err
		}
		if derr := again(func() error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) }); derr != unix.ENOTDIR {
			return derr
		}
		return err
	})
}

// Rmdir removes the directory at name if it is empty, and nothing else.
func (r *Root) Rmdir(name string) error {
	return r.at("rmdir", name, func(dir int, base string) error {
		return again(func() error { return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR) })
	})
}

// Statfs tells about the file system that the root lies on.
func (r *Root) Statfs() (st unix.Statfs_t, err error) {
	err = r.with("statfs", r.dir, func(root int) error { return again(func() error { return unix.Fstatfs(root, &st) }) })
	return st, err
}

// Syncfs writes all that is dirty on the root's file system to the disk.
func (r *Root) Syncfs() error {
	return r.with("syncfs", r.dir, func(root int) error { return unix.Syncfs(root) })
}

// SyncDir makes the names in the directory name durable.
func (r *Root) SyncDir(name string) error {
	sub, err := r.Sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return sub.file.Sync()
}

// IsGone says whether err means that nothing lies at the name: it, or a directory above it, is missing or is a file.
func IsGone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

// Stat tells about an open file.
func Stat(f *os.File) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstat(int(f.Fd()), &st) })
	if err != nil {
		return st, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return st, nil
}
