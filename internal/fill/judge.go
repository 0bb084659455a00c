package fill

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zcache/internal/cache"
	"zcache/internal/freshness"
)

// A Head is what is known of a response before anybody is given a byte of it.
type Head struct {
	Status  int
	Header  http.Header // end-to-end fields; not to be changed
	Size    int64       // of the whole representation in bytes; -1 when nobody says
	Magic   []byte      // its first bytes, up to 512, where they were asked for; nil when there are none to look at, as for HEAD
	Listing bool        // it is a directory's
	URL     string      // where it came from; no userinfo
	Early   bool        // nothing is answered yet: should it be, the same is asked again
}

// A Judge says of a response whether those may have it for whom it is asked; its error is what they get instead. It is called by any goroutine, and
// perhaps after the request that it came with is over, for the trip goes on.
type Judge func(Head) error

// A Marker says in the context of a trip on whose behalf it is made.
type Marker interface {
	Mark(context.Context) context.Context
}

// marked is a context for trips that are made for r.
func marked(ctx context.Context, r *Request) context.Context {
	if r.Mark == nil {
		return ctx
	}
	return r.Mark.Mark(ctx)
}

// A jury are the Judges of those who want what a flight brings, until its head has come. The Filler's lock guards it.
type jury struct {
	judges []Judge
	magic  bool // one of them looks at the first bytes
	lets   bool // somebody takes whatever comes
}

// seat adds who wants it too.
func (j *jury) seat(r *Request) {
	if r == nil || r.Judge == nil {
		j.judges, j.lets = nil, true
	}
	if !j.lets {
		j.judges, j.magic = append(j.judges, r.Judge), j.magic || r.Magic
	}
}

// unwanted says that none of those who want what comes may have it, so that nothing of it is stored. A flight is not ended by the rules of some of them.
// The first bytes are fetched only when they count. Who joins after this is judged by what the flight has noted of the head.
func (f *Filler) unwanted(fl *flight, head Head, first func() []byte) error {
	f.mu.Lock()
	j := fl.jury
	f.mu.Unlock()
	if j.lets {
		return nil
	}
	if j.magic {
		head.Magic = first()
	}
	head.Early = true
	var denial error
	for _, judge := range j.judges {
		if denial = judge(head); denial == nil {
			return nil
		}
	}
	fl.denied = &head
	return denial
}

// appeal is for who finds that a flight was refused to all that were asked: its own Judge decides about the same response, and may have it fetched anew.
func (f *Filler) appeal(ctx context.Context, r *Request, fl *flight, policy Policy, fwd string) (*Answer, error) {
	if r.Judge != nil {
		head := *fl.denied
		head.Early = false
		if err := r.Judge(head); err != nil {
			return nil, err
		}
	}
	return f.alone(ctx, r, policy, fwd)
}

// judged is the Answer to a request, unless its Judge denies it.
func (f *Filler) judged(ctx context.Context, r *Request, a *Answer) (*Answer, error) {
	if r.Judge == nil || a.judged {
		return a, nil
	}
	head := a.head()
	if r.Magic {
		head.Magic = a.first()
	}
	err := r.Judge(head)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err() // what was to be looked at may not have come
	}
	if err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// head is what the Answer shows of its response.
func (a *Answer) head() Head {
	if a.entry != nil {
		return headOf(a.meta)
	}
	h := Head{Status: a.Status, Header: a.Header, Size: -1, URL: a.URL}
	if _, total, ok := strings.Cut(a.Header.Get("Content-Range"), "/"); ok && a.Status == http.StatusPartialContent {
		h.Size = size(total)
	} else if a.Status != http.StatusPartialContent {
		h.Size = size(a.Header.Get("Content-Length"))
	}
	_, h.Listing = a.Body.(listed)
	return h
}

// listed is a body that is a listing of this machine's making.
type listed interface{ IsListing() }

func size(s string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func headOf(m *cache.Meta) Head {
	return Head{Status: m.Status, Header: m.Header, Size: m.Size, Listing: m.Listing, URL: m.URL}
}

// sniffed is how much of a body tells what it is.
const sniffed = 512

// first are the first bytes of the representation. Of a body that only passes through they stay in it.
func (a *Answer) first() []byte {
	if a.entry != nil {
		head := make([]byte, min(sniffed, max(0, a.entry.Size())))
		n, _ := a.entry.ReadAt(head, 0) // who reads on meets the error again
		return head[:n]
	}
	if _, made := a.Body.(listed); made || a.Body == nil ||
		a.Status == http.StatusPartialContent && !strings.HasPrefix(a.Header.Get("Content-Range"), "bytes 0-") {
		return nil
	}
	head, body, _ := peek(a.Body)
	a.Body = body
	return head
}

// peek reads the first bytes of a body and puts them back. An error other than the body's end is there for its reader too.
func peek(body io.ReadCloser) (head []byte, whole io.ReadCloser, err error) {
	head = make([]byte, sniffed)
	n, err := io.ReadFull(body, head)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		err = nil
	}
	head = head[:n]
	return head, &pushedBack{io.MultiReader(bytes.NewReader(head), body), body}, err
}

// first are the first bytes of an origin's answer, which stay in its body.
func (got *fetched) first() []byte {
	if got.head == nil && got.resp.ContentLength != 0 {
		got.head, got.resp.Body, got.broke = peek(got.resp.Body)
	}
	return got.head
}

// firstOf are the first bytes of a draft, as soon as they may be seen.
func firstOf(ctx context.Context, d cache.Draft, size int64) []byte {
	end := int64(-1)
	if size >= 0 {
		end = min(size, sniffed)
	}
	s := d.Section(ctx, 0, end)
	defer s.Close()
	head := make([]byte, sniffed)
	n, _ := io.ReadFull(s, head) // an error is its reader's
	return head[:n]
}

// judgeDraft judges what is read from a growing draft.
func (r *Request) judgeDraft(ctx context.Context, fl *flight) error {
	if r.Judge == nil {
		return nil
	}
	head := headOf(fl.meta)
	if r.Magic {
		head.Magic = firstOf(ctx, fl.draft, fl.meta.Size)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return r.Judge(head)
}

// whole is r without what asks for a part of the body, when its Judge wants to see the beginning and the answer will only pass through.
func (r *Request) whole() *Request {
	if !r.Magic || len(r.Header["Range"]) == 0 {
		return r
	}
	out := *r
	out.Header = r.Header.Clone()
	delete(out.Header, "Range")
	delete(out.Header, "If-Range")
	return &out
}

// redirect sends a client to the upstream for what is filled behind, if it may have that: where it goes nobody would ask.
func (f *Filler) redirect(ctx context.Context, r *Request, want freshness.Request, policy Policy, to string) (*Answer, error) {
	if r.Judge == nil {
		f.refresh(r, policy, time.Time{})
	} else {
		policy.OnMiss = StreamMiss
		a, err := f.miss(ctx, r, want, policy)
		if err == nil {
			a, err = f.judged(ctx, r, a)
		}
		if err != nil || a.Status != http.StatusOK && a.Status != http.StatusPartialContent {
			return a, err
		}
		a.Close()
	}
	return &Answer{
		Status:  http.StatusFound,
		Header:  http.Header{"Location": {to}, "Cache-Control": {"no-store"}, "Content-Length": {"0"}},
		Outcome: Outcome{Cache: Miss, Fwd: "uri-miss", Detail: "redirected"},
		judged:  true,
	}, nil
}
