package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"

	"zcache/internal/auth"
	"zcache/internal/cache"
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

// page writes the JSON of v as a table.
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
	b := appendHead(nil, title+" · zcache")
	b = append(b, "<header>"+markForm+"<h1><b>"...)
	b = appendEscaped(b, title)
	b = append(b, "</b></h1></header>\n<main class=\"facts\">"...)
	b = append(b, body.String()...)
	return writePage(w, http.StatusOK, append(b, "</main>\n"...))
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

// A hubRow is a hub as the front page shows it.
type hubRow struct {
	HubInfo
	Open     string // where a click leads
	Upstream string // "" for whom it is not
}

// hubsPage is the list of hubs at "/".
var hubsPage = template.Must(template.New("hubs").Parse(`<p class="lead">What this instance keeps.</p>
<main class="hubs">{{if .Hubs}}<table class="list" aria-label="Hubs"><thead><tr{{if .Operator}} class="seen"{{end}}><th scope="col"><span>Hub</span></th>` +
	`<th scope="col"><span>Clients ask for</span></th>{{if .Operator}}<th scope="col"><span>Upstream</span></th>{{end}}</tr></thead><tbody>
{{range $hub := .Hubs}}<tr class="dir{{if $.Operator}} seen{{end}}"><td>{{if .Open}}<a href="{{.Open}}">{{.Name}}</a>{{else}}{{.Name}}{{end}}</td>` +
	`<td>{{.Path}}{{range $i, $h := .Hosts}}{{if or $i $hub.Path}}, {{end}}{{$h}}{{end}}</td>{{if $.Operator}}<td>{{.Upstream}}</td>{{end}}</tr>
{{end}}</tbody></table>{{else}}<p class="none">No hub is configured.</p>{{end}}</main>
<footer><p></p><form action="/-/clients"><button class="tool">Clients</button></form>{{if .Operator}}<form action="/-/mirror"><button class="tool">Mirror</button></form><form action="/-/status"><button class="tool">Status</button></form><form action="/-/metrics"><button class="tool">Metrics</button></form>{{end}}</footer>
`))

// Front is the handler of "/" where no hub is mounted: the list of hubs.
func (s *Server) Front() http.Handler {
	return s.guarded(auth.Read, func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return &failure{http.StatusMethodNotAllowed, "method", "this page takes GET"}
		}
		w.Header().Set("Vary", "Accept")
		hubs := s.visible(r)
		for i := range hubs {
			hubs[i].Policy = nil
		}
		if !prefersHTML(r.Header["Accept"]) {
			w.Header().Set("Content-Type", "application/json")
			return s.encode(w, map[string]any{"hubs": hubs})
		}
		operator := s.observes(r)
		rows := make([]hubRow, len(hubs))
		for i, h := range hubs {
			rows[i] = s.hubRow(h, r.Host, operator)
		}
		var body strings.Builder
		if err := hubsPage.Execute(&body, map[string]any{"Hubs": rows, "Operator": operator}); err != nil {
			return err
		}
		b := append(appendHead(nil, "zcache"), "<header><h1><b class=\"mark\">zcache</b></h1></header>\n"...)
		return writePage(w, http.StatusOK, append(b, body.String()...))
	})
}

func (s *Server) hubRow(h HubInfo, asked string, operator bool) hubRow {
	row := hubRow{HubInfo: h, Open: h.Path}
	if h.Path == "" && len(h.Hosts) > 0 {
		row.Open = "//" + h.Hosts[0] + "/"
		if _, port := hostPort(asked); port != "" {
			row.Open = "//" + net.JoinHostPort(h.Hosts[0], port) + "/"
		}
	}
	if key, err := cache.ParseKey(h.Name, "/", "", false); operator && err == nil {
		row.Upstream = s.cfg.UpstreamURL(key)
	}
	return row
}
