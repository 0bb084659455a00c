package listing

import (
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// A utf16Reader turns UTF-16 into UTF-8. A surrogate without its other half becomes U+FFFD, a last odd byte is ErrCut.
type utf16Reader struct {
	r    io.ByteReader
	big  bool
	held []byte // encoded, not yet given
	high rune   // a high surrogate that waits for its other half; 0 for none
	err  error  // what ended r
}

func (u *utf16Reader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(u.held) > 0 {
			c := copy(p[n:], u.held)
			u.held = u.held[c:]
			n += c
			continue
		}
		if u.err == nil {
			u.err = u.next()
		}
		if u.err != nil && n > 0 {
			return n, nil
		}
		if u.err != nil {
			return 0, u.err
		}
	}
	return n, nil
}

// next decodes one unit into held, which stays empty after the first half of a pair.
func (u *utf16Reader) next() error {
	a, err := u.r.ReadByte()
	if err != nil {
		if err == io.EOF && u.high != 0 {
			return ErrCut
		}
		return err
	}
	b, err := u.r.ReadByte()
	if err == io.EOF {
		return ErrCut
	}
	if err != nil {
		return err
	}
	c := rune(b)<<8 | rune(a)
	if u.big {
		c = rune(a)<<8 | rune(b)
	}
	u.held = u.held[:0]
	if u.high != 0 {
		high := u.high
		u.high = 0
		if pair := utf16.DecodeRune(high, c); pair != utf8.RuneError {
			u.held = utf8.AppendRune(u.held, pair)
			return nil
		}
		u.held = utf8.AppendRune(u.held, utf8.RuneError)
	}
	if 0xd800 <= c && c < 0xdc00 {
		u.high = c
		return nil
	}
	u.held = utf8.AppendRune(u.held, c) // a lone low surrogate is encoded as U+FFFD
	return nil
}
