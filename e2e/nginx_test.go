package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// An nginx is a real origin: a process of its own with a tree of its own.
type nginx struct {
	t    testing.TB
	addr string
	url  string
	tree string
	dir  string
	cmd  *exec.Cmd
}

// modified is the Last-Modified of every file that a test does not date itself: old enough for a heuristic lifetime.
var modified = time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC)

// startNginx serves a tree that holds big.bin and mid.bin, with more directives for its server block, such as limit_rate.
func startNginx(t testing.TB, directives string) *nginx {
	t.Helper()
	dir := t.TempDir()
	n := &nginx{t: t, addr: freeAddr(t), dir: dir, tree: filepath.Join(dir, "tree")}
	n.url = "http://" + n.addr
	if err := os.MkdirAll(n.tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range sharedBodies(t) {
		if err := os.Symlink(b.path, filepath.Join(n.tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	// One process: a worker would outlive a master that is killed with the test.
	conf := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; worker_rlimit_nofile 4096;
events { worker_connections 2048; }
http {
  log_format e2e escape=json '{"uri":"$request_uri","method":"$request_method","status":$status,"range":"$http_range","if_range":"$http_if_range","sent":$body_bytes_sent,"ended":$msec}';
  access_log %[1]s/access.log e2e;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  sendfile on; keepalive_timeout 30; default_type application/octet-stream;
  server { listen %[2]s; root %[3]s; %[4]s }
}`, dir, n.addr, n.tree, directives)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *nginx) start() {
	n.t.Helper()
	cmd := exec.Command("nginx", "-p", n.dir, "-c", filepath.Join(n.dir, "nginx.conf"), "-e", filepath.Join(n.dir, "error.log"))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := spawn(cmd); err != nil {
		n.t.Fatalf("these tests need a real nginx; make deps installs it: %v", err)
	}
	n.cmd = cmd
	eventually(n.t, 10*time.Second, "nginx listens", func() (bool, string) {
		resp, err := plain.Head(n.url + "/")
		if err != nil {
			b, _ := os.ReadFile(filepath.Join(n.dir, "error.log"))
			return false, err.Error() + "\n" + out.String() + string(b)
		}
		resp.Body.Close()
		return true, ""
	})
}

func (n *nginx) stop() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
	n.cmd = nil
}

// put writes a file of the tree.
func (n *nginx) put(path string, body []byte) {
	n.t.Helper()
	name := filepath.Join(n.tree, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(name, body, 0o644); err != nil {
		n.t.Fatal(err)
	}
	if err := os.Chtimes(name, modified, modified); err != nil {
		n.t.Fatal(err)
	}
}

// A served is a line of nginx's own log.
type served struct {
	URI, Method string
	Status      int
	Range       string
	IfRange     string `json:"if_range"`
	Sent        int64
	Ended       float64
}

// log is what nginx has finished serving for a path.
func (n *nginx) log(path string) []served {
	n.t.Helper()
	f, err := os.Open(filepath.Join(n.dir, "access.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	var all []served
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s served
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			n.t.Fatalf("nginx log: %v: %s", err, lines.Text())
		}
		if s.URI == path {
			all = append(all, s)
		}
	}
	return all
}

// A body is a deterministic file on disk, too large to hold.
type body struct {
	path string
	digest
}

// shared is the directory of the bodies, written when the first test needs them.
var (
	shared     string
	bodies     map[string]body
	bodiesOnce sync.Once
	errBodies  error
)

func sharedBodies(t testing.TB) map[string]body {
	t.Helper()
	bodiesOnce.Do(func() {
		bodies = map[string]body{}
		if errBodies = os.MkdirAll(shared, 0o755); errBodies != nil {
			return
		}
		for name, size := range map[string]int64{"big.bin": bigSize, "mid.bin": midSize} {
			var b body
			if b, errBodies = writeBody(filepath.Join(shared, name), size); errBodies != nil {
				return
			}
			bodies[name] = b
		}
	})
	if errBodies != nil {
		t.Fatalf("write bodies: %v", errBodies)
	}
	return bodies
}

func writeBody(path string, size int64) (body, error) {
	f, err := os.Create(path)
	if err != nil {
		return body{}, err
	}
	d, err := digestOf(io.TeeReader(io.LimitReader(noise(path[strings.LastIndexByte(path, '/'):]), size), f))
	if err := f.Close(); err != nil {
		return body{}, err
	}
	if err != nil {
		return body{}, err
	}
	return body{path, d}, os.Chtimes(path, modified, modified)
}

// noise is an endless stream of bytes that a name alone decides.
func noise(name string) io.Reader {
	var seed [32]byte
	copy(seed[:], name)
	return rand.NewChaCha8(seed)
}

// bytesOf are the first n bytes of a name's noise.
func bytesOf(name string, n int) []byte {
	b := make([]byte, n)
	_, _ = io.ReadFull(noise(name), b)
	return b
}
