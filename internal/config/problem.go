package config

import (
	"fmt"
	"strings"
)

// A Problem is one thing that is wrong: the setting, the reason with the fix, and where it was written.
type Problem struct {
	Setting string // "listen", "hub[kernel].upstream"
	Reason  string
	Place   string // "zcache.toml:12", "ZCACHE_LISTEN"; empty for the command line
}

func (p Problem) String() string {
	line := p.Reason
	if p.Setting != "" {
		line = p.Setting + ": " + p.Reason
	}
	if p.Place != "" {
		line += " (" + p.Place + ")"
	}
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(line)
}

// Problems is everything that Load found wrong, in the order of the settings.
type Problems []Problem

// Error gives one line a problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(setting, place, format string, args ...any) {
	*p = append(*p, Problem{Setting: setting, Reason: fmt.Sprintf(format, args...), Place: place})
}

// Nearest is the one of known that word was most likely meant to be, or "" when none is near: with more than a third of the
// letters wrong it is another word, not a slip.
func Nearest(word string, known []string) string {
	best, least := "", min(max(2, len(word)/3), len(word)-1)+1
	for _, k := range known {
		if d := distance(fold(word), fold(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// fold makes the spellings of a key equal: case, "-" and "_" do not count.
func fold(key string) string {
	return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(key))
}
