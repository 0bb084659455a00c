package proxy

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"iter"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/listing"
)

// forms are the media types of listings.
var forms = map[string]string{
	listing.FormJSON: "application/json", listing.FormNginx: "application/json",
	listing.FormHTML: "text/html; charset=utf-8", listing.FormText: "text/plain; charset=utf-8",
}

// list sends a directory. a is the origin's answer that it was read from; nil when there was none.
func (g *Gateway) list(w http.ResponseWriter, r *http.Request, x *exchange, d *directory, a *fill.Answer) error {
	g.ascend(d.hub, d.key)
	if d.listed = x.start; d.meta != nil {
		d.listed = d.meta.Received
	}
	if d.query.Raw && a != nil {
		return g.reply(w, r, x, d.place, a)
	}
	x.class = "directory"
	g.addOriginals(d)
	g.restrictTo(d, r, x)
	h := w.Header()
	if g.unchangedBelow(h, r, x, d) {
		return g.unmodified(w, r, x, d)
	}
	x.head = g.cfg.Now().Sub(x.start)
	held := g.held(d)
	if d.part {
		onlyListed(held, d.list)
	}
	order := g.arrange(d, held)
	tag := d.tag(a, held, g.cfg.Now())
	h["Vary"] = []string{strings.Join(slices.Concat([]string{"Accept", "Accept-Encoding"}, d.vary, d.askers), ", ")}
	if len(d.control) > 0 {
		h["Cache-Control"] = []string{strings.Join(d.control, ", ")}
	}
	if tag != "" {
		h["Etag"] = []string{tag}
	}
	// It has no Cache-Control and no Last-Modified, so that nobody reuses it without asking but a zcache behind this one, for its own --listing-ttl.
	h["X-Content-Type-Options"] = []string{"nosniff"}
	if d.meta != nil {
		h["Age"] = []string{strconv.FormatInt(int64(max(0, g.cfg.Now().Sub(d.meta.Received))/time.Second), 10)}
	}
	if tag != "" && unchanged(r.Header["If-None-Match"], tag) {
		return g.unmodified(w, r, x, d)
	}
	g.stamp(h, x)
	h["Content-Type"] = []string{forms[d.form]}
	if d.form == listing.FormHTML {
		h["Content-Security-Policy"] = []string{g.cfg.BrowsePolicy}
	}
	x.status, x.open = http.StatusOK, !r.ProtoAtLeast(1, 1)
	g.touch(r.Method, x.status, d.key)
	if r.Method == http.MethodHead {
		w.WriteHeader(x.status)
		return nil
	}
	err := g.stream(w, r, x, d, g.rows(d, held, order))
	if d.local && len(d.list.Entries) > listing.Large && g.sweeping.TryLock() {
		d.list = nil
		runtime.GC()
		g.sweeping.Unlock()
	}
	return err
}

// unmodified says that the client knows the directory.
func (g *Gateway) unmodified(w http.ResponseWriter, r *http.Request, x *exchange, d *directory) error {
	x.head = g.cfg.Now().Sub(x.start)
	x.status = http.StatusNotModified
	g.touch(r.Method, x.status, d.key)
	g.stamp(w.Header(), x)
	w.WriteHeader(x.status)
	return nil
}

// stream writes the rows in the form asked for.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, x *exchange, d *directory, rows iter.Seq[listing.Row]) (err error) {
	out := io.Writer(&counting{ResponseWriter: w, x: x})
	if wantsGzip(r.Header["Accept-Encoding"]) && len(d.list.Entries) > 20 {
		w.Header()["Content-Encoding"] = []string{"gzip"}
		z, _ := gzip.NewWriterLevel(out, gzip.BestSpeed) // the level is a valid one
		defer func() {
			if err == nil {
				err = z.Close()
			}
		}()
		out = z
	}
	switch d.form {
	case listing.FormJSON:
		err = listing.WriteJSON(out, rows)
	case listing.FormNginx:
		err = listing.WriteNginx(out, rows)
	case listing.FormText:
		err = listing.WriteText(out, rows)
	default:
		p := d.page(rows, g.cfg.Now())
		if asOf, ok := g.cfg.AsOf(d.key); ok {
			p.Mirrored = asOf
		}
		err = g.cfg.Browse(out, p)
	}
	return err
}

// page is what the browse page is told.
func (d *directory) page(rows iter.Seq[listing.Row], now time.Time) *listing.Page {
	p := &listing.Page{
		Path: d.shown(d.key), Mount: d.base + "/", Hub: d.hub.Name, Query: d.query, Total: len(d.list.Entries), Rows: rows,
		Made: d.made, Stale: d.stale, Offline: d.offline || d.made, Local: d.local || d.ours, HasRaw: d.meta != nil && !d.part, Now: now,
		NoQuery: d.asked != gatewayForm, Foreign: d.asked == proxyForm,
	}
	if site := d.key.Site(); site != "" {
		p.Hub = site
	}
	if d.meta != nil {
		p.AsOf = d.meta.Received
	}
	return p
}

// held are the names in a directory for which something is held, true for those that have something below them.
func (g *Gateway) held(d *directory) map[string]bool {
	if d.local || g.cfg.Listings == nil {
		return nil
	}
	names := map[string]bool{}
	err := g.cfg.Listings.Names(d.key, func(name string, dir bool) bool {
		names[name] = dir
		return true
	})
	if err != nil {
		g.log.Warn("cannot tell what is held", "key", d.key.String(), "error", err)
	}
	return names
}

// tag is a weak entity tag: of what is listed, of what is held of it, and of the minute, for what is fresh goes stale by itself. A large directory of
// this machine has none: it would take a look at every file before the first byte.
func (d *directory) tag(a *fill.Answer, held map[string]bool, now time.Time) string {
	h := sha256.New()
	switch {
	case d.part && d.local && d.list.Complete != nil:
		return ""
	case d.part:
		sum := listing.Digest(d.list)
		fmt.Fprintf(h, "%s\x00%s\x00", d.view, sum)
	case d.local:
		own := a.Header.Get("Etag")
		if own == "" {
			return ""
		}
		io.WriteString(h, own)
	case d.meta != nil && d.meta.SHA256 != [32]byte{}:
		h.Write(d.meta.SHA256[:])
	default:
		sum := listing.Digest(d.list)
		h.Write(sum[:])
	}
	fmt.Fprintf(h, "\x00%s\x00%s\x00%v%v", d.form, d.query.Encode(), d.offline, d.stale)
	if !d.part { // of what is not shown not even that it changed is
		h.Write(d.own)
	}
	if len(held) > 0 {
		fmt.Fprintf(h, "\x00%d", now.Unix()/60)
	}
	digestNames(h, held)
	return `W/"` + hex.EncodeToString(h.Sum(nil)[:12]) + `"`
}

// digestNames adds a set of names to h, in whatever order they come.
func digestNames(h hash.Hash, names map[string]bool) {
	var sum [4]uint64
	for name, dir := range names {
		s := sha256.Sum256([]byte(name + strconv.FormatBool(dir)))
		for i := range sum {
			sum[i] += binary.LittleEndian.Uint64(s[8*i:])
		}
	}
	binary.Write(h, binary.LittleEndian, sum) // a hash takes all
}

// arrange puts the entries in the order asked for. By size or time they have to be known before the first goes out.
func (g *Gateway) arrange(d *directory, held map[string]bool) []int32 {
	q := d.query
	q.Format = d.form
	if q.Sort == listing.SortSize || q.Sort == listing.SortTime {
		own := *d.list
		own.Entries = slices.Clone(own.Entries) // others look at the same ones
		d.list = &own
		for i := range d.list.Entries {
			row := g.row(d, held, &d.list.Entries[i])
			d.list.Entries[i] = row.Entry
		}
	}
	return listing.Arrange(d.list.Entries, q)
}

// rows gives what is listed with what is held of it, in order. Looked up as they are sent, a hundred thousand of them do not keep the first one
// waiting.
func (g *Gateway) rows(d *directory, held map[string]bool, order []int32) iter.Seq[listing.Row] {
	return func(yield func(listing.Row) bool) {
		for _, i := range order {
			e := &d.list.Entries[i]
			if !nameable(d.key, e.Name) {
				continue
			}
			if !yield(g.row(d, held, e)) {
				return
			}
		}
	}
}

func (g *Gateway) row(d *directory, held map[string]bool, e *listing.Entry) listing.Row {
	if d.list.Complete != nil {
		d.list.Complete(e)
	}
	row := listing.Row{Entry: *e, Cached: listing.Fresh}
	if d.local && row.Kind == listing.Other {
		row.Cached = listing.Absent // a pipe, or a link that leads nowhere
	}
	if !d.local {
		g.join(d, &row, held)
	}
	return row
}

// join puts into a row what is held of its name. The size and time of a held file are exact, whatever the listing shows, but only where it is known that the
// listing tells of that very file: a mirror behind this one would take a changed file for the one it has.
func (g *Gateway) join(d *directory, row *listing.Row, held map[string]bool) {
	if d.own != nil && g.joinOriginal(d, row) {
		return
	}
	row.Cached = listing.Absent
	below, here := held[row.Name]
	if !here {
		return
	}
	if row.Kind == listing.Dir || row.Kind == listing.Unknown && below {
		key, err := d.key.Child(row.Name, true)
		if err != nil {
			return
		}
		meta, adopted, err := g.cfg.Listings.Peek(key)
		switch {
		case err == nil && row.Kind == listing.Unknown && !meta.Listing:
		case err == nil:
			row.Kind = listing.Dir
			row.Cached = g.state(key, meta, adopted)
			return
		case row.Kind == listing.Dir && below:
			row.Cached = listing.Stale // something below is held
			return
		}
	}
	key, err := d.key.Child(row.Name, false)
	if err != nil {
		return
	}
	meta, adopted, err := g.cfg.Listings.Peek(key)
	if err != nil {
		return
	}
	row.Cached = g.state(key, meta, adopted)
	if adopted && !d.made {
		return
	}
	if row.Kind == listing.Unknown {
		row.Kind = listing.File
	}
	c := copyOf(meta)
	switch {
	case d.made || row.Confirms(c, d.listed):
		row.Size, row.SizeExact = c.Size, true
		if !c.ModTime.IsZero() {
			row.ModTime, row.Step, row.ZoneKnown = c.ModTime, time.Second, true
		}
	case row.Size < 0 && row.ModTime.IsZero():
		// Nothing is told of it: better to show what the held one was, as a figure that nobody should rely on, than nothing.
		row.Size, row.SizeExact, row.ModTime, row.Step, row.ZoneKnown = c.Size, false, c.ModTime, 0, !c.ModTime.IsZero()
	}
}

// copyOf is what is known of a held file. Its origin stood by it at the Date of its answer: our clock may be ahead of the one that Last-Modified is by.
func copyOf(m *cache.Meta) listing.Copy {
	c := listing.Copy{Size: m.Size, Asked: m.Asked, Vouched: m.Received, Row: m.Row}
	if t, err := http.ParseTime(m.LastModified()); err == nil {
		c.ModTime = t.UTC()
	}
	if t, err := http.ParseTime(m.Header.Get("Date")); err == nil && t.Before(c.Vouched) {
		c.Vouched = t
	}
	return c
}

func (g *Gateway) state(key cache.Key, m *cache.Meta, adopted bool) listing.State {
	if g.cfg.Filler.Fresh(key, m, adopted) {
		return listing.Fresh
	}
	return listing.Stale
}

// unchanged compares If-None-Match with our tag, weakly (RFC 9110 section 13.1.2).
func unchanged(lines []string, tag string) bool {
	for _, line := range lines {
		for t := range strings.SplitSeq(line, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// wantsGzip says that an Accept-Encoding field names gzip, or all codings, and does not refuse it.
func wantsGzip(lines []string) bool {
	wants := false
	for part := range strings.SplitSeq(strings.ToLower(strings.Join(lines, ",")), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
			q, _ = strconv.ParseFloat(v, 64)
		}
		switch strings.TrimSpace(name) {
		case "gzip", "x-gzip":
			return q > 0
		case "*":
			wants = q > 0
		}
	}
	return wants
}
