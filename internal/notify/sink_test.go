package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func sample() Message {
	return newMessage(Event{
		Kind: IntegrityFailure, Subject: "https://kernel.example/a.tar.xz", Text: "the body has not the digest of SHA256SUMS",
		Fields: map[string]string{"hub": "kernel", "want-sha256": "00ff"},
	}.clean(), "lab", 7)
}

func parse(t *testing.T, raw string) Sink {
	t.Helper()
	s, err := ParseSink(raw)
	if err != nil {
		t.Fatalf("ParseSink = %v", err)
	}
	return s
}

// write puts text into a file of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// authority puts the certificate of a test server into a file for ca=.
func authority(t *testing.T, s *httptest.Server) string {
	return write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
}

func TestAWebhookIsSigned(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer server.Close()
	two := []string{key, "an-old-and-known-secret"}
	for claim, row := range map[string]struct {
		fragment string
		keys     []string
	}{
		"with two secrets while they change": {"secret-file=" + write(t, "keys", strings.Join(two, "\n")), two},
		"with one of a file":                 {"secret-file=" + write(t, "key", key), two[:1]},
		"with one of the URL":                {"secret=" + key, two[:1]},
		"with none":                          {"", nil},
	} {
		s := parse(t, server.URL+"/hook?token=abc#ca="+authority(t, server)+"&"+row.fragment)
		m := sample()
		if err := s.Send(t.Context(), m); err != nil {
			t.Errorf("%s: Send = %v", claim, err)
			continue
		}
		if got.URL.String() != "/hook?token=abc" || got.Method != "POST" || got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Webhook-Id") != m.ID {
			t.Errorf("%s: got %s %s %v, want a POST of JSON to the path and query, with the id", claim, got.Method, got.URL, got.Header)
		}
		stamp := got.Header.Get("Webhook-Timestamp")
		if n, err := strconv.ParseInt(stamp, 10, 64); err != nil || time.Since(time.Unix(n, 0)).Abs() > time.Minute {
			t.Errorf("%s: Webhook-Timestamp = %q, want now", claim, stamp)
		}
		var want []string
		for _, k := range row.keys {
			raw := []byte(k)
			if rest, ok := strings.CutPrefix(k, "whsec_"); ok {
				raw, _ = base64.StdEncoding.DecodeString(rest)
			}
			mac := hmac.New(sha256.New, raw)
			mac.Write([]byte(m.ID + "." + stamp + "." + string(body)))
			want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
		if sig := got.Header.Get("Webhook-Signature"); sig != strings.Join(want, " ") {
			t.Errorf("%s: Webhook-Signature = %q, want %q", claim, sig, want)
		}
		var p payload
		if err := json.Unmarshal(body, &p); err != nil || p.Type != m.Kind || p.Data.Subject != m.Subject || p.Data.Again != 7 || p.Data.Fields["hub"] != "kernel" || p.Data.Instance != "lab" {
			t.Errorf("%s: body = %s (%v), want the message", claim, body, err)
		}
	}
}

// The specification's own example, so that both sides of the other test are not wrong together.
func TestTheSignatureOfAKnownMessage(t *testing.T) {
	k, err := readKey(key)
	if err != nil {
		t.Fatal(err)
	}
	w := &webhook{keys: [][]byte{k}}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := w.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("sign = %s, want %s", got, want)
	}
}

func TestWhatAStatusMeans(t *testing.T) {
	var status atomic.Int64
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Location", "/elsewhere")
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	s := parse(t, server.URL)
	for _, row := range []struct {
		status          int
		ok, again, gone bool
		after           time.Duration
	}{
		{200, true, false, false, 0},
		{204, true, false, false, 0},
		{301, false, false, false, 0},
		{307, false, false, false, 0},
		{400, false, false, false, 0},
		{410, false, false, true, 0},
		{429, false, true, false, 2 * time.Minute},
		{503, false, true, false, 2 * time.Minute},
	} {
		status.Store(int64(row.status))
		asked.Store(0)
		err := s.Send(t.Context(), sample())
		later, _ := errors.AsType[retryLater](err)
		if (err == nil) != row.ok || errors.Is(err, errGone) != row.gone || !row.ok && !row.gone && errors.Is(err, errPermanent) == row.again || later.after != row.after || asked.Load() != 1 {
			t.Errorf("Send to one that answers %d = %v after %d requests, want ok %v, again %v, gone %v, after %v, one request", row.status, err, asked.Load(), row.ok, row.again, row.gone, row.after)
		}
	}
}

func TestErrorsTellNoSecret(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	for _, raw := range []string{
		"http://user:hushhush@" + server.Listener.Addr().String() + "/hushhush?x=hushhush#secret=hushhushhushhush",
		"smtp://user:hushhush@" + server.Listener.Addr().String() + "?to=a@example.org&from=b@example.org",
		"exec:///bin/false?arg=hushhush",
	} {
		s := parse(t, raw)
		err := s.Send(t.Context(), sample())
		if err == nil || strings.Contains(err.Error(), "hush") || strings.Contains(s.String(), "hush") {
			t.Errorf("Send by %s = %v, want an error, and no secret in either", s, err)
		}
	}
	for _, raw := range []string{
		"smtp://user:hush/hush@a.example?to=a@example.org", "https://a.example:hush/", "http://u:hush%@x/", "https://a.example/#secret=hush",
		"https://a.example/#secret=whsec_hush!", "smtp://user:hush@a.example?to=x", "hush://x", "smtp://a.example?to=a@b.c&password-file=/nonexistent&password=hush",
	} {
		if _, err := ParseSink(raw); !errors.Is(err, ErrBadSink) || strings.Contains(err.Error(), "hush") {
			t.Errorf("ParseSink(%s) = %v, want ErrBadSink without the secret", raw, err)
		}
	}
}

func TestURLsThatNameNoSink(t *testing.T) {
	for claim, raw := range map[string]string{
		"nothing":                    "",
		"another scheme":             "ftp://a.example/",
		"a webhook without host":     "https:///x",
		"an option that nobody has":  "https://a.example/#secrets=x",
		"an option of others":        "exec:///bin/true?to=a@example.org",
		"an option twice":            "https://a.example/#kinds=storage-red&kinds=storage-red",
		"a kind that is none":        "https://a.example/#kinds=storage-blue",
		"a file that is not there":   "https://a.example/#secret-file=/nonexistent",
		"a ca that is none":          "https://a.example/#ca=/dev/null",
		"mail to nobody":             "smtp://a.example",
		"mail to what is no address": "smtp://a.example?to=a",
		"a line break in an address": "smtp://a.example?to=a%0d%0aRCPT@example.org",
		"an address beyond ASCII":    "smtp://a.example?to=m%C3%BCller@example.org",
		"mail with a path":           "smtp://a.example/x?to=a@example.org",
		"a user without a password":  "smtp://me@a.example?to=a@example.org",
		"another way to TLS":         "smtp://a.example?to=a@example.org&starttls=maybe",
		"a command of the path":      "exec:true",
		"a command with a host":      "exec://bin/true",
		"a command that is not":      "exec:///nonexistent",
		"a directory":                "exec:///tmp",
		"a file that cannot run":     "exec:///etc/passwd",
		"a command without an end":   "exec:///bin/true?timeout=1h",
		"broken parameters":          "exec:///bin/true?a=%zz",
	} {
		if s, err := ParseSink(raw); !errors.Is(err, ErrBadSink) {
			t.Errorf("%s: ParseSink(%s) = %v, %v, want ErrBadSink", claim, raw, s, err)
		}
	}
}

func TestACommandIsRunWithoutAShell(t *testing.T) {
	t.Setenv("ZCACHE_AUTH_SECRET", "hush")
	out := filepath.Join(t.TempDir(), "out")
	s := parse(t, `exec:///bin/sh?kinds=readiness&arg=-c&arg=env+>"$1"%3Bcat+>>"$1"&arg=hook&arg=`+out)
	if !takes(s, ReadinessChanged) || takes(s, StorageRed) {
		t.Error("the command takes other kinds than it asked for")
	}
	m := sample()
	m.Text = "$(touch /nonexistent) `id` ; rm"
	if err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ZCACHE_KIND=integrity-failure\n", "ZCACHE_SUBJECT=https://kernel.example/a.tar.xz\n", "ZCACHE_TEXT=$(touch /nonexistent) `id` ; rm\n",
		"ZCACHE_AGAIN=7\n", "ZCACHE_FIELD_WANT_SHA256=00ff\n", "ZCACHE_INSTANCE=lab\n", `"type":"integrity-failure"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("the command got\n%s\nwant %q in it", b, want)
		}
	}
	if strings.Contains(string(b), "hush") {
		t.Error("the command has our whole environment, want none of its secrets")
	}
}

func TestACommandThatFails(t *testing.T) {
	for _, row := range []struct{ claim, args, want string }{
		{"says why", "arg=-c&arg=echo+no+route+>%262%3Bexit+3", "exit status 3: no route"},
		{"does not end", "timeout=100ms&arg=-c&arg=sleep+60", "not done after 100ms"},
		{"leaves a child behind", "timeout=100ms&arg=-c&arg=sleep+60%26wait", "not done after 100ms"},
		{"does not read", "arg=-c&arg=exit+0", ""},
	} {
		s := parse(t, "exec:///bin/sh?"+row.args)
		began := time.Now()
		err := s.Send(t.Context(), sample())
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) || time.Since(began) > 4*time.Second {
			t.Errorf("a command that %s: Send = %v after %v, want %q, and what it has started killed at once", row.claim, err, time.Since(began), row.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := parse(t, "exec:///bin/sh?arg=-c&arg=sleep+60").Send(ctx, sample()); err == nil {
		t.Error("Send of a command that was called off = nil, want an error")
	}
}
