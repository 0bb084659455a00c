package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(withBinary(m)) }

func withBinary(m *testing.M) int {
	dir, err := os.MkdirTemp("", "zcache-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "zcache")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command is the binary in a working directory of its own, without any ZCACHE_ variable.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ZCACHE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	return cmd
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return -1
}

// holdPort listens on a free port until the test ends.
func holdPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestBadInputIsOneLineThatNamesTheThingAndTheFix(t *testing.T) {
	busy := holdPort(t)
	for _, row := range []struct {
		claim string
		args  []string
		env   string
		file  string // what stands in ./zcache.toml
		code  int
		line  string
	}{
		{"unknown flag", []string{"--rot", "x"}, "", "", 2, `zcache: unknown flag --rot; did you mean --root?`},
		{"unknown flag of a verb", []string{"purge", "/x", "--recursiv"}, "", "", 2, `zcache: unknown flag --recursiv; did you mean --recursive?`},
		{"flag of a later version", []string{"serve", "--valkey=x"}, "", "", 2, `zcache: --valkey comes with a later version; remove it`},
		{"flag without its value", []string{"serve", "--root"}, "", "", 2, `zcache: --root needs a value; write --root=…`},
		{"switch with a wrong value", []string{"version", "--json=maybe"}, "", "", 2, `zcache: invalid boolean value "maybe" for -json: parse error`},
		{"verb of a later version", []string{"verify", "/kernel"}, "", "", 2, `zcache: verify comes with a later version; zcache help shows what there is`},
		{"unknown verb", []string{"sevre"}, "", "", 2, `zcache: unknown verb "sevre"; did you mean serve?`},
		{"unknown verb to help", []string{"help", "wram"}, "", "", 2, `zcache: unknown verb "wram"; did you mean warm?`},
		{"verb without its argument", []string{"explain"}, "", "", 2,
			`zcache: explain takes one URL or path, such as zcache explain /kernel/README`},
		{"argument to a verb that takes none", []string{"serve", "now"}, "", "", 2,
			`zcache: serve takes no argument "now"; zcache help serve shows what it takes`},
		{"unknown TOML key", nil, "", "lisen = \":1\"\n", 1, `lisen: unknown key; did you mean listen? (zcache.toml:1)`},
		{"a hub's only upstream misspelt", nil, "", "[[hub]]\nname = \"k\"\nupstrem = \"http://a.example\"\n", 1,
			`hub[k].upstrem: unknown key; did you mean upstream? (zcache.toml:3)`},
		{"broken TOML", nil, "", "listen = :1\n", 1, `config: expected value but found ':' instead (zcache.toml:1)`},
		{"impossible value by flag", []string{"--disk-high=180%"}, "", "", 1, `disk-high: "180%" is no percentage from 1% to 100%`},
		{"impossible value by variable", []string{"serve"}, "ZCACHE_MODE=copy", "", 1,
			`mode: "copy" is not known; write proxy, cache or mirror (ZCACHE_MODE)`},
		{"impossible hub", []string{"check-config"}, "", "[[hub]]\nname = \"kernel\"\nupstream = \"kernel.org\"\n", 1,
			`hub[kernel].upstream: "kernel.org" has no scheme and host; write it whole, such as https://host.example/path (zcache.toml:3)`},
		{"missing config", []string{"--config", "none.toml"}, "", "", 1,
			`config: none.toml does not exist; create it or name another file with --config`},
		{"missing config by variable", []string{"check-config"}, "ZCACHE_CONFIG=none.toml", "", 1,
			`config: none.toml does not exist; create it or name another file with --config (ZCACHE_CONFIG)`},
		{"port in use", []string{"--listen", busy, "--root", "r"}, "", "", 1,
			`listen: ` + busy + ` is in use by another process; stop that one or choose another address with --listen`},
		{"admin port in use", []string{"--listen", "127.0.0.1:0", "--admin-listen", busy, "--root", "r"}, "", "", 1,
			`admin-listen: ` + busy + ` is in use by another process; stop that one or choose another address with --admin-listen`},
		{"no such address", []string{"--listen", "192.0.2.1:0", "--root", "r"}, "", "", 1,
			`listen: 192.0.2.1:0 is no address of this machine; choose another with --listen`},
		{"no server to talk to", []string{"purge", "/x", "--server", "http://127.0.0.1:1"}, "", "", 1,
			`zcache: purge /x: no zcache answers at http://127.0.0.1:1; start one with zcache serve, or name it with --server`},
		{"warm from a file that is not there", []string{"warm", "-f", "none"}, "", "", 1,
			`zcache: read the URLs: open none: no such file or directory`},
	} {
		t.Run(row.claim, func(t *testing.T) {
			cmd := command(t, row.args...)
			if row.env != "" {
				cmd.Env = append(cmd.Env, row.env)
			}
			if row.file != "" {
				if err := os.WriteFile(filepath.Join(cmd.Dir, "zcache.toml"), []byte(row.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			code := exitCode(t, cmd.Run())
			if code != row.code || stderr.String() != row.line+"\n" || stdout.Len() > 0 {
				t.Errorf("zcache %q: exit %d\n got %q (and %q on stdout)\nwant exit %d\n     %q", row.args, code, stderr.String(), stdout.String(),
					row.code, row.line+"\n")
			}
		})
	}
}

// A directory made at the place of a disk that is not mounted would hide that it is missing.
func TestNoInitMakesNoRoot(t *testing.T) {
	cmd := command(t, "--listen", "127.0.0.1:0", "--root", "disk", "--no-init")
	out, err := cmd.CombinedOutput()
	if code := exitCode(t, err); code != 1 || strings.Count(string(out), "\n") != 1 || !strings.HasPrefix(string(out), "root: ") {
		t.Errorf("exit %d, %q; want exit 1 and one line about the root", code, out)
	}
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("a refused start left %v, %v; want nothing", left, err)
	}
}

// A second server started by mistake must not touch what the first one keeps.
func TestPortInUseLeavesTheRootAlone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := command(t, "--listen", l.Addr().String(), "--root", "r")
	if out, err := cmd.CombinedOutput(); exitCode(t, err) != 1 {
		t.Errorf("a start on a port in use: %v, %q; want exit 1", err, out)
	}
	if left, err := os.ReadDir(cmd.Dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v; want nothing", left, err)
	}
}

// The wording of a root that cannot be written belongs to the store in part, so this looks only for what it must name.
func TestUnwritableRootIsOneLineThatNamesItAndTheFlag(t *testing.T) {
	cmd := command(t, "--listen", "127.0.0.1:0", "--root", "/dev/null/data")
	out, err := cmd.CombinedOutput()
	line := string(out)
	if code := exitCode(t, err); code != 1 || strings.Count(line, "\n") != 1 || !strings.Contains(line, "/dev/null/data") || !strings.Contains(line, "--root") {
		t.Errorf("exit %d, %q; want exit 1 and one line that names /dev/null/data and --root", code, line)
	}
}

func TestCheckConfigTellsWhatIsInForce(t *testing.T) {
	cmd := command(t, "check-config", "--upstream", "a=http://a.example/,b=http://b.example/")
	hubs := "ok: 2 hubs\n  a  /a/  http://a.example/\n  b  /b/  http://b.example/\n"
	want := hubs + "forward proxy: on, for loopback, private networks; to public addresses\n"
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("check-config = %q, %v; want %q", out, err, want)
	}
	cmd = command(t, "check-config", "--upstream", "a=http://a.example/,b=http://b.example/", "--proxy-allow-client", "192.0.2.0/24", "--proxy-allow-host", "git.lab:22,*.lab")
	want = hubs + "forward proxy: on, for loopback, private networks, 192.0.2.0/24; to public addresses, git.lab:22, *.lab\n"
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("check-config with exceptions = %q, %v; want %q", out, err, want)
	}
	cmd = command(t, "check-config", "--upstream", "a=http://a.example/,b=http://b.example/", "--proxy", "off")
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != hubs+"forward proxy: off\n" {
		t.Errorf("check-config --proxy off = %q, %v", out, err)
	}
	cmd = command(t, "check-config", "--json")
	file := "on-miss = \"wait\"\n[[hub]]\nname = \"k\"\nupstream = \"http://a.example\"\nttl = \"0x3c\"\nbasic = \"me:hunter2\"\n"
	if err := os.WriteFile(filepath.Join(cmd.Dir, "zcache.toml"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("check-config --json: %v\n%s", err, out)
	}
	var got struct {
		OK   bool
		Hubs []struct {
			Name, TTL, Credentials string
			OnMiss                 string `json:"on_miss"`
			ModuleKey              string `json:"module_key"`
		}
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	if h := got.Hubs[0]; !got.OK || h.Name != "k" || h.TTL != "1m0s" || h.OnMiss != "wait" || h.ModuleKey != "legacy" || h.Credentials != "basic" {
		t.Errorf("check-config --json = %s", out)
	}
	if bytes.Contains(out, []byte("hunter2")) {
		t.Errorf("a secret is shown: %s", out)
	}
}

func TestVersionAndHelpGoToStdout(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"help"}, {"--help"}, {"purge", "-h"}, {"help", "warm"}} {
		out, err := command(t, args...).Output()
		if err != nil || !strings.Contains(string(out), "zcache") {
			t.Errorf("zcache %q = %q, %v", args, out, err)
		}
	}
}

func TestServeDrainsAtTheFirstSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := command(t, "--listen", "127.0.0.1:0", "--root", "data")
		log, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(log)
		waitLine(t, lines, "listening")
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		waitLine(t, lines, "configuration reloaded")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		waitLine(t, lines, "draining")
		for lines.Scan() {
		}
		if code := exitCode(t, cmd.Wait()); code != 0 {
			t.Errorf("%v: exit %d, want 0", sig, code)
		}
	}
}

func waitLine(t *testing.T, lines *bufio.Scanner, part string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), part) {
			return
		}
	}
	t.Fatalf("the log ended before %q", part)
}
