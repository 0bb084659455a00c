package proxy

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
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

// connKey finds the connection of a request in its context.
type connKey struct{}

// ConnContext is for http.Server: with it, an answer's head and the beginning of its body leave in one packet.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

type conn struct {
	*net.TCPConn
	alive sync.Once
	// held is the head of an answer whose body follows by ReadFrom; nil when nothing is held. Only the goroutine that writes the answer
	// touches it.
	held []byte
}

// maxHead is how much is held at most: no head is longer, so what is must be something else.
const maxHead = 64 << 10

// hold keeps what is written until ReadFrom or release.
func (c *conn) hold() { c.held = make([]byte, 0, 1024) }

// release writes what is held.
func (c *conn) release() error {
	head := c.held
	c.held = nil
	if len(head) == 0 {
		return nil
	}
	_, err := c.TCPConn.Write(head)
	return err
}

func (c *conn) Write(p []byte) (int, error) {
	if c.held != nil && len(c.held)+len(p) <= maxHead {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	if err := c.release(); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}

// sender is a body that knows how to reach a socket.
type sender interface {
	SendTo(*net.TCPConn) (int64, error)
}

// ReadFrom sends a body, and the head that is held before it. Probing for a dead peer costs four system calls a connection, so it is switched on
// by the first body that takes the time.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	c.alive.Do(func() {
		c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 20 * time.Second, Count: 5})
	})
	s, ok := r.(sender)
	if !ok {
		if err := c.release(); err != nil {
			return 0, err
		}
		return c.TCPConn.ReadFrom(r)
	}
	if err := c.sendHead(); err != nil {
		return 0, err
	}
	return s.SendTo(c.TCPConn)
}

// sendHead sends what is held and tells the kernel that more follows at once.
func (c *conn) sendHead() error {
	head := c.held
	c.held = nil
	if len(head) == 0 {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var werr error
	err = raw.Write(func(fd uintptr) bool {
		for len(head) > 0 {
			n, err := unix.SendmsgN(int(fd), head, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN:
				return false
			case err != nil:
				werr = err
				return true
			default:
				head = head[n:]
			}
		}
		return true
	})
	if err == nil {
		err = werr
	}
	return err
}
