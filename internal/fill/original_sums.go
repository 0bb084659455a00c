package fill

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strings"
)

// A sum is a digest that a body has to have.
type sum struct {
	from string // the field that says so
	want []byte
	hash hash.Hash
}

// sums are all that came with a body.
type sums []sum

func (s sums) write(p []byte) {
	for _, one := range s {
		one.hash.Write(p) // a hash takes all
	}
}

func (s sums) check() error {
	for _, one := range s {
		if got := one.hash.Sum(nil); !bytes.Equal(got, one.want) {
			return fmt.Errorf("%w: %s says %x, it is %x", ErrSumDiffers, one.from, one.want, got)
		}
	}
	return nil
}

// dictionaries are the fields that name digests by their algorithm (RFC 9530). The content of a PUT is the representation, so both are of the same bytes.
var dictionaries = []string{"Content-Digest", "Repr-Digest"}

// algorithms are those that are known by RFC 9530's names; others are passed over, as it has it.
var algorithms = map[string]func() hash.Hash{"sha-256": sha256.New, "sha-512": sha512.New}

// single are the fields that hold one digest each, in hex unless it is of RFC 1864.
var single = []struct {
	name   string
	hash   func() hash.Hash
	decode func(string) ([]byte, error)
}{
	{"X-Checksum-Sha512", sha512.New, hex.DecodeString},
	{"X-Checksum-Sha256", sha256.New, hex.DecodeString},
	{"X-Checksum-Sha1", sha1.New, hex.DecodeString},
	{"X-Checksum-Md5", md5.New, hex.DecodeString},
	{"Content-Md5", md5.New, base64.StdEncoding.DecodeString},
}

// sumsOf reads the digests that a body comes with. The weak ones count as much as the others: who sends one wants it checked, and a match proves nothing
// to anybody else.
func sumsOf(h http.Header) (all sums, err error) {
	for _, name := range dictionaries {
		for member := range strings.SplitSeq(strings.Join(h[name], ","), ",") {
			if member = strings.Trim(member, " \t"); member == "" {
				continue
			}
			algorithm, value, _ := strings.Cut(member, "=")
			value, _, _ = strings.Cut(value, ";") // parameters mean nothing here
			make, known := algorithms[algorithm]
			if !known {
				continue
			}
			raw, ok := byteSequence(strings.TrimRight(value, " "))
			if !ok {
				return nil, fmt.Errorf("%w: %s: %.100q", ErrSumMalformed, name, member)
			}
			all = append(all, sum{name, raw, make()})
		}
	}
	if err := unknownSum(h); err != nil {
		return nil, err
	}
	for _, field := range single {
		for _, line := range h[field.name] {
			raw, err := field.decode(strings.TrimSpace(line))
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %.100q", ErrSumMalformed, field.name, line)
			}
			all = append(all, sum{field.name, raw, field.hash()})
		}
	}
	for _, one := range all {
		if len(one.want) != one.hash.Size() {
			return nil, fmt.Errorf("%w: %s has %d bytes of %d", ErrSumMalformed, one.from, len(one.want), one.hash.Size())
		}
	}
	return all, nil
}

// unknownSum refuses what somebody wants checked and nobody here can check.
func unknownSum(h http.Header) error {
	for name, lines := range h {
		if !strings.HasPrefix(name, "X-Checksum") {
			continue
		}
		known := false
		for _, field := range single {
			known = known || field.name == name
		}
		if !known {
			return fmt.Errorf("%w: %s is of no kind that is checked here: %.100q", ErrSumMalformed, name, strings.Join(lines, ", "))
		}
	}
	return nil
}

// byteSequence reads :base64: (RFC 9651 section 3.3.5).
func byteSequence(s string) ([]byte, bool) {
	if len(s) < 2 || s[0] != ':' || s[len(s)-1] != ':' {
		return nil, false
	}
	raw, err := base64.StdEncoding.DecodeString(s[1 : len(s)-1])
	return raw, err == nil
}
