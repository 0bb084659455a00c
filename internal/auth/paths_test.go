package auth

import (
	"errors"
	"strings"
	"testing"
)

func rulesOf(t testing.TB, cascade Cascade, allow, deny string) *pathRules {
	t.Helper()
	s, err := newPathRules(cascade, strings.Fields(allow), strings.Fields(deny))
	if err != nil {
		t.Fatalf("newPathRules(%s, %q, %q): %v", cascade, allow, deny, err)
	}
	return s
}

// placeOf reads a place as rules write it. It is for tests: a path of a root hub may begin with two slashes, too.
func placeOf(s string) Place {
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		host, path, _ := strings.Cut(rest, "/")
		return Place{host, "/" + path}
	}
	return Place{Path: s}
}

func TestRulesOpenAndClosePaths(t *testing.T) {
	for _, row := range []struct {
		claim       string
		cascade     Cascade
		allow, deny string
		place       string
		want        bool
	}{
		{"without rules all is open", LeafWins, "", "", "/kernel/a", true},
		{"without rules hosts are too", LeafWins, "", "", "//deb.example/a", true},
		{"without rules no path is looked at", LeafWins, "", "", "/a/../%zz", true},
		{"a rule covers its path", LeafWins, "/kernel", "", "/kernel", true},
		{"and the directory", LeafWins, "/kernel", "", "/kernel/", true},
		{"and what is far below", LeafWins, "/kernel", "", "/kernel/a/b/c/d", true},
		{"what is not listed is closed", LeafWins, "/kernel", "", "/gnu/a", false},
		{"the root too", LeafWins, "/kernel", "", "/", false},
		{"a rule covers whole segments", LeafWins, "/kernel", "", "/kernel2/a", false},
		{"and no longer names in them", LeafWins, "/kernel/v6", "", "/kernel/v6.x/a", false},
		{"nor shorter ones", LeafWins, "/kernel/v6.x", "", "/kernel/v6", false},
		{"a slash at a rule's end changes nothing", LeafWins, "/kernel/", "", "/kernel", true},
		{"several rules are all in force", LeafWins, "/kernel /gnu", "", "/gnu/a", true},
		{"the root covers all", LeafWins, "/", "", "/gnu/a", true},
		{"hosts as well", LeafWins, "/", "", "//deb.example/a", true},

		{"a host has rules of its own", LeafWins, "//deb.example/debian", "", "//deb.example/debian/a", true},
		{"not for other paths of it", LeafWins, "//deb.example/debian", "", "//deb.example/ubuntu/a", false},
		{"not for other hosts", LeafWins, "//deb.example", "", "//rpm.example/a", false},
		{"not for a mount of its name", LeafWins, "//deb.example", "", "/deb.example/a", false},
		{"and the mount's rule not for the host", LeafWins, "/deb.example", "", "//deb.example/a", false},
		{"a host has no case", LeafWins, "//Deb.Example/a", "", "//deb.eXample/a", true},
		{"nor a dot at its end", LeafWins, "//deb.example/a", "", "//deb.example./a", true},
		{"a host can be closed", LeafWins, "", "//deb.example", "//deb.example/a", false},
		{"in any case", LeafWins, "", "//deb.example", "//DEB.example./a", false},
		{"without closing others", LeafWins, "", "//deb.example", "//rpm.example/a", true},

		{"who has only denials has all else", LeafWins, "", "/kernel/x", "/gnu/a", true},
		{"and above them", LeafWins, "", "/kernel/x", "/kernel/y", true},
		{"but not them", LeafWins, "", "/kernel/x", "/kernel/x", false},
		{"nor below them", LeafWins, "", "/kernel/x", "/kernel/x/y/z", false},
		{"denials cover whole segments as well", LeafWins, "", "/kernel/x", "/kernel/xy", true},
		{"at equal length deny wins", LeafWins, "/kernel", "/kernel", "/kernel/a", false},
		{"also when any denial does", DenyWins, "/kernel", "/kernel", "/kernel/a", false},
		{"a longer denial closes", LeafWins, "/kernel", "/kernel/x", "/kernel/x/a", false},
		{"and nothing beside it", LeafWins, "/kernel", "/kernel/x", "/kernel/y/a", true},
		{"leaf: a longer rule opens again", LeafWins, "/kernel /kernel/x/pub", "/kernel/x", "/kernel/x/pub/a", true},
		{"leaf: and is closed again", LeafWins, "/kernel /kernel/x/pub", "/kernel/x /kernel/x/pub/y", "/kernel/x/pub/y/a", false},
		{"leaf: a denied root can be opened below", LeafWins, "/kernel", "/", "/kernel/a", true},
		{"leaf: and stays closed beside", LeafWins, "/kernel", "/", "/gnu/a", false},
		{"deny: no rule opens below a denial", DenyWins, "/kernel /kernel/x/pub", "/kernel/x", "/kernel/x/pub/a", false},
		{"deny: a denied root closes all", DenyWins, "/kernel", "/", "/kernel/a", false},
		{"deny: what no denial covers is as listed", DenyWins, "/kernel", "/kernel/x", "/kernel/y", true},
		{"deny: or not", DenyWins, "/kernel", "/kernel/x", "/gnu", false},

		{"parameters of a segment open nothing", LeafWins, "", "/kernel/secret", "/kernel/secret;v=1/a", false},
		{"nor escaped ones", LeafWins, "", "/kernel/secret", "/kernel/secret%3Bv=1", false},
		{"nor in a segment of nothing else", LeafWins, "", "/kernel/secret", "/kernel/;v=1/secret", false},
		{"a way up with parameters is closed", LeafWins, "/kernel", "", "/kernel/..;/gnu/a", false},
		{"a name with a semicolon is open where its directory is", LeafWins, "/kernel", "", "/kernel/a;b.tgz", true},

		{"an escape of a letter is the letter, to deny", LeafWins, "", "/kernel/secret", "/kernel/%73ecret/a", false},
		{"and to allow", LeafWins, "/kernel", "", "/%6bernel/a", true},
		{"an escaped dot in a name is a dot", LeafWins, "", "/kernel/v6.x", "/kernel/v6%2ex/a", false},
		{"in either case", LeafWins, "", "/kernel/v6.x", "/kernel/v6%2Ex", false},
		{"a rule may be escaped", LeafWins, "", "/a%20b", "/a b/c", false},
		{"and the path", LeafWins, "", "/a%20b", "/a%20b/c", false},
		{"escapes are undone once", LeafWins, "/a%2562", "", "/ab", false},
		{"an escaped percent sign is one", LeafWins, "/a%2562", "", "/a%2562", true},
		{"an escaped slash cannot hide a denied path", LeafWins, "", "/kernel/secret", "/kernel%2Fsecret/a", false},
		{"in small letters", LeafWins, "", "/kernel/secret", "/kernel%2fsecret", false},
		{"nor its end", LeafWins, "", "/kernel/secret", "/kernel/secret%2Fa", false},
		{"nor make a name an allowed directory", LeafWins, "/kernel/pub", "", "/kernel/pub%2Fa", false},
		{"where both readings are open it is open", LeafWins, "/kernel", "", "/kernel/a%2Fb", true},
		{"a backslash is a slash to some", LeafWins, "", "/kernel/secret", `/kernel\secret`, false},
		{"escaped as well", LeafWins, "", "/kernel/secret", `/kernel/secret%5Ca`, false},
		{"and opens nothing", LeafWins, "/kernel/pub", "", `/kernel/pub\a`, false},
		{"empty segments cannot hide a denied path", LeafWins, "", "/kernel/secret", "/kernel//secret/a", false},
		{"many neither", LeafWins, "", "/kernel/secret", "/kernel////secret", false},
		{"nor at the end", LeafWins, "", "/kernel/secret", "/kernel/secret//", false},
		{"nor open what is listed without them", LeafWins, "/kernel/pub", "", "/kernel//pub/a", false},
		{"where both readings are open it is open, too", LeafWins, "/kernel", "", "/kernel//pub/a", true},
		{"dot segments are closed", LeafWins, "/kernel", "", "/kernel/a/../b", false},
		{"single ones as well", LeafWins, "/kernel", "", "/kernel/./b", false},
		{"at the end", LeafWins, "/kernel", "", "/kernel/..", false},
		{"escaped", LeafWins, "/kernel", "", "/kernel/%2e%2E/gnu", false},
		{"half escaped", LeafWins, "/kernel", "", "/kernel/.%2e/gnu", false},
		{"with an escaped slash", LeafWins, "/kernel", "", "/kernel/..%2fgnu", false},
		{"with a backslash", LeafWins, "/kernel", "", `/kernel/..\gnu`, false},
		{"also to who has only denials", LeafWins, "", "/kernel/x", "/gnu/../kernel/x", false},
		{"three dots are a name", LeafWins, "/kernel", "", "/kernel/.../a", true},
		{"a NUL is closed, for some servers end there", LeafWins, "", "/kernel/secret", "/kernel/secret%00.txt", false},
		{"a malformed escape is closed", LeafWins, "/kernel", "", "/kernel/%zz", false},
		{"a cut one as well", LeafWins, "/kernel", "", "/kernel/%2", false},
		{"case cannot hide a denied path", LeafWins, "", "/kernel/Secret", "/kernel/sECRET/a", false},
		{"nor a denied hub", LeafWins, "", "/kernel", "/KERNEL/a", false},
		{"in other scripts neither", LeafWins, "", "/kernel/тайна", "/kernel/%D0%A2айна", false},
		{"nor by a Kelvin sign", LeafWins, "", "/kernel", "/\u212aernel/a", false},
		{"nor a long s", LeafWins, "", "/SECRET", "/\u017fecret", false},
		{"case opens nothing", LeafWins, "/kernel/pub", "", "/kernel/PUB/a", false},
		{"a denial in another case counts as equal", LeafWins, "/kernel/Pub", "/kernel/pub", "/kernel/Pub/a", false},
		{"a path must begin with a slash", LeafWins, "/kernel", "", "kernel/a", false},
		{"an empty path too", LeafWins, "/kernel", "", "", false},
		{"a very deep path is judged by its beginning", LeafWins, "/kernel", "", "/kernel" + strings.Repeat("/a", 4000), true},
		{"a very deep denied one too", LeafWins, "", "/kernel/a/a", "/kernel" + strings.Repeat("/a", 4000), false},
	} {
		s := rulesOf(t, row.cascade, row.allow, row.deny)
		if got, why := s.decide(placeOf(row.place)); got != row.want {
			t.Errorf("%s: decide(%.80q) with %s allow %q deny %q = %v (%s), want %v", row.claim, row.place, row.cascade, row.allow, row.deny, got, why, row.want)
		}
	}
}

func TestAPathOfARootHubIsNoHost(t *testing.T) {
	s := rulesOf(t, LeafWins, "//deb.example", "")
	for path, want := range map[Place]bool{
		{Host: "deb.example", Path: "/a"}:  true,
		{Path: "//deb.example/a"}:          false,
		{Path: "/%00deb.example/a"}:        false,
		{Path: "\x00deb.example/a"}:        false,
		{Host: "x/deb.example", Path: "/"}: false,
	} {
		if got, why := s.decide(path); got != want {
			t.Errorf("decide(%+q) = %v (%s), want %v", path, got, why, want)
		}
	}
	s = rulesOf(t, LeafWins, "", "/deb.example")
	if ok, _ := s.decide(Place{Path: "//deb.example/a"}); ok {
		t.Error("an empty first segment hides a denied hub")
	}
}

func TestRulesThatCannotBeMeantAreRefused(t *testing.T) {
	for claim, rule := range map[string]string{
		"no slash": "kernel", "empty": "", "a pattern": "/kernel/*", "a deep pattern": "/kernel/**/x", "a query": "/kernel?x", "a fragment": "/a#b",
		"dots": "/kernel/../gnu", "escaped dots": "/kernel/%2e%2e", "an empty segment": "/kernel//a", "an escaped slash": "/kernel%2Fa",
		"a backslash": `/kernel\a`, "a NUL": "/a%00", "a lone percent sign": "/100%", "no host": "//", "no host but a path": "///a", "a URL": "https://kernel.example/a",
	} {
		if s, err := newPathRules(LeafWins, []string{rule}, nil); err == nil {
			t.Errorf("%s: allow %q gives %v, want an error", claim, rule, s.allow)
		}
		if s, err := newPathRules(LeafWins, nil, []string{rule}); err == nil {
			t.Errorf("%s: deny %q gives %v, want an error", claim, rule, s.deny)
		}
	}
}

func TestAViewSeesTheWayToWhatIsOpen(t *testing.T) {
	for _, row := range []struct {
		claim       string
		cascade     Cascade
		allow, deny string
		dir         string
		want        Extent
	}{
		{"no rules: all", LeafWins, "", "", "/", All},
		{"an open directory: all", LeafWins, "/kernel", "", "/kernel/v6.x/", All},
		{"one above it: part", LeafWins, "/kernel/v6.x", "", "/kernel/", Part},
		{"the root: part", LeafWins, "/kernel/v6.x", "", "/", Part},
		{"the root above a host: part", LeafWins, "//deb.example/a", "", "/", Part},
		{"the host's root: part", LeafWins, "//deb.example/a", "", "//deb.example/", Part},
		{"another host: nothing", LeafWins, "//deb.example/a", "", "//rpm.example/", Nothing},
		{"one beside it: nothing", LeafWins, "/kernel/v6.x", "", "/kernel/v5.x/", Nothing},
		{"one like it: nothing", LeafWins, "/kernel/v6.x", "", "/kernel/v6/", Nothing},
		{"an open one with a closed one in it: part", LeafWins, "/kernel", "/kernel/a/b", "/kernel/", Part},
		{"nearer to it: part", LeafWins, "/kernel", "/kernel/a/b", "/kernel/a/", Part},
		{"in another case, too", LeafWins, "", "/kernel/A/b", "/kernel/a/", Part},
		{"the closed one: nothing", LeafWins, "/kernel", "/kernel/a/b", "/kernel/a/b/", Nothing},
		{"beside the closed one: all", LeafWins, "/kernel", "/kernel/a/b", "/kernel/c/", All},
		{"leaf: a closed one with an open one in it: part", LeafWins, "/kernel/a/b", "/kernel/a", "/kernel/a/", Part},
		{"deny: there is no open one in it", DenyWins, "/kernel/a/b", "/kernel/a", "/kernel/a/", Nothing},
		{"deny: nor a way to it", DenyWins, "/kernel/a/b", "/kernel/a", "/kernel/", Nothing},
		{"dots: nothing", LeafWins, "/kernel", "", "/kernel/../", Nothing},
		{"an odd way to what is open: nothing", LeafWins, "/kernel/a/b", "", "/kernel%2Fa/", Nothing},
	} {
		v := View{rulesOf(t, row.cascade, row.allow, row.deny)}
		if got := v.Of(placeOf(row.dir)); got != row.want {
			t.Errorf("%s: Of(%q) with %s allow %q deny %q = %v, want %v", row.claim, row.dir, row.cascade, row.allow, row.deny, got, row.want)
		}
		if got := v.Visible(placeOf(row.dir), true); got != (row.want != Nothing) {
			t.Errorf("%s: Visible(%q) = %v, want %v", row.claim, row.dir, got, row.want != Nothing)
		}
	}
	v := View{rulesOf(t, LeafWins, "/kernel/v6.x", "")}
	if v.Visible(Place{Path: "/kernel"}, false) {
		t.Error("Visible shows a file that has the name of a directory on the way")
	}
	if (View{}).Of(Place{Path: "/"}) != Nothing || (View{}).ID() != "none" {
		t.Error("the zero View sees something")
	}
}

func TestAViewIsNamedByWhatItsRulesSay(t *testing.T) {
	id := func(cascade Cascade, allow, deny string) string { return View{rulesOf(t, cascade, allow, deny)}.ID() }
	same := id(LeafWins, "/kernel /gnu", "/kernel/x")
	for claim, other := range map[string]string{
		"order": id(LeafWins, "/gnu /kernel", "/kernel/x"), "slashes and repetition": id(LeafWins, "/gnu/ /kernel /gnu", "/kernel/x/"),
		"escapes": id(LeafWins, "/%67nu /kernel", "/kernel/x"), "case of a denial": id(LeafWins, "/gnu /kernel", "/KERNEL/x"),
	} {
		if other != same {
			t.Errorf("%s: id %s, want %s: the rules say the same", claim, other, same)
		}
	}
	seen := map[string]string{same: "the first", "all": "no rules", "none": "nothing"}
	for claim, other := range map[string]string{
		"another cascade": id(DenyWins, "/kernel /gnu", "/kernel/x"), "one less": id(LeafWins, "/kernel", "/kernel/x"), "no denial": id(LeafWins, "/kernel /gnu", ""),
		"turned round": id(LeafWins, "/kernel/x", "/kernel /gnu"), "only denials": id(LeafWins, "", "/kernel/x"), "case": id(LeafWins, "/Kernel /gnu", "/kernel/x"),
	} {
		if first, ok := seen[other]; ok {
			t.Errorf("%s: id %s is that of %s", claim, other, first)
		}
		seen[other] = claim
	}
	a, b := View{rulesOf(t, LeafWins, "/kernel /gnu", "")}, View{rulesOf(t, LeafWins, "/kernel /deb", "")}
	dir := Place{Path: "/kernel/v6.x/"}
	if a.IDOf(dir) != "all" || b.IDOf(dir) != "all" || a.IDOf(Place{Path: "/"}) == b.IDOf(Place{Path: "/"}) || a.IDOf(Place{Path: "/deb"}) != "none" {
		t.Error("IDOf does not go by what is seen of the directory")
	}
}

// lax is the path as a server has it that decodes all, merges slashes and knows no case.
func lax(t *testing.T, path string) string {
	s, err := decoded(path)
	if err != nil {
		t.Fatal(err)
	}
	s = strings.ToLower(strings.NewReplacer("%2F", "/", `\`, "/", "%25", "%").Replace(s))
	return "/" + strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '/' }), "/") + "/"
}

func FuzzNoSpellingOpensADoor(f *testing.F) {
	for _, s := range []string{"/a", "/a/b", "/a/b/c", "/A%2Fb", "//a/b", `/a\b`, "/a/./b", "/a/../b", "/%61/b", "/a%00", "/a%25", "/x/y/", "/a//b/c", "/a/B%2fC"} {
		f.Add(s)
	}
	deny := rulesOf(f, DenyWins, "", "/a/b /x")
	leaf := rulesOf(f, LeafWins, "/a /a/b/c", "/a/b")
	allow := rulesOf(f, LeafWins, "/a/b", "")
	f.Fuzz(func(t *testing.T, path string) {
		p := Place{Path: path}
		ok, _ := deny.decide(p)
		if _, _, err := readings(p); err != nil {
			if ok || errors.Is(err, errHost) {
				t.Fatalf("decide(%q) = allowed, and it has %v", path, err)
			}
			return
		}
		as := lax(t, path)
		if ok && (strings.HasPrefix(as, "/a/b/") || strings.HasPrefix(as, "/x/")) {
			t.Errorf("deny: decide(%q) = allowed, and servers may read it as %q", path, as)
		}
		if strings.Contains(as, "/../") || strings.Contains(as, "/./") {
			t.Errorf("readings(%q) = no error, and servers may read it as %q", path, as)
		}
		if ok, _ := leaf.decide(p); ok && (!strings.HasPrefix(as, "/a/") || strings.HasPrefix(as, "/a/b/") && !strings.HasPrefix(as, "/a/b/c/")) {
			t.Errorf("leaf: decide(%q) = allowed, and servers may read it as %q", path, as)
		}
		if ok, _ := allow.decide(p); ok != (path == "/a/b" || strings.HasPrefix(mustDecode(t, path)+"/", "/a/b/")) {
			t.Errorf("allow: decide(%q) = %v, and it reads %q", path, ok, mustDecode(t, path))
		}
		if v := (View{leaf}); v.Of(p) == All {
			if ok, _ := leaf.decide(p); !ok {
				t.Errorf("Of(%q) = all, and it may not be read", path)
			}
		}
	})
}

func mustDecode(t *testing.T, path string) string {
	s, err := decoded(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func FuzzARuleReadsAsItIsWritten(f *testing.F) {
	for _, s := range []string{"/", "/a", "/a%20b/", "//h/p", "//H", "/%2525", "/ä", "/a%41"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parseRule(text)
		if err != nil {
			return
		}
		s, err := newPathRules(LeafWins, []string{text}, nil)
		if err != nil {
			t.Fatalf("newPathRules(%q): %v", text, err)
		}
		p := placeOf(text)
		if ok, why := s.decide(p); !ok {
			t.Errorf("rule %q does not allow %v: %s", text, p, why)
		}
		if again, err := parseRule(written(r.exact)); err != nil && !strings.ContainsAny(r.exact, "*?#") || err == nil && again != r {
			t.Errorf("rule %q is written %q, which reads %q, %v", text, written(r.exact), again.exact, err)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	s := rulesOf(b, LeafWins, "/kernel /gnu /debian/dists //deb.example/x", "/kernel/secret /gnu/old/secret")
	p := Place{Path: "/kernel/linux/kernel/v6.x/linux-6.1.tar.xz"}
	b.ReportAllocs()
	for b.Loop() {
		if ok, _ := s.decide(p); !ok {
			b.Fatal("denied")
		}
	}
}
