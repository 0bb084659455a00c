package freshness

import (
	"net/http"
	"time"
)

// Validation is what a hub revalidates with.
type Validation int

const (
	ValidateBoth         Validation = iota // If-None-Match and If-Modified-Since
	ValidateETag                           // If-None-Match alone
	ValidateLastModified                   // If-Modified-Since alone
	ValidateNever                          // neither: a stale entry is fetched anew
)

// Class is what an operator says of the URLs that match a pattern.
type Class int

const (
	ClassNone      Class = iota
	ClassImmutable       // never changes once published: no revalidation
	ClassIndex           // points at other files: revalidated on every use
	ClassBypass          // neither stored nor served from the store
)

// String is the class's word in the configuration; "" for none.
func (c Class) String() string { return [...]string{"", "immutable", "index", "bypass"}[c] }

// A Rule is a hub's policy for one URL. The zero Rule is plain RFC 9111 with no heuristics.
type Rule struct {
	TTL          time.Duration // lifetime where the origin gives none; 0 = none
	NegativeTTL  time.Duration // the same for 404 and 410
	ListingTTL   time.Duration // longest time that a listing is reused for; 0 = none
	HeuristicMax time.Duration // cap of the 10 % of age (RFC 9111 section 4.2.2); 0 = no heuristics
	Validation   Validation
	Class        Class
	StaleAlways  bool // a copy may be served stale on error whatever its origin said
	Offline      bool // the upstream is never asked: what is held is served
}

// understood are the final status codes whose caching rules this cache implements, for must-understand (RFC 9111 section
// 5.2.2.3).
var understood = map[int]bool{
	200: true, 203: true, 204: true, 300: true, 301: true, 302: true, 303: true, 307: true, 308: true,
	400: true, 401: true, 403: true, 404: true, 405: true, 410: true, 414: true, 416: true, 429: true,
	500: true, 501: true, 502: true, 503: true, 504: true,
}

// heuristic are the status codes that may be reused without explicit freshness (RFC 9110 section 15.1).
var heuristic = map[int]bool{
	200: true, 203: true, 204: true, 300: true, 301: true, 308: true, 404: true, 405: true, 410: true, 414: true, 501: true,
}

// Storable says whether the response to a GET may be kept in a shared cache (RFC 9111 sections 3 and 3.5), and if not, why not in
// a word or two. hasBody says that the request had a body; credentials that a hub adds itself are not among the request's.
func Storable(request http.Header, hasBody bool, status int, response http.Header, rule Rule) (bool, string) {
	d, replaced := ofResponse(response)
	explicit := d.maxAge != unset || d.sMaxAge != unset || d.public || (!replaced && len(response["Expires"]) > 0)
	switch {
	case rule.Class == ClassBypass:
		return false, "class bypass"
	case status < 200 || status == 206 || status == 304 || status == 416:
		return false, "status"
	case d.noStore && !(d.mustUnderstand && understood[status]):
		return false, "no-store"
	case d.mustUnderstand && !understood[status]:
		return false, "must-understand"
	case d.private:
		return false, "private"
	case VaryStar(response):
		return false, "Vary: *"
	case ParseRequest(request).NoStore:
		return false, "request no-store"
	case len(request["Authorization"]) > 0 && !(d.public || d.sMaxAge != unset || d.mustRevalidate):
		return false, "Authorization"
	case (hasBody || len(request["Cookie"]) > 0) && !(d.public || d.sMaxAge != unset):
		return false, "Cookie or body in the request"
	case len(response["Set-Cookie"]) > 0 && !explicit:
		return false, "Set-Cookie"
	case !explicit && !heuristic[status]:
		return false, "status without lifetime"
	}
	return true, ""
}
