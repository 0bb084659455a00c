package listing

import "strings"

// evidence is what a page shows of being a listing, besides its rows.
type evidence struct {
	path, host string // of the directory
	title      string
	headings   []string
	next       string // the query of the page that follows
	based      bool
	password   bool
	script     int // bytes of scripts
	containers int // tables, lists and <pre>
	words      int // of text that is no row's
	controls   int // links to other orders of this page
	up         int // links to the directory above that say so
	upSlash    bool
	upIcon     bool
	children   int
	others     int // links elsewhere
}

func (v *evidence) addHeading(text []byte) {
	if len(v.headings) < 4 {
		v.headings = append(v.headings, strings.TrimSpace(string(text)))
	}
}

// link counts a link of the page.
func (v *evidence) link(at place, text string, apart bool) {
	switch at.kind {
	case childLink:
		v.children++
	case controlLink:
		if len(at.query) < 60 {
			v.controls++
		}
		if saysNext(text) {
			v.next = at.query
		}
	case parentLink, selfLink:
		if saysUp(text) {
			v.up++
			v.upSlash = v.upSlash || at.slash
		}
	case otherLink:
		if !apart {
			v.others++
		}
	}
}

// saysNext says whether a link shows the next page of a listing.
func saysNext(text string) bool {
	switch strings.ToLower(text) {
	case "next", "next page", "next »", "next >", "next →", "»", "more", "下一页":
		return true
	}
	return false
}

func saysUp(text string) bool {
	text = strings.ToLower(text)
	if strings.Contains(text, "..") && len(text) < 12 {
		return true
	}
	if strings.Contains(text, "parent dir") {
		return true
	}
	text = strings.Trim(text, " /\\.[]()<>^↑⬆«‹←-")
	for _, word := range [...]string{"parent", "up", "go up", "one level up", "level up", "up one level", "back", "up to "} {
		if text == word || strings.HasPrefix(text, "parent ") || strings.HasPrefix(text, "up to ") || strings.HasPrefix(text, "go up") {
			return true
		}
	}
	return false
}

// upRow takes the row that leads to the directory above: how it is marked, directories are.
func (v *evidence) upRow(l rowLink, marks hints) {
	v.upIcon = v.upIcon || marks&(upHint|dirHint|softDir) != 0
	v.upSlash = v.upSlash || l.slash
}

// headed says whether a title or heading calls the page a listing.
func (v *evidence) headed() bool {
	for _, t := range append([]string{v.title}, v.headings...) {
		t = strings.ToLower(strings.Join(strings.Fields(t), " "))
		for _, w := range [...]string{"index of", "directory listing", "listing of", "listing for", "directory:", "directory of", "listing directory",
			"contents of", "listing:", "folder listing", "directory index", "file listing", "directory contents", "files in", "file list", "files of",
			"browsing", "index for /", "directory /", "folder:", "content of"} {
			if strings.HasPrefix(t, w) && !v.topic(t) || strings.Contains(t, " "+w+" /") || strings.HasSuffix(t, w) {
				return true
			}
		}
	}
	return false
}

// topic says whether a title in lower case calls the page the index of something in words, as manuals do of their functions:
// "Index of new symbols in 1.6". A directory's is followed by its path or its name.
func (v *evidence) topic(title string) bool {
	of, ok := strings.CutPrefix(title, "index of ")
	if !ok || !strings.Contains(of, " ") || strings.ContainsAny(of, `/\`) {
		return false
	}
	last := v.last()
	return last == "" || !strings.HasPrefix(of, last) && !strings.HasSuffix(of, last)
}

// last is the directory's own name as titles are compared with it: in lower case, with single spaces; "" of the root.
func (v *evidence) last() string {
	path := strings.Trim(v.path, "/")
	return strings.ToLower(strings.Join(strings.Fields(path[strings.LastIndexByte(path, '/')+1:]), " "))
}

// misnamed says whether the page calls itself the index of something that this directory is not: a file that is served as the
// directory's index may well look like one. A path may be the server's own, seen through a proxy, so only a bare name can tell.
func (v *evidence) misnamed() bool {
	last := v.last()
	if last == "" {
		return false
	}
	for _, t := range append([]string{v.title}, v.headings...) {
		name, ok := strings.CutPrefix(strings.ToLower(strings.Join(strings.Fields(t), " ")), "index of ")
		if ok && name != "" && !strings.ContainsAny(name, "/\\.") && !strings.Contains(name, last) &&
			!strings.Contains(last, name) {
			return true
		}
	}
	return false
}

// pathTitled says whether a title or heading is the directory's own path.
func (v *evidence) pathTitled() bool {
	path := strings.Trim(v.path, "/")
	last := path[strings.LastIndexByte(path, '/')+1:]
	for _, t := range append([]string{v.title}, v.headings...) {
		flat := strings.ReplaceAll(t, " ", "")
		plain := strings.ReplaceAll(path, " ", "")
		switch {
		case t == "":
		case strings.TrimSpace(t) == ".": // a server that names directories from its own root on
			return true
		case path == "" && (flat == "/" || strings.HasSuffix(flat, v.host+"/") || strings.HasSuffix(flat, "-/")):
			return true
		case path != "" && (strings.Trim(flat, "/~") == plain || strings.HasSuffix(strings.TrimSuffix(flat, "/"), "/"+plain)):
			return true
		case path != "" && strings.TrimSpace(t) == last && v.words < 60:
			return true
		}
	}
	return false
}

// refused gives the words by which a page says that it may not be read, or "".
func (v *evidence) refused() string {
	for _, t := range append([]string{v.title}, v.headings...) {
		lower := strings.ToLower(t)
		for _, w := range [...]string{"forbidden", "access denied", "permission denied", "unauthorized", "not authorized", "authorization required"} {
			if strings.Contains(lower, w) || strings.HasPrefix(lower, "403") || strings.HasPrefix(lower, "401") {
				return t
			}
		}
	}
	return ""
}

// failed says whether the page is about an error.
func (v *evidence) failed() bool {
	for _, t := range append([]string{v.title}, v.headings...) {
		lower := strings.ToLower(t)
		for _, w := range [...]string{"not found", "error", "404", "500", "502", "503", "bad gateway", "unavailable"} {
			if strings.HasPrefix(lower, w) || strings.HasSuffix(lower, w) {
				return true
			}
		}
	}
	return false
}
