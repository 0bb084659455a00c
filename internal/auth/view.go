package auth

// An Extent is how much of a directory somebody sees.
type Extent int

const (
	Nothing Extent = iota
	Part           // some of what is below it, be it far below
	All
)

func (e Extent) String() string { return [...]string{"nothing", "part", "all"}[e] }

// A View is what somebody sees of the tree. Two clients with the same rules have the same View, however they came by them. The zero View sees
// nothing.
type View struct {
	rules *pathRules
}

// View is what the client may read.
func (g *Guard) View(c Client) View {
	if g.Allow(c, Read) != nil {
		return View{nowhere}
	}
	return View{g.grantOf(c).read}
}

// ID names the rules behind the view, "all" for one that sees everything and "none" for one that sees nothing: what was made for one view may be
// given to every client whose view has the same id. It is stable across restarts, and tells nothing of the rules.
func (v View) ID() string { return v.set().id }

// IDOf is ID for what lies below dir: clients that see all of it, or nothing, share an id whatever they see elsewhere.
func (v View) IDOf(dir Place) string {
	switch v.Of(dir) {
	case All:
		return everywhere.id
	case Nothing:
		return nowhere.id
	}
	return v.ID()
}

// Of says how much of the directory and what is below it is seen.
func (v View) Of(dir Place) Extent {
	s := v.set()
	if s.unrestricted() {
		return All
	}
	plain, loose, err := readings(dir)
	if s == nowhere || err != nil {
		return Nothing
	}
	ok, _ := s.judge(plain)
	if loose != plain && ok {
		ok, _ = s.judge(loose)
	}
	switch {
	case !ok && s.ways[plain.exact]:
		return Part
	case !ok:
		return Nothing
	case s.hides[plain.folded], s.hides[loose.folded]:
		return Part
	}
	return All
}

// Visible says whether p may be shown in a listing: what may be read, and a directory on the way to it.
func (v View) Visible(p Place, isDir bool) bool {
	s := v.set()
	if ok, _ := s.decide(p); ok || !isDir {
		return ok
	}
	return v.Of(p) != Nothing
}

func (v View) set() *pathRules {
	if v.rules == nil {
		return nowhere
	}
	return v.rules
}
