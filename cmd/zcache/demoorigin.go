package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// A demoOrigin is a small file tree with index pages, as a mirror in the world would serve it.
type demoOrigin struct {
	files   map[string][]byte // by path
	changed time.Time
}

func newDemoOrigin() *demoOrigin {
	o := &demoOrigin{files: map[string][]byte{}, changed: time.Now().Add(-90 * 24 * time.Hour).UTC().Truncate(time.Second)}
	tarball := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{}).Read(tarball)
	copy(tarball, "\x1f\x8b\x08\x00") // what a .tar.gz begins with
	o.files["/README"] = []byte("This tree lives in the memory of zcache demo.\n")
	o.files["/hello/README"] = []byte("hello: the customary first program, as a release.\n")
	o.files["/hello/hello-1.0.tar.gz"] = tarball
	o.files["/hello/SHA256SUMS"] = fmt.Appendf(nil, "%x  hello-1.0.tar.gz\n", sha256.Sum256(tarball))
	o.files["/docs/install.txt"] = []byte("Unpack it, then run make install.\n")
	return o
}

func (o *demoOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if body, ok := o.files[r.URL.Path]; ok {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(body))[:18]+`"`)
		w.Header().Set("Cache-Control", "max-age=3600")
		http.ServeContent(w, r, path.Base(r.URL.Path), o.changed, bytes.NewReader(body))
		return
	}
	names := o.list(r.URL.Path)
	if names == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<html>\n<head><title>Index of %[1]s</title></head>\n<body>\n<h1>Index of %[1]s</h1><hr><pre><a href=\"../\">../</a>\n",
		html.EscapeString(r.URL.Path))
	for _, name := range names {
		size := "-"
		if body, ok := o.files[r.URL.Path+name]; ok {
			size = fmt.Sprint(len(body))
		}
		fmt.Fprintf(w, "<a href=\"%s\">%s</a>%*s %s %12s\n", (&url.URL{Path: name}).EscapedPath(), html.EscapeString(name),
			max(50-len(name), 1), "", o.changed.Format("02-Jan-2006 15:04"), size)
	}
	fmt.Fprint(w, "</pre><hr></body>\n</html>\n")
}

// list is what lies directly below dir, sub-directories with a slash; nil when there is no such directory.
func (o *demoOrigin) list(dir string) []string {
	var names []string
	for file := range o.files {
		rest, ok := strings.CutPrefix(file, dir)
		if !ok || !strings.HasSuffix(dir, "/") {
			continue
		}
		if sub, _, deep := strings.Cut(rest, "/"); deep {
			rest = sub + "/"
		}
		if !slices.Contains(names, rest) {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}
