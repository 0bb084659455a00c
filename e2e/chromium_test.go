package e2e

import (
	"bufio"
	"encoding/base64"
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

// A chromium is a real browser, spoken to over the pipe of its DevTools protocol: JSON messages that end in NUL, written to its descriptor 3
// and read from its descriptor 4.
type chromium struct {
	t   testing.TB
	cmd *exec.Cmd
	out *os.File

	mu     sync.Mutex
	last   int
	wait   map[int]chan message
	events []message
	err    error // why nothing more will come
}

// A message is a call's answer or an event.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

func startChromium(t testing.TB) *chromium {
	t.Helper()
	in, toIn, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromOut, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := &chromium{t: t, out: toIn, wait: map[int]chan message{}}
	c.cmd = exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
		"--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "about:blank")
	c.cmd.ExtraFiles = []*os.File{in, out}
	if err := spawn(c.cmd); err != nil {
		t.Fatalf("these tests need a real chromium; make deps installs it: %v", err)
	}
	in.Close()
	out.Close()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.read(fromOut)
	}()
	t.Cleanup(func() {
		_ = c.call("", "Browser.close", nil, nil)
		killer := time.AfterFunc(10*time.Second, func() { _ = c.cmd.Process.Kill() })
		_ = c.cmd.Wait()
		killer.Stop()
		toIn.Close()
		<-ended
		fromOut.Close()
	})
	return c
}

// read hands on what the browser says until it ends.
func (c *chromium) read(from io.Reader) {
	in := bufio.NewReader(from)
	for {
		line, err := in.ReadBytes(0)
		var m message
		if err == nil {
			err = json.Unmarshal(line[:len(line)-1], &m)
		}
		c.mu.Lock()
		switch {
		case err != nil:
			c.err = err
			for _, w := range c.wait {
				close(w)
			}
			clear(c.wait)
		case m.ID != 0 && c.wait[m.ID] != nil:
			c.wait[m.ID] <- m
			delete(c.wait, m.ID)
		case m.Method != "":
			c.events = append(c.events, m)
		}
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// call asks the browser for something, and reads the answer into result unless it is nil.
func (c *chromium) call(session, method string, params, result any) error {
	answer := make(chan message, 1)
	c.mu.Lock()
	c.last++
	id := c.last
	if c.err != nil {
		defer c.mu.Unlock()
		return c.err
	}
	c.wait[id] = answer
	c.mu.Unlock()
	ask := map[string]any{"id": id, "method": method, "params": params}
	if session != "" {
		ask["sessionId"] = session
	}
	b, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	if _, err := c.out.Write(append(b, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: the browser has ended", method)
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-time.After(time.Minute):
		return fmt.Errorf("%s: no answer within a minute", method)
	}
}

// A tab is one page of the browser, with cookies and cache of its own.
type tab struct {
	t       testing.TB
	c       *chromium
	session string
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
	var made struct{ BrowserContextID, TargetID, SessionID string }
	b := &tab{t: t, c: c}
	b.do("Target.createBrowserContext", map[string]any{"disposeOnDetach": true}, &made)
	b.do("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": made.BrowserContextID}, &made)
	b.do("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	b.session = made.SessionID
	t.Cleanup(func() { _ = c.call("", "Target.closeTarget", map[string]any{"targetId": made.TargetID}, nil) })
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		b.do(domain+".enable", nil, nil)
	}
	scheme := "light"
	if v.dark {
		scheme = "dark"
	}
	b.do("Emulation.setEmulatedMedia", map[string]any{"media": v.media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	b.do("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": v.width, "height": v.height, "deviceScaleFactor": max(v.scale, 1), "mobile": v.width < 600,
	}, nil)
	b.do("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `window.shifted = 0;
		new PerformanceObserver(l => { for (const e of l.getEntries()) if (!e.hadRecentInput) window.shifted += e.value; }).observe({type: 'layout-shift', buffered: true});`}, nil)
	if v.noJS {
		b.do("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	}
	return b
}

func (b *tab) do(method string, params map[string]any, result any) {
	b.t.Helper()
	if params == nil {
		params = map[string]any{}
	}
	if err := b.c.call(b.session, method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

// seen are the events of a kind that came for the tab so far.
func (b *tab) seen(method string) (out []message) {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	for _, m := range b.c.events {
		if m.Session == b.session && m.Method == method {
			out = append(out, m)
		}
	}
	return out
}

// loads does something that makes the tab load a page, and waits until it has.
func (b *tab) loads(what string, act func()) {
	b.t.Helper()
	before := len(b.seen("Page.loadEventFired"))
	act()
	eventually(b.t, 30*time.Second, what+" loads a page", func() (bool, string) {
		return len(b.seen("Page.loadEventFired")) > before, fmt.Sprintf("%d loads before", before)
	})
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.loads("opening "+url, func() { b.do("Page.navigate", map[string]any{"url": url}, nil) })
}

// eval runs JavaScript in the page and reads its value into result.
func (b *tab) eval(js string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Exception struct{ Description string }
		}
	}
	b.do("Runtime.evaluate", map[string]any{"expression": js, "returnByValue": true, "awaitPromise": true, "userGesture": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", js, answer.ExceptionDetails.Exception.Description)
	}
	if result == nil || len(answer.Result.Value) == 0 {
		return
	}
	if err := json.Unmarshal(answer.Result.Value, result); err != nil {
		b.t.Fatalf("%s = %s: %v", js, answer.Result.Value, err)
	}
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
	codes := map[string]int{"Enter": 13, "Escape": 27, "Backspace": 8, "ArrowDown": 40, "ArrowUp": 38}
	for _, k := range keys {
		p := map[string]any{"type": "keyDown", "key": k, "windowsVirtualKeyCode": codes[k]}
		switch {
		case k == "Enter":
			p["text"] = "\r"
		case codes[k] == 0:
			p["text"] = k
		}
		b.do("Input.dispatchKeyEvent", p, nil)
		b.do("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": k, "windowsVirtualKeyCode": codes[k]}, nil)
	}
}

// click presses the mouse in the middle of the first element that a selector finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	var at struct{ X, Y float64 }
	b.eval(`(() => { const e = document.querySelector(`+quoteJS(selector)+`); e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();
		return {X: r.x + r.width / 2, Y: r.y + r.height / 2}; })()`, &at)
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		b.do("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at.X, "y": at.Y, "button": "left", "clickCount": 1}, nil)
	}
}

func quoteJS(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// shot takes a picture of what the tab shows.
func (b *tab) shot(dir, name string) {
	b.t.Helper()
	var pic struct{ Data string }
	b.do("Page.captureScreenshot", map[string]any{"format": "png"}, &pic)
	png, err := base64.StdEncoding.DecodeString(pic.Data)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil || len(png) < 1000 {
		b.t.Errorf("picture %s of %d bytes: %v", name, len(png), err)
	}
}

// quiet holds that no page of the tab complained, opened a dialog, moved what was already drawn, or asked another host than host.
func (b *tab) quiet(host string) {
	b.t.Helper()
	for _, kind := range []string{"Runtime.exceptionThrown", "Page.javascriptDialogOpening", "Log.entryAdded", "Runtime.consoleAPICalled"} {
		for _, m := range b.seen(kind) {
			b.t.Errorf("the browser reports %s: %.500s", kind, m.Params)
		}
	}
	for _, url := range b.asked() {
		if !strings.HasPrefix(url, "http://"+host+"/") && !strings.HasPrefix(url, "data:") {
			b.t.Errorf("a page asked for %s", url)
		}
	}
	var shifted float64
	if b.eval("window.shifted", &shifted); shifted != 0 {
		b.t.Errorf("the layout shifted by %f", shifted)
	}
}

// asked are the URLs that pages asked for, without those that they carry in themselves.
func (b *tab) asked() (urls []string) {
	for _, m := range b.seen("Network.requestWillBeSent") {
		var p struct{ Request struct{ URL string } }
		if err := json.Unmarshal(m.Params, &p); err != nil {
			b.t.Fatal(err)
		}
		urls = append(urls, p.Request.URL)
	}
	return slices.DeleteFunc(urls, func(u string) bool { return strings.HasPrefix(u, "data:") })
}
