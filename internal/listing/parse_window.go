package listing

import (
	"fmt"
	"io"
)

// A window is the part of a body that is being looked at. JSON and XML are read through it byte by byte, since both must keep bytes
// that the libraries replace (nginx's JSON is not UTF-8 where names are not) or refuse (S3 sends &#x7;).
type window struct {
	r        io.Reader
	buf      []byte
	pos, end int
}

func newWindow(r io.Reader) window {
	return window{r: r, buf: make([]byte, 32<<10)}
}

// fill reads on when all of the window was consumed. The body's end is io.EOF.
func (w *window) fill() error {
	for w.pos == w.end {
		n, err := w.r.Read(w.buf)
		w.pos, w.end = 0, n
		if n > 0 {
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// next consumes a byte that must be there: the body's end is ErrCut.
func (w *window) next() (byte, error) {
	if w.pos == w.end {
		if err := w.fill(); err != nil {
			return 0, readError(err)
		}
	}
	c := w.buf[w.pos]
	w.pos++
	return c, nil
}

// nextSolid consumes blanks and the byte behind them.
func (w *window) nextSolid() (byte, error) {
	for {
		c, err := w.next()
		if err != nil || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, err
		}
	}
}

// onlyBlanks says whether nothing but blanks is left.
func (w *window) onlyBlanks() error {
	for {
		if err := w.fill(); err == io.EOF {
			return nil
		} else if err != nil {
			return readError(err)
		}
		c, err := w.nextSolid()
		if err == nil {
			return fmt.Errorf("%w: %q behind its end", ErrNotListing, c)
		}
	}
}
