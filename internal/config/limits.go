package config

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The values of settings about who may ask that are words.
const (
	AnonymousRead = "read"
	AnonymousNone = "none"

	IdentityOwn  = "own"  // the hub's credentials go upstream
	IdentityPass = "pass" // those of who asks do, and each client has entries of its own
	IdentityNone = "none" // no Authorization goes upstream at all

	ActionAllow = "allow"
	ActionDeny  = "deny"
)

// A Rate is how often something may happen.
type Rate struct {
	PerSecond float64 // 0 = no limit
	Burst     int     // at once on top of a quiet time; 0 = one second's worth, and 1 at least
}

func (r Rate) String() string {
	if r.PerSecond <= 0 {
		return ""
	}
	n, unit := r.PerSecond, "/s"
	if n < 1 {
		n, unit = n*60, "/m"
	}
	text := strconv.FormatFloat(math.Round(n*1000)/1000, 'f', -1, 64) + unit
	if r.Burst > 0 {
		text += ":" + strconv.Itoa(r.Burst)
	}
	return text
}

// Limits are what one client, or all of them together, may take. Zero is no limit.
type Limits struct {
	Rate      Rate
	Requests  int   // at a time
	Bandwidth int64 // bytes a second
	Daily     int64 // bytes of a UTC day
	Misses    int   // answers 404 and 410 a minute
	Weight    int   // share of the egress beside others; 0 = 1
}

// Trips bounds what is asked of a hub's upstreams at a time.
type Trips struct {
	AtOnce int           // 0 = no limit
	Queue  int           // that wait for their turn; beyond, a trip is refused
	Wait   time.Duration // the longest wait; 0 = as long as the request lasts
}

// ClientLimits go for who is known by one of the names, instead of those for all clients.
type ClientLimits struct {
	Who []string // token:ID, user:NAME or jwt:SUBJECT
	Limits
}

// A Rule says what may be fetched. It is met when all that it names is so; of a list, one suffices, and what is empty asks for nothing. The first rule that
// is met decides.
type Rule struct {
	Name      string
	Action    string // ActionAllow or ActionDeny
	Reason    string // told with the denial; empty = made up from the rule
	Status    int    // of the denial; 0 = 403
	Shadow    bool   // only reported
	Breakable bool   // whoever may break the glass is let through
	Until     time.Time

	Forward  bool // requests in proxy form alone
	Hubs     []string
	Methods  []string
	Hosts    []string // globs
	Paths    []string // globs
	Suffixes []string

	Types   []string // of the answer
	Magic   []string // what the body begins with
	Larger  int64    // bytes
	Younger time.Duration
}

// parseRate accepts N requests a second as 5, 5/s or 2.5/s, or a minute or hour as 300/m, each with a burst as in 5/s:20. 0 is no limit.
func parseRate(s string) (Rate, error) {
	bad := fmt.Errorf("%q is no rate; write requests a second or minute and how many may come at once, such as 5, 5/s:20 or 300/m", s)
	text, burst, hasBurst := strings.Cut(strings.ToLower(strings.TrimSpace(s)), ":")
	number, unit, _ := strings.Cut(text, "/")
	per, known := map[string]float64{"": 1, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}[unit]
	if strings.HasSuffix(text, "/") || !known {
		return Rate{}, bad
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || n < 0 || n > 1e9 {
		return Rate{}, bad
	}
	r := Rate{PerSecond: n / per}
	if hasBurst {
		if r.Burst, err = parseCount(burst, math.MaxInt32); err != nil || r.Burst == 0 {
			return Rate{}, bad
		}
	}
	return r, nil
}

// parseBytesPerSecond accepts 10MB, 10MB/s and plain bytes.
func parseBytesPerSecond(s string) (int64, error) {
	text := s
	for _, end := range []string{"/s", "ps"} {
		if strings.HasSuffix(strings.ToLower(text), end) {
			text = text[:len(text)-len(end)]
			break
		}
	}
	n, err := parseSize(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%q is no bandwidth; write bytes a second such as 10MB/s, or 0 for no limit", s)
	}
	return n, nil
}

func parseAnyCount(s string) (int, error) { return parseCount(s, math.MaxInt32) }

// parsePerMinute accepts N and N/m.
func parsePerMinute(s string) (int, error) {
	return parseAnyCount(strings.TrimSuffix(strings.ToLower(s), "/m"))
}

// limitKeys are the keys of limits, with their names prefixed, for tables that T is built of.
func limitKeys[T any](prefix string, dst func(*T) *Limits) []tableKey[T] {
	key := func(name string, set func(*Limits, string) error) tableKey[T] {
		return tableKey[T]{name: prefix + name, set: func(b *T, v value) error { return set(dst(b), v.text()) }}
	}
	return []tableKey[T]{
		key("rate", func(l *Limits, s string) (err error) { l.Rate, err = parseRate(s); return err }),
		key("max-requests", func(l *Limits, s string) (err error) { l.Requests, err = parseAnyCount(s); return err }),
		key("bandwidth", func(l *Limits, s string) (err error) { l.Bandwidth, err = parseBytesPerSecond(s); return err }),
		key("daily", func(l *Limits, s string) (err error) { l.Daily, err = parseSize(s); return err }),
		key("max-misses", func(l *Limits, s string) (err error) { l.Misses, err = parsePerMinute(s); return err }),
	}
}

var clientKeys = append(limitKeys("", func(c *ClientLimits) *Limits { return &c.Limits }),
	tableKey[ClientLimits]{name: "who", list: true, set: func(c *ClientLimits, v value) (err error) {
		c.Who, err = each(v.texts, parseWho)
		return err
	}},
	tableKey[ClientLimits]{name: "weight", set: func(c *ClientLimits, v value) (err error) {
		c.Weight, err = parseCount(v.text(), 1000)
		return err
	}},
)

// parseWho accepts a client's name as logs have it.
func parseWho(s string) (string, error) {
	kind, id, _ := strings.Cut(s, ":")
	if id == "" || !slices.Contains([]string{"token", "user", "jwt"}, kind) {
		return "", fmt.Errorf("%q names no client; write token:ID (zcache token list), user:NAME or jwt:SUBJECT", s)
	}
	return s, nil
}

// clients builds the limits of [[client]] tables.
func (l *loader) clients(c *Config) {
	seen := map[string]bool{}
	for i := range l.clientTables {
		t := &l.clientTables[i]
		var limits ClientLimits
		label := fmt.Sprintf("client[#%d]", i+1)
		if !fillTable(l, t, clientKeys, &limits, label) {
			continue
		}
		if len(limits.Who) == 0 {
			l.problems.add(label+".who", t.place, "it is missing; name the client, as token:ID, user:NAME or jwt:SUBJECT")
			continue
		}
		for _, who := range limits.Who {
			if seen[who] {
				l.problems.add(label+".who", t.place, "%s has limits already; name it once", who)
			}
			seen[who] = true
		}
		c.Clients = append(c.Clients, limits)
	}
}

func ruleList(dst func(*Rule) *[]string, parse func(string) (string, error)) func(*Rule, value) error {
	return func(r *Rule, v value) (err error) {
		*dst(r), err = each(v.texts, parse)
		return err
	}
}

func ruleBool(dst func(*Rule) *bool) func(*Rule, value) error {
	return func(r *Rule, v value) (err error) {
		*dst(r), err = parseBool(v.text())
		return err
	}
}

var ruleKeys = []tableKey[Rule]{
	{name: "name", set: func(r *Rule, v value) error { r.Name = v.text(); return checkRuleName(r.Name) }},
	{name: "action", set: func(r *Rule, v value) (err error) {
		r.Action, err = parseWord(v.text(), ActionAllow, ActionDeny)
		return err
	}},
	{name: "reason", set: func(r *Rule, v value) error {
		r.Reason = v.text()
		if !printable(r.Reason) {
			return errors.New("it holds control characters; write one line of text")
		}
		return nil
	}},
	{name: "status", set: func(r *Rule, v value) (err error) {
		r.Status, err = parseCount(v.text(), 499)
		if err != nil || r.Status < 400 {
			return fmt.Errorf("%q is no status from 400 to 499", v.text())
		}
		return nil
	}},
	{name: "shadow", set: ruleBool(func(r *Rule) *bool { return &r.Shadow })},
	{name: "breakable", also: []string{"break-glass"}, set: ruleBool(func(r *Rule) *bool { return &r.Breakable })},
	{name: "until", set: func(r *Rule, v value) (err error) { r.Until, err = parseMoment(v.text()); return err }},
	{name: "forward", set: ruleBool(func(r *Rule) *bool { return &r.Forward })},
	{name: "hub", list: true, also: []string{"hubs"}, set: ruleList(func(r *Rule) *[]string { return &r.Hubs }, parseRuleHub)},
	{name: "method", list: true, also: []string{"methods"}, set: ruleList(func(r *Rule) *[]string { return &r.Methods }, parseMethod)},
	{name: "host", list: true, also: []string{"hosts"}, set: ruleList(func(r *Rule) *[]string { return &r.Hosts }, parseRuleGlob)},
	{name: "path", list: true, also: []string{"paths"}, set: ruleList(func(r *Rule) *[]string { return &r.Paths }, parsePathGlob)},
	{name: "suffix", list: true, also: []string{"suffixes"}, set: ruleList(func(r *Rule) *[]string { return &r.Suffixes }, parseSuffix)},
	{name: "type", list: true, also: []string{"types"}, set: ruleList(func(r *Rule) *[]string { return &r.Types }, parseType)},
	{name: "magic", list: true, set: ruleList(func(r *Rule) *[]string { return &r.Magic }, parseMagic)},
	{name: "larger", also: []string{"max-size"}, set: func(r *Rule, v value) (err error) { r.Larger, err = parseSize(v.text()); return err }},
	{name: "younger", also: []string{"min-age"}, set: func(r *Rule, v value) (err error) { r.Younger, err = parseDuration(v.text()); return err }},
}

func checkRuleName(s string) error {
	if s == "" || len(s) > 64 || strings.Trim(s, letters+"._-") != "" {
		return fmt.Errorf("%.80q is no name of a rule; write letters, digits, '.', '_' and '-'", s)
	}
	return nil
}

// parseMoment accepts a date, the first moment of which counts, or a time.
func parseMoment(s string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no date; write one such as 2027-01-31 or 2027-01-31T12:00:00Z", s)
}

func parseMethod(s string) (string, error) {
	if s == "" || strings.Trim(s, letters+"-_") != "" {
		return "", fmt.Errorf("%q is no method; write one such as %s", s, http.MethodPost)
	}
	return strings.ToUpper(s), nil
}

func parseRuleHub(s string) (string, error) {
	if s == "files" {
		return s, nil
	}
	return parseName(s)
}

func parseRuleGlob(s string) (string, error) {
	globs, err := parseGlobs([]string{s})
	if err != nil {
		return "", fmt.Errorf("%q is no pattern; write one such as *.example.org", s)
	}
	return globs[0], nil
}

// parsePathGlob accepts a pattern of whole paths, which all begin with a slash.
func parsePathGlob(s string) (string, error) {
	if _, err := parseGlobs([]string{s}); err != nil || !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "**") {
		return "", fmt.Errorf("%q is no pattern of paths; write one such as /pub/**/*.iso", s)
	}
	return s, nil
}

func parseSuffix(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, "/*?") {
		return "", fmt.Errorf("%q is no suffix of names; write one such as .mp3", s)
	}
	return s, nil
}

func parseType(s string) (string, error) {
	if major, minor, ok := strings.Cut(s, "/"); !ok || major == "" || minor == "" || strings.ContainsAny(s, "; ,") {
		return "", fmt.Errorf("%q is no content type; write one such as video/mp4 or video/*", s)
	}
	return s, nil
}

// parseMagic leaves the digits to who looks for them.
func parseMagic(s string) (string, error) {
	if strings.HasPrefix(s, "hex:") {
		return s, nil
	}
	if _, err := parseType(s); err != nil {
		return "", fmt.Errorf("%q is nothing that a body begins with; write a type such as video/*, or bytes such as hex:4d5a or hex:66747970@4", s)
	}
	return s, nil
}

// rules builds the rules of [[rule]] tables.
func (l *loader) rules(c *Config) {
	seen := map[string]bool{}
	for i := range l.ruleTables {
		t := &l.ruleTables[i]
		r := Rule{Action: ActionDeny, Name: fmt.Sprintf("rule-%d", i+1)}
		label := fmt.Sprintf("rule[#%d]", i+1)
		if e, ok := t.entries["name"]; ok && len(e.texts) > 0 && checkRuleName(e.texts[0]) == nil {
			label = "rule[" + e.texts[0] + "]"
		}
		if !fillTable(l, t, ruleKeys, &r, label) {
			continue
		}
		switch {
		case seen[r.Name]:
			l.problems.add(label+".name", t.place, "another rule has this name; choose another")
		case r.Action == ActionAllow && r.Shadow:
			l.problems.add(label+".shadow", t.place, "a rule that allows does nothing in shadow; remove it")
		case !r.asks() && r.Action == ActionDeny && !r.Shadow:
			l.problems.add(label, t.place, "it names nothing, so it would refuse everything; say what it is about")
		}
		for _, hub := range r.Hubs {
			if hub != "files" && !slices.ContainsFunc(c.Hubs, func(h Hub) bool { return h.Name == hub }) {
				l.problems.add(label+".hub", t.place, "there is no hub %s", hub)
			}
		}
		seen[r.Name] = true
		c.Rules = append(c.Rules, r)
	}
}

// asks says that the rule is about anything less than all requests.
func (r *Rule) asks() bool {
	return r.Forward || len(r.Hubs)+len(r.Methods)+len(r.Hosts)+len(r.Paths)+len(r.Suffixes)+len(r.Types)+len(r.Magic) > 0 || r.Larger > 0 || r.Younger > 0
}
