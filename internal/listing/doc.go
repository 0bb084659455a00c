// Package listing knows what a directory holds: it reads the index pages and lists that servers give of their directories, puts
// them into one form, compares them, and writes that form out again. It does no I/O of its own.
//
// Parse takes a body by the shape it has, never by the name of the server that made it: hrefs that lead to children of the page's own
// URL, rows of size and time beside them, a JSON array, a multistatus, a bucket's XML, the lines of ls. A name is what a browser or
// an FTP client would ask for, kept as bytes; what is shown as text is never taken for one.
//
// What a server shows is often less than what is true. Every Entry says how exact its size and time are, so that nobody compares a
// rounded figure with an exact one. A page that is no listing, one that was cut off and one that says it may not be read are errors,
// and never an empty directory: whoever takes a missing name for a removed file deletes on the word of a broken line.
package listing
