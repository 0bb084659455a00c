package auth

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// formatVersion is of the auth file. One from the future is refused: what is not understood in it may be what closes a door.
const formatVersion = 1

// An authFile is the auth file as it is written.
type authFile struct {
	Version   int          `toml:"version"`
	Cascade   Cascade      `toml:"cascade"`
	Htpasswd  []string     `toml:"htpasswd"`
	Anonymous *anonEntry   `toml:"anonymous"`
	Tokens    []tokenEntry `toml:"token"`
	Users     []userEntry  `toml:"user"`
	JWT       *jwtEntry    `toml:"jwt"`
}

type anonEntry struct {
	Read []string `toml:"read"`
	Deny []string `toml:"deny"`
}

// A grantEntry is what is given, as all sections write it.
type grantEntry struct {
	Read  []string `toml:"read,omitempty"`
	Deny  []string `toml:"deny,omitempty"`
	Write []string `toml:"write,omitempty"`
	Scope []string `toml:"scope,omitempty"`
}

type tokenEntry struct {
	ID   string `toml:"id"`
	Name string `toml:"name"`
	Hash string `toml:"hash"`
	grantEntry
	Created time.Time `toml:"created,omitempty"`
	Expires time.Time `toml:"expires,omitempty"`
	Revoked time.Time `toml:"revoked,omitempty"`
}

type userEntry struct {
	Name string `toml:"name"`
	grantEntry
}

type jwtEntry struct {
	Issuer    string      `toml:"issuer"`
	Audience  []string    `toml:"audience"`
	Keys      string      `toml:"keys"`
	NameClaim string      `toml:"name-claim"`
	Rules     []claimRule `toml:"rule"`
}

type claimRule struct {
	Claim string `toml:"claim"`
	Value string `toml:"value"`
	grantEntry
}

const hashPrefix = "sha256:"

// validName is what a token may be called: what can stand in a log line, a file and a Basic user name.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

var validID = regexp.MustCompile(`^[0-9A-Za-z]{1,64}$`)

// parseFile reads an auth file. Names that are not known are errors: a misspelt deny would deny nothing.
func parseFile(data []byte) (*authFile, error) {
	var f authFile
	meta, err := toml.Decode(string(data), &f)
	if err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return nil, fmt.Errorf("line %d: %s", at.Position.Line, at.Message)
		}
		return nil, err
	}
	switch {
	case f.Version > formatVersion:
		return nil, fmt.Errorf("it is of version %d, and this zcache reads versions up to %d", f.Version, formatVersion)
	case f.Version < 1:
		return nil, fmt.Errorf("it must say version = %d before its first section", formatVersion)
	}
	if odd := meta.Undecoded(); len(odd) > 0 {
		return nil, fmt.Errorf("%s is no setting of an auth file", odd[0])
	}
	switch f.Cascade {
	case "":
		f.Cascade = LeafWins
	case LeafWins, DenyWins:
	default:
		return nil, fmt.Errorf("cascade: %.40q is neither %q nor %q", f.Cascade, LeafWins, DenyWins)
	}
	return &f, nil
}

// build puts what the file says into r.
func (f *authFile) build(r *Rules, dir string) error {
	var problems []error
	note := func(section string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", section, err))
		}
	}
	for i := range f.Tokens {
		note("token["+f.Tokens[i].label(i)+"]", f.addToken(r, &f.Tokens[i]))
	}
	for _, name := range f.Htpasswd {
		name = beside(dir, name)
		r.files = append(r.files, name)
		note("htpasswd", r.addPasswords(name))
	}
	for name, hash := range r.htpasswd {
		r.users[name] = &identity{kind: byPassword, id: name, name: name, proof: hash, grant: &grant{scopes: readOnly, read: everywhere, write: nowhere}}
	}
	seen := map[string]bool{}
	for i := range f.Users {
		u := &f.Users[i]
		if seen[u.Name] {
			note("user["+u.Name+"]", errors.New("it is there twice"))
		}
		seen[u.Name] = true
		note("user["+u.Name+"]", f.addUser(r, u))
	}
	if a := f.Anonymous; a != nil {
		rules, err := newPathRules(f.Cascade, a.Read, a.Deny)
		if note("anonymous", err); err == nil && r.anonymous.scopes[Read] {
			r.anonymous.read = rules
		}
	}
	if f.JWT != nil {
		var err error
		r.jwt, err = newIssuer(f.JWT, f.Cascade, dir)
		note("jwt", err)
		if r.jwt != nil && r.jwt.keys.file != "" {
			r.files = append(r.files, r.jwt.keys.file)
		}
	}
	return errors.Join(problems...)
}

// label tells a section from others in an error.
func (t *tokenEntry) label(i int) string {
	if t.Name == "" {
		return fmt.Sprintf("the %d.", i+1)
	}
	return t.Name
}

func (f *authFile) addToken(r *Rules, e *tokenEntry) error {
	hash, err := hex.DecodeString(strings.TrimPrefix(e.Hash, hashPrefix))
	switch {
	case !validName.MatchString(e.Name):
		return errors.New("name: it must be of letters, digits and . _ @ -, 64 at most")
	case !validID.MatchString(e.ID):
		return errors.New("id: it must be of letters and digits")
	case r.tokens[e.ID] != nil:
		return errors.New("id: another token has it")
	case err != nil || len(hash) != len(digest{}) || !strings.HasPrefix(e.Hash, hashPrefix):
		return errors.New("hash: it must be sha256: and 64 hexadecimal digits")
	}
	grant, err := e.grant(f.Cascade)
	if err != nil {
		return err
	}
	r.tokens[e.ID] = &token{
		identity: identity{kind: byToken, id: e.ID, name: e.Name, until: e.Expires, grant: grant, proof: e.Hash},
		hash:     digest(hash), revoked: !e.Revoked.IsZero(),
	}
	return nil
}

// addUser gives a user of the htpasswd files what its section says. A section for nobody is a slip that would leave somebody without limits.
func (f *authFile) addUser(r *Rules, e *userEntry) error {
	u, ok := r.users[e.Name]
	if !ok {
		return errors.New("no htpasswd file has this name")
	}
	grant, err := e.grant(f.Cascade)
	if err != nil {
		return err
	}
	if grant.scopes[Operate] || grant.scopes[Write] {
		return errors.New("scope: operate and write take Bearer only, and a password cannot be one; make a token")
	}
	u.grant = grant
	return nil
}

var readOnly = [Anyone]bool{Read: true}

// grant makes the grant that an entry describes.
func (e *grantEntry) grant(cascade Cascade) (*grant, error) {
	g := &grant{scopes: readOnly, write: nowhere}
	for _, name := range e.Scope {
		s, err := ParseScope(name)
		if err != nil {
			return nil, fmt.Errorf("scope: %w", err)
		}
		if s == Write && len(e.Write) == 0 {
			return nil, errors.New(`scope: write needs paths; say write = ["/"] for everywhere`)
		}
		g.scopes[s] = true
	}
	var err error
	if g.read, err = newPathRules(cascade, e.Read, e.Deny); err != nil {
		return nil, err
	}
	if len(e.Write) > 0 {
		g.scopes[Write] = true
		g.write, err = newPathRules(cascade, e.Write, e.Deny)
	}
	return g, err
}
