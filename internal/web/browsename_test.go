package web

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"zcache/internal/cache"
	"zcache/internal/listing"
)

// oddNames are names that servers do have, and some that they should not.
var oddNames = []string{
	"a", "linux-6.1.tar.xz", "a b", " lead and trail ", "a&b", `"quoted" 'twice'`, "<script>alert(1)</script>", "a:b", "javascript:alert(1)", "?", "#", "%41",
	"a\\b", "new\nline", "tab\there", "\x00nul", "\x7f", "exe.\u202efdp", "\u2066iso\u2069", "zero\u200bwidth", "joined\u200dup", "\ufeffbom", "line\u2028end",
	"bad\xffbyte", "\xc3", "עברית.txt", "日本語", "e\u0301", "\U000e0001tag", "nb\u00a0sp", "a;b=c,d@e!f$g(h)*i+j", "-->", "</td></tr></table>", "]]>", "…", "~x", "README",
}

func TestNamesInHrefsAreWhatKeysHold(t *testing.T) {
	dir, err := cache.ParseKey("h", "/d/", "", false)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range oddNames {
		got := html.UnescapeString(string(appendHref(nil, name)))
		if want := listing.EscapeName(name); got != want {
			t.Errorf("appendHref(%q) = %q, EscapeName has %q", name, got, want)
		}
		if back, err := url.PathUnescape(got); err != nil || back != name {
			t.Errorf("appendHref(%q) = %q, which unescapes to %q, %v", name, got, back, err)
		}
		if strings.Contains(name, "\x00") {
			continue // a key refuses NUL in any coding
		}
		if key, err := dir.Child(name, false); err == nil && key.Path() != "/d/"+got {
			t.Errorf("appendHref(%q) = %q, its key has %q", name, got, key.Path())
		}
	}
}

func TestNamesShowEveryByte(t *testing.T) {
	spelled := func(s string) string { return `<span class="x">` + s + `</span>` }
	for _, row := range []struct{ claim, name, want string }{
		{"plain names are plain", "linux-6.1.tar.xz", "linux-6.1.tar.xz"},
		{"markup is text", `<b>&"'`, `&lt;b&gt;&amp;&#34;&#39;`},
		{"a space inside is one", "a b", "<bdi>a b</bdi>"},
		{"a space at an end is seen", " a ", "<bdi>" + spelled(`\x20`) + "a" + spelled(`\x20`) + "</bdi>"},
		{"controls are spelled", "a\nb\x7f", "<bdi>a" + spelled(`\x0a`) + "b" + spelled(`\x7f`) + "</bdi>"},
		{"what turns text around is spelled", "exe.\u202efdp", "<bdi>exe." + spelled(`\u202e`) + "fdp</bdi>"},
		{"what has no shape is spelled", "a\u200bb\ufeffc\u2028d\u00a0e", "<bdi>a" + spelled(`\u200b`) + "b" + spelled(`\ufeff`) + "c" + spelled(`\u2028`) + "d" + spelled(`\u00a0`) + "e</bdi>"},
		{"joiners shape letters", "a\u200db\u200cc", "<bdi>a\u200db\u200cc</bdi>"},
		{"bytes that are not UTF-8 are spelled", "a\xffb\xc3", "<bdi>a" + spelled(`\xff`) + "b" + spelled(`\xc3`) + "</bdi>"},
		{"a replacement character is itself", "\ufffd", "<bdi>\ufffd</bdi>"},
		{"beyond the first plane", "\U000e0001", "<bdi>" + spelled(`\U000e0001`) + "</bdi>"},
		{"letters from the right are isolated", "אב.txt", "<bdi>אב.txt</bdi>"},
		{"nothing is nothing", "", ""},
	} {
		if got := string(appendName(nil, row.name)); got != row.want {
			t.Errorf("%s: appendName(%q) = %s, want %s", row.claim, row.name, got, row.want)
		}
	}
}

func TestEscapedTextComesBack(t *testing.T) {
	for _, s := range append(oddNames, "a\rb\r\nc") {
		want := strings.ReplaceAll(s, "\x00", "\ufffd")
		got := string(appendEscaped(nil, s))
		if html.UnescapeString(got) != want {
			t.Errorf("appendEscaped(%q) = %q, which is %q", s, got, html.UnescapeString(got))
		}
		if regexp.MustCompile(`[<>"']`).MatchString(got) {
			t.Errorf("appendEscaped(%q) = %q, want no character that ends text or an attribute", s, got)
		}
	}
}
