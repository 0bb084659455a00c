package durable

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
)

// bodyOf is a FileBody of its own file, and that file to change.
func bodyOf(t *testing.T, content []byte) (*FileBody, *os.File) {
	t.Helper()
	f := file(t, content)
	again, err := os.Open(f.Name())
	must(t, err)
	b := NewFileBody(again, int64(len(content)))
	t.Cleanup(func() { b.Close() })
	return b, f
}

func TestFileBodyReadsAtAnyOffset(t *testing.T) {
	content := pattern(1000)
	b, _ := bodyOf(t, content)
	for _, row := range []struct {
		claim     string
		off, room int64
		want      int64
		err       error
	}{
		{"the beginning", 0, 10, 10, nil},
		{"the whole", 0, 1000, 1000, nil},
		{"more than the whole", 0, 1001, 1000, io.EOF},
		{"over the end", 990, 20, 10, io.EOF},
		{"at the end", 1000, 1, 0, io.EOF},
		{"beyond the end", 5000, 1, 0, io.EOF},
	} {
		p := make([]byte, row.room)
		n, err := b.ReadAt(p, row.off)
		if int64(n) != row.want || err != row.err || !bytes.Equal(p[:n], content[min(row.off, 1000):min(row.off, 1000)+row.want]) {
			t.Errorf("%s: ReadAt(%d bytes, %d) = %d, %v, want %d, %v and the file's bytes", row.claim, row.room, row.off, n, err, row.want, row.err)
		}
	}
}

func TestFileBodyThatWasCutNeverLooksWhole(t *testing.T) {
	b, f := bodyOf(t, pattern(1000))
	s := b.Section(0, -1)
	defer s.Close()
	must(t, f.Truncate(600))
	if n, err := b.ReadAt(make([]byte, 1000), 0); n != 600 || err != io.ErrUnexpectedEOF {
		t.Errorf("ReadAt of a body cut to 600 bytes = %d, %v, want 600, %v", n, err, io.ErrUnexpectedEOF)
	}
	if n, err := io.Copy(io.Discard, s); n != 600 || err != io.ErrUnexpectedEOF {
		t.Errorf("Copy of a section cut to 600 bytes = %d, %v, want 600, %v", n, err, io.ErrUnexpectedEOF)
	}
}

func TestFileBodyStopsAtTheSizeItBeganWith(t *testing.T) {
	content := pattern(100)
	b, f := bodyOf(t, content)
	_, err := f.WriteAt([]byte("more"), 100)
	must(t, err)
	s := b.Section(0, -1)
	defer s.Close()
	if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, content) {
		t.Errorf("ReadAll of a body that grew = %d bytes, %v, want the first 100", len(got), err)
	}
	if n, err := b.ReadAt(make([]byte, 8), 96); n != 4 || err != io.EOF {
		t.Errorf("ReadAt over the old end = %d, %v, want 4, EOF", n, err)
	}
}

func TestFileBodyIsOpenUntilTheLastSectionIsClosed(t *testing.T) {
	content := pattern(64 << 10)
	b, _ := bodyOf(t, content)
	var readers sync.WaitGroup
	held := make([]*Section, 8)
	for i := range held {
		held[i] = b.Section(0, -1)
	}
	must(t, b.Close())
	must(t, b.Close())
	for i, s := range held {
		readers.Go(func() {
			defer s.Close()
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, content) {
				t.Errorf("section %d after Close = %d bytes, %v, want all %d", i, len(got), err, len(content))
			}
		})
	}
	readers.Wait()
	if _, err := b.file.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Stat of the file after the last section = %v, want %v", err, os.ErrClosed)
	}
	if _, err := b.Section(0, 1).Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read of a section asked for too late = %v, want %v", err, os.ErrClosed)
	}
}
