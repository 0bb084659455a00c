package web

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// What of an entry is held, as entryView.Held words it beside the words of listing.State.
const (
	heldAdopted  = "adopted"  // a file that came into the tree by another way
	heldNegative = "negative" // the upstream's word that there is none
)

// entryView is the JSON of /-/entry. Nothing in it was asked of an upstream for its sake.
type entryView struct {
	URL        string          `json:"url"` // where clients ask for it, from the root of the host on or with a host of its own
	Hub        string          `json:"hub"`
	Key        string          `json:"key"`
	Kind       string          `json:"kind"`
	Held       string          `json:"held"`
	Status     int             `json:"status,omitempty"`
	Size       *int64          `json:"size"`
	SHA256     string          `json:"sha256,omitempty"`
	ModTime    *time.Time      `json:"mod_time"`
	Since      *time.Time      `json:"since,omitempty"`
	Received   *time.Time      `json:"received,omitempty"`
	From       string          `json:"from,omitempty"`
	Upstream   string          `json:"upstream,omitempty"`
	Validators *validatorsView `json:"validators,omitempty"`
	Freshness  *freshnessView  `json:"freshness,omitempty"`
	Filling    bool            `json:"filling"`
	Next       string          `json:"next"`
	Listing    *listingView    `json:"listing,omitempty"` // of a directory
	Listed     *listedView     `json:"listed,omitempty"`  // what the directory's listing says of it
	Mirrored   *mirroredView   `json:"mirrored,omitempty"`
	Fetch      fetchView       `json:"fetch"`
}

type validatorsView struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// freshnessView has Age and Lifetime in seconds.
type freshnessView struct {
	Fresh    bool      `json:"fresh"`
	Age      int64     `json:"age"`
	Lifetime int64     `json:"lifetime"`
	Expires  time.Time `json:"expires"`
	Rule     string    `json:"rule,omitempty"`
	MayStale bool      `json:"may_serve_stale"`
}

type listingView struct {
	Entries int       `json:"entries"`
	AsOf    time.Time `json:"as_of"`
}

type listedView struct {
	Size      *int64     `json:"size"`
	SizeExact bool       `json:"size_exact"`
	ModTime   *time.Time `json:"mod_time"`
	AsOf      time.Time  `json:"as_of"`
}

// entry answers with what is known of one entry, without a question to its upstream.
func (s *Server) entry(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Vary", "Accept")
	html := prefersHTML(r.Header["Accept"])
	v, err := s.look(r)
	var f *failure
	switch {
	case err == nil && html:
		return s.entryPage(w, v)
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		return s.encode(w, v)
	case html && errors.As(err, &f):
		return s.entryFailure(w, r, f)
	}
	return err
}

func (s *Server) look(r *http.Request) (*entryView, error) {
	raw := r.URL.Query().Get("url")
	if raw == "" {
		return nil, &failure{http.StatusBadRequest, "no_url", "entry wants ?url= with a path or URL"}
	}
	raw = asSent(raw)
	key, err := s.resolve(r, raw)
	switch {
	case errors.Is(err, cache.ErrBadKey):
		return nil, &failure{http.StatusBadRequest, "bad_path", err.Error()}
	case err != nil:
		return nil, err
	}
	if err := s.mayAsk(r, key); err != nil {
		return nil, err
	}
	own := s.keyFor(r, key)
	x, err := s.cfg.Filler.Explain(&fill.Request{Key: own, Method: http.MethodGet, Header: http.Header{}})
	if err != nil {
		return nil, err
	}
	path, base := s.clientURL(key, raw, r)
	v := &entryView{URL: path, Hub: key.Hub(), Key: key.String(), Kind: "file", Held: listing.Absent.String(), Filling: x.Flight, Next: x.Next, Mirrored: s.walked(key)}
	if key.IsDir() {
		v.Kind = "directory"
	}
	if x.Meta != nil {
		s.tellHeld(v, key, x)
	}
	s.tellListed(v, own)
	if s.observes(r) {
		v.Upstream = s.cfg.UpstreamURL(key)
		if x.Meta != nil {
			v.From = x.Meta.URL
		}
	}
	v.Fetch = fetchLines(base, key, v.SHA256)
	return v, nil
}

// asSent escapes what of a URL no client sends as it is: of a name that was typed in full the Key is that of the request that browsers make.
func asSent(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		if c := raw[i]; c > ' ' && c < 0x7f && strings.IndexByte("\"<>\\^`{|}", c) < 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// atHost makes a path that a page at a hub's own host names one at that host; of any other path Resolve makes what the hubs' mounts say.
func (s *Server) atHost(raw, asked string) string {
	name, _ := hostPort(asked)
	if !strings.HasPrefix(raw, "/") || strings.HasPrefix(raw, "//") {
		return raw
	}
	for _, h := range s.cfg.Hubs() {
		if h.at(name) {
			return "//" + name + raw
		}
	}
	return raw
}

// at says that name is one of the hosts that clients know the hub by.
func (h HubInfo) at(name string) bool {
	return slices.ContainsFunc(h.Hosts, func(own string) bool { return strings.EqualFold(own, name) })
}

// hostPort splits a Host field; port is "" where there is none.
func hostPort(host string) (name, port string) {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		return host, ""
	}
	return name, port
}

// tellHeld fills in what is known of a held entry. Of an adopted one that is what its file tells.
func (s *Server) tellHeld(v *entryView, key cache.Key, x fill.Explanation) {
	m, verdict := x.Meta, x.Plan.Verdict
	v.Status, v.Size = m.Status, &m.Size
	if m.Size < 0 {
		v.Size = nil
	}
	if !m.ModTime.IsZero() {
		t := second(m.ModTime)
		v.ModTime = &t
	}
	if x.Adopted {
		v.Held = heldAdopted
		return
	}
	v.Held = listing.Stale.String()
	switch {
	case m.Status >= http.StatusBadRequest:
		v.Held = heldNegative
	case verdict.Fresh:
		v.Held = listing.Fresh.String()
	}
	since, received := second(m.Stored), second(m.Received)
	v.Since, v.Received = &since, &received
	if m.SHA256 != [32]byte{} {
		v.SHA256 = hex.EncodeToString(m.SHA256[:])
	}
	if etag, modified := m.Header.Get("Etag"), m.Header.Get("Last-Modified"); etag != "" || modified != "" {
		v.Validators = &validatorsView{etag, modified}
	}
	v.Freshness = &freshnessView{
		Fresh: verdict.Fresh, Age: int64(verdict.Age / time.Second), Lifetime: int64(verdict.Lifetime / time.Second),
		Expires: second(verdict.Until(s.cfg.Now())), Rule: verdict.By,
		MayStale: verdict.OnError(s.cfg.Filler.Effective(key).Rule, false) && !x.Edited,
	}
}

// tellListed adds what kept listings say: of a directory its own, of a file the one of the directory that it lies in.
func (s *Server) tellListed(v *entryView, key cache.Key) {
	if s.cfg.Listing == nil {
		return
	}
	if key.IsDir() {
		if l, asOf, ok := s.cfg.Listing(key); ok {
			v.Listing = &listingView{len(l.Entries), second(asOf)}
		}
		return
	}
	l, asOf, ok := s.cfg.Listing(key.Parent())
	if !ok {
		return
	}
	i, found := slices.BinarySearchFunc(l.Entries, key.Name(), func(e listing.Entry, name string) int { return strings.Compare(e.Name, name) })
	if !found {
		return
	}
	e := l.Entries[i]
	if l.Complete != nil {
		l.Complete(&e)
	}
	v.Listed = &listedView{SizeExact: e.SizeExact, AsOf: second(asOf)}
	if e.Size >= 0 {
		v.Listed.Size = &e.Size
	}
	if !e.ModTime.IsZero() {
		t := second(e.ModTime)
		v.Listed.ModTime = &t
	}
}

// clientURL is where clients ask for key: its path, with a host in front where it is not the one that was asked, and the whole URL.
func (s *Server) clientURL(key cache.Key, raw string, r *http.Request) (path, whole string) {
	path = key.Path()
	if q, ok := key.Query(); ok {
		path += "?" + q
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	name, port := hostPort(r.Host)
	all := s.cfg.Hubs()
	i := slices.IndexFunc(all, func(h HubInfo) bool { return h.Name == key.Hub() })
	switch {
	case i < 0: // no hub of the configuration's: it is asked for as it was now
		path = raw
		if !strings.HasPrefix(raw, "/") {
			return raw, raw
		}
	case all[i].Path != "":
		path = strings.TrimSuffix(all[i].Path, "/") + path
	case all[i].at(name):
		return path, scheme + "://" + host + path
	case len(all[i].Hosts) > 0:
		host = all[i].Hosts[0]
		if port != "" {
			host = net.JoinHostPort(host, port)
		}
		return scheme + "://" + host + path, scheme + "://" + host + path
	}
	if u := s.cfg.Public; u != nil {
		scheme, host = u.Scheme, u.Host
	}
	return path, scheme + "://" + host + path
}
