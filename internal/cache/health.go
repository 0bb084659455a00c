package cache

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// health keeps the last verdict for a moment, for probes may come often.
type health struct {
	probing sync.Mutex

	mu     sync.Mutex
	at     time.Time
	err    error
	goneAt time.Time
	gone   error
}

// Health says why nothing can be stored now, or nil. It tries a write and looks at the free space, at most once a second.
func (t *Tree) Health() error {
	h := &t.health
	h.mu.Lock()
	age, err := t.Now().Sub(h.at), h.err
	first := h.at.IsZero()
	h.mu.Unlock()
	if !first && age >= 0 && age < time.Second {
		return err
	}
	if first {
		h.probing.Lock()
	} else if !h.probing.TryLock() {
		return err // a disk that hangs must not hang whoever asks
	}
	defer h.probing.Unlock()
	err = t.examine()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at, h.err = t.Now(), err
	return err
}

func (t *Tree) examine() error {
	if err := t.look(); err != nil {
		return err
	}
	name := tempDir + "/health"
	err := t.root.WriteFile(name, []byte("zcache\n"), false)
	if durable.IsGone(err) {
		if err = t.root.MkdirAll(tempDir); err == nil {
			err = t.root.WriteFile(name, []byte("zcache\n"), false)
		}
	}
	if err != nil {
		return fmt.Errorf("write to root %s: %w", t.Dir, because(err))
	}
	if err := t.roomFor(0); err != nil || t.MaxSize == 0 {
		return err
	}
	return t.fitsOriginal(t.MaxSize / 20) // else hardly anything fetched is kept
}

// gone says whether the root is no longer where it was, by a look at most once a second.
func (t *Tree) gone() error {
	h := &t.health
	h.mu.Lock()
	age, err := t.Now().Sub(h.goneAt), h.gone
	fresh := !h.goneAt.IsZero() && age >= 0 && age < time.Second
	if !fresh {
		h.goneAt = t.Now() // the others go by the last verdict meanwhile
	}
	h.mu.Unlock()
	if fresh {
		return err
	}
	err = t.look()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = err
	return err
}

// look compares the root with what its name leads to now. Moved away or unmounted, it would still take writes that nobody will find.
func (t *Tree) look() error {
	var st unix.Stat_t
	err := unix.Stat(t.Dir, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: root %s is gone", ErrReadOnly, t.Dir)
	case err != nil:
		return fmt.Errorf("%w: root %s: %w", ErrReadOnly, t.Dir, os.NewSyscallError("stat", err))
	case st.Ino != t.self.ino || st.Dev != t.dev:
		return fmt.Errorf("%w: root %s is another directory than at the start; restart to use it", ErrReadOnly, t.Dir)
	}
	return nil
}
