package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
	"zcache/internal/listing"
)

// What a caller can act on.
var (
	// ErrNoSubtree says that a path lies in no subtree and under no hub that could be walked.
	ErrNoSubtree = errors.New("nothing to walk there")
	// ErrBusy says that a walk of the subtree is under way.
	ErrBusy = errors.New("a walk is under way")
	// ErrBudget says that the listings promise more bytes, or the walk takes more requests, than it may use.
	ErrBudget = errors.New("over budget")
	// ErrTurnedAway says that the upstream refuses so much that the walk was given up.
	ErrTurnedAway = errors.New("upstream turns the walk away")
	// ErrForgotten says that a purge ended the walk.
	ErrForgotten = errors.New("forgotten")
)

// A Subtree is a directory that is kept current with all below it.
type Subtree struct {
	Name string    // its path as clients see it: "/kernel/linux/kernel/v6.x", or "//host/path" of a hub that is bound to a host; "/" for a root
	Dir  cache.Key // the directory that it names: its path ends in a slash
	// Skip says of a path below Dir, unescaped and relative to it ("v6.x/old/"; a directory's ends in a slash), that the walk leaves it alone: it is
	// neither fetched nor removed. Nil skips nothing.
	Skip func(path string) bool
	// MaxFile is the size in bytes above which a file is left to clients; 0 = any size.
	MaxFile int64
	// MaxRequests bounds the upstream requests of one walk; 0 = no bound.
	MaxRequests int64
	// Upstream is where it comes from, without credentials, for those who ask how the walks are doing.
	Upstream string
}

// Config is what a Scheduler works with. Store, Refresher and Root are required.
type Config struct {
	Store     Store
	Refresher Refresher
	Root      *durable.Root // of the tree: the state file and what walks put aside are kept there
	Subtrees  []Subtree
	// Rules are those of a directory that lies in no subtree, for when a command has it walked; nil is for none.
	Rules func(dir cache.Key) Subtree
	// MinInterval is how long after a successful walk a touch starts no other, jittered by ±15 %; 0 = 1 h.
	MinInterval time.Duration
	Parallel    int           // requests of one walk at a time; 0 = 4
	Walks       int           // walks at a time; 0 = 4
	MaxPurge    float64       // share of the held files, 0 to 1, that a walk may remove without being confirmed; ten files it always may
	MaxBytes    int64         // that the listings of one walk may promise; 0 = what is held already and a tenth of the free space
	AskAll      bool          // ask about every file, whatever its listing says
	Slice       time.Duration // how long a walk goes on before it makes room for others; 0 = 30 min
	Free        func() (int64, error)
	Logger      *slog.Logger
	Registerer  Registerer
	Now         func() time.Time
}

// Store is what is asked of the store.
type Store interface {
	Open(key cache.Key, request http.Header) (*cache.Entry, error)
	Peek(key cache.Key) (meta *cache.Meta, adopted bool, err error)
	Listing(entry *cache.Entry) (*listing.Listing, error)
	Names(dir cache.Key, yield func(name string, dir bool) bool) error
	// Aside calls yield for the Keys without a query under a directory whose bodies lie at no plain place, so that Names does not tell them.
	Aside(ctx context.Context, under cache.Key, yield func(cache.Key) bool) error
	// Retire moves what is stored for a Key, with recursive all at and below it, to the trash, but for local originals.
	Retire(key cache.Key, recursive bool) (entries int, bytes int64, err error)
	// Changes is a number that differs from what it was before when anything stored at or below dir was published, replaced or removed since.
	Changes(dir cache.Key) uint64
	// Note keeps data with a directory until anything at or below it changes. It does nothing and returns false when something has since Changes
	// gave that number.
	Note(dir cache.Key, data []byte, since uint64) (bool, error)
	// Noted returns what Note kept; nil when there is nothing.
	Noted(dir cache.Key) ([]byte, error)
	// WithOriginals adds the local originals of a directory to what it lists. OriginalsDigest is the digest of a directory that has nothing else, and
	// OnlyOriginals says that it has nothing else.
	WithOriginals(dir cache.Key, l *listing.Listing) (*listing.Listing, []byte)
	OriginalsDigest(dir cache.Key) (sum [sha256.Size]byte, ok bool)
	OnlyOriginals(ctx context.Context, dir cache.Key) bool
}

// A Refresher makes what is held of a Key what its origin has now.
type Refresher interface {
	Refresh(ctx context.Context, a Ask) (Answer, error)
	// Listing returns the fields that select the stored listing of a directory.
	Listing() http.Header
}

// An Ask is one question to an upstream. Of a file it is conditional on what is held. Of a directory the listing is fetched whole: a 304 to it would
// say nothing of the files below.
type Ask struct {
	Key     cache.Key
	Subtree string // of a directory: the digest that Zcache-If-Subtree asks with; "" = none
	Size    int64  // of a file: what its listing says, in bytes, where that is exact; 0 elsewhere
	Row     string // of a file: noted in the entry's Meta once it is confirmed or fetched
}

// Outcome is what became of an Ask.
type Outcome int

const (
	Same      Outcome = iota // what is held stands; of a directory: so does all below it
	Stored                   // it was fetched and is held now
	Gone                     // 404 or 410
	Denied                   // 401, 403, 451, or another 4xx that asking again would not change
	Limited                  // 429, or 503 with Retry-After
	Elsewhere                // a redirect that is the client's to follow; Location tells where to
	Unkept                   // the origin has it, but it may not be kept
)

func (o Outcome) String() string {
	return [...]string{"same", "stored", "gone", "denied", "limited", "elsewhere", "unkept"}[o]
}

// An Answer is what an Ask got. An error instead says that the origin did not answer, or with what cannot be what was asked for (a listing that is cut
// off: cache.ErrCutListing; a page that is none: cache.ErrNoListing), or that the store takes no more (cache.ErrNoSpace).
type Answer struct {
	Outcome  Outcome
	Status   int           // of the origin's answer; 0 when it was not asked
	Bytes    int64         // of the body that was fetched
	After    time.Duration // Retry-After
	Location string        // as it came
	AsOf     time.Time     // of a directory: as of when its upstream vouches for all below it; zero when it does not
}
