package limit

import (
	"net/netip"
	"time"
)

// Limits are what one party may do. Zero is no limit.
type Limits struct {
	Rate      float64 // requests a second
	Burst     int     // requests at once on top of a quiet time; 0 = one second's worth, at least 1
	Requests  int     // requests at a time
	Bandwidth int64   // bytes a second
	Daily     int64   // bytes of a UTC day; a request that begins below it is served whole
	Misses    int     // answers that led nowhere (404, 410) a minute
	Weight    float64 // share of the egress beside others; 0 = 1
}

// Hub is what goes for one hub.
type Hub struct {
	Total    Limits // all of its clients together
	Each     Limits // each client, for its requests to this hub alone
	Upstream Upstream
}

// Upstream bounds the trips to a hub's upstreams.
type Upstream struct {
	Trips int           // at a time; 0 = no limit
	Queue int           // that wait for their turn; beyond, a trip is refused
	Wait  time.Duration // the longest wait; 0 = as long as the request lasts
}

// Config is what a Limiter works with. Its zero value limits nothing.
type Config struct {
	Client     Limits            // each client, over all hubs
	Tokens     map[string]Limits // instead of Client for these tokens
	Hubs       map[string]Hub
	Exempt     []netip.Prefix // clients without a token that Client and Each do not count
	MaxClients int            // how many are told apart at a time; 0 = 65,536
	Egress     int64          // bytes a second that the instance sends in all
	Registerer Registerer     // read by New alone
}

// A Client is who asks, as far as limits go.
type Client struct {
	Token string     // its id, never the secret; empty without one
	Addr  netip.Addr // the invalid address stands for all that have none
}

// A Subject is what is counted as one client: a token, or a network. It is comparable.
type Subject struct {
	token string
	net   netip.Prefix
}

// Subject says as whom the client is counted. Whoever has an address of IPv6 has at least its /64, and could be somebody else with every request.
func (c Client) Subject() Subject {
	if c.Token != "" {
		return Subject{token: c.Token}
	}
	a := c.Addr.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return Subject{}
	}
	return Subject{net: p}
}

func (s Subject) String() string {
	switch {
	case s.token != "":
		return "token " + s.token
	case !s.net.IsValid():
		return "unknown"
	case s.net.Addr().Is4():
		return s.net.Addr().String()
	}
	return s.net.String()
}

func (l Limits) none() bool {
	return l.Rate <= 0 && l.Requests <= 0 && l.Bandwidth <= 0 && l.Daily <= 0 && l.Misses <= 0
}

func (l Limits) burst() float64 {
	if l.Burst > 0 {
		return float64(l.Burst)
	}
	return max(1, l.Rate)
}

const (
	smallGrain = 4 << 10
	largeGrain = 256 << 10 // what is granted at most at once: a few milliseconds of a fast line, and few wake-ups
	wholeGrain = 4 << 20   // where bytes are counted only; as much as durable sends at once
)

// grain is how much is granted at once where the party is paced: an eighth of a second's worth, so that a slow one does not come in gulps.
func (l Limits) grain() int64 { return min(max(l.Bandwidth/8, smallGrain), largeGrain) }

// slack is how much a party that was silent may send at once.
func (l Limits) slack() float64 { return float64(max(l.Bandwidth/4, l.grain())) }

// rules are a Config made ready. They are never changed.
type rules struct {
	Config
	hubs map[string]*Hub
	idle bool // nothing is limited
}

func newRules(c Config) *rules {
	r := &rules{Config: c, hubs: make(map[string]*Hub, len(c.Hubs))}
	if r.MaxClients <= 0 {
		r.MaxClients = 1 << 16
	}
	r.idle = c.Client.none() && len(c.Tokens) == 0 && c.Egress <= 0
	for name, h := range c.Hubs {
		r.hubs[name] = &h
		r.idle = r.idle && h.Total.none() && h.Each.none()
	}
	return r
}

// client returns what goes for a client over all hubs, and its share of the egress.
func (r *rules) client(c Client) (l Limits, exempt bool) {
	if c.Token != "" {
		if l, ok := r.Tokens[c.Token]; ok {
			return l, false
		}
		return r.Client, false
	}
	for _, p := range r.Exempt {
		if p.Contains(c.Addr.Unmap().WithZone("")) {
			return Limits{Weight: r.Client.Weight}, true
		}
	}
	return r.Client, false
}
