package listing

import (
	"bytes"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"testing"
	"time"
)

// davMember is a response of a multistatus with these properties.
func davMember(href, props string) string {
	return `<D:response><D:href>` + href + `</D:href><D:propstat><D:prop>` + props + `</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>`
}

const davDir = `<D:resourcetype><D:collection/></D:resourcetype>`

func davBody(members ...string) string {
	return `<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">` + strings.Join(members, "") + `</D:multistatus>`
}

func TestMultistatus(t *testing.T) {
	when := time.Date(2026, 1, 15, 8, 9, 10, 0, time.UTC)
	const props = `<D:getcontentlength>7</D:getcontentlength><D:getlastmodified>Thu, 15 Jan 2026 08:09:10 GMT</D:getlastmodified>`
	file := Entry{Name: "a b", Size: 7, SizeExact: true, Kind: File, ModTime: when, Step: time.Second, ZoneKnown: true}
	own := davMember("/pub/", davDir)
	for _, c := range []struct {
		claim, body string
		want        []Entry
	}{
		{"nothing but the directory", davBody(own), nil},
		{"a path", davBody(own, davMember("/pub/a%20b", props)), []Entry{file}},
		{"a whole URL", davBody(davMember("https://h.example/pub", davDir), davMember("https://h.example/pub/a%20b", props)), []Entry{file}},
		{"another path behind a proxy", davBody(davMember("/dav/files/", davDir), davMember("/dav/files/a%20b", props)), []Entry{file}},
		{"another prefix, and none", strings.ReplaceAll(davBody(own, davMember("/pub/a%20b", props)), "D:", ""), []Entry{file}},
		{"blanks about the values", strings.ReplaceAll(davBody(own, davMember("/pub/a%20b", props)), "7<", " 7\n<"), []Entry{file}},
		{"a directory without a slash", davBody(own, davMember("/pub/d", davDir+"<D:getcontentlength>4096</D:getcontentlength>")), []Entry{{Name: "d", Size: -1, Kind: Dir, Mode: fs.ModeDir}}},
		{"properties that are not there", davBody(own, strings.Replace(davMember("/pub/d/", davDir), `</D:response>`,
			`<D:propstat><D:prop><D:getcontentlength>9</D:getcontentlength></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat></D:response>`, 1)),
			[]Entry{{Name: "d", Size: -1, Kind: Dir, Mode: fs.ModeDir}}},
		{"a member that may not be looked at", davBody(own, `<D:response><D:href>/pub/x</D:href><D:status>HTTP/1.1 403 Forbidden</D:status></D:response>`), []Entry{{Name: "x", Size: -1}}},
		{"a member that is gone", davBody(own, `<D:response><D:href>/pub/x</D:href><D:status>HTTP/1.1 404 Not Found</D:status></D:response>`), nil},
		{"deeper levels are others' business", davBody(own, davMember("/pub/d/x", props)), nil},
		{"an escaped slash is no name", davBody(own, davMember("/pub/d%2Fx", props)), nil},
		{"raw bytes, references and CDATA", davBody(own, davMember("/pub/\xff&amp;&#x7;<![CDATA[<>]]>", "")), []Entry{{Name: "\xff&\a<>", Size: -1, Kind: File}}},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l, err := Parse(Source{URL: &url.URL{Path: "/pub/"}}, strings.NewReader(c.body))
			if err != nil || len(l.Entries) != len(c.want) {
				t.Fatalf("Parse(%s) = %+v, %v, want %+v", c.body, l, err, c.want)
			}
			for i, e := range l.Entries {
				if e != c.want[i] {
					t.Errorf("Parse(%s) = %+v, want %+v", c.body, e, c.want[i])
				}
			}
		})
	}
}

func TestBuckets(t *testing.T) {
	src := Source{URL: &url.URL{Scheme: "https", Host: "b.example", Path: "/", RawQuery: "delimiter=%2F&prefix=pub%2F"}}
	body := func(inner string) string {
		return `<?xml version="1.0"?><ListBucketResult>` + inner + `</ListBucketResult>`
	}
	contents := func(key string) string {
		return `<Contents><Key>` + key + `</Key><LastModified>2026-01-15T08:09:10.000Z</LastModified><Size>7</Size></Contents>`
	}
	for _, c := range []struct {
		claim, body, want, next string
	}{
		{"keys and prefixes", body(`<Prefix>pub/</Prefix>` + contents("pub/a") + `<CommonPrefixes><Prefix>pub/d/</Prefix></CommonPrefixes>`), "a=7 d=-1", ""},
		{"a prefix that comes last", body(contents("pub/a") + `<Prefix>pub/</Prefix>`), "a=7", ""},
		{"keys without a delimiter", body(contents("a/b/c") + contents("a/d") + contents("e")), "a=-1 e=7", ""},
		{"markers of directories", body(`<Prefix>pub/</Prefix>` + contents("pub/") + contents("pub/d/")), "d=-1", ""},
		{"a key and a directory of one name", body(contents("a") + contents("a/b")), "a=-1", ""},
		{"keys escaped as in forms", body(`<Prefix>p+b%2F</Prefix><EncodingType>url</EncodingType>` + contents("p+b/a%2Bb+c")), "a+b c=7", ""},
		{"control characters", body(contents("a&#x7;b")), "a\ab=7", ""},
		{"the next page by token", body(`<IsTruncated>true</IsTruncated><NextContinuationToken>a+b</NextContinuationToken>` + contents("x")), "x=7",
			"?continuation-token=a%2Bb&delimiter=%2F&list-type=2&prefix=pub%2F"},
		{"the next page by marker", body(`<IsTruncated>true</IsTruncated><NextMarker>x y</NextMarker>` + contents("x")), "x=7", "?delimiter=%2F&marker=x+y&prefix=pub%2F"},
		{"the next page by the last key", body(`<IsTruncated>true</IsTruncated>` + contents("x") + contents("y/z")), "x=7 y=-1", "?delimiter=%2F&marker=y%2Fz&prefix=pub%2F"},
		{"nothing", body(`<KeyCount>0</KeyCount>`), "", ""},
		{"Azure", `<EnumerationResults><Prefix>pub/</Prefix><Blobs><Blob><Name>pub/a</Name><Properties><Last-Modified>Thu, 15 Jan 2026 08:09:10 GMT</Last-Modified>` +
			`<Content-Length>7</Content-Length></Properties></Blob><BlobPrefix><Name Encoded="true">pub/%66/</Name></BlobPrefix></Blobs><NextMarker>m</NextMarker></EnumerationResults>`,
			"a=7 f=-1", "?delimiter=%2F&marker=m&prefix=pub%2F"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l, err := Parse(src, strings.NewReader(c.body))
			if err != nil {
				t.Fatalf("Parse(%s) = %v", c.body, err)
			}
			checkClean(t, l)
			var got []string
			for _, e := range l.Entries {
				size := "-1"
				if e.Size == 7 && e.SizeExact && e.Kind == File && e.ModTime.Equal(time.Date(2026, 1, 15, 8, 9, 10, 0, time.UTC)) {
					size = "7"
				}
				got = append(got, e.Name+"="+size)
			}
			if s := strings.Join(got, " "); s != c.want || l.Next != c.next {
				t.Errorf("Parse(%s) = %q, Next %q, want %q, Next %q", c.body, s, l.Next, c.want, c.next)
			}
		})
	}
}

func TestXMLThatIsNoListing(t *testing.T) {
	own := davMember("/pub/", davDir)
	bucket := func(inner string) string { return "<ListBucketResult>" + inner + "</ListBucketResult>" }
	for _, c := range []struct {
		claim, body string
		want        error
	}{
		{"a feed", `<?xml version="1.0"?><rss><channel/></rss>`, ErrNotListing},
		{"a refusal of S3", `<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>`, ErrForbidden},
		{"a key that is not there", `<Error><Code>NoSuchKey</Code></Error>`, ErrNotListing},
		{"a multistatus of nothing", davBody(), ErrNotListing},
		{"a multistatus of a file", davBody(davMember("/pub/", "<D:resourcetype/>")), ErrNotListing},
		{"a member from elsewhere", davBody(own, davMember("/other/a", "")), ErrNotListing},
		{"a directory that may not be read", davBody(`<D:response><D:href>/pub/</D:href><D:status>HTTP/1.1 403 Forbidden</D:status></D:response>`), ErrForbidden},
		{"properties that may not be read", davBody(strings.Replace(own, "200 OK", "403 Forbidden", 1)), ErrForbidden},
		{"a multistatus with too many members", davBody(own, `<D:response><D:href>/pub/</D:href><D:status>HTTP/1.1 507 Insufficient Storage</D:status></D:response>`), ErrCut},
		{"no end", strings.TrimSuffix(davBody(own), "</D:multistatus>"), ErrCut},
		{"elements that cross", "<multistatus><a><b></a></b></multistatus>", ErrNotListing},
		{"something behind the end", davBody(own) + "<more/>", ErrNotListing},
		{"entities of its own", `<!DOCTYPE x [<!ENTITY a "b">]><multistatus/>`, ErrNotListing},
		{"deep nesting", "<multistatus>" + strings.Repeat("<a>", 100_000), ErrNotListing},
		{"a prefix in the middle of names", bucket(`<Prefix>pu</Prefix>`), ErrNotListing},
		{"another delimiter", bucket(`<Delimiter>-</Delimiter>`), ErrNotListing},
		{"a key from elsewhere", bucket(`<Prefix>pub/</Prefix><Contents><Key>x</Key></Contents>`), ErrNotListing},
		{"a page that is not the last and names no next", bucket(`<IsTruncated>true</IsTruncated>`), ErrCut},
		{"a page that was cut", `<ListBucketResult><Contents><Key>x</Key></Contents>`, ErrCut},
	} {
		t.Run(c.claim, func(t *testing.T) {
			l, err := Parse(Source{URL: &url.URL{Path: "/pub/"}, ContentType: "application/xml"}, strings.NewReader(c.body))
			if !errors.Is(err, c.want) {
				t.Errorf("Parse(%.80s) = %v, %v, want %v", c.body, l, err, c.want)
			}
		})
	}
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(davBody(davMember("/pub/", davDir), davMember("/pub/a%20b", "<D:getcontentlength>7</D:getcontentlength>"))))
	f.Add([]byte(`<ListBucketResult><Prefix>a/</Prefix><EncodingType>url</EncodingType><Contents><Key>a/b</Key><Size>1</Size></Contents><IsTruncated>true</IsTruncated></ListBucketResult>`))
	f.Add([]byte(`<EnumerationResults><Blobs><Blob><Name Encoded="true">%2e</Name></Blob></Blobs><NextMarker/></EnumerationResults>`))
	f.Add([]byte(`<!DOCTYPE a><!-- x --><?y?><Error><Code>AccessDenied</Code></Error>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if l, err := parseXML(Source{URL: &url.URL{Path: "/pub/"}}, bytes.NewReader(body)); err == nil {
			checkClean(t, l)
		}
	})
}
