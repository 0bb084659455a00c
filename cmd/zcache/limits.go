package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"zcache/internal/config"
	"zcache/internal/limit"
)

// limitsFile is where what clients have used of their day outlives the process, relative to the root.
const limitsFile = ".zcache/limits.json"

// maxLimitsFile is more than 65,536 clients at some hubs come to.
const maxLimitsFile = 64 << 20

// limitsEvery is how often it is written: what is lost with the power is no more than was used in that time.
const limitsEvery = 3 * time.Minute

func limitsFrom(l config.Limits) limit.Limits {
	return limit.Limits{
		Rate: l.Rate.PerSecond, Burst: l.Rate.Burst, Requests: l.Requests, Bandwidth: l.Bandwidth, Daily: l.Daily, Misses: l.Misses, Weight: float64(l.Weight),
	}
}

// limitsOf are the limits of a configuration.
func limitsOf(cfg config.Config) limit.Config {
	lc := limit.Config{
		Client: limitsFrom(cfg.Client), Tokens: map[string]limit.Limits{}, Hubs: map[string]limit.Hub{}, Exempt: cfg.RateExempt, Egress: cfg.Egress,
	}
	for _, c := range cfg.Clients {
		for _, who := range c.Who {
			lc.Tokens[who] = limitsFrom(c.Limits)
		}
	}
	for i := range cfg.Hubs {
		h := &cfg.Hubs[i]
		lc.Hubs[h.Name] = limit.Hub{
			Total: limitsFrom(h.Limits), Each: limitsFrom(h.Each),
			Upstream: limit.Upstream{Trips: h.Trips.AtOnce, Queue: h.Trips.Queue, Wait: h.Trips.Wait},
		}
	}
	return lc
}

// rulesOfFilter are the rules of a configuration, those that are in force where nobody says otherwise behind them.
func rulesOfFilter(cfg config.Config) []limit.Rule {
	out := make([]limit.Rule, 0, len(cfg.Rules))
	for _, r := range cfg.Rules {
		action := limit.Deny
		if r.Action == config.ActionAllow {
			action = limit.Allow
		}
		out = append(out, limit.Rule{
			Name: r.Name, Action: action, Reason: r.Reason, Status: r.Status, Shadow: r.Shadow, Breakable: r.Breakable, Until: r.Until,
			Forward: r.Forward, Hubs: r.Hubs, Methods: r.Methods, Hosts: r.Hosts, Paths: r.Paths, Suffixes: r.Suffixes,
			Types: r.Types, Magic: r.Magic, Larger: r.Larger, Younger: r.Younger,
		})
	}
	if cfg.Media != config.ActionAllow {
		out = append(out, limit.DefaultRules()...)
	}
	return out
}

// filterOf is the filter of a configuration: the old one, with what it has counted, when the rules are the same.
func filterOf(cfg config.Config, old *settings) (*limit.Filter, error) {
	if old != nil && cfg.Media == old.cfg.Media && reflect.DeepEqual(cfg.Rules, old.cfg.Rules) {
		return old.filter, nil
	}
	f, err := limit.NewFilter(rulesOfFilter(cfg))
	if err != nil {
		return nil, config.Problems{{Setting: "rule", Reason: err.Error()}}
	}
	return f, nil
}

// openLimits makes what counts requests and connections.
func (in *instance) openLimits(cfg config.Config) {
	lc := limitsOf(cfg)
	lc.Registerer = in.registry
	in.limiter = limit.New(lc)
	in.current.Load().filter.CountIn(&in.filtered)
	in.registry.MustRegister(&in.filtered)
	if in.conns = connsOf(cfg); in.conns != nil {
		countConns(in.registry, in.conns)
	}
}

// restoreLimits takes up what clients had used of their day when the last process ended.
func (in *instance) restoreLimits() {
	if in.root == nil {
		return
	}
	data, err := in.root.ReadFile(limitsFile, maxLimitsFile)
	if err == nil {
		err = in.limiter.Restore(data, time.Now())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		in.log.Warn("what clients have used of their day is forgotten", "file", limitsFile, "error", err.Error())
	}
}

// keepLimits writes what clients have used of their day until ctx ends. What they use while the server drains is for close to write.
func (in *instance) keepLimits(ctx context.Context) {
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			in.saveLimits()
		}
	}
}

func (in *instance) saveLimits() {
	if in.root == nil {
		return
	}
	data, err := in.limiter.Snapshot(time.Now())
	if err == nil {
		err = in.root.WriteFile(limitsFile, data, false)
	}
	if err != nil {
		in.log.Warn("what clients have used of their day is not kept", "file", limitsFile, "error", err.Error())
	}
}

// connsOf bounds the connections of a configuration; nil when it does not. Trusted proxies speak for many clients, and are bound by the number for all
// alone.
func connsOf(cfg config.Config) *conns {
	if cfg.MaxConns == 0 && cfg.MaxConnsPerClient == 0 {
		return nil
	}
	return &conns{
		each: limit.NewConns(cfg.MaxConnsPerClient, 0), all: limit.NewConns(0, cfg.MaxConns),
		many: slices.Concat(cfg.TrustedProxy, cfg.RateExempt),
	}
}

// conns count connections.
type conns struct {
	each, all *limit.Conns
	many      []netip.Prefix // peers that each does not count
}

// state is the ConnState of a server.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	c.all.State(conn, s)
	if !c.speaksForMany(conn.RemoteAddr().String()) {
		c.each.State(conn, s)
	}
}

func (c *conns) speaksForMany(remote string) bool {
	peer, err := netip.ParseAddrPort(remote)
	return err == nil && slices.ContainsFunc(c.many, func(p netip.Prefix) bool { return p.Contains(peer.Addr().Unmap().WithZone("")) })
}

// limitsText says in a few words what somebody may take; empty when it may take anything.
func limitsText(p *config.LimitPolicy) string {
	if p == nil {
		return ""
	}
	var words []string
	add := func(given bool, format string, args ...any) {
		if given {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	add(p.Rate != "", "%s requests", p.Rate)
	add(p.Requests > 0, "%d requests at a time", p.Requests)
	add(p.Bandwidth > 0, "%s/s", humanize.Bytes(uint64(p.Bandwidth)))
	add(p.Daily > 0, "%s a day", humanize.Bytes(uint64(p.Daily)))
	add(p.Misses > 0, "%d misses a minute", p.Misses)
	add(p.Weight > 0, "weight %d", p.Weight)
	return strings.Join(words, ", ")
}
