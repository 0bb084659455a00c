package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A row is one entry of a listing in JSON.
type row struct {
	Name      string
	Size      *int64
	URL       string     `json:"url"`
	ModTime   *time.Time `json:"mod_time"`
	Mode      uint32
	IsDir     bool `json:"is_dir"`
	IsSymlink bool `json:"is_symlink"`
	Cached    string
	SizeExact bool `json:"size_exact"`
	Step      int  `json:"mod_time_step"`
	ZoneKnown bool `json:"zone_known"`
}

// rows asks for a directory as JSON.
func rows(t testing.TB, url string, fields ...string) []row {
	t.Helper()
	a := get(t, url, append([]string{"Accept: application/json"}, fields...)...)
	if a.Status != http.StatusOK || a.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("GET %s as JSON: %d %s %.200s", url, a.Status, a.Header.Get("Content-Type"), a.Body)
	}
	var all []row
	if err := json.Unmarshal(a.Body, &all); err != nil {
		t.Fatalf("GET %s as JSON: %v: %.300s", url, err, a.Body)
	}
	return all
}

// brief is a row in short: name, size, state.
func brief(all []row) (out []string) {
	for _, r := range all {
		size := "-"
		if r.Size != nil {
			size = fmt.Sprint(*r.Size)
		}
		out = append(out, r.Name+" "+size+" "+r.Cached)
	}
	return out
}

func wantRows(t testing.TB, what string, got []row, want ...string) {
	t.Helper()
	if b := brief(got); !slices.Equal(b, want) {
		t.Errorf("%s: rows %q, want %q", what, b, want)
	}
}

// forest puts a tree of files with awkward names under n and returns their paths.
func forest(n *nginx) []string {
	paths := []string{
		"pub/README", "pub/a-1.0.tar.gz", "pub/a-1.0.tar.gz.sig", "pub/v1.9/x.bin", "pub/v1.10/y.bin", "pub/v1.10/deep/er/z.bin",
		"pub/with space/<script>alert 1<&script>\".txt", "pub/with space/100%.txt", "pub/with space/a#b?c=d;e.txt", "pub/émoji-😀/ü.txt",
	}
	for i, p := range paths {
		n.put(p, bytesOf(p, 100+i))
	}
	return paths
}

func TestDirectoryInEveryForm(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	n.put("pub/b.txt", bytesOf("b", 2000))
	n.put("pub/a.tar.gz", append([]byte{0x1f, 0x8b}, bytesOf("a", 998)...))
	n.put("pub/sub/c", bytesOf("c", 3))
	z := start(t, "--upstream", n.url)

	a := get(t, z.url+"/pub/", "Accept: application/json")
	if a.cache() != "MISS" || a.Header.Get("Vary") == "" || !strings.Contains(a.Header.Get("Vary"), "Accept") {
		t.Errorf("first JSON: X-Cache %s, Vary %q, want MISS and Accept", a.cache(), a.Header.Get("Vary"))
	}
	wantRows(t, "first", rows(t, z.url+"/pub/"), "sub/ - absent", "a.tar.gz 1000 absent", "b.txt 2000 absent")
	got := rows(t, z.url+"/pub/")[1]
	if got.URL != "./a.tar.gz" || got.ModTime == nil || got.Step != 60 || !got.SizeExact || got.IsDir || got.IsSymlink {
		t.Errorf("row %+v, want url ./a.tar.gz, a time exact to 60 s and an exact size", got)
	}
	get(t, z.url+"/pub/a.tar.gz")
	got = rows(t, z.url+"/pub/")[1]
	if got.Cached != "fresh" || got.ModTime == nil || !got.ModTime.Equal(modified) || got.Step != 1 || !got.ZoneKnown {
		t.Errorf("row of a held file %+v at %v, want fresh, with its own time to the second", got, got.ModTime)
	}

	for _, c := range []struct{ accept, kind, has string }{
		{"", "text/html; charset=utf-8", `href="./a.tar.gz"`},
		{"Accept: */*", "text/html; charset=utf-8", `href="./sub/"`},
		{"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "text/html; charset=utf-8", `href="./a.tar.gz"`},
		{"Accept: text/plain", "text/plain; charset=utf-8", "a.tar.gz\n"},
		{"Accept: application/json;q=0.9, text/html;q=0.5", "application/json", `"url":"./a.tar.gz"`},
		{"Accept: text/html, application/json;q=0.9", "text/html; charset=utf-8", `href="./a.tar.gz"`},
	} {
		var fields []string
		if c.accept != "" {
			fields = append(fields, c.accept)
		}
		a := get(t, z.url+"/pub/", fields...)
		if a.Header.Get("Content-Type") != c.kind || !strings.Contains(string(a.Body), c.has) || a.cache() != "HIT" {
			t.Errorf("GET with %q: %s %s, want %s with %q, a HIT: %.300s", c.accept, a.cache(), a.Header.Get("Content-Type"), c.kind, c.has, a.Body)
		}
	}
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"format=json&sort=size&order=desc", []string{"b.txt 2000 absent", "a.tar.gz 1000 fresh", "sub/ - absent"}},
		{"format=json&limit=1&offset=1", []string{"a.tar.gz 1000 fresh"}},
		{"format=json&offset=7", nil},
	} {
		var all []row
		if err := json.Unmarshal(get(t, z.url+"/pub/?"+c.query).Body, &all); err != nil || !slices.Equal(brief(all), c.want) {
			t.Errorf("?%s = %q, %v, want %q", c.query, brief(all), err, c.want)
		}
	}
	if text := string(get(t, z.url+"/pub/?format=text").Body); text != "sub/\na.tar.gz\nb.txt\n" {
		t.Errorf("?format=text = %q", text)
	}
	if b := get(t, z.url+"/pub/?format=nginx").Body; !bytes.Contains(b, []byte(`"type":"directory"`)) || !json.Valid(b) {
		t.Errorf("?format=nginx = %s", b)
	}
	raw, own := get(t, z.url+"/pub/?raw=1"), get(t, n.url+"/pub/")
	if !bytes.Equal(raw.Body, own.Body) || !strings.Contains(raw.Header.Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("?raw=1 = %.200s under %q, want nginx's own page, sandboxed", raw.Body, raw.Header.Get("Content-Security-Policy"))
	}
	get(t, z.url+"/pub/?C=N;O=D")
	eventually(t, 10*time.Second, "nginx has seen the query that is not ours, and /pub/ once for zcache and once for the test", func() (bool, string) {
		odd, plain := n.log("/pub/?C=N;O=D"), n.log("/pub/") // written after the answer
		return len(odd) == 1 && len(plain) == 2, fmt.Sprintf("%+v %+v", odd, plain)
	})
	etag := get(t, z.url+"/pub/", "Accept: text/plain").Header.Get("Etag")
	if a := get(t, z.url+"/pub/", "Accept: text/plain", "If-None-Match: "+etag); a.Status != http.StatusNotModified && time.Now().Second() > 1 {
		t.Errorf("If-None-Match %s: %d, want 304", etag, a.Status)
	}
	if a := ask(t, http.MethodHead, z.url+"/pub/", "Accept: application/json"); a.Status != 200 || len(a.Body) != 0 || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD: %d %s %q", a.Status, a.Header.Get("Content-Type"), a.Body)
	}
}

func TestDirectorySidecarsLieBesideTheFiles(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	n.put("pub/a", bytesOf("a", 10))
	const hub = "tree"
	z := start(t, "--upstream", hub+"="+n.url)
	get(t, z.url+"/"+hub+"/pub/")
	dir := filepath.Join(z.root, hub, "pub")
	page, err := os.ReadFile(filepath.Join(dir, ".zcache-listing.html"))
	if own := get(t, n.url+"/pub/").Body; err != nil || !bytes.Equal(page, own) {
		t.Errorf("the upstream's page on disk = %.200s, %v", page, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, ".zcache-listing.json"))
	var all []row
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil || len(all) != 1 || all[0].Name != "a" || all[0].Size == nil || *all[0].Size != 10 {
		t.Errorf("the normalised listing on disk = %s, %v", data, err)
	}
	// What is derived may be lost or damaged.
	z.stop()
	if err := os.WriteFile(filepath.Join(dir, ".zcache-listing.json"), data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	n.stop()
	z.again()
	wantRows(t, "with a damaged sidecar", rows(t, z.url+"/"+hub+"/pub/"), "a 10 absent")
	if now, err := os.ReadFile(filepath.Join(dir, ".zcache-listing.json")); err != nil || !bytes.Equal(now, data) {
		t.Errorf("the sidecar was not made anew: %s, %v", now, err)
	}
}

func TestDirectoryOffline(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	forest(n)
	n.put("unlisted/x/y.bin", bytesOf("y", 77))
	z := start(t, "--upstream", n.url)
	get(t, z.url+"/pub/")
	get(t, z.url+"/unlisted/x/y.bin")
	before := rows(t, z.url+"/pub/")
	n.stop()
	a := get(t, z.url+"/pub/", "Accept: application/json", "Cache-Control: max-age=0")
	if a.cache() != "STALE" || a.Header.Get("Age") == "" {
		t.Errorf("a listing while its upstream is gone: X-Cache %s, Age %q, want STALE", a.cache(), a.Header.Get("Age"))
	}
	if after := rows(t, z.url+"/pub/"); !slices.Equal(brief(after), brief(before)) {
		t.Errorf("off line %q, want what was seen on line %q", brief(after), brief(before))
	}
	page := get(t, z.url+"/pub/", "Cache-Control: max-age=0")
	if !bytes.Contains(page.Body, []byte(`role="status"`)) {
		t.Errorf("the page has no banner that says that the upstream is gone: %.400s", page.Body)
	}
	a = get(t, z.url+"/unlisted/", "Accept: application/json")
	if a.cache() != "OFFLINE" {
		t.Errorf("a directory made from what is held: X-Cache %s, want OFFLINE", a.cache())
	}
	wantRows(t, "made from what is held", rows(t, z.url+"/unlisted/"), "x/ - stale")
	wantRows(t, "made from what is held", rows(t, z.url+"/unlisted/x/"), "y.bin 77 fresh")
	get(t, z.url+"/never/seen/", "Accept: application/json").problem(t, "nothing is held")
}

func TestDirectoryIsAskedAnew(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	n.put("pub/sub/a", bytesOf("a", 10))
	z := start(t, "--upstream", n.url, "--listing-ttl", "1s")
	get(t, z.url+"/pub/")
	get(t, z.url+"/pub/sub/")
	n.put("pub/new/b", bytesOf("b", 10))
	eventually(t, 20*time.Second, "the listing above is asked anew because what is below is used", func() (bool, string) {
		get(t, z.url+"/pub/sub/a")
		page, err := os.ReadFile(filepath.Join(z.root, "127.0.0.1", "pub", ".zcache-listing.html"))
		return err == nil && bytes.Contains(page, []byte("new/")), fmt.Sprintf("%s %v", page, err)
	})
}

// names are the files below dir, with their sizes and times.
func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		rel, _ := filepath.Rel(dir, path)
		if base := d.Name(); base == "robots.txt" || strings.HasPrefix(base, "index.html") {
			return err // wget's own
		}
		out = append(out, fmt.Sprintf("%s %d %s", rel, info.Size(), info.ModTime().UTC().Format(time.RFC3339)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// run is a client's output; it has to end well.
func run(t testing.TB, dir, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "http_proxy=", "https_proxy=", "LC_ALL=C.UTF-8", "TZ=UTC")
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s\n%s", name, strings.Join(args, " "), err, out, diag.Bytes())
	}
	return out
}

func TestRealClientsCrawlOffline(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	paths := forest(n)
	z := start(t, "--upstream", n.url)
	mirror := func(url string) []string {
		dir := t.TempDir()
		run(t, dir, "wget", "-m", "-np", "-nH", "-nv", "--restrict-file-names=nocontrol", "-e", "robots=off", url+"/pub/")
		return names(t, dir)
	}
	lsjson := func(url string) string {
		var all []struct {
			Path    string
			Size    int64
			ModTime string
			IsDir   bool
		}
		out := run(t, t.TempDir(), "rclone", "lsjson", "-R", "--config", "/dev/null", "--http-url", url+"/pub/", ":http:")
		if err := json.Unmarshal(out, &all); err != nil {
			t.Fatalf("rclone lsjson: %v: %s", err, out)
		}
		var lines []string
		for _, e := range all {
			if e.IsDir {
				e.ModTime = "" // rclone takes the time of asking
			}
			lines = append(lines, fmt.Sprintf("%s %d %s", e.Path, e.Size, e.ModTime))
		}
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	direct := mirror(n.url)
	if len(direct) != len(paths) {
		t.Fatalf("wget -m of nginx itself saw %q, want %d files", direct, len(paths))
	}
	if online := mirror(z.url); !slices.Equal(online, direct) {
		t.Errorf("wget -m through zcache saw %q, want %q", online, direct)
	}
	list := lsjson(n.url)
	if got := lsjson(z.url); got != list {
		t.Errorf("rclone lsjson through zcache:\n%s\nwant\n%s", got, list)
	}
	n.stop()
	if offline := mirror(z.url); !slices.Equal(offline, direct) {
		t.Errorf("wget -m with the upstream stopped saw %q, want %q", offline, direct)
	}
	if got := lsjson(z.url); got != list {
		t.Errorf("rclone lsjson with the upstream stopped:\n%s\nwant\n%s", got, list)
	}
	dir := t.TempDir()
	run(t, dir, "lftp", "-c", "set net:max-retries 1; set cmd:fail-exit yes; mirror "+z.url+"/pub/v1.10/ got")
	if got := names(t, filepath.Join(dir, "got")); len(got) != 2 {
		t.Errorf("lftp mirror with the upstream stopped saw %q, want 2 files", got)
	}
}

func TestPurgeOfADirectoryLeavesWhatIsBelow(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	n.put("pub/a", bytesOf("a", 10))
	n.put("pub/sub/b", bytesOf("b", 10))
	z := start(t, "--upstream", "tree="+n.url)
	get(t, z.url+"/tree/pub/")
	get(t, z.url+"/tree/pub/a")
	get(t, z.url+"/tree/pub/sub/b")
	post := func(body string) string {
		resp, err := plain.Post(z.url+"/-/purge", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		out, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("purge %s: %d %s %v", body, resp.StatusCode, out, err)
		}
		return string(out)
	}
	post(`{"path":"/tree/pub/"}`)
	dir := filepath.Join(z.root, "tree", "pub")
	for name, want := range map[string]bool{".zcache-listing.html": false, ".zcache-listing.json": false, "a": true, "sub/b": true} {
		if _, err := os.Lstat(filepath.Join(dir, name)); (err == nil) != want {
			t.Errorf("after the purge of the directory alone %s is there: %v, want %v", name, err == nil, want)
		}
	}
	get(t, z.url+"/tree/pub/")
	post(`{"path":"/tree/pub/","recursive":true}`)
	if _, err := os.Lstat(dir); err == nil {
		t.Errorf("after a recursive purge %s is still there", dir)
	}
	if _, err := os.Lstat(filepath.Join(z.root, "tree", ".zcache-upstream")); err != nil {
		t.Errorf("a purge took the note of the upstream: %v", err)
	}
}

func TestDirectoryIsCompressedForWhoTakesIt(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	for i := range 50 {
		n.put(fmt.Sprintf("pub/file-%02d.txt", i), []byte("x"))
	}
	z := start(t, "--upstream", n.url)
	whole := get(t, z.url+"/pub/?format=json")
	packed := get(t, z.url+"/pub/?format=json", "Accept-Encoding: gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(packed.Header.Get("Vary"), "Accept-Encoding") {
		t.Fatalf("with Accept-Encoding gzip: %v", packed.Header)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed.Body))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, whole.Body) || len(packed.Body) > len(whole.Body)/2 {
		t.Errorf("unpacked: %d bytes of %d, %v, from %d", len(got), len(whole.Body), err, len(packed.Body))
	}
	if a := get(t, z.url+"/pub/?format=json", "Accept-Encoding: gzip;q=0"); a.Header.Get("Content-Encoding") != "" {
		t.Errorf("gzip refused and given: %v", a.Header)
	}
}
