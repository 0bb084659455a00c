package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"zcache/internal/config"
)

// A reloader reads the configuration anew and asks for that to be done, at SIGHUP and when one of its files changes.
type reloader struct {
	flags *config.Flags
	asked chan struct{} // one waiting request is enough: it reads what is there when it starts
	moved chan struct{} // files differs from what is watched

	mu    sync.Mutex
	files []string // that the configuration in force came from
}

func newReloader(flags *config.Flags, cfg config.Config) *reloader {
	return &reloader{flags: flags, asked: make(chan struct{}, 1), moved: make(chan struct{}, 1), files: cfg.Files()}
}

func (r *reloader) load() (config.Config, error) {
	cfg, err := r.flags.Load()
	if err != nil {
		return cfg, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.files, cfg.Files()) {
		r.files = cfg.Files()
		offer(r.moved)
	}
	return cfg, nil
}

// offer puts a token into a channel of one, unless it holds one.
func offer(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *reloader) watched() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files
}

// onHangup asks at every SIGHUP until ctx ends.
func (r *reloader) onHangup(ctx context.Context) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			offer(r.asked)
		}
	}
}

// onChange asks whenever a file of the configuration changes, until ctx ends.
func (r *reloader) onChange(ctx context.Context, log *slog.Logger) {
	for ctx.Err() == nil {
		watching, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			err := config.Watch(watching, r.watched(), func() {}, func() { offer(r.asked) })
			if err != nil && !errors.Is(err, context.Canceled) {
				log.Warn("changes of the configuration go unseen; send SIGHUP after a change", "error", err.Error())
			}
		}()
		select {
		case <-ctx.Done():
		case <-r.moved:
		}
		stop()
		<-ended
	}
}
