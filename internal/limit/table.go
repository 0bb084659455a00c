package limit

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shards  = 64
	stripes = 8  // parties of a full shard that newcomers share
	looks   = 16 // how many parties of a full shard are looked at for one to forget
)

// A table holds parties, a bounded number of them. One is forgotten only when that changes nothing for it, so no flood of newcomers can make the
// table forget who has used up what is his. While there is no such one, newcomers share a few parties with each other, by their hash.
type table struct {
	seed   maphash.Seed
	shards []shard
}

type shard struct {
	mu       sync.Mutex
	most     int
	index    map[partyKey]*party
	slots    []*party
	hand     int // where to look next for one to forget
	overflow [stripes]*party
	crowded  uint64 // how often a newcomer had to share
}

func newTable(most int) *table {
	n := min(max(most/256, 1), shards)
	t := &table{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range t.shards {
		t.shards[i] = shard{most: max(most/n, 1), index: map[partyKey]*party{}}
	}
	return t
}

// pin returns the party of the key, with one more pin.
func (t *table) pin(key partyKey, l Limits, s scope, now time.Time) *party {
	h := maphash.Comparable(t.seed, key)
	sh := &t.shards[h%uint64(len(t.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.index[key]
	if p == nil {
		sh.forget(now, 2) // two looked at for each that comes: whoever has gone quiet goes in time
		if len(sh.slots) >= sh.most {
			sh.forget(now, looks)
		}
		if len(sh.slots) < sh.most {
			p = &party{mu: &sh.mu, key: key, slot: len(sh.slots)}
			sh.index[key] = p
			sh.slots = append(sh.slots, p)
		} else {
			p = sh.shared(int(h>>32) % stripes)
		}
	}
	p.limits, p.scope = l, s // as they are now in force
	p.pins++
	return p
}

func (sh *shard) shared(i int) *party {
	sh.crowded++
	if sh.overflow[i] == nil {
		sh.overflow[i] = &party{mu: &sh.mu, slot: -1}
	}
	return sh.overflow[i]
}

// forget drops those of the next n parties that can be spared.
func (sh *shard) forget(now time.Time, n int) {
	for range min(n, len(sh.slots)) {
		if sh.hand >= len(sh.slots) {
			sh.hand = 0
		}
		p := sh.slots[sh.hand]
		if !p.spare(now) {
			sh.hand++
			continue
		}
		last := len(sh.slots) - 1
		sh.slots[sh.hand] = sh.slots[last]
		sh.slots[sh.hand].slot = sh.hand
		sh.slots[last] = nil
		sh.slots = sh.slots[:last]
		delete(sh.index, p.key)
		if len(sh.slots) == 0 {
			return
		}
	}
}

// each calls f with every party that is told apart. The party's mutex is held.
func (t *table) each(f func(*party)) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		for _, p := range sh.slots {
			f(p)
		}
		sh.mu.Unlock()
	}
}

// size is the number of parties that are told apart, and how often a newcomer had to share one.
func (t *table) size() (parties int, crowded uint64) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		parties += len(sh.slots)
		crowded += sh.crowded
		sh.mu.Unlock()
	}
	return parties, crowded
}
