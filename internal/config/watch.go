package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Editors write in several steps (truncate and write, or write aside and rename), so a change counts once nothing has moved for settle,
// and at the latest after patience, for a directory in which something moves all the time.
const (
	settle   = 100 * time.Millisecond
	patience = time.Second
)

// maxWatched is the size of the largest file that is looked into: that of an auth file with more tokens than anybody has.
const maxWatched = 16 << 20

// Watch calls changed whenever what one of the files holds has become different, until ctx ends. It watches the directories, not
// the files: an editor that renames a new file into place, and a mounted volume that swaps a link, leave the watched inode behind. A file that
// is gone for a moment is no change. It calls started once no later change can be missed: who has read the files before must then look again.
func Watch(ctx context.Context, paths []string, started, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer watcher.Close()
	w := &watch{watcher: watcher, paths: paths, sums: map[string][sha256.Size]byte{}, changed: changed}
	if err := w.follow(); err != nil {
		return err
	}
	w.compare()
	started()
	return w.run(ctx)
}

type watch struct {
	watcher *fsnotify.Watcher
	paths   []string
	sums    map[string][sha256.Size]byte
	changed func()
}

// follow watches the directory of every file and, where the file is a link, that of its target. Watching twice is harmless.
func (w *watch) follow() error {
	for _, path := range w.paths {
		if err := w.watcher.Add(filepath.Dir(path)); err != nil {
			return fmt.Errorf("watch %s: %w", path, err)
		}
		if target, err := filepath.EvalSymlinks(path); err == nil && filepath.Dir(target) != filepath.Dir(path) {
			if err := w.watcher.Add(filepath.Dir(target)); err != nil {
				return fmt.Errorf("watch %s: %w", target, err)
			}
		}
	}
	return nil
}

// compare says whether a file's content differs from when compare last looked.
func (w *watch) compare() bool {
	differs := false
	for _, path := range w.paths {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue // a pipe gives its text once, and would hold us up now
		}
		data, err := readUpTo(path, maxWatched)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(data)
		differs = differs || w.sums[path] != sum
		w.sums[path] = sum
	}
	return differs
}

func (w *watch) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	timer.Stop()
	var first time.Time // of the events not yet looked into
	moved := func() {
		if first.IsZero() {
			first = time.Now()
		}
		if time.Since(first) < patience {
			timer.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-w.watcher.Errors:
			if !ok {
				return fmt.Errorf("watch files: %w", fsnotify.ErrClosed)
			}
			moved() // an overflow dropped events: looking is all that they would have asked for
		case _, ok := <-w.watcher.Events:
			if !ok {
				return fmt.Errorf("watch files: %w", fsnotify.ErrClosed)
			}
			moved()
		case <-timer.C:
			first = time.Time{}
			// A link may have been turned to another directory. One that is gone for the moment is no reason to
			// stop looking at the others.
			_ = w.follow()
			if w.compare() {
				w.changed()
			}
		}
	}
}
