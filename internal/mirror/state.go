package mirror

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

const (
	stateName    = ".zcache-mirror-state.json"
	newerName    = stateName + ".newer" // a later version's, put aside
	stateVersion = 1
	largestState = 16 << 20 // bytes of a state file that is read
)

// A standing is what is kept of a subtree between walks, and over restarts. Its times are zero when unknown.
type standing struct {
	// Ended is when the last walk ended, however it did. It decides nothing: a failed walk is no reason to wait for an interval.
	Ended   time.Time `json:"last_walk_at,omitzero"`
	Success time.Time `json:"last_success_at,omitzero"`
	Started time.Time `json:"last_started_at,omitzero"`
	// Unfinished is when the walk began that has not come to its end yet. The next one takes it up.
	Unfinished time.Time `json:"unfinished_since,omitzero"`
	Failures   int       `json:"failures"` // in a row
	Next       time.Time `json:"next_at,omitzero"`
	Err        string    `json:"last_error,omitempty"`
	// Budget is what the walks since the last one to succeed may have the listings promise. It stays as it was first reckoned: what they have brought takes
	// from the free space, and would otherwise in the end refuse the walk that it belongs to.
	Budget int64 `json:"budget,omitempty"`
	// Size, Files and Dirs are those of the last walk to succeed.
	Size  int64 `json:"size"`
	Files int64 `json:"files"`
	Dirs  int64 `json:"dirs"`
	Held  int64 `json:"held_back"`
}

// state is one of the words of Status for a subtree that is not being walked.
func (p *standing) state() string {
	switch {
	case p.Err != "":
		return StateFailed
	case !p.Unfinished.IsZero():
		return StatePaused
	case !p.Success.IsZero():
		return StateSuccess
	}
	return StateNone
}

type stateFile struct {
	Version  int                 `json:"version"`
	Subtrees map[string]standing `json:"subtrees"`
}

// load reads the state that an earlier process left. What cannot be read is no state: the next touches start walks that find most of it unchanged, whereas a
// mirror that does not start serves nobody.
func (s *Scheduler) load() {
	data, err := s.cfg.Root.ReadFile(stateName, largestState)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var file stateFile
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if file.Version > stateVersion {
		// Its fields may mean anything, and whoever goes back to the later version wants it as it was.
		s.log.Warn("mirror state is of a newer version; it is put aside, and all subtrees count as never walked", "file", stateName, "aside", newerName,
			"version", file.Version, "known", stateVersion)
		if err := s.cfg.Root.Rename(stateName, newerName); err != nil {
			s.log.Error("mirror state of a newer version cannot be put aside, and nothing is written over it", "file", stateName, "error", err)
			s.readOnly = true
		}
		return
	}
	if err != nil {
		s.log.Warn("mirror state is unreadable; all subtrees count as never walked", "file", stateName, "error", err)
		return
	}
	s.saved = string(data)
	for name, p := range file.Subtrees {
		p.Failures, p.Size, p.Budget = max(p.Failures, 0), max(p.Size, 0), max(p.Budget, 0)
		s.remembered[name] = p
	}
}

// longestRemembered is how long the state of a subtree that is not configured any more is kept: it may be back at the next start.
const longestRemembered = 30 * 24 * time.Hour

// save writes the state of the configured subtrees, and of those that lately were. One that cannot be written is only
// said: what it would have saved is work, not data.
func (s *Scheduler) save() {
	turn := s.saves.Add(1)
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.readOnly || s.savedTurn >= turn {
		return // whoever had the lock began after the change that is to be saved here, and wrote it too
	}
	s.savedTurn = s.saves.Load()
	file := stateFile{Version: stateVersion, Subtrees: map[string]standing{}}
	s.mu.Lock()
	for name, p := range s.remembered {
		if s.cfg.Now().Sub(p.Started) < longestRemembered {
			file.Subtrees[name] = p
		}
	}
	for name, t := range s.tracks {
		if !t.adhoc && t.past != (standing{}) {
			file.Subtrees[name] = t.past
		}
	}
	s.mu.Unlock()
	data, err := json.MarshalIndent(file, "", "  ")
	if data = append(data, '\n'); err == nil && string(data) != s.saved {
		err = s.cfg.Root.WriteFile(stateName, data, true)
	}
	if err != nil {
		s.log.Error("mirror state is not saved", "file", stateName, "error", fmt.Errorf("save mirror state: %w", err))
		return
	}
	s.saved = string(data)
}
