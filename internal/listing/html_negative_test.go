package listing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// htmlOthers are pages that are no listing of their directory, though some hold links to its children.
var htmlOthers = []struct {
	name string
	url  string
	page string
	want error
}{
	{"a project's home page", "http://mirror.example/", `<!doctype html><html><head><title>Frobnicator</title></head><body><nav><ul><li><a href="docs/">Docs</a></li><li><a href="download/">Download</a></li><li><a href="about.html">About</a></li></ul></nav><h1>Frobnicator</h1><p>Frobnicator is a small tool that does one thing. It was begun in 2003 and is kept by volunteers. See the <a href="docs/">documentation</a>, <a href="news.html">news</a> and <a href="https://forge.example/frob">the source</a>.</p><ul><li><a href="frob-1.0.tar.gz">frob-1.0.tar.gz</a>, the current release</li><li><a href="frob-0.9.tar.gz">frob-0.9.tar.gz</a>, the one before, for old compilers</li></ul></body></html>`, ErrNotListing},
	{"documentation with relative links", "", `<!doctype html><html><head><title>User guide</title></head><body><h1>User guide</h1><ul><li><a href="install.html">Installation</a></li><li><a href="config.html">Configuration</a></li><li><a href="api/">API</a></li></ul></body></html>`, ErrNotListing},
	{"a login page", "", `<html><head><title>Index of /pub/</title></head><body><h1>Index of /pub/</h1><form><input type="text" name="u"><input type="password" name="p"></form><ul><li><a href="register">register</a></li></ul></body></html>`, ErrNotListing},
	{"the shell of an app", "", `<!doctype html><html><head><title>Files</title><script src="/app.js"></script></head><body><div id="app"></div></body></html>`, ErrNotListing},
	{"a listing that a script will fill", "", `<!doctype html><html><head><title>Index of /pub/</title><script>DATA = {"paths":[{"name":"f.txt"}]}</script></head><body><h1>Index of /pub/</h1><table><tbody></tbody></table></body></html>`, ErrNotListing},
	{"a refusal with status 200", "", `<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center><hr><center>nginx</center></body></html>`, ErrForbidden},
	{"an error with status 200", "", `<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1><ul></ul></body></html>`, ErrNotListing},
	{"results of a search", "", `<html><head><title>Search: kernel</title></head><body><h1>Results for kernel</h1><ol><li><a href="/item/1">Linux kernel</a> <p>The kernel of the system, with all that belongs to it.</p></li><li><a href="/item/2">Kernel module</a> <p>Another.</p></li></ol><a href="?q=kernel&amp;page=2">next</a></body></html>`, ErrNotListing},
	{"a package index whose files lie elsewhere", "http://mirror.example/simple/frob/", `<!DOCTYPE html><html><head><title>Links for frob</title></head><body><h1>Links for frob</h1><a href="../../packages/aa/frob-1.0.tar.gz#sha256=00">frob-1.0.tar.gz</a><br/><a href="../../packages/bb/frob-1.1.tar.gz#sha256=11">frob-1.1.tar.gz</a><br/></body></html>`, ErrNotListing},
	{"rows whose hrefs were not escaped", "http://mirror.example/a%23b/", `<html><head><title>Index of /a#b</title></head><body><h1>Index of /a#b</h1><ul><li><a href="/a#b/f.txt">f.txt</a></li></ul></body></html>`, ErrNotListing},
	{"rows that lead to queries of the page", "", `<html><head><title>Index of /pub/</title></head><body><table><tr><td><a href="?dir=a">a</a></td><td>2026-11-20 08:01</td></tr><tr><td><a href="?dir=b">b</a></td><td>2026-11-20 08:01</td></tr></table></body></html>`, ErrNotListing},
	{"a file of the directory that plays a listing", "", `<html><head><title>Index of nothing</title></head><body><h1>Index of nothing</h1><pre><a href="../">../</a>
<a href="fake.txt">fake.txt</a>   01-Jan-2020 00:00   123
</pre></body></html>`, ErrNotListing},
	{"a table of releases in a page of prose", "http://mirror.example/", `<html><head><title>Frobnicator releases</title></head><body><h1>Download</h1><p>` + strings.Repeat("Please read the notes before you use any of these. ", 12) + `</p><table><tr><td><a href="frob-1.0.tar.gz">frob-1.0.tar.gz</a></td><td>1.2M</td><td>2026-01-02</td></tr></table></body></html>`, ErrNotListing},
	{"a manual's index of what is new", "http://mirror.example/doc/frob/", `<html><head><title>Index of new API in 1.6: The frob Reference Manual</title></head><body><table class="navigation"><tr><td><a href="#idxA">A</a></td><td><a accesskey="h" href="index.html"><img src="home.png" alt="Home"></a></td><td><a accesskey="p" href="old.html"><img src="left.png" alt="Prev"></a></td></tr></table><h1>Index of new API in 1.6</h1><h3>A</h3><dt><a href="frob-frob.html#frob-ask" title="frob_ask ()">frob_ask</a>, function in <a href="frob-frob.html">frob</a></dt><dd></dd></body></html>`, ErrNotListing},
	{"a manual's index without one", "http://mirror.example/doc/frob/", `<html><head><title>Index of new API in 1.6: The frob Reference Manual</title></head><body><h1>Index of new API in 1.6</h1><table><tr><td><a href="/doc/">Up</a></td></tr></table></body></html>`, ErrNotListing},
	{"a list of files and nothing else, without sizes", "http://mirror.example/", `<html><head><title>Notes</title></head><body><ul><li><a href="a.txt">a.txt</a></li><li><a href="b.txt">b.txt</a></li></ul></body></html>`, ErrNotListing},
	{"rows with sizes, and words besides", "http://mirror.example/", `<html><head><title>Notes</title></head><body><p>My notes</p><ul><li><a href="a.txt">a.txt</a> <span>7 B</span></li><li><a href="d/">d/</a></li></ul></body></html>`, ErrNotListing},
	{"rows with sizes, and one that shows another name", "http://mirror.example/", `<html><head><title>Notes</title></head><body><ul><li><a href="a/">a/</a></li><li><a href="b/">b/</a></li><li><a href="c/">c/</a></li><li><a href="d.txt">d.txt</a> <span>7 B</span></li><li><a href="e/">Drafts</a> <span>7 B</span></li></ul></body></html>`, ErrNotListing},
	{"rows with sizes, and a link elsewhere", "http://mirror.example/", `<html><head><title>Notes</title></head><body><div><a href="https://forge.example/">Forge</a></div><ul><li><a href="a.txt">a.txt</a> <span>7 B</span></li><li><a href="d/">d/</a></li></ul></body></html>`, ErrNotListing},
	{"rows with sizes, and a link to a child without", "http://mirror.example/", `<html><head><title>Notes</title></head><body><ul><li><a href="a.txt">a.txt</a> <span>7 B</span></li><li><a href="d/">d/</a></li></ul><ol><li><a href="about">about</a></li></ol></body></html>`, ErrNotListing},
	{"rows with sizes, and a script that may add others", "http://mirror.example/", `<html><head><title>Notes</title><script>more()</script></head><body><ul><li><a href="a.txt">a.txt</a> <span>7 B</span></li><li><a href="d/">d/</a></li></ul></body></html>`, ErrNotListing},
	{"rows with sizes, without the body's end", "http://mirror.example/", `<title>Notes</title><ul><li><a href="a.txt">a.txt</a> <span>7 B</span></li><li><a href="d/">d/</a></li></ul>`, ErrNotListing},
	{"a list of directories and nothing else", "http://mirror.example/", `<html><head><title>Notes</title></head><body><ul><li><a href="c/">c/</a></li><li><a href="d/">d/</a></li></ul></body></html>`, ErrNotListing},
	{"a manual's index at the root", "http://mirror.example/", `<html><head><title>Index of deprecated API</title></head><body><h1>Index of deprecated API</h1><dl><dt><a href="frob.html#frob-ask">frob_ask</a></dt><dt><a href="from.html#from-ask">from_ask</a></dt></dl></body></html>`, ErrNotListing},
	{"a program's text in which names and sizes come up", "http://mirror.example/", "<html><head><title>Notes</title></head><body><pre>" + strings.Repeat("x = x + 1\n", maxTried) + `print name, size
see <a href="a.txt">a.txt</a>
and <a href="b.txt">b.txt</a>
</pre></body></html>`, ErrNotListing},
	{"no page at all", "", `<`, ErrNotListing},
	{"a page that is only a heading", "", `<html><head><title>Index of /pub/</title></head><body><h1>Index of /pub/</h1></body></html>`, ErrNotListing},
	{"a text that says nothing", "", "<p>It works!</p>", ErrNotListing},
}

func TestHTMLOthers(t *testing.T) {
	for _, one := range htmlOthers {
		t.Run(one.name, func(t *testing.T) {
			l, err := parseHTML(pageSource(t, one.url), strings.NewReader(one.page))
			if !errors.Is(err, one.want) {
				t.Errorf("parseHTML = %v, %v, want %v", l, err, one.want)
			}
		})
	}
}

// TestHTMLCutShapes cuts each page of the shapes at every byte.
func TestHTMLCutShapes(t *testing.T) {
	for _, one := range htmlPages {
		whole, err := parseHTML(pageSource(t, one.url), strings.NewReader(one.page))
		if err != nil {
			t.Fatalf("%s: %v", one.name, err)
		}
		for at := range len(one.page) {
			l, err := parseHTML(pageSource(t, one.url), strings.NewReader(one.page[:at]))
			if err == nil && shown(l.Entries) != shown(whole.Entries) {
				t.Errorf("%s, cut at %d behind %q: %s, want ErrCut", one.name, at, one.page[max(0, at-20):at], shown(l.Entries))
			}
			if err != nil && !errors.Is(err, ErrCut) && !errors.Is(err, ErrNotListing) {
				t.Errorf("%s, cut at %d: %v, want ErrCut", one.name, at, err)
			}
		}
	}
}

// TestHTMLNext reads where a listing in pages goes on.
func TestHTMLNext(t *testing.T) {
	page := `<html><head><title>Index of /pub/</title>%s</head><body><ul><li><a href="a">a</a></li><li><a href="b">b</a></li></ul>%s</body></html>`
	for _, one := range []struct{ name, head, foot, want string }{
		{"a link element", `<link rel="next" href="?page=2">`, "", "?page=2"},
		{"a link that says so", "", `<p><a href="?page=3">Next</a></p>`, "?page=3"},
		{"a link with rel", "", `<p><a rel="next" href="/pub/?after=b">on</a></p>`, "?after=b"},
		{"no more", "", `<p><a href="?page=1">Previous</a></p>`, ""},
		{"the next directory is none", `<link rel="next" href="/other/">`, "", ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			l, err := parseHTML(pageSource(t, ""), strings.NewReader(fmt.Sprintf(page, one.head, one.foot)))
			if err != nil || l.Next != one.want || len(l.Entries) != 2 {
				t.Errorf("parseHTML = %+v, %v, want 2 entries and next %q", l, err, one.want)
			}
		})
	}
}

func TestHTMLBroken(t *testing.T) {
	page := `<html><head><title>Index of /pub/</title></head><body><pre><a href="../">../</a>` + "\n" + `<a href="f.txt">f.txt</a>`
	for _, one := range []struct {
		name string
		err  error
		want error
	}{
		{"a connection that breaks has cut the listing", io.ErrUnexpectedEOF, ErrCut},
		{"a listing that is too large says so", ErrTooLarge, ErrTooLarge},
	} {
		t.Run(one.name, func(t *testing.T) {
			body := io.MultiReader(strings.NewReader(page), iotest.ErrReader(one.err))
			if l, err := parseHTML(pageSource(t, ""), body); !errors.Is(err, one.want) {
				t.Errorf("parseHTML = %v, %v, want %v", l, err, one.want)
			}
		})
	}
}

// manyRows writes a page of n rows of nginx's.
func manyRows(n int) []byte {
	var b bytes.Buffer
	b.WriteString("<html><head><title>Index of /pub/</title></head><body><h1>Index of /pub/</h1><hr><pre><a href=\"../\">../</a>\n")
	for i := range n {
		fmt.Fprintf(&b, "<a href=\"package-%07d_1.0%%2B1-2.deb\">package-%07d_1.0+1-2.deb</a>       20-Nov-2026 08:01     %d\n", i, i, i)
	}
	b.WriteString("</pre><hr></body></html>")
	return b.Bytes()
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestHTMLMemory measures what is held where it is most, at the page's end: entries are sorted and handed out in place.
func TestHTMLMemory(t *testing.T) {
	const rows, most = 100_000, 32 << 20
	page := manyRows(rows)
	src := pageSource(t, "")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	atEnd := readerFunc(func([]byte) (int, error) {
		runtime.GC()
		runtime.ReadMemStats(&after)
		return 0, io.EOF
	})
	l, err := parseHTML(src, io.MultiReader(bytes.NewReader(page), atEnd))
	if err != nil || len(l.Entries) != rows {
		t.Fatalf("parseHTML = %v entries, %v, want %d", l, err, rows)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most {
		t.Errorf("parseHTML of %d rows: %d bytes held, want at most %d", rows, grown, most)
	}
	if e := l.Entries[4711]; e.Name != "package-0004711_1.0+1-2.deb" || e.Size != 4711 || e.Kind != File {
		t.Errorf("parseHTML: entry 4711 = %+v, want that of package 4711", e)
	}
}

func BenchmarkHTML(b *testing.B) {
	page := manyRows(100_000)
	src := pageSource(b, "")
	b.SetBytes(int64(len(page)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseHTML(src, bytes.NewReader(page)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHTMLManual refuses two MiB of a manual, which offers a header and values in every line of its code.
func BenchmarkHTMLManual(b *testing.B) {
	chapter := `<h3>Options</h3><p>The <a href="#o">option</a> says what is done with a name that has changed, <code>in bytes</code>. See <a href="more.html">more</a>.</p>
<pre>` + strings.Repeat("func (n *Name) Size() int64 { return n.length } // in bytes, when created\nset option 2026 to 17 from 12 May, until the end of that\n", 10) + `</pre>
<table><tr><td>an option</td><td>what it does, and why that should be wished for</td></tr></table><ul><li>a point of some length</li><li><a href="?q=1">Another</a>, since 2026</li></ul>`
	page := "<html><head><title>The manual</title></head><body>" + strings.Repeat(chapter, 2<<20/len(chapter)) + "</body></html>"
	src := pageSource(b, "")
	b.SetBytes(int64(len(page)))
	for b.Loop() {
		if l, err := parseHTML(src, strings.NewReader(page)); !errors.Is(err, ErrNotListing) {
			b.Fatalf("parseHTML = %v, %v, want %v", l, err, ErrNotListing)
		}
	}
}

func FuzzHTML(f *testing.F) {
	for _, one := range htmlPages {
		f.Add("/pub/", "text/html", []byte(one.page))
	}
	for _, one := range htmlOthers {
		f.Add("/a%2Fb/c", "text/html; charset=gbk", []byte(one.page))
	}
	f.Fuzz(func(t *testing.T, path, contentType string, page []byte) {
		src := pageSource(t, "")
		src.URL.Path, src.ContentType = path, contentType
		l, err := parseHTML(src, bytes.NewReader(page))
		if err != nil {
			return
		}
		for i, e := range l.Entries {
			if e.Name == "" || e.Name == "." || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") {
				t.Errorf("parseHTML: name %q", e.Name)
			}
			if e.Size < -1 || e.Kind == Dir && e.Size != -1 {
				t.Errorf("parseHTML: %q has size %d and kind %d", e.Name, e.Size, e.Kind)
			}
			if i > 0 && l.Entries[i-1].Name >= e.Name {
				t.Errorf("parseHTML: %q before %q", l.Entries[i-1].Name, e.Name)
			}
		}
	})
}

// TestHTMLPathological reads pages that are made to take long. Each is linear in its length, or this test does not end.
func TestHTMLPathological(t *testing.T) {
	const n = 20_000
	for _, one := range []struct{ name, open, part, end string }{
		{"elements in elements", "", "<div>", ""},
		{"links in one cell", "<table><tr><td>", `<a href="x">x</a>`, "</table>"},
		{"spans in one link", `<a href="x">`, "<span>7 B</span>", "</a>"},
		{"empty elements between links", `<a href="x">x</a>`, "<div></div>", `<a href="y">y</a>`},
		{"a list for every name", "", `<ul><li><a href="x">x</a></ul>`, ""},
		{"cells of one row", "<table><tr>", `<td title="7">7`, "</table>"},
		{"lines without links", "<pre>", "2026-11-20 \n", "</pre>"},
		{"dots in an href", `<a href="`, "../", `">x</a>`},
		{"unclosed tables", "", "<table><tr><td>", ""},
		{"a header in every line", "<pre>", "name size date\n", "</pre>"},
		{"a header for every table", "", "<table><tr><th>Name<th>Size</table>", ""},
		{"end tags of what is not open", strings.Repeat("<div>", maxDepth), "</p>", ""},
		{"text deep in a heading", strings.Repeat("<div>", maxDepth-1) + "<h1>", "a<b>b</b>", ""},
		{"headings", "", "<h1>Index of", ""},
	} {
		t.Run(one.name, func(t *testing.T) {
			page := one.open + strings.Repeat(one.part, n) + one.end
			if l, err := parseHTML(pageSource(t, ""), strings.NewReader(page)); err == nil && len(l.Entries) > 2 {
				t.Errorf("parseHTML = %d entries, want 2 at most", len(l.Entries))
			}
		})
	}
}
