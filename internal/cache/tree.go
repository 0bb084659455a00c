package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// formatVersion is the version of the layout of everything below .zcache.
const formatVersion = 1

const formatFile = ownDir + "/format"

// Config says how a Tree is kept. Dir alone is required.
type Config struct {
	Dir    string
	NoInit bool // refuse a root that was never initialised: an unmounted disk must not look like an empty cache
	Full   bool // every entry is on the disk before it is published
	// MaxSize bounds the bytes stored; 0 means no bound.
	MaxSize int64
	// High and Low, in percent of the file system used, say when trimming begins and where it stops. Zero means 80 and 75.
	High, Low int
	// TrashTTL is how long what Retire put aside can be restored; 0 means a day, a negative one that it is removed at once.
	TrashTTL time.Duration
	Logger   *slog.Logger
	// Torn is called with the Key of each entry that a loss of power has torn, which is removed; nil = nobody wants to know.
	Torn func(Key)
	// Registerer takes the tree's metrics; nil means that nobody asks.
	Registerer Registerer
	Now        func() time.Time
}

// A Tree is a Store kept as plain files under one directory, which it locks against other processes. Its methods may be called
// concurrently. Run does what has to be done behind: without it nothing is trimmed and no last use is kept.
type Tree struct {
	Config
	root *durable.Root
	self identity // of the root directory, to notice when another one has taken its place
	dev  uint64
	lock *os.File

	table *table
	lists lists
	// names is held while names change, so that directories do not come and go under a rename. Bodies are never read or written
	// under it.
	names     sync.Mutex
	overflows atomic.Bool // there may be overflow files
	drafts    draftIndex
	touches   touchQueue
	usage     usage
	boot      bootMark
	health    health
	notes     *notes
	trash     trash
	negatives negatives
	originals originals
	wake      chan struct{}   // to Run: space is short
	leftovers []string        // what an earlier process was about to remove, or had not finished
	hubs      map[string]bool // claimed by this process; guarded by names
}

var _ Store = (*Tree)(nil)

// OpenTree opens the tree at c.Dir. A directory that is missing or empty is initialised, one with files in it is adopted as it
// is; both are told in the log. It starts nothing.
func OpenTree(c Config) (*Tree, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.TrashTTL == 0 {
		c.TrashTTL = 24 * time.Hour
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.High == 0 {
		c.High, c.Low = 80, 75
	}
	t := &Tree{Config: c, table: newTable(), notes: newNotes(), negatives: negatives{most: mostNegative}, wake: make(chan struct{}, 1)}
	err := t.start()
	if err == nil {
		err = t.register()
	}
	if err != nil {
		t.closeFiles()
		return nil, fmt.Errorf("open root %s: %w", c.Dir, err)
	}
	return t, nil
}

func (t *Tree) start() error {
	if err := t.openRoot(); err != nil {
		return err
	}
	if err := t.checkFormat(); err != nil {
		return err
	}
	for _, dir := range []string{draftsDir, tempDir, trashDir} {
		if err := t.root.MkdirAll(dir); err != nil {
			return because(err)
		}
	}
	lock, err := t.root.Lock(ownDir + "/lock")
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("another zcache uses it (%w): stop that one or choose another --root", err)
	}
	if err != nil {
		return because(err)
	}
	t.lock = lock
	for _, dir := range []string{ownDir, tempDir, trashDir} {
		err := t.root.ReadDir(dir, func(name string, _ byte) bool {
			if dir != ownDir || strings.HasPrefix(name, durable.TempPrefix) {
				t.leftovers = append(t.leftovers, dir+"/"+name)
			}
			return true
		})
		if err != nil {
			return because(err)
		}
	}
	if err := t.probeOrWarn(); err != nil {
		return err
	}
	if _, err := t.root.Lstat(overflowDir); err == nil {
		t.overflows.Store(true)
	}
	if err := t.readBoot(); err != nil {
		return err
	}
	if err := t.findOriginals(); err != nil {
		return err
	}
	return t.findDrafts()
}

func (t *Tree) openRoot() error {
	_, err := os.Stat(t.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		if t.NoInit {
			return fmt.Errorf("it does not exist: is the disk mounted? Start once without --no-init to make it")
		}
		t.Logger.Info("making a new root", "root", t.Dir)
		if err := os.MkdirAll(t.Dir, 0o755); err != nil {
			return because(err)
		}
	}
	if t.root, err = durable.OpenRoot(t.Dir); err != nil {
		return because(err)
	}
	t.root.Spare(t.table.shrink)
	st, err := t.root.Lstat(".")
	t.self, t.dev = identityOf(&st), st.Dev
	return err
}

// checkFormat reads the root's format, or says what it makes of a root that has none.
func (t *Tree) checkFormat() error {
	data, err := t.root.ReadFile(formatFile, 64)
	if err == nil {
		n, err := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil || n < 1 {
			return fmt.Errorf("%s holds %.20q, which is no format version: restore it, or remove it to have the root adopted", formatFile, data)
		}
		if n > formatVersion {
			return fmt.Errorf("%w: its format is %d, this zcache knows up to %d; use a newer zcache or another --root", ErrTooNew, n,
				formatVersion)
		}
		return nil
	}
	if !durable.IsGone(err) {
		return because(err)
	}
	if t.NoInit {
		return fmt.Errorf("it has no %s: is the disk mounted? Start once without --no-init to initialise it", formatFile)
	}
	empty := true
	err = t.root.ReadDir(".", func(name string, kind byte) bool {
		empty = name == "lost+found"
		return empty
	})
	if err != nil {
		return because(err)
	}
	if empty {
		t.Logger.Info("initialising an empty root", "root", t.Dir)
	} else {
		t.Logger.Info("adopting the files of a root that was not ours", "root", t.Dir)
	}
	return nil
}

// probeOrWarn probes the root and notes its format. That a root of ours is full is no reason not to start: what it holds can be served,
// and room may be made.
func (t *Tree) probeOrWarn() error {
	_, err := t.root.Lstat(formatFile)
	known := err == nil
	if err = t.probe(); err == nil && !known {
		err = because(t.root.WriteFile(formatFile, fmt.Appendf(nil, "%d\n", formatVersion), true))
	}
	if known && errors.Is(err, ErrNoSpace) {
		t.Logger.Warn("the root is full", "root", t.Dir, "err", err)
		return nil
	}
	return err
}

// probe tries all that the tree will need, so that what is wrong is said at the start and in one sentence.
func (t *Tree) probe() error {
	st, err := t.root.Lstat(".")
	if err != nil {
		return because(err)
	}
	own, err := t.root.Lstat(ownDir)
	if err != nil {
		return because(err)
	}
	if st.Dev != own.Dev {
		return fmt.Errorf("%s is on another file system than the root: an entry could not be renamed into place; mount one for both", ownDir)
	}
	name := tempDir + "/" + durable.Random()
	f, err := t.root.Create(name)
	if err != nil {
		return because(err)
	}
	defer f.Close()
	if _, err = f.WriteString("probe"); err == nil {
		if err = durable.SetAttr(f, attribute, []byte("zcache 1\n")); errors.Is(err, unix.EOPNOTSUPP) {
			err = fmt.Errorf("its file system keeps no user attributes (user.*): use ext4, xfs, btrfs or tmpfs of Linux 6.6 or later, or mount with user_xattr: %w", err)
		}
	}
	if err == nil {
		if err = t.root.Rename(name, name+"b"); err != nil {
			err = fmt.Errorf("rename in it: %w", err)
		}
		name += "b"
	}
	if rerr := t.root.Remove(name); err == nil && rerr != nil && !durable.IsGone(rerr) {
		err = rerr
	}
	return because(err)
}

// because adds what can be done to an error of the disk, and makes it one that a caller can act on.
func because(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrReadOnly):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w; free some, or set --cache-max-size", ErrNoSpace, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w; mount it read-write", ErrReadOnly, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: %w; give user %d the right to write", ErrReadOnly, err, os.Getuid())
	case errors.Is(err, unix.ELOOP):
		return fmt.Errorf("%w; a link lies there, and none is followed inside the root", err)
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%w; another file system is mounted inside the root", err)
	}
	return err
}

// Close gives the root and its lock back. It waits for nobody: calls under way on entries end as they may.
func (t *Tree) Close() error {
	t.flushTouches(context.Background())
	t.table.dropIf(func(Key) bool { return true })
	return t.closeFiles()
}

func (t *Tree) closeFiles() error {
	var errs []error
	if t.lock != nil {
		errs = append(errs, t.lock.Close())
	}
	if t.root != nil {
		errs = append(errs, t.root.Close())
	}
	return errors.Join(errs...)
}
