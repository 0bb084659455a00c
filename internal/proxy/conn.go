package proxy

import (
	"io"
	"net"
	"sync"
	"time"
)

// Listener makes the connections of an HTTP server ones that take a body by sendfile at an explicit offset, so that many answers may share
// one open file. net/http hands a body of known length to the connection's ReadFrom.
func Listener(l net.Listener) net.Listener { return listener{l} }

type listener struct{ net.Listener }

func (l listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		return &conn{TCPConn: t}, nil
	}
	return c, nil
}

type conn struct {
	*net.TCPConn
	alive sync.Once
}

// sender is a body that knows how to reach a socket.
type sender interface {
	SendTo(*net.TCPConn) (int64, error)
}

// ReadFrom sends a body. Probing for a dead peer costs four system calls a connection, so it is switched on by the first body that takes the time.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.alive.Do(func() {
		c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 20 * time.Second, Count: 5})
	})
	if s, ok := r.(sender); ok {
		return s.SendTo(c.TCPConn)
	}
	return c.TCPConn.ReadFrom(r)
}
