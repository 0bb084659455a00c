package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zcache/internal/auth"
)

func TestTokenIsPrintedAloneAndStoredHashed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	code, out, errs := invoke(t, "", "token", "create", "--name", "lab3", "--read", "/kernel,/gnu", "--deny=/kernel/x", "--write", "/lab", "--scope", "observe",
		"--expires", "90d", "--auth-file", file)
	secret := strings.TrimSuffix(out, "\n")
	if code != 0 || strings.ContainsAny(secret, " \n") || !auth.HasToken("Bearer "+secret) {
		t.Fatalf("exit %d, %q (%s), want a token alone", code, out, errs)
	}
	for _, want := range []string{"lab3", "/kernel, /gnu but /kernel/x, write /lab, and observe", "--auth-file " + file} {
		if !strings.Contains(errs, want) {
			t.Errorf("the hint %q does not say %q", errs, want)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(data), secret) || strings.Contains(errs, secret) {
		t.Errorf("the secret is in the file or in the hint (%v)", err)
	}
	code, out, _ = invoke(t, "", "token", "list", "--auth-file", file)
	if code != 0 || !strings.Contains(out, "lab3") || !strings.Contains(out, "good until") || strings.Contains(out, secret) {
		t.Errorf("list: exit %d, %q", code, out)
	}
	code, out, _ = invoke(t, "", "token", "revoke", "--auth-file", file, "lab3")
	if code != 0 || !strings.HasPrefix(out, "revoked ") {
		t.Errorf("revoke: exit %d, %q", code, out)
	}
	_, out, _ = invoke(t, "", "token", "list", "--json", "--auth-file", file)
	var all []auth.TokenInfo
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0].Revoked.IsZero() {
		t.Errorf("list --json = %s, %v, want one token, revoked", out, err)
	}
}

func TestTokenVerbsSayWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "auth.toml")
	for _, row := range []struct {
		claim string
		args  []string
		code  int
		want  string
	}{
		{"no name", []string{"create", "--auth-file", file}, 2, "token create needs --name"},
		{"a lifetime that is none", []string{"create", "--name", "a", "--expires", "soon", "--auth-file", file}, 2, `--expires: "soon" is no lifetime`},
		{"no file", []string{"create", "--name", "a"}, 2, "no auth file is configured; name one with --auth-file"},
		{"a scope that is none", []string{"create", "--name", "a", "--scope", "rule", "--auth-file", file}, 1, "scope"},
		{"a token that is not there", []string{"revoke", "x", "--auth-file", file}, 1, "no such"},
		{"another verb", []string{"rotate"}, 2, `token does not know "rotate"`},
	} {
		code, out, errs := invoke(t, "", append([]string{"token"}, row.args...)...)
		if code != row.code || !strings.Contains(errs, row.want) || out != "" {
			t.Errorf("%s: exit %d, %q, %q, want %d and %q", row.claim, code, out, errs, row.code, row.want)
		}
	}
}

func TestTokenVerbsFindTheConfiguredFile(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "z.toml")
	if err := os.WriteFile(conf, []byte("auth-file = \"auth.toml\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := invoke(t, "", "token", "create", "--config", conf, "--name", "a")
	if _, err := os.Stat(filepath.Join(dir, "auth.toml")); code != 0 || err != nil || strings.Contains(errs, "does not name") {
		t.Errorf("exit %d, %v, %q; want the file beside the configuration, and no hint to name it", code, err, errs)
	}
}

func TestVerbsShowTheirToken(t *testing.T) {
	var got string
	server := operations(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		got = r.Header.Get("Authorization")
		if got == "" {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"detail":"purge is for clients with the scope operate"}`)
			return
		}
		io.WriteString(w, `{"removed":0}`)
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("zct_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := invoke(t, "", "purge", "/x", "--server", server)
	if code != 1 || !strings.Contains(errs, "--token-file") {
		t.Errorf("without a token: exit %d, %q, want a hint where to name one", code, errs)
	}
	t.Setenv("ZCACHE_TOKEN", " zct_variable ")
	if code, _, errs := invoke(t, "", "purge", "/x", "--server", server); code != 0 || got != "Bearer zct_variable" {
		t.Errorf("from the variable: exit %d (%s), %q", code, errs, got)
	}
	if code, _, errs := invoke(t, "", "purge", "/x", "--server", server, "--token-file", file); code != 0 || got != "Bearer zct_file" {
		t.Errorf("from the file: exit %d (%s), %q", code, errs, got)
	}
	t.Setenv("ZCACHE_TOKEN", "two words")
	if code, _, errs := invoke(t, "", "purge", "/x", "--server", server); code != 1 || !strings.Contains(errs, "it is not one word") {
		t.Errorf("two words: exit %d, %q", code, errs)
	}
}

func TestPutSendsTheFileWithItsDigest(t *testing.T) {
	var got *http.Request
	var body string
	status := http.StatusCreated
	server := operations(t, func(w http.ResponseWriter, r *http.Request, text string) {
		got, body = r, text
		w.Header().Set("ETag", `"e"`)
		w.WriteHeader(status)
	})
	file := filepath.Join(t.TempDir(), "he llo.txt")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("hello"))
	digest := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	for _, row := range []struct {
		claim  string
		stdin  string
		args   []string
		status int
		want   string // method, host and path
		out    string
	}{
		{"a path", "", []string{file, "/lab/a%3Fb.txt"}, 201, "PUT /lab/a%3Fb.txt", "put /lab/a%3Fb.txt: 5 B, sha256 2cf24dba"},
		{"a directory", "", []string{file, "/lab/"}, 204, "PUT /lab/he%20llo.txt", "replaced /lab/he%20llo.txt: 5 B"},
		{"a host", "", []string{file, "//Files.lab/x.txt"}, 201, "PUT Files.lab /x.txt", "put //Files.lab/x.txt: 5 B"},
		{"standard input", "hello", []string{"-", "/lab/x.txt"}, 201, "PUT /lab/x.txt", "put /lab/x.txt: 5 B"},
	} {
		status = row.status
		code, out, errs := invoke(t, row.stdin, append([]string{"put", "--server", server}, row.args...)...)
		if code != 0 || got == nil || !strings.HasPrefix(out, row.out) {
			t.Errorf("%s: exit %d, %q, %q, want %q", row.claim, code, out, errs, row.out)
			continue
		}
		line := got.Method + " " + got.URL.EscapedPath()
		if !strings.HasSuffix(server, got.Host) {
			line = got.Method + " " + got.Host + " " + got.URL.EscapedPath()
		}
		if line != row.want || body != "hello" || got.Header.Get("Content-Digest") != digest || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s, %v, %q, want %s with the digest %s", row.claim, line, got.Header, body, row.want, digest)
		}
	}
}

func TestPutSaysWhatIsWrong(t *testing.T) {
	server := operations(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusPreconditionFailed)
			return
		}
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"detail":"this is not yours to write","error":"denied"}`)
	})
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		claim string
		args  []string
		code  int
		want  string
	}{
		{"no path", []string{file}, 2, "put takes a file and a path"},
		{"a relative path", []string{file, "lab/x"}, 2, "is no path"},
		{"a query", []string{file, "/lab/x?y"}, 2, "is no path"},
		{"standard input without a name", []string{"-", "/lab/"}, 2, "standard input has no name"},
		{"a file that is not there", []string{filepath.Join(dir, "none"), "/lab/x"}, 1, "no such file"},
		{"a directory", []string{dir, "/lab/x"}, 1, "is a directory; put takes one file"},
		{"a server that refuses", []string{file, "/lab/x"}, 1, "put /lab/x: this is not yours to write (denied)"},
		{"something that is there", []string{"--no-clobber", file, "/lab/x"}, 1, "something is there already"},
	} {
		code, out, errs := invoke(t, "", append([]string{"put", "--server", server}, row.args...)...)
		if code != row.code || !strings.Contains(errs, row.want) || out != "" {
			t.Errorf("%s: exit %d, %q, %q, want %d and %q", row.claim, code, out, errs, row.code, row.want)
		}
	}
}
