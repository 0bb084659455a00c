package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"

	"zcache/internal/config"
)

// serveVerb serves until SIGTERM or SIGINT; a second one ends the process without draining. SIGHUP, and a change of the files
// that the configuration came from, ask for a reload.
func (a *app) serveVerb(ctx context.Context, args []string) error {
	if err := unexpected("serve", args); err != nil {
		return err
	}
	cfg, err := a.flags.Load()
	if err != nil {
		return err
	}
	log := newLogger(cfg, a.stderr)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := onSignals(cancel, log)
	defer stop()

	r := newReloader(a.flags, cfg)
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		return a.serve(ctx, cfg, log, hooks{load: r.load, reload: r.asked})
	})
	g.Go(func() error { r.onHangup(ctx); return nil })
	g.Go(func() error { r.onChange(ctx, log); return nil })
	return g.Wait()
}

// onSignals drains at the first signal and ends the process at the second.
func onSignals(drain context.CancelFunc, log *slog.Logger) (stop func()) {
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		select {
		case <-done:
			return
		case s := <-signals:
			log.Info("draining", "signal", s.String(), "drain", drainTime.String())
			drain()
		}
		select {
		case <-done:
		case s := <-signals:
			log.Warn("ended without draining", "signal", s.String())
			os.Exit(exitFailure)
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// newLogger writes to w in the configured form.
func newLogger(cfg config.Config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.LogFormat == config.LogText {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
