package cache

import (
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestRecordIsReadableText(t *testing.T) {
	m := &Meta{
		Status: 200, Asked: time.Unix(1700000000, 5), Received: time.Unix(1700000001, 0), Size: 3, SHA256: [32]byte{0xab},
		ModTime: time.Unix(-5, 250), URL: "https://origin.example/a", Limit: time.Hour, Provisional: true, Row: "f 3 2025-01-01 exact",
		Vary: http.Header{"Accept": {"x"}, "X-None": nil}, Header: http.Header{"X": {"b", "a"}},
	}
	got, err := encode(m, key(t, "/a?b"))
	if err != nil {
		t.Fatal(err)
	}
	want := `zcache 1
status 200
asked 1700000000.000000005
received 1700000001.000000000
size 3
sha256 ab00000000000000000000000000000000000000000000000000000000000000
mtime -5.000000250
url https://origin.example/a
row f 3 2025-01-01 exact
key hub /a?b
limit 1h0m0s
provisional
vary Accept: x
vary X-None
h X: b
h X: a
`
	if string(got) != want {
		t.Errorf("encode gives\n%s\nwant\n%s", got, want)
	}
	r, err := decodeRecord(got)
	if err != nil || !reflect.DeepEqual(r.meta, m) || r.key != key(t, "/a?b") {
		t.Errorf("decode gives %+v of %v, %v, want %+v", r.meta, r.key, err, m)
	}
}

func TestRecordRefusesLineBreaks(t *testing.T) {
	for _, h := range []http.Header{{"A": {"b\nstatus 500"}}, {"A": {"b\rc"}}, {"A\nB": {"c"}}, {"A: b": {"c"}}, {"": {"c"}}} {
		if b, err := encode(&Meta{Status: 200, Header: h}, Key{}); !errors.Is(err, errMeta) {
			t.Errorf("encode of %q = %q, %v, want errMeta", h, b, err)
		}
	}
}

func TestARowIsOneLine(t *testing.T) {
	b, err := encode(&Meta{Status: 200, Row: "a\nstatus 500"}, Key{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := decodeRecord(b); err != nil || r.meta.Status != 200 || r.meta.Row != "a%0Astatus 500" {
		t.Errorf("decode of a row with a line break gives status %d, row %q, %v", r.meta.Status, r.meta.Row, err)
	}
}

func TestARowStaysWithItsEntry(t *testing.T) {
	tree := open(t, Config{})
	put(t, tree, "/a", "x")
	row := func() string {
		m, _, err := tree.Peek(key(t, "/a"))
		must(t, err)
		return m.Row
	}
	freshen(t, tree, "/a", func(m *Meta) { m.Row = "f 1 noon" })
	if got := row(); got != "f 1 noon" {
		t.Errorf("Row after a Freshen that gave one = %q", got)
	}
	freshen(t, tree, "/a", func(m *Meta) { m.Asked = m.Asked.Add(time.Second) })
	if got := row(); got != "f 1 noon" {
		t.Errorf("Row after a Freshen of the same Meta = %q, want it kept", got)
	}
	put(t, tree, "/a", "y")
	if got := row(); got != "" {
		t.Errorf("Row of a new body = %q, want none", got)
	}
}

func TestRecordOfOtherVersions(t *testing.T) {
	if r, err := decodeRecord([]byte("zcache 1\nstatus 200\nsparkle 3\n")); err != nil || r.meta.Status != 200 {
		t.Errorf("a line nobody knows: %v, %v, want it ignored", r.meta, err)
	}
	if _, err := decodeRecord([]byte("zcache 2\nstatus 200\n")); !errors.Is(err, errFuture) {
		t.Errorf("a newer version: %v, want errFuture", err)
	}
	for _, s := range []string{"", "zcache", "zcache 0\n", "zcache 1\n", "zcache 1\nstatus 200", "zcache 1\nstatus x\n", "zcache 1\nstatus 20\n",
		"zcache 1\noverflow ../../etc/passwd\n", "zcache 1\noverflow ab/../../../../../../../../etc/xx\n", "zcache 1\nstatus 200\nsha256 ab\n"} {
		if r, err := decodeRecord([]byte(s)); !errors.Is(err, errMeta) {
			t.Errorf("decode of %q = %+v, %v, want errMeta", s, r, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("zcache 1\nstatus 200\nh A: b\n", "Name", "value", int64(5), int64(1))
	f.Add("zcache 1\noverflow ab/abcdefabcdefabcdefabcdefabcdefab\n", "X", "\xff ", int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, garbage, name, value string, n, at int64) {
		if r, err := decodeRecord([]byte(garbage)); err == nil && r.overflow == "" {
			b, err := encode(r.meta, r.key)
			if err != nil {
				return // names that only a decoder takes
			}
			if again, err := decodeRecord(b); err != nil || !reflect.DeepEqual(again, r) {
				t.Errorf("%q decodes to %+v, encodes to %q, decodes to %+v, %v", garbage, r.meta, b, again.meta, err)
			}
		}
		when := time.Unix(at%(1<<40), n&0xfffff)
		m := &Meta{Status: 200, Size: n, Asked: when, Header: http.Header{name: {value, ""}}, Vary: http.Header{name: {value}}}
		b, err := encode(m, Key{})
		if err != nil {
			if !strings.ContainsAny(name+value, "\r\n: ") && name != "" {
				t.Errorf("encode of %q: %q: %v", name, value, err)
			}
			return
		}
		if r, err := decodeRecord(b); err != nil || !reflect.DeepEqual(r.meta, m) {
			t.Errorf("decode gives %+v, %v, want %+v", r.meta, err, m)
		}
	})
}
