package config

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUpstreamMayBeADirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "Mirror #1%")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	escaped := (&url.URL{Path: dir}).EscapedPath()
	for _, row := range []struct{ claim, text string }{
		{"without a host", "file://" + escaped},
		{"with this machine as host", "file://LocalHost" + escaped},
		{"with one slash", "file:" + escaped},
		{"in capitals", "FILE://" + escaped},
		{"with a slash at the end", "file://" + escaped + "/"},
		{"with slashes to spare", "file:///" + strings.ReplaceAll(escaped, "/", "//")},
	} {
		t.Run(row.claim, func(t *testing.T) {
			h := mustLoad(t, "", "--upstream", row.text).Hubs[0]
			want := fmt.Sprint("mirror--1- / file://", escaped, " true")
			if got := fmt.Sprint(h.Name, " ", h.Mount, " ", h.Upstreams[0], " ", h.Local()); got != want || h.Upstreams[0].Path != dir {
				t.Errorf("--upstream %s = %s, Path %q, want %s, Path %q", row.text, got, h.Upstreams[0].Path, want, dir)
			}
		})
	}
}

func TestLocalHubHasDirectoriesAlone(t *testing.T) {
	dir := t.TempDir()
	for _, row := range []struct {
		claim, upstream string
		want            bool
	}{
		{"two directories", fmt.Sprintf(`["file://%s", "file://%s"]`, dir, dir), true},
		{"a directory before a server", fmt.Sprintf(`["file://%s", "http://a.example"]`, dir), false},
		{"a server", `"http://a.example"`, false},
	} {
		h := mustLoad(t, "[[hub]]\nname = \"k\"\nupstream = "+row.upstream+"\n").Hubs[0]
		if got := h.Local(); got != row.want {
			t.Errorf("%s: Local of upstream %s = %v, want %v", row.claim, row.upstream, got, row.want)
		}
	}
	if (&Hub{}).Local() {
		t.Error("Local of a hub without upstream = true, want false")
	}
}

func TestDirectoryProblemsNameTheFix(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "x")
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ claim, upstream, want string }{
		{"nothing there", "file://" + dir + "/none", dir + "/none cannot be read: no such file or directory"},
		{"a file", "file://" + dir + "/file", dir + "/file is no directory; name the one that holds the tree"},
		{"a pipe does not block", "file://" + dir + "/pipe", dir + "/pipe is no directory; name the one that holds the tree"},
		{"two slashes", "file://srv/mirror", `"srv" is another host; a directory of this machine has three slashes, as in file:///srv/mirror`},
		{"relative", "file:srv/mirror", "its path is relative; write the whole one, as in file:///srv/mirror"},
		{"no path", "file://localhost", "its path is relative; write the whole one, as in file:///srv/mirror"},
		{"the whole machine", "file:///", "it is the whole of this machine; name a directory in it"},
		{"climbing", "file:///srv/../etc", `/srv/../etc has ".." in its path; write the path plainly`},
		{"climbing in escapes", "file:///srv/%2E%2e/etc", `/srv/../etc has ".." in its path; write the path plainly`},
		{"a query", "file:///srv/a?b", "it has a query or fragment; write ? as %3F and # as %23 in the name of a directory"},
		{"a fragment", "file:///srv/a#b", "it has a query or fragment; write ? as %3F and # as %23 in the name of a directory"},
		{"a NUL", "file:///srv/a%00b", "its path holds a NUL, which no name can"},
		{"a bare percent sign", "file:///srv/100%", "it cannot be read as a URL; write one such as file:///srv/mirror, with % as %25"},
		{"credentials", "file://me:hunter2@localhost/srv", "a directory of this machine has no user, password or port; write one such as file:///srv/mirror"},
		{"a port", "file://localhost:80/srv", "a directory of this machine has no user, password or port; write one such as file:///srv/mirror"},
	} {
		t.Run(row.claim, func(t *testing.T) {
			_, err := load(t, fmt.Sprintf("[[hub]]\nname = \"k\"\nupstream = %q\n", row.upstream))
			if want := "hub[k].upstream: " + row.want + " (zcache.toml:3)"; err == nil || err.Error() != want {
				t.Errorf("upstream = %q\n got %v\nwant %s", row.upstream, err, want)
			}
		})
	}
}

func TestTreeAndRootLieApart(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		claim, root, tree string
		fails             bool
	}{
		{"the root in the tree", filepath.Join(dir, "zcache-data"), dir, true},
		{"the tree in the root", dir, sub, true},
		{"one and the same", dir, dir, true},
		{"side by side", filepath.Join(dir, "subtle"), sub, false},
	} {
		_, err := Parse("--root="+c.root, "--upstream=t=file://"+c.tree)
		if (err != nil) != c.fails {
			t.Errorf("%s: Parse = %v, want a problem: %v", c.claim, err, c.fails)
		}
	}
}
