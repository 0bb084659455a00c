// Package freshness judges stored responses as a shared cache must: RFC 9111, with RFC 5861 (stale-while-revalidate,
// stale-if-error), RFC 8246 (immutable) and RFC 9213 (CDN-Cache-Control). Its functions are pure: they take what is known and the
// time, and do no I/O.
//
// A Rule is what a hub's configuration adds for one URL. Where the two speak of the same thing the origin wins, but for
// the path classes that an operator sets on purpose (immutable, index, bypass).
package freshness
