package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"

	"zcache/internal/auth"
)

// show answers with v as JSON, or as a page where the client prefers one.
func (s *Server) show(w http.ResponseWriter, r *http.Request, title string, v any) error {
	w.Header().Set("Vary", "Accept")
	if !prefersHTML(r.Header["Accept"]) {
		w.Header().Set("Content-Type", "application/json")
		return s.encode(w, v)
	}
	return s.page(w, title, v)
}

func (s *Server) encode(w http.ResponseWriter, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// prefersHTML says that text/html outranks application/json in an Accept field.
func prefersHTML(lines []string) bool {
	html, json := -1.0, -1.0
	for part := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		name, params, _ := strings.Cut(part, ";")
		q := 1.0
		for p := range strings.SplitSeq(params, ";") {
			if name, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(name, "q") {
				q, _ = strconv.ParseFloat(v, 64)
			}
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "text/html", "application/xhtml+xml":
			html = max(html, q)
		case "application/json":
			json = max(json, q)
		}
	}
	return html > 0 && html > json
}

var pages = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{{.Title}} · zcache</title>
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid color-mix(in srgb,currentColor 15%,transparent);overflow-wrap:anywhere}
th{font-weight:600;white-space:nowrap}code{font:13px ui-monospace,monospace}
</style></head><body><h1>{{.Title}}</h1>{{if .Note}}<p>{{.Note}}</p>{{end}}{{.Body}}</body></html>
`))

func (s *Server) page(w http.ResponseWriter, title string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return err
	}
	var body strings.Builder
	render(&body, tree)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pages.Execute(w, map[string]any{"Title": title, "Body": template.HTML(body.String())}) // render escapes every value
}

// render writes a JSON value as nested tables.
func render(b *strings.Builder, v any) {
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		sort.Strings(names)
		b.WriteString("<table>")
		for _, n := range names {
			b.WriteString("<tr><th scope=row>" + template.HTMLEscapeString(strings.ReplaceAll(n, "_", " ")) + "</th><td>")
			render(b, v[n])
			b.WriteString("</td></tr>")
		}
		b.WriteString("</table>")
	case []any:
		for _, e := range v {
			render(b, e)
		}
		if len(v) == 0 {
			b.WriteString("none")
		}
	case nil:
		b.WriteString("unknown")
	default:
		b.WriteString("<code>" + template.HTMLEscapeString(fmt.Sprint(v)) + "</code>")
	}
}

// hubsPage is the list of hubs at "/".
var hubsPage = template.Must(template.New("hubs").Parse(`<table>{{range .}}<tr><td>{{if .Path}}<a href="{{.Path}}">{{.Name}}</a>{{else}}{{.Name}}{{end}}</td><td>{{range .Hosts}}{{.}} {{end}}</td></tr>{{end}}</table>`))

// Front is the handler of "/" where no hub is mounted: the list of hubs.
func (s *Server) Front() http.Handler {
	return s.guarded(auth.Read, func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return &failure{http.StatusMethodNotAllowed, "method", "this page takes GET"}
		}
		w.Header().Set("Vary", "Accept")
		hubs := slices.Clone(s.cfg.Hubs())
		for i := range hubs {
			hubs[i].Policy = nil
		}
		if !prefersHTML(r.Header["Accept"]) {
			w.Header().Set("Content-Type", "application/json")
			return s.encode(w, map[string]any{"hubs": hubs})
		}
		var body strings.Builder
		if err := hubsPage.Execute(&body, hubs); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return pages.Execute(w, map[string]any{"Title": "zcache", "Note": "What this instance keeps:", "Body": template.HTML(body.String())})
	})
}
