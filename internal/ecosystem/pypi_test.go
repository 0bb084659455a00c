package ecosystem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

// page is the page of a project of an index at pypi.example, which is mounted at /pypi/.
func page(form SimpleForm) *SimplePage {
	return &SimplePage{
		Form: form, URL: &url.URL{Scheme: "https", Host: "pypi.example", Path: "/simple/foo/"}, Shown: "/pypi/simple/foo/",
		Place: func(u *url.URL, file bool) string {
			switch {
			case u.Host == "pypi.example":
				return "/pypi" + u.RequestURI()
			case file:
				return "/files/" + u.Scheme + "/" + u.Host + u.RequestURI()
			}
			return ""
		},
	}
}

func rewritten(t *testing.T, p *SimplePage, src string) string {
	t.Helper()
	in := io.Reader(strings.NewReader(src))
	if len(src) < 1<<16 {
		in = iotest.HalfReader(in)
	}
	b, err := io.ReadAll(p.Rewrite(in))
	if err != nil {
		t.Errorf("Rewrite(%.80q): %v", src, err)
	}
	return string(b)
}

func TestLinksOfHTML(t *testing.T) {
	for _, tt := range []struct{ claim, page, want string }{
		{"a file at another host", `<a href="https://files.example/a/foo-1.whl#sha256=ab">foo</a>`, `<a href="/files/https/files.example/a/foo-1.whl#sha256=ab">foo</a>`},
		{"query and fragment stay", `<a href="https://f.example/foo-1.zip?x=1&amp;y=2#md5=0">`, `<a href="/files/https/f.example/foo-1.zip?x=1&amp;y=2#md5=0">`},
		{"attributes stay as written", "<A data-yanked\n data-requires-python='&gt;=3.8' HREF='http://f.example/foo-1.whl'  data-core-metadata=sha256=ab>", "<A data-yanked\n data-requires-python='&gt;=3.8' HREF=\"/files/http/f.example/foo-1.whl\"  data-core-metadata=sha256=ab>"},
		{"without quotes", `<a href=https://f.example/foo-1.whl>x</a>`, `<a href="/files/https/f.example/foo-1.whl">x</a>`},
		{"without quotes, self-closing", `<a href=https://f.example/foo-1.whl />`, `<a href="/files/https/f.example/foo-1.whl" />`},
		{"space around the equals sign", `<a href = "https://f.example/foo-1.whl">`, `<a href = "/files/https/f.example/foo-1.whl">`},
		{"slash in place of space", `<a/href="https://f.example/foo-1.whl">`, `<a/href="/files/https/f.example/foo-1.whl">`},
		{"the first of two counts", `<a href="https://f.example/foo-1.whl" href="https://g.example/foo-2.whl">`, `<a href="/files/https/f.example/foo-1.whl" href="https://g.example/foo-2.whl">`},
		{"another attribute holds one", `<a title='href="x"' href="https://f.example/foo-1.whl">`, `<a title='href="x"' href="/files/https/f.example/foo-1.whl">`},
		{"entities in the link", `<a href="https&#58;//f.example/foo&#45;1.whl">`, `<a href="/files/https/f.example/foo-1.whl">`},
		{"what has to be escaped is", `<a href="https://f.example/foo-1.whl?a=&quot;b">`, `<a href="/files/https/f.example/foo-1.whl?a=&#34;b">`},
		{"line breaks inside and space around", "<a href=' https://f.example/\nfoo-1.whl '>", `<a href="/files/https/f.example/foo-1.whl">`},
		{"capitals in scheme and host", `<a href="HTTPS://f.example/foo-1.WHL">`, `<a href="/files/https/f.example/foo-1.WHL">`},
		{"without a scheme", `<a href="//f.example/foo-1.whl">`, `<a href="/files/https/f.example/foo-1.whl">`},
		{"userinfo is dropped", `<a href="https://u:p@f.example/foo-1.whl">`, `<a href="/files/https/f.example/foo-1.whl">`},
		{"a file by its hash alone", `<a href="https://f.example/get/17#sha256=ab">`, `<a href="/files/https/f.example/get/17#sha256=ab">`},
		{"a file by what is told of it", `<a href="https://f.example/get/17" data-requires-python="">`, `<a href="/files/https/f.example/get/17" data-requires-python="">`},
		{"by FTP", `<a href="ftp://f.example/foo-1.tar.gz">`, `<a href="/files/ftp/f.example/foo-1.tar.gz">`},
		{"under the hub's upstream", `<a href="https://pypi.example/packages/foo-1.whl#md5=0">`, `<a href="/pypi/packages/foo-1.whl#md5=0">`},
		{"from the top of the upstream", `<a href="/simple/bar/">bar</a>`, `<a href="/pypi/simple/bar/">bar</a>`},
		{"relative links lead right", `<a href="../../packages/foo-1.whl#md5=0"><a href="foo-1.whl"><a href="?x"><a href="#y"><a href="">`, `<a href="../../packages/foo-1.whl#md5=0"><a href="foo-1.whl"><a href="?x"><a href="#y"><a href="">`},
		{"beyond the top they would not", `<a href="../../../foo-1.whl">`, `<a href="/pypi/foo-1.whl">`},
		{"no file, elsewhere", `<a href="https://foo.example/">`, `<a href="https://foo.example/">`},
		{"no place of HTTP", `<a href="javascript:alert('x.whl')"><a href="data:,x.whl"><a href="mailto:a@b.whl"><a href="git+https://f.example/foo.zip">`, `<a href="javascript:alert('x.whl')"><a href="data:,x.whl"><a href="mailto:a@b.whl"><a href="git+https://f.example/foo.zip">`},
		{"no URL", `<a href="https://f.exa mple/foo-1.whl"><a href="https://[::1/foo.whl"><a href="/%zz.whl">`, `<a href="https://f.exa mple/foo-1.whl"><a href="https://[::1/foo.whl"><a href="/%zz.whl">`},
		{"no link", `<a name=x><a href><link href="https://f.example/a.zip"><abbr href="https://f.example/a.zip">`, `<a name=x><a href><link href="https://f.example/a.zip"><abbr href="https://f.example/a.zip">`},
		{"no markup", `<!-- <a href="https://f.example/foo-1.whl"> --><script>"<a href='https://f.example/foo-1.whl'>"</script><title><a href="https://f.example/foo-1.whl"></title>`, `<!-- <a href="https://f.example/foo-1.whl"> --><script>"<a href='https://f.example/foo-1.whl'>"</script><title><a href="https://f.example/foo-1.whl"></title>`},
		{"a base elsewhere", `<base href="https://f.example/p/"><base href="https://g.example/"><a href="foo-1.whl"><a href="/foo-2.whl"><a href="https://pypi.example/simple/foo/foo-3.whl"><a href="doc/">`, `<base href="/pypi/simple/foo/"><base href="https://g.example/"><a href="/files/https/f.example/p/foo-1.whl"><a href="/files/https/f.example/foo-2.whl"><a href="/pypi/simple/foo/foo-3.whl"><a href="https://f.example/p/doc/">`},
		{"a base of the hub's own", `<base href="/packages/"><a href="foo-1.whl">`, `<base href="/pypi/simple/foo/"><a href="/pypi/packages/foo-1.whl">`},
		{"a base that is none", `<base href="javascript:x"><a href="foo-1.whl">`, `<base href="javascript:x"><a href="foo-1.whl">`},
		{"bytes that are no text", "\xff\x00\r\n<a\xfe href=\"https://f.example/foo-1.whl\"><a href='https://f.example/\xffoo-1.whl'>", "\xff\x00\r\n<a\xfe href=\"https://f.example/foo-1.whl\"><a href=\"/files/https/f.example/%FFoo-1.whl\">"},
		{"a page that ends within a tag", `<p>x<a href="https://f.example/foo-1.whl`, `<p>x<a href="https://f.example/foo-1.whl`},
	} {
		if got := rewritten(t, page(SimpleHTML), tt.page); got != tt.want {
			t.Errorf("%s: %s\nbecame %s\nwant   %s", tt.claim, tt.page, got, tt.want)
		}
	}
}

func TestLinksOfJSON(t *testing.T) {
	for _, tt := range []struct{ claim, page, want string }{
		{"the URLs of files", `{"meta":{"api-version":"1.1"}, "files" : [ {"filename":"foo-1.whl", "url" : "https:\/\/f.example\/foo-1.whl?a&b#x","size":12345678901234567890,"hashes":{"url":"https://f.example/no.whl"}},{"url":"https://f.example/get/2"}],"name":"foo"}`,
			`{"meta":{"api-version":"1.1"}, "files" : [ {"filename":"foo-1.whl", "url" : "/files/https/f.example/foo-1.whl?a&b#x","size":12345678901234567890,"hashes":{"url":"https://f.example/no.whl"}},{"url":"/files/https/f.example/get/2"}],"name":"foo"}`},
		{"relative ones", `{"files":[{"url":"../../p/foo-1.whl"},{"url":"/p/foo-1.whl"}]}`, `{"files":[{"url":"../../p/foo-1.whl"},{"url":"/pypi/p/foo-1.whl"}]}`},
		{"no others", `{"url":"https://f.example/a.whl","projects":[{"url":"https://f.example/a.whl"}],"files":{"url":"https://f.example/a.whl"},"x":{"files":[{"url":"https://f.example/a.whl"}]}}`,
			`{"url":"https://f.example/a.whl","projects":[{"url":"https://f.example/a.whl"}],"files":{"url":"https://f.example/a.whl"},"x":{"files":[{"url":"https://f.example/a.whl"}]}}`},
		{"a value that reads like a name", `{"files":[{"filename":"url","x":"https://f.example/a.whl","url":null,"url":["https://f.example/a.whl"]}]}`, `{"files":[{"filename":"url","x":"https://f.example/a.whl","url":null,"url":["https://f.example/a.whl"]}]}`},
		{"behind a mistake all stays", `{"files":[{"url":"https://f.example/1.whl"} {"url":"https://f.example/2.whl"}]}`, `{"files":[{"url":"/files/https/f.example/1.whl"} {"url":"https://f.example/2.whl"}]}`},
		{"a page that ends too early", `{"files":[{"url":"https://f.example/1.whl"},{"url":"https://f`, `{"files":[{"url":"/files/https/f.example/1.whl"},{"url":"https://f`},
		{"no JSON", `<html>`, `<html>`},
		{"nothing", ``, ``},
		{"too deep to be one", strings.Repeat("[", 500) + strings.Repeat("]", 500) + "\n", strings.Repeat("[", 500) + strings.Repeat("]", 500) + "\n"},
	} {
		if got := rewritten(t, page(SimpleJSON), tt.page); got != tt.want {
			t.Errorf("%s: %s\nbecame %s\nwant   %s", tt.claim, tt.page, got, tt.want)
		}
	}
}

func TestLargePagesStream(t *testing.T) {
	var in, want strings.Builder
	for i := range 110_000 {
		fmt.Fprintf(&in, "<a href=\"https://f.example/packages/ab/foo-%d.whl#sha256=00\">foo-%[1]d.whl</a><br/>\n", i)
		fmt.Fprintf(&want, "<a href=\"/files/https/f.example/packages/ab/foo-%d.whl#sha256=00\">foo-%[1]d.whl</a><br/>\n", i)
	}
	if in.Len() < 8<<20 {
		t.Fatalf("the page has %d bytes", in.Len())
	}
	if got := rewritten(t, page(SimpleHTML), in.String()); got != want.String() {
		t.Errorf("a page of %d bytes became one of %d, want %d", in.Len(), len(got), want.Len())
	}
	read := 0
	src := readerFunc(func(p []byte) (int, error) {
		read += len(p)
		return copy(p, strings.Repeat("<br>", len(p)/4+1)), nil
	})
	if _, err := io.ReadFull(page(SimpleHTML).Rewrite(src), make([]byte, 1000)); err != nil || read > 1<<20 {
		t.Errorf("the first 1000 bytes took %d of the source, %v; want little more", read, err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestBeyondTheBoundsAllStays(t *testing.T) {
	link := `<a href="https://f.example/foo-1.whl">`
	jlink := `{"url":"https://f.example/foo-1.whl"}`
	text := strings.Repeat("x", 1<<16-4)
	long := strings.Repeat("<br>"+text, MaxSimple>>16)
	names := strings.Repeat(`"`+text+`",`+"\n", MaxSimple>>16)
	for claim, tt := range map[string]struct {
		form SimpleForm
		page string
	}{
		"HTML, too long":          {SimpleHTML, long + link},
		"HTML, cut within a link": {SimpleHTML, long[10:] + link},
		"HTML, a tag too long":    {SimpleHTML, "<p " + strings.Repeat("x", 2*longestToken) + ">" + link},
		"JSON, too long":          {SimpleJSON, `{"files":[` + names + jlink + `]}`},
		"JSON, cut within a link": {SimpleJSON, `{"files":[` + `"` + names[31:] + jlink + `]}`},
	} {
		if got := rewritten(t, page(tt.form), tt.page); got != tt.page {
			t.Errorf("%s: %d bytes became %d", claim, len(tt.page), len(got))
		}
	}
}

func TestAPageThatBreaksOffIsNotWhole(t *testing.T) {
	broken := errors.New("broken")
	for _, form := range []SimpleForm{SimpleHTML, SimpleJSON} {
		src := io.MultiReader(strings.NewReader(`{"files":[{"url":"https://f`), iotest.ErrReader(broken))
		if b, err := io.ReadAll(page(form).Rewrite(src)); !errors.Is(err, broken) || !bytes.HasPrefix(b, []byte(`{"files":[`)) {
			t.Errorf("form %d: %q, %v, want the beginning and the source's error", form, b, err)
		}
	}
}

func TestWhatIsASimpleIndex(t *testing.T) {
	for _, tt := range []struct {
		claim, page string
		project     bool
		is, sure    bool
	}{
		{"the version is told", `<!DOCTYPE html><html><head><META content="1.0" Name="pypi:repository-version">`, false, true, true},
		{"another meta", `<head><meta name="generator"></head><body>`, false, false, true},
		{"the version in the body is a text's", `<body><meta name="pypi:repository-version">`, false, false, true},
		{"the head has only begun", `<html><head><title>pypi:repository-version`, false, false, false},
		{"a project's files", `<html><body><h1>Links</h1><a href="../x/">x</a><a href="foo-1.tar.gz">`, true, true, true},
		{"links to files elsewhere than at a project's place", `<a href="foo-1.tar.gz">`, false, false, true},
		{"no file so far", `<body><a href="other">`, true, false, false},
	} {
		if is, sure := LooksSimple([]byte(tt.page), tt.project); is != tt.is || sure != tt.sure {
			t.Errorf("%s: LooksSimple(%q, %v) = %v, %v, want %v, %v", tt.claim, tt.page, tt.project, is, sure, tt.is, tt.sure)
		}
	}
	for path, want := range map[string]bool{
		"/simple/foo/": true, "/simple/foo": true, "/a/simple/foo/index.html": true, "/user/pypi/+simple/foo/": true,
		"/simple/": false, "/simple/foo/bar": false, "/foo/": false, "/": false, "": false, "/nosimple/foo/": false,
	} {
		if got := SimpleProject(path); got != want {
			t.Errorf("SimpleProject(%q) = %v, want %v", path, got, want)
		}
	}
	for kind, want := range map[string]SimpleForm{
		"text/html; charset=utf-8": MaybeSimple, "Application/vnd.PyPI.simple.v1+HTML": SimpleHTML, "application/vnd.pypi.simple.v1+json;x": SimpleJSON,
		"application/json": NotSimple, "": NotSimple,
	} {
		if got := SimpleFormOf(kind); got != want {
			t.Errorf("SimpleFormOf(%q) = %v, want %v", kind, got, want)
		}
	}
}

func TestPagesThatNameAFile(t *testing.T) {
	for file, want := range map[string]string{
		"Foo.Bar_baz-1.0-py3-none-any.whl":      "/simple/foo-bar-baz/",
		"foo-1.0-py3-none-any.whl.metadata":     "/simple/foo/",
		"zope-interface-5.0.tar.gz":             "/simple/zope-interface/",
		"foo-1.0-1-cp311-cp311-manylinux_2.whl": "/foo/",
	} {
		if got := SimplePaths(file); !strings.Contains(" "+strings.Join(got, " ")+" ", " "+want+" ") || len(got) > mostPaths {
			t.Errorf("SimplePaths(%s) = %q, want %s among them", file, got, want)
		}
	}
	if got := SimplePaths("../x%2F-1"); len(got) > 0 {
		t.Errorf("SimplePaths of no file's name = %q", got)
	}
}

// What is not replaced is what was there, however broken the page.
func FuzzRewriteKeepsTheRest(f *testing.F) {
	f.Add("<a href=x>", `{"files":[{"url":"x"}]}`)
	f.Add("<!--<a <p/ =href= 'x", `{"a":1e999,"files":[}`)
	f.Add("<script><a href=//x.whl></scrip", "[1,2")
	f.Fuzz(func(t *testing.T, asHTML, asJSON string) {
		for form, src := range map[SimpleForm]string{SimpleHTML: asHTML, SimpleJSON: asJSON} {
			if form == SimpleHTML && strings.Contains(strings.ToLower(src), "base") {
				continue
			}
			p := page(form)
			p.Shown, p.URL = p.URL.Path, &url.URL{Scheme: "https", Host: "pypi.example", Path: p.URL.Path}
			p.Place = func(u *url.URL, _ bool) string { return u.RequestURI() }
			got := rewritten(t, p, src)
			if !strings.ContainsAny(src, "/:.\\?%") && got != src {
				t.Errorf("%q became %q", src, got)
			}
		}
	})
}
