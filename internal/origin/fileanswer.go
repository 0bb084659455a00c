package origin

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zcache/internal/listing"
)

// settled is the age from which on a file's time tells its states apart. Some file systems keep whole or even pairs of seconds, and a file
// that has just been written may be written once more.
const settled = 2 * time.Second

// fromTree answers req from the directory that u is.
func (t *Transport) fromTree(req *http.Request, to target, u *upstream) outcome {
	if err := req.Context().Err(); err != nil {
		kind := ""
		if err == context.DeadlineExceeded {
			kind = "connection_timeout"
		}
		return outcome{err: &Error{verb(req), to.name(), kind, err}}
	}
	a := &treeAnswer{req: req, up: u, name: to.name(), now: t.conf.Now(), header: http.Header{}}
	resp, err := a.answer()
	if err != nil {
		failure := &Error{verb(req), to.name(), kindNotThere, pathless(err)}
		t.metrics.failed(u.label)
		u.health.local(a.now, failure.Error())
		return outcome{err: failure}
	}
	t.metrics.answered(u.label, resp.StatusCode)
	u.health.local(a.now, "")
	shown := req.WithContext(req.Context())
	shown.URL, shown.Host = to.shown(), to.host
	resp.Request = shown
	return outcome{resp: resp}
}

// A treeAnswer is a response of a file upstream that is being made.
type treeAnswer struct {
	req    *http.Request
	up     *upstream
	name   string // the URL, for errors
	now    time.Time
	header http.Header
}

// answer fails only when it could not be found out what is there.
func (a *treeAnswer) answer() (*http.Response, error) {
	a.header.Set("Date", a.now.UTC().Format(http.TimeFormat))
	switch a.req.Method {
	case http.MethodGet, http.MethodHead, "":
	case http.MethodOptions:
		a.header.Set("Allow", "GET, HEAD")
		return a.reply(http.StatusNoContent, http.NoBody, 0), nil
	default:
		a.header.Set("Allow", "GET, HEAD")
		return a.word(http.StatusMethodNotAllowed), nil
	}
	f, err := a.up.tree.find(a.req.URL.Opaque)
	if err != nil {
		if status := fileStatus(err); status != 0 {
			return a.word(status), nil
		}
		return nil, err
	}
	switch {
	case f.moved != "":
		if a.req.URL.RawQuery != "" {
			f.moved += "?" + a.req.URL.RawQuery
		}
		a.header.Set("Location", f.moved)
		return a.word(http.StatusMovedPermanently), nil
	case f.dir != nil:
		return a.ofDir(f), nil
	}
	return a.ofFile(f), nil
}

// ofDir describes a directory. If-Modified-Since is not heard: the directory's time is older than what was written into its files since.
func (a *treeAnswer) ofDir(f *found) *http.Response {
	f.dir.ctx, f.dir.name, f.dir.count = a.req.Context(), a.name, a.up.bytes
	tag := f.dir.tag()
	if tag != "" {
		a.header.Set("Etag", tag)
	}
	a.lastModified(f.info.ModTime())
	if a.named(tag) {
		f.close()
		return a.reply(http.StatusNotModified, http.NoBody, 0)
	}
	a.header.Set("Content-Type", "application/json")
	if a.req.Method == http.MethodHead {
		f.close()
		return a.reply(http.StatusOK, http.NoBody, -1)
	}
	return a.reply(http.StatusOK, f.dir, -1)
}

func (a *treeAnswer) ofFile(f *found) *http.Response {
	size, modTime := f.info.Size(), f.info.ModTime()
	age := a.now.Sub(modTime)
	sure := age >= settled || age <= -settled
	tag := listing.FileTag(size, modTime)
	if !sure {
		tag = "W/" + tag
	}
	a.header.Set("Etag", tag)
	a.lastModified(modTime)
	if a.named(tag) || sure && a.unmodified(modTime) {
		f.close()
		return a.reply(http.StatusNotModified, http.NoBody, 0)
	}
	a.header.Set("Accept-Ranges", "bytes")
	off, end, ranged := a.ranged(size, tag, sure)
	switch {
	case !ranged:
		off, end = 0, size
	case off >= end:
		f.close()
		a.header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return a.word(http.StatusRequestedRangeNotSatisfiable)
	}
	a.header.Set("Content-Type", typeOf(f.name))
	a.header.Set("Content-Length", strconv.FormatInt(end-off, 10))
	if a.req.Method == http.MethodHead {
		f.close()
		return a.reply(http.StatusOK, http.NoBody, size)
	}
	body := &LocalFile{ctx: a.req.Context(), file: f.file, info: f.info, name: a.name, off: off, count: a.up.bytes}
	if ranged {
		a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, end-1, size))
		return a.reply(http.StatusPartialContent, &localPart{body, end}, end-off)
	}
	return a.reply(http.StatusOK, body, size)
}

// lastModified tells a time that is past. One in the future must not be sent (RFC 9110 section 8.8.2.1), and the present in its place would be
// another one each time.
func (a *treeAnswer) lastModified(t time.Time) {
	if !t.After(a.now) {
		a.header.Set("Last-Modified", t.UTC().Format(http.TimeFormat))
	}
}

// named says whether If-None-Match names tag, compared weakly (RFC 9110 section 13.1.2). No tag of ours has a comma in it.
func (a *treeAnswer) named(tag string) bool {
	for member := range strings.SplitSeq(strings.Join(a.req.Header.Values("If-None-Match"), ","), ",") {
		member = strings.TrimSpace(member)
		if member == "*" || tag != "" && strings.TrimPrefix(member, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// unmodified says whether If-Modified-Since counts and is no earlier than the file's time.
func (a *treeAnswer) unmodified(modTime time.Time) bool {
	if len(a.req.Header.Values("If-None-Match")) > 0 {
		return false
	}
	since, err := http.ParseTime(a.req.Header.Get("If-Modified-Since"))
	return err == nil && !modTime.Truncate(time.Second).After(since)
}

// ranged is the one range that is asked for. With off >= end it cannot be satisfied; ok is false for a request that is to be answered with the whole:
// one for several ranges, one whose If-Range names another state of the file.
func (a *treeAnswer) ranged(size int64, tag string, sure bool) (off, end int64, ok bool) {
	lines := a.req.Header.Values("Range")
	if len(lines) != 1 || a.req.Method == http.MethodHead {
		return 0, 0, false
	}
	if want := a.req.Header.Get("If-Range"); want != "" && (!sure || want != tag && want != a.header.Get("Last-Modified")) {
		return 0, 0, false
	}
	unit, spec, _ := strings.Cut(lines[0], "=")
	first, last, found := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || !digits(first) || !digits(last) || first+last == "" {
		return 0, 0, false
	}
	if first == "" {
		return max(0, size-number(last)), size, true
	}
	off, end = number(first), size
	if last != "" {
		if number(last) < off {
			return 0, 0, false
		}
		end = min(size, number(last)+1)
	}
	return off, end, true
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// number is digits as a number. One too large for any file is as large as can be.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 63)
	if err != nil {
		return 1<<62 - 1
	}
	return min(n, 1<<62-1)
}

// word makes a response of which the status is all there is to say.
func (a *treeAnswer) word(status int) *http.Response {
	return a.say(status, http.StatusText(status)+"\n")
}

// say makes a response of the status with a text for people.
func (a *treeAnswer) say(status int, text string) *http.Response {
	a.header.Set("Content-Type", textType)
	a.header.Set("Content-Length", strconv.Itoa(len(text)))
	if a.req.Method == http.MethodHead {
		return a.reply(status, http.NoBody, int64(len(text)))
	}
	return a.reply(status, io.NopCloser(strings.NewReader(text)), int64(len(text)))
}

func (a *treeAnswer) reply(status int, body io.ReadCloser, length int64) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.header, Body: body, ContentLength: length,
	}
}
