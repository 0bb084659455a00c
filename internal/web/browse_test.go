package web

import (
	"bytes"
	"iter"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"zcache/internal/listing"
)

var pageNow = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fileRow is a file of which all is known.
func fileRow(name string, size int64, cached listing.State) listing.Row {
	return listing.Row{Cached: cached, Entry: listing.Entry{
		Name: name, Size: size, Kind: listing.File, ModTime: pageNow.Add(-time.Hour), Step: time.Second, SizeExact: true, ZoneKnown: true,
	}}
}

func dirRow(name string) listing.Row {
	return listing.Row{Entry: listing.Entry{Name: name, Size: -1, Kind: listing.Dir}}
}

// pageOf is a listed directory with rows.
func pageOf(rows ...listing.Row) *listing.Page {
	return &listing.Page{
		Path: "/kernel/linux/a%20b/", Mount: "/kernel/", Hub: "kernel", Total: len(rows), Rows: slices.Values(rows), AsOf: pageNow.Add(-3 * time.Minute), Now: pageNow,
	}
}

func browsed(t *testing.T, p *listing.Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := Browse(&b, p); err != nil {
		t.Fatalf("Browse = %v", err)
	}
	return b.String()
}

// body is the page without its head, whose style and script hold any word.
func body(page string) string {
	_, rest, _ := strings.Cut(page, "<body>")
	return rest
}

// elements walks the elements of a page as a browser would build them.
func elements(t *testing.T, page string) iter.Seq[*html.Node] {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(*html.Node) bool) {
		for n := range root.Descendants() {
			if n.Type == html.ElementNode && !yield(n) {
				return
			}
		}
	}
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// linked are the names that a crawler finds below the page, directories with their slash, and the links that lead upward.
func linked(t *testing.T, page, path string) (names, up []string) {
	t.Helper()
	base := &url.URL{Scheme: "http", Host: "z.lab", Path: "/"}
	base, err := base.Parse(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range elements(t, page) {
		if n.Data != "a" {
			continue
		}
		to, err := base.Parse(attr(n, "href"))
		if err != nil {
			t.Errorf("href %q: %v", attr(n, "href"), err)
			continue
		}
		rest, below := strings.CutPrefix(to.EscapedPath(), base.EscapedPath())
		if !below || rest == "" {
			up = append(up, to.EscapedPath())
			continue
		}
		name, err := url.PathUnescape(strings.TrimSuffix(rest, "/"))
		if err != nil || to.Host != base.Host || to.RawQuery != "" || to.Fragment != "" {
			t.Errorf("href %q leads to %s", attr(n, "href"), to)
		}
		if strings.HasSuffix(rest, "/") {
			name += "/"
		}
		names = append(names, name)
	}
	return names, up
}

func TestCrawlersFindTheEntriesAndNothingElse(t *testing.T) {
	var rows []listing.Row
	var want []string
	for i, name := range oddNames {
		if i%3 == 0 {
			rows, want = append(rows, dirRow(name)), append(want, name+"/")
			continue
		}
		r := fileRow(name, 1, listing.State(i%3))
		r.Target, r.Link = oddNames[len(oddNames)-1-i], i%2 == 0
		rows, want = append(rows, r), append(want, name)
	}
	p := pageOf(rows...)
	p.HasRaw, p.Query.Limit = true, len(rows)
	page := browsed(t, p)
	names, up := linked(t, page, p.Path)
	if !slices.Equal(names, want) {
		t.Errorf("links = %q, want %q", names, want)
	}
	if want := []string{"/kernel/", "/kernel/linux/"}; !slices.Equal(up, want) {
		t.Errorf("links upward = %q, want %q", up, want)
	}
	harmless(t, page)
}

// harmless holds that nothing in a page runs or loads but its own style, script and icon.
func harmless(t *testing.T, page string) {
	t.Helper()
	count := map[string]int{}
	for n := range elements(t, page) {
		count[n.Data]++
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "src" || a.Key == "srcdoc" || a.Key == "formaction" {
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			}
		}
		if h := attr(n, "href"); n.Data == "a" && !strings.HasPrefix(h, "./") && !strings.HasPrefix(h, "/") || n.Data == "link" && !strings.HasPrefix(h, "data:image/svg+xml,") {
			t.Errorf("<%s href=%q>", n.Data, h)
		}
	}
	if count["script"] != 1 || count["style"] != 1 || count["link"] != 1 {
		t.Errorf("page has %d scripts, %d styles, %d linked things, want one of each", count["script"], count["style"], count["link"])
	}
	for _, bad := range []string{"img", "iframe", "object", "embed", "base", "svg", "video", "audio", "image"} {
		if count[bad] > 0 {
			t.Errorf("page has <%s>", bad)
		}
	}
}

func FuzzBrowse(f *testing.F) {
	for i, name := range oddNames {
		f.Add(name, oddNames[len(oddNames)-1-i], i%2 == 0, int64(i))
	}
	f.Fuzz(func(t *testing.T, name, target string, dir bool, size int64) {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return // no Entry has such a name
		}
		r := fileRow(name, size, listing.Stale)
		r.Target, r.SizeExact = target, size%2 == 0
		want := name
		if dir {
			r.Kind, want = listing.Dir, name+"/"
		}
		p := pageOf(fileRow("first.iso", 1, listing.Fresh), r)
		p.Hub = target
		page := browsed(t, p)
		names, _ := linked(t, page, p.Path)
		if !slices.Equal(names, []string{"first.iso", want}) {
			t.Errorf("links = %q, want first.iso and %q", names, want)
		}
		harmless(t, page)
		for n := range elements(t, page) {
			if n.Data == "button" && attr(n, "name") == "url" && (n.Parent.Data != "form" || n.Parent.Parent.Data != "td") {
				t.Errorf("a button is in <%s>", n.Parent.Data)
			}
		}
	})
}

func TestRows(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	entry := func(change func(*listing.Row)) listing.Row {
		r := fileRow("x", 5000, listing.Fresh)
		r.ModTime = at
		change(&r)
		return r
	}
	for _, row := range []struct {
		claim string
		row   listing.Row
		want  string
	}{
		{"all is known", entry(func(*listing.Row) {}), `<tr class="file fresh"><td><a href="./x">x</a></td><td><data value="5000">4.9 KiB</data></td>` +
			`<td><time datetime="2026-03-04T05:06:07Z">2026-03-04 05:06</time></td><td><form action="/-/entry"><button name="url" value="/kernel/linux/a%20b/x">held</button></form></td></tr>`},
		{"a rounded size says so", entry(func(r *listing.Row) { r.SizeExact = false }), "<td>≈ 4.9 KiB</td>"},
		{"an unknown size is left out", entry(func(r *listing.Row) { r.Size = -1 }), "</a></td><td></td><td>"},
		{"an unknown time is left out", entry(func(r *listing.Row) { r.ModTime = time.Time{} }), "</td><td></td><td><form"},
		{"a time to the minute", entry(func(r *listing.Row) { r.Step = time.Minute }), `<time datetime="2026-03-04T05:06Z">2026-03-04 05:06</time>`},
		{"a day", entry(func(r *listing.Row) { r.Step = 24 * time.Hour }), `<time datetime="2026-03-04">2026-03-04</time>`},
		{"an uncertain zone", entry(func(r *listing.Row) { r.ZoneKnown = false }), `<time datetime="2026-03-04T05:06:07">2026-03-04 05:06</time>`},
		{"stale", entry(func(r *listing.Row) { r.Cached = listing.Stale }), `x">stale</button>`},
		{"absent", entry(func(r *listing.Row) { r.Cached = listing.Absent }), `x">not held</button>`},
		{"a link", entry(func(r *listing.Row) { r.Link, r.Target = true, "../<y>" }), `<tr class="file fresh link"><td><a href="./x">x</a> <span>→ ../&lt;y&gt;</span></td>`},
		{"neither file nor directory", entry(func(r *listing.Row) { r.Kind = listing.Other }), `<tr class="odd fresh">`},
		{"a directory", dirRow("d"), `<tr class="dir absent"><td><a href="./d/">d/</a></td><td></td><td></td><td></td></tr>`},
		{"a directory with a kept listing", listing.Row{Cached: listing.Fresh, Entry: dirRow("d").Entry}, `value="/kernel/linux/a%20b/d/">listed</button>`},
	} {
		if page := body(browsed(t, pageOf(row.row))); !strings.Contains(page, row.want) {
			t.Errorf("%s: page has no %s\n%s", row.claim, row.want, page)
		}
	}
}

func TestSizes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 10188: "9.9 KiB", 10189: "10 KiB", 1023 << 10: "1023 KiB", 1<<20 - 1: "1.0 MiB",
		148387968: "142 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := string(appendSize(nil, n)); got != want {
			t.Errorf("appendSize(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	one := fileRow("a.iso", 1<<20, listing.Fresh)
	for _, row := range []struct {
		claim  string
		change func(*listing.Page)
		want   []string
		not    []string
	}{
		{
			"a listed directory", func(*listing.Page) {},
			[]string{">1 entry<", `<time class="ago" datetime="2026-11-21T11:57:00Z">3 min ago</time>`, "2026-11-21 11:57 UTC", "1 of 1 file held, 1.0 MiB", `<b aria-current="page"><bdi>a b</bdi></b>`, `data-whole`},
			[]string{"mirrored", "role=\"status\"", `name="raw"`, `class="pages"`, "disabled"},
		},
		{
			"off line", func(p *listing.Page) { p.Offline, p.Stale = true, true },
			[]string{`role="status"`, "out of reach", "3 min ago", " off\""}, []string{"· listed"},
		},
		{
			"off line and made here", func(p *listing.Page) { p.Offline, p.Made, p.AsOf = true, true, time.Time{} },
			[]string{"out of reach", "others may be missing"}, []string{"0001"},
		},
		{"made here", func(p *listing.Page) { p.Made, p.AsOf = true, time.Time{} }, []string{"gives no listing", "others may be missing"}, []string{"out of reach"}},
		{
			"mirrored", func(p *listing.Page) { p.Mirrored = pageNow.Add(-time.Hour) },
			[]string{`mirrored, as of <time class="w" datetime="2026-11-21T11:00:00Z">2026-11-21 11:00 UTC</time>`, "· listed"}, nil,
		},
		{
			"mirrored and off line", func(p *listing.Page) { p.Mirrored, p.Offline, p.Stale = pageNow.Add(-time.Hour), true, true },
			[]string{"out of reach", "mirrored, as of"}, nil,
		},
		{"old", func(p *listing.Page) { p.Stale = true }, []string{"Not confirmed by the upstream"}, []string{"out of reach"}},
		{"owned here", func(p *listing.Page) { p.Local, p.Offline, p.Made = true, true, true }, []string{"this instance owns it"}, []string{`role="status"`}},
		{"with the upstream's page", func(p *listing.Page) { p.HasRaw = true }, []string{`name="raw" value="1"`}, nil},
		{
			"empty", func(p *listing.Page) { p.Total, p.Rows = 0, slices.Values([]listing.Row{}) },
			[]string{"This directory is empty.", "0 entries"}, []string{"<tbody>", `id="find"`, "held,"},
		},
		{
			"a part in the middle", func(p *listing.Page) {
				p.Total, p.Query = 1000, listing.Query{Limit: 1, Offset: 500, Sort: "size", Order: "desc"}
			},
			[]string{"501–501 of 1,000", `name="offset" value="499">Previous`, `name="offset" value="501">Next`, `<input type="hidden" name="limit" value="1">`, `aria-sort="descending"`},
			[]string{"data-whole", "disabled", "byname"},
		},
		{"the first part", func(p *listing.Page) { p.Total, p.Query = 2, listing.Query{Limit: 1} }, []string{`disabled>Previous`, "1–1 of 2"}, []string{"disabled>Next"}},
		{"the last part", func(p *listing.Page) { p.Total, p.Query = 2, listing.Query{Limit: 1, Offset: 1} }, []string{`value="0">Previous`, `disabled>Next`}, nil},
		{
			"past the end", func(p *listing.Page) {
				p.Total, p.Query, p.Rows = 2, listing.Query{Limit: 1, Offset: 9}, slices.Values([]listing.Row{})
			},
			[]string{"ends before this page"}, []string{"This directory is empty", "10–"},
		},
		{"at the root", func(p *listing.Page) { p.Path, p.Mount = "/", "/" }, []string{`<h1><b aria-current="page">kernel</b></h1>`}, nil},
		{"hostile words", func(p *listing.Page) { p.Hub, p.Path = "<hub>", `/kernel/"><script>x</script>/` }, []string{"&lt;hub&gt;", "&lt;script&gt;"}, []string{"<hub>", "<script>"}},
	} {
		p := pageOf(one)
		row.change(p)
		page := body(browsed(t, p))
		for _, want := range row.want {
			if !strings.Contains(page, want) {
				t.Errorf("%s: page has no %s\n%s", row.claim, want, page)
			}
		}
		for _, not := range row.not {
			if strings.Contains(page, not) {
				t.Errorf("%s: page has %s\n%s", row.claim, not, page)
			}
		}
	}
}

// The query of every form must be one that package listing takes for ours: any other goes upstream.
func TestFormsAskWhatIsUnderstood(t *testing.T) {
	p := pageOf(fileRow("a", 1, listing.Fresh))
	p.HasRaw, p.Total, p.Query = true, 10, listing.Query{Format: "html", Sort: "time", Order: "asc", Limit: 1, Offset: 3}
	shared, forms := map[string][]string{}, 0
	var ask func(n *html.Node, form string)
	ask = func(n *html.Node, form string) {
		if n.Data == "form" {
			if form = attr(n, "id"); attr(n, "action") != "" {
				form = "elsewhere"
			}
			shared[form] = nil
		}
		of := form
		if f := attr(n, "form"); f != "" {
			of = f
		}
		part := attr(n, "name") + "=" + attr(n, "value")
		switch {
		case of == "elsewhere" || n.Data == "input" && attr(n, "type") != "hidden":
		case n.Data == "input":
			shared[of] = append(shared[of], part)
		case n.Data == "button" && (attr(n, "name") != "" || attr(n, "form") != ""):
			query := strings.Join(append(slices.Clone(shared[of]), part), "&")
			if _, ok := listing.ParseQuery(strings.TrimSuffix(query, "&=")); !ok {
				t.Errorf("a form asks for ?%s, which is not ours", query)
			}
			forms++
		}
		for c := range n.ChildNodes() {
			ask(c, form)
		}
	}
	root, err := html.Parse(strings.NewReader(browsed(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	ask(root, "")
	if forms != 7 {
		t.Errorf("page has %d ways to ask, want three columns, two pages, JSON and the upstream's page", forms)
	}
}
