package proxy

import (
	"net/http"
	"slices"
	"strings"

	"zcache/internal/auth"
	"zcache/internal/listing"
)

// restrictTo takes out of a listing what its asker may not see, and says to caches on the way for whom it is. Another zcache's listing says nothing of that:
// it asks in the name of all its clients, and what it may not keep it could not show them.
func (g *Gateway) restrictTo(d *directory, r *http.Request, x *exchange) {
	d.part = x.unseen != nil
	between := byZcache(r.Header["Accept"])
	if x.client.Ruled() && !between && !slices.Contains(d.vary, "Authorization") {
		d.askers = []string{"Authorization"}
	}
	if !d.part {
		return
	}
	d.view = x.view.IDOf(x.at)
	if !between && !slices.Contains(d.control, "private") {
		d.control = append(slices.Clip(d.control), "private")
	}
	own := *d.list
	own.Entries = nil // others look at the same ones
	for i := range d.list.Entries {
		if e := &d.list.Entries[i]; sees(x.view, d.place, e) {
			own.Entries = append(own.Entries, *e)
		}
	}
	d.list = &own
}

// sees says that a row of a directory may be shown.
func sees(view auth.View, dir place, e *listing.Entry) bool {
	below := e.Kind == listing.Dir || e.Kind == listing.Unknown
	key, err := dir.key.Child(e.Name, below)
	return err == nil && view.Visible(dir.hub.at(key.Path()), below)
}

// onlyListed forgets what is held under names that a listing does not have: of what was taken out of it not even that it changed is to be seen.
func onlyListed(held map[string]bool, l *listing.Listing) {
	listed := make(map[string]bool, len(l.Entries))
	for i := range l.Entries {
		listed[l.Entries[i].Name] = true
	}
	for name := range held {
		if !listed[name] {
			delete(held, name)
		}
	}
}

// forAskersAlone says to caches on the way that an answer is for who asked, where not everybody may have it: public, a lifetime for shared caches and
// must-revalidate would let them give to anybody what an Authorization got (RFC 9111 section 3.5). Another zcache judges its own clients.
func (g *Gateway) forAskersAlone(h http.Header, r *http.Request, x *exchange, to place) {
	if !x.client.Known() || x.inside || fromZcache(r.Header) || g.cfg.Guard.View(auth.Client{}).Visible(to.at(), false) {
		return
	}
	h["Cache-Control"] = append(slices.Clip(h["Cache-Control"]), "private")
	for _, name := range []string{"Cdn-Cache-Control", "Surrogate-Control"} { // which count before it
		delete(h, name)
	}
}

// fromZcache says that a request came by another zcache.
func fromZcache(h http.Header) bool {
	for _, line := range h["Cdn-Loop"] {
		for m := range strings.SplitSeq(line, ",") {
			if name, _, _ := strings.Cut(strings.TrimSpace(m), ";"); strings.EqualFold(strings.TrimSpace(name), "zcache") {
				return true
			}
		}
	}
	return false
}
