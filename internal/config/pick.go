package config

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Skip says which paths below a directory of the hub (escaped, with a slash at its end) walks leave alone, as mirror-include and mirror-exclude
// have it: it takes a path relative to dir, unescaped, a directory's with a slash at its end. Nil skips nothing.
//
// Patterns are those of Class, held against paths relative to the hub. What matches a directory matches all below it, and a pattern that ends in a slash
// matches directories alone. With inclusions a file that matches none is left alone, and so is a directory below which none can match.
func (h *Hub) Skip(dir string) func(path string) bool {
	if len(h.MirrorInclude)+len(h.MirrorExclude) == 0 {
		return nil
	}
	top, err := url.PathUnescape(dir)
	if err != nil {
		top = dir
	}
	include, exclude := h.MirrorInclude, h.MirrorExclude
	return func(path string) bool {
		// Of what lies above dir nothing excludes: whoever named dir wants it.
		if matchesAtOrAbove(exclude, top, path) {
			return true
		}
		if len(include) == 0 || matchesAtOrAbove(include, "/", strings.TrimPrefix(top+path, "/")) {
			return false
		}
		if !strings.HasSuffix(path, "/") && path != "" {
			return true
		}
		return !slices.ContainsFunc(include, func(glob string) bool { return mayHold(glob, top+path) })
	}
}

// matchesAtOrAbove says whether a pattern matches path, which is relative to top, or a directory between the two.
func matchesAtOrAbove(globs []string, top, path string) bool {
	for end := 0; end < len(path); {
		next := strings.IndexByte(path[end:], '/')
		isDir := next >= 0
		if isDir {
			end += next
		} else {
			end = len(path)
		}
		for _, glob := range globs {
			bare, dirsOnly := strings.CutSuffix(glob, "/")
			if (isDir || !dirsOnly) && bare != "" && matchPath(bare, top+path[:end]) {
				return true
			}
		}
		end++
	}
	return false
}

// mayHold says whether a pattern may match something below a directory. It errs on the side of a listing too many: alternatives that hold slashes are
// not looked into.
func mayHold(glob, dir string) bool {
	if !strings.Contains(strings.TrimSuffix(glob, "/"), "/") || strings.Contains(glob, "{") {
		return true
	}
	globs := strings.Split(strings.Trim(glob, "/"), "/")
	for i, name := range strings.FieldsFunc(dir, func(r rune) bool { return r == '/' }) {
		switch {
		case i == len(globs):
			return false // what it matches lies higher
		case globs[i] == "**":
			return true
		case !doublestar.MatchUnvalidated(globs[i], name):
			return false
		}
	}
	return true
}
