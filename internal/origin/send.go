package origin

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// via says on whose behalf a request is sent; nil for an absolute URL.
type via struct {
	hub   *hub
	up    *upstream
	probe bool
	token string        // got for a challenge; it takes the place of other credentials
	turn  time.Duration // to answer in, as another upstream is left; 0 = the usual one
}

// outcome is what came of sending a request once.
type outcome struct {
	resp    *http.Response
	err     *Error
	reached phase
	fatal   bool // no upstream would do better
}

func (o outcome) result() (*http.Response, error) {
	if o.err != nil {
		return nil, o.err
	}
	return o.resp, nil
}

// turn is how long an upstream is waited for while another is left. A parent that hangs would otherwise cost each request half a minute.
func (c *Config) turn(probe bool) time.Duration {
	if probe {
		return min(c.Turn, 3*time.Second)
	}
	return c.Turn
}

// sendElsewhere is send for an absolute URL.
func (t *Transport) sendElsewhere(req *http.Request, body *bodyView, to target) outcome {
	at, err := t.enter(req.Context(), filesHub, host{to.scheme, to.host})
	if err != nil {
		return outcome{err: notEntered(verb(req), to.name(), err)}
	}
	return at.attend(t.send(req, body, to, nil))
}

// send makes one request of req for one target and waits for the head of the response.
func (t *Transport) send(req *http.Request, body *bodyView, to target, v *via) outcome {
	carried := v != nil && v.hub.gate != nil && to.scheme == "ftp"
	if speaksFTP(to.scheme) && !carried {
		return t.sendFTP(req, to, v)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	trace := &trace{now: t.conf.Now}
	out := t.prepare(httptrace.WithClientTrace(ctx, trace.hooks()), req)
	out.Host = to.host
	out.Body = body.reader()
	conns, label := t.elsewhere, elsewhereLabel
	absolute := false
	if v != nil {
		conns, label, absolute = v.hub.pool, v.up.label, v.hub.absolute
		if err := v.up.authorize(out); err != nil {
			cancel(err)
			v.up.health.left(v.probe)
			return outcome{err: &Error{verb(req), to.name(), kindConfig, err}, fatal: true}
		}
		t.present(out, req, to, v)
	}
	out.URL = to.wire(absolute)
	if carried {
		conns = v.hub.gated
		to.carry(v.hub.gate, out)
	}
	late := func() bool { return true }
	if v != nil && v.turn > 0 {
		late = time.AfterFunc(v.turn, func() { cancel(errLate) }).Stop
	}
	resp, err := conns.pick(out).RoundTrip(out)
	reached := phase(trace.reached.Load())
	if inTime := late(); !inTime && err == nil { // the body is cut off already
		resp.Body.Close()
		err = errLate
	}
	if err != nil {
		if context.Cause(ctx) == errLate {
			err = errLate
		}
		cancel(err)
		return outcome{err: t.noResponse(req, to, v, err, reached), reached: reached}
	}
	t.metrics.answered(label, resp.StatusCode)
	shown := req.WithContext(req.Context()) // with the caller's own fields: none of the hub's credentials
	shown.URL, shown.Host = to.shown(), to.host
	resp.Request = shown
	watched := &watchedBody{
		rc: resp.Body, ctx: ctx, parent: req.Context(), cancel: cancel, idle: t.conf.Idle,
		name: to.name(), count: t.counter(v), end: func(error) {},
	}
	if c := trace.conn.Load(); c != nil && resp.ProtoMajor == 1 && resp.TLS == nil && resp.ContentLength > 0 && req.Method != http.MethodHead {
		turn, length := int(trace.turn.Load()), resp.ContentLength
		watched.beyond = func() bool { return c.beyond(turn, length) }
	}
	if v != nil {
		watched.end = t.judgeResponse(req.Method, resp, v, trace.latency())
	}
	resp.Body = watched
	return outcome{resp: resp, reached: reached}
}

func (t *Transport) counter(v *via) counter {
	if v == nil {
		return t.metrics.bytes.WithLabelValues("", elsewhereLabel)
	}
	return v.up.bytes
}

// noResponse makes the error and lets the breaker know.
func (t *Transport) noResponse(req *http.Request, to target, v *via, cause error, reached phase) *Error {
	err := &Error{verb(req), to.name(), kindOf(cause, reached), cause}
	// http.Transport may report a connection that broke because of the cancellation; the caller should see its own doing.
	if ended := req.Context().Err(); ended != nil {
		err.err = ended
		if err.kind = ""; ended == context.DeadlineExceeded {
			err.kind = timeoutKind(reached)
		}
	}
	if v == nil {
		t.metrics.failed(elsewhereLabel)
		return err
	}
	t.metrics.failed(v.up.label)
	if req.Context().Err() != nil {
		v.up.health.left(v.probe)
		return err
	}
	if cause == errLate {
		v.up.health.late()
	}
	t.failed(v, err.Error())
	return err
}

func (t *Transport) failed(v *via, reason string) {
	if v.up.health.failed(t.conf.Now(), v.probe, reason) {
		t.conf.Logger.Warn("upstream failed too often, it is asked last for a while",
			"hub", v.hub.name, "upstream", v.up.shown, "error", reason)
		// Whatever ails the upstream must not live on in a connection.
		v.hub.closeIdle()
	}
}

// judgeResponse lets the breaker know of the response, and returns what to call with the end of its body.
func (t *Transport) judgeResponse(method string, resp *http.Response, v *via, latency time.Duration) func(error) {
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		t.failed(v, resp.Status)
		return func(error) {}
	}
	if via := resp.Header.Get("Via"); strings.Contains(via, "zcache") != v.up.parent.Load() {
		v.up.parent.Store(strings.Contains(via, "zcache"))
	}
	if v.up.health.answered(t.conf.Now(), latency) {
		t.conf.Logger.Info("upstream answers again", "hub", v.hub.name, "upstream", v.up.shown)
	}
	if method == http.MethodHead || resp.ContentLength == 0 || resp.Body == http.NoBody {
		v.up.health.complete()
		return func(error) {}
	}
	v.probe = false // the probe has been answered; a body that breaks off counts as any other
	return func(err error) {
		if err == nil {
			v.up.health.complete()
			return
		}
		t.failed(v, err.Error())
	}
}

// hopByHop are the request fields that mean this connection only. The caller removes them; this is the second lock.
var hopByHop = []string{
	"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// prepare copies the request and adds what we say of ourselves.
func (t *Transport) prepare(ctx context.Context, req *http.Request) *http.Request {
	out := req.WithContext(ctx)
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	out.GetBody, out.Close, out.RequestURI, out.TransferEncoding, out.Trailer = nil, false, "", nil, nil
	for _, line := range out.Header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			out.Header.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		out.Header.Del(name)
	}
	member := "zcache"
	if t.conf.ID != "" {
		member += "; id=" + t.conf.ID
	}
	appendMember(out.Header, "Via", "1.1 zcache")
	appendMember(out.Header, "Cdn-Loop", member)
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", "zcache/"+t.conf.Version)
	}
	return out
}

// appendMember appends to a list field and makes one line of it: not every server reads the second.
func appendMember(h http.Header, name, member string) {
	h.Set(name, strings.Join(append(slices.Clone(h.Values(name)), member), ", "))
}

// A phase is how far a request has come.
type phase int32

const (
	waiting phase = iota
	resolving
	connecting
	inHandshake
	connected  // with a connection: something may have been sent
	responding // the first byte of the response is there
)

// trace follows one request. Its hooks may be called late, by a dial that goes on for others, so all of it is atomic.
type trace struct {
	now     func() time.Time
	reached atomic.Int32
	started atomic.Int64 // when the connection was there
	conn    atomic.Pointer[measured]
	turn    atomic.Int64
}

func (t *trace) reach(p phase) {
	for {
		old := t.reached.Load()
		if old >= int32(p) || t.reached.CompareAndSwap(old, int32(p)) {
			return
		}
	}
}

func (t *trace) hooks() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:          func(httptrace.DNSStartInfo) { t.reach(resolving) },
		ConnectStart:      func(string, string) { t.reach(connecting) },
		TLSHandshakeStart: func() { t.reach(inHandshake) },
		GotConn: func(got httptrace.GotConnInfo) {
			if c, ok := got.Conn.(*measured); ok {
				t.turn.Store(int64(c.begin()))
				t.conn.Store(c)
			}
			t.started.Store(t.now().UnixNano())
			t.reach(connected)
		},
		GotFirstResponseByte: func() { t.reach(responding) },
	}
}

// latency is the time from the connection to now; 0 when there was none.
func (t *trace) latency() time.Duration {
	started := t.started.Load()
	if started == 0 {
		return 0
	}
	return max(time.Duration(t.now().UnixNano()-started), 1)
}
