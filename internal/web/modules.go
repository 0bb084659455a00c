package web

import (
	"net/http"

	"github.com/gorilla/mux"
)

// A moduleView tells of a module and the hubs that it serves.
type moduleView struct {
	Key     string    `json:"module_key"`
	Aliases []string  `json:"aliases,omitempty"`
	About   string    `json:"about"`
	Hubs    []HubInfo `json:"hubs"`
}

// modules are those that this binary has.
func (s *Server) modules() []moduleView {
	legacy := moduleView{Key: "legacy", Aliases: []string{"generic"}, About: "any tree of files, as HTTP has it", Hubs: []HubInfo{}}
	for _, h := range s.cfg.Hubs() {
		if h.Module == legacy.Key {
			legacy.Hubs = append(legacy.Hubs, h)
		}
	}
	return []moduleView{legacy}
}

func (s *Server) listModules(w http.ResponseWriter, r *http.Request) error {
	return s.show(w, r, "Modules", map[string]any{"modules": s.modules(), "hubs": s.cfg.Hubs()})
}

func (s *Server) oneModule(w http.ResponseWriter, r *http.Request) error {
	key := mux.Vars(r)["key"]
	for _, m := range s.modules() {
		if m.Key == key {
			return s.show(w, r, "Module "+key, m)
		}
	}
	return &failure{status: http.StatusNotFound, word: "module_not_found", detail: "no module has this key"}
}
