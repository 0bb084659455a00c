package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
	"zcache/internal/listing"
)

// MaxListing bounds the bodies that are looked at for a listing, in bytes.
const MaxListing = listing.MaxSize

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
	return listing.Parse(listing.Source{URL: u, ContentType: m.Header.Get("Content-Type"), Now: m.Received}, body)
}

// recognise says whether a finished draft is a listing, and what it lists.
func (t *Tree) recognise(key Key, m *Meta, f *os.File) (*listing.Listing, error) {
	maybe := m.Listing
	m.Listing = false
	if !maybe || m.Status != 200 || m.Size > listing.MaxSize || !key.IsDir() || key.hasQuery {
		return nil, nil
	}
	l, err := parseListing(m, io.NewSectionReader(f, 0, m.Size))
	if err == nil && l.Next != "" {
		err = fmt.Errorf("%w: more pages follow", listing.ErrCut)
	}
	if err == nil && l.Bare() && strings.Contains(m.Header.Get("Content-Type"), "json") {
		err = fmt.Errorf("%w: strings alone, as a program's answer may be", listing.ErrNotListing)
	}
	if err == nil {
		m.Listing, m.Provisional = true, false // its own end vouches for its length
		return l, nil
	}
	if errors.Is(err, listing.ErrCut) || errors.Is(err, listing.ErrForbidden) {
		if held, herr := t.peekMain(key); herr == nil && held != nil && held.meta.Listing {
			return nil, fmt.Errorf("%w: %w", ErrCutListing, err)
		}
	}
	t.Logger.Debug("no listing", "key", key.String(), "err", err)
	return nil, nil // to whoever asks for it, it is the page that it is
}

// sidecarOf is what the attribute of a sidecar says: which body it was made of.
func sidecarOf(m *Meta) []byte {
	return fmt.Appendf(nil, "zcache %d\nof %x\n", version, m.SHA256)
}

// writeSidecar keeps the normalised listing beside the body at p. It is derived: without it the body is read again.
func (t *Tree) writeSidecar(p place, m *Meta, l *listing.Listing) {
	if p.base() != listingName {
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
	if err != nil {
		return
	}
	if err := t.root.Remove(at); err != nil {
		t.Logger.Warn("cannot remove", "place", at, "err", err)
		return
	}
	t.usage.add(-onDisk(&st), 0)
}

// Listing is described at Store.
func (t *Tree) Listing(e *Entry) (*listing.Listing, error) {
	h, ok := e.handle.(*handle)
	if !ok || !e.Meta.Listing {
		return nil, fmt.Errorf("list %s: %w", e.Key, listing.ErrNotListing)
	}
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
	var buf [256]byte
	of, err := durable.Attr(f, attribute, buf[:])
	switch {
	case adopted && errors.Is(err, durable.ErrNoAttr):
	case err != nil:
		return nil, err
	case adopted || !bytes.Equal(of, sidecarOf(m)):
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
		if !plainName(name) || kind != durable.Regular && kind != durable.Folder {
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
