package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// The sizes that the issue names. Smaller ones serve for a quick look at one test; what they prove is then smaller too.
const (
	mib      = 1 << 20
	bigSize  = 200 * mib // fills that are killed, cut and shared
	midSize  = 20 * mib  // bodies that clients leave half-way
	clients  = 600       // on one cold body
	askers   = 1000      // on one 404
	rssLimit = 150 * mib
)

// waitShort is for facts that need no network and no disk to come true.
const waitShort = 10 * time.Second

// binary is the product as it is shipped: static, built once for all tests. E2E_BINARY names another build to hold against them, such
// as one with the race detector.
var binary = os.Getenv("E2E_BINARY")

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "zcache-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func build(dir string) error {
	shared = filepath.Join(dir, "tree")
	if binary != "" {
		return nil
	}
	binary = filepath.Join(dir, "zcache")
	cmd := exec.Command("go", "build", "-trimpath", "-o", binary, "zcache/cmd/zcache")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build zcache: %w\n%s", err, out)
	}
	return nil
}

// spawn starts cmd from one thread that lives as long as the test process: the kernel sends the parent-death signal when the
// *thread* that forked ends, and the scheduler may end any other thread.
func spawn(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	job := spawnJob{cmd, make(chan error, 1)}
	spawner <- job
	return <-job.done
}

type spawnJob struct {
	cmd  *exec.Cmd
	done chan error
}

var spawner = func() chan spawnJob {
	jobs := make(chan spawnJob)
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job.done <- job.cmd.Start()
		}
	}()
	return jobs
}()

// eventually polls a fact until it holds. It is for facts that become true without telling anybody; a fact that never does
// fails the test with the last thing that fact said.
func eventually(t testing.TB, within time.Duration, what string, fact func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(within)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ok, said := fact()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s (%s)", within, what, said)
		}
		time.Sleep(pause)
	}
}
