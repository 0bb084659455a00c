package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tree is what an upstream has, on disk. Its files are dated long before any test.
type tree struct {
	root  string
	dirs  []string // relative to root; the first is "", the last is empty
	files []string // relative to root; file i lies in dirs[i%(len(dirs)-1)]
}

// oddDirs are how directories are called in turn. Six of them below each directory make a tree of 1,000 four deep.
var oddDirs = []string{"dir-%d", "with space %d", "100%%-%d", "c++%d", "ü-%d", "no#%d"}

// makeTree writes a tree of so many directories below dir, the last of them empty, and so many files of 0 to 8 KiB, each thousandth of them 5 MiB.
func makeTree(t testing.TB, dir string, dirs, files int) *tree {
	t.Helper()
	tr := &tree{root: dir, dirs: []string{""}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= dirs; i++ {
		name := filepath.Join(tr.dirs[(i-1)/len(oddDirs)], fmt.Sprintf(oddDirs[(i-1)%len(oddDirs)], i))
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		tr.dirs = append(tr.dirs, name)
	}
	for i := range files {
		name := fmt.Sprintf("file-%05d.bin", i)
		switch i % 97 {
		case 1:
			name = fmt.Sprintf("a b & <c> %05d", i)
		case 2:
			name = fmt.Sprintf("100%% %%41 c++ %05d~", i)
		case 3:
			name = fmt.Sprintf("große Datei #%05d;v=1", i)
		}
		tr.files = append(tr.files, filepath.Join(tr.dirs[i%dirs], name))
		tr.write(t, i, sizeOf(i), modified.Add(time.Duration(i)*37*time.Second))
	}
	return tr
}

func sizeOf(i int) int {
	if i%1000 == 999 {
		return 5 * mib
	}
	return i * 2654435761 % 8193
}

// write puts a file where it belongs. Its bytes differ with its date.
func (tr *tree) write(t testing.TB, i, size int, at time.Time) {
	t.Helper()
	name := filepath.Join(tr.root, tr.files[i])
	if err := os.WriteFile(name, bytesOf(fmt.Sprintf("%d %d", i, at.Unix()), size), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

// change rewrites a file a year later, every other one with the size that it had.
func (tr *tree) change(t testing.TB, i int) {
	t.Helper()
	tr.write(t, i, sizeOf(i)+i%2*11, modified.Add(8760*time.Hour+time.Duration(i)*time.Second))
}

// remove takes a file or a directory away.
func (tr *tree) remove(t testing.TB, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(tr.root, name)); err != nil {
		t.Fatal(err)
	}
}

// sameTree wants a directory of a root to hold what an upstream's has, byte for byte, and its files' times to the second: what diff -r -x '.zcache*' says, and more.
func sameTree(t testing.TB, what, upstream, held string) {
	t.Helper()
	want, got := namesIn(t, upstream), namesIn(t, held)
	wrong := 0
	report := func(format string, args ...any) {
		t.Helper()
		if wrong++; wrong <= 10 {
			t.Errorf(what+": "+format, args...)
		}
	}
	for name, w := range want {
		switch g, ok := got[name]; {
		case !ok:
			report("%q is not held", name)
		case g != w:
			report("%q is held as %v, want %v", name, g, w)
		case !w.dir && !equalFiles(t, filepath.Join(upstream, name), filepath.Join(held, name)):
			report("%q is held with other bytes", name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			report("%q is held, and not upstream", name)
		}
	}
	if wrong > 10 {
		t.Errorf("%s: and %d more", what, wrong-10)
	}
}

// A place is what is at a name.
type place struct {
	dir  bool
	size int64
	at   int64 // seconds; 0 of a directory
}

func namesIn(t testing.TB, root string) map[string]place {
	t.Helper()
	all := map[string]place{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".zcache") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if info.IsDir() {
			all[rel] = place{dir: true}
		} else {
			all[rel] = place{size: info.Size(), at: info.ModTime().Unix()}
		}
		return err
	})
	if err != nil {
		t.Fatalf("look through %s: %v", root, err)
	}
	return all
}

func equalFiles(t testing.TB, a, b string) bool {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// A toll lets requests through to an origin, each a little late as over a distance, and counts them.
type toll struct {
	t    testing.TB
	addr string
	url  string

	mu     sync.Mutex
	asked  []string // "METHOD target", since the last call of take
	server *http.Server
	pass   http.Handler
}

// startToll passes requests on to an origin, delay later.
func startToll(t testing.TB, to string, delay time.Duration) *toll {
	t.Helper()
	base, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:      func(p *httputil.ProxyRequest) { p.SetURL(base) },
		Transport:    &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	g := &toll{t: t, addr: freeAddr(t)}
	g.url = "http://" + g.addr
	g.pass = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		g.asked = append(g.asked, r.Method+" "+r.RequestURI)
		g.mu.Unlock()
		time.Sleep(delay)
		proxy.ServeHTTP(w, r)
	})
	g.start()
	t.Cleanup(g.stop)
	return g
}

func (g *toll) start() {
	g.t.Helper()
	l, err := net.Listen("tcp", g.addr)
	if err != nil {
		g.t.Fatalf("start toll: %v", err)
	}
	g.server = &http.Server{Handler: g.pass}
	go func(s *http.Server) { _ = s.Serve(l) }(g.server)
}

// stop refuses and breaks all connections.
func (g *toll) stop() { _ = g.server.Close() }

// take gives what was asked for since the last call.
func (g *toll) take() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.asked
	g.asked = nil
	return asked
}

// most wants at most n requests since the last call, and says which there were.
func (g *toll) most(what string, n int) {
	g.t.Helper()
	asked := g.take()
	g.t.Logf("%s: %d requests, may be %d", what, len(asked), n)
	if len(asked) > n {
		g.t.Errorf("%s: %d requests, want at most %d, such as %q", what, len(asked), n, sample(asked))
	}
}

// sample are some of them, the files first.
func sample(asked []string) []string {
	asked = slices.Clone(asked)
	slices.SortStableFunc(asked, func(a, b string) int {
		file := func(s string) int {
			if strings.HasSuffix(s, "/") {
				return 1
			}
			return 0
		}
		return file(a) - file(b)
	})
	return asked[:min(len(asked), 8)]
}

// A mirrorState is what /-/mirror says of a subtree.
type mirrorState struct {
	Name, Status, Error string
	Files, Dirs         int64
	LastUpdateTS        int64 `json:"last_update_ts"`
	LastStartedTS       int64 `json:"last_started_ts"`
	LastEndedTS         int64 `json:"last_ended_ts"`
	NextScheduleTS      int64 `json:"next_schedule_ts"`
	HeldBack            int64 `json:"held_back"`
	Progress, Last      *mirrorFigures
}

type mirrorFigures struct {
	Dirs, Files, Skipped, Same, Fetched, Removed, Denied, Unkept, Failed, Bytes, Requests int64
	LastError                                                                             string `json:"last_error"`
}

func (f *mirrorFigures) String() string { return fmt.Sprintf("%+v", *f) }

// mirrorOf asks how a subtree is.
func (z *zcache) mirrorOf(name string) mirrorState {
	z.t.Helper()
	var m mirrorState
	a := get(z.t, z.url+"/-/mirror?subtree="+url.QueryEscape(name), "Accept: application/json")
	if err := json.Unmarshal(a.Body, &m); err != nil || a.Status != http.StatusOK {
		z.t.Fatalf("GET /-/mirror?subtree=%s = %d %s, %v", name, a.Status, clip(a.Body), err)
	}
	return m
}

// mirrored waits until a subtree's walk has succeeded, and gives what it did.
func (z *zcache) mirrored(name string, within time.Duration) *mirrorFigures {
	z.t.Helper()
	var m mirrorState
	eventually(z.t, within, "walk of "+name+" has succeeded", func() (bool, string) {
		m = z.mirrorOf(name)
		return m.Status == "success" && m.Last != nil, fmt.Sprintf("%s %s %v", m.Status, m.Error, m.Progress)
	})
	return m.Last
}

// walk walks a directory by command, follows that to its end, and wants it to succeed.
func (z *zcache) walk(path string, flags ...string) *mirrorFigures {
	z.t.Helper()
	m, exit, errs := z.tryWalk(path, flags...)
	if exit != 0 || m.Last == nil {
		z.t.Fatalf("zcache walk %s: exit %d, %s %q, %v\n%s", path, exit, m.Status, m.Error, m.Last, errs)
	}
	return m.Last
}

func (z *zcache) tryWalk(path string, flags ...string) (m mirrorState, exit int, errs string) {
	z.t.Helper()
	args := append([]string{"walk", "--server", z.url, "--follow", "--json"}, flags...)
	out, errs, exit := command(z.t, binary, append(args, path)...)
	if err := json.Unmarshal([]byte(out), &m); err != nil && exit == 0 {
		z.t.Fatalf("zcache walk %s says %.300q: %v", path, out, err)
	}
	return m, exit, errs
}

// crawl reads a directory's JSON listing and all below it, and gives the paths of the files, escaped, in order.
func crawl(t testing.TB, base, dir string) (files []string) {
	t.Helper()
	for _, r := range rows(t, base+dir) {
		path := dir + strings.TrimPrefix(r.URL, "./")
		if r.IsDir {
			files = append(files, crawl(t, base, path)...)
		} else {
			files = append(files, path)
		}
	}
	return files
}
