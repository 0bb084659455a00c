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
	"sync"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// forward passes a request on as it is and the answer back, storing nothing. A successful unsafe method makes what is held of its URLs
// stale (RFC 9111 section 4.4).
func (f *Filler) forward(ctx context.Context, r *Request, policy Policy, fwd string) (*Answer, error) {
	if policy.Offline {
		return nil, ErrOffline
	}
	if fwd == "bypass" && freshness.ParseRequest(r.Header).OnlyIfCached {
		return nil, ErrOnlyIfCached
	}
	if f.ctx.Err() != nil { // what AfterFunc does comes a moment later
		return nil, ErrStopping
	}
	r = r.whole()
	ctx, stop := context.WithCancelCause(marked(ctx, r))
	detach := context.AfterFunc(f.ctx, func() { stop(ErrStopping) })
	resp, err := f.send(ctx, r, policy)
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrStopping) {
			err = ErrStopping
		}
		detach()
		stop(nil)
		return nil, err
	}
	if safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions || r.Method == http.MethodTrace; !safe && resp.StatusCode < 400 {
		f.invalidate(r, resp)
	}
	resp.Body = &endsWith{resp.Body, func() { detach(); stop(nil) }}
	outcome := Outcome{Cache: Bypass, Fwd: fwd, FwdStatus: resp.StatusCode}
	if fwd == "uri-miss" {
		outcome.Cache = Miss
	}
	return f.passOn(resp, r, outcome), nil
}

type endsWith struct {
	io.ReadCloser
	end func()
}

func (b *endsWith) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// send makes the one request of a forward. GET and HEAD follow what leads out of the hub; anything else is never sent to another
// place than the client named.
func (f *Filler) send(ctx context.Context, r *Request, policy Policy) (*http.Response, error) {
	if r.Interim != nil {
		var mu sync.Mutex
		over := false
		defer func() { mu.Lock(); over = true; mu.Unlock() }()
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				mu.Lock()
				defer mu.Unlock()
				if !over && code != http.StatusContinue && code != http.StatusSwitchingProtocols {
					r.Interim(code, endToEnd(http.Header(header)))
				}
				return nil
			},
		})
	}
	header := outgoing(r.Header, false)
	authorize(header, r.Credential)
	if r.Method == http.MethodGet && r.Body == nil || r.Method == http.MethodHead {
		got, err := f.chain(ctx, &trip{key: r.Key, policy: policy}, r.Method, header)
		if err != nil {
			return nil, err
		}
		return got.resp, nil
	}
	req := (&http.Request{Method: r.Method, URL: r.Key.URL(), Header: header}).WithContext(ctx)
	if r.Body != nil {
		req.Body, req.ContentLength = io.NopCloser(r.Body), r.Length
	}
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
	return resp, nil
}

// passOn makes the answer of a response that is not kept.
func (f *Filler) passOn(resp *http.Response, r *Request, outcome Outcome) *Answer {
	a := &Answer{Status: resp.StatusCode, Header: endToEnd(resp.Header), Length: resp.ContentLength, Outcome: outcome, Live: true}
	if resp.Request != nil {
		a.URL = bare(resp.Request.URL)
	}
	if resp.ContentLength >= 0 && bodyAllowed(resp.StatusCode) {
		a.Header["Content-Length"] = []string{strconv.FormatInt(resp.ContentLength, 10)}
	}
	if r.Method == http.MethodHead || !bodyAllowed(resp.StatusCode) {
		resp.Body.Close()
		a.Length = 0
		return a
	}
	a.Body = resp.Body
	return a
}

// invalidate makes stale what is held of the URLs that an unsafe request has changed: its own, and those in Location and
// Content-Location under the same hub. The bodies stay: the origin may still confirm them.
func (f *Filler) invalidate(r *Request, resp *http.Response) {
	if f.store == nil {
		return
	}
	keys := []cache.Key{r.Key}
	for _, name := range []string{"Location", "Content-Location"} {
		v := resp.Header.Get(name)
		if v == "" || resp.Request == nil {
			continue
		}
		u, err := resp.Request.URL.Parse(v)
		if err != nil {
			continue
		}
		if key, ok := f.keyOf(r.Key, u); ok && key.Site() == r.Key.Site() {
			keys = append(keys, key)
		}
	}
	// What is on its way may be from before the change.
	f.detach(func(k cache.Key) bool { return slices.Contains(keys, k) })
	for _, key := range keys {
		f.Invalidate(key, r.Header)
	}
}

// Invalidate makes stale what is held of a Key.
func (f *Filler) Invalidate(key cache.Key, header http.Header) {
	entry, err := f.store.Open(key, header)
	if err != nil {
		return
	}
	defer entry.Close()
	if entry.Adopted {
		return // it needs its origin's word anyway
	}
	if len(entry.Meta.Vary) > 0 || entry.Meta.Status != http.StatusOK {
		f.remove(key)
		return
	}
	m := *entry.Meta
	m.Limit = 0
	if err := f.store.Freshen(entry, &m); err != nil {
		f.log.Warn("invalidate entry", "key", key.String(), "error", err)
	}
}

// confirmByHead answers a HEAD for an entry that needs its origin's word. The origin is asked with HEAD too: nothing is filled.
func (f *Filler) confirmByHead(ctx context.Context, r *Request, entry *cache.Entry, plan Plan, policy Policy) (*Answer, error) {
	asked := f.cfg.Now()
	short := f.cfg.Skip(marked(ctx, r))
	if plan.Verdict.OnError(policy.Rule, false) && !entry.Edited {
		var cancel context.CancelFunc
		short, cancel = context.WithTimeout(short, f.cfg.FirstByte)
		defer cancel()
	}
	got, err := f.chain(short, &trip{key: r.Key, policy: policy}, http.MethodHead, outgoing(r.Header, true))
	if ctx.Err() != nil {
		entry.Close()
		return nil, ctx.Err()
	}
	bad := err == nil && (got.resp.StatusCode >= 500 || got.resp.StatusCode == http.StatusTooManyRequests)
	if (err != nil || bad) && !entry.Edited && plan.Verdict.OnError(policy.Rule, err == nil) {
		a := f.fromEntry(entry, entry.Meta, r, plan.Verdict)
		a.Outcome.Cache, a.Outcome.Hit, a.Outcome.Fwd = Stale, true, "stale"
		if bad {
			got.resp.Body.Close()
			a.Outcome.FwdStatus = got.resp.StatusCode
		}
		return a, nil
	}
	if err != nil {
		if entry.Meta.Status == http.StatusOK && errors.Is(err, ErrUnreachable) {
			err = fmt.Errorf("%w: %w", ErrNotConfirmed, err)
		}
		entry.Close()
		return nil, err
	}
	resp := got.resp
	if m, ok := freshness.Freshen(entry.Meta, endToEnd(resp.Header), asked, f.cfg.Now()); ok && !entry.Adopted && headConfirms(entry.Meta, resp) {
		// RFC 9111 section 4.3.5: the fields of a HEAD freshen what they do not contradict.
		resp.Body.Close()
		m.Limit = got.limit
		f.freshen(entry, m, &trip{key: r.Key, policy: policy, header: r.Header})
		a := f.fromEntry(entry, m, r, freshness.Judge(m, policy.Rule, f.cfg.Now()))
		a.Outcome.Cache, a.Outcome.Fwd, a.Outcome.FwdStatus = Revalidated, "stale", resp.StatusCode
		return a, nil
	}
	entry.Close()
	return f.passOn(resp, r, Outcome{Cache: Miss, Fwd: "stale", FwdStatus: resp.StatusCode}), nil
}

// headConfirms says that a HEAD's answer is of the stored representation.
func headConfirms(m *cache.Meta, resp *http.Response) bool {
	if resp.StatusCode != http.StatusOK || m.Status != http.StatusOK || (resp.ContentLength >= 0 && resp.ContentLength != m.Size) {
		return false
	}
	if etag := resp.Header.Get("Etag"); etag != "" || m.Header.Get("Etag") != "" {
		return etag == m.Header.Get("Etag")
	}
	lm := resp.Header.Get("Last-Modified")
	return lm != "" && lm == m.Header.Get("Last-Modified") && resp.ContentLength == m.Size
}

// far answers a range that begins far beyond what a draft holds by a request of its own, or returns nil when the origin does not
// give just that range.
func (f *Filler) far(ctx context.Context, r *Request, m *cache.Meta, reply Reply) *Answer {
	if len(reply.Ranges) != 1 || strong(m) == "" {
		return nil
	}
	want := reply.Ranges[0]
	body, err := f.tail(ctx, r, m, want)
	if err != nil {
		return nil
	}
	return &Answer{
		Status: reply.Status, Header: reply.Header, Body: body, Length: want.N, URL: m.URL, Live: true,
		Outcome: Outcome{Cache: Miss, Fwd: "partial", FwdStatus: http.StatusPartialContent},
	}
}

// tail fetches a stretch of the representation that m describes by a request of its own; nothing else than that stretch will do.
func (f *Filler) tail(ctx context.Context, r *Request, m *cache.Meta, want Range) (io.ReadCloser, error) {
	got, err := f.again(ctx, r, m, &want)
	if err != nil {
		return nil, err
	}
	resp := got.resp
	if resp.StatusCode != http.StatusPartialContent || !sameAs(fileName(r.Key), resp, m) || resp.Header.Get("Content-Range") != contentRange(want, m.Size) {
		resp.Body.Close()
		return nil, errChanged
	}
	return &exactly{resp.Body, want.N}, nil
}

// rest is tail for a client that was already given all up to off: it also takes the whole representation and passes over what it has. end < 0 means
// to the end.
func (f *Filler) rest(ctx context.Context, r *Request, m *cache.Meta, off, end int64) (io.ReadCloser, error) {
	var want *Range
	if m.Size >= 0 {
		if end < 0 {
			end = m.Size
		}
		want = &Range{off, end - off}
	}
	got, err := f.again(ctx, r, m, want)
	if err != nil {
		return nil, err
	}
	resp := got.resp
	switch same := sameAs(fileName(r.Key), resp, m); {
	case same && want != nil && resp.StatusCode == http.StatusPartialContent && resp.Header.Get("Content-Range") == contentRange(*want, m.Size):
		return &exactly{resp.Body, want.N}, nil
	case same && resp.StatusCode == http.StatusOK:
		if _, err := io.CopyN(io.Discard, resp.Body, off); err != nil {
			resp.Body.Close()
			return nil, err
		}
		if end < 0 {
			return resp.Body, nil
		}
		return &exactly{resp.Body, end - off}, nil
	}
	resp.Body.Close()
	return nil, errChanged
}

// again asks for the representation that m describes, or a part of it, on behalf of one client.
func (f *Filler) again(ctx context.Context, r *Request, m *cache.Meta, want *Range) (*fetched, error) {
	v := strong(m)
	if v == "" {
		return nil, fmt.Errorf("%w: no strong validator", errChanged)
	}
	var condition http.Header
	if want != nil {
		last := strconv.FormatInt(want.Off+want.N-1, 10)
		condition = http.Header{"If-Range": {v}, "Range": {"bytes=" + strconv.FormatInt(want.Off, 10) + "-" + last}}
	}
	return f.fetch(marked(ctx, r), &trip{key: r.Key, policy: f.cfg.Policy(r.Key), header: r.Header, as: r.Credential}, http.MethodGet, condition)
}

// exactly reads n bytes; fewer are an error.
type exactly struct {
	io.ReadCloser
	n int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > e.n {
		p = p[:e.n]
	}
	n, err := e.ReadCloser.Read(p)
	e.n -= int64(n)
	if err == io.EOF && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
