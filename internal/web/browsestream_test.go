package web

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	"zcache/internal/listing"
)

// counting is a writer that counts what it gets, and how often it was told to send it on.
type counting struct {
	bytes, flushes, largest int
	fail                    error
}

func (c *counting) Write(p []byte) (int, error) {
	if c.fail != nil {
		return 0, c.fail
	}
	c.bytes += len(p)
	c.largest = max(c.largest, len(p))
	return len(p), nil
}

func (c *counting) Flush() { c.flushes++ }

func TestLongDirectoriesStream(t *testing.T) {
	const n = 100_000
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("package-%06d_1.2.3-4_amd64.deb", i)
	}
	p := pageOf()
	p.Total = n
	p.Rows = func(yield func(listing.Row) bool) {
		for _, name := range names {
			if !yield(fileRow(name, 12345, listing.Absent)) {
				return
			}
		}
	}
	var w counting
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := Browse(&w, p); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("Browse of %d rows allocated %d bytes, want less than 1 MiB", n, got)
	}
	if w.flushes < w.bytes/(2*flushEvery) || w.largest > 2*flushEvery {
		t.Errorf("%d bytes went out in %d parts, the largest of %d", w.bytes, w.flushes, w.largest)
	}
	if per := w.bytes / n; per > 400 {
		t.Errorf("a row has %d bytes, want at most 400", per)
	}
}

func TestShortPagesGoOutAsOne(t *testing.T) {
	var w counting
	if err := Browse(&w, pageOf(fileRow("a", 1, listing.Fresh))); err != nil {
		t.Fatal(err)
	}
	const budget = 24 << 10
	if w.flushes != 0 || w.bytes > budget {
		t.Errorf("a page of one row has %d bytes and was flushed %d times, want at most %d and none", w.bytes, w.flushes, budget)
	}
}

func TestRowsEndWithTheClient(t *testing.T) {
	gone, asked := errors.New("client has left"), 0
	p := pageOf()
	p.Total = 1 << 20
	p.Rows = func(yield func(listing.Row) bool) {
		for asked = 0; asked < p.Total; asked++ {
			if !yield(fileRow("a", 1, listing.Fresh)) {
				return
			}
		}
	}
	if err := Browse(&counting{fail: gone}, p); !errors.Is(err, gone) {
		t.Errorf("Browse = %v, want %v", err, gone)
	}
	if asked > 1000 {
		t.Errorf("%d rows were asked for after the client had left", asked)
	}
}

func BenchmarkBrowse(b *testing.B) {
	const n = 100_000
	row := fileRow("package-000123_1.2.3-4_amd64.deb", 12345, listing.Absent)
	b.ReportAllocs()
	for b.Loop() {
		p := pageOf()
		p.Total = n
		p.Rows = func(yield func(listing.Row) bool) {
			for range n {
				if !yield(row) {
					return
				}
			}
		}
		if err := Browse(io.Discard, p); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}
