package auth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// writeFile writes an auth file and returns its name.
func writeFile(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "auth.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func create(t testing.TB, file string, want TokenInfo) (text string, made TokenInfo) {
	t.Helper()
	text, made, err := CreateToken(file, want, now)
	if err != nil {
		t.Fatalf("CreateToken(%+v): %v", want, err)
	}
	return text, made
}

func load(t testing.TB, file string) *Rules {
	t.Helper()
	r, err := LoadRules(file, AnonymousRead)
	if err != nil {
		t.Fatalf("LoadRules: %v", err)
	}
	return r
}

func TestATokenIsMadeListedAndRevoked(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	want := TokenInfo{Name: "lab3", Read: []string{"/kernel", "/gnu"}, Deny: []string{`/gnu/"x"`}, Write: []string{"/local"}, Scope: []string{"observe"}, Expires: now.Add(90 * 24 * time.Hour)}
	text, made := create(t, file, want)
	if !strings.HasPrefix(text, "zct_"+made.ID+"_") || made.Name != "lab3" || !made.Created.Equal(now) {
		t.Errorf("CreateToken = %q, %+v", text, made)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new file has mode %v, want 0600", info.Mode())
	}
	data, _ := os.ReadFile(file)
	_, secret, err := parseToken(text)
	if err != nil || strings.Contains(string(data), secret) {
		t.Errorf("parseToken(%q) = %v, or its secret is in the file", text, err)
	}
	other, _ := create(t, file, TokenInfo{Name: "lab4"})
	r := load(t, file)
	for name, text := range map[string]string{"lab3": text, "lab4": other} {
		if who, err := r.findToken(text, now); err != nil || who.name != name {
			t.Errorf("findToken(%s's) = %v, %v", name, who, err)
		}
	}
	gone, err := RevokeToken(file, "lab3", now.Add(time.Hour))
	if err != nil || gone.ID != made.ID || !gone.Revoked.Equal(now.Add(time.Hour)) {
		t.Errorf("RevokeToken(lab3) = %+v, %v", gone, err)
	}
	if _, err := load(t, file).findToken(text, now); !errors.Is(err, ErrUnauthenticated) || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("findToken(revoked) = %v, want ErrUnauthenticated that says so", err)
	}
	all, err := ListTokens(file)
	if err != nil || len(all) != 2 || all[0].Revoked.IsZero() || !all[1].Revoked.IsZero() || all[0].Deny[0] != `/gnu/"x"` || all[0].Scope[0] != "observe" {
		t.Errorf("ListTokens = %+v, %v", all, err)
	}
	if again, _ := create(t, file, TokenInfo{Name: "lab3"}); again == text {
		t.Error("a revoked name gets its old token again")
	}
	for claim, err := range map[string]error{
		"a name that is in use":  second(CreateToken(file, TokenInfo{Name: "lab4"}, now)),
		"a name of other bytes":  second(CreateToken(file, TokenInfo{Name: "a b"}, now)),
		"no name":                second(CreateToken(file, TokenInfo{}, now)),
		"an end in the past":     second(CreateToken(file, TokenInfo{Name: "x", Expires: now}, now)),
		"a scope that is none":   second(CreateToken(file, TokenInfo{Name: "x", Scope: []string{"root"}}, now)),
		"write without paths":    second(CreateToken(file, TokenInfo{Name: "x", Scope: []string{"write"}}, now)),
		"a pattern":              second(CreateToken(file, TokenInfo{Name: "x", Read: []string{"/a/*"}}, now)),
		"revoking nobody":        first(RevokeToken(file, "nobody", now)),
		"revoking twice":         first(RevokeToken(file, made.ID, now)),
		"revoking in no file":    first(RevokeToken(file+".no", "lab4", now)),
		"listing no file":        first(ListTokens(file + ".no")),
		"a directory for a file": second(CreateToken(filepath.Dir(file), TokenInfo{Name: "x"}, now)),
	} {
		if err == nil {
			t.Errorf("%s: no error", claim)
		}
	}
	if _, err := RevokeToken(file, "nobody", now); !errors.Is(err, ErrNoToken) {
		t.Errorf("RevokeToken(nobody) = %v, want ErrNoToken", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), ".zcache-tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func first[T any](_ T, err error) error        { return err }
func second[A, B any](_ A, _ B, e error) error { return e }

func TestEditsLeaveWhatPeopleWrote(t *testing.T) {
	const before = "# the lab's\nversion = 1 # of the format\n\n[anonymous]\nread = [ \"/gnu\" ] # free software"
	file := writeFile(t, before)
	link := filepath.Join(t.TempDir(), "link.toml")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	_, made := create(t, link, TokenInfo{Name: "a"})
	create(t, link, TokenInfo{Name: "b"})
	if _, err := RevokeToken(link, made.ID, now); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(file)
	if !strings.HasPrefix(string(data), before+"\n") {
		t.Errorf("after edits the file begins\n%s\nwant\n%s", data, before)
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	if info, _ := os.Stat(file); info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode became %v, want that which it had", info.Mode())
	}
	for claim, text := range map[string]string{
		"an inline table":     "version = 1\ntoken = [{id='x', name='x', hash='sha256:" + strings.Repeat("0", 64) + "'}]\n",
		"a file that is none": "version = 1\n[[token]]\n",
		"a later version":     "version = 2\n",
	} {
		file := writeFile(t, text)
		_, _, err := CreateToken(file, TokenInfo{Name: "new"}, now)
		if data, _ := os.ReadFile(file); err == nil || string(data) != text {
			t.Errorf("%s: CreateToken = %v, and the file is %q", claim, err, data)
		}
	}
}

func TestEditsAtATimeAreAllKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, _, err := CreateToken(file, TokenInfo{Name: fmt.Sprint("t", i)}, now); err != nil {
				t.Errorf("CreateToken(t%d): %v", i, err)
			}
		})
	}
	wg.Wait()
	if all, err := ListTokens(file); len(all) != 20 {
		t.Errorf("ListTokens after 20 CreateToken at a time = %d, %v", len(all), err)
	}
}

func TestATokenThatIsNotWholeIsNone(t *testing.T) {
	_, _, text := newToken()
	if _, _, err := parseToken(text); err != nil {
		t.Fatalf("parseToken(%q): %v", text, err)
	}
	for i := range text {
		if _, _, err := parseToken(text[:i]); err == nil {
			t.Errorf("parseToken(%q) takes a token that was cut at %d", text[:i], i)
		}
		c := byte('x')
		if text[i] == c {
			c = 'y'
		}
		if _, _, err := parseToken(text[:i] + string(c) + text[i+1:]); err == nil {
			t.Errorf("parseToken takes %q with another letter at %d", text, i)
		}
	}
}

// TestEveryGuessCostsTheSame counts the work instead of timing it: a clock would show the machine's noise first.
func TestEveryGuessCostsTheSame(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	right, made := create(t, file, TokenInfo{Name: "a", Expires: now.Add(time.Hour)})
	revoked, _ := create(t, file, TokenInfo{Name: "b"})
	if _, err := RevokeToken(file, "b", now); err != nil {
		t.Fatal(err)
	}
	_, _, unknown := newToken()
	_, secret, _ := newToken()
	wrongSecret := tokenPrefix + made.ID + "_" + secret
	wrongSecret += checksum(wrongSecret)
	r := load(t, file)
	plain := r.sum
	var hashed []int
	r.sum = func(b []byte) digest {
		hashed = append(hashed, len(b))
		return plain(b)
	}
	for _, row := range []struct {
		claim, text string
		at          time.Time
		good        bool
	}{
		{"right", right, now, true}, {"wrong secret", wrongSecret, now, false}, {"unknown id", unknown, now, false},
		{"revoked", revoked, now, false}, {"expired", right, now.Add(time.Hour), false},
	} {
		hashed = nil
		_, err := r.findToken(row.text, row.at)
		if (err == nil) != row.good || len(hashed) != 1 || hashed[0] != secretLength {
			t.Errorf("%s: findToken = %v with hashes of %v, want good %v with one of %d", row.claim, err, hashed, row.good, secretLength)
		}
	}
	_, a := r.findToken(wrongSecret, now)
	_, b := r.findToken(unknown, now)
	_, c := r.findToken("zct_x", now)
	if a.Error() != b.Error() || a.Error() != c.Error() {
		t.Errorf("a wrong secret, an unknown id and a malformed token are told apart: %v / %v / %v", a, b, c)
	}
}

func TestAuthFilesThatCannotBeMeantAreRefused(t *testing.T) {
	const hash = "hash = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n"
	tok := func(more string) string { return "version = 1\n[[token]]\nid = \"a1\"\nname = \"x\"\n" + hash + more }
	for _, row := range []struct{ claim, text, says string }{
		{"a whole one is taken", tok("read = [\"/a\"]\nscope = [\"observe\"]\nexpires = 2027-01-01T00:00:00Z\n"), ""},
		{"an empty one is taken", "version = 1\n", ""},
		{"without a version", "", "version = 1"},
		{"a version to come", "version = 2\n", "versions up to 1"},
		{"no TOML", "version = 1\n[[", "line 2"},
		{"a misspelt deny", tok("denny = [\"/a\"]\n"), "token.denny is no setting"},
		{"a misspelt section", "version = 1\n[anonymos]\ndeny = [\"/a\"]\n", "anonymos"},
		{"a cascade that is none", "version = 1\ncascade = \"last\"\n", `"last" is neither "leaf" nor "deny"`},
		{"a pattern", tok("read = [\"/a/*\"]\n"), "token[x]: rule"},
		{"a scope that is none", tok("scope = [\"admin\"]\n"), `token[x]: scope: "admin"`},
		{"write without paths", tok("scope = [\"write\"]\n"), "write needs paths"},
		{"one id twice", tok("[[token]]\nid = \"a1\"\nname = \"y\"\n" + hash), "token[y]: id"},
		{"no id", "version = 1\n[[token]]\nname = \"x\"\n" + hash, "token[x]: id"},
		{"no name", "version = 1\n[[token]]\nid = \"a\"\n" + hash, "token[the 1.]: name"},
		{"no hash", "version = 1\n[[token]]\nid = \"a\"\nname = \"x\"\n", "hash"},
		{"a hash of another kind", "version = 1\n[[token]]\nid = \"a\"\nname = \"x\"\nhash = \"md5:00\"\n", "hash"},
		{"a bad rule for all", "version = 1\n[anonymous]\nread = [\"a\"]\n", "anonymous: rule"},
		{"a user of no file", "version = 1\n[[user]]\nname = \"eve\"\n", "user[eve]: no htpasswd file has this name"},
		{"an htpasswd file that is missing", "version = 1\nhtpasswd = [\"no\"]\n", "htpasswd: "},
		{"a JWT without audience", "version = 1\n[jwt]\nissuer = \"https://id.example\"\nkeys = \"https://id.example/keys\"\n", "jwt: audience"},
		{"all that is wrong", "version = 1\n[anonymous]\nread = [\"a\"]\n[[user]]\nname = \"eve\"\n", "anonymous"},
	} {
		r, err := LoadRules(writeFile(t, row.text), AnonymousRead)
		switch {
		case row.says == "" && (err != nil || !r.Configured()):
			t.Errorf("%s: LoadRules = %v", row.claim, err)
		case row.says != "" && (err == nil || !strings.Contains(err.Error(), row.says)):
			t.Errorf("%s: LoadRules = %v, want one that says %q", row.claim, err, row.says)
		}
	}
}

func TestALifetimeIsInDaysWeeksOrHours(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{"90d": 90 * day, "12w": 84 * day, "36h": 36 * time.Hour, "1h30m": 90 * time.Minute, "": 0, "0d": 0, "-1h": 0, "9": 0, "d": 0, "1.5d": 0, "99999d": 0, "x": 0} {
		if got, err := ParseLifetime(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("ParseLifetime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

func FuzzCredentialsAreParsed(f *testing.F) {
	_, _, text := newToken()
	for _, s := range []string{"", "Bearer " + text, "Basic Og==", "basic eDp6Y3Rf", "Bearer a.b.c", "Digest x=y", "Bearer", text} {
		f.Add(s)
	}
	file := filepath.Join(f.TempDir(), "auth.toml")
	right, _ := create(f, file, TokenInfo{Name: "a"})
	g := guard("10.0.0.0/8")
	g.SetRules(load(f, file))
	f.Fuzz(func(t *testing.T, line string) {
		for _, field := range []string{"Authorization", "Proxy-Authorization"} {
			r := request("192.0.2.1:1", "h")
			r.Header[field] = []string{line}
			for _, proxy := range []bool{false, true} {
				c := g.IdentifyIn(r, proxy)
				if c.Known() && !strings.Contains(line, right) && !HasToken(line) {
					t.Errorf("%s: %q in proxy form %v makes %s", field, line, proxy, c.Subject())
				}
				if out := c.Consume(r); HasToken(line) && field == "Authorization" && out.Header[field] != nil {
					t.Errorf("%s: %q goes on to the origin", field, line)
				}
			}
		}
	})
}

func FuzzAuthFile(f *testing.F) {
	f.Add("version = 1\n[[token]]\nid='a'\nname='x'\nhash='sha256:00'\nread=['/a']\n")
	f.Add("version = 1\ncascade='deny'\n[anonymous]\ndeny=['/a']\n[jwt]\nissuer='x'\n")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseFile([]byte(text))
		if err != nil || len(parsed.Htpasswd) > 0 || parsed.JWT != nil {
			return // these name files of this machine
		}
		r := newRules(AnonymousRead)
		if err := parsed.build(r, t.TempDir()); err == nil && len(r.tokens) != len(parsed.Tokens) {
			t.Errorf("%q: %d tokens of %d", text, len(r.tokens), len(parsed.Tokens))
		}
	})
}
