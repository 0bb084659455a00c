package fill

import (
	"io"
	"net/http"
	"net/textproto"
	"strings"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// A Request is what a client asks of an entry, stripped of the way it asked.
type Request struct {
	Key    cache.Key
	Method string
	Header http.Header // the client's fields; they are not changed
	Body   io.Reader   // nil without one
	Length int64       // of Body in bytes; -1 unknown
	// Listing asks for the directory that Key names rather than for a body: of what is fetched and may be a listing, the whole is waited for,
	// and the Answer is of the entry as it was stored.
	Listing bool
	// PassRedirects gives the client every redirect as it is: none is followed for it, and none is kept, for other clients are better served by
	// what a redirect leads to.
	PassRedirects bool
	// Credential is the Authorization line that goes upstream in the name of who asks, whose partition Key is of; "" for none. Unlike one among the
	// fields it keeps nothing from being stored or shared: there is nobody else in the partition.
	Credential string
	// Judge, if not nil, decides about what would answer before a byte of it leaves, or a redirect to where it is. What it denies to all who ask for it
	// is not stored either.
	Judge Judge
	Magic bool   // Judge looks at the first bytes
	Mark  Marker // of trips; nil marks none
	// Interim, if not nil, is called for each 1xx response that the origin sends before its answer, on the goroutine that called Get.
	Interim func(status int, header http.Header)
}

// hopByHop are the fields that concern one connection only (RFC 9110 section 7.6.1, with those that older software sends).
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// misleading are request fields that speak of another URL, method or client than the request's own. An origin that heeds them would answer
// something else than the Key says, and everybody would get it. What is said to the rules of this instance is none of its business.
var misleading = []string{
	"Forwarded", "X-Original-Url", "X-Rewrite-Url", "X-Real-Ip", "X-Method-Override", "X-Zcache-Override",
}

var conditionals = []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"}

// endToEnd returns a copy of a message's fields without those of its connection.
func endToEnd(h http.Header) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				out.Del(name)
			}
		}
	}
	for _, name := range hopByHop {
		delete(out, name)
	}
	return out
}

// outgoing returns the fields that go upstream for a client's. whole says that the whole body is asked for, on behalf of all who may
// read it: the client's own conditions, range and codings then say nothing.
func outgoing(h http.Header, whole bool) http.Header {
	out := endToEnd(h)
	for name := range out {
		if strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Http-Method") {
			delete(out, name)
		}
	}
	for _, name := range misleading {
		delete(out, name)
	}
	delete(out, "Expect")
	if whole {
		for _, name := range conditionals {
			delete(out, name)
		}
		out["Accept-Encoding"] = []string{"identity"}
	}
	return out
}

// collapsible says that the request may share an answer that was fetched for another one. One that names the digest it wants may not: a wrong name
// would end the fill for everybody.
func (r *Request) collapsible(d freshness.Request) bool {
	_, pinned := clientPin(r.Header)
	return r.Method == http.MethodGet && r.Body == nil && !d.NoStore && !d.NoCache && !pinned &&
		len(r.Header["Authorization"]) == 0 && len(r.Header["Cookie"]) == 0
}

// authorize adds the credential that a trip is made with.
func authorize(h http.Header, credential string) {
	if credential != "" {
		h["Authorization"] = []string{credential}
	}
}

// policyFor is the policy of a request's Key as far as the request leaves it in force.
func (f *Filler) policyFor(r *Request) Policy {
	p := f.cfg.Policy(r.Key)
	if r.PassRedirects {
		p.Follow, p.pass = false, true
		if p.OnMiss == RedirectMiss {
			p.OnMiss = StreamMiss // it asked for the very URL that it would be sent to
		}
	}
	return p
}
