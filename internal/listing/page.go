package listing

import (
	"iter"
	"time"
)

// Orders and forms of a listing, as queries name them.
const (
	FormJSON  = "json"
	FormHTML  = "html"
	FormText  = "text"
	FormNginx = "nginx"

	SortName = "name"
	SortSize = "size"
	SortTime = "time"

	OrderUp   = "asc"
	OrderDown = "desc"
)

// A Query is what a URL's query asks of a listing. Its zero value asks for all of it by name, in the form that Accept decides.
type Query struct {
	Format string // FormJSON, FormHTML, FormText, FormNginx; "" leaves it to Accept
	Sort   string // SortName, SortSize, SortTime; "" is by name
	Order  string // OrderUp, OrderDown; "" is up
	Limit  int    // entries at most; 0 is all
	Offset int    // entries passed over
	Raw    bool   // the upstream's own page
}

// A Page is what a directory shows of itself: its rows and what is known of them together.
type Page struct {
	// Path is the directory's as the client asks for it, escaped, from the root of the host on: "/kernel/linux/".
	Path string
	// Mount is the part of Path that is the hub's own place: "/kernel/", or "/" for one at the root.
	Mount string
	Hub   string
	Query Query
	// Total counts the entries before Offset and Limit.
	Total int
	// Rows are the entries in the order asked for, after Offset and Limit. They can be gone through once.
	Rows iter.Seq[Row]
	// AsOf is when the upstream gave or confirmed the listing; zero when it was made here from what is held.
	AsOf time.Time
	// Mirrored is as of when a walk found all that is held at and below the directory to be what the upstream has; zero when none vouches for it now.
	Mirrored time.Time
	// Made says that the listing was made from what is held, because no listing of the upstream's is: entries may be missing.
	Made bool
	// Stale says that the listing is older than it should be and could not be asked for anew.
	Stale bool
	// Offline says that the upstream did not answer, or must not be asked.
	Offline bool
	// Local says that this instance owns the tree: there is no upstream that could know better.
	Local bool
	// HasRaw says that the upstream's own page is held.
	HasRaw bool
	// NoQuery says that a query of ours has no meaning at this URL: it is the target's own.
	NoQuery bool
	// Foreign says that the page is shown at another host's URL, to the client of a forward proxy: nothing of ours lies beside it.
	Foreign bool
	Now     time.Time
}
