package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// keysEvery is how often an issuer is asked at most: a token with an unknown key id must not make a request each.
	keysEvery = time.Minute
	// keysFor is after how long keys are fetched anew, so that one that was withdrawn is not believed for ever. They stay in use meanwhile, and until
	// the issuer answers.
	keysFor     = time.Hour
	keysTimeout = 10 * time.Second
	longestKeys = 1 << 20
	leastRSA    = 2048 // bits
)

var errNoKey = errors.New("no key of the issuer fits the token")

// A publicKey is one of an issuer's.
type publicKey struct {
	id  string
	alg string
	key crypto.PublicKey
}

// A keySet holds the public keys of an issuer: read once from a file, or fetched from a URL when they are first needed and later again.
type keySet struct {
	url    string // empty for a file
	file   string
	client *http.Client

	mu      sync.Mutex
	keys    []publicKey
	fetched time.Time     // when keys are from
	asked   time.Time     // the last time the issuer was asked
	failed  error         // what came of it then
	asking  chan struct{} // closed when the request under way ends; nil when there is none
}

// newKeySet makes the key set of a JWKS at an https URL, or in a file as seen from dir.
func newKeySet(from, dir string) (*keySet, error) {
	if !strings.Contains(from, "://") {
		s := &keySet{file: beside(dir, from)}
		data, err := readLimited(s.file)
		if err == nil {
			s.keys, err = parseKeys(data)
		}
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		return s, nil
	}
	u, err := url.Parse(from)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("keys: %.80q is no URL", from)
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
		return nil, errors.New("keys: the URL must be https, for whoever can change the answer can be anybody")
	}
	return &keySet{url: from, client: &http.Client{Timeout: keysTimeout, CheckRedirect: sameScheme}}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sameScheme follows redirects that do not give up TLS.
func sameScheme(req *http.Request, via []*http.Request) error {
	if len(via) >= 5 || req.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// key finds the key for a token. Without a key id, one key alone must fit the algorithm.
func (s *keySet) key(ctx context.Context, id, alg string, now time.Time) (crypto.PublicKey, error) {
	s.mu.Lock()
	key := s.find(id, alg)
	var wait chan struct{}
	if s.url != "" && (key == nil || now.Sub(s.fetched) >= keysFor) {
		if s.asking == nil && now.Sub(s.asked) >= keysEvery {
			s.asked, s.asking = now, make(chan struct{})
			go s.fetch(s.asking, now)
		}
		wait = s.asking
	}
	s.mu.Unlock()
	if key == nil && wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		s.mu.Lock()
		key = s.find(id, alg)
		s.mu.Unlock()
	}
	if key != nil {
		return key, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, fmt.Errorf("%w, and fetching them ended so: %w", errNoKey, s.failed)
	}
	return nil, errNoKey
}

func (s *keySet) find(id, alg string) (found crypto.PublicKey) {
	for _, k := range s.keys {
		if k.alg != alg || id != "" && k.id != id {
			continue
		}
		if found != nil {
			return nil
		}
		found = k.key
	}
	return found
}

// fetch asks the issuer. If that fails, the keys that are there stay.
func (s *keySet) fetch(done chan struct{}, now time.Time) {
	keys, err := s.get()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys, s.fetched = keys, now
	}
	s.asking, s.failed = nil, err
	close(done)
}

func (s *keySet) get() ([]publicKey, error) {
	resp, err := s.client.Get(s.url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the issuer answered %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, longestKeys))
	if err != nil {
		return nil, err
	}
	return parseKeys(data)
}

// A jwk is a key as a JWKS has it (RFC 7517, RFC 7518 section 6, RFC 8037).
type jwk struct {
	Kty, Use, Alg, Kid, Crv string
	N, E, X, Y              string
}

// parseKeys reads the keys of a JWKS that verify signatures by one of the algorithms. Others are passed over, as RFC 7517 section 5 has it.
func parseKeys(data []byte) (keys []publicKey, err error) {
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("no JWKS: %w", err)
	}
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		alg, key := k.public()
		if key != nil && (k.Alg == "" || k.Alg == alg || k.Alg == "Ed25519" && alg == "EdDSA") {
			keys = append(keys, publicKey{k.Kid, alg, key})
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the JWKS has no key for %s", strings.Join(algorithms, ", "))
	}
	return keys, nil
}

// public is the key and the one algorithm that it is used with; a nil key for what is malformed, weak or of another kind.
func (k *jwk) public() (string, crypto.PublicKey) {
	switch {
	case k.Kty == "RSA":
		n, e := number(k.N), number(k.E)
		if n == nil || e == nil || n.BitLen() < leastRSA || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return "", nil
		}
		return "RS256", &rsa.PublicKey{N: n, E: int(e.Int64())}
	case k.Kty == "EC" && k.Crv == "P-256":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		y, err2 := base64.RawURLEncoding.DecodeString(k.Y)
		if err != nil || err2 != nil || len(x) != 32 || len(y) != 32 {
			return "", nil
		}
		point := append(append([]byte{4}, x...), y...) // uncompressed, SEC 1 section 2.3.3
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return "", nil
		}
		return "ES256", key
	case k.Kty == "OKP" && k.Crv == "Ed25519":
		x, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return "", nil
		}
		return "EdDSA", ed25519.PublicKey(x)
	}
	return "", nil
}

func number(s string) *big.Int {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil
	}
	return new(big.Int).SetBytes(b)
}
