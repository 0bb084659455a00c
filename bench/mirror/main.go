// Command mirror is what bench/mirror.sh needs beside the programs that it compares: a tree, changes to it, and a distance that counts.
package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// The tree: 20,000 files in 1,000 directories, four deep, as six directories lie in each.
const (
	dirs, files, fan = 1000, 20_000, 6
	large            = 5 << 20 // bytes of each thousandth file
)

// old is the time of the first file, long enough ago for a listing to be believed.
var old = time.Date(2023, 4, 5, 6, 7, 8, 0, time.UTC)

func main() {
	tree := flag.String("tree", "", "write the tree into this directory and exit")
	change := flag.String("change", "", "change 200 files of the tree in this directory, remove 100, and exit")
	listen := flag.String("listen", "", "address to pass requests on from; GET /count-and-reset says how many there were")
	to := flag.String("to", "", "base URL to pass requests on to")
	delay := flag.Duration("delay", 0, "how much later than they came")
	flag.Parse()
	err := flag.ErrHelp
	switch {
	case *tree != "":
		err = plant(*tree)
	case *change != "":
		err = alter(*change)
	case *listen != "":
		err = relay(*listen, *to, *delay)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

// dirOf is the directory i of the tree, 0 its root.
func dirOf(i int) string {
	if i == 0 {
		return ""
	}
	return filepath.Join(dirOf((i-1)/fan), fmt.Sprintf("dir-%04d", i))
}

func fileOf(i int) string {
	return filepath.Join(dirOf(i%(dirs+1)), fmt.Sprintf("file-%05d.bin", i))
}

func write(root string, i, size int, at time.Time) error {
	var seed [32]byte
	copy(seed[:], fmt.Sprint(i, at.Unix()))
	body := make([]byte, size)
	_, _ = io.ReadFull(rand.NewChaCha8(seed), body)
	name := filepath.Join(root, fileOf(i))
	if err := os.WriteFile(name, body, 0o644); err != nil {
		return err
	}
	return os.Chtimes(name, at, at)
}

func size(i int) int {
	if i%1000 == 999 {
		return large
	}
	return i * 2654435761 % 8193
}

func plant(root string) error {
	for i := range dirs + 1 {
		if err := os.MkdirAll(filepath.Join(root, dirOf(i)), 0o755); err != nil {
			return err
		}
	}
	for i := range files {
		if err := write(root, i, size(i), old.Add(time.Duration(i)*37*time.Second)); err != nil {
			return err
		}
	}
	return nil
}

// alter rewrites 1 % of the files a year later, half of them with the size that they had, and removes 0.5 %.
func alter(root string) error {
	for n := range files / 100 {
		if i := n * 100; i%1000 != 999 {
			if err := write(root, i, size(i)+n%2*11, old.Add(8760*time.Hour+time.Duration(n)*time.Minute)); err != nil {
				return err
			}
		}
	}
	for n := range files / 200 {
		if err := os.Remove(filepath.Join(root, fileOf(n*200+50))); err != nil {
			return err
		}
	}
	return nil
}

func relay(listen, to string, delay time.Duration) error {
	base, err := url.Parse(to)
	if err != nil {
		return err
	}
	var asked atomic.Int64
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(base) },
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64},
	}
	return http.ListenAndServe(listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/count-and-reset" {
			fmt.Fprintln(w, asked.Swap(0))
			return
		}
		asked.Add(1)
		time.Sleep(delay)
		proxy.ServeHTTP(w, r)
	}))
}
