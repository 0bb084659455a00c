package proxy

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zcache/internal/auth"
	"zcache/internal/origin/origintest"
)

// A ruled rig has an auth file. Its tokens are by name.
type ruled struct {
	*rig
	file   string
	tokens map[string]string
}

const ruledHead = "version = 1\n\n[anonymous]\nread = [\"/a/pub\", \"/files/http/OUT/pub\"]\n"

// rule has the rig judge by an auth file that begins with head and has these tokens; OUT is the authority of the origin that is no hub's.
func (g *rig) rule(head string, tokens ...auth.TokenInfo) *ruled {
	g.t.Helper()
	out := &ruled{rig: g, file: filepath.Join(g.t.TempDir(), "auth.toml"), tokens: map[string]string{"": ""}}
	sub := strings.NewReplacer("OUT", g.out.Addr)
	if err := os.WriteFile(out.file, []byte(sub.Replace(head)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	for _, info := range tokens {
		for _, list := range [][]string{info.Read, info.Deny, info.Write} {
			for i := range list {
				list[i] = sub.Replace(list[i])
			}
		}
		made := time.Now()
		if info.Name == "expired" {
			made = made.Add(-48 * time.Hour)
		}
		text, _, err := auth.CreateToken(out.file, info, made)
		if err != nil {
			g.t.Fatal(err)
		}
		out.tokens[info.Name] = text
	}
	out.reload()
	return out
}

// reload reads the auth file again.
func (g *ruled) reload() {
	g.t.Helper()
	rules, err := auth.LoadRules(g.file, auth.AnonymousRead)
	if err != nil {
		g.t.Fatal(err)
	}
	g.g.cfg.Guard.SetRules(rules)
}

// as is the field by which somebody is known: Bearer, or in proxy form Basic with the token as the password.
func (g *ruled) as(who string, proxy bool) []string {
	switch token, known := g.tokens[who]; {
	case who == "":
		return nil
	case !known:
		return []string{"Authorization: Bearer zct_nobody_" + strings.Repeat("x", 43)}
	case proxy:
		return []string{"Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("x:"+token))}
	default:
		return []string{"Authorization: Bearer " + token}
	}
}

func (g *ruled) ask(who, line string, header ...string) reply {
	g.t.Helper()
	_, target, _ := strings.Cut(line, " ")
	proxy := !strings.HasPrefix(target, "/")
	return g.send(line+" HTTP/1.1", append(g.as(who, proxy), header...)...)
}

// shut is the directory that few may see into; secret marks what is in there.
const (
	shut   = "shut"
	secret = "s3cr3t"
)

func newRuledRig(t *testing.T) *ruled {
	t.Helper()
	g := newRig(t, Hub{Name: "a", Mount: "/a/", Listings: true}, Hub{Name: "deb", Hosts: []string{"deb.lab"}, Listings: true}).forward().listing()
	g.o.File("/a/", index("pub/", shut+"/", "top", "up/"), kind(asHTML))
	g.o.File("/a/pub/", index("f", "g/"), kind(asHTML))
	g.o.File("/a/"+shut+"/", index("open/", secret), kind(asHTML))
	g.o.File("/a/"+shut+"/open/", index("f"), kind(asHTML))
	g.o.File("/a/doc/", origintest.Text("<html><body><h1>read "+secret+"</h1></body></html>"), kind(asHTML))
	g.o.File("/deb/", index("dists/", shut+"/"), kind(asHTML))
	g.o.File("/deb/dists/", index("f"), kind(asHTML))
	for _, path := range []string{"/a/pub/f", "/a/" + shut + "/open/f", "/a/top", "/deb/dists/f"} {
		g.o.File(path, origintest.Text("open "+path), cc(fresh))
	}
	g.o.File("/a/"+shut+"/"+secret, origintest.Text(secret), cc(fresh))
	g.o.File("/deb/"+shut+"/"+secret, origintest.Text(secret), cc(fresh))
	g.o.File("/a/"+shut+"/moved", origintest.Text(secret), origintest.Redirect(302, "/a/pub/"+secret))
	g.o.File("/a/"+shut+"/gone", origintest.Text(secret), origintest.Status(404))
	g.out.File("/pub/f", origintest.Text("out"), cc(fresh))
	g.out.File("/"+shut+"/"+secret, origintest.Text(secret), cc(fresh))
	g.out.File("/", index("pub/", shut+"/"), kind(asHTML))
	hidden := "/a/" + shut
	return g.rule(ruledHead,
		auth.TokenInfo{Name: "reader", Read: []string{"/a", hidden + "/open"}, Deny: []string{hidden}},
		auth.TokenInfo{Name: "way", Read: []string{hidden + "/open"}},
		auth.TokenInfo{Name: "deb", Read: []string{"//deb.lab/dists"}},
		auth.TokenInfo{Name: "out", Read: []string{"/files/http/OUT"}, Deny: []string{"/files/http/OUT/" + shut}},
		auth.TokenInfo{Name: "writer", Read: []string{"/a"}, Write: []string{"/a/up"}, Scope: []string{"write"}},
		auth.TokenInfo{Name: "all"},
		auth.TokenInfo{Name: "expired", Expires: time.Now().Add(-24 * time.Hour)},
	)
}
