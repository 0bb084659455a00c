package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A publisher is an upstream whose tree lies in memory, changes when a test says so, and misbehaves where a test wants it to.
type publisher struct {
	t testing.TB
	*httptest.Server

	mu    sync.Mutex
	files map[string]release // by path without escapes; an empty directory's ends in a slash
	json  bool               // nginx's JSON instead of its pages
	asked []question
	// meddle sees every request first, and says whether it has answered it.
	meddle func(w http.ResponseWriter, r *http.Request) bool
}

// A release is one state of a file.
type release struct {
	body []byte
	at   time.Time
	tag  string // "" sends no ETag
}

// A question is what a publisher was asked.
type question struct {
	path   string // without escapes
	target string
	header http.Header
}

func startPublisher(t testing.TB) *publisher {
	t.Helper()
	p := &publisher{t: t, files: map[string]release{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// put publishes bytes of a file's own at a path, dated as that of no walk.
func (p *publisher) put(paths ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, path := range paths {
		p.files[path] = release{body: bytesOf(path, 200), at: modified}
	}
}

func (p *publisher) set(path string, r release) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.files[path] = r
}

// remove takes a path away, and all below it.
func (p *publisher) remove(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.files {
		if name == path || strings.HasPrefix(name, strings.TrimSuffix(path, "/")+"/") {
			delete(p.files, name)
		}
	}
}

// misbehave has meddle see every request from now on; nil ends that.
func (p *publisher) misbehave(meddle func(w http.ResponseWriter, r *http.Request) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meddle = meddle
}

// take gives what was asked since the last call.
func (p *publisher) take() []question {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// filesAsked are the paths of files among questions, and dirsAsked those of directories.
func filesAsked(all []question) []string { return pathsOf(all, false) }
func dirsAsked(all []question) []string  { return pathsOf(all, true) }

func pathsOf(all []question, dirs bool) (paths []string) {
	for _, q := range all {
		if strings.HasSuffix(q.path, "/") == dirs {
			paths = append(paths, q.path)
		}
	}
	return paths
}

func (p *publisher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, question{path: r.URL.Path, target: r.RequestURI, header: r.Header.Clone()})
	meddle := p.meddle
	p.mu.Unlock()
	if meddle != nil && meddle(w, r) {
		return
	}
	p.honest(w, r)
}

// honest answers as a good upstream does.
func (p *publisher) honest(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	p.mu.Lock()
	file, ok := p.files[path]
	rows := p.rowsOf(path)
	asJSON := p.json
	p.mu.Unlock()
	switch {
	case strings.HasSuffix(path, "/") && (ok || rows != nil || path == "/"):
		kind, body := listingPage(path, rows, asJSON)
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(body)
	case !ok || strings.HasSuffix(path, "/"):
		http.NotFound(w, r)
	default:
		file.serve(w, r)
	}
}

func (f release) serve(w http.ResponseWriter, r *http.Request) {
	if f.tag != "" {
		w.Header().Set("ETag", f.tag)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", f.at, bytes.NewReader(f.body))
}

// A listed row is one of a publisher's listing.
type listed struct {
	name string
	dir  bool
	release
}

// rowsOf are the rows of a directory; nil when there is none.
func (p *publisher) rowsOf(dir string) []listed {
	if !strings.HasSuffix(dir, "/") {
		return nil
	}
	found := map[string]listed{}
	for path, f := range p.files {
		rest, ok := strings.CutPrefix(path, dir)
		if !ok || rest == "" {
			continue
		}
		name, _, below := strings.Cut(rest, "/")
		if below {
			f = release{at: modified}
		}
		found[name] = listed{name, below, f}
	}
	rows := make([]listed, 0, len(found))
	for _, row := range found {
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b listed) int { return strings.Compare(a.name, b.name) })
	if len(rows) == 0 {
		return nil
	}
	return rows
}

// listingPage writes rows as nginx does.
func listingPage(dir string, rows []listed, asJSON bool) (kind string, body []byte) {
	if asJSON {
		return "application/json", listingJSON(rows)
	}
	var b bytes.Buffer
	title := html.EscapeString(dir)
	fmt.Fprintf(&b, "<html>\r\n<head><title>Index of %s</title></head>\r\n<body>\r\n<h1>Index of %s</h1><hr><pre><a href=\"../\">../</a>\r\n", title, title)
	for _, row := range rows {
		href, name, size := url.PathEscape(row.name), row.name, fmt.Sprint(len(row.body))
		if row.dir {
			href, name, size = href+"/", name+"/", "-"
		}
		if strings.Contains(row.name, ":") {
			href = "./" + href
		}
		fmt.Fprintf(&b, "<a href=\"%s\">%s</a>%*s %s %19s\r\n", href, html.EscapeString(name), max(0, 50-len(name)), "", row.at.UTC().Format("02-Jan-2006 15:04"), size)
	}
	b.WriteString("</pre><hr></body>\r\n</html>\r\n")
	return "text/html", b.Bytes()
}

func listingJSON(rows []listed) []byte {
	type jsonRow struct {
		Name string `json:"name"`
		Type string `json:"type"`
		Time string `json:"mtime"`
		Size *int   `json:"size,omitempty"`
	}
	all := make([]jsonRow, 0, len(rows))
	for _, row := range rows {
		out := jsonRow{row.name, "directory", row.at.UTC().Format(http.TimeFormat), nil}
		if size := len(row.body); !row.dir {
			out.Type, out.Size = "file", &size
		}
		all = append(all, out)
	}
	b, _ := json.MarshalIndent(all, "", "  ")
	return b
}

// mirrorOver starts a mirror of all that a publisher has, as hub up.
func mirrorOver(t testing.TB, p *publisher, args ...string) *zcache {
	t.Helper()
	return start(t, append([]string{"--mode", "mirror", "--upstream", "up=" + p.URL}, args...)...)
}

// holds wants the paths of a publisher to be held byte for byte.
func (z *zcache) holds(what string, p *publisher, paths ...string) {
	z.t.Helper()
	for _, path := range paths {
		p.mu.Lock()
		want, ok := p.files[path]
		p.mu.Unlock()
		got, held := z.held("up", path)
		if !held || ok && !bytes.Equal(got, want.body) {
			z.t.Errorf("%s: %q is held = %v with %d bytes %s, want the publisher's %d bytes", what, path, held, len(got), clip(got), len(want.body))
		}
	}
}

// lacks wants paths not to be held.
func (z *zcache) lacks(what string, paths ...string) {
	z.t.Helper()
	for _, path := range paths {
		if _, held := z.held("up", path); held {
			z.t.Errorf("%s: %q is held still", what, path)
		}
	}
}
