package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestListingsComeThroughAChainAndStayWhenItIsCut(t *testing.T) {
	n := startNginx(t, "autoindex on; autoindex_format json;")
	n.put("d/a.tar.gz", []byte("\x1f\x8baaa"))
	n.put("d/sub/b & <b> ü.txt", []byte("b"))
	c := startChain(t, n.url)
	want := brief(rows(t, c[0].url+"/up/d/"))
	if len(want) != 2 {
		t.Fatalf("the master lists %q, want two names", want)
	}
	for i, z := range c {
		wantRows(t, "the "+hopNames[i], rows(t, z.url+"/up/d/"), want...)
		wantRows(t, "the "+hopNames[i]+", below", rows(t, z.url+"/up/d/sub/"), "b & <b> ü.txt 1 absent")
	}
	a := get(t, c.last().url+"/up/d", "Accept: text/plain")
	if a.Status != http.StatusMovedPermanently || !strings.HasSuffix(a.Header.Get("Location"), "d/") {
		t.Errorf("a directory without its slash = %d to %q", a.Status, a.Header.Get("Location"))
	}
	get(t, c.last().url+"/up/d/a.tar.gz").whole(t, "a file", []byte("\x1f\x8baaa"))
	c.last().published("up", "d/a.tar.gz", 5)
	n.stop()
	c[0].stop()
	wantRows(t, "without the master", rows(t, c.last().url+"/up/d/"), "sub/ - fresh", "a.tar.gz 5 fresh")
	c[1].stop()
	c.last().stop()
	c.last().again("--offline")
	wantRows(t, "off line", rows(t, c.last().url+"/up/d/"), "sub/ - fresh", "a.tar.gz 5 fresh")
	wantRows(t, "off line, below", rows(t, c.last().url+"/up/d/sub/"), "b & <b> ü.txt 1 absent")
	get(t, c.last().url+"/up/d/a.tar.gz").whole(t, "off line, a file", []byte("\x1f\x8baaa")).is(t, "off line, a file", 200, "HIT")
	missing := get(t, c.last().url+"/up/d/never").is(t, "off line, what was never asked for", http.StatusGatewayTimeout, "OFFLINE")
	if p := missing.problem(t, "off line"); p["error"] != "offline" {
		t.Errorf("off line, what was never asked for: error %q, want offline", p["error"])
	}
}

// behind is the configuration of a zcache whose one hub reaches its upstream through a parent's forward proxy.
func behind(t testing.TB, parent *zcache, upstream, more string) string {
	return settings(t, fmt.Sprintf("[[hub]]\nname = \"far\"\nupstream = %q\nproxy = %q\n%s\n", upstream, parent.url, more))
}

// curl and wget set http_proxy to the last of three; each of the others is the proxy of the one behind it.
func TestAChainOfForwardProxies(t *testing.T) {
	n := startNginx(t, "")
	rl := startRelay(t, n.url)
	master := forward(t, rl.addr)
	proxy := start(t, behind(t, master, rl.url, ""))
	mirror := start(t, behind(t, proxy, rl.url, ""))
	want, err := os.ReadFile(sharedBodies(t)["mid.bin"].path)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range [][]string{{"curl", "-sSf"}, {"wget", "-q", "-O", "-"}, {"curl", "-sSf", "-r", "0-"}} {
		args := mirror.through(append(program, rl.url+"/mid.bin")...)
		stdout, stderr, exit := command(t, "env", args...)
		if exit != 0 || stdout != string(want) {
			t.Errorf("%v: exit %d, %d bytes, want %d\n%s", program, exit, len(stdout), len(want), stderr)
		}
	}
	asked := rl.requests("/mid.bin")
	if len(asked) != 1 || passed(asked[0]) != 3 || asked[0].Header.Get("Host") != rl.addr {
		t.Fatalf("the origin was asked %d times, want once, for itself and through three", len(asked))
	}
	master.published("files", "http/"+rl.addr+"/mid.bin", midSize)
	for _, z := range []*zcache{proxy, mirror} {
		z.published("far", "mid.bin", midSize)
	}
	a := proxied(t, mirror, "GET", rl.url+"/mid.bin", "Range: bytes=0-9").is(t, "held", 206, "HIT")
	wantChain(t, "held", a, "zcache; fwd=uri-miss", "zcache; fwd=uri-miss", "zcache; hit")

	// Each is killed while the next ones hold nothing yet.
	for i, z := range []*zcache{master, proxy, mirror} {
		path := fmt.Sprintf("/mid.bin?%d", i)
		z.kill9()
		z.again()
		if d := get(t, mirror.url+"/far"+path); !bytes.Equal(d.Body, want) || d.Status != 200 {
			t.Errorf("after a kill: %d with %d bytes", d.Status, len(d.Body))
		}
	}
	rl.stop()
	master.stop()
	proxied(t, mirror, "GET", rl.url+"/mid.bin").whole(t, "without origin and master", want)
	mirror.stop()
	mirror.again("--offline")
	proxied(t, mirror, "GET", rl.url+"/mid.bin").whole(t, "off line", want)
	proxied(t, mirror, "GET", rl.url+"/never").is(t, "off line, what was never asked for", http.StatusGatewayTimeout, "OFFLINE")
}

func TestAParentCarriesHTTPS(t *testing.T) {
	want := bytesOf("s", 2*mib)
	o := startSecure(t, map[string][]byte{"a": want})
	ca := createCA(t, "localhost")
	tunnels := start(t, append(o.opened(), "--upstream", "idle=http://127.0.0.1:9")...)
	keeps := start(t, append(o.opened(), "--upstream", "idle=http://127.0.0.1:9", "--intercept-ca", ca)...)
	upstream := "https://" + o.name + "/pub"
	for _, row := range []struct {
		claim, conf string
		parent      *zcache
		holds       string // where the parent keeps the body; "" when it sees none of it
		asked       int    // requests to the origin so far
	}{
		{"by a tunnel", behind(t, tunnels, upstream, fmt.Sprintf("ca = %q", o.ca)), tunnels, "", 1},
		{"by a tunnel that the parent ends", behind(t, keeps, upstream, fmt.Sprintf("ca = %q", ca)), keeps, "https/" + o.name + "/pub/a", 2},
		{"again from the parent's store", behind(t, keeps, upstream, fmt.Sprintf("ca = %q", ca)), keeps, "https/" + o.name + "/pub/a", 2},
		{"by a URL in a path", settings(t, fmt.Sprintf("[[hub]]\nname = \"far\"\nupstream = \"%s/files/https/%s/pub\"\n", tunnels.url, o.name)), tunnels, "https/" + o.name + "/pub/a", 3},
	} {
		child := start(t, row.conf)
		for _, again := range []string{"cold", "held"} {
			get(t, child.url+"/far/a").whole(t, row.claim+", "+again, want)
			child.published("far", "a", int64(len(want)))
		}
		if row.holds != "" {
			row.parent.published("files", row.holds, int64(len(want)))
		} else {
			row.parent.noEntry("files", "https")
		}
		if n := o.total(); n != row.asked {
			t.Errorf("%s: the origin was asked %d times so far, want %d", row.claim, n, row.asked)
		}
		row.parent.stop()
		get(t, child.url+"/far/a").whole(t, row.claim+", without the parent", want)
		row.parent.again()
	}
	// What a tunnel would lead to is the parent's to judge.
	shut := start(t, "--upstream", "idle=http://127.0.0.1:9")
	if a := get(t, start(t, behind(t, shut, upstream, "retries = 1")).url+"/far/a"); a.Status < 500 {
		t.Errorf("through a parent that opens no tunnel there = %d, want an error of the gateway", a.Status)
	}
}

func TestAParentCarriesFTP(t *testing.T) {
	s := startFTP(t, "vsftpd", 0)
	body := bytesOf("ftp", 300_000)
	s.put("pub/a b.bin", body)
	s.put("pub/d/x", []byte("x"))
	parent := forward(t, s.addr)
	for _, row := range []struct{ claim, conf string }{
		{"by a URL in a path", settings(t, fmt.Sprintf("[[hub]]\nname = \"far\"\nupstream = \"%s/files/ftp/%s/pub\"\n", parent.url, s.addr))},
		{"by a forward proxy", behind(t, parent, s.url()+"/pub", "")},
	} {
		child := start(t, row.conf)
		wantRows(t, row.claim, rows(t, child.url+"/far/"), "d/ - absent", "a b.bin 300000 absent")
		wantRows(t, row.claim+", below", rows(t, child.url+"/far/d/"), "x 1 absent")
		get(t, child.url+"/far/a%20b.bin").whole(t, row.claim, body)
		child.published("far", "a b.bin", int64(len(body)))
		if a := get(t, child.url+"/far/a%20b.bin", "Range: bytes=5-9"); a.Status != 206 || !bytes.Equal(a.Body, body[5:10]) {
			t.Errorf("%s: a range = %d, %d bytes", row.claim, a.Status, len(a.Body))
		}
		if a := get(t, child.url+"/far/d"); a.Status != 301 || !strings.HasSuffix(a.Header.Get("Location"), "d/") {
			t.Errorf("%s: a directory without its slash = %d to %q", row.claim, a.Status, a.Header.Get("Location"))
		}
		get(t, child.url+"/far/none").is(t, row.claim+", missing", 404, "")
		child.stop()
		child.again("--offline")
		get(t, child.url+"/far/a%20b.bin").whole(t, row.claim+", off line", body)
		wantRows(t, row.claim+", off line", rows(t, child.url+"/far/"), "d/ - fresh", "a b.bin 300000 fresh")
	}
	parent.published("files", "ftp/"+s.addr+"/pub/a b.bin", int64(len(body)))
}
