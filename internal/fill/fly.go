package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// fly makes the trip: it asks the origin about what is held, or for what is not, and stores what comes.
func (f *Filler) fly(fl *flight) {
	entry, err := f.store.Open(fl.key, fl.header)
	if err != nil {
		entry = nil
	} else {
		defer entry.Close()
	}
	if entry != nil && entry.Adopted {
		if done := f.confirmAdopted(fl, entry); done {
			return
		}
		entry = nil // fetched anew; while that lasts the file stays as it is
	}
	var condition http.Header
	if entry != nil {
		condition = freshness.Condition(entry.Meta, fl.policy.Rule)
	}
	var left cache.Draft
	if entry == nil || condition == nil {
		if left = f.store.Resume(fl.key); left != nil && !resumable(left, fl.header) {
			left.Discard(nil)
			left = nil
		}
	}
	if left != nil {
		condition = continuation(left.Meta(), left.Len())
	}
	for {
		got, err := f.ask(fl, condition, entry != nil)
		if err != nil {
			if left != nil {
				left.Suspend(err)
			}
			f.fail(fl, 0, err)
			return
		}
		again := f.receive(fl, got, entry, left)
		if !again {
			return
		}
		// The origin's answer did not fit the question: a 304 for another representation, or a range that cannot be had. Ask plainly.
		if left != nil {
			left.Discard(nil)
		}
		condition, left = nil, nil
	}
}

// receive acts on the origin's answer. It returns true when the question has to be put again, without conditions.
func (f *Filler) receive(fl *flight, got *fetched, entry *cache.Entry, left cache.Draft) (again bool) {
	resp := got.resp
	fl.status = resp.StatusCode
	switch {
	case resp.StatusCode == http.StatusNotModified && entry != nil && left == nil:
		resp.Body.Close()
		m, ok := freshness.Freshen(entry.Meta, endToEnd(resp.Header), got.asked, got.received)
		if !ok {
			return true
		}
		m.Limit = got.limit
		f.confirm(fl, entry, m)
		return false
	case left != nil && resp.StatusCode == http.StatusPartialContent:
		if !continues(resp, left.Meta(), left.Len()) {
			resp.Body.Close()
			return true
		}
		m, ok := freshness.Freshen(left.Meta(), endToEnd(resp.Header), got.asked, got.received)
		if !ok {
			resp.Body.Close()
			return true
		}
		f.log.Info("resume", "action", "resume", "key", fl.key.String(), "at", left.Len())
		f.pour(fl, got, left, m)
		return false
	case left != nil && (resp.StatusCode == http.StatusRequestedRangeNotSatisfiable || resp.StatusCode == http.StatusPreconditionFailed):
		resp.Body.Close()
		return true
	case resp.StatusCode == http.StatusNotModified || (resp.StatusCode == http.StatusPartialContent && len(fl.header["Range"]) == 0):
		resp.Body.Close()
		f.fail(fl, 0, fmt.Errorf("get %s: %w: status %d was not asked for", got.url, ErrUnreachable, resp.StatusCode))
		return false
	case (resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests) && entry != nil:
		if freshness.Judge(entry.Meta, fl.policy.Rule, f.cfg.Now()).OnError(fl.policy.Rule, true) {
			resp.Body.Close()
			f.fail(fl, resp.StatusCode, fmt.Errorf("get %s: status %d", got.url, resp.StatusCode))
			return false
		}
		f.pass(fl, got, "error") // it must not take the place of the entry
		return false
	}
	if left != nil {
		left.Discard(nil) // another representation now
	}
	if resp.StatusCode == http.StatusGone {
		f.remove(fl.key)
	}
	f.keep(fl, got)
	return false
}

func (f *Filler) remove(key cache.Key) {
	if _, err := f.store.Remove(key, false); err != nil {
		f.log.Warn("remove gone entry", "key", key.String(), "error", err)
	}
}

// confirm freshens the entry and says so. An entry that cannot be freshened on disk is confirmed all the same.
func (f *Filler) confirm(fl *flight, entry *cache.Entry, m *cache.Meta) {
	if err := f.store.Freshen(entry, m); err != nil {
		f.log.Warn("freshen entry", "key", fl.key.String(), "error", err)
	}
	fl.meta, fl.held = m, entry.Meta
	f.decide(fl, confirmed)
}

func (f *Filler) fail(fl *flight, status int, err error) {
	fl.status, fl.err, fl.wrong = status, err, err
	f.decide(fl, failed)
}

// pass hands the answer to the one client that leads.
func (f *Filler) pass(fl *flight, got *fetched, why string) {
	fl.detail = strings.ToLower(strings.Map(token, why))
	f.decide(fl, passed)
	// The body is the client's now. It hangs on the flight's context, so the flight lasts until the client is done with it.
	lent := &lentBody{ReadCloser: got.resp.Body, returned: make(chan struct{})}
	got.resp.Body = lent
	fl.hand(got.resp)
	select {
	case <-lent.returned:
	case <-fl.ctx.Done():
	}
}

// lentBody tells when its reader is done with it.
type lentBody struct {
	io.ReadCloser
	once     sync.Once
	returned chan struct{}
}

func (b *lentBody) Close() error {
	defer b.once.Do(func() { close(b.returned) })
	return b.ReadCloser.Close()
}

func token(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
		return r
	}
	return '-'
}

// confirmAdopted asks the origin whether a file that was put here by other hands is what it has: the same length and the same time to
// the second. Its 304 would prove nothing, as we know of the file only what it says of itself.
func (f *Filler) confirmAdopted(fl *flight, entry *cache.Entry) (done bool) {
	got, err := f.fetch(fl.ctx, &fl.trip, http.MethodHead, nil)
	if err != nil {
		f.fail(fl, 0, err)
		return true
	}
	got.resp.Body.Close()
	fl.status = got.resp.StatusCode
	if got.resp.StatusCode >= 500 || got.resp.StatusCode == http.StatusTooManyRequests {
		f.fail(fl, got.resp.StatusCode, fmt.Errorf("head %s: status %d", got.url, got.resp.StatusCode))
		return true
	}
	h := endToEnd(got.resp.Header)
	modified, dated := freshness.ParseDate(h.Get("Last-Modified"))
	size, err := strconv.ParseInt(got.resp.Header.Get("Content-Length"), 10, 64)
	if got.resp.StatusCode != http.StatusOK || err != nil || size != entry.Meta.Size || !dated ||
		!modified.Equal(entry.Meta.ModTime.Truncate(time.Second)) || len(h["Content-Encoding"]) > 0 {
		return false
	}
	if ok, _ := freshness.Storable(fl.header, false, http.StatusOK, h, fl.policy.Rule); !ok {
		return false
	}
	m := f.metaOf(fl, got, h)
	m.Size, m.ModTime, m.Stored = entry.Meta.Size, entry.Meta.ModTime, entry.Meta.Stored
	f.confirm(fl, entry, m)
	return true
}

// metaOf is the Meta of an answer before its body.
func (f *Filler) metaOf(fl *flight, got *fetched, h http.Header) *cache.Meta {
	h.Del("Content-Length")
	if h.Get("Date") == "" {
		h.Set("Date", got.received.UTC().Format(http.TimeFormat))
	}
	return &cache.Meta{
		Status: got.resp.StatusCode, Header: h, Asked: got.asked, Received: got.received, Stored: got.received,
		Size: got.resp.ContentLength, URL: got.url, Vary: cache.Selecting(h, fl.header), Limit: got.limit,
		Provisional: unframed(got.resp),
	}
}

// unframed says that only the end of the connection will end the body (RFC 9112 section 6.3, last rule).
func unframed(resp *http.Response) bool {
	return resp.ContentLength < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0 && bodyAllowed(resp.StatusCode)
}

// fetched is an origin's answer and how it was had.
type fetched struct {
	resp            *http.Response
	asked, received time.Time
	url             string        // the first URL of the chain
	limit           time.Duration // smallest lifetime that a redirect on the way gave; negative = none did
}

// ask fetches with the retries that the policy grants. With a copy to fall back on there is one try: the client is better served by
// the copy than by waiting.
func (f *Filler) ask(fl *flight, condition http.Header, copied bool) (*fetched, error) {
	tries, pause := max(1, fl.policy.Tries), fl.policy.Backoff
	ctx := fl.ctx
	if copied {
		tries = 1
		ctx = f.cfg.Skip(ctx)
	}
	for try := 1; ; try++ {
		got, err := f.fetch(ctx, &fl.trip, http.MethodGet, condition)
		if err == nil || try >= tries || refused(err) || fl.ctx.Err() != nil {
			return got, err
		}
		f.log.Info("retry", "action", "retry", "key", fl.key.String(), "try", try, "error", err)
		if err := sleep(fl.ctx, spread(pause)); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

// refused says that policy forbids the request: asking again would not help.
func refused(err error) bool {
	var r interface{ Refused() bool }
	return errors.As(err, &r) && r.Refused()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxHops bounds a chain of redirects.
const maxHops = 10

// fetch makes one request upstream, following redirects that lead out of the hub where the hub says so.
func (f *Filler) fetch(ctx context.Context, t *trip, method string, extra http.Header) (*fetched, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			if code == http.StatusContinue || code == http.StatusSwitchingProtocols {
				return nil
			}
			select {
			case t.interims <- interim{code, endToEnd(http.Header(header))}:
			default: // nobody is obliged to listen
			}
			return nil
		},
	})
	header := outgoing(t.header, true)
	for name, values := range extra {
		header[name] = values
	}
	return f.chain(ctx, t, method, header)
}

// chain makes a request and those that its redirects lead to.
func (f *Filler) chain(ctx context.Context, t *trip, method string, header http.Header) (*fetched, error) {
	got := &fetched{limit: -1}
	req := (&http.Request{Method: method, URL: t.key.URL(), Header: header}).WithContext(ctx)
	for hop := 0; ; hop++ {
		got.asked = f.cfg.Now()
		resp, err := f.cfg.Origin.RoundTrip(req)
		if err != nil {
			if refused(err) || ctx.Err() != nil {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		got.received, got.resp = f.cfg.Now(), resp
		if hop == 0 && resp.Request != nil {
			got.url = bare(resp.Request.URL)
		}
		next := f.next(t, resp)
		if next == nil {
			return got, nil
		}
		resp.Body.Close()
		if hop == maxHops {
			return nil, fmt.Errorf("%w: get %s: more than %d redirects", ErrUnreachable, got.url, maxHops)
		}
		if lifetime, said := freshness.Lifetime(resp.Header, got.received); said && (got.limit < 0 || lifetime < got.limit) {
			got.limit = lifetime
		}
		header = header.Clone()
		for _, name := range []string{"Authorization", "Cookie", "Referer"} {
			header.Del(name) // what was meant for one host is not told to another
		}
		req = (&http.Request{Method: method, URL: next, Host: next.Host, Header: header}).WithContext(ctx)
	}
}
