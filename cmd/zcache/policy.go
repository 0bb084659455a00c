package main

import (
	"net/url"
	"time"

	"zcache/internal/cache"
	"zcache/internal/config"
	"zcache/internal/fill"
	"zcache/internal/freshness"
)

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
	h := s.hubs[cache.BaseHub(key.Hub())]
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
