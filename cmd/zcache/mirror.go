package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"zcache/internal/cache"
	"zcache/internal/config"
	"zcache/internal/durable"
	"zcache/internal/fill"
	"zcache/internal/mirror"
)

// openMirror makes the scheduler of walks, for an instance that stores. In cache mode no touch starts any; a walk by command works all the same.
func (in *instance) openMirror(cfg config.Config) (err error) {
	if in.root, err = durable.OpenRoot(cfg.Root); err != nil {
		return fmt.Errorf("open the mirror's state: %w", err)
	}
	m := cfg.Mirror
	in.mirror, err = mirror.New(mirror.Config{
		Store: in.tree, Refresher: refresher{in.filler}, Root: in.root, Subtrees: in.subtrees(cfg), Rules: in.rules, MinInterval: m.MinInterval, Parallel: m.Parallel, Walks: m.Walks,
		MaxPurge: m.MaxPurge, MaxBytes: m.MaxBytes, AskAll: m.Verify == config.MirrorConditional,
		Free: in.tree.Free, Logger: in.log, Registerer: in.registry,
	})
	if err != nil {
		in.root.Close()
		return fmt.Errorf("open the mirror: %w", err)
	}
	return nil
}

// subtrees are those that a configuration keeps current, with what its hubs say of walks.
func (in *instance) subtrees(cfg config.Config) []mirror.Subtree {
	out := make([]mirror.Subtree, 0, len(cfg.Mirror.Subtrees))
	for _, s := range cfg.Mirror.Subtrees {
		dir, err := cache.ParseKey(s.Hub, s.Path, "", false)
		if err != nil {
			in.log.Warn("this subtree cannot be mirrored", "subtree", s.Name, "error", err)
			continue
		}
		sub := in.rules(dir)
		sub.Name = s.Name
		out = append(out, sub)
	}
	return out
}

// rules are what a directory's hub says of walks.
func (in *instance) rules(dir cache.Key) mirror.Subtree {
	sub := mirror.Subtree{Dir: dir, Upstream: in.upstream(dir)}
	if h := in.current.Load().hubs[cache.BaseHub(dir.Hub())]; h != nil {
		sub.Skip, sub.MaxFile, sub.MaxRequests = h.Skip(dir.Path()), h.MirrorMaxFile, h.MirrorMaxRequests
	}
	return sub
}

// noteMirror says at the start what was asked of a mirror in vain.
func (in *instance) noteMirror(cfg config.Config) {
	switch {
	case cfg.Mode == config.ModeMirror && len(cfg.Mirror.Subtrees) == 0:
		in.log.Warn("nothing is mirrored: built-in hubs and trees of this machine are not unless named; name a directory with --mirror-subtree")
	case len(cfg.Mirror.Idle) > 0:
		in.log.Info("settings that do nothing in this mode", "mode", cfg.Mode, "settings", cfg.Mirror.Idle)
	}
}

// applyMirror puts the subtrees of a new configuration in force, of an instance that was started as a mirror. Of any other it tells that rules have changed.
func (in *instance) applyMirror(mode string, cfg config.Config) {
	switch {
	case in.mirror == nil:
	case mode != config.ModeMirror:
		in.mirror.SetSubtrees(nil)
	case cfg.Mode == mode: // else the other mode takes effect at the next start, and its subtrees then too
		in.mirror.SetSubtrees(in.subtrees(cfg))
	}
}

// mirrorChanged says which settings of the mirror differ that only a start can change.
func mirrorChanged(old, now config.Config) map[string]bool {
	o, n := old.Mirror, now.Mirror
	return map[string]bool{
		"mirror-min-interval": o.MinInterval != n.MinInterval, "mirror-parallel": o.Parallel != n.Parallel, "mirror-walks": o.Walks != n.Walks,
		"mirror-max-purge": o.MaxPurge != n.MaxPurge, "mirror-max-bytes": o.MaxBytes != n.MaxBytes, "mirror-verify": o.Verify != n.Verify,
		"trash-ttl": old.TrashTTL != now.TrashTTL,
	}
}

// trashTTL is the setting in the words of the tree, where zero means that nothing was said.
func trashTTL(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// A refresher has the filler ask for walks.
type refresher struct{ filler *fill.Filler }

var outcomes = map[fill.SyncOutcome]mirror.Outcome{
	fill.SyncSame: mirror.Same, fill.SyncStored: mirror.Stored, fill.SyncGone: mirror.Gone, fill.SyncDenied: mirror.Denied,
	fill.SyncLimited: mirror.Limited, fill.SyncElsewhere: mirror.Elsewhere, fill.SyncUnkept: mirror.Unkept,
}

// Refresh makes what is held of a Key what its origin has now.
func (r refresher) Refresh(ctx context.Context, a mirror.Ask) (mirror.Answer, error) {
	got, err := r.filler.Sync(ctx, fill.SyncRequest{Key: a.Key, Row: a.Row, Size: a.Size, Subtree: a.Subtree})
	if err != nil {
		return mirror.Answer{Status: got.Status}, err
	}
	return mirror.Answer{Outcome: outcomes[got.Outcome], Status: got.Status, Bytes: got.Bytes, After: got.After, Location: got.Location, AsOf: got.AsOf}, nil
}

// Listing returns the fields that select the stored listing of a directory.
func (refresher) Listing() http.Header { return fill.ForListing(nil) }
