package mirror

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
	"zcache/internal/listing"
)

// A file is what the upstream of a test has at a path.
type file struct {
	body     string
	modified time.Time
}

// A world is an upstream, a store and the clock of both. What it answers is stored as a filler would store it.
type world struct {
	t     *testing.T
	tree  *cache.Tree
	root  *durable.Root
	ticks atomic.Int64 // what the clock shows, in Unix nanoseconds

	mu    sync.Mutex
	files map[string]file // by path, without the first slash; directories are those that files lie in
	late  map[string]file // what is answered in place of files, as a cache before them would
	empty map[string]bool // directories without files; their paths end in a slash
	// dialect writes the page of a directory.
	dialect func(w *world, dir string, names []string) (kind, body string)
	answer  map[string]func() (Answer, error) // in place of the ordinary one, by path
	every   func(path string) (Answer, error, bool)
	asked   []string
	digest  map[string]string // what directories send as Zcache-Subtree
	asOf    time.Time         // what they say it is true of
	hold    chan struct{}     // every question takes one, when not nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, files: map[string]file{}, empty: map[string]bool{},
		dialect: minutes, answer: map[string]func() (Answer, error){}, digest: map[string]string{},
	}
	w.ticks.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).UnixNano())
	dir := t.TempDir()
	var err error
	if w.tree, err = cache.OpenTree(cache.Config{Dir: dir, Now: w.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.tree.Close() })
	if w.root, err = durable.OpenRoot(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.root.Close() })
	return w
}

func (w *world) now() time.Time { return time.Unix(0, w.ticks.Load()).UTC() }

func (w *world) pass(d time.Duration) { w.ticks.Add(int64(d)) }

// put gives the upstream a file, changed an hour ago unless a time is given.
func (w *world) put(name, body string, modified ...time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := file{body, w.now().Add(-time.Hour)}
	if len(modified) > 0 {
		f.modified = modified[0]
	}
	w.files[name] = f
}

func (w *world) drop(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.files, name)
}

// names are what lies in a directory, those of directories with a slash.
func (w *world) names(dir string) (names []string, any bool) {
	for _, m := range []map[string]bool{w.empty} {
		for name := range m {
			if rest, ok := strings.CutPrefix(name, dir); ok {
				any = true
				if rest != "" {
					first, _, _ := strings.Cut(rest, "/")
					names = append(names, first+"/")
				}
			}
		}
	}
	for name := range w.files {
		if rest, ok := strings.CutPrefix(name, dir); ok {
			any = true
			first, _, below := strings.Cut(rest, "/")
			if below {
				first += "/"
			}
			names = append(names, first)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), any || dir == ""
}

// minutes is the page of a server that shows exact sizes and minutes, of an unknown zone.
func minutes(w *world, dir string, names []string) (kind, body string) {
	var b strings.Builder
	fmt.Fprintf(&b, "<html><head><title>Index of /%s</title></head><body><h1>Index of /%s</h1><hr><pre><a href=\"../\">../</a>\n", dir, dir)
	for _, name := range names {
		shown, size := "01-Jan-2026 00:00", "-"
		if f, ok := w.files[dir+name]; ok {
			shown, size = f.modified.UTC().Format("02-Jan-2006 15:04"), strconv.Itoa(len(f.body))
		}
		fmt.Fprintf(&b, "<a href=\"%s\">%s</a>    %s    %s\n", href(name), name, shown, size)
	}
	return "text/html", b.String() + "</pre><hr></body></html>\n"
}

// href is a name as pages have it.
func href(name string) string {
	bare, dir := strings.CutSuffix(name, "/")
	if href := listing.EscapeName(bare); !dir {
		return href
	}
	return listing.EscapeName(bare) + "/"
}

// exact is the listing of another zcache: sizes and seconds.
func exact(w *world, dir string, names []string) (kind, body string) {
	var b strings.Builder
	err := listing.WriteJSON(&b, func(yield func(listing.Row) bool) {
		for _, name := range names {
			e := listing.Entry{Name: strings.TrimSuffix(name, "/"), Kind: listing.Dir, Size: -1}
			if f, ok := w.files[dir+name]; ok {
				e = listing.Entry{Name: name, Kind: listing.File, Size: int64(len(f.body)), SizeExact: true, ModTime: f.modified.UTC().Truncate(time.Second), Step: time.Second, ZoneKnown: true}
			}
			if !yield(listing.Row{Entry: e}) {
				return
			}
		}
	})
	if err != nil {
		w.t.Error(err)
	}
	return "application/json", b.String()
}

// bare is a page of names alone.
func bare(w *world, dir string, names []string) (kind, body string) {
	var b strings.Builder
	fmt.Fprintf(&b, "<html><head><title>Index of /%s</title></head><body><h1>Index of /%s</h1><ul><li><a href=\"../\">../</a></li>\n", dir, dir)
	for _, name := range names {
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a></li>\n", href(name), name)
	}
	return "text/html", b.String() + "</ul></body></html>\n"
}

// Listing is described at Refresher.
func (w *world) Listing() http.Header { return http.Header{} }

// Refresh is described at Refresher.
func (w *world) Refresh(ctx context.Context, a Ask) (Answer, error) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return Answer{}, context.Cause(ctx)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name := strings.TrimPrefix(pathOf(a.Key), "/")
	if a.Key.IsDir() && name != "" {
		name += "/"
	}
	w.asked = append(w.asked, "/"+name)
	if f := w.answer["/"+name]; f != nil {
		return f()
	}
	if w.every != nil {
		if ans, err, ok := w.every("/" + name); ok {
			return ans, err
		}
	}
	if a.Key.IsDir() {
		return w.list(a, name)
	}
	f, ok := w.files[name]
	if old, cached := w.late[name]; cached {
		f = old
	}
	if !ok {
		return Answer{Outcome: Gone, Status: 404}, nil
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(f.body)))
	h := http.Header{"Etag": {tag}, "Last-Modified": {f.modified.UTC().Format(http.TimeFormat)}, "Date": {w.now().UTC().Format(http.TimeFormat)}}
	if e, err := w.tree.Open(a.Key, nil); err == nil {
		defer e.Close()
		if e.Meta.ETag() == tag && !e.Adopted {
			m := *e.Meta
			m.Row, m.Received, m.Header = a.Row, w.now(), h
			return Answer{Outcome: Same, Status: 304}, w.tree.Freshen(e, &m)
		}
	}
	return w.store(a, &cache.Meta{Status: 200, Header: h, ModTime: f.modified.Truncate(time.Second), Row: a.Row}, f.body)
}

func pathOf(key cache.Key) string {
	names := []string{}
	for k := key; k.Path() != "/"; k = k.Parent() {
		names = append(names, k.Name())
	}
	slices.Reverse(names)
	return "/" + strings.Join(names, "/")
}

func (w *world) list(a Ask, name string) (Answer, error) {
	names, ok := w.names(name)
	if !ok {
		return Answer{Outcome: Gone, Status: 404}, nil
	}
	h := http.Header{}
	if d := w.digest["/"+name]; d != "" {
		if a.Subtree == d {
			return Answer{Outcome: Same, Status: 304, AsOf: w.asOf}, nil
		}
		h.Set("Zcache-Subtree", `"`+d+`"; as-of=@1; complete=?1`)
	}
	kind, body := w.dialect(w, name, names)
	h.Set("Content-Type", kind)
	return w.store(a, &cache.Meta{Status: 200, Header: h, Listing: true, ModTime: w.now()}, body)
}

// store keeps an answer.
func (w *world) store(a Ask, m *cache.Meta, body string) (Answer, error) {
	m.Asked, m.Received, m.Stored, m.Size = w.now(), w.now(), w.now(), int64(len(body))
	m.URL = "http://upstream.example" + a.Key.Path()
	d, err := w.tree.Create(a.Key, m)
	if err != nil {
		return Answer{}, err
	}
	if _, err := d.Write([]byte(body)); err != nil {
		return Answer{}, err
	}
	e, err := d.Commit(m)
	if err != nil {
		return Answer{}, err
	}
	defer e.Close()
	if a.Key.IsDir() && !e.Meta.Listing {
		return Answer{}, cache.ErrNoListing
	}
	return Answer{Outcome: Stored, Status: 200, Bytes: int64(len(body))}, nil
}

func (w *world) key(p string) cache.Key {
	w.t.Helper()
	k, err := cache.ParseKey("hub", p, "", false)
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// scheduler returns one that nothing runs: its walk is called by hand.
func (w *world) scheduler(change func(*Config)) *Scheduler {
	w.t.Helper()
	cfg := Config{Store: w.tree, Refresher: w, Root: w.root, Now: w.now, MaxPurge: 0.2, Free: w.tree.Free}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// walk walks "/" of the hub and returns its figures.
func (w *world) walk(s *Scheduler, change func(*job)) (Figures, error) {
	w.t.Helper()
	w.pass(time.Second)
	j := &job{sub: Subtree{Name: "/hub", Dir: w.key("/")}, began: w.now(), rules: s.inForce, progress: &progress{started: w.now()}}
	if change != nil {
		change(j)
	}
	w.mu.Lock()
	w.asked = nil
	w.mu.Unlock()
	_, err := s.walk(context.Background(), j)
	return j.figures(w.now()), err
}

// questions are what the last walk asked for, in order of names.
func (w *world) questions() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.asked))
}

// same fails unless what is held below a directory is what the upstream has.
func (w *world) same() {
	w.t.Helper()
	held := map[string]string{}
	err := w.tree.List(context.Background(), w.key("/"), func(k cache.Key, _ cache.Info) bool {
		if k.IsDir() {
			return true
		}
		e, err := w.tree.Open(k, nil)
		if err != nil {
			w.t.Errorf("Open(%s) = %v", k, err)
			return true
		}
		defer e.Close()
		b := make([]byte, e.Size())
		if _, err := e.ReadAt(b, 0); err != nil && len(b) > 0 {
			w.t.Errorf("ReadAt of %s = %v", k, err)
		}
		held[strings.TrimPrefix(pathOf(k), "/")] = string(b)
		return true
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for name, f := range w.files {
		if body, ok := held[name]; !ok || body != f.body {
			w.t.Errorf("held of %s: %q (%v), want %q", name, body, ok, f.body)
		}
		delete(held, name)
	}
	for name := range held {
		w.t.Errorf("%s is held, and gone upstream", name)
	}
	for dir := range w.empty {
		if _, _, err := w.tree.Peek(w.key("/" + dir)); err != nil {
			w.t.Errorf("Peek(/%s) = %v, want the listing of an empty directory", dir, err)
		}
	}
}

var errAway = errors.New("connection refused")
