package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A dialect is a server with the listings that it makes, and what a walk must ask beyond them.
type dialect struct {
	name string
	run  []string // with @CONF@
	conf string   // with @ADDR@, @PORT@, @DIR@ and @TREE@
	// bare listings tell of a file nothing but its name: each is asked for again, with what is held of it as the condition.
	bare   bool
	always []string // files that are asked for at every walk, and never had
	hides  bool     // names that begin with a dot
}

// awayFromUTC is the zone that the servers are in, of which zcache knows nothing: half an hour off any whole one.
const awayFromUTC = "TZ=XST-5:30"

var dialects = []dialect{
	{name: "nginx", run: nginxRun, conf: nginxConf("autoindex_localtime on;"), always: danglers, hides: true},
	{name: "nginx, rounded", run: nginxRun, conf: nginxConf("autoindex_exact_size off;"), always: danglers, hides: true},
	{name: "nginx JSON", run: nginxRun, conf: nginxConf("autoindex_format json;"), hides: true},
	{name: "Apache, fancy", run: apacheRun, conf: apacheConf("FancyIndexing")},
	{name: "Apache, table", run: apacheRun, conf: apacheConf("FancyIndexing HTMLTable NameWidth=*")},
	{name: "Apache, plain", run: apacheRun, conf: apacheConf("-FancyIndexing"), bare: true},
	{name: "lighttpd", run: []string{"lighttpd", "-D", "-f", "@CONF@"}, conf: lighttpdConf, always: unserved, hides: true},
}

var (
	// danglers are links that lead nowhere. nginx lists them as if they were files, and answers 404.
	danglers = []string{"links/nowhere"}
	// unserved are names that lighttpd lists, and answers 400 to.
	unserved = []string{"odd names/bytes\xff\xfe", "odd names/new\nline"}

	nginxRun  = []string{"nginx", "-c", "@CONF@", "-e", "/dev/null"}
	apacheRun = []string{"apache2", "-X", "-f", "@CONF@"}
)

func nginxConf(format string) string {
	return `daemon off; master_process off; pid @DIR@/pid;
events { }
http {
  access_log off; default_type application/octet-stream; keepalive_timeout 30;
  client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3; uwsgi_temp_path @DIR@/t4; scgi_temp_path @DIR@/t5;
  server { listen @ADDR@; root @TREE@; autoindex on; ` + format + ` }
}`
}

func apacheConf(options string) string {
	return `ServerName upstream.test
Listen @ADDR@
PidFile @DIR@/pid
ErrorLog @DIR@/error.log
DefaultRuntimeDir @DIR@
User nobody
Group nogroup
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule autoindex_module /usr/lib/apache2/modules/mod_autoindex.so
DocumentRoot @TREE@
<Directory @TREE@>
  Options Indexes FollowSymLinks
  IndexOptions ` + options + `
  Require all granted
</Directory>
`
}

const lighttpdConf = `server.document-root = "@TREE@"
server.bind = "127.0.0.1"
server.port = @PORT@
server.errorlog = "@DIR@/error.log"
server.modules = ("mod_dirlisting")
server.stat-cache-engine = "disable"
dir-listing.activate = "enable"
mimetype.assign = ("" => "application/octet-stream")
`

// startDialect starts the server over a tree and returns its URL.
func startDialect(t testing.TB, d dialect, tree string) string {
	t.Helper()
	dir := openDir(t)
	addr := freeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(dir, "conf")
	text := strings.NewReplacer("@ADDR@", addr, "@PORT@", port, "@DIR@", dir, "@TREE@", tree).Replace(d.conf)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range d.run {
		args = append(args, strings.ReplaceAll(a, "@CONF@", conf))
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), awayFromUTC)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := spawn(cmd); err != nil {
		t.Fatalf("these tests need a real %s; make deps installs it: %v", args[0], err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, waitShort, d.name+" answers", func() (bool, string) {
		a, err := tryAsk("GET", "http://"+addr+"/")
		return err == nil, fmt.Sprint(a.Status, err)
	})
	return "http://" + addr
}

// oddNames are names that servers escape, shorten, take apart or keep to themselves.
var oddNames = []string{
	".hidden", "__content", "a:b", "%41", "%2F%00", "q?a=b&c=d", "semi;colon", "quote\"'`", "<b>&amp;</b>", "back\\slash", "new\nline", " leading", "trailing ",
	"bytes\xff\xfe", "x.html", "~tilde~", "plus+plus", "[1] {2}", "Parent Directory", "-", strings.Repeat("long-", 44) + ".bin",
}

// plantOddities adds to a tree what is odd: names, links, and a link that leads around in a circle.
func plantOddities(t testing.TB, tr *tree) {
	t.Helper()
	for i, name := range oddNames {
		plantFile(t, filepath.Join(tr.root, "odd names", name), bytesOf(name, 100+i), modified)
	}
	plantFile(t, filepath.Join(tr.root, "links/real/deep/x"), bytesOf("x", 5000), modified)
	plantFile(t, filepath.Join(tr.root, "links/real/y"), bytesOf("y", 50), modified)
	plantFile(t, filepath.Join(tr.root, "circle/a/z"), bytesOf("z", 500), modified)
	for name, to := range map[string]string{
		"links/to-file": "real/y", "links/to-dir": "real", "links/up": "../circle/a/z", "circle/a/loop": "..", "links/nowhere": "none",
	} {
		if err := os.Symlink(to, filepath.Join(tr.root, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// plantFile writes a file, and the directories that it lies in.
func plantFile(t testing.TB, name string, body []byte, at time.Time) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, body, 0o644)
	}
	if err == nil {
		err = os.Chtimes(name, at, at)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// sameThroughLinks wants a directory of a root to hold what an upstream has, with links followed. A link that leads around in a circle may be followed a
// few times, as nobody sees from outside that it is one.
func sameThroughLinks(t testing.TB, what, upstream, held string, d dialect) {
	t.Helper()
	want, got := map[string]place{}, namesIn(t, held)
	delete(got, ".")
	through(t, upstream, "", d.hides, want)
	for _, name := range d.always {
		delete(want, name)
	}
	for name, w := range want {
		switch g, ok := got[name]; {
		case !ok:
			t.Errorf("%s: %q is not held", what, name)
		case g != w:
			t.Errorf("%s: %q is held as %v, want %v", what, name, g, w)
		case !w.dir && !equalFiles(t, filepath.Join(upstream, name), filepath.Join(held, name)):
			t.Errorf("%s: %q is held with other bytes", what, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; ok {
			continue
		}
		info, err := os.Stat(filepath.Join(upstream, name))
		if rounds := strings.Count(name, "loop"); rounds == 0 || rounds > 4 || err != nil || info.Size() != got[name].size && !info.IsDir() {
			t.Errorf("%s: %q is held, and not upstream (%v)", what, name, err)
		}
	}
}

// through collects what lies below a directory, links followed but for those that are called loop.
func through(t testing.TB, root, rel string, hides bool, all map[string]place) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(root, rel))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := filepath.Join(rel, e.Name())
		info, err := os.Stat(filepath.Join(root, name))
		switch {
		case err != nil && e.Type() == fs.ModeSymlink, e.Name() == "loop", e.Name() == "__content", hides && e.Name()[0] == '.':
		case err != nil:
			t.Fatal(err)
		case info.IsDir():
			all[name] = place{dir: true}
			through(t, root, name, hides, all)
		default:
			all[name] = place{size: info.Size(), at: info.ModTime().Unix()}
		}
	}
}

// split parts what was asked for into listings and files, by their names.
func split(t testing.TB, asked []string) (dirs, files []string) {
	t.Helper()
	for _, a := range asked {
		name, err := url.PathUnescape(strings.TrimPrefix(a, "GET /"))
		if err != nil {
			t.Errorf("asked for %q: %v", a, err)
		}
		if name == "" || strings.HasSuffix(name, "/") {
			dirs = append(dirs, name)
		} else {
			files = append(files, name)
		}
	}
	slices.Sort(dirs)
	slices.Sort(files)
	return dirs, files
}

func TestMirrorOfServers(t *testing.T) {
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			testMirrorOf(t, d)
		})
	}
}

func testMirrorOf(t *testing.T, d dialect) {
	tr := makeTree(t, filepath.Join(openDir(t), "tree"), 30, 300)
	plantOddities(t, tr)
	toll := startToll(t, startDialect(t, d, tr.root), 0)
	z := start(t, "--mode=mirror", "--upstream", "up="+toll.url)
	same := func(what string) {
		t.Helper()
		sameThroughLinks(t, what, tr.root, z.path("up", ""), d)
		name := "odd names/__content" // which lies apart, for it is a name of the root's own
		get(t, z.url+"/up/odd%20names/__content").whole(t, what+": "+name, bytesOf("__content", 101)).is(t, name, 200, "HIT")
	}

	z.walk("/up")
	listings, _ := split(t, toll.take())
	same("first walk")

	did := z.walk("/up")
	asked, files := split(t, toll.take())
	if !slices.Equal(asked, listings) {
		t.Errorf("second walk: %d listings asked for, want the %d of the first", len(asked), len(listings))
	}
	if !d.bare && !slices.Equal(files, d.always) {
		t.Errorf("second walk: files %q asked for, want %q", files, d.always)
	}
	if d.bare && (did.Same != did.Files || did.Fetched > 0) {
		t.Errorf("second walk: %v, want every file confirmed and none fetched", did)
	}

	want, now := changeTree(t, tr), time.Now()
	hot := filepath.Join(tr.root, tr.files[90])
	at := now.Truncate(time.Minute).Add(-10 * time.Second)
	plantFile(t, hot, bytesOf("hot", 1000), at)
	did = z.walk("/up")
	_, files = split(t, toll.take())
	want = slices.Sorted(slices.Values(append(want, append(d.always, tr.files[90])...)))
	if !d.bare && !slices.Equal(files, want) {
		t.Errorf("walk after changes: files %q asked for, want %q", files, want)
	}
	if got, fresh := did.Fetched, int64(len(want)-len(d.always)); got != fresh {
		t.Errorf("walk after changes: %d files fetched, want %d", got, fresh)
	}
	same("walk after changes")

	plantFile(t, hot, bytesOf("hotter", 1000), at.Add(time.Second)) // the same minute, the same size
	z.walk("/up")
	same("walk after another change in the same minute")
}

// changeTree changes a tree in every way that a walk has to see, and returns the files that are new or other than they were.
func changeTree(t testing.TB, tr *tree) (fresh []string) {
	t.Helper()
	other := func(name string) {
		plantFile(t, filepath.Join(tr.root, name), bytesOf("other "+name, 300), modified.Add(time.Hour))
		fresh = append(fresh, name)
	}
	tr.write(t, 61, sizeOf(61), modified.Add(8760*time.Hour))
	fresh = append(fresh, tr.files[61])
	other(tr.files[62])
	other("new file")
	other("new directory/with another/and a file")
	tr.remove(t, tr.files[63])
	tr.remove(t, tr.dirs[29])
	tr.remove(t, tr.files[64])
	other(filepath.Join(tr.files[64], "file of what was a file"))
	tr.remove(t, tr.dirs[28])
	other(tr.dirs[28])
	return fresh
}

// openDir makes a directory that servers which gave up their rights may read, which t.TempDir is not.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "web-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
