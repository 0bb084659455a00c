// Command stampede asks for one URL from many clients at once and tells how long their first bytes and their bodies took.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	url := flag.String("url", "", "what to fetch")
	clients := flag.Int("clients", 600, "how many at once")
	name := flag.String("name", "", "shown before the figures")
	pid := flag.Int("pid", 0, "process whose peak memory is shown")
	ports := flag.Int("ports", 0, "print that many free ports and exit")
	flag.Parse()
	if *ports > 0 {
		fmt.Println(freePorts(*ports))
		return
	}
	client := &http.Client{Transport: &http.Transport{ReadBufferSize: 4 << 10, DisableCompression: true}, Timeout: 5 * time.Minute}
	first, sizes := make([]time.Duration, *clients), make([]int64, *clients)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range *clients {
		wg.Go(func() {
			resp, err := client.Get(*url)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			defer resp.Body.Close()
			buf := make([]byte, 16<<10)
			n, _ := io.ReadAtLeast(resp.Body, buf, 1)
			first[i] = time.Since(start)
			rest, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, buf)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
			sizes[i] = int64(n) + rest
		})
	}
	wg.Wait()
	slices.Sort(first)
	slices.Sort(sizes)
	fmt.Printf("  %-7s first byte p50 %.2f s p99 %.2f s, all after %.1f s, bodies %d to %d bytes, peak memory %s\n", *name,
		first[len(first)/2].Seconds(), first[len(first)*99/100].Seconds(), time.Since(start).Seconds(), sizes[0], sizes[len(sizes)-1], peak(*pid))
}

func freePorts(n int) string {
	var out []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		defer l.Close()
		out = append(out, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	}
	return strings.Join(out, " ")
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
