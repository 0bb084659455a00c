package limit

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Conns bounds the connections of each client and of all. It is for those who open connections and say little: there is no request yet that could be
// refused, so the connection is closed. Its methods may be called concurrently.
type Conns struct {
	each, all int // 0 = no limit

	mu      sync.Mutex
	open    map[net.Conn]Subject
	count   map[Subject]int
	refused uint64
}

// NewConns returns Conns of so many connections for each address (of IPv6 each /64), and so many in all.
func NewConns(each, all int) *Conns {
	return &Conns{each: each, all: all, open: map[net.Conn]Subject{}, count: map[Subject]int{}}
}

// State is the ConnState of an http.Server. A connection that is hijacked, for a tunnel, is counted no more.
func (c *Conns) State(conn net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if !c.enter(conn) {
			conn.Close() // the server then finds it closed, and says so by StateClosed
		}
	case http.StateHijacked, http.StateClosed:
		c.leave(conn)
	}
}

func (c *Conns) enter(conn net.Conn) bool {
	who := Subject{}
	if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		who = Client{Addr: a.Addr()}.Subject()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.each > 0 && c.count[who] >= c.each || c.all > 0 && len(c.open) >= c.all {
		c.refused++
		return false
	}
	c.open[conn] = who
	c.count[who]++
	return true
}

func (c *Conns) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	who, ok := c.open[conn]
	if !ok {
		return
	}
	delete(c.open, conn)
	if c.count[who]--; c.count[who] == 0 {
		delete(c.count, who)
	}
}

// Load is the number of connections that are open, and of those that were refused so far.
func (c *Conns) Load() (open int, refused uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open), c.refused
}
