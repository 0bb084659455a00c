package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"zcache/internal/durable"
)

// A visit is called with every regular file of a walk; false ends it.
type visit func(p place, st *unix.Stat_t) bool

// walk visits all regular files at and below p, in no particular order. One directory is open at a time, so that the depth does
// not matter, and only the names of directories still to be visited are held. What vanishes meanwhile is passed over. A directory that
// cannot be read does not keep the walk from the others: the first error of that kind is returned at the end.
func (t *Tree) walk(ctx context.Context, p place, f visit) error {
	st, err := t.root.Lstat(string(p))
	if err != nil {
		if absent(err) {
			return nil
		}
		return err
	}
	if regular(&st) {
		f(p, &st)
		return ctx.Err()
	}
	if !folder(&st) {
		return nil
	}
	var failed error
	pending := []place{p}
	for len(pending) > 0 {
		dir := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		more, err := t.walkDir(ctx, dir, f, &pending)
		if err != nil && !absent(err) && failed == nil {
			failed = fmt.Errorf("walk %s: %w", dir, err)
		}
		if !more {
			break
		}
	}
	return errors.Join(ctx.Err(), failed)
}

func (t *Tree) walkDir(ctx context.Context, dir place, f visit, pending *[]place) (more bool, err error) {
	sub, err := t.root.Sub(string(dir))
	if err != nil {
		return true, err
	}
	defer sub.Close()
	more = true
	var failed error
	err = sub.Each(func(name string, kind byte) bool {
		p := place(name)
		if dir != "." {
			p = dir + "/" + p
		}
		switch kind {
		case durable.Folder:
			*pending = append(*pending, p)
		case durable.Regular:
			st, err := sub.Lstat(name)
			if err == nil && regular(&st) {
				more = f(p, &st)
			} else if err != nil && !durable.IsGone(err) {
				failed = err
			}
		}
		if ctx.Err() != nil {
			more = false
		}
		return more && failed == nil
	})
	return more, errors.Join(err, failed)
}

// stored says whether a regular file at p can be a stored response: not a sidecar, not a leftover of ours.
func (p place) stored() bool {
	base := p.base()
	return !strings.HasPrefix(base, ownPrefix) || base == indexName || base == listingName
}
