package mirror

import (
	"zcache/internal/cache"
	"zcache/internal/listing"
)

// A level is a directory whose holdings are to be counted, and its note.
type level struct {
	dir  cache.Key
	note *note
}

// intact says that as much is held at and below a directory as its note says. The store drops notes for what it does itself; what a person removed by hand, no
// note knows of, and an upstream that says that nothing has changed would leave it missing for good. It reads listings and names, and opens no file.
func (w *walk) intact(dir cache.Key, known *note) bool {
	for pending := []level{{dir, known}}; len(pending) > 0; {
		at := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		below, ok := w.tally(at)
		if !ok || w.ctx.Err() != nil {
			return false
		}
		pending = append(pending, below...)
	}
	return true
}

// tally counts what lies in one directory, and returns those in it that have notes.
func (w *walk) tally(at level) (below []level, ok bool) {
	e, err := w.cfg.Store.Open(at.dir, w.cfg.Refresher.Listing())
	if err != nil {
		return nil, false
	}
	defer e.Close()
	if !e.Meta.Listing {
		return nil, false
	}
	l, err := w.cfg.Store.Listing(e)
	if err != nil {
		return nil, false
	}
	l, _ = w.cfg.Store.WithOriginals(at.dir, l) // they were counted too
	names := map[string]bool{}
	if err := w.cfg.Store.Names(at.dir, func(name string, _ bool) bool { names[name] = true; return true }); err != nil {
		return nil, false
	}
	files, dirs := at.note.files, at.note.dirs
	for i := range l.Entries {
		row := &l.Entries[i]
		isDir := row.Kind == listing.Dir
		if row.Kind == listing.Other {
			continue
		}
		if isDir || row.Kind == listing.Unknown && names[row.Name] {
			if key, err := at.dir.Child(row.Name, true); err == nil {
				if n := w.noted(key); n != nil {
					below = append(below, level{key, n})
					files, dirs = files-n.files, dirs-n.dirs-1
					continue
				}
			}
		}
		if !isDir && (names[row.Name] || !plain(row.Name) && w.holds(at.dir, row.Name)) {
			files--
		}
	}
	return below, files <= 0 && dirs == 0
}

// holds says that a file is held that lies at no plain place.
func (w *walk) holds(dir cache.Key, name string) bool {
	key, err := dir.Child(name, false)
	if err != nil {
		return false
	}
	_, _, err = w.cfg.Store.Peek(key)
	return err == nil
}
