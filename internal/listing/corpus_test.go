package listing

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"
)

// A corpus holds listings of one known tree as real servers gave them, and what was true of the tree.
type corpus struct {
	servers map[string]*server // by the name of the server's directory: "nginx-html"
	dirs    map[string]truthDir
}

// A server is what its about.json says, and its captures.
type server struct {
	name       string
	Server     string               `json:"server"`
	Version    string               `json:"version"`
	Env        string               `json:"env"` // "TZ=UTC", "TZ=Asia/Shanghai"
	Base       string               `json:"base"`
	Captured   time.Time            `json:"captured"`
	Notes      []string             `json:"notes"`
	Can        recoverable          `json:"recoverable"`
	Deviations map[string]deviation `json:"deviations"` // by case
	Cases      []*capture           `json:"cases"`      // in about.json's order
}

// recoverable says what of the truth can be read from a server's pages.
type recoverable struct {
	Size          string `json:"size"`  // exact, rounded, none
	ModTime       string `json:"mtime"` // nanosecond, millisecond, second, minute, none
	SizeJSON      string `json:"size_json"`
	ModTimeJSON   string `json:"mtime_json"`
	ModTimeMLSD   string `json:"mtime_mlsd"`
	HidesDotfiles bool   `json:"hides_dotfiles"`
	Symlinks      string `json:"symlinks"`
	TypeFromPage  *bool  `json:"type_from_page"`
}

// A deviation is where a plain reader of a page goes wrong against the truth. Names that are not UTF-8 are "bytes:" and escaped;
// deviated undoes that.
type deviation struct {
	Missing    []string `json:"missing"`
	Extra      []string `json:"extra"`
	DirSlash   []string `json:"dir_slash_differs"`
	Unparsable []any    `json:"unparsable"`
}

// A capture is one answer of a server.
type capture struct {
	Case    string `json:"case"`
	URLPath string `json:"url_path"` // escaped, with query; "" for FTP and files
	Path    string `json:"path"`     // FTP
	Command string `json:"command"`  // FTP: "LIST -a"
	Truth   string `json:"truth"`    // for corpus.truth; "" where the answer is none
	Status  int    `json:"status"`
	Reply   string `json:"reply"` // FTP: "226"
	Body    string `json:"body"`  // the body's file name; "" where none was kept

	url    *url.URL    // of the request; nil for files
	header http.Header // of the response; nil for FTP
	data   []byte      // the body, gunzipped
	ext    string      // of the body, without ".gz": "html", "json", "xml", "txt"
}

// source is the Source that a walker would pass with c.
func (c *capture) source(s *server) Source {
	return Source{URL: c.url, ContentType: c.header.Get("Content-Type"), Now: s.Captured}
}

// A truthDir is a directory of the tree.
type truthDir struct {
	ModTime time.Time    `json:"mtime"`
	Entries []truthEntry `json:"entries"`
}

// A truthEntry is a name of the tree. Of a link, IsDir, Size and ModTime are its target's.
type truthEntry struct {
	Name        string     `json:"name"` // as bytes, also where it is not UTF-8
	Escaped     string     `json:"escaped"`
	Type        string     `json:"type"` // file, dir, link, fifo
	IsDir       bool       `json:"is_dir"`
	Size        *int64     `json:"size"`
	ModTime     *time.Time `json:"mtime"`
	Target      string     `json:"target"`
	LinkSize    *int64     `json:"link_size"`
	LinkModTime *time.Time `json:"link_mtime"`
	Broken      bool       `json:"broken"`
	NameB64     string     `json:"name_b64"`
}

// loadCorpus gives the corpus in testdata. It is read once and must not be changed.
func loadCorpus(t testing.TB) *corpus {
	t.Helper()
	c, err := corpusOnce()
	if err != nil {
		t.Fatalf("read the corpus: %v", err)
	}
	return c
}

var corpusOnce = sync.OnceValues(readCorpus)

// truth gives the entries of a capture's Truth.
func (c *corpus) truth(t testing.TB, dir string) []truthEntry {
	t.Helper()
	d, ok := c.dirs[dir]
	if !ok {
		t.Fatalf("the corpus has no truth of %q", dir)
	}
	return d.Entries
}

// deviated gives a deviation's names as bytes.
func deviated(t testing.TB, names []string) []string {
	t.Helper()
	plain := make([]string, len(names))
	for i, n := range names {
		escaped, ok := strings.CutPrefix(n, "bytes:")
		if !ok {
			plain[i] = n
			continue
		}
		var err error
		if plain[i], err = url.PathUnescape(escaped); err != nil {
			t.Fatalf("deviation %q: %v", n, err)
		}
	}
	return plain
}

func readCorpus() (*corpus, error) {
	files, err := untar("testdata/corpus.tar.gz")
	if err != nil {
		return nil, err
	}
	c := &corpus{servers: make(map[string]*server)}
	var truth struct {
		Dirs map[string]truthDir `json:"dirs"`
	}
	if err := json.Unmarshal(files["truth.json"], &truth); err != nil {
		return nil, fmt.Errorf("truth.json: %w", err)
	}
	c.dirs = truth.Dirs
	for _, d := range c.dirs {
		for i, e := range d.Entries {
			if e.NameB64 == "" {
				continue
			}
			name, err := base64.StdEncoding.DecodeString(e.NameB64)
			if err != nil {
				return nil, fmt.Errorf("truth.json: name %s: %w", e.NameB64, err)
			}
			d.Entries[i].Name = string(name)
		}
	}
	for name, about := range files {
		if path.Base(name) != "about.json" {
			continue
		}
		s := &server{name: path.Dir(name)}
		if err := json.Unmarshal(about, s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, one := range s.Cases {
			if err := one.load(s, files); err != nil {
				return nil, fmt.Errorf("%s: case %s: %w", s.name, one.Case, err)
			}
		}
		c.servers[s.name] = s
	}
	return c, nil
}

// load fills in what about.json says only the place of.
func (c *capture) load(s *server, files map[string][]byte) error {
	if c.Body != "" {
		data, ok := files[path.Join(s.name, c.Body)]
		if !ok {
			return fmt.Errorf("body %s: %w", c.Body, os.ErrNotExist)
		}
		plain := strings.TrimSuffix(c.Body, ".gz")
		if plain != c.Body {
			var err error
			if data, err = gunzip(data); err != nil {
				return err
			}
		}
		c.data, c.ext = data, strings.TrimPrefix(path.Ext(plain), ".")
	}
	if c.URLPath == "" && c.Path == "" {
		return nil
	}
	base, err := url.Parse(s.Base)
	if err != nil {
		return err
	}
	if c.URLPath == "" {
		c.url = &url.URL{Scheme: base.Scheme, Host: base.Host, Path: strings.TrimSuffix(c.Path, "/") + "/"}
		return nil
	}
	if c.url, err = base.Parse(c.URLPath); err != nil {
		return err
	}
	headers := files[path.Join(s.name, c.Case+".headers")]
	at := bytes.Index(headers, []byte("\nHTTP/1."))
	if at < 0 {
		return fmt.Errorf("%s.headers: %w", c.Case, os.ErrNotExist)
	}
	_, fields, _ := bytes.Cut(headers[at+1:], []byte("\n"))
	r := textproto.NewReader(bufio.NewReader(io.MultiReader(bytes.NewReader(fields), strings.NewReader("\r\n\r\n"))))
	mime, err := r.ReadMIMEHeader()
	c.header = http.Header(mime)
	return err
}

func untar(name string) (map[string][]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[path.Clean(h.Name)], err = io.ReadAll(r); err != nil {
			return nil, err
		}
	}
}

func gunzip(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func TestCorpusIsWhole(t *testing.T) {
	c := loadCorpus(t)
	if got, want := len(c.servers), 33; got != want {
		t.Errorf("loadCorpus: %d servers, want %d", got, want)
	}
	for _, s := range c.servers {
		if len(s.Cases) == 0 || s.Captured.IsZero() {
			t.Errorf("%s: %d cases, captured %v, want some of both", s.name, len(s.Cases), s.Captured)
		}
		for _, one := range s.Cases {
			if one.Truth != "" {
				c.truth(t, one.Truth)
			}
			if one.Body != "" && one.URLPath != "" && one.header == nil {
				t.Errorf("%s/%s: no response headers", s.name, one.Case)
			}
		}
	}
}
