package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"zcache/internal/config"
)

// invoke runs args in this process, in an empty working directory.
func invoke(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Chdir(t.TempDir())
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, serve: runServe}
	code = a.run(t.Context(), args)
	return code, out.String(), errs.String()
}

// operations is a server that answers the operations as script says and notes what it was asked.
func operations(t *testing.T, script func(w http.ResponseWriter, r *http.Request, body string)) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read the request: %v", err)
		}
		script(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestArrangePutsFlagsBeforeArguments(t *testing.T) {
	for _, row := range []struct {
		claim string
		args  []string
		want  []string
	}{
		{"a switch after the argument", []string{"purge", "/x", "--recursive"}, []string{"purge", "--recursive", "--", "/x"}},
		{"a flag and its value after it", []string{"purge", "/x", "--server", "u"}, []string{"purge", "--server", "u", "--", "/x"}},
		{"flags of the process before the verb", []string{"-c", "f", "serve", "--offline"}, []string{"-c", "f", "serve", "--offline", "--"}},
		{"a value that looks like a verb", []string{"--root", "serve", "serve"}, []string{"--root", "serve", "serve", "--"}},
		{"what follows -- is no flag", []string{"purge", "--", "-x", "--recursive"}, []string{"purge", "--", "-x", "--recursive"}},
		{"a single dash is an argument", []string{"warm", "-f", "-"}, []string{"warm", "-f", "-", "--"}},
		{"no verb at all", []string{"--offline"}, []string{"--offline", "--"}},
	} {
		got, err := arrange((&app{}).commands(), row.args)
		if err != nil || !slices.Equal(got, row.want) {
			t.Errorf("%s: arrange(%q) = %q, %v, want %q", row.claim, row.args, got, err, row.want)
		}
	}
}

func TestPurgeAsksTheServer(t *testing.T) {
	var asked string
	server := operations(t, func(w http.ResponseWriter, r *http.Request, body string) {
		asked = r.Method + " " + r.URL.Path + " " + body
		io.WriteString(w, `{"removed":3}`)
	})
	code, out, _ := invoke(t, "", "purge", "/k/x", "--recursive", "--server", server)
	if want := `POST /-/purge {"path":"/k/x","recursive":true}`; asked != want || code != 0 || out != "purged /k/x: 3 entries\n" {
		t.Errorf("asked %s, want %s; exit %d, %q", asked, want, code, out)
	}
	code, out, _ = invoke(t, "", "purge", "/k/x", "--json", "--server", server)
	if code != 0 || !json.Valid([]byte(out)) {
		t.Errorf("--json: exit %d, %q", code, out)
	}
}

func TestProblemBecomesOneLine(t *testing.T) {
	server := operations(t, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"title":"Forbidden","status":403,"detail":"operations are for loopback\nclients","error":"denied"}`)
	})
	code, _, errs := invoke(t, "", "purge", "/x", "--server", server)
	if want := "zcache: purge /x: operations are for loopback clients (denied)\n"; code != 1 || errs != want {
		t.Errorf("exit %d, %q, want 1, %q", code, errs, want)
	}
}

func TestExplainPrintsFactsInTheServersOrder(t *testing.T) {
	server := operations(t, func(w http.ResponseWriter, r *http.Request, _ string) {
		fmt.Fprintf(w, `{"hub":"k","key":%q,"held":true,"fresh":{"until":"later","rule":"max-age"},"next":["hit","disk"],"none":null}`,
			r.URL.Query().Get("url"))
	})
	code, out, errs := invoke(t, "", "explain", "http://a.example/x?y=1&z", "--server", server)
	want := "hub: k\nkey: http://a.example/x?y=1&z\nheld: true\nfresh.until: later\nfresh.rule: max-age\nnext: hit\nnext: disk\n"
	if code != 0 || out != want {
		t.Errorf("exit %d, %q (%s), want 0, %q", code, out, errs, want)
	}
}

func TestWarmExitsByWhatBecameOfTheURLs(t *testing.T) {
	server := operations(t, func(w http.ResponseWriter, _ *http.Request, body string) {
		switch {
		case strings.Contains(body, "/gone"):
			io.WriteString(w, `{"urls":[{"url":"/gone","state":"failed","status":504,"error":"not held, and no upstream answered"}]}`)
		case strings.Contains(body, "/bad"):
			io.WriteString(w, `{"state":"failed","urls":[{"url":"/bad","state":"failed","error":"the upstream has no such file"}]}`)
		default:
			io.WriteString(w, `{"urls":[{"url":"/ok","state":"held","x_cache":"MISS"}]}`)
		}
	})
	for _, row := range []struct {
		claim string
		urls  []string
		code  int
		out   string
	}{
		{"all held", []string{"/ok1", "/ok2"}, 0, "2 of 2 held"},
		{"some failed", []string{"/ok", "/bad"}, 3, "1 of 2 held"},
		{"all failed", []string{"/bad"}, 1, "0 of 1 held"},
		{"all missing and unreachable", []string{"/gone1", "/gone2"}, 5, "0 of 2 held"},
	} {
		code, out, errs := invoke(t, "", append([]string{"warm", "--server", server}, row.urls...)...)
		if code != row.code || !strings.HasSuffix(out, row.out+"\n") {
			t.Errorf("%s: exit %d, %q, %q, want %d and %q", row.claim, code, out, errs, row.code, row.out)
		}
	}
	code, out, _ := invoke(t, "# list\n/ok1\n\n /bad \n", "warm", "-f", "-", "--json", "--server", server)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	want := []string{`{"url":"/bad","ok":false,"error":"the upstream has no such file"}`, `{"url":"/ok1","ok":true}`}
	if code != 3 || !slices.Equal(lines, want) {
		t.Errorf("from standard input: exit %d, %q, want 3, %q", code, lines, want)
	}
}

func TestServerIsFoundFromTheListenAddress(t *testing.T) {
	for listen, want := range map[string]string{
		":3142":                         "http://127.0.0.1:3142",
		"0.0.0.0:80":                    "http://127.0.0.1:80",
		"[::]:80":                       "http://127.0.0.1:80",
		"192.0.2.7:80":                  "http://192.0.2.7:80",
		"192.0.2.7:80,127.0.0.1:81,:82": "http://127.0.0.1:81",
		"[::1]:80":                      "http://[::1]:80",
	} {
		cfg, err := config.Parse("--listen=" + listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := localURL(cfg); got != want {
			t.Errorf("localURL of %s = %s, want %s", listen, got, want)
		}
	}
}

// serveAlone serves one handler until ctx ends.
func serveAlone(ctx context.Context, cfg config.Config, h hooks, handler http.Handler) error {
	l, err := net.Listen("tcp", cfg.Listen[0])
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	h.listening([]net.Addr{l.Addr()})
	return server.Serve(l)
}

func TestDemoShowsMissHitAndOutage(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, serve: runServe}
	if code := a.run(t.Context(), []string{"demo", "--once"}); code != 0 {
		t.Fatalf("demo: exit %d, %s\n%s", code, errs.String(), out.String())
	}
	text := out.String()
	for _, part := range []string{"MISS", "HIT", "STALE", "504"} {
		i := strings.Index(text, part)
		if i < 0 {
			t.Fatalf("the show lacks %q, or shows it too early:\n%s", part, out.String())
		}
		text = text[i:]
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("the demo left %v behind, %v", left, err)
	}
}

func TestDemoFailsWhenTheShowGoesWrong(t *testing.T) {
	useless := func(ctx context.Context, cfg config.Config, _ *slog.Logger, h hooks) error {
		return serveAlone(ctx, cfg, h, http.NotFoundHandler())
	}
	var out, errs bytes.Buffer
	a := &app{stdout: &out, stderr: &errs, serve: useless}
	code := a.run(t.Context(), []string{"demo", "--once"})
	if want := `came as 404 with X-Cache "", want MISS`; code != 1 || !strings.Contains(errs.String(), want) {
		t.Errorf("demo: exit %d, %q, want 1 and %s", code, errs.String(), want)
	}
}

func TestDemoOriginServesATree(t *testing.T) {
	s := httptest.NewServer(newDemoOrigin())
	defer s.Close()
	for path, part := range map[string]string{
		"/":                 `<a href="hello/">hello/</a>`,
		"/hello/":           `<a href="hello-1.0.tar.gz">hello-1.0.tar.gz</a>`,
		"/hello/SHA256SUMS": "hello-1.0.tar.gz",
	} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), part) {
			t.Errorf("GET %s = %d, %q, %v; want %q in it", path, resp.StatusCode, body, err, part)
		}
	}
	resp, err := http.Get(s.URL + "/none")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("GET /none = %d, want 404", resp.StatusCode)
	}
}

func TestReloadRefusesABadConfigurationAndTakesAGoodOne(t *testing.T) {
	t.Chdir(t.TempDir())
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile("zcache.toml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log-level = \"info\"\n")
	a := &app{}
	a.commands()
	cfg, err := a.flags.Load()
	if err != nil {
		t.Fatal(err)
	}
	r := newReloader(a.flags, cfg)
	var applied []string
	apply := func(c config.Config) error { applied = append(applied, c.LogLevel); return nil }
	h := hooks{load: r.load}

	write("log-level = \"loud\"\n")
	if err := h.reloadNow(apply); err == nil || len(applied) > 0 {
		t.Errorf("reload of a bad file: %v, applied %q; want an error and nothing applied", err, applied)
	}
	write("log-level = \"warn\"\n[[hub]]\nname = \"a\"\nupstream = \"http://a.example\"\nbasic-file = \"b\"\n")
	if err := os.WriteFile("b", []byte("u:p"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.reloadNow(apply); err != nil || !slices.Equal(applied, []string{"warn"}) {
		t.Errorf("reload of a good file: %v, applied %q", err, applied)
	}
	if got := r.watched(); !slices.Equal(got, []string{"zcache.toml", "b"}) || len(r.moved) != 1 {
		t.Errorf("watched after the reload: %q, told %d times; want the new file too, told once", got, len(r.moved))
	}
}

func TestOnChangeAsksWhenTheFileChanges(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "z.toml")
	if err := os.WriteFile(path, []byte("log-level = \"info\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{}
	root := a.commands()
	if err := root.Parse([]string{"--config", path, "check-config"}); err != nil {
		t.Fatal(err)
	}
	cfg, err := a.flags.Load()
	if err != nil {
		t.Fatal(err)
	}
	r := newReloader(a.flags, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.onChange(ctx, slog.New(slog.DiscardHandler))
	}()
	// Each write differs from the one before, so whenever the watch begins, a later write is a change.
	for n := 0; ; n++ {
		if err := os.WriteFile(path, fmt.Appendf(nil, "log-level = \"info\" # %d\n", n), 0o600); err != nil {
			t.Fatal(err)
		}
		if askedWithin(r) {
			break
		}
		if n == 50 {
			t.Fatal("no reload was asked for")
		}
	}
	cancel()
	<-ended
}

func TestListenOpensAllOrNothing(t *testing.T) {
	free := holdPort(t)
	var lc net.ListenConfig
	first, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := first.Addr().String()
	first.Close()
	if _, err := listen(t.Context(), "listen", []string{addr, free}); err == nil {
		t.Fatal("listen on a held port succeeded")
	}
	again, err := listen(t.Context(), "listen", []string{addr})
	if err != nil {
		t.Fatalf("the first address stayed open: %v", err)
	}
	closeAll(again)
}

func TestClientTalksPastTheEnvironmentsProxy(t *testing.T) {
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	server := operations(t, func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, `{"removed":1}`) })
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke(t, "", "purge", "/x", "--server", u.Host); code != 0 || out != "purged /x: 1 entry\n" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

// askedWithin says whether a reload was asked for within the time in which a change is noticed.
func askedWithin(r *reloader) bool {
	select {
	case <-r.asked:
		return true
	case <-time.After(500 * time.Millisecond):
		return false
	}
}
