package ecosystem

import (
	"bytes"
	"errors"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// errUnread ends the steps of a page of which the rest is not understood.
var errUnread = errors.New("the rest passes unchanged")

// links says where the links of one page lead.
type links struct {
	page  *SimplePage
	base  *url.URL // what they are relative to, at the origin
	shown *url.URL // what the client takes them to be relative to
}

// lead returns what to write in place of a link, or false when that stays as it is.
func (l *links) lead(raw string, file bool) (string, bool) {
	raw = bare(raw)
	ref, err := url.Parse(raw)
	if err != nil || raw == "" || raw[0] == '#' {
		return "", false
	}
	to := l.base.ResolveReference(ref)
	if !reachable(to) {
		return "", false
	}
	to.User, to.Fragment, to.RawFragment = nil, "", ""
	place := l.page.Place(to, file)
	if place == "" {
		if ref.IsAbs() {
			return "", false
		}
		place = to.String() // the client would look for it here
	} else if !ref.IsAbs() && ref.Host == "" {
		naive := l.shown.ResolveReference(ref)
		naive.Fragment, naive.RawFragment = "", ""
		if naive.RequestURI() == place {
			return "", false
		}
	}
	if i := strings.IndexByte(raw, '#'); i >= 0 {
		place += raw[i:]
	}
	return place, true
}

// rebase takes note of the URL that the page wants its links to be relative to, and returns what to write in its place: the page's own path, for the
// paths of ours that links become would otherwise be looked for at that host.
func (l *links) rebase(raw string) (string, bool) {
	ref, err := url.Parse(bare(raw))
	if err != nil {
		return "", false
	}
	to := l.page.URL.ResolveReference(ref)
	if !reachable(to) {
		return "", false // no browser heeds it either
	}
	l.base = to
	return l.page.Shown, true
}

func reachable(u *url.URL) bool {
	return u.Host != "" && u.Opaque == "" && (u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "ftp")
}

// bare is a link as browsers read it: without space around it and without line breaks inside.
func bare(raw string) string {
	raw = strings.TrimFunc(raw, func(r rune) bool { return r <= ' ' })
	if strings.ContainsAny(raw, "\t\r\n") {
		raw = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(raw)
	}
	return raw
}

// longestToken bounds what is held of a page, in bytes: no tag is nearly as long.
const longestToken = 1 << 20

// newHTMLSteps goes through HTML tag by tag.
func newHTMLSteps(src io.Reader, l *links) step {
	z := html.NewTokenizer(src)
	z.SetMaxBuf(longestToken)
	based := false
	return func(out []byte) ([]byte, error) {
		kind := z.Next()
		start := len(out)
		out = append(out, z.Raw()...) // before TagName and TagAttr, which write into it
		switch kind {
		case html.ErrorToken:
			if z.Err() == html.ErrBufferExceeded {
				return append(out, z.Buffered()...), errUnread
			}
			return out, z.Err()
		case html.StartTagToken, html.SelfClosingTagToken:
		default:
			return out, nil
		}
		raw := out[start:]
		if len(raw) < 3 || raw[1]|0x20 != 'a' && raw[1]|0x20 != 'b' {
			return out, nil
		}
		tag := z.Token()
		href, ok := attribute(tag, "href")
		if !ok {
			return out, nil
		}
		var instead string
		switch {
		case tag.Data == "a":
			instead, ok = l.lead(href, fileLink(href, tag))
		case tag.Data == "base" && !based: // only the first one counts
			based = true
			instead, ok = l.rebase(href)
		default:
			return out, nil
		}
		if from, to := valueOf(raw, "href"); ok && from > 0 {
			value := `"` + html.EscapeString(instead) + `"`
			tail := bytes.Clone(raw[to:])
			out = append(append(out[:start+from], value...), tail...)
		}
		return out, nil
	}
}

const space = " \n\r\t\f"

// valueOf finds the value of a tag's first attribute of this name, with its quotes, by the same rules as the tokenizer (the states of the HTML
// standard, 13.2.5.32 to 13.2.5.38); 0, 0 when it has none. The tokenizer gives values without their place.
func valueOf(tag []byte, name string) (from, to int) {
	i := 1
	skip := func(set string) {
		for i < len(tag) && strings.IndexByte(set, tag[i]) >= 0 {
			i++
		}
	}
	until := func(set string) int {
		n := bytes.IndexAny(tag[i:], set)
		if n < 0 {
			n = len(tag) - i
		}
		i += n
		return i
	}
	until(space + "/>")
	for {
		skip(space)
		if i >= len(tag) || tag[i] == '>' {
			return 0, 0
		}
		begin := i
		if tag[i] == '=' {
			i++
		}
		found := strings.EqualFold(string(tag[begin:until(space+"/>=")]), name)
		skip(space)
		if i < len(tag) && tag[i] == '/' {
			i++
			continue
		}
		if i >= len(tag) || tag[i] != '=' {
			if found {
				return 0, 0 // it has no value
			}
			continue
		}
		i++
		skip(space)
		begin = i
		switch {
		case i >= len(tag) || tag[i] == '>':
		case tag[i] == '"' || tag[i] == '\'':
			quote := string(tag[i])
			i++
			until(quote)
			i = min(i+1, len(tag))
		default:
			until(space + ">")
		}
		if found {
			return begin, i
		}
	}
}
