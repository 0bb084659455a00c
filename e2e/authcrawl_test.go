package e2e

import (
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What must not be seen has this mark in its name and in its bytes, and its absent twin the other one in its name.
const (
	mark = "embargo"
	twin = "nothing"
)

// A guarded is a zcache whose rules close the directory shut of each of its sources, and what those are.
type guarded struct {
	*keyring
	z      *zcache
	o, out *origin // of the hubs, and of what is no hub's
	ftp    *ftpd
	admin  string // address
	words  *strings.Replacer
}

// autoindex is a page of nginx that lists names.
func autoindex(names ...string) string {
	page := "<html>\n<head><title>Index of /</title></head>\n<body>\n<h1>Index of /</h1><hr><pre><a href=\"../\">../</a>\n"
	for _, n := range names {
		size := "23"
		if strings.HasSuffix(n, "/") {
			size = "-"
		}
		page += fmt.Sprintf("<a href=%q>%s</a>%s05-Apr-2023 06:07 %20s\n", n, n, strings.Repeat(" ", 60-len(n)), size)
	}
	return page + "</pre><hr></body>\n</html>\n"
}

// source serves a tree of which nobody but a reader of everything is to see shut.
func source(t *testing.T, mounts ...string) *origin {
	pages, moved := map[string]string{}, map[string]string{}
	for _, m := range mounts {
		pages[m+"/"] = autoindex("open/", "shut/", "t"+mark, "up")
		pages[m+"/open/"] = autoindex("f", "g")
		pages[m+"/shut/"] = autoindex("deep"+mark+"/", "gone"+mark, "moved"+mark, "s"+mark)
		pages[m+"/shut/deep"+mark+"/"] = autoindex("d" + mark)
		for _, f := range []string{"/open/f", "/open/g", "/up", "/t" + mark, "/shut/s" + mark, "/shut/deep" + mark + "/d" + mark} {
			pages[m+f] = "the body of " + f + "\n"
		}
		moved[m+"/shut/moved"+mark] = m + "/shut/s" + mark
	}
	return startOrigin(t, func(w *wire, r *request) {
		path, _, _ := strings.Cut(r.Target, "?")
		path = strings.ReplaceAll(path, "%73", "s")
		body, ok := pages[path]
		switch {
		case moved[path] != "":
			w.reply(r, http.StatusFound, mark, "Location: "+moved[path])
		case !ok:
			w.reply(r, http.StatusNotFound, "no "+path)
		case strings.HasSuffix(path, "/"):
			w.reply(r, http.StatusOK, body, "Content-Type: text/html", "Last-Modified: "+modified.Format(http.TimeFormat))
		default:
			w.file(r, []byte(body), modified, "Cache-Control: max-age=600", `ETag: "`+fmt.Sprint(len(body))+mark+`"`)
		}
	})
}

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{o: source(t, "/a", "/deb", "/lab"), out: source(t, ""), ftp: startFTP(t, "vsftpd", 0), admin: freeAddr(t)}
	for _, name := range []string{"open/f", "shut/s" + mark} {
		g.ftp.put(name, []byte("the body of "+name+"\n"))
	}
	tree := grow(t, map[string]string{"open/f": "f", "shut/s" + mark: mark, "t" + mark: mark})
	g.keyring = newKeyring(t, fmt.Sprintf("[anonymous]\nread = [\"/a/open\", \"/files/http/%s/open\"]\n", g.out.addr))
	g.give("all").give("reader", "--read", "/a/open").give("other", "--read", "//deb.lab/open,/files/ftp/"+g.ftp.addr+"/open")
	g.give("part", "--read", "/a,/m,/files/ftp/"+g.ftp.addr, "--deny", "/a/shut,/a/t"+mark+",/m/shut,/m/t"+mark+",/files/ftp/"+g.ftp.addr+"/shut")
	g.give("observer", "--read", "/a/open", "--scope", "observe").give("operator", "--read", "/a/open", "--scope", "operate")
	g.give("writer", "--read", "/a/open", "--write", "/a/open,/lab/open").give("expired", "--expires", "1s").give("revoked", "--scope", "operate")
	g.revoke("revoked")
	g.z = start(t, settings(t, fmt.Sprintf(`auth-file = %q
admin-listen = %q
proxy-allow-host = [%q, %q, %q]
[[hub]]
name = "a"
upstream = "%[6]s/a"
[[hub]]
name = "lab"
upstream = "%[6]s/lab"
writable = true
[[hub]]
name = "deb"
hosts = ["deb.lab"]
upstream = "%[6]s/deb"
[[hub]]
name = "m"
upstream = "file://%[7]s"
`, g.file, g.admin, g.out.addr, g.o.addr, g.ftp.addr, g.o.url, tree)))
	g.words = strings.NewReplacer("ORIGIN", g.o.addr, "OUT", g.out.addr, "FTP", g.ftp.addr, "SELF", g.z.addr, "X", mark)
	eventually(t, waitShort, "the token of a second has expired", func() (bool, string) {
		a := get(t, g.z.url+"/a/open/f", g.as("expired"))
		return a.Status == http.StatusUnauthorized, fmt.Sprint(a.Status)
	})
	return g
}

// byProxy says that a door is the forward proxy's.
func (d *door) byProxy() bool {
	_, target, _ := strings.Cut(d.line, " ")
	return !strings.HasPrefix(target, "/") && !strings.Contains(target, "//SELF") && !strings.Contains(target, "//deb.lab")
}

// knock tries a door, for the one with the mark or for its twin.
func (g *guarded) knock(d *door, who asker, absent bool) answer {
	g.t.Helper()
	head := d.line + " HTTP/1.1\r\n"
	if !slices.ContainsFunc(d.fields, func(f string) bool { return strings.HasPrefix(f, "Host:") }) {
		head += "Host: SELF\r\n"
	}
	for _, f := range d.fields {
		head += f + "\r\n"
	}
	head = g.words.Replace(head)
	if absent {
		head = strings.ReplaceAll(head, mark, twin)
	}
	for _, f := range who.fields(g, d.byProxy()) {
		head += f + "\r\n"
	}
	head += "Connection: close\r\n\r\n"
	if strings.HasPrefix(d.line, "CONNECT") && who.name == everyone.name {
		head += "GET /shut/s" + mark + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	}
	return raw(g.t, g.z.addr, head)
}

// own are the fields of an answer that are of this one alone.
var own = regexp.MustCompile(`(?m)^(Date|X-Request-Id): .*\r\n`)

// closed tries all doors for all who are to find them closed.
func (g *guarded) closed(state string) {
	t := g.t
	t.Helper()
	for i := range doors {
		d := &doors[i]
		for _, who := range crawlers {
			what := fmt.Sprintf("%s: %s %q by %s", state, d.line, d.fields, who.name)
			want := map[bool]int{true: http.StatusForbidden, false: http.StatusUnauthorized}[who.known]
			switch {
			case d.opens == http.StatusBadRequest:
				want = d.opens
			case d.byProxy() && !who.known:
				want = http.StatusProxyAuthRequired
			}
			got := g.knock(d, who, false)
			if got.Status != want {
				t.Errorf("%s = %d, want %d: %.300q", what, got.Status, want, got.Raw)
				continue
			}
			if strings.Contains(own.ReplaceAllString(got.Raw, ""), mark) || strings.Contains(got.Raw, "zct_") {
				t.Errorf("%s tells of it: %.600q", what, got.Raw)
			}
			if asks := got.Header.Get("Www-Authenticate") + got.Header.Get("Proxy-Authenticate"); asks == "" != (who.known || want == d.opens) {
				t.Errorf("%s: the challenge is %q", what, asks)
			}
			for _, name := range []string{"Etag", "Last-Modified", "Age", "Location", "Content-Range", "Zcache-Subtree", "Allow", "Set-Cookie"} {
				if v := got.Header.Get(name); v != "" {
					t.Errorf("%s: the refusal has %s: %s", what, name, v)
				}
			}
			if who.name == partReader && !strings.Contains(strings.ToLower(d.line), "shut") {
				continue // its rule names the file
			}
			absent := g.knock(d, who, true)
			if a, b := own.ReplaceAllString(got.Raw, ""), own.ReplaceAllString(absent.Raw, ""); a != b {
				t.Errorf("%s is told apart from what is not there:\n%s\n%s", what, a, b)
			}
		}
	}
}

// A crawler that tries every way in without the right to it, for what is held and what is not, for what exists and what does not.
func TestNobodyGetsMoreThanIsAllowed(t *testing.T) {
	g := startGuarded(t)
	opened := func(state string) {
		for i := range doors {
			d := &doors[i]
			if d.opens == noTLS {
				continue
			}
			got := g.knock(d, everyone, false)
			if d.opens != 0 && got.Status != d.opens {
				t.Errorf("%s: %s %q by %s = %d, want %d: %.300q", state, d.line, d.fields, everyone.name, got.Status, d.opens, got.Raw)
			}
		}
	}
	asked := g.o.count("") + g.out.count("")
	g.closed("cold")
	if n := g.o.count("") + g.out.count(""); n != asked {
		t.Errorf("the origins were asked %d times for what was refused", n-asked)
	}
	if held := g.files(); len(held) > 1 { // it knows whether a token has expired by /a/open/f
		t.Errorf("for who was refused it holds %q", held)
	}
	opened("first")
	opened("again")
	g.z.published("a", "shut/s"+mark, int64(len("the body of /shut/s"+mark+"\n")))
	g.closed("held")
	g.o.stop()
	g.out.stop()
	g.closed("origins down")
	g.o.start()
	g.out.start()
	g.kept(g.z, g.o, g.out)
	if n := len(doors); n < 60 {
		t.Errorf("%d doors, want 60 or more", n)
	}
	t.Logf("%d requests", strings.Count(g.z.log(), `"action":"request"`))
	g.open()
}

// files are the bodies that are held.
func (g *guarded) files() (all []string) {
	err := filepath.WalkDir(g.z.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".zcache":
			return fs.SkipDir
		case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), ".zcache"):
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		g.t.Error(err)
	}
	return all
}

// open wants everybody to get what is theirs: a crawl of a server that refuses all would show nothing.
func (g *guarded) open() {
	t := g.t
	t.Helper()
	for who, path := range map[string]string{"reader": "/a/open/f", "observer": "/a/open/g", "operator": "/a/open/", "writer": "/a/open/f", "other": "/files/ftp/" + g.ftp.addr + "/open/f"} {
		get(t, g.z.url+path, g.as(who)).is(t, path+" for "+who, 200, "")
		get(t, g.z.url+path, "Authorization: Basic "+g.basic(who)).is(t, path+" for "+who+" by Basic", 200, "")
	}
	get(t, g.z.url+"/open/f", "Host: deb.lab", g.as("other")).is(t, "a host's hub", 200, "")
	get(t, g.z.url+"/a/open/f").is(t, "what is for anybody", 200, "HIT")
	proxied(t, g.z, "GET", g.out.url+"/open/f").is(t, "what is for anybody by the proxy", 200, "")
	proxied(t, g.z, "GET", g.o.url+"/a/open/f", "Proxy-Authorization: Basic "+g.basic("reader")).is(t, "a hub's by the proxy", 200, "HIT")
	put := ask(t, http.MethodPut, g.z.url+"/lab/open/mine", g.as("writer"))
	put.is(t, "a writer's PUT", 201, "")
	for who, hubs := range map[string]string{"reader": "a", "other": "deb", "all": "a lab deb m"} {
		for _, accept := range []string{"application/json", "text/html"} {
			page := get(t, g.z.url+"/", g.as(who), "Accept: "+accept).is(t, "the front page", 200, "")
			for _, hub := range []string{"a", "lab", "deb", "m"} {
				if shown := regexp.MustCompile(`[">]` + hub + `["<]`).Match(page.Body); shown != slices.Contains(strings.Fields(hubs), hub) {
					t.Errorf("the front page as %s for %s: hub %s is shown %v: %s", accept, who, hub, shown, page.Body)
				}
			}
		}
	}
}
