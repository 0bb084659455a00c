// Package cache holds stored responses in a file tree whose paths are the upstream's own: the body of
// https://kernel.example/pub/a.tar.xz, asked for through hub "kernel", lies at kernel/pub/a.tar.xz under the root, byte for
// byte as the origin sent it.
//
// The response's Meta travels with the body, in the extended attribute user.zcache, set on the draft before the one rename
// that publishes both: whoever opens an entry sees an old one or a new one, whole. A body without the attribute is an
// adopted entry, known by its mtime and size alone.
//
// A directory may have a note, which says of all below it what a walk found, and is gone as soon as anything there changes. What is retired rather than
// removed lies in the trash for a while and can be restored.
//
// A local original is what a client put here and no origin has: nothing fetched takes its place, no removal but RetireOriginal reaches it, and it is on the
// disk before it is seen.
//
// This package stores what it is given. How long a response stays fresh is judged by package freshness.
package cache
