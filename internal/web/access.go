package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"zcache/internal/auth"
	"zcache/internal/cache"
)

// clientKey finds the client of a request in its context.
type clientKey struct{}

// asker is who asks: guarded has found it out.
func (s *Server) asker(r *http.Request) auth.Client {
	if c, ok := r.Context().Value(clientKey{}).(auth.Client); ok {
		return c
	}
	return s.identify(r)
}

// identify finds out who asks. What comes here is no request to a forward proxy, whatever its target looks like.
func (s *Server) identify(r *http.Request) auth.Client { return s.cfg.Guard.IdentifyIn(r, false) }

// guarded runs h for clients that have the scope.
func (s *Server) guarded(scope auth.Scope, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		harden(w.Header())
		c := s.identify(r)
		r = r.WithContext(context.WithValue(r.Context(), clientKey{}, c))
		err := s.cfg.Guard.Allow(c, scope)
		if err == nil {
			err = h(w, r)
		}
		if errors.Is(err, auth.ErrDenied) {
			s.cfg.Audit.Note(c, actionOf(r), r.URL.EscapedPath(), err)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

// actionOf is the word of the audit log for what a request wants.
func actionOf(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return auth.Read.String()
	}
	word, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/-/"), "/")
	return word
}

// observes says that who asks may see how the instance is doing, and so where things come from.
func (s *Server) observes(r *http.Request) bool {
	return s.cfg.Guard.Allow(s.asker(r), auth.Observe) == nil
}

// noteDone tells the audit log of what somebody had done.
func (s *Server) noteDone(r *http.Request, path string) {
	s.cfg.Audit.Note(s.asker(r), actionOf(r), path, nil)
}

// place is where clients ask for a path of the hub, by which rules judge it.
func (h HubInfo) place(path string) auth.Place {
	switch {
	case h.Path != "":
		return auth.Place{Path: strings.TrimSuffix(h.Path, "/") + path}
	case len(h.Hosts) > 0:
		return auth.Place{Host: h.Hosts[0], Path: path}
	}
	return auth.Place{Path: "/" + h.Name + path}
}

// placeOf is where clients ask for a Key. A hub that is configured no more is judged by its name.
func (s *Server) placeOf(key cache.Key) auth.Place {
	name := cache.BaseHub(key.Hub())
	for _, h := range s.cfg.Hubs() {
		if h.Name == name {
			return h.place(key.Path())
		}
	}
	return HubInfo{Name: name}.place(key.Path())
}

// visible are the hubs of which who asks sees something.
func (s *Server) visible(r *http.Request) []HubInfo {
	view := s.cfg.Guard.View(s.asker(r))
	out := []HubInfo{}
	for _, h := range s.cfg.Hubs() {
		if view.Of(h.place("/")) != auth.Nothing {
			out = append(out, h)
		}
	}
	return out
}

// mayAsk refuses to tell of what the client may not ask for. Of a directory that it sees in part, what is held is of the whole.
func (s *Server) mayAsk(r *http.Request, key cache.Key) error {
	c, at := s.asker(r), s.placeOf(key)
	if err := s.cfg.Guard.AllowAt(c, auth.Read, at); err != nil {
		return err
	}
	if key.IsDir() && s.cfg.Guard.View(c).Of(at) != auth.All {
		return fmt.Errorf("%w: read is allowed for a part of this directory", auth.ErrDenied)
	}
	if s.cfg.MayAsk == nil {
		return nil
	}
	err := s.cfg.MayAsk(r, key)
	if err == nil || errors.Is(err, auth.ErrDenied) {
		return err
	}
	return &failure{http.StatusForbidden, "proxy_refused", err.Error()}
}

// resolve is the Key that a path or URL means. Which hubs there are is not told to whom the path would be closed.
func (s *Server) resolve(r *http.Request, raw string) (cache.Key, error) {
	key, err := s.cfg.Resolve(s.atHost(raw, r.Host), r.Host)
	if err == nil || errors.Is(err, cache.ErrBadKey) {
		return key, err
	}
	p := auth.Place{Path: "/"}
	if strings.HasPrefix(raw, "/") && !strings.HasPrefix(raw, "//") {
		p.Path, _, _ = strings.Cut(raw, "?")
	}
	if err := s.cfg.Guard.AllowAt(s.asker(r), auth.Read, p); err != nil {
		return key, err
	}
	return key, resolveFailure(err)
}

// keyFor is the Key under which who asks finds what is held.
func (s *Server) keyFor(r *http.Request, key cache.Key) cache.Key {
	if s.cfg.KeyFor == nil {
		return key
	}
	return s.cfg.KeyFor(s.asker(r), key)
}
