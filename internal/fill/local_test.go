package fill

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"zcache/internal/cache"
)

func TestAFileThatChangesUnderWayIsCutOff(t *testing.T) {
	old := time.Now().Add(-time.Hour)
	for _, c := range []struct {
		claim  string
		change func(path string) error
		want   error
	}{
		{"one that stays is whole", func(string) error { return nil }, nil},
		{"one that is written over is cut off", func(p string) error { return os.Chtimes(p, time.Time{}, time.Now()) }, errTouched},
		{"one that is cut is cut off", func(p string) error { return os.Truncate(p, 10) }, io.ErrUnexpectedEOF},
		{"one that grows is what it was", func(p string) error {
			f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}, nil},
	} {
		t.Run(c.claim, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			body := bytes.Repeat([]byte("x"), 4*lastBytes)
			if err := os.WriteFile(path, body, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			before, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			whole := cache.FileBody(f, before.Size())
			defer whole.Close()
			size := before.Size()
			u := &unchanged{file: f, before: before, parts: [2]section{whole.Section(0, size-lastBytes), whole.Section(size-lastBytes, size)}}
			defer u.Close()
			if _, err := io.ReadFull(u, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(u)
			if c.want == nil && (err != nil || len(rest) != len(body)-100) || c.want != nil && err == nil {
				t.Errorf("read %d of %d bytes, %v; want %v", len(rest), len(body)-100, err, c.want)
			}
		})
	}
}
