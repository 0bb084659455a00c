package cache

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"zcache/internal/durable"
	"zcache/internal/listing"
)

// What a caller can act on.
var (
	// ErrNotStored says that no stored response answers the request.
	ErrNotStored = errors.New("not stored")
	// ErrBadKey says that a URL names nothing that could be stored or asked for: an escape that is none, a dot segment
	// in any coding, a path that is too long.
	ErrBadKey = errors.New("bad path")
	// ErrNoSpace says that the store takes no new bodies now: full, above its hard limit, or the body alone exceeds it.
	ErrNoSpace = errors.New("no space for the body")
	// ErrReadOnly says that the store cannot write at all.
	ErrReadOnly = errors.New("store is read-only")
	// ErrCutListing says that a listing ended early, and that the one which is held stays.
	ErrCutListing = errors.New("listing is cut off")
	// ErrNoListing says that a page is no listing, and that the one which is held stays beside it.
	ErrNoListing = errors.New("no listing, where one is held")
	// ErrTooNew says that the root was written by a newer version.
	ErrTooNew = errors.New("root was written by a newer version")
)

// A Store keeps stored responses by Key. Its methods may be called concurrently.
type Store interface {
	// Open returns the stored response of key that a request with these fields selects (Vary, RFC 9111 section 4.1), the
	// most recent one where several match, or ErrNotStored. A body without Meta, or one that was edited since, comes
	// as an adopted Entry. The caller closes the Entry.
	Open(key Key, request http.Header) (*Entry, error)
	// Peek returns the Meta of key's 200 response without opening its body, or ErrNotStored. It is for looking at many: nothing is held.
	Peek(key Key) (meta *Meta, adopted bool, err error)
	// Create starts the draft of a new stored response. meta.Size is the length that the origin announced, or -1; space for
	// it is reserved until the draft ends. ErrNoSpace and ErrReadOnly say that this response cannot be kept.
	Create(key Key, meta *Meta) (Draft, error)
	// Resume takes up the draft that an earlier fill of key left behind, or returns nil. Its Meta is what that fill's
	// response carried; its bytes are the first Len() of that representation.
	Resume(key Key) Draft
	// Freshen replaces the Meta of an entry that its origin has confirmed, in place (RFC 9111 section 4.3.4). An entry that was
	// replaced meanwhile is left alone.
	Freshen(entry *Entry, meta *Meta) error
	// Touch notes that the entry was used now. It never blocks on the disk.
	Touch(entry *Entry)
	// List calls yield for every stored response under key's directory (all of the hub when key is its root), in no
	// particular order, until yield returns false.
	List(ctx context.Context, under Key, yield func(Key, Info) bool) error
	// Recognise looks once more at the document of a directory that was stored by eyes which did not know it for a listing, and says whether it is
	// one; if so it is one from the next Open on.
	Recognise(entry *Entry) (bool, error)
	// Listing returns what an entry that is a listing tells, read from its sidecar or, without one, from its body. It is shared and must not be changed.
	Listing(entry *Entry) (*listing.Listing, error)
	// Names calls yield for the names that lie directly under key's directory, dir for those that have something below them, until yield
	// returns false. Names that stand for nothing that could be asked for are left out.
	Names(dir Key, yield func(name string, dir bool) bool) error
	// Remove removes all that is stored for key, its variants and drafts too, and with recursive all below it, but no local originals. It returns
	// the number of stored responses removed.
	Remove(key Key, recursive bool) (int, error)
}

// Info is what List tells of a stored response without opening it.
type Info struct {
	Size    int64
	ModTime time.Time
	Used    time.Time // last use, exact to an hour
	Status  int       // 0 when it would need opening
}

// A Draft is a stored response that is being written. One goroutine writes; Section may be called by any.
type Draft interface {
	// Write appends to the body. An error is the disk's: the draft can take no more, what is there may still be read.
	io.Writer
	// Meta is what Create or Resume was given or found. It must not be changed.
	Meta() *Meta
	// Len is the number of bytes written.
	Len() int64
	// Hold makes readers see at most n bytes until Commit; -1 lifts it.
	Hold(n int64)
	// Section reads [off, end) as it grows, waiting for what is not yet there; end < 0 means to the end of the body. Its reads end with
	// ctx, or with the error that the draft ended by.
	Section(ctx context.Context, off, end int64) *durable.Section
	// Sum is the SHA-256 of what was written so far, including what a resumed draft already held.
	Sum() ([32]byte, error)
	// Commit publishes body and meta by one rename; meta's Size and SHA256 are filled in from what was written. Readers see the end. The
	// returned Entry is the published one. With meta.Listing the body is looked at: what is no listing is published as an ordinary document;
	// one that is cut off does not replace a held listing (ErrCutListing), nor does, for a day, what is none (ErrNoListing).
	Commit(meta *Meta) (*Entry, error)
	// Discard removes the draft; readers get err.
	Discard(err error)
	// Suspend keeps the draft on disk for Resume; readers get err.
	Suspend(err error)
}
