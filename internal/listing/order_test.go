package listing

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestArrange(t *testing.T) {
	entries := []Entry{
		{Name: "B", Kind: File, Size: 30, ModTime: day},
		{Name: "a", Kind: Unknown, Size: -1, ModTime: day.Add(time.Hour)},
		{Name: "v1.10", Kind: Dir, Size: -1, ModTime: day.Add(-time.Hour)},
		{Name: "v1.9", Kind: Dir, Size: -1},
		{Name: "x10", Kind: File, Size: 10, ModTime: day},
		{Name: "x9", Kind: File, Size: 30},
	}
	for _, c := range []struct {
		claim, query, want string
	}{
		{"directories first, then by bytes", "format=json", "v1.10 v1.9 B a x10 x9"},
		{"a page counts as people do", "format=html", "v1.9 v1.10 B a x9 x10"},
		{"directories stay first when names go down", "format=json&order=desc", "v1.9 v1.10 x9 x10 a B"},
		{"sort=name mixes directories with files", "sort=name", "B a v1.10 v1.9 x10 x9"},
		{"sort=name goes down", "sort=name&order=desc", "x9 x10 v1.9 v1.10 a B"},
		{"sort=name on a page keeps directories first", "format=html&sort=name&order=desc", "v1.10 v1.9 x10 x9 a B"},
		{"smallest first, unknown last, ties by name", "sort=size", "x10 B x9 a v1.10 v1.9"},
		{"largest first, unknown still last, ties still by name", "sort=size&order=desc", "B x9 x10 a v1.10 v1.9"},
		{"unknown ones on a page count as people do", "format=html&sort=size", "x10 B x9 a v1.9 v1.10"},
		{"oldest first", "sort=time", "v1.10 B x10 a v1.9 x9"},
		{"newest first", "sort=time&order=desc", "a B x10 v1.10 v1.9 x9"},
		{"a window", "sort=name&offset=1&limit=2", "a v1.10"},
		{"a window beyond the end", "sort=name&offset=5&limit=9999999999", "x9"},
		{"an offset beyond the end", "offset=9999999999", ""},
		{"a limit of 0 is none", "sort=name&limit=0&offset=4", "x10 x9"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			q, ok := ParseQuery(c.query)
			if !ok {
				t.Fatalf("ParseQuery(%q) says it is not ours", c.query)
			}
			var names []string
			for _, i := range Arrange(entries, q) {
				names = append(names, entries[i].Name)
			}
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("Arrange by %q = %s, want %s", c.query, got, c.want)
			}
		})
	}
}

func TestNaturalOrder(t *testing.T) {
	for _, c := range []struct{ claim, ascending string }{
		{"numbers by value", "1.8 1.9 1.10 1.11 2.0"},
		{"a shorter name first", "linux linux-6 linux-6.1"},
		{"numbers of any length", "v9 v18446744073709551615 v18446744073709551616"},
		{"leading zeros decide only at the end", "a001 a01 a1 a1b a2 a02c"},
		{"digits as bytes beside other bytes", "a! a0 a9 aA a~"},
		{"zeros alone", "a a0 a00 a1"},
		{"bytes are not folded", "B a \xe9"},
	} {
		want := strings.Fields(c.ascending)
		got := slices.Clone(want)
		slices.Reverse(got)
		slices.SortFunc(got, Natural)
		if !slices.Equal(got, want) {
			t.Errorf("%s: sorted by Natural = %q, want %q", c.claim, got, want)
		}
	}
}

func TestNaturalIsATotalOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	name := func() string {
		b := make([]byte, random.IntN(7))
		for i := range b {
			b[i] = "00129ab.!~"[random.IntN(10)]
		}
		return string(b)
	}
	for range 100_000 {
		a, b, c := name(), name(), name()
		x, y := Natural(a, b), Natural(b, a)
		if x != -y || (x == 0) != (a == b) {
			t.Fatalf("Natural(%q, %q) = %d, the other way round %d", a, b, x, y)
		}
		if x < 0 && Natural(b, c) < 0 && Natural(a, c) >= 0 {
			t.Fatalf("Natural: %q < %q < %q, but Natural(%q, %q) = %d", a, b, c, a, c, Natural(a, c))
		}
	}
}

func BenchmarkArrange(b *testing.B) {
	entries := manyEntries(100_000)
	for _, query := range []string{"format=json", "format=html", "sort=size&order=desc", "sort=time&limit=100"} {
		b.Run(query, func(b *testing.B) {
			q, _ := ParseQuery(query)
			b.ReportAllocs()
			for b.Loop() {
				Arrange(entries, q)
			}
		})
	}
}
