package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/config"
	"zcache/internal/durable"
	"zcache/internal/fill"
	"zcache/internal/limit"
	"zcache/internal/listing"
	"zcache/internal/mirror"
	"zcache/internal/notify"
	"zcache/internal/origin"
	"zcache/internal/proxy"
	"zcache/internal/web"
)

// An instance is everything behind the listeners, wired together.
type instance struct {
	id       string
	log      *slog.Logger
	registry *registry
	current  atomic.Pointer[settings]
	tree     *cache.Tree       // nil when nothing is stored
	root     *durable.Root     // of the tree, for the mirror's own files
	mirror   *mirror.Scheduler // nil when nothing is stored
	filler   *fill.Filler
	gateway  *proxy.Gateway
	inside   *proxy.Interceptor // of tunnels
	web      *web.Server
	own      []netip.AddrPort // what this process listens on

	access    *access
	audit     *auth.Audit
	limiter   *limit.Limiter
	filtered  place  // for the counts of the filter in force
	conns     *conns // nil when connections are not bounded
	notifier  *notify.Notifier
	readiness *notify.Readiness
}

// settings are the parts of an instance that a reload replaces, as one.
type settings struct {
	cfg    config.Config
	hubs   map[string]*config.Hub
	origin *origin.Transport
	filter *limit.Filter
}

// gcPercent trades memory for time: with a live heap of a few MiB, collecting at four times that costs little memory and saves a
// tenth of the time of small hits.
const gcPercent = 300

// newInstance opens the root and wires the parts, for a process that listens on these addresses. Nothing runs yet.
func newInstance(cfg config.Config, log *slog.Logger, listening []net.Addr, reload func() error) (*instance, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	in := &instance{id: durable.Random(), log: log, registry: newRegistry(), own: addrPorts(listening)}
	ca, err := authorityOf(cfg.InterceptCA)
	if err != nil {
		return nil, err
	}
	in.inside = proxy.NewInterceptor(ca, func(host, port string) bool { return in.current.Load().origin.Tunnels(host, port) })
	rules, err := rulesOf(cfg)
	if err != nil {
		return nil, err
	}
	if err := in.openNotices(cfg); err != nil {
		return nil, err
	}
	s, err := in.settings(cfg, nil)
	if err != nil {
		return nil, err
	}
	in.current.Store(s)
	in.openLimits(cfg)
	if err := in.openStore(cfg); err != nil {
		s.origin.Close()
		return nil, err
	}
	in.restoreLimits()
	in.access = &access{guard: auth.NewGuard(cfg.TrustedProxy), log: log, count: newAccessCount(in.registry), moved: make(chan struct{}, 1)}
	in.access.use(cfg, rules)
	in.audit = newAudit(log)
	in.openFaces(cfg, reload)
	in.noteMirror(cfg)
	return in, nil
}

// openStore opens what is kept, and what fills it and keeps it current.
func (in *instance) openStore(cfg config.Config) error {
	var store cache.Store
	if cfg.Mode != config.ModeProxy {
		if err := in.openTree(cfg); err != nil {
			return err
		}
		store = in.tree
	}
	in.noteUpstreams(in.current.Load())
	in.filler = fill.New(fill.Config{
		Store: store, Origin: roundTripper(func() http.RoundTripper { return in.current.Load().origin }),
		Policy: in.policy, KeyOf: in.keyOf, Upstream: in.upstream, Skip: origin.WithSkipOpen, Avoid: origin.WithAvoid, Background: origin.WithBackground,
		Tell: in.tellOfEntry, Logger: in.log, Registerer: in.registry,
	})
	if in.tree == nil {
		return nil
	}
	err := in.openMirror(cfg)
	if err != nil {
		in.filler.Close()
		in.tree.Close()
	}
	return err
}

// openFaces wires what answers clients and operators.
func (in *instance) openFaces(cfg config.Config, reload func() error) {
	guard := in.access.guard
	wc := web.Config{
		Filler: in.filler, Guard: guard, KeyOf: in.keyOf,
		Resolve: func(raw, host string) (cache.Key, error) { return in.gateway.Resolve(raw, host) },
		MayAsk:  func(r *http.Request, key cache.Key) error { return in.gateway.MayAsk(r, key) },
		Hubs:    in.hubInfo, Upstreams: func() any { return in.current.Load().origin.Status() }, UpstreamURL: in.upstream,
		KeyFor: func(c auth.Client, key cache.Key) cache.Key { return in.gateway.KeyFor(c, key) }, Audit: in.audit,
		Reload: reload, Version: thisBuild(), Mode: cfg.Mode, Offline: cfg.Offline, Gatherer: in.registry, Logger: in.log,
	}
	wc.Public, wc.Forwarding = cfg.PublicURL, in.forwarding
	if in.tree != nil {
		wc.Store, wc.Listing, wc.Mirror, wc.Trash, wc.Partitions = in.tree, in.listing, in.mirror, in.tree, in.tree.Partitions
	}
	in.web = web.NewServer(wc)
	pc := proxy.Config{
		Hubs: gatewayHubs(cfg), Public: cfg.PublicURL, Filler: in.filler, Guard: guard, Operations: in.web, Front: in.web.Front(),
		KeyOf: in.keyOf, ID: in.id, Logger: in.log, Registerer: in.registry, Browse: in.web.Browse, BrowsePolicy: web.BrowsePolicy(),
		Forward: in.forward(cfg), Intercept: in.inside, Audit: in.audit, Limiter: in.limiter, Filter: in.current.Load().filter,
	}
	if in.tree != nil {
		pc.Listings, pc.Touch, pc.Subtree, pc.AsOf = in.tree, in.mirror.Touch, in.mirror.Digest, in.mirror.AsOf
	}
	in.gateway = proxy.NewGateway(pc)
}

func (in *instance) openTree(cfg config.Config) (err error) {
	in.tree, err = cache.OpenTree(cache.Config{
		Dir: cfg.Root, NoInit: cfg.NoInit, Full: cfg.Durability == config.DurabilityFull, MaxSize: cfg.CacheMaxSize,
		High: int(cfg.DiskHigh*100 + 0.5), Low: int(cfg.DiskLow*100 + 0.5), TrashTTL: trashTTL(cfg.TrashTTL), Torn: in.tellOfTorn, Logger: in.log, Registerer: in.registry,
	})
	if err != nil {
		return config.Problems{{Setting: "root", Reason: err.Error()}}
	}
	return nil
}

// run does what has to be done behind until ctx ends.
func (in *instance) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, follow := range []func(context.Context){in.access.run, in.watchCertificates, in.tellPeople, in.tellHooks} {
		g.Go(func() error { follow(ctx); return nil })
	}
	if in.tree == nil {
		return g.Wait()
	}
	for _, follow := range []func(context.Context){in.keepLimits, in.watchReadiness, in.tellOfWalks} {
		g.Go(func() error { follow(ctx); return nil })
	}
	g.Go(func() error {
		if err := in.tree.Run(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("keep the root: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		if err := in.mirror.Run(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("walk: %w", err)
		}
		return nil
	})
	return g.Wait()
}

// close ends what an instance has under way: fills are suspended, to be taken up at the next start.
func (in *instance) close() {
	in.gateway.Close()
	in.web.Close()
	in.filler.Close()
	in.current.Load().origin.Close()
	if in.tree != nil {
		in.saveLimits()
		in.root.Close()
		in.tree.Close()
	}
}

// settings makes the parts that a reload replaces; old are those in force, nil at the start.
func (in *instance) settings(cfg config.Config, old *settings) (*settings, error) {
	s := &settings{cfg: cfg, hubs: map[string]*config.Hub{}}
	s.hubs[cache.FilesHub] = &s.cfg.FilesHub
	oc := origin.Config{AllowHosts: cfg.ProxyAllowHost, Files: true, Own: in.owns, ID: in.id, Version: thisBuild().Version, Logger: in.log, Registerer: in.registry,
		Limits: func(hub string) *limit.Gate { return in.limiter.Gate(hub) }}
	for i := range cfg.Hubs {
		h := &cfg.Hubs[i]
		s.hubs[h.Name] = h
		oh := origin.Hub{
			Name: h.Name, Upstreams: h.Upstreams, Proxy: h.Proxy, RootCAs: h.RootCAs, Certificates: h.Certificates,
		}
		if h.Identity != config.IdentityOwn {
			oh.Upstreams = withoutUser(h.Upstreams)
		} else {
			oh.Username, oh.Password, oh.Realms = h.Username, string(h.Password), h.Realms
			if h.HasToken() {
				oh.Bearer = h.Token
			}
		}
		oc.Hubs = append(oc.Hubs, oh)
	}
	var err error
	if s.filter, err = filterOf(cfg, old); err != nil {
		return nil, err
	}
	s.origin, err = origin.New(oc)
	return s, err
}

// apply puts a new configuration in force. Requests under way end with the old one. What only a start can change is told.
func (in *instance) apply(cfg config.Config) error {
	old := in.current.Load()
	ca, err := authorityOf(cfg.InterceptCA)
	if err != nil {
		return err
	}
	rules, err := rulesOf(cfg)
	if err != nil {
		return err
	}
	s, err := in.settings(cfg, old)
	if err != nil {
		return err
	}
	o := old.cfg
	fixed := mirrorChanged(o, cfg)
	maps.Copy(fixed, map[string]bool{
		"listen": fmt.Sprint(o.Listen) != fmt.Sprint(cfg.Listen), "admin-listen": o.AdminListen != cfg.AdminListen, "root": o.Root != cfg.Root,
		"mode": o.Mode != cfg.Mode, "durability": o.Durability != cfg.Durability, "cache-max-size": o.CacheMaxSize != cfg.CacheMaxSize,
		"disk-high": o.DiskHigh != cfg.DiskHigh, "disk-low": o.DiskLow != cfg.DiskLow, "offline": o.Offline != cfg.Offline,
		"trusted-proxy": fmt.Sprint(o.TrustedProxy) != fmt.Sprint(cfg.TrustedProxy), "public-url": fmt.Sprint(o.PublicURL) != fmt.Sprint(cfg.PublicURL),
		"max-conns": o.MaxConns != cfg.MaxConns, "max-conns-per-client": o.MaxConnsPerClient != cfg.MaxConnsPerClient,
		"notify": !slices.Equal(o.Notify, cfg.Notify), "ready-hook": !slices.Equal(o.ReadyHooks, cfg.ReadyHooks),
		"log-level": o.LogLevel != cfg.LogLevel, "log-format": o.LogFormat != cfg.LogFormat,
	})
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		if fixed[name] {
			in.log.Warn("this setting takes effect at the next start", "setting", name)
		}
	}
	s.cfg.Offline, s.cfg.Mode = o.Offline, o.Mode
	in.current.Store(s)
	in.access.use(cfg, rules)
	in.limiter.Apply(limitsOf(cfg))
	s.filter.CountIn(&in.filtered)
	in.gateway.SetFilter(s.filter)
	in.gateway.SetHubs(gatewayHubs(cfg))
	in.applyMirror(o.Mode, cfg)
	in.gateway.SetForward(in.forward(cfg))
	in.inside.SetAuthority(ca)
	in.noteUpstreams(s)
	old.origin.Close()
	return nil
}

// noteUpstreams leaves word in the tree of where it comes from.
func (in *instance) noteUpstreams(s *settings) {
	if in.tree == nil {
		return
	}
	for name, h := range s.hubs {
		if len(h.Upstreams) == 0 {
			continue // the built-in hub's paths tell themselves
		}
		if err := in.tree.NoteUpstreams(name, h.Policy().Upstream); err != nil {
			in.log.Warn("keep the root", "error", err)
		}
	}
}

// roundTripper asks for the round tripper in force at each request.
type roundTripper func() http.RoundTripper

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f().RoundTrip(r) }

func (in *instance) keyOf(hub string, u *url.URL) (cache.Key, bool) {
	if hub == cache.FilesHub {
		key, err := cache.FilesKeyOf(u)
		return key, err == nil
	}
	path, ok := in.current.Load().origin.UnderHub(cache.BaseHub(hub), u)
	if !ok {
		return cache.Key{}, false
	}
	key, err := cache.ParseKey(hub, path, u.RawQuery, u.ForceQuery || u.RawQuery != "")
	return key, err == nil
}

func (in *instance) upstream(key cache.Key) string {
	to, ok := in.current.Load().origin.Resolve(cache.BaseHub(key.Hub()), key.Path())
	if q, has := key.Query(); ok && has {
		to += "?" + q
	}
	return to
}

// listing is what is kept of a directory, and as of when.
func (in *instance) listing(dir cache.Key) (l *listing.Listing, asOf time.Time, ok bool) {
	e, err := in.tree.Open(dir, fill.ForListing(nil))
	if err != nil {
		return nil, asOf, false
	}
	defer e.Close()
	if !e.Meta.Listing {
		return nil, asOf, false
	}
	l, err = in.tree.Listing(e)
	return l, e.Meta.Received, err == nil
}
