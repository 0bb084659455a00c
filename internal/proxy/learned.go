package proxy

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"zcache/internal/auth"
	"zcache/internal/cache"
	"zcache/internal/ecosystem"
	"zcache/internal/fill"
)

// learned are the sites, "/https/host.example", at which hubs' index pages said that files lie. Who may read a hub may have the files from there,
// though this instance forward nothing else for him: without them an index is of no use. Nothing is kept over a restart but the pages, which are read
// again when somebody asks for a file that one of them would name. The zero value knows of none.
type learned struct {
	mu     sync.Mutex
	byHub  map[string][]string    // the one that came last is the last
	dirs   map[[2]string][]string // by hub and site: the directories that the pages lie in which named it, with a slash at the end
	read   map[cache.Key][32]byte
	moment sync.Mutex // held by who reads pages: one at a time is enough
}

// Bounds of what is remembered. An index names two or three sites; one that names more than these drives out its own alone.
const (
	mostSites = 256
	mostDirs  = 16
	mostRead  = 4096
)

// note takes it that a page in a directory of a hub has named a site.
func (l *learned) note(hub, site, dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := [2]string{hub, site}
	if dirs := l.dirs[at]; !slices.Contains(dirs, dir) {
		if l.dirs == nil {
			l.dirs = map[[2]string][]string{}
		}
		l.dirs[at] = append(dirs[max(0, len(dirs)+1-mostDirs):], dir)
	}
	if slices.Contains(l.byHub[hub], site) {
		return
	}
	if l.byHub == nil {
		l.byHub = map[string][]string{}
	}
	sites := append(l.byHub[hub], site)
	if len(sites) > mostSites {
		delete(l.dirs, [2]string{hub, sites[0]})
		sites = slices.Delete(sites, 0, 1)
		clear(l.read) // what is forgotten may be read again
	}
	l.byHub[hub] = sites
}

// from are the directories whose pages have named a site; none when no page of the hub has.
func (l *learned) from(hub, site string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.dirs[[2]string{hub, site}])
}

// due says that a page has not been read as it now is, and takes it that it will be.
func (l *learned) due(key cache.Key, sum [32]byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.read[key]; ok && old == sum {
		return false
	}
	if l.read == nil || len(l.read) >= mostRead {
		l.read = map[cache.Key][32]byte{}
	}
	l.read[key] = sum
	return true
}

// isLearned says that a request is for a file at a site which an index page of a hub named that the client may read. Whether the site is one that may
// be dialled is judged where that happens.
func (g *Gateway) isLearned(r *http.Request, x *exchange, table *table, l locator) bool {
	if x.form != urlForm || !strings.HasPrefix(l.base, "/"+cache.FilesHub+"/") || l.user != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	view := g.cfg.Guard.View(x.client)
	if g.cfg.Guard.Allow(x.client, auth.Read) != nil {
		return false
	}
	key, err := cache.FilesKey(l.scheme, l.authority, l.path, l.query, l.hasQuery)
	if err != nil {
		return false
	}
	site := key.Site()
	known := func() bool {
		return slices.ContainsFunc(table.names, func(hub string) bool {
			return mayRead(view, table.byName[hub], g.learned.from(hub, site), key.Name())
		})
	}
	return known() || g.relearn(table, key.Name(), known)
}

// mayRead says that one of the directories, whose pages have named the site that a file is at, has a page for the file's project that may be read. Who
// sees all of the hub may have any file.
func mayRead(view auth.View, hub *Hub, dirs []string, file string) bool {
	if len(dirs) == 0 || view.Of(hub.at("/")) == auth.All {
		return len(dirs) > 0
	}
	projects := projectsOf(file)
	return len(projects) > 0 && !slices.ContainsFunc(projects, func(name string) bool {
		return !slices.ContainsFunc(dirs, func(dir string) bool { return view.Visible(hub.at(dir+name+"/"), false) })
	})
}

// projectsOf are the names, as pages are called by them, of the projects that a distribution file may be of. In the name of a wheel the first dash ends the
// project's (PEP 427); in that of an sdist of old a dash may also be part of it, but a version begins with a digit.
func projectsOf(file string) (names []string) {
	wheel := strings.Contains(file, ".whl")
	for i := 1; i < len(file); i++ {
		if file[i] != '-' || !wheel && (i+1 == len(file) || file[i+1] < '0' || file[i+1] > '9') {
			continue
		}
		if paths := ecosystem.SimplePaths(file[:i] + "-0"); len(paths) > 0 { // that of the whole name comes first
			names = append(names, strings.Trim(strings.TrimPrefix(paths[0], "/simple/"), "/"))
		}
		if wheel {
			break
		}
	}
	return names
}

// relearn reads the stored pages that may have named a file, until one did.
func (g *Gateway) relearn(table *table, file string, known func() bool) bool {
	paths := ecosystem.SimplePaths(file)
	if g.cfg.Listings == nil || len(paths) == 0 {
		return false
	}
	g.learned.moment.Lock()
	defer g.learned.moment.Unlock()
	for _, path := range paths {
		for _, name := range table.names {
			key, err := cache.ParseKey(name, path, "", false)
			if err != nil {
				continue
			}
			if g.readPage(place{hub: table.byName[name], key: key}); known() {
				return true
			}
		}
	}
	return false
}

// readPage takes note of the sites that a stored page names, if it is one of a simple index.
func (g *Gateway) readPage(to place) {
	m, adopted, err := g.cfg.Listings.Peek(to.key)
	if err != nil || adopted || m.Listing || m.Status != http.StatusOK || !g.learned.due(to.key, m.SHA256) {
		return
	}
	e, err := g.cfg.Listings.Open(to.key, m.Vary)
	if err != nil {
		return
	}
	defer e.Close()
	body := e.Section(0, -1)
	defer body.Close()
	a := &fill.Answer{Header: e.Meta.Header, Length: e.Size(), URL: e.Meta.URL, Body: body}
	if e.Meta.Base != "" {
		a.URL = e.Meta.Base
	}
	p, ok := g.simplePage(to, a)
	if !ok || !isSimple(&http.Request{Method: http.MethodGet}, a, p.Form, ecosystem.SimpleProject(p.URL.Path)) {
		return
	}
	if _, err := io.Copy(io.Discard, p.Rewrite(decoded(a.Header, a.Body))); err != nil {
		g.log.Warn("read an index page again", "key", to.key.String(), "error", err)
	}
}
