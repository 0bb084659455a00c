package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestSixHundredClientsOfOneColdBodyCostOneFetch(t *testing.T) {
	n := startNginx(t, "limit_rate 25m;")
	sharedBodies(t)
	z := start(t, "--upstream", "up="+n.url)
	idle := z.memory("VmRSS")

	got := make([]crowdClient, clients)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range got {
		wg.Go(func() { got[i].run(z.addr, "/up/big.bin", i%(clients/10) == 0) })
	}
	wg.Wait()
	peak := z.memory("VmHWM")
	t.Logf("%d clients in %v, RSS %d MiB idle, %d MiB at its peak", clients, time.Since(began), idle/mib, peak/mib)

	firsts := make([]float64, 0, clients)
	for i, c := range got {
		if c.err != nil || c.n != bigSize {
			t.Errorf("client %d got %d of %d bytes: %v", i, c.n, int64(bigSize), c.err)
		}
		if c.hashed && c.sum != bodies["big.bin"].digest {
			t.Errorf("client %d got wrong bytes", i)
		}
		firsts = append(firsts, float64(c.first.UnixMicro())/1e6)
	}
	slices.Sort(firsts)
	log := n.log("/big.bin")
	if len(log) != 1 || log[0].Status != http.StatusOK || log[0].Sent != bigSize {
		t.Fatalf("nginx served %+v, want one whole GET", log)
	}
	if median := firsts[clients/2]; median >= log[0].Ended {
		t.Errorf("the median client had its first byte %.1f s after the fill ended", median-log[0].Ended)
	}
	if peak > rssLimit {
		t.Errorf("RSS peaked at %d MiB, want at most %d", peak/mib, int64(rssLimit)/mib)
	}
	z.published("up", "big.bin", bigSize)
}

// A crowdClient is one of many: it holds no body, and most of them do not even copy it out of the kernel.
type crowdClient struct {
	n      int64
	first  time.Time
	hashed bool
	sum    digest
	err    error
}

func (c *crowdClient) run(addr, path string, hashed bool) {
	c.hashed = hashed
	c.err = c.fetch(addr, path)
}

func (c *crowdClient) fetch(addr, path string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(4 * time.Minute))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, addr); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 4<<10)
	status, err := in.ReadString('\n')
	if err != nil || !strings.Contains(status, " 200 ") {
		return fmt.Errorf("status line %q: %w", status, err)
	}
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			break
		}
		if v, ok := strings.CutPrefix(line, "Content-Length: "); ok && strings.TrimSpace(v) != fmt.Sprint(int64(bigSize)) {
			return fmt.Errorf("announced %s", v)
		}
	}
	if _, err := in.Peek(1); err != nil {
		return err
	}
	c.first = time.Now()
	if c.hashed {
		c.sum, err = digestOf(in)
		c.n = c.sum.n
		return err
	}
	held, err := io.CopyN(io.Discard, in, int64(in.Buffered()))
	c.n = held
	if err != nil {
		return err
	}
	rest, err := discard(conn.(*net.TCPConn))
	c.n += rest
	return err
}

// trash is never written: with MSG_TRUNC, TCP drops the bytes in the kernel. 600 bodies of 200 MiB are 117 GiB, and copying them out
// would take longer than all the rest of the test.
var trash = make([]byte, mib)

func discard(conn *net.TCPConn) (n int64, err error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	for {
		got, failed := 0, error(nil)
		err := rc.Read(func(fd uintptr) bool {
			got, _, failed = syscall.Recvfrom(int(fd), trash, syscall.MSG_TRUNC)
			return failed != syscall.EAGAIN
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			return n, err
		}
		if got == 0 {
			return n, nil
		}
		n += int64(got)
	}
}

func TestAThousandClientsOfA404CostOneRequest(t *testing.T) {
	release := make(chan struct{})
	o := startOrigin(t, func(w *wire, r *request) {
		<-release
		w.reply(r, http.StatusNotFound, "no such file")
	})
	z := start(t, "--upstream", "up="+o.url)
	var wg sync.WaitGroup
	statuses := make(chan string, askers)
	for range askers {
		wg.Go(func() {
			a, err := tryAsk(http.MethodGet, z.url+"/up/gone.tar.xz")
			statuses <- fmt.Sprint(a.Status, " ", err, " ", a.Err)
		})
	}
	eventually(t, 10*time.Second, "the origin is asked", func() (bool, string) { return o.count("") > 0, "" })
	close(release)
	wg.Wait()
	close(statuses)
	for s := range statuses {
		if s != "404 <nil> <nil>" {
			t.Errorf("a client got %s, want 404", s)
		}
	}
	if got := o.count(""); got != 1 {
		t.Errorf("the origin was asked %d times, want once", got)
	}
	// The negative entry answers those who come later, until it is purged.
	get(t, z.url+"/up/gone.tar.xz").is(t, "a later client", http.StatusNotFound, "HIT")
	if got := o.count(""); got != 1 {
		t.Errorf("after a later client the origin was asked %d times, want once", got)
	}
}
