package origin

import (
	"io"
	"os"
	"testing"
)

func benchmark(b *testing.B, dir, path string, use func(io.ReadCloser)) {
	tr, err := New(Config{Hubs: []Hub{hubOf(b, "file://"+dir)}})
	if err != nil {
		b.Fatal(err)
	}
	defer tr.Close()
	b.ReportAllocs()
	for b.Loop() {
		resp, err := tr.RoundTrip(hubRequest(b.Context(), "GET", path))
		if err != nil {
			b.Fatal(err)
		}
		use(resp.Body)
		resp.Body.Close()
	}
}

func BenchmarkNamesOf100000(b *testing.B) {
	benchmark(b, manyFiles(b, 100_000), "/", func(body io.ReadCloser) {
		if n := len(body.(*LocalDir).Listing().Entries); n != 100_000 {
			b.Fatalf("%d entries, want 100000", n)
		}
	})
}

func BenchmarkJSONOf100000(b *testing.B) {
	benchmark(b, manyFiles(b, 100_000), "/", func(body io.ReadCloser) {
		if _, err := io.Copy(io.Discard, body); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkLocalFile(b *testing.B) {
	dir := b.TempDir()
	if err := os.MkdirAll(dir+"/linux/kernel/v6.x", 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(dir+"/linux/kernel/v6.x/a.tar.xz", make([]byte, 100), 0o644); err != nil {
		b.Fatal(err)
	}
	benchmark(b, dir, "/linux/kernel/v6.x/a.tar.xz", func(io.ReadCloser) {})
}
