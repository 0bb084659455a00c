package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
	"zcache/internal/listing"
)

// MaxListing bounds the bodies that are looked at for a listing, in bytes.
const MaxListing = listing.MaxSize

// looks is the number of the eyes that look for listings. A document that lower ones looked at is looked at once more.
const looks = 1

// standsFor is how long a listing that was confirmed stands against a page in its place that is none: a portal's page or a notice of maintenance comes
// with status 200 too. Who asks on line gets the page meanwhile.
const standsFor = 24 * time.Hour

// parseListing reads a body as the listing of the directory that its Meta's URL names.
func parseListing(m *Meta, body io.Reader) (*listing.Listing, error) {
	base := m.Base
	if base == "" {
		base = m.URL
	}
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("%w: its URL: %w", listing.ErrNotListing, err)
	}
	kind := m.Header.Get("Content-Type")
	l, err := listing.Parse(listing.Source{URL: u, ContentType: kind, Now: m.Received}, body)
	switch {
	case err != nil:
		return nil, err
	case l.Next != "":
		return nil, fmt.Errorf("%w: more pages follow", listing.ErrCut)
	case l.Bare() && strings.Contains(kind, "json"):
		return nil, fmt.Errorf("%w: strings alone, as a program's answer may be", listing.ErrNotListing)
	}
	return l, nil
}

// recognise says whether a finished draft is a listing, and what it lists.
func (t *Tree) recognise(key Key, m *Meta, f *os.File) (*listing.Listing, error) {
	maybe := m.Listing
	m.Listing = false
	if !maybe || m.Status != http.StatusOK || !key.IsDir() || key.hasQuery {
		return nil, nil
	}
	m.Looked = looks
	err := listing.ErrTooLarge
	var l *listing.Listing
	if m.Size <= MaxListing {
		l, err = parseListing(m, io.NewSectionReader(f, 0, m.Size))
	}
	if err == nil && m.Provisional && !closed(f, m.Size) {
		err = fmt.Errorf("%w: nothing tells that it is whole", listing.ErrCut)
	}
	if err == nil {
		m.Listing, m.Provisional = true, false // its own end vouches for its length
		return l, nil
	}
	if held, herr := t.peekMain(key); herr == nil && held != nil && held.meta.Listing && !held.adopted && t.Now().Sub(held.meta.Received) < standsFor {
		if errors.Is(err, listing.ErrNotListing) && !errors.Is(err, listing.ErrForbidden) {
			return nil, fmt.Errorf("%w: %w", ErrNoListing, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrCutListing, err)
	}
	t.Logger.Debug("no listing", "key", key.String(), "err", err)
	return nil, nil // to whoever asks for it, it is the page that it is
}

// closed says that a body has an end of its own: what follows the last row of a page, a document or an array. Lines may stop anywhere.
func closed(f io.ReaderAt, size int64) bool {
	var buf [512]byte
	tail := buf[:min(size, int64(len(buf)))]
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return false
	}
	tail = bytes.TrimSpace(bytes.ToLower(tail))
	return bytes.Contains(tail, []byte("</html>")) || bytes.Contains(tail, []byte("</body>")) || bytes.HasSuffix(tail, []byte("]")) || bytes.HasSuffix(tail, []byte("}")) ||
		bytes.HasSuffix(tail, []byte("</listbucketresult>")) || bytes.HasSuffix(tail, []byte("multistatus>")) || bytes.HasSuffix(tail, []byte("</list>"))
}

// Recognise is described at Store.
func (t *Tree) Recognise(e *Entry) (bool, error) {
	h, ok := e.handle.(*handle)
	if !ok || e.Adopted || e.Meta.Listing || e.Meta.Looked >= looks || e.Meta.Status != http.StatusOK || !e.Key.IsDir() {
		return e.Meta.Listing, nil
	}
	m := *e.Meta
	m.Looked = looks
	if e.Size() <= MaxListing {
		_, err := parseListing(&m, io.NewSectionReader(e, 0, e.Size()))
		m.Listing = err == nil && (!m.Provisional || closed(e, e.Size()))
	}
	if err := t.Freshen(e, &m); err != nil || !m.Listing {
		return false, err
	}
	at, ok := h.at.listed()
	if !ok {
		return true, nil // it lies aside, and its Meta says it
	}
	t.names.Lock()
	defer t.names.Unlock()
	st, err := t.root.Lstat(string(h.at))
	if err != nil || st.Ino != h.id.ino {
		return false, nil // replaced meanwhile: the next look is at that
	}
	if err := t.unnote(at.dir()); err != nil {
		return false, fmt.Errorf("recognise %s: %w", e.Key, because(err))
	}
	defer t.counted(at.dir())
	if err := t.root.Rename(string(h.at), string(at)); err != nil {
		return false, fmt.Errorf("recognise %s: %w", e.Key, because(err))
	}
	t.table.drop(e.Key)
	return true, nil
}

// sidecarOf is what the attribute of a sidecar says: which body it was made of, and against which URL.
func sidecarOf(m *Meta) []byte {
	return fmt.Appendf(nil, "zcache %d\nof %x %d %d\nbase %s\n", version, m.SHA256, m.Size, m.ModTime.UnixNano(), oneLine(m.Base))
}

// writeSidecar keeps the normalised listing beside the body at p. It is derived: without it the body is read again.
func (t *Tree) writeSidecar(p place, m *Meta, l *listing.Listing) {
	if p.base() != listingName || m.SHA256 == [32]byte{} {
		return
	}
	if err := t.trySidecar(p.dir(), m, l); err != nil {
		t.Logger.Warn("cannot keep a listing's sidecar", "place", string(p.dir()), "err", because(err))
	}
}

func (t *Tree) trySidecar(dir place, m *Meta, l *listing.Listing) error {
	temp := tempDir + "/" + durable.Random()
	f, err := t.root.Create(temp)
	if errors.Is(err, unix.ENOENT) {
		if err = t.root.MkdirAll(tempDir); err == nil {
			f, err = t.root.Create(temp)
		}
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = listing.WriteSidecar(f, l)
	if err == nil {
		err = durable.SetAttr(f, attribute, sidecarOf(m))
	}
	if err == nil {
		err = durable.SetTimes(f, m.Received, m.Received)
	}
	if err == nil && t.Full {
		err = f.Sync()
	}
	var st unix.Stat_t
	if err == nil {
		st, err = durable.Stat(f)
	}
	if err != nil {
		return errors.Join(err, t.root.Remove(temp))
	}
	t.names.Lock()
	defer t.names.Unlock()
	// Only beside the body that it was made of: that may have been purged or replaced since.
	if held, err := t.peek(dir + "/" + listingName); err != nil || held.meta.SHA256 != m.SHA256 {
		return t.root.Remove(temp)
	}
	to := string(dir + "/" + sidecarName)
	old, oerr := t.root.Lstat(to)
	if err := t.root.Rename(temp, to); err != nil {
		return errors.Join(err, t.root.Remove(temp))
	}
	if oerr == nil {
		t.usage.add(-onDisk(&old), 0)
	}
	t.usage.add(onDisk(&st), 0)
	return nil
}

// removeSidecar removes what was made of the listing at p. The names lock is held.
func (t *Tree) removeSidecar(p place) {
	at := string(p.dir() + "/" + sidecarName)
	st, err := t.root.Lstat(at)
	if err != nil || !regular(&st) {
		return
	}
	if err := t.root.Remove(at); err != nil {
		t.Logger.Warn("cannot remove", "place", at, "err", err)
		return
	}
	t.usage.add(-onDisk(&st), 0)
}

// lonely says that the sidecar at p has no listing beside it any more.
func (t *Tree) lonely(p place) bool {
	if p.base() != sidecarName {
		return false
	}
	_, err := t.root.Lstat(string(p.dir() + "/" + listingName))
	return durable.IsGone(err)
}

// Listing is described at Store.
func (t *Tree) Listing(e *Entry) (*listing.Listing, error) {
	h, ok := e.handle.(*handle)
	if !ok || !e.Meta.Listing {
		return nil, fmt.Errorf("list %s: %w", e.Key, listing.ErrNotListing)
	}
	return t.lists.get(listed{h.at, h.id}, func() (*listing.Listing, error) { return t.readListing(e, h) })
}

func (t *Tree) readListing(e *Entry, h *handle) (*listing.Listing, error) {
	if h.at.base() == listingName {
		l, err := t.sidecar(h.at.dir(), e.Meta, e.Adopted)
		if err == nil {
			return l, nil
		}
		if !absent(err) {
			t.Logger.Debug("sidecar is of no use", "key", e.Key.String(), "err", err)
		}
	}
	l, err := parseListing(e.Meta, io.NewSectionReader(e, 0, e.Size()))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", e.Key, err)
	}
	if !e.Adopted {
		t.writeSidecar(h.at, e.Meta, l)
	}
	return l, nil
}

// errOtherSidecar says that a sidecar was made of another body.
var errOtherSidecar = errors.New("sidecar of another body")

// sidecar reads the normalised listing in dir. Beside an adopted body, which came without its attribute, it is taken for that body's if it came without
// one too.
func (t *Tree) sidecar(dir place, m *Meta, adopted bool) (*listing.Listing, error) {
	f, err := t.root.Open(string(dir + "/" + sidecarName))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := durable.Stat(f)
	if err != nil {
		return nil, err
	}
	if !regular(&st) || st.Size > 4*listing.MaxSize {
		return nil, errNoEntry
	}
	var buf [4096]byte
	of, err := durable.Attr(f, attribute, buf[:])
	switch {
	case adopted && errors.Is(err, durable.ErrNoAttr):
	case err != nil:
		return nil, err
	case adopted || m.SHA256 == [32]byte{} || !bytes.Equal(of, sidecarOf(m)):
		return nil, errOtherSidecar
	}
	return listing.ReadSidecar(f)
}

// Names is described at Store.
func (t *Tree) Names(dir Key, yield func(name string, dir bool) bool) error {
	p, ok := plainPlace(dir)
	if !ok || !dir.IsDir() {
		return nil
	}
	err := t.root.ReadDir(string(p.dir()), func(name string, kind byte) bool {
		// A backslash may make a dot segment of what is none to us.
		if !plainName(name) || kind != durable.Regular && kind != durable.Folder || strings.IndexByte(name, '\\') >= 0 && dotted(encodeSegment(name)) {
			return true
		}
		return yield(name, kind == durable.Folder)
	})
	if err != nil && !absent(err) {
		return fmt.Errorf("list %s: %w", dir, because(err))
	}
	return nil
}

// Peek is described at Store.
func (t *Tree) Peek(key Key) (meta *Meta, adopted bool, err error) {
	h, err := t.peekMain(key)
	if err != nil {
		return nil, false, fmt.Errorf("peek %s: %w", key, because(err))
	}
	if h == nil {
		return nil, false, ErrNotStored
	}
	return h.meta, h.adopted, nil
}
