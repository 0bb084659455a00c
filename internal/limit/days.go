package limit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// ErrBadState says that bytes are no state that Snapshot has written.
var ErrBadState = errors.New("bad state of limits")

const stateVersion = 1

// state is what outlives the process: the bytes of the day. All else would be as good as new within a minute.
type state struct {
	Version int     `json:"version"`
	Day     string  `json:"day"` // UTC
	Used    []spent `json:"used"`
}

type spent struct {
	Token string `json:"token,omitempty"`
	Net   string `json:"net,omitempty"`
	Hub   string `json:"hub,omitempty"`
	Whole bool   `json:"whole,omitempty"` // the hub itself, all clients together
	Bytes int64  `json:"bytes"`
}

// Snapshot returns the bytes that were used today, as JSON for Restore.
func (l *Limiter) Snapshot(now time.Time) ([]byte, error) {
	s := state{Version: stateVersion, Day: now.UTC().Format(time.DateOnly), Used: []spent{}}
	today := now.Unix() / day
	add := func(p *party, whole bool) {
		if p.used == 0 || p.today != today {
			return
		}
		u := spent{Token: p.key.who.token, Hub: p.key.hub, Whole: whole, Bytes: p.used}
		if p.key.who.net.IsValid() {
			u.Net = p.key.who.net.String()
		}
		s.Used = append(s.Used, u)
	}
	l.parties.each(func(p *party) { add(p, false) })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.hubs {
		p.mu.Lock()
		add(p, true)
		p.mu.Unlock()
	}
	return json.Marshal(s)
}

// Restore adds what a Snapshot of today says to what is counted. One of another day has nothing to say. What does not fit, and limits that are no
// longer configured, are left out.
func (l *Limiter) Restore(b []byte, now time.Time) error {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("%w: %w", ErrBadState, err)
	}
	if s.Version != stateVersion {
		return fmt.Errorf("%w: version %d is not %d", ErrBadState, s.Version, stateVersion)
	}
	if s.Day != now.UTC().Format(time.DateOnly) {
		return nil
	}
	for _, u := range s.Used {
		if err := l.restore(u, now); err != nil {
			return err
		}
	}
	return nil
}

func (l *Limiter) restore(u spent, now time.Time) error {
	if u.Bytes < 0 {
		return fmt.Errorf("%w: %d bytes were used", ErrBadState, u.Bytes)
	}
	key := partyKey{who: Subject{token: u.Token}, hub: u.Hub}
	if u.Net != "" {
		net, err := netip.ParsePrefix(u.Net)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadState, err)
		}
		key.who.net = net
	}
	r := l.rules.Load()
	limits, s := r.Client, ofClient
	if own, ok := r.Tokens[u.Token]; ok && u.Token != "" {
		limits = own
	}
	if u.Hub != "" {
		h := r.hubs[u.Hub]
		if h == nil {
			return nil
		}
		limits, s = h.Each, ofClientAtHub
		if u.Whole {
			limits = h.Total
		}
	}
	if limits.Daily <= 0 {
		return nil
	}
	var p *party
	if u.Whole {
		p = l.hub(u.Hub, limits)
	} else if p = l.parties.pin(key, limits, s, now); p.slot < 0 {
		p.unpin() // it is shared with others, who have not used this
		return nil
	}
	p.count(now, u.Bytes)
	p.unpin()
	return nil
}
