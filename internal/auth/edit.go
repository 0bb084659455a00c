package auth

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/sys/unix"
)

// A TokenInfo is what a token's entry in the auth file says, its secret's digest left out.
type TokenInfo struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Read    []string  `json:"read,omitempty"`
	Deny    []string  `json:"deny,omitempty"`
	Write   []string  `json:"write,omitempty"`
	Scope   []string  `json:"scope,omitempty"` // beyond read, which every token has
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero is never
	Revoked time.Time `json:"revoked,omitzero"` // zero is not
}

// ErrNoToken says that no token has the id or name.
var ErrNoToken = errors.New("no such token")

// CreateToken makes a token as want says, but for its ID and Revoked, and adds it to the auth file, which is made if it is missing. The text returned
// is the only copy of the secret.
func CreateToken(file string, want TokenInfo, now time.Time) (text string, made TokenInfo, err error) {
	id, secret, text := newToken()
	sum := newRules(AnonymousNone).sum([]byte(secret))
	e := tokenEntry{
		ID: id, Name: want.Name, Hash: hashPrefix + hex.EncodeToString(sum[:]),
		grantEntry: grantEntry{want.Read, want.Deny, want.Write, want.Scope},
		Created:    now.UTC().Truncate(time.Second), Expires: want.Expires.UTC().Truncate(time.Second),
	}
	if want.Expires.IsZero() {
		e.Expires = time.Time{}
	} else if !e.Expires.After(now) {
		return "", made, errors.New("expires: it lies in the past")
	}
	err = edit(file, func(data []byte, f *authFile) ([]byte, error) {
		for i := range f.Tokens {
			if f.Tokens[i].Name == e.Name && f.Tokens[i].Revoked.IsZero() {
				return nil, fmt.Errorf("a token named %s is there already; revoke it first, or take another name", e.Name)
			}
		}
		out := bytes.NewBuffer(data)
		if len(data) > 0 && data[len(data)-1] != '\n' {
			out.WriteByte('\n')
		}
		out.WriteByte('\n')
		err := toml.NewEncoder(out).Encode(struct {
			Token []tokenEntry `toml:"token"`
		}{[]tokenEntry{e}})
		f.Tokens = append(f.Tokens, e)
		return out.Bytes(), err
	})
	if err != nil {
		return "", made, fmt.Errorf("create token: %w", err)
	}
	return text, e.info(), nil
}

// ListTokens returns the tokens of an auth file in its order, those revoked or expired included.
func ListTokens(file string) ([]TokenInfo, error) {
	data, err := readLimited(file)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	f, err := parseFile(data)
	if err != nil {
		return nil, fmt.Errorf("list tokens: %s: %w", file, err)
	}
	all := make([]TokenInfo, len(f.Tokens))
	for i := range f.Tokens {
		all[i] = f.Tokens[i].info()
	}
	return all, nil
}

// RevokeToken marks the token with this id, or with this name if it is not revoked yet, as revoked. The entry stays, so that logs can be understood.
func RevokeToken(file, idOrName string, now time.Time) (TokenInfo, error) {
	var gone TokenInfo
	if _, err := os.Stat(file); err != nil {
		return gone, fmt.Errorf("revoke token: %w", err)
	}
	err := edit(file, func(data []byte, f *authFile) ([]byte, error) {
		i := slices.IndexFunc(f.Tokens, func(t tokenEntry) bool { return t.ID == idOrName })
		if i < 0 {
			i = slices.IndexFunc(f.Tokens, func(t tokenEntry) bool { return t.Name == idOrName && t.Revoked.IsZero() })
		}
		switch {
		case i < 0:
			return nil, fmt.Errorf("%w: %.80q", ErrNoToken, idOrName)
		case !f.Tokens[i].Revoked.IsZero():
			return nil, fmt.Errorf("%s is revoked already", f.Tokens[i].ID)
		}
		f.Tokens[i].Revoked = now.UTC().Truncate(time.Second)
		gone = f.Tokens[i].info()
		return withRevoked(data, &f.Tokens[i])
	})
	if err != nil {
		return TokenInfo{}, fmt.Errorf("revoke token: %w", err)
	}
	return gone, nil
}

// withRevoked adds the line that revokes a token behind its id. All else in the file, comments included, is left as people wrote it.
func withRevoked(data []byte, t *tokenEntry) ([]byte, error) {
	line := regexp.MustCompile(`(?m)^([ \t]*)id[ \t]*=[ \t]*["']` + regexp.QuoteMeta(t.ID) + `["'].*$`)
	at := line.FindSubmatchIndex(data)
	if at == nil {
		return nil, fmt.Errorf("the line with the id %s cannot be found; add revoked = %s to its section by hand", t.ID, t.Revoked.Format(time.RFC3339))
	}
	added := "\n" + string(data[at[2]:at[3]]) + "revoked = " + t.Revoked.Format(time.RFC3339)
	return slices.Concat(data[:at[1]], []byte(added), data[at[1]:]), nil
}

func (t *tokenEntry) info() TokenInfo {
	return TokenInfo{
		ID: t.ID, Name: t.Name, Read: t.Read, Deny: t.Deny, Write: t.Write, Scope: t.Scope,
		Created: t.Created, Expires: t.Expires, Revoked: t.Revoked,
	}
}

// edit replaces the file by what change makes of its text. change also makes the change in f, and what it wrote must read as that and load:
// otherwise the file stays as it is. Two edits at a time wait for each other.
func edit(file string, change func(data []byte, f *authFile) ([]byte, error)) error {
	if to, err := filepath.EvalSymlinks(file); err == nil {
		file = to // a rename would put a file in place of the link
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	data, err := readLimited(file)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = []byte("version = "+strconv.Itoa(formatVersion)+"\n"), nil
	}
	if err != nil {
		return err
	}
	f, err := parseFile(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if data, err = change(data, f); err != nil {
		return err
	}
	got, err := parseFile(data)
	if err != nil {
		return fmt.Errorf("%s would not read back: %w", file, err)
	}
	if err := got.build(newRules(AnonymousRead), filepath.Dir(file)); err != nil {
		return err
	}
	if !slices.EqualFunc(got.Tokens, f.Tokens, sameEntry) {
		return fmt.Errorf("%s is written in a way that cannot be edited by program; edit it by hand", file)
	}
	return replace(file, data)
}

func sameEntry(a, b tokenEntry) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Hash == b.Hash && slices.Equal(a.Read, b.Read) && slices.Equal(a.Deny, b.Deny) &&
		slices.Equal(a.Write, b.Write) && slices.Equal(a.Scope, b.Scope) &&
		a.Created.Equal(b.Created) && a.Expires.Equal(b.Expires) && a.Revoked.Equal(b.Revoked)
}

// replace makes data the content of file by one rename. A new file is the owner's alone; one that is there keeps its mode and owner, for the server
// that reads it may be another user than who edits it.
func replace(file string, data []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(file), ".zcache-tmp-") // with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(temp.Name())
		}
	}()
	defer temp.Close()
	if old, serr := os.Stat(file); serr == nil {
		if st, ok := old.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
			if err = temp.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return fmt.Errorf("keep the owner of %s: %w", file, err)
			}
		}
		if err = temp.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err = temp.Write(data); err == nil {
		err = temp.Sync()
	}
	if err != nil {
		return err
	}
	if err = os.Rename(temp.Name(), file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil // the new file is there; only how soon it is safe from a power loss is left open
	}
	defer dir.Close()
	dir.Sync()
	return nil
}

// ParseLifetime reads how long a token is to be good: days or weeks, as 90d or 12w, or hours and less, as 36h or 90m.
func ParseLifetime(s string) (time.Duration, error) {
	unit := time.Duration(0)
	switch {
	case strings.HasSuffix(s, "d"):
		unit = 24 * time.Hour
	case strings.HasSuffix(s, "w"):
		unit = 7 * 24 * time.Hour
	}
	var d time.Duration
	var err error
	if unit > 0 {
		var n uint64
		if n, err = strconv.ParseUint(s[:len(s)-1], 10, 16); err == nil && n > 36500 {
			err = strconv.ErrRange
		}
		d = time.Duration(n) * unit
	} else {
		d, err = time.ParseDuration(s)
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%.40q is no lifetime; write one such as 90d, 12w or 36h", s)
	}
	return d, nil
}
