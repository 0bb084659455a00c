package listing

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// A davListing reads the multistatus of a PROPFIND (RFC 4918, section 13) with Depth 1.
type davListing struct {
	*xmlReader
	src     Source
	base    string // the directory's own path, unescaped, with a slash at the end; "" until it is known
	self    bool   // the response of the directory itself was met
	entries []Entry
	one     davResponse
	props   davProps // of the propstat that is being read
}

// A davResponse is one member, as far as it was read.
type davResponse struct {
	href   string
	status int // its own; 0 where it has propstats
	denied bool
	davProps
}

// davProps are the properties of one propstat; they hold if its status is 2xx.
type davProps struct {
	status     int
	any        bool
	collection bool
	length     string
	modified   string
}

func (d *davListing) read() (*Listing, error) {
	if err := d.elements(d.visit); err != nil {
		return nil, err
	}
	if !d.self && len(d.entries) == 0 {
		return nil, fmt.Errorf("%w: a multistatus without the directory itself", ErrNotListing)
	}
	return &Listing{Entries: tidied(d.entries)}, nil
}

func (d *davListing) visit(ev xmlEvent) error {
	if ev == xmlStart {
		switch {
		case d.is(rootDAV, "response"):
			d.one = davResponse{}
		case d.is("response", "propstat"):
			d.props = davProps{}
		case d.is("resourcetype", "collection"):
			d.props.collection = true
		}
		return nil
	}
	switch {
	case d.is("response", "href"):
		d.one.href = strings.TrimSpace(string(d.text))
	case d.is("response", "status"):
		d.one.status = statusCode(string(d.text))
	case d.is("propstat", "status"):
		d.props.status = statusCode(string(d.text))
	case d.is("prop", "getcontentlength"):
		d.props.length = strings.TrimSpace(string(d.text))
	case d.is("prop", "getlastmodified"):
		d.props.modified = strings.TrimSpace(string(d.text))
	case d.is("prop", "iscollection"): // IIS, before there was a resourcetype
		word := strings.TrimSpace(string(d.text))
		d.props.collection = d.props.collection || word == "1" || word == "T"
	case d.is("response", "propstat"):
		d.one.merge(d.props)
	case d.is(rootDAV, "response"):
		return d.member()
	}
	return nil
}

// merge takes the properties of a propstat that succeeded. Others name what the member does not have.
func (r *davResponse) merge(p davProps) {
	if p.status == 401 || p.status == 403 {
		r.denied = true
	}
	if p.status != 0 && p.status/100 != 2 {
		return
	}
	r.any = true
	r.collection = r.collection || p.collection
	if p.length != "" {
		r.length = p.length
	}
	if p.modified != "" {
		r.modified = p.modified
	}
}

// statusCode reads "HTTP/1.1 200 OK"; -1 when it cannot.
func statusCode(line string) int {
	f := strings.Fields(line)
	if len(f) < 2 {
		return -1
	}
	n, err := strconv.Atoi(f[1])
	if err != nil {
		return -1
	}
	return n
}

// member judges a response that was read to its end. The first one says where the directory is, for behind a reverse proxy that need
// not be the path that was asked for.
func (d *davListing) member() error {
	raw := strings.TrimRight(hrefPath(d.one.href), "/")
	path := decoded(raw) + "/"
	if d.base == "" {
		d.base = "/"
		if d.src.URL != nil {
			d.base = strings.TrimRight(d.src.URL.Path, "/") + "/"
		}
		if !strings.HasPrefix(path, d.base) {
			if !d.one.collection {
				return fmt.Errorf("%w: the multistatus begins with %.200q", ErrNotListing, d.one.href)
			}
			d.base = path
		}
	}
	switch {
	case path == d.base:
		return d.own()
	case !strings.HasPrefix(path, d.base):
		return fmt.Errorf("%w: %.200q lies outside of %.200q", ErrNotListing, d.one.href, d.base)
	case d.one.status == 404:
		return nil // gone while the server was looking
	}
	last := strings.LastIndexByte(raw, '/') + 1
	if strings.TrimRight(decoded(raw[:last]), "/")+"/" != d.base {
		return nil // a deeper level, whose directory has a response of its own
	}
	d.entries = append(d.entries, d.entry(decoded(raw[last:])))
	return nil
}

// own judges the response of the directory itself.
func (d *davListing) own() error {
	d.self = true
	switch {
	case d.one.status == 507:
		return fmt.Errorf("%w: the multistatus ends with status 507", ErrCut) // RFC 6578, section 3.6
	case d.one.status == 401, d.one.status == 403, d.one.denied && !d.one.any:
		return fmt.Errorf("%w: the multistatus says so of %.200q", ErrForbidden, d.one.href)
	case d.one.status/100 > 2:
		return fmt.Errorf("%w: the multistatus gives %.200q status %d", ErrNotListing, d.one.href, d.one.status)
	case d.one.any && !d.one.collection:
		return fmt.Errorf("%w: %.200q is no collection", ErrNotListing, d.one.href)
	}
	return nil
}

// entry makes a member's Entry. One without properties is known by name alone.
func (d *davListing) entry(name string) Entry {
	e := Entry{Name: strings.Clone(name), Size: -1}
	switch {
	case d.one.collection, strings.HasSuffix(hrefPath(d.one.href), "/"):
		e.Kind, e.Mode = Dir, fs.ModeDir
	case d.one.any:
		e.Kind = File
	}
	if size, err := strconv.ParseInt(d.one.length, 10, 64); err == nil && size >= 0 && e.Kind == File {
		e.Size, e.SizeExact = size, true
	}
	if st, ok := shownTime(frameOf(d.src), d.one.modified, false); ok {
		st.on(&e)
	}
	return e
}

// hrefPath gives the escaped path of an href, which is a path or a whole URL.
func hrefPath(href string) string {
	if at := strings.Index(href, "://"); at > 0 && strings.IndexByte(href[:at], '/') < 0 {
		href = href[at+3:]
		slash := strings.IndexByte(href, '/')
		if slash < 0 {
			return "/"
		}
		href = href[slash:]
	}
	if end := strings.IndexAny(href, "?#"); end >= 0 {
		href = href[:end]
	}
	return href
}
