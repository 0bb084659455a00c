package cache

import (
	"sync"

	"zcache/internal/listing"
)

// mostListed bounds the entries of the listings that are kept read: about 20 MiB.
const mostListed = 150_000

// listed names one state of one listing.
type listed struct {
	at place
	id identity
}

// lists keeps the listings that were read last, so that a crowd that looks at one directory reads it once.
type lists struct {
	mu    sync.Mutex
	known map[listed]*readOnce
	order []listed // the latest read last
	total int      // entries
}

// A readOnce is a listing that somebody reads, or has read.
type readOnce struct {
	done chan struct{}
	l    *listing.Listing
	err  error
}

// get returns what read gave for this state, reading at most once at a time. Who gets it must not change it.
func (s *lists) get(key listed, read func() (*listing.Listing, error)) (*listing.Listing, error) {
	s.mu.Lock()
	r := s.known[key]
	if r != nil {
		s.mu.Unlock()
		<-r.done
		return r.l, r.err
	}
	if s.known == nil {
		s.known = map[listed]*readOnce{}
	}
	r = &readOnce{done: make(chan struct{})}
	s.known[key] = r
	s.mu.Unlock()
	r.l, r.err = read()
	close(r.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.err != nil || len(r.l.Entries) > mostListed {
		delete(s.known, key)
		return r.l, r.err
	}
	s.order = append(s.order, key)
	s.total += len(r.l.Entries)
	for len(s.order) > 64 || s.total > mostListed {
		old := s.order[0]
		s.order = s.order[1:]
		s.total -= len(s.known[old].l.Entries)
		delete(s.known, old)
	}
	return r.l, r.err
}
