// Package auth says who asks and what they may do.
//
// A Guard identifies the client of a request: by its credentials if it has some that are meant for this instance, else as the anonymous client at
// the address of its peer, or, behind proxies that the operator trusts, at the address that they report. A Client has scopes, and rules over the
// paths that clients see (a Place). Both come from Rules, which are immutable and are replaced as one while requests are under way: a request keeps
// the rules that it was identified by.
//
// # Which credentials are ours
//
// What is ours is consumed (Client.Consume) and never forwarded; what is not stays the origin's business and is forwarded as it came. Which it is
// depends on the request, the files' settings and the credential's form alone, never on whether a name or an id is known, so that the answer tells
// a guesser nothing:
//
//  1. Without an auth file nothing is ours.
//  2. In proxy form (CONNECT and absolute-form targets) the whole of Proxy-Authorization is ours. Elsewhere the field means nothing.
//  3. Authorization is ours when it carries a token, by its prefix zct_, as Bearer or in Basic as the password or the user name, in every form (in
//     any other scheme, or in none, it is refused); or a JWT as Bearer whose iss and aud, read without verifying them, are those of the file's [jwt]; or any Basic, in gateway and URL form only,
//     when the file names an htpasswd file. All else in Authorization is the origin's.
//  4. What is ours and wrong (unknown, not matching, malformed, expired, revoked, or beside another Authorization line) is refused with
//     ErrUnauthenticated whatever it asks for, what anonymous clients may have included: a client that means to be somebody must not silently be
//     nobody. In proxy form a right Proxy-Authorization decides, but a token of ours in Authorization is consumed nevertheless.
//
// # What rules say
//
// A rule names a path and covers it and all below, by whole segments. Rules may allow or deny. When none applies, all is denied to who has rules
// that allow, and allowed to who has none. Cascade says what happens when several apply: with "leaf" the longest decides, with "deny" any that
// denies does. At equal length deny wins. "/" covers everything, "//host/path" what lies below a host-bound hub.
//
// Paths are compared decoded. One that servers may read in several ways (an escaped slash, a backslash, a semicolon, an empty segment) is allowed only
// if all its readings are; one with a dot segment, a malformed escape or a NUL is denied to everybody who has rules. Rules that allow are met in their own
// case alone, rules that deny in any case: to a server that folds case, /Secret is /secret.
//
// # Who may do what
//
// Operate implies Observe. Operate and Write are for Bearer alone: a browser adds what it knows of Basic to requests that another site's page
// starts. Without an auth file, Observe and Operate are for clients on the machine itself, asked for by a name that only they can mean; with one,
// they are for who was given them. Denials that the holder of good credentials gets do not say which rule decided, for its path may name what must
// not be known; Decision and Denial.Why say so to the operator.
package auth
