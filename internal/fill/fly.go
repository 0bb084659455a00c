package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// held is what a flight has to build on.
type held struct {
	entry       *cache.Entry // nil without one
	left        cache.Draft  // of an earlier fill, whose rest is asked for; nil without one
	conditional bool         // the origin was asked whether entry stands
}

// fly makes the trip: it asks the origin about what is held, or for what is not, and stores what comes.
func (f *Filler) fly(fl *flight) {
	entry, err := f.store.Open(fl.key, fl.header)
	if err != nil {
		entry = nil
	} else {
		defer entry.Close()
		if !entry.Adopted && entry.Meta.Status == http.StatusOK {
			fl.before = entry.Meta
		}
	}
	switch {
	case entry == nil:
	case entry.Meta.Original: // a walk, or somebody who looked before it was put
		fl.meta, fl.held = entry.Meta, entry.Meta
		f.decide(fl, confirmed)
		return
	case fl.errand == nil && f.arrived(fl, entry):
		fl.meta, fl.held = entry.Meta, entry.Meta
		f.decide(fl, confirmed)
		return
	case entry.Adopted && !unproven(fl.header, entry) && (fl.errand == nil || !fl.errand.listing):
		if done := f.confirmAdopted(fl, entry); done {
			return
		}
	}
	h, condition := f.question(fl, entry)
	var useless error // why an upstream's answer could not be used
	for {
		got, err := f.ask(fl, condition, entry != nil)
		if err != nil {
			if h.left != nil {
				h.left.Suspend(err)
			}
			if useless != nil {
				err = useless
			}
			f.fail(fl, 0, err)
			return
		}
		again, err := f.receive(fl, got, h)
		if !again {
			return
		}
		if err != nil { // another upstream may have the file
			if slices.Contains(fl.avoid, got.url) {
				f.fail(fl, 0, err)
				return
			}
			useless = err
			fl.avoid = append(fl.avoid, got.url)
		}
		// The origin's answer did not fit the question: a 304 for another representation, or a range that cannot be had. Ask plainly.
		condition, h = nil, held{entry: entry}
	}
}

// arrived says that a fresh entry came between the moment that the request looked and the one that it started this flight.
func (f *Filler) arrived(fl *flight, entry *cache.Entry) bool {
	return fl.shared && !entry.Adopted && entry.Meta.Received.After(fl.after) &&
		judge(entry.Meta, false, fl.policy.Rule, f.cfg.Now()).Fresh
}

// resume takes up what an earlier fill left behind, unless the request is one whose answer others may not have.
func (f *Filler) resume(fl *flight) cache.Draft {
	r := Request{Method: http.MethodGet, Header: fl.header}
	if !r.collapsible(freshness.ParseRequest(fl.header)) {
		return nil
	}
	left := f.store.Resume(fl.key)
	if left != nil && !resumable(left, fl.header) {
		left.Discard(nil)
		left = nil
	}
	return left
}

// receive acts on the origin's answer. It returns true when the question has to be put again, without conditions, and an error when not to the
// same upstream.
func (f *Filler) receive(fl *flight, got *fetched, h held) (again bool, err error) {
	resp := got.resp
	fl.status, fl.said = resp.StatusCode, resp.Header
	switch {
	case h.left != nil:
		return f.receiveRest(fl, got, h)
	case resp.StatusCode == http.StatusNotModified && h.conditional:
		resp.Body.Close()
		m, ok := freshness.Freshen(h.entry.Meta, endToEnd(resp.Header), got.asked, got.received)
		if !ok {
			return true, nil
		}
		m.Limit = got.limit
		f.confirm(fl, h.entry, m)
		return false, nil
	case resp.StatusCode == http.StatusNotModified && fl.errand != nil && fl.errand.digest != "":
		f.unchanged(fl, got, h.entry)
		return false, nil
	case resp.StatusCode == http.StatusNotModified || (resp.StatusCode == http.StatusPartialContent && len(fl.header["Range"]) == 0):
		resp.Body.Close()
		f.fail(fl, 0, fmt.Errorf("get %s: %w: status %d was not asked for", got.url, ErrUnreachable, resp.StatusCode))
		return false, nil
	case (resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests) && h.entry != nil:
		if mayStandIn(fl.header, h.entry) && judge(h.entry.Meta, h.entry.Adopted, fl.policy.Rule, f.cfg.Now()).OnError(fl.policy.Rule, true) {
			resp.Body.Close()
			f.fail(fl, resp.StatusCode, fmt.Errorf("get %s: status %d", got.url, resp.StatusCode))
			return false, nil
		}
		f.pass(fl, got, "error") // it must not take the place of the entry
		return false, nil
	}
	if resp.StatusCode == http.StatusGone && fl.errand == nil { // a walk has its own way with what is gone
		f.remove(fl.key)
	}
	err = f.keep(fl, got)
	return err != nil, err
}

// receiveRest acts on the origin's answer to a request for the rest of a draft that was left behind.
func (f *Filler) receiveRest(fl *flight, got *fetched, h held) (again bool, err error) {
	left := h.left
	switch status := got.resp.StatusCode; status {
	case http.StatusPartialContent:
		if m := f.rejoin(fl, got, left); m != nil {
			if err := f.unwanted(fl, headOf(m), func() []byte { return firstOf(fl.ctx, left, left.Len()) }); err != nil {
				got.resp.Body.Close()
				left.Discard(nil)
				f.fail(fl, got.resp.StatusCode, err)
				return false, nil
			}
			f.log.Info("resume", "action", "resume", "key", fl.key.String(), "at", left.Len())
			f.pour(fl, got, left, m)
			return false, nil
		}
		fallthrough
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed, http.StatusNotModified:
		got.resp.Body.Close()
		left.Discard(nil)
		return true, nil
	case http.StatusOK, http.StatusNotFound, http.StatusGone:
		left.Discard(nil) // there is another representation now, or none
	default:
		left.Suspend(fmt.Errorf("get %s: status %d", got.url, status)) // this says nothing of the representation
	}
	return f.receive(fl, got, held{entry: h.entry})
}

// rejoin returns what a draft's Meta becomes when the response is its rest and still one to be kept, else nil.
func (f *Filler) rejoin(fl *flight, got *fetched, left cache.Draft) *cache.Meta {
	if !continues(fileName(fl.key), got.resp, left.Meta(), left.Len()) {
		return nil
	}
	m, ok := freshness.Freshen(left.Meta(), endToEnd(got.resp.Header), got.asked, got.received)
	if !ok {
		return nil
	}
	if ok, _ := freshness.Storable(fl.header, false, m.Status, m.Header, fl.policy.Rule); !ok {
		return nil
	}
	fl.mark(m)
	return m
}

func (f *Filler) remove(key cache.Key) {
	if _, err := f.store.Remove(key, false); err != nil {
		f.log.Warn("remove gone entry", "key", key.String(), "error", err)
	}
}

// confirm freshens the entry and says so. An entry that cannot be freshened on disk is confirmed all the same.
func (f *Filler) confirm(fl *flight, entry *cache.Entry, m *cache.Meta) {
	fl.mark(m)
	fl.lone = !f.freshen(entry, m, &fl.trip)
	if pin, ok := clientPin(fl.header); ok && m.Status == http.StatusOK && pin != m.SHA256 {
		// The origin stands by the body that is held: it has no other for this client.
		f.fail(fl, 0, fmt.Errorf("get %s: %w: sha-256 is %x, the client says %x", fl.key, ErrDigest, m.SHA256, pin))
		return
	}
	fl.meta, fl.held = m, entry.Meta
	f.decide(fl, confirmed)
}

// freshen writes what a confirmation made of an entry's Meta, and says whether others may have it. What may not be shared, by what it says or by who
// asked, is for that client alone: written, it would hand a cookie or a private answer to everybody.
func (f *Filler) freshen(entry *cache.Entry, m *cache.Meta, t *trip) (shared bool) {
	if ok, _ := freshness.Storable(t.header, false, m.Status, m.Header, t.policy.Rule); !ok {
		return false
	}
	if err := f.store.Freshen(entry, m); err != nil {
		f.log.Warn("freshen entry", "key", t.key.String(), "error", err)
	}
	return true
}

func (f *Filler) fail(fl *flight, status int, err error) {
	if cause := context.Cause(fl.ctx); cause != nil {
		status, err = 0, cause
	}
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
	fl.status, fl.said = got.resp.StatusCode, got.resp.Header
	if (got.resp.StatusCode >= 500 || got.resp.StatusCode == http.StatusTooManyRequests) && !entry.Edited {
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
	m.Size, m.ModTime, m.Stored, m.Listing = entry.Meta.Size, entry.Meta.ModTime, entry.Meta.Stored, entry.Meta.Listing
	f.confirm(fl, entry, m)
	return true
}

// metaOf is the Meta of an answer before its body.
func (f *Filler) metaOf(fl *flight, got *fetched, h http.Header) *cache.Meta {
	h.Del("Content-Length")
	if h.Get("Date") == "" {
		h.Set("Date", got.received.UTC().Format(http.TimeFormat))
	}
	base := ""
	if got.resp.Request != nil {
		if base = bare(got.resp.Request.URL); base == got.url {
			base = ""
		}
	}
	m := &cache.Meta{
		Base: base, Status: got.resp.StatusCode, Header: h, Asked: got.asked, Received: got.received, Stored: got.received,
		Size: got.resp.ContentLength, URL: got.url, Vary: cache.Selecting(h, fl.header), Limit: got.limit,
		Provisional: unframed(got.resp),
	}
	fl.mark(m)
	return m
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
	head            []byte        // the first bytes of the body, which are in it still; nil before they were looked at
	broke           error         // how looking at them ended, unless well
}

// ask fetches with the retries that the policy grants. With a copy to fall back on there is one try: the client is better served by
// the copy than by waiting.
func (f *Filler) ask(fl *flight, condition http.Header, copied bool) (*fetched, error) {
	tries, pause := max(1, fl.policy.Tries), fl.policy.Backoff
	ctx := fl.ctx
	if copied || len(fl.avoid) > 0 {
		tries = 1
	}
	if copied {
		ctx = f.cfg.Skip(ctx)
	}
	for try := 1; ; try++ {
		got, err := f.fetch(ctx, &fl.trip, http.MethodGet, condition)
		if err == nil || try >= tries || refused(err) || crowded(err) || fl.ctx.Err() != nil {
			return got, err
		}
		f.log.Info("retry", "action", "retry", "hub", cache.BaseHub(fl.key.Hub()), "key", fl.key.String(), "try", try, "error", err)
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

// crowded says that too many trips are under way: another one that waits would not help.
func crowded(err error) bool {
	var c interface{ Crowded() bool }
	return errors.As(err, &c) && c.Crowded()
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

// final refuses a status that ends no exchange: an unasked-for 101, passed on, would have the client speak another protocol with us.
func final(resp *http.Response) error {
	if resp.StatusCode >= 200 {
		return nil
	}
	resp.Body.Close()
	return fmt.Errorf("%w: status %d is no answer", ErrUnreachable, resp.StatusCode)
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
	if len(t.avoid) > 0 {
		ctx = f.cfg.Avoid(ctx, t.avoid)
	}
	header := outgoing(t.header, true)
	authorize(header, t.as)
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
		if err := final(resp); err != nil {
			return nil, err
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
			got.limit = max(lifetime, 1) // 0 is for what was invalidated
		}
		header = header.Clone()
		for _, name := range []string{"Authorization", "Cookie", "Referer"} {
			header.Del(name) // what was meant for one host is not told to another
		}
		req = (&http.Request{Method: method, URL: next, Host: next.Host, Header: header}).WithContext(ctx)
	}
}
