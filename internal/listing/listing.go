package listing

import (
	"errors"
	"io/fs"
	"net/url"
	"time"
)

// What a caller can act on.
var (
	// ErrNotListing says that a body is no listing of the directory that its URL names.
	ErrNotListing = errors.New("not a listing")
	// ErrCut says that a listing ended before its end, or says of itself that it is not all.
	ErrCut = errors.New("listing is cut off")
	// ErrForbidden says that a server listed nothing because it may not.
	ErrForbidden = errors.New("listing is forbidden")
	// ErrTooLarge says that a listing has more than MaxSize bytes.
	ErrTooLarge = errors.New("listing is too large")
)

// MaxSize bounds the listings that are read, in bytes.
const MaxSize = 64 << 20

// Large is how many entries make a listing large: some ten MiB in memory, of which the process lets go at once, by runtime.GC, rather than when its
// heap has grown fourfold. For 100,000 entries that is 20 ms for 40 MiB.
const Large = 20_000

// Kind is what a name stands for.
type Kind uint8

const (
	Unknown Kind = iota // the listing does not tell
	File
	Dir
	Other // neither: a device, a pipe, a link that leads nowhere
)

// An Entry is one name in a directory and what the directory's server says of it.
type Entry struct {
	// Name is the file's name as bytes, neither escaped nor necessarily UTF-8. It is never empty, "." or "..", and holds neither slash
	// nor NUL.
	Name string
	// Target is a link's text where the listing shows it.
	Target string
	// ModTime is the time of the last change, in UTC; zero when unknown.
	ModTime time.Time
	// Size is in bytes; -1 when unknown. Of a directory it is always -1.
	Size int64
	// Step is what ModTime is exact to: a second, a minute, a day; less where fractions are shown; 0 when unknown. The true time t
	// is such that ModTime <= t < ModTime+Step, or within a Step of it where servers round.
	Step time.Duration
	// Mode has permission bits and fs.ModeDir, fs.ModeSymlink where the listing shows them; 0 when unknown.
	Mode fs.FileMode
	Kind Kind
	// Link says that the name is a symbolic link. Kind, Size and ModTime are its target's where the server follows links.
	Link bool
	// SizeExact says that Size counts every byte; otherwise it was shown rounded, as in "1.2M".
	SizeExact bool
	// ZoneKnown says that ModTime's time zone is certain; otherwise the server's own was taken for UTC.
	ZoneKnown bool
}

// A Listing is what a directory holds.
type Listing struct {
	// Entries are sorted by Name, each name once.
	Entries []Entry
	// Complete, where not nil, must be called with an Entry before its Size, ModTime, Step, Mode and SizeExact are read: the names are
	// known at once, the rest has to be looked up. It may be called again.
	Complete func(*Entry)
	// Next is where the listing goes on, relative to its own URL, for a server that gives it in pages; "" when this is all.
	Next string
}

// Bare says that the listing tells names and nothing else of them, though there are some. A JSON array of strings may be that, or anything.
func (l *Listing) Bare() bool {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Kind != Unknown || e.Size >= 0 || !e.ModTime.IsZero() {
			return false
		}
	}
	return len(l.Entries) > 0
}

// A Source says where a body came from.
type Source struct {
	// URL is the directory's, after redirects. Its path ends in a slash.
	URL *url.URL
	// ContentType is what the server called the body; "" when it did not say.
	ContentType string
	// Now is when the body was made: rows without a year are relative to it.
	Now time.Time
	// Zone is the server's time zone where its pages do not say; nil when that is not known.
	Zone *time.Location
}

// A State says what of an entry is held here.
type State uint8

const (
	Absent State = iota
	Stale        // held, but its origin would be asked before it is served
	Fresh
)

func (s State) String() string { return [...]string{"absent", "stale", "fresh"}[s] }

// A Row is an Entry as it is shown: with what is held of it.
type Row struct {
	Entry
	Cached State
}
