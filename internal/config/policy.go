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
	Identity     string   `json:"identity"`
	Writable     bool     `json:"writable,omitempty"`
	// Limits are those of all clients together, Each those of each of them.
	Limits *LimitPolicy `json:"limits,omitempty"`
	Each   *LimitPolicy `json:"client_limits,omitempty"`
	Trips  *TripPolicy  `json:"upstream_requests,omitempty"`
}

// A LimitPolicy is Limits for people and JSON; what is not there has no limit.
type LimitPolicy struct {
	Rate      string `json:"rate,omitempty"`
	Requests  int    `json:"max_requests,omitempty"`
	Bandwidth int64  `json:"bandwidth,omitempty"` // bytes a second
	Daily     int64  `json:"daily,omitempty"`     // bytes
	Misses    int    `json:"max_misses,omitempty"`
	Weight    int    `json:"weight,omitempty"`
}

// Policy is l for people; nil when there is no limit.
func (l Limits) Policy() *LimitPolicy {
	p := LimitPolicy{Rate: l.Rate.String(), Requests: l.Requests, Bandwidth: l.Bandwidth, Daily: l.Daily, Misses: l.Misses, Weight: l.Weight}
	if p == (LimitPolicy{}) {
		return nil
	}
	return &p
}

// A TripPolicy is Trips in JSON.
type TripPolicy struct {
	AtOnce int    `json:"at_once"`
	Queue  int    `json:"queue"`
	Wait   string `json:"wait,omitempty"`
}

func (t Trips) policy() *TripPolicy {
	if t.AtOnce == 0 {
		return nil
	}
	p := &TripPolicy{AtOnce: t.AtOnce, Queue: t.Queue}
	if t.Wait > 0 {
		p.Wait = t.Wait.String()
	}
	return p
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
		Identity: h.Identity, Writable: h.Writable, Limits: h.Limits.Policy(), Each: h.Each.Policy(), Trips: h.Trips.policy(),
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
