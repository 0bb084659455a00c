package origin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/listing"
)

// completeAtOnce is up to how many entries are looked up with the names: half a microsecond each. Only of these an entity tag can be told
// before the first byte, and the directory's own time does not show what was written into a file.
const completeAtOnce = 4096

// A LocalDir is the body of a response for a directory of a file upstream: its JSON listing when it is read, the listing itself for those who
// know of it. It lies on the disk as it is and is never index.html.
type LocalDir struct {
	listing *listing.Listing
	look    *looker
	ctx     context.Context // the request's
	name    string          // the URL, for errors
	count   counter
	body    rowsBody
}

// Listing is what the directory holds: the names and kinds as they were when it was opened, sizes and times as they are when Complete asks.
// It may be used after Close, at a higher price of Complete.
func (d *LocalDir) Listing() *listing.Listing { return d.listing }

// Read reads the directory as listing.WriteJSON writes it, as long as the request's context lives.
func (d *LocalDir) Read(p []byte) (int, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, &Error{"read", d.name, "", err}
	}
	n, err := d.body.Read(p)
	d.count.Add(float64(n))
	return n, err
}

func (d *LocalDir) rows() iter.Seq[listing.Row] {
	return func(yield func(listing.Row) bool) {
		for _, e := range d.listing.Entries {
			if d.listing.Complete != nil {
				d.listing.Complete(&e)
			}
			if !yield(listing.Row{Entry: e, Cached: listing.Fresh}) {
				return
			}
		}
	}
}

// IsListing tells the body from a file's.
func (d *LocalDir) IsListing() {}

// Close ends a Read that goes on.
func (d *LocalDir) Close() error {
	d.look.close()
	return d.body.Close()
}

// list opens the directory at name. It takes over root.
func (t *fileTree) list(root *os.Root, name string) (*LocalDir, error) {
	look := &looker{tree: t, name: name, root: root}
	names, err := look.names()
	if err != nil {
		look.close()
		return nil, err
	}
	slices.SortFunc(names, func(a, b dirName) int { return cmp.Compare(a.name, b.name) })
	entries := make([]listing.Entry, 0, len(names))
	for _, n := range names {
		if e, ok := look.entry(n); ok {
			entries = append(entries, e)
		}
	}
	d := &LocalDir{listing: &listing.Listing{Entries: entries}, look: look}
	d.body.rows = d.rows
	if len(entries) > completeAtOnce {
		d.listing.Complete = look.complete
		return d, nil
	}
	for i := range entries {
		look.complete(&entries[i])
	}
	return d, nil
}

// A looker finds out about the names in one directory.
type looker struct {
	tree *fileTree
	name string // of the directory, below the tree

	mu     sync.Mutex
	closed bool
	root   *os.Root // where links are resolved
	dir    *os.Root // the directory itself
	file   *os.File // and again, by whose descriptor a name in it is looked at
}

func (l *looker) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.root.Close() // calls under way end first
	if l.dir != nil {
		l.dir.Close()
	}
	if l.file != nil {
		l.file.Close()
	}
}

// opened gives the roots and the directory's file, and what ends their use. The lock is held.
func (l *looker) opened() (root, dir *os.Root, file *os.File, done func(), err error) {
	if !l.closed {
		return l.root, l.dir, l.file, func() {}, nil
	}
	again := &looker{tree: l.tree, name: l.name}
	if again.root, err = os.OpenRoot(l.tree.dir); err != nil {
		return nil, nil, nil, nil, err
	}
	if err = again.enter(); err != nil {
		again.close()
		return nil, nil, nil, nil, err
	}
	return again.root, again.dir, again.file, again.close, nil
}

// enter opens the directory below the root.
func (l *looker) enter() (err error) {
	if l.dir, err = l.root.OpenRoot(l.name); err != nil {
		return err
	}
	l.file, err = l.dir.Open(".")
	return err
}

// A dirName is a name in a directory with what the directory says it is: one of unix.DT_….
type dirName struct {
	name string
	kind byte
}

// names are those in the directory that are to be seen, in no order.
func (l *looker) names() ([]dirName, error) {
	if err := l.enter(); err != nil {
		return nil, err
	}
	var all []dirName
	if st, err := l.file.Stat(); err == nil {
		all = make([]dirName, 0, min(st.Size()/64, 1<<20)) // about a name's share of a directory: growing makes as much garbage again
	}
	err := eachName(l.file, func(n dirName) {
		if !hidden(n.name) {
			all = append(all, n)
		}
	})
	return all, err
}

// entry is what a name is by the directory's own word, or by a look at it where that is none. A link is looked at too: whoever walks the tree
// has to know at once whether to put a slash behind its name. It is false for what is gone by now.
func (l *looker) entry(n dirName) (listing.Entry, bool) {
	e := listing.Entry{Name: n.name, Size: -1}
	switch n.kind {
	case unix.DT_REG:
		e.Kind = listing.File
	case unix.DT_DIR:
		e.Kind = listing.Dir
	case unix.DT_LNK, unix.DT_UNKNOWN:
		if err := l.lookAt(&e); errors.Is(err, fs.ErrNotExist) {
			return e, false
		}
	default:
		e.Kind = listing.Other
	}
	return e, true
}

// complete fills in what is known of an entry by looking at it. What is gone by then has no size and no time.
func (l *looker) complete(e *listing.Entry) {
	_ = l.lookAt(e) // the entry says of itself what is not known
}

func (l *looker) lookAt(e *listing.Entry) error {
	e.Size, e.SizeExact, e.ModTime, e.Step, e.ZoneKnown, e.Mode, e.Target = -1, false, time.Time{}, 0, false, 0, ""
	l.mu.Lock()
	defer l.mu.Unlock()
	root, dir, file, done, err := l.opened()
	if err != nil {
		return err
	}
	defer done()
	// By the descriptor, for a look through the Root makes 400 bytes of garbage: 40 MB for a hundred thousand names, which have no slash.
	var st unix.Stat_t
	if err := unix.Fstatat(int(file.Fd()), e.Name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "stat", Path: e.Name, Err: err}
	}
	e.Mode = fs.FileMode(st.Mode & 0o777)
	e.ModTime, e.Step, e.ZoneKnown = time.Unix(st.Mtim.Sec, st.Mtim.Nsec).UTC(), time.Nanosecond, true
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Kind, e.Mode = listing.Dir, e.Mode|fs.ModeDir
	case unix.S_IFREG:
		e.Kind, e.Size, e.SizeExact = listing.File, st.Size, true
	case unix.S_IFLNK:
		e.Mode |= fs.ModeSymlink
		e.Link = true
		l.follow(e, root, dir)
	default:
		e.Kind = listing.Other
	}
	return nil
}

// follow fills in what is known of a link: what its target is, if that lies in the tree. Another place is nobody's business.
func (l *looker) follow(e *listing.Entry, root, dir *os.Root) {
	e.Kind = listing.Other
	info, err := root.Stat(l.name + "/" + e.Name)
	if err != nil {
		return
	}
	e.ModTime = info.ModTime().UTC()
	e.Target, _ = dir.Readlink(e.Name) // a link that is gone by now has none
	switch {
	case info.IsDir():
		e.Kind = listing.Dir
	case info.Mode().IsRegular():
		e.Kind, e.Size, e.SizeExact = listing.File, info.Size(), true
	}
}

// tag is an entity tag for what Read will give, or "" for a directory that is too large to know that before. It is weak: the form may change
// from one version to the next.
func (d *LocalDir) tag() string {
	if d.listing.Complete != nil {
		return ""
	}
	sum := sha256.New()
	line := make([]byte, 0, 512)
	for i := range d.listing.Entries {
		e := &d.listing.Entries[i]
		line = append(append(append(line[:0], e.Name...), '/'), e.Target...)
		line = fmt.Appendf(line, "/%d %d %o %d\n", e.Kind, e.Size, e.Mode, e.ModTime.UnixNano())
		sum.Write(line)
	}
	return fmt.Sprintf(`W/"%x"`, sum.Sum(nil)[:12])
}

// eachName calls f for every name in the directory. os.File.ReadDir would look at each of them, as it has
// to for one that a Root opened, at ten times the price.
func eachName(dir *os.File, f func(dirName)) error {
	raw, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n := 0
		var rerr error
		err := raw.Control(func(fd uintptr) {
			for {
				if n, rerr = unix.Getdents(int(fd), buf); rerr != unix.EINTR {
					return
				}
			}
		})
		if err := cmp.Or(err, rerr); err != nil {
			return fmt.Errorf("read directory: %w", err)
		}
		if n <= 0 {
			return nil
		}
		if err := eachRecord(string(buf[:n]), f); err != nil { // one string that all these names are parts of
			return err
		}
	}
}

// eachRecord goes through what getdents64 gave: inode and offset of eight bytes each, the record's length of two, the kind, the name with a NUL.
func eachRecord(block string, f func(dirName)) error {
	const head = 8 + 8 + 2 + 1
	for block != "" {
		if len(block) < head {
			return fmt.Errorf("read directory: %w", unix.EBADMSG)
		}
		size := int(binary.NativeEndian.Uint16([]byte(block[16:18])))
		if size <= head || size > len(block) {
			return fmt.Errorf("read directory: %w", unix.EBADMSG)
		}
		name, _, _ := strings.Cut(block[head:size], "\x00")
		if name != "." && name != ".." && name != "" {
			f(dirName{name, block[18]})
		}
		block = block[size:]
	}
	return nil
}
