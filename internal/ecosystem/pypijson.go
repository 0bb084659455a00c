package ecosystem

import (
	"bytes"
	"encoding/json"
	"io"
)

// deepest bounds how far values of a page may be nested in others: PEP 691 has five levels.
const deepest = 64

// newJSONSteps goes through JSON token by token. The decoder is only asked where tokens end and what they say; what is given out is what it read.
func newJSONSteps(src io.Reader, l *links) step {
	var read bytes.Buffer // by the decoder and not yet given out
	failed := &noted{r: src}
	dec := json.NewDecoder(io.TeeReader(failed, &read))
	dec.UseNumber()
	var at nesting
	given := int64(0)
	return func(out []byte) ([]byte, error) {
		token, err := dec.Token()
		switch {
		case err != nil && failed.err != nil:
			return append(out, read.Bytes()...), failed.err
		case err != nil || len(at) > deepest:
			return append(out, read.Bytes()...), errUnread
		}
		end := dec.InputOffset()
		raw := read.Next(int(end - given))
		given = end
		here := at.fileURL()
		at.pass(token)
		if s, ok := token.(string); ok && here {
			if instead, ok := l.lead(s, true); ok {
				begin := bytes.IndexByte(raw, '"') // only space and punctuation stand before it
				return append(append(out, raw[:begin]...), quoted(instead)...), nil
			}
		}
		return append(out, raw...), nil
	}
}

// quoted is s as a string of JSON, with no more escapes than it takes.
func quoted(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// noted remembers how a reader ended, io.EOF included.
type noted struct {
	r   io.Reader
	err error
}

func (n *noted) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil {
		n.err = err
	}
	return k, err
}

// nesting are the arrays and objects around a place in JSON, the outermost first.
type nesting []level

type level struct {
	object bool
	valued bool // the name of a member has come, its value has not
	name   string
}

// fileURL says that the next token is the value of "url" in one of "files".
func (n nesting) fileURL() bool {
	return len(n) == 3 && n[0].object && n[0].name == "files" && !n[1].object && n[2].object && n[2].valued && n[2].name == "url"
}

// pass goes on to behind a token.
func (n *nesting) pass(token json.Token) {
	if d, ok := token.(json.Delim); ok && (d == '{' || d == '[') {
		*n = append(*n, level{object: d == '{'})
		return
	} else if ok {
		*n = (*n)[:len(*n)-1]
	}
	if len(*n) == 0 {
		return
	}
	top := &(*n)[len(*n)-1]
	if !top.object {
		return
	}
	if name, ok := token.(string); ok && !top.valued {
		top.name, top.valued = name, true
		return
	}
	top.valued = false
}
