// Package limit keeps one client from taking what is there for all.
//
// A Limiter counts per client and per hub: requests a second, requests at a time, bytes a second, bytes a day and answers that led nowhere. It
// admits a request with a Lease, which paces the body, or refuses it with a Refusal, which knows its status and its header fields. It holds a
// bounded number of clients whatever comes. A client is its token, else its address, of IPv6 the /64, for whoever has one has all of it.
//
// Below the limits of each, Egress shares what the whole instance sends fairly between clients, not connections; a Gate bounds the trips to an
// upstream; Conns bounds open connections; a Filter says what may be fetched at all.
//
// The package counts what it is told of. That a Lease is closed, and asked before bytes leave, is up to package proxy.
package limit
