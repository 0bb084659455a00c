package listing

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func names(entries []*Entry) string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name)
	}
	return strings.Join(all, " ")
}

func TestDiffByName(t *testing.T) {
	of := func(all string) *Listing {
		l := &Listing{}
		for name := range strings.FieldsSeq(all) {
			l.Entries = append(l.Entries, Entry{Name: name, Kind: File, Size: -1})
		}
		return l
	}
	for _, c := range []struct{ old, new, added, gone string }{
		{"", "", "", ""},
		{"", "a b", "a b", ""},
		{"a b", "", "", "a b"},
		{"a c e", "b c d", "b d", "a e"},
		{"a", "a0", "a0", "a"},
		{"B a", "B a b", "b", ""},
	} {
		got := Diff(of(c.old), of(c.new))
		if names(got.Added) != c.added || names(got.Gone) != c.gone || len(got.Changed) > 0 || got.None() != (c.added+c.gone == "") {
			t.Errorf("Diff of %q and %q: added %q, changed %q, gone %q; want added %q, gone %q", c.old, c.new, names(got.Added), names(got.Changed), names(got.Gone), c.added, c.gone)
		}
	}
}

func TestDiffOfOneEntry(t *testing.T) {
	exact := Entry{Name: "a", Kind: File, Size: 1_258_000, SizeExact: true, ModTime: day, Step: time.Second, ZoneKnown: true}
	shown := Entry{Name: "a", Kind: File, Size: 1_258_291, ModTime: day.Truncate(time.Minute), Step: time.Minute} // 1.2M, of a clock in UTC
	with := func(e Entry, change func(*Entry)) Entry {
		change(&e)
		return e
	}
	for _, c := range []struct {
		claim    string
		old, new Entry
		changed  bool
	}{
		{"the same", exact, exact, false},
		{"one byte more", exact, with(exact, func(e *Entry) { e.Size++ }), true},
		{"one second later", exact, with(exact, func(e *Entry) { e.ModTime = day.Add(time.Second) }), true},
		{"one second earlier", exact, with(exact, func(e *Entry) { e.ModTime = day.Add(-time.Second) }), true},
		{"a fraction that was not shown before", exact, with(exact, func(e *Entry) { e.ModTime, e.Step = day.Add(time.Second/2), 1 }), false},
		{"other fractions of one second", with(exact, func(e *Entry) { e.Step = 1 }), with(exact, func(e *Entry) { e.ModTime, e.Step = day.Add(1), 1 }), true},
		{"a file became a directory", exact, with(exact, func(e *Entry) { e.Kind, e.Size = Dir, -1 }), true},
		{"a kind became known", with(exact, func(e *Entry) { e.Kind = Unknown }), exact, false},
		{"size and time are not told any more", exact, Entry{Name: "a", Size: -1}, false},
		{"a link leads elsewhere", with(exact, func(e *Entry) { e.Target = "x" }), with(exact, func(e *Entry) { e.Target = "y" }), true},
		{"a link's text became known", exact, with(exact, func(e *Entry) { e.Link, e.Target = true, "y" }), false},
		{"the mode", exact, with(exact, func(e *Entry) { e.Mode = 0o600 }), false},
		{"rounded now", exact, shown, false},
		{"exact now", shown, exact, false},
		{"rounded now, and larger", exact, with(shown, func(e *Entry) { e.Size = 1_468_006 }), true},
		{"the next figure that a server rounds to", shown, with(shown, func(e *Entry) { e.Size = 1_363_148 }), true},
		{"the next minute", shown, with(shown, func(e *Entry) { e.ModTime = e.ModTime.Add(time.Minute) }), true},
		{"two hours apart, for a time zone that only one of them knows", exact, with(shown, func(e *Entry) { e.ModTime = e.ModTime.Add(2 * time.Hour) }), false},
		{"two hours and five minutes apart", exact, with(shown, func(e *Entry) { e.ModTime = e.ModTime.Add(125 * time.Minute) }), true},
		{"a day apart is no time zone", exact, with(shown, func(e *Entry) { e.ModTime = e.ModTime.Add(24 * time.Hour) }), true},
		{"two hours apart, and both know the time zone", exact, with(exact, func(e *Entry) { e.ModTime = day.Add(2 * time.Hour) }), true},
		{"two hours apart in one unknown time zone", shown, with(shown, func(e *Entry) { e.ModTime = e.ModTime.Add(2 * time.Hour) }), true},
		{"times of unknown exactness", with(exact, func(e *Entry) { e.Step = 0 }), with(exact, func(e *Entry) { e.ModTime, e.Step = day.Add(time.Second), 0 }), true},
	} {
		t.Run(c.claim, func(t *testing.T) {
			got := Diff(&Listing{Entries: []Entry{c.old}}, &Listing{Entries: []Entry{c.new}})
			if (names(got.Changed) == "a") != c.changed || len(got.Added)+len(got.Gone) > 0 {
				t.Errorf("Diff of %+v and %+v = changed %q, want changed %v", c.old, c.new, names(got.Changed), c.changed)
			}
		})
	}
}

func TestDiffCompletesWithoutAltering(t *testing.T) {
	one := func(size int64) *Listing {
		return &Listing{Entries: []Entry{{Name: "a", Kind: File, Size: -1}}, Complete: func(e *Entry) { e.Size, e.SizeExact = size, true }}
	}
	a, b := one(1), one(2)
	if got := Diff(a, b); names(got.Changed) != "a" {
		t.Errorf("Diff of sizes that only Complete tells = %+v, want a changed", got)
	}
	if a.Entries[0].Size != -1 || b.Entries[0].Size != -1 {
		t.Errorf("Diff left sizes %d and %d in the listings, want them as they were", a.Entries[0].Size, b.Entries[0].Size)
	}
}

func TestAgrees(t *testing.T) {
	exact := Entry{Name: "a", Kind: File, Size: 5000, SizeExact: true, ModTime: day, Step: time.Second, ZoneKnown: true}
	rounded := func(size int64) Entry {
		return Entry{Name: "a", Kind: File, Size: size, ModTime: day, Step: time.Minute, ZoneKnown: true}
	}
	with := func(change func(*Entry)) Entry {
		e := exact
		change(&e)
		return e
	}
	for _, c := range []struct {
		claim string
		entry Entry
		size  int64
		off   time.Duration // of the held file's time from the listed one
		ahead time.Duration
		want  bool
	}{
		{"the same", exact, 5000, 0, 0, true},
		{"another size", exact, 5001, 0, 0, false},
		{"a second later", exact, 5000, time.Second, 0, false},
		{"a fraction that HTTP cannot tell", with(func(e *Entry) { e.ModTime, e.Step = day.Add(time.Second/2), 1 }), 5000, 0, 0, true},
		{"no size is listed", with(func(e *Entry) { e.Size = -1 }), 5000, 0, 0, false},
		{"no time is listed", with(func(e *Entry) { e.ModTime = time.Time{} }), 5000, 0, 0, false},
		{"a directory", with(func(e *Entry) { e.Kind, e.Size = Dir, 5000 }), 5000, 0, 0, false},
		{"unknown whether it is a file", with(func(e *Entry) { e.Kind = Unknown }), 5000, 0, 0, true},
		{"within the minute that is shown", rounded(5000), 5000, 59 * time.Second, 0, true},
		{"within the minute, where the server rounds up", rounded(5000), 5000, -59 * time.Second, 0, true},
		{"the next minute", rounded(5000), 5000, time.Minute, 0, false},
		{"1.2M, rounded down from nearly 1.3M", rounded(1_258_291), 1_363_100, 0, 0, true},
		{"1.2M is not 1.4M", rounded(1_258_291), 1_468_006, 0, 0, false},
		{"0.1K is one byte", rounded(102), 1, 0, 0, true},
		{"0.9M is nearly 1M", rounded(943_718), 1<<20 - 1, 0, 0, true},
		{"150K is not 160K", rounded(150 << 10), 160 << 10, 0, 0, false},
		{"the largest size there is", rounded(1<<63 - 1), 1<<63 - 1, 0, 0, true},
		{"0K is some bytes", rounded(0), 800, 0, 0, true},
		{"1K is nearly 2K to those who show whole ones", rounded(1024), 2047, 0, 0, true},
		{"2K is not 4K", rounded(2048), 4096, 0, 0, false},
		{"15M rounded up", rounded(15 << 20), 15<<20 - 500_000, 0, 0, true},
		{"12.3G is not 13G", rounded(13207024435), 13 << 30, 0, 0, false},
		{"a decimal unit", rounded(9000), 9999, 0, 0, true},
		{"a clock two hours ahead", with(func(e *Entry) { e.ZoneKnown = false }), 5000, -2 * time.Hour, 2 * time.Hour, true},
		{"a clock two hours ahead that nobody knows of", with(func(e *Entry) { e.ZoneKnown = false }), 5000, -2 * time.Hour, 0, false},
		{"a known time zone stays", exact, 5000, 0, 2 * time.Hour, true},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if got := c.entry.Agrees(c.size, day.Add(c.off), c.ahead); got != c.want {
				t.Errorf("%+v.Agrees(%d, %v, %v) = %v, want %v", c.entry, c.size, day.Add(c.off), c.ahead, got, c.want)
			}
		})
	}
	if exact.Agrees(5000, time.Time{}, 0) {
		t.Error("Agrees with a file of unknown time = true, want false")
	}
}

// TestDigestTellsListingsApart changes one thing at a time, and finds each in the digest and the sidecar.
func TestDigestTellsListingsApart(t *testing.T) {
	base := func() *Listing {
		return &Listing{Entries: []Entry{
			{Name: "a", Kind: File, Size: 1, ModTime: day, Step: time.Second, Mode: 0o644, SizeExact: true, ZoneKnown: true},
			{Name: "b", Kind: Dir, Size: -1},
		}}
	}
	seen := map[[32]byte]string{Digest(base()): "nothing"}
	for what, change := range map[string]func(*Listing){
		"name":    func(l *Listing) { l.Entries[0].Name = "A" },
		"names":   func(l *Listing) { l.Entries[0].Name, l.Entries[1].Name = "a\x01", "" },
		"target":  func(l *Listing) { l.Entries[0].Target = "x" },
		"time":    func(l *Listing) { l.Entries[0].ModTime = day.Add(1) },
		"no time": func(l *Listing) { l.Entries[0].ModTime = time.Time{} },
		"1970":    func(l *Listing) { l.Entries[0].ModTime = time.Unix(0, 0).UTC() },
		"size":    func(l *Listing) { l.Entries[0].Size = 2 },
		"no size": func(l *Listing) { l.Entries[0].Size = -1 },
		"step":    func(l *Listing) { l.Entries[0].Step = 0 },
		"mode":    func(l *Listing) { l.Entries[0].Mode = 0 },
		"unknown": func(l *Listing) { l.Entries[0].Kind = Unknown },
		"other":   func(l *Listing) { l.Entries[0].Kind = Other },
		"link":    func(l *Listing) { l.Entries[0].Link = true },
		"rounded": func(l *Listing) { l.Entries[0].SizeExact = false },
		"zone":    func(l *Listing) { l.Entries[0].ZoneKnown = false },
		"fewer":   func(l *Listing) { l.Entries = l.Entries[:1] },
		"none":    func(l *Listing) { l.Entries = nil },
		"next":    func(l *Listing) { l.Next = "?page=2" },
	} {
		l := base()
		change(l)
		sum := Digest(l)
		if other, ok := seen[sum]; ok {
			t.Errorf("Digest after a change of %s is that after a change of %s", what, other)
		}
		seen[sum] = what
	}
}

func TestDigestIsOfWhatIsWritten(t *testing.T) {
	for seed := range uint64(50) {
		l := randomListing(rand.New(rand.NewPCG(seed, 11)), 30)
		again, err := ReadSidecar(strings.NewReader(string(sidecarOf(t, l))))
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("ReadSidecar = %+v, %v, want %+v", again, err, l)
		}
		if Digest(again) != Digest(l) {
			t.Errorf("seed %d: Digest of a listing that was written and read is another", seed)
		}
	}
	later := &Listing{Entries: []Entry{{Name: "a", Size: -2, ModTime: day.AddDate(10000, 0, 0), Step: -1}}}
	never := &Listing{Entries: []Entry{{Name: "a", Size: -1}}}
	if Digest(later) != Digest(never) || string(sidecarOf(t, later)) != string(sidecarOf(t, never)) {
		t.Error("a time that cannot be written, a size and a step below zero do not count as unknown")
	}
}
