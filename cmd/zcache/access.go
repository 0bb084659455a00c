package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"zcache/internal/auth"
	"zcache/internal/config"
)

// access keeps the rules about who may ask what the files say that they come from. A change of those files replaces the rules alone: hubs, flights and
// connections do not notice.
type access struct {
	guard *auth.Guard
	log   *slog.Logger
	count *accessCount
	moved chan struct{} // the files that are watched are no longer the ones

	mu        sync.Mutex
	file      string
	anonymous auth.Anonymous
	files     []string
}

// rulesOf reads the rules that a configuration names.
func rulesOf(cfg config.Config) (*auth.Rules, error) {
	rules, err := auth.LoadRules(cfg.AuthFile, auth.Anonymous(cfg.Anonymous))
	if err != nil {
		return nil, authProblems(err)
	}
	return rules, nil
}

// authProblems gives each thing that is wrong with the auth file a line of its own.
func authProblems(err error) config.Problems {
	var problems config.Problems
	for line := range strings.SplitSeq(err.Error(), "\n") {
		problems = append(problems, config.Problem{Setting: "auth-file", Reason: strings.TrimPrefix(line, "auth file: ")})
	}
	return problems
}

// use puts the rules of a configuration in force, which were read to judge it. They are read once more where no other reading can come between: the
// watcher may have put newer ones in force meanwhile, and a token that was revoked must not come back.
func (a *access) use(cfg config.Config, rules *auth.Rules) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.file, a.anonymous = cfg.AuthFile, auth.Anonymous(cfg.Anonymous)
	if newer, err := auth.LoadRules(a.file, a.anonymous); err == nil {
		rules = newer
	}
	a.put(rules)
	a.count.loaded(time.Now())
}

// put is use for who holds the lock.
func (a *access) put(rules *auth.Rules) {
	a.guard.SetRules(rules)
	if !slices.Equal(a.files, rules.Files()) {
		a.files = rules.Files()
		offer(a.moved)
	}
}

// again reads the rules anew. Those that are in force stay so when there is anything wrong: half a file must not let anybody in, nor all out.
func (a *access) again() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file == "" {
		return
	}
	rules, err := auth.LoadRules(a.file, a.anonymous)
	if err != nil {
		a.count.failed()
		a.log.Error("the auth file is refused; the old rules stay in force", "error", oneLine(err.Error()))
		return
	}
	a.put(rules)
	a.count.loaded(time.Now())
	a.log.Info("auth file reloaded", "file", a.file)
}

func (a *access) watched() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.files
}

// run follows the files until ctx ends.
func (a *access) run(ctx context.Context) {
	for ctx.Err() == nil {
		watching, stop := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			a.follow(watching)
		}()
		select {
		case <-ctx.Done():
		case <-a.moved:
		}
		stop()
		<-ended
	}
}

// watchAgain is the time until the files are watched again, when the kernel gave up doing so.
const watchAgain = 10 * time.Second

// follow reads the rules again whenever a file of theirs changes, until ctx ends.
func (a *access) follow(ctx context.Context) {
	files := a.watched()
	for len(files) > 0 && ctx.Err() == nil {
		// What changed between the last reading and the first look of the watcher would otherwise stay unseen.
		err := config.Watch(ctx, files, a.again, a.again)
		if errors.Is(err, context.Canceled) {
			return
		}
		a.log.Warn("changes of the auth file go unseen for now; send SIGHUP after a change", "error", err.Error())
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}

// newAudit writes the audit log among the others, marked so that it can be told from them.
func newAudit(log *slog.Logger) *auth.Audit {
	log = log.With("action", "audit", "audit", true)
	return auth.NewAudit(func(r auth.Record) {
		attrs := make([]slog.Attr, 0, 8)
		add := func(name, value string) {
			if value != "" {
				attrs = append(attrs, slog.String(name, value))
			}
		}
		add("what", r.Action)
		add("outcome", r.Outcome)
		if r.Client.IsValid() {
			add("client", r.Client.String())
		}
		add("subject", r.Subject)
		add("name", r.Name)
		add("path", r.Path)
		add("reason", r.Reason)
		if r.Suppressed > 0 {
			attrs = append(attrs, slog.Int("suppressed", r.Suppressed))
		}
		log.LogAttrs(context.Background(), slog.LevelInfo, "audit", attrs...)
	})
}
