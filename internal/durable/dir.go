package durable

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// TempPrefix begins the names of files that WriteFile has not yet finished. One that is left over from a crash may be removed.
const TempPrefix = ".zcache-tmp-"

// What a directory entry is.
const (
	Regular = unix.DT_REG
	Folder  = unix.DT_DIR
)

// ReadDir calls yield for every name in the directory, with its kind (Regular, Folder or another DT_ value), in the order of
// the file system, until yield returns false. It holds one block of names at a time, so that a directory's size does not
// matter.
func (r *Root) ReadDir(name string, yield func(name string, kind byte) bool) error {
	sub, err := r.Sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	return sub.Each(yield)
}

// Each is ReadDir of the root itself. Since it moves the directory's one read position, it is for a Root from Sub with one user.
func (r *Root) Each(yield func(name string, kind byte) bool) error {
	buf := make([]byte, 32<<10)
	for {
		var n int
		err := r.with("readdir", r.dir, func(root int) (err error) {
			n, err = retry(func() (int, error) { return unix.ReadDirent(root, buf) })
			return err
		})
		if err != nil || n <= 0 {
			return err
		}
		if !r.yieldBlock(buf[:n], yield) {
			return nil
		}
	}
}

// yieldBlock takes apart one block of struct linux_dirent64: inode, offset, record length, kind, name.
func (r *Root) yieldBlock(block []byte, yield func(string, byte) bool) bool {
	const head = 19
	for len(block) >= head {
		size := int(binary.NativeEndian.Uint16(block[16:18]))
		if size < head || size > len(block) {
			return false
		}
		kind, raw := block[18], block[head:size]
		block = block[size:]
		if end := bytes.IndexByte(raw, 0); end >= 0 {
			raw = raw[:end]
		}
		name := string(raw)
		if name == "." || name == ".." {
			continue
		}
		if kind == unix.DT_UNKNOWN {
			// Some file systems do not keep the kind with the name.
			st, err := r.Lstat(name)
			if err != nil {
				continue
			}
			kind = byte(st.Mode & unix.S_IFMT >> 12)
		}
		if !yield(name, kind) {
			return false
		}
	}
	return true
}

// RemoveAll removes name and all below it. Nothing there is no error. It calls gone for every file removed. The tree is walked
// with one directory open at a time, however deep it is.
func (r *Root) RemoveAll(ctx context.Context, name string, gone func(st *unix.Stat_t)) error {
	var dirs []string // below the directory at hand, emptied before it
	sub, err := r.Sub(name)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return r.removeFile(name, gone)
	case err != nil:
		return err
	}
	var failed error
	err = sub.Each(func(base string, kind byte) bool {
		if kind == Folder {
			dirs = append(dirs, base)
			return true
		}
		failed = sub.removeFile(base, gone)
		return failed == nil && ctx.Err() == nil
	})
	sub.Close()
	if err := errors.Join(err, failed, ctx.Err()); err != nil {
		return err
	}
	for _, base := range dirs {
		if err := r.RemoveAll(ctx, name+"/"+base, gone); err != nil {
			return err
		}
	}
	if err := r.Rmdir(name); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func (r *Root) removeFile(name string, gone func(st *unix.Stat_t)) error {
	var st unix.Stat_t
	if gone != nil {
		var err error
		if st, err = r.Lstat(name); err != nil && !errors.Is(err, unix.ENOENT) {
			return err
		}
	}
	err := r.Remove(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err == nil && gone != nil {
		gone(&st)
	}
	return err
}

// WriteFile makes data the content of name by one rename: readers see the old file or the new one. With sync both the bytes
// and the name are on the disk when it returns.
func (r *Root) WriteFile(name string, data []byte, sync bool) (err error) {
	dir := "."
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir = name[:i]
	}
	temp := TempPrefix + Random()
	if dir != "." {
		temp = dir + "/" + temp
	}
	f, err := r.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = r.Rename(temp, name)
	}
	if err != nil {
		return errors.Join(err, r.Remove(temp))
	}
	if sync {
		return r.SyncDir(dir)
	}
	return nil
}

// ReadFile reads the file at name, which must hold at most limit bytes.
func (r *Root) ReadFile(name string, limit int64) ([]byte, error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := Stat(f)
	if err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: unix.EFBIG}
	}
	data := make([]byte, st.Size)
	n, err := f.ReadAt(data, 0)
	if n == len(data) {
		err = nil
	}
	return data[:n], err
}

// Random is a name that nobody else has: 128 random bits in hexadecimal.
func Random() string {
	var b [16]byte
	rand.Read(b[:]) // never fails; the runtime ends the process instead
	return hex.EncodeToString(b[:])
}

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock makes the file name, if need be, and locks it until the returned file is closed or the process ends, however it ends.
func (r *Root) Lock(name string) (*os.File, error) {
	f, err := r.openFile(name, unix.O_RDWR|unix.O_CREAT, 0o644)
	if err != nil {
		return nil, err
	}
	if err := again(func() error { return flock(f) }); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

// flock keeps EAGAIN, which here means held by another, from being taken for an interruption.
func flock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == unix.EWOULDBLOCK {
		return ErrLocked
	}
	return err
}
