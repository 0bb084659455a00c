package web

import (
	_ "embed"
	"html/template"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"zcache/internal/mirror"
)

//go:embed assets/mirror.css
var mirrorCSS string

var (
	mirrorStyle  = style + lean(mirrorCSS)
	mirrorPolicy = strings.Replace(browsePolicy, hashSource(style), hashSource(mirrorStyle), 1)
)

// refreshing is how long a browser shows the page of a walk under way before it asks for it again.
const refreshing = 5 * time.Second

var mirrorBody = template.Must(template.New("mirror").Parse(`<div class="bar"><p>{{.Lead}}</p></div>
<main>{{if .Rows}}<table class="walks" aria-label="Subtrees"><thead><tr><th scope="col"><span>Subtree</span></th><th scope="col"><span>State</span></th>` +
	`<th scope="col"><span>Held</span></th><th scope="col"><span>Current as of</span></th><th scope="col"><span>Next walk</span></th></tr></thead>
{{range .Rows}}<tbody><tr><th scope="row">{{if .Open}}<a href="{{.Open}}">{{.Name}}</a>{{else}}{{.Name}}{{end}}</th>` +
	`<td data-of="State"><span class="dot {{.Dot}}"></span>{{.State}}</td><td data-of="Held">{{.Held}}{{with .Size}}<small>{{.}}</small>{{end}}</td>` +
	`<td data-of="Current as of">{{.AsOf}}</td><td data-of="Next walk">{{.Next}}</td></tr>
{{if or .Live .Lines .Bad}}<tr><td colspan="5">{{if .Live}}<progress aria-label="of {{.Name}}" max="100"{{if .Known}} value="{{.Percent}}"{{end}}></progress>{{end}}` +
	`{{range .Lines}}<p>{{.}}</p>{{end}}{{range .Bad}}<p class="bad">{{.}}</p>{{end}}</td></tr>{{end}}</tbody>
{{end}}</table>{{else}}<p class="none">No subtree is mirrored here.</p>{{end}}</main>
<footer><p>{{if .Live}}This page comes anew every {{.Every}} seconds.{{end}}</p><form action="/-/status"><button class="tool">Status</button></form></footer>
`))

// A mirrorRow is a subtree as the page shows it.
type mirrorRow struct {
	Name, Open  string
	Dot, State  string
	Held, Size  string
	AsOf, Next  string
	Lines, Bad  []string
	Live, Known bool // a walk is under way; how far it is
	Percent     int
}

// mirrorPage shows subtrees. It asks to be loaded again only while something goes on, so that a page left open costs nothing.
func (s *Server) mirrorPage(w http.ResponseWriter, r *http.Request, all []mirror.Status) error {
	live, failed := 0, 0
	rows := make([]mirrorRow, len(all))
	for i, st := range all {
		rows[i] = s.mirrorRow(st, r.Host)
		switch {
		case rows[i].Live:
			live++
		case st.State == mirror.StateFailed:
			failed++
		}
	}
	lead := string(appendCounted(nil, len(all), "subtree", "subtrees"))
	if live > 0 {
		lead += " · " + strconv.Itoa(live) + " under way"
	}
	if failed > 0 {
		lead += " · " + strconv.Itoa(failed) + " failed"
	}
	every := strconv.Itoa(int(refreshing / time.Second))
	var body strings.Builder
	if err := mirrorBody.Execute(&body, map[string]any{"Rows": rows, "Lead": lead, "Live": live > 0, "Every": every}); err != nil {
		return err
	}
	head := string(appendHead(nil, "Mirror · zcache"))
	head = strings.Replace(head, "<style>"+style, "<style>"+mirrorStyle, 1)
	if live > 0 {
		head = strings.Replace(head, "<title>", `<meta http-equiv="refresh" content="`+every+"\">\n<title>", 1)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", mirrorPolicy)
	_, err := w.Write([]byte(head + "<header>" + markForm + "<h1><b>Mirror</b></h1></header>\n" + body.String() + pageEnd))
	return err
}

func (s *Server) mirrorRow(st mirror.Status, asked string) mirrorRow {
	row := mirrorRow{Name: st.Name, Open: openAt(st.Name, asked), AsOf: s.moment(&st.Success)}
	if row.Live = st.Live != nil || st.State == mirror.StateWalking || st.State == mirror.StateQueued; !row.Live {
		row.Next = s.nextWords(st)
	}
	row.Dot, row.State = stateWords(st)
	if !st.Success.IsZero() {
		row.Held = string(appendCounted(nil, int(st.Files), "file", "files"))
		if st.Size >= 0 {
			row.Size = string(appendSize(nil, st.Size)) + " in " + string(appendCounted(nil, int(st.Dirs), "directory", "directories"))
		}
	}
	if st.Upstream != "" {
		row.Lines = append(row.Lines, "from "+st.Upstream)
	}
	if f := st.Live; f != nil {
		done := f.Skipped + f.Same + f.Fetched + f.Failed + f.Unkept + f.Denied + f.Would
		if st.Files > 0 {
			row.Known, row.Percent = true, int(min(100, 100*done/st.Files))
		}
		row.Lines = append(row.Lines, liveWords(st, done)...)
	} else if f := st.Last; f != nil {
		row.Lines = append(row.Lines, "the last walk took "+span(int64(f.Elapsed/time.Second))+": "+foundWords(f))
	}
	if st.Err != "" {
		row.Bad = append(row.Bad, st.Err)
	}
	if st.Held > 0 {
		row.Bad = append(row.Bad, string(appendCounted(nil, int(st.Held), "entry that is", "entries that are"))+
			" gone upstream stayed, for so many at once look like a mistake there; a walk with confirm_purge removes them")
	}
	return row
}

// stateWords are the class of a state's dot and what people are told of it.
func stateWords(st mirror.Status) (dot, words string) {
	switch st.State {
	case mirror.StateQueued:
		return "stale", "waits for its turn"
	case mirror.StateWalking:
		if st.DryRun {
			return "stale", "being looked at"
		}
		return "stale", "being walked"
	case mirror.StatePaused:
		return "stale", "paused"
	case mirror.StateSuccess:
		return "fresh", "mirrored"
	case mirror.StateFailed:
		if st.Failed > 1 {
			return "absent", "failed " + strconv.Itoa(st.Failed) + " times"
		}
		return "absent", "failed"
	}
	return "absent", "never walked"
}

// nextWords say when a touch starts a walk: none starts by itself.
func (s *Server) nextWords(st mirror.Status) string {
	if d := st.Next.Sub(s.cfg.Now()); d > 0 {
		return "when touched, in " + span(int64(d/time.Second)) + " at the earliest"
	}
	return "when touched"
}

// liveWords tell of a walk under way.
func liveWords(st mirror.Status, done int64) []string {
	f := st.Live
	progress := string(appendNumber(nil, int(done)))
	if st.Files > 0 {
		progress += " of about " + string(appendCounted(nil, int(st.Files), "file", "files"))
	} else {
		progress += " of the " + string(appendCounted(nil, int(f.Files), "file", "files")) + " listed so far"
	}
	if f.Rate >= 1 {
		progress += ", " + string(appendSize(nil, int64(f.Rate))) + "/s"
	}
	if f.ETA > 0 {
		progress += ", about " + span(int64(f.ETA/time.Second)) + " left"
	}
	out := []string{progress, foundWords(f)}
	if f.At != "" {
		out = append(out, "at "+f.At)
	}
	if f.LastError != "" {
		out = append(out, "not had: "+f.LastError)
	}
	return out
}

// foundWords sum up what a walk did, without what there was none of.
func foundWords(f *mirror.Figures) string {
	out := string(appendCounted(nil, int(f.Dirs), "directory", "directories")) + " and " + string(appendCounted(nil, int(f.Files), "file", "files"))
	for _, part := range []struct {
		n     int64
		words string
	}{
		{f.Skipped, "unchanged by the listing"}, {f.Same, "asked for and unchanged"}, {f.Fetched, "fetched"}, {f.Would, "to be asked for"}, {f.Removed, "removed"},
		{f.HeldBack, "held back"}, {f.Denied, "denied"}, {f.Unkept, "not to be kept"}, {f.Failed, "failed"},
	} {
		if part.n > 0 {
			out += ", " + string(appendNumber(nil, int(part.n))) + " " + part.words
		}
	}
	if f.Bytes > 0 {
		out += "; " + string(appendSize(nil, f.Bytes)) + " fetched"
	}
	return out + "; " + string(appendCounted(nil, int(f.Requests), "request", "requests"))
}

// openAt is where a click on a subtree's name leads: its directory, at the port that this page was asked at. It is "" for a name that is no path.
func openAt(name, asked string) string {
	host, ok := strings.CutPrefix(name, "//")
	if !ok {
		if !strings.HasPrefix(name, "/") {
			return ""
		}
		return strings.TrimSuffix(name, "/") + "/"
	}
	host, path, _ := strings.Cut(host, "/")
	if _, port := hostPort(asked); port != "" {
		host = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	if path != "" {
		path += "/"
	}
	return "//" + host + "/" + path
}
