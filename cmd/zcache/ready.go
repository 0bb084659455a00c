package main

import (
	"context"
	"log/slog"
	"time"

	"zcache/internal/notify"
)

const (
	probeEvery = 10 * time.Second
	probeTime  = 10 * time.Second // a disk that takes longer hangs
	redProbes  = 2                // in a row, until the instance leaves the rotation: one may be a moment's
)

// A readyWatch asks whether the store can be written, and has the instance leave the rotation while it cannot.
type readyWatch struct {
	probe func() error
	set   func(ready bool, why string)
	tell  func(notify.Event)
	log   *slog.Logger

	red     int // probes in a row
	running chan error
}

// run probes until ctx ends.
func (w *readyWatch) run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		w.judge(w.ask(ctx))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ask probes, and gives up on a probe that hangs; a next one is not begun before it has ended.
func (w *readyWatch) ask(ctx context.Context) error {
	if w.running == nil {
		w.running = make(chan error, 1)
		go func(answer chan<- error) { answer <- w.probe() }(w.running)
	}
	timer := time.NewTimer(probeTime)
	defer timer.Stop()
	select {
	case err := <-w.running:
		w.running = nil
		return err
	case <-timer.C:
		return errHangs
	case <-ctx.Done():
		return nil
	}
}

// judge tells of a change that lasts. Back is what works once: a probe writes and reads, and a disk that can do so can serve.
func (w *readyWatch) judge(err error) {
	if err == nil {
		if w.red >= redProbes {
			w.log.Info("the store can be written again")
			w.set(true, "the store can be written again")
		}
		w.red = 0
		return
	}
	if w.red++; w.red < redProbes {
		return
	}
	if w.red == redProbes {
		w.log.Error("not ready: nothing can be stored", "error", err.Error())
		w.set(false, err.Error())
	}
	w.tell(notify.Event{Kind: notify.StorageRed, Subject: "store", Text: "nothing can be stored: " + err.Error()})
}

// watchReadiness watches the store until ctx ends.
func (in *instance) watchReadiness(ctx context.Context) {
	w := &readyWatch{probe: in.tree.Health, set: in.readiness.Set, tell: in.notifier.Tell, log: in.log}
	w.run(ctx)
}
