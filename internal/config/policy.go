package config

import (
	"net/url"
	"time"
)

// A Policy is what is in force for one hub, in the words of the config file and without secrets: for people and for JSON.
type Policy struct {
	Name         string   `json:"name"`
	Path         string   `json:"path,omitempty"`
	Hosts        []string `json:"hosts,omitempty"`
	Upstream     []string `json:"upstream"`
	Module       string   `json:"module_key"`
	Rollout      string   `json:"rollout_flag"`
	TTL          string   `json:"ttl,omitempty"`
	NegativeTTL  string   `json:"negative_ttl"`
	HeuristicMax string   `json:"heuristic_max"`
	ListingTTL   string   `json:"listing_ttl"`
	Validation   string   `json:"validation,omitempty"`
	Immutable    []string `json:"immutable,omitempty"`
	Index        []string `json:"index,omitempty"`
	Bypass       []string `json:"bypass,omitempty"`
	Stale        string   `json:"stale,omitempty"`
	Redirects    string   `json:"redirects"`
	OnMiss       string   `json:"on_miss"`
	Active       bool     `json:"active"`
	Verify       string   `json:"verify"`
	Retries      int      `json:"retries"`
	Mirror       []string `json:"mirror,omitempty"`
	Include      []string `json:"mirror_include,omitempty"`
	Exclude      []string `json:"mirror_exclude,omitempty"`
	MaxFile      int64    `json:"mirror_max_file,omitempty"`     // bytes
	MaxRequests  int64    `json:"mirror_max_requests,omitempty"` // of one walk
	Credentials  string   `json:"credentials,omitempty"`         // basic or bearer: which kind, never what
	Realms       []string `json:"realm,omitempty"`
	Proxy        string   `json:"proxy,omitempty"`
	CA           bool     `json:"ca,omitempty"`
	Certificate  bool     `json:"certificate,omitempty"`
	Builtin      bool     `json:"builtin,omitempty"`
}

// Policy tells what is in force for the hub.
func (h *Hub) Policy() Policy {
	p := Policy{
		Name: h.Name, Path: h.Mount, Hosts: h.Hosts, Module: h.Module, Rollout: h.Rollout,
		NegativeTTL: h.NegativeTTL.String(), HeuristicMax: h.HeuristicMax.String(), ListingTTL: h.ListingTTL.String(), Validation: h.Validation,
		Immutable: h.Immutable, Index: h.Index, Bypass: h.Bypass, Redirects: h.Redirects, OnMiss: h.OnMiss, Realms: h.Realms,
		Active: h.Active, Verify: h.Verify, Retries: h.Retries, Proxy: redacted(h.Proxy),
		Mirror: h.Mirror, Include: h.MirrorInclude, Exclude: h.MirrorExclude, MaxFile: h.MirrorMaxFile, MaxRequests: h.MirrorMaxRequests,
		CA: h.RootCAs != nil, Certificate: len(h.Certificates) > 0, Builtin: h.Builtin,
	}
	for _, u := range h.Upstreams {
		p.Upstream = append(p.Upstream, redacted(u))
	}
	if h.TTL != nil {
		p.TTL = time.Duration(*h.TTL).String()
	}
	if h.StaleAlways {
		p.Stale = "always"
	}
	switch {
	case h.Username != "":
		p.Credentials = "basic"
	case h.HasToken():
		p.Credentials = "bearer"
	}
	return p
}

func redacted(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.Redacted()
}
