package listing

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"
)

// rowsOf are entries as rows, not held.
func rowsOf(entries []Entry) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for i := range entries {
			if !yield(Row{Entry: entries[i]}) {
				return
			}
		}
	}
}

var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestJSONIsCaddysWithOurMembers(t *testing.T) {
	dir := Entry{Name: "pub", Kind: Dir, Size: -1, ModTime: day, Step: time.Minute}
	file := Entry{Name: "a.tar.gz", Kind: File, Size: 123, SizeExact: true, ModTime: day, Step: time.Second, Mode: 0o644, ZoneKnown: true}
	link := Entry{Name: "latest", Kind: Dir, Link: true, Target: "v<2>", Size: -1}
	with := func(change func(*Entry)) Entry {
		e := file
		change(&e)
		return e
	}
	for _, c := range []struct {
		claim  string
		entry  Entry
		cached State
		want   string
	}{
		{"a file", file, Fresh, `{"name":"a.tar.gz","size":123,"url":"./a.tar.gz","mod_time":"2026-01-02T03:04:05Z","mode":420,"is_dir":false,"is_symlink":false,"cached":"fresh","size_exact":true,"mod_time_step":1,"zone_known":true}`},
		{"a directory ends in a slash, has no size, and the mode bit of one", dir, Absent, `{"name":"pub/","size":null,"url":"./pub/","mod_time":"2026-01-02T03:04:05Z","mode":2147483648,"is_dir":true,"is_symlink":false,"cached":"absent","size_exact":false,"mod_time_step":60,"zone_known":false}`},
		{"a link to a directory has a link's mode", link, Stale, `{"name":"latest/","size":null,"url":"./latest/","mod_time":null,"mode":134217728,"is_dir":true,"is_symlink":true,"cached":"stale","size_exact":false,"mod_time_step":0,"zone_known":false,"target":"v\u003c2\u003e"}`},
		{"a fraction stays, its step is one second", with(func(e *Entry) { e.ModTime, e.Step = day.Add(1500*time.Microsecond), time.Nanosecond }), Fresh, `{"name":"a.tar.gz","size":123,"url":"./a.tar.gz","mod_time":"2026-01-02T03:04:05.0015Z","mode":420,"is_dir":false,"is_symlink":false,"cached":"fresh","size_exact":true,"mod_time_step":1,"zone_known":true}`},
		{"bytes that are not UTF-8 are exact in url", with(func(e *Entry) { e.Name, e.Target = "caf\xe9 & \u2028\n.txt", "\xff" }), Fresh, `{"name":"caf\ufffd \u0026 \u2028\n.txt","size":123,"url":"./caf%E9%20\u0026%20%E2%80%A8%0A.txt","mod_time":"2026-01-02T03:04:05Z","mode":420,"is_dir":false,"is_symlink":false,"cached":"fresh","size_exact":true,"mod_time_step":1,"zone_known":true,"target":"\ufffd","target_escaped":"%FF"}`},
		{"what may be no file says so", with(func(e *Entry) { e.Kind = Unknown }), Fresh, `{"name":"a.tar.gz","size":123,"url":"./a.tar.gz","mod_time":"2026-01-02T03:04:05Z","mode":420,"is_dir":false,"is_symlink":false,"cached":"fresh","size_exact":true,"mod_time_step":1,"zone_known":true,"kind":"unknown"}`},
		{"a year of five digits is no time", with(func(e *Entry) { e.ModTime = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) }), Fresh, `{"name":"a.tar.gz","size":123,"url":"./a.tar.gz","mod_time":null,"mode":420,"is_dir":false,"is_symlink":false,"cached":"fresh","size_exact":true,"mod_time_step":1,"zone_known":true}`},
	} {
		t.Run(c.claim, func(t *testing.T) {
			var b strings.Builder
			if err := WriteJSON(&b, func(yield func(Row) bool) { yield(Row{c.entry, c.cached}) }); err != nil {
				t.Fatalf("WriteJSON: %v", err)
			}
			if want := "[\n" + c.want + "\n]\n"; b.String() != want {
				t.Errorf("WriteJSON =\n%swant\n%s", b.String(), want)
			}
			if !json.Valid([]byte(b.String())) {
				t.Errorf("WriteJSON = %s, which is no JSON", b.String())
			}
		})
	}
}

func TestOtherForms(t *testing.T) {
	entries := []Entry{
		{Name: "100%25", Kind: File, Size: 1, SizeExact: true, ModTime: time.Date(2023, 11, 8, 10, 0, 0, 9, time.UTC)},
		{Name: "100% sure \"é\"", Kind: Unknown, Size: 2000},
		{Name: "bell\a", Kind: Other, Size: 0, SizeExact: true},
		{Name: "caf\xe9", Kind: Dir, Size: -1, ModTime: day.In(time.FixedZone("", 3600))},
		{Name: "csi\u009b", Kind: File, Size: -1},
	}
	for _, c := range []struct {
		claim string
		write func(io.Writer, iter.Seq[Row]) error
		rows  []Entry
		want  string
	}{
		{"an empty JSON array", WriteJSON, nil, "[]\n"},
		{"an empty nginx array", WriteNginx, nil, "[\n]\n"},
		{"an empty text has no line", WriteText, nil, ""},
		{"text escapes what a line cannot hold, and what looks escaped", WriteText, entries,
			"100%2525\n100% sure \"é\"\nbell%07\ncaf%E9/\ncsi%C2%9B\n"},
		{"nginx leaves out what is unknown and rounded sizes", WriteNginx, entries, "[\n" +
			`{ "name":"100%25", "type":"file", "mtime":"Wed, 08 Nov 2023 10:00:00 GMT", "size":1 },` + "\n" +
			`{ "name":"100% sure \"é\"", "type":"file" },` + "\n" +
			`{ "name":"bell\u0007", "type":"other" },` + "\n" +
			`{ "name":"caf\ufffd", "type":"directory", "mtime":"Fri, 02 Jan 2026 03:04:05 GMT" },` + "\n" +
			`{ "name":"csi` + "\u009b" + `", "type":"file" }` + "\n]\n"},
	} {
		t.Run(c.claim, func(t *testing.T) {
			var b strings.Builder
			if err := c.write(&b, rowsOf(c.rows)); err != nil || b.String() != c.want {
				t.Errorf("write = %v,\n%swant\n%s", err, b.String(), c.want)
			}
		})
	}
}

func TestEscapeNameIsWhatKeysHold(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"b c/%", "b%20c%2F%25"}, // the literal of cache's own test of Child
		{"plain-1.0_~.txt", "plain-1.0_~.txt"},
		{"!$&'()*+,;=:@", "!$&'()*+,;=:@"},
		{"\"#<>?[\\]^`{|}", "%22%23%3C%3E%3F%5B%5C%5D%5E%60%7B%7C%7D"},
		{"é\xe9\x00\x7f", "%C3%A9%E9%00%7F"},
		{"", ""},
	} {
		got := EscapeName(c.name)
		if got != c.want {
			t.Errorf("EscapeName(%q) = %q, want %q", c.name, got, c.want)
		}
		if back, err := url.PathUnescape(got); err != nil || back != c.name {
			t.Errorf("EscapeName(%q) unescapes to %q, %v", c.name, back, err)
		}
	}
}

// TestStringsAreThoseOfEncodingJSON holds our escaping against another writer of the same language.
func TestStringsAreThoseOfEncodingJSON(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		s := randomName(random)
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := `"` + string(appendQuotable(nil, s)) + `"`; got != string(want) {
			t.Fatalf("appendQuotable(%q) = %s, want %s", s, got, want)
		}
	}
}

// randomName is a name of up to eight pieces, awkward more often than not.
func randomName(random *rand.Rand) string {
	pieces := []string{"a", "Z", "9", ".", "-", " ", "%", "%41", "&", "<", "\"", "\\", "\n", "\r", "\x01", "\x1b", "\x7f", "é", "\xe9", "\xff", "\u2028", "\u2029", "\ufffd", "😀", "\xf0\x9f", "+", ":", "~", "'"}
	var b strings.Builder
	for range 1 + random.IntN(8) {
		b.WriteString(pieces[random.IntN(len(pieces))])
	}
	if s := b.String(); possible(s) {
		return s
	}
	return "dots"
}

// A failing writer takes room bytes.
type failing struct{ room int }

var errFull = errors.New("no space left")

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.room {
		return f.room, errFull
	}
	f.room -= len(p)
	return len(p), nil
}

func TestRowsEndWithTheReader(t *testing.T) {
	entries := manyEntries(5000)
	asked := 0
	rows := func(yield func(Row) bool) {
		for i := range entries {
			asked++
			if !yield(Row{Entry: entries[i]}) {
				return
			}
		}
	}
	if err := WriteJSON(&failing{room: 100 << 10}, rows); !errors.Is(err, errFull) {
		t.Errorf("WriteJSON to a full disk: %v, want %v", err, errFull)
	}
	if asked > 1000 {
		t.Errorf("WriteJSON went through %d rows after 100 KiB, want an end at the first error", asked)
	}
	if err := WriteJSON(&failing{room: 10}, rowsOf(entries[:3])); !errors.Is(err, errFull) {
		t.Errorf("WriteJSON of three rows to a full disk: %v, want %v", err, errFull)
	}
}

// manyEntries are n entries such as a large mirror has them.
func manyEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{
			Name: fmt.Sprintf("libsomething-%06d_1.%d.tar.gz", i, i%40), Kind: File, Size: int64(i) * 7919 % (1 << 30), SizeExact: true,
			ModTime: day.Add(time.Duration(i*48271%100_003) * 977 * time.Second), Step: time.Second, Mode: 0o644, ZoneKnown: true,
		}
		if i%50 == 0 {
			entries[i].Kind, entries[i].Size, entries[i].SizeExact, entries[i].Mode = Dir, -1, false, fs.ModeDir|0o755
		}
	}
	return entries
}

func BenchmarkWrite(b *testing.B) {
	entries := manyEntries(100_000)
	for _, c := range []struct {
		name  string
		write func(io.Writer, iter.Seq[Row]) error
	}{{"json", WriteJSON}, {"nginx", WriteNginx}, {"text", WriteText}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.write(io.Discard, rowsOf(entries)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
