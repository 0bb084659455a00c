package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An answer is one response, read to its end.
type answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    []byte
	Err     error // how the body ended, nil when its framing says that it is whole
	Raw     string
	Took    time.Duration
}

func (a answer) cache() string { return a.Header.Get("X-Cache") }

// ask sends one request over a connection of its own and reads the answer. Fields are lines as on the wire, "Name: value".
func ask(t testing.TB, method, url string, fields ...string) answer {
	t.Helper()
	a, err := tryAsk(method, url, fields...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

func tryAsk(method, url string, fields ...string) (answer, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return answer{}, err
	}
	setFields(req, fields)
	began := time.Now()
	resp, err := plain.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{Status: resp.StatusCode, Header: resp.Header, Trailer: resp.Trailer, Body: body, Err: err, Took: time.Since(began)}, nil
}

func setFields(req *http.Request, fields []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		if value = strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
}

func get(t testing.TB, url string, fields ...string) answer {
	t.Helper()
	return ask(t, http.MethodGet, url, fields...)
}

// whole wants a 200 with exactly this body.
func (a answer) whole(t testing.TB, what string, want []byte) answer {
	t.Helper()
	switch {
	case a.Status != http.StatusOK:
		t.Errorf("%s = %d %s, want 200", what, a.Status, clip(a.Body))
	case a.Err != nil:
		t.Errorf("%s: body broke off after %d of %d bytes: %v", what, len(a.Body), len(want), a.Err)
	case !bytes.Equal(a.Body, want):
		t.Errorf("%s: got %d bytes %s, want %d bytes %s", what, len(a.Body), clip(a.Body), len(want), clip(want))
	}
	return a
}

// is wants a status, and a verdict of the cache unless that is "". HIT-COALESCED is a HIT here, too: the answer before it ends
// for its client a moment before its entry is published.
func (a answer) is(t testing.TB, what string, status int, verdict string) answer {
	t.Helper()
	if a.Status != status {
		t.Errorf("%s = %d %s, want %d", what, a.Status, clip(a.Body), status)
	}
	if verdict != "" && a.cache() != verdict && (verdict != "HIT" || a.cache() != "HIT-COALESCED") {
		t.Errorf("%s: X-Cache %q (Cache-Status %q), want %q", what, a.cache(), a.Header.Get("Cache-Status"), verdict)
	}
	return a
}

// problem wants a problem document and gives it.
func (a answer) problem(t testing.TB, what string) map[string]any {
	t.Helper()
	if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/problem+json") {
		t.Errorf("%s: Content-Type %q, want application/problem+json (%s)", what, ct, clip(a.Body))
		return nil
	}
	return a.json(t, what)
}

func (a answer) json(t testing.TB, what string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Errorf("%s: not JSON: %v: %s", what, err, clip(a.Body))
	}
	return v
}

func clip(b []byte) string {
	s, _ := json.Marshal(string(b[:min(len(b), 160)]))
	return string(s)
}

// raw sends bytes as they are and reads what comes until the connection ends; they should ask for that with Connection: close.
func raw(t testing.TB, addr, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("dial %s: %v", addr, err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	// An answer may come, and the connection end, before all was sent.
	_, unsent := io.WriteString(conn, request)
	method, _, _ := strings.Cut(request, " ")
	a, err := readAnswer(conn, method)
	if err != nil {
		t.Fatalf("%.200q: %v, %v", request, err, unsent)
	}
	return a
}

// readAnswer reads one answer and the end of its connection. The error says that there was none.
func readAnswer(conn net.Conn, method string) (answer, error) {
	all, err := io.ReadAll(conn)
	if len(all) == 0 {
		return answer{}, fmt.Errorf("no answer: %w", err)
	}
	a := answer{Raw: string(all), Err: err}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(all)), &http.Request{Method: method})
	if err != nil {
		return answer{}, fmt.Errorf("answer is no HTTP: %w: %s", err, clip(all))
	}
	a.Status, a.Header = resp.StatusCode, resp.Header
	a.Body, err = io.ReadAll(resp.Body)
	if a.Err == nil {
		a.Err = err
	}
	return a, nil
}

// target asks for a request-target byte for byte, which no HTTP library would let through.
func target(t testing.TB, addr, target string) answer {
	t.Helper()
	return raw(t, addr, "GET "+target+" HTTP/1.1\r\nHost: "+addr+"\r\nConnection: close\r\n\r\n")
}

// A digest is what is kept of a body too large to hold.
type digest struct {
	n   int64
	sum [sha256.Size]byte
}

func digestOf(r io.Reader) (digest, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	d := digest{n: n}
	h.Sum(d.sum[:0])
	return d, err
}

// download reads a body without holding it. The error is how the body ended.
func download(t testing.TB, url string, fields ...string) (digest, *http.Response, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	setFields(req, fields)
	resp, err := plain.Do(req)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	defer resp.Body.Close()
	d, err := digestOf(resp.Body)
	return d, resp, err
}
