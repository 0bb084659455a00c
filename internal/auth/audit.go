package auth

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// A Record is one line of the audit log.
type Record struct {
	Time    time.Time
	Client  netip.Addr
	Subject string // token:<id>, user:<name>, jwt:<subject>; empty for anonymous clients and wrong credentials
	Name    string // of the token or user
	Action  string // as the caller names it: "read", "purge", …
	Path    string
	Outcome string // "allowed" or "denied"
	Reason  string // of a denial
	// Suppressed is how many denials of the same client were left out before this one.
	Suppressed int
}

// Of denials, a client's first ones are recorded, then one every denialEvery: a flood of guesses must not fill the log's disk, nor hide what else is in
// it. Beyond auditClients at a time, clients are counted as one.
const (
	denialBurst  = 10
	denialEvery  = 10 * time.Second
	auditClients = 1024
)

// An Audit tells what was allowed and denied. Its methods may be called concurrently; a nil Audit does nothing.
type Audit struct {
	write func(Record)
	now   func() time.Time

	mu      sync.Mutex
	denials map[string]*allowance
}

// An allowance is how many denials of a client may still be recorded.
type allowance struct {
	left       float64
	at         time.Time
	suppressed int
}

// NewAudit returns an Audit that hands records to write, which may be called concurrently and must not wait for long.
func NewAudit(write func(Record)) *Audit {
	return &Audit{write: write, now: time.Now, denials: map[string]*allowance{}}
}

// Note records that the client was allowed an action, or with an error that it was not. Path may be empty. Callers note what changes something or was
// refused; reads that were allowed are for the access log.
func (a *Audit) Note(c Client, action, path string, err error) {
	if a == nil {
		return
	}
	r := Record{Time: a.now(), Client: c.Addr, Subject: c.Subject(), Name: c.Name(), Action: action, Path: path, Outcome: "allowed"}
	if err != nil {
		r.Outcome, r.Reason = "denied", err.Error()
		var d *Denial
		if errors.As(err, &d) {
			r.Reason = d.Why()
		}
		var ok bool
		if r.Suppressed, ok = a.admit(r.Time, r.Subject+" "+source(c.Addr).String()); !ok {
			return
		}
	}
	a.write(r)
}

// admit says whether one more denial of who may be recorded, and how many were not since the last that was.
func (a *Audit) admit(now time.Time, who string) (suppressed int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.denials[who]
	if l == nil {
		if len(a.denials) >= auditClients {
			a.forget(now)
		}
		if len(a.denials) >= auditClients {
			who = ""
			l = a.denials[who]
		}
		if l == nil {
			l = &allowance{left: denialBurst, at: now}
			a.denials[who] = l
		}
	}
	l.left = min(denialBurst, l.left+now.Sub(l.at).Seconds()/denialEvery.Seconds())
	l.at = now
	if l.left < 1 {
		l.suppressed++
		return 0, false
	}
	l.left--
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

// forget drops the clients that have been quiet for so long that they are like new ones.
func (a *Audit) forget(now time.Time) {
	for who, l := range a.denials {
		if now.Sub(l.at) >= denialBurst*denialEvery {
			delete(a.denials, who)
		}
	}
}
