package main

import (
	"net/url"
	"slices"
	"strings"

	"zcache/internal/cache"
	"zcache/internal/config"
	"zcache/internal/proxy"
	"zcache/internal/web"
)

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
		if h.Policy().Credentials != "" && h.Identity == config.IdentityOwn || len(h.Certificates) > 0 { // a certificate is shown whoever asks
			mode = "credentialed"
		}
		out = append(out, proxy.Hub{
			Name: h.Name, Mount: mount(h.Mount), Hosts: h.Hosts, Module: h.Module, Rollout: h.Rollout, Auth: mode, Active: h.Active,
			Listings: h.Generic(), Local: h.Local(), Identity: h.Identity, Writable: h.Writable, Sites: sites(&h),
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

// withoutUser are upstreams without the credentials in their URLs, for a hub that does not ask in its own name.
func withoutUser(upstreams []*url.URL) []*url.URL {
	out := make([]*url.URL, len(upstreams))
	for i, u := range upstreams {
		bare := *u
		bare.User = nil
		out[i] = &bare
	}
	return out
}

// sites are where the upstreams of a hub are, as the built-in hub's paths begin.
func sites(h *config.Hub) []string {
	var out []string
	for _, u := range h.Upstreams {
		top, err := cache.FilesKeyOf(&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"})
		if err != nil || slices.Contains(out, top.Site()) {
			continue // a scheme of which no client has URLs
		}
		out = append(out, top.Site())
	}
	return out
}
