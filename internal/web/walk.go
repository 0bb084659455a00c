package web

import (
	"errors"
	"net/http"
	"net/url"

	"zcache/internal/cache"
	"zcache/internal/mirror"
)

// walk starts a walk of a directory, whether one is due or not.
func (s *Server) walk(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Subtree string `json:"subtree"`
		DryRun  bool   `json:"dry_run"`
		Confirm bool   `json:"confirm_purge"`
	}
	if err := decode(r, &in); err != nil {
		return err
	}
	if in.Subtree == "" {
		return &failure{http.StatusBadRequest, "no_path", `walk wants {"subtree": "/hub/…", "dry_run": false, "confirm_purge": false}`}
	}
	if s.cfg.Mirror == nil {
		return &failure{http.StatusNotFound, "no_subtree", errNoStore.Error()}
	}
	name, dir, err := s.walkable(in.Subtree, r.Host)
	if err != nil {
		return err
	}
	st, err := s.cfg.Mirror.Walk(name, dir, mirror.Options{DryRun: in.DryRun, ConfirmPurge: in.Confirm})
	switch {
	case errors.Is(err, mirror.ErrBusy):
		return &failure{http.StatusConflict, "walk_under_way", err.Error()}
	case errors.Is(err, mirror.ErrNoSubtree):
		return &failure{http.StatusNotFound, "no_subtree", err.Error()}
	case errors.Is(err, mirror.ErrStopped):
		return &failure{http.StatusServiceUnavailable, "stopping", err.Error()}
	case err != nil:
		return err
	}
	s.noteDone(r, st.Name)
	s.log.Info("walk", "action", "ask", "subtree", st.Name, "dry_run", in.DryRun, "confirm_purge", in.Confirm, "client", r.RemoteAddr)
	w.Header().Set("Location", "/-/mirror?subtree="+url.QueryEscape(st.Name))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	return s.encode(w, viewOf(st))
}

// walkable reads the path of a directory that there is sense in walking. A subtree that is configured keeps the name that it has there.
func (s *Server) walkable(raw, host string) (name string, dir cache.Key, err error) {
	var f *failure
	name, dir, err = s.directory(raw, host)
	switch {
	case errors.As(err, &f), errors.Is(err, cache.ErrBadKey):
		return "", dir, err
	case err != nil:
		return "", dir, &failure{http.StatusNotFound, "no_subtree", err.Error()}
	case name == "":
		return "", dir, &failure{http.StatusNotFound, "no_subtree", "it lies under no hub; what has no hub is fetched file by file"}
	case s.cfg.Filler.Effective(dir).Local:
		return "", dir, &failure{http.StatusNotFound, "no_subtree", "its tree lies on this machine, so there is nothing to bring over"}
	case s.cfg.Offline:
		return "", dir, &failure{http.StatusConflict, "offline", "this instance is off line and asks no upstream"}
	}
	if own := plainName(raw); own != name {
		if st, ok := s.cfg.Mirror.Lookup(own); ok {
			return st.Name, dir, nil
		}
	}
	return name, dir, nil
}
