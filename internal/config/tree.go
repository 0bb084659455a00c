package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strings"
)

// isFileURL says whether s means a directory of this machine.
func isFileURL(s string) bool {
	return len(s) >= len("file:") && strings.EqualFold(s[:len("file:")], "file:")
}

// parseTree accepts file:///srv/mirror and file://localhost/srv/mirror (RFC 8089): the absolute path of a directory that can be read. One that
// cannot would be found out at the first request only, by somebody else.
func parseTree(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, errors.New("it cannot be read as a URL; write one such as file:///srv/mirror, with % as %25")
	case u.User != nil, u.Port() != "":
		return nil, errors.New("a directory of this machine has no user, password or port; write one such as file:///srv/mirror")
	case u.Host != "" && !strings.EqualFold(u.Host, "localhost"):
		return nil, fmt.Errorf("%q is another host; a directory of this machine has three slashes, as in file:///srv/mirror", u.Host)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("it has a query or fragment; write ? as %3F and # as %23 in the name of a directory")
	case u.Opaque != "" || !strings.HasPrefix(u.Path, "/"):
		return nil, errors.New("its path is relative; write the whole one, as in file:///srv/mirror")
	case strings.ContainsRune(u.Path, 0):
		return nil, errors.New("its path holds a NUL, which no name can")
	}
	for seg := range strings.SplitSeq(u.Path, "/") {
		if seg == "." || seg == ".." {
			return nil, fmt.Errorf("%s has %q in its path; write the path plainly", u.Path, seg)
		}
	}
	dir := path.Clean(u.Path)
	if dir == "/" {
		return nil, errors.New("it is the whole of this machine; name a directory in it")
	}
	if err := readableDir(dir); err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "file", Path: dir}, nil
}

func readableDir(dir string) error {
	f, err := os.Open(dir + "/.") // not a pipe, which would wait for its writer; and what is in it can be reached
	if err != nil {
		if info, serr := os.Stat(dir); serr == nil && !info.IsDir() {
			return fmt.Errorf("%s is no directory; name the one that holds the tree", dir)
		}
		return fileProblem(dir, err)
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); err != nil && err != io.EOF {
		return fileProblem(dir, err)
	}
	return nil
}
