// Package fill answers requests from the store, or goes to the origin once for all who ask.
//
// Get is the whole of it: it opens the entry, lets Decide say what the request gets, and on a miss or a stale entry joins the flight of
// the Key or starts one. A flight belongs to no client: it runs on its own context, goes on when they leave, follows redirects that
// the hub follows, resumes what breaks off, and publishes only what came whole. Who joined reads from the growing draft.
//
// Decide and Respond are pure: from (Meta, request fields, now) to what the request gets. A leaner server loop shares them.
//
// Which upstream answers, with what credentials and over what connection, is the round tripper's business; which URL a client meant, and what its
// answer looks like on the wire, is the proxy's.
package fill
