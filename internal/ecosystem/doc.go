// Package ecosystem knows the habits of package registries: what their pages look like, and which of their links lead to files.
//
// It judges and rewrites what it is given and asks nobody: where a link leads in the client's URL space is said by whoever calls.
package ecosystem
