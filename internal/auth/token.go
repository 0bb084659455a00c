package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"
	"time"
)

// tokenPrefix begins every token, for us and for programs that look for secrets that were left lying about.
const tokenPrefix = "zct_"

const (
	idLength     = 10 // 62^10 ids: two never meet in a file
	secretLength = 43 // 256 bits in base 62
	sumLength    = 6  // a CRC-32 in base 62
	alphabet     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// newToken makes a token, zct_<id>_<secret><checksum>. The id is public, and names the token in files and logs. The checksum tells a token that was
// cut or mistyped from one that is wrong.
func newToken() (id, secret, text string) {
	id, secret = random62(idLength), random62(secretLength)
	text = tokenPrefix + id + "_" + secret
	return id, secret, text + checksum(text)
}

// random62 is n random characters. 43 of them hold 256 bits, and 32 random bytes make them.
func random62(n int) string {
	var b [32]byte
	rand.Read(b[:]) // never fails; the runtime ends the process instead
	return base62(new(big.Int).SetBytes(b[:]), n)
}

// base62 writes the last n digits of v.
func base62(v *big.Int, n int) string {
	out := make([]byte, n)
	base, digit := big.NewInt(int64(len(alphabet))), new(big.Int)
	for i := n - 1; i >= 0; i-- {
		v.QuoRem(v, base, digit)
		out[i] = alphabet[digit.Int64()]
	}
	return string(out)
}

func checksum(text string) string {
	return base62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(text)))), sumLength)
}

var errMalformedToken = errors.New("the token is cut off or mistyped")

// parseToken takes a token apart. What is malformed is so to everybody, so that finding it out early tells nothing of the tokens in force.
func parseToken(text string) (id, secret string, err error) {
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok || len(rest) != idLength+1+secretLength+sumLength || rest[idLength] != '_' {
		return "", "", errMalformedToken
	}
	body := text[:len(text)-sumLength]
	if checksum(body) != text[len(body):] {
		return "", "", errMalformedToken
	}
	return rest[:idLength], body[len(tokenPrefix)+idLength+1:], nil
}

// A digest is what is kept of a secret. A plain SHA-256 will do: a slow hash makes up for secrets that can be guessed, and one of 256 random bits
// cannot, while every request would pay for it.
type digest = [sha256.Size]byte

// A token is what is known of one.
type token struct {
	identity
	hash    digest
	revoked bool
}

// wrong is what the holder of wrong credentials is told, the same in all cases. Why is for the log.
func wrong(why string) error {
	return &Denial{is: ErrUnauthenticated, text: "the credentials are not good here", why: why}
}

// findToken says whose token text is. An unknown id costs what a known one does: one hash and one comparison, with a digest that nothing has.
func (r *Rules) findToken(text string, now time.Time) (*identity, error) {
	id, secret, err := parseToken(text)
	if err != nil {
		return nil, wrong(err.Error())
	}
	t, known := r.tokens[id]
	if !known {
		t = r.nobody
	}
	sum := r.sum([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], t.hash[:]) != 1 || !known {
		return nil, wrong("no token has the id and secret of " + tokenPrefix + id)
	}
	return &t.identity, t.current(now)
}

// current says why a token that is right is good no more.
func (t *token) current(now time.Time) error {
	if t.revoked {
		return fmt.Errorf("%w: the token has been revoked", ErrUnauthenticated)
	}
	return t.identity.current(now)
}
