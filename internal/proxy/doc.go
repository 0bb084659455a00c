// Package proxy is the face to clients: it finds the hub and the Key that a request means, asks the guard, has the filler answer,
// and writes the answer to the wire.
//
// A Gateway routes by path and by Host. Paths are taken from the request line as it came and split there; decoding happens in the Key
// alone. A whole URL, in a path (URL form) or as the target (proxy form), is the entry of the hub that has it under its upstream, else one of the
// built-in hub "files"; a proxy's client sees the origin's answer as it is. CONNECT is a tunnel, which ends with Close. Which places may be reached is
// not judged here but where they are dialled. Whatever goes wrong becomes a status in one place, fail.
package proxy
