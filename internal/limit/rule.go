package limit

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

// A Rule is met when all that it names is so; of a list, one suffices. What is empty asks for nothing.
type Rule struct {
	Name   string
	Action Decision // Allow or Deny
	Reason string   // told with the denial; empty = made up from the rule
	Status int      // of the denial; 0 = 403
	// Shadow says that the rule is only reported. A rule is tried out so.
	Shadow bool
	// Breakable says that a denial can be overridden by whoever may break the glass.
	Breakable bool
	Until     time.Time // after that the rule is over, as befits an exception; zero = never

	Forward  bool     // requests in proxy form alone
	Hubs     []string // names
	Methods  []string
	Hosts    []string // globs: *.example.org
	Paths    []string // globs: /pub/**/*.iso
	Suffixes []string // of the last segment, in any case: .mp3

	Types   []string      // of the answer: video/*, text/html
	Magic   []string      // what the body begins with: a type that it shows (video/*), or hex:4d5a, or hex:66747970@4
	Larger  int64         // bytes; a body whose size nobody says is not larger
	Younger time.Duration // since it was published; a denial takes a file of unknown date for young, and one from the future too
}

// truth is what is known of a rule.
type truth int

const (
	no truth = iota
	yes
	unknown // the head is wanted
)

type compiled struct {
	Rule
	magic []magic
}

type magic struct {
	kind  string // a pattern of types, or empty
	bytes []byte
	at    int
}

// magicWindow is how much of a body is looked at, as much as telling types from content takes at most.
const magicWindow = 512

func compile(r Rule) (*compiled, error) {
	switch {
	case r.Name == "":
		return nil, errors.New("has no name")
	case r.Action != Allow && r.Action != Deny:
		return nil, errors.New("must allow or deny")
	case r.Action == Allow && r.Shadow:
		return nil, errors.New("allows, so that in shadow it would do nothing")
	case r.Status != 0 && (r.Status < 400 || r.Status > 499):
		return nil, fmt.Errorf("status %d is not one of 400 to 499", r.Status)
	case r.Larger < 0 || r.Younger < 0:
		return nil, errors.New("size and age cannot be negative")
	}
	if r.Status == 0 {
		r.Status = http.StatusForbidden
	}
	for _, glob := range slices.Concat(r.Hosts, r.Paths) {
		if !doublestar.ValidatePattern(glob) {
			return nil, fmt.Errorf("%q is no glob", glob)
		}
	}
	c := &compiled{Rule: r}
	c.Hosts, c.Suffixes, c.Types = lower(r.Hosts), lower(r.Suffixes), lower(r.Types)
	for _, kind := range c.Types {
		if err := checkType(kind); err != nil {
			return nil, err
		}
	}
	for _, text := range r.Magic {
		m, err := readMagic(text)
		if err != nil {
			return nil, err
		}
		c.magic = append(c.magic, m)
	}
	return c, nil
}

func lower(in []string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = strings.ToLower(s)
	}
	return out
}

func checkType(kind string) error {
	if major, minor, ok := strings.Cut(kind, "/"); !ok || major == "" || minor == "" || strings.ContainsAny(kind, "; ,") {
		return fmt.Errorf("%q is no type like video/mp4 or video/*", kind)
	}
	return nil
}

func readMagic(text string) (magic, error) {
	digits, ok := strings.CutPrefix(text, "hex:")
	if !ok {
		return magic{kind: strings.ToLower(text)}, checkType(text)
	}
	digits, offset, has := strings.Cut(digits, "@")
	m := magic{}
	var err error
	if has {
		if m.at, err = strconv.Atoi(offset); err != nil || m.at < 0 {
			return m, fmt.Errorf("%q has no offset after its @", text)
		}
	}
	if m.bytes, err = hex.DecodeString(digits); err != nil || len(m.bytes) == 0 {
		return m, fmt.Errorf("%q has no bytes in hexadecimal", text)
	}
	if m.at+len(m.bytes) > magicWindow {
		return m, fmt.Errorf("%q lies beyond the first %d bytes", text, magicWindow)
	}
	return m, nil
}

// meets says whether the rule is met. A rule of which a part that is known is not met is not met, whatever the head will say.
func (c *compiled) meets(f *Facts) truth {
	switch {
	case !c.Until.IsZero() && f.Now.After(c.Until),
		c.Forward && !f.Forward,
		len(c.Hubs) > 0 && !slices.Contains(c.Hubs, f.Hub),
		len(c.Methods) > 0 && !slices.Contains(c.Methods, f.Method),
		len(c.Hosts) > 0 && !anyGlob(c.Hosts, strings.TrimSuffix(strings.ToLower(f.Host), ".")),
		len(c.Paths) > 0 && !c.onPath(f.Path, func(p string) bool { return anyGlob(c.Paths, p) }),
		len(c.Suffixes) > 0 && !c.onPath(f.Path, func(p string) bool { return hasSuffix(c.Suffixes, p) }):
		return no
	}
	if len(c.Types) == 0 && len(c.magic) == 0 && c.Larger == 0 && c.Younger == 0 {
		return yes
	}
	if !f.Head {
		return unknown
	}
	if len(c.Types) > 0 && !anyType(c.Types, f.Type) || len(c.magic) > 0 && !c.shows(f.Magic) || c.Larger > 0 && f.Size <= c.Larger ||
		c.Younger > 0 && !c.young(f) {
		return no
	}
	return yes
}

// outcome is what comes of the rule when it is met.
func (c *compiled) outcome(f *Facts) Outcome {
	switch {
	case c.Action == Allow:
		return Allowed
	case c.Shadow:
		return Shadowed
	case c.Breakable && f.Override != "":
		return Overridden
	}
	return Denied
}

func (c *compiled) young(f *Facts) bool {
	if f.Published.IsZero() {
		return c.Action == Deny
	}
	return f.Now.Sub(f.Published) < c.Younger
}

func (c *compiled) shows(body []byte) bool {
	if len(body) == 0 {
		return false
	}
	shown := http.DetectContentType(body)
	for _, m := range c.magic {
		if m.kind != "" && anyType([]string{m.kind}, shown) {
			return true
		}
		if m.kind == "" && len(body) >= m.at && bytes.HasPrefix(body[m.at:], m.bytes) {
			return true
		}
	}
	return false
}

// reason is what the client is told.
func (c *compiled) reason(f *Facts) string {
	switch {
	case c.Reason != "":
		return c.Reason
	case c.Younger > 0 && f.Published.IsZero():
		return fmt.Sprintf("nobody says when this was published, and it must be %v old", c.Younger)
	case c.Younger > 0:
		return fmt.Sprintf("this was published on %s and must be %v old", f.Published.UTC().Format(time.RFC3339), c.Younger)
	case c.Larger > 0:
		return fmt.Sprintf("this has %d bytes, and more than %d are refused", f.Size, c.Larger)
	case len(c.Types) > 0:
		return fmt.Sprintf("content of type %s is refused", mediaType(f.Type))
	case len(c.magic) > 0:
		return "content of this kind is refused"
	case len(c.Suffixes) > 0:
		return fmt.Sprintf("files that end in %s are refused", path.Ext(strings.ToLower(f.Path)))
	}
	return "this is refused"
}

// onPath says that a path is one of the rule's, of which servers may read two in an odd one: any will do to deny it, and to allow it both are needed.
func (c *compiled) onPath(p string, is func(string) bool) bool {
	if !strings.Contains(p, "//") && strings.IndexByte(p, ';') < 0 {
		return is(p)
	}
	if c.Action == Deny {
		return is(p) || is(loose(p))
	}
	return is(p) && is(loose(p))
}

// loose is a path without empty segments, and without what follows a semicolon in one, as many servers read it.
func loose(p string) string {
	var b strings.Builder
	for segment := range strings.SplitSeq(p, "/") {
		if segment, _, _ = strings.Cut(segment, ";"); segment != "" {
			b.WriteString("/" + segment)
		}
	}
	if b.Len() == 0 || strings.HasSuffix(p, "/") {
		b.WriteByte('/')
	}
	return b.String()
}

func anyGlob(globs []string, s string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return doublestar.MatchUnvalidated(glob, s) })
}

func hasSuffix(suffixes []string, p string) bool {
	last := strings.ToLower(p[strings.LastIndexByte(p, '/')+1:])
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(last, s) })
}

func mediaType(field string) string {
	kind, _, err := mime.ParseMediaType(field)
	if err != nil {
		kind, _, _ = strings.Cut(field, ";")
		kind = strings.ToLower(strings.TrimSpace(kind))
	}
	return kind
}

func anyType(patterns []string, field string) bool {
	kind := mediaType(field)
	return slices.ContainsFunc(patterns, func(p string) bool {
		if major, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(kind, major)
		}
		return p == kind
	})
}

// DefaultRules are in force where none are given: what is asked of a forward proxy for the pleasure of it is refused, by its name before the trip,
// and by its type after it. Servers give some of what software is made of types of video and sound, by its suffix alone: TypeScript is
// video/mp2t, and old ones have audio/x-pn-realaudio-plugin for RPM.
func DefaultRules() []Rule {
	const reason = "this proxy does not fetch music and video"
	return []Rule{
		{Name: "software-suffix", Action: Allow, Forward: true, Suffixes: []string{".ts", ".mts", ".cts", ".tsx", ".mod", ".rpm"}},
		{Name: "media-suffix", Action: Deny, Forward: true, Reason: reason, Suffixes: []string{
			".mp3", ".m4a", ".aac", ".flac", ".wav", ".wma", ".ogg", ".oga", ".opus",
			".mp4", ".m4v", ".mkv", ".webm", ".avi", ".mov", ".wmv", ".flv", ".f4v", ".mpg", ".mpeg", ".ogv", ".3gp", ".rm", ".rmvb", ".vob", ".m2ts",
		}},
		{Name: "media-type", Action: Deny, Forward: true, Reason: reason, Types: []string{"video/*", "audio/*"}},
	}
}
