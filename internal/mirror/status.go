package mirror

import (
	"sync/atomic"
	"time"
)

// The states of a subtree, in the words of tunasync.
const (
	StateNone    = "none"        // never walked
	StateQueued  = "pre-syncing" // waits for its turn
	StateWalking = "syncing"
	StatePaused  = "paused" // its slice of time is over; the next touch goes on
	StateSuccess = "success"
	StateFailed  = "failed"
)

// A Status tells of one subtree. The times that are zero are unknown.
type Status struct {
	Name     string
	State    string
	Upstream string

	Success time.Time // when the last walk that succeeded ended
	Started time.Time
	Ended   time.Time
	Next    time.Time // from when on a touch starts a walk
	Size    int64     // bytes of the files that the last walk to succeed found held; -1 unknown
	Files   int64
	Dirs    int64
	Err     string // of the last walk; "" when it succeeded
	Failed  int    // walks in a row that failed
	Held    int64  // orphans that the last walk did not dare to remove

	Live   *Figures // of the walk under way; nil without one
	Last   *Figures // of the last walk; nil without one
	DryRun bool     // the walk under way only looks; without one, the last did
}

// Figures are what a walk has done so far.
type Figures struct {
	Started   time.Time     `json:"started"`
	Elapsed   time.Duration `json:"-"`
	Dirs      int64         `json:"dirs"`       // listed, or known to be unchanged
	Files     int64         `json:"files"`      // that the listings name
	Skipped   int64         `json:"skipped"`    // known to be unchanged without being asked for
	Same      int64         `json:"same"`       // asked for and unchanged
	Fetched   int64         `json:"fetched"`    // new or changed
	Removed   int64         `json:"removed"`    // to the trash; of a dry run: that would be
	Denied    int64         `json:"denied"`     // that the upstream refuses
	Unkept    int64         `json:"unkept"`     // that may not be kept, are left out by size, or have names that nobody can ask for
	Failed    int64         `json:"failed"`     // that could not be had
	Would     int64         `json:"would_ask"`  // of a dry run: files that a walk would ask for
	HeldBack  int64         `json:"held_back"`  // orphans that were not removed because there are too many
	Bytes     int64         `json:"bytes"`      // fetched
	Promised  int64         `json:"promised"`   // sum of the listed sizes, without what clients had brought before
	Requests  int64         `json:"requests"`   // upstream
	Queue     int64         `json:"queue"`      // files and directories that are known and wait
	Rate      float64       `json:"rate"`       // bytes per second since the start
	ETA       time.Duration `json:"-"`          // 0 when unknown
	LastError string        `json:"last_error"` // of a single file or directory
	At        string        `json:"at"`         // the directory that was begun last
	Orphans   []string      `json:"orphans,omitempty"`
}

// progress is what a walk counts. Its fields are read while they change.
type progress struct {
	dirs, files, skipped, same, fetched, removed, denied, unkept, failed, would, heldBack atomic.Int64
	bytes, promised, requests, queue                                                      atomic.Int64
	lastError, at                                                                         atomic.Pointer[string]
	orphans                                                                               atomic.Pointer[[]string]
	started                                                                               time.Time
	expect                                                                                int64 // files that the last walk found; 0 unknown
	dry                                                                                   bool
}

func (p *progress) figures(now time.Time) Figures {
	f := Figures{
		Started: p.started, Elapsed: now.Sub(p.started),
		Dirs: p.dirs.Load(), Files: p.files.Load(), Skipped: p.skipped.Load(), Same: p.same.Load(), Fetched: p.fetched.Load(),
		Removed: p.removed.Load(), Denied: p.denied.Load(), Unkept: p.unkept.Load(), Failed: p.failed.Load(), Would: p.would.Load(),
		HeldBack: p.heldBack.Load(), Bytes: p.bytes.Load(), Promised: p.promised.Load(), Requests: p.requests.Load(), Queue: p.queue.Load(),
	}
	if s := p.lastError.Load(); s != nil {
		f.LastError = *s
	}
	if s := p.at.Load(); s != nil {
		f.At = *s
	}
	if s := p.orphans.Load(); s != nil {
		f.Orphans = *s
	}
	if seconds := f.Elapsed.Seconds(); seconds > 0 {
		f.Rate = float64(f.Bytes) / seconds
	}
	if done := f.Skipped + f.Same + f.Fetched + f.Failed + f.Unkept + f.Denied; p.expect > done && done > 0 {
		f.ETA = time.Duration(float64(f.Elapsed) * float64(p.expect-done) / float64(done))
	}
	return f
}

// failure notes what went wrong with a single file or directory.
func (p *progress) failure(err error) {
	p.failed.Add(1)
	s := err.Error()
	p.lastError.Store(&s)
}
