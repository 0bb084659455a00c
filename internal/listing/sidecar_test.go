package listing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func sidecarOf(t testing.TB, l *Listing) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteSidecar(&b, l); err != nil {
		t.Fatalf("WriteSidecar: %v", err)
	}
	return b.Bytes()
}

// randomListing is any listing that keeps to what Entry promises.
func randomListing(random *rand.Rand, n int) *Listing {
	l := &Listing{}
	seen := map[string]bool{}
	for range n {
		e := Entry{
			Name: randomName(random), Kind: Kind(random.IntN(4)), Size: -1, Mode: fs.FileMode(random.Uint32()), Link: random.IntN(4) == 0,
			SizeExact: random.IntN(2) == 0, ZoneKnown: random.IntN(2) == 0,
			Step: []time.Duration{0, 1, time.Millisecond, time.Second, time.Minute, 24 * time.Hour, 366 * 24 * time.Hour, 1<<63 - 1}[random.IntN(8)],
		}
		if seen[e.Name] {
			continue
		}
		seen[e.Name] = true
		if e.Kind != Dir && random.IntN(4) > 0 {
			e.Size = random.Int64() >> random.IntN(63)
		}
		if random.IntN(4) > 0 {
			e.ModTime = time.Unix(random.Int64N(9999-1970)*365*86400-86400*365*1000, []int64{0, 1, 5e8, 999_999_999}[random.IntN(4)]).UTC()
		}
		if e.Link && random.IntN(2) == 0 {
			e.Target = "../" + randomName(random)
		}
		l.Entries = append(l.Entries, e)
	}
	slices.SortFunc(l.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return l
}

func TestSidecarGivesBackWhatWasWritten(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 5))
		l := randomListing(random, random.IntN(100))
		text := sidecarOf(t, l)
		if !json.Valid(text) {
			t.Fatalf("seed %d: WriteSidecar = %s, which is no JSON", seed, text)
		}
		got, err := ReadSidecar(bytes.NewReader(text))
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Fatalf("seed %d: ReadSidecar = %+v, %v, want %+v of\n%s", seed, got, err, l, text)
		}
		// The same array, laid out otherwise, takes the other way in.
		var other bytes.Buffer
		if err := json.Indent(&other, text, "", "\t"); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadSidecar(iotest.HalfReader(&other)); err != nil || !reflect.DeepEqual(got, l) {
			t.Fatalf("seed %d: ReadSidecar of the indented sidecar = %+v, %v, want %+v", seed, got, err, l)
		}
	}
}

func TestSidecarIsCompleted(t *testing.T) {
	l := &Listing{Entries: []Entry{{Name: "a", Kind: File, Size: -1}}, Complete: func(e *Entry) { e.Size, e.SizeExact = 7, true }}
	got, err := ReadSidecar(bytes.NewReader(sidecarOf(t, l)))
	if err != nil || len(got.Entries) != 1 || got.Entries[0].Size != 7 || l.Entries[0].Size != -1 {
		t.Errorf("ReadSidecar = %+v, %v, want the size 7 that Complete tells, and the listing left alone (%+v)", got, err, l.Entries)
	}
}

func TestSidecarRefusesToWrite(t *testing.T) {
	for _, c := range []struct {
		claim string
		l     Listing
		want  error
	}{
		{"a listing that goes on", Listing{Next: "?page=2"}, ErrCut},
		{"names out of order", Listing{Entries: []Entry{{Name: "b"}, {Name: "a"}}}, errName},
		{"a name twice", Listing{Entries: []Entry{{Name: "a"}, {Name: "a"}}}, errName},
		{"a name with a slash", Listing{Entries: []Entry{{Name: "a/b"}}}, errName},
		{"the parent", Listing{Entries: []Entry{{Name: ".."}}}, errName},
	} {
		var b bytes.Buffer
		if err := WriteSidecar(&b, &c.l); !errors.Is(err, c.want) || b.Len() > 0 {
			t.Errorf("%s: WriteSidecar = %v after %q, want %v and nothing written", c.claim, err, b.String(), c.want)
		}
	}
}

func TestSidecarByOtherHands(t *testing.T) {
	a := Entry{Name: "a", Kind: File, Size: -1}
	for _, c := range []struct {
		claim, text string
		want        []Entry
	}{
		{"an empty array", "[]", nil},
		{"an empty array in our lines", "[\n]\n", nil},
		{"a row of Caddy's is exact", `[{"name":"a","size":5,"url":"./a","mod_time":"2026-01-02T03:04:05.5Z","mode":420,"is_dir":false,"is_symlink":false}]`,
			[]Entry{{Name: "a", Kind: File, Size: 5, SizeExact: true, ModTime: day.Add(time.Second / 2), Step: time.Second, ZoneKnown: true, Mode: 0o644}}},
		{"a directory of Caddy's has no size", `[{"name":"d/","size":4096,"url":"./d/","is_dir":true}]`, []Entry{{Name: "d", Kind: Dir, Size: -1}}},
		{"the bytes of Caddy's url count", `[{"name":"caf\ufffd","url":"./caf%E9"}]`, []Entry{{Name: "caf\xe9", Kind: File, Size: -1}}},
		{"a name is enough", `[{"name":"a"}]`, []Entry{a}},
		{"an order of its own", `[{"name":"b"},{"name":"a"}]`, []Entry{a, {Name: "b", Kind: File, Size: -1}}},
		{"time in another zone", `[{"name":"a","mod_time":"2026-01-02T04:04:05+01:00"}]`, []Entry{{Name: "a", Kind: File, Size: -1, ModTime: day, Step: time.Second, ZoneKnown: true}}},
		{"a step with an exponent", `[{"name":"a","mod_time_step":1e-09}]`, []Entry{{Name: "a", Kind: File, Size: -1, Step: 1}}},
		{"unknown members", `[{"name":"a","owner":{"x":[1,2]}}]`, []Entry{a}},
		{"white space at the end", "[]\n\n \t", nil},
	} {
		t.Run(c.claim, func(t *testing.T) {
			got, err := ReadSidecar(strings.NewReader(c.text))
			if err != nil || !reflect.DeepEqual(got.Entries, c.want) {
				t.Errorf("ReadSidecar(%s) = %+v, %v, want %+v", c.text, got, err, c.want)
			}
		})
	}
}

// TestSidecarEditedByHand changes one line of ours, so that reading begins in one way and ends in the other.
func TestSidecarEditedByHand(t *testing.T) {
	l := randomListing(rand.New(rand.NewPCG(6, 7)), 20)
	lines := strings.SplitAfter(string(sidecarOf(t, l)), "\n")
	for at := 1; at < len(lines)-2; at++ {
		for _, c := range []struct{ claim, line string }{
			{"white space before it", "  " + lines[at]},
			{"white space within it", strings.Replace(lines[at], `,"size":`, `, "size": `, 1)},
			{"an empty line before it", "\n" + lines[at]},
			{"a carriage return", strings.TrimSuffix(lines[at], "\n") + "\r\n"},
			{"no end of line", strings.TrimSuffix(lines[at], "\n")},
		} {
			edited := slices.Clone(lines)
			edited[at] = c.line
			got, err := ReadSidecar(strings.NewReader(strings.Join(edited, "")))
			if err != nil || !reflect.DeepEqual(got, l) {
				t.Fatalf("ReadSidecar with %s in line %d = %+v, %v, want it unchanged", c.claim, at, got, err)
			}
		}
	}
}

func TestSidecarCutAnywhereIsCut(t *testing.T) {
	text := sidecarOf(t, randomListing(rand.New(rand.NewPCG(8, 9)), 12))
	whole := bytes.TrimRight(text, "\n")
	for n := range whole {
		if l, err := ReadSidecar(bytes.NewReader(text[:n])); !errors.Is(err, ErrCut) {
			t.Fatalf("ReadSidecar cut after %d of %d bytes (…%s) = %+v, %v, want ErrCut", n, len(text), text[max(0, n-30):n], l, err)
		}
	}
	if _, err := ReadSidecar(bytes.NewReader(whole)); err != nil {
		t.Errorf("ReadSidecar without the last line end: %v", err)
	}
}

func TestSidecarDamagedIsNoListing(t *testing.T) {
	row := `{"name":"a","size":1,"url":"./a","mod_time":null,"mode":420,"is_dir":false,"is_symlink":false,"size_exact":true,"mod_time_step":0,"zone_known":true}`
	b := strings.ReplaceAll(strings.Replace(row, `"a"`, `"b"`, 1), "./a", "./b")
	for _, c := range []struct{ claim, text string }{
		{"an object", `{"name":"a"}`},
		{"words", "hello"},
		{"zeros", "[\n" + row + ",\n" + strings.Repeat("\x00", 40) + "\n]\n"},
		{"a comma at the end", "[\n" + row + ",\n]\n"},
		{"no comma between", "[\n" + row + "\n" + b + "\n]\n"},
		{"a second array", "[\n" + row + "\n]\n[\n]\n"},
		{"a second array on the same line", "[" + row + "][]"},
		{"a name twice", "[\n" + row + ",\n" + row + "\n]\n"},
		{"a name that is not the url's", "[\n" + strings.Replace(row, `"a"`, `"c"`, 1) + "\n]\n"},
		{"a url that is not the name's", "[\n" + strings.Replace(row, "./a", "./%c3", 1) + "\n]\n"},
		{"a name with a slash", `[{"url":"./a%2Fb"}]`},
		{"a url elsewhere", `[{"url":"/a"}]`},
		{"the parent", `[{"name":"../","url":"../","is_dir":true}]`},
		{"no name", `[{"size":1}]`},
		{"null", "[null]"},
		{"null in our lines", "[\n" + row + ",\nnull\n]\n"},
		{"a number", "[1]"},
		{"a size with leading zeros", "[\n" + strings.Replace(row, `"size":1`, `"size":01`, 1) + "\n]\n"},
		{"a size beyond 64 bits", "[\n" + strings.Replace(row, `"size":1`, `"size":9223372036854775808`, 1) + "\n]\n"},
		{"a mode beyond 32 bits", "[\n" + strings.Replace(row, `"mode":420`, `"mode":4294967296`, 1) + "\n]\n"},
		{"a day that is none", "[\n" + strings.Replace(row, `"mod_time":null`, `"mod_time":"2026-02-29T00:00:00Z"`, 1) + "\n]\n"},
		{"a step below zero", `[{"name":"a","mod_time_step":-1}]`},
		{"a raw control character", "[\n" + strings.ReplaceAll(row, "a\"", "\x01\"") + "\n]\n"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if l, err := ReadSidecar(strings.NewReader(c.text)); !errors.Is(err, ErrNotListing) {
				t.Errorf("ReadSidecar(%q) = %+v, %v, want ErrNotListing", c.text, l, err)
			}
		})
	}
}

func TestSidecarPassesReadErrorsOn(t *testing.T) {
	text := sidecarOf(t, &Listing{Entries: manyEntries(500)})
	broken := errors.New("input/output error")
	for _, n := range []int{0, 1, 2, 100, len(text) / 2, len(text) - 1, len(text)} {
		for _, before := range []string{"", " "} {
			r := io.MultiReader(strings.NewReader(before), bytes.NewReader(text[:n]), iotest.ErrReader(broken))
			if _, err := ReadSidecar(r); !errors.Is(err, broken) {
				t.Errorf("ReadSidecar of %q and %d bytes of %d before %v: %v", before, n, len(text), broken, err)
			}
		}
	}
}

func TestSidecarOfAnotherHandIsBounded(t *testing.T) {
	const most = 1 << 20
	for _, start := range []string{`[{"name":"`, "[\n" + `{"name":"`, `[{"name":"b"}` + strings.Repeat(" ", sidecarBuffer) + `,{"name":"`} {
		endless := io.MultiReader(strings.NewReader(start), aaa{})
		if _, err := readSidecar(endless, most); !errors.Is(err, ErrTooLarge) {
			t.Errorf("readSidecar of a name without end after %.20q: %v, want ErrTooLarge", start, err)
		}
	}
	l := &Listing{Entries: manyEntries(1000)}
	text := sidecarOf(t, l)
	if _, err := readSidecar(bytes.NewReader(text), 1000); err != nil {
		t.Errorf("readSidecar of %d bytes of our own beyond 1000: %v", len(text), err)
	}
	if got, err := readSidecar(io.MultiReader(strings.NewReader(" "), bytes.NewReader(text)), int64(len(text))+1); err != nil || len(got.Entries) != 1000 {
		t.Errorf("readSidecar of exactly as many bytes as it may take: %v", err)
	}
}

// aaa is a reader of the letter a without end.
type aaa struct{}

func (aaa) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestLongNamesAreRead(t *testing.T) {
	l := &Listing{Entries: []Entry{
		{Name: strings.Repeat("\x01", 4000), Kind: File, Size: -1}, {Name: strings.Repeat("a", 20000), Kind: File, Size: 3},
		{Name: strings.Repeat("b", 40000), Kind: Dir, Size: -1}, {Name: "c", Kind: File, Size: -1},
	}}
	if got, err := ReadSidecar(bytes.NewReader(sidecarOf(t, l))); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("ReadSidecar of names of up to 40,000 bytes: %v, or they differ", err)
	}
}

// FuzzSidecar reads any bytes in both ways, which must come to the same; and what was read, written and read again, stays as it is.
func FuzzSidecar(f *testing.F) {
	for seed := range uint64(5) {
		text := sidecarOf(f, randomListing(rand.New(rand.NewPCG(seed, 10)), 3))
		f.Add(text)
		f.Add(text[:len(text)*2/3])
	}
	f.Add([]byte(`[{"name":"caf\ufffd/","url":"./caf%E9/","is_dir":true,"mod_time":"2026-01-02T03:04:05.5+01:00","mod_time_step":1e-9}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := ReadSidecar(bytes.NewReader(text))
		// A space in front keeps the reader of our own lines out.
		general, generalErr := ReadSidecar(io.MultiReader(strings.NewReader(" "), bytes.NewReader(text)))
		if (err == nil) != (generalErr == nil) || !reflect.DeepEqual(l, general) {
			t.Fatalf("ReadSidecar = %+v, %v; by the general way %+v, %v", l, err, general, generalErr)
		}
		if err != nil {
			if !errors.Is(err, ErrCut) && !errors.Is(err, ErrNotListing) {
				t.Fatalf("ReadSidecar: %v, want ErrCut or ErrNotListing", err)
			}
			return
		}
		again, err := ReadSidecar(bytes.NewReader(sidecarOf(t, l)))
		if err != nil || len(again.Entries) != len(l.Entries) || len(l.Entries) > 0 && !reflect.DeepEqual(again, l) {
			t.Fatalf("ReadSidecar after WriteSidecar = %+v, %v, want %+v", again, err, l)
		}
	})
}

func BenchmarkSidecar(b *testing.B) {
	l := &Listing{Entries: manyEntries(100_000)}
	text := sidecarOf(b, l)
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := WriteSidecar(io.Discard, l); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if got, err := ReadSidecar(bytes.NewReader(text)); err != nil || len(got.Entries) != len(l.Entries) {
				b.Fatalf("ReadSidecar: %v", err)
			}
		}
	})
	b.Run("read otherwise", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ReadSidecar(io.MultiReader(strings.NewReader(" "), bytes.NewReader(text))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("digest", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Digest(l)
		}
	})
	b.Run("diff", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if c := Diff(l, l); !c.None() {
				b.Fatalf("Diff of a listing with itself = %+v", c)
			}
		}
	})
}
