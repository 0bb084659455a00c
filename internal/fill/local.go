package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// errTouched says that a file was written to while it was read.
var errTouched = errors.New("file changed while it was read")

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
	file := body.File()
	before, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("get %s: %w", r.Key, err)
	}
	h := endToEnd(resp.Header)
	h.Del("Content-Length")
	m := &cache.Meta{
		Status: http.StatusOK, Header: h, Asked: asked, Received: f.cfg.Now(), Size: resp.ContentLength, Limit: -1,
		URL: r.Key.URL().String(),
	}
	entry := cache.NewEntry(r.Key, m, cache.FileBody(file, resp.ContentLength))
	v := freshness.Judge(m, policy.Rule, m.Received)
	v.Fresh, v.Omit = true, nil
	a := compose(Respond(m, r.Method, r.Header, v), func(off, end int64) section {
		if end < 0 {
			end = m.Size
		}
		last := max(off, end-lastBytes)
		return &unchanged{file: file, before: before, parts: [2]section{entry.Section(off, last), entry.Section(last, end)}}
	})
	a.entry, a.meta, a.Outcome = entry, m, outcome
	return a, nil
}

// lastBytes is what of a local body is sent only when the file is still what it was: a client must see that the bytes before it are of two states.
const lastBytes = 16 << 10

// unchanged reads a stretch of a file, and before its last part looks whether the file was written to meanwhile.
type unchanged struct {
	file   *os.File
	before os.FileInfo
	parts  [2]section
	second bool
}

func (u *unchanged) check() error {
	now, err := u.file.Stat()
	if err != nil {
		return err
	}
	// What is added at the end changes nothing of the bytes before it.
	if now.Size() < u.before.Size() || now.Size() == u.before.Size() && !now.ModTime().Equal(u.before.ModTime()) {
		return errTouched
	}
	return nil
}

func (u *unchanged) Read(p []byte) (int, error) {
	if !u.second {
		n, err := u.parts[0].Read(p)
		if err != io.EOF || n > 0 {
			return n, errUnless(n > 0, err)
		}
		if err := u.check(); err != nil {
			return 0, err
		}
		u.second = true
	}
	return u.parts[1].Read(p)
}

// SendTo hands the bytes to a connection without copying them through this process where it can.
func (u *unchanged) SendTo(dst *net.TCPConn) (int64, error) {
	var sent int64
	if !u.second {
		n, err := u.parts[0].SendTo(dst)
		if sent = n; err != nil {
			return sent, err
		}
		if err := u.check(); err != nil {
			return sent, err
		}
		u.second = true
	}
	n, err := u.parts[1].SendTo(dst)
	return sent + n, err
}

// Await says how much can be sent without another look at the file.
func (u *unchanged) Await() (int64, error) {
	if !u.second {
		n, err := u.parts[0].Await()
		if err != io.EOF {
			return n, err
		}
		if err := u.check(); err != nil {
			return 0, err
		}
		u.second = true
	}
	return u.parts[1].Await()
}

// SendPart is SendTo for at most n bytes, which Await has said can be sent.
func (u *unchanged) SendPart(dst *net.TCPConn, n int64) (int64, error) {
	if u.second {
		return u.parts[1].SendPart(dst, n)
	}
	return u.parts[0].SendPart(dst, n)
}

func (u *unchanged) Close() error {
	u.parts[0].Close()
	return u.parts[1].Close()
}

// explainLocal tells of a file of this machine.
func (f *Filler) explainLocal(r *Request, policy Policy) (Explanation, error) {
	a, err := f.local(context.Background(), &Request{Key: r.Key, Method: http.MethodHead, Header: http.Header{}}, policy)
	if err != nil {
		return Explanation{}, err
	}
	defer a.Close()
	x := Explanation{Next: "answers from the tree on this machine"}
	if a.Status == http.StatusOK {
		x.Held, x.Meta = true, a.meta
		if a.meta == nil { // a directory
			x.Meta = &cache.Meta{Status: a.Status, Header: a.Header, Size: -1, Received: f.cfg.Now(), Limit: -1}
		}
		if t, ok := freshness.ParseDate(a.Header.Get("Last-Modified")); ok {
			x.Meta.ModTime = t
		}
		x.Meta.URL = ""
		x.Plan = Plan{Action: Serve, Why: "local", Verdict: freshness.Verdict{Fresh: true, By: "local"}}
	}
	return x, nil
}
