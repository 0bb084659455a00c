package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/peterbourgon/ff/v3/ffcli"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
)

// warmAtOnce is how many URLs are asked for at a time: enough to hide the upstream's latency, few enough to leave it to others.
const warmAtOnce = 4

func (a *app) warmVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("warm", serveFlags)
	file := fs.String("f", "", "`FILE` with one URL a line; - reads standard input")
	return &ffcli.Command{
		Name: "warm", ShortUsage: "zcache warm [flags] URL…\n  zcache warm [flags] -f FILE", FlagSet: fs.FlagSet,
		ShortHelp: "make sure that URLs are cached, and wait until they are",
		Exec: func(ctx context.Context, args []string) error {
			urls, err := a.urls(args, *file)
			if err != nil {
				return err
			}
			if len(urls) == 0 {
				return usage("warm takes URLs or paths, or -f FILE with one a line")
			}
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			return warm(ctx, c, urls, a.warmView(fs.json, len(urls)))
		},
	}
}

// urls are those of the command line and those of the file; blank lines and comments do not count.
func (a *app) urls(args []string, file string) ([]string, error) {
	urls := args
	if file == "" {
		return urls, nil
	}
	in := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("read the URLs: %w", err)
		}
		defer f.Close()
		in = f
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); line != "" && !strings.HasPrefix(line, "#") {
			urls = append(urls, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the URLs: %w", err)
	}
	return urls, nil
}

// A warmed is what became of one URL.
type warmed struct {
	URL     string `json:"url"`
	OK      bool   `json:"ok"`
	Error   string `json:"error,omitempty"`
	offline bool
}

// warm asks for every URL, one request each, so that the outcome of each is known as it comes.
func warm(ctx context.Context, c *client, urls []string, view warmView) error {
	var (
		mu              sync.Mutex
		failed, offline int
		g               errgroup.Group
	)
	g.SetLimit(warmAtOnce)
	for _, u := range urls {
		g.Go(func() error {
			w := ensure(ctx, c, u)
			mu.Lock()
			defer mu.Unlock()
			if !w.OK {
				failed++
			}
			if w.offline {
				offline++
			}
			return view.tell(w)
		})
	}
	err := g.Wait()
	view.end(len(urls), failed)
	switch {
	case err != nil:
		return err
	case failed == 0:
		return nil
	case offline == len(urls):
		return &exitError{code: exitOffline}
	case failed < len(urls):
		return &exitError{code: exitPartial}
	}
	return &exitError{code: exitFailure}
}

// ensure makes sure that one URL is cached.
func ensure(ctx context.Context, c *client, u string) warmed {
	ask := struct {
		URLs []string `json:"urls"`
		Wait bool     `json:"wait"`
	}{[]string{u}, true}
	answer, err := c.call(ctx, http.MethodPost, "/-/ensure", ask)
	if err == nil {
		err = outcome(answer)
	}
	w := warmed{URL: u, OK: err == nil}
	if err != nil {
		w.Error = err.Error()
		var p *problem
		w.offline = errors.As(err, &p) && p.offline()
	}
	return w
}

// outcome reads the task that ensure answers with: an item per URL, with the reason, and the status that a client would get, where it
// failed.
func outcome(answer json.RawMessage) error {
	var task struct {
		URLs []struct {
			State  string `json:"state"`
			Status int    `json:"status"`
			Error  string `json:"error"`
		} `json:"urls"`
	}
	if err := json.Unmarshal(answer, &task); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	for _, item := range task.URLs {
		if item.State != "held" {
			return &problem{Status: item.Status, Detail: item.Error, Title: "it is not held"}
		}
	}
	return nil
}

// A warmView tells the person or the script how it goes. tell is called for one URL at a time.
type warmView struct {
	tell func(warmed) error
	end  func(total, failed int)
}

func (a *app) warmView(asJSON bool, total int) warmView {
	switch {
	case asJSON:
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return warmView{func(w warmed) error { return enc.Encode(w) }, func(int, int) {}}
	case isTerminal(a.stdout):
		return a.warmBar(total)
	}
	return warmView{a.tellLine, a.tellSum}
}

func (a *app) tellLine(w warmed) error {
	if w.OK {
		_, err := fmt.Fprintf(a.stdout, "held    %s\n", w.URL)
		return err
	}
	_, err := fmt.Fprintf(a.stderr, "failed  %s: %s\n", w.URL, oneLine(w.Error))
	return err
}

func (a *app) tellSum(total, failed int) {
	fmt.Fprintf(a.stdout, "%d of %d held\n", total-failed, total)
}

// warmBar draws a bar; failures stand above it as lines.
func (a *app) warmBar(total int) warmView {
	bar := progress.NewWriter()
	bar.SetOutputWriter(a.stdout)
	bar.SetAutoStop(false)
	bar.SetTrackerLength(30)
	tracker := &progress.Tracker{Message: "warm", Total: int64(total)}
	bar.AppendTracker(tracker)
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		bar.Render()
	}()
	tell := func(w warmed) error {
		tracker.Increment(1)
		if !w.OK {
			bar.Log("failed  %s: %s", w.URL, oneLine(w.Error))
		}
		return nil
	}
	return warmView{tell, func(total, failed int) {
		tracker.MarkAsDone()
		bar.Stop()
		<-drawn
		a.tellSum(total, failed)
	}}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
