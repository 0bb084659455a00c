package origintest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
)

// A Content is what a file holds. Its methods may be called concurrently.
type Content struct {
	at   io.ReaderAt
	size int64
	tag  string // distinguishes this content from others in its default ETag
	sum  func() string
}

// Body is size bytes that depend on seed alone, made as they are read.
func Body(seed uint64, size int64) *Content {
	return content(generated{seed: seed, size: size}, size, fmt.Sprintf("%x-%x", seed, size))
}

// Bytes is b, which must not be changed afterwards.
func Bytes(b []byte) *Content {
	sum := sha256.Sum256(b)
	return content(bytes.NewReader(b), int64(len(b)), hex.EncodeToString(sum[:6]))
}

// Text is s.
func Text(s string) *Content { return Bytes([]byte(s)) }

func content(at io.ReaderAt, size int64, tag string) *Content {
	c := &Content{at: at, size: size, tag: tag}
	c.sum = sync.OnceValue(func() string {
		h := sha256.New()
		if _, err := io.Copy(h, c.Reader()); err != nil {
			panic(err) // neither kind of content can fail to be read
		}
		return hex.EncodeToString(h.Sum(nil))
	})
	return c
}

// Size is the number of bytes.
func (c *Content) Size() int64 { return c.size }

// Reader reads the whole content from its start.
func (c *Content) Reader() *io.SectionReader { return io.NewSectionReader(c.at, 0, c.size) }

// Range reads the bytes from off up to, not including, end.
func (c *Content) Range(off, end int64) *io.SectionReader {
	return io.NewSectionReader(c.at, off, end-off)
}

// SHA256 is the digest of the whole content in hex. It is computed once.
func (c *Content) SHA256() string { return c.sum() }

// String is the whole content; for small ones.
func (c *Content) String() string {
	var b strings.Builder
	if _, err := io.Copy(&b, c.Reader()); err != nil {
		panic(err)
	}
	return b.String()
}

// generated is a body whose eight bytes at 8*i are a hash of seed and i, so that any range can be made without the ones
// before it and no two stretches are alike: a byte served from the wrong offset shows.
type generated struct {
	seed uint64
	size int64
}

func (g generated) ReadAt(p []byte, off int64) (int, error) {
	if off >= g.size {
		return 0, io.EOF
	}
	var short error
	if rest := g.size - off; int64(len(p)) > rest {
		p, short = p[:rest], io.EOF
	}
	n := 0
	if skew := int(off % 8); skew != 0 {
		n = g.partial(p, off/8, skew)
	}
	i := uint64((off + int64(n)) / 8)
	for ; len(p)-n >= 8; n += 8 {
		binary.LittleEndian.PutUint64(p[n:], mix(g.seed, i))
		i++
	}
	if n < len(p) {
		n += g.partial(p[n:], int64(i), 0)
	}
	return n, short
}

func (g generated) partial(p []byte, word int64, skew int) int {
	var w [8]byte
	binary.LittleEndian.PutUint64(w[:], mix(g.seed, uint64(word)))
	return copy(p, w[skew:])
}

// mix is the finaliser of splitmix64: cheap, and good enough that gzip finds nothing to save.
func mix(seed, i uint64) uint64 {
	z := seed*0xD1342543DE82EF95 + (i+1)*0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}
