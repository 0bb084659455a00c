package web

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/fill"
	"zcache/internal/origin/origintest"
)

func mustKey(t *testing.T, g *rig, path string) cache.Key {
	t.Helper()
	key, err := g.gateway.Resolve(path, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// held says that a later request for the path needs no origin.
func (g *rig) held(path string) bool {
	g.t.Helper()
	x, err := g.cfg.Filler.Explain(&fill.Request{Key: mustKey(g.t, g, path), Method: "GET", Header: http.Header{}})
	if err != nil {
		g.t.Fatal(err)
	}
	return x.Held
}

// ensure asks for URLs and waits, and tells the task's state and that of each URL.
func (g *rig) ensure(urls ...string) (task map[string]any, states string) {
	g.t.Helper()
	w := g.do("POST", "/-/ensure", fmt.Sprintf(`{"urls":["%s"],"wait":true}`, strings.Join(urls, `","`)))
	if w.Code != http.StatusOK {
		g.t.Fatalf("ensure %q = %d\n%s", urls, w.Code, w.Body)
	}
	task = object(g.t, w)
	for _, item := range task["urls"].([]any) {
		states += " " + item.(map[string]any)["state"].(string)
	}
	return task, strings.TrimSpace(states)
}

func TestEnsureTellsWhatIsHeldInTheEnd(t *testing.T) {
	g := newRig(t)
	for _, path := range []string{"/a", "/b", "/c"} {
		g.file(path)
	}
	g.o.File("/debian/a", origintest.Text("a"), origintest.Header("Cache-Control", "max-age=3600"))
	g.file("/secret", origintest.Header("Cache-Control", "no-store"))
	g.file("/cut", origintest.CutAfter(3))
	for _, row := range []struct {
		claim  string
		urls   []string
		state  string
		states string
	}{
		{"all are fetched", []string{"/up/a", "/up/b"}, "done", "held held"},
		{"what is held is held", []string{"/up/a"}, "done", "held"},
		{"one by its upstream's URL", []string{g.o.URL + "/pub/c"}, "done", "held"},
		{"one by its host", []string{"//deb.lab/a"}, "done", "held"},
		{"some can be had", []string{"/up/a", "/up/missing", "/nohub/x"}, "partial", "held failed failed"},
		{"none can be had", []string{"/up/missing"}, "failed", "failed"},
		{"what may not be kept is not held", []string{"/up/secret"}, "failed", "failed"},
		{"what breaks off is not held", []string{"/up/cut"}, "failed", "failed"},
		{"what is no path fails alone", []string{"/up/%2e%2e/x", "/up/a"}, "partial", "failed held"},
		{"so does a URL of nobody's", []string{"http://192.0.2.1/x", "file:///etc/passwd", ":", "/up/a"}, "partial", "failed failed failed held"},
	} {
		task, states := g.ensure(row.urls...)
		if task["state"] != row.state || states != row.states || task["total"] != float64(len(row.urls)) {
			t.Errorf("%s: ensure(%q) = %v, %s; want %s, %s\n%v", row.claim, row.urls, task["state"], states, row.state, row.states, task)
		}
		if task["held"].(float64)+task["failed"].(float64) != float64(len(row.urls)) || task["ended"] == nil {
			t.Errorf("%s: ensure(%q) counts %v held and %v failed, ended %v", row.claim, row.urls, task["held"], task["failed"], task["ended"])
		}
		for i, item := range task["urls"].([]any) {
			item := item.(map[string]any)
			if item["url"] != row.urls[i] || (item["error"] != nil) != (item["state"] == "failed") {
				t.Errorf("%s: URL %d came out as %v, want %s with an error iff it failed", row.claim, i, item, row.urls[i])
			}
		}
	}
	for path, want := range map[string]bool{"/up/a": true, "/up/b": true, "/up/c": true, "/up/secret": false, "/up/cut": false} {
		if g.held(path) != want {
			t.Errorf("%s held = %v, want %v", path, !want, want)
		}
	}
	if n := g.o.CountMethod("GET", "/pub/c"); n != 1 {
		t.Errorf("the origin was asked %d times for what was ensured once, want 1", n)
	}
}

// A redirect that is held in place of the body would be a promise that nobody off line can redeem.
func TestEnsureGoesWhereClientsAreSent(t *testing.T) {
	g := newRig(t)
	g.file("/new/a")
	g.o.File("/pub/moved", origintest.Text(""), origintest.Redirect(http.StatusMovedPermanently, "/pub/new/a"))
	g.o.File("/pub/found", origintest.Text(""), origintest.Redirect(http.StatusFound, "new/a"))
	g.o.File("/pub/gone", origintest.Text(""), origintest.Redirect(http.StatusFound, g.o.URL+"/pub/missing"))
	g.o.File("/pub/round", origintest.Text(""), origintest.Redirect(http.StatusFound, "round"))
	for path, want := range map[string]string{"/up/moved": "held", "/up/found": "held", "/up/gone": "failed", "/up/round": "failed"} {
		g.tree.Remove(mustKey(t, g, "/up/new/a"), false)
		if task, states := g.ensure(path); states != want || g.held("/up/new/a") != (want == "held") {
			t.Errorf("ensure(%s) = %s, its target held: %v; want %s\n%v", path, states, g.held("/up/new/a"), want, task)
		}
	}
}

func TestEnsureWithoutAStoreHoldsNothing(t *testing.T) {
	g := newRig(t, withoutStore)
	g.file("/a")
	if task, _ := g.ensure("/up/a"); task["state"] != "failed" || g.asked() != 0 {
		t.Errorf("ensure without a store = %v after %d requests, want it to fail after none", task["state"], g.asked())
	}
}

// started begins a task whose one URL waits for release, and returns where to look at it.
func (g *rig) started(release chan struct{}) string {
	g.t.Helper()
	g.file("/slow", origintest.Hold(release))
	w := g.do("POST", "/-/ensure", `{"urls":["/up/slow"]}`)
	location := w.Header().Get("Location")
	if w.Code != http.StatusAccepted || location == "" || w.Header().Get("Content-Type") != "application/json" {
		g.t.Fatalf("ensure behind = %d, Location %q\n%s", w.Code, location, w.Body)
	}
	if v := object(g.t, w); location != "/-/ensure/"+v["id"].(string) || v["state"] != "running" {
		g.t.Errorf("ensure behind = %v at %s, want a running task of that id", v, location)
	}
	return location
}

func TestEnsureBehindCanBeLookedAt(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	location := g.started(release)
	g.o.Wait("/pub/slow", 1)
	v := object(t, g.do("GET", location, ""))
	item := v["urls"].([]any)[0].(map[string]any)
	if v["state"] != "running" || v["ended"] != nil || item["state"] != "fetching" {
		t.Errorf("the task under way = %v", v)
	}
	status := object(t, g.do("GET", "/-/status", ""))
	if flights := status["flights"].([]any); len(flights) != 1 || flights[0].(map[string]any)["size"] != nil {
		t.Errorf("status shows flights %v, want the one, of unknown size", flights)
	}
	close(release)
	<-g.s.tasks.get(strings.TrimPrefix(location, "/-/ensure/")).done
	if v := object(t, g.do("GET", location, "")); v["state"] != "done" || v["held"] != 1.0 || v["ended"] == nil {
		t.Errorf("the task at its end = %v", v)
	}
	isProblem(t, "a task of no such id", g.do("GET", "/-/ensure/ffff", ""), http.StatusNotFound, "no_task")
}

func TestATaskOutlivesTheClientThatWaits(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	g.file("/slow", origintest.Hold(release))
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	w := httptest.NewRecorder()
	go func() {
		defer close(gone)
		r := httptest.NewRequestWithContext(ctx, "POST", "/-/ensure", strings.NewReader(`{"urls":["/up/slow"],"wait":true}`))
		r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
		g.s.ServeHTTP(w, r)
	}()
	g.o.Wait("/pub/slow", 1)
	leave()
	<-gone
	if w.Code == http.StatusOK || w.Body.Len() != 0 || strings.Contains(g.log.String(), "level=ERROR") {
		t.Errorf("a client that leaves is answered with %d %q, logged %q", w.Code, w.Body, g.log)
	}
	close(release)
	<-g.s.tasks.get(g.s.tasks.order[0]).done
	if !g.held("/up/slow") {
		t.Error("the task ended with the client that waited for it")
	}
}

func TestCloseEndsTasks(t *testing.T) {
	g := newRig(t)
	release := make(chan struct{})
	defer close(release)
	location := g.started(release)
	g.o.Wait("/pub/slow", 1)
	g.s.Close()
	if v := object(t, g.do("GET", location, "")); v["state"] != "failed" || v["failed"] != 1.0 {
		t.Errorf("a task at the end of its server = %v, want failed", v)
	}
}

func TestOnlyEndedTasksAreForgotten(t *testing.T) {
	var ts tasks
	add := func(i int, ended bool) bool {
		tk := &task{done: make(chan struct{}), view: taskView{ID: fmt.Sprint(i)}}
		if ended {
			close(tk.done)
		}
		return ts.add(tk)
	}
	for i := range tasksKept {
		if !add(i, i == 1 || i == 3) {
			t.Fatalf("task %d was refused", i)
		}
	}
	if !add(1000, false) || ts.get("1") != nil || ts.get("0") == nil || ts.get("3") == nil || ts.get("1000") == nil {
		t.Error("one more task, want it to take the place of the oldest ended one and of no other")
	}
	if !add(1001, false) || ts.get("3") != nil {
		t.Error("a second one, want it to take the place of the next ended one")
	}
	if add(1002, false) || ts.get("1002") != nil || len(ts.order) != tasksKept || len(ts.byID) != tasksKept {
		t.Errorf("a task more than can be under way was taken, %d are kept", len(ts.order))
	}
}

func TestEnsureBeyondWhatCanBeUnderWayIsRefused(t *testing.T) {
	g := newRig(t)
	for i := range tasksKept {
		g.s.tasks.add(&task{done: make(chan struct{}), view: taskView{ID: fmt.Sprint(i)}})
	}
	isProblem(t, "one task too many", g.do("POST", "/-/ensure", `{"urls":["/up/a"]}`), http.StatusServiceUnavailable, "busy")
}
