package web

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"zcache/internal/auth"
	"zcache/internal/mirror"
)

// A told is one server-sent event.
type told struct {
	id, kind string
	data     map[string]any
	comment  bool
}

// nextEvent reads one event or comment; the retry line is passed over.
func nextEvent(t *testing.T, r *bufio.Reader) (told, error) {
	t.Helper()
	var e told
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return e, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "":
			if e.comment = value != ""; e.comment || e.kind != "" {
				return e, nil
			}
		case "id":
			e.id = value
		case "event":
			e.kind = value
		case "data":
			if err := json.Unmarshal([]byte(value), &e.data); err != nil {
				t.Errorf("data %q is no JSON object: %v", value, err)
			}
		}
	}
}

// streaming starts a server over real sockets and a stream from it.
func streaming(t *testing.T, f *fakeMirror) (*Server, *http.Server, *bufio.Reader, chan mirror.Event) {
	t.Helper()
	f.subscribed = make(chan chan mirror.Event, maxStreams)
	s := NewServer(Config{Guard: auth.NewGuard(nil), Mirror: f})
	t.Cleanup(s.Close)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/-/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("events: %s = %q, want %q", name, got, want)
		}
	}
	return s, server.Config, bufio.NewReader(res.Body), <-f.subscribed
}

func TestEventsTellWhatIsAndThenWhatComes(t *testing.T) {
	_, _, r, events := streaming(t, twoSubtrees())
	last := ""
	take := func(kind, name, state string) {
		t.Helper()
		e, err := nextEvent(t, r)
		if err != nil || e.kind != kind || e.data["name"] != name || e.data["status"] != state {
			t.Fatalf("next event = %+v, %v; want %s of %s in state %s", e, err, kind, name, state)
		}
		if len(e.id) < len(last) || len(e.id) == len(last) && e.id <= last {
			t.Errorf("id of %s = %s after %s, want a larger one", kind, e.id, last)
		}
		last = e.id
	}
	take("mirror", "//deb.lab/pool", "failed")
	take("mirror", "/up/d", "syncing")
	for _, kind := range []string{"walk-queued", "walk-started", "walk-progress", "walk-ended"} {
		events <- mirror.Event{Kind: kind, Status: mirror.Status{Name: "/up/e", State: mirror.StateWalking, Err: "a\nb", Size: -1}}
		take(kind, "/up/e", "syncing")
	}
	close(events)
	if e, err := nextEvent(t, r); err != io.EOF {
		t.Errorf("after the last event: %+v, %v; want the end", e, err)
	}
}

// A drain waits for answers under way: a stream would hold it up until it gives up.
func TestEventsEndWhenTheDrainBegins(t *testing.T) {
	for _, row := range []struct {
		claim string
		end   func(*Server, *http.Server)
	}{
		{"a drain", func(s *Server, h *http.Server) {
			h.RegisterOnShutdown(s.EndStreams)
			if err := h.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown = %v", err)
			}
		}},
		{"the end of the server", func(s *Server, _ *http.Server) { s.Close() }},
	} {
		s, h, r, _ := streaming(t, twoSubtrees())
		for range 2 {
			if _, err := nextEvent(t, r); err != nil {
				t.Fatal(err)
			}
		}
		row.end(s, h)
		if e, err := nextEvent(t, r); err != io.EOF {
			t.Errorf("%s: the stream goes on with %+v, %v; want its end", row.claim, e, err)
		}
		if w := do(t, s, "GET", "/-/events", ""); w.Code != http.StatusOK {
			t.Errorf("%s: a stream after it = %d, want one that ends at once", row.claim, w.Code)
		}
	}
}

// A client that takes nothing must not hold up the end: its stream is stuck in a write then.
func TestEventsEndAlsoForAClientThatTakesNothing(t *testing.T) {
	f := twoSubtrees()
	f.all[0].Err = strings.Repeat("x", 64<<20) // no socket buffers hold it
	f.subscribed = make(chan chan mirror.Event, 1)
	s := NewServer(Config{Guard: auth.NewGuard(nil), Mirror: f})
	t.Cleanup(s.Close)
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /-/events HTTP/1.1\r\nHost: "+server.Listener.Addr().String()+"\r\n\r\n")
	if _, err := io.ReadFull(c, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	s.EndStreams()
	<-ended
	if d := time.Since(begun); d > writeTime/2 {
		t.Errorf("the stream of a client that takes nothing ended %v after its end was asked for, want about %v", d, endTime)
	}
}

func TestEventsSayThatTheyAreStillThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Config{Guard: auth.NewGuard(nil), Mirror: &fakeMirror{}})
		defer s.Close()
		in, out := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			do(t, piped{s, out}, "GET", "/-/events", "")
			out.Close()
		}()
		r, begun := bufio.NewReader(in), time.Now()
		for i := range 3 {
			e, err := nextEvent(t, r)
			if d := time.Since(begun); err != nil || !e.comment || d != time.Duration(i+1)*keepAlive {
				t.Errorf("comment %d = %+v, %v after %v, want one every %v", i, e, err, d, keepAlive)
			}
		}
		s.Close()
		if e, err := nextEvent(t, r); err != io.EOF {
			t.Errorf("after the end: %+v, %v", e, err)
		}
		<-done
	})
}

// piped is a handler whose answers' bodies go to a pipe.
type piped struct {
	http.Handler
	out io.Writer
}

func (p piped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.Handler.ServeHTTP(pipedWriter{w, p.out}, r)
}

type pipedWriter struct {
	http.ResponseWriter
	out io.Writer
}

func (p pipedWriter) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p pipedWriter) Flush()                      {}

func TestEventsAreBounded(t *testing.T) {
	s := NewServer(Config{Guard: auth.NewGuard(nil), Mirror: &fakeMirror{}})
	t.Cleanup(s.Close)
	for range maxStreams {
		s.streams <- struct{}{}
	}
	w := do(t, s, "GET", "/-/events", "")
	isProblem(t, "one stream too many", w, http.StatusServiceUnavailable, "busy")
	if w.Header().Get("Retry-After") == "" {
		t.Error("one stream too many is not told when to come again")
	}
	<-s.streams
	if w := do(t, s, "GET", "/-/events", "", gone); w.Code != http.StatusOK {
		t.Errorf("a stream when one has ended = %d, want 200", w.Code)
	}
	isProblem(t, "nothing is stored", newRig(t, withoutStore).do("GET", "/-/events", ""), http.StatusNotFound, "no_store")
	if len(s.streams) != maxStreams-1 {
		t.Errorf("%d streams count as open after one has ended, want %d", len(s.streams), maxStreams-1)
	}
	if w := do(t, s, "HEAD", "/-/events", ""); w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" || w.Body.Len() > 0 {
		t.Errorf("HEAD of the stream = %d %s %q, want its head alone", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
}
