package listing

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// longestLine bounds a line of a list, in bytes. A name has at most 255, or four times that escaped, a link's target 4096.
const longestLine = 64 << 10

// A lineReader gives the lines of a list. Where lines end in CR LF, as FTP wants them, a lone LF is part of a name.
type lineReader struct {
	r    *bufio.Reader
	crlf bool
	long []byte // a line that was met in parts
	size int64  // bytes read so far, line ends included
}

// newLines decides by the first bytes how lines end.
func newLines(r *bufio.Reader) *lineReader {
	start, _ := r.Peek(sniffed) // an error comes again with next
	pairs := bytes.Count(start, []byte("\r\n"))
	return &lineReader{r: r, crlf: pairs > 0 && 2*pairs >= bytes.Count(start, []byte("\n"))}
}

// next gives a line without its end; io.EOF after the last. A last line without an end is ErrCut.
func (l *lineReader) next() (string, error) {
	l.long = l.long[:0]
	for {
		part, err := l.r.ReadSlice('\n')
		l.size += int64(len(part))
		if len(l.long)+len(part) > longestLine {
			return "", fmt.Errorf("%w: a line of over %d bytes", ErrNotListing, longestLine)
		}
		whole := part
		if len(l.long) > 0 || err == bufio.ErrBufferFull || err == nil && l.crlf && !bytes.HasSuffix(part, []byte("\r\n")) {
			l.long = append(l.long, part...)
			whole = l.long
		}
		switch {
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(whole) == 0:
			return "", io.EOF
		case err == io.EOF:
			return "", fmt.Errorf("%w: the last line has no end", ErrCut)
		case err != nil:
			return "", readError(err)
		case l.crlf && !bytes.HasSuffix(whole, []byte("\r\n")):
			continue
		}
		return string(bytes.TrimSuffix(whole[:len(whole)-1], []byte("\r"))), nil
	}
}
