package mirror

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"zcache/internal/cache"
	"zcache/internal/durable"
	"zcache/internal/listing"
)

const (
	// aside is where walks keep what they have found until they end.
	aside = ".zcache/walk"
	// freely is how many orphans a walk may always remove.
	freely = 10
	// mostShown bounds the orphans that are named to people.
	mostShown = 1000
)

// orphans are what a walk has found to be gone upstream, in a file, as nothing is removed before the walk has seen all. Each line is a kind, when it was
// found in Unix nanoseconds, and the Key's path. The file begins with when the walk began: what an earlier walk found is of no account.
type orphans struct {
	root *durable.Root
	name string // "" for a dry run, which keeps them in memory

	mu    sync.Mutex
	file  *os.File
	found []orphan
	again bool // an earlier slice has left some: they may be found a second time
}

// An orphan is held and gone upstream.
type orphan struct {
	key  cache.Key
	dir  bool
	told bool // the upstream said 404 or 410, whatever its listing says
	at   time.Time
}

// openOrphans takes up the file that an earlier slice of the walk left behind, or begins a new one.
func openOrphans(w *walk) (*orphans, error) {
	o := &orphans{root: w.cfg.Root}
	if w.dry {
		return o, nil
	}
	sum := sha256.Sum256([]byte(w.sub.Name))
	o.name = aside + "/" + hex.EncodeToString(sum[:12]) + ".orphans"
	head := "zcache-orphans 1 " + strconv.FormatInt(w.began.UnixNano(), 10) + "\n"
	if err := o.root.MkdirAll(aside); err != nil {
		return nil, err
	}
	f, err := o.root.OpenRW(o.name)
	if durable.IsGone(err) {
		f, err = o.root.Create(o.name)
	}
	if err != nil {
		return nil, err
	}
	o.file = f
	line, _ := bufio.NewReader(f).ReadString('\n')
	if o.again = line == head; !o.again {
		err = o.anew(w, head)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = f.WriteString("\n") // what a full disk cut off ends here
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return o, nil
}

// anew begins the file. Those that an earlier walk found and did not remove are to be found again: their directories may be unchanged upstream.
func (o *orphans) anew(w *walk, head string) error {
	err := o.each(w.sub.Dir.Hub(), func(x orphan) error {
		w.lookAgain(x.key.Parent())
		return w.ctx.Err()
	})
	if err == nil {
		err = o.file.Truncate(0)
	}
	if err == nil {
		_, err = o.file.WriteAt([]byte(head), 0)
	}
	return err
}

func (o *orphans) close() {
	if o.file != nil {
		o.file.Close()
	}
}

// add notes one, on disk before the directory that it was found in is noted as done.
func (o *orphans) add(x orphan) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		if len(o.found) < 1<<20 {
			o.found = append(o.found, x)
		}
		return nil
	}
	kind := "f"
	if x.dir {
		kind = "d"
	}
	if x.told {
		kind = strings.ToUpper(kind)
	}
	_, err := fmt.Fprintf(o.file, "%s %d %s\n", kind, x.at.UnixNano(), x.key.Path())
	return err
}

// each calls f with all of them, until f returns an error.
func (o *orphans) each(hub string, f func(orphan) error) error {
	if o.file == nil {
		for _, x := range o.found {
			if err := f(x); err != nil {
				return err
			}
		}
		return nil
	}
	if _, err := o.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for lines := bufio.NewReader(o.file); ; {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil // what follows the last line break was cut off by a crash, and its directory is not noted
		}
		if err != nil {
			return err
		}
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(part) != 3 || len(part[0]) != 1 {
			continue // the head
		}
		key, err := cache.ParseKey(hub, part[2], "", false)
		at, err2 := strconv.ParseInt(part[1], 10, 64)
		if err != nil || err2 != nil {
			continue
		}
		kind := strings.ToLower(part[0])
		if err := f(orphan{key: key, dir: kind == "d", told: kind != part[0], at: time.Unix(0, at)}); err != nil {
			return err
		}
	}
}

// orphan notes what is held and gone upstream. An error gives the walk up: what cannot be noted would never be removed.
func (w *walk) orphan(key cache.Key, dir, told bool) error {
	if dir && !w.any(key) {
		return nil
	}
	if err := w.orphans.add(orphan{key: key, dir: dir, told: told, at: w.cfg.Now()}); err != nil {
		return fmt.Errorf("note an orphan: %w", err)
	}
	return nil
}

// purge moves the orphans to the trash, unless there are so many that a person should look first.
func (w *walk) purge() error {
	if err := w.oddOrphans(); err != nil {
		return fmt.Errorf("walk %s: %w", w.sub.Name, err)
	}
	n := int64(0)
	var names []string
	counted := map[cache.Key]bool{} // of a walk that was interrupted
	err := w.orphans.each(w.sub.Dir.Hub(), func(x orphan) error {
		if counted[x.key] || !w.stands(x) {
			return nil
		}
		if w.orphans.again {
			counted[x.key] = true
		}
		n += w.weight(x)
		if len(names) < mostShown {
			names = append(names, w.shown(x.key))
		}
		return w.ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("walk %s: %w", w.sub.Name, err)
	}
	slices.Sort(names)
	w.progress.orphans.Store(&names)
	most := w.mayRemove(n)
	switch {
	case w.dry:
		if n > most && !w.confirm {
			w.heldBack.Store(n)
		} else {
			w.removed.Store(n)
		}
		return nil
	case n > most && !w.confirm:
		w.heldBack.Store(n)
		w.log.Warn("walk", "action", "hold back", "subtree", w.sub.Name, "orphans", n, "may_remove", most)
		if err := w.leaveOrphans(); err != nil {
			return fmt.Errorf("walk %s: %w", w.sub.Name, err)
		}
	default:
		if err := w.retire(); err != nil {
			return err
		}
	}
	if err := w.orphans.root.Remove(w.orphans.name); err != nil && !durable.IsGone(err) {
		return fmt.Errorf("walk %s: %w", w.sub.Name, err)
	}
	return nil
}

// mayRemove is how many of n orphans a walk may remove without being confirmed: a share of what is held with them.
func (w *walk) mayRemove(n int64) int64 {
	const rounding = 1e-6 // 0.29 of 100 is a little less than 29
	return max(freely, int64(w.cfg.MaxPurge*float64(w.root.files+n)+rounding))
}

func (w *walk) retire() error {
	var failed error
	err := w.orphans.each(w.sub.Dir.Hub(), func(x orphan) error {
		if !w.stands(x) || x.told && !w.stillGone(x) {
			return w.ctx.Err()
		}
		files := w.weight(x) // the store also counts listings
		n, _, err := w.cfg.Store.Retire(x.key, x.dir)
		if err != nil {
			failed = err // the others go all the same, and this one at the next walk
			files = min(files, int64(n))
		}
		w.removed.Add(files)
		return w.ctx.Err()
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("walk %s: %w", w.sub.Name, err)
	}
	return nil
}

// stillGone asks once more for what the upstream listed and did not have: the walk may have met it in the middle of a change.
func (w *walk) stillGone(x orphan) bool {
	ans, err := w.refresh(Ask{Key: x.key}, true)
	return w.ctx.Err() == nil && err == nil && ans.Outcome == Gone
}

// stands says that what was found to be an orphan still is one: its directory's listing does not name it, nor has it come from the upstream since.
func (w *walk) stands(x orphan) bool {
	if w.sub.Dir == x.key {
		return false
	}
	if !x.told && w.names(x.key.Parent(), x.key.Name(), x.dir) {
		return false
	}
	if m, _, err := w.cfg.Store.Peek(x.key); err == nil && (m.Original || m.Received.After(x.at)) {
		return false
	} else if !x.dir {
		return err == nil
	}
	return w.any(x.key) && !w.cfg.Store.OnlyOriginals(w.ctx, x.key) && !w.cameSince(x.key, x.at)
}

// cameSince says that something below a directory has come from the upstream since: then the directory is there again.
func (w *walk) cameSince(dir cache.Key, at time.Time) (came bool) {
	w.below(dir, func(file cache.Key) bool {
		m, _, err := w.cfg.Store.Peek(file)
		came = err == nil && m.Received.After(at)
		return !came
	})
	return came
}

// names says that the listing of a directory names something of that kind, or that nobody can tell.
func (w *walk) names(dir cache.Key, name string, isDir bool) bool {
	e, err := w.cfg.Store.Open(dir, w.cfg.Refresher.Listing())
	if err != nil {
		return true
	}
	defer e.Close()
	if !e.Meta.Listing {
		return true
	}
	l, err := w.cfg.Store.Listing(e)
	if err != nil {
		return true
	}
	i, ok := slices.BinarySearchFunc(l.Entries, name, func(e listing.Entry, name string) int { return strings.Compare(e.Name, name) })
	if !ok || l.Entries[i].Kind == listing.Unknown {
		return ok
	}
	return isDir == (l.Entries[i].Kind == listing.Dir)
}

// weight is how many files an orphan is.
func (w *walk) weight(x orphan) int64 {
	if x.dir {
		return w.count(x.key)
	}
	return 1
}

// count is how many files lie below a directory, at least one.
func (w *walk) count(dir cache.Key) int64 {
	n := int64(0)
	w.below(dir, func(cache.Key) bool {
		n++
		return true
	})
	return max(n, 1)
}

// below calls f for the files below a directory, until it returns false.
func (w *walk) below(dir cache.Key, f func(file cache.Key) bool) {
	more := true
	for pending := []cache.Key{dir}; len(pending) > 0 && more && w.ctx.Err() == nil; {
		at := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		err := w.cfg.Store.Names(at, func(name string, folder bool) bool {
			key, err := at.Child(name, folder)
			switch {
			case err != nil:
			case folder:
				pending = append(pending, key)
			default:
				more = f(key)
			}
			return more
		})
		if err != nil {
			return
		}
	}
}

// oddOrphans finds orphans among what lies at no plain place, so that looking through directories does not meet it.
func (w *walk) oddOrphans() error {
	var odd []cache.Key
	err := w.cfg.Store.Aside(w.ctx, w.sub.Dir, func(key cache.Key) bool {
		if !w.names(key.Parent(), key.Name(), false) && !w.skips(below(w.sub.Dir, key)) {
			odd = append(odd, key)
		}
		return len(odd) < mostShown
	})
	if err != nil {
		return err
	}
	for _, key := range odd {
		m, _, err := w.cfg.Store.Peek(key)
		if err != nil || m.Original {
			continue
		}
		gone := m.Row != ""
		if !gone && !w.dry {
			ans, err := w.refresh(Ask{Key: key}, true)
			if w.ctx.Err() != nil {
				return context.Cause(w.ctx)
			}
			gone = err == nil && ans.Outcome == Gone
		}
		if gone {
			if err := w.orphan(key, false, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// shown is the path of a Key as clients see it.
func (w *walk) shown(key cache.Key) string {
	return strings.TrimSuffix(w.sub.Name, "/") + "/" + strings.TrimPrefix(key.Path(), w.sub.Dir.Path())
}
