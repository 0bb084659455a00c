package fill

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"

	"zcache/internal/cache"
)

// A pin is a SHA-256 that somebody vouched for before the body came.
type pin struct {
	sum  [32]byte
	from string
	sums cache.Key // the checksum file that says so; the zero Key for another source
}

// heldBack is how much of a body is kept from readers until its digest agrees: without it no archive can be unpacked unnoticed.
const heldBack = 64 << 10

// publishedFirst is how much of any body is kept from readers until it is published: who has a whole body finds it stored, and small
// bodies leave in one piece.
const publishedFirst = 16 << 10

// A hold says how much of a draft its readers may see before it is published, which it is only when its digest agrees.
type hold struct {
	limit int64 // a fixed number of bytes; -1: all
	moves bool  // the length is unknown: all but the last heldBack bytes so far
}

func newHold(v Verify, pins []pin, size int64) hold {
	switch {
	case (len(pins) == 0 || v == VerifyAfter) && size < 0:
		return hold{limit: -1}
	case len(pins) == 0 || v == VerifyAfter:
		return hold{limit: max(0, size-publishedFirst)}
	case v == VerifyBefore:
		return hold{limit: 0}
	case size < 0:
		return hold{moves: true}
	}
	return hold{limit: max(0, size-heldBack)}
}

// at is the limit when the draft has n bytes.
func (h hold) at(n int64) int64 {
	if h.moves {
		return max(0, n-heldBack)
	}
	return h.limit
}

// clientPin reads the digest that a client asks for: Repr-Digest (RFC 9530) or X-Checksum-Sha256.
func clientPin(h http.Header) ([32]byte, bool) {
	if sum, ok := reprDigest(h["Repr-Digest"]); ok {
		return sum, true
	}
	return hexSum(h.Get("X-Checksum-Sha256"))
}

// reprDigest reads sha-256=:base64: from the lines of Repr-Digest or Content-Digest, a structured dictionary.
func reprDigest(lines []string) (sum [32]byte, ok bool) {
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
			if name != "sha-256" || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
				continue
			}
			b, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1])
			if err == nil && len(b) == len(sum) {
				return [32]byte(b), true
			}
		}
	}
	return sum, false
}

func hexSum(s string) (sum [32]byte, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [32]byte(b), true
}

// pins collects what is known of the digest of a body that is about to come: what the client that started the flight asks for, what the origin itself
// announces, and what a checksum file says that is held beside it.
func (f *Filler) pins(fl *flight, m *cache.Meta) (out []pin) {
	if m.Status != http.StatusOK {
		return nil
	}
	if sum, ok := clientPin(fl.header); ok {
		out = append(out, pin{sum: sum, from: "the client"})
	}
	for _, name := range []string{"Repr-Digest", "Content-Digest"} {
		if sum, ok := reprDigest(m.Header[name]); ok {
			out = append(out, pin{sum: sum, from: name})
			break
		}
	}
	name := fl.key.Name()
	if _, has := fl.key.Query(); has || name == "" || fl.key.IsDir() || listsSums(name) {
		return out
	}
	for _, key := range checksumFiles(fl.key) {
		if sum, ok := f.listed(key, name); ok {
			out = append(out, pin{sum: sum, from: key.Name(), sums: key})
			break
		}
	}
	return out
}

// sumFiles are the names under which a directory keeps the digests of its files.
var sumFiles = []string{"SHA256SUMS", "sha256sums.asc", "SHA256SUMS.txt", "sha256sum.txt"}

// listsSums says that a file of this name itself vouches for others. Nothing vouches for it here: two that speak against each other would have their
// fills wait for one another.
func listsSums(name string) bool {
	return strings.HasSuffix(name, ".sha256") || slices.Contains(sumFiles, name)
}

// checksumFiles are the Keys of the files that may name the digest of key's body, the most particular first.
func checksumFiles(key cache.Key) (out []cache.Key) {
	dir, file := path.Split(key.Path())
	for _, name := range append([]string{file + ".sha256"}, sumFiles...) {
		if k, err := cache.ParseKey(key.Hub(), dir+name, "", false); err == nil && k != key {
			out = append(out, k)
		}
	}
	return out
}

// maxSums bounds a checksum file that is read: a directory of 100,000 files has one of some 10 MiB.
const maxSums = 16 << 20

// listed looks name up in a held checksum file.
func (f *Filler) listed(key cache.Key, name string) (sum [32]byte, ok bool) {
	e, err := f.store.Open(key, http.Header{})
	if err != nil {
		return sum, false
	}
	defer e.Close()
	if e.Adopted || e.Meta.Status != http.StatusOK || e.Size() > maxSums {
		return sum, false
	}
	body := make([]byte, e.Size())
	if n, err := e.ReadAt(body, 0); n != len(body) {
		f.log.Warn("read checksums", "key", key.String(), "error", err)
		return sum, false
	}
	return findSum(body, name)
}

// findSum reads the forms that sha256sum prints: "<hex>  name", "<hex> *name", "SHA256 (name) = <hex>", and a lone sum. Other lines, of a signature for
// example, are passed over.
func findSum(body []byte, name string) (sum [32]byte, ok bool) {
	for line := range bytes.Lines(body) {
		s := strings.TrimRight(string(line), "\r\n")
		if rest, bsd := strings.CutPrefix(s, "SHA256 ("); bsd {
			if i := strings.LastIndex(rest, ") = "); i >= 0 && strings.TrimPrefix(rest[:i], "./") == name {
				if sum, ok := hexSum(rest[i+4:]); ok {
					return sum, true
				}
			}
			continue
		}
		if len(s) < 64 {
			continue
		}
		sum, ok := hexSum(s[:64])
		rest := s[64:]
		if !ok || (rest != "" && rest[0] != ' ' && rest[0] != '\t') {
			continue
		}
		rest = strings.TrimPrefix(strings.TrimPrefix(strings.TrimLeft(rest, " \t"), "*"), "./")
		if rest == name || rest == "" && bytes.Count(body, []byte("\n")) <= 1 {
			return sum, true
		}
	}
	return sum, false
}

// verify holds a whole draft against its pins. A checksum file that disagrees may only be older than the body: its origin is asked once before
// the body is refused.
func (f *Filler) verify(fl *flight, draft cache.Draft, pins []pin) error {
	sum, err := draft.Sum()
	if err != nil {
		return fmt.Errorf("%w: %w", errStorage, err)
	}
	for _, p := range pins {
		if p.sum == sum {
			continue
		}
		if p.sums != (cache.Key{}) && f.renewed(fl.ctx, p, fl.key.Name(), sum) {
			continue
		}
		f.metrics.refused.Inc()
		err := fmt.Errorf("get %s: %w: sha-256 is %x, %s says %x", fl.key, ErrDigest, sum, p.from, p.sum)
		f.tell(NoticeIntegrity, fl.key, err.Error())
		f.log.Error("integrity", "action", "refuse", "key", fl.key.String(), "error", err)
		return err
	}
	return nil
}

// renewed asks the origin for the checksum file anew and says whether it now agrees, or names the file no more.
func (f *Filler) renewed(ctx context.Context, p pin, name string, sum [32]byte) bool {
	a, err := f.Get(ctx, &Request{Key: p.sums, Method: http.MethodGet, Header: http.Header{"Cache-Control": {"no-cache"}}})
	if err != nil {
		return false
	}
	a.Close()
	if a.Status != http.StatusOK {
		return true // it is gone: nobody vouches for anything
	}
	if err := f.settled(ctx, p.sums); err != nil {
		return false
	}
	now, ok := f.listed(p.sums, name)
	return !ok || now == sum
}

// settled returns when no fill of key is under way.
func (f *Filler) settled(ctx context.Context, key cache.Key) error {
	f.mu.Lock()
	var under []*flight
	if fl := f.flights[key]; fl != nil {
		under = append(under, fl)
	}
	for fl := range f.solo {
		if fl.key == key {
			under = append(under, fl)
		}
	}
	f.mu.Unlock()
	for _, fl := range under {
		if err := fl.landed(ctx); err != nil {
			return err
		}
	}
	return nil
}
