package limit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestTheDefaultRules(t *testing.T) {
	f, err := NewFilter(DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		claim   string
		forward bool
		path    string
		kind    string
		before  Decision
		after   Decision
	}{
		{"a song by its name", true, "/a/song.mp3", "audio/mpeg", Deny, Deny},
		{"in capitals", true, "/a/SONG.MP3", "", Deny, Deny},
		{"a film", true, "/film.mkv", "", Deny, Deny},
		{"a film by its type alone", true, "/watch", "video/mp4; codecs=avc1", Later, Deny},
		{"the type in capitals", true, "/watch", "Video/MP4", Later, Deny},
		{"an archive", true, "/a.tar.gz", "application/gzip", Later, Allow},
		{"a source file that servers take for a film", true, "/src/main.ts", "video/mp2t", Allow, Allow},
		{"a directory with a song's name", true, "/best.mp3/", "text/html", Later, Allow},
		{"a song of a hub", false, "/a/song.mp3", "audio/mpeg", Allow, Allow},
		{"a type that is none", true, "/x", ";;", Later, Allow},
	} {
		facts := Facts{Method: "GET", Forward: row.forward, Host: "www.example.org", Path: row.path, Now: noon}
		if got := f.Judge(facts).Decision; got != row.before {
			t.Errorf("%s: Judge(%s) before the fetch = %v, want %v", row.claim, row.path, got, row.before)
		}
		facts.Head, facts.Type, facts.Size = true, row.kind, -1
		v := f.Judge(facts)
		if v.Decision != row.after {
			t.Errorf("%s: Judge(%s, %s) = %v, want %v", row.claim, row.path, row.kind, v.Decision, row.after)
		}
		var denial *Denial
		if err := v.Err(); (err != nil) != (row.after == Deny) || err != nil && (!errors.As(err, &denial) || denial.Status != 403 || !errors.Is(err, ErrFiltered) || denial.Reason == "") {
			t.Errorf("%s: Err = %v, want a Denial with 403 and a reason if denied", row.claim, err)
		}
	}
}

func TestAPathThatIsSpeltOddlyPassesNoRule(t *testing.T) {
	f, err := NewFilter([]Rule{
		{Name: "good", Action: Allow, Paths: []string{"/simple/evil/good/**"}},
		{Name: "evil", Action: Deny, Paths: []string{"/simple/evil/**"}},
		{Name: "songs", Action: Deny, Suffixes: []string{".mp3"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		path string
		want Decision
	}{
		{"/simple/evil/f", Deny}, {"//simple/evil/f", Deny}, {"/simple//evil/f", Deny}, {"/simple/evil;v=1/f", Deny}, {"/simple/;v=1/evil/", Deny},
		{"/simple/evil/good/f", Allow}, {"/simple/evil//good/f", Deny}, {"/simple/good//f", Allow}, {"/a.mp3;v=1", Deny}, {"//", Allow},
	} {
		if got := f.Judge(Facts{Method: "GET", Path: row.path, Now: noon}).Decision; got != row.want {
			t.Errorf("Judge(%s) = %v, want %v", row.path, got, row.want)
		}
	}
}

func TestEachConditionOfARule(t *testing.T) {
	base := Facts{Method: "GET", Hub: "pypi", Host: "Files.Example.org.", Path: "/pkg/a/Evil.WHL", Head: true, Size: 2000, Type: "application/zip",
		Magic: []byte("\x7fELF\x02\x01"), Published: noon.Add(-time.Hour), Now: noon}
	for _, row := range []struct {
		claim  string
		rule   Rule
		change func(*Facts)
		met    bool
	}{
		{"nothing asked for", Rule{}, nil, true},
		{"method", Rule{Methods: []string{"PUT", "GET"}}, nil, true},
		{"another method", Rule{Methods: []string{"PUT"}}, nil, false},
		{"hub", Rule{Hubs: []string{"pypi"}}, nil, true},
		{"another hub", Rule{Hubs: []string{"npm"}}, nil, false},
		{"proxy form", Rule{Forward: true}, nil, false},
		{"host glob, in any case and with the root's dot", Rule{Hosts: []string{"*.Example.org"}}, nil, true},
		{"another host", Rule{Hosts: []string{"*.example.com"}}, nil, false},
		{"a host that ends alike", Rule{Hosts: []string{"example.org"}}, nil, false},
		{"path glob", Rule{Paths: []string{"/pkg/**"}}, nil, true},
		{"a star stays in its segment", Rule{Paths: []string{"/pkg/*"}}, nil, false},
		{"suffix in any case", Rule{Suffixes: []string{".whl"}}, nil, true},
		{"a suffix of a directory's name", Rule{Suffixes: []string{"a"}}, nil, false},
		{"larger", Rule{Larger: 1999}, nil, true},
		{"not larger", Rule{Larger: 2000}, nil, false},
		{"a size that nobody says", Rule{Larger: 1}, func(f *Facts) { f.Size = -1 }, false},
		{"type", Rule{Types: []string{"application/*"}}, nil, true},
		{"another type", Rule{Types: []string{"application/gzip"}}, nil, false},
		{"magic bytes", Rule{Magic: []string{"hex:7f454c46"}}, nil, true},
		{"magic at its offset", Rule{Magic: []string{"hex:4c46@2"}}, nil, true},
		{"magic elsewhere", Rule{Magic: []string{"hex:4c46@3"}}, nil, false},
		{"magic beyond what there is", Rule{Magic: []string{"hex:00@100"}}, nil, false},
		{"what the content shows, whatever its type says", Rule{Magic: []string{"video/*"}},
			func(f *Facts) { f.Magic = []byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom") }, true},
		{"no content to look at", Rule{Magic: []string{"text/*"}}, func(f *Facts) { f.Magic = nil }, false},
		{"younger", Rule{Younger: 2 * time.Hour}, nil, true},
		{"old enough", Rule{Younger: time.Hour}, nil, false},
		{"of unknown age", Rule{Younger: time.Minute}, func(f *Facts) { f.Published = time.Time{} }, true},
		{"an exception needs a date", Rule{Action: Allow, Younger: 240 * time.Hour}, func(f *Facts) { f.Published = time.Time{} }, false},
		{"from the future", Rule{Younger: time.Minute}, func(f *Facts) { f.Published = noon.Add(24 * time.Hour) }, true},
		{"a rule that is over", Rule{Until: noon.Add(-1)}, nil, false},
		{"a rule that will be", Rule{Until: noon.Add(1)}, nil, true},
		{"two, of which one is not so", Rule{Methods: []string{"GET"}, Larger: 5000}, nil, false},
	} {
		row.rule.Name = "rule"
		if row.claim != "an exception needs a date" {
			row.rule.Action = Deny
		}
		f, err := NewFilter([]Rule{row.rule})
		if err != nil {
			t.Errorf("%s: NewFilter = %v", row.claim, err)
			continue
		}
		facts := base
		if row.change != nil {
			row.change(&facts)
		}
		if v := f.Judge(facts); (len(v.Notes) > 0) != row.met {
			t.Errorf("%s: Judge = %+v, want met %v", row.claim, v, row.met)
		}
	}
}

func TestBeforeTheHeadOnlyTheCertainIsDecided(t *testing.T) {
	small := Rule{Name: "large", Action: Deny, Larger: 1000}
	song := Rule{Name: "song", Action: Deny, Suffixes: []string{".mp3"}}
	friend := Rule{Name: "friend", Action: Allow, Types: []string{"text/*"}}
	pub := Rule{Name: "pub", Action: Allow, Paths: []string{"/pub/**"}}
	shadow := small
	shadow.Shadow = true
	cooldown := Rule{Name: "cooldown", Action: Deny, Younger: time.Hour, Breakable: true}
	for _, row := range []struct {
		claim    string
		rules    []Rule
		path     string
		override string
		want     Decision
	}{
		{"no rule", nil, "/a", "", Allow},
		{"what is denied whatever comes", []Rule{song, small}, "/a.mp3", "", Deny},
		{"two that deny need no head", []Rule{small, song}, "/a.mp3", "", Deny},
		{"an exception by type may come first", []Rule{friend, song}, "/a.mp3", "", Later},
		{"an exception by path is sure", []Rule{pub, small}, "/pub/a", "", Allow},
		{"after a denial it is not", []Rule{small, pub}, "/pub/a", "", Later},
		{"two that allow need no head", []Rule{friend, pub}, "/pub/a", "", Allow},
		{"a shadow wants to see the head", []Rule{shadow}, "/a", "", Later},
		{"before an exception too", []Rule{shadow, pub}, "/pub/a", "", Later},
		{"but holds up no denial", []Rule{shadow, song}, "/a.mp3", "", Deny},
		{"a broken glass is to be noted", []Rule{cooldown}, "/a", "release is on fire", Later},
	} {
		f, err := NewFilter(row.rules)
		if err != nil {
			t.Fatal(err)
		}
		v := f.Judge(Facts{Method: "GET", Path: row.path, Now: noon, Override: row.override})
		if v.Decision != row.want || v.Decision == Later && len(v.Notes) > 0 {
			t.Errorf("%s: Judge(%s) = %+v, want %v, and no notes when later", row.claim, row.path, v, row.want)
		}
	}
}

func TestShadowsAndBrokenGlassAreCounted(t *testing.T) {
	f, err := NewFilter([]Rule{
		{Name: "trial", Action: Deny, Shadow: true, Suffixes: []string{".iso"}},
		{Name: "cooldown", Action: Deny, Breakable: true, Younger: 72 * time.Hour},
		{Name: "never", Action: Deny, Paths: []string{"/secret/**"}, Status: 404},
	})
	if err != nil {
		t.Fatal(err)
	}
	facts := Facts{Method: "GET", Path: "/a.iso", Head: true, Published: noon.Add(-time.Hour), Now: noon}
	f.Count(f.Judge(facts))
	facts.Override = "lee: CVE fix"
	v := f.Judge(facts)
	f.Count(v)
	if v.Decision != Allow || len(v.Notes) != 2 || v.Notes[1].Outcome != Overridden || !strings.Contains(v.Notes[1].Reason, "2026-03-01T11:00:00Z") {
		t.Errorf("Judge with a broken glass = %+v, want it allowed, noted with the date", v)
	}
	facts.Path = "/secret/a.iso"
	v = f.Judge(facts)
	var denial *Denial
	if !errors.As(v.Err(), &denial) || denial.Status != 404 || denial.Rule != "never" {
		t.Errorf("Judge of what no glass protects = %v, want a denial with 404", v.Err())
	}
	f.Count(v)
	got := map[string]uint64{}
	for _, n := range f.Counts() {
		got[n.Rule+" "+n.Outcome.String()] = n.Count
	}
	for key, want := range map[string]uint64{"trial shadow": 3, "cooldown denied": 1, "cooldown overridden": 2, "never denied": 1} {
		if got[key] != want || len(got) != 4 {
			t.Errorf("Counts = %v, want %s %d", got, key, want)
		}
	}
	reg := prometheus.NewRegistry()
	f.CountIn(reg)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 4 {
		t.Errorf("Gather = %v, %v, want four series", families, err)
	}
	if (*Filter)(nil).Judge(facts).Decision != Allow || (*Filter)(nil).Magic() {
		t.Error("no filter does not allow")
	}
}

func TestRulesThatMakeNoSense(t *testing.T) {
	for claim, rules := range map[string][]Rule{
		"no name":              {{Action: Deny}},
		"a name twice":         {{Name: "a", Action: Deny}, {Name: "a", Action: Deny}},
		"an action that isn't": {{Name: "a", Action: Later}},
		"allows in shadow":     {{Name: "a", Shadow: true}},
		"a status of success":  {{Name: "a", Action: Deny, Status: 200}},
		"no glob":              {{Name: "a", Action: Deny, Paths: []string{"/[a"}}},
		"no type":              {{Name: "a", Action: Deny, Types: []string{"video"}}},
		"no hexadecimal":       {{Name: "a", Action: Deny, Magic: []string{"hex:zz"}}},
		"no bytes":             {{Name: "a", Action: Deny, Magic: []string{"hex:"}}},
		"no offset":            {{Name: "a", Action: Deny, Magic: []string{"hex:00@x"}}},
		"too far":              {{Name: "a", Action: Deny, Magic: []string{"hex:00@512"}}},
		"negative size":        {{Name: "a", Action: Deny, Larger: -1}},
	} {
		if _, err := NewFilter(rules); err == nil {
			t.Errorf("%s: NewFilter(%+v) takes it, want an error", claim, rules)
		}
	}
}
