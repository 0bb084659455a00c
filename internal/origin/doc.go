// Package origin speaks with the upstreams: http, https, ftp and directories of this machine, behind one http.RoundTripper.
//
// A request for hub://<name> whose URL.Opaque is the hub-relative escaped path goes to one of the hub's upstreams, the path byte for
// byte as given; a GET or HEAD that one of them cannot answer goes to the next. A request for an absolute http, https or ftp URL (a
// redirect that leads elsewhere) goes there and nowhere else. Two rules keep the doors shut. A hub's connections reach the hosts and
// ports of its own upstreams only, whatever addresses these have, and only they carry its credentials. All other
// connections are judged by the address that is about to be connected to, after resolution: public ones, and what
// Config.AllowHosts opens.
//
// A file upstream is answered for as a server of that directory would: files with validators and ranges, directories as JSON listings. The
// bodies, LocalFile and LocalDir, let those who know them have the open file and the names themselves. Nothing outside the directory is
// reached, by no path and no link, and nothing but files and directories is opened.
//
// An ftp upstream is answered for as a server of its tree would, too: files with Last-Modified, a weak entity tag and ranges, directories as JSON
// listings. ftps is FTP that changes to TLS before the login. A few logged-in connections are kept for each server and user, and given up after any
// error; data comes from the address of the control connection, whatever the server names.
//
// An upstream that fails again and again is asked last for a while; that is advice about order and never keeps a request from
// being answered, unless the caller says WithSkipOpen. A caller may lean on this too: no redirect is followed, no coding is
// undone, no cookie is kept, userinfo in an absolute URL is dropped, a body that stalls ends with an error, the caller's request
// is not changed, and no error text holds a credential or a query.
//
// Retrying the same upstream, resuming a body and judging what may be stored are for the callers.
package origin
