package fill

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"zcache/internal/origin/origintest"
)

func TestWhatMayNotBeShared(t *testing.T) {
	tests := []struct {
		name    string
		control string
		request string
		kept    bool
	}{
		{"Authorization", fresh, "Authorization: Basic eDp5", false},
		{"Authorization, the answer being public", fresh + ", public", "Authorization: Basic eDp5", true},
		{"Authorization, the answer having s-maxage", "s-maxage=60", "Authorization: Basic eDp5", true},
		{"Cookie", fresh, "Cookie: a=b", false},
		{"Cookie, the answer being public", fresh + ", public", "Cookie: a=b", true},
		{"request no-store", fresh, "Cache-Control: no-store", false},
		{"request no-cache", fresh, "Cache-Control: no-cache", true},
		{"Pragma: no-cache", fresh, "Pragma: no-cache", true},
		{"a digest that the client pins", fresh, "Repr-Digest: sha-256=:jtbAMmRx0ubrc41WCEUOmYwFncWlK+oxi9T3g8OlbPU=:", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := newRig(t)
			release := make(chan struct{})
			g.o.File("/a", origintest.Text("whose?"), cc(tt.control), origintest.Hold(release))
			var clients sync.WaitGroup
			for range 3 {
				clients.Go(func() { g.get("/a", tt.request) })
			}
			g.o.Wait("/a", 3) // all three arrive there: nobody waits for another
			close(release)
			clients.Wait()
			g.idle()
			if kept := g.held("/a") != ""; kept != tt.kept {
				t.Errorf("kept: %v, want %v", kept, tt.kept)
			}
		})
	}
}

func TestGETWithABodyIsForItsSenderAlone(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("for you"), cc(fresh+", public"))
	for range 2 {
		pr, pw := io.Pipe()
		go func() { io.WriteString(pw, "body"); pw.Close() }()
		r := read(g.f.Get(t.Context(), &Request{Key: g.key("/a"), Method: "GET", Header: http.Header{}, Body: pr, Length: 4}))
		r.want(t, "fat GET", 200, "for you", Bypass)
	}
	if got := string(g.o.Last("/a").Body); got != "body" || g.o.Count("/a") != 2 || g.held("/a") != "" {
		t.Errorf("the origin got %q in %d requests, held %q", got, g.o.Count("/a"), g.held("/a"))
	}
}

func TestAskingHeadFillsNothing(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("four"), cc(fresh))
	r := g.ask(t.Context(), "HEAD", "/a")
	r.want(t, "HEAD", 200, "", Miss)
	if r.header.Get("Content-Length") != "4" || g.o.CountMethod("HEAD", "/a") != 1 || g.o.Total() != 1 || g.held("/a") != "" {
		t.Errorf("Content-Length %q, %d requests, held %q", r.header.Get("Content-Length"), g.o.Total(), g.held("/a"))
	}
}

func TestFarRangeGetsItsOwnRequest(t *testing.T) {
	g := newRig(t)
	body, release := origintest.Body(8, 40<<20), make(chan struct{})
	g.o.File("/a", body, cc(fresh), origintest.First(1, origintest.Stall(1000, release)))
	a := g.open("/a")
	defer a.Close()
	g.o.WaitSent("/a", 1000)
	want, _ := io.ReadAll(body.Range(30<<20, 30<<20+10))
	r := g.get("/a", fmt.Sprintf("Range: bytes=%d-%d", 30<<20, 30<<20+9))
	r.want(t, "far ahead", 206, string(want), Miss)
	if r.outcome.Fwd != "partial" || g.o.Count("/a") != 2 {
		t.Errorf("%s after %d requests", r.outcome.CacheStatus(), g.o.Count("/a"))
	}
	near, _ := io.ReadAll(body.Range(10, 20))
	g.get("/a", "Range: bytes=10-19").want(t, "what is there", 206, string(near), Coalesced)
	close(release)
	whole, err := io.ReadAll(a.Body)
	if err != nil || string(whole) != body.String() {
		t.Errorf("the first client got %d bytes, %v", len(whole), err)
	}
}

func TestOnMiss(t *testing.T) {
	g := newRig(t)
	body := origintest.Body(9, 1<<20)
	g.o.File("/r", body, cc(fresh))
	g.o.File("/w", body, cc(fresh))
	g.set(func(p *Policy) { p.OnMiss = RedirectMiss })
	r := g.get("/r")
	r.want(t, "redirect", 302, "", Miss)
	if to := r.header.Get("Location"); to != g.o.URL+"/r" {
		t.Errorf("Location %q", to)
	}
	g.idle()
	g.get("/r").want(t, "the next", 200, body.String(), Hit)
	g.set(func(p *Policy) { p.OnMiss = WaitMiss })
	a := g.open("/w")
	defer a.Close()
	if g.held("/w") != body.String() {
		t.Error("the answer came before the body was whole")
	}
}

func TestEnsure(t *testing.T) {
	g := newRig(t)
	body := origintest.Body(10, 1<<20)
	g.o.File("/a", body, cc(fresh))
	if o, err := g.f.Ensure(t.Context(), g.key("/a")); err != nil || !o.Stored || g.held("/a") != body.String() {
		t.Errorf("Ensure = %+v, %v, held %d bytes", o, err, len(g.held("/a")))
	}
	var status *StatusError
	if _, err := g.f.Ensure(t.Context(), g.key("/none")); !errors.As(err, &status) || status.Status != 404 {
		t.Errorf("Ensure of what is not there = %v", err)
	}
	g.o.File("/cut", body, origintest.NoValidators(), origintest.CutAfter(1000))
	if _, err := g.f.Ensure(t.Context(), g.key("/cut")); err == nil {
		t.Error("Ensure of a body that breaks off says it is there")
	}
}

func TestRequestsTellOfTheirKeyAlone(t *testing.T) {
	g := newRig(t)
	g.o.File("/a", origintest.Text("x"))
	g.get("/a", "X-Forwarded-Host: evil", "X-Forwarded-For: 1.2.3.4", "Forwarded: for=x", "X-Original-URL: /evil", "X-Rewrite-URL: /evil",
		"X-HTTP-Method-Override: PUT", "X-HTTP-Method: PUT", "X-Method-Override: PUT", "X-HTTP-Methods: PUT", "Range: bytes=0-0", "If-None-Match: *",
		"If-Modified-Since: "+later, "Accept-Encoding: gzip", "Connection: X-Hop, keep-alive", "X-Hop: 1", "Keep-Alive: 5", "TE: trailers", "Trailer: X",
		"Upgrade: h2c", "Proxy-Authorization: Basic eDp5", "Proxy-Connection: x", "Expect: 100-continue", "X-Other: stays", "Referer: stays")
	sent := g.o.Last("/a").Header
	for name := range sent {
		switch name {
		case "X-Other", "Referer", "Accept-Encoding", "User-Agent", "Via", "Cdn-Loop":
		default:
			t.Errorf("the origin was told %s: %s", name, sent.Get(name))
		}
	}
	if sent.Get("Accept-Encoding") != "identity" || sent.Get("X-Other") != "stays" {
		t.Errorf("the origin got %v", sent)
	}
}
