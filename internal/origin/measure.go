package origin

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// errLonger says that more came than Content-Length announced. What was announced may be a fragment of the file, or the file with something of
// another answer behind it: nobody can tell, so it counts as broken.
var errLonger = errors.New("body is longer than its Content-Length")

// maxHead bounds what is remembered of a head that does not end.
const maxHead = 256 << 10

// A measured connection counts the bytes that follow the head of the response to the request at hand. net/http reads Content-Length bytes
// and throws away what follows without a word.
type measured struct {
	net.Conn

	mu     sync.Mutex
	turn   int
	head   []byte // of the response so far
	inBody bool
	body   int64
	last   []byte // of the body: the end of what came
}

// begin starts the count for a new request and returns its number.
func (c *measured) begin() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	c.head, c.inBody, c.body = c.head[:0], false, 0
	return c.turn
}

func (c *measured) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.mu.Lock()
		c.note(p[:n])
		c.mu.Unlock()
	}
	return n, err
}

func (c *measured) note(p []byte) {
	if c.inBody {
		c.body += int64(len(p))
		c.keep(p)
		return
	}
	if len(c.head)+len(p) > maxHead {
		return
	}
	c.head = append(c.head, p...)
	for {
		end := headEnd(c.head)
		if end < 0 {
			return
		}
		if !interim(c.head) {
			c.inBody, c.body, c.last = true, int64(len(c.head)-end), nil
			c.keep(c.head[end:])
			c.head = nil
			return
		}
		c.head = append(c.head[:0], c.head[end:]...)
	}
}

// strayEnd is how many line ends after a body are forgiven: there are servers that have always added one.
const strayEnd = 4

func (c *measured) keep(p []byte) {
	c.last = append(c.last, p[max(0, len(p)-strayEnd):]...)
	c.last = c.last[max(0, len(c.last)-strayEnd):]
}

// stray says that what follows a body is nothing but line ends.
func stray(p []byte) bool { return len(p) <= strayEnd && len(bytes.Trim(p, "\r\n")) == 0 }

// headEnd is where the body begins, or -1.
func headEnd(b []byte) int {
	i, j := bytes.Index(b, []byte("\n\r\n")), bytes.Index(b, []byte("\n\n"))
	switch {
	case i >= 0 && (j < 0 || i < j):
		return i + 3
	case j >= 0:
		return j + 2
	}
	return -1
}

// interim says that a head is of a 1xx response, which another one follows.
func interim(b []byte) bool {
	_, status, ok := bytes.Cut(b, []byte(" "))
	return ok && len(status) >= 3 && status[0] == '1' && !bytes.HasPrefix(status, []byte("101"))
}

// beyond says that more than length bytes of body have come for the given request, as far as that can be known at its end.
func (c *measured) beyond(turn int, length int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch extra := c.body - length; {
	case c.turn != turn || !c.inBody || extra < 0:
		return false
	case extra > strayEnd:
		return true
	case extra > 0:
		return !stray(c.last[int64(len(c.last))-extra:])
	}
	return !stray(c.waiting())
}

// waiting is the beginning of what has arrived and nobody has read.
func (c *measured) waiting() []byte {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	var b [strayEnd + 1]byte
	n := 0
	raw.Control(func(fd uintptr) {
		n, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return b[:max(n, 0)]
}
