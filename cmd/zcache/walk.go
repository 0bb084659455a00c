package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/peterbourgon/ff/v3/ffcli"
)

const (
	followFirst = 20 * time.Millisecond  // until a walk that is followed is looked at, which doubles
	followEvery = 500 * time.Millisecond // up to this
	lineEvery   = 10 * time.Second       // how often it has a line, where there is no terminal
)

// A walkAsk is what POST /-/walk takes.
type walkAsk struct {
	Subtree      string `json:"subtree"`
	DryRun       bool   `json:"dry_run"`
	ConfirmPurge bool   `json:"confirm_purge"`
}

func (a *app) walkVerb(serveFlags *flag.FlagSet) *ffcli.Command {
	fs := newClientFlags("walk", serveFlags)
	var ask walkAsk
	fs.BoolVar(&ask.DryRun, "dry-run", false, "only look: fetch listings, and neither files nor the trash")
	fs.BoolVar(&ask.ConfirmPurge, "confirm-purge", false, "remove what is gone upstream, however much it is")
	follow := fs.Bool("follow", false, "wait until the walk ends, and show how it goes")
	return &ffcli.Command{
		Name: "walk", ShortUsage: "zcache walk [flags] PATH", FlagSet: fs.FlagSet,
		ShortHelp: "make what is held at and below a directory what its upstream has",
		LongHelp: "Any directory of a hub can be walked, in every mode that stores. What is gone upstream goes to the trash (zcache trash).\n" +
			"With --follow it exits with 3 when files could not be had, the walk was given up, or a purge was held back.",
		Exec: func(ctx context.Context, args []string) error {
			if len(args) != 1 {
				return usage("walk takes one directory, such as zcache walk /kernel/linux")
			}
			ask.Subtree = args[0]
			c, err := a.client(fs)
			if err != nil {
				return err
			}
			return a.walk(ctx, c, ask, *follow, fs.json)
		},
	}
}

// walk starts a walk and, to follow it, waits for its end.
func (a *app) walk(ctx context.Context, c *client, ask walkAsk, follow, asJSON bool) error {
	answer, err := c.call(ctx, http.MethodPost, "/-/walk", ask)
	if err != nil {
		return fmt.Errorf("walk %s: %w", ask.Subtree, err)
	}
	if !follow {
		if asJSON {
			return printJSON(a.stdout, answer)
		}
		_, err := fmt.Fprintf(a.stdout, "walk of %s begins; %s/-/mirror tells how it goes\n", ask.Subtree, c.base)
		return err
	}
	w, err := readWalk(answer)
	if err != nil {
		return err
	}
	view := a.walkView(asJSON, w.Name)
	w, answer, err = followWalk(ctx, c, w, answer, view.tell)
	view.end()
	switch {
	case err != nil:
		return fmt.Errorf("walk %s: %w", ask.Subtree, err)
	case asJSON:
		err = printJSON(a.stdout, answer)
	default:
		err = a.tellWalk(w, ask)
	}
	if err == nil && !w.whole(ask.DryRun) {
		return &exitError{code: exitPartial}
	}
	return err
}

// A walkStatus is what is read of a subtree's state.
type walkStatus struct {
	Name     string       `json:"name"`
	Status   string       `json:"status"`
	Error    string       `json:"error"`
	HeldBack int64        `json:"held_back"`
	Progress *walkFigures `json:"progress"`
	Last     *walkFigures `json:"last"`
}

type walkFigures struct {
	Dirs      int64    `json:"dirs"`
	Files     int64    `json:"files"`
	Skipped   int64    `json:"skipped"`
	Same      int64    `json:"same"`
	Fetched   int64    `json:"fetched"`
	Removed   int64    `json:"removed"`
	Denied    int64    `json:"denied"`
	Unkept    int64    `json:"unkept"`
	Failed    int64    `json:"failed"`
	Would     int64    `json:"would_ask"`
	HeldBack  int64    `json:"held_back"`
	Bytes     int64    `json:"bytes"`
	Requests  int64    `json:"requests"`
	Queue     int64    `json:"queue"`
	Rate      float64  `json:"rate"`
	ETA       float64  `json:"eta_seconds"`
	Elapsed   float64  `json:"elapsed_seconds"`
	LastError string   `json:"last_error"`
	Orphans   []string `json:"orphans"`
}

func readWalk(answer json.RawMessage) (walkStatus, error) {
	var w walkStatus
	if err := json.Unmarshal(answer, &w); err != nil || w.Name == "" {
		return w, fmt.Errorf("read the answer: it tells of no walk")
	}
	return w, nil
}

// runs says that the walk waits for its turn or is under way.
func (w walkStatus) runs() bool { return w.Status == "pre-syncing" || w.Status == "syncing" }

// whole says that the walk that is over did all it was asked for. A dry run tells nothing of the subtree's state, which is that of the last real one.
func (w walkStatus) whole(dry bool) bool {
	failed := w.Last != nil && w.Last.Failed > 0
	if dry {
		return w.Error == "" && !failed
	}
	return w.Error == "" && w.Status != "failed" && w.Status != "paused" && !failed && w.HeldBack == 0
}

// done is how many files the walk is through with, and all how many there seem to be.
func (f *walkFigures) done() (done, all int64) {
	done = f.Skipped + f.Same + f.Fetched + f.Denied + f.Unkept + f.Failed + f.Would
	all = done + f.Queue
	if f.ETA > 0 && f.Elapsed > 0 {
		all = max(all, int64(float64(done)*(f.Elapsed+f.ETA)/f.Elapsed))
	}
	return done, all
}

// followWalk tells of a walk until it is over, and returns its last state, read and as it came.
func followWalk(ctx context.Context, c *client, w walkStatus, answer json.RawMessage, tell func(walkStatus)) (walkStatus, json.RawMessage, error) {
	path := "/-/mirror?subtree=" + url.QueryEscape(w.Name)
	for pause := followFirst; w.runs(); pause = min(2*pause, followEvery) {
		select {
		case <-ctx.Done():
			return w, nil, ctx.Err()
		case <-time.After(pause):
		}
		var err error
		if answer, err = c.call(ctx, http.MethodGet, path, nil); err != nil {
			return w, nil, err
		}
		if w, err = readWalk(answer); err != nil {
			return w, nil, err
		}
		if w.runs() {
			tell(w)
		}
	}
	return w, answer, nil
}

// A walkView shows a walk while it goes on.
type walkView struct {
	tell func(walkStatus)
	end  func()
}

func (a *app) walkView(asJSON bool, name string) walkView {
	switch {
	case asJSON:
		return walkView{func(walkStatus) {}, func() {}}
	case isTerminal(a.stdout):
		return a.walkBar(name)
	}
	said := time.Now() // a walk that is over soon needs no line but its last
	return walkView{func(w walkStatus) {
		if time.Since(said) >= lineEvery {
			said = time.Now()
			fmt.Fprintf(a.stdout, "%s  %s\n", name, w.line())
		}
	}, func() {}}
}

// line is the state of a walk under way, in short.
func (w walkStatus) line() string {
	f := w.Progress
	if f == nil || w.Status == "pre-syncing" {
		return "waits for its turn"
	}
	done, all := f.done()
	line := fmt.Sprintf("%s, %d of %d files, %d fetched, %s/s", directories(f.Dirs), done, all, f.Fetched, humanize.IBytes(uint64(max(f.Rate, 0))))
	if f.ETA > 0 {
		line += ", " + seconds(f.ETA) + " to go"
	}
	return line
}

// walkBar draws a bar, whose length is a guess until the last directory is listed.
func (a *app) walkBar(name string) walkView {
	bar := progress.NewWriter()
	bar.SetOutputWriter(a.stdout)
	bar.SetAutoStop(false)
	bar.SetTrackerLength(20)
	bar.SetTrackerPosition(progress.PositionRight)
	style := bar.Style()
	style.Visibility.Value, style.Options.DoneString = false, "over"
	style.Options.TimeInProgressPrecision, style.Options.TimeDonePrecision = time.Second, time.Second
	tracker := &progress.Tracker{Message: name}
	bar.AppendTracker(tracker)
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		bar.Render()
	}()
	tell := func(w walkStatus) {
		tracker.UpdateMessage(name + "  " + w.line())
		if w.Progress != nil {
			done, all := w.Progress.done()
			tracker.UpdateTotal(all)
			tracker.SetValue(min(done, max(all-1, 0))) // at its total the bar would say that all is done
		}
	}
	return walkView{tell, func() {
		tracker.MarkAsDone()
		bar.Stop()
		<-drawn
	}}
}

// tellWalk says what a walk that is over has done.
func (a *app) tellWalk(w walkStatus, ask walkAsk) error {
	f := w.Last
	if f == nil {
		f = &walkFigures{}
	}
	out := a.stdout
	if ask.DryRun {
		fmt.Fprintf(out, "%s: %s, %s; a walk would ask for %d and remove %d\n", w.Name, directories(f.Dirs), count(int(f.Files), "file"), f.Would, f.Removed+f.HeldBack)
		for _, orphan := range f.Orphans {
			fmt.Fprintln(out, "gone  ", orphan)
		}
	} else {
		fmt.Fprintf(out, "%s: %s, %s: %d unchanged, %d fetched, %d to the trash, %s; %s, %s in %s\n", w.Name, directories(f.Dirs), count(int(f.Files), "file"),
			f.Skipped+f.Same, f.Fetched, f.Removed, without(f), count(int(f.Requests), "request"), humanize.IBytes(uint64(max(f.Bytes, 0))), seconds(f.Elapsed))
	}
	if f.HeldBack > 0 {
		fmt.Fprintf(a.stderr, "held back: %d are gone upstream, more than --mirror-max-purge lets go; zcache walk --dry-run --follow %s lists them, --confirm-purge removes them\n",
			f.HeldBack, ask.Subtree)
	}
	if f.Failed > 0 && f.LastError != "" {
		fmt.Fprintf(a.stderr, "failed  %d, the last: %s\n", f.Failed, oneLine(f.LastError))
	}
	if w.Status == "paused" && !ask.DryRun {
		fmt.Fprintln(a.stderr, "paused: its slice of time is over; the next touch or walk goes on from there")
	}
	if w.Error != "" {
		fmt.Fprintf(a.stderr, "given up: %s\n", oneLine(w.Error))
	}
	return nil
}

// without tells of the files that are not held, and why.
func without(f *walkFigures) string {
	var words []string
	for _, w := range []struct {
		n    int64
		word string
	}{{f.Denied, "refused"}, {f.Unkept, "left out"}, {f.Failed, "failed"}} {
		if w.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", w.n, w.word))
		}
	}
	if len(words) == 0 {
		return "none missing"
	}
	return strings.Join(words, ", ")
}

func directories(n int64) string {
	if n == 1 {
		return "1 directory"
	}
	return fmt.Sprintf("%d directories", n)
}

func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d > time.Minute:
		return d.Round(time.Second).String()
	case d > time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
