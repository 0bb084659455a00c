package e2e

// noTLS is the status of a door that leads to a server that does not speak so.
const noTLS = -1

// A door is a request that shows what must not be seen to who may see it.
type door struct {
	line   string
	fields []string
	opens  int // the status for a reader of everything; 0: whatever it is; 400: for all others, too
}

// doors are all the ways in that there are; in them X is the mark. ORIGIN is where the hubs lead, OUT and FTP are nobody's hub, SELF is the zcache.
var doors = []door{
	// A hub by its path, in all that can be said of a file.
	{"GET /a/shut/sX", nil, 200},
	{"HEAD /a/shut/sX", nil, 200},
	{"GET /a/shut/sX", []string{"Range: bytes=0-3"}, 206},
	{"GET /a/shut/sX", []string{"Range: bytes=100000-"}, 416},
	{"GET /a/shut/sX", []string{"If-None-Match: *"}, 304},
	{"GET /a/shut/sX", []string{"If-Modified-Since: Sun, 22 Nov 2037 00:00:00 GMT"}, 304},
	{"GET /a/shut/sX", []string{"If-Match: \"none\""}, 412},
	{"GET /a/shut/sX", []string{"Cache-Control: only-if-cached"}, 200},
	{"GET /a/shut/sX", []string{"Cache-Control: no-cache"}, 200},
	{"GET /a/shut/sX", []string{"Repr-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"}, 0},
	{"GET /a/shut/sX", []string{"Want-Repr-Digest: sha-256=1"}, 200},
	{"GET /a/shut/sX", []string{"Accept: text/html"}, 200},
	{"GET /a/shut/sX", []string{"X-Zcache-Override: hurry"}, 200},
	{"GET /a/shut/sX?v=1", nil, 200},
	{"GET /a/shut/movedX", nil, 302},
	{"GET /a/shut/goneX", nil, 404},
	{"GET /a/shut/deepX/dX", nil, 200},
	{"GET /a/shut/deepX", nil, 0},
	{"GET /a/tX", nil, 200},
	{"GET /a/%73hut/sX", nil, 200},
	{"GET /a/shut%2FsX", nil, 0},
	{"GET /a/open%2F..%2Fshut/sX", nil, 400},
	{"GET /a//shut/sX", nil, 0},
	{"GET /a/open/../shut/sX", nil, 400},
	{"GET /a/open//../../shut/sX", nil, 400},
	{"GET /a/open/%2e%2E/shut/sX", nil, 400},
	{"GET /a/open\\..\\shut\\sX", nil, 400},
	{"GET /a\\shut\\sX", nil, 0},
	{"GET /a/shut%5CsX", nil, 0},
	{"GET /a/./shut/sX", nil, 400},
	{"GET /a/Shut/sX", nil, 404},
	{"GET http://SELF/a/shut/sX", nil, 200},
	{"GET /nohub/sX", nil, 404},
	{"GET /m/shut/sX", nil, 200},
	{"GET /m/shut/sX", []string{"Range: bytes=0-3"}, 206},
	{"GET /lab/shut/sX", nil, 200},
	{"OPTIONS /a/shut/sX", nil, 0},
	{"POST /a/shut/sX", nil, 403},
	{"PUT /lab/shut/sX", nil, 403},
	{"DELETE /lab/shut/sX", nil, 403},
	{"DELETE /a/shut/sX", nil, 403},

	// A hub by its host.
	{"GET /shut/sX", []string{"Host: deb.lab"}, 200},
	{"HEAD /shut/sX", []string{"Host: DEB.lab:80"}, 200},
	{"GET http://deb.lab/shut/sX", nil, 200},
	{"GET /shut/", []string{"Host: deb.lab"}, 200},
	{"GET /?raw=1", []string{"Host: deb.lab"}, 200},

	// Directories.
	{"GET /a/shut/", nil, 200},
	{"HEAD /a/shut/", nil, 200},
	{"GET /a/shut/", []string{"Accept: application/json"}, 200},
	{"GET /a/shut/", []string{"Accept: text/plain"}, 200},
	{"GET /a/shut/", []string{"Accept: application/vnd.zcache.listing+json", "Zcache-If-Subtree: \"0\""}, 200},
	{"GET /a/shut/", []string{"If-None-Match: *"}, 304},
	{"GET /a/shut/", []string{"Accept-Encoding: gzip"}, 200},
	{"GET /a/shut/?format=json", nil, 200},
	{"GET /a/shut/?format=nginx&sort=time&order=desc", nil, 200},
	{"GET /a/shut/?format=text&limit=9&offset=0", nil, 200},
	{"GET /a/shut/?raw=1", nil, 200},
	{"GET /a/?raw=1", nil, 200},
	{"GET /a/shut/?C=M;O=D", nil, 200},
	{"GET /a/?C=M;O=D", nil, 200},
	{"GET /a/shut/deepX/", nil, 200},
	{"GET /a/shut/noneX/", nil, 404},
	{"GET /m/shut/?format=json", nil, 200},

	// Whole URLs.
	{"GET /files/http/OUT/shut/sX", nil, 200},
	{"GET /download/http://OUT/shut/sX", nil, 200},
	{"HEAD /download/http:/OUT/shut/sX", nil, 200},
	{"GET /files/http/OUT/shut/", nil, 200},
	{"GET /files/http/OUT/shut/movedX", nil, 302},
	{"GET /files/http/ORIGIN/a/shut/sX", nil, 200},
	{"GET /files/http/ORIGIN/deb/shut/sX", nil, 200},
	{"GET /download/http://ORIGIN/a/shut/", nil, 200},
	{"GET /files/ftp/FTP/shut/sX", nil, 200},
	{"GET /files/ftp/FTP/shut/", nil, 200},
	{"GET /files/https/OUT/shut/sX", nil, noTLS},
	{"POST /files/http/OUT/shut/sX", nil, 403},

	// The forward proxy.
	{"GET http://OUT/shut/sX", nil, 200},
	{"HEAD http://OUT/shut/sX", nil, 200},
	{"GET http://OUT/shut/sX", []string{"Range: bytes=0-3"}, 206},
	{"GET http://OUT/shut/sX", []string{"If-None-Match: *"}, 304},
	{"GET http://user:word@OUT/shut/sX", nil, 200},
	{"GET http://OUT/shut/movedX", nil, 302},
	{"GET http://OUT/shut/goneX", nil, 404},
	{"GET http://OUT/shut/", nil, 200},
	{"GET http://OUT/", nil, 200},
	{"GET http://OUT/?C=M", nil, 200},
	{"GET http://ORIGIN/a/shut/sX", nil, 200},
	{"GET http://ORIGIN/deb/shut/sX", nil, 200},
	{"GET http://ORIGIN/a/", nil, 200},
	{"GET http://HTTPS///OUT/shut/sX", nil, noTLS},
	{"POST http://OUT/shut/sX", nil, 403},
	{"GET ftp://FTP/shut/sX", nil, 200},
	{"GET ftp://FTP/shut/sX;type=i", nil, 0},
	{"GET ftp://FTP/%2Fshut/sX", nil, 0},
	{"GET ftp://FTP//shut/sX", nil, 0},
	{"GET /files/ftp/FTP/%2Fshut/sX", nil, 0},
	{"GET ftp://FTP/shut/", nil, 200},
	{"CONNECT OUT", nil, 200},
	{"CONNECT ORIGIN", nil, 200},

	// What tells of one entry.
	{"GET /-/explain?url=/a/shut/sX", nil, 200},
	{"GET /-/explain?url=http://ORIGIN/a/shut/sX", nil, 200},
	{"GET /-/explain?url=http://OUT/shut/sX", nil, 200},
	{"GET /-/entry?url=/a/shut/sX", nil, 0},
	{"GET /-/entry?url=//deb.lab/shut/sX", nil, 0},
	{"GET /-/entry?url=/a/shut/", nil, 0},
}

// An asker is somebody to whom doors are closed. It is known by the fields, of which those of a proxy's clients are others.
type asker struct {
	name   string
	known  bool // then it is refused with 403, not asked who it is
	fields func(g *guarded, proxy bool) []string
}

var crawlers = []asker{
	{"nobody", false, func(*guarded, bool) []string { return nil }},
	{"a wrong token", false, bearer(func(g *guarded) string { return g.tokens["all"][:20] + "x" + g.tokens["all"][21:] })},
	{"half a token", false, bearer(func(g *guarded) string { return g.tokens["all"][:30] })},
	{"no more than the prefix", false, bearer(func(*guarded) string { return "zct_" })},
	{"an expired one", false, bearer(func(g *guarded) string { return g.tokens["expired"] })},
	{"a revoked one", false, bearer(func(g *guarded) string { return g.tokens["revoked"] })},
	{"a good one in another scheme", false, func(g *guarded, proxy bool) []string {
		return []string{credentials(proxy) + "Token " + g.tokens["all"]}
	}},
	{"a good one beside another", false, func(g *guarded, proxy bool) []string {
		return []string{credentials(proxy) + "Bearer " + g.tokens["reader"], credentials(proxy) + "Bearer " + g.tokens["all"]}
	}},
	{"a good one where it means nothing", false, func(g *guarded, proxy bool) []string {
		out := []string{"Cookie: token=" + g.tokens["all"], "X-Api-Key: " + g.tokens["all"], "X-Auth-Token: " + g.tokens["all"]}
		if !proxy {
			out = append(out, "Proxy-Authorization: Bearer "+g.tokens["all"])
		}
		return out
	}},
	{"a password of nobody's", false, func(_ *guarded, proxy bool) []string { return []string{credentials(proxy) + "Basic YWRtaW46YWRtaW4="} }},
	{"a reader", true, bearer(func(g *guarded) string { return g.tokens["reader"] })},
	{"a reader by Basic", true, func(g *guarded, proxy bool) []string {
		return []string{credentials(proxy) + "Basic " + g.basic("reader")}
	}},
	{"another hub's reader", true, bearer(func(g *guarded) string { return g.tokens["other"] })},
	{partReader, true, bearer(func(g *guarded) string { return g.tokens["part"] })},
	{"an observer", true, bearer(func(g *guarded) string { return g.tokens["observer"] })},
	{"an operator", true, bearer(func(g *guarded) string { return g.tokens["operator"] })},
	{"a writer", true, bearer(func(g *guarded) string { return g.tokens["writer"] })},
}

// partReader may read what lies beside.
const partReader = "a reader of all but that"

var everyone = asker{"a reader of everything", true, bearer(func(g *guarded) string { return g.tokens["all"] })}

func bearer(token func(*guarded) string) func(*guarded, bool) []string {
	return func(g *guarded, proxy bool) []string { return []string{credentials(proxy) + "Bearer " + token(g)} }
}

func credentials(proxy bool) string {
	if proxy {
		return "Proxy-Authorization: "
	}
	return "Authorization: "
}
