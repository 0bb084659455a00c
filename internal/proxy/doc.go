// Package proxy is the face to clients: it finds the hub and the Key that a request means, asks the guard, has the filler answer,
// and writes the answer to the wire.
//
// A Gateway routes by path and by Host. Paths are taken from the request line as it came and split there; decoding happens in the Key
// alone. Whatever goes wrong becomes a status in one place, fail.
package proxy
