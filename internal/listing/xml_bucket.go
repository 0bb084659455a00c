package listing

import (
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
)

// A bucketListing reads the keys of a bucket that lie below a prefix: S3's ListObjects in both versions and Azure's List Blobs. Keys
// are flat; what lies below a further slash is a directory here, whether the store gathered it under a delimiter or not.
//
// An empty result is an empty directory. Stores do not tell it from one that was never there.
type bucketListing struct {
	*xmlReader
	src       Source
	entries   []Entry // named by their whole keys until the document is read: what the prefix is may stand at its end
	one       bucketKey
	prefix    string
	delimiter string
	encoding  string
	next      string // the token, or the marker, of the next page
	token     bool   // next is a continuation token
	truncated bool
}

// A bucketKey is one key, or one prefix, as far as it was read.
type bucketKey struct {
	key, size, modified string
	dir                 bool
	encoded             bool
}

func (b *bucketListing) read() (*Listing, error) {
	if err := b.elements(b.visit); err != nil {
		return nil, err
	}
	last := ""
	for i := range b.entries {
		last = max(last, b.entries[i].Name)
	}
	if err := b.decode(&b.prefix); err != nil {
		return nil, err
	}
	if b.delimiter != "" && b.delimiter != "/" && b.delimiter != "%2F" && b.delimiter != "%2f" {
		return nil, fmt.Errorf("%w: keys parted by %.20q", ErrNotListing, b.delimiter)
	}
	if b.prefix != "" && !strings.HasSuffix(b.prefix, "/") {
		return nil, fmt.Errorf("%w: prefix %.200q cuts names", ErrNotListing, b.prefix)
	}
	for i := range b.entries {
		if err := b.below(&b.entries[i]); err != nil {
			return nil, err
		}
	}
	l := &Listing{Entries: tidied(b.entries)}
	if !b.truncated {
		return l, nil
	}
	if b.next == "" {
		b.next = last // S3 gives a marker only with a delimiter; without, the last key is one
	}
	if !b.token {
		if err := b.decode(&b.next); err != nil {
			return nil, err
		}
	}
	if b.next == "" {
		return nil, fmt.Errorf("%w: the store does not say where its next page is", ErrCut)
	}
	l.Next = b.nextPage()
	return l, nil
}

func (b *bucketListing) visit(ev xmlEvent) error {
	in := len(b.path)
	if ev == xmlStart {
		switch {
		case b.is(rootBucket, "Contents"), b.is(rootBucket, "CommonPrefixes"), b.is("Blobs", "Blob"), b.is("Blobs", "BlobPrefix"):
			name := b.path[in-1]
			b.one = bucketKey{dir: name == "CommonPrefixes" || name == "BlobPrefix"}
		case b.is("Blob", "Name"), b.is("BlobPrefix", "Name"):
			b.one.encoded = strings.Contains(string(b.attr), `Encoded="true"`)
		}
		return nil
	}
	text := string(b.text)
	switch {
	case b.is("Contents", "Key"), b.is("CommonPrefixes", "Prefix"), b.is("Blob", "Name"), b.is("BlobPrefix", "Name"):
		b.one.key = text
	case b.is("Contents", "Size"), b.is("Properties", "Content-Length"):
		b.one.size = text
	case b.is("Contents", "LastModified"), b.is("Properties", "Last-Modified"):
		b.one.modified = text
	case in == 2:
		b.setting(b.path[1], text)
	case in == 3 && b.path[1] == "Blobs":
		b.add()
	}
	return nil
}

// setting takes a child of the root.
func (b *bucketListing) setting(name, text string) {
	switch name {
	case "Contents", "CommonPrefixes":
		b.add()
	case "Prefix":
		b.prefix = text
	case "Delimiter":
		b.delimiter = text
	case "EncodingType":
		b.encoding = strings.TrimSpace(text)
	case "IsTruncated":
		b.truncated = strings.TrimSpace(text) == "true"
	case "NextContinuationToken":
		b.next, b.token = text, true
	case "NextMarker":
		if !b.token {
			b.next = text
		}
		b.truncated = b.truncated || b.path[0] == rootAzure && text != ""
	}
}

// add appends the key that was read. S3 puts several prefixes into one CommonPrefixes nowhere, though its schema would allow it.
func (b *bucketListing) add() {
	e := Entry{Name: b.one.key, Size: -1, Kind: File}
	if b.one.encoded {
		e.Name = decoded(e.Name)
	}
	if b.one.dir {
		e.Kind, e.Mode = Dir, fs.ModeDir
		b.entries = append(b.entries, e)
		return
	}
	if size, err := strconv.ParseInt(strings.TrimSpace(b.one.size), 10, 64); err == nil && size >= 0 {
		e.Size, e.SizeExact = size, true
	}
	if st, ok := shownTime(frameOf(b.src), strings.TrimSpace(b.one.modified), false); ok {
		st.time = st.time.Truncate(st.step) // thousandths that Last-Modified does not have, and mostly zero
		st.on(&e)
	}
	b.entries = append(b.entries, e)
}

// below turns an entry named by its key into the prefix's child. The key that is the prefix itself, a marker that some tools make for
// a directory, becomes a name that tidied drops.
func (b *bucketListing) below(e *Entry) error {
	if err := b.decode(&e.Name); err != nil {
		return err
	}
	n, ok := strings.CutPrefix(e.Name, b.prefix)
	if !ok {
		return fmt.Errorf("%w: key %.200q is not below %.200q", ErrNotListing, e.Name, b.prefix)
	}
	first, _, deeper := strings.Cut(n, "/")
	if deeper {
		*e = Entry{Size: -1, Kind: Dir, Mode: fs.ModeDir}
	}
	e.Name = strings.Clone(first)
	return nil
}

// decode undoes encoding-type=url, by which S3 escapes as forms do.
func (b *bucketListing) decode(s *string) error {
	if b.encoding != "url" {
		return nil
	}
	plain, err := url.QueryUnescape(*s)
	if err != nil {
		return fmt.Errorf("%w: key %.200q: %w", ErrNotListing, *s, err)
	}
	*s = plain
	return nil
}

// nextPage gives the next page's reference relative to this one: the same query, but for where it begins.
func (b *bucketListing) nextPage() string {
	query := url.Values{}
	if b.src.URL != nil {
		query = b.src.URL.Query()
	}
	if b.token {
		query.Set("list-type", "2")
		query.Set("continuation-token", b.next)
		query.Del("start-after")
	} else {
		query.Set("marker", b.next)
	}
	return "?" + query.Encode()
}
