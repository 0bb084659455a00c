package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	ftpConns = 4           // control connections for one login: mirrors count them by address and turn away who has many
	ftpIdle  = time.Minute // an unused one is kept; servers end them after some minutes
	ftpQuit  = time.Second // to take leave
	ftpNoted = 1000        // servers whose quirks are remembered: clients choose the hosts of absolute URLs
)

var errBusy = errors.New("every connection that the server may be asked for is in use")

// An ftpLogin is what the sessions of one kind have in common.
type ftpLogin struct {
	addr           string // host:port
	secure         bool   // explicit TLS
	user, password string
}

// ftpQuirks are what a server was found not to do though it says so.
type ftpQuirks struct{ noEPSV, noMLSD bool }

// An ftpPool is the sessions of one dialling policy. Its methods may be called concurrently.
type ftpPool struct {
	conf   *Config
	dial   dialFunc                  // for control connections
	own    func(netip.AddrPort) bool // says that an address is a listener of this process; nil: none is
	secure *tls.Config

	mu     sync.Mutex
	hosts  map[ftpLogin]*ftpHost
	quirks map[string]ftpQuirks // by host:port
	closed bool
}

// An ftpHost is the sessions of one login.
type ftpHost struct {
	slots chan struct{} // one element for each session that is in use
	users int           // requests that have one or wait
	idle  []*ftpSession // the last used last
}

func (c *Config) newFTPPool(dial dialFunc, own func(netip.AddrPort) bool, secure *tls.Config) *ftpPool {
	secure = secure.Clone()
	secure.MinVersion = tls.VersionTLS12
	return &ftpPool{conf: c, dial: dial, own: own, secure: secure, hosts: map[ftpLogin]*ftpHost{}, quirks: map[string]ftpQuirks{}}
}

// dialData opens a data connection: to the address that the control connection has, which policy has let through, and to no service
// with a port of its own there.
func (p *ftpPool) dialData(ctx context.Context, peer netip.Addr, addr string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	switch {
	case err != nil:
		return nil, &prohibitedError{addr, "is no address for data"}
	case to.Addr().Unmap() != peer:
		return nil, &prohibitedError{addr, "is another host than the one that was asked"}
	case to.Port() < lowestDataPort:
		return nil, &prohibitedError{addr, "has the port of another service"}
	case p.own != nil && p.own(to):
		return nil, &prohibitedError{addr, "is a listener of this process"}
	}
	d := p.conf.dialer()
	return d.DialContext(ctx, "tcp", addr)
}

// take gives a logged-in session to a request: an idle one, unless fresh is set, or a new one. Whoever takes it gives it back by keep or drop.
// ftpTurns is how many times the patience with a reply a request waits for one of the connections of its login: they may all be at large files.
const ftpTurns = 10

func (p *ftpPool) take(ctx context.Context, login ftpLogin, fresh bool, reached *phase) (*ftpSession, error) {
	h := p.enter(login)
	wait := time.NewTimer(ftpTurns * p.conf.Header)
	defer wait.Stop()
	select {
	case h.slots <- struct{}{}:
	case <-wait.C:
		p.leave(login, h, false)
		return nil, errBusy
	case <-ctx.Done():
		p.leave(login, h, false)
		return nil, ctx.Err()
	}
	if fresh {
		p.end(p.unused(h))
	}
	if s := p.pop(h); s != nil {
		s.reused = true
		s.lend(ctx)
		*reached = responding
		return s, nil
	}
	p.mu.Lock()
	quirks := p.quirks[login.addr]
	p.mu.Unlock()
	s, err := p.connect(ctx, login, quirks, reached)
	if err != nil {
		p.leave(login, h, true)
		return nil, err
	}
	return s, nil
}

func (p *ftpPool) enter(login ftpLogin) *ftpHost {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[login]
	if h == nil {
		h = &ftpHost{slots: make(chan struct{}, ftpConns)}
		p.hosts[login] = h
	}
	h.users++
	return h
}

// leave ends a request's use of h, which is forgotten with the last one: there is no end to the hosts of absolute URLs.
func (p *ftpPool) leave(login ftpLogin, h *ftpHost, held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.users--
	if held {
		<-h.slots
	}
	p.tidy(login, h)
}

// tidy forgets a host of which nothing is left. The lock is held.
func (p *ftpPool) tidy(login ftpLogin, h *ftpHost) {
	if h.users == 0 && len(h.idle) == 0 && p.hosts[login] == h {
		delete(p.hosts, login)
	}
}

// pop takes the idle session that was used last, or nil.
func (p *ftpPool) pop(h *ftpHost) *ftpSession {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(h.idle) > 0 {
		s := h.idle[len(h.idle)-1]
		h.idle = h.idle[:len(h.idle)-1]
		if s.idling.Stop() {
			return s
		}
	}
	return nil
}

// keep puts a session back whose dialogue is in step. A request that ended meanwhile has killed it.
func (p *ftpPool) keep(s *ftpSession) {
	if !s.stop() {
		p.drop(s)
		return
	}
	s.ctx, s.stop, s.sink, s.data = nil, nil, nil, nil
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[s.login]
	h.users--
	<-h.slots
	if p.closed {
		go s.quit() // ends within ftpQuit
		p.tidy(s.login, h)
		return
	}
	h.idle = append(h.idle, s)
	s.idling = time.AfterFunc(ftpIdle, func() { p.expire(s) })
}

// drop gives a session up: after any error nobody knows which reply would be the next.
func (p *ftpPool) drop(s *ftpSession) {
	s.stop()
	s.kill()
	p.mu.Lock()
	h := p.hosts[s.login]
	p.mu.Unlock()
	p.leave(s.login, h, true)
}

func (p *ftpPool) expire(s *ftpSession) {
	p.mu.Lock()
	if h := p.hosts[s.login]; h != nil {
		h.idle = slices.DeleteFunc(h.idle, func(other *ftpSession) bool { return other == s })
		p.tidy(s.login, h)
	}
	p.mu.Unlock()
	s.quit()
}

// unused takes all idle sessions of h, or of every host when h is nil.
func (p *ftpPool) unused(h *ftpHost) []*ftpSession {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*ftpSession
	for login, other := range p.hosts {
		if h != nil && other != h {
			continue
		}
		all = append(all, other.idle...)
		other.idle = nil
		p.tidy(login, other)
	}
	return all
}

func (p *ftpPool) end(sessions []*ftpSession) {
	for _, s := range sessions {
		if s.idling.Stop() {
			s.quit()
		}
	}
}

func (p *ftpPool) closeIdle() { p.end(p.unused(nil)) }

// close ends the idle sessions, and those in use when they come back.
func (p *ftpPool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.closeIdle()
}

// note remembers a quirk of the server that s is connected to.
func (p *ftpPool) note(s *ftpSession, quirk func(*ftpQuirks)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.quirks) == ftpNoted {
		clear(p.quirks)
	}
	q := p.quirks[s.login.addr]
	quirk(&q)
	p.quirks[s.login.addr] = q
}

// quit takes leave and closes, without waiting for an answer.
func (s *ftpSession) quit() {
	s.control.patience = ftpQuit
	_ = s.conn.Quit() // nothing hangs on it any more
}
