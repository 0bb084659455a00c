package cache

import (
	"net/http"
	"time"
)

// Meta is what is kept of a stored response beside its body. It is immutable once stored: Freshen replaces it whole.
type Meta struct {
	Status   int
	Header   http.Header // the origin's end-to-end fields, byte for byte
	Asked    time.Time   // when the request went out that brought or last confirmed it
	Received time.Time   // when its response came (RFC 9111 section 4.2.3: response_time)
	Stored   time.Time   // when the body came; Freshen leaves it
	Size     int64       // of the body, in bytes; -1 while unknown
	SHA256   [32]byte
	URL      string    // where the body came from: the first URL of a redirect chain, no userinfo
	ModTime  time.Time // the mtime that the body was published with
	// Base is the URL that links in the body are relative to; "" when that is URL.
	Base string
	// Listing says of a stored response that its body is a listing of the directory that its Key names. Of a draft it says that it may be one:
	// Commit looks.
	Listing bool
	// Looked says with which eyes a directory's document was looked at and found to be no listing; 0 never.
	Looked int
	// Row is how the row of the directory's listing read when a walk last fetched or confirmed this entry; "" when none did. It means something to the
	// walker alone.
	Row string
	// Vary holds the request fields that selected this response: the names in its Vary field, canonical, with the values the
	// request had. Empty when the response does not vary.
	Vary http.Header
	// Limit caps the lifetime that the header gives, e.g. by a redirect that led here; negative means no limit.
	Limit time.Duration
	// Provisional says that the body ended by the connection's end alone, so that nothing vouches for its length.
	Provisional bool
	// Original says that a client put the body here and no origin has it: it is always fresh, nothing from upstream takes its place, and it goes by
	// command alone.
	Original bool
}

// An Entry is a stored response, opened: its Meta and its body. Adopted says that the body has no Meta of ours, or one that does not
// fit it: Meta then holds only what the file tells (Size, ModTime, Status 200).
type Entry struct {
	Key     Key
	Meta    *Meta
	Adopted bool
	// Edited says of an adopted body that it has a Meta of ours which tells another size: somebody cut it or wrote over it.
	Edited bool

	handle entryHandle
	closed bool
}
