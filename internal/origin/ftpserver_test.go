package origin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// An ftpServer is an FTP server of the test's own: it counts commands, and scripts decide what it does instead of its work.
type ftpServer struct {
	t    testing.TB
	ln   net.Listener
	addr string

	mu       sync.Mutex
	files    map[string]string // by path
	features []string
	script   func(c *ftpConn, verb, arg string) (done bool) // asked before the server's own answer
	commands []string
	logins   int
	conns    map[net.Conn]bool
	work     sync.WaitGroup
}

// ftpTime is the time of every file.
var ftpTime = time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC)

// newFTPServer serves files by their paths. Directories follow from them.
func newFTPServer(t testing.TB, files map[string]string) *ftpServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &ftpServer{
		t: t, ln: ln, addr: ln.Addr().String(), files: files, conns: map[net.Conn]bool{},
		features: []string{"EPSV", "MDTM", "MLST type*;size*;modify*;", "REST STREAM", "SIZE", "UTF8"},
	}
	s.work.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[conn] = true
			s.mu.Unlock()
			s.work.Go(func() { (&ftpConn{Conn: conn, of: s}).serve() })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.hangUp()
		s.work.Wait()
	})
	return s
}

// url is the server's as an upstream.
func (s *ftpServer) url() string { return "ftp://" + s.addr }

// on has f asked before every command from now on.
func (s *ftpServer) on(f func(c *ftpConn, verb, arg string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = f
}

// hangUp closes every connection that there is.
func (s *ftpServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
		delete(s.conns, c)
	}
}

// count is how often the command was sent.
func (s *ftpServer) count(verb string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.commands {
		if c == verb || strings.HasPrefix(c, verb+" ") {
			n++
		}
	}
	return n
}

func (s *ftpServer) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// An ftpConn is one control connection of an ftpServer.
type ftpConn struct {
	net.Conn
	of   *ftpServer
	dir  string
	rest int
	data net.Listener
}

func (c *ftpConn) say(lines ...string) {
	_, _ = io.WriteString(c.Conn, strings.Join(lines, "\r\n")+"\r\n") // a client that is gone shows in the next read
}

func (c *ftpConn) serve() {
	defer c.Close()
	defer func() {
		if c.data != nil {
			c.data.Close()
		}
	}()
	c.say("220-hello", " 220 not the end", "220 ready")
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, arg, _ := strings.Cut(line, " ")
		c.of.mu.Lock()
		c.of.commands = append(c.of.commands, line)
		script := c.of.script
		c.of.mu.Unlock()
		if script != nil && script(c, verb, arg) {
			continue
		}
		if verb == "QUIT" {
			c.say("221 bye")
			return
		}
		c.answer(verb, arg)
	}
}

func (c *ftpConn) answer(verb, arg string) {
	switch verb {
	case "USER":
		c.say("331 password, please")
	case "PASS":
		c.of.mu.Lock()
		c.of.logins++
		c.of.mu.Unlock()
		c.say("230-welcome", "226 this is not an end", "230 logged in")
	case "FEAT":
		c.say(append(append([]string{"211-features"}, prefixed(c.of.features)...), "211 end")...)
	case "TYPE", "OPTS":
		c.say("200 yes")
	case "PWD":
		c.say(`257 "/" is it`)
	case "EPSV":
		c.say(fmt.Sprintf("229 here (|||%d|)", c.listen()))
	case "PASV":
		port := c.listen()
		c.say(fmt.Sprintf("227 here (10,9,8,7,%d,%d)", port>>8, port&255))
	case "REST":
		c.rest, _ = strconv.Atoi(arg)
		c.say("350 from there")
	case "SIZE", "MDTM", "CWD", "RETR", "MLSD", "LIST":
		c.file(verb, arg)
	default:
		c.say("502 no such command")
	}
}

func prefixed(lines []string) (out []string) {
	for _, l := range lines {
		out = append(out, " "+l)
	}
	return out
}

func (c *ftpConn) listen() int {
	if c.data != nil {
		c.data.Close()
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.of.t.Error(err)
		return 0
	}
	c.data = ln
	return ln.Addr().(*net.TCPAddr).Port
}

func (c *ftpConn) file(verb, arg string) {
	body, ok := c.of.files[arg]
	switch {
	case verb == "CWD" && c.of.holds(arg):
		c.dir = arg
		c.say("250 in")
	case verb == "MLSD" || verb == "LIST":
		c.send(c.of.rows(c.dir))
	case !ok || verb == "CWD":
		c.say("550 " + arg + ": No such file or directory")
	case verb == "SIZE":
		c.say(fmt.Sprintf("213 %d", len(body)))
	case verb == "MDTM":
		c.say("213 " + ftpTime.Format("20060102150405"))
	case verb == "RETR":
		from := c.rest
		c.rest = 0
		c.send(body[from:])
	}
}

// send sends text over the data connection, and says so on this one.
func (c *ftpConn) send(text string) {
	c.transfer(text, "226 done")
}

// transfer is send with another last word; without any, the control connection is closed.
func (c *ftpConn) transfer(text, last string) {
	data, err := c.data.Accept()
	if err != nil {
		return
	}
	c.say("150 here it comes")
	_, _ = io.WriteString(data, text) // a client may have had enough
	data.Close()
	if last == "" {
		c.Close()
		return
	}
	c.say(last)
}

// holds says that some file lies below the directory.
func (s *ftpServer) holds(dir string) bool {
	dir = strings.TrimRight(dir, "/") + "/"
	for name := range s.files {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

// rows are those of MLSD for the directory.
func (s *ftpServer) rows(dir string) string {
	dir = strings.TrimRight(dir, "/") + "/"
	seen := map[string]string{}
	for name, body := range s.files {
		rest, ok := strings.CutPrefix(name, dir)
		if !ok {
			continue
		}
		stamp := ftpTime.Format("20060102150405")
		if first, _, below := strings.Cut(rest, "/"); below {
			seen[first] = "type=dir;modify=" + stamp + "; " + first + "\r\n"
		} else {
			seen[rest] = fmt.Sprintf("type=file;size=%d;modify=%s; %s\r\n", len(body), stamp, rest)
		}
	}
	out := "type=cdir; .\r\n"
	for _, row := range seen {
		out += row
	}
	return out
}
