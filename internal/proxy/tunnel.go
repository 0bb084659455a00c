package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/fill"
)

var (
	errTunnel     = errors.New("the tunnel's destination cannot be reached")
	errTunnels    = errors.New("too many tunnels are open")
	errTunnelIdle = errors.New("no byte for too long")
	errStuck      = errors.New("the peer takes nothing")
)

// tunnelIdle is how long a tunnel may be without a byte.
const tunnelIdle = 5 * time.Minute

// tunnel answers CONNECT: bytes go both ways until both sides have ended theirs.
func (g *Gateway) tunnel(w http.ResponseWriter, r *http.Request, x *exchange, table *table) error {
	f, err := g.mayForward(r, x)
	if err != nil {
		return err
	}
	host, port, err := destination(r.RequestURI)
	if err != nil {
		return err
	}
	x.host, x.named = host, named(host)
	places := g.tunnelPlaces(table, host, port)
	if err := g.mayEnter(x.client, places); err != nil {
		return err
	}
	if err := g.admit(r, x, cache.FilesHub); err != nil {
		return err
	}
	if err := g.siftTunnel(r, x, x.named); err != nil {
		return err
	}
	if g.intercept(w, r, x) {
		return nil
	}
	if err := g.mayTunnel(x.client, places); err != nil {
		return err
	}
	if !g.tunnels.room(x.client.Addr) {
		return errTunnels
	}
	defer g.tunnels.done(x.client.Addr)
	server, err := f.Connect(r.Context(), host, port)
	if err != nil {
		var refused interface{ Refused() bool }
		if errors.As(err, &refused) && refused.Refused() || errors.Is(err, fill.ErrOffline) || r.Context().Err() != nil {
			return err
		}
		return fmt.Errorf("%w: %w", errTunnel, err)
	}
	x.outcome = fill.Outcome{Cache: fill.Bypass, Fwd: "method", Detail: "tunnel"}
	x.head = g.cfg.Now().Sub(x.start)
	client, early, err := g.takeOver(w, x)
	if err != nil {
		server.Close()
		if x.status != 0 {
			x.err, err = err, nil // the client has left, nobody can be told
		}
		return err
	}
	t := &pair{client: client, server: server, idle: f.Idle}
	defer t.shape(r.Context(), x.lease)()
	if t.idle == 0 {
		t.idle = tunnelIdle
	}
	leave, ok := g.tunnels.enter(func() { t.end(fill.ErrStopping, false) })
	if !ok {
		t.end(fill.ErrStopping, false)
		return nil
	}
	defer leave()
	defer g.whileAllowed(x.client, places, t)()
	g.metrics.tunnels.Inc()
	defer g.metrics.tunnels.Dec()
	x.received, x.sent, x.err = t.run(early)
	g.metrics.tunnelled.WithLabelValues("up").Add(float64(x.received))
	g.metrics.tunnelled.WithLabelValues("down").Add(float64(x.sent))
	return nil
}

// whileAllowed ends a tunnel when who opened it may not have it any more. The caller calls done when the tunnel has ended.
func (g *Gateway) whileAllowed(c auth.Client, places []auth.Place, t *pair) (done func()) {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		every := time.NewTicker(g.renewal)
		defer every.Stop()
		for {
			select {
			case <-ended:
				return
			case <-every.C:
				if err := g.mayTunnel(g.cfg.Guard.Renew(c), places); err != nil {
					t.end(err, true)
					return
				}
			}
		}
	})
	return func() { close(ended); watching.Wait() }
}

// destination reads the target of a CONNECT (RFC 9112 section 3.2.3): the host without brackets, and a port, which is never left out.
func destination(target string) (host, port string, err error) {
	i := strings.LastIndexByte(target, ':')
	if i < 0 || i < strings.LastIndexByte(target, ']') {
		return "", "", fmt.Errorf("%w: write CONNECT HOST:PORT", errBadTarget)
	}
	// A scheme without this port as its own keeps it in the authority.
	for _, scheme := range []string{"http", "https"} {
		authority, err := cache.Authority(scheme, target)
		if err != nil {
			return "", "", err
		}
		if host, port, err = net.SplitHostPort(authority); err == nil {
			return host, port, nil
		}
	}
	return "", "", fmt.Errorf("%w: write CONNECT HOST:PORT", errBadTarget)
}

// takeOver makes the client's connection ours and tells the client that its tunnel stands. early is what it has sent already.
func (g *Gateway) takeOver(w http.ResponseWriter, x *exchange) (client net.Conn, early []byte, err error) {
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("take the connection over: %w", err)
	}
	x.status = http.StatusOK
	client.SetDeadline(time.Now().Add(time.Minute)) // the server's are for heads
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		_, err = io.ReadFull(rw.Reader, early)
	}
	if err == nil {
		_, err = io.WriteString(client, "HTTP/1.1 200 Connection established\r\nVia: 1.1 zcache\r\nX-Request-Id: "+x.id+"\r\n\r\n")
	}
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	if c, ok := client.(*conn); ok {
		client = c.TCPConn // which can be spliced
	}
	return client, early, nil
}

// A pair is the two connections of a tunnel.
type pair struct {
	client, server net.Conn
	idle           time.Duration
	moved          atomic.Int64 // bytes, both ways
	toll           *toll        // nil when nobody counts the bytes
	once           sync.Once
	cause          error // why it ended before its sides did; nil when they did
}

// end closes both connections. With hard the peers are reset, so that neither takes what it has for all.
func (t *pair) end(cause error, hard bool) {
	t.once.Do(func() {
		t.cause = cause
		t.toll.close()
		for _, c := range []net.Conn{t.client, t.server} {
			if l, ok := c.(interface{ SetLinger(int) error }); ok && hard {
				l.SetLinger(0)
			}
			c.Close()
		}
	})
}

// run moves bytes until both sides have ended, one failed, or none came for too long. It returns how many went to the server and to the client.
func (t *pair) run(early []byte) (up, down int64, err error) {
	for _, c := range []net.Conn{t.client, t.server} {
		if k, ok := c.(interface {
			SetKeepAliveConfig(net.KeepAliveConfig) error
		}); ok {
			k.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 20 * time.Second, Count: 5})
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.server.SetWriteDeadline(time.Now().Add(t.idle))
		n, err := t.server.Write(early)
		up = int64(n)
		if err == nil {
			var m int64
			m, err = t.pump(t.server, t.client)
			up += m
		}
		t.ended(err)
	}()
	down, err = t.pump(t.client, t.server)
	t.ended(err)
	<-done
	t.end(nil, false)
	return up, down, t.cause
}

// ended acts on the end of one direction: the other one goes on unless this one failed.
func (t *pair) ended(err error) {
	if err != nil {
		t.end(err, !errors.Is(err, errTunnelIdle))
	}
}

// pump copies from src to dst until src ends, and passes the end on. Between two TCP connections the bytes stay in the kernel, where nobody sees them pass:
// the copy is interrupted now and then to look. Two looks without a byte in either direction make it idle, since one of them may come just before the
// other direction tells of its bytes.
func (t *pair) pump(dst, src net.Conn) (n int64, err error) {
	last, quiet := t.moved.Load(), 0
	for {
		now := time.Now()
		src.SetReadDeadline(now.Add(t.idle / 2))
		writeBy := now.Add(2 * t.idle)
		dst.SetWriteDeadline(writeBy)
		m, err := io.CopyN(dst, src, 64<<10) // by pieces, for only what has ended is counted: a slow reader is no idle one
		n += m
		late := !time.Now().Before(writeBy)
		if unpaid := t.toll.pay(m); unpaid != nil {
			return n, unpaid
		}
		seen := t.moved.Add(m)
		switch {
		case err == nil:
			last, quiet = seen, 0
		case err == io.EOF:
			if c, ok := dst.(interface{ CloseWrite() error }); ok {
				c.CloseWrite() // a peer that is gone already shows in the other direction
			}
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case late:
			return n, errStuck // bytes that were read did not go out: they are lost
		case seen != last || t.toll.waits():
			last, quiet = seen, 0
		default:
			if quiet++; quiet >= 2 {
				return n, errTunnelIdle
			}
		}
	}
}

// tunnels are those that are open. http.Server does not know of them any more.
type tunnels struct {
	mu     sync.Mutex
	closed bool
	open   map[*func()]bool
	taken  int // places, of those too that are still connecting
	of     map[netip.Addr]int
	wg     sync.WaitGroup
}

// mostTunnels bounds the tunnels: each holds six descriptors, two sockets and two pipes. A client has a quarter of them at most.
var mostTunnels = sync.OnceValue(func() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil || lim.Cur > 1<<20 {
		return 4096
	}
	return max(16, int(lim.Cur/16))
})

// room takes a place for a client's tunnel, which done gives back. It is false when there is none.
func (t *tunnels) room(client netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.taken >= mostTunnels() || t.of[client] >= max(4, mostTunnels()/4) {
		return false
	}
	if t.of == nil {
		t.of = map[netip.Addr]int{}
	}
	t.taken++
	t.of[client]++
	return true
}

func (t *tunnels) done(client netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	if t.of[client]--; t.of[client] == 0 {
		delete(t.of, client)
	}
}

// enter notes a tunnel that end would end. It is false when no more may begin. The caller calls leave when the tunnel has ended.
func (t *tunnels) enter(end func()) (leave func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, false
	}
	if t.open == nil {
		t.open = map[*func()]bool{}
	}
	t.open[&end] = true
	t.wg.Add(1)
	return func() {
		t.mu.Lock()
		delete(t.open, &end)
		t.mu.Unlock()
		t.wg.Done()
	}, true
}

// close ends all tunnels and returns when they have.
func (t *tunnels) close() {
	t.mu.Lock()
	t.closed = true
	for end := range t.open {
		(*end)()
	}
	t.mu.Unlock()
	t.wg.Wait()
}
