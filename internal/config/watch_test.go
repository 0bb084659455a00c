package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watching runs Watch on path until the test ends. The channel gets a value for each change.
func watching(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	changes, done := make(chan struct{}, 100), make(chan error, 1)
	started := make(chan struct{})
	go func() {
		done <- watchStarted(ctx, path, started, func() { changes <- struct{}{} })
	}()
	<-started
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	})
	return changes
}

// watchStarted is Watch that tells when it is watching: the first look happens after the directories are watched.
func watchStarted(ctx context.Context, path string, started chan struct{}, changed func()) error {
	return Watch(ctx, []string{path}, func() { close(started) }, changed)
}

func expect(t *testing.T, changes <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(10 * time.Second):
		t.Fatalf("no change told after %s", what)
	}
}

func TestWatchTellsEveryWayOfWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zcache.toml")
	write(t, path, "a")
	changes := watching(t, path)

	write(t, path, "b")
	expect(t, changes, "a write in place")

	write(t, path+".swp", "c")
	if err := os.Rename(path+".swp", path); err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "a rename over it")

	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, "d")
	expect(t, changes, "removal and a new file")
}

func TestWatchTellsWhenALinkTurns(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name, "zcache.toml"), name)
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link("one", "data")
	link("data/zcache.toml", "zcache.toml")
	changes := watching(t, filepath.Join(dir, "zcache.toml"))
	link("two", "next")
	if err := os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	expect(t, changes, "the link turned")
	write(t, filepath.Join(dir, "two", "zcache.toml"), "three")
	expect(t, changes, "the new target was written")
}

func TestWatchIsSilentAboutNeighboursAndTouches(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "zcache.toml")
	write(t, path, "a")
	changes := watching(t, path)
	write(t, filepath.Join(dir, "other"), "x")
	write(t, path, "a")
	if err := os.Chtimes(path, time.Now(), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	// The change that follows must be the only one: an alarm for the others would stand before it in the channel.
	write(t, path, "b")
	expect(t, changes, "the write")
	select {
	case <-changes:
		t.Error("a second change is told, want one")
	default:
	}
}
