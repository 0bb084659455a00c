package listing

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// TestParseReadsWhatIsWritten is a zcache behind a zcache: what one writes, the other reads with all that it knows.
func TestParseReadsWhatIsWritten(t *testing.T) {
	src := Source{URL: &url.URL{Scheme: "http", Host: "origin.example", Path: "/pub/"}, ContentType: "application/json", Now: day}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 12))
		l := randomListing(random, random.IntN(40))
		for i := range l.Entries {
			l.Entries[i].Step = min(l.Entries[i].Step, 24*time.Hour) // as inexact as servers are
		}
		var b bytes.Buffer
		if err := WriteJSON(&b, rowsOf(l.Entries)); err != nil {
			t.Fatalf("WriteJSON: %v", err)
		}
		got, err := Parse(src, &b)
		if err != nil || len(got.Entries) != len(l.Entries) {
			t.Fatalf("seed %d: Parse = %+v, %v, want %+v", seed, got, err, l)
		}
		for i := range l.Entries {
			if g, w := told(got.Entries[i]), told(l.Entries[i]); !reflect.DeepEqual(g, w) {
				t.Errorf("seed %d: Parse of what WriteJSON wrote =\n%+v, want\n%+v", seed, g, w)
			}
		}
	}
}

// told is e without what WriteJSON does not tell: exactness of what is unknown, modes beyond permissions, steps below a second.
func told(e Entry) Entry {
	e.Mode &= fs.ModePerm
	e.SizeExact = e.SizeExact && e.Size >= 0
	if e.ModTime.IsZero() || e.Step == 0 {
		e.ModTime, e.Step, e.ZoneKnown = time.Time{}, 0, false
	}
	if e.Step > 0 {
		e.Step = max(e.Step, time.Second)
	}
	return e
}

func TestParseReadsTheNginxForm(t *testing.T) {
	src := Source{URL: &url.URL{Scheme: "http", Host: "origin.example", Path: "/pub/"}, ContentType: "application/json", Now: day}
	for seed := range uint64(100) {
		l := randomListing(rand.New(rand.NewPCG(seed, 13)), 20)
		var b bytes.Buffer
		if err := WriteNginx(&b, rowsOf(l.Entries)); err != nil {
			t.Fatalf("WriteNginx: %v", err)
		}
		got, err := Parse(src, bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatalf("seed %d: Parse of\n%s: %v", seed, b.Bytes(), err)
		}
		have := make(map[string]Entry)
		for _, e := range got.Entries {
			have[e.Name] = e
		}
		for _, want := range l.Entries {
			if strings.ContainsRune(want.Name, utf8.RuneError) { // it may be shown as another is
				continue
			}
			e, ok := have[want.Name]
			if !ok || (e.Kind == Dir) != (want.Kind == Dir) || want.SizeExact && want.Kind == File && e.Size != want.Size {
				t.Errorf("seed %d: Parse of what WriteNginx wrote = %+v, %v, want %+v", seed, e, ok, want)
			}
		}
	}
}

// TestEveryServersFileAgreesWithItsListing holds the true sizes and times of the corpus against what each server showed of them, and the
// sizes of files three times as large too, which are beyond any rounding.
func TestEveryServersFileAgreesWithItsListing(t *testing.T) {
	c := loadCorpus(t)
	agreed := 0
	for _, s := range c.servers {
		for _, one := range s.Cases {
			if one.ext != "html" && one.ext != "json" || one.Case != "sizes" && one.Case != "sizes-json" {
				continue
			}
			l, err := Parse(one.source(s), bytes.NewReader(one.data))
			if err != nil {
				t.Errorf("%s/%s: Parse: %v", s.name, one.Case, err)
				continue
			}
			truth := make(map[string]truthEntry)
			for _, e := range c.truth(t, one.Truth) {
				truth[e.Name] = e
			}
			for i := range l.Entries {
				e := &l.Entries[i]
				if w := truth[e.Name]; e.Size >= 0 && !e.ModTime.IsZero() && w.Size != nil && w.ModTime != nil {
					agreed++
					ahead := e.ModTime.Sub(*w.ModTime).Round(15 * time.Minute)
					if !e.Agrees(*w.Size, *w.ModTime, ahead) {
						t.Errorf("%s/%s: %+v does not agree with the true %d bytes of %v", s.name, one.Case, *e, *w.Size, *w.ModTime)
					}
					if far := 3**w.Size + 3000; e.Agrees(far, *w.ModTime, ahead) {
						t.Errorf("%s/%s: %+v agrees with %d bytes in place of %d", s.name, one.Case, *e, far, *w.Size)
					}
				}
			}
		}
	}
	if agreed < 300 {
		t.Errorf("only %d entries with size and time were compared", agreed)
	}
}
