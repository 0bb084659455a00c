package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// An Anonymous says what clients without credentials may read.
type Anonymous string

const (
	AnonymousRead Anonymous = "read" // everything, or what [anonymous] of the auth file says
	AnonymousNone Anonymous = "none"
)

// Rules are who is known and what they may do. They are immutable.
type Rules struct {
	configured bool // by an auth file, be it an empty one
	files      []string
	tokens     map[string]*token    // by id
	users      map[string]*identity // of the htpasswd files
	htpasswd   map[string]string    // name to stored hash
	decoy      string               // the stored hash that a password of nobody's is checked against
	jwt        *issuer              // nil without
	anonymous  *grant
	nobody     *token // has a digest that no secret has

	sum func([]byte) digest // replaced in tests
}

// openRules let everybody read.
var openRules = newRules(AnonymousRead)

func newRules(anonymous Anonymous) *Rules {
	r := &Rules{
		tokens: map[string]*token{}, users: map[string]*identity{}, htpasswd: map[string]string{}, nobody: new(token),
		anonymous: &grant{read: nowhere, write: nowhere}, sum: func(b []byte) digest { return sha256.Sum256(b) },
	}
	rand.Read(r.nobody.hash[:]) // never fails; the runtime ends the process instead
	if anonymous != AnonymousNone {
		r.anonymous.scopes[Read], r.anonymous.read = true, everywhere
	}
	return r
}

// Files are all that the rules came from: a change of one calls for LoadRules.
func (r *Rules) Files() []string { return r.files }

// Configured says that there is an auth file, so that being on this machine gives no scopes.
func (r *Rules) Configured() bool { return r.configured }

// LoadRules reads an auth file and those that it names. An empty name is no auth file: then AnonymousNone leaves the instance to clients on this
// machine. What is wrong is told with all its places, and nothing is half in force: the caller keeps the rules that it has.
func LoadRules(file string, anonymous Anonymous) (*Rules, error) {
	r := newRules(anonymous)
	if file == "" {
		return r, nil
	}
	data, err := readLimited(file)
	if err != nil {
		return nil, fmt.Errorf("auth file: %w", err)
	}
	f, err := parseFile(data)
	if err != nil {
		return nil, fmt.Errorf("auth file %s: %w", file, err)
	}
	r.configured = true
	r.files = append(r.files, file)
	if err := f.build(r, filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("auth file %s: %w", file, err)
	}
	return r, nil
}

// longestFile bounds the files of this package: 16 MiB is some 50,000 tokens.
const longestFile = 16 << 20

func readLimited(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > longestFile {
		return nil, fmt.Errorf("%s is no file of at most %d MiB", file, longestFile>>20)
	}
	return os.ReadFile(file)
}

// beside is a name in a file, seen from the directory that the file lies in.
func beside(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}
