package limit

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// ErrFiltered is what every Denial is.
var ErrFiltered = errors.New("filtered")

// Facts are what rules are about. Before the fetch those of the answer are not known; Head then is false.
type Facts struct {
	Method  string
	Hub     string
	Forward bool   // asked in proxy form
	Host    string // of the target, without port
	Path    string // decoded, from the slash on, without query

	Head      bool      // the rest is known
	Size      int64     // of the body; -1 when the head does not say
	Type      string    // Content-Type
	Magic     []byte    // the first bytes of the body, up to 512; nil when there is none to look at, as for HEAD
	Published time.Time // when the file came into being, as the upstream or its index says; zero when nobody says

	Now      time.Time
	Override string // who breaks the glass, and why; empty when nobody does
}

// A Decision is what becomes of a request.
type Decision int

const (
	Allow Decision = iota
	Deny
	Later // the head of the answer decides
)

func (d Decision) String() string { return [...]string{"allow", "deny", "later"}[d] }

// An Outcome is what came of a rule that was met.
type Outcome int

const (
	Allowed    Outcome = iota
	Denied             // by this rule
	Shadowed           // it would have been denied
	Overridden         // it would have been denied, but the glass was broken
)

func (o Outcome) String() string {
	return [...]string{"allowed", "denied", "shadow", "overridden"}[o]
}

// A Note is a rule that was met. One whose Outcome is Overridden belongs into the audit log.
type Note struct {
	Rule    string
	Outcome Outcome
	Reason  string
	index   int
}

// A Verdict is what a Filter says of a request.
type Verdict struct {
	Decision Decision
	Notes    []Note // the last one decided, unless no rule did
	status   int
}

// Err is nil, or the Denial.
func (v Verdict) Err() error {
	if v.Decision != Deny || len(v.Notes) == 0 {
		return nil
	}
	n := v.Notes[len(v.Notes)-1]
	return &Denial{Status: v.status, Rule: n.Rule, Reason: n.Reason}
}

// A Denial is an error that Is ErrFiltered.
type Denial struct {
	Status int // 403 unless the rule says otherwise
	Rule   string
	Reason string
}

func (d *Denial) Error() string { return fmt.Sprintf("rule %s: %s", d.Rule, d.Reason) }

// Is makes a Denial an ErrFiltered.
func (d *Denial) Is(err error) bool { return err == ErrFiltered }

// A Filter is a list of rules of which the first that is met decides; without one, a request is allowed. Its methods may be called concurrently. A
// nil Filter allows everything.
type Filter struct {
	rules  []*compiled
	counts [][4]atomic.Uint64 // by rule and Outcome
	magic  bool
}

// NewFilter returns a Filter, or an error that says which rule makes no sense.
func NewFilter(rules []Rule) (*Filter, error) {
	f := &Filter{counts: make([][4]atomic.Uint64, len(rules))}
	for i, r := range rules {
		c, err := compile(r)
		if err != nil {
			return nil, fmt.Errorf("rule %d %s: %w", i+1, r.Name, err)
		}
		if slices.ContainsFunc(f.rules, func(other *compiled) bool { return other.Name == r.Name }) {
			return nil, fmt.Errorf("rule %d %s: the name is taken", i+1, r.Name)
		}
		f.rules = append(f.rules, c)
		f.magic = f.magic || len(c.magic) > 0
	}
	return f, nil
}

// Magic says that Facts.Magic is of use.
func (f *Filter) Magic() bool { return f != nil && f.magic }

// Judge says what becomes of a request, and counts nothing. Without a head it decides what no head could change, and else says Later.
func (f *Filter) Judge(facts Facts) Verdict {
	var v Verdict
	if f == nil {
		return v
	}
	var mayAllow, mayDeny, mayNote bool // what rules say for which the head is wanted
	for i, r := range f.rules {
		met := r.meets(&facts)
		if met == no {
			continue
		}
		outcome := r.outcome(&facts)
		if met == unknown {
			mayAllow = mayAllow || outcome == Allowed
			mayDeny = mayDeny || outcome == Denied
			mayNote = mayNote || outcome == Shadowed || outcome == Overridden
			continue
		}
		if outcome == Denied && mayAllow || outcome == Allowed && (mayDeny || mayNote) {
			return Verdict{Decision: Later}
		}
		v.Notes = append(v.Notes, Note{Rule: r.Name, Outcome: outcome, Reason: r.reason(&facts), index: i})
		if outcome == Allowed || outcome == Denied {
			v.Decision, v.status = r.Action, r.Status
			return v
		}
	}
	if mayDeny || mayNote {
		return Verdict{Decision: Later} // notes are made when it is judged again
	}
	return v
}

// Count adds the notes of a Verdict to the counts. A request that was judged Later has none until it is judged again.
func (f *Filter) Count(v Verdict) {
	if f == nil {
		return
	}
	for _, n := range v.Notes {
		f.counts[n.index][n.Outcome].Add(1)
	}
}

// A RuleCount is how often a rule was met with an outcome.
type RuleCount struct {
	Rule    string
	Outcome Outcome
	Count   uint64
}

// Counts returns what was counted, in the order of the rules, without what never happened.
func (f *Filter) Counts() []RuleCount {
	var out []RuleCount
	if f == nil {
		return nil
	}
	for i, r := range f.rules {
		for o := range f.counts[i] {
			if n := f.counts[i][o].Load(); n > 0 {
				out = append(out, RuleCount{r.Name, Outcome(o), n})
			}
		}
	}
	return out
}
