package fill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// next is where a redirect leads that is to be followed here, or nil.
func (f *Filler) next(t *trip, resp *http.Response) *url.URL {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil
	}
	location := resp.Header.Get("Location")
	if location == "" || !t.policy.Follow || resp.Request == nil {
		return nil
	}
	to, err := resp.Request.URL.Parse(location)
	if err != nil || (to.Scheme != "http" && to.Scheme != "https") || to.Host == "" {
		return nil // nothing that could be followed: the client may make of it what it can
	}
	if key, ok := f.keyOf(t.key, to); ok && key.Site() == t.key.Site() {
		return nil
	}
	to.User, to.Fragment = nil, ""
	return to
}

// bare is a URL as it may be stored: no userinfo. Of a chain of redirects it is given the first one alone, so no signed query of a later one is kept.
func bare(u *url.URL) string {
	c := *u
	c.User, c.Fragment, c.RawQuery, c.ForceQuery = nil, "", "", false
	if c.Opaque != "" {
		return c.Scheme + "://" + c.Host + strings.TrimPrefix(c.Opaque, "//"+c.Host)
	}
	return c.String()
}

// keep stores the answer if it may be, and passes it on if not. It returns an error, having done neither, when the answer cannot be what was asked for.
func (f *Filler) keep(fl *flight, got *fetched) error {
	resp := got.resp
	h := endToEnd(resp.Header)
	if ok, why := freshness.Storable(fl.header, false, resp.StatusCode, h, fl.policy.Rule); !ok {
		f.pass(fl, got, why)
		return nil
	}
	if fl.policy.pass && resp.StatusCode >= 300 && resp.StatusCode < 400 {
		f.pass(fl, got, "redirect")
		return nil
	}
	name := fileName(fl.key)
	if coding := h.Get("Content-Encoding"); coding != "" && known(coding) {
		if !bogus(name, coding, resp) {
			f.pass(fl, got, "coding "+coding) // asked for identity: these are not the bytes that the path stands for
			return nil
		}
		h.Del("Content-Encoding")
	}
	if resp.StatusCode == http.StatusOK {
		if err := f.inspect(fl, got, name, h); err != nil {
			resp.Body.Close()
			return err
		}
	}
	m := f.metaOf(fl, got, h)
	m.Listing = fl.policy.Listings && mayList(fl.key, m)
	if err := f.unwanted(fl, headOf(m), got.first); err != nil {
		resp.Body.Close()
		f.fail(fl, resp.StatusCode, err)
		return nil
	}
	draft, err := f.store.Create(fl.key, m)
	if err != nil {
		f.log.Warn("store", "action", "pass", "key", fl.key.String(), "error", err)
		fl.err = err
		f.pass(fl, got, "storage")
		return nil
	}
	f.pour(fl, got, draft, m)
	return nil
}

// inspect looks at the first bytes where the name promises a format: a web page is no archive, whatever its status says.
func (f *Filler) inspect(fl *flight, got *fetched, name string, h http.Header) error {
	magic, ok := promised(name)
	if !ok {
		ok = fl.errand.doubts(name, got.resp)
	}
	if !ok || got.resp.ContentLength == 0 {
		return nil
	}
	head := got.first()
	if got.broke != nil {
		f.log.Debug("body broke off in its first bytes", "key", fl.key.String(), "error", got.broke) // its reader meets the same error and resumes
	}
	if (len(magic) == 0 || !bytes.HasPrefix(head, magic)) && (webPage(head) || strings.HasPrefix(h.Get("Content-Type"), "text/html")) {
		f.metrics.refused.Inc()
		return fmt.Errorf("get %s: %w: a web page", got.url, ErrWrongContent)
	}
	return nil
}

type pushedBack struct {
	io.Reader
	io.Closer
}

// pour makes the head known and writes the body into the draft until it is whole, resuming what breaks off.
func (f *Filler) pour(fl *flight, got *fetched, draft cache.Draft, m *cache.Meta) {
	fl.meta, fl.draft = m, draft
	fl.open = draft.Section(context.WithoutCancel(fl.ctx), 0, 0)
	pins := f.pins(fl, m)
	hold := newHold(fl.policy.Verify, pins, m.Size)
	draft.Hold(hold.at(draft.Len()))
	f.decide(fl, filling)
	err := f.pump(fl, got.resp, draft, hold)
	var full *storeFailure
	if err == nil && len(pins) > 0 {
		err = f.verify(fl, draft, pins)
	}
	if err == nil {
		fl.whole.Store(draft.Len())
	}
	fl.ending.Lock()
	defer fl.ending.Unlock()
	switch {
	case err == nil && fl.purged:
		draft.Hold(-1)
		draft.Discard(io.EOF) // a clean end for those who read it
	case err == nil:
		published := *m // readers hold m; Commit completes its own
		entry, err := draft.Commit(&published)
		if err != nil {
			f.log.Error("publish", "key", fl.key.String(), "error", err)
			fl.unkept = err
			fl.wrong = fmt.Errorf("%w: %w", errStorage, err)
			return
		}
		fl.stored = entry.Meta
		entry.Close()
	case errors.As(err, &full) && (len(pins) == 0 || fl.policy.Verify == VerifyAfter):
		f.log.Error("store", "action", "pass", "key", fl.key.String(), "error", err)
		fl.wrong = err
		f.drop(fl) // nobody else may join: what is stored will get no further
		draft.Hold(-1)
		draft.Discard(err)
		fl.ending.Unlock()
		f.offer(fl, full.rest)
		fl.ending.Lock()
		return
	case full != nil:
		// The digest of what is not stored cannot be checked, and unchecked it must not go out.
		full.rest.Close()
		draft.Discard(fmt.Errorf("%w: %w", ErrDigest, full.err))
	case errors.Is(err, errChanged) || errors.Is(err, ErrDigest) || fl.purged:
		draft.Discard(err)
	default:
		f.log.Warn("fill", "action", "suspend", "key", fl.key.String(), "at", draft.Len(), "error", err)
		if freshnessless(m) {
			draft.Discard(err)
		} else {
			draft.Suspend(err)
		}
	}
	fl.wrong = err
}

// freshnessless says that nothing would let a later fill carry on where this one ended.
func freshnessless(m *cache.Meta) bool { return continuation(m, 1) == nil }

var errChanged = errors.New("representation changed while it was fetched")

// buffers are what bodies pass through on their way to the disk.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// progress is how much a try has to bring for the next one to be free.
const progress = 64 << 10

// pump copies the body into the draft. It returns nil when all of it is there.
func (f *Filler) pump(fl *flight, resp *http.Response, draft cache.Draft, hold hold) error {
	tries, pause := max(1, fl.policy.Tries), fl.policy.Backoff
	m := draft.Meta()
	for try := 0; ; {
		before := draft.Len()
		err := drain(fl.ctx, resp.Body, draft, hold)
		if errors.Is(err, errStorage) {
			return err // what is still to come is in it
		}
		resp.Body.Close()
		switch {
		case err == nil && m.Size >= 0 && draft.Len() != m.Size:
			err = io.ErrUnexpectedEOF
		case err == nil:
			return nil
		}
		if cause := context.Cause(fl.ctx); cause != nil {
			return cause
		}
		if draft.Len()-before >= progress {
			try, pause = 0, fl.policy.Backoff
		} else {
			try++
		}
		f.metrics.resumed.Inc()
		f.log.Info("upstream broke off", "action", "resume", "key", fl.key.String(), "at", draft.Len(), "error", err)
		for {
			if try >= tries {
				return fmt.Errorf("%w: %w", ErrUnreachable, err)
			}
			if try > 0 {
				if err := sleep(fl.ctx, spread(pause)); err != nil {
					return err
				}
				pause *= 2
			}
			next, again := f.carry(fl, draft, hold)
			if again == nil {
				resp = next
				break
			}
			if errors.Is(again, errChanged) || refused(again) || fl.ctx.Err() != nil {
				return again
			}
			err = again
			try++
		}
	}
}

// A storeFailure is an errStorage with what the origin has yet to say.
type storeFailure struct {
	err  error
	rest io.ReadCloser
}

func (e *storeFailure) Error() string   { return errStorage.Error() + ": " + e.err.Error() }
func (e *storeFailure) Unwrap() []error { return []error{errStorage, e.err} }

// offer hands the rest of a body to the first reader who has all that was stored, and lasts until that reader is done. The others fetch theirs by
// ranges.
func (f *Filler) offer(fl *flight, rest io.ReadCloser) {
	close(fl.full)
	lent := &lentBody{ReadCloser: rest, returned: make(chan struct{})}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for fl.following.Load() > 0 || fl.refs.Load() > 1 { // or somebody is about to follow
		select {
		case fl.live <- lent:
			fl.spend()
			select {
			case <-lent.returned:
			case <-fl.ctx.Done():
				lent.Close()
			}
			return
		case <-look.C: // are there readers still?
		case <-fl.ctx.Done():
			lent.Close()
			return
		}
	}
	lent.Close()
}

// drain copies from the network to the draft, telling whose fault an error is.
func drain(ctx context.Context, body io.ReadCloser, draft cache.Draft, hold hold) error {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	for {
		n, err := body.Read(*b)
		if n > 0 {
			if hold.moves {
				draft.Hold(hold.at(draft.Len() + int64(n)))
			}
			if stored, werr := draft.Write((*b)[:n]); werr != nil {
				left := bytes.NewReader(bytes.Clone((*b)[stored:n]))
				return &storeFailure{err: werr, rest: &pushedBack{io.MultiReader(left, body), body}}
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// carry asks for what is missing of a draft. errChanged says that the origin has something else now.
func (f *Filler) carry(fl *flight, draft cache.Draft, hold hold) (*http.Response, error) {
	m := draft.Meta()
	condition := continuation(m, draft.Len())
	if condition == nil {
		return nil, fmt.Errorf("%w: it cannot be resumed without a strong validator and a length", errChanged)
	}
	got, err := f.fetch(fl.ctx, &fl.trip, http.MethodGet, condition)
	if err != nil {
		return nil, err
	}
	switch {
	case continues(fileName(fl.key), got.resp, m, draft.Len()):
		return got.resp, nil
	case got.resp.StatusCode == http.StatusOK && sameAs(fileName(fl.key), got.resp, m):
		// It has no ranges, or does not honour If-Range, but it is the same representation: pass over what is there, holding it against it.
		if err := f.skim(fl.ctx, got.resp.Body, draft, hold); err != nil {
			got.resp.Body.Close()
			return nil, err
		}
		return got.resp, nil
	}
	got.resp.Body.Close()
	if got.resp.StatusCode == http.StatusOK || got.resp.StatusCode == http.StatusPartialContent {
		return nil, errChanged
	}
	return nil, fmt.Errorf("resume %s at %d: status %d", fl.key, draft.Len(), got.resp.StatusCode)
}

// skim reads as many bytes as the draft holds and compares them with it: what was already given to clients must be what the rest
// belongs to. What is held back from them is held back from here too: it is passed over unseen, as a 206 would have done.
func (f *Filler) skim(ctx context.Context, body io.Reader, draft cache.Draft, hold hold) error {
	n := draft.Len()
	unseen := int64(0)
	if shown := hold.at(n); shown >= 0 && shown < n {
		n, unseen = shown, n-shown
	}
	have := draft.Section(ctx, 0, n)
	defer have.Close()
	a, b := buffers.Get().(*[]byte), buffers.Get().(*[]byte)
	defer buffers.Put(a)
	defer buffers.Put(b)
	for done := int64(0); done < n; {
		k := min(n-done, int64(len(*a)))
		if _, err := io.ReadFull(body, (*a)[:k]); err != nil {
			return err
		}
		if _, err := io.ReadFull(have, (*b)[:k]); err != nil {
			return fmt.Errorf("%w: %w", errStorage, err)
		}
		if !bytes.Equal((*a)[:k], (*b)[:k]) {
			return errChanged
		}
		done += k
	}
	_, err := io.CopyN(io.Discard, body, unseen)
	return err
}

// continuation returns the fields that ask for the rest of m's body from off on, or nil when that cannot be asked safely: it takes a
// strong validator (RFC 9110 section 13.1.5) and a known length.
func continuation(m *cache.Meta, off int64) http.Header {
	if m.Status != http.StatusOK || m.Size < 0 || off <= 0 || off >= m.Size {
		return nil
	}
	v := strong(m)
	if v == "" {
		return nil
	}
	return http.Header{"Range": {"bytes=" + strconv.FormatInt(off, 10) + "-"}, "If-Range": {v}}
}

// strong returns a validator that tells representations apart byte for byte: a strong entity tag, or a Last-Modified that was at least a
// second in the past when it was given (RFC 9110 section 8.8.2.2).
func strong(m *cache.Meta) string {
	if etag := m.Header.Get("Etag"); strings.HasPrefix(etag, `"`) {
		return etag
	}
	modified, ok := freshness.ParseDate(m.Header.Get("Last-Modified"))
	date, dated := freshness.ParseDate(m.Header.Get("Date"))
	if ok && dated && date.Sub(modified) >= time.Second {
		return m.Header.Get("Last-Modified")
	}
	return ""
}

// sameAs says that a response is of the same representation as m as far as its fields tell.
func sameAs(name string, resp *http.Response, m *cache.Meta) bool {
	if coding := resp.Header.Get("Content-Encoding"); known(coding) && !bogus(name, coding, resp) {
		return false
	}
	if etag := m.Header.Get("Etag"); etag != "" || resp.Header.Get("Etag") != "" {
		if resp.Header.Get("Etag") != etag {
			return false
		}
	} else if resp.Header.Get("Last-Modified") != m.Header.Get("Last-Modified") {
		return false
	}
	return resp.StatusCode != http.StatusOK || resp.ContentLength == m.Size
}

// continues says that the response is m's body from off to its end.
func continues(name string, resp *http.Response, m *cache.Meta, off int64) bool {
	if resp.StatusCode != http.StatusPartialContent || !sameAs(name, resp, m) {
		return false
	}
	want := contentRange(Range{off, m.Size - off}, m.Size)
	return resp.Header.Get("Content-Range") == want && (resp.ContentLength < 0 || resp.ContentLength == m.Size-off)
}

// resumable says that a draft that was left behind can be carried on for this request.
func resumable(d cache.Draft, h http.Header) bool {
	return d.Meta().Selects(h) && continuation(d.Meta(), d.Len()) != nil
}

// spread jitters a pause by ±15 %.
func spread(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()*0.3-0.15)*float64(d))
}
