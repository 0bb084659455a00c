package origintest

import (
	"net/http"
	"time"
)

// An Option changes how a file is answered. Later options win over earlier ones.
type Option func(*answer)

// answer is how one request for a file is answered.
type answer struct {
	header       http.Header
	status       int
	location     string
	etag         *string // nil = made from the content
	modified     *time.Time
	noRange      bool
	noConditions bool

	held     []<-chan struct{} // waited for before the head of the response
	interim  []http.Header     // sent as 103 before it
	cutAfter int64             // body bytes after which the connection breaks; -1 = never
	stall    *stall
	length   *int64 // a Content-Length that is not the body's
	chunked  bool
	gzip     bool
	abort    bool
	raw      []byte

	first []staged
}

type stall struct {
	after   int64
	release <-chan struct{}
}

type staged struct {
	n    int
	opts []Option
}

// Header sets a response field.
func Header(name, value string) Option {
	return func(a *answer) { a.header.Set(name, value) }
}

// AddHeader adds a response field line.
func AddHeader(name, value string) Option {
	return func(a *answer) { a.header.Add(name, value) }
}

// ETag sets the entity tag, quotes included; "" sends none.
func ETag(tag string) Option { return func(a *answer) { a.etag = &tag } }

// LastModified sets the time of the last change; the zero time sends none.
func LastModified(t time.Time) Option { return func(a *answer) { a.modified = &t } }

// NoValidators sends neither ETag nor Last-Modified.
func NoValidators() Option {
	return func(a *answer) { ETag("")(a); LastModified(time.Time{})(a) }
}

// NoRange ignores Range and says so.
func NoRange() Option { return func(a *answer) { a.noRange = true } }

// NoConditions ignores If-None-Match and its kin.
func NoConditions() Option { return func(a *answer) { a.noConditions = true } }

// Status answers with code, the file being the body of the response where the code has one. Ranges and conditions are ignored.
func Status(code int) Option { return func(a *answer) { a.status = code } }

// Redirect answers with code and Location.
func Redirect(code int, location string) Option {
	return func(a *answer) { a.status, a.location = code, location }
}

// Hold keeps the whole response back until release is closed (or yields a value).
func Hold(release <-chan struct{}) Option {
	return func(a *answer) { a.held = append(a.held, release) }
}

// EarlyHints sends a 103 with these fields before the response.
func EarlyHints(h http.Header) Option {
	return func(a *answer) { a.interim = append(a.interim, h.Clone()) }
}

// CutAfter breaks the connection after n bytes of the body, however the response is framed.
func CutAfter(n int64) Option { return func(a *answer) { a.cutAfter = n } }

// Stall sends n bytes of the body, then nothing until release is closed, then the rest.
func Stall(n int64, release <-chan struct{}) Option {
	return func(a *answer) { a.stall = &stall{after: n, release: release} }
}

// ContentLength announces n whatever the body's length, sends the whole body and closes the connection.
func ContentLength(n int64) Option { return func(a *answer) { a.length = &n } }

// Chunked sends the body without a Content-Length. With CutAfter the last chunk never comes.
func Chunked() Option { return func(a *answer) { a.chunked = true } }

// Gzip sends the body compressed, with a Content-Encoding that nobody asked for.
func Gzip() Option { return func(a *answer) { a.gzip = true } }

// Abort closes the connection without a byte of a response.
func Abort() Option { return func(a *answer) { a.abort = true } }

// Raw writes these bytes to the connection as they are, instead of any response, and closes it.
func Raw(response string) Option { return func(a *answer) { a.raw = []byte(response) } }

// First applies opts to the first n requests for the file only. Several add up: First(1, …), First(3, …) gives the first request both.
func First(n int, opts ...Option) Option {
	return func(a *answer) { a.first = append(a.first, staged{n, opts}) }
}

// answerFor makes the answer to the nth request, counted from 1.
func answerFor(opts []Option, n int) *answer {
	a := &answer{header: http.Header{}, cutAfter: -1}
	for _, opt := range opts {
		opt(a)
	}
	for _, s := range a.first {
		if n > s.n {
			continue
		}
		for _, opt := range s.opts {
			opt(a)
		}
	}
	return a
}
