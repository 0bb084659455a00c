package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// Listings is what a Gateway asks of the store about directories.
type Listings interface {
	Open(key cache.Key, request http.Header) (*cache.Entry, error)
	Peek(key cache.Key) (meta *cache.Meta, adopted bool, err error)
	Recognise(entry *cache.Entry) (bool, error)
	Listing(entry *cache.Entry) (*listing.Listing, error)
	Names(dir cache.Key, yield func(name string, dir bool) bool) error
	// Of local originals: IsOriginal says that one is known of a Key, HasOriginals that some are below a directory, OnlyOriginals that nothing else is
	// held there. WithOriginals adds those of a directory to what it lists, nil for nothing, with a digest of them, nil when there are none.
	// OriginalsDigest is the digest of a directory that has nothing else.
	IsOriginal(key cache.Key) bool
	HasOriginals(dir cache.Key) bool
	OnlyOriginals(ctx context.Context, dir cache.Key) bool
	WithOriginals(dir cache.Key, l *listing.Listing) (*listing.Listing, []byte)
	OriginalsDigest(dir cache.Key) (sum [sha256.Size]byte, ok bool)
}

// A wish is what a request wants of a directory.
type wish struct {
	query listing.Query
	form  string
	plain bool // no more than a form of ours is wanted
}

// wishOf says whether a request may be for a directory in a form of ours, and for which.
func wishOf(r *http.Request, x *exchange, to place) (w wish, ok bool) {
	if !to.hub.Listings || !to.key.IsDir() || r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength != 0 {
		return w, false
	}
	if to.asked == proxyForm && !to.ftp {
		return w, false // a proxy's client gets what the origin has
	}
	if raw, has := to.key.Query(); has {
		if to.asked != gatewayForm {
			return w, false // it is the URL's own
		}
		if w.query, ok = listing.ParseQuery(raw); !ok {
			return w, false
		}
	}
	if w.form = w.query.Format; w.form != "" || w.query.Raw {
		w.plain = true
		return w, true
	}
	w.form, w.plain = formOf(r.Header["Accept"])
	w.plain = w.plain || to.ftp || len(x.subtree) > 0
	return w, true
}

// A directory is a listing that is about to be sent.
type directory struct {
	wish
	place
	list    *listing.Listing
	meta    *cache.Meta // of the entry that it was read from; nil without one
	listed  time.Time   // when it was listed, or confirmed
	made    bool        // here, from what is held
	local   bool        // this instance owns the tree
	ours    bool        // its upstream has no such directory: there is what clients put here
	own     []byte      // a digest of the local originals in it; nil without any
	offline bool
	stale   bool
	part    bool     // list is without what its asker may not see
	view    string   // the id of what its asker sees of it, when that is a part
	askers  []string // what our answer varies by because it is for who asked
	control []string // what of the origin's Cache-Control holds for our form too
	vary    []string // what its answer varies by beside the form
}

// directory answers a request for a directory with its listing. It returns false, having done nothing, when the request is for something else: the
// URL is no listing, and its query and fields are between the client and the origin.
func (g *Gateway) directory(w http.ResponseWriter, r *http.Request, x *exchange, to place) (done bool, err error) {
	want, ok := wishOf(r, x, to)
	if !ok {
		return false, nil
	}
	if want.query.Raw && x.unseen != nil {
		return true, x.unseen
	}
	d := &directory{wish: want, place: to}
	d.key = d.key.WithoutQuery()
	ask := fill.ForListing(r.Header)
	if !d.plain && !g.isListing(d.key, ask) {
		// Some type of the origin's own is wanted, as registries have them: it is asked for that, unless there is known to be a listing.
		ask = r.Header.Clone()
	}
	if !to.hub.Local && (g.document(d.key, ask) || g.document(d.key, r.Header)) {
		return false, nil
	}
	req := g.equip(x, g.request(w, r, d.place))
	req.Header, req.Listing = ask, true
	a, err := g.cfg.Filler.Get(r.Context(), req)
	if err != nil {
		if g.heldListing(d, r.Header, err) {
			x.outcome = fill.Outcome{Cache: fill.Offline, Hit: true, Detail: "made"}
			if d.meta != nil {
				x.outcome.Detail = "offline"
			}
			return true, g.list(w, r, x, d, nil)
		}
		return true, err
	}
	defer a.Close()
	if err := g.readListing(d, a); err != nil {
		g.log.Debug("no listing", "key", d.key.String(), "error", err)
		if g.ownListing(d, a.Status) {
			x.outcome = fill.Outcome{Cache: fill.Hit, Hit: true, Detail: "original"}
			return true, g.list(w, r, x, d, nil)
		}
		if x.unseen != nil {
			return true, x.unseen // it may be a listing that was not recognised as one
		}
		_, queried := to.key.Query()
		if queried || !sameFor(r.Header, ask, a) {
			return false, nil
		}
		return true, g.reply(w, r, x, d.place, a)
	}
	x.outcome, x.url = a.Outcome, a.URL
	return true, g.list(w, r, x, d, a)
}

// isListing says that the listing of a directory is held.
func (g *Gateway) isListing(key cache.Key, h http.Header) bool {
	if g.cfg.Listings == nil {
		return false
	}
	e, err := g.cfg.Listings.Open(key, h)
	if err != nil {
		return false
	}
	defer e.Close()
	return e.Meta.Listing
}

// document says that what is held of a directory's URL is known to be no listing.
func (g *Gateway) document(key cache.Key, h http.Header) bool {
	if g.cfg.Listings == nil {
		return false
	}
	e, err := g.cfg.Listings.Open(key, h)
	if err != nil {
		return false
	}
	defer e.Close()
	if e.Meta.Status != http.StatusOK || e.Meta.Listing || e.Adopted {
		return false
	}
	is, err := g.cfg.Listings.Recognise(e)
	if err != nil {
		g.log.Warn("cannot keep a listing as one", "key", key.String(), "error", err)
	}
	return !is
}

// sameFor says that the origin's answer, which was asked for with other fields, is the one that the client's own would have got.
func sameFor(client, asked http.Header, a *fill.Answer) bool {
	if e, _ := a.Entry(); e != nil {
		for _, name := range []string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
			if len(client[name]) > 0 {
				return false // it is held now: they are answered from there
			}
		}
	}
	for _, line := range a.Header["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name == "*" || name != "Accept-Encoding" && !slices.Equal(client[name], asked[name]) {
				return false
			}
		}
	}
	return true
}

// errNoListing says that an answer is none.
var errNoListing = errors.New("not a listing")

// readListing takes what an answer lists: a stored listing, a directory of this machine, or an answer that could not be stored, which is read here.
func (g *Gateway) readListing(d *directory, a *fill.Answer) (err error) {
	if local, ok := a.Body.(interface{ Listing() *listing.Listing }); ok {
		d.local, d.list = d.hub.Local, local.Listing()
		if !d.local { // an FTP server's, on its way past the store
			d.restrict(a.Header, false)
		}
		return nil
	}
	if e, m := a.Entry(); e != nil {
		if !m.Listing || m.Status != http.StatusOK {
			return errNoListing
		}
		d.meta = m
		d.offline = a.Outcome.Cache == fill.Offline || a.Outcome.Cache == fill.Stale || g.cfg.Filler.Effective(e.Key).Offline
		d.stale = a.Outcome.Cache == fill.Offline || a.Outcome.Cache == fill.Stale
		d.restrict(m.Header, true)
		d.list, err = g.cfg.Listings.Listing(e)
		return err
	}
	if a.Status != http.StatusOK || a.Body == nil || a.Length > listing.MaxSize || d.query.Raw {
		return errNoListing
	}
	switch kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";"); strings.ToLower(strings.TrimSpace(kind)) {
	case "text/html", "application/json", "application/xml", "text/xml":
	default:
		return errNoListing
	}
	return g.parseAnswer(d, a)
}

// mostUnstored bounds the listings that are read although they cannot be stored: each client has one of its own.
const mostUnstored = 8 << 20

// restrict takes over what the origin forbids caches to do with its listing, for ours is made of it: what it keeps from being reused unasked, and
// whom it gave it to. How long it may be reused says --listing-ttl.
func (d *directory) restrict(h http.Header, stored bool) {
	if !stored {
		d.control = []string{"private", "no-store"}
		return
	}
	for _, line := range h["Cache-Control"] {
		for part := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
			switch name {
			case "no-cache", "must-revalidate", "proxy-revalidate", "private", "no-store":
				d.control = append(d.control, name)
			}
		}
	}
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); fill.Personal(name) {
				d.vary = append(d.vary, name)
			}
		}
	}
}

// parseAnswer reads a body on its way through. What it has read goes back in front of the rest when that is no listing.
func (g *Gateway) parseAnswer(d *directory, a *fill.Answer) error {
	u, err := url.Parse(a.URL)
	if err != nil {
		return err
	}
	var rest io.Reader = a.Body
	seen, err := io.ReadAll(io.LimitReader(a.Body, mostUnstored+1))
	switch {
	case err != nil:
		rest = failing{err}
	case len(seen) <= mostUnstored:
		l, err := listing.Parse(listing.Source{URL: u, ContentType: a.Header.Get("Content-Type"), Now: g.cfg.Now()}, bytes.NewReader(seen))
		if err == nil && l.Next == "" && !l.Bare() {
			d.list = l
			d.restrict(a.Header, false)
			return nil
		}
	}
	a.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(seen), rest), a.Body}
	return errNoListing
}

// failing is the end of a body that broke off.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// heldListing finds another way to show a directory that could not be asked for: a listing that came with another Accept, or what is held below it.
func (g *Gateway) heldListing(d *directory, h http.Header, cause error) bool {
	if g.cfg.Listings == nil || d.query.Raw || !errors.Is(cause, fill.ErrUnreachable) && !errors.Is(cause, fill.ErrOffline) || errors.Is(cause, fill.ErrNotConfirmed) {
		return false
	}
	d.offline, d.stale = true, true
	if done, ok := g.openHeld(d, h); done {
		return ok
	}
	d.made = true
	l, err := g.make(d.key)
	if err != nil {
		g.log.Warn("cannot list what is held", "key", d.key.String(), "error", err)
	}
	d.list = l
	return l != nil || g.ownListing(d, 0)
}

// openHeld shows the listing that is held, whoever it came for. It is done when there is one that can be read, and then says whether it may be shown.
func (g *Gateway) openHeld(d *directory, h http.Header) (done, ok bool) {
	selects := h
	if m, _, err := g.cfg.Listings.Peek(d.key); err == nil && m.Listing && len(m.Vary) > 0 {
		selects = m.Vary.Clone()
		for name := range selects {
			if fill.Personal(name) {
				selects[name] = h[name]
			}
		}
	}
	e, err := g.cfg.Listings.Open(d.key, selects)
	if err != nil {
		return false, false
	}
	defer e.Close()
	if !e.Meta.Listing || e.Meta.Status != http.StatusOK || e.Edited {
		return false, false
	}
	l, err := g.cfg.Listings.Listing(e)
	if err != nil {
		return false, false
	}
	if !g.cfg.Filler.MayStandIn(e) {
		return true, false
	}
	d.meta, d.list = e.Meta, l
	d.restrict(e.Meta.Header, true)
	return true, true
}

// make lists what is held in a directory, or returns nil when that is nothing.
func (g *Gateway) make(dir cache.Key) (*listing.Listing, error) {
	l := &listing.Listing{}
	err := g.cfg.Listings.Names(dir, func(name string, below bool) bool {
		e := listing.Entry{Name: name, Kind: listing.File, Size: -1}
		if below {
			if e.Kind = g.folder(dir, name); e.Kind == listing.Unknown {
				return true
			}
		}
		l.Entries = append(l.Entries, e)
		return true
	})
	if len(l.Entries) == 0 {
		return nil, err
	}
	slices.SortFunc(l.Entries, func(a, b listing.Entry) int { return strings.Compare(a.Name, b.Name) })
	return l, err
}

// folder says what a folder on disk stands for: a directory, a document whose children are gone, or nothing.
func (g *Gateway) folder(dir cache.Key, name string) listing.Kind {
	sub, err := dir.Child(name, true)
	if err != nil {
		return listing.Unknown
	}
	any := false
	if err := g.cfg.Listings.Names(sub, func(string, bool) bool { any = true; return false }); err != nil || any {
		return listing.Dir
	}
	if _, _, err := g.cfg.Listings.Peek(sub); err == nil {
		return listing.Dir
	}
	file, err := dir.Child(name, false)
	if err == nil {
		_, _, err = g.cfg.Listings.Peek(file)
	}
	if err != nil {
		return listing.Unknown
	}
	return listing.File
}
