package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	floodNames  = 20_000 // that are nowhere
	floodConns  = 1000   // that never end their heads
	floodRounds = 3
	guessers    = 16
	guessGap    = 5 * time.Millisecond  // of each: a round's names last as long as the ordinary clients' work in it
	ordinary    = 20                    // clients that go on as always
	ordinaryGap = 10 * time.Millisecond // between two requests of each
	ordinaryAsk = 200                   // requests of each in a round
)

// A regular is an ordinary client: it has an address and a connection of its own, and wants what is held.
type regular struct {
	client *http.Client
	url    string
	want   []byte
}

func newRegular(z *zcache, i int, want []byte) *regular {
	from := fmt.Sprintf("127.0.3.%d", i+1)
	return &regular{url: fmt.Sprintf("%s/up/%d.bin", z.url, i), want: want, client: &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return dialFrom(from, addr)
		}},
	}}
}

// ask says how long an answer took to its last byte.
func (c *regular) ask() (time.Duration, error) {
	begun := time.Now()
	resp, err := c.client.Get(c.url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	took := time.Since(begun)
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != string(c.want) {
		return took, fmt.Errorf("%s with %d bytes, %v", resp.Status, len(body), err)
	}
	return took, nil
}

// work lets all of them do their daily work and gives what 99 of 100 answers took at most.
func work(t testing.TB, what string, all []*regular) time.Duration {
	t.Helper()
	took := make([][]time.Duration, len(all))
	var wg sync.WaitGroup
	for i, c := range all {
		wg.Go(func() {
			tick := time.NewTicker(ordinaryGap)
			defer tick.Stop()
			for range ordinaryAsk {
				d, err := c.ask()
				if err != nil {
					t.Errorf("%s: an ordinary client: %v", what, err)
					return
				}
				took[i] = append(took[i], d)
				<-tick.C
			}
		})
	}
	wg.Wait()
	sorted := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(sorted) == 0 {
		t.Fatalf("%s: no answer", what)
	}
	return sorted[len(sorted)*99/100]
}

// A flood comes from many addresses of this machine: names that are nowhere, and heads that never end.
type flood struct {
	addr  string
	names atomic.Int64 // asked for so far
	other atomic.Int64 // answers that were no 404
	slow  atomic.Int64 // connections that the server has ended
}

// run floods until ctx ends, with no more than so many names.
func (f *flood) run(ctx context.Context, names int64) {
	var wg sync.WaitGroup
	most := f.names.Load() + names
	for i := range guessers {
		wg.Go(func() {
			for ctx.Err() == nil && f.names.Load() < most {
				f.guess(ctx, fmt.Sprintf("127.0.4.%d", i+1), most)
			}
		})
	}
	for i := range floodConns {
		wg.Go(func() {
			for ctx.Err() == nil {
				f.dawdle(ctx, fmt.Sprintf("127.0.5.%d", i%200+1))
			}
		})
	}
	wg.Wait()
}

// guess asks for one made-up name after the other over one connection.
func (f *flood) guess(ctx context.Context, from string, most int64) {
	conn, err := dialFrom(from, f.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in := bufio.NewReader(conn)
	tick := time.NewTicker(guessGap)
	defer tick.Stop()
	for ctx.Err() == nil && f.names.Add(1) <= most {
		fmt.Fprintf(conn, "GET /up/%x/%x HTTP/1.1\r\nHost: x\r\n\r\n", rand.Uint32N(1000), rand.Uint64())
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return
		}
		if resp.StatusCode != http.StatusNotFound {
			f.other.Add(1)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		<-tick.C
	}
}

// dawdle sends a head a field at a time until the server has had enough of it.
func (f *flood) dawdle(ctx context.Context, from string) {
	conn, err := dialFrom(from, f.addr)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprint(conn, "GET /up/0.bin HTTP/1.1\r\nHost: x\r\n")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn)
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			if ctx.Err() == nil {
				f.slow.Add(1)
			}
			return
		case <-tick.C:
			fmt.Fprint(conn, "X-A: b\r\n")
		}
	}
}

// Whoever has what clients want must have it for them while others ask for what nobody has, and for nothing at all. How much longer their answers take is
// told here and measured in bench; what is judged is that they all come, and that neither memory nor inodes are used up.
func TestAFloodLeavesOrdinaryClientsAlone(t *testing.T) {
	n := startNginx(t, "")
	body := bytesOf("o", 10_000)
	for i := range ordinary {
		n.put(fmt.Sprintf("%d.bin", i), body)
	}
	z := start(t, "--upstream", "up="+n.url, "--log-level", "warn")
	var clients []*regular
	for i := range ordinary {
		clients = append(clients, newRegular(z, i, body))
	}
	work(t, "before all", clients)
	idle := z.memory("VmRSS")
	f := &flood{addr: z.addr}
	var ratios []float64
	for round := range floodRounds {
		quiet := work(t, "without the flood", clients)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.run(ctx, floodNames/floodRounds+1)
		}()
		eventually(t, 30*time.Second, "all connections of the flood are there", func() (bool, string) {
			n := z.sockets()
			return n >= floodConns, fmt.Sprint(n)
		})
		loud := work(t, "in the flood", clients)
		want := int64(round+1) * floodNames / floodRounds
		eventually(t, 30*time.Second, "the flood has asked for all of its names", func() (bool, string) {
			n := f.names.Load()
			return n >= want, fmt.Sprint(n)
		})
		cancel()
		<-ended
		ratios = append(ratios, float64(loud)/float64(quiet))
		t.Logf("p99 of the ordinary clients %v without the flood and %v in it", quiet.Round(time.Microsecond), loud.Round(time.Microsecond))
	}
	slices.Sort(ratios)
	peak := z.memory("VmHWM")
	kept := filesIn(t, filepath.Join(z.root, ".zcache"))
	t.Logf("median ratio of p99: %.2f; memory %d MiB idle, %d MiB at its peak; %d files kept of %d names asked for", ratios[len(ratios)/2], idle/mib, peak/mib, kept, f.names.Load())
	if peak > rssLimit {
		t.Errorf("memory peaked at %d MiB, want at most %d", peak/mib, int64(rssLimit)/mib)
	}
	if kept > 17_000 {
		t.Errorf("%d files are kept of what is nowhere, want at most 17,000 however many are asked for", kept)
	}
	if got := f.other.Load(); got > 0 {
		t.Errorf("%d names that are nowhere were answered with something else than 404", got)
	}
	eventually(t, 20*time.Second, "the flood's connections are gone", func() (bool, string) {
		n := z.sockets()
		return n < 100, fmt.Sprint(n)
	})
	z.ready(http.StatusOK)
}

// A head that never ends holds its connection for seconds, not for ever.
func TestAHeadThatDoesNotEndIsEnded(t *testing.T) {
	t.Parallel() // it is nothing but waiting
	z := start(t, "--upstream", "up=http://127.0.0.1:9")
	f := &flood{addr: z.addr}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f.dawdle(ctx, "127.0.0.2")
	if f.slow.Load() != 1 {
		t.Error("a head that does not end was waited for for 20 s, want 10")
	}
}

// sockets is the number of descriptors of the process that are sockets.
func (z *zcache) sockets() (n int) {
	z.t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", z.pid())
	all, err := os.ReadDir(dir)
	if err != nil {
		z.t.Fatal(err)
	}
	for _, e := range all {
		if to, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

// filesIn counts the regular files below a directory.
func filesIn(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			n++
		}
		if os.IsNotExist(err) {
			return nil // it was removed meanwhile
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Guessing names ends with the guesser being told to wait, before its guesses fill the store or the upstream's log.
func TestWhoGuessesNamesIsToldToWait(t *testing.T) {
	n := startNginx(t, "")
	n.put("a.bin", bytesOf("a", 4000))
	z := start(t, "--upstream", "up="+n.url, "--max-misses", "30/m", "--log-level", "warn")
	askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin").whole(t, "before", bytesOf("a", 4000))
	begun := time.Now()
	statuses := map[int]int{}
	for i := range 500 {
		statuses[askFrom(t, z, "127.0.0.2", "GET", fmt.Sprintf("/up/guess-%d", i)).Status]++
	}
	allowed := 31 + int(time.Since(begun)/(2*time.Second)) // one more every two seconds
	if statuses[404] < 30 || statuses[404] > allowed || statuses[404]+statuses[429] != 500 {
		t.Errorf("500 guesses = %v, want 30 of them answered and the others 429", statuses)
	}
	log, err := os.ReadFile(filepath.Join(n.dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	asked := strings.Count(string(log), `"uri":"/guess-`)
	if asked > allowed || asked < 30 {
		t.Errorf("the upstream was asked for %d guesses, want 30 to %d", asked, allowed)
	}
	askFrom(t, z, "127.0.0.2", "GET", "/up/guess-0").refusedBy(t, "a guess too many", "client-misses", 429)
	askFrom(t, z, "127.0.0.2", "GET", "/up/a.bin").refusedBy(t, "whatever it asks for", "client-misses", 429)
	askFrom(t, z, "127.0.0.3", "GET", "/up/a.bin").whole(t, "another client", bytesOf("a", 4000))
	askFrom(t, z, "127.0.0.3", "GET", "/up/guess-0").is(t, "one guess of another client", 404, "")
}
