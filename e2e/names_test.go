package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The origin answers with the very target that it was asked for. Each name is asked for twice, through a named hub and one at the
// root: every answer is the origin's own for that name, or a 400.
func TestOddNamesGetTheirOwnEntryOrAClearNo(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		w.reply(r, 200, "target "+r.Target, "Cache-Control: max-age=600", "Content-Type: text/plain")
	})
	rows := []struct {
		target string
		disk   string // where its body lies below the hub; "" where the contract leaves that open
	}{
		{"/a%20b", "a b"},
		{"/100%25", "100%"},
		{"/a%2520b", "a%20b"},
		{"/a%2Fb", ""},
		{"/a%2fb", ""},
		{"/a/b", "a/b"},
		{"/a%23b", "a#b"},
		{"/a%3Fb", "a?b"},
		{"/q?b", ""},
		{"/q?", ""},
		{"/q", "q"},
		{"/q?b=%20&c=/../x", ""},
		{"/%22double%22", `"double"`},
		{`/"double"`, ""},
		{"/it's", "it's"},
		{"/line%0Abreak", "line\nbreak"},
		{"/tab%09x", "tab\tx"},
		{"/%FF%FE", "\xff\xfe"},
		{"/raw\xff\xfe", ""},
		{"/%C3%A9t%C3%A9", "été"},
		{"/nul%00byte", ""},
		{"/a%5Cb", `a\b`},
		{"/tilde~x", "tilde~x"},
		{"/semi;colon=1,2", "semi;colon=1,2"},
		{"/gtk+-3.0", "gtk+-3.0"},
		{"/gtk%2B-4.0", ""},
		{"/col:on@at", "col:on@at"},
		{"/a//b", ""},
		{"//a/b", ""},
		{"/a/b//", ""},
		{"/" + strings.Repeat("n", 300), ""},
		{"/" + strings.Repeat("n", 255), strings.Repeat("n", 255)},
		{"/" + strings.Repeat("%C3%A9", 120), strings.Repeat("é", 120)},
		{"/dir/" + strings.Repeat("n", 300) + "/x", ""},
		{"/" + strings.Repeat("deep/", 900) + "x", ""},
		{"/__content", ""},
		{"/doc/__content/x", ""},
		{"/.zcache/format", ""},
		{"/.zcache-listing.json", ""},
		{"/.zcache-upstream", ""},
		{"/d/.zcache-upstream", ""},
		{"/.zcache-tmp-1", ""},
		{"/x/.zcache-index", ""},
		{"/...", "..."},
		{"/..a/b..", "..a/b.."},
		{"/%252e%252e/x", "%2e%2e/x"},
		{"/%252e%252e%252fx", "%2e%2e%2fx"},
		{"/:colon", ":colon"},
		{"/-", "-"},
		{"/%2D/x", ""},
	}
	z := start(t, "--upstream", "up="+o.url, "--upstream", "http://localhost:"+o.addr[strings.LastIndexByte(o.addr, ':')+1:])
	for _, prefix := range []string{"/up", ""} {
		for _, row := range rows {
			if prefix == "" && (strings.HasPrefix(row.target, "/-") || strings.HasPrefix(row.target, "/%2D/") || strings.HasPrefix(row.target, "//")) {
				continue // at the root these are operations, or might be read as an authority
			}
			want := []byte("target " + row.target)
			for _, state := range []string{"cold", "held"} {
				what := fmt.Sprintf("%s %.60q, %s", prefix, row.target, state)
				a := target(t, z.addr, prefix+row.target)
				if a.Status == http.StatusBadRequest && row.disk == "" {
					continue
				}
				got := unescaped(a.Body)
				if a.Status != 200 || !bytes.Equal(got, unescaped(want)) {
					t.Errorf("%s = %d %s, want what the origin says of it", what, a.Status, clip(a.Body))
				}
				if state == "held" {
					a.is(t, what, 200, "HIT")
				}
			}
			if row.disk != "" && prefix == "/up" {
				if got, ok := z.held("up", row.disk); !ok || !bytes.Equal(unescaped(got), unescaped(want)) {
					t.Errorf("%.60q on disk at %.60q: %s, %v", row.target, row.disk, clip(got), ok)
				}
			}
		}
	}
	// Held now, all of them: none may have taken another's place.
	for _, row := range rows {
		a := target(t, z.addr, "/up"+row.target)
		if a.Status == 200 && !bytes.Equal(unescaped(a.Body), []byte("target "+string(unescaped([]byte(row.target))))) {
			t.Errorf("%.60q was answered with another's body %s", row.target, clip(a.Body))
		}
	}
}

// unescaped undoes the one change that a name may suffer on its way: an unreserved character needs no escape.
func unescaped(b []byte) []byte {
	return []byte(strings.NewReplacer("%2D", "-", "%7E", "~").Replace(string(b)))
}

// No spelling of a parent directory reaches anything outside, neither on disk nor in another hub nor at the upstream.
func TestNoSpellingOfAParentLeavesTheHub(t *testing.T) {
	const canary = "the canary that nobody may see"
	o := startOrigin(t, func(w *wire, r *request) {
		w.reply(r, 200, "target "+r.Target, "Cache-Control: max-age=600")
	})
	dir := t.TempDir()
	plant(t, filepath.Join(dir, "canary"), []byte(canary), modified)
	z := start(t, "--upstream", "up="+o.url+"/pub", "--upstream", "other="+o.url+"/other", "--root", filepath.Join(dir, "root"))
	plant(t, z.path("", "canary"), []byte(canary), modified)
	plant(t, z.path("", ".zcache/canary"), []byte(canary), modified)
	ups := []string{"..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", "..%2f..", "%2e%2e%2f%2e%2e", "..%2F", "..%5c..", "..%5C", `..\..`, "%2e%2e%5c", "..%2f%2e%2e%2f", "..;", "%c0%ae%c0%ae", "%252e%252e", "..%00", "..%0a", "...."}
	for _, up := range ups {
		for _, form := range []string{"/up/UP/canary", "/up/UP/UP/canary", "/up/UP/UP/UP/canary", "/up/a/UP/UP/canary", "/UP/canary", "/up/UP/other/x", "/up/x/UP", "/up/UP/.zcache/canary", "/up/UP"} {
			request := strings.ReplaceAll(form, "UP", up)
			a := target(t, z.addr, request)
			if bytes.Contains(a.Body, []byte(canary)) {
				t.Errorf("%q shows the canary", request)
			}
			if a.Status >= 500 {
				t.Errorf("%q = %d, want an entry or 400", request, a.Status)
			}
			if strings.Contains(up, "..") && !strings.ContainsAny(up, ";%") && up != "...." && a.Status != http.StatusBadRequest && !(a.Status == http.StatusNotFound && strings.HasPrefix(form, "/UP")) {
				t.Errorf("%q = %d %s, want 400, or 404 where no hub could be meant", request, a.Status, clip(a.Body))
			}
		}
	}
	for _, r := range o.requests("") {
		if !strings.HasPrefix(r.Target, "/pub/") && !strings.HasPrefix(r.Target, "/other/") {
			t.Errorf("the upstream was asked for %q, which is in no hub", r.Target)
		}
		for _, dots := range []string{"/../", "/%2e%2e/", "/.%2e/", "/%2E%2E/", "/%2e./", "..%2f", "..%5c"} {
			if strings.Contains(strings.ToLower(r.Target)+"/", strings.ToLower(dots)) {
				t.Errorf("the upstream was asked for %q", r.Target)
			}
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 2 {
		t.Errorf("beside the root lie %v, %v; want the canary and the root alone", files, err)
	}
}

func TestASymbolicLinkInTheRootIsNotFollowed(t *testing.T) {
	const canary = "the canary that nobody may see"
	good := bytesOf("good", len(canary))
	n := startNginx(t, "")
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside")
	plant(t, filepath.Join(outside, "f.bin"), []byte(canary), modified)
	z := start(t, "--upstream", "up="+n.url, "--root", filepath.Join(dir, "root"))
	for _, d := range []string{"links", "inner"} {
		if err := os.MkdirAll(z.path("up", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plant(t, z.path("up", "inner/real.bin"), []byte(canary), modified)
	rows := []struct{ name, link, to, request string }{
		{"file, absolute", "links/abs.bin", filepath.Join(outside, "f.bin"), "links/abs.bin"},
		{"file, relative", "links/rel.bin", "../../../outside/f.bin", "links/rel.bin"},
		{"file, inside the hub", "links/in.bin", "../inner/real.bin", "links/in.bin"},
		{"directory, absolute", "links/absdir", outside, "links/absdir/f.bin"},
		{"directory, relative", "links/reldir", "../../../outside", "links/reldir/f.bin"},
		{"directory, inside the hub", "links/indir", "../inner", "links/indir/real.bin"},
		{"dangling, into the outside", "links/new.bin", filepath.Join(outside, "new.bin"), "links/new.bin"},
		{"directory for new files", "links/newdir", outside, "links/newdir/new2.bin"},
	}
	for _, row := range rows {
		n.put(row.request, good) // the origin's file is as long and as old as the canary
		if err := os.Symlink(row.to, z.path("up", row.link)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			get(t, z.url+"/up/"+row.request).whole(t, row.name, good)
		}
	}
	files, err := os.ReadDir(outside)
	if err != nil || len(files) != 1 {
		t.Errorf("outside the root lie now %v, %v; want one file", files, err)
	}
	if b, _ := os.ReadFile(filepath.Join(outside, "f.bin")); string(b) != canary {
		t.Errorf("the file outside was changed to %s", clip(b))
	}
	if b, _ := z.held("up", "inner/real.bin"); string(b) != canary {
		t.Errorf("the file that a link named was changed to %s", clip(b))
	}
}

// What nginx holds under such names comes byte for byte, too.
func TestOddNamesOfRealFiles(t *testing.T) {
	n := startNginx(t, "")
	z := start(t, "--upstream", "up="+n.url)
	for _, name := range []string{"a b", "a%20b", "100%", "a#b", "a?b", `"q"`, "it's", "line\nbreak", "\xff\xfe", "é", `a\b`, "~", "+", "&amp;", strings.Repeat("n", 255)} {
		body := bytesOf(name, 2000)
		n.put("odd/"+name, body)
		escaped := ""
		for _, b := range []byte(name) {
			escaped += fmt.Sprintf("%%%02X", b)
		}
		for _, form := range []string{escaped, strings.ToLower(escaped)} {
			own := target(t, n.addr, "/odd/"+form)
			got := target(t, z.addr, "/up/odd/"+form)
			if got.Status != own.Status || !bytes.Equal(got.Body, own.Body) || !bytes.Equal(got.Body, body) {
				t.Errorf("%.40q as %.40q = %d with %d bytes, nginx says %d with %d", name, form, got.Status, len(got.Body), own.Status, len(own.Body))
			}
		}
	}
}

func TestAPathThatIsTooLongIsRefusedAtOnce(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) { w.reply(r, 200, "x") })
	z := start(t, "--upstream", "up="+o.url)
	a := target(t, z.addr, "/up/"+strings.Repeat("a/", 5000))
	if a.Status != http.StatusBadRequest && a.Status != http.StatusRequestURITooLong {
		t.Errorf("a path of 10,000 bytes = %d, want 400 or 414", a.Status)
	}
	began := time.Now()
	a = raw(t, z.addr, "GET /up/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: "+strings.Repeat("h", 4<<20)+"\r\n\r\n")
	if a.Status != http.StatusRequestHeaderFieldsTooLarge && a.Status != http.StatusBadRequest {
		t.Errorf("4 MiB of header = %d after %v, want 431", a.Status, time.Since(began))
	}
	for _, bad := range []string{"/up/%", "/up/%2", "/up/%zz", "/up/a%g0"} {
		if a := target(t, z.addr, bad); a.Status != http.StatusBadRequest {
			t.Errorf("%q = %d, want 400", bad, a.Status)
		}
	}
	if got := o.count(""); got != 0 {
		t.Errorf("the origin was asked %d times for what is no path", got)
	}
}
