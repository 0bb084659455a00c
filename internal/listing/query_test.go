package listing

import "testing"

func TestQueryIsOursOrNot(t *testing.T) {
	for _, c := range []struct {
		raw    string
		want   Query
		ours   bool
		encode string
	}{
		{"format=json", Query{Format: FormJSON}, true, "format=json"},
		{"limit=10&sort=size&order=desc&offset=20&format=text", Query{FormText, SortSize, OrderDown, 10, 20, false}, true, "format=text&sort=size&order=desc&limit=10&offset=20"},
		{"raw=1", Query{Raw: true}, true, "raw=1"},
		{"raw=1&format=html", Query{Raw: true, Format: FormHTML}, true, "format=html&raw=1"},
		{"limit=0", Query{}, true, ""},
		{"limit=0000000007", Query{Limit: 7}, true, "limit=7"},
		{"offset=9999999999", Query{Offset: 9999999999}, true, "offset=9999999999"},
		{"sort=name&order=asc", Query{Sort: SortName, Order: OrderUp}, true, "sort=name&order=asc"},
		{"sort=time", Query{Sort: SortTime}, true, "sort=time"},
		{raw: ""}, {raw: "&"}, {raw: "format=json&"}, {raw: "&format=json"}, {raw: "format"}, {raw: "format="}, {raw: "format=xml"},
		{raw: "Format=json"}, {raw: "format=JSON"}, {raw: "format=json&format=json"}, {raw: "format=json&x=1"}, {raw: "raw=0"}, {raw: "raw"},
		{raw: "limit="}, {raw: "limit=-1"}, {raw: "limit=%2B1"}, {raw: "limit=+1"}, {raw: "limit=1.5"}, {raw: "limit=10000000000"},
		{raw: "limit=99999999999"}, {raw: "sort=namedirfirst"}, {raw: "sort=mtime"}, {raw: "order=up"}, {raw: "f%6Frmat=json"},
		{raw: "format=json;sort=name"}, {raw: "C=M;O=A"}, {raw: "list-type=2&prefix=a"},
	} {
		got, ours := ParseQuery(c.raw)
		if got != c.want || ours != c.ours {
			t.Errorf("ParseQuery(%q) = %+v, %v, want %+v, %v", c.raw, got, ours, c.want, c.ours)
		}
		if text := got.Encode(); text != c.encode {
			t.Errorf("ParseQuery(%q) encodes as %q, want %q", c.raw, text, c.encode)
		}
		if again, ok := ParseQuery(got.Encode()); c.encode != "" && (again != got || !ok) {
			t.Errorf("ParseQuery(%q) = %+v, %v after Encode, want %+v", c.encode, again, ok, got)
		}
	}
}
