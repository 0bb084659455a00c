package cache

import (
	"slices"
	"sync"
	"time"
)

// draftIndex knows the drafts on disk: those that somebody may resume, and those in somebody's hands.
type draftIndex struct {
	mu     sync.Mutex
	idle   map[Key]idleDraft
	bytes  int64 // that the idle ones take
	active map[string]bool
}

// An idleDraft waits to be resumed.
type idleDraft struct {
	name    string // in draftsDir
	bytes   int64  // on disk
	written time.Time
}

func (x *draftIndex) hold(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.active == nil {
		x.active = map[string]bool{}
	}
	x.active[name] = true
}

func (x *draftIndex) letGo(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.active, name)
}

// suspend makes d the draft to resume for key, and returns the name of the one it displaces.
func (x *draftIndex) suspend(key Key, d idleDraft) (displaced string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.idle == nil {
		x.idle = map[Key]idleDraft{}
	}
	delete(x.active, d.name)
	displaced = x.idle[key].name
	x.bytes += d.bytes - x.idle[key].bytes
	x.idle[key] = d
	return displaced
}

// lose takes key's draft out. The lock is held.
func (x *draftIndex) lose(key Key) {
	x.bytes -= x.idle[key].bytes
	delete(x.idle, key)
}

// held is what the idle drafts take on disk.
func (x *draftIndex) held() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.bytes
}

// take hands key's idle draft to the caller alone.
func (x *draftIndex) take(key Key) (d idleDraft, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if d, ok = x.idle[key]; ok {
		x.lose(key)
		if x.active == nil {
			x.active = map[string]bool{}
		}
		x.active[d.name] = true
	}
	return d, ok
}

// takeIf hands over all idle drafts whose keys match.
func (x *draftIndex) takeIf(match func(Key) bool) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var names []string
	for key, d := range x.idle {
		if match(key) {
			names = append(names, d.name)
			x.lose(key)
		}
	}
	return names
}

// each calls f for every idle draft. The lock is held.
func (x *draftIndex) each(f func(idleDraft)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, d := range x.idle {
		f(d)
	}
}

// takeOld hands over idle drafts that match, the oldest first, until they free need bytes.
func (x *draftIndex) takeOld(need int64, match func(idleDraft) bool) (old []idleDraft) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var keys []Key
	for key, d := range x.idle {
		if match(d) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return x.idle[a].written.Compare(x.idle[b].written) })
	for _, key := range keys {
		if need <= 0 {
			break
		}
		need -= x.idle[key].bytes
		old = append(old, x.idle[key])
		x.lose(key)
	}
	return old
}

// forget takes out the idle draft called name, whose file is to be removed. It is false when it was taken up meanwhile.
func (x *draftIndex) forget(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for key, d := range x.idle {
		if d.name == name {
			x.lose(key)
		}
	}
	return !x.active[name]
}

func (x *draftIndex) isActive(name string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.active[name]
}
