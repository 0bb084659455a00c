package listing

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// deepest bounds how JSON and XML nest.
const deepest = 100

// A jsonReader reads one JSON value token by token. Bytes in strings stay as they are, UTF-8 or not.
type jsonReader struct {
	window
	text []byte // the last string or bare word; good until the next
}

func badJSON(c byte) error {
	return fmt.Errorf("%w: unexpected %q in JSON", ErrNotListing, c)
}

// str reads a string whose opening quote was consumed into text.
func (j *jsonReader) str() error {
	j.text = j.text[:0]
	for {
		if j.pos == j.end {
			if err := j.fill(); err != nil {
				return readError(err)
			}
		}
		part := j.buf[j.pos:j.end]
		if end := bytes.IndexByte(part, '"'); end >= 0 {
			part = part[:end]
		}
		if end := bytes.IndexByte(part, '\\'); end >= 0 {
			part = part[:end]
		}
		j.text = append(j.text, part...)
		if j.pos += len(part); j.pos == j.end {
			continue
		}
		c, _ := j.next()
		if c == '"' {
			return nil
		}
		if err := j.escape(); err != nil {
			return err
		}
	}
}

// escape reads what follows a backslash.
func (j *jsonReader) escape() error {
	c, err := j.next()
	if err != nil {
		return err
	}
	switch c {
	case '"', '\\', '/':
		j.text = append(j.text, c)
	case 'b':
		j.text = append(j.text, '\b')
	case 'f':
		j.text = append(j.text, '\f')
	case 'n':
		j.text = append(j.text, '\n')
	case 'r':
		j.text = append(j.text, '\r')
	case 't':
		j.text = append(j.text, '\t')
	case 'u':
		unit, err := j.hex4()
		if err != nil {
			return err
		}
		return j.unit(unit)
	default:
		return badJSON(c)
	}
	return nil
}

// unit appends the character that a UTF-16 unit begins. Halves of pairs without the other become U+FFFD.
func (j *jsonReader) unit(unit rune) error {
	for utf16.IsSurrogate(unit) {
		c, err := j.next()
		if err != nil {
			return err
		}
		if c != '\\' {
			j.pos-- // next has left at least this byte in the window
			break
		}
		if c, err = j.next(); err != nil {
			return err
		}
		if c != 'u' {
			j.text = utf8.AppendRune(j.text, utf8.RuneError)
			j.pos--
			return j.escape()
		}
		second, err := j.hex4()
		if err != nil {
			return err
		}
		if pair := utf16.DecodeRune(unit, second); pair != utf8.RuneError {
			j.text = utf8.AppendRune(j.text, pair)
			return nil
		}
		j.text = utf8.AppendRune(j.text, utf8.RuneError)
		unit = second
	}
	j.text = utf8.AppendRune(j.text, unit)
	return nil
}

func (j *jsonReader) hex4() (rune, error) {
	var r rune
	for range 4 {
		c, err := j.next()
		if err != nil {
			return 0, err
		}
		d, ok := hexDigit(c)
		if !ok {
			return 0, badJSON(c)
		}
		r = r<<4 | rune(d)
	}
	return r, nil
}

func hexDigit(c byte) (byte, bool) {
	d := nibble(c)
	return d, d < 16
}

// word reads a number, true, false or null that begins with c into text.
func (j *jsonReader) word(c byte) error {
	j.text = append(j.text[:0], c)
	for {
		c, err := j.next()
		if err != nil {
			return err // a word can end a document, but of listings only null is one, and a line end follows it
		}
		switch {
		case isDigit(c), 'a' <= c && c <= 'z', c == '+', c == '-', c == '.', c == 'E':
			if j.text = append(j.text, c); len(j.text) > 64 {
				return badJSON(c)
			}
		default:
			j.pos--
			return j.checkWord()
		}
	}
}

func (j *jsonReader) checkWord() error {
	switch string(j.text) {
	case "true", "false", "null":
		return nil
	}
	if c := j.text[0]; !isDigit(c) && c != '-' {
		return badJSON(c)
	}
	return nil
}

// list reads the elements of an array or the members of an object whose opening bracket was consumed, and calls each with the first
// byte of every one. each must consume the whole element.
func (j *jsonReader) list(end byte, each func(first byte) error) error {
	c, err := j.nextSolid()
	if err != nil || c == end {
		return err
	}
	for {
		if err := each(c); err != nil {
			return err
		}
		if c, err = j.nextSolid(); err != nil || c == end {
			return err
		}
		if c != ',' {
			return badJSON(c)
		}
		if c, err = j.nextSolid(); err != nil {
			return err
		}
	}
}

// object reads an object whose brace was consumed. Each member's key is in text when member is called with its value's first byte.
func (j *jsonReader) object(member func(first byte) error) error {
	return j.list('}', func(first byte) error {
		if first != '"' {
			return badJSON(first)
		}
		if err := j.str(); err != nil {
			return err
		}
		c, err := j.nextSolid()
		if err != nil {
			return err
		}
		if c != ':' {
			return badJSON(c)
		}
		if c, err = j.nextSolid(); err != nil {
			return err
		}
		return member(c)
	})
}

// skip passes over the value that begins with c. It is not checked beyond its nesting and its strings.
func (j *jsonReader) skip(c byte) error {
	depth := 0
	for {
		switch c {
		case '"':
			if err := j.str(); err != nil {
				return err
			}
		case '{', '[':
			if depth++; depth > deepest {
				return badJSON(c)
			}
		case '}', ']':
			if depth--; depth < 0 {
				return badJSON(c)
			}
		case ',', ':':
			if depth == 0 {
				return badJSON(c)
			}
		default:
			if err := j.word(c); err != nil {
				return err
			}
		}
		if depth == 0 {
			return nil
		}
		var err error
		if c, err = j.nextSolid(); err != nil {
			return err
		}
	}
}
