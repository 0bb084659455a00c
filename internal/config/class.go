package config

import (
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// The classes that a hub's patterns put paths into.
const (
	ClassImmutable = "immutable"
	ClassIndex     = "index"
	ClassBypass    = "bypass"
)

// Class is the class of a decoded path under the hub ("/dists/stable/Release"), or "". A pattern without a slash is held against the
// last segment, one with a slash against the whole path, where ** stands for any number of segments. Where several classes match,
// the one that keeps least counts.
func (h *Hub) Class(path string) string {
	for _, c := range []struct {
		globs []string
		class string
	}{{h.Bypass, ClassBypass}, {h.Index, ClassIndex}, {h.Immutable, ClassImmutable}} {
		for _, glob := range c.globs {
			if matchPath(glob, path) {
				return c.class
			}
		}
	}
	return ""
}

func matchPath(glob, path string) bool {
	path = strings.TrimPrefix(path, "/")
	if !strings.Contains(glob, "/") {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	return doublestar.MatchUnvalidated(strings.TrimPrefix(glob, "/"), path)
}
