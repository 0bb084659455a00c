package web

import (
	"slices"
	"strings"
	"testing"

	"zcache/internal/listing"
)

func TestFilesThatBelongToOthers(t *testing.T) {
	type seen struct {
		name string
		want bond
	}
	under := func(label, of string) bond { return bond{label, of, true} }
	for _, row := range []struct {
		claim string
		rows  []seen
	}{
		{"a signature follows its file", []seen{{"a.iso", bond{}}, {"a.iso.sig", under("signature", "a.iso")}}},
		{"so do all the others", []seen{
			{"a.iso", bond{}}, {"a.iso.asc", under("signature", "a.iso")}, {"a.iso.SHA256", under("checksum", "a.iso")},
			{"a.iso.torrent", under("torrent", "a.iso")}, {"a.iso.zsync", under("delta index", "a.iso")},
		}},
		{"a signature of a checksum is of the file", []seen{{"a", bond{}}, {"a.sha256", under("checksum", "a")}, {"a.sha256.asc", under("signature", "a.sha256")}}},
		{"a kernel's signature is of what the archive unpacks to", []seen{
			{"linux-6.1.tar.gz", bond{}}, {"linux-6.1.tar.sign", under("signature", "linux-6.1.tar")}, {"linux-6.1.tar.xz", bond{}},
		}},
		{"it may come first of two archives or after both", []seen{
			{"x-1.tar.bz2", bond{}}, {"x-1.tar.gz", bond{}}, {"x-1.tar.sign", under("signature", "x-1.tar")},
		}},
		{"others may come in between", []seen{{"a.deb", bond{}}, {"a.deb-old", bond{}}, {"a.deb.sig", under("signature", "a.deb")}}},
		{"a name that only begins alike is another file", []seen{{"a.isolated", bond{}}, {"a.iso.sig", bond{}}}},
		{"a key without a file is a file", []seen{{"release.asc", bond{}}, {"release.asc.sig", under("signature", "release.asc")}}},
		{"checksums of the directory", []seen{
			{"MD5SUMS", bond{label: "checksums"}}, {"SHA256SUMS", bond{label: "checksums"}}, {"SHA256SUMS.gpg", under("signature", "SHA256SUMS")},
			{"Fedora-42-CHECKSUM", bond{label: "checksums"}}, {"sha512sum.txt", bond{label: "checksums"}},
		}},
		{"checksums signed in one file", []seen{{"sha256sums.asc", bond{label: "signed checksums"}}}},
		{"what is to be read", []seen{{"README", bond{label: "read me"}}, {"README.md", bond{label: "read me"}}, {"Foo-1.readme", bond{label: "read me"}}, {"READMENOT", bond{}}}},
		{"a hidden file is no suffix", []seen{{".sig", bond{}}, {".sig.sig", under("signature", ".sig")}}},
	} {
		var k kin
		for _, s := range row.rows {
			if got := k.see(s.name); got != s.want {
				t.Errorf("%s: see(%q) = %+v, want %+v", row.claim, s.name, got, s.want)
			}
		}
	}
}

func TestIconsGoByName(t *testing.T) {
	for name, want := range map[string]string{
		"a.tar.xz": "arc", "A.ZIP": "arc", "a.iso": "img", "a.txt": "txt", "README": "txt", "a.sig": "sig", "a.sha256": "sum", "SHA256SUMS": "sum",
		"a": "file", "gz": "arc", "a.": "file", "a.torrent": "txt", "": "file",
	} {
		if got := iconOf(name); got != want {
			t.Errorf("iconOf(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestSignaturesFollowWhatTheySign(t *testing.T) {
	for _, c := range []struct{ claim, rows, want string }{
		{"that of the one archive", "l-1.tar.sign l-1.tar.xz l-2.tar.sign l-2.tar.xz", "l-1.tar.xz l-1.tar.sign l-2.tar.xz l-2.tar.sign"},
		{"that of two stays between them", "l.tar.gz l.tar.sign l.tar.xz", "l.tar.gz l.tar.sign l.tar.xz"},
		{"one behind its file stays there", "a a.sig b", "a a.sig b"},
		{"one without a file stays where it is", "a.sig b c.sig", "a.sig b c.sig"},
		{"of two signatures none is the other's file", "a.asc a.sig a.zip", "a.asc a.zip a.sig"},
	} {
		var got []string
		in := func(yield func(listing.Row) bool) {
			for name := range strings.FieldsSeq(c.rows) {
				if !yield(listing.Row{Entry: listing.Entry{Name: name, Kind: listing.File}}) {
					return
				}
			}
		}
		for row := range behindTheirs(in) {
			got = append(got, row.Name)
		}
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%s: %q become %q, want %q", c.claim, c.rows, got, want)
		}
	}
}
