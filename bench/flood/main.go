// Command flood measures what ordinary clients of a server feel of others who ask it for names that are nowhere, and open connections over which they
// never end what they ask. It tells the p99 of the ordinary clients' answers without and with the flood, and the median of the ratios over some rounds.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	addr    = flag.String("addr", "", "host:port of the server, on loopback")
	path    = flag.String("path", "/", "what ordinary clients want, which is held")
	nowhere = flag.String("nowhere", "/", "directory of the names that are nowhere")
	name    = flag.String("name", "", "shown before the figures")
	pid     = flag.Int("pid", 0, "process whose peak memory is shown")
	clients = flag.Int("clients", 20, "ordinary clients")
	gap     = flag.Duration("gap", 10*time.Millisecond, "between two requests of each")
	names   = flag.Int("names", 20_000, "that are nowhere, over all rounds")
	conns   = flag.Int("conns", 1000, "connections that never end their heads")
	rounds  = flag.Int("rounds", 3, "of work without the flood and with it")
	length  = flag.Duration("length", 4*time.Second, "of each half of a round")
)

const guessers = 16

func main() {
	flag.Parse()
	workers := make([]*worker, *clients)
	for i := range workers {
		workers[i] = newWorker(i)
	}
	work(workers, time.Second) // connections are opened, and whatever is only learned once
	var f flood
	var ratios []float64
	for range *rounds {
		quiet := work(workers, *length)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.run(ctx)
		}()
		time.Sleep(200 * time.Millisecond) // the connections are opened
		loud := work(workers, *length)
		cancel()
		<-done
		ratios = append(ratios, float64(loud)/float64(quiet))
		fmt.Printf("  %-7s p99 %6.2f ms alone, %6.2f ms in the flood\n", *name, quiet.Seconds()*1e3, loud.Seconds()*1e3)
	}
	slices.Sort(ratios)
	fmt.Printf("  %-7s median ratio x%.2f; %d names asked for, %d failed answers to ordinary clients, peak memory %s\n",
		*name, ratios[len(ratios)/2], f.asked.Load(), failed.Load(), peak(*pid))
}

// failed counts the answers to ordinary clients that were none.
var failed atomic.Int64

// A worker is an ordinary client with an address and a connection of its own.
type worker struct{ client *http.Client }

func newWorker(i int) *worker {
	return &worker{&http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dialFrom(3, i) },
	}}}
}

// dialFrom opens a connection from one of the addresses of loopback.
func dialFrom(net3, i int) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(net3), byte(i%250+1))}, Timeout: 10 * time.Second}
	return d.Dial("tcp", *addr)
}

// work has all of them ask for so long and gives what 99 of 100 answers took at most.
func work(all []*worker, length time.Duration) time.Duration {
	took := make([][]time.Duration, len(all))
	var wg sync.WaitGroup
	for i, w := range all {
		wg.Go(func() {
			tick := time.NewTicker(*gap)
			defer tick.Stop()
			for end := time.Now().Add(length); time.Now().Before(end); <-tick.C {
				begun := time.Now()
				resp, err := w.client.Get("http://" + *addr + *path)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
					continue
				}
				took[i] = append(took[i], time.Since(begun))
			}
		})
	}
	wg.Wait()
	sorted := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(sorted) == 0 {
		fmt.Fprintln(os.Stderr, "flood: no answer to any ordinary client")
		os.Exit(1)
	}
	return sorted[len(sorted)*99/100]
}

// A flood is what does no ordinary client's work.
type flood struct{ asked atomic.Int64 }

func (f *flood) run(ctx context.Context) {
	var wg sync.WaitGroup
	each := length.Seconds() * guessers * float64(*rounds) / float64(*names)
	for i := range guessers {
		wg.Go(func() {
			tick := time.NewTicker(time.Duration(each * 1e9))
			defer tick.Stop()
			for ctx.Err() == nil {
				f.guess(ctx, i, tick.C)
			}
		})
	}
	for i := range *conns {
		wg.Go(func() {
			for ctx.Err() == nil {
				dawdle(ctx, i)
			}
		})
	}
	wg.Wait()
}

// guess asks for made-up names, one at each tick.
func (f *flood) guess(ctx context.Context, i int, tick <-chan time.Time) {
	conn, err := dialFrom(4, i)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in := bufio.NewReader(conn)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		fmt.Fprintf(conn, "GET %s%x/%x HTTP/1.1\r\nHost: x\r\n\r\n", *nowhere, rand.Uint32N(1000), rand.Uint64())
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		f.asked.Add(1)
	}
}

// dawdle sends a head a field a second until the server has had enough.
func dawdle(ctx context.Context, i int) {
	conn, err := dialFrom(5, i)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n", *path)
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
			return
		case <-tick.C:
			fmt.Fprint(conn, "X-A: b\r\n")
		}
	}
}

// peak is the largest resident size that a process had, as the kernel tells.
func peak(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
