package freshness

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// fields makes a header of lines such as "Name: value".
func fields(lines ...string) http.Header {
	h := http.Header{}
	for _, l := range lines {
		name, value, ok := strings.Cut(l, ": ")
		if !ok {
			panic("no field: " + l)
		}
		h.Add(name, value)
	}
	return h
}

func TestStorable(t *testing.T) {
	for _, row := range []struct {
		claim    string
		request  http.Header
		body     bool
		status   int
		response http.Header
		rule     Rule
		want     bool
		why      string
	}{
		{claim: "a plain 200", status: 200, want: true},
		{claim: "the codes that are cacheable by default: 203", status: 203, want: true},
		{claim: "204", status: 204, want: true},
		{claim: "300", status: 300, want: true},
		{claim: "301", status: 301, want: true},
		{claim: "308", status: 308, want: true},
		{claim: "404", status: 404, want: true},
		{claim: "405", status: 405, want: true},
		{claim: "410", status: 410, want: true},
		{claim: "414", status: 414, want: true},
		{claim: "501", status: 501, want: true},
		{claim: "other codes only with a lifetime: 302", status: 302, why: "status without lifetime"},
		{claim: "307", status: 307, why: "status without lifetime"},
		{claim: "403", status: 403, why: "status without lifetime"},
		{claim: "500", status: 500, why: "status without lifetime"},
		{claim: "503", status: 503, why: "status without lifetime"},
		{claim: "a code that nobody knows", status: 299, why: "status without lifetime"},
		{claim: "302 with max-age", status: 302, response: fields("Cache-Control: max-age=1"), want: true},
		{claim: "302 with s-maxage", status: 302, response: fields("Cache-Control: s-maxage=1"), want: true},
		{claim: "302 with Expires", status: 302, response: fields("Expires: 0"), want: true},
		{claim: "302 with public", status: 302, response: fields("Cache-Control: public"), want: true},
		{claim: "a lifetime that is only cache policy of ours does not count", status: 302, rule: Rule{TTL: time.Hour}, why: "status without lifetime"},
		{claim: "Expires beside a targeted field does not count", status: 302, response: fields("Expires: 0", "CDN-Cache-Control: foo"), why: "status without lifetime"},
		{claim: "an unknown code with max-age", status: 299, response: fields("Cache-Control: max-age=1"), want: true},
		{claim: "an interim response never", status: 103, response: fields("Cache-Control: max-age=1"), why: "status"},
		{claim: "206 never", status: 206, response: fields("Cache-Control: max-age=1"), why: "status"},
		{claim: "304 never", status: 304, response: fields("Cache-Control: max-age=1"), why: "status"},
		{claim: "416 never: it answers a range that nobody else asked for", status: 416, response: fields("Cache-Control: max-age=1"), why: "status"},

		{claim: "no-store", status: 200, response: fields("Cache-Control: no-store, max-age=60, public"), why: "no-store"},
		{claim: "no-store on another line", status: 200, response: fields("Cache-Control: max-age=60", "Cache-Control: NO-STORE"), why: "no-store"},
		{claim: "private", status: 200, response: fields("Cache-Control: private, max-age=60"), why: "private"},
		{claim: "private wins over public", status: 200, response: fields("Cache-Control: public, private"), why: "private"},
		{claim: "private for one field is not stored at all", status: 200, response: fields(`Cache-Control: private="x"`), why: "private"},
		{claim: "no-cache is stored", status: 200, response: fields("Cache-Control: no-cache"), want: true},
		{claim: "max-age=0 is stored", status: 200, response: fields("Cache-Control: max-age=0"), want: true},
		{claim: "Pragma in a response says nothing", status: 200, response: fields("Pragma: no-cache"), want: true},
		{claim: "must-understand lifts no-store for a code that is understood", status: 200, response: fields("Cache-Control: no-store, must-understand, max-age=60"), want: true},
		{claim: "and not for another", status: 299, response: fields("Cache-Control: no-store, must-understand, max-age=60"), why: "no-store"},
		{claim: "must-understand forbids a code that is not understood", status: 299, response: fields("Cache-Control: must-understand, max-age=60"), why: "must-understand"},
		{claim: "must-understand does not lift private", status: 200, response: fields("Cache-Control: no-store, must-understand, private"), why: "private"},
		{claim: "Vary: *", status: 200, response: fields("Vary: *", "Cache-Control: max-age=60"), why: "Vary: *"},
		{claim: "Vary: * among names", status: 200, response: fields("Vary: Accept", "Vary: Accept-Encoding , * "), why: "Vary: *"},
		{claim: "Vary with names", status: 200, response: fields("Vary: Accept, *x"), want: true},

		{claim: "the targeted field decides: it allows", status: 200, response: fields("Cache-Control: no-store", "CDN-Cache-Control: max-age=60"), want: true},
		{claim: "it forbids", status: 200, response: fields("Cache-Control: max-age=60", "CDN-Cache-Control: no-store"), why: "no-store"},
		{claim: "it is private", status: 200, response: fields("Cache-Control: max-age=60", "CDN-Cache-Control: private"), why: "private"},
		{claim: "one that does not parse decides nothing", status: 200, response: fields("Cache-Control: no-store", "CDN-Cache-Control: max-age=60, &&"), why: "no-store"},
		{claim: "nor one with a lifetime of the wrong type", status: 200, response: fields("Cache-Control: no-store", `CDN-Cache-Control: max-age="60"`), why: "no-store"},
		{claim: "nor an empty one", status: 200, response: fields("Cache-Control: no-store", "CDN-Cache-Control: "), why: "no-store"},

		{claim: "the request's no-store", request: fields("Cache-Control: no-store"), status: 200, why: "request no-store"},
		{claim: "the request's no-cache forbids nothing", request: fields("Cache-Control: no-cache"), status: 200, want: true},
		{claim: "Authorization", request: fields("Authorization: Basic eDp5"), status: 200, response: fields("Cache-Control: max-age=60"), why: "Authorization"},
		{claim: "Authorization without value", request: http.Header{"Authorization": {""}}, status: 200, why: "Authorization"},
		{claim: "Authorization with public", request: fields("Authorization: x"), status: 200, response: fields("Cache-Control: public"), want: true},
		{claim: "Authorization with s-maxage", request: fields("Authorization: x"), status: 200, response: fields("Cache-Control: s-maxage=60"), want: true},
		{claim: "Authorization with must-revalidate", request: fields("Authorization: x"), status: 200, response: fields("Cache-Control: must-revalidate"), want: true},
		{claim: "Authorization with proxy-revalidate", request: fields("Authorization: x"), status: 200, response: fields("Cache-Control: proxy-revalidate, max-age=60"), why: "Authorization"},
		{claim: "Authorization, public and private", request: fields("Authorization: x"), status: 200, response: fields("Cache-Control: public, private"), why: "private"},
		{claim: "Cookie", request: fields("Cookie: a=b"), status: 200, response: fields("Cache-Control: max-age=60"), why: "Cookie or body in the request"},
		{claim: "Cookie with public", request: fields("Cookie: a=b"), status: 200, response: fields("Cache-Control: public"), want: true},
		{claim: "Cookie with s-maxage", request: fields("Cookie: a=b"), status: 200, response: fields("Cache-Control: s-maxage=1"), want: true},
		{claim: "Cookie with must-revalidate", request: fields("Cookie: a=b"), status: 200, response: fields("Cache-Control: must-revalidate, max-age=60"), why: "Cookie or body in the request"},
		{claim: "a request with a body", body: true, status: 200, response: fields("Cache-Control: max-age=60"), why: "Cookie or body in the request"},
		{claim: "a request with a body, and public", body: true, status: 200, response: fields("Cache-Control: public"), want: true},
		{claim: "Set-Cookie without a word on caching", status: 200, response: fields("Set-Cookie: a=b"), why: "Set-Cookie"},
		{claim: "Set-Cookie of an origin that means it", status: 200, response: fields("Set-Cookie: a=b", "Cache-Control: max-age=60"), want: true},

		{claim: "class bypass", status: 200, response: fields("Cache-Control: max-age=60"), rule: Rule{Class: ClassBypass}, why: "class bypass"},
		{claim: "class immutable does not lift no-store", status: 200, response: fields("Cache-Control: no-store"), rule: Rule{Class: ClassImmutable}, why: "no-store"},
		{claim: "class index stores", status: 200, rule: Rule{Class: ClassIndex}, want: true},
	} {
		got, why := Storable(row.request, row.body, row.status, row.response, row.rule)
		if got != row.want || why != row.why {
			t.Errorf("%s: Storable(%v, %v, %d, %v) = %v, %q; want %v, %q", row.claim, row.request, row.body, row.status, row.response, got, why, row.want, row.why)
		}
	}
}
