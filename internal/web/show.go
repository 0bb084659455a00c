package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
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
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{if ne .Title "zcache"}}{{.Title}} · {{end}}zcache</title>
<style>
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 15%,transparent)}
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
th{font-weight:600;white-space:nowrap;width:11rem}tr:last-child>*{border-bottom:0}td>table+table{border-top:3px double var(--line)}
code{font:13px ui-monospace,monospace}
@media(max-width:40rem){tr{display:block;border-bottom:1px solid var(--line)}th,td{display:block;border:0;padding:.1rem .3rem;width:auto}}
</style></head><body><h1>{{.Title}}</h1>{{if .Note}}<p>{{.Note}}</p>{{end}}{{.Body}}</body></html>
`))

func (s *Server) page(w http.ResponseWriter, title string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var body strings.Builder
	if err := render(&body, d); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return pages.Execute(w, map[string]any{"Title": title, "Body": template.HTML(body.String())}) // render escapes every value
}

// render writes the next JSON value as nested tables, members in the order in which they come: the views begin with what matters most.
func render(b *strings.Builder, d *json.Decoder) error {
	tok, err := d.Token()
	if err != nil {
		return err
	}
	switch tok {
	case json.Delim('{'):
		return renderObject(b, d)
	case json.Delim('['):
		if !d.More() {
			b.WriteString("none")
		}
		for d.More() {
			if err := render(b, d); err != nil {
				return err
			}
		}
		_, err := d.Token()
		return err
	case nil:
		b.WriteString("unknown")
	default:
		b.WriteString("<code>" + template.HTMLEscapeString(fmt.Sprint(tok)) + "</code> ")
	}
	return nil
}

func renderObject(b *strings.Builder, d *json.Decoder) error {
	b.WriteString("<table>")
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		b.WriteString("<tr><th scope=row>" + template.HTMLEscapeString(strings.ReplaceAll(fmt.Sprint(name), "_", " ")) + "</th><td>")
		if err := render(b, d); err != nil {
			return err
		}
		b.WriteString("</td></tr>")
	}
	b.WriteString("</table>")
	_, err := d.Token()
	return err
}

// hubsPage is the list of hubs at "/".
var hubsPage = template.Must(template.New("hubs").Parse(`<table>{{range .Hubs}}<tr><th scope=row>{{.Name}}</th><td>` +
	`{{if .Path}}<a href="{{.Path}}">{{.Path}}</a> {{end}}{{range .Hosts}}{{.}} {{end}}</td></tr>{{end}}</table>` +
	`{{if .Operator}}<p>How it is doing: <a href="/-/status">status</a>, <a href="/-/metrics">metrics</a>.</p>{{end}}`))

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
		operator := s.cfg.Guard.Allow(s.cfg.Guard.Identify(r), auth.Observe) == nil
		var body strings.Builder
		if err := hubsPage.Execute(&body, map[string]any{"Hubs": hubs, "Operator": operator}); err != nil {
			return err
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		return pages.Execute(w, map[string]any{"Title": "zcache", "Note": "What this instance keeps:", "Body": template.HTML(body.String())})
	})
}
