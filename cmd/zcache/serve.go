package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"zcache/internal/config"
	"zcache/internal/proxy"
)

// drainTime is how long running answers may go on once the process was told to end.
const drainTime = 30 * time.Second

// A serveFunc serves cfg until ctx ends, then drains.
type serveFunc func(ctx context.Context, cfg config.Config, log *slog.Logger, h hooks) error

// hooks are what a server needs of whoever started it. Each may be absent.
type hooks struct {
	load      func() (config.Config, error) // reads the configuration anew
	reload    <-chan struct{}               // asks for that
	listening func(addrs []net.Addr)        // told once, when clients may come
}

// runServe serves cfg until ctx ends, then lets running answers go on for drainTime.
func runServe(ctx context.Context, cfg config.Config, log *slog.Logger, h hooks) error {
	// What net/http tells the standard logger of odd peers belongs among our own lines, where few want to see it.
	slog.SetLogLoggerLevel(slog.LevelDebug)
	slog.SetDefault(log)
	clients, err := listen(ctx, "listen", cfg.Listen)
	if err != nil {
		return err
	}
	var operators []net.Listener
	if cfg.AdminListen != "" {
		if operators, err = listen(ctx, "admin-listen", []string{cfg.AdminListen}); err != nil {
			closeAll(clients)
			return err
		}
	}
	// The addresses are taken before the root is touched: a second zcache started by mistake ends without touching what the first one keeps.
	var in *instance
	if err = prepareRoot(cfg); err == nil {
		in, err = newInstance(cfg, log, addresses(append(slices.Clip(clients), operators...)), func() error { return h.reloadNow(in.apply) })
	}
	if err != nil {
		closeAll(clients)
		closeAll(operators)
		return err
	}
	defer in.close()
	faces := []face{{newServer(in.gateway, log), clients}}
	if in.conns != nil {
		faces[0].server.ConnState = in.conns.state
	}
	if len(operators) > 0 {
		faces = append(faces, face{newServer(in.web.Admin(), log), operators})
	}
	for _, f := range faces {
		f.server.RegisterOnShutdown(in.web.EndStreams)
	}
	return serveUntil(ctx, faces, log, h, in)
}

// A face is a server and the listeners that it answers on.
type face struct {
	server    *http.Server
	listeners []net.Listener
}

// newServer has the limits that keep slow and idle clients from holding connections for ever. There is no limit on a whole answer: a large
// body over a thin line takes hours.
func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnContext:       proxy.ConnContext,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// serveUntil runs the faces, and the reloads beside them, until ctx ends or one of them fails; then it drains. The first of faces is the one for
// clients.
func serveUntil(ctx context.Context, faces []face, log *slog.Logger, h hooks, in *instance) error {
	g, ctx := errgroup.WithContext(ctx)
	var addrs []net.Addr
	for _, f := range faces {
		for _, l := range f.listeners {
			addrs = append(addrs, l.Addr())
			g.Go(func() error {
				if err := f.server.Serve(proxy.Listener(l)); !errors.Is(err, http.ErrServerClosed) {
					return fmt.Errorf("serve %s: %w", l.Addr(), err)
				}
				return nil
			})
		}
		g.Go(func() error {
			<-ctx.Done()
			return drain(f.server, log)
		})
	}
	inside := newServer(nil, log)
	if in.conns != nil {
		inside.ConnState = in.conns.state // the client's connection was taken over for its tunnel, and counts again from here
	}
	g.Go(func() error {
		if err := in.inside.Serve(inside, in.gateway); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve inside tunnels: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return drain(inside, log)
	})
	g.Go(func() error { return in.run(ctx) })
	g.Go(func() error {
		h.follow(ctx, log, in.apply)
		return nil
	})
	log.Info("listening", "addresses", fmt.Sprint(addrs))
	if h.listening != nil {
		h.listening(addrs)
	}
	return g.Wait()
}

// drain closes the listeners at once and the connections when their answers are through, or when drainTime is over.
func drain(server *http.Server, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("answers cut off: they took longer than the drain", "drain", drainTime.String())
		return server.Close()
	}
	return err
}

// follow applies a new configuration whenever one is asked for, until ctx ends. One that is not valid changes nothing.
func (h hooks) follow(ctx context.Context, log *slog.Logger, apply func(config.Config) error) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.reload:
			if err := h.reloadNow(apply); err != nil {
				log.Error("reload refused; the old configuration stays in force", "error", err.Error())
				continue
			}
			log.Info("configuration reloaded")
		}
	}
}

func (h hooks) reloadNow(apply func(config.Config) error) error {
	if h.load == nil {
		return errors.New("this server was started without a configuration to read again")
	}
	cfg, err := h.load()
	if err != nil {
		return err
	}
	return apply(cfg)
}

// listen opens every address, or none.
func listen(ctx context.Context, setting string, addrs []string) ([]net.Listener, error) {
	var listeners []net.Listener
	lc := net.ListenConfig{KeepAlive: -1} // switched on per connection by the first body that takes the time
	for _, addr := range addrs {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			closeAll(listeners)
			return nil, listenProblem(setting, addr, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

func listenProblem(setting, addr string, err error) error {
	reason := fmt.Sprintf("%s: %v", addr, err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		reason = fmt.Sprintf("%s is in use by another process; stop that one or choose another address with --%s", addr, setting)
	case errors.Is(err, syscall.EACCES):
		reason = fmt.Sprintf("%s needs a privilege (ports below 1024 do); grant CAP_NET_BIND_SERVICE or choose another address with --%s", addr, setting)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		reason = fmt.Sprintf("%s is no address of this machine; choose another with --%s", addr, setting)
	}
	return config.Problems{{Setting: setting, Reason: reason}}
}

// prepareRoot makes sure that the root can be written. With --no-init it makes no directory: one that stands where a disk should be mounted
// hides that the disk is missing, and the tree says so better.
func prepareRoot(cfg config.Config) error {
	if cfg.Mode == config.ModeProxy {
		return nil
	}
	var err error
	if !cfg.NoInit {
		err = os.MkdirAll(cfg.Root, 0o755)
	} else if _, missing := os.Stat(cfg.Root); errors.Is(missing, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(cfg.Root, ".zcache-tmp-*"); err == nil {
			f.Close()
			err = os.Remove(f.Name())
		}
	}
	if err == nil {
		return nil
	}
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return config.Problems{{Setting: "root", Reason: fmt.Sprintf("%s cannot be written: %v; choose another directory with --root", cfg.Root, err)}}
}
