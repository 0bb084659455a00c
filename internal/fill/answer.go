package fill

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// What a caller can act on.
var (
	// ErrUnreachable says that nothing is held and no upstream answered.
	ErrUnreachable = errors.New("upstream unreachable")
	// ErrNotConfirmed says that what is held may not be served without its origin's word, and no upstream gave it.
	ErrNotConfirmed = errors.New("held, but not to be served unconfirmed")
	// ErrOffline says that nothing is held and the upstream must not be asked.
	ErrOffline = errors.New("off line and not held")
	// ErrOnlyIfCached says that the request takes no answer but from the store, and there is none that does.
	ErrOnlyIfCached = errors.New("only-if-cached and not held fresh")
	// ErrWrongContent says that the origin's answer cannot be what was asked for, such as a web page in place of an archive.
	ErrWrongContent = errors.New("answer is not what the name promises")
	// ErrDigest says that a body has not the digest that somebody vouched for.
	ErrDigest = errors.New("digest does not agree")
	// ErrPurged says that a fill was given up because its entry was purged.
	ErrPurged = errors.New("purged")
	// ErrStopping says that a fill was suspended because the process stops.
	ErrStopping = errors.New("stopping")
	// errStorage says that the store took no more of a body: its readers fetch the rest for themselves.
	errStorage = errors.New("store took no more")
)

// An Answer is what a request gets. The caller writes Status and Header, then copies Body if it is not nil, and closes the Answer. A Body that ends
// in an error must never look whole to the client.
type Answer struct {
	Status  int
	Header  http.Header   // end-to-end fields; the caller may add to them
	Body    io.ReadCloser // may have the methods of durable.Section: SendTo, Await and SendPart, Bytes
	Length  int64         // of Body in bytes; -1 while unknown
	URL     string        // where the body came from; no userinfo
	Outcome Outcome
	// Live says that the body may still be growing or on its way, so what is there should be flushed to the client at once.
	Live bool

	entry  *cache.Entry
	meta   *cache.Meta // of entry, as it is now
	flight *flight     // that the body comes from, if it is still coming
	judged bool        // the request's Judge lets it out
}

// Entry is the stored response that the Answer is made of, and its Meta as it is now; nil when the body comes from elsewhere. It is the Answer's.
func (a *Answer) Entry() (*cache.Entry, *cache.Meta) { return a.entry, a.meta }

// Close releases the body.
func (a *Answer) Close() {
	if a.Body != nil {
		a.Body.Close()
	}
	if a.entry != nil {
		a.entry.Close()
	}
}

// section is what durable.Section offers.
type section interface {
	io.ReadCloser
	SendTo(*net.TCPConn) (int64, error)
	Await() (int64, error)
	SendPart(*net.TCPConn, int64) (int64, error)
}

// opener opens a stretch of a representation; end < 0 means to its end.
type opener func(off, end int64) section

// compose makes the Answer of a reply whose bytes open gives.
func compose(reply Reply, open opener) *Answer {
	a := &Answer{Status: reply.Status, Header: reply.Header, Length: 0}
	if !reply.Body {
		return a
	}
	switch {
	case len(reply.Ranges) == 1:
		r := reply.Ranges[0]
		a.Body, a.Length = open(r.Off, r.Off+r.N), r.N
	case len(reply.Ranges) > 1:
		a.multipart(reply, open)
	default:
		a.Body, a.Length = open(0, reply.Size), reply.Size
	}
	return a
}

// multipart makes the body a multipart/byteranges (RFC 9110 section 14.6), with its length known before a byte is read.
func (a *Answer) multipart(reply Reply, open opener) {
	boundary := newBoundary()
	kind := reply.Header.Get("Content-Type")
	var parts []io.Reader
	var closers []io.Closer
	a.Length = 0
	text := func(s string) {
		parts = append(parts, bytes.NewReader([]byte(s)))
		a.Length += int64(len(s))
	}
	for i, r := range reply.Ranges {
		head := "\r\n--" + boundary + "\r\n"
		if i == 0 {
			head = head[2:]
		}
		if kind != "" {
			head += "Content-Type: " + kind + "\r\n"
		}
		text(head + "Content-Range: " + contentRange(r, reply.Size) + "\r\n\r\n")
		s := open(r.Off, r.Off+r.N)
		parts, closers = append(parts, s), append(closers, s)
		a.Length += r.N
	}
	text("\r\n--" + boundary + "--\r\n")
	a.Header["Content-Type"] = []string{"multipart/byteranges; boundary=" + boundary}
	a.Header["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
	a.Body = &manyParts{io.MultiReader(parts...), closers}
}

type manyParts struct {
	io.Reader
	closers []io.Closer
}

func (m *manyParts) Close() error {
	for _, c := range m.closers {
		c.Close()
	}
	return nil
}

func newBoundary() string {
	var b [12]byte
	rand.Read(b[:])
	return "zcache-" + hex.EncodeToString(b[:])
}

// fromEntry answers from a held entry, which the Answer then owns. m is its Meta, or what a 304 made of it.
func (f *Filler) fromEntry(e *cache.Entry, m *cache.Meta, r *Request, v freshness.Verdict) *Answer {
	f.store.Touch(e)
	a := compose(Respond(m, r.Method, r.Header, v), func(off, end int64) section { return e.Section(off, end) })
	a.entry, a.meta, a.URL = e, m, m.URL
	a.Outcome.TTL = v.Lifetime - v.Age
	return a
}

// A follower reads a growing draft, and fetches the rest for itself should the store take no more.
type follower struct {
	ctx  context.Context
	f    *Filler
	fl   *flight
	req  *Request
	sec  section
	off  int64
	end  int64 // -1: to the end
	rest io.ReadCloser
}

func (b *follower) Read(p []byte) (int, error) {
	if b.rest != nil {
		return b.rest.Read(p)
	}
	n, err := b.sec.Read(p)
	b.off += int64(n)
	if err == nil || err == io.EOF || n > 0 {
		return n, errUnless(n > 0, err)
	}
	if err := b.carryOn(err); err != nil {
		return 0, err
	}
	return b.rest.Read(p)
}

// errUnless puts an error off until the next call, when bytes go before it.
func errUnless(bytes bool, err error) error {
	if bytes {
		return nil
	}
	return err
}

// SendTo hands the body to a connection without copying it through this process where it can.
func (b *follower) SendTo(dst *net.TCPConn) (int64, error) {
	var sent int64
	if b.rest == nil {
		n, err := b.sec.SendTo(dst)
		b.off += n
		sent = n
		if err == nil {
			return sent, nil
		}
		switch err := b.carryOn(err); {
		case err == io.EOF:
			return sent, nil
		case err != nil:
			return sent, err
		}
	}
	n, err := io.Copy(dst, b.rest)
	return sent + n, err
}

// restAtOnce is how much of the rest of a body, which is read as it comes, is sent at once.
const restAtOnce = 32 << 10

// Await waits until some of the body can be sent, and says how much that is.
func (b *follower) Await() (int64, error) {
	if b.rest == nil {
		n, err := b.sec.Await()
		if err == nil || err == io.EOF {
			return n, err
		}
		if err := b.carryOn(err); err != nil {
			return 0, err
		}
	}
	return restAtOnce, nil
}

// SendPart is SendTo for at most n bytes, which Await has said can be sent. io.EOF says that there are no more.
func (b *follower) SendPart(dst *net.TCPConn, n int64) (int64, error) {
	if b.rest != nil {
		return io.CopyN(dst, b.rest, n)
	}
	m, err := b.sec.SendPart(dst, n)
	b.off += m
	return m, err
}

// carryOn gets the rest of the body when the draft ended because of the store. Any other cause is returned, and io.EOF when nothing is
// missing.
func (b *follower) carryOn(cause error) error {
	if b.ctx.Err() != nil {
		return cause
	}
	var live chan io.ReadCloser
	if b.off == b.fl.draft.Len() && (b.end < 0 || b.end == b.fl.meta.Size) {
		live = b.fl.live
	}
	// Who cannot take the live rest does not wait for its taker: with none but such readers both would wait for ever.
	if live != nil || !errors.Is(cause, errStorage) {
		select {
		case rest := <-live:
			b.rest = rest
			return nil
		case <-b.fl.spent:
			cause = cmp.Or(b.fl.wrong, cause)
		case <-b.ctx.Done():
			return cause
		}
	}
	switch {
	case !errors.Is(cause, errStorage):
		return cause
	case b.off == b.end || b.off == b.fl.whole.Load():
		return io.EOF
	}
	rest, err := b.f.rest(b.ctx, b.req, b.fl.meta, b.off, b.end)
	if err != nil {
		return fmt.Errorf("carry on at %d: %w", b.off, err)
	}
	b.rest = rest
	return nil
}

func (b *follower) Close() error {
	b.fl.following.Add(-1)
	if b.rest != nil {
		b.rest.Close()
	}
	return b.sec.Close()
}
