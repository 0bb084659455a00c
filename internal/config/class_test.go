package config

import "testing"

func TestClass(t *testing.T) {
	h := Hub{Immutable: []string{"*.tar.xz", "/pool/**"}, Index: []string{"/dists/**/Release", "SHA256SUMS"}, Bypass: []string{"/live/*", "*.tmp"}}
	for path, want := range map[string]string{
		"/a/b/x.tar.xz":         ClassImmutable,
		"/pool/main/a/a.deb":    ClassImmutable,
		"/dists/stable/Release": ClassIndex,
		"/dists/Release":        ClassIndex,
		"/x/SHA256SUMS":         ClassIndex,
		"/live/now":             ClassBypass,
		"/live/a/b":             "",
		"/pool/x.tmp":           ClassBypass,
		"/":                     "",
		"/other":                "",
	} {
		if got := h.Class(path); got != want {
			t.Errorf("Class(%q) = %q, want %q", path, got, want)
		}
	}
}
