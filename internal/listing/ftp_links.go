package listing

import (
	"slices"
	"strings"
)

// longestChain bounds how many links are followed from one name, as the kernel does.
const longestChain = 40

// lead makes e, a link, what its target is.
func (e *Entry) lead(to *Entry) {
	e.Kind, e.Size, e.SizeExact = to.Kind, to.Size, to.SizeExact
	e.ModTime, e.Step, e.ZoneKnown = to.ModTime, to.Step, to.ZoneKnown
}

// followLinks gives links of unknown Kind that lead to a name of the same directory what is known of that name. A link that leads in
// a circle is Other. One whose target is not listed stays unknown, for servers hide names.
func followLinks(entries []Entry) []Entry {
	if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Link && e.Target != "" }) {
		return entries
	}
	byName := make(map[string]int, len(entries))
	for i := range entries {
		byName[entries[i].Name] = i
	}
	for i := range entries {
		e := &entries[i]
		if !e.Link || e.Kind != Unknown || e.Target == "" {
			continue
		}
		at := i
		for hops := 0; entries[at].Link && entries[at].Kind == Unknown; hops++ {
			if hops == longestChain {
				e.Kind = Other
				break
			}
			target := strings.TrimRight(strings.TrimPrefix(entries[at].Target, "./"), "/")
			if upward(target) {
				e.Kind = Dir
				break
			}
			to, ok := byName[target]
			if !ok {
				break
			}
			at = to
		}
		if to := &entries[at]; e.Kind == Unknown && at != i && !(to.Link && to.Kind == Unknown) {
			e.lead(to)
		}
	}
	return entries
}

// upward says whether a link's target is the directory itself or one above it.
func upward(target string) bool {
	for part := range strings.SplitSeq(target, "/") {
		if part != "." && part != ".." {
			return false
		}
	}
	return true
}
