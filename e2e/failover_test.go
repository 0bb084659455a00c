package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

func TestTheNextUpstreamGoesOnWhereOneFails(t *testing.T) {
	body := bytesOf("f", 600_000)
	whole := func(w *wire, r *request) {
		w.file(r, body, modified, `ETag: "same"`, "Cache-Control: max-age=600")
	}
	rows := []struct {
		name   string
		first  func(w *wire, r *request)
		status int
		second int // requests that the second upstream must see; -1 is any number
	}{
		{"down", func(w *wire, r *request) { w.cut() }, 200, 1},
		{"404", func(w *wire, r *request) { w.reply(r, 404, "no") }, 200, 1},
		{"410", func(w *wire, r *request) { w.reply(r, 410, "gone") }, 410, 0},
		{"403", func(w *wire, r *request) { w.reply(r, 403, "no") }, 403, 0},
		{"500", func(w *wire, r *request) { w.reply(r, 500, "no") }, 200, 1},
		{"503", func(w *wire, r *request) { w.reply(r, 503, "no") }, 200, 1},
		{"breaks midway", func(w *wire, r *request) {
			if r.Nth > 1 {
				w.cut()
				return
			}
			w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nETag: \"same\"\r\nLast-Modified: %s\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\n\r\n%s",
				modified.Format(http.TimeFormat), len(body), body[:250_000]))
			w.cut()
		}, 200, -1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			one := startOrigin(t, row.first)
			if row.name == "down" {
				one.stop()
			}
			two := startOrigin(t, whole)
			z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [%q, %q]\n", one.url, two.url)))
			a := get(t, z.url+"/up/a.bin").is(t, row.name, row.status, "")
			if row.status == 200 {
				a.whole(t, row.name, body)
				get(t, z.url+"/up/a.bin").whole(t, row.name+", again", body).is(t, row.name+", again", 200, "HIT")
			}
			if got := two.count("/a.bin"); row.second >= 0 && got != row.second {
				t.Errorf("the second upstream was asked %d times, want %d", got, row.second)
			}
		})
	}
}

// A second upstream that has another version of the file cannot carry on with the first one's body.
func TestAnotherVersionUpstreamIsNotSplicedIn(t *testing.T) {
	first, second := bytesOf("v1", 600_000), bytesOf("v2", 600_000)
	one := startOrigin(t, func(w *wire, r *request) {
		w.send(fmt.Sprintf("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\n\r\n%s", len(first), first[:250_000]))
		w.cut()
	})
	two := startOrigin(t, func(w *wire, r *request) { w.file(r, second, modified.Add(time.Hour), `ETag: "2"`) })
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [%q, %q]\n", one.url, two.url)))
	for range 2 {
		a, err := tryAsk(http.MethodGet, z.url+"/up/a.bin")
		if err == nil && a.Err == nil && a.Status == 200 {
			a.whole(t, "a body that looks whole", second)
		}
	}
	if got, ok := z.held("up", "a.bin"); ok && string(got) != string(second) {
		t.Errorf("published %d bytes that no upstream has", len(got))
	}
}

func TestAHubWhoseUpstreamsAreAllMissingSays404Once(t *testing.T) {
	no := func(w *wire, r *request) { w.reply(r, 404, "no") }
	one, two := startOrigin(t, no), startOrigin(t, no)
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = [%q, %q]\n", one.url, two.url)))
	for range 3 {
		get(t, z.url+"/up/a.bin").is(t, "missing everywhere", 404, "")
	}
	if one.count("") != 1 || two.count("") != 1 {
		t.Errorf("the upstreams were asked %d and %d times, want once each", one.count(""), two.count(""))
	}
}
