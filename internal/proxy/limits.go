package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"zcache/internal/fill"
	"zcache/internal/limit"
)

// alwaysAnswered are the operations that tell others whether this instance works: a load balancer must not be told that it asks too often.
var alwaysAnswered = map[string]bool{"/-/healthz": true, "/-/readyz": true, "/-/version": true}

// admit takes the client's request to a hub, or refuses it; "" is for what belongs to none. What it takes lasts until release.
func (g *Gateway) admit(r *http.Request, x *exchange, hub string) error {
	if g.cfg.Limiter == nil {
		return nil
	}
	lease, refusal := g.cfg.Limiter.Admit(x.asLimited(), hub, g.cfg.Now())
	if refusal != nil {
		return refusal
	}
	x.lease = lease
	if lease.Shaped() {
		x.pace = func(n int) error { return lease.Wait(r.Context(), int64(n)) }
	}
	return nil
}

// release ends what admit began.
func (g *Gateway) release(x *exchange) {
	if x.lease == nil {
		return
	}
	if x.hub != nil && (x.status == http.StatusNotFound || x.status == http.StatusGone) {
		x.lease.Missed(g.cfg.Now())
	}
	x.lease.Close()
	x.pace = nil // a trip that goes on for others holds the exchange, and need not hold the request
}

// asLimited is the client as limits know it.
func (x *exchange) asLimited() limit.Client {
	return limit.Client{Token: x.client.Subject(), Addr: x.client.Addr}
}

// Mark says that a trip is made for the client.
func (x *exchange) Mark(ctx context.Context) context.Context {
	return limit.With(ctx, x.asLimited().Subject())
}

// equip puts into a request for the filler what it needs to know of who asks and of the rules.
func (g *Gateway) equip(x *exchange, req *fill.Request) *fill.Request {
	if g.cfg.Limiter != nil {
		req.Mark = x
	}
	if x.sieve != nil {
		req.Judge, req.Magic = x.sieve.judge, x.sieve.filter.Magic()
	}
	return req
}

const (
	mostPart = 256 << 10       // that is sent of a body by one grant: with partTime, a line of less than 1 kB/s is taken for a dead one
	partTime = 5 * time.Minute // for one part to leave
	smallest = 64 << 10        // a body in memory up to this leaves in one write
)

// A parted is a body that can be sent in parts, as durable.Section is.
type parted interface {
	io.Reader
	Await() (int64, error)
	SendPart(dst *net.TCPConn, n int64) (int64, error)
}

// A part is the next bytes of a body, of which Await has said that they can be sent.
type part struct {
	body parted
	left int64
}

func (p *part) Read(b []byte) (int, error) {
	if p.left <= 0 {
		return 0, io.EOF
	}
	n, err := p.body.Read(b[:min(int64(len(b)), p.left)])
	p.left -= int64(n)
	return n, err
}

// SendTo makes it a sender.
func (p *part) SendTo(dst *net.TCPConn) (int64, error) {
	n, err := p.body.SendPart(dst, p.left)
	p.left -= n
	return n, err
}

// A shaper sends a body by grants. While it waits for one it holds no more than the body's own descriptor, wherever that lies in a file: a thousand slow
// clients cost as little as a thousand that are sent to at once.
type shaper struct {
	w     http.ResponseWriter
	r     *http.Request
	rc    *http.ResponseController
	lease *limit.Lease
	sent  int64
}

// sendShaped is send for a client whose bytes are counted.
func (g *Gateway) sendShaped(w http.ResponseWriter, r *http.Request, lease *limit.Lease, a *fill.Answer) (int64, error) {
	s := &shaper{w: w, r: r, rc: http.NewResponseController(w), lease: lease}
	if b, ok := a.Body.(interface{ Bytes() []byte }); ok && !a.Live {
		if p := b.Bytes(); p != nil && int64(len(p)) == a.Length && len(p) <= smallest {
			if err := lease.Wait(r.Context(), int64(len(p))); err != nil {
				return 0, err
			}
			n, err := w.Write(p)
			return int64(n), err
		}
	}
	defer s.rc.SetWriteDeadline(time.Time{}) // the connection may serve other requests
	if a.Live {
		if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return 0, err
		}
	}
	body, ok := a.Body.(parted)
	to, fast := w.(io.ReaderFrom)
	var err error
	if ok && fast && a.Length >= 0 {
		err = s.parts(to, body, a)
	} else {
		err = s.copy(a)
	}
	return s.sent, err
}

// parts sends a body of known length in parts, by sendfile where that can be had. Nothing is asked for before it is there: of a grant that waited for the
// upstream the others would have nothing.
func (s *shaper) parts(to io.ReaderFrom, body parted, a *fill.Answer) error {
	c, _ := s.r.Context().Value(connKey{}).(*conn)
	for s.sent < a.Length {
		n, err := body.Await()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if n, err = s.lease.Grant(s.r.Context(), min(n, a.Length-s.sent, mostPart)); err != nil {
			return err
		}
		s.rc.SetWriteDeadline(time.Now().Add(partTime)) // where the connection has none, nothing is lost but the bound
		if s.sent == 0 && c != nil && !a.Live {
			c.hold() // as send does
			defer c.release()
			if err := s.rc.Flush(); err != nil {
				return err
			}
		}
		m, err := to.ReadFrom(&part{body, n})
		s.sent += m
		s.lease.Return(n - m)
		if err == io.EOF || err == nil && m == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// copy sends any body as it comes.
func (s *shaper) copy(a *fill.Answer) error {
	buf := make([]byte, 32<<10)
	for {
		n, rerr := a.Body.Read(buf)
		for p := buf[:n]; len(p) > 0; {
			granted, err := s.lease.Grant(s.r.Context(), int64(len(p)))
			if err != nil {
				return err
			}
			s.rc.SetWriteDeadline(time.Now().Add(partTime))
			m, err := s.w.Write(p[:granted])
			s.sent += int64(m)
			s.lease.Return(granted - int64(m))
			if err == nil && a.Live {
				err = s.rc.Flush()
			}
			if err != nil {
				return err
			}
			p = p[granted:]
		}
		if rerr == io.EOF {
			return nil
		}
		if rerr != nil {
			return rerr
		}
	}
}
