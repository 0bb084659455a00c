package origin

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"
)

const (
	maxReply = 64 << 10 // of what a server may say to one command, in bytes
	// lowestDataPort keeps a server from sending us to another service of its machine: passive ports are ephemeral ones.
	lowestDataPort = 1024
)

var (
	errLongReply = errors.New("the reply is too long")
	errNoTLS     = errors.New("the server does not start TLS")
	errInjected  = errors.New("the server spoke on before TLS")
)

// An ftpSession is one control connection, logged in. One goroutine uses it at a time; kill alone may come from another.
//
// The dialogue is jlaffaye/ftp's. It gets its connections from dial below, which is how deadlines, the policy for data ports and the raw text of
// replies and listings come in: the library bounds none of these and shows neither text.
type ftpSession struct {
	pool    *ftpPool
	login   ftpLogin
	conn    *ftp.ServerConn
	control *ftpControl
	raw     net.Conn    // what control is made of
	secure  *tls.Config // for data connections too; nil without TLS
	home    string      // where the login begins, without a slash at the end
	reused  bool
	idling  *time.Timer // while it is in the pool

	ctx  context.Context         // of the request that it serves
	stop func() bool             // takes back the kill at the end of ctx
	sink func(r io.Reader) error // reads the next listing; nil for a file

	mu      sync.Mutex
	data    net.Conn
	dead    bool
	unheard bool // the last data connection could not be opened
}

// lend gives the session to a request, whose end ends it.
func (s *ftpSession) lend(ctx context.Context) {
	s.ctx = ctx
	s.stop = context.AfterFunc(ctx, s.kill)
}

// kill closes both connections, whatever waits on them.
func (s *ftpSession) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	_ = s.raw.Close() // it is given up, without the leave that TLS takes: that could wait
	if s.data != nil {
		_ = s.data.Close()
	}
}

// dial is what the library opens its connections with: the control connection, which is there already, then one for each transfer.
func (s *ftpSession) dial(_, addr string) (net.Conn, error) {
	if s.conn == nil {
		return s.control, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.pool.conf.Connect)
	defer cancel()
	raw, err := s.pool.dialData(ctx, s.control.peer(), addr)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unheard = err != nil
	if err != nil {
		return nil, err
	}
	if s.dead {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	s.data = raw
	if s.secure != nil {
		// The server begins its handshake after the command only: tls.Conn shakes hands with the first Read.
		return &ftpData{Conn: tls.Client(raw, s.secure), of: s}, nil
	}
	return &ftpData{Conn: raw, of: s}, nil
}

// connect opens a control connection and logs in. reached is told how far it came.
func (p *ftpPool) connect(ctx context.Context, login ftpLogin, quirks ftpQuirks, reached *phase) (*ftpSession, error) {
	*reached = connecting
	raw, err := p.dial(ctx, "tcp", login.addr)
	if err != nil {
		return nil, err
	}
	*reached = connected
	s := &ftpSession{pool: p, login: login, raw: raw, control: &ftpControl{Conn: raw, patience: p.conf.Header}}
	s.lend(ctx)
	if err := s.open(quirks, reached); err != nil {
		s.stop()
		s.kill()
		return nil, err
	}
	return s, nil
}

func (s *ftpSession) open(quirks ftpQuirks, reached *phase) error {
	options := []ftp.DialOption{
		ftp.DialWithDialFunc(s.dial),
		ftp.DialWithShutTimeout(s.pool.conf.Header),
		ftp.DialWithDisabledEPSV(quirks.noEPSV),
		ftp.DialWithDisabledMLSD(quirks.noMLSD),
	}
	s.control.renew()
	if s.login.secure {
		*reached = inHandshake
		if err := s.startTLS(); err != nil {
			return err
		}
		*reached = connected
		options = append(options, ftp.DialWithTLS(s.secure)) // the library then asks for PROT P
	}
	conn, err := ftp.Dial(s.login.addr, options...)
	if err != nil {
		return err
	}
	s.conn = conn
	if err := conn.Login(s.login.user, s.login.password); err != nil {
		return s.loginError(err)
	}
	*reached = responding
	home, err := conn.CurrentDir()
	var reply *textproto.Error
	if err != nil && errors.As(err, &reply) && reply.Code >= 500 {
		return nil // it does not say; then there is no better word than the root
	}
	if strings.HasPrefix(home, "/") {
		s.home = strings.TrimRight(home, "/")
	}
	return err
}

// An ftpRefusal is a login that the server did not take.
type ftpRefusal struct{ reply *textproto.Error }

func (e *ftpRefusal) Error() string { return "log in: " + e.reply.Error() }

// loginError tells a login that was refused from one that went wrong. The library gives the text of some refusals without their code.
func (s *ftpSession) loginError(err error) error {
	if verb := s.control.verb; verb != "USER" && verb != "PASS" {
		return fmt.Errorf("after the login: %w", err)
	}
	if reply := s.control.said(); reply.Code >= 400 {
		return &ftpRefusal{reply}
	}
	return fmt.Errorf("log in: %w", err)
}

// startTLS turns the control connection into one with TLS (RFC 4217) before anything else is said on it. Without it there is no login.
func (s *ftpSession) startTLS() error {
	c := s.control
	in := bufio.NewReader(c)
	replies := textproto.NewReader(in)
	if _, _, err := replies.ReadResponse(ftp.StatusReady); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "AUTH TLS\r\n"); err != nil {
		return err
	}
	if _, _, err := replies.ReadResponse(ftp.StatusAuthOK); err != nil {
		var reply *textproto.Error
		if errors.As(err, &reply) {
			return fmt.Errorf("%w: %w", errNoTLS, err)
		}
		return err
	}
	if in.Buffered() > 0 {
		return errInjected
	}
	host, _, err := net.SplitHostPort(s.login.addr)
	if err != nil {
		return err
	}
	s.secure = s.pool.secure.Clone()
	s.secure.ServerName = host
	// vsftpd takes data connections only that go on with the session of their own control connection, so no two of these share a cache.
	s.secure.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	ctx, cancel := context.WithTimeout(s.ctx, s.pool.conf.TLS)
	defer cancel()
	inner := tls.Client(c.Conn, s.secure)
	if err := inner.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn = inner
	c.replay = []byte("220 TLS\r\n") // the library waits for a greeting, and this one has been read
	return nil
}

// An ftpControl is the control connection as the library sees it: every command has its time, and what the server says to it is kept.
type ftpControl struct {
	net.Conn
	patience time.Duration
	replay   []byte // to be read first
	verb     string // of the last command
	reply    []byte // what came since
}

// renew gives the server its time anew.
func (c *ftpControl) renew() { _ = c.Conn.SetDeadline(time.Now().Add(c.patience)) } // a closed connection says so itself

func (c *ftpControl) Write(p []byte) (int, error) {
	verb, _, _ := bytes.Cut(bytes.TrimRight(p, "\r\n"), []byte(" "))
	c.verb, c.reply = string(verb), c.reply[:0]
	c.renew()
	return c.Conn.Write(p)
}

func (c *ftpControl) Read(p []byte) (int, error) {
	if len(c.replay) > 0 {
		n := copy(p, c.replay)
		c.replay = c.replay[n:]
		return n, nil
	}
	if len(c.reply) > maxReply {
		return 0, errLongReply
	}
	n, err := c.Conn.Read(p)
	c.reply = append(c.reply, p[:n]...)
	return n, err
}

func (c *ftpControl) peer() netip.Addr {
	if to, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return to.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// said is the last reply to the last command; its Code is 0 when there was none. Preliminary replies (1xx) and what follows them before the end do
// not count: they repeat names.
func (c *ftpControl) said() *textproto.Error {
	in := textproto.NewReader(bufio.NewReader(bytes.NewReader(c.reply)))
	last := &textproto.Error{}
	for {
		code, text, err := in.ReadResponse(0)
		if err != nil {
			return last
		}
		if code >= 200 {
			last = &textproto.Error{Code: code, Msg: text}
		}
	}
}

// An ftpData is a data connection as the library sees it. Of a listing it sees the end alone: the sink reads the rows themselves, which the library
// would drop where it cannot parse them.
type ftpData struct {
	net.Conn
	of *ftpSession
}

func (d *ftpData) Read(p []byte) (int, error) {
	if sink := d.of.sink; sink != nil {
		d.of.sink = func(io.Reader) error { return nil }
		if err := sink(readerFunc(d.listing)); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	return d.read(p)
}

// read takes an end without TLS's own for an end: what was cut off shows in the size or in the reply on the control connection, and not every server
// takes leave.
func (d *ftpData) read(p []byte) (int, error) {
	n, err := d.Conn.Read(p)
	if d.of.secure != nil && errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

func (d *ftpData) listing(p []byte) (int, error) {
	if err := d.Conn.SetReadDeadline(time.Now().Add(d.of.pool.conf.Idle)); err != nil {
		return 0, err
	}
	return d.read(p)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
