package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"zcache/internal/listing"
)

// speaksFTP says that targets of this scheme are asked by FTP. ftps is FTP on its usual port that changes to TLS before the login (RFC 4217) and is
// never without it.
func speaksFTP(scheme string) bool { return scheme == "ftp" || scheme == "ftps" }

// sendFTP makes one request of req by FTP and waits for what is the head of the response there: a file's size and time and the beginning of its
// transfer, the whole of a listing.
func (t *Transport) sendFTP(req *http.Request, to target, v *via) outcome {
	ctx, cancel := context.WithCancelCause(req.Context())
	pool, label := t.ftp, elsewhereLabel
	if v != nil {
		label = v.up.label
		if v.hub.ftp != nil {
			pool = v.hub.ftp
		}
	}
	a := &ftpAnswer{
		treeAnswer: treeAnswer{req: req, name: to.name(), now: t.conf.Now(), header: http.Header{}},
		ctx:        ctx, pool: pool, raw: to.path, count: t.counter(v),
	}
	a.login, a.ours = ftpLoginOf(req, to, v)
	resp, err := a.answer()
	if err != nil {
		cancel(err)
		return outcome{err: t.noResponse(req, to, v, err, a.reached), reached: a.reached}
	}
	t.metrics.answered(label, resp.StatusCode)
	shown := req.WithContext(req.Context())
	shown.URL, shown.Host = to.shown(), to.host
	resp.Request = shown
	end := func(error) {}
	switch {
	case v == nil:
	case a.reached == waiting:
		v.up.health.left(v.probe) // it was not asked
	default:
		end = t.judgeResponse(req.Method, resp, v, max(t.conf.Now().Sub(a.now), 1))
	}
	if _, streams := resp.Body.(*ftpBody); !streams { // it is all there
		end(nil)
		cancel(nil)
		return outcome{resp: resp, reached: a.reached}
	}
	resp.Body = &watchedBody{
		rc: resp.Body, ctx: ctx, parent: req.Context(), cancel: cancel, idle: t.conf.Idle, name: to.name(), count: a.count, end: end,
	}
	return outcome{resp: resp, reached: a.reached}
}

func ftpLoginOf(req *http.Request, to target, v *via) (login ftpLogin, ours bool) {
	_, port := splitRule(to.host)
	login = ftpLogin{addr: net.JoinHostPort(hostname(to.host), portOf(to.scheme, port)), secure: to.scheme == "ftps"}
	login.user, login.password, ours = ftpCredentials(req, v)
	return login, ours
}

// An ftpAnswer is a response that is being made of what an FTP server says.
type ftpAnswer struct {
	treeAnswer
	ctx     context.Context // the request's; its end ends both connections
	pool    *ftpPool
	login   ftpLogin
	ours    bool // the credentials are not the client's
	raw     string
	path    ftpName
	telnet  bool // bytes of 255 are doubled
	spoilt  bool // the dialogue is out of step
	count   counter
	reached phase
}

// answer fails only when the server could not be asked, or not to the end.
func (a *ftpAnswer) answer() (*http.Response, error) {
	a.anew()
	switch a.req.Method {
	case http.MethodGet, http.MethodHead, "":
	case http.MethodOptions:
		a.header.Set("Allow", "GET, HEAD")
		return a.reply(http.StatusNoContent, http.NoBody, 0), nil
	default:
		a.header.Set("Allow", "GET, HEAD")
		return a.word(http.StatusMethodNotAllowed), nil
	}
	if strings.ContainsAny(a.login.user+a.login.password, "\r\n\x00") {
		return a.word(http.StatusBadRequest), nil
	}
	var err error
	switch a.path, err = parseFTPName(a.raw); {
	case errors.Is(err, errNoFile):
		return a.word(http.StatusNotFound), nil
	case err != nil:
		return a.word(http.StatusBadRequest), nil
	}
	// A second try is for a connection that the server had given up, for one that broke in between, and for a quirk that was found out.
	resp, again, err := a.try(false)
	if again {
		resp, _, err = a.try(true)
	}
	return resp, err
}

// anew forgets what was to be said of a file.
func (a *ftpAnswer) anew() {
	a.header = http.Header{"Date": {a.now.UTC().Format(http.TimeFormat)}}
}

// errQuirk says that the server does not do what it offered, and that a new session knows.
var errQuirk = errors.New("the server does not do what it offers")

// try asks once. again says that a new session may do better.
func (a *ftpAnswer) try(fresh bool) (resp *http.Response, again bool, err error) {
	a.anew()
	s, err := a.pool.take(a.ctx, a.login, fresh, &a.reached)
	if err != nil {
		resp, err := a.refused(err)
		return resp, false, err
	}
	resp, err = a.ask(s)
	if err == nil {
		if _, streams := resp.Body.(*ftpBody); !streams {
			a.settle(s)
		}
		return resp, false, nil
	}
	a.pool.drop(s)
	var reply *textproto.Error
	switch said := errors.As(err, &reply); {
	case errors.Is(err, errQuirk):
		return nil, true, err
	case said && reply.Code == 421 && s.reused: // it had waited too long for a command
		return nil, true, err
	case errors.Is(err, errClosed):
		return a.told(http.StatusForbidden, reply), false, nil
	case said:
		return a.told(replyStatus(reply), reply), false, nil
	}
	lost := isBroken(err) || s.reused && isTimeout(err) // what stands between may forget a connection without a word
	return nil, lost && !errors.Is(err, listing.ErrCut) && a.ctx.Err() == nil, err
}

// settle gives the session back when the answer needs it no more.
func (a *ftpAnswer) settle(s *ftpSession) {
	if a.spoilt {
		a.pool.drop(s)
		return
	}
	a.pool.keep(s)
}

// refused answers for a login that was not taken, and for a server that has no room.
func (a *ftpAnswer) refused(err error) (*http.Response, error) {
	var (
		refusal *ftpRefusal
		reply   *textproto.Error
	)
	switch {
	case errors.Is(err, errBusy):
		return a.say(http.StatusServiceUnavailable, errBusy.Error()+"\n"), nil
	case errors.As(err, &refusal):
		a.reached = responding
		status := refusalStatus(refusal.reply, a.ours)
		resp := a.told(status, refusal.reply)
		if status == http.StatusUnauthorized {
			resp.Header.Set("Www-Authenticate", `Basic realm="FTP"`)
		}
		return resp, nil
	case errors.Is(err, errNoTLS):
		return nil, err
	case errors.As(err, &reply) && reply.Code/100 == 4: // its greeting
		a.reached = responding
		return a.told(http.StatusServiceUnavailable, reply), nil
	}
	return nil, err
}

// told makes a response of a negative reply, with the server's words.
func (a *ftpAnswer) told(status int, reply *textproto.Error) *http.Response {
	a.anew()
	line, _, _ := strings.Cut(reply.Msg, "\n")
	text := fmt.Sprintf("%s: the FTP server says %d %.200q\n", http.StatusText(status), reply.Code, line)
	return a.say(status, text)
}

// ask asks for the path. A control connection is one of Telnet, where a byte of 255 begins a command unless it is doubled: proftpd holds to that,
// vsftpd and pure-ftpd do not, and none says so.
func (a *ftpAnswer) ask(s *ftpSession) (*http.Response, error) {
	ask := a.file
	if a.path.slash {
		ask = a.directory
	}
	a.telnet = strings.Contains(a.path.path, "\xff")
	resp, err := ask(s)
	if !a.telnet || err != nil || resp.StatusCode != http.StatusNotFound {
		return resp, err
	}
	a.telnet = false
	again, err := ask(s)
	var spoilt textproto.ProtocolError
	if errors.As(err, &spoilt) { // it took the name for commands and answered to these
		a.spoilt = true
		return resp, nil
	}
	return again, err
}

// wire is the path as commands have it.
func (a *ftpAnswer) wire(s *ftpSession) string {
	name := a.path.at(s.home)
	if a.telnet {
		return strings.ReplaceAll(name, "\xff", "\xff\xff")
	}
	return name
}

// A negative is a reply that says what a name is, and after which the dialogue goes on.
func negative(err error) (reply *textproto.Error, ok bool) {
	ok = errors.As(err, &reply) && reply.Code >= 500 && reply.Code != 530
	return reply, ok
}

// directory answers with a listing. A directory that is entered first is told from an empty one by every server, and listed whatever its name is.
func (a *ftpAnswer) directory(s *ftpSession) (*http.Response, error) {
	isNone, err := a.enter(s, a.wire(s))
	if err != nil {
		return nil, err
	}
	if isNone != nil {
		return a.told(replyStatus(isNone), isNone), nil
	}
	a.header.Set("Content-Type", "application/json")
	if a.req.Method == http.MethodHead {
		return a.reply(http.StatusOK, http.NoBody, -1), nil
	}
	l, err := a.list(s)
	if errors.Is(err, listing.ErrForbidden) {
		return a.word(http.StatusForbidden), nil
	}
	if err != nil {
		return nil, err
	}
	dir := newFTPDir(l)
	size, tag, err := dir.measure()
	if err != nil {
		return nil, err
	}
	a.header.Set("Etag", tag)
	if a.named(tag) {
		return a.reply(http.StatusNotModified, http.NoBody, 0), nil
	}
	a.header.Set("Content-Length", fmt.Sprint(size))
	return a.reply(http.StatusOK, dir, size), nil
}

// list reads the directory that the session is in.
func (a *ftpAnswer) list(s *ftpSession) (*listing.Listing, error) {
	var (
		l     *listing.Listing
		wrong error
	)
	u := target{scheme: "ftp", path: cutTypeCode(a.raw)}.shown()
	s.sink = func(r io.Reader) error {
		l, wrong = listing.ParseFTP(listing.Source{URL: u, Now: a.now}, s.control.verb, &tallied{r, a.count})
		return wrong
	}
	_, err := s.conn.List("")
	switch reply := s.control.said(); {
	case wrong != nil:
		return nil, wrong
	case err != nil && s.control.verb == "MLSD" && lacking(reply.Code):
		a.pool.note(s, func(q *ftpQuirks) { q.noMLSD = true })
		return nil, errQuirk
	case err != nil && !finished(err):
		return nil, a.closed(a.unopened(s, err))
	case l == nil:
		return nil, io.ErrUnexpectedEOF
	default:
		if err := listing.ReplyError(reply.Msg); err != nil {
			return nil, err
		}
		if strings.Contains(reply.Msg, "failed to open directory") { // vsftpd, in a 226 that looks like success
			return nil, listing.ErrForbidden
		}
		return l, nil
	}
}

// closed says of a refusal to send what is there that it is one. vsftpd has the same words for what may not be read as for what is not there, and so
// has pure-ftpd.
func (a *ftpAnswer) closed(err error) error {
	if reply, ok := negative(err); ok && replyStatus(reply) == http.StatusNotFound {
		return fmt.Errorf("%w: %w", errClosed, err)
	}
	return err
}

// finished says that a transfer ended well: 226 is not the only reply that means so.
func finished(err error) bool {
	var reply *textproto.Error
	return errors.As(err, &reply) && reply.Code/100 == 2
}

// unopened looks at why a transfer did not begin. Some servers and what stands before them have EPSV, but not its ports.
func (a *ftpAnswer) unopened(s *ftpSession, err error) error {
	s.mu.Lock()
	unheard := s.unheard
	s.mu.Unlock()
	var prohibited *prohibitedError
	if unheard && s.control.verb == "EPSV" && !errors.As(err, &prohibited) && a.ctx.Err() == nil {
		a.pool.note(s, func(q *ftpQuirks) { q.noEPSV = true })
		return fmt.Errorf("%w: %w", errQuirk, err)
	}
	return err
}

// tallied counts what is read of a listing.
type tallied struct {
	r     io.Reader
	count counter
}

func (r *tallied) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.count.Add(float64(n))
	return n, err
}
