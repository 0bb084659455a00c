package origin

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A fileTree is a directory of this machine that is served as an upstream. Its names are opened anew for every request, the directory's own
// included: nothing keeps a file system from being unmounted, and a tree that was moved into the place of the old one is seen at once.
//
// A tree that another zcache keeps is read as its URLs, not as its names: what is called .zcache… is not there, and the document /a of a
// directory a is the file __content in it.
type fileTree struct{ dir string }

// Names of a zcache's own in a tree that it keeps.
const (
	ownName     = ".zcache" // begins them
	contentName = "__content"
)

func hidden(name string) bool { return strings.HasPrefix(name, ownName) || name == contentName }

var (
	errNoFile    = errors.New("no such file")
	errBadEscape = errors.New("the path has an escape that is none")
)

// fileName is the name, relative to the tree, that an escaped path stands for; slash says that it ends in one. A segment that no URL of
// ours leads to, an empty one too, is errNoFile: two URLs of one file would be two entries, and a crawler could go round for ever.
func fileName(path string) (name string, slash bool, err error) {
	if path == "/" {
		return ".", true, nil
	}
	path, slash = strings.CutSuffix(path, "/")
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		s, err := url.PathUnescape(segment)
		switch {
		case err != nil:
			return "", false, errBadEscape
		case s == "", s == ".", s == "..", hidden(s), strings.ContainsAny(s, "/\x00"):
			return "", false, errNoFile
		}
		segments[i] = s
	}
	return strings.Join(segments, "/"), slash, nil
}

// A found is what a path leads to: a file, the names in a directory, or where the directory has its URL.
type found struct {
	name  string // below the tree
	info  fs.FileInfo
	file  *os.File
	dir   *LocalDir
	moved string // relative to the path that was asked for
}

func (f *found) close() {
	if f.file != nil {
		f.file.Close()
	}
	if f.dir != nil {
		f.dir.Close()
	}
}

// errNoTree says that the tree itself is not to be had. That is no word about any file in it: taken for one, an unmounted disk would look
// like a tree of which everything was removed.
type errNoTree struct{ error }

func (e errNoTree) Unwrap() error { return e.error }

// find opens what the escaped path leads to. Links are followed where they stay in the tree.
func (t *fileTree) find(path string) (*found, error) {
	name, slash, err := fileName(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(t.dir)
	if err != nil {
		return nil, errNoTree{err}
	}
	info, err := root.Stat(name)
	if err == nil && slash && info.IsDir() {
		dir, err := t.list(root, name) // which keeps the root
		if err != nil {
			return nil, err
		}
		return &found{name: name, info: info, dir: dir}, nil
	}
	defer root.Close()
	switch {
	case err != nil:
		return nil, err
	case slash:
		return nil, errNoFile
	case info.IsDir():
		return besides(root, name, path)
	}
	return openFile(root, name, info)
}

// openFile opens a regular file. Anything else is not there: a pipe would wait for its writer, a device might do something.
func openFile(root *os.Root, name string, info fs.FileInfo) (*found, error) {
	if !info.Mode().IsRegular() {
		return nil, errNoFile
	}
	f, err := root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // in case that it has been replaced by a pipe just now
	if err != nil {
		return nil, err
	}
	info, err = f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &found{name: name, info: info, file: f}, nil
}

// besides is what a directory's name without a slash leads to: the document that a zcache keeps for it, else the directory.
func besides(root *os.Root, name, path string) (*found, error) {
	content := name + "/" + contentName
	info, err := root.Lstat(content)
	if err == nil && info.Mode().IsRegular() {
		f, err := openFile(root, content, info)
		if err == nil {
			f.name = name
		}
		return f, err
	}
	if err != nil && fileStatus(err) == 0 {
		return nil, err
	}
	return &found{name: name, moved: "." + path[strings.LastIndexByte(path, '/'):] + "/"}, nil // without the dot, "a:b/" would have a scheme
}

// fileStatus is the status that tells a client of err, or 0 when it tells nothing about the file: then this upstream has failed.
func fileStatus(err error) int {
	var (
		noTree errNoTree
		errno  syscall.Errno
	)
	switch {
	case errors.As(err, &noTree):
		return 0
	case errors.Is(err, errBadEscape):
		return http.StatusBadRequest
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case !errors.As(err, &errno): // errNoFile, and os.Root's own for a link that leaves the tree
		return http.StatusNotFound
	case errno == unix.ENOENT, errno == unix.ENOTDIR, errno == unix.ELOOP, errno == unix.ENAMETOOLONG, errno == unix.EINVAL, errno == unix.ENXIO:
		return http.StatusNotFound
	}
	return 0
}
