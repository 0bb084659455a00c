package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// What clients put is theirs to remove, and nothing else takes it away: no walk, no purge, no trim, no crash, no upstream that has the like.
func TestAnOriginalStaysUntilItIsDeleted(t *testing.T) {
	l := startLab(t, "")
	mine := map[string][]byte{"src/mine": bytesOf("mine", mib), "src/theirs": []byte("in the place of theirs"), "own/deep/x": []byte("x")}
	get(t, l.z.url+"/lab/src/theirs").is(t, "theirs", 200, "MISS")
	for path, body := range mine {
		want := 201
		if path == "src/theirs" {
			want = 204
		}
		l.put("writer", "/lab/"+path, body).is(t, "PUT "+path, want, "")
	}
	stands := func(what string) {
		t.Helper()
		for path, body := range mine {
			get(t, l.z.url+"/lab/"+path).whole(t, what+": "+path, body).is(t, what+": "+path, 200, "HIT")
		}
		for dir, want := range map[string]string{"/lab/src/": "mine 1048576 fresh, theirs 22 fresh", "/lab/own/deep/": "x 1 fresh", "/lab/": "own/ - "} {
			got := strings.Join(brief(rows(t, l.z.url+dir)), ", ")
			if !strings.Contains(got, want) {
				t.Errorf("%s: %s has the rows %q, want %q in it", what, dir, got, want)
			}
		}
	}
	stands("at first")
	for range 2 {
		if said := l.walk(l.z, "/lab", 0); !strings.Contains(said, " 0 to the trash") {
			t.Errorf("walk: %s", said)
		}
	}
	stands("after walks")
	l.up.put("t/src/mine", []byte("the upstream's own"))
	l.up.put("t/src/theirs", []byte("a new one of the upstream's"))
	l.walk(l.z, "/lab", 0)
	stands("when the upstream has the like")
	operate(t, l.z, "POST", "/-/purge", `{"path":"/lab/","recursive":true}`, l.as("ops")).is(t, "a purge of all", 200, "")
	stands("after a purge of all")
	if _, held := l.z.held("lab", "other/theirs"); held {
		t.Error("the purge left what is the upstream's")
	}
	l.z.kill9()
	l.z.again()
	stands("after a crash")

	l.trim(mine)
	stands("after a trim")

	l.up.stop()
	stands("without the upstream")
	l.z.stop()
	l.z.again("--offline")
	stands("off line")
	l.delete(mine)
	l.kept(l.z)
}

// trim has the store become much smaller than what it holds beside the originals, which look as if they had been used last of all, long ago.
func (l *lab) trim(mine map[string][]byte) {
	t := l.t
	t.Helper()
	const bulk = 12
	for i := range bulk {
		path := fmt.Sprintf("bulk/%d", i)
		l.up.put("t/"+path, bytesOf(path, mib))
		get(t, l.z.url+"/lab/"+path).is(t, path, 200, "MISS")
		l.z.published("lab", path, mib)
	}
	l.z.stop()
	used := map[string]time.Time{}
	for path := range mine {
		used[path] = modified
	}
	for i := range bulk {
		used[fmt.Sprintf("bulk/%d", i)] = time.Now().Add(-time.Hour)
	}
	for path, at := range used {
		if err := os.Chtimes(l.z.path("lab", path), at, modified); err != nil {
			t.Fatal(err)
		}
	}
	l.z.again("--cache-max-size", "5MiB")
	nudges := 0
	eventually(t, 20*time.Second, "the cache is within its size", func() (bool, string) {
		nudges++ // what is stored has it look at its size
		path := fmt.Sprintf("bulk/nudge-%d", nudges)
		l.up.put("t/"+path, []byte("nudge"))
		get(t, l.z.url+"/lab/"+path)
		left := 0
		for i := range bulk {
			if _, held := l.z.held("lab", fmt.Sprintf("bulk/%d", i)); held {
				left++
			}
		}
		return left <= 4, fmt.Sprintf("%d of %d are left", left, bulk)
	})
}

// delete removes the originals, and brings one back.
func (l *lab) delete(mine map[string][]byte) {
	t := l.t
	t.Helper()
	for path := range mine {
		ask(t, "DELETE", l.z.url+"/lab/"+path, l.as("writer")).is(t, "DELETE "+path, 204, "")
		if a := get(t, l.z.url+"/lab/"+path); a.Status < 400 {
			t.Errorf("%s after its DELETE = %d", path, a.Status)
		}
	}
	for _, r := range rows(t, l.z.url+"/lab/") {
		if strings.HasPrefix(r.Name, "own") {
			t.Errorf("after all is deleted the hub lists %s", r.Name)
		}
	}
	out, errs, exit := command(t, binary, "trash", "restore", "/lab/own/deep/x", "--server", l.z.url, "--token-file", l.tokenFile("ops"))
	if exit != 0 {
		t.Errorf("restore what was deleted: exit %d %s%s", exit, out, errs)
	}
	get(t, l.z.url+"/lab/own/deep/x").whole(t, "restored", mine["own/deep/x"])
}

// A mirror behind does not know files that were put from files that were fetched.
func TestOriginalsReachTheMirrorsBehind(t *testing.T) {
	l := startLab(t, "")
	l.give("vendor", "--read", "/lab", "--deny", "/lab/secret")
	eventually(t, 2*time.Second, "the new token is in force", func() (bool, string) {
		return get(t, l.z.url+"/lab/", l.as("vendor")).Status == 200, ""
	})
	child := start(t, l.hubs("listing-ttl = \"1ms\"", fmt.Sprintf("name = \"lab\"\nupstream = %q\nbearer-file = %q", l.z.url+"/lab", l.tokenFile("vendor"))))
	l.walk(l.z, "/lab", 0)
	l.walk(child, "/lab", 0)
	has := func(what string, want map[string]string) {
		t.Helper()
		for path, body := range want {
			got, held := child.held("lab", path)
			if held != (body != "") || string(got) != body {
				t.Errorf("%s: the child holds of %s %v %q, want %q", what, path, held, got, body)
			}
		}
	}
	want := map[string]string{"src/theirs": "theirs at src/theirs", "src/mine": "", "own/deep/x": "", "secret/y": ""}
	has("before", want)
	for _, path := range []string{"src/mine", "own/deep/x", "secret/y"} {
		l.put("writer", "/lab/"+path, []byte("put at "+path)).is(t, "PUT "+path, 201, "")
	}
	want["src/mine"], want["own/deep/x"] = "put at src/mine", "put at own/deep/x"
	l.walk(child, "/lab", 0)
	has("after a walk", want)
	if names := shownIn(t, get(t, l.z.url+"/lab/?format=json", l.as("vendor"))); slices.Contains(names, "secret") || !slices.Contains(names, "own") {
		t.Errorf("who may not read it is shown %q", names)
	}
	get(t, l.z.url+"/lab/secret/y", l.as("vendor")).is(t, "an original that is hidden", 403, "")
	for i := range 2 { // a file as young as its second is asked about again
		eventually(t, waitShort, fmt.Sprintf("walk %d that finds nothing new costs little", i), func() (bool, string) {
			l.walk(l.z, "/lab", 0)
			out := l.walk(child, "/lab", 0)
			return strings.Contains(out, " 1 request"), out
		})
	}
	l.put("writer", "/lab/src/mine", []byte("put again")).is(t, "PUT again", 204, "")
	ask(t, "DELETE", l.z.url+"/lab/own/deep/x", l.as("writer")).is(t, "DELETE", 204, "")
	want["src/mine"], want["own/deep/x"] = "put again", ""
	l.walk(child, "/lab", 0)
	has("after a change", want)
	out, errs, _ := command(t, binary, "trash", "list", "/lab", "--server", child.url, "--token-file", l.tokenFile("ops"))
	if !strings.Contains(out, "/lab/own/deep/x") {
		t.Errorf("the trash of the child has %s%s, want what was deleted", out, errs)
	}
	l.z.stop()
	get(t, child.url+"/lab/src/mine", l.as("reader")).whole(t, "without the master", []byte("put again"))
	get(t, child.url+"/lab/src/mine").is(t, "for nobody", 401, "")
	l.kept(child)
	l.kept(l.z)
}
