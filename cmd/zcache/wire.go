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
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/config"
	"zcache/internal/durable"
	"zcache/internal/fill"
	"zcache/internal/freshness"
	"zcache/internal/listing"
	"zcache/internal/mirror"
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
}

// settings are the parts of an instance that a reload replaces, as one.
type settings struct {
	cfg    config.Config
	hubs   map[string]*config.Hub
	origin *origin.Transport
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
	s, err := in.settings(cfg)
	if err != nil {
		return nil, err
	}
	in.current.Store(s)
	if err := in.openStore(cfg); err != nil {
		s.origin.Close()
		return nil, err
	}
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
		Logger: in.log, Registerer: in.registry,
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
	guard := auth.NewGuard(cfg.TrustedProxy)
	wc := web.Config{
		Filler: in.filler, Guard: guard, KeyOf: in.keyOf,
		Resolve: func(raw, host string) (cache.Key, error) { return in.gateway.Resolve(raw, host) },
		MayAsk:  func(r *http.Request, key cache.Key) error { return in.gateway.MayAsk(r, key) },
		Hubs:    in.hubInfo, Upstreams: func() any { return in.current.Load().origin.Status() }, UpstreamURL: in.upstream,
		Reload: reload, Version: thisBuild(), Mode: cfg.Mode, Offline: cfg.Offline, Gatherer: in.registry, Logger: in.log,
	}
	wc.Public, wc.Forwarding = cfg.PublicURL, in.forwarding
	if in.tree != nil {
		wc.Store, wc.Listing, wc.Mirror, wc.Trash = in.tree, in.listing, in.mirror, in.tree
	}
	in.web = web.NewServer(wc)
	pc := proxy.Config{
		Hubs: gatewayHubs(cfg), Public: cfg.PublicURL, Filler: in.filler, Guard: guard, Operations: in.web, Front: in.web.Front(),
		KeyOf: in.keyOf, ID: in.id, Logger: in.log, Registerer: in.registry, Browse: in.web.Browse, BrowsePolicy: web.BrowsePolicy(),
		Forward: in.forward(cfg), Intercept: in.inside,
	}
	if in.tree != nil {
		pc.Listings, pc.Touch, pc.Subtree, pc.AsOf = in.tree, in.mirror.Touch, in.mirror.Digest, in.mirror.AsOf
	}
	in.gateway = proxy.NewGateway(pc)
}

func (in *instance) openTree(cfg config.Config) (err error) {
	in.tree, err = cache.OpenTree(cache.Config{
		Dir: cfg.Root, NoInit: cfg.NoInit, Full: cfg.Durability == config.DurabilityFull, MaxSize: cfg.CacheMaxSize,
		High: int(cfg.DiskHigh*100 + 0.5), Low: int(cfg.DiskLow*100 + 0.5), TrashTTL: trashTTL(cfg.TrashTTL), Logger: in.log, Registerer: in.registry,
	})
	if err != nil {
		return config.Problems{{Setting: "root", Reason: err.Error()}}
	}
	return nil
}

// run does what has to be done behind until ctx ends.
func (in *instance) run(ctx context.Context) error {
	if in.tree == nil {
		<-ctx.Done()
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
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
		in.root.Close()
		in.tree.Close()
	}
}

func (in *instance) settings(cfg config.Config) (*settings, error) {
	s := &settings{cfg: cfg, hubs: map[string]*config.Hub{}}
	s.hubs[cache.FilesHub] = &s.cfg.FilesHub
	oc := origin.Config{AllowHosts: cfg.ProxyAllowHost, Files: true, Own: in.owns, ID: in.id, Version: thisBuild().Version, Logger: in.log, Registerer: in.registry}
	for i := range cfg.Hubs {
		h := &cfg.Hubs[i]
		s.hubs[h.Name] = h
		oh := origin.Hub{
			Name: h.Name, Upstreams: h.Upstreams, Username: h.Username, Password: string(h.Password),
			Realms: h.Realms, Proxy: h.Proxy, RootCAs: h.RootCAs, Certificates: h.Certificates,
		}
		if h.HasToken() {
			oh.Bearer = h.Token
		}
		oc.Hubs = append(oc.Hubs, oh)
	}
	var err error
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
	s, err := in.settings(cfg)
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
		"log-level": o.LogLevel != cfg.LogLevel, "log-format": o.LogFormat != cfg.LogFormat,
	})
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		if fixed[name] {
			in.log.Warn("this setting takes effect at the next start", "setting", name)
		}
	}
	s.cfg.Offline, s.cfg.Mode = o.Offline, o.Mode
	in.current.Store(s)
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

var validations = map[string]freshness.Validation{
	"": freshness.ValidateBoth, config.ValidationETag: freshness.ValidateETag,
	config.ValidationLastModified: freshness.ValidateLastModified, config.ValidationNever: freshness.ValidateNever,
}

var classes = map[string]freshness.Class{
	config.ClassImmutable: freshness.ClassImmutable, config.ClassIndex: freshness.ClassIndex, config.ClassBypass: freshness.ClassBypass,
}

var verifies = map[string]fill.Verify{config.VerifyBefore: fill.VerifyBefore, config.VerifyAfter: fill.VerifyAfter}

var onMisses = map[string]fill.OnMiss{config.OnMissRedirect: fill.RedirectMiss, config.OnMissWait: fill.WaitMiss}

// firstPause is how long the filler waits before it asks an upstream again that did not answer.
const firstPause = 500 * time.Millisecond

func (in *instance) policy(key cache.Key) fill.Policy {
	s := in.current.Load()
	h := s.hubs[key.Hub()]
	if h == nil { // removed by a reload while a request was under way
		return fill.Policy{Rule: freshness.Rule{Offline: true}}
	}
	p := fill.Policy{
		Rule: freshness.Rule{
			NegativeTTL: h.NegativeTTL, HeuristicMax: h.HeuristicMax, ListingTTL: h.ListingTTL, Validation: validations[h.Validation],
			StaleAlways: h.StaleAlways, Offline: s.cfg.Offline,
		},
		Local: h.Local(), Listings: h.Generic(),
		OnMiss: onMisses[h.OnMiss], Verify: verifies[h.Verify], Follow: h.Redirects == config.RedirectsFollow, Tries: h.Retries, Backoff: firstPause,
	}
	if key.Hub() == cache.FilesHub {
		if p.OnMiss == fill.RedirectMiss {
			p.OnMiss = fill.StreamMiss // nobody has looked where it would send the client
		}
	}
	if h.TTL != nil {
		p.TTL = *h.TTL
		if p.TTL == 0 {
			p.HeuristicMax = 0 // "ttl = 0" is a word of the operator: nothing is fresh unless its origin says so
		}
	}
	if len(h.Immutable)+len(h.Index)+len(h.Bypass) > 0 {
		if path, err := url.PathUnescape(key.Path()); err == nil {
			p.Class = classes[h.Class(path)]
		}
	}
	return p
}

func (in *instance) keyOf(hub string, u *url.URL) (cache.Key, bool) {
	if hub == cache.FilesHub {
		key, err := cache.FilesKeyOf(u)
		return key, err == nil
	}
	path, ok := in.current.Load().origin.UnderHub(hub, u)
	if !ok {
		return cache.Key{}, false
	}
	key, err := cache.ParseKey(hub, path, u.RawQuery, u.ForceQuery || u.RawQuery != "")
	return key, err == nil
}

func (in *instance) upstream(key cache.Key) string {
	to, ok := in.current.Load().origin.Resolve(key.Hub(), key.Path())
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

func (in *instance) hubInfo() []web.HubInfo {
	s := in.current.Load()
	out := make([]web.HubInfo, 0, len(s.cfg.Hubs))
	for i := range s.cfg.Hubs {
		h := &s.cfg.Hubs[i]
		out = append(out, web.HubInfo{Name: h.Name, Path: mount(h.Mount), Hosts: h.Hosts, Module: h.Module, Rollout: h.Rollout, Policy: h.Policy()})
	}
	return out
}

func gatewayHubs(cfg config.Config) []proxy.Hub {
	out := make([]proxy.Hub, 0, len(cfg.Hubs))
	for _, h := range cfg.Hubs {
		mode := "anonymous"
		if h.Policy().Credentials != "" {
			mode = "credentialed"
		}
		out = append(out, proxy.Hub{
			Name: h.Name, Mount: mount(h.Mount), Hosts: h.Hosts, Module: h.Module, Rollout: h.Rollout, Auth: mode, Active: h.Active,
			Listings: h.Generic(), Local: h.Local(),
		})
	}
	return out
}

// mount is a hub's path as the prefix that its URLs have.
func mount(path string) string {
	if path == "" {
		return ""
	}
	return strings.TrimSuffix(path, "/") + "/"
}
