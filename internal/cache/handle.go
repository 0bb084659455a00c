package cache

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// smallBody is the size up to which a body is held in memory: it then needs no descriptor, and a hit one write.
const smallBody = 32 << 10

// attribute is the extended attribute that a Meta travels in.
const attribute = "user.zcache"

// identity tells one state of one file from every other: a file that was written to, replaced or even renamed has a new one.
type identity struct {
	ino          uint64
	size         int64
	mtime, ctime unix.Timespec
}

func identityOf(st *unix.Stat_t) identity {
	return identity{ino: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim}
}

func modTime(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Sec, st.Mtim.Nsec) }
func useTime(st *unix.Stat_t) time.Time { return time.Unix(st.Atim.Sec, st.Atim.Nsec) }
func regular(st *unix.Stat_t) bool      { return st.Mode&unix.S_IFMT == unix.S_IFREG }
func folder(st *unix.Stat_t) bool       { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func onDisk(st *unix.Stat_t) int64      { return st.Blocks * 512 }

// A handle is one stored response, open: what the table holds and entries share.
type handle struct {
	at      place
	id      identity
	meta    *Meta
	key     Key // as the record tells it, else zero
	adopted bool
	told    *Meta     // what the record says, also when that does not fit the file; nil without one
	lost    bool      // the record is in an overflow file that is gone or unreadable
	weight  int       // bytes of memory that the Meta takes, about
	since   time.Time // when this response came, or an adopted file was put there

	file *os.File // nil when the body is in ram
	ram  []byte
	refs atomic.Int32

	used  atomic.Int64 // last use, in Unix nanoseconds
	noted atomic.Int64 // the last use that the file's atime tells, or will
}

// errNoEntry says that what lies at a place is nothing of ours to serve: a directory, a link, a device.
var errNoEntry = errors.New("no regular file")

// absent says whether err means that no entry is there.
func absent(err error) bool {
	return durable.IsGone(err) || errors.Is(err, errNoEntry) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) ||
		errors.Is(err, unix.ENAMETOOLONG)
}

// load opens what lies at p. A directory is told by errIsDir.
func (t *Tree) load(p place) (*handle, error) {
	return t.fromFile(p, func(f *os.File) (*handle, error) {
		h, err := t.loadFile(p, f)
		if err != nil || h.file == nil {
			f.Close()
		}
		return h, err
	})
}

// fromFile makes a handle of the file at p with f, which has to close it. It tries again when the file was replaced meanwhile.
func (t *Tree) fromFile(p place, f func(*os.File) (*handle, error)) (*handle, error) {
	for tries := 0; ; tries++ {
		file, err := t.root.Open(string(p))
		if err != nil {
			return nil, err
		}
		h, err := f(file)
		if err != errReplaced || tries == 10 {
			return h, err
		}
	}
}

// errReplaced says that a body was replaced or removed while its Meta was read.
var errReplaced = fmt.Errorf("%w any more", errNoEntry)

var errIsDir = fmt.Errorf("%w but a directory", errNoEntry)

func (t *Tree) loadFile(p place, f *os.File) (*handle, error) {
	h, err := t.inspect(p, f)
	if err != nil {
		return nil, err
	}
	if err := t.vouch(h); err != nil {
		return nil, err
	}
	if h.id.size <= smallBody {
		h.ram = make([]byte, h.id.size)
		n, err := f.ReadAt(h.ram, 0)
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("read %s: %w", p, err)
		}
		if int64(n) == h.id.size {
			h.file = nil
		} // else it is being written by hand; the next look finds it changed
	}
	return h, nil
}

// inspect is a handle of f without its body: what lies there, and what its record says.
func (t *Tree) inspect(p place, f *os.File) (*handle, error) {
	st, err := durable.Stat(f)
	if err != nil {
		return nil, err
	}
	if folder(&st) {
		return nil, errIsDir
	}
	if !regular(&st) {
		return nil, errNoEntry
	}
	r, err := t.record(f)
	for tries := 0; tries < 10 && r.overflow != "" && durable.IsGone(err); tries++ {
		if now, serr := t.root.Lstat(string(p)); serr != nil || now.Ino != st.Ino {
			return nil, errReplaced // and its overflow file went with it: of the body alone an adopted entry would be made
		}
		r, err = t.record(f) // freshened between the two reads
	}
	if err != nil && !unreadable(err) {
		return nil, err
	}
	h := newHandle(p, &st, f)
	if err == nil {
		h.told = r.meta
	} else {
		h.lost = r.overflow != ""
	}
	if err != nil || r.meta.Size != st.Size || !r.meta.ModTime.Equal(modTime(&st)) {
		h.adopt(&st)
		h.meta.Original = t.staysOriginal(p, h.told)
	} else {
		h.meta, h.key, h.since = r.meta, r.key, r.meta.Received
		h.weight = weigh(r.meta.Header) + weigh(r.meta.Vary)
	}
	h.meta.Listing = h.meta.Listing || p.base() == listingName // also of one that was copied in
	return h, nil
}

func newHandle(p place, st *unix.Stat_t, f *os.File) *handle {
	h := &handle{at: p, id: identityOf(st), file: f}
	h.refs.Store(1)
	h.used.Store(useTime(st).UnixNano())
	h.noted.Store(useTime(st).UnixNano())
	return h
}

// weigh is what a header takes in memory, about.
func weigh(h http.Header) int {
	n := 0
	for name, values := range h {
		n += 64 + len(name)
		for _, v := range values {
			n += 16 + len(v)
		}
	}
	return n
}

// unsettled says whether the file may be changed once more without showing it. Older kernels stamp all changes within one tick of
// their clock, up to 10 ms, alike. The body of an entry of ours has a time that no change by hand gives it.
func (h *handle) unsettled() bool {
	if !h.adopted {
		return false
	}
	age := time.Since(h.meta.ModTime) // the kernel's clock, not the tree's
	return age > -20*time.Millisecond && age < 20*time.Millisecond
}

// peek is inspect by name, for the Meta alone.
func (t *Tree) peek(p place) (*handle, error) {
	return t.fromFile(p, func(f *os.File) (*handle, error) {
		defer f.Close()
		return t.inspect(p, f)
	})
}

// adopt makes h the entry of a file of which only its size and time are known.
func (h *handle) adopt(st *unix.Stat_t) {
	h.adopted = true
	h.since = time.Unix(st.Ctim.Sec, st.Ctim.Nsec)
	h.meta = &Meta{
		Status: http.StatusOK, Size: st.Size, ModTime: modTime(st), Limit: -1, Asked: h.since, Received: h.since, Stored: h.since,
		Header: http.Header{"Last-Modified": {modTime(st).UTC().Format(http.TimeFormat)}},
	}
	if kind := mime.TypeByExtension(path.Ext(string(h.at))); kind != "" {
		h.meta.Header.Set("Content-Type", kind)
	}
}

// unreadable says whether err means that a file has no Meta that we could read, as opposed to a disk that fails.
func unreadable(err error) bool {
	return errors.Is(err, durable.ErrNoAttr) || errors.Is(err, errMeta) || errors.Is(err, errFuture) || durable.IsGone(err) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EFBIG)
}

// record reads the Meta of f.
func (t *Tree) record(f *os.File) (record, error) {
	var buf [4096]byte
	data, err := durable.Attr(f, attribute, buf[:])
	if err != nil {
		return record{}, err
	}
	r, err := decodeRecord(data)
	if err != nil || r.overflow == "" {
		return r, err
	}
	name := r.overflow
	if data, err = t.root.ReadFile(overflowDir+"/"+name, 4<<20); err != nil {
		return record{overflow: name}, err
	}
	if r, err = decodeRecord(data); err == nil && r.overflow != "" {
		err = errMeta
	}
	r.overflow = name
	return r, err
}

// acquire takes a reference. Whoever calls has, or is guarded by, one already.
func (h *handle) acquire() *handle {
	h.refs.Add(1)
	return h
}

// revive takes a reference unless the last one is gone.
func (h *handle) revive() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *handle) unref() {
	if h.refs.Add(-1) == 0 && h.file != nil {
		h.file.Close()
	}
}

func (h *handle) Size() int64 { return h.id.size }

func (h *handle) Close() error {
	h.unref()
	return nil
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if h.file == nil {
		return bytesBody(h.ram).ReadAt(p, off)
	}
	return h.file.ReadAt(p, off)
}

func (h *handle) Section(off, end int64) *durable.Section {
	if end < 0 {
		end = h.id.size
	}
	if h.file == nil {
		return durable.NewBytes(h.ram, off, end, nil)
	}
	h.acquire()
	return durable.NewSection(h.file, off, end, h.unref)
}
