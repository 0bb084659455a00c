package cache

import (
	"container/list"
	"hash/maphash"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	shards     = 16
	tableRAM   = 64 << 20    // of bodies and Metas held
	slotCost   = 2 << 10     // what a slot weighs beside its body, about
	trustFor   = time.Second // how long a slot answers without a look at the disk
	mostHandle = 4096
)

// A table holds what was opened lately, so that a hit costs no system call. It is split into shards, and no lock is held over one.
type table struct {
	seed  maphash.Seed
	shard [shards]shard
}

type shard struct {
	mu    sync.Mutex
	slots map[Key]*list.Element // of *slot
	lru   list.List             // the latest used first
	files int                   // open descriptors
	ram   int64
	most  int // of files
	// turn counts the changes to entries of this shard. What was loaded from the disk during one may be the old entry, and
	// is not put into the table.
	turn uint64
	dead []*handle // taken out, to be let go of once the lock is given back
}

// unlock gives the lock back and then closes what was taken out.
func (s *shard) unlock() {
	dead := s.dead
	s.dead = nil
	s.mu.Unlock()
	release(dead)
}

// A slot is all that is stored for one key.
type slot struct {
	key      Key
	handles  []*handle // the main one first, if there is one
	checked  time.Time
	complete bool // no second look at the disk is needed to know that there is no more
}

func newTable() *table {
	most := mostHandle
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err == nil && lim.Cur/4 < mostHandle {
		most = int(lim.Cur / 4)
	}
	tb := &table{seed: maphash.MakeSeed()}
	for i := range tb.shard {
		tb.shard[i].slots = map[Key]*list.Element{}
		tb.shard[i].most = max(1, most/shards)
	}
	return tb
}

func (tb *table) of(key Key) *shard {
	return &tb.shard[maphash.Comparable(tb.seed, key)%shards]
}

// found is what a look into the table gave.
type found struct {
	handle *handle   // acquired; nil when none matches
	known  bool      // the slot is there
	due    []*handle // acquired: these are to be compared with the disk
	turn   uint64    // of the shard, before anything is loaded
}

// look selects from key's slot. At most one caller a second is told to compare it with the disk; the others go on meanwhile.
func (tb *table) look(key Key, request http.Header, now time.Time) found {
	s := tb.of(key)
	s.mu.Lock()
	defer s.unlock()
	e := s.slots[key]
	if e == nil {
		return found{turn: s.turn}
	}
	sl := e.Value.(*slot)
	if age := now.Sub(sl.checked); age >= trustFor || age <= -trustFor { // it may have been checked since the caller took the time
		if !sl.complete {
			s.remove(e)
			return found{turn: s.turn}
		}
		sl.checked = now
		due := make([]*handle, len(sl.handles))
		for i, h := range sl.handles {
			due[i] = h.acquire()
		}
		return found{due: due, known: true, turn: s.turn}
	}
	s.lru.MoveToFront(e)
	f := found{known: true, turn: s.turn}
	if h := choose(sl.handles, request); h != nil {
		f.handle = h.acquire()
	}
	return f
}

// choose returns the most recent of the responses that the request selects.
func choose(handles []*handle, request http.Header) *handle {
	var best *handle
	for _, h := range handles {
		if (len(h.meta.Vary) == 0 || h.meta.Selects(request)) && (best == nil || h.since.After(best.since)) {
			best = h
		}
	}
	return best
}

// put takes over one reference of each handle and holds them as key's slot, unless the key changed since turn.
func (tb *table) put(sl *slot, turn uint64) {
	s := tb.of(sl.key)
	s.mu.Lock()
	defer s.unlock()
	if s.turn != turn {
		s.dead = append(s.dead, sl.handles...)
		return
	}
	if e := s.slots[sl.key]; e != nil {
		s.remove(e)
	}
	s.slots[sl.key] = s.lru.PushFront(sl)
	s.count(sl, 1)
	for s.lru.Len() > 1 && (s.files > s.most || s.ram > tableRAM/shards) {
		s.remove(s.lru.Back())
	}
}

func (s *shard) count(sl *slot, sign int) {
	s.ram += int64(sign) * slotCost
	for _, h := range sl.handles {
		s.ram += int64(sign * (len(h.ram) + h.weight))
		if h.file != nil {
			s.files += sign
		}
	}
}

func (s *shard) remove(e *list.Element) {
	sl := s.lru.Remove(e).(*slot)
	delete(s.slots, sl.key)
	s.count(sl, -1)
	s.dead = append(s.dead, sl.handles...)
}

func release(handles []*handle) {
	for _, h := range handles {
		h.unref()
	}
}

// drop forgets key: what is on disk has changed.
func (tb *table) drop(key Key) {
	s := tb.of(key)
	s.mu.Lock()
	defer s.unlock()
	s.turn++
	if e := s.slots[key]; e != nil {
		s.remove(e)
	}
}

// dropIf forgets every key that match picks.
func (tb *table) dropIf(match func(Key) bool) {
	tb.dropSlots(func(sl *slot) bool { return match(sl.key) })
}

// dropAt forgets the key of which a response lies at p.
func (tb *table) dropAt(p place) {
	tb.dropSlots(func(sl *slot) bool {
		return slices.ContainsFunc(sl.handles, func(h *handle) bool { return h.at == p })
	})
}

func (tb *table) dropSlots(match func(*slot) bool) {
	for i := range tb.shard {
		s := &tb.shard[i]
		s.mu.Lock()
		s.turn++
		for e := s.lru.Front(); e != nil; {
			next := e.Next()
			if match(e.Value.(*slot)) {
				s.remove(e)
			}
			e = next
		}
		s.unlock()
	}
}

// shrink lets go of all descriptors that the table alone holds open.
func (tb *table) shrink() {
	for i := range tb.shard {
		s := &tb.shard[i]
		s.mu.Lock()
		for e := s.lru.Front(); e != nil; {
			next := e.Next()
			for _, h := range e.Value.(*slot).handles {
				if h.file != nil {
					s.remove(e)
					break
				}
			}
			e = next
		}
		s.unlock()
	}
}

// uses tells the last use of all that is in the table, which may be later than what the disk knows.
func (tb *table) uses() map[place]time.Time {
	out := map[place]time.Time{}
	for i := range tb.shard {
		s := &tb.shard[i]
		s.mu.Lock()
		for e := s.lru.Front(); e != nil; e = e.Next() {
			for _, h := range e.Value.(*slot).handles {
				out[h.at] = time.Unix(0, h.used.Load())
			}
		}
		s.unlock()
	}
	return out
}
