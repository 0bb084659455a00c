package cache

import (
	"errors"
	"strings"
	"testing"
)

func key(t testing.TB, s string) Key {
	t.Helper()
	k, err := unkeyed("hub", s)
	if err != nil {
		t.Fatalf("ParseKey(%q): %v", s, err)
	}
	return k
}

func TestKeyRefusesWhatNamesNothing(t *testing.T) {
	for _, path := range []string{
		"", "a", "/%", "/%4", "/%zz", "/a%2", "/a/..", "/..", "/.", "/./a", "/a/../b", "/%2e%2e/a", "/.%2E", "/%2e", "/a/..%2fb",
		"/a/..%2Fb", "/a%2f..", "/a%5c..%5cb", `/a\..\b`, `/..\a`, "/..%5C", "/a/%2E./b", "/a\x00", "/a\nb", "/a\x7f", "/a#b",
		"/" + strings.Repeat("a", 8<<10),
	} {
		if k, err := ParseKey("hub", path, "", false); !errors.Is(err, ErrBadKey) {
			t.Errorf("ParseKey(%.40q) = %v, %v, want ErrBadKey", path, k, err)
		}
	}
	for _, hub := range []string{"", ".a", "-a", "A", "a/b", "..", ".zcache", "a b", strings.Repeat("a", 201)} {
		if _, err := ParseKey(hub, "/", "", false); !errors.Is(err, ErrBadKey) {
			t.Errorf("ParseKey in hub %.40q: %v, want ErrBadKey", hub, err)
		}
	}
	if _, err := ParseKey("hub", "/a", "b\nc", true); !errors.Is(err, ErrBadKey) {
		t.Errorf("ParseKey with a line break in the query: %v, want ErrBadKey", err)
	}
}

func TestKeyTakesWhatOnlyLooksLikeDots(t *testing.T) {
	for _, path := range []string{"/...", "/..a", "/a..", "/%252e%252e/a", "/.a", "/a/..;b", "/%2e%2e%2e", "/a%5cb", `/a\b`} {
		if _, err := ParseKey("hub", path, "", false); err != nil {
			t.Errorf("ParseKey(%q): %v", path, err)
		}
	}
}

func TestKeyNormalisesOnlyUnreservedEscapes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"/%7Eu", "/~u"}, {"/%41%2d%5f%2e%30", "/A-_.0"}, {"/%2f", "/%2f"}, {"/%2F", "/%2F"}, {"/%25", "/%25"}, {"/%2541", "/%2541"},
		{"/a?%7E%26", "/a?~%26"}, {"/a?100%", "/a?100%"}, {"/a?%%341", "/a?%%341"}, {"/a?%4%31", "/a?%4%31"}, {"/a?", "/a?"},
	} {
		got := key(t, c.in)
		if keyed(got) != c.want {
			t.Errorf("key of %s = %s, want %s", c.in, keyed(got), c.want)
		}
		if again := key(t, keyed(got)); again != got {
			t.Errorf("key of %s changes when parsed again: %v, then %v", c.in, got, again)
		}
	}
}

func TestKeyParts(t *testing.T) {
	for _, c := range []struct{ in, parent, name, text string }{
		{"/", "/", "", "/hub/"}, {"/a", "/", "a", "/hub/a"}, {"/a/", "/", "a", "/hub/a/"}, {"/a/b%20c", "/a/", "b c", "/hub/a/b%20c"},
		{"/a/b/", "/a/", "b", "/hub/a/b/"}, {"/a//", "/a/", "", "/hub/a//"}, {"/é?q", "/", "é", "/hub/%C3%A9?q"},
	} {
		k := key(t, c.in)
		if keyed(k.Parent()) != c.parent || k.Name() != c.name || k.String() != c.text {
			t.Errorf("%s: parent %s, name %q, text %s; want %s, %q, %s", c.in, keyed(k.Parent()), k.Name(), k, c.parent, c.name, c.text)
		}
	}
	u := key(t, `/a%2fb"?c`).URL()
	if u.Host != "hub" || u.Opaque != `/a%2fb"` || u.RawQuery != "c" || u.ForceQuery {
		t.Errorf("URL = %+v", u)
	}
	if !key(t, "/a?").URL().ForceQuery {
		t.Error("the empty query is lost in the URL")
	}
	if k, err := key(t, "/a").Child("b c/%", true); err != nil || k.Path() != "/a/b%20c%2F%25/" {
		t.Errorf("Child = %v, %v", k, err)
	}
}

func TestUnderGoesByWholeSegments(t *testing.T) {
	for _, c := range []struct {
		key, dir string
		want     bool
	}{
		{"/a/b", "/a", true}, {"/a/b", "/a/", true}, {"/ab", "/a", false}, {"/a", "/a/", true}, {"/a", "/", true}, {"/", "/a", false},
		{"/a?q", "/a", true}, {"/a/b", "/a/b/c", false},
	} {
		if got := key(t, c.key).Under(key(t, c.dir)); got != c.want {
			t.Errorf("%s under %s = %v, want %v", c.key, c.dir, got, c.want)
		}
	}
	other, _ := ParseKey("other", "/a", "", false)
	if other.Under(key(t, "/")) {
		t.Error("a key lies under one of another hub")
	}
}

func TestPlaces(t *testing.T) {
	long := strings.Repeat("n", 255)
	for _, c := range []struct{ in, want string }{
		{"/a/b.tar.xz", "hub/a/b.tar.xz"}, {"/", "hub/.zcache-index"}, {"/a/", "hub/a/.zcache-index"}, {"/a%20b", "hub/a b"},
		{"/a+b:c@d", "hub/a+b:c@d"}, {"/%FF%0A", "hub/\xff\n"}, {"/" + long, "hub/" + long}, {"/%C3%A9", "hub/é"}, {"/a%5Cb", `hub/a\b`},
	} {
		if got := mainPlace(key(t, c.in)); string(got) != c.want {
			t.Errorf("place of %.40s = %.60q, want %.60q", c.in, got, c.want)
		}
	}
	for _, in := range []string{
		"/a?", "/a?b", "/a%2Fb", "/a%2fb", "/%ff", "/a%2b", "/a\"b", "/a//b", "/%00", "/" + long + "n", "/.zcache", "/.zcache-x/a",
		"/__content", "/__content/a", "//", "/" + strings.Repeat("a/", 1800) + "b", "/é",
	} {
		if got := mainPlace(key(t, in)); !strings.HasPrefix(string(got), ".zcache/odd/hub/") || len(got.base()) > longestOdd {
			t.Errorf("place of %.40q = %.60q, want one aside", in, got)
		}
	}
}

func FuzzPlaceLeadsBack(f *testing.F) {
	for _, s := range []string{
		"/", "/a", "/a/", "/a?", "/a?b=%", "/a%2Fb", "/a%2fb", "//", "/a//b", "/%7E", "/~", "/%20", "/ ", "/%22", "/\"", "/__content",
		"/a/__content", "/.zcache/odd", "/a/.zcache-index", "/%00", "/%FF", "/\xff", "/a%5C..", "/%2e%2e", "/" + strings.Repeat("é", 200),
		"/a?%%341", "/a?%4%31", "/~0", "/%7e0",
	} {
		f.Add(s, s+"/b")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		ka, erra := unkeyed("hub", a)
		kb, errb := unkeyed("hub", b)
		for _, c := range []struct {
			key Key
			err error
		}{{ka, erra}, {kb, errb}} {
			if c.err == nil {
				checkPlace(t, c.key)
			}
		}
		if erra == nil && errb == nil && ka != kb {
			for _, of := range []func(Key) place{mainPlace, variantDir, func(k Key) place { return asidePlace(otherDir, k) }} {
				if of(ka) == of(kb) {
					t.Errorf("%q and %q share the place %q", a, b, of(ka))
				}
			}
		}
	})
}

func checkPlace(t *testing.T, k Key) {
	if again, err := unkeyed(k.hub, keyed(k)); err != nil || again != k {
		t.Errorf("key %q parsed again is %q, %v", keyed(k), keyed(again), err)
	}
	for _, p := range []place{mainPlace(k), asidePlace(otherDir, k)} {
		if len(p) >= 4000 {
			t.Errorf("place of %.80q has %d bytes", keyed(k), len(p))
		}
		for name := range strings.SplitSeq(string(p), "/") {
			if name == "" || name == "." || name == ".." || len(name) > 255 || strings.IndexByte(name, 0) >= 0 {
				t.Errorf("place of %.80q has the component %.80q", keyed(k), name)
			}
		}
		back, ok := keyAt(p)
		if p.telling() != ok || ok && back != k {
			t.Errorf("place %.80q of %.80q leads back to %.80q, %v", p, keyed(k), keyed(back), ok)
		}
	}
	if p := mainPlace(k); p[0] != '.' && !k.IsDir() {
		if back, ok := keyAt(p.content()); !ok || back != k {
			t.Errorf("the content of %.80q leads back to %.80q, %v", p, keyed(back), ok)
		}
	}
}
