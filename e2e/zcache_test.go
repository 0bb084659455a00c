package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A zcache is one process of the product, started by a test and ended with it.
type zcache struct {
	t    testing.TB
	args []string
	addr string
	url  string // http://addr
	root string
	logs string // path of what it printed, over all its restarts
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
	err  error         // how it ended, readable once gone is closed
}

// start runs zcache with args on a free loopback port, over a new root unless args name one, and waits until it answers.
func start(t testing.TB, args ...string) *zcache {
	t.Helper()
	z := &zcache{t: t, args: args, root: flagValue(args, "--root")}
	dir := t.TempDir()
	if z.root == "" {
		z.root = filepath.Join(dir, "root")
		z.args = append(z.args, "--root", z.root)
	}
	z.logs = filepath.Join(dir, "zcache.log")
	z.addr = flagValue(args, "--listen")
	fixed := z.addr != ""
	t.Cleanup(z.end)
	for try := 1; ; try++ {
		if !fixed {
			z.addr = freeAddr(t)
		}
		z.url = "http://" + z.addr
		err := z.run()
		if err == nil {
			return z
		}
		// Between choosing a port and listening on it another process may take it.
		if fixed || try == 5 || !strings.Contains(z.log(), "in use") {
			t.Fatalf("start zcache %s: %v\n%s", strings.Join(z.args, " "), err, z.log())
		}
	}
}

// run starts the process and waits for its health endpoint.
func (z *zcache) run() error {
	out, err := os.OpenFile(z.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	args := append([]string{"serve"}, z.args...)
	if flagValue(z.args, "--listen") == "" {
		args = append(args, "--listen", z.addr)
	}
	cmd := exec.Command(binary, args...)
	cmd.Dir = filepath.Dir(z.logs) // no zcache.toml is there
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ZCACHE_") })
	cmd.Stdout, cmd.Stderr = out, out
	if err := spawn(cmd); err != nil {
		return err
	}
	gone := make(chan struct{})
	z.cmd, z.gone = cmd, gone
	go func() {
		z.err = cmd.Wait()
		close(gone)
	}()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		select {
		case <-gone:
			return fmt.Errorf("it ended at once: %w", z.err)
		default:
		}
		resp, err := plain.Get(z.url + "/-/healthz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("/-/healthz does not answer 200 within 15 s")
}

func (z *zcache) pid() int { return z.cmd.Process.Pid }

// kill9 ends the process as a crash would.
func (z *zcache) kill9() {
	z.t.Helper()
	if err := z.cmd.Process.Kill(); err != nil {
		z.t.Fatalf("kill -9 zcache: %v", err)
	}
	<-z.gone
}

// stop ends the process as an operator would, and wants it to end well.
func (z *zcache) stop() {
	z.t.Helper()
	if err := z.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		z.t.Fatalf("stop zcache: %v", err)
	}
	select {
	case <-z.gone:
		if z.err != nil {
			z.t.Errorf("zcache ended with %v after SIGTERM, want exit 0", z.err)
		}
	case <-time.After(40 * time.Second):
		z.t.Fatalf("zcache did not end within 40 s of SIGTERM, 10 s more than its drain takes")
	}
}

// again starts a stopped or killed zcache over the same root, on the same port, with args added.
func (z *zcache) again(args ...string) {
	z.t.Helper()
	z.args = append(z.args, args...)
	if err := z.run(); err != nil {
		z.t.Fatalf("start zcache again: %v\n%s", err, z.log())
	}
}

func (z *zcache) end() {
	if z.cmd == nil {
		return
	}
	_ = z.cmd.Process.Kill()
	<-z.gone
	if z.t.Failed() {
		z.t.Logf("zcache %s printed:\n%s", strings.Join(z.args, " "), tail(z.log(), 60))
	}
	for _, bad := range []string{"panic:", "panic serving", "DATA RACE"} {
		if i := strings.Index(z.log(), bad); i >= 0 {
			z.t.Errorf("zcache printed %q:\n%.4000s", bad, z.log()[i:])
		}
	}
}

func (z *zcache) log() string {
	b, _ := os.ReadFile(z.logs)
	return string(b)
}

// memory reads a line of /proc/PID/status in bytes: VmRSS now, VmHWM at its peak.
func (z *zcache) memory(line string) int64 {
	z.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", z.pid()))
	if err != nil {
		z.t.Fatalf("read memory of zcache: %v", err)
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				z.t.Fatalf("read %s: %v", line, err)
			}
			return kib << 10
		}
	}
	z.t.Fatalf("no %s in the status of the process", line)
	return 0
}

// path is where the contract says that a body lies on disk.
func (z *zcache) path(hub, path string) string { return filepath.Join(z.root, hub, path) }

// held reads an entry's body from disk; ok is false where there is none.
func (z *zcache) held(hub, path string) (body []byte, ok bool) {
	z.t.Helper()
	b, err := os.ReadFile(z.path(hub, path))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, false
	}
	if err != nil {
		z.t.Fatalf("read entry: %v", err)
	}
	return b, true
}

// published waits until a body lies at its place: a fill belongs to no client, so it may end after the answer did.
func (z *zcache) published(hub, path string, size int64) {
	z.t.Helper()
	eventually(z.t, 20*time.Second, "entry "+hub+path+" published", func() (bool, string) {
		info, err := os.Stat(z.path(hub, path))
		if err != nil {
			return false, err.Error()
		}
		return info.Size() == size, fmt.Sprintf("%d bytes", info.Size())
	})
}

// noEntry fails when anything lies at the place of an entry.
func (z *zcache) noEntry(hub, path string) {
	z.t.Helper()
	if info, err := os.Lstat(z.path(hub, path)); err == nil {
		z.t.Errorf("%s%s was published (%d bytes), want nothing there", hub, path, info.Size())
	}
}

// given are the addresses that were handed out: whoever got one may not listen there yet, or not at the moment.
var given sync.Map

// freeAddr picks a loopback port below the kernel's ephemeral range, where no outgoing connection of a test can take it
// while a process is down between two starts.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := "127.0.0.1:" + strconv.Itoa(20000+rand.IntN(12000))
		if _, taken := given.LoadOrStore(addr, true); taken {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		return addr
	}
	t.Fatal("no free port on loopback in 100 tries")
	return ""
}

func flagValue(args []string, name string) string {
	for i, a := range args {
		if a == name && i+1 < len(args) {
			return args[i+1]
		}
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			return v
		}
	}
	return ""
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// settings writes a configuration file and gives the flag that names it.
func settings(t testing.TB, toml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "zcache.toml")
	if err := os.WriteFile(name, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--config=" + name
}

// command runs one of the product's other verbs, or any program, to its end. One that does not end is killed: exit -1.
func command(t testing.TB, name string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := spawn(cmd); err != nil {
		t.Fatalf("run %s (is it installed? make deps): %v", name, err)
	}
	hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	hung.Stop()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatalf("run %s: %v", name, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Connections are not shared between requests: a test that wants to see one aborted must not disturb another.
var plain = &http.Client{
	Timeout:       2 * time.Minute,
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true, MaxConnsPerHost: 0},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}
