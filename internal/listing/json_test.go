package listing

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestJSONShapes(t *testing.T) {
	when := time.Date(2026, 1, 15, 8, 9, 10, 0, time.UTC)
	file := Entry{Name: "a b", Size: 7, SizeExact: true, Kind: File, ModTime: when, Step: time.Second, ZoneKnown: true}
	bare := Entry{Name: "a b", Size: 7, SizeExact: true, Kind: File}
	dir := Entry{Name: "d", Size: -1, Kind: Dir, Mode: fs.ModeDir}
	for _, c := range []struct {
		claim, body string
		want        []Entry
	}{
		{"nginx", `[{ "name":"d", "type":"directory" },{ "name":"a b", "type":"file", "mtime":"Thu, 15 Jan 2026 08:09:10 GMT", "size":7 }]`, []Entry{file, dir}},
		{"nginx, what is neither", `[{ "name":"p", "type":"other" }]`, []Entry{{Name: "p", Size: -1, Kind: Other}}},
		{"Caddy, whose url is the name", `[{"name":"x","size":7,"url":"./a%20b","mod_time":"2026-01-15T08:09:10.9Z","is_dir":false,"is_symlink":false}]`, []Entry{file}},
		{"Caddy, a link's time is its own", `[{"name":"a b","size":7,"url":"./a%20b","mod_time":"2026-01-15T08:09:10Z","is_dir":false,"is_symlink":true,"symlink_path":"../x"}]`,
			[]Entry{{Name: "a b", Size: 7, SizeExact: true, Kind: File, Link: true, Target: "../x"}}},
		{"our own, rounded", `[{"name":"a b","size":7,"url":"./a%20b","mod_time":"2026-01-15T08:09:10Z","is_dir":false,"is_symlink":false,"cached":"fresh","size_exact":false,"mod_time_step":60,"zone_known":false}]`,
			[]Entry{{Name: "a b", Size: 7, Kind: File, ModTime: when, Step: time.Minute}}},
		{"our own, unknown", `[{"name":"a b","size":null,"url":"./a%20b","mod_time":null,"mode":0,"is_dir":false,"size_exact":false,"mod_time_step":0,"zone_known":false,"kind":"unknown"}]`,
			[]Entry{{Name: "a b", Size: -1}}},
		{"bare names", `["d/","a b"]`, []Entry{{Name: "a b", Size: -1}, {Name: "d", Size: -1, Kind: Dir}}},
		{"no names", "[\r\n]", nil},
		{"Artifactory", `{"repo":"r","path":"/p","children":[{"uri":"/d","folder":true},{"uri":"/a b","folder":false}],"uri":"http://h/api/storage/r/p"}`,
			[]Entry{{Name: "a b", Size: -1, Kind: File}, dir}},
		{"Artifactory, nothing", `{"repo":"r","path":"/p","children":[]}`, nil},
		{"GitHub", `[{"name":"a b","path":"p/a b","size":7,"url":"https://h/repos/o/r/contents/p/a%20b?ref=main","type":"file"},{"name":"d","size":0,"type":"dir"}]`, []Entry{bare, dir}},
		{"dufs", `{"href":"/","kind":"Index","paths":[{"path_type":"Dir","name":"d","mtime":1768464550000,"size":3},{"path_type":"File","name":"a b","mtime":1768464550123,"size":7}]}`,
			[]Entry{file, {Name: "d", Size: -1, Kind: Dir, Mode: fs.ModeDir, ModTime: when, Step: time.Second, ZoneKnown: true}}},
		{"by size and time alone", `{"entries":[{"Name":"a b","Size":"7","LastModified":"2026-01-15T08:09:10+00:00"}]}`,
			[]Entry{{Name: "a b", Size: 7, SizeExact: true, ModTime: when, Step: time.Second, ZoneKnown: true}}},
		{"directories and files apart", `{"dirs":["d"],"files":[{"name":"a b","size":7}]}`, []Entry{bare, {Name: "d", Size: -1, Kind: Dir}}},
		{"directories and files apart, by name alone", `{"dirs":["d"],"files":["a b"]}`, []Entry{{Name: "a b", Size: -1, Kind: File}, {Name: "d", Size: -1, Kind: Dir}}},
		{"directories and files apart, none of either", `{"dirs":[],"files":[]}`, nil},
		{"size and time a level down", `{"dirs":[{"name":"d","stats":{"size":4096}}],"files":[{"name":"a b","stats":{"size":7,"mtimeMs":1,"mtime":"2026-01-15T08:09:10.000Z","stats":{"size":8}}}]}`,
			[]Entry{file, dir}},
		{"a path that was taken apart", `{"files":[{"base":"a b","name":"a","ext":"b","type":"file","size":"7 B"},{"base":"d/","name":"d","type":"folder"},{"type":"directory","base":".."}],"paths":[{"name":"up/","url":""}]}`,
			[]Entry{bare, dir}},
		{"the way here before what is here", `{"paths":[{"name":"up/","url":""}],"files":[{"base":"a b","name":"a","type":"file","size":"7 B"}]}`, []Entry{bare}},
		{"nothing but the way up", `{"files":[{"type":"directory","base":".."}],"paths":[{"name":"up/","url":""}]}`, nil},
		{"a filebrowser's media type is no kind", `{"items":[{"name":"a b","size":7,"modified":"2026-01-15T08:09:10Z","isDir":false,"type":"image"}]}`, []Entry{file}},
		{"escapes and raw bytes", "[\"\\u00e9\\ud83d\\ude00\\ud800x\\n\\/\",\"\xff\"]", []Entry{{Name: "\xff", Size: -1}, {Name: "é😀\ufffdx\n", Size: -1, Kind: Dir}}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l, err := Parse(Source{ContentType: "text/html"}, strings.NewReader(c.body))
			if err != nil {
				t.Fatalf("Parse(%s) = %v", c.body, err)
			}
			checkClean(t, l)
			if len(l.Entries) != len(c.want) {
				t.Fatalf("Parse(%s) = %+v, want %+v", c.body, l.Entries, c.want)
			}
			// Names sort as bytes, wants are in the order that reads best.
			for _, want := range c.want {
				found := false
				for _, e := range l.Entries {
					found = found || e == want
				}
				if !found {
					t.Errorf("Parse(%s) = %+v, want %+v in it", c.body, l.Entries, want)
				}
			}
		})
	}
}

func TestJSONThatIsNoListing(t *testing.T) {
	for _, c := range []struct {
		claim, body string
		want        error
	}{
		{"releases", `[{"name":"v1","tag_name":"v1","draft":false}]`, ErrNotListing},
		{"users", `[{"login":"a","name":"A","type":"User"}]`, ErrNotListing},
		{"numbers", `[1,2]`, ErrNotListing},
		{"names and objects", `["a",{"name":"b","type":"file"}]`, ErrNotListing},
		{"arrays in an array", `[["a"]]`, ErrNotListing},
		{"one element that is none", `[{"name":"b","type":"file"},{"id":1}]`, ErrNotListing},
		{"a name with a slash", `[{"name":"a/b","type":"file"}]`, ErrNotListing},
		{"an empty name", `[""]`, ErrNotListing},
		{"an object", `{"name":"zcache","version":"1.0"}`, ErrNotListing},
		{"a manifest's files", `{"name":"zcache","version":"1.0","files":["bin/","lib"]}`, ErrNotListing},
		{"a manifest's files, none", `{"name":"zcache","files":[]}`, ErrNotListing},
		{"another word than null", "true\n", ErrNotListing},
		{"half of null", "nul", ErrCut},
		{"an empty answer of an API", `{"data":[]}`, ErrNotListing},
		{"an error", `{"errors":[{"status":404,"message":"File not found."}]}`, ErrNotListing},
		{"two documents", `["a"]["b"]`, ErrNotListing},
		{"a comma too many", `["a",]`, ErrNotListing},
		{"a word of no language", `[{"name":"a","size":nil}]`, ErrNotListing},
		{"a config file", "[section]\nkey = value\n", ErrNotListing},
		{"deep nesting", `{"x":` + strings.Repeat("[", 100_000) + `}`, ErrNotListing},
		{"more to come", `{"entries":[{"name":"a","type":"file"}],"next":"abc"}`, ErrCut},
		{"a tree that says it was cut", `{"tree":[{"name":"a","type":"blob"}],"truncated":true}`, ErrCut},
		{"no end", `[{"name":"a","type":"file"},`, ErrCut},
		{"half an escape", `["a\u00`, ErrCut},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if l, err := Parse(Source{ContentType: "application/json"}, strings.NewReader(c.body)); !errors.Is(err, c.want) {
				t.Errorf("Parse(%.60s) = %v, %v, want %v", c.body, l, err, c.want)
			}
		})
	}
}

// Caddy 2.10 answers so for an empty directory. Only the content type tells it from a text.
func TestLoneNull(t *testing.T) {
	if l, err := Parse(Source{ContentType: "application/json; charset=utf-8"}, strings.NewReader("null\n")); err != nil || len(l.Entries) != 0 {
		t.Errorf("Parse(null) = %+v, %v, want an empty listing", l, err)
	}
	if l, err := Parse(Source{ContentType: "text/plain"}, strings.NewReader("null\n")); !errors.Is(err, ErrNotListing) {
		t.Errorf("Parse(null) of a text = %+v, %v, want %v", l, err, ErrNotListing)
	}
}

// Where a read ends in the body must not matter.
func TestJSONInSmallReads(t *testing.T) {
	const body = `[{"name":"a\u00e9\"b","type":"file","mtime":"Thu, 15 Jan 2026 08:09:10 GMT","size":12345}]`
	l, err := Parse(Source{}, oneByteReader{strings.NewReader(body)})
	if err != nil || len(l.Entries) != 1 || l.Entries[0].Name != "aé\"b" || l.Entries[0].Size != 12345 {
		t.Errorf("Parse by single bytes = %+v, %v", l, err)
	}
	p := jsonReader{window: window{r: oneByteReader{strings.NewReader(`"x\ud83d\ude00\ud83dy"`)}, buf: make([]byte, 1)}}
	c, _ := p.next()
	if err := p.str(); c != '"' || err != nil || string(p.text) != "x😀\ufffdy" {
		t.Errorf("str through a window of one byte = %q, %v", p.text, err)
	}
}

type oneByteReader struct{ r *strings.Reader }

func (r oneByteReader) Read(p []byte) (int, error) { return r.r.Read(p[:1]) }

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`[{"name":"a","size":1,"url":"./a%ff","mod_time":"2026-01-15T08:09:10Z","is_dir":true,"is_symlink":true}]`))
	f.Add([]byte(`["a","b\u0000","\ud800"]`))
	f.Add([]byte(`{"path":"/","children":[{"uri":"/a","folder":true}],"next":null}`))
	f.Add([]byte("[\r\n{ \"name\":\"\xff\", \"type\":\"file\", \"mtime\":\"Thu, 15 Jan 2026 08:09:10 GMT\", \"size\":1 }\r\n]"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if l, err := parseJSON(Source{}, bytes.NewReader(body)); err == nil {
			checkClean(t, l)
		}
	})
}
