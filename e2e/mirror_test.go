package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tree that the mirror's figures are for, and how far its upstream is away.
const (
	treeDirs  = 1000
	treeFiles = 20_000
	away      = 5 * time.Millisecond
)

// A twoMirrors is a mirror of nginx, and a mirror of that mirror, with a toll before each of their upstreams.
type twoMirrors struct {
	t      testing.TB
	n      *nginx
	tree   *tree
	tolls  [2]*toll
	mirror [2]*zcache
}

func startTwoMirrors(t testing.TB, dirs, files int) *twoMirrors {
	t.Helper()
	n := startNginx(t, "autoindex on;")
	m := &twoMirrors{t: t, n: n, tree: makeTree(t, filepath.Join(n.tree, "pub"), dirs, files)}
	upstream := n.url + "/pub"
	for i := range m.mirror {
		m.tolls[i] = startToll(t, upstream, away)
		m.mirror[i] = start(t, "--mode", "mirror", "--mirror-parallel", "16", "--log-level", "warn", "--upstream", "up="+m.tolls[i].url, "--mirror-subtree", "/up")
		upstream = m.mirror[i].url + "/up"
		m.tolls[i].take()
	}
	return m
}

// same wants both mirrors to hold what nginx has.
func (m *twoMirrors) same(what string) {
	m.t.Helper()
	for i, z := range m.mirror {
		sameTree(m.t, fmt.Sprintf("%s, mirror %d", what, i+1), m.tree.root, z.path("up", ""))
	}
}

func TestMirror(t *testing.T) {
	m := startTwoMirrors(t, treeDirs, treeFiles)
	phase := func(what string, f func(t *testing.T)) {
		t.Helper()
		began := time.Now()
		if !t.Run(what, f) {
			t.FailNow() // what follows builds on it
		}
		t.Logf("%s: %s", what, time.Since(began).Round(time.Millisecond))
	}
	phase("one request brings the whole tree", m.first)
	phase("an unchanged tree costs one request a directory", m.unchanged)
	phase("a mirror of the mirror is the same", m.second)
	phase("exactly what changed is fetched and removed", m.changed)
	phase("all is there without the upstream", m.alone)
}

func (m *twoMirrors) first(t *testing.T) {
	z := m.mirror[0]
	a := get(t, z.url+"/up/"+url.PathEscape(m.tree.files[0])).is(t, "the first request", 200, "MISS")
	if a.Took > 5*time.Second {
		t.Errorf("the first request took %v: it waited for the walk", a.Took)
	}
	did := z.mirrored("/up", 2*time.Minute)
	t.Log(did)
	if did.Files != treeFiles || did.Dirs != treeDirs+1 || did.Failed+did.Unkept+did.Denied != 0 || did.Removed != 0 {
		t.Errorf("the first walk says %v, want %d files in %d directories", did, treeFiles, treeDirs+1)
	}
	m.tolls[0].most("the first walk", 21_050)
	sameTree(t, "after the first walk", m.tree.root, z.path("up", ""))
	if out, errs, exit := command(t, "diff", "-r", "-x", ".zcache*", m.tree.root, z.path("up", "")); exit != 0 {
		t.Errorf("diff -r says %d: %.500s%s", exit, out, errs)
	}
}

func (m *twoMirrors) unchanged(t *testing.T) {
	did := m.mirror[0].walk("/up")
	if did.Fetched != 0 || did.Same != 0 || did.Removed != 0 || did.Skipped != treeFiles {
		t.Errorf("walk of an unchanged tree: %v, want %d skipped and nothing else", did, treeFiles)
	}
	m.tolls[0].most("the unchanged walk", treeDirs+1)
}

func (m *twoMirrors) second(t *testing.T) {
	z := m.mirror[1]
	did := z.walk("/up")
	if did.Files != treeFiles || did.Dirs != treeDirs+1 || did.Failed+did.Unkept+did.Denied != 0 {
		t.Errorf("the first walk behind a mirror says %v, want %d files in %d directories", did, treeFiles, treeDirs+1)
	}
	m.tolls[1].most("the first walk behind a mirror", 21_050)
	m.tolls[0].most("the first, while it was mirrored", 0)
	m.same("mirrored twice")
	did = z.walk("/up")
	if did.Fetched != 0 || did.Removed != 0 || did.Files != treeFiles {
		t.Errorf("the unchanged walk behind a mirror says %v", did)
	}
	m.tolls[1].most("the unchanged walk behind a mirror", 1)
	m.tolls[0].most("the first, while nothing had changed", 0)
}

// changed has 1 % of the files rewritten, half of them with their old size, and 0.5 % gone, two whole directories among them. All that lies in a few places
// of the tree, as a release does.
func (m *twoMirrors) changed(t *testing.T) {
	tr, touched := m.tree, map[string]bool{}
	changed, gone := 0, 0
	for i, f := range tr.files {
		switch d := i % treeDirs; {
		case d >= 400 && d < 440 && i/treeDirs < 5:
			tr.change(t, i)
			changed++
		case d >= 440 && d < 452 && i/treeDirs < 5:
			tr.remove(t, f)
			gone++
		case d == 980 || d == 990:
			tr.remove(t, tr.dirs[d])
			gone++
		default:
			continue
		}
		for dir := filepath.Dir(f); !touched[dir]; dir = filepath.Dir(dir) {
			touched[dir] = true
		}
	}
	entered := 1 // the root, and whatever lies in a directory at or below which something changed
	for _, dir := range tr.dirs[1:] {
		if touched[filepath.Dir(dir)] && dir != tr.dirs[980] && dir != tr.dirs[990] {
			entered++
		}
	}
	if changed != treeFiles/100 || gone != treeFiles/200 || entered > treeDirs/5 {
		t.Fatalf("%d changed, %d gone, %d directories to be asked for: this test is of no use", changed, gone, entered)
	}
	left := int64(treeFiles - gone)
	for i, z := range m.mirror {
		did := z.walk("/up")
		t.Log(did)
		if did.Fetched != int64(changed) || did.Removed != int64(gone) || did.Files != left || did.Same != 0 || did.Failed != 0 {
			t.Errorf("mirror %d after the change: %v, want %d fetched, %d removed and %d files", i+1, did, changed, gone, left)
		}
		m.tolls[i].most(fmt.Sprintf("mirror %d after the change", i+1), changed+[]int{treeDirs + 1 - 2, entered}[i])
	}
	m.same("after the change")
	if did := m.mirror[1].walk("/up"); did.Fetched+did.Removed+did.Same != 0 {
		t.Errorf("mirror 2 once more: %v", did)
	}
	m.tolls[1].most("mirror 2 once more", 1)
}

// alone has no upstream any more. A seeded choice of files stands for all of them: what is held of all was compared before.
func (m *twoMirrors) alone(t *testing.T) {
	m.n.stop()
	m.tolls[0].stop()
	m.tolls[1].stop()
	for i, z := range m.mirror {
		files := crawl(t, z.url, "/up/")
		pick := rand.New(rand.NewPCG(1, uint64(i)))
		for range 200 {
			path := files[pick.IntN(len(files))]
			name, err := url.PathUnescape(strings.TrimPrefix(path, "/up/"))
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join(m.tree.root, name))
			if err != nil {
				t.Fatalf("mirror %d lists what upstream has not: %v", i+1, err)
			}
			a := get(t, z.url+path).whole(t, path, want)
			if c := a.cache(); !slices.Contains([]string{"HIT", "STALE", "OFFLINE"}, c) {
				t.Errorf("mirror %d without its upstream: %s is a %s", i+1, path, c)
			}
		}
		if want := treeFiles - treeFiles/200; len(files) != want {
			t.Errorf("mirror %d without its upstream lists %d files, want %d", i+1, len(files), want)
		}
	}
}

func TestMirrorAccessTriggered(t *testing.T) {
	for _, way := range []struct {
		name string
		ask  func(t *testing.T, z *zcache, upstream, path string) answer
	}{
		{"a file of the gateway", func(t *testing.T, z *zcache, _, path string) answer { return get(t, z.url+"/up/"+path) }},
		{"a file by the forward proxy", func(t *testing.T, z *zcache, upstream, path string) answer {
			return proxied(t, z, "GET", upstream+"/"+path)
		}},
		{"a directory", func(t *testing.T, z *zcache, _, path string) answer {
			return get(t, z.url+"/up/"+path[:strings.LastIndexByte(path, '/')+1])
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			n := startNginx(t, "autoindex on;")
			tr := makeTree(t, filepath.Join(n.tree, "pub", "sub"), 20, 200)
			n.put("pub/aside/x", []byte("x"))
			g := startToll(t, n.url, 0)
			z := start(t, "--mode", "mirror", "--upstream", "up="+g.url+"/pub", "--mirror-subtree", "/up/sub")
			g.take()
			get(t, z.url+"/up/aside/x").is(t, "a file elsewhere", 200, "MISS")
			g.most("a file elsewhere", 1)
			if s := z.mirrorOf("/up/sub").Status; s != "none" {
				t.Errorf("a touch outside the subtree started a walk: %s", s)
			}
			way.ask(t, z, g.url+"/pub", "sub/"+escaped(tr.files[1])).is(t, "the touch", 200, "MISS")
			did := z.mirrored("/up/sub", time.Minute)
			g.most("the touch, and the walk that it started", 1+21+200)
			sameTree(t, "after the walk that a touch started", tr.root, z.path("up", "sub"))
			g.stop()
			n.stop()
			if files := crawl(t, z.url, "/up/sub/"); len(files) != 200 {
				t.Errorf("without the upstream %d files are listed, want 200", len(files))
			}
			for i, f := range tr.files {
				want, err := os.ReadFile(filepath.Join(tr.root, f))
				if err != nil {
					t.Fatal(err)
				}
				if a := get(t, z.url+"/up/sub/"+escaped(f)).whole(t, f, want); a.cache() != "HIT" {
					t.Errorf("file %d without the upstream: X-Cache %s", i, a.cache())
				}
			}
			// A walk that one of these touches had started would have failed.
			if after := z.mirrorOf("/up/sub"); after.Status != "success" || *after.Last != *did {
				t.Errorf("after touches within the interval: %+v with %v, want the walk of before: %v", after, after.Last, did)
			}
		})
	}
}

// escaped is a relative path as in a URL.
func escaped(path string) string { return (&url.URL{Path: "/" + path}).EscapedPath()[1:] }

func TestMirrorThatNobodyUsesAsksNothing(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	makeTree(t, filepath.Join(n.tree, "pub"), 5, 20)
	g := startToll(t, n.url, 0)
	z := start(t, "--mode", "mirror", "--upstream", "up="+g.url+"/pub", "--mirror-min-interval", "1s")
	if did := z.walk("/up"); did.Fetched != 20 {
		t.Errorf("walk by command: %v, want 20 fetched", did)
	}
	g.most("the walk by command", 26)
	walked := z.mirrorOf("/up")
	eventually(t, waitShort, "a touch would start a walk", func() (bool, string) {
		return time.Now().Unix() > walked.NextScheduleTS, fmt.Sprint(walked.NextScheduleTS)
	})
	g.most("a tree that is due and not used", 0)
	get(t, z.url+"/up/file-00000.bin").is(t, "the touch", 200, "HIT")
	eventually(t, waitShort, "the touch has started a walk", func() (bool, string) {
		m := z.mirrorOf("/up")
		return m.Status == "success" && m.LastEndedTS > walked.LastEndedTS, fmt.Sprintf("%+v", m)
	})
	g.most("the walk of the touch", 6)
}

func TestMirrorSettingsDoNothingInCacheMode(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	makeTree(t, filepath.Join(n.tree, "pub"), 5, 20)
	g := startToll(t, n.url, 0)
	z := start(t, "--upstream", "up="+g.url+"/pub", "--mirror-subtree", "/up", "--mirror-min-interval", "1s")
	get(t, z.url+"/up/file-00000.bin").is(t, "a file", 200, "MISS")
	z.published("up", "file-00000.bin", int64(sizeOf(0)))
	// Had it started a walk, this one would be refused, or would find more than the one file.
	if did := z.walk("/up"); did.Fetched != 19 || did.Files != 20 {
		t.Errorf("walk by command: %v, want 19 of 20 files fetched", did)
	}
	g.most("a file and a walk by command", 1+6+20)
}

// A coarse origin lists less than can be known of its files: /pub/old.bin, which never changes, and /pub/new.bin, which changes within a minute. Its clock stands still
// while it does.
type coarse struct {
	mu       sync.Mutex
	form     string // of a row: of a name, and of the minute
	now, at  time.Time
	size, nr int
}

const coarseHead = `<html><head><title>Index of /pub</title></head><body><h1>Index of /pub</h1>
<pre>      <a href="?C=N;O=D">Name</a>  <a href="?C=M;O=A">Last modified</a>  <a href="?C=S;O=A">Size</a><hr>      <a href="/">Parent Directory</a>                             -
`

func (c *coarse) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Date", c.now.UTC().Format(http.TimeFormat))
	switch r.URL.Path {
	case "/pub/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, coarseHead)
		fmt.Fprintf(w, c.form, "new.bin", c.at.UTC().Format("2006-01-02 15:04"))
		fmt.Fprintf(w, c.form, "old.bin", modified.UTC().Format("2006-01-02 15:04"))
		fmt.Fprint(w, "<hr></pre></body></html>\n")
	case "/pub/old.bin":
		w.Header().Set("ETag", `"old"`)
		http.ServeContent(w, r, "", modified, bytes.NewReader(bytesOf("old", 1200)))
	case "/pub/new.bin":
		w.Header().Set("ETag", strconv.Quote(strconv.Itoa(c.nr)))
		http.ServeContent(w, r, "", c.at, bytes.NewReader(c.body()))
	default:
		http.NotFound(w, r)
	}
}

func (c *coarse) body() []byte { return bytesOf(strconv.Itoa(c.nr), c.size) }

// replace has another new.bin from now on, and gives it.
func (c *coarse) replace(at time.Time, size int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.at, c.size = at, at, size
	c.nr++
	return c.body()
}

func TestMirrorOfAMirrorOfACoarseListingSkipsNothingThatChanged(t *testing.T) {
	for _, row := range []struct {
		name, form string
		settled    int // requests for what has not changed for long, each walk
	}{
		{"rounded sizes and local minutes", `      <a href="%[1]s">%[1]s</a>                  %[2]s  1.2K  ` + "\n", 0},
		{"names alone", `      <a href="%[1]s">%[1]s</a>` + "%.[2]s\n", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now().Truncate(time.Minute)
			c := &coarse{form: row.form}
			want := c.replace(began, 1230)
			origin := httptest.NewServer(c)
			t.Cleanup(origin.Close)
			upstream := origin.URL + "/pub"
			var tolls []*toll
			var mirrors []*zcache
			for range 2 {
				g := startToll(t, upstream, 0)
				z := start(t, "--mode", "mirror", "--upstream", "up="+g.url)
				g.take()
				tolls, mirrors = append(tolls, g), append(mirrors, z)
				upstream = z.url + "/up"
			}
			walks := func(what string, fetched int64, most ...int) {
				t.Helper()
				for i, z := range mirrors {
					if did := z.walk("/up"); did.Fetched != fetched || did.Files != 2 {
						t.Errorf("%s: mirror %d: %v, want %d fetched", what, i+1, did, fetched)
					}
					if got, ok := z.held("up", "new.bin"); !ok || !bytes.Equal(got, want) {
						t.Errorf("%s: mirror %d holds %d other bytes of new.bin, want %d", what, i+1, len(got), len(want))
					}
				}
				for i, g := range tolls {
					g.most(fmt.Sprintf("%s, mirror %d", what, i+1), most[i])
				}
			}
			// What has just changed is never fresh: when mirror 2 asks for it, mirror 1 asks once more.
			walks("at first", 2, 3+1, 3)
			want = c.replace(began.Add(time.Second), 1240)
			walks("another size that is shown alike, in the same minute", 1, 2+row.settled+1, 2)
			want = c.replace(began.Add(time.Second), 1240)
			walks("the same size, in the same second", 1, 2+row.settled+1, 2)
			walks("unchanged", 0, 2+row.settled, 1)
		})
	}
}
