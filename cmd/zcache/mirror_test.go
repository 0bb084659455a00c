package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"zcache/internal/config"
	"zcache/internal/fill"
	"zcache/internal/mirror"
)

// upstreamTree serves a directory with index pages, and notes the paths that it was asked for.
func upstreamTree(t *testing.T, names ...string) (server *httptest.Server, dir string, asked func() []string) {
	t.Helper()
	dir = t.TempDir()
	then := time.Now().Add(-time.Hour)
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("body of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	var paths []string
	files := http.FileServer(http.Dir(dir))
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		paths = append(paths, r.URL.Path)
		mu.Unlock()
		if strings.HasSuffix(r.URL.Path, "/") {
			index(w, filepath.Join(dir, r.URL.Path), r.URL.Path)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server, dir, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(paths)
	}
}

// index is a page as nginx makes it.
func index(w http.ResponseWriter, dir, path string) {
	all, err := os.ReadDir(dir)
	if err != nil {
		http.Error(w, "no such directory", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprintf(w, "<html>\n<head><title>Index of %s</title></head>\n<body>\n<h1>Index of %[1]s</h1><hr><pre><a href=\"../\">../</a>\n", path)
	for _, e := range all {
		info, err := e.Info()
		if err != nil {
			continue
		}
		name, size := e.Name(), fmt.Sprint(info.Size())
		if e.IsDir() {
			name, size = name+"/", "-"
		}
		fmt.Fprintf(w, "<a href=\"%s\">%[1]s</a>%*s %s %19s\n", name, max(50-len(name), 0), "", info.ModTime().UTC().Format("02-Jan-2006 15:04"), size)
	}
	io.WriteString(w, "</pre><hr></body>\n</html>\n")
}

// serving runs a server with this configuration file until the test ends, and returns its URL and how to have it read the file anew.
func serving(t *testing.T, text string) (base string, write func(text string)) {
	t.Helper()
	t.Chdir(t.TempDir())
	root := t.TempDir() // by its whole name: verbs run in directories of their own
	write = func(text string) {
		t.Helper()
		if err := os.WriteFile("zcache.toml", fmt.Appendf(nil, "root = %q\n%s", root, text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(text)
	a := &app{}
	a.commands()
	cfg, err := a.flags.Load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	h := hooks{load: a.flags.Load, listening: func(addrs []net.Addr) { ready <- "http://" + addrs[0].String() }}
	go func() { ended <- runServe(ctx, cfg, slog.New(slog.DiscardHandler), h) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("runServe: %v", err)
		}
	})
	select {
	case base = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("runServe: %v", err)
	}
	return base, write
}

// get is the status and the body of an answer.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// subtreeStates is what /-/mirror tells: the subtrees by name, with their states.
func subtreeStates(t *testing.T, base string) map[string]string {
	t.Helper()
	c := &client{base: base, http: http.DefaultClient}
	answer, err := c.call(t.Context(), http.MethodGet, "/-/mirror", nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []walkStatus
	if err := json.Unmarshal(answer, &all); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, w := range all {
		states[w.Name] = w.Status
	}
	return states
}

// eventually waits for a fact.
func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !fact(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}

func TestATouchMirrorsItsSubtree(t *testing.T) {
	up, _, asked := upstreamTree(t, "a/one.txt", "a/two.txt", "a/deep/er/three.txt", "a/skip/four.txt", "b/other.txt")
	base, _ := serving(t, "mode = \"mirror\"\nlisten = \"127.0.0.1:0\"\nmirror-subtree = \"/k/a/\"\n[[hub]]\nname = \"k\"\nupstream = \""+up.URL+"\"\nmirror-exclude = \"skip/\"\n")
	if status, _ := get(t, base+"/k/b/other.txt"); status != 200 || subtreeStates(t, base)["/k/a"] != mirror.StateNone {
		t.Errorf("a touch outside: %d, %v, want 200 and no walk", status, subtreeStates(t, base))
	}
	if status, body := get(t, base+"/k/a/one.txt"); status != 200 || body != "body of a/one.txt" {
		t.Errorf("GET one.txt = %d %q", status, body)
	}
	eventually(t, "the touched subtree is walked", func() bool { return subtreeStates(t, base)["/k/a"] == mirror.StateSuccess })
	for _, path := range asked() {
		if strings.HasPrefix(path, "/a/skip") {
			t.Errorf("asked for %s, which is excluded", path)
		}
	}
	up.Close()
	for path, want := range map[string]int{"/k/a/two.txt": 200, "/k/a/deep/er/three.txt": 200, "/k/a/deep/er/": 200, "/k/a/skip/four.txt": 504} {
		if status, _ := get(t, base+path); status != want {
			t.Errorf("GET %s without the upstream = %d, want %d", path, status, want)
		}
	}
}

func TestAReloadPutsSubtreesInForce(t *testing.T) {
	up, _, _ := upstreamTree(t, "a/one.txt", "b/two.txt")
	const head = "listen = \"127.0.0.1:0\"\nmode = \"mirror\"\n"
	hub := "[[hub]]\nname = \"k\"\nupstream = \"" + up.URL + "\"\n"
	base, write := serving(t, head+hub+"mirror = \"a\"\n")
	reload := func(text string) {
		t.Helper()
		write(text)
		c := &client{base: base, http: http.DefaultClient}
		if _, err := c.call(t.Context(), http.MethodPost, "/-/reload", nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ claim, text, want string }{
		{"at the start", head + hub + "mirror = \"a\"\n", "/k/a"},
		{"one more and one less", head + hub + "mirror = [\"b\", \"c\"]\n", "/k/b /k/c"},
		{"a change of the mode waits for the next start", strings.Replace(head, "mirror", "cache", 1) + hub, "/k/b /k/c"},
		{"and is forgotten when it is taken back", head + hub, "/k"},
	} {
		reload(row.text)
		var names []string
		for name := range subtreeStates(t, base) {
			names = append(names, name)
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != row.want {
			t.Errorf("%s: subtrees %s, want %s", row.claim, got, row.want)
		}
	}
}

func TestACommandWalksInCacheMode(t *testing.T) {
	up, dir, _ := upstreamTree(t, "a/one.txt", "a/two.txt")
	base, _ := serving(t, "listen = \"127.0.0.1:0\"\n[[hub]]\nname = \"k\"\nupstream = \""+up.URL+"\"\n")
	if code, out, errs := invoke(t, "", "walk", "/k/a", "--follow", "--server", base); code != 0 || !strings.Contains(out, "2 fetched") {
		t.Errorf("walk: exit %d, %q, %q", code, out, errs)
	}
	if err := os.Remove(filepath.Join(dir, "a/two.txt")); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke(t, "", "walk", "/k/a", "--follow", "--server", base); code != 0 || !strings.Contains(out, "1 to the trash") {
		t.Errorf("walk after a removal: exit %d, %q, %q", code, out, errs)
	}
	if code, out, errs := invoke(t, "", "trash", "list", "/k", "--server", base); code != 0 || !strings.Contains(out, "/k/a/two.txt") {
		t.Errorf("trash list: exit %d, %q, %q", code, out, errs)
	}
	up.Close()
	if code, out, errs := invoke(t, "", "trash", "restore", "/k/a/two.txt", "--server", base); code != 0 || out != "restored /k/a/two.txt: 1 entry\n" {
		t.Errorf("trash restore: exit %d, %q, %q", code, out, errs)
	}
	if status, body := get(t, base+"/k/a/two.txt"); status != 200 || body != "body of a/two.txt" {
		t.Errorf("GET what was restored = %d %q", status, body)
	}
}

func TestCheckConfigTellsWhatIsMirrored(t *testing.T) {
	hubs := "--upstream=a=http://a.example/,b=http://b.example/"
	for _, row := range []struct {
		claim string
		args  []string
		want  string
	}{
		{"all hubs", []string{"--mode=mirror", hubs}, "mirrored when used, at most every 1h0m0s: /a, /b\n"},
		{"what is named", []string{"--mode=mirror", "--mirror-min-interval=10m", "--mirror-subtree=b/x/", hubs}, "mirrored when used, at most every 10m0s: /b/x\n"},
		{"nothing", []string{"--mode=mirror"}, "mirrored when used, at most every 1h0m0s: nothing; name a directory with --mirror-subtree\n"},
		{"what does nothing", []string{"--mirror-subtree=/b", hubs}, "does nothing in mode cache: mirror-subtree\n"},
	} {
		code, out, errs := invoke(t, "", append([]string{"check-config"}, row.args...)...)
		if code != 0 || !strings.Contains(out, row.want) {
			t.Errorf("%s: check-config %q: exit %d, %q (%s), want %q in it", row.claim, row.args, code, out, errs, row.want)
		}
	}
	var told struct {
		Mirror []config.Subtree `json:"mirror"`
		Trash  string           `json:"trash_ttl"`
	}
	code, out, errs := invoke(t, "", "check-config", "--json", "--mode=mirror", "--mirror-subtree=b/x/", hubs)
	err := json.Unmarshal([]byte(out), &told)
	if want := []config.Subtree{{Name: "/b/x", Hub: "b", Path: "/x/"}}; code != 0 || err != nil || !slices.Equal(told.Mirror, want) || told.Trash != "24h0m0s" {
		t.Errorf("check-config --json: exit %d, %v, %v, trash for %s (%s), want %v", code, err, told.Mirror, told.Trash, errs, want)
	}
}

func TestEveryOutcomeOfAFetchHasItsWord(t *testing.T) {
	for o, want := range map[fill.SyncOutcome]string{
		fill.SyncSame: "same", fill.SyncStored: "stored", fill.SyncGone: "gone", fill.SyncDenied: "denied", fill.SyncLimited: "limited",
		fill.SyncElsewhere: "elsewhere", fill.SyncUnkept: "unkept",
	} {
		if got, ok := outcomes[o]; !ok || got.String() != want {
			t.Errorf("outcome %d = %s, %v, want %s", o, got, ok, want)
		}
	}
}

func TestTrashKeepsNothingAtZero(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": -1, "12h": 12 * time.Hour} {
		cfg, err := config.Parse("--trash-ttl=" + text)
		if got := trashTTL(cfg.TrashTTL); err != nil || got != want {
			t.Errorf("trashTTL of %s = %s, %v, want %s", text, got, err, want)
		}
	}
}
