// Package notify tells people what needs a person.
//
// Whoever finds such a thing calls Tell and goes on: a Notifier never blocks its callers, tells the same thing once in a while with the number of
// times it has happened, and bounds what it tells in an hour, for a mailbox that is full of notices is read by nobody. Sinks bring a notice to
// people: a signed webhook, mail, a command. Each has its own queue and tries again, so that none waits for another.
//
// Readiness is for machines: it tells hooks when the instance must leave the rotation and when it may come back, every change and nothing twice.
//
// The package takes the credentials out of the URLs that it is given, and shows its own to nobody.
package notify
