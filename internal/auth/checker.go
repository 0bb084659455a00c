package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

// Bounds of a checker. What is known of right passwords and of wrong ones is kept apart, so that guesses do not push out who belongs here.
const (
	rightKept = 4096
	wrongKept = 1024
	rightFor  = 10 * time.Minute
	wrongFor  = 10 * time.Second
	// waitingAll and waitingOne are how many different passwords may wait for their check, of all clients and of one source.
	waitingAll = 64
	waitingOne = 4
)

// A checker checks passwords, which is slow on purpose, on half of the cores at most, so that a flood of guesses leaves the others to who is known
// already. It keeps what it found out under a keyed digest: the memory of the process never holds a password for longer than its request.
type checker struct {
	key   [32]byte
	slots chan struct{}
	now   func() time.Time
	match func(hash, password string) bool // replaced in tests

	mu      sync.Mutex
	right   map[digest]time.Time // until when
	wrong   map[digest]time.Time
	flights map[digest]*verdict
	waiting map[netip.Prefix]int
}

// A verdict is on its way until done is closed.
type verdict struct {
	done chan struct{}
	ok   bool
}

func newChecker() *checker {
	c := &checker{
		slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), now: time.Now, match: matches,
		right: map[digest]time.Time{}, wrong: map[digest]time.Time{}, flights: map[digest]*verdict{}, waiting: map[netip.Prefix]int{},
	}
	rand.Read(c.key[:]) // never fails; the runtime ends the process instead
	return c
}

// identify says whose the name and password are.
func (c *checker) identify(ctx context.Context, r *Rules, from netip.Prefix, name, password string) (*identity, error) {
	if len(r.htpasswd) == 0 || len(password) > longestPassword {
		return nil, wrong("there are no passwords, or it is longer than any")
	}
	hash, known := r.htpasswd[name]
	if !known {
		hash = r.decoy
	}
	ok, err := c.check(ctx, from, name, password, hash)
	switch {
	case err != nil:
		return nil, err
	case !ok || !known:
		return nil, wrong("no user has the name and password")
	}
	return r.users[name], nil
}

// check says whether the password is the one of the hash. Many requests with the same one, as a client's parallel downloads make, are one check.
func (c *checker) check(ctx context.Context, from netip.Prefix, name, password, hash string) (bool, error) {
	sum := c.sum(name, password, hash)
	c.mu.Lock()
	now := c.now()
	if until, ok := c.right[sum]; ok && now.Before(until) {
		c.mu.Unlock()
		return true, nil
	}
	if until, ok := c.wrong[sum]; ok && now.Before(until) {
		c.mu.Unlock()
		return false, nil
	}
	v := c.flights[sum]
	if v == nil {
		if len(c.flights) >= waitingAll || c.waiting[from] >= waitingOne {
			c.mu.Unlock()
			return false, ErrBusy
		}
		v = &verdict{done: make(chan struct{})}
		c.flights[sum] = v
		c.waiting[from]++
		go c.fly(v, sum, from, hash, password)
	}
	c.mu.Unlock()
	select {
	case <-v.done:
		return v.ok, nil
	case <-ctx.Done():
		return false, ErrBusy
	}
}

// fly does one check in its turn. It belongs to no request: whoever asks next may use what it finds out.
func (c *checker) fly(v *verdict, sum digest, from netip.Prefix, hash, password string) {
	c.slots <- struct{}{}
	v.ok = c.match(hash, password)
	<-c.slots
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, sum)
	if c.waiting[from]--; c.waiting[from] == 0 {
		delete(c.waiting, from)
	}
	now := c.now()
	if v.ok {
		keep(c.right, sum, now, now.Add(rightFor), rightKept)
	} else {
		keep(c.wrong, sum, now, now.Add(wrongFor), wrongKept)
	}
	close(v.done)
}

// keep makes room by what is over, else by any one.
func keep(in map[digest]time.Time, sum digest, now, until time.Time, most int) {
	if len(in) >= most {
		for old, end := range in {
			if !now.Before(end) {
				delete(in, old)
			}
		}
	}
	for old := range in {
		if len(in) < most {
			break
		}
		delete(in, old)
	}
	in[sum] = until
}

// sum is what a name, password and hash are known by. The hash is part of it: when it changes in the file, nothing is known any more.
func (c *checker) sum(name, password, hash string) (out digest) {
	h := hmac.New(sha256.New, c.key[:])
	for _, s := range []string{name, password, hash} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(s)))
		h.Write(length[:])
		h.Write([]byte(s))
	}
	h.Sum(out[:0])
	return out
}
