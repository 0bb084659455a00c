package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	takers       = 200
	manyConns    = 100 // of the one that takes all it can
	egressRate   = 40 * mib
	sharesWindow = 4 * egressRate // bytes to all of them, over which they are compared
)

// A taker is a client with an address of its own that asks for one file after the other and takes all it is sent.
type taker struct {
	from  string
	conns int
	got   atomic.Int64
}

// run takes until ctx ends. What it is told must be a 200.
func (k *taker) run(ctx context.Context, addr, path string) error {
	errs := make(chan error, k.conns)
	for range k.conns {
		go func() { errs <- k.take(ctx, addr, path) }()
	}
	var first error
	for range k.conns {
		if err := <-errs; err != nil && ctx.Err() == nil && first == nil {
			first = err
		}
	}
	return first
}

func (k *taker) take(ctx context.Context, addr, path string) error {
	buf := make([]byte, 32<<10)
	for ctx.Err() == nil {
		conn, err := dialFrom(k.from, addr)
		if err != nil {
			return err
		}
		err = k.fetch(ctx, conn, path, buf)
		conn.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (k *taker) fetch(ctx context.Context, conn net.Conn, path string, buf []byte) error {
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path); err != nil {
		return err
	}
	for begun := false; ; begun = true {
		n, err := conn.Read(buf)
		if !begun && !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200 ") {
			return fmt.Errorf("%s was told %.60q, %v", k.from, buf[:n], err)
		}
		k.got.Add(int64(n))
		if err != nil {
			return nil // the file's end
		}
	}
}

// dialFrom opens a connection from another address of this machine.
func dialFrom(source, addr string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 30 * time.Second}
	return d.Dial("tcp", addr)
}

// startTakers has so many clients take, the first of them by a hundred connections. stop ends them.
func startTakers(t testing.TB, z *zcache, path string) (all []*taker, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range takers {
		k := &taker{from: fmt.Sprintf("127.0.%d.%d", 1+i/100, 1+i%100), conns: 1}
		if i == 0 {
			k.conns = manyConns
		}
		all = append(all, k)
		wg.Go(func() {
			if err := k.run(ctx, z.addr, path); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	return all, func() {
		cancel()
		wg.Wait()
	}
}

// taken is what each has got so far, and all of them.
func taken(all []*taker) (each []int64, total int64) {
	for _, k := range all {
		n := k.got.Load()
		each = append(each, n)
		total += n
	}
	return each, total
}

// over waits until all together have got so many bytes more, and says what each of them has of these and how long it took.
func over(t testing.TB, all []*taker, bytes int64) (each []int64, total int64, took time.Duration) {
	t.Helper()
	before, start := taken(all)
	begun := time.Now()
	eventually(t, time.Minute, fmt.Sprintf("%d MiB to all clients", bytes/mib), func() (bool, string) {
		each, total = taken(all)
		return total-start >= bytes, fmt.Sprint(total - start)
	})
	took = time.Since(begun)
	for i := range each {
		each[i] -= before[i]
	}
	return each, total - start, took
}

// Of what the instance may send each client has its share, whoever else is there and however many connections that one opens. Shares are compared over the
// same bytes and not the same seconds: what they come to in a second is up to the machine.
func TestFairShares(t *testing.T) {
	n := startNginx(t, "")
	z := start(t, "--upstream", "up="+n.url, "--log-level", "warn", "--egress", strconv.Itoa(egressRate)+"/s")
	operate(t, z, "POST", "/-/ensure", `{"urls":["/up/mid.bin"],"wait":true}`).is(t, "ensure", 200, "")
	all, stop := startTakers(t, z, "/up/mid.bin")
	eventually(t, time.Minute, "all clients are sent to", func() (bool, string) {
		each, total := taken(all)
		return slices.Min(each) > 0 && total > egressRate, fmt.Sprint(slices.Min(each), total)
	})
	each, total, slow := over(t, all, sharesWindow)
	waiting := z.metric("zcache_limit_egress_waiting")
	stop()
	fair := float64(total) / takers
	least, most := float64(slices.Min(each[1:]))/fair, float64(slices.Max(each[1:]))/fair
	t.Logf("%d MiB in %.1f s, %.0f KiB for each of %d: the one with %d connections %.2f of that, the others %.2f to %.2f; %.0f answers were waiting",
		total/mib, slow.Seconds(), fair/1024, takers, manyConns, float64(each[0])/fair, least, most, waiting)
	if least < 0.8 || most > 1.2 {
		t.Errorf("the others had %.2f to %.2f of their fair share, want 0.80 to 1.20", least, most)
	}
	if greedy := float64(each[0]) / fair; greedy > 1.2 {
		t.Errorf("the one with %d connections had %.2f of its fair share, want at most 1.20", manyConns, greedy)
	}
	if waiting == 0 {
		t.Error("no answer waited for its share: the clients did not ask for more than there is")
	}
	if rate := float64(total) / slow.Seconds(); rate > 1.1*egressRate {
		t.Errorf("%.0f MiB a second were sent, want no more than %d", rate/mib, egressRate/mib)
	}

	// The same crowd with nothing configured.
	z.stop()
	z.again("--egress", "0")
	all, stop = startTakers(t, z, "/up/mid.bin")
	_, total, quick := over(t, all, sharesWindow)
	waiting, known := z.metric("zcache_limit_egress_waiting"), z.metric("zcache_limit_clients")
	stop()
	t.Logf("without limits %d MiB in %.2f s", total/mib, quick.Seconds())
	if waiting != 0 || known != 0 {
		t.Errorf("without limits %.0f answers waited and %.0f clients were told apart, want none", waiting, known)
	}
	if quick > slow/2 {
		t.Errorf("without limits the same bytes took %v, and %v with a limit that this machine can do many times over", quick, slow)
	}
	get(t, z.url+"/-/healthz").is(t, "health", http.StatusOK, "")
}

// metric reads a series of the metrics, 0 when there is none.
func (z *zcache) metric(series string, fields ...string) float64 {
	z.t.Helper()
	for line := range strings.Lines(string(get(z.t, z.url+"/-/metrics", fields...).is(z.t, "metrics", 200, "").Body)) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				z.t.Fatalf("metric %s: %v", series, err)
			}
			return v
		}
	}
	return 0
}
