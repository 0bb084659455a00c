package auth

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAKeyFileThatCannotBeReadRefusesTheRules(t *testing.T) {
	for name, keys := range map[string]string{"half-written": "{", "empty": "", "no keys": `{"keys":[]}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "auth.toml")
			text := "version = 1\n[jwt]\nissuer = \"https://id.example\"\naudience = [\"zcache\"]\nkeys = \"jwks.json\"\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "jwks.json"), []byte(keys), 0o600); err != nil {
				t.Fatal(err)
			}
			if r, err := LoadRules(file, AnonymousRead); err == nil {
				t.Errorf("LoadRules with keys %q = %v, want an error", keys, r)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "auth.toml")
	text := "version = 1\n[jwt]\nissuer = \"https://id.example\"\naudience = [\"zcache\"]\nkeys = \"missing.json\"\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadRules(file, AnonymousRead); err == nil {
		t.Error("LoadRules with a key file that is missing: no error")
	}
}
