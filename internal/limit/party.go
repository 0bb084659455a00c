package limit

import (
	"sync"
	"time"
)

const day = 24 * 60 * 60 // seconds

// A bucket fills by rate a second up to its size. It is born full.
type bucket struct {
	spent float64 // below full
	at    int64   // nanoseconds of Unix time when that was so
}

// fill lets time pass. A clock that was set back fills nothing, and does not stop the filling for as long as it was set back.
func (b *bucket) fill(now int64, rate float64) {
	if now > b.at {
		b.spent = max(0, b.spent-rate*float64(now-b.at)/1e9)
	}
	b.at = now
}

// until is the time after which a bucket of this size holds n.
func (b *bucket) until(n, size, rate float64) time.Duration {
	lack := b.spent + n - size
	if lack <= 0 {
		return 0
	}
	return time.Duration(lack / rate * 1e9)
}

func (b *bucket) giveBack(n float64) { b.spent = max(0, b.spent-n) }

// A party is one that limits go for: a client, a client at a hub, or a hub. All but its key is guarded by mu, which parties of a shard share.
type party struct {
	mu     *sync.Mutex
	key    partyKey
	limits Limits
	scope  scope
	slot   int // in its shard; -1 for one that stays

	pins     int // leases, and requests that are being judged: a pinned party stays
	active   int
	requests bucket
	bytes    bucket
	misses   bucket
	today    int64 // the UTC day that used goes for
	used     int64
}

// partyKey names a party: subject at a hub, or over all of them where hub is empty.
type partyKey struct {
	who Subject
	hub string
}

// enter takes one request, or says why not. A refused one costs nothing.
func (p *party) enter(now time.Time) *Refusal {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, at := p.limits, now.UnixNano()
	p.turn(now)
	if l.Misses > 0 {
		rate := float64(l.Misses) / 60
		p.misses.fill(at, rate)
		if d := p.misses.until(1, float64(l.Misses), rate); d > 0 {
			return refuse(p.scope, kindMisses, l, d)
		}
	}
	if l.Daily > 0 && p.used >= l.Daily {
		return refuse(p.scope, kindDaily, l, untilMidnight(now))
	}
	if l.Requests > 0 && p.active >= l.Requests {
		return refuse(p.scope, kindActive, l, 0)
	}
	if l.Rate > 0 {
		p.requests.fill(at, l.Rate)
		if d := p.requests.until(1, l.burst(), l.Rate); d > 0 {
			return refuse(p.scope, kindRate, l, d)
		}
		p.requests.spent++
	}
	p.active++
	return nil
}

// undo takes enter back.
func (p *party) undo() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.requests.giveBack(1)
}

// leave ends a request.
func (p *party) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.pins--
}

func (p *party) unpin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pins--
}

// reserve promises n bytes and says how long to wait for them. Promises are kept in the order in which they were made, so the connections of a
// client take turns.
func (p *party) reserve(now time.Time, n int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limits.Bandwidth <= 0 {
		return 0
	}
	rate := float64(p.limits.Bandwidth)
	p.bytes.fill(now.UnixNano(), rate)
	p.bytes.spent += float64(n)
	return p.bytes.until(0, p.limits.slack(), rate)
}

// count adds n bytes to the day, or takes them from it.
func (p *party) count(now time.Time, n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limits.Daily > 0 {
		p.turn(now)
		p.used = max(0, p.used+n)
	}
}

// giveBack returns bytes that were promised and never sent.
func (p *party) giveBack(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes.giveBack(float64(n))
}

// missed counts an answer that led nowhere. The debt ends at a minute's worth, or a burst that was admitted at once would shut its client out
// for as long as it was large.
func (p *party) missed(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if most := float64(p.limits.Misses); most > 0 {
		p.misses.fill(now.UnixNano(), most/60)
		p.misses.spent = min(p.misses.spent+1, 2*most)
	}
}

// turn begins a new day. A clock that is set back over midnight does not give the day's bytes again.
func (p *party) turn(now time.Time) {
	if d := now.Unix() / day; d > p.today {
		p.today, p.used = d, 0
	}
}

// spare says that nothing is lost when the party is forgotten: it would begin again as it is. Of the day's bytes a 64th may be lost, or whoever
// fetched one file would have to be remembered until midnight. Its mutex is held.
func (p *party) spare(now time.Time) bool {
	l, at := p.limits, now.UnixNano()
	if p.pins > 0 || p.active > 0 {
		return false
	}
	p.turn(now)
	p.requests.fill(at, l.Rate)
	p.bytes.fill(at, float64(l.Bandwidth))
	p.misses.fill(at, float64(l.Misses)/60)
	return (l.Rate <= 0 || p.requests.spent == 0) && (l.Bandwidth <= 0 || p.bytes.spent == 0) && (l.Misses <= 0 || p.misses.spent == 0) &&
		p.used <= l.Daily/64
}

func untilMidnight(now time.Time) time.Duration {
	return time.Duration(day-now.Unix()%day) * time.Second
}
