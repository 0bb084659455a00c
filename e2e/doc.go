// Package e2e holds the built binary against its outer contract: what clients, operators and origins see of one zcache process
// on real sockets, with a real nginx or a scripted origin behind it and real files below it. It imports nothing of the product.
//
// The tests need nginx, curl and wget (make deps), and root where they mount file systems of their own. Whatever a test
// starts or mounts, it ends itself; processes also end when the test process dies.
package e2e
