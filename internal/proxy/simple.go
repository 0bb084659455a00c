package proxy

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"

	"zcache/internal/cache"
	"zcache/internal/ecosystem"
	"zcache/internal/fill"
)

// ofTheOrigins are the fields that speak of the bytes of the origin's page, and so of none that is made of it.
var ofTheOrigins = []string{
	"Content-Length", "Content-Range", "Etag", "Repr-Digest", "Content-Digest", "Digest", "Content-Md5", "Accept-Ranges",
}

// simple turns the page of a Python simple index into one whose links to files lead through this instance. What is stored stays as the origin sent it. Any
// other answer, and all that is not asked for in gateway form, is returned as it is. The caller closes the Answer that it gets, should it be another
// one.
func (g *Gateway) simple(r *http.Request, x *exchange, to place, a *fill.Answer) (*fill.Answer, error) {
	if to.asked != gatewayForm || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return a, nil
	}
	switch a.Status {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
	default:
		return a, nil
	}
	entry, m := a.Entry()
	if m != nil && m.Listing {
		return a, nil // the page as it is stored was asked for
	}
	project := ofProject(to, a)
	if a.Status != http.StatusOK && entry == nil {
		// Conditions and ranges of the client's speak of our page, and were taken to speak of the origin's.
		if !mayHaveBeenSimple(a, project) || r.Body != nil && r.Body != http.NoBody {
			return a, nil
		}
		return g.wholeSimple(r, x, to, a, project)
	}
	if p, ok := g.simplePage(to, a); ok && isSimple(r, a, p.Form, project) {
		turn(r, a, p)
	}
	return a, nil
}

// wholeSimple is simple for a part of a page, or for none of it, that came past the store. Each request is one trip at a time: where few may be under way to
// an upstream, one that held its part while it waits to ask for the whole would wait for itself. So what is no page is asked for again.
func (g *Gateway) wholeSimple(r *http.Request, x *exchange, to place, a *fill.Answer, project bool) (*fill.Answer, error) {
	part := a.Body != nil
	if part {
		a.Body.Close()
		a.Body = nil
	}
	whole, err := g.cfg.Filler.Get(r.Context(), g.equip(x, unconditional(r, to)))
	if err != nil {
		return a, err
	}
	p, ok := g.simplePage(to, whole)
	if whole.Status == http.StatusOK && ok && isSimple(r, whole, p.Form, project) {
		turn(r, whole, p)
		return whole, nil
	}
	whole.Close()
	if !part {
		return a, nil
	}
	return g.cfg.Filler.Get(r.Context(), g.equip(x, &fill.Request{Key: to.key, Method: r.Method, Header: r.Header, Credential: to.credential}))
}

// ofProject says that an answer lies where an index has the page of a project, at its origin or here.
func ofProject(to place, a *fill.Answer) bool {
	if ecosystem.SimpleProject(to.shown(to.key)) {
		return true
	}
	u, err := url.Parse(a.URL)
	return err == nil && ecosystem.SimpleProject(u.Path)
}

// mayHaveBeenSimple says that an answer without the page, or with parts of it, may be about one of a simple index.
func mayHaveBeenSimple(a *fill.Answer, project bool) bool {
	kind := a.Header.Get("Content-Type")
	switch ecosystem.SimpleFormOf(kind) {
	case ecosystem.SimpleHTML, ecosystem.SimpleJSON:
		return true
	case ecosystem.MaybeSimple:
		return project
	}
	return project && (kind == "" || strings.HasPrefix(kind, "multipart/byteranges"))
}

// unconditional asks for the whole of what a request is for a part of.
func unconditional(r *http.Request, to place) *fill.Request {
	h := r.Header.Clone()
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"} {
		delete(h, name)
	}
	return &fill.Request{Key: to.key, Method: r.Method, Header: h, Credential: to.credential}
}

// simplePage is what an answer would be as a simple index; false when its type, or its size, is none's.
func (g *Gateway) simplePage(to place, a *fill.Answer) (p *ecosystem.SimplePage, ok bool) {
	h, size, base := a.Header, a.Length, a.URL
	if _, m := a.Entry(); m != nil {
		if h, size = m.Header, m.Size; m.Base != "" {
			base = m.Base
		}
	}
	form := ecosystem.SimpleFormOf(h.Get("Content-Type"))
	u, err := url.Parse(base)
	if err != nil || base == "" || form == ecosystem.NotSimple || size > ecosystem.MaxSimple {
		return nil, false
	}
	if len(h["Content-Encoding"]) > 0 && !gzipped(h) {
		return nil, false // in a coding that is not read here
	}
	return &ecosystem.SimplePage{Form: form, URL: u, Shown: to.shown(to.key), Place: g.leads(to)}, true
}

// leads says where a client finds what the pages of a hub link to, and takes note of the sites that files lie at.
func (g *Gateway) leads(to place) func(u *url.URL, file bool) string {
	last := ""
	return func(u *url.URL, file bool) string {
		key, ok := g.cfg.KeyOf(to.hub.Name, u)
		path := ""
		switch {
		case ok:
			if path = to.shown(key); strings.HasPrefix(path, "//") {
				path = "/." + path // it would read as a host
			}
		case file:
			var err error
			if key, err = cache.FilesKeyOf(u); err != nil {
				return ""
			}
			if site := key.Site(); site != last { // nearly all links of a page lead to one
				g.learned.note(to.hub.Name, site, to.key.Parent().Path())
				last = site
			}
			path = "/" + cache.FilesHub + key.Path()
		default:
			return ""
		}
		if q, has := key.Query(); has {
			path += "?" + q
		}
		return path
	}
}

// How much of a page is looked at to tell what it is, in bytes: of one where a project's would be, for a link to a file; of any other its head.
const (
	lookedAt     = 64 << 10
	lookedAtHead = 4 << 10
)

// isSimple looks at the page, whose body it leaves as it was. A HEAD for what is not held is answered as if the page were what its place says.
func isSimple(r *http.Request, a *fill.Answer, form ecosystem.SimpleForm, project bool) bool {
	if form != ecosystem.MaybeSimple {
		return true
	}
	most := lookedAtHead
	if project {
		most = lookedAt
	}
	looks := func(head []byte) (is, sure bool) { return ecosystem.LooksSimple(opened(a.Header, head), project) }
	if e, _ := a.Entry(); e != nil {
		head := make([]byte, min(int64(most), e.Size()))
		n, err := e.ReadAt(head, 0)
		is, _ := looks(head[:n])
		return is && (err == nil || err == io.EOF)
	}
	if a.Body == nil {
		return project && r.Method == http.MethodHead
	}
	body := a.Body
	var head []byte
	var is, sure bool
	var err error
	for piece := make([]byte, lookedAtHead); err == nil && !sure && len(head) < most; {
		var n int
		n, err = body.Read(piece)
		head = append(head, piece[:n]...)
		is, sure = looks(head)
	}
	var rest io.Reader = body
	if err != nil {
		rest = failing{err}
	}
	a.Body = &replayed{io.MultiReader(bytes.NewReader(head), rest), body}
	return is
}

// A replayed body is one that somebody has read the beginning of.
type replayed struct {
	io.Reader
	io.Closer
}

func gzipped(h http.Header) bool {
	coding := strings.ToLower(strings.TrimSpace(strings.Join(h["Content-Encoding"], ",")))
	return coding == "gzip" || coding == "x-gzip"
}

// gzipMagic begins what is coded by gzip (RFC 1952). Servers there are that say so of what is not.
var gzipMagic = []byte("\x1f\x8b")

// opened is as much of a page as its beginning tells.
func opened(h http.Header, head []byte) []byte {
	if !gzipped(h) || !bytes.HasPrefix(head, gzipMagic) {
		return head
	}
	z, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(z, lookedAt)) // it breaks off where head does
	return text
}

// turn makes the answer one with the rewritten page.
func turn(r *http.Request, a *fill.Answer, p *ecosystem.SimplePage) {
	entry, m := a.Entry()
	tag := simpleTag(a, p)
	h := a.Header.Clone()
	for _, name := range ofTheOrigins {
		delete(h, name)
	}
	delete(h, "Content-Encoding")
	if m != nil {
		h["Content-Type"] = m.Header["Content-Type"] // several ranges have another, and what is outside of it none
	}
	h["Accept-Ranges"] = []string{"none"}
	if tag != "" {
		h["Etag"] = []string{tag}
	}
	lines := r.Header["If-None-Match"]
	unmodified := a.Status == http.StatusNotModified && len(lines) == 0 || tag != "" && unchanged(lines, tag)
	body := a.Body
	if entry != nil && !unmodified && r.Method == http.MethodGet && a.Status != http.StatusOK {
		if body != nil {
			body.Close()
		}
		body = entry.Section(0, -1)
	}
	a.Status, a.Body, a.Length = http.StatusOK, nil, 0
	switch {
	case unmodified:
		a.Status = http.StatusNotModified
		if body != nil {
			body.Close()
		}
	case body != nil:
		a.Body, a.Length = &replayed{p.Rewrite(decoded(a.Header, body)), body}, -1
	}
	a.Header = h
}

// simpleTag is a weak entity tag of the rewritten page, of the origin's tag or of the digest of its page: "" when there is neither. The path counts, for
// the links are made for it.
func simpleTag(a *fill.Answer, p *ecosystem.SimplePage) string {
	of := a.Header.Get("Etag")
	if _, m := a.Entry(); m != nil && of == "" && m.SHA256 != [32]byte{} {
		of = string(m.SHA256[:])
	}
	if of == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("simple\x00" + of + "\x00" + p.Shown))
	return `W/"` + hex.EncodeToString(sum[:12]) + `"`
}

// decoded is the text of a page.
func decoded(h http.Header, body io.Reader) io.Reader {
	if !gzipped(h) {
		return body
	}
	return &gunzip{src: body}
}

// gunzip undoes gzip if that is what there is.
type gunzip struct {
	src  io.Reader
	text io.Reader
}

func (z *gunzip) Read(p []byte) (int, error) {
	if z.text == nil {
		head := make([]byte, len(gzipMagic))
		n, err := io.ReadFull(z.src, head)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		whole := io.MultiReader(bytes.NewReader(head[:n]), z.src)
		if z.text = whole; bytes.Equal(head[:n], gzipMagic) {
			if z.text, err = gzip.NewReader(whole); err != nil {
				z.text = failing{err}
			}
		}
	}
	return z.text.Read(p)
}
