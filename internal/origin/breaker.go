package origin

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	tripAfter  = 8               // failures in a row
	firstPause = 3 * time.Second // before an open breaker lets a probe through
	longPause  = time.Minute     // the most that doubling makes of it
	// latencyHolds is how long a measured latency speaks for an upstream. An upstream that went behind a faster one is not measured
	// any more; without an end it would stay there for good.
	latencyHolds = 5 * time.Minute
)

// State is what a breaker says of its upstream.
type state int

const (
	closed state = iota
	halfOpen
	open
)

func (s state) String() string { return [...]string{"closed", "half-open", "open"}[s] }

// health is the breaker of one upstream and what else is known of how it does. Its methods may be called concurrently.
type health struct {
	mu       sync.Mutex
	failures int       // in a row
	pauses   int       // how often it opened since the last whole response
	until    time.Time // open until then, half-open after; zero = closed
	probing  bool      // the one probe of the half-open state is under way

	latency  time.Duration
	measured time.Time
	used     time.Time
	failedAt time.Time
	last     string // the last failure
}

func (h *health) state(now time.Time) state {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.stateLocked(now)
}

func (h *health) stateLocked(now time.Time) state {
	switch {
	case h.until.IsZero():
		return closed
	case now.Before(h.until):
		return open
	}
	return halfOpen
}

// enter says whether the upstream may be asked in its turn, and whether the request is the probe, whose end must be told by
// answered, failed or left.
func (h *health) enter(now time.Time) (probe, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch s := h.stateLocked(now); {
	case s == closed:
		return false, true
	case s == open || h.probing:
		return false, false
	}
	h.probing = true
	return true, true
}

// answered notes a response whose body is still to come: the upstream is there, so the breaker closes. The failures are forgotten by
// complete alone, else an upstream that breaks off every body would never be found out.
func (h *health) answered(now time.Time, latency time.Duration) (recovered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	recovered = !h.until.IsZero()
	h.until, h.probing, h.used = time.Time{}, false, now
	if latency <= 0 {
		return recovered
	}
	if h.latency == 0 || now.Sub(h.measured) > latencyHolds {
		h.latency = latency
	} else {
		h.latency += (latency - h.latency) / 4
	}
	h.measured = now
	return recovered
}

// complete notes a response that came to its end.
func (h *health) complete() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.pauses, h.until, h.probing = 0, 0, time.Time{}, false
}

// failed notes a failure and says whether the breaker opened by it. Requests that were under way when it opened, or that had nowhere
// else to go, do not prolong the pause: only the probe does.
func (h *health) failed(now time.Time, probe bool, reason string) (opened bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures++
	h.used, h.failedAt, h.last = now, now, reason
	if probe {
		h.probing = false
	}
	if !probe && (!h.until.IsZero() || h.failures < tripAfter) {
		return false
	}
	pause := min(firstPause<<min(h.pauses, 10), longPause)
	h.pauses++
	h.until = now.Add(jitter(pause))
	return true
}

// late notes, before the failure itself, that the upstream let its turn go by. Two such in a row are enough: each costs a client as long as a turn is.
func (h *health) late() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = max(h.failures, tripAfter-2)
}

// local notes how a request to a directory of this machine went, by the reason of its failure or "". There is no breaker to open: asking
// once more costs nothing.
func (h *health) local(now time.Time, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used = now
	if reason == "" {
		h.failures = 0
		return
	}
	h.failures++
	h.failedAt, h.last = now, reason
}

// left notes a request that ended without telling anything about the upstream.
func (h *health) left(probe bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if probe {
		h.probing = false
	}
}

func (h *health) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.pauses, h.until, h.probing, h.latency = 0, 0, time.Time{}, false, 0
}

// known is the smoothed latency while it holds, else 0.
func (h *health) known(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.measured) > latencyHolds {
		return 0
	}
	return h.latency
}

func (h *health) status(now time.Time) UpstreamStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return UpstreamStatus{
		State: h.stateLocked(now).String(), Failures: h.failures, LastError: h.last,
		FailedAt: h.failedAt, UsedAt: h.used, Latency: h.latency,
	}
}

// jitter moves d by up to 15 % either way, so that many instances do not come back at the same moment.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.85 + 0.3*rand.Float64()))
}
