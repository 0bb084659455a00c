package config

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strings"
)

// builtin are the hubs that make zcache useful without any configuration.
func builtin() []Hub {
	return []Hub{
		builtinHub("kernel", "https://mirrors.edge.kernel.org/pub", "https://www.kernel.org/pub"),
		builtinHub("gnu", "https://ftp.gnu.org/gnu", "https://ftpmirror.gnu.org"),
	}
}

func builtinHub(name string, upstreams ...string) Hub {
	h := Hub{Name: name, Mount: "/" + name, Builtin: true}
	for _, text := range upstreams {
		u, err := url.Parse(text)
		if err != nil {
			panic(err) // a constant of ours
		}
		h.Upstreams = append(h.Upstreams, u)
	}
	return h
}

// upstreamHub reads [NAME=]URL.
func upstreamHub(text string) (Hub, error) {
	name, rest, named := strings.Cut(text, "=")
	if strings.ContainsAny(name, ":/") {
		named = false // the "=" is the URL's own
	}
	if !named {
		u, err := parseUpstream(text)
		if err != nil {
			return Hub{}, err
		}
		return Hub{Name: nameOfHost(placeOf(u)), Mount: "/", Upstreams: []*url.URL{u}}, nil
	}
	if _, err := parseName(name); err != nil {
		return Hub{}, err
	}
	if rest == "" {
		return Hub{}, fmt.Errorf("%s= has no URL; write %s=https://host.example/path", name, name)
	}
	u, err := parseUpstream(rest)
	if err != nil {
		return Hub{}, fmt.Errorf("%s: %w", name, err)
	}
	mount, err := parseMount(name)
	if err != nil {
		return Hub{}, errors.New("choose another name: " + err.Error())
	}
	return Hub{Name: name, Mount: mount, Upstreams: []*url.URL{u}}, nil
}

// placeOf is what tells one upstream from another in a word: its host, or the last name of a directory's path.
func placeOf(u *url.URL) string {
	if u.Scheme == "file" {
		return path.Base(u.Path)
	}
	return u.Hostname()
}

// nameOfHost makes a hub name of a host.
func nameOfHost(host string) string {
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return r
		}
		return '-'
	}, strings.ToLower(strings.TrimSuffix(host, ".")))
	name = strings.TrimLeft(name, "._-")
	if len(name) > 100 {
		name = name[:100]
	}
	switch name {
	case "":
		return "upstream"
	case "files", "download":
		return "hub-" + name
	}
	return name
}

// check looks at what only the whole configuration tells.
func (l *loader) check(c *Config) {
	if c.DiskHigh > 0 && c.DiskLow > 0 && c.DiskLow >= c.DiskHigh {
		l.problems.add("disk-low", l.placeOf("disk-low"), "%.4g%% is not below disk-high %.4g%%; set both", c.DiskLow*100, c.DiskHigh*100)
	}
	addresses := map[string]bool{}
	for _, addr := range c.Listen {
		if addresses[addr] && !strings.HasSuffix(addr, ":0") {
			l.problems.add("listen", l.placeOf("listen"), "%s is given twice; remove one", addr)
		}
		addresses[addr] = true
	}
	if addresses[c.AdminListen] {
		l.problems.add("admin-listen", l.placeOf("admin-listen"), "%s is a listen address too; choose another port", c.AdminListen)
	}
	for i := range c.Hubs {
		if c.Hubs[i].Writable && c.Mode == ModeProxy {
			l.problems.add("hub["+c.Hubs[i].Name+"].writable", l.places[i], "in mode proxy nothing is kept; choose another mode or remove it")
		}
	}
	l.collisions(c.Hubs)
	l.trees(c)
}

// trees finds upstreams that hold the root: what is stored of them would be a part of them, and a crawler would never come to an end.
func (l *loader) trees(c *Config) {
	root, err := filepath.Abs(c.Root)
	if err != nil || c.Mode == ModeProxy {
		return // it says so where the root is opened, or nothing is stored
	}
	for i := range c.Hubs {
		for _, u := range c.Hubs[i].Upstreams {
			if u.Scheme == "file" && (root == u.Path || strings.HasPrefix(root, u.Path+"/") || strings.HasPrefix(u.Path, root+"/")) {
				l.problems.add("hub["+c.Hubs[i].Name+"].upstream", l.places[i], "%s and the root %s lie in one another; keep them apart", u.Path, root)
			}
		}
	}
}

func (l *loader) placeOf(name string) string { return l.inputs[name].value.place }

// collisions finds hubs that ask for the same name, path or host. Served in some order they would answer for each other.
func (l *loader) collisions(hubs []Hub) {
	names, mounts, hosts := map[string]string{}, map[string]string{}, map[string]string{}
	for i := range hubs {
		h, place := &hubs[i], l.places[i]
		setting := "hub[" + h.Name + "]"
		if names[h.Name] != "" {
			l.problems.add(setting+".name", place, "another hub has this name; choose another (several upstreams of one hub are a list in [[hub]])")
			continue
		}
		names[h.Name] = h.Name
		if other := mounts[h.Mount]; other != "" && h.Mount != "" {
			l.problems.add(setting+".path", place, "%s is where hub %s is mounted; choose another path, or name it NAME=URL", h.Mount, other)
		}
		mounts[h.Mount] = h.Name
		for _, host := range h.Hosts {
			if other := hosts[host]; other != "" {
				l.problems.add(setting+".hosts", place, "%s leads to hub %s already; name it once", host, other)
			}
			hosts[host] = h.Name
		}
	}
}
