package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Cascade says which of several rules that apply to a path decides.
type Cascade string

const (
	LeafWins Cascade = "leaf" // the longest, so that a directory can be opened below a closed one; the default
	DenyWins Cascade = "deny" // any that denies: what is closed at the top stays closed below
)

// pathRules say which places somebody may reach. They are immutable.
type pathRules struct {
	cascade Cascade
	open    bool            // when no rule applies
	allow   map[string]bool // by exact reading
	deny    map[string]bool // by folded reading
	ways    map[string]bool // the directories above what is allowed, by exact reading
	hides   map[string]bool // the directories above what is denied, by folded reading
	deepest int             // segments of the longest rule
	id      string
}

// nowhere reaches nothing.
var nowhere = &pathRules{id: "none"}

// everywhere reaches everything.
var everywhere = &pathRules{open: true, id: "all"}

// newPathRules makes rules of paths as files write them. Without any that allow, all is allowed that none denies.
func newPathRules(cascade Cascade, allow, deny []string) (*pathRules, error) {
	if len(allow)+len(deny) == 0 {
		return everywhere, nil
	}
	s := &pathRules{
		cascade: cascade, open: len(allow) == 0,
		allow: map[string]bool{}, deny: map[string]bool{}, ways: map[string]bool{}, hides: map[string]bool{},
	}
	for _, text := range allow {
		r, err := parseRule(text)
		if err != nil {
			return nil, err
		}
		s.allow[r.exact] = true
		s.deepest = max(s.deepest, depth(r.exact))
	}
	for _, text := range deny {
		r, err := parseRule(text)
		if err != nil {
			return nil, err
		}
		s.deny[r.folded] = true
		s.deepest = max(s.deepest, depth(r.folded))
	}
	for path := range s.allow {
		if ok, _ := s.judge(newReading(path)); ok {
			climb(s.ways, path)
		}
	}
	for path := range s.deny {
		climb(s.hides, path)
	}
	s.id = s.digest()
	return s, nil
}

// depth is how many segments of a path must be looked at to meet the rule.
func depth(rule string) int { return strings.Count(rule, "/") + 1 }

// climb adds every directory above path.
func climb(to map[string]bool, path string) {
	for path != "" {
		path = up(path)
		to[path] = true
	}
}

// digest names the rules by what they say: however they were written, and whoever has them.
func (s *pathRules) digest() string {
	if len(s.allow) == 0 && len(s.deny) == 0 {
		return "all"
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %t\n", s.cascade, s.open)
	for _, path := range slices.Sorted(maps.Keys(s.allow)) {
		fmt.Fprintf(h, "+%q\n", path)
	}
	for _, path := range slices.Sorted(maps.Keys(s.deny)) {
		fmt.Fprintf(h, "-%q\n", path)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// parseRule reads the path of a rule: written plainly or escaped, by whole segments. What people write who expect more of a rule than it does is
// refused: a rule that covers less than was meant would leave a door open.
func parseRule(text string) (reading, error) {
	p := Place{Path: text}
	if rest, ok := strings.CutPrefix(text, "//"); ok {
		host, path, _ := strings.Cut(rest, "/")
		if host == "" {
			return reading{}, fmt.Errorf("rule %q: a host must follow the two slashes", text)
		}
		p = Place{Host: host, Path: "/" + path}
	}
	plain, loose, err := readings(p)
	switch {
	case errors.Is(err, errNoSlash):
		return plain, fmt.Errorf("rule %q: it must begin with a slash", text)
	case errors.Is(err, errEscape):
		return plain, fmt.Errorf("rule %q: the path has %w; a percent sign is written %%25", text, err)
	case err != nil:
		return plain, fmt.Errorf("rule %q: the path has %w", text, err)
	case plain != loose:
		return plain, fmt.Errorf("rule %q: the path has an empty segment, an escaped slash, a backslash or a semicolon", text)
	case strings.ContainsAny(text, "*?#"):
		return plain, fmt.Errorf("rule %q: a rule covers all below its path and knows no patterns; in names, * ? and # are written %%2A, %%3F and %%23", text)
	}
	return plain, nil
}

// unrestricted says that nothing needs to be looked at.
func (s *pathRules) unrestricted() bool { return s.open && len(s.deny) == 0 }

// A reason is why a place is open or closed: a text, or the rule that decided. It is put into words only when somebody wants them.
type reason struct {
	text string
	rule string // as a reading
}

func (r reason) String() string {
	if r.text == "allow" || r.text == "deny" {
		return r.text + " " + written(r.rule)
	}
	return r.text
}

// judge decides for one reading of a path.
func (s *pathRules) judge(r reading) (ok bool, why reason) {
	exact, folded := top(r.exact, s.deepest), top(r.folded, s.deepest)
	for {
		if s.deny[folded] {
			return false, reason{"deny", folded}
		}
		if s.allow[exact] && !ok {
			if ok, why = true, (reason{"allow", exact}); s.cascade != DenyWins {
				return ok, why
			}
		}
		if exact == "" {
			break
		}
		exact, folded = up(exact), up(folded)
	}
	switch {
	case ok:
		return ok, why
	case s.open:
		return true, reason{text: "no rule denies it"}
	}
	return false, reason{text: "no rule allows it"}
}

// written is a reading as files write it.
func written(path string) string {
	if host, is := strings.CutPrefix(path, hostMark); is {
		return "//" + host
	}
	if path == "" {
		return "/"
	}
	return path
}

// decide judges all readings of a place. Why is for the operator.
func (s *pathRules) decide(p Place) (ok bool, why reason) {
	if s.unrestricted() {
		return true, reason{text: "no rule restricts it"}
	}
	if s == nowhere {
		return false, reason{text: "nothing is allowed"}
	}
	plain, loose, err := readings(p)
	if err != nil {
		return false, reason{text: "the path has " + err.Error()}
	}
	if ok, why = s.judge(plain); ok && plain != loose {
		ok, why = s.judge(loose)
	}
	return ok, why
}
