package fill

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// local answers from a tree on this machine: a file is read where it lies, with the ranges and conditions of any held entry.
func (f *Filler) local(ctx context.Context, r *Request, policy Policy) (*Answer, error) {
	asked := f.cfg.Now()
	req := (&http.Request{Method: http.MethodGet, URL: r.Key.URL(), Header: outgoing(r.Header, true)}).WithContext(ctx)
	resp, err := f.cfg.Origin.RoundTrip(req)
	if err != nil {
		if refused(err) || ctx.Err() != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	outcome := Outcome{Cache: Hit, Hit: true, Detail: "local"}
	body, ok := resp.Body.(interface{ File() *os.File })
	if !ok || resp.StatusCode != http.StatusOK {
		if r.Listing { // also a HEAD needs to know what is listed
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		a := f.passOn(resp, r, outcome)
		a.Live = false
		return a, nil
	}
	h := endToEnd(resp.Header)
	h.Del("Content-Length")
	m := &cache.Meta{
		Status: http.StatusOK, Header: h, Asked: asked, Received: f.cfg.Now(), Size: resp.ContentLength, Limit: -1,
		URL: r.Key.URL().String(),
	}
	entry := cache.NewEntry(r.Key, m, cache.FileBody(body.File(), resp.ContentLength))
	v := freshness.Judge(m, policy.Rule, m.Received)
	v.Fresh, v.Omit = true, nil
	a := compose(Respond(m, r.Method, r.Header, v), func(off, end int64) section { return entry.Section(off, end) })
	a.entry, a.meta, a.Outcome = entry, m, outcome
	return a, nil
}
