package listing

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// inUTF16 is s in UTF-16 with a byte order mark.
func inUTF16(s string, order binary.AppendByteOrder) string {
	b := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

func TestWhatABodyIsFollowsFromItsBytes(t *testing.T) {
	const rows = "total 1\n-rw-r--r-- 1 0 0 7 Jan 15  2026 a\n"
	for _, c := range []struct {
		claim, contentType, body string
		want                     []string
		err                      error
	}{
		{"JSON called HTML", "text/html; charset=utf-8", `["a"]`, []string{"a"}, nil},
		{"JSON without a type", "", " \n[\"a\"]", []string{"a"}, nil},
		{"XML called text", "text/plain", davBody(davMember("/", davDir), davMember("/a", "")), []string{"a"}, nil},
		{"XML behind a comment", "", "<!-- " + strings.Repeat("x", 500) + " -->" + davBody(davMember("/", davDir), davMember("/a", "")), []string{"a"}, nil},
		{"rows of ls", "text/plain", rows, []string{"a"}, nil},
		{"rows of an FTP gateway", "text/ftp-dir-listing", rows, []string{"a"}, nil},
		{"a mark in front", "application/json", "\xef\xbb\xbf[\"a\"]", []string{"a"}, nil},
		{"UTF-16, big end first", "application/json", inUTF16(`["é😀"]`, binary.BigEndian), []string{"é😀"}, nil},
		{"UTF-16, little end first", "text/plain", inUTF16(rows, binary.LittleEndian), []string{"a"}, nil},
		{"half of a UTF-16 unit", "", inUTF16(`["a"]`, binary.BigEndian) + " ", nil, ErrCut},
		{"names, where that was said", TypeNames + "; charset=utf-8", "[a\n<b>\n", []string{"<b>", "[a"}, nil},
		{"names, where it was not", "text/plain", "a\nb\n", nil, ErrNotListing},
		{"rows called binary", "application/octet-stream", rows, nil, ErrNotListing},
		{"a total without rows", "text/plain", "total 7\n", nil, ErrNotListing},
		{"prose", "text/plain; charset=utf-8", "404 not found\n", nil, ErrNotListing},
		{"a tree", "text/plain", ".:\n" + rows, nil, ErrNotListing},
		{"nothing", "text/plain", "", nil, ErrNotListing},
		{"a package index", "application/vnd.pypi.simple.v1+json", `{"files":[{"filename":"a-1.whl","url":"https://f.example/a-1.whl","size":7}]}`, nil, ErrNotListing},
		{"nothing but blanks", "text/html", "\r\n ", nil, ErrNotListing},
		{"an empty list of names", TypeNames, "", nil, nil},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l, err := Parse(Source{ContentType: c.contentType, Now: today}, strings.NewReader(c.body))
			if !errors.Is(err, c.err) {
				t.Fatalf("Parse(%.60q) = %v, want %v", c.body, err, c.err)
			}
			if err == nil && !slices.Equal(namesOf(l), c.want) {
				t.Errorf("Parse(%.60q) = %q, want %q", c.body, namesOf(l), c.want)
			}
		})
	}
}

// endless repeats its text for ever.
type endless struct {
	text string
	at   int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at = (e.at + n) % len(e.text)
	return n, nil
}

func TestBodiesWithoutEndAreTooLarge(t *testing.T) {
	for _, c := range []struct{ claim, contentType, text string }{
		{"blanks", "application/json", "[\"a\"]" + strings.Repeat(" ", 4<<20)},
		{"text of an element", "text/xml", "<multistatus>" + strings.Repeat("x", 4<<20)},
	} {
		t.Run(c.claim, func(t *testing.T) {
			body := io.MultiReader(strings.NewReader(c.text), &endless{text: c.text[len(c.text)-1<<10:]})
			if _, err := Parse(Source{ContentType: c.contentType}, body); !errors.Is(err, ErrTooLarge) {
				t.Errorf("Parse = %v, want ErrTooLarge", err)
			}
		})
	}
	long := strings.NewReader(strings.Repeat("x", longestLine+1) + "\n")
	if _, err := ParseFTP(Source{}, "NLST", long); !errors.Is(err, ErrNotListing) {
		t.Errorf("ParseFTP of a line of over %d bytes = %v, want ErrNotListing", longestLine, err)
	}
	exact := &capped{r: strings.NewReader("1234"), left: 4}
	if b, err := io.ReadAll(exact); string(b) != "1234" || err != nil {
		t.Errorf("a body of just the size = %q, %v", b, err)
	}
	over := &capped{r: strings.NewReader("12345"), left: 4}
	if b, err := io.ReadAll(over); string(b) != "1234" || !errors.Is(err, ErrTooLarge) {
		t.Errorf("a body of a byte more = %q, %v, want ErrTooLarge", b, err)
	}
}

// A connection that breaks leaves a cut listing, whatever was read before; another error is told as it is.
func TestReadErrors(t *testing.T) {
	own := errors.New("own error")
	for claim, start := range map[string]string{
		"JSON": `[{"name":"a"`, "XML": "<multistatus><respon", "rows": "-rw-r--r-- 1 0 0 7 Jan 15  2026 a\n", "nothing": "",
	} {
		t.Run(claim, func(t *testing.T) {
			for _, c := range []struct{ broken, want error }{{io.ErrUnexpectedEOF, ErrCut}, {own, own}} {
				body := io.MultiReader(strings.NewReader(start), iotest.ErrReader(c.broken))
				if _, err := Parse(Source{Now: today}, body); !errors.Is(err, c.want) || !errors.Is(err, c.broken) {
					t.Errorf("Parse with %v = %v, want %v", c.broken, err, c.want)
				}
			}
		})
	}
}

func TestTidied(t *testing.T) {
	got := tidied([]Entry{{Name: "b"}, {Name: "a", Kind: File, Size: 1}, {Name: ".."}, {Name: "a", Kind: Dir, Size: -1}, {Name: "a", Kind: File, Size: 2}, {Name: ""}, {Name: "x\x00"}})
	if want := []Entry{{Name: "a", Kind: Dir, Size: -1}, {Name: "b"}}; !slices.Equal(got, want) {
		t.Errorf("tidied = %+v, want %+v", got, want)
	}
}
