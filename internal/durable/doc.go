// Package durable keeps files that appear whole or not at all, and lets readers follow one while it is written.
//
// Every name is relative to a Root and is resolved beneath it by the kernel (openat2 with RESOLVE_BENEATH and
// RESOLVE_NO_SYMLINKS): no name leaves the root and no symbolic link is followed, whoever put it there. A Growing is a
// file of which one writer appends and any number of readers take what is there, each at an offset of its own. A Section
// is a stretch of a file that is read, or handed to a socket by sendfile, at explicit offsets, so that many readers may
// share one descriptor.
//
// What the bytes mean, and where they belong, is for the callers to know.
package durable
