package web

import (
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"zcache/internal/listing"
)

// A fact is one line of what is known of an entry.
type fact struct {
	Name  string
	Value template.HTML
}

// A command is a line to copy.
type command struct{ Name, Line string }

var entryBody = template.Must(template.New("entry").Parse(`<div class="bar"><p><span class="dot {{.Class}}"></span>{{.State}}</p>` +
	`<a class="go" {{.Open}}>{{.Verb}}</a></div>
<main class="facts"><table>{{range .Facts}}<tr><th scope="row">{{.Name}}</th><td>{{.Value}}</td></tr>
{{end}}</table></main>
<h2>Fetch it from here</h2>
<main class="cmds">{{range .Commands}}<div class="cmd"><small>{{.Name}}</small><pre>{{.Line}}</pre><button class="tool needs-js" data-copy>copy</button></div>
{{end}}</main>
`))

// entryPage writes what v tells as a page.
func (s *Server) entryPage(w http.ResponseWriter, v *entryView) error {
	mount := "/"
	for _, h := range s.cfg.Hubs() {
		if h.Name == v.Hub && strings.HasPrefix(v.URL, h.Path) && h.Path != "" {
			mount = h.Path
		}
	}
	path, prefix := v.URL, ""
	if u, err := url.Parse(v.URL); err == nil && u.Host != "" {
		prefix = u.Scheme + "://" + u.Host
		path = strings.TrimPrefix(v.URL, prefix)
	}
	parts := crumbs(v.Hub, mount, path)
	for i := range parts {
		parts[i].to = prefix + parts[i].to
	}
	verb := "Open"
	if v.Kind == "file" {
		verb = "Download"
	}
	var body strings.Builder
	err := entryBody.Execute(&body, map[string]any{
		"Class": dotOf(v.Held), "State": stateLine(v), "Open": template.HTMLAttr(`href="` + string(appendEscaped(nil, v.URL)) + `"`), "Verb": verb, "Facts": s.facts(v), "Commands": commands(v),
	})
	if err != nil {
		return err
	}
	b := appendCrumbs(appendHead(nil, parts[len(parts)-1].text+" · zcache"), parts, false)
	return writePage(w, http.StatusOK, append(b, body.String()...))
}

// writePage ends a page and sends it, with the policy that its script and style need.
func writePage(w http.ResponseWriter, status int, b []byte) error {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", BrowsePolicy())
	w.WriteHeader(status)
	_, err := w.Write(append(b, pageEnd...))
	return err
}

func dotOf(held string) string {
	switch held {
	case listing.Fresh.String(), heldAdopted:
		return "fresh"
	case listing.Stale.String():
		return "stale"
	}
	return "absent"
}

// stateLine says in a few words what a client would get.
func stateLine(v *entryView) string {
	switch v.Held {
	case listing.Fresh.String():
		return "held and fresh"
	case listing.Stale.String():
		return "held but stale; the next request " + v.Next
	case heldAdopted:
		return "held: a file that was laid into the tree, not fetched; the next request " + v.Next
	case heldNegative:
		return "the upstream answered " + strconv.Itoa(v.Status) + " " + http.StatusText(v.Status)
	}
	if v.Filling {
		return "not held yet: it is being fetched now"
	}
	return "not held; the next request " + v.Next
}

// facts are the lines of the page, first what a reader came for.
func (s *Server) facts(v *entryView) []fact {
	var out []fact
	add := func(name string, value string, code bool) {
		switch text := string(appendEscaped(nil, value)); {
		case value == "":
		case code:
			out = append(out, fact{name, template.HTML("<code>" + text + "</code>")}) // escaped above
		default:
			out = append(out, fact{name, template.HTML(text)})
		}
	}
	add("Size", sizeWords(v.Size), false)
	add("SHA-256", v.SHA256, true)
	add("Modified", s.moment(v.ModTime), false)
	if l := v.Listing; l != nil {
		add("Listing", string(appendCounted(nil, l.Entries, "entry", "entries"))+", of "+s.moment(&l.AsOf), false)
	}
	if l := v.Listed; l != nil && v.Held == listing.Absent.String() {
		size := sizeWords(l.Size)
		if l.Size != nil && !l.SizeExact {
			size = "about " + string(appendSize(nil, *l.Size))
		}
		add("Listed size", size, false)
		add("Listed time", s.moment(l.ModTime), false)
		add("Listing of", s.moment(&l.AsOf), false)
	}
	if m := v.Mirrored; m != nil {
		add("Mirrored", "with "+m.Subtree+", as of "+s.moment(&m.AsOf), false)
	}
	add("Held since", s.moment(v.Since), false)
	if v.Received != nil && !v.Received.Equal(*v.Since) {
		add("Last confirmed", s.moment(v.Received), false)
	}
	if f := v.Freshness; f != nil {
		word := "stale since "
		if f.Fresh {
			word = "fresh until "
		}
		rule := ""
		if f.Rule != "" {
			rule = ", by " + f.Rule
		}
		add("Freshness", word+s.moment(&f.Expires), false)
		add("Lifetime", span(f.Lifetime)+rule+"; age "+span(f.Age), false)
	}
	if v.Validators != nil {
		add("ETag", v.Validators.ETag, true)
		add("Last-Modified", v.Validators.LastModified, true)
	}
	add("Fetched from", v.From, true)
	if v.Upstream != v.From {
		add("Upstream", v.Upstream, true)
	}
	add("Key", v.Key, true)
	return out
}

func sizeWords(n *int64) string {
	switch {
	case n == nil:
		return ""
	case *n < 1024:
		return string(appendCounted(nil, int(*n), "byte", "bytes"))
	}
	return string(appendSize(nil, *n)) + " (" + string(appendCounted(nil, int(*n), "byte", "bytes")) + ")"
}

// moment is a time for people, and how long ago it was.
func (s *Server) moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	text := t.UTC().Format("2006-01-02 15:04:05 UTC")
	if d := s.cfg.Now().Sub(*t); d >= 0 {
		text += ", " + ago(d)
	}
	return text
}

// span is a number of seconds for people.
func span(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= 48*time.Hour:
		return strconv.FormatInt(seconds/86400, 10) + " days"
	case d >= 2*time.Hour:
		return strconv.FormatInt(seconds/3600, 10) + " h"
	case d >= 2*time.Minute:
		return strconv.FormatInt(seconds/60, 10) + " min"
	}
	return strconv.FormatInt(seconds, 10) + " s"
}

func commands(v *entryView) []command {
	out := []command{{"curl", v.Fetch.Curl}, {"wget", v.Fetch.Wget}}
	if v.Fetch.Check != "" {
		out = append(out, command{"check it", v.Fetch.Check}, command{"this or none", v.Fetch.Pinned})
	}
	return out
}

// entryFailure says on a page why there is nothing to tell.
func (s *Server) entryFailure(w http.ResponseWriter, r *http.Request, f *failure) error {
	b := appendHead(nil, http.StatusText(f.status)+" · zcache")
	b = append(b, "<header>"+markForm+"<h1><b>"+http.StatusText(f.status)+"</b></h1></header>\n<main><p class=\"none\">"...)
	b = appendEscaped(b, f.detail)
	return writePage(w, f.status, append(b, "</p></main>\n"...))
}
