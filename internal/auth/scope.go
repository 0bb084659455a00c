package auth

import (
	"fmt"
	"strings"
)

// A Scope is something that a client may do.
type Scope int

const (
	Read    Scope = iota // fetch entries, and ask about one of them
	Observe              // see how the instance is doing
	Operate              // change what it holds and does
	Write                // put and remove local originals
	Anyone               // what needs no permission: health and how to use the instance
)

var scopeNames = [...]string{"read", "observe", "operate", "write", "anyone"}

func (s Scope) String() string { return scopeNames[s] }

// ParseScope reads a scope that can be given to somebody.
func ParseScope(name string) (Scope, error) {
	for s := Read; s <= Write; s++ {
		if strings.EqualFold(name, s.String()) {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%.40q is no scope; the scopes are read, observe, operate and write", name)
}

// A grant is what somebody may do, and where.
type grant struct {
	scopes [Anyone]bool
	read   *pathRules
	write  *pathRules
}

// has says whether the scope was given, be it for few paths.
func (g *grant) has(s Scope) bool {
	return s == Anyone || g.scopes[s] || s == Observe && g.scopes[Operate]
}
