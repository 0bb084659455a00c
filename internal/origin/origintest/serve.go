package origintest

import (
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"strconv"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

// changed is the Last-Modified of a file that was given none.
var changed = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (o *Origin) serve(w http.ResponseWriter, r *http.Request) {
	f, n := o.record(r)
	switch {
	case f == nil:
		http.Error(w, "nothing here", http.StatusNotFound)
	case f.handler != nil:
		f.handler.ServeHTTP(w, r)
	default:
		a := answerFor(f.opts, n)
		o.answer(w, r, f, a)
	}
}

func (o *Origin) answer(w http.ResponseWriter, r *http.Request, f *file, a *answer) {
	for _, release := range a.held {
		wait(r, release)
	}
	if a.abort {
		panic(http.ErrAbortHandler)
	}
	if a.raw != nil {
		o.raw(w, func(conn io.Writer) { _, _ = conn.Write(a.raw) })
		return
	}
	sendInterim(w, a)
	a.fields(w.Header(), f.content)
	body := &faulty{ResponseWriter: w, o: o, f: f, a: a, r: r}
	switch {
	case a.length != nil:
		o.lie(w, f, a)
	case a.gzip:
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(a.code())
		z := gzip.NewWriter(body)
		_, _ = io.Copy(z, f.content.Reader())
		_ = z.Close()
	case a.status != 0 || a.chunked:
		if !a.chunked && hasBody(a.code()) {
			w.Header().Set("Content-Length", strconv.FormatInt(f.content.Size(), 10))
		}
		w.WriteHeader(a.code())
		if a.chunked {
			_ = http.NewResponseController(w).Flush() // else a short body gets a length after all
		}
		if r.Method != http.MethodHead && hasBody(a.code()) {
			_, _ = io.Copy(body, f.content.Reader())
		}
	default:
		http.ServeContent(body, a.simplified(r), "", a.modTime(), f.content.Reader())
	}
}

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

func hasBody(code int) bool {
	return code >= 200 && code != http.StatusNoContent && code != http.StatusNotModified
}

func (a *answer) modTime() time.Time {
	if a.modified == nil {
		return changed
	}
	return *a.modified
}

// fields sets what the response says of the content, but for what the framing decides.
func (a *answer) fields(h http.Header, c *Content) {
	maps.Copy(h, a.header)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.status != 0 && a.status != http.StatusOK && a.status != http.StatusNotModified {
		return
	}
	tag := `"` + c.tag + `"`
	if a.etag != nil {
		tag = *a.etag
	}
	if tag != "" && h.Get("ETag") == "" {
		h.Set("ETag", tag)
	}
	if t := a.modTime(); !t.IsZero() && h.Get("Last-Modified") == "" {
		h.Set("Last-Modified", t.UTC().Format(http.TimeFormat))
	}
}

// simplified hides from ServeContent what the answer ignores.
func (a *answer) simplified(r *http.Request) *http.Request {
	if !a.noRange && !a.noConditions {
		return r
	}
	r = r.Clone(r.Context())
	if a.noRange {
		r.Header.Del("Range")
	}
	if a.noConditions {
		for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
			r.Header.Del(name)
		}
	}
	return r
}

func sendInterim(w http.ResponseWriter, a *answer) {
	for _, h := range a.interim {
		maps.Copy(w.Header(), h)
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
	}
}

// lie sends a Content-Length that is not the body's, which net/http's own writer would not do.
func (o *Origin) lie(w http.ResponseWriter, f *file, a *answer) {
	h := w.Header().Clone()
	h.Set("Content-Length", strconv.FormatInt(*a.length, 10))
	h.Set("Connection", "close")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	o.raw(w, func(conn io.Writer) {
		fmt.Fprintf(conn, "HTTP/1.1 %d %s\r\n", a.code(), http.StatusText(a.code()))
		_ = h.Write(conn)
		_, _ = io.WriteString(conn, "\r\n")
		n, _ := io.Copy(conn, f.content.Reader())
		o.addSent(f, int(n))
	})
}

// raw takes the connection over from the server, lets write speak and closes it.
func (o *Origin) raw(w http.ResponseWriter, write func(io.Writer)) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic("origintest: raw answers need HTTP/1.1: " + err.Error())
	}
	defer conn.Close()
	o.mu.Lock()
	o.hijacked[conn] = true
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.hijacked, conn)
	}()
	write(buffered)
	_ = buffered.Flush()
}

// wait returns when release is closed or yields; the handler ends when the client or the server is gone first.
func wait(r *http.Request, release <-chan struct{}) {
	select {
	case <-release:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
}

// faulty is a ResponseWriter that stalls, breaks off and counts.
type faulty struct {
	http.ResponseWriter
	o       *Origin
	f       *file
	a       *answer
	r       *http.Request
	written int64
}

func (w *faulty) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		part := p[:min(int64(len(p)), w.allowed())]
		if len(part) == 0 {
			w.fault()
			continue
		}
		n, err := w.ResponseWriter.Write(part)
		total += n
		w.written += int64(n)
		w.o.addSent(w.f, n)
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	if w.allowed() == 0 {
		w.fault()
	}
	return total, nil
}

// allowed is the number of bytes that may be written before the next fault.
func (w *faulty) allowed() int64 {
	n := int64(1 << 62)
	if w.a.cutAfter >= 0 {
		n = min(n, w.a.cutAfter-w.written)
	}
	if w.a.stall != nil {
		n = min(n, w.a.stall.after-w.written)
	}
	return max(n, 0)
}

// fault flushes what was written, so that the client has it, and does what is due here.
func (w *faulty) fault() {
	if w.written == 0 {
		w.ResponseWriter.WriteHeader(w.a.code()) // else Flush would send nothing to stall after
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	if w.a.stall != nil && w.written >= w.a.stall.after {
		wait(w.r, w.a.stall.release)
		w.a.stall = nil
	}
	if w.a.cutAfter >= 0 && w.written >= w.a.cutAfter {
		panic(http.ErrAbortHandler)
	}
}
