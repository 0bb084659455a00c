// Package mirror keeps subtrees of hubs current because somebody uses them. A touch of anything in a subtree starts a walk of it when one is due: every
// directory is listed, what may differ from what is held is asked for, what is gone upstream goes to the trash.
//
// A walk asks only what the listings leave open, and trusts no listing further than it is exact. It removes nothing on the word of a listing
// that failed, was cut off or is none. It may be killed at any moment: what a directory's walk found is noted with the directory, and the next walk goes on
// from the notes.
//
// How a Key is fetched, and with which credentials, is the business of the Refresher; who may start a walk by command, that of the caller.
package mirror
