package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"zcache/internal/cache"
)

// A Trash is where walks put what is gone upstream.
type Trash interface {
	// Trash calls yield for what lies in the trash at and below a Key, until it returns false.
	Trash(ctx context.Context, under cache.Key, yield func(cache.Retired) bool) error
	// Restore brings back what was put aside for a Key, with recursive all at and below it. What is held again meanwhile stays.
	Restore(key cache.Key, recursive bool) (int, error)
}

const (
	trashShown = 1000    // when no limit is asked for
	trashMost  = 100_000 // that may be asked for
)

// A retiredView is an entry in the trash.
type retiredView struct {
	Path    string    `json:"path"` // where clients asked for it
	Hub     string    `json:"hub"`
	Size    int64     `json:"size"`
	Retired time.Time `json:"retired"`
}

// listTrash tells what lies in the trash, below ?path= or at all. When there is more than ?limit=, the field Zcache-Truncated says so.
func (s *Server) listTrash(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Trash == nil {
		return &failure{http.StatusNotFound, "no_store", errNoStore.Error()}
	}
	q := r.URL.Query()
	limit := trashShown
	if raw := q.Get("limit"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 1 || n > trashMost {
			return &failure{http.StatusBadRequest, "bad_limit", "limit is a number from 1 to " + strconv.Itoa(trashMost)}
		}
		limit = n
	}
	roots, err := s.trashRoots(q.Get("path"), r.Host)
	if err != nil {
		return err
	}
	found, more := []retiredView{}, false
	for _, root := range roots {
		err := s.cfg.Trash.Trash(r.Context(), root, func(e cache.Retired) bool {
			if more = len(found) == limit; more {
				return false
			}
			path, _ := s.clientURL(e.Key, e.Key.String(), r)
			found = append(found, retiredView{path, e.Key.Hub(), e.Size, second(e.When)})
			return true
		})
		if err != nil {
			return err
		}
		if more {
			w.Header().Set("Zcache-Truncated", "?1")
			break
		}
	}
	return s.show(w, r, "Trash", found)
}

// trashRoots are where to look: at what a path means, else in every hub.
func (s *Server) trashRoots(raw, host string) ([]cache.Key, error) {
	if raw != "" {
		key, err := s.cfg.Resolve(raw, host)
		if err != nil {
			return nil, resolveFailure(err)
		}
		return []cache.Key{key}, nil
	}
	names := []string{}
	for _, h := range s.cfg.Hubs() {
		names = append(names, h.Name)
	}
	var roots []cache.Key
	for _, name := range append(names, cache.FilesHub) {
		key, err := cache.ParseKey(name, "/", "", false)
		if err != nil {
			return nil, err
		}
		roots = append(roots, key)
	}
	return roots, nil
}

// restore brings entries back from the trash.
func (s *Server) restore(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Path      string `json:"path"`
		Restore   bool   `json:"restore"`
		Recursive bool   `json:"recursive"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	if in.Path == "" || !in.Restore {
		return &failure{http.StatusBadRequest, "no_path", `trash wants {"path": "/hub/…", "restore": true, "recursive": false}`}
	}
	if s.cfg.Trash == nil {
		return &failure{http.StatusNotFound, "no_store", errNoStore.Error()}
	}
	key, err := s.cfg.Resolve(in.Path, r.Host)
	if err != nil {
		return resolveFailure(err)
	}
	n, err := s.cfg.Trash.Restore(key, in.Recursive)
	if err != nil {
		return err
	}
	s.noteDone(r, in.Path)
	s.log.Info("restore", "action", "restore", "key", key.String(), "recursive", in.Recursive, "restored", n, "client", r.RemoteAddr)
	return s.show(w, r, "Restore", map[string]any{"path": in.Path, "key": key.String(), "recursive": in.Recursive, "restored": n})
}
