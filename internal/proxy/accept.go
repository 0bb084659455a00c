package proxy

import (
	"strings"

	"github.com/munnerz/goautoneg"

	"zcache/internal/fill"
	"zcache/internal/listing"
)

// formOf is the form of a listing that an Accept field (RFC 9110 section 12.5.1) asks for: JSON when that outranks HTML, plain text likewise, else
// HTML. It is false when the client would rather have what is no listing's form at all: then the answer is the origin's business.
func formOf(lines []string) (string, bool) {
	if len(lines) == 0 {
		return listing.FormHTML, true
	}
	// How much each form is wanted, and whether by name: at equal weight a name outranks a wildcard.
	type wish struct {
		q     float64
		named bool
	}
	var html, json, text, other wish
	put := func(w *wish, q float64, named bool) {
		if named && !w.named || named == w.named && q > w.q {
			*w = wish{q, named}
		}
	}
	for _, a := range goautoneg.ParseAccept(strings.ToLower(strings.Join(lines, ","))) {
		switch a.Type + "/" + a.SubType {
		case "text/html", "application/xhtml+xml":
			put(&html, a.Q, true)
		case "application/json", fill.ListingType:
			put(&json, a.Q, true)
		case "text/plain":
			put(&text, a.Q, true)
		case "text/*":
			put(&html, a.Q, false)
			put(&text, a.Q, false)
		case "application/*":
			put(&json, a.Q, false)
		case "*/*":
			put(&html, a.Q, false)
			put(&json, a.Q, false)
			put(&text, a.Q, false)
		default:
			put(&other, a.Q, true)
		}
	}
	outranks := func(a, b wish) bool { return a.q > b.q || a.q == b.q && a.named && !b.named }
	form, best := listing.FormHTML, html
	if outranks(json, best) {
		form, best = listing.FormJSON, json
	}
	if outranks(text, best) {
		form, best = listing.FormText, text
	}
	return form, !outranks(other, best)
}
