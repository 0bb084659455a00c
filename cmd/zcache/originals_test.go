package main

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// putFile puts a body at a URL, and returns the status.
func putFile(t *testing.T, method, url, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// walked has a subtree walked, and returns the line that tells of it.
func walked(t *testing.T, base, path string) string {
	t.Helper()
	code, out, errs := invoke(t, "", "walk", path, "--follow", "--server", base)
	if code != 0 {
		t.Fatalf("walk %s: exit %d, %q, %q", path, code, out, errs)
	}
	return out
}

// TestOriginalsAreMirrored has a child walk a master to which files are put: they come to it like those of the master's upstream, and a walk that finds
// nothing new costs one request.
func TestOriginalsAreMirrored(t *testing.T) {
	up, _, _ := upstreamTree(t, "a/one.txt", "a/deep/two.txt", "b/three.txt")
	const head = "listen = \"127.0.0.1:0\"\nlisting-ttl = \"1ms\"\n[[hub]]\nname = \"k\"\n"
	master, _ := serving(t, head+"writable = true\nupstream = \""+up.URL+"\"\n")
	child, _ := serving(t, head+"upstream = \""+master+"/k/\"\n")
	walked(t, master, "/k")
	walked(t, child, "/k")
	for path, status := range map[string]int{"/k/a/mine.txt": 201, "/k/own/very/deep.txt": 201, "/k/a/one.txt": 204} {
		if got := putFile(t, http.MethodPut, master+path, "put at "+path); got != status {
			t.Fatalf("PUT %s = %d, want %d", path, got, status)
		}
	}
	for _, base := range []string{master, child} {
		if out := walked(t, base, "/k"); strings.Contains(out, "to the trash") && !strings.Contains(out, " 0 to the trash") {
			t.Errorf("the first walk with originals: %q, want nothing removed", out)
		}
	}
	want := map[string]string{
		"/k/a/mine.txt": "put at /k/a/mine.txt", "/k/own/very/deep.txt": "put at /k/own/very/deep.txt", "/k/a/one.txt": "put at /k/a/one.txt",
		"/k/a/deep/two.txt": "body of a/deep/two.txt", "/k/b/three.txt": "body of b/three.txt",
	}
	held := func(what string) {
		t.Helper()
		for path, body := range want {
			if status, got := get(t, child+path); status != 200 || got != body {
				t.Errorf("%s: GET %s of the child = %d %q, want %q", what, path, status, got, body)
			}
		}
	}
	held("after the walk")
	// A file as young as its second is asked about at each walk.
	eventually(t, "a walk that finds nothing new costs one request", func() bool { return strings.Contains(walked(t, child, "/k"), " 1 request") })
	if out := walked(t, master, "/k"); strings.Contains(out, "fetched") && !strings.Contains(out, " 0 fetched") {
		t.Errorf("the master's own walk: %q, want nothing fetched", out)
	}

	if got := putFile(t, http.MethodPut, master+"/k/a/mine.txt", "put again"); got != 204 {
		t.Fatalf("PUT again = %d", got)
	}
	want["/k/a/mine.txt"] = "put again"
	if got := putFile(t, http.MethodDelete, master+"/k/own/very/deep.txt", ""); got != 204 {
		t.Fatalf("DELETE = %d", got)
	}
	delete(want, "/k/own/very/deep.txt")
	walked(t, master, "/k")
	walked(t, child, "/k")
	up.Close()
	held("after a change")
	if status, body := get(t, child+"/k/?format=text"); status != 200 || slices.Contains(strings.Fields(body), "own/") {
		t.Errorf("the child lists %q (%d), want no directory that is gone", body, status)
	}
}
