package listing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
)

// TypeNames is the content type of a bare list of names, one a line: what NLST gives. It has no shape of its own, so Parse takes
// a body for one on this word alone.
const TypeNames = "text/x-nlst"

// sniffed is how much of a body decides what it is, in bytes. XML may open with a long comment.
const sniffed = 4 << 10

// Parse reads the listing of the directory at src.URL. What the body is follows from its first bytes; the content type decides only
// where those say nothing, because servers label JSON as HTML and lists as anything. At most MaxSize bytes are read; a longer body
// fails with ErrTooLarge, one that is no listing with ErrNotListing, one that ended early with ErrCut, one that says it may not be
// read with ErrForbidden.
//
// The Entries come sorted by Name, each once, and none has an impossible name. An empty JSON array, or a null that is called JSON, is
// an empty directory: nginx and Caddy say it so.
func Parse(src Source, body io.Reader) (*Listing, error) {
	r := bufio.NewReaderSize(&capped{r: body, left: MaxSize}, 2*sniffed)
	r, start, err := undoMark(r)
	if err != nil {
		return nil, err
	}
	media, _, err := mime.ParseMediaType(src.ContentType)
	if err != nil {
		media = strings.ToLower(strings.TrimSpace(src.ContentType))
	}
	switch {
	case media == TypeNames:
		return parseNames(src, r)
	case strings.HasPrefix(media, "application/vnd.pypi.simple."):
		return nil, fmt.Errorf("%w: a package index, whose files lie elsewhere", ErrNotListing)
	}
	text := bytes.TrimLeft(start, " \t\r\n\f")
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("%w: the body is empty", ErrNotListing)
	case text[0] == '[' || text[0] == '{', text[0] == 'n' && strings.HasSuffix(media, "json"):
		return parseJSON(src, r)
	case text[0] == '<':
		switch root := xmlRoot(text); {
		case knownRoot(root):
			return parseXML(src, r)
		case bytes.HasPrefix(text, []byte("<?xml")) && !strings.EqualFold(root, "html"):
			return nil, fmt.Errorf("%w: an XML document of <%.40s>", ErrNotListing, root)
		}
		return parseHTML(src, r)
	case strings.HasSuffix(media, "html"), strings.HasSuffix(media, "html+xml"):
		return parseHTML(src, r)
	case media == "", strings.HasPrefix(media, "text/"):
		return parseText(src, r)
	}
	return nil, fmt.Errorf("%w: %.60s", ErrNotListing, media)
}

// undoMark takes a byte order mark off r, turns UTF-16 into UTF-8, and gives the first bytes of what is left without consuming them.
func undoMark(r *bufio.Reader) (*bufio.Reader, []byte, error) {
	start, err := peek(r)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, err = r.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		_, err = r.Discard(2)
		r = bufio.NewReaderSize(&utf16Reader{r: r, big: start[0] == 0xfe}, 2*sniffed)
	default:
		return r, start, nil
	}
	if err != nil {
		return nil, nil, err
	}
	start, err = peek(r)
	return r, start, err
}

func peek(r *bufio.Reader) ([]byte, error) {
	start, err := r.Peek(sniffed)
	if err != nil && err != io.EOF {
		return nil, readError(err)
	}
	return start, nil
}

// A capped reader fails with ErrTooLarge where a body goes on after left bytes.
type capped struct {
	r    io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err
}

// readError says of an error of the body's reader what it means for the listing: a connection that broke has cut it.
func readError(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrCut):
		return err
	case err == io.EOF:
		return ErrCut
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", ErrCut, err)
	}
	return fmt.Errorf("read listing: %w", err)
}

// possible says whether name can be a file's in a directory.
func possible(name string) bool {
	return name != "" && name != "." && name != ".." && strings.IndexByte(name, '/') < 0 && strings.IndexByte(name, 0) < 0
}

// tidied gives entries in the form that a Listing promises: no impossible names, sorted, each name once. Of two entries with one
// name the directory stays, since a path that others lie below cannot be a file here; else the first.
func tidied(entries []Entry) []Entry {
	entries = slices.DeleteFunc(entries, func(e Entry) bool { return !possible(e.Name) })
	byName := func(a, b Entry) int { return strings.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(entries, byName) {
		slices.SortStableFunc(entries, byName)
	}
	kept := entries[:0]
	for _, e := range entries {
		if last := len(kept) - 1; last >= 0 && kept[last].Name == e.Name {
			if e.Kind == Dir && kept[last].Kind != Dir {
				kept[last] = e
			}
			continue
		}
		kept = append(kept, e)
	}
	return kept
}
