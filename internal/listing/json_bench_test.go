package listing

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// longDirectory is a document of 100,000 entries, one made by row.
func longDirectory(open, between, shut string, row func(i int) string) []byte {
	var b bytes.Buffer
	b.WriteString(open)
	for i := range 100_000 {
		if i > 0 {
			b.WriteString(between)
		}
		b.WriteString(row(i))
	}
	b.WriteString(shut)
	return b.Bytes()
}

func benchmarkParse(b *testing.B, contentType string, body []byte) {
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		l, err := Parse(Source{ContentType: contentType, Now: time.Unix(1767225600, 0)}, bytes.NewReader(body))
		if err != nil || len(l.Entries) != 100_000 {
			b.Fatalf("Parse = %v, want 100,000 entries", err)
		}
	}
}

func BenchmarkParseNginxJSON(b *testing.B) {
	benchmarkParse(b, "application/json", longDirectory("[\r\n", ",\r\n", "\r\n]", func(i int) string {
		return fmt.Sprintf(`{ "name":"package-%06d.tar.gz", "type":"file", "mtime":"Fri, 01 Dec 2023 01:02:03 GMT", "size":%d }`, i, i)
	}))
}

func BenchmarkParseCaddyJSON(b *testing.B) {
	benchmarkParse(b, "application/json", longDirectory("[", ",", "]\n", func(i int) string {
		return fmt.Sprintf(`{"name":"package-%06d.tar.gz","size":%d,"url":"./package-%06d.tar.gz","mod_time":"2023-12-01T01:02:03.123456789Z","mode":420,"is_dir":false,"is_symlink":false}`, i, i, i)
	}))
}

func BenchmarkParseBucket(b *testing.B) {
	const open = `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>mirror</Name><Prefix>pub/</Prefix><IsTruncated>false</IsTruncated>`
	benchmarkParse(b, "application/xml", longDirectory(open, "", `</ListBucketResult>`, func(i int) string {
		return fmt.Sprintf(`<Contents><Key>pub/package-%06d.tar.gz</Key><LastModified>2023-12-01T01:02:03.000Z</LastModified><ETag>&quot;e%d&quot;</ETag><Size>%d</Size><StorageClass>STANDARD</StorageClass></Contents>`, i, i, i)
	}))
}

func BenchmarkParseRows(b *testing.B) {
	benchmarkParse(b, "text/plain", longDirectory("", "", "", func(i int) string {
		return fmt.Sprintf("-rw-r--r--    1 0        0        %8d Dec 01  2023 package-%06d.tar.gz\r\n", i, i)
	}))
}
