package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// askFrom is ask by a client of another address of this machine.
func askFrom(t testing.TB, z *zcache, source, method, path string, fields ...string) answer {
	t.Helper()
	conn, err := dialFrom(source, z.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	head := method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	for _, f := range fields {
		head += f + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		t.Fatal(err)
	}
	a, err := readAnswer(conn, method)
	if err != nil {
		t.Fatalf("%s %s from %s: %v", method, path, source, err)
	}
	return a
}

// refusedBy wants a refusal by a limit of this name, as RFC 9110, RFC 9457 and draft-ietf-httpapi-ratelimit-headers-10 have it, and gives how long to wait.
func (a answer) refusedBy(t testing.TB, what, policy string, status int) time.Duration {
	t.Helper()
	a.is(t, what, status, "")
	wait, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || wait < 1 {
		t.Errorf("%s: Retry-After %q, want whole seconds", what, a.Header.Get("Retry-After"))
	}
	for field, keys := range map[string][]string{"RateLimit": {"r", "t"}, "RateLimit-Policy": {"q", "w"}} {
		list, err := httpsfv.UnmarshalList(a.Header.Values(field))
		if err != nil || len(list) != 1 {
			t.Errorf("%s: %s is %q, want a list of one: %v", what, field, a.Header.Values(field), err)
			continue
		}
		item, ok := list[0].(httpsfv.Item)
		if !ok || item.Value != policy {
			t.Errorf("%s: %s names %v, want %q", what, field, list[0], policy)
			continue
		}
		numbers := map[string]int64{}
		for _, key := range keys {
			if v, ok := item.Params.Get(key); ok {
				if numbers[key], ok = v.(int64); !ok || numbers[key] < 0 {
					t.Errorf("%s: %s of %s is %v, want an integer from 0 on", what, key, field, v)
				}
			}
		}
		if field == "RateLimit" && (numbers["r"] != 0 || numbers["t"] > int64(wait)) {
			t.Errorf("%s: RateLimit says %d are left and more comes in %d s, and Retry-After %d s", what, numbers["r"], numbers["t"], wait)
		}
		if field == "RateLimit-Policy" && numbers["q"] < 1 {
			t.Errorf("%s: RateLimit-Policy has no quota: %q", what, a.Header.Get(field))
		}
	}
	var p struct {
		Type, Title, Detail, Error string
		Status                     int
		Violated                   []string `json:"violated-policies"`
	}
	a.problem(t, what)
	if err := json.Unmarshal(a.Body, &p); err != nil || p.Status != status || p.Type == "" || p.Title == "" || p.Detail == "" || p.Error == "" || fmt.Sprint(p.Violated) != "["+policy+"]" {
		t.Errorf("%s: problem %s, %v; want status %d and the limit %s violated", what, clip(a.Body), err, status, policy)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("%s: Cache-Control %q: a refusal is for one client", what, got)
	}
	return time.Duration(wait) * time.Second
}

// tally counts answers by their status.
func tally(all []answer) map[int]int {
	n := map[int]int{}
	for _, a := range all {
		n[a.Status]++
	}
	return n
}

// burst asks so often at once.
func burst(t testing.TB, z *zcache, times int, source, path string, fields ...string) []answer {
	all := make([]answer, times)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = askFrom(t, z, source, http.MethodGet, path, fields...) })
	}
	wg.Wait()
	return all
}

func TestWhoAsksTooOftenIsToldSoAndNobodyElse(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 4000))
	z := start(t, "--upstream", "up="+n.url, "--rate", "5:5")
	askFrom(t, z, "127.0.0.9", "GET", "/up/a.bin").whole(t, "somebody, before", bytesOf("a", 4000))
	all := burst(t, z, 40, "127.0.0.2", "/up/a.bin")
	if n := tally(all); n[200] < 5 || n[429] < 20 || n[200]+n[429] != 40 {
		t.Errorf("40 requests at once = %v, want five or a few more answered and the others 429", n)
	}
	var wait time.Duration
	for _, a := range all {
		if a.Status == http.StatusTooManyRequests {
			wait = a.refusedBy(t, "a request too many", "client-requests", 429)
		}
	}
	for i := range 20 {
		askFrom(t, z, fmt.Sprintf("127.0.0.%d", 20+i), "GET", "/up/a.bin").whole(t, "another client", bytesOf("a", 4000))
	}
	for _, path := range []string{"/-/healthz", "/-/readyz", "/-/version"} {
		for _, a := range burst(t, z, 20, "127.0.0.2", path) {
			a.is(t, "of who asked too often, "+path, 200, "")
		}
	}
	timer := time.NewTimer(wait) // what Retry-After says is what this is about
	<-timer.C
	askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin").whole(t, "after Retry-After", bytesOf("a", 4000))
	if got := z.metric(`zcache_limit_refusals_total{policy="client-requests"}`); got < 20 {
		t.Errorf("zcache_limit_refusals_total = %v, want those that were refused", got)
	}
}

func TestTheLimitsOfAClientAreThoseOfAllFacesTogether(t *testing.T) {
	n := startNginx(t, "autoindex on;")
	n.put("a.bin", bytesOf("a", 4000))
	z := start(t, "--upstream", "up="+n.url, "--rate", "1/h:1", "--proxy-allow-host", n.addr)
	askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin").whole(t, "the one request of the hour", bytesOf("a", 4000))
	for _, way := range []string{"/up/a.bin", "/up/", "/files/http/" + n.addr + "/a.bin", "/download/" + n.url + "/b.bin", n.url + "/a.bin", "/-/status", "/-/metrics"} {
		askFrom(t, z, "127.0.0.2", "GET", way).refusedBy(t, "GET "+way, "client-requests", 429)
		askFrom(t, z, "127.0.0.2", "HEAD", way).is(t, "HEAD "+way, 429, "")
		askFrom(t, z, "127.0.0.2", "GET", way, "Range: bytes=0-9", `If-None-Match: "x"`).refusedBy(t, "a range of "+way, "client-requests", 429)
	}
	askFrom(t, z, "127.0.0.2", "CONNECT", n.addr).is(t, "CONNECT", 429, "")
	for _, fields := range []string{"X-Forwarded-For: 127.0.0.7", "Forwarded: for=127.0.0.7", "X-Real-Ip: 127.0.0.7"} {
		askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin", fields).refusedBy(t, "with a field that nobody trusts, "+fields, "client-requests", 429)
	}
}

// A token is one client wherever it is used, and two of them behind one address are two.
func TestLimitsAreTheTokensWhereThereIsOne(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 4000))
	auth := filepath.Join(t.TempDir(), "auth.toml")
	bearer := map[string]string{}
	for _, name := range []string{"one", "two", "farm"} {
		bearer[name] = "Authorization: Bearer " + newToken(t, auth, "--name", name, "--read", "/up")
	}
	var listed []struct{ ID, Name string }
	out, errs, exit := command(t, binary, "token", "list", "--json", "--auth-file", auth)
	if err := json.Unmarshal([]byte(out), &listed); err != nil || exit != 0 {
		t.Fatalf("zcache token list --json: exit %d, %v, %s%s", exit, err, out, errs)
	}
	farm := ""
	for _, token := range listed {
		if token.Name == "farm" {
			farm = token.ID
		}
	}
	z := start(t, settings(t, fmt.Sprintf("rate = \"3/h:3\"\nauth-file = %q\n[[hub]]\nname = \"up\"\nupstream = %q\n[[client]]\nwho = [\"token:%s\"]\nrate = \"60/h:12\"\n", auth, n.url, farm)))
	for _, row := range []struct {
		claim, source, who string
		ok, limited        int
	}{
		{"a token has what is there for a client", "127.0.0.2", "one", 3, 7},
		{"elsewhere it is the same client", "127.0.0.3", "one", 0, 10},
		{"another token of the same address is another", "127.0.0.2", "two", 3, 7},
		{"one with limits of its own has these", "127.0.0.2", "farm", 12, 8},
		{"who has none is its address", "127.0.0.2", "", 3, 7},
		{"which is another than the next", "127.0.0.3", "", 3, 7},
	} {
		var fields []string
		if row.who != "" {
			fields = []string{bearer[row.who]}
		}
		if got := tally(burst(t, z, row.ok+row.limited, row.source, "/up/a.bin", fields...)); got[200] != row.ok || got[429] != row.limited {
			t.Errorf("%s: %v, want %d answered and %d refused", row.claim, got, row.ok, row.limited)
		}
	}
	askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin", bearer["one"]).refusedBy(t, "a token that asked too often", "client-requests", 429)
}

func TestConnectionsAndDownloadsOfAClientAreBounded(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		if strings.HasPrefix(r.Target, "/slow") {
			<-release
		}
		w.reply(r, 200, "body", "Cache-Control: max-age=600")
	})
	z := start(t, "--upstream", "up="+o.url, "--max-conns-per-client", "4", "--max-downloads-per-client", "2")
	hold := func(source string) net.Conn {
		conn, err := dialFrom(source, z.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	ended := func(conn net.Conn) bool {
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		timeout, ok := err.(net.Error)
		return err != nil && (!ok || !timeout.Timeout())
	}
	var idle []net.Conn
	for range 4 {
		idle = append(idle, hold("127.0.0.2"))
	}
	for i, conn := range idle {
		if ended(conn) {
			t.Errorf("connection %d of 4 was closed", i+1)
		}
	}
	if !ended(hold("127.0.0.2")) {
		t.Error("a fifth connection was not closed")
	}
	askFrom(t, z, "127.0.0.3", "GET", "/up/a").whole(t, "another client", []byte("body"))
	idle[0].Close()
	eventually(t, waitShort, "there is room for a connection again", func() (bool, string) {
		conn := hold("127.0.0.2")
		defer conn.Close()
		return !ended(conn), ""
	})

	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			askFrom(t, z, "127.0.0.4", "GET", fmt.Sprintf("/up/slow%d", i)).whole(t, "under way", []byte("body"))
		})
	}
	eventually(t, waitShort, "two downloads are under way", func() (bool, string) { return o.count("/slow0")+o.count("/slow1") == 2, "" })
	askFrom(t, z, "127.0.0.4", "GET", "/up/a").refusedBy(t, "a third one", "client-concurrent", 429)
	askFrom(t, z, "127.0.0.3", "GET", "/up/a").whole(t, "one of another client", []byte("body"))
	close(release)
	wg.Wait()
	eventually(t, waitShort, "there is room for a download again", func() (bool, string) {
		return askFrom(t, z, "127.0.0.4", "GET", "/up/a").Status == 200, ""
	})
}

func TestWhatWasUsedOfTheDayOutlivesARestart(t *testing.T) {
	n := startNginx(t, "")
	body := bytesOf("a", 2*mib)
	n.put("a.bin", body)
	z := start(t, "--upstream", "up="+n.url, "--client-daily", "3MiB")
	day := time.Now().UTC().Format(time.DateOnly)
	for range 2 { // the second begins below the limit and is served whole
		askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin").whole(t, "within the day's bytes", body)
	}
	spent := func(when string) {
		t.Helper()
		a := askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin")
		if day != time.Now().UTC().Format(time.DateOnly) {
			return // it is midnight: there is more
		}
		if wait := a.refusedBy(t, when, "client-daily-bytes", 429); wait > 24*time.Hour+time.Minute {
			t.Errorf("%s: Retry-After %v, want midnight", when, wait)
		}
	}
	spent("when all is used")
	askFrom(t, z, "127.0.0.3", "GET", "/up/a.bin").whole(t, "another client", body)
	z.stop()
	z.again()
	spent("after a restart")
	askFrom(t, z, "127.0.0.4", "GET", "/up/a.bin").whole(t, "a new client", body)
	askFrom(t, z, "127.0.0.3", "GET", "/up/a.bin").whole(t, "one that had used some", body)
	if day == time.Now().UTC().Format(time.DateOnly) {
		askFrom(t, z, "127.0.0.3", "GET", "/up/a.bin").refusedBy(t, "one that has used the rest", "client-daily-bytes", 429)
	}
}

func TestTripsToAnUpstreamAreBounded(t *testing.T) {
	var now, most atomic.Int64
	step := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-step
		now.Add(-1)
		w.reply(r, 200, "body", "Cache-Control: max-age=600")
	})
	z := start(t, settings(t, fmt.Sprintf("[[hub]]\nname = \"up\"\nupstream = %q\nupstream-requests = 3\nupstream-queue = 20\n[[hub]]\nname = \"free\"\nupstream = %q\n", o.url, o.url)))
	results := make(chan answer, 40)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() { results <- askFrom(t, z, "127.0.0.2", "GET", fmt.Sprintf("/up/%d", i)) })
	}
	for range 17 { // 3 under way, 20 that wait: the others are told at once
		select {
		case a := <-results:
			if wait := a.refusedBy(t, "one more than may wait", "hub-upstream", 503); wait > time.Minute {
				t.Errorf("Retry-After %v", wait)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("fewer than 17 of 40 were refused although 3 are under way and 20 may wait")
		}
	}
	eventually(t, waitShort, "3 are under way and 20 wait", func() (bool, string) {
		waiting := z.metric(`zcache_limit_upstream_waiting`)
		return now.Load() == 3 && waiting == 20, fmt.Sprint(now.Load(), " under way, ", waiting, " waiting")
	})
	close(step)
	for range 23 {
		(<-results).whole(t, "one that had its turn", []byte("body"))
	}
	wg.Wait()
	if got := most.Load(); got != 3 {
		t.Errorf("the origin had %d requests at a time, want 3", got)
	}
	if got := o.count(""); got != 23 {
		t.Errorf("the origin was asked %d times, want 23", got)
	}
}
