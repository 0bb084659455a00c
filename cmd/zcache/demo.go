package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/peterbourgon/ff/v3/ffcli"

	"zcache/internal/config"
)

func (a *app) demoVerb() *ffcli.Command {
	fs := newFlagSet("demo")
	once := fs.Bool("once", false, "end after the show instead of waiting for Ctrl-C")
	return &ffcli.Command{
		Name: "demo", ShortUsage: "zcache demo [--once]", FlagSet: fs,
		ShortHelp: "show a miss, a hit and an outage; needs no network and leaves nothing behind",
		Exec: func(ctx context.Context, args []string) error {
			if err := unexpected("demo", args); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return a.demo(ctx, *once)
		},
	}
}

// demo starts an origin and a zcache before it, both in this process, and shows what the one is worth when the other goes.
func (a *app) demo(ctx context.Context, once bool) error {
	root, err := os.MkdirTemp("", "zcache-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer os.RemoveAll(root)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	origin := &http.Server{Handler: newDemoOrigin(), ReadHeaderTimeout: 10 * time.Second}
	go origin.Serve(l) // until Close
	defer origin.Close()

	cfg, err := config.Parse("--listen=127.0.0.1:0", "--listing-ttl=0", "--root="+root, "--upstream=demo=http://"+l.Addr().String()+"/",
		"--log-level=error", "--log-format=text")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended, listening := make(chan error, 1), make(chan string, 1)
	go func() {
		ended <- a.serve(ctx, cfg, newLogger(cfg, a.stderr), hooks{listening: func(addrs []net.Addr) { listening <- addrs[0].String() }})
	}()
	defer func() {
		cancel()
		<-ended
	}()
	var base string
	select {
	case base = <-listening:
	case err := <-ended:
		ended <- err
		return fmt.Errorf("demo: start the server: %w", err)
	}
	s := &show{out: a.stdout, base: "http://" + base, origin: "http://" + l.Addr().String()}
	if err := s.play(ctx, origin.Close); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if !once {
		fmt.Fprintf(a.stdout, "\nThe origin stays away; %s/demo/ goes on answering. Ctrl-C ends it and removes %s.\n", s.base, root)
		<-ctx.Done()
	}
	return nil
}

// A show is the demo as the person sees it.
type show struct {
	out          io.Writer
	base, origin string
	client       http.Client
}

func (s *show) play(ctx context.Context, stopOrigin func() error) error {
	defer s.client.CloseIdleConnections()
	fmt.Fprintf(s.out, "An origin of a few files runs at %s/, a zcache before it. Open in a browser:\n  %s/demo/\n  %s/-/status\n",
		s.origin, s.base, s.base)

	s.say("The first request is fetched from the origin, and kept:")
	miss, err := s.get(ctx, "/demo/hello/hello-1.0.tar.gz", "MISS")
	if err != nil {
		return err
	}
	s.say("The second is answered from the disk:")
	hit, err := s.get(ctx, "/demo/hello/hello-1.0.tar.gz", "HIT", "HIT-COALESCED")
	if err != nil {
		return err
	}
	s.say("Directories are kept like files; here by name, in a browser as a page:")
	pages := []string{"/demo/?format=text", "/demo/hello/?format=text"}
	kept := map[string][sha256.Size]byte{}
	for _, page := range pages {
		if kept[page], err = s.get(ctx, page, "MISS"); err != nil {
			return err
		}
	}

	s.say("Now the origin stops. What is held goes on being answered, directories too:")
	if err := stopOrigin(); err != nil {
		return err
	}
	gone, err := s.get(ctx, "/demo/hello/hello-1.0.tar.gz", "HIT")
	if err != nil {
		return err
	}
	for _, page := range pages {
		// The file that was asked for before it has the listings above it asked for anew: the page may join that trip.
		stale, err := s.get(ctx, page, "STALE", "OFFLINE", "HIT", "UPDATING", "HIT-COALESCED")
		if err != nil {
			return err
		}
		if stale != kept[page] {
			return errors.New("a directory off line is not what it was on line")
		}
	}
	if hit != miss || gone != miss {
		return errors.New("the bytes off line are not the bytes on line")
	}
	s.say("Byte for byte the same as before. What was never fetched cannot be had, and says so:")
	_, err = s.get(ctx, "/demo/docs/install.txt", "504")
	return err
}

func (s *show) say(text string) { fmt.Fprintf(s.out, "\n%s\n", text) }

// get asks for path, prints what came, and compares the X-Cache field, or the status, with what the show is about. It returns the
// digest of the body.
func (s *show) get(ctx context.Context, path string, want ...string) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
	if err != nil {
		return sum, err
	}
	start := time.Now()
	resp, err := s.client.Do(req)
	if err != nil {
		return sum, err
	}
	defer resp.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, resp.Body)
	if err != nil {
		return sum, fmt.Errorf("read %s: %w", path, err)
	}
	took := time.Since(start)
	copy(sum[:], h.Sum(nil))
	state := resp.Header.Get("X-Cache")
	fmt.Fprintf(s.out, "  GET %-32s %d  X-Cache: %-8s %8s in %s\n", path, resp.StatusCode, state, humanize.IBytes(uint64(n)), took.Round(10*time.Microsecond))
	for _, w := range want {
		if w == fmt.Sprint(resp.StatusCode) || w == state && resp.StatusCode == http.StatusOK {
			return sum, nil
		}
	}
	return sum, fmt.Errorf("%s came as %d with X-Cache %q, want %s", path, resp.StatusCode, state, strings.Join(want, " or "))
}
