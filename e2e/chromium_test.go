package e2e

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed browser/package.json
var browserPackage []byte

//go:embed browser/driver.mjs
var browserDriver []byte

// A chromium is a real browser, driven through playwright-core by browser/driver.mjs: one line of JSON asks for something, one answers.
type chromium struct {
	t    testing.TB
	mu   sync.Mutex // one question at a time
	in   io.WriteCloser
	out  *bufio.Reader
	kill func() error
	last int
}

func startChromium(t testing.TB) *chromium {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("these tests need a real chromium; make deps installs it: %v", err)
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"package.json": browserPackage, "driver.mjs": browserDriver} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock", "--loglevel=error")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install of playwright-core: %v\n%s", err, out)
	}
	cmd := exec.Command("node", "driver.mjs", program)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	var diag bytes.Buffer
	cmd.Stderr = &diag
	c := &chromium{t: t}
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := spawn(cmd); err != nil {
		t.Fatalf("these tests need node: %v", err)
	}
	c.kill = cmd.Process.Kill
	t.Cleanup(func() {
		c.in.Close() // it closes the browser and ends
		killer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer killer.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("browser: %v\n%s", err, diag.Bytes())
		}
	})
	return c
}

// ask has the driver do something, and reads what came of it into result unless that is nil.
func (c *chromium) ask(what string, with map[string]any, result any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	line, err := json.Marshal(map[string]any{"id": c.last, "do": what, "with": with})
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	// The library's own calls end after 30 s, but a promise of the page may never. Chromium ends when the pipe to its driver does.
	hung := time.AfterFunc(time.Minute, func() { _ = c.kill() })
	defer hung.Stop()
	line, err = c.out.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s: the browser has ended: %w", what, err)
	}
	var answer struct {
		ID    int
		Value json.RawMessage
		Error string
	}
	switch err := json.Unmarshal(line, &answer); {
	case err != nil:
		return err
	case answer.ID != c.last:
		return fmt.Errorf("%s: answer %d to question %d", what, answer.ID, c.last)
	case answer.Error != "":
		return fmt.Errorf("%s: %s", what, answer.Error)
	case result == nil || len(answer.Value) == 0 || string(answer.Value) == "null":
		return nil
	}
	return json.Unmarshal(answer.Value, result)
}

// A tab is one page of the browser, with cookies and cache of its own.
type tab struct {
	t  testing.TB
	c  *chromium
	id int
}

// view is how a tab shows pages.
type view struct {
	width, height int
	scale         float64
	dark, noJS    bool
	media         string // "print"
}

func (c *chromium) tab(t testing.TB, v view) *tab {
	t.Helper()
	b := &tab{t: t, c: c, id: c.last + 1}
	b.do("tab", map[string]any{"view": map[string]any{
		"width": v.width, "height": v.height, "scale": v.scale, "dark": v.dark, "noJS": v.noJS, "media": v.media,
	}}, nil)
	t.Cleanup(func() { _ = c.ask("close", map[string]any{"id": b.id}, nil) })
	return b
}

func (b *tab) do(what string, with map[string]any, result any) {
	b.t.Helper()
	if with == nil {
		with = map[string]any{}
	}
	with["id"] = b.id
	if err := b.c.ask(what, with, result); err != nil {
		b.t.Fatal(err)
	}
}

// tabState is what happened in a tab so far.
type tabState struct {
	Loads         int
	Asked, Faults []string
}

func (b *tab) state() (s tabState) {
	b.t.Helper()
	b.do("state", nil, &s)
	return s
}

// loads does something that makes the tab load a page, and waits until it has.
func (b *tab) loads(what string, act func()) {
	b.t.Helper()
	before := b.state().Loads
	act()
	eventually(b.t, 30*time.Second, what+" loads a page", func() (bool, string) {
		return b.state().Loads > before, fmt.Sprintf("%d loads before", before)
	})
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do("open", map[string]any{"url": url}, nil)
}

// eval runs JavaScript in the page and reads its value into result.
func (b *tab) eval(js string, result any) {
	b.t.Helper()
	b.do("eval", map[string]any{"js": js}, result)
}

func (b *tab) text(js string) (s string) {
	b.t.Helper()
	b.eval(js, &s)
	return s
}

// is polls the value of an expression: pages change after the event that makes them.
func (b *tab) is(what, js, want string) {
	b.t.Helper()
	eventually(b.t, waitShort, what, func() (bool, string) {
		got := b.text("(() => { try { return String(" + js + "); } catch (e) { return e.message; } })()")
		return got == want, fmt.Sprintf("%s = %q, want %q", js, got, want)
	})
}

// press presses keys: a character, or the name of a key.
func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.do("press", map[string]any{"key": k}, nil)
	}
}

// click presses the mouse in the middle of the first element that a selector finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.do("click", map[string]any{"selector": selector}, nil)
}

// shot takes a picture of what the tab shows.
func (b *tab) shot(dir, name string) {
	b.t.Helper()
	path, err := filepath.Abs(filepath.Join(dir, name+".png")) // the driver runs elsewhere
	if err != nil {
		b.t.Fatal(err)
	}
	b.do("shot", map[string]any{"path": path}, nil)
	if st, err := os.Stat(path); err != nil || st.Size() < 1000 {
		b.t.Errorf("picture %s: %v, %v", name, st, err)
	}
}

// quiet holds that no page of the tab complained, opened a dialog, moved what was already drawn, or asked another host than host.
func (b *tab) quiet(host string) {
	b.t.Helper()
	b.do("drawn", nil, nil)
	for _, fault := range b.state().Faults {
		b.t.Errorf("the browser reports %.500s", fault)
	}
	for _, url := range b.asked() {
		if !strings.HasPrefix(url, "http://"+host+"/") {
			b.t.Errorf("a page asked for %s", url)
		}
	}
}

// asked are the URLs that pages asked for, without those that they carry in themselves.
func (b *tab) asked() []string {
	return slices.DeleteFunc(b.state().Asked, func(u string) bool { return strings.HasPrefix(u, "data:") })
}
