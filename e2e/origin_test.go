package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// An origin answers by script and keeps every request as it came over the wire. It speaks HTTP by hand: net/http would refuse
// or tidy the very requests that tests look for, and would not send the broken answers that origins do send.
type origin struct {
	t      testing.TB
	addr   string
	url    string
	answer func(w *wire, r *request)

	mu    sync.Mutex
	seen  []*request
	l     net.Listener
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// A request is what an origin was asked.
type request struct {
	Method, Target string
	Head           string // the bytes up to the empty line
	Header         http.Header
	Body           []byte
	Nth            int // among the requests for this target, from 1
}

// A wire is the connection that one request came over.
type wire struct {
	net.Conn
	last bool // the handler wants the connection closed
}

func startOrigin(t testing.TB, script func(w *wire, r *request)) *origin {
	t.Helper()
	o := &origin{t: t, addr: freeAddr(t), answer: script}
	o.url = "http://" + o.addr
	o.start()
	t.Cleanup(o.stop)
	return o
}

// start listens on the origin's address, again after a stop.
func (o *origin) start() {
	o.t.Helper()
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		o.t.Fatalf("start origin: %v", err)
	}
	o.mu.Lock()
	o.l, o.conns = l, map[net.Conn]bool{}
	o.mu.Unlock()
	o.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.mu.Lock()
			if o.l != l {
				conn.Close()
			} else {
				o.conns[conn] = true
				go o.talk(conn) // a script that still waits for its test must not hold up stop
			}
			o.mu.Unlock()
		}
	})
}

// stop refuses and breaks all connections, as an outage does.
func (o *origin) stop() {
	o.mu.Lock()
	if o.l == nil {
		o.mu.Unlock()
		return
	}
	o.l.Close()
	o.l = nil
	for conn := range o.conns {
		conn.Close()
	}
	o.mu.Unlock()
	o.wg.Wait()
}

func (o *origin) talk(conn net.Conn) {
	defer func() {
		conn.Close()
		o.mu.Lock()
		delete(o.conns, conn)
		o.mu.Unlock()
	}()
	in := bufio.NewReader(conn)
	for {
		r, err := readRequest(in)
		if err != nil {
			return
		}
		o.mu.Lock()
		r.Nth = 1
		for _, s := range o.seen {
			if s.Target == r.Target {
				r.Nth++
			}
		}
		o.seen = append(o.seen, r)
		o.mu.Unlock()
		w := &wire{Conn: conn}
		o.answer(w, r)
		if w.last || strings.EqualFold(r.Header.Get("Connection"), "close") {
			return
		}
	}
}

func readRequest(in *bufio.Reader) (*request, error) {
	r := &request{Header: http.Header{}}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		r.Head += line
		line = strings.TrimRight(line, "\r\n")
		if line == "" && r.Method == "" {
			continue
		}
		if line == "" {
			break
		}
		if r.Method == "" {
			r.Method, line, _ = strings.Cut(line, " ")
			r.Target = line[:max(0, strings.LastIndexByte(line, ' '))]
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		r.Header.Add(name, strings.TrimSpace(value))
	}
	var err error
	if n, _ := strconv.Atoi(r.Header.Get("Content-Length")); n > 0 {
		r.Body = make([]byte, n)
		_, err = io.ReadFull(in, r.Body)
	} else if strings.EqualFold(r.Header.Get("Transfer-Encoding"), "chunked") {
		r.Body, err = io.ReadAll(httputil.NewChunkedReader(in))
		_, _ = in.ReadString('\n') // the empty line after the last chunk
	}
	return r, err
}

// requests are those seen for a target, or all when it is "".
func (o *origin) requests(target string) []*request {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []*request
	for _, r := range o.seen {
		if target == "" || r.Target == target {
			found = append(found, r)
		}
	}
	return found
}

// asked is the first request seen for a target.
func (o *origin) asked(target string) *request {
	o.t.Helper()
	all := o.requests(target)
	if len(all) == 0 {
		o.t.Fatalf("the origin was never asked for %q", target)
	}
	return all[0]
}

func (o *origin) count(target string) int { return len(o.requests(target)) }

// reply sends a framed response. Fields are lines as on the wire.
func (w *wire) reply(r *request, status int, body string, fields ...string) {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat))
	for _, f := range fields {
		head += f + "\r\n"
	}
	if status != http.StatusNotModified && status != http.StatusNoContent {
		head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	if r.Method == http.MethodHead || status == http.StatusNotModified {
		body = ""
	}
	w.send(head + "\r\n" + body)
}

// send writes bytes as they are. Whether the other side still wants them is no business of an origin.
func (w *wire) send(s string) { _, _ = io.WriteString(w.Conn, s) }

// cut ends the connection with a reset, so that nothing looks like a body that ended with it.
func (w *wire) cut() {
	if c, ok := w.Conn.(*net.TCPConn); ok {
		_ = c.SetLinger(0)
	}
	w.last = true
	w.Close()
}

// file answers as a good origin does: conditionals, ranges and HEAD by net/http's own rules.
func (w *wire) file(r *request, body []byte, modified time.Time, fields ...string) {
	res := &framed{wire: w, header: http.Header{}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		res.header.Add(name, value)
	}
	req := &http.Request{Method: r.Method, Header: r.Header}
	http.ServeContent(res, req, "x.bin", modified, bytes.NewReader(body))
}

// framed lets net/http write over a wire.
type framed struct {
	*wire
	header http.Header
}

func (f *framed) Header() http.Header { return f.header }

func (f *framed) WriteHeader(status int) {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nDate: %s\r\n", status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat))
	for _, name := range slices.Sorted(maps.Keys(f.header)) {
		for _, v := range f.header[name] {
			head += name + ": " + v + "\r\n"
		}
	}
	f.send(head + "\r\n")
}

// A relay is an origin that passes everything on to another one, counts it, and breaks it where a test says so.
type relay struct {
	*origin
	to  string // base URL
	cut int64  // each connection is reset after so many bytes of a body; 0 is never
	// before is called with the number of body bytes sent so far, ahead of each piece; it may block.
	before func(r *request, sent int64)
	piece  int64 // bytes between two calls of before
}

func startRelay(t testing.TB, to string) *relay {
	t.Helper()
	rl := &relay{to: to, piece: 256 << 10}
	rl.origin = startOrigin(t, rl.pass)
	return rl
}

func (rl *relay) pass(w *wire, r *request) {
	req, err := http.NewRequest(r.Method, rl.to+r.Target, bytes.NewReader(r.Body))
	if err != nil {
		w.reply(r, http.StatusBadRequest, err.Error())
		return
	}
	req.Header = r.Header
	resp, err := plain.Transport.RoundTrip(req)
	if err != nil {
		w.cut()
		return
	}
	defer resp.Body.Close()
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\n", resp.StatusCode, http.StatusText(resp.StatusCode))
	for name, values := range resp.Header {
		if name != "Connection" {
			head += name + ": " + strings.Join(values, ", ") + "\r\n"
		}
	}
	w.send(head + "\r\n")
	for sent := int64(0); ; {
		if rl.before != nil {
			rl.before(r, sent)
		}
		piece := rl.piece
		if rl.cut > 0 {
			piece = min(piece, rl.cut-sent)
		}
		n, err := io.CopyN(w.Conn, resp.Body, piece)
		sent += n
		if rl.cut > 0 && sent >= rl.cut {
			w.cut()
			return
		}
		if err != nil {
			w.last = err != io.EOF
			return
		}
	}
}
