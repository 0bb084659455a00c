package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// errBadSize says that a server told no size where it should have.
var errBadSize = errors.New("the size is no number")

// errClosed says that a file or directory which is there was not sent.
var errClosed = errors.New("it is there and may not be read")

// file answers with a file, with where a directory has its URL, or with why there is neither.
func (a *ftpAnswer) file(s *ftpSession) (*http.Response, error) {
	name := a.wire(s)
	size, err := s.conn.FileSize(name)
	switch reply, ok := negative(err); {
	case err == nil && size >= 0:
	case ok:
		isNone, err := a.enter(s, name)
		switch {
		case err != nil:
			return nil, err
		case isNone == nil:
			return a.moved(), nil
		case !lacking(reply.Code) && replyStatus(isNone) != http.StatusNotFound: // it says why, and SIZE may not
			return a.told(replyStatus(isNone), isNone), nil
		case !lacking(reply.Code):
			return a.told(replyStatus(reply), reply), nil
		}
		size = -1
	case err == nil || errors.Is(err, strconv.ErrSyntax) || errors.Is(err, strconv.ErrRange):
		return nil, errBadSize
	default:
		return nil, err
	}
	modTime, err := modified(s, name)
	if err != nil {
		return nil, err
	}
	return a.describe(s, name, size, modTime)
}

// enter finds out whether the name is a directory's. isNone is the reply that says that it is not.
func (a *ftpAnswer) enter(s *ftpSession, name string) (isNone *textproto.Error, err error) {
	err = s.conn.ChangeDir(name)
	if reply, ok := negative(err); ok {
		return reply, nil
	}
	return nil, err
}

// moved answers with the URL of the directory that was asked for without its slash.
func (a *ftpAnswer) moved() *http.Response {
	raw := cutTypeCode(a.raw)
	to := "." + raw[strings.LastIndexByte(raw, '/'):] + "/" // without the dot, "a:b/" would have a scheme
	if a.req.URL.RawQuery != "" {
		to += "?" + a.req.URL.RawQuery
	}
	a.header.Set("Location", to)
	return a.word(http.StatusMovedPermanently)
}

// modified is the file's time, zero where the server does not tell it.
func modified(s *ftpSession, name string) (time.Time, error) {
	if !s.conn.IsGetTimeSupported() {
		return time.Time{}, nil
	}
	t, err := s.conn.GetTime(name)
	var unreadable *time.ParseError
	if _, ok := negative(err); ok || errors.As(err, &unreadable) {
		return time.Time{}, nil
	}
	return t, err
}

// describe answers with what is known of the file and what was asked for of it. The entity tag is weak: two states of one second can have the same
// size. A range is given for If-Range with the time alone, which the server and whoever resumes have both seen to be past.
func (a *ftpAnswer) describe(s *ftpSession, name string, size int64, modTime time.Time) (*http.Response, error) {
	tag, sure := "", false
	if !modTime.IsZero() {
		age := a.now.Sub(modTime)
		sure = age >= settled || age <= -settled
		a.lastModified(modTime)
		if size >= 0 {
			tag = fmt.Sprintf(`W/"%x-%x"`, uint64(modTime.Unix()), size)
			a.header.Set("Etag", tag)
		}
	}
	if a.named(tag) || sure && a.unmodified(modTime) {
		return a.reply(http.StatusNotModified, http.NoBody, 0), nil
	}
	off, end, ranged := int64(0), size, false
	if size >= 0 {
		a.header.Set("Accept-Ranges", "bytes")
		if off, end, ranged = a.rangeOf(size, sure); ranged && off >= end {
			a.header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
			return a.word(http.StatusRequestedRangeNotSatisfiable), nil
		}
		a.header.Set("Content-Length", strconv.FormatInt(end-off, 10))
	}
	a.header.Set("Content-Type", typeOf(a.path.path))
	if a.req.Method == http.MethodHead {
		return a.reply(http.StatusOK, http.NoBody, size), nil
	}
	body, err := a.retrieve(s, name, off)
	var reply *textproto.Error
	if errors.As(err, &reply) && off > 0 && (lacking(reply.Code) || reply.Code == 501) { // no REST: the whole, then
		off, end, ranged = 0, size, false
		a.header.Set("Content-Length", strconv.FormatInt(size, 10))
		a.header.Del("Accept-Ranges")
		body, err = a.retrieve(s, name, 0)
	}
	if err != nil && size >= 0 {
		return nil, a.closed(err)
	}
	if err != nil {
		return nil, err
	}
	if size < 0 {
		body.left = -1
		return a.reply(http.StatusOK, body, -1), nil
	}
	body.left, body.part = end-off, end < size
	if !ranged {
		return a.reply(http.StatusOK, body, size), nil
	}
	a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", off, end-1, size))
	return a.reply(http.StatusPartialContent, body, end-off), nil
}

// rangeOf is the range to send, the whole file where none is to be honoured.
func (a *ftpAnswer) rangeOf(size int64, sure bool) (off, end int64, ranged bool) {
	if off, end, ranged = a.ranged(size, "", sure); !ranged {
		return 0, size, false
	}
	return off, end, true
}

// retrieve begins the transfer.
func (a *ftpAnswer) retrieve(s *ftpSession, name string, off int64) (*ftpBody, error) {
	transfer, err := s.conn.RetrFrom(name, uint64(off))
	if err != nil {
		return nil, a.unopened(s, err)
	}
	return &ftpBody{session: s, transfer: transfer}, nil
}
