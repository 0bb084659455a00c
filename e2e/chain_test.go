package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A chain is zcaches over roots of their own, each of them the upstream of the next: master, proxy, mirror.
type chain []*zcache

var hopNames = []string{"master", "proxy", "mirror"}

func startChain(t testing.TB, upstream string) chain {
	t.Helper()
	var c chain
	for range hopNames {
		z := start(t, "--upstream", "up="+upstream)
		upstream = z.url + "/up"
		c = append(c, z)
	}
	return c
}

func (c chain) last() *zcache { return c[len(c)-1] }

// requests counts what a zcache has logged of requests for a path.
func (z *zcache) requests(path string) (n int) {
	for l := range strings.Lines(z.log()) {
		if strings.Contains(l, `"action":"request"`) && strings.Contains(l, `"path":"`+path+`"`) {
			n++
		}
	}
	return n
}

// drains sends SIGTERM and returns when new clients are refused; running answers may still go on.
func (z *zcache) drains() {
	z.t.Helper()
	if err := z.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		z.t.Fatalf("stop zcache: %v", err)
	}
	eventually(z.t, waitShort, "zcache refuses new clients", func() (bool, string) {
		conn, err := net.Dial("tcp", z.addr)
		if err == nil {
			conn.Close()
		}
		return err != nil, ""
	})
}

func TestAChainAsksOnceForAHundredClientsOfItsEnd(t *testing.T) {
	n := startNginx(t, "limit_rate 20m;")
	c := startChain(t, n.url)
	want := sharedBodies(t)["mid.bin"].digest
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if d, _, err := download(t, c.last().url+"/up/mid.bin"); d != want || err != nil {
				t.Errorf("client %d got %d bytes, %v; want mid.bin's %d", i, d.n, err, want.n)
			}
		})
	}
	wg.Wait()
	if log := n.log("/mid.bin"); len(log) != 1 || log[0].Status != 200 {
		t.Errorf("the origin served %+v, want one whole GET", log)
	}
	for i, z := range c {
		z.published("up", "mid.bin", want.n)
		if d := fileDigest(t, z.path("up", "mid.bin")); d != want {
			t.Errorf("the %s holds %d other bytes", hopNames[i], d.n)
		}
		wantLogged := 1
		if z == c.last() {
			wantLogged = 100
		}
		eventually(t, waitShort, "requests are logged", func() (bool, string) {
			got := z.requests("/up/mid.bin")
			return got == wantLogged, fmt.Sprintf("the %s logged %d requests, want %d", hopNames[i], got, wantLogged)
		})
	}
}

// The origin stands still in the middle of the body until the hop is down, or up again, so every stop is in the middle of a download.
func TestAChainSurvivesEveryStopOfEveryHop(t *testing.T) {
	const halt = 5 * mib
	n := startNginx(t, "location ~ ^/ways/ { alias "+sharedBodies(t)["mid.bin"].path+"; }")
	rl := startRelay(t, n.url)
	gates := map[string]chan struct{}{}
	for i := range hopNames {
		for _, how := range []string{"drain", "kill"} {
			gates[fmt.Sprintf("/ways/%s-%s.bin", hopNames[i], how)] = make(chan struct{})
		}
	}
	rl.before = func(r *request, sent int64) {
		if r.Nth == 1 && sent == halt {
			<-gates[r.Target]
		}
	}
	c := startChain(t, rl.url)
	for i, z := range c {
		for _, how := range []string{"drain", "kill"} {
			what := hopNames[i] + ", " + how
			path := fmt.Sprintf("/ways/%s-%s.bin", hopNames[i], how)
			resp := begin(t, c.last().url+"/up"+path)
			readPrefix(t, resp.Body, "mid.bin", mib)
			if how == "drain" {
				z.drains()
				close(gates[path])
			} else {
				z.kill9()
				z.again()
				close(gates[path])
			}
			rest, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			broken := how == "kill" && z == c.last()
			if got := mib + rest; !broken && (got != midSize || err != nil) {
				t.Errorf("%s: the client of the mirror got %d bytes, %v; want all %d", what, got, err, int64(midSize))
			} else if broken && err == nil {
				t.Errorf("%s: the client's body ended after %d bytes and looks whole", what, got)
			}
			if how == "drain" {
				<-z.gone
				if z.err != nil {
					t.Errorf("%s: ended with %v, want exit 0", what, z.err)
				}
				z.again()
			}
			c.holds(what, path, bodies["mid.bin"].digest)
			asked := rl.requests(path)
			switch {
			case what == "master, kill":
				if len(asked) != 2 || asked[1].Header.Get("Range") == "" || asked[1].Header.Get("If-Range") == "" {
					t.Errorf("%s: the origin was asked %d times, want twice, the second time for the rest", what, len(asked))
				}
			case len(asked) != 1:
				t.Errorf("%s: the origin was asked %d times, want once", what, len(asked))
			}
		}
	}
	rl.stop()
	c.answersWithoutEach("/ways/master-kill.bin", bodies["mid.bin"].digest)
}

// holds wants the end of the chain to give a body, and every hop to keep it.
func (c chain) holds(what, path string, want digest) {
	t := c.last().t
	t.Helper()
	if d, _, err := download(t, c.last().url+"/up"+path); d != want || err != nil {
		t.Errorf("%s: afterwards the mirror gave %d bytes, %v", what, d.n, err)
	}
	for _, hop := range c {
		hop.published("up", path, want.n)
		if d := fileDigest(t, hop.path("up", path)); d != want {
			t.Errorf("%s: %d other bytes are held", what, d.n)
		}
	}
}

// answersWithoutEach stops and kills each hop in turn, wants the others to give a body that all hold, and starts it again.
func (c chain) answersWithoutEach(path string, want digest) {
	t := c.last().t
	t.Helper()
	for i, z := range c {
		for _, down := range []func(){z.stop, z.kill9} {
			down()
			for j, other := range c {
				if other == z {
					continue
				}
				if d, _, err := download(t, other.url+"/up"+path); d != want || err != nil {
					t.Errorf("without the %s the %s gave %d bytes, %v", hopNames[i], hopNames[j], d.n, err)
				}
			}
			z.again()
			if d, resp, err := download(t, z.url+"/up"+path); d != want || err != nil || resp.Header.Get("X-Cache") != "HIT" {
				t.Errorf("started again the %s gave %d bytes, %v, want a HIT", hopNames[i], d.n, err)
			}
		}
	}
}

func TestEveryHopCountsTheAgeOfItsParentAndAddsToWhatItSaid(t *testing.T) {
	o := startOrigin(t, func(w *wire, r *request) {
		age := strings.TrimPrefix(r.Target, "/")
		w.file(r, []byte("aged "+age), modified, "Cache-Control: max-age=600", "Age: "+age, `ETag: "1"`, "Cache-Status: edge; hit; ttl=9", "Via: 1.1 edge")
	})
	c := startChain(t, o.url)
	a := get(t, c.last().url+"/up/100").whole(t, "cold", []byte("aged 100"))
	wantChain(t, "cold", a, "edge; hit", "zcache; fwd=uri-miss", "zcache; fwd=uri-miss", "zcache; fwd=uri-miss")
	if age, _ := strconv.Atoi(a.Header.Get("Age")); age < 100 || age > 110 {
		t.Errorf("cold: Age %q, want the origin's 100 and little more", a.Header.Get("Age"))
	}
	for i, z := range c {
		z.published("up", "100", 8)
		a := get(t, z.url+"/up/100").is(t, hopNames[i]+", held", 200, "HIT")
		said := strings.Split(strings.Join(a.Header["Cache-Status"], ", "), ", ")
		ttl, err := strconv.Atoi(after(said[len(said)-1], "ttl="))
		if err != nil || ttl > 500 || ttl < 480 {
			t.Errorf("%s, held: Cache-Status %q, want at most 500 s of the lifetime left", hopNames[i], said)
		}
		if via := strings.Join(a.Header["Via"], ", "); via != "1.1 edge"+strings.Repeat(", 1.1 zcache", i+1) {
			t.Errorf("%s, held: Via %q", hopNames[i], via)
		}
	}
	if n := o.count("/100"); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
	// What a parent hands on beyond its lifetime is fresh at nobody, and every hop asks the one before with the validators.
	get(t, c.last().url+"/up/700").whole(t, "overdue", []byte("aged 700"))
	for _, z := range c {
		z.published("up", "700", 8)
	}
	a = get(t, c.last().url+"/up/700").whole(t, "overdue, again", []byte("aged 700")).is(t, "overdue, again", 200, "REVALIDATED")
	wantChain(t, "overdue, again", a, "edge; hit", "zcache; fwd=stale", "zcache; fwd=stale", "zcache; fwd=stale")
	if r := o.requests("/700"); len(r) != 2 || r[1].Header.Get("If-None-Match") != `"1"` {
		t.Errorf("the origin was asked %d times, want twice, the second time about its ETag", len(r))
	}
	if via := o.asked("/100").Header.Get("Via"); via != "1.1 zcache, 1.1 zcache, 1.1 zcache" {
		t.Errorf("toward the origin Via is %q, want a member of each hop", via)
	}
	if members := strings.Count(o.asked("/100").Header.Get("Cdn-Loop"), "zcache; id="); members != 3 {
		t.Errorf("toward the origin CDN-Loop has %d members, want 3", members)
	}
}

// wantChain wants the members of Cache-Status to begin so, the origin's side first.
func wantChain(t testing.TB, what string, a answer, want ...string) {
	t.Helper()
	said := strings.Split(strings.Join(a.Header["Cache-Status"], ", "), ", ")
	for i := range max(len(said), len(want)) {
		if i >= len(said) || i >= len(want) || !strings.HasPrefix(said[i], want[i]) {
			t.Errorf("%s: Cache-Status %q, want members that begin %q", what, said, want)
			return
		}
	}
}

func after(s, mark string) string {
	_, rest, _ := strings.Cut(s, mark)
	rest, _, _ = strings.Cut(rest, ";")
	return rest
}

func TestEveryWayRoundIs508AndNoneHangs(t *testing.T) {
	a, b, self := freeAddr(t), freeAddr(t), freeAddr(t)
	open := []string{"--proxy-allow-host", a, "--proxy-allow-host", b}
	start(t, settings(t, fmt.Sprintf(`
[[hub]]
name = "pair"
upstream = "http://%[1]s/pair"
[[hub]]
name = "byurl"
upstream = "http://%[1]s/files/http/%[2]s/byurl"
[[hub]]
name = "byproxy"
upstream = "http://far.example/tree"
proxy = "http://%[1]s"
`, b, a)), "--listen", a, open[2], open[3])
	start(t, settings(t, fmt.Sprintf(`
[[hub]]
name = "pair"
upstream = "http://%[1]s/pair"
[[hub]]
name = "byproxy"
upstream = "http://far.example/tree"
proxy = "http://%[1]s"
`, a)), "--listen", b, open[0], open[1])
	start(t, settings(t, fmt.Sprintf(`
[[hub]]
name = "itself"
upstream = "http://%[1]s/itself"
[[hub]]
name = "byproxy"
upstream = "http://far.example/tree"
proxy = "http://%[1]s"
`, self)), "--listen", self)
	for _, url := range []string{
		"http://" + a + "/pair/x", "http://" + b + "/pair/x", "http://" + a + "/pair/d/", "http://" + a + "/byurl/x", "http://" + a + "/byproxy/x",
		"http://" + a + "/files/http/" + b + "/pair/y", "http://" + self + "/itself/x", "http://" + self + "/itself/", "http://" + self + "/byproxy/x",
	} {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			r := ask(t, method, url).is(t, method+" "+url, http.StatusLoopDetected, "")
			if r.Took > 5*time.Second {
				t.Errorf("%s %s took %v", method, url, r.Took)
			}
		}
	}
	// Both are asked at the same moment: each one's request meets the other's own trip and must not wait for it for ever.
	var wg sync.WaitGroup
	for i := range 20 {
		for _, addr := range []string{a, b} {
			wg.Go(func() {
				url := fmt.Sprintf("http://%s/pair/crossed-%d", addr, i/4)
				if r, err := tryAsk("GET", url); err != nil || r.Status != http.StatusLoopDetected || r.Took > 15*time.Second {
					t.Errorf("crossed: GET %s = %d after %v, %v, want 508 in a few seconds", url, r.Status, r.Took, err)
				}
			})
		}
	}
	wg.Wait()
}
