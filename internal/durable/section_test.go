package durable

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
)

// pipe is a TCP connection to ourselves, and what comes out of it.
func pipe(t *testing.T) (*net.TCPConn, <-chan []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	in, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	out, err := l.Accept()
	must(t, err)
	got := make(chan []byte, 1)
	go func() {
		defer out.Close()
		b, _ := io.ReadAll(out)
		got <- b
	}()
	return in.(*net.TCPConn), got
}

func file(t *testing.T, body []byte) *os.File {
	t.Helper()
	name := t.TempDir() + "/f"
	must(t, os.WriteFile(name, body, 0o600))
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> 3)
	}
	return b
}

func TestSendToSendsExactlyTheSection(t *testing.T) {
	body := pattern(9 << 20)
	f := file(t, body)
	g := NewGrowing(file(t, body), int64(len(body)))
	g.End(nil)
	for _, c := range []struct{ off, end int64 }{{0, 9 << 20}, {5, 6}, {1 << 20, 8 << 20}, {7, 7}} {
		for source, open := range map[string]func() *Section{
			"file":    func() *Section { return NewSection(f, c.off, c.end, nil) },
			"memory":  func() *Section { return NewBytes(body, c.off, c.end, nil) },
			"growing": func() *Section { s, _ := g.Section(t.Context(), c.off, c.end); return s },
		} {
			conn, got := pipe(t)
			s := open()
			if s.Len() != c.end-c.off {
				t.Errorf("%s: Len = %d, want %d", source, s.Len(), c.end-c.off)
			}
			// What net/http does: the first bytes through Read, the rest at once. One offset for both.
			first := make([]byte, min(512, c.end-c.off))
			_, err := io.ReadFull(s, first)
			must(t, err)
			conn.Write(first)
			n, err := s.SendTo(conn)
			conn.Close()
			if b := <-got; err != nil || n != c.end-c.off-int64(len(first)) || !bytes.Equal(b, body[c.off:c.end]) {
				t.Errorf("%s [%d,%d): sent %d, %v; %d bytes came", source, c.off, c.end, n, err, len(b))
			}
			if _, err := s.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%s: Read at the end: %v, want EOF", source, err)
			}
			s.Close()
		}
	}
}

func TestSendToFollowsAGrowingFile(t *testing.T) {
	g := growing(t)
	conn, got := pipe(t)
	s, _ := g.Section(t.Context(), 3, -1)
	done := make(chan error, 1)
	go func() {
		_, err := s.SendTo(conn)
		s.Close()
		conn.Close()
		done <- err
	}()
	body := pattern(1 << 20)
	for rest := body; len(rest) > 0; {
		n, err := g.Write(rest[:min(len(rest), 50000)])
		must(t, err)
		rest = rest[n:]
	}
	g.End(nil)
	g.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b := <-got; !bytes.Equal(b, body[3:]) {
		t.Errorf("%d bytes came, want %d", len(b), len(body)-3)
	}
}

func TestSectionNeverPassesForWhole(t *testing.T) {
	broken := errors.New("broken off")
	ended := func(err error) *Section {
		g := growing(t)
		g.Write([]byte("01234"))
		g.End(err)
		s, _ := g.Section(t.Context(), 0, 10)
		return s
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	left, _ := growing(t).Section(ctx, 0, -1)
	for _, c := range []struct {
		claim string
		s     func() *Section
		want  error
		bytes int
	}{
		{"a file cut by hand", func() *Section { return NewSection(file(t, []byte("01234")), 0, 10, nil) }, io.ErrUnexpectedEOF, 5},
		{"memory that is too short", func() *Section { return NewBytes([]byte("01234"), 0, 10, nil) }, io.ErrUnexpectedEOF, 5},
		{"a draft that ended too soon", func() *Section { return ended(nil) }, io.ErrUnexpectedEOF, 5},
		{"a draft that broke off", func() *Section { return ended(broken) }, broken, 5},
		{"a reader that left", func() *Section { return left }, context.Canceled, 0},
		{"a failed section", func() *Section { return Failed(broken) }, broken, 0},
	} {
		b, err := io.ReadAll(c.s())
		if !errors.Is(err, c.want) || len(b) != c.bytes {
			t.Errorf("%s: read %d bytes, %v, want %d, %v", c.claim, len(b), err, c.bytes, c.want)
		}
		conn, got := pipe(t)
		n, err := c.s().SendTo(conn)
		conn.Close()
		if !errors.Is(err, c.want) || n != int64(c.bytes) || len(<-got) != c.bytes {
			t.Errorf("%s: sent %d bytes, %v, want %d, %v", c.claim, n, err, c.bytes, c.want)
		}
	}
}

func TestReadersShareADescriptor(t *testing.T) {
	body := pattern(3 << 20)
	f := file(t, body)
	const readers = 8
	done := make(chan error)
	for range readers {
		conn, got := pipe(t)
		go func() {
			_, err := NewSection(f, 0, int64(len(body)), nil).SendTo(conn)
			conn.Close()
			if b := <-got; err == nil && !bytes.Equal(b, body) {
				err = errors.New("wrong bytes")
			}
			done <- err
		}()
	}
	for range readers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestCloseReleasesOnce(t *testing.T) {
	n := 0
	s := NewBytes([]byte("abc"), 1, 3, func() { n++ })
	if string(s.Bytes()) != "bc" {
		t.Errorf("Bytes = %q", s.Bytes())
	}
	s.Close()
	s.Close()
	if n != 1 {
		t.Errorf("released %d times", n)
	}
}

func TestSendPartSendsNoMoreThanItMay(t *testing.T) {
	body := pattern(9 << 20)
	f := file(t, body)
	g := NewGrowing(file(t, body), int64(len(body)))
	g.End(nil)
	for source, open := range map[string]func() *Section{
		"file":    func() *Section { return NewSection(f, 5, 9<<20, nil) },
		"memory":  func() *Section { return NewBytes(body, 5, 9<<20, nil) },
		"growing": func() *Section { s, _ := g.Section(t.Context(), 5, -1); return s },
	} {
		conn, got := pipe(t)
		s := open()
		want := int64(len(body)) - 5
		for _, n := range []int64{1, 4096, 5 << 20, 1 << 40} {
			there, err := s.Await()
			if err != nil || there != want {
				t.Errorf("%s: Await = %d, %v; want the %d bytes that are left", source, there, err, want)
			}
			sent, err := s.SendPart(conn, n)
			if err != nil || sent != min(n, want) {
				t.Errorf("%s: SendPart(%d) = %d, %v; want %d", source, n, sent, err, min(n, want))
			}
			want -= sent
		}
		if _, err := s.Await(); err != io.EOF {
			t.Errorf("%s: Await at the end: %v, want EOF", source, err)
		}
		if n, err := s.SendPart(conn, 10); n != 0 || err != nil {
			t.Errorf("%s: SendPart at the end = %d, %v; want nothing", source, n, err)
		}
		conn.Close()
		if b := <-got; !bytes.Equal(b, body[5:]) {
			t.Errorf("%s: %d bytes came, want the %d of the section", source, len(b), len(body)-5)
		}
		s.Close()
	}
}

func TestAwaitTellsWhatOfAGrowingIsThere(t *testing.T) {
	g := NewGrowing(file(t, nil), 0)
	s, _ := g.Section(t.Context(), 0, 100)
	defer s.Close()
	_, err := g.Write(make([]byte, 40))
	must(t, err)
	if n, err := s.Await(); n != 40 || err != nil {
		t.Errorf("Await = %d, %v; want the 40 bytes that are written", n, err)
	}
	conn, got := pipe(t)
	if n, err := s.SendPart(conn, 40); n != 40 || err != nil {
		t.Errorf("SendPart(40) = %d, %v", n, err)
	}
	there := make(chan int64, 1)
	go func() { n, _ := s.Await(); there <- n }()
	_, err = g.Write(make([]byte, 200))
	must(t, err)
	if n := <-there; n != 60 {
		t.Errorf("Await = %d, want the 60 bytes up to the section's end", n)
	}
	conn.Close()
	<-got
	broken := errors.New("broken")
	g.End(broken)
	if n, err := s.SendPart(conn, 0); n != 0 || err != nil {
		t.Errorf("SendPart(0) = %d, %v; want nothing", n, err)
	}
	late, _ := g.Section(t.Context(), 240, -1)
	defer late.Close()
	if _, err := late.Await(); !errors.Is(err, broken) {
		t.Errorf("Await behind what was written: %v, want the writer's error", err)
	}
}
