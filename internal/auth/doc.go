// Package auth says who asks and what they may do.
//
// A Guard identifies the client of a request: the peer of the connection, or, behind proxies that the operator trusts, the address
// that they report. It grants scopes. Operations on the instance are for clients on the machine itself, asked for by a name that only
// they can mean; everybody may read.
package auth
