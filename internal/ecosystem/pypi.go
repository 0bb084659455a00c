package ecosystem

import (
	"bytes"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// MaxSimple is how much of a simple index is rewritten, in bytes; beyond it links stay as the index has them. Of PyPI's own pages only the list of all
// projects is larger, and that has no links to files.
const MaxSimple = 32 << 20

// A SimpleForm is what a page of a Python simple index is written in.
type SimpleForm int

const (
	NotSimple   SimpleForm = iota
	MaybeSimple            // HTML, of which LooksSimple decides
	SimpleHTML             // PEP 503
	SimpleJSON             // PEP 691
)

// SimpleFormOf says what a Content-Type promises.
func SimpleFormOf(contentType string) SimpleForm {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "text/html":
		return MaybeSimple
	case "application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html":
		return SimpleHTML
	case "application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json":
		return SimpleJSON
	}
	return NotSimple
}

// SimpleProject says that a path has the shape …/simple/<project>/ that PEP 503 gives to the page of a project. A mirror on a file server has it with
// the name of the page behind, devpi writes +simple.
func SimpleProject(path string) bool {
	path = strings.TrimSuffix(strings.TrimSuffix(path, "index.html"), "/")
	above, project, _ := cutLast(path)
	_, name, _ := cutLast(above)
	return project != "" && (name == "simple" || name == "+simple")
}

func cutLast(path string) (before, after string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// LooksSimple says whether the HTML page that begins with head is a simple index: it tells its PEP 629 version, or it is where the page of a project
// would be (project) and links to a distribution file. It is not sure while more of the page could change the verdict.
func LooksSimple(head []byte, project bool) (is, sure bool) {
	z := html.NewTokenizer(bytes.NewReader(head))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return false, false
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		tag := z.Token()
		switch tag.Data {
		case "meta":
			if name, _ := attribute(tag, "name"); strings.EqualFold(strings.TrimSpace(name), "pypi:repository-version") {
				return true, true
			}
		case "a":
			if href, ok := attribute(tag, "href"); ok && project && fileLink(href, tag) {
				return true, true
			}
		}
		switch tag.Data {
		case "html", "head", "meta", "title", "link", "base", "style", "script", "noscript":
		default:
			if !project {
				return false, true // the head is over
			}
		}
	}
}

func attribute(tag html.Token, name string) (string, bool) {
	for _, a := range tag.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

// archives are the ends of names that distribution files have or had, and of what lies beside them.
var archives = []string{
	".whl", ".tar.gz", ".zip", ".egg", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar.z", ".tar", ".exe", ".msi", ".rpm", ".deb", ".dmg",
	".metadata", ".asc", ".sig",
}

// hashes are the names that a fragment may begin with (PEP 503: those that hashlib has everywhere).
var hashes = []string{"sha256=", "sha512=", "sha384=", "sha224=", "sha1=", "md5=", "blake2b="}

// told are the attributes of a link that say something of a file (PEP 503, 592, 658, 714).
var told = []string{"data-requires-python", "data-dist-info-metadata", "data-core-metadata", "data-gpg-sig", "data-yanked"}

// fileLink says that a link leads to a file of a project, and not to its homepage.
func fileLink(href string, tag html.Token) bool {
	path, fragment, _ := strings.Cut(href, "#")
	path, _, _ = strings.Cut(path, "?")
	path = strings.ToLower(strings.TrimSpace(path))
	for _, end := range archives {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	for _, name := range hashes {
		if strings.HasPrefix(fragment, name) {
			return true
		}
	}
	for _, a := range tag.Attr {
		for _, name := range told {
			if a.Key == name {
				return true
			}
		}
	}
	return false
}

// A SimplePage is a page of a simple index on its way to a client.
type SimplePage struct {
	Form  SimpleForm
	URL   *url.URL // what its links are relative to, at its origin
	Shown string   // its own escaped path in the client's URL space
	// Place is the path, escaped and with the query, at which the client finds what lies at u, which is absolute and has neither userinfo nor fragment;
	// "" when it finds it nowhere here. file says that a distribution file is meant.
	Place func(u *url.URL, file bool) string
}

// Rewrite reads the page with every link that would lead the client astray replaced by the path that Place gives: one to another host, one that is
// relative to the top of the origin. All else stays byte for byte, fragments and attributes too. What is left of src when something cannot be read as
// HTML or JSON, or beyond MaxSimple, passes unchanged; an error of src is returned where it happened.
func (p *SimplePage) Rewrite(src io.Reader) io.Reader {
	within := &io.LimitedReader{R: src, N: MaxSimple}
	r := &rewriter{within: within, links: links{page: p, base: p.URL, shown: &url.URL{Path: "/"}}}
	if shown, err := url.Parse("http://localhost" + p.Shown); err == nil {
		r.links.shown = shown
	}
	if p.Form == SimpleJSON {
		r.step = newJSONSteps(within, &r.links)
	} else {
		r.step = newHTMLSteps(within, &r.links)
	}
	return r
}

// A step appends what it makes of the next token to out. The error ends the steps; what they had read and not understood is in out by then.
type step func(out []byte) ([]byte, error)

// A rewriter gives out what its steps make.
type rewriter struct {
	step   step
	within *io.LimitedReader
	links  links
	buf    []byte
	off    int
	rest   io.Reader // passes unchanged
	err    error
}

// atOnce is how much is made before it is given out.
const atOnce = 16 << 10

func (r *rewriter) Read(p []byte) (int, error) {
	for r.off == len(r.buf) {
		switch {
		case r.rest != nil:
			return r.rest.Read(p)
		case r.err != nil:
			return 0, r.err
		}
		r.buf, r.off = r.buf[:0], 0
		for len(r.buf) < atOnce && r.err == nil && r.rest == nil {
			r.advance()
		}
	}
	n := copy(p, r.buf[r.off:])
	r.off += n
	return n, nil
}

func (r *rewriter) advance() {
	var err error
	r.buf, err = r.step(r.buf)
	switch {
	case err == nil:
	case err == errUnread, err == io.EOF && r.within.N <= 0:
		r.rest = r.within.R
	default:
		r.err = err
	}
}
