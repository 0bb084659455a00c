package listing

import (
	"testing"
	"time"
)

func TestWhenACopysFiguresStandForARow(t *testing.T) {
	modified := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	listed := modified.Add(1000 * time.Hour)
	row := func(change func(e *Entry)) Entry {
		e := Entry{Name: "f", Kind: File, Size: 1000, SizeExact: true, ModTime: modified, Step: time.Second, ZoneKnown: true}
		if change != nil {
			change(&e)
		}
		return e
	}
	minute := func(apart time.Duration) Entry {
		return row(func(e *Entry) {
			e.ModTime, e.Step, e.ZoneKnown = modified.Truncate(time.Minute).Add(apart), time.Minute, false
		})
	}
	copyOf := func(vouched time.Duration) Copy {
		return Copy{Size: 1000, ModTime: modified, Asked: listed.Add(-time.Second), Vouched: modified.Add(vouched)}
	}
	long := 100 * time.Hour
	for _, c := range []struct {
		claim string
		row   Entry
		copy  Copy
		want  bool
	}{
		{"the same to the second", row(nil), copyOf(long), true},
		{"vouched for in the second after its own", row(nil), copyOf(time.Second), false},
		{"vouched for two seconds after its own", row(nil), copyOf(2 * time.Second), true},
		{"fractions are shown, but HTTP has none", row(func(e *Entry) { e.ModTime, e.Step = modified.Add(1e8), time.Millisecond }), copyOf(time.Second), false},
		{"another second", row(func(e *Entry) { e.ModTime = modified.Add(time.Second) }), copyOf(long), false},
		{"another size", row(func(e *Entry) { e.Size++ }), copyOf(long), false},
		{"no size listed", row(func(e *Entry) { e.Size = -1 }), copyOf(long), false},
		{"no time listed", row(func(e *Entry) { e.ModTime, e.Step = time.Time{}, 0 }), copyOf(long), false},
		{"a time that nobody knows how exact it is", row(func(e *Entry) { e.Step = 0 }), copyOf(long), false},
		{"a copy without a time", row(nil), Copy{Size: 1000, Asked: listed.Add(-1), Vouched: listed}, false},
		{"another size, asked for after the listing", row(func(e *Entry) { e.Size++ }), Copy{Size: 1000, Asked: listed}, true},
		{"names alone, asked for after the listing", Entry{Name: "f", Size: -1}, Copy{Size: 1000, Asked: listed}, true},
		{"names alone, asked for before", Entry{Name: "f", Size: -1}, copyOf(long), false},
		{"a directory now", row(func(e *Entry) { e.Kind, e.Size = Dir, -1 }), Copy{Size: 1000, Asked: listed}, false},
		{"a rounded size that fits", row(func(e *Entry) { e.Size, e.SizeExact = 1024, false }), copyOf(long), true},
		{"a rounded size that does not", row(func(e *Entry) { e.Size, e.SizeExact = 10240, false }), copyOf(long), false},
		{"to a minute, vouched for within it", row(func(e *Entry) { e.ModTime, e.Step = modified.Truncate(time.Minute), time.Minute }), copyOf(time.Minute), false},
		{"to a minute, vouched for two later", row(func(e *Entry) { e.ModTime, e.Step = modified.Truncate(time.Minute), time.Minute }), copyOf(2 * time.Minute), true},
		{"in some zone, and long vouched for", minute(0), copyOf(long), true},
		{"in a zone two hours ahead", minute(2 * time.Hour), copyOf(long), true},
		{"in a zone of three quarters", minute(-9*time.Hour - 45*time.Minute), copyOf(long), true},
		{"apart as no zone is", minute(7 * time.Minute), copyOf(long), false},
		{"farther than any zone", minute(14*time.Hour + 15*time.Minute), copyOf(long), false},
		{"in some zone, where a change of the same day could look like it", minute(2 * time.Hour), copyOf(3 * time.Hour), false},
		{"to a day in some zone", row(func(e *Entry) { e.ModTime, e.Step, e.ZoneKnown = modified.Truncate(24*time.Hour), 24*time.Hour, false }), copyOf(long), true},
		{"the day before, which it was somewhere", row(func(e *Entry) {
			e.ModTime, e.Step, e.ZoneKnown = modified.Truncate(24*time.Hour).Add(-24*time.Hour), 24*time.Hour, false
		}), copyOf(long), true},
		{"two days after, which it was nowhere", row(func(e *Entry) {
			e.ModTime, e.Step, e.ZoneKnown = modified.Truncate(24*time.Hour).Add(48*time.Hour), 24*time.Hour, false
		}), copyOf(long), false},
	} {
		t.Run(c.claim, func(t *testing.T) {
			if got := c.row.Confirms(c.copy, listed); got != c.want {
				t.Errorf("Confirms(%+v) of %+v = %v, want %v", c.copy, c.row, got, c.want)
			}
		})
	}
}

// A later change shows: no time at which a file may have been changed again makes a row that its old copy confirms.
func TestNoLaterChangeLooksConfirmed(t *testing.T) {
	modified := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	for _, step := range []time.Duration{time.Second, time.Minute, 24 * time.Hour} {
		for _, known := range []bool{true, false} {
			late := 2 * step
			if !known {
				late += 28 * time.Hour
			}
			c := Copy{Size: 1000, ModTime: modified, Vouched: modified.Add(late)}
			for zone := -14 * time.Hour; zone <= 14*time.Hour; zone += 15 * time.Minute {
				if known {
					zone = 0
				}
				for after := range 200 {
					changed := c.Vouched.Add(time.Duration(after) * 11 * time.Minute)
					e := Entry{Name: "f", Kind: File, Size: 1000, SizeExact: true, ModTime: changed.Add(zone).Truncate(step), Step: step, ZoneKnown: known}
					if e.Confirms(c, time.Time{}) {
						t.Fatalf("a change at %v, shown as %v to %v (zone known %v), is confirmed by the copy of %v", changed, e.ModTime, step, known, modified)
					}
				}
				if known {
					break
				}
			}
		}
	}
}
