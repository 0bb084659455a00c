package config

import (
	"net/url"
	"slices"
	"time"
)

// accessKeys are the keys of a hub that say as whom it asks, and what may be put into it.
var accessKeys = []tableKey[hubBuilder]{
	{name: "identity", set: assignHub(word(IdentityOwn, IdentityPass, IdentityNone), func(h *Hub) *string { return &h.Identity })},
	{name: "writable", set: assignHub(parseBool, func(h *Hub) *bool { return &h.Writable })},
	{name: "upstream-requests", set: assignHub(parseAnyCount, func(h *Hub) *int { return &h.Trips.AtOnce })},
	{name: "upstream-queue", set: func(b *hubBuilder, v value) (err error) {
		b.queue = true
		b.hub.Trips.Queue, err = parseAnyCount(v.text())
		return err
	}},
	{name: "upstream-wait", set: assignHub(parseDuration, func(h *Hub) *time.Duration { return &h.Trips.Wait })},
}

// tripsQueue is how many trips may wait for each that may be under way, where nobody says: enough for a crowd that comes at once, and few enough that who
// waits at the end still has an answer within minutes.
const tripsQueue = 256

// access checks what only several keys together tell.
func (l *loader) access(b *hubBuilder, t *table, label string) {
	if h := &b.hub; h.Writable && slices.ContainsFunc(h.Upstreams, func(u *url.URL) bool { return u.Scheme == "file" }) {
		l.problems.add(label+".writable", t.entries["writable"].place, "its upstream is a directory of this machine; put files there, or name another upstream")
	}
	if trips := &b.hub.Trips; trips.AtOnce > 0 && !b.queue {
		trips.Queue = tripsQueue * trips.AtOnce
	} else if trips.AtOnce == 0 && (b.queue || trips.Wait > 0) {
		l.problems.add(label+".upstream-requests", t.place, "upstream-queue and upstream-wait say who waits for it, and it is missing; write it too")
	}
}
