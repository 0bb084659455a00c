package listing

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// A sidecarObject is an entry in any layout. What is missing is nil where that is not the same as its zero value.
type sidecarObject struct {
	Name          *string     `json:"name"`
	Size          *int64      `json:"size"`
	URL           *string     `json:"url"`
	ModTime       *time.Time  `json:"mod_time"`
	Mode          uint32      `json:"mode"`
	IsDir         bool        `json:"is_dir"`
	Link          bool        `json:"is_symlink"`
	SizeExact     *bool       `json:"size_exact"`
	Step          json.Number `json:"mod_time_step"`
	ZoneKnown     *bool       `json:"zone_known"`
	Kind          string      `json:"kind"`
	Target        string      `json:"target"`
	TargetEscaped string      `json:"target_escaped"`
}

// general reads on where the lines are not as we write them. It gets what JSON there would have to be before (nothing, or an array
// with a number for all the entries that were read), the bytes in hand, and the error that came with them.
func (s *sidecar) general(before string, inHand []byte, err error) error {
	if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
		return err
	}
	in := &sidecarInput{r: &capped{r: io.MultiReader(strings.NewReader(before), bytes.NewReader(bytes.Clone(inHand)), s.r), left: s.most}}
	d := json.NewDecoder(in)
	if err := s.array(d, before); err != nil {
		return in.explain(err)
	}
	s.r = bufio.NewReaderSize(io.MultiReader(d.Buffered(), in), 16)
	return in.explain(s.end())
}

func (s *sidecar) array(d *json.Decoder, before string) error {
	if t, err := d.Token(); err != nil {
		return err
	} else if t != json.Delim('[') {
		return fmt.Errorf("%w: no array", ErrNotListing)
	}
	if strings.HasSuffix(before, "0") || strings.HasSuffix(before, ",") {
		if _, err := d.Token(); err != nil {
			return err
		}
	}
	for d.More() {
		var o *sidecarObject
		if err := d.Decode(&o); err != nil {
			return err
		}
		var e Entry
		if err := o.entry(&e); err != nil {
			return err
		}
		s.add(&e)
	}
	_, err := d.Token()
	return err
}

// entry makes the entry that o stands for.
func (o *sidecarObject) entry(e *Entry) error {
	if o == nil {
		return fmt.Errorf("%w: null in place of an entry", ErrNotListing)
	}
	*e = Entry{Size: -1, Kind: File, Link: o.Link, Mode: fs.FileMode(o.Mode), Target: o.Target}
	switch {
	case o.IsDir:
		e.Kind = Dir
	case o.Kind == kindNames[Unknown]:
		e.Kind = Unknown
	case o.Kind == kindNames[Other]:
		e.Kind = Other
	}
	if o.Size != nil && !o.IsDir {
		e.Size = max(*o.Size, -1)
	}
	e.SizeExact = e.Size >= 0
	if o.SizeExact != nil {
		e.SizeExact = *o.SizeExact
	}
	if o.TargetEscaped != "" {
		raw, ok := unescapeSegment(nil, []byte(o.TargetEscaped))
		if !ok {
			return fmt.Errorf("%w: bad target %.80q", ErrNotListing, o.TargetEscaped)
		}
		e.Target = string(raw)
	}
	if err := o.time(e); err != nil {
		return err
	}
	return o.name(e)
}

func (o *sidecarObject) time(e *Entry) error {
	if o.ModTime != nil {
		e.ModTime = o.ModTime.UTC()
		e.Step = time.Second
	}
	e.ZoneKnown = o.ModTime != nil
	if o.ZoneKnown != nil {
		e.ZoneKnown = *o.ZoneKnown
	}
	if o.Step == "" {
		return nil
	}
	var ok bool
	if e.Step, ok = parseSeconds([]byte(o.Step)); ok {
		return nil
	}
	// Other tools write small and large numbers with an exponent.
	f, err := strconv.ParseFloat(string(o.Step), 64)
	if nanos := math.Round(f * 1e9); err == nil && nanos >= 0 && nanos < math.MaxInt64 {
		e.Step = time.Duration(nanos)
		return nil
	}
	return fmt.Errorf("%w: bad mod_time_step %.80q", ErrNotListing, string(o.Step))
}

// name takes the name from url where there is one: the bytes that are not UTF-8 are in it alone.
func (o *sidecarObject) name(e *Entry) error {
	if o.Name != nil {
		e.Name = *o.Name
		if o.IsDir {
			e.Name = strings.TrimSuffix(e.Name, "/")
		}
	}
	if o.URL != nil {
		url := strings.TrimPrefix(*o.URL, "./")
		if o.IsDir {
			url = strings.TrimSuffix(url, "/")
		}
		raw, ok := unescapeSegment(nil, []byte(url))
		if !ok {
			return fmt.Errorf("%w: bad url %.80q", ErrNotListing, *o.URL)
		}
		if o.Name != nil && !showsAs(raw, e.Name) {
			return fmt.Errorf("%w: name %.80q is not that of url %.80q", ErrNotListing, e.Name, *o.URL)
		}
		e.Name = string(raw)
	}
	if !possible(e.Name) {
		return fmt.Errorf("%w: bad name %.80q", ErrNotListing, e.Name)
	}
	return nil
}

// showsAs says whether shown is raw with each byte that is not UTF-8 replaced by U+FFFD.
func showsAs(raw []byte, shown string) bool { return string([]rune(string(raw))) == shown }

// A sidecarInput remembers the error that reading met: it is the one to tell of, whatever package json makes of it.
type sidecarInput struct {
	r   io.Reader
	err error
}

func (in *sidecarInput) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	if err != nil && err != io.EOF {
		in.err = err
	}
	return n, err
}

// explain turns an error of package json into one of ours.
func (in *sidecarInput) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case in.err != nil:
		return in.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrCut
	case errors.Is(err, ErrNotListing):
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotListing, err)
}
